//! One schema in any of the languages.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::avro::{AvroError, AvroSchema, Defaults};
use crate::budget::TooComplex;
use crate::incompatibility::Incompatibility;
use crate::json_schema::{JsonSchema, JsonSchemaError};
use crate::protobuf::{ProtobufError, ProtobufSchema};

/// A schema language, by the name that the registry has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// `AVRO`
    Avro,
    /// `JSON`: JSON Schema.
    Json,
    /// `PROTOBUF`
    Protobuf,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::Json, Self::Protobuf, Self::Avro];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A language that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown schema type `{0}`")]
pub struct UnknownLanguage(String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        let known = Self::ALL.into_iter().find(|language| language.as_str() == text);
        known.ok_or_else(|| UnknownLanguage(text.to_owned()))
    }
}

/// What in a schema has tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Its full name.
    pub path: String,
    /// What it is.
    pub kind: TaggedKind,
    /// Its tags, in their order.
    pub tags: Vec<String>,
}

/// What can have tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaggedKind {
    /// A record.
    Record,
    /// A field of one.
    Field,
}

impl TaggedKind {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "sr_record",
            Self::Field => "sr_field",
        }
    }
}

/// A schema that others refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    /// The name by which they do.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How strictly a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// It is about to be registered.
    Fresh,
    /// It was registered before, perhaps by somebody who did not look so closely.
    Stored,
}

/// How JSON Schemas are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// By what validates.
    #[default]
    Strict,
    /// Properties may be added to, and removed from, objects that allow others.
    Lenient,
}

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// It is no Avro schema.
    #[error(transparent)]
    Avro(#[from] AvroError),
    /// It is no JSON Schema.
    #[error(transparent)]
    Json(#[from] JsonSchemaError),
    /// It is no Protobuf schema.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
}

/// A schema in one of the languages.
#[derive(Debug, Clone)]
pub enum ParsedSchema {
    /// Avro.
    Avro(AvroSchema),
    /// JSON Schema.
    Json(JsonSchema),
    /// Protobuf.
    Protobuf(ProtobufSchema),
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They are in two languages.
    OtherLanguage,
    /// Everything that keeps one from reading what was written with the other.
    Differences(Vec<Incompatibility>),
    /// The comparison could not be finished, and why.
    Undecided(String),
}

impl ParsedSchema {
    /// Reads a text. `references` come before what refers to them.
    ///
    /// # Errors
    /// If it is no schema of the language.
    pub fn parse(
        language: Language,
        text: &str,
        references: &[Referenced],
        strictness: Strictness,
    ) -> Result<Self, ParseError> {
        Ok(match language {
            Language::Avro => {
                let texts: Vec<&str> = references.iter().map(|one| one.text.as_str()).collect();
                let defaults = match strictness {
                    Strictness::Fresh => Defaults::Checked,
                    Strictness::Stored => Defaults::Believed,
                };
                Self::Avro(AvroSchema::parse(text, &texts, defaults)?)
            }
            Language::Json => Self::Json(JsonSchema::parse(text, references)?),
            Language::Protobuf => Self::Protobuf(ProtobufSchema::parse(text, references, strictness)?),
        })
    }

    /// Its language.
    #[must_use]
    pub const fn language(&self) -> Language {
        match self {
            Self::Avro(_) => Language::Avro,
            Self::Json(_) => Language::Json,
            Self::Protobuf(_) => Language::Protobuf,
        }
    }

    /// The text that is stored.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::Avro(schema) => schema.canonical(),
            Self::Json(schema) => schema.canonical(),
            Self::Protobuf(schema) => schema.canonical(),
        }
    }

    /// The text that is stored when formatting and order are not to count.
    #[must_use]
    pub fn normalized(&self) -> String {
        match self {
            Self::Avro(schema) => schema.normalized(),
            Self::Json(schema) => schema.normalized(),
            Self::Protobuf(schema) => schema.normalized(),
        }
    }

    /// The text in another form, by its name in any case; `None` if the language does not know the form.
    ///
    /// # Errors
    /// If the schema was stored by somebody who did not check it, and has no such form.
    pub fn formatted(&self, format: &str) -> Option<Result<String, ParseError>> {
        match (self, format.to_ascii_lowercase().as_str()) {
            (Self::Avro(schema), "resolved") => Some(Ok(schema.resolved())),
            (Self::Protobuf(schema), format) => {
                schema.formatted(format).map(|text| text.map_err(ParseError::from))
            }
            (Self::Avro(_) | Self::Json(_), _) => None,
        }
    }

    /// Whether both say the same.
    ///
    /// # Errors
    /// If that takes too long to find out.
    pub fn equivalent(&self, other: &Self) -> Result<bool, TooComplex> {
        match (self, other) {
            (Self::Avro(a), Self::Avro(b)) => a.equivalent(b),
            (Self::Json(a), Self::Json(b)) => Ok(a.equivalent(b)),
            (Self::Protobuf(a), Self::Protobuf(b)) => Ok(a.equivalent(b)),
            (Self::Avro(_) | Self::Json(_) | Self::Protobuf(_), _) => Ok(false),
        }
    }

    /// What in the text has tags; `None` if they are not read in this language.
    #[must_use]
    pub fn tagged(&self) -> Option<Vec<Tagged>> {
        match self {
            Self::Avro(schema) => Some(schema.tagged()),
            Self::Json(_) | Self::Protobuf(_) => None,
        }
    }

    /// A field of the outermost object whose name is kept for others: those of JSON Schema that begin with
    /// `$$`.
    #[must_use]
    pub fn restricted_field(&self) -> Option<&str> {
        match self {
            Self::Json(schema) => schema.top_level_fields().find(|name| name.starts_with("$$")),
            // No name of theirs can have a `$`.
            Self::Avro(_) | Self::Protobuf(_) => None,
        }
    }

    /// Whether the outermost object has a field of this name.
    #[must_use]
    pub fn has_top_level_field(&self, name: &str) -> bool {
        match self {
            Self::Avro(schema) => schema.has_top_level_field(name),
            Self::Json(schema) => schema.has_top_level_field(name),
            Self::Protobuf(schema) => schema.has_top_level_field(name),
        }
    }

    /// Whether this schema reads what was written with `writer`.
    #[must_use]
    pub fn reads(&self, writer: &Self, policy: Policy) -> Verdict {
        let compared = match (self, writer) {
            (Self::Avro(reader), Self::Avro(writer)) => {
                reader.reads(writer).map_err(|error| error.to_string())
            }
            (Self::Json(reader), Self::Json(writer)) => {
                reader.reads(writer, policy).map_err(|error| error.to_string())
            }
            (Self::Protobuf(reader), Self::Protobuf(writer)) => {
                reader.reads(writer).map_err(|error| error.to_string())
            }
            (Self::Avro(_) | Self::Json(_) | Self::Protobuf(_), _) => return Verdict::OtherLanguage,
        };
        compared.map_or_else(Verdict::Undecided, Verdict::Differences)
    }
}
