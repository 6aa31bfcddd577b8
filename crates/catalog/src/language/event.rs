//! Fields, and what has them: events, contexts, entities, enums.

use std::fmt;

use serde_json::{Value, json};
use tidegate_yaml::shape::{Located, Word};
use tidegate_yaml::{choice, section};

use super::defaults::{EngineKind, PartitionKey};
use super::metric::Span;
use crate::field_type::FieldType;
use crate::literal::{Bound, Literal};
use crate::names::{Name, Names};

section! {
    /// A list of words that fields choose from.
    pub struct EnumSource as "an enum" {
        /// What it says.
        doc: Option<String>;
        /// Whether words that are not listed are taken too.
        open: bool = "false";
        /// The words.
        values: Vec<Located<String>>;
    }
}

section! {
    /// Fields that several events have; in events each has the prefix before its name.
    pub struct Context as "a context" {
        /// What it says.
        doc: Option<String>;
        /// What comes before each field's name: `app_`.
        prefix: Prefix;
        /// The fields.
        fields: Names<Field>;
    }
}

/// What comes before a context's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(pub String);

impl Word for Prefix {
    const EXPECTED: &'static str = "a prefix such as `app_`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        let legal = text.len() <= 40
            && text.ends_with('_')
            && !text.ends_with("__")
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(Some("prefixes are lower case and end with one `_`"))
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,38}_$"})
    }
}

/// The name of a member of records, whatever characters it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName(pub String);

impl SourceName {
    /// Whether records' members may be called so.
    #[must_use]
    pub fn legal(text: &str) -> bool {
        !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control)
    }

    /// Whether Avro's fields may be called so, too.
    #[must_use]
    pub fn legal_in_avro(text: &str) -> bool {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
    }
}

impl Word for SourceName {
    const EXPECTED: &'static str = "the name of a member of records";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        if Self::legal(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Some("names have 1 to 200 bytes, and no control characters"))
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": 200})
    }
}

impl Field {
    /// What records call the field that is called `name` here.
    #[must_use]
    pub fn in_records<'a>(&'a self, name: &'a str) -> &'a str {
        self.source.as_ref().map_or(name, |source| source.value.0.as_str())
    }
}

section! {
    /// A field.
    pub struct Field as "a field" {
        /// Its type.
        ty: Located<FieldType>;
        /// What records call it, where that is not its name: `userId` of a field `user_id`.
        source: Option<Located<SourceName>>;
        /// What it says.
        doc: Option<String>;
        /// The class of personal data that it is of.
        pii: Option<Located<String>>;
        /// How its column is kept.
        hint: Option<Located<Hint>>;
        /// What its number counts: `ms`, `byte`, `USD`.
        unit: Option<String>;
        /// The least number; in a list or map, of each.
        min: Option<Located<Bound>>;
        /// The greatest number; in a list or map, of each.
        max: Option<Located<Bound>>;
        /// The most characters of a text; in a list or map, of each.
        max_length: Option<Located<u32>>;
        /// The regular expression that a text satisfies; in a list or map, each.
        pattern: Option<Located<String>>;
        /// What it is when absent.
        default: Option<Located<Literal>>;
        /// The version of the event that has it first.
        since: Option<Located<Version>>;
        /// What it was called before.
        renamed_from: Option<Located<String>>;
        /// The entity that it is the key of.
        references: Option<Located<String>>;
        /// Values as they come.
        examples: Vec<Literal> = "[]";
        /// Why it should not be used any more.
        deprecated: Option<String>;
        /// The members of an object.
        fields: Names<Field> = "{}";
    }
}

choice! {
    /// How a column is kept.
    pub enum Hint {
        /// As a dictionary: few different values.
        LowCardinality => "low_cardinality",
    }
}

section! {
    /// An event.
    pub struct EventSource as "an event" {
        /// What happened.
        doc: String;
        /// Who answers for it.
        owner: Option<String>;
        /// Its version.
        version: Located<Version> = "1.0.0";
        /// The contexts that it has.
        contexts: Vec<Located<String>> = "[]";
        /// Its own fields.
        fields: Names<Field> = "{}";
        /// Its topic, instead of the one that `defaults.kafka.topic` gives.
        topic: Option<Located<String>>;
        /// Its table.
        clickhouse: EventTable = "{}";
        /// Why it should not be sent any more.
        deprecated: Option<String>;
    }
}

section! {
    /// An event's table.
    pub struct EventTable as "`clickhouse`" {
        /// The table's name; the event's if absent.
        table: Option<Name>;
        /// The engine.
        engine: Option<Located<EngineKind>>;
        /// The partition key.
        partition_by: Option<PartitionKey>;
        /// The sorting key.
        order_by: Vec<Located<String>> = "[]";
        /// How long rows are kept.
        keep: Option<Span>;
    }
}

section! {
    /// A thing that events are about, as a table made from one event.
    pub struct Entity as "an entity" {
        /// What it is.
        doc: Option<String>;
        /// The event that tells its state.
        source: Located<String>;
        /// The field of that event that identifies it.
        key: Located<String>;
        /// What is kept of it.
        history: History = "latest";
        /// The event's fields that are kept.
        fields: Vec<Located<String>>;
    }
}

choice! {
    /// What is kept of an entity.
    pub enum History {
        /// Its last state.
        Latest => "latest",
        /// Every state, with the time from which it held.
        Scd2 => "scd2",
    }
}

/// An event's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Readers of the old one cannot read the new one.
    pub major: u32,
    /// They can.
    pub minor: u32,
    /// Nothing about values changed.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Word for Version {
    const EXPECTED: &'static str = "a version such as `1.2.0`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        let part = |text: Option<&str>| {
            text.filter(|text| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()))?
                .parse()
                .ok()
        };
        let mut parts = text.split('.');
        match (part(parts.next()), part(parts.next()), part(parts.next()), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) if major > 0 => Ok(Self { major, minor, patch }),
            _ => Err(Some("versions are MAJOR.MINOR.PATCH, from `1.0.0`")),
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": "^[1-9][0-9]{0,5}\\.[0-9]{1,6}\\.[0-9]{1,6}$"})
    }
}
