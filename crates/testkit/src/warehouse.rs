//! A warehouse with tables that deduplicate by token, refuse poison and fail on request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::{Fault, FaultKind, InsertToken, OffsetRange, TopicPartition};
use tidegate_native::{ColumnDefault, ReadColumn, Table, TableColumn, Type, Value, read_block};
use tidegate_pipeline::port::{EncodedBlock, InsertError, TableMemory, Warehouse};

use crate::crash::Crash;
use crate::weather::{Stroke, Weather};

/// A row: its values by column name.
pub type FakeRow = BTreeMap<String, Value>;

#[derive(Debug)]
struct FakeTable {
    table: Table,
    rows: Vec<FakeRow>,
    tokens: VecDeque<String>,
    n_inserts: usize,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, FakeTable>,
    faults: VecDeque<Fault>,
    poison: Vec<Value>,
    is_silent: bool,
    hides_rows: bool,
    n_describing: usize,
    n_describing_max: usize,
}

/// A question about a table that is not answered yet.
struct Describing<'a>(&'a FakeWarehouse);

impl Drop for Describing<'_> {
    fn drop(&mut self) {
        self.0.lock().n_describing -= 1;
    }
}

/// A ClickHouse that keeps rows in memory. Clones share it; each may belong to another process.
#[derive(Debug, Clone)]
pub struct FakeWarehouse {
    state: Arc<Mutex<State>>,
    crash: Crash,
    weather: Weather,
    delay: Duration,
}

/// How many tokens a table remembers.
const TOKENS_MAX: usize = 1000;

impl Default for FakeWarehouse {
    fn default() -> Self {
        Self { state: Arc::default(), crash: Crash::never(), weather: Weather::calm(), delay: Duration::ZERO }
    }
}

impl FakeWarehouse {
    /// The same warehouse, as a process sees it that dies at `crash`.
    #[must_use]
    pub fn seen_by(&self, crash: Crash) -> Self {
        Self { crash, ..self.clone() }
    }

    /// The same warehouse, as a process sees it in this weather.
    #[must_use]
    pub fn seen_in(&self, weather: Weather) -> Self {
        Self { weather, ..self.clone() }
    }

    /// The same warehouse, as a process sees it whose inserts arrive so much later.
    #[must_use]
    pub fn seen_late(&self, delay: Duration) -> Self {
        Self { delay, ..self.clone() }
    }

    /// Creates or replaces a table in database `db`; columns are names with types.
    ///
    /// # Panics
    /// If a type is not one of ClickHouse's.
    pub fn create_table(&self, name: &str, columns: &[(&str, &str)]) {
        let table = described(name, columns);
        let fake = FakeTable { table, rows: Vec::new(), tokens: VecDeque::new(), n_inserts: 0 };
        self.lock().tables.insert(name.to_owned(), fake);
    }

    /// Gives a table other columns; it keeps its rows, and remembers what was inserted.
    ///
    /// # Panics
    /// If there is no such table, or a type is not one of ClickHouse's.
    pub fn alter_table(&self, name: &str, columns: &[(&str, &str)]) {
        let mut state = self.lock();
        let fake = state.tables.get_mut(name).expect("only a table that exists is altered");
        fake.table = described(name, columns);
    }

    /// Drops a table with its rows.
    pub fn drop_table(&self, name: &str) {
        self.lock().tables.remove(name);
    }

    /// The next inserts fail with these faults, and apply nothing.
    pub fn fail_inserts(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// A block is refused while one of its rows holds this value.
    pub fn refuse(&self, poison: Value) {
        self.lock().poison.push(poison);
    }

    /// Rows with this value are taken again.
    pub fn accept(&self, former: &Value) {
        self.lock().poison.retain(|poison| poison != former);
    }

    /// A table's rows, in the order in which they arrived.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<FakeRow> {
        self.lock().tables.get(table).map(|table| table.rows.clone()).unwrap_or_default()
    }

    /// How many inserts a table has seen, refused and repeated ones included.
    #[must_use]
    pub fn n_inserts(&self, table: &str) -> usize {
        self.lock().tables.get(table).map_or(0, |table| table.n_inserts)
    }

    /// From now on nobody who asks what a table is gets an answer.
    pub fn fall_silent(&self) {
        self.lock().is_silent = true;
    }

    /// From now on nobody who asks which rows a table has is shown any.
    pub fn hide_rows(&self) {
        self.lock().hides_rows = true;
    }

    /// The most questions about tables that were open at one time.
    #[must_use]
    pub fn n_describing_max(&self) -> usize {
        self.lock().n_describing_max
    }

    fn describing(&self) -> Describing<'_> {
        let mut state = self.lock();
        state.n_describing += 1;
        state.n_describing_max = state.n_describing_max.max(state.n_describing);
        Describing(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts a block. `whole`: whether the server lives long enough to have its rows, once it has noted the token.
    fn apply(
        &self,
        name: &str,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
        whole: bool,
    ) -> Result<(), InsertError> {
        let mut state = self.lock();
        if let Some(fault) = state.faults.pop_front() {
            return Err(InsertError::Fault(fault));
        }
        let State { tables, poison, .. } = &mut *state;
        let Some(table) = tables.get_mut(name) else { return Err(InsertError::Fault(missing(name))) };
        table.n_inserts += 1;
        let rows = rows_of(block);
        if rows.iter().flat_map(BTreeMap::values).any(|value| poison.contains(value)) {
            let message = "constraint `no_poison` is violated".to_owned();
            return Err(InsertError::Refused { code: 469, message, column: None });
        }
        if let Some(token) = token {
            if table.tokens.iter().any(|known| known == token.as_str()) {
                return Ok(());
            }
            table.tokens.push_back(token.as_str().to_owned());
            if table.tokens.len() > TOKENS_MAX {
                table.tokens.pop_front();
            }
        }
        if whole {
            table.rows.extend(rows);
        }
        Ok(())
    }
}

impl Warehouse for FakeWarehouse {
    async fn describe(&self, _database: &str, table: &str) -> Result<Table, Fault> {
        let _open = self.describing();
        if self.lock().is_silent {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.lock().tables.get(table).map(|fake| fake.table.clone()).ok_or_else(|| missing(table))
    }

    async fn memory(&self, _table: &Table) -> Result<TableMemory, Fault> {
        Ok(TableMemory { weakness: None, may_miss_rows: true })
    }

    async fn landed(
        &self,
        table: &Table,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> Result<Vec<i64>, Fault> {
        if self.lock().hides_rows {
            return Ok(Vec::new());
        }
        let rows = self.rows(&table.name);
        let topic = Value::Bytes(source.topic.as_bytes().to_vec());
        let partition = Value::Int(source.partition.into());
        let own = |row: &&FakeRow| row["_topic"] == topic && row["_partition"] == partition;
        let offset = |row: &FakeRow| match row["_offset"] {
            Value::Int(offset) => Some(offset),
            _ => None,
        };
        let mut offsets: Vec<i64> = rows.iter().filter(own).filter_map(offset).collect();
        offsets.retain(|offset| range.contains(*offset));
        offsets.sort_unstable();
        Ok(offsets)
    }

    async fn create(&self, ddl: &str) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Denied, format!("the fake warehouse runs no DDL: {ddl}")))
    }

    async fn insert(
        &self,
        table: &Table,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
    ) -> Result<(), InsertError> {
        let (stroke, late) = self.weather.next();
        tokio::time::sleep(self.delay + late).await;
        let apply = || self.apply(&table.name, block, token, stroke != Stroke::HalfDone);
        self.crash.effect(|| stroke.strike(apply, InsertError::Fault)).await
    }
}

fn described(name: &str, columns: &[(&str, &str)]) -> Table {
    let columns = columns.iter().map(|(name, ty)| TableColumn {
        name: (*name).to_owned(),
        ty: Type::parse(ty).expect("a test names real types"),
        default: ColumnDefault::None,
    });
    Table { database: "db".to_owned(), name: name.to_owned(), columns: columns.collect() }
}

/// The block's rows, read back from what was sent.
fn rows_of(block: EncodedBlock<'_>) -> Vec<FakeRow> {
    let (read, length) = read_block(block.native).expect("a block is valid Native");
    assert_eq!((read.rows, length), (block.rows, block.native.len()), "one block, and nothing behind it");
    let names: Vec<_> = read.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, block.columns, "the block has the columns that it says");
    let row = |row| {
        let value = |column: &ReadColumn| column.column.value(row).expect("every column has every row");
        read.columns.iter().map(|column| (column.name.clone(), value(column))).collect()
    };
    (0..read.rows).map(row).collect()
}

fn missing(table: &str) -> Fault {
    Fault {
        kind: FaultKind::Missing,
        code: Some(60),
        message: format!("table `db`.`{table}` does not exist"),
    }
}
