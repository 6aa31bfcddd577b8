//! The rows of one batch for one plan, as columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_native::{BlockColumn, Column, write_block};

use crate::frame::SchemaKey;
use crate::personal::{Memo, Treatment};
use crate::writers::WriterPlan;

/// A field whose values were dropped, by a sample: the first 64 records of a block, and each 64th after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedField {
    /// The field: a JSON Pointer, `*` for the items of an array.
    pub path: String,
    /// How many values, in the records that were sampled.
    pub count: u64,
}

/// Columns for one table, filled record by record by [`Plan::append`](crate::Plan::append).
#[derive(Debug, Clone)]
pub struct Block {
    /// The columns that are sent: names, types, and where their values are.
    names: Vec<String>,
    types: Vec<String>,
    sources: Vec<Source>,
    /// What records are decoded into.
    pub(crate) columns: Vec<Column>,
    /// For each personal column what is stored of it; `None` if nothing is.
    stored: Vec<Option<Column>>,
    memo: Memo,
    pub(crate) rows: usize,
    pub(crate) memory: Memory,
    size_measured: usize,
    size_guessed: usize,
}

/// Where the values of a column are that is sent.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// As they were decoded.
    Decoded(usize),
    /// As they are stored in the place of personal ones.
    Stored(usize),
}

/// What decoding keeps from record to record: buffers, and which field came after which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// For each place after a field of an object, the field that came next the last time.
    pub(crate) next: Vec<u32>,
    /// Which fields of the objects that are open have been seen, one bit a field.
    pub(crate) seen: Vec<u64>,
    /// Hashes of the names of the objects that are open and checked for names that repeat.
    pub(crate) names: Vec<u64>,
    pub(crate) scratch: String,
    pub(crate) key: String,
    pub(crate) collected: Collected,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Dropped in the record at hand.
    pub(crate) n_dropped: u32,
    /// Their paths, which count only if the record becomes a row. Empty in records that are no sample.
    pub(crate) dropped_here: Vec<String>,
    /// Which columns have been given the table's constant default for want of a value in the record.
    pub(crate) filled: Vec<usize>,
    /// How many records have been read, to sample some.
    pub(crate) n_records: u64,
    /// The plan of the last record's writer: most often the next one's too.
    pub(crate) writer: Option<(SchemaKey, Arc<WriterPlan>)>,
}

/// Fields without a column, on their way into the column that collects them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    /// The JSON object so far, without its outer braces.
    pub(crate) text: String,
    /// The names of the objects that are open in `text`.
    pub(crate) open: usize,
    /// The names of the objects that the record has open.
    pub(crate) path: Vec<String>,
}

impl Memory {
    /// Forgets the record before.
    pub(crate) fn begin(&mut self) {
        self.seen.clear();
        self.names.clear();
        self.n_dropped = 0;
        self.dropped_here.clear();
        self.filled.clear();
        self.n_records += 1;
        self.collected.clear();
    }

    /// Forgets what has been read of the record so far, which is read again.
    pub(crate) fn begin_again(&mut self) {
        let n_records = self.n_records;
        self.begin();
        self.n_records = n_records;
    }

    /// Counts a field without a column, and remembers its path if the record is one of the sample.
    #[inline]
    pub(crate) fn drop_field(&mut self, path: impl FnOnce() -> String) {
        self.n_dropped = self.n_dropped.saturating_add(1);
        let n = self.n_records;
        if (n <= 64 || n.is_multiple_of(64)) && self.dropped_here.len() < Block::DROPPED_PATHS_MAX {
            self.dropped_here.push(path());
        }
    }
}

impl Collected {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.open = 0;
        self.path.clear();
    }

    /// Adds a member to the object that the record has open. `name` and `value` are JSON texts.
    pub(crate) fn member(&mut self, name: &str, value: &str) {
        while self.open < self.path.len() {
            self.comma();
            let opened = &self.path[self.open];
            self.text.push('"');
            self.text.push_str(opened);
            self.text.push_str("\":{");
            self.open += 1;
        }
        self.comma();
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(value);
    }

    fn comma(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('{') {
            self.text.push(',');
        }
    }

    /// The record leaves its innermost open object.
    pub(crate) fn leave(&mut self) {
        self.path.pop();
        if self.open > self.path.len() {
            self.text.push('}');
            self.open -= 1;
        }
    }
}

impl Block {
    /// How many different paths of dropped fields are kept; further ones count under `/…`.
    pub const DROPPED_PATHS_MAX: usize = 100;

    pub(crate) fn new(
        columns: Vec<(String, String, Column)>,
        treatments: &[Treatment],
        predictions: usize,
    ) -> Self {
        let mut block = Self {
            names: Vec::new(),
            types: Vec::new(),
            sources: Vec::new(),
            columns: Vec::with_capacity(columns.len()),
            stored: treatments.iter().map(Treatment::column).collect(),
            memo: Memo::default(),
            rows: 0,
            memory: Memory { next: vec![0; predictions], ..Memory::default() },
            size_measured: 0,
            size_guessed: 0,
        };
        for (place, (name, ty, column)) in columns.into_iter().enumerate() {
            block.columns.push(column);
            let treated = treatments.iter().position(|treatment| treatment.place == place);
            let (ty, source) = match treated.map(|at| (at, &treatments[at].stored)) {
                None => (ty, Source::Decoded(place)),
                Some((at, Some(stored))) => (stored.to_string(), Source::Stored(at)),
                Some((_, None)) => continue,
            };
            block.names.push(name);
            block.types.push(ty);
            block.sources.push(source);
        }
        block
    }

    fn source(&self, source: Source) -> &Column {
        match source {
            Source::Decoded(place) => &self.columns[place],
            Source::Stored(at) => self.stored[at].as_ref().expect("what is sent is stored"),
        }
    }

    /// Makes what is stored of the personal data of the row that has just been decoded. Gives how many values are
    /// not stored at all.
    pub(crate) fn treat(&mut self, treatments: &[Treatment]) -> u32 {
        let mut n_dropped = 0;
        for (treatment, stored) in treatments.iter().zip(&mut self.stored) {
            match stored {
                Some(stored) => treatment.put(&self.columns, self.rows, stored, &mut self.memo),
                None => n_dropped += 1,
            }
        }
        n_dropped
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// What the columns take, in bytes, about. Measured every 256 rows; in between the records' own
    /// lengths are added.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.size_measured + self.size_guessed
    }

    pub(crate) fn row_added(&mut self, record_bytes: usize) {
        self.rows += 1;
        self.size_guessed += record_bytes;
        if self.rows.is_multiple_of(256) {
            let all = self.columns.iter().chain(self.stored.iter().flatten());
            self.size_measured = all.map(Column::size_bytes).sum();
            self.size_guessed = 0;
        }
    }

    /// Takes back whatever has been written of a row that was not added.
    pub(crate) fn roll_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// Takes all rows out and keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().chain(self.stored.iter_mut().flatten()).for_each(Column::clear);
        self.memory.n_records = 0;
        self.rows = 0;
        self.size_measured = 0;
        self.size_guessed = 0;
    }

    /// The names of the columns that the block has, in its order. The insert must name them; the
    /// table's other columns take their defaults.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.names
    }

    /// The column's values, for tests and previews.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.names.iter().position(|known| known == name).map(|at| self.source(self.sources[at]))
    }

    /// Appends the rows as one block in the Native format, uncompressed. The insert needs
    /// `input_format_null_as_default=1`: columns with a DEFAULT are sent as Nullable, with NULL where
    /// the server is to compute it.
    ///
    /// # Panics
    /// If the columns differ in length, which is a bug of the plan.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let columns: Vec<BlockColumn<'_>> = (self.names.iter().zip(&self.types).zip(&self.sources))
            .map(|((name, ty), source)| BlockColumn { name, ty, column: self.source(*source) })
            .collect();
        write_block(&columns, self.rows, out).expect("each appended row has a value in every column");
    }

    /// The fields that were dropped in sampled records since the last call, at most [`Block::DROPPED_PATHS_MAX`] and the
    /// rest together. For samples in logs; the count of each record is in
    /// [`Appended`](crate::Appended).
    pub fn take_dropped(&mut self) -> Vec<DroppedField> {
        let dropped = std::mem::take(&mut self.memory.dropped);
        dropped.into_iter().map(|(path, count)| DroppedField { path, count }).collect()
    }

    /// Counts the dropped fields of the record that has become a row.
    pub(crate) fn count_dropped(&mut self) {
        let memory = &mut self.memory;
        for path in memory.dropped_here.drain(..) {
            let full = memory.dropped.len() >= Self::DROPPED_PATHS_MAX && !memory.dropped.contains_key(&path);
            let path = if full { "/…".to_owned() } else { path };
            *memory.dropped.entry(path).or_insert(0) += 1;
        }
    }
}
