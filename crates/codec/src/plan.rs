//! A plan: how records of one schema become rows of one table.

use std::sync::Arc;

use thiserror::Error;
use tidegate_core::{PlanFingerprint, Reason, ReasonCode, Record, Reject, Stage, TopicPartition};
use tidegate_native::{Column, ColumnError, Table, Type};
use tidegate_schema::JsonSchema;

use crate::block::{Block, Memory};
use crate::compile::{self, Compiled};
use crate::instant::TimePatternError;
use crate::meta::MetaColumn;
use crate::options::PlanOptions;
use crate::reader::Reader;
use crate::refusal::{Outcome, Refusal, reason_for};
use crate::walk::Walk;

/// How records become rows of a table, compiled once for a schema, a table and options. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plan {
    fingerprint: PlanFingerprint,
    format: Format,
    compiled: Arc<Compiled>,
    schema: Option<Arc<JsonSchema>>,
}

/// How a value's bytes are read. Confluent's wire format, Avro and Protobuf will stand beside JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The value is one JSON text.
    Json,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The column's type is not one that Tidegate writes.
    #[error("column `{column}`: {source}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong with its type.
        #[source]
        source: ColumnError,
    },
    /// A configured column is not in the table, or not one that can be inserted.
    #[error("table `{table}` has no column `{column}` that can be inserted")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Two columns want the same field, or one wants a field within the other's.
    #[error("columns `{first}` and `{second}` both take field `{path}`")]
    PathTaken {
        /// The column that has it.
        first: String,
        /// The column that wants it too.
        second: String,
        /// The field, as a JSON Pointer.
        path: String,
    },
    /// The column's type does not fit what the configuration puts into it.
    #[error("column `{column}` of type `{ty}` cannot take {what}")]
    WrongColumn {
        /// The column.
        column: String,
        /// Its type.
        ty: String,
        /// What it should take.
        what: String,
    },
    /// The column has a DEFAULT that only the server can compute, and a type for which it cannot be
    /// asked to by row.
    #[error(
        "column `{column}` of type `{ty}` has a default that cannot be asked for by row; give it a constant default, or leave the column out (`omit`)"
    )]
    DefaultByRow {
        /// The column.
        column: String,
        /// Its type.
        ty: String,
    },
    /// A date-time pattern is not one.
    #[error("column `{column}`: {source}")]
    Pattern {
        /// The column.
        column: String,
        /// What is wrong.
        #[source]
        source: TimePatternError,
    },
    /// The table has no column that can be inserted.
    #[error("table `{table}` has no column that can be inserted")]
    NoColumns {
        /// The table.
        table: String,
    },
}

/// A record became a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// How many of its fields no column took.
    pub dropped_fields: u32,
}

impl Plan {
    /// Compiles a plan. Without a schema, the table alone decides what is refused.
    ///
    /// # Errors
    /// If no plan can bring rows into this table as the options say.
    pub fn compile(
        table: &Table,
        schema: Option<&JsonSchema>,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let compiled = compile::compile(table, schema, options)?;
        let fingerprint = fingerprint(table, schema, options);
        let schema = schema.map(|schema| Arc::new(schema.clone()));
        Ok(Self { fingerprint, format: Format::Json, compiled: Arc::new(compiled), schema })
    }

    /// Tells this plan from others: changes with the schema, the table's columns and the options.
    #[must_use]
    pub const fn fingerprint(&self) -> PlanFingerprint {
        self.fingerprint
    }

    /// The same plan without shortcuts for usual values.
    #[cfg(test)]
    pub(crate) fn without_usual(mut self) -> Self {
        let compiled = Arc::get_mut(&mut self.compiled).expect("the plan is not shared");
        compiled.nodes.iter_mut().for_each(|node| node.usual = crate::usual::Usual::None);
        self
    }

    /// An empty block for this plan.
    #[must_use]
    pub fn block(&self) -> Block {
        let columns = self.compiled.columns.iter().map(|(name, ty)| {
            let column = Column::for_type(ty).expect("compiling has made a column of each type");
            (name.clone(), ty.to_string(), column)
        });
        Block::new(columns.collect(), self.compiled.predictions)
    }

    /// Decodes, validates and appends one record as one row. `block` must be of this plan. Says the same
    /// of the same record at any time.
    ///
    /// # Errors
    /// A reject if the record cannot become a row; the block is as before.
    pub fn append(
        &self,
        block: &mut Block,
        source: &TopicPartition,
        record: &Record<'_>,
    ) -> Result<Appended, Box<Reject>> {
        let appended = match self.format {
            Format::Json => self.append_json(block, source, record),
        };
        match appended {
            Ok(()) => {
                let dropped_fields = block.memory.n_dropped;
                if dropped_fields > 0 {
                    block.count_dropped();
                }
                block.row_added(record.value.map_or(0, <[u8]>::len));
                Ok(Appended { dropped_fields })
            }
            Err(refusal) => {
                block.roll_back();
                let value = record.value.unwrap_or_default();
                // What comes before the text turned out to be none decides nothing.
                let refusal = self.undecodable(value).unwrap_or(refusal);
                Err(self.reject(*refusal, value))
            }
        }
    }

    fn append_json(&self, block: &mut Block, source: &TopicPartition, record: &Record<'_>) -> Outcome {
        let plan = &*self.compiled;
        let Some(value) = record.value else {
            return Err(Refusal::decode(ReasonCode::Tombstone, "a value", "a null value"));
        };
        let bytes_max = plan.limits.record_bytes_max;
        if value.len() > bytes_max {
            let (expected, found) = (format!("at most {bytes_max} bytes"), format!("{} bytes", value.len()));
            return Err(Refusal::decode(ReasonCode::TooLarge, &expected, &found));
        }
        let text = simdutf8::basic::from_utf8(value).map_err(|_| not_utf8(value))?;
        let Block { columns, memory, .. } = block;
        Walk::new(plan, Reader::new(text), memory).record(columns)?;
        for meta in &plan.metadata {
            MetaColumn::write(meta, source, record, columns)?;
        }
        Ok(())
    }

    /// Why a refused value is no JSON text at all, if it is none.
    #[cold]
    fn undecodable(&self, value: &[u8]) -> Option<Box<Refusal>> {
        let bytes_max = self.compiled.limits.record_bytes_max;
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= bytes_max)?;
        Walk::new(&self.compiled, Reader::new(text), &mut Memory::default()).nothing().err()
    }

    /// The decisive reason, and what else the schema has against the value.
    #[cold]
    fn reject(&self, refusal: Refusal, value: &[u8]) -> Box<Reject> {
        let mut reject = Box::new(Reject::new(refusal.stage, refusal.reason));
        let reasons_max = self.compiled.limits.reasons_max.max(1);
        if let (Some(schema), Stage::Validate | Stage::Encode) = (&self.schema, reject.stage) {
            for violation in schema.violations(value, reasons_max) {
                let found = Self::found(value, &violation.path);
                let reason = reason_for(violation, &found);
                let same = |known: &Reason| known.path == reason.path && known.rule == reason.rule;
                if reject.reasons.len() < reasons_max && !reject.reasons.iter().any(same) {
                    reject.reasons.push(reason);
                }
            }
        }
        reject
    }

    fn found(value: &[u8], pointer: &str) -> String {
        crate::find::find_raw(value, pointer).unwrap_or("nothing").to_owned()
    }
}

#[cold]
fn not_utf8(value: &[u8]) -> Box<Refusal> {
    let at = std::str::from_utf8(value).map_or_else(|error| error.valid_up_to(), str::len);
    Refusal::decode(
        ReasonCode::NotUtf8,
        "UTF-8",
        &format!("byte 0x{:02X} at byte {at}", value.get(at).copied().unwrap_or(0)),
    )
}

/// FNV-1a over all that a plan is made of. The number tells plans apart, it does not identify bytes.
fn fingerprint(table: &Table, schema: Option<&JsonSchema>, options: &PlanOptions) -> PlanFingerprint {
    let columns: Vec<(&str, String, String)> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.to_string(), format!("{:?}", column.default)))
        .collect();
    let identity = schema.map(JsonSchema::identity);
    let text = format!("1 {}.{} {columns:?} {identity:?} {options:?}", table.database, table.name);
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    PlanFingerprint(hash)
}

/// The column types of a plan, by name.
pub(crate) type PlannedColumns = Vec<(String, Type)>;
