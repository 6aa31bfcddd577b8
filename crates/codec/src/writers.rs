//! Values by the schemas that they were written with: a plan for each writer's schema, compiled when the
//! first of its records comes.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hashbrown::HashMap;
use tidegate_core::{Reason, ReasonCode, Record, Reject};
use tidegate_languages::avro::AvroSchema;
use tidegate_native::{Table, Type};
use tidegate_schema::JsonSchema;

use crate::avro::{self, WantedColumn, avro_columns};
use crate::block::Block;
use crate::compile::{Given, Planned, clamped, plan_columns};
use crate::frame::{Framed, SchemaKey};
use crate::json::{JsonPlan, has_member};
use crate::options::PlanOptions;
use crate::plan::PlanError;
use crate::protobuf::{self, ProtobufMessages, protobuf_columns};
use crate::refusal::Refusal;

/// The language of values that name their schemas.
#[derive(Debug, Clone)]
pub enum WireFormat {
    /// Avro; with a reader's schema, records are seen through it.
    Avro {
        /// Its fields are the ones that columns take; its defaults and aliases count.
        reader: Option<Arc<AvroSchema>>,
    },
    /// JSON, checked by the writer's JSON Schema.
    JsonSchema,
    /// Protobuf.
    Protobuf,
}

/// A writer's schema, as far as it is known.
#[derive(Debug, Clone)]
pub enum WriterSchema {
    /// Avro.
    Avro(Arc<AvroSchema>),
    /// JSON Schema.
    Json(Arc<JsonSchema>),
    /// Protobuf. Columns are those of the schema's first message.
    Protobuf(Arc<ProtobufMessages>),
    /// The registry has it, and it is none that values can be read by: why.
    Unusable(String),
    /// The registry says that there is none.
    Unknown,
}

impl WriterSchema {
    /// The columns that the schema asks for and a table has nothing for. Of a JSON Schema the members of
    /// its outermost object count.
    ///
    /// # Errors
    /// If no plan can bring rows into this table as the options say.
    pub fn missing_columns(
        &self,
        table: &Table,
        options: &PlanOptions,
    ) -> Result<Vec<WantedColumn>, PlanError> {
        let options = &options.of_table(&table.name);
        match self {
            Self::Avro(schema) => avro::missing_columns(table, schema, options),
            Self::Json(schema) => Ok(json_columns(schema)
                .into_iter()
                .filter(|wanted| {
                    let within = format!("{}{}", wanted.name, options.flatten_separator);
                    let part = format!("{}.", wanted.name);
                    let takes = |name: &str| {
                        name == wanted.name || name.starts_with(&within) || name.starts_with(&part)
                    };
                    !table.columns.iter().any(|column| takes(&column.name))
                })
                .collect()),
            Self::Protobuf(types) => protobuf::missing_columns(table, types, types.outermost[0], options),
            Self::Unusable(_) | Self::Unknown => Ok(Vec::new()),
        }
    }

    /// What a table cannot take of the schema's records, whatever they hold. Nothing is said of JSON
    /// Schemas.
    ///
    /// # Errors
    /// As [`WriterSchema::missing_columns`].
    pub fn misfits(&self, table: &Table, options: &PlanOptions) -> Result<Vec<Reason>, PlanError> {
        let options = &options.of_table(&table.name);
        match self {
            Self::Avro(schema) => Ok(avro::compile(table, schema, None, options)?.misfits()),
            Self::Protobuf(types) => {
                Ok(protobuf::compile(table, types, types.outermost[0], options)?.misfits())
            }
            Self::Json(_) | Self::Unusable(_) | Self::Unknown => Ok(Vec::new()),
        }
    }

    /// The columns of a new table for the schema.
    #[must_use]
    pub fn columns(&self, options: &PlanOptions) -> Vec<WantedColumn> {
        let mut wanted = match self {
            Self::Avro(schema) => avro_columns(schema, &options.flatten_separator),
            Self::Json(schema) => json_columns(schema),
            Self::Protobuf(types) => protobuf_columns(types, types.outermost[0], &options.flatten_separator),
            Self::Unusable(_) | Self::Unknown => Vec::new(),
        };
        for column in &mut wanted {
            if let Some(personal) = options.columns.get(&column.name).and_then(|own| own.personal.as_ref()) {
                personal.retype(&mut column.ty);
            }
        }
        wanted
    }
}

fn json_columns(schema: &JsonSchema) -> Vec<WantedColumn> {
    let columns = tidegate_schema::table_for(schema).columns.into_iter();
    let wanted = columns.map(|column| WantedColumn {
        path: vec![column.name.clone()],
        // What is written there is a type.
        ty: Type::parse(&column.ty).unwrap_or(Type::Dynamic { max_types: None }),
        default: column.rest.strip_prefix("DEFAULT ").map(str::to_owned),
        name: column.name,
    });
    wanted.collect()
}

/// The writers' schemas that one connector has met: shared by its plans, filled by whoever asks the
/// registry. A record whose schema is not in it is refused, so its schema must be asked for first.
#[derive(Debug, Clone, Default)]
pub struct WriterSchemas {
    known: Arc<RwLock<HashMap<SchemaKey, WriterSchema>>>,
}

impl WriterSchemas {
    /// What is known of a schema.
    #[must_use]
    pub fn get(&self, key: SchemaKey) -> Option<WriterSchema> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Whether it is known to exist.
    #[must_use]
    pub fn settled(&self, key: SchemaKey) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).is_some_and(|schema| !matches!(schema, WriterSchema::Unknown))
    }

    /// Remembers a schema. What a number stands for never changes, except that it may come to exist.
    pub fn insert(&self, key: SchemaKey, schema: WriterSchema) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Numbers come from records: a hostile stream may invent as many as it likes.
        if known.len() >= Self::UNKNOWN_MAX {
            known.retain(|_, schema| !matches!(schema, WriterSchema::Unknown));
        }
        known.insert(key, schema);
    }

    /// Beyond this many, schemas that do not exist are forgotten.
    const UNKNOWN_MAX: usize = 10_000;
}

/// How values of any writer become rows of one table.
#[derive(Debug)]
pub(crate) struct WriterPlans {
    table: Table,
    options: PlanOptions,
    format: WireFormat,
    writers: WriterSchemas,
    pub(crate) planned: Planned,
    plans: Mutex<HashMap<SchemaKey, Arc<WriterPlan>>>,
}

/// How values of one writer do.
#[derive(Debug)]
pub(crate) enum WriterPlan {
    Avro(avro::Program),
    Json(JsonPlan),
    Protobuf(protobuf::Programs),
    /// They do not.
    Refused {
        code: ReasonCode,
        expected: String,
        found: String,
    },
}

impl WriterPlans {
    pub(crate) fn compile(
        table: &Table,
        (format, writers): (&WireFormat, &WriterSchemas),
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let planned = plan_columns(table, options, &Given { known: &|_| false, always: &|_| true })?;
        Ok(Self {
            table: table.clone(),
            options: PlanOptions { limits: clamped(options.limits), ..options.clone() },
            format: format.clone(),
            writers: writers.clone(),
            planned,
            plans: Mutex::default(),
        })
    }

    /// Writes one record, but not its metadata.
    pub(crate) fn append(&self, block: &mut Block, record: &Record<'_>) -> Result<(), Box<Reject>> {
        let bytes_max = self.options.limits.record_bytes_max;
        let length = record.value.map_or(0, <[u8]>::len);
        if length > bytes_max {
            let (expected, found) = (format!("at most {bytes_max} bytes"), format!("{length} bytes"));
            return Err(Refusal::decode(ReasonCode::TooLarge, &expected, &found).alone());
        }
        let frame = Framed::read(record).map_err(|refusal| refusal.alone())?;
        let plan = match &block.memory.writer {
            Some((key, plan)) if *key == frame.key => Arc::clone(plan),
            _ => {
                let plan = self.plan(frame.key);
                block.memory.writer = Some((frame.key, Arc::clone(&plan)));
                plan
            }
        };
        match &*plan {
            WriterPlan::Avro(program) => {
                let Block { columns, memory, .. } = block;
                avro::Run::new(program, frame.payload, memory)
                    .record(columns)
                    .map_err(|refusal| refusal.alone())
            }
            WriterPlan::Json(plan) => {
                plan.append(block, frame.payload).map_err(|refusal| plan.reject(refusal, frame.payload))
            }
            WriterPlan::Protobuf(programs) => {
                let Block { columns, memory, rows, .. } = block;
                let message = (frame.behind, frame.payload);
                programs.append(message, columns, (memory, *rows)).map_err(|refusal| refusal.alone())
            }
            WriterPlan::Refused { code, expected, found } => {
                // It may have come to exist by the next record.
                block.memory.writer = None;
                Err(Refusal::decode(*code, expected, found).alone())
            }
        }
    }

    fn plan(&self, key: SchemaKey) -> Arc<WriterPlan> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&key) {
            return Arc::clone(plan);
        }
        let schema = self.writers.get(key);
        let plan = Arc::new(self.compile_for(key, schema.as_ref()));
        if !matches!(schema, None | Some(WriterSchema::Unknown)) {
            plans.insert(key, Arc::clone(&plan));
        }
        plan
    }

    fn compile_for(&self, key: SchemaKey, schema: Option<&WriterSchema>) -> WriterPlan {
        let refused = |code, expected: &str, found: String| WriterPlan::Refused {
            code,
            expected: expected.to_owned(),
            found,
        };
        let other = |found: &str| {
            refused(
                ReasonCode::WrongSchema,
                &format!("a schema of type {}", self.format.wanted()),
                format!("{key} of type {found}"),
            )
        };
        let unplanned = |error: &PlanError| {
            refused(
                ReasonCode::WrongSchema,
                "a schema that rows of the table can be formed by",
                error.to_string(),
            )
        };
        match (schema, &self.format) {
            (None | Some(WriterSchema::Unknown), _) => {
                refused(ReasonCode::UnknownSchemaId, "a schema that the registry has", key.to_string())
            }
            (Some(WriterSchema::Unusable(why)), _) => refused(
                ReasonCode::WrongSchema,
                "a schema that values can be read by",
                format!("{key}: {why}"),
            ),
            (Some(WriterSchema::Avro(writer)), WireFormat::Avro { reader }) => {
                match avro::compile(&self.table, writer, reader.as_deref(), &self.options) {
                    Ok(program) => WriterPlan::Avro(program),
                    Err(error) => unplanned(&error),
                }
            }
            (Some(WriterSchema::Json(schema)), WireFormat::JsonSchema) => {
                match JsonPlan::compile(&self.table, Some(Arc::clone(schema)), &self.options) {
                    Ok(plan) => WriterPlan::Json(plan),
                    Err(error) => unplanned(&error),
                }
            }
            (Some(WriterSchema::Protobuf(types)), WireFormat::Protobuf) => {
                let types = Arc::clone(types);
                WriterPlan::Protobuf(protobuf::Programs::new(types, &self.table, &self.options))
            }
            (Some(WriterSchema::Avro(_)), WireFormat::JsonSchema | WireFormat::Protobuf) => other("AVRO"),
            (Some(WriterSchema::Json(_)), WireFormat::Avro { .. } | WireFormat::Protobuf) => other("JSON"),
            (Some(WriterSchema::Protobuf(_)), WireFormat::Avro { .. } | WireFormat::JsonSchema) => {
                other("PROTOBUF")
            }
        }
    }

    /// Whether the outermost record of the schema that the block's last record was written with has a field of this
    /// name, as its reader sees it.
    #[cold]
    pub(crate) fn has_field(&self, block: &Block, name: &str) -> bool {
        let writer = block.memory.writer.as_ref().and_then(|(key, _)| self.writers.get(*key));
        match (writer, &self.format) {
            (_, WireFormat::Avro { reader: Some(reader) }) => reader.has_top_level_field(name),
            (Some(WriterSchema::Avro(writer)), _) => writer.has_top_level_field(name),
            (Some(WriterSchema::Json(schema)), _) => has_member(&schema, name),
            (Some(WriterSchema::Protobuf(types)), _) => {
                types.message(types.outermost[0]).named(name).is_some()
            }
            (Some(WriterSchema::Unusable(_) | WriterSchema::Unknown) | None, _) => false,
        }
    }

    /// What tells these plans from others beside table and options.
    pub(crate) fn identity(&self) -> String {
        match &self.format {
            WireFormat::Avro { reader } => {
                format!("avro {:?}", reader.as_ref().map(|reader| reader.canonical()))
            }
            WireFormat::JsonSchema => "json schema".to_owned(),
            WireFormat::Protobuf => "protobuf".to_owned(),
        }
    }
}

impl WireFormat {
    /// The registry's name for its schemas.
    const fn wanted(&self) -> &'static str {
        match self {
            Self::Avro { .. } => "AVRO",
            Self::JsonSchema => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}
