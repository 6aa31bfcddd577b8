//! How records become rows, where schema and table leave a choice.

use std::collections::BTreeMap;

use tidegate_core::ReasonCode;

use crate::personal::PersonalColumn;
use crate::refusal::{Outcome, Refusal};
use crate::rules::ColumnRules;

/// What a plan is compiled with, beside schema and table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// What happens to fields that no column takes.
    pub unknown_fields: UnknownFields,
    /// A column `a<separator>b` takes field `b` of object `a`, unless the schema has a field of the
    /// column's whole name. Empty for no such reading.
    pub flatten_separator: String,
    /// What is said of single columns, by the column's name.
    pub columns: BTreeMap<String, ColumnOptions>,
    /// What is said of single columns of single tables, by the table's and the column's name. It counts before
    /// `columns`.
    pub tables: BTreeMap<String, BTreeMap<String, ColumnOptions>>,
    /// Columns named `_topic`, `_partition`, `_offset`, `_timestamp`, `_key` and `_headers` take the
    /// record's metadata where their types fit.
    pub metadata_by_name: bool,
    /// The limits of one record.
    pub limits: Limits,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            unknown_fields: UnknownFields::Drop,
            flatten_separator: "__".to_owned(),
            columns: BTreeMap::new(),
            tables: BTreeMap::new(),
            metadata_by_name: true,
            limits: Limits::default(),
        }
    }
}

impl PlanOptions {
    /// The options as far as they are about one table.
    #[must_use]
    pub fn of_table(&self, table: &str) -> Self {
        let mut columns = self.columns.clone();
        if let Some(own) = self.tables.get(table) {
            columns.extend(own.iter().map(|(name, own)| (name.clone(), own.clone())));
        }
        Self {
            unknown_fields: self.unknown_fields.clone(),
            flatten_separator: self.flatten_separator.clone(),
            columns,
            tables: BTreeMap::new(),
            ..*self
        }
    }
}

/// What happens to fields that no column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownFields {
    /// The record is rejected.
    Reject,
    /// They are left out, counted and sampled.
    Drop,
    /// They go into a column as one JSON object, each at its place. What stands within a Tuple, Nested
    /// or array cannot be given a place and is rejected.
    Collect {
        /// A column of type `JSON`, `String` or Nullable of them.
        column: String,
    },
}

/// What is said of one column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnOptions {
    /// The field that the column takes, as names from the value's root. `None`: by the column's name.
    pub path: Option<Vec<String>>,
    /// Patterns for dates and times, tried after RFC 3339 and ISO 8601: see [`crate::TimePattern`].
    pub formats: Vec<String>,
    /// Numbers are accepted as time since 1970-01-01T00:00:00Z in this unit.
    pub epoch: Option<EpochUnit>,
    /// The column is left out of inserts, so that the server's default applies to every row.
    pub omit: bool,
    /// A String column takes any JSON value as its text; strings keep their quotes.
    pub json_text: bool,
    /// The column takes a part of the record other than its value.
    pub metadata: Option<Metadata>,
    /// The column holds personal data: what happens to a value before it is stored.
    pub personal: Option<PersonalColumn>,
    /// What the column's values keep to, whatever the schema says of them. A record that breaks it is rejected.
    pub rules: Option<ColumnRules>,
}

/// The unit of an epoch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// A part of a record other than its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// The topic: String, LowCardinality(String), or Nullable of them.
    Topic,
    /// The partition: an integer of at least 32 bits.
    Partition,
    /// The offset: an integer of at least 64 bits.
    Offset,
    /// The timestamp: DateTime64(3 or more), or an integer of at least 64 bits (milliseconds). A record
    /// without one gives NULL, or the type's zero value where that cannot be.
    Timestamp,
    /// The key's bytes: as the topic. A null key gives NULL, or an empty string where that cannot be.
    Key,
    /// The headers: Map(String, String) with Nullable or LowCardinality values as may be. Of headers of
    /// one name the last counts; a null value gives NULL, or an empty string where that cannot be.
    Headers,
}

/// The limits of one record. A record past one of them is rejected as `too_large`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The value's length in bytes.
    pub record_bytes_max: usize,
    /// How deep arrays and objects may stand in one another, 1 to [`Limits::DEPTH_MAX`].
    pub depth_max: usize,
    /// How many reasons a reject has at most.
    pub reasons_max: usize,
}

impl Limits {
    /// The deepest nesting that can be configured: decoding uses the stack.
    pub const DEPTH_MAX: usize = 256;

    /// The depth of what stands in something of this depth, if that is not too deep.
    #[inline]
    pub(crate) fn deeper(&self, depth: usize) -> Outcome<usize> {
        if depth < self.depth_max { Ok(depth + 1) } else { Err(self.too_deep()) }
    }

    #[cold]
    fn too_deep(&self) -> Box<Refusal> {
        let expected = format!("at most {} levels of nesting", self.depth_max);
        Refusal::decode(ReasonCode::TooLarge, &expected, "more")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { record_bytes_max: 16 << 20, depth_max: 128, reasons_max: 16 }
    }
}
