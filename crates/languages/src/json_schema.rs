//! JSON Schema, drafts 4 to 2020-12, as the Confluent registry prints and compares it.

mod compatible;
mod model;

use jsonschema::Draft;
use serde_json::Value;
use thiserror::Error;

use crate::budget::TooComplex;
use crate::incompatibility::Incompatibility;
use crate::json::{Dialect, Json, JsonError};
use crate::language::{Policy, Referenced};

/// A JSON Schema with the documents that it refers to.
#[derive(Debug, Clone)]
pub struct JsonSchema {
    document: Json,
    model: model::Model,
}

/// Why a text is no JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonSchemaError {
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is no object and no boolean.
    #[error("a JSON Schema is an object or a boolean; found {found}")]
    NoSchema {
        /// What it is.
        found: &'static str,
    },
    /// A keyword has a value that the draft does not allow.
    #[error("at `#{pointer}`: {message}")]
    Keyword {
        /// A JSON Pointer into the schema.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// It takes too long to check.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// A reference leads nowhere. Documents are never fetched.
    #[error("`$ref` to `{reference}` leads nowhere; name the schema in `references`")]
    Unresolved {
        /// The reference.
        reference: String,
    },
}

impl JsonSchema {
    /// Reads a schema. Without `$schema` it is draft 7. Nothing is fetched.
    ///
    /// # Errors
    /// If it is no schema of its draft, or a reference's text is no JSON.
    pub fn parse(text: &str, references: &[Referenced]) -> Result<Self, JsonSchemaError> {
        let document = Json::parse(text, Dialect::Exact)?;
        if !matches!(document, Json::Object(_) | Json::Bool(_)) {
            return Err(JsonSchemaError::NoSchema { found: kind(&document) });
        }
        check(&document)?;
        let references: Result<Vec<_>, JsonError> = references
            .iter()
            .map(|one| Ok((one.name.clone(), Json::parse(&one.text, Dialect::Exact)?)))
            .collect();
        let model = model::Model::build(&document, &references?)?;
        Ok(Self { document, model })
    }

    /// The text that is stored: the given one without blanks, as Jackson prints it.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.document.to_string()
    }

    /// The canonical text with all members in the order of their names.
    #[must_use]
    pub fn normalized(&self) -> String {
        self.document.sorted().to_string()
    }

    /// Whether both say the same, up to the order of members.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        self.document == other.document
    }

    /// The properties that the outermost object names.
    pub(crate) fn top_level_fields(&self) -> impl Iterator<Item = &str> {
        let properties = self.document.get("properties").and_then(Json::as_object);
        properties.into_iter().flat_map(|properties| properties.keys()).map(String::as_str)
    }

    /// Whether the outermost object names this property.
    #[must_use]
    pub fn has_top_level_field(&self, name: &str) -> bool {
        self.document.get("properties").is_some_and(|properties| properties.get(name).is_some())
    }

    /// Everything that keeps values of `writer` from being values of this schema.
    ///
    /// # Errors
    /// If that takes too long to find out.
    pub fn reads(&self, writer: &Self, policy: Policy) -> Result<Vec<Incompatibility>, TooComplex> {
        compatible::check(&self.model, &writer.model, policy)
    }
}

/// Checks a document against its draft's own schema.
fn check(document: &Json) -> Result<(), JsonSchemaError> {
    let value = to_value(document);
    let checked = match draft(document) {
        Draft::Draft4 => jsonschema::draft4::meta::validate(&value),
        Draft::Draft6 => jsonschema::draft6::meta::validate(&value),
        Draft::Draft201909 => jsonschema::draft201909::meta::validate(&value),
        Draft::Draft202012 => jsonschema::draft202012::meta::validate(&value),
        _ => jsonschema::draft7::meta::validate(&value),
    };
    checked.map_err(|error| JsonSchemaError::Keyword {
        pointer: error.instance_path().to_string(),
        message: error.masked().to_string(),
    })
}

fn draft(document: &Json) -> Draft {
    let uri = document.get("$schema").and_then(Json::as_str).unwrap_or_default();
    match uri.trim_end_matches('#') {
        "http://json-schema.org/draft-04/schema" => Draft::Draft4,
        "http://json-schema.org/draft-06/schema" => Draft::Draft6,
        "https://json-schema.org/draft/2019-09/schema" => Draft::Draft201909,
        "https://json-schema.org/draft/2020-12/schema" => Draft::Draft202012,
        _ => Draft::Draft7,
    }
}

/// The same value in the validator's terms.
fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Integer(value) => Value::from(*value),
        Json::BigInteger(digits) | Json::Decimal(digits) => digits.parse().map_or(Value::Null, Value::Number),
        Json::Double(value) => Value::from(*value),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(to_value).collect()),
        Json::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), to_value(value))).collect())
        }
    }
}

const fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Integer(_) | Json::BigInteger(_) | Json::Double(_) | Json::Decimal(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
