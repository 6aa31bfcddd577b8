//! A plan: how records of one schema become rows of one table.

use std::sync::Arc;

use thiserror::Error;
use tidegate_core::{PlanFingerprint, ReasonCode, Record, Reject, TopicPartition};
use tidegate_native::{Column, ColumnError, Table, Type};
use tidegate_schema::{JsonSchema, SchemaError};

use crate::block::Block;
use crate::instant::TimePatternError;
use crate::json::JsonPlan;
use crate::options::PlanOptions;
use crate::personal::Personal;
use crate::refusal::Refusal;
use crate::rules::{Fields, Kept};
use crate::writers::{WireFormat, WriterPlans, WriterSchemas};

/// How records become rows of a table, compiled once for a schema, a table and options. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plan {
    fingerprint: PlanFingerprint,
    decoder: Decoder,
    kept: Kept,
}

/// How a value's bytes are read.
#[derive(Debug, Clone)]
enum Decoder {
    /// The value is one JSON text.
    Json(Arc<JsonPlan>),
    /// The value names its schema.
    Written(Arc<WriterPlans>),
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
    /// A column's rules are none.
    #[error("the rules of column `{column}`: {source}")]
    Rules {
        /// The column.
        column: String,
        /// What is wrong.
        #[source]
        source: SchemaError,
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
    /// How many of its fields no column took, personal ones that are dropped among them.
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
        let options = &options.of_table(&table.name);
        let fingerprint = fingerprint(table, &format!("{:?}", schema.map(JsonSchema::identity)), options);
        let schema = schema.map(|schema| Arc::new(schema.clone()));
        let plan = JsonPlan::compile(table, schema, options)?;
        let decoder = Decoder::Json(Arc::new(plan));
        let kept = Kept::compile(table, options, &decoder.fields())?;
        Ok(Self { fingerprint, decoder, kept })
    }

    /// Compiles a plan for values that name the schemas they were written with. A schema must be among
    /// `writers` before a record of it is appended.
    ///
    /// # Errors
    /// If no plan can bring rows into this table as the options say. What single schemas lack is no error:
    /// their records are refused.
    pub fn of_writers(
        table: &Table,
        format: &WireFormat,
        writers: &WriterSchemas,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let options = &options.of_table(&table.name);
        let plans = WriterPlans::compile(table, (format, writers), options)?;
        let fingerprint = fingerprint(table, &plans.identity(), options);
        let decoder = Decoder::Written(Arc::new(plans));
        let kept = Kept::compile(table, options, &decoder.fields())?;
        Ok(Self { fingerprint, decoder, kept })
    }

    /// Tells this plan from others: changes with the schema, the table's columns and the options.
    #[must_use]
    pub const fn fingerprint(&self) -> PlanFingerprint {
        self.fingerprint
    }

    /// The same plan without shortcuts for usual values.
    #[cfg(test)]
    pub(crate) fn without_usual(mut self) -> Self {
        let Decoder::Json(plan) = &mut self.decoder else { panic!("a plan for JSON") };
        let compiled = &mut Arc::get_mut(plan).expect("the plan is not shared").compiled;
        compiled.nodes.iter_mut().for_each(|node| node.usual = crate::usual::Usual::None);
        self
    }

    /// An empty block for this plan.
    #[must_use]
    pub fn block(&self) -> Block {
        let (columns, predictions) = match &self.decoder {
            Decoder::Json(plan) => (&plan.compiled.columns, plan.compiled.predictions),
            Decoder::Written(plans) => (&plans.planned.columns, 0),
        };
        let columns = columns.iter().map(|(name, ty)| {
            let column = Column::for_type(ty).expect("compiling has made a column of each type");
            (name.clone(), ty.to_string(), column)
        });
        Block::new(columns.collect(), &self.personal().treatments, predictions)
    }

    fn personal(&self) -> &Personal {
        match &self.decoder {
            Decoder::Json(plan) => &plan.compiled.personal,
            Decoder::Written(plans) => &plans.planned.personal,
        }
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
        let appended = match &self.decoder {
            Decoder::Json(plan) => append_json(plan, block, record),
            Decoder::Written(plans) => plans.append(block, record),
        };
        let appended = appended.and_then(|()| self.append_metadata(block, source, record));
        match appended.and_then(|()| self.keep_rules(block)) {
            Ok(()) => {
                let treatments = &self.personal().treatments;
                let withheld = if treatments.is_empty() { 0 } else { block.treat(treatments) };
                let dropped_fields = block.memory.n_dropped.saturating_add(withheld);
                if dropped_fields > 0 {
                    block.count_dropped();
                }
                block.row_added(record.value.map_or(0, <[u8]>::len));
                Ok(Appended { dropped_fields })
            }
            Err(mut reject) => {
                block.roll_back();
                let personal = self.personal();
                if !personal.treatments.is_empty() {
                    reject.reasons.iter_mut().for_each(|reason| personal.quotable.withhold(reason));
                }
                Err(reject)
            }
        }
    }

    fn append_metadata(
        &self,
        block: &mut Block,
        source: &TopicPartition,
        record: &Record<'_>,
    ) -> Result<(), Box<Reject>> {
        let metadata = match &self.decoder {
            Decoder::Json(plan) => &plan.compiled.metadata,
            Decoder::Written(plans) => &plans.planned.metadata,
        };
        let mut written = metadata.iter().map(|meta| meta.write(source, record, &mut block.columns));
        written.try_for_each(|written| written).map_err(|refusal| refusal.alone())
    }

    fn keep_rules(&self, block: &Block) -> Result<(), Box<Reject>> {
        if self.kept.is_empty() {
            return Ok(());
        }
        self.kept.check(block, &|name| match &self.decoder {
            Decoder::Json(plan) => plan.has_field(name),
            Decoder::Written(plans) => plans.has_field(block, name),
        })
    }
}

impl Decoder {
    /// The columns that take fields.
    fn fields(&self) -> Fields<'_> {
        let (columns, metadata, collect) = match self {
            Self::Json(plan) => (&plan.compiled.columns, &plan.compiled.metadata, plan.compiled.collect),
            Self::Written(plans) => (&plans.planned.columns, &plans.planned.metadata, plans.planned.collect),
        };
        let others = metadata.iter().map(|meta| meta.column).chain(collect).collect();
        Fields { columns, others }
    }
}

fn append_json(plan: &JsonPlan, block: &mut Block, record: &Record<'_>) -> Result<(), Box<Reject>> {
    let value = record.value.unwrap_or_default();
    let bytes_max = plan.compiled.limits.record_bytes_max;
    let appended = if record.value.is_none() {
        Err(Refusal::decode(ReasonCode::Tombstone, "a value", "a null value"))
    } else if value.len() > bytes_max {
        let (expected, found) = (format!("at most {bytes_max} bytes"), format!("{} bytes", value.len()));
        Err(Refusal::decode(ReasonCode::TooLarge, &expected, &found))
    } else {
        plan.append(block, value)
    };
    appended.map_err(|refusal| plan.reject(refusal, value))
}

/// FNV-1a over all that a plan is made of. The number tells plans apart, it does not identify bytes.
fn fingerprint(table: &Table, identity: &str, options: &PlanOptions) -> PlanFingerprint {
    let columns: Vec<(&str, String, String)> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.to_string(), format!("{:?}", column.default)))
        .collect();
    let text = format!("1 {}.{} {columns:?} {identity} {options:?}", table.database, table.name);
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    PlanFingerprint(hash)
}

/// The column types of a plan, by name.
pub(crate) type PlannedColumns = Vec<(String, Type)>;
