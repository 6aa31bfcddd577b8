//! The ClickHouse table of dead letters: one more block of the batch, under a token of the batch, so
//! that it holds what the dead-letter topic holds, and can be queried by reason.

use bytes::Bytes;
use tidegate_core::DeadLetter;
use tidegate_native::{BlockColumn, Column, ColumnDefault, Table, TableColumn, Type, write_block};

use crate::batch::Batch;
use crate::port::{EncodedBlock, Rejected};
use crate::settings::ConnectorSettings;

/// The columns that the sink writes, with their types. The table may have more, with defaults.
pub const DEAD_LETTER_COLUMNS: &[(&str, &str)] = &[
    ("id", "FixedString(32)"),
    ("connector", "LowCardinality(String)"),
    ("consumer_group", "LowCardinality(String)"),
    ("processor", "LowCardinality(String)"),
    ("plan", "FixedString(16)"),
    ("stage", "LowCardinality(String)"),
    ("code", "LowCardinality(String)"),
    ("event", "LowCardinality(String)"),
    ("table", "LowCardinality(String)"),
    ("topic", "LowCardinality(String)"),
    ("partition", "Int32"),
    ("offset", "Int64"),
    ("timestamp", "Nullable(DateTime64(3, 'UTC'))"),
    ("path", "String"),
    ("column", "String"),
    ("rule", "String"),
    ("expected", "String"),
    ("found", "String"),
    ("errors", ERRORS),
    ("key", "Nullable(String)"),
    ("raw", "Nullable(String)"),
    ("headers", "Array(Tuple(name String, value Nullable(String)))"),
    ("attempt", "UInt32"),
];

const ERRORS: &str =
    "Array(Tuple(code String, path String, `column` String, rule String, expected String, found String))";

/// The table's DDL, harmless when repeated. `state` is `open` until a replay writes a newer version of
/// the row; read the table with `FINAL`.
#[must_use]
pub fn dead_letter_ddl(database: &str, table: &str, dedup_window: u32) -> String {
    let columns: Vec<String> =
        DEAD_LETTER_COLUMNS.iter().map(|(name, ty)| format!("    `{name}` {ty}")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (\n{},\n    \
         `state` LowCardinality(String) DEFAULT 'open',\n    \
         `replayed_to` String DEFAULT '',\n    \
         `version` UInt64 DEFAULT 0,\n    \
         `written_at` DateTime64(3, 'UTC') DEFAULT now64(3)\n\
         )\nENGINE = ReplacingMergeTree(version)\nORDER BY (connector, topic, partition, offset, id)\n\
         SETTINGS non_replicated_deduplication_window = {dedup_window}",
        columns.join(",\n")
    )
}

/// An encoded block of dead letters with the table that it is for.
pub(crate) struct DeadLetterBlock {
    pub(crate) table: Table,
    native: Bytes,
    columns: Vec<String>,
    rows: usize,
}

impl DeadLetterBlock {
    pub(crate) fn encoded(&self) -> EncodedBlock<'_> {
        EncodedBlock { native: &self.native, columns: &self.columns, rows: self.rows }
    }
}

/// Encodes the rejects of a batch.
pub(crate) fn dead_letter_block(
    settings: &ConnectorSettings,
    batch: &Batch,
    letters: &[Rejected],
    table: &str,
) -> DeadLetterBlock {
    let types: Vec<Type> = DEAD_LETTER_COLUMNS
        .iter()
        .map(|(_, ty)| Type::parse(ty).expect("the types above are ClickHouse's"))
        .collect();
    let mut columns: Vec<Column> =
        types.iter().map(|ty| Column::for_type(ty).expect("the types above have columns")).collect();
    let plan = batch.fingerprint().to_string();
    for rejected in letters {
        let record = batch.records.get(rejected.index).expect("rejects point into their batch");
        let letter = DeadLetter { source: batch.records.source(), record, reject: &rejected.reject };
        push_letter(&mut columns, settings, &plan, &letter);
    }
    let block: Vec<BlockColumn<'_>> = DEAD_LETTER_COLUMNS
        .iter()
        .zip(&columns)
        .map(|((name, ty), column)| BlockColumn { name, ty, column })
        .collect();
    let mut native = Vec::new();
    write_block(&block, letters.len(), &mut native).expect("every letter gives every column one value");
    let described = DEAD_LETTER_COLUMNS.iter().zip(types);
    DeadLetterBlock {
        table: Table {
            database: settings.database.clone(),
            name: table.to_owned(),
            columns: described
                .map(|((name, _), ty)| TableColumn {
                    name: (*name).to_owned(),
                    ty,
                    default: ColumnDefault::None,
                })
                .collect(),
        },
        native: Bytes::from(native),
        columns: DEAD_LETTER_COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: letters.len(),
    }
}

/// One row, in the order of [`DEAD_LETTER_COLUMNS`].
fn push_letter(columns: &mut [Column], settings: &ConnectorSettings, plan: &str, letter: &DeadLetter<'_>) {
    let context = &settings.context;
    let (record, reject, reason) = (&letter.record, letter.reject, letter.reject.reason());
    let mut columns = columns.iter_mut();
    let mut next = || columns.next().expect("one column for each value");
    text(next(), &letter.id(&context.group).to_string());
    text(next(), &context.connector);
    text(next(), &context.group);
    text(next(), &context.processor);
    text(next(), plan);
    text(next(), reject.stage.as_str());
    text(next(), reason.code.as_str());
    text(next(), reject.event.as_deref().unwrap_or_default());
    text(next(), reject.table.as_deref().unwrap_or_default());
    text(next(), &letter.source.topic);
    push_i32(next(), letter.source.partition);
    push_i64(next(), record.offset);
    nullable(next(), record.timestamp, |column, timestamp| push_i64(column, timestamp.millis));
    text(next(), &reason.path);
    text(next(), reason.column.as_deref().unwrap_or_default());
    text(next(), reason.rule.as_deref().unwrap_or_default());
    text(next(), &reason.expected);
    text(next(), &reason.found);
    push_array(next(), reject.reasons.iter(), |tuple, reason| {
        let fields = [
            reason.code.as_str(),
            &reason.path,
            reason.column.as_deref().unwrap_or_default(),
            reason.rule.as_deref().unwrap_or_default(),
            &reason.expected,
            &reason.found,
        ];
        for (column, field) in tuple.iter_mut().zip(fields) {
            text(column, field);
        }
    });
    let shown = !settings.letters_withheld;
    nullable(next(), record.key.filter(|_| shown), bytes);
    nullable(next(), record.value.filter(|_| shown), bytes);
    push_array(next(), record.headers().filter(|_| shown), |tuple, header| {
        text(&mut tuple[0], header.name);
        nullable(&mut tuple[1], header.value, bytes);
    });
    push_u32(next(), letter.attempt());
}

fn text(column: &mut Column, value: &str) {
    bytes(column, value.as_bytes());
}

fn bytes(column: &mut Column, value: &[u8]) {
    match column {
        Column::String(column) => column.push(value),
        Column::LowCardinality(column) => assert!(column.push(value), "a dictionary of text takes text"),
        Column::FixedString(column) => column.push(value).expect("ids have a fixed width"),
        other => unreachable!("text for a column of another type: {other:?}"),
    }
}

fn push_i32(column: &mut Column, value: i32) {
    let Column::Int32(values) = column else { unreachable!("Int32 for a column of another type") };
    values.push(value);
}

fn push_i64(column: &mut Column, value: i64) {
    let Column::Int64(values) = column else { unreachable!("Int64 for a column of another type") };
    values.push(value);
}

fn push_u32(column: &mut Column, value: u32) {
    let Column::UInt32(values) = column else { unreachable!("UInt32 for a column of another type") };
    values.push(value);
}

fn nullable<T>(column: &mut Column, value: Option<T>, push: impl FnOnce(&mut Column, T)) {
    let Column::Nullable(column) = column else { unreachable!("NULL for a column without") };
    match value {
        Some(value) => {
            push(&mut column.values, value);
            column.end_value();
        }
        None => column.push_null(),
    }
}

fn push_array<T>(column: &mut Column, items: impl Iterator<Item = T>, push: impl Fn(&mut [Column], T)) {
    let Column::Array(array) = column else { unreachable!("an array for a column of another type") };
    for item in items {
        let Column::Tuple(tuple) = &mut array.elements else { unreachable!("tuples in the array") };
        push(&mut tuple.columns, item);
        tuple.end_row();
    }
    array.end_row();
}
