//! The formats that `tidegate smoke` tries, with a schema of the same record in each.

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;
use tidegate_codec::{PlanOptions, WriterSchema};
use tidegate_schema::{ColumnDefinition, TableDefinition};

use crate::tools::Encoder;
use crate::wire;

/// How the records of a trial are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// Avro, with a schema of the registry
    Avro,
    /// JSON, with a JSON Schema of the registry
    JsonSchema,
    /// Protobuf, with a schema of the registry
    Protobuf,
    /// JSON, without a registry
    Json,
}

const AVRO: &str = r#"{"type":"record","name":"Smoke","namespace":"tidegate","fields":[
    {"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}}]}"#;

const JSON: &str = r#"{"type":"object","required":["id","at","amount"],"properties":{
    "id":{"type":"integer"},"at":{"type":"string","format":"date-time"},
    "note":{"type":["string","null"]},"amount":{"type":"number"}}}"#;

const PROTOBUF: &str = "syntax = \"proto3\";\npackage tidegate;\n\nimport \"google/protobuf/timestamp.proto\";\n\n\
    message Smoke {\n  int64 id = 1;\n  google.protobuf.Timestamp at = 2;\n  optional string note = 3;\n  \
    double amount = 4;\n}\n";

impl Format {
    /// All of them, those with a registry first.
    pub const ALL: [Self; 4] = [Self::Avro, Self::JsonSchema, Self::Protobuf, Self::Json];

    /// The word of a configuration file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::JsonSchema => "json_schema",
            Self::Protobuf => "protobuf",
            Self::Json => "json",
        }
    }

    /// The registry's word and the schema; `None` if there is none.
    pub const fn schema(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Avro => Some(("AVRO", AVRO)),
            Self::JsonSchema => Some(("JSON", JSON)),
            Self::Protobuf => Some(("PROTOBUF", PROTOBUF)),
            Self::Json => None,
        }
    }
}

/// A registered schema, or none: how values are written, and the columns that they fill.
pub fn prepared(schema: Option<(u32, WriterSchema)>) -> anyhow::Result<(Encoder, TableDefinition)> {
    let Some((id, schema)) = schema else {
        let columns = [
            ("id", "Int64"),
            ("at", "DateTime64(3, 'UTC')"),
            ("note", "Nullable(String)"),
            ("amount", "Decimal(12, 2)"),
        ];
        let columns = columns.map(|(name, ty)| ColumnDefinition::new(name, ty)).into();
        return Ok((Encoder::Json(None), TableDefinition { columns }));
    };
    let definition = wire::definition(&schema.columns(&PlanOptions::default()));
    let encoder = match schema {
        WriterSchema::Avro(schema) => Encoder::Avro(id, schema),
        WriterSchema::Json(schema) => Encoder::JsonSchema(id, schema),
        WriterSchema::Protobuf(types) => Encoder::Protobuf(id, types, vec![0]),
        WriterSchema::Unusable(why) => bail!("schema id {id}: {why}"),
        WriterSchema::Unknown => bail!("schema id {id} is not known to the registry that gave it"),
    };
    Ok((encoder, definition))
}

/// The text of a record, which every format's encoder takes.
pub fn record(n: u64) -> String {
    let note = if n.is_multiple_of(2) { "null".to_owned() } else { format!("\"note {n}\"") };
    format!("{{\"id\":{n},\"at\":\"2023-11-14T22:13:20.{n:03}Z\",\"note\":{note},\"amount\":{n}.25}}")
}

/// Whether a row is that of its record, in SQL.
pub const RIGHT: &str = "toUnixTimestamp64Milli(at) = 1700000000000 + id AND toFloat64(amount) = id + 0.25 \
                         AND ifNull(note, '') = if(id % 2 = 0, '', concat('note ', toString(id)))";
