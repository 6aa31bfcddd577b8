//! How values are written, as the tools' flags say it, and the way from text to bytes and back.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tidegate_codec::{
    Framed, ProtobufMessages, SchemaKey, WriterSchema, avro_to_json, json_to_avro, json_to_protobuf,
    protobuf_to_json,
};
use tidegate_languages::avro::AvroSchema;
use tidegate_registry_client::{RegistryClient, SchemaName};
use tidegate_schema::JsonSchema;

use crate::writers;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wording {
    /// Avro with its schema's id
    Avro,
    /// JSON with its schema's id, checked by the schema
    JsonSchema,
    /// Protobuf with its schema's id
    Protobuf,
    /// JSON
    Json,
    /// Bytes as they are
    Raw,
}

impl Wording {
    /// The registry's word for its schemas.
    pub const fn language(self) -> Option<&'static str> {
        match self {
            Self::Avro => Some("AVRO"),
            Self::JsonSchema => Some("JSON"),
            Self::Protobuf => Some("PROTOBUF"),
            Self::Json | Self::Raw => None,
        }
    }
}

/// Makes bytes of texts.
pub enum Encoder {
    /// Avro after the schema's number.
    Avro(u32, Arc<AvroSchema>),
    /// JSON after it.
    JsonSchema(u32, Arc<JsonSchema>),
    /// A message of a Protobuf schema after it and the message's indexes.
    Protobuf(u32, Arc<ProtobufMessages>, Vec<usize>),
    /// JSON alone, checked by a schema if there is one.
    Json(Option<Arc<JsonSchema>>),
    /// Anything.
    Raw,
}

impl Encoder {
    /// The value's bytes.
    ///
    /// # Errors
    /// What is wrong with the text, and where in it.
    pub fn encode(&self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Avro(id, schema) => {
                let datum = json_to_avro(schema, text).map_err(|error| error.to_string())?;
                Ok(framed(*id, &datum))
            }
            Self::JsonSchema(id, schema) => checked(schema, text).map(|()| framed(*id, text.as_bytes())),
            Self::Protobuf(id, types, path) => {
                let datum = json_to_protobuf(types, path, text).map_err(|error| error.to_string())?;
                Ok(framed(*id, &datum))
            }
            Self::Json(Some(schema)) => checked(schema, text).map(|()| text.as_bytes().to_vec()),
            Self::Json(None) => parsed(text).map(|()| text.as_bytes().to_vec()),
            Self::Raw => Ok(text.as_bytes().to_vec()),
        }
    }
}

fn checked(schema: &JsonSchema, text: &str) -> Result<(), String> {
    parsed(text)?;
    match schema.violations(text.as_bytes(), 1).first() {
        Some(wrong) => Err(format!("field `{}`: expected {}", wrong.path, wrong.expected)),
        None => Ok(()),
    }
}

fn parsed(text: &str) -> Result<(), String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
}

fn framed(id: u32, payload: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), payload].concat()
}

/// A schema by its number.
///
/// # Errors
/// If the registry does not have it, or it is not of a kind that values can be written with.
pub async fn writer(registry: &RegistryClient, name: &SchemaName) -> anyhow::Result<WriterSchema> {
    let stored = registry.schema(name).await?.with_context(|| format!("the registry has no {name}"))?;
    match writers::read(&stored) {
        WriterSchema::Unusable(why) => bail!("{name}: {why}"),
        schema => Ok(schema),
    }
}

/// Makes texts of bytes, by the schemas that they name.
pub struct Decoder {
    registry: Option<RegistryClient>,
}

impl Decoder {
    /// Without a registry, bytes are shown as they are.
    pub const fn new(registry: Option<RegistryClient>) -> Self {
        Self { registry }
    }

    /// The JSON text of a value that names its schema; `None` of one that does not, or whose schema
    /// nobody knows.
    ///
    /// # Errors
    /// If the registry does not answer, or the value is not what its schema says.
    pub async fn decode(&self, framed: Option<&Framed<'_>>) -> anyhow::Result<Option<String>> {
        let (Some(registry), Some(framed)) = (&self.registry, framed) else { return Ok(None) };
        let payload = framed.payload;
        let name = match framed.key {
            SchemaKey::Id(id) => SchemaName::Id(id),
            SchemaKey::Guid(guid) => SchemaName::Guid(SchemaKey::guid_text(guid)),
        };
        let Some(stored) = registry.schema(&name).await? else { return Ok(None) };
        match writers::read(&stored) {
            WriterSchema::Avro(schema) => match avro_to_json(&schema, payload) {
                Ok(text) => Ok(Some(text)),
                Err(reason) => bail!("{name}: {reason}"),
            },
            WriterSchema::Json(_) => Ok(Some(String::from_utf8_lossy(payload).into_owned())),
            WriterSchema::Protobuf(types) => match protobuf_to_json(&types, framed.behind, payload) {
                Ok(text) => Ok(Some(text)),
                Err(reason) => bail!("{name}: {reason}"),
            },
            WriterSchema::Unusable(_) | WriterSchema::Unknown => Ok(None),
        }
    }
}
