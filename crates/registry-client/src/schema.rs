//! What a registry has, and what it is asked for.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_core::Fault;

/// How a schema is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SchemaName {
    /// By its number.
    Id(u32),
    /// By the digest of its text, as the registry writes it.
    Guid(String),
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema id {id}"),
            Self::Guid(guid) => write!(f, "schema guid {guid}"),
        }
    }
}

/// A schema with everything that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchema {
    /// Its language, in the registry's word: `AVRO`, `JSON` or `PROTOBUF`.
    pub language: String,
    /// Its text.
    pub text: String,
    /// The schemas that it refers to, and those that they do: what is referred to comes first.
    pub references: Vec<Referenced>,
}

/// A schema that others refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    /// The name by which they do.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How one schema refers to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The name that its text has for the other.
    pub name: String,
    /// The other's subject.
    pub subject: String,
    /// The other's version.
    pub version: i32,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// The subject.
    #[serde(default)]
    pub subject: String,
    /// The version.
    #[serde(default)]
    pub version: i32,
    /// The schema's number.
    #[serde(default)]
    pub id: u32,
    /// The language; Avro where the registry does not say.
    #[serde(rename = "schemaType", default = "avro")]
    pub language: String,
    /// The text.
    pub schema: String,
    /// What it refers to.
    #[serde(default)]
    pub references: Vec<Reference>,
}

fn avro() -> String {
    "AVRO".to_owned()
}

/// A schema on its way into a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewSchema {
    /// The language, in the registry's word.
    #[serde(rename = "schemaType")]
    pub language: String,
    /// The text.
    pub schema: String,
    /// What it refers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// What a compatibility check came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Checked {
    /// Whether the schema may be registered.
    pub is_compatible: bool,
    /// What stands against it.
    #[serde(default)]
    pub messages: Vec<String>,
}

/// The registry refuses what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("schema registry: {message} (error code {code})")]
pub struct Refused {
    /// The registry's error code: 40401, 42201 and so on.
    pub code: i64,
    /// Its message.
    pub message: String,
}

/// Why a request gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The registry refuses it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The world failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
