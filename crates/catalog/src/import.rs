//! Foreign definitions of events, read into proposals: JSON Schema of any draft, Iglu's self-describing schemas,
//! Avro, tables of ClickHouse.
//!
//! Pure: texts in, [`Imported`] out. Nothing of a source is dropped in silence: what the catalog's language cannot say
//! leaves a [`Note`](crate::proposal::Note) with its place. Start with [`read`]; [`newest`] makes one event of the
//! versions that a schema has, and says what each step between them does.

mod avro;
mod clickhouse;
mod json_schema;
mod numbers;
mod steps;
mod texts;
mod versions;

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::language::Version;
use crate::proposal::ProposedEvent;

pub use clickhouse::{TableColumn, table};
pub use steps::{FieldChange, Step, class_of_step};
pub use versions::{Family, Label, VersionStep, newest};

/// Languages in which foreign definitions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// JSON Schema, draft 4 to 2020-12.
    JsonSchema,
    /// JSON Schema that says in `self` what it is called.
    Iglu,
    /// Avro.
    Avro,
}

/// A definition that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Where it stands.
    pub file: String,
    /// What its versions have in common: the name that the source gives the event.
    pub family: String,
    /// Its version, as the source has it.
    pub label: Option<Label>,
    /// The event, with the source's names.
    pub event: ProposedEvent,
}

/// A text that is no definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// The place in it: `line:column`, or a JSON pointer.
    pub at: String,
    /// What is there, and what was expected.
    pub message: String,
    /// The next step.
    pub hint: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { String::new() } else { format!(":{}", self.at) };
        write!(f, "{}{at}: {}\nhint: {}", self.file, self.message, self.hint)
    }
}

impl std::error::Error for Unreadable {}

/// Reads a definition. `file` is its path: where the text does not name itself, the path does (`NAME.json`,
/// `NAME/1-0-2`).
///
/// # Errors
/// When the text is no JSON, or no definition in that language.
pub fn read(language: Language, file: &str, text: &[u8]) -> Result<Imported, Unreadable> {
    let value: Value = serde_json::from_slice(text).map_err(|error| Unreadable {
        file: file.to_owned(),
        at: format!("{}:{}", error.line(), error.column()),
        message: format!("expected JSON, found {error}"),
        hint: "mend the text, or leave the file out".to_owned(),
    })?;
    match language {
        Language::JsonSchema => json_schema::read(file, &value, json_schema::Identity::Optional),
        Language::Iglu => json_schema::read(file, &value, json_schema::Identity::SelfDescribing),
        Language::Avro => avro::read(file, &value),
    }
}

/// The catalog's version of a label. Versions begin with 1.0.0: a label below is 1.0.0 too.
fn version(label: Option<Label>) -> Version {
    match label {
        Some(Label { model, revision, addition }) if model > 0 => {
            Version { major: model, minor: revision, patch: addition }
        }
        Some(_) | None => Version { major: 1, minor: 0, patch: 0 },
    }
}
