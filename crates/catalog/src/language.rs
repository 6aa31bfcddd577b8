//! What a catalog's file may say: its sections, each read and described by one declaration.

mod coverage;
mod defaults;
mod event;
mod metric;
mod personal;

use serde_json::{Value, json};
use tidegate_yaml::section;
use tidegate_yaml::shape::{Definitions, Located, Shape, Word};

use crate::literal::Literal;
use crate::names::{Name, Names};

pub use coverage::CoverageSource;
pub use defaults::{
    Ddl, Defaults, EngineKind, Nullable, PartitionKey, Policies, RecordFormat, UnknownFields,
};
pub use event::{Context, Entity, EnumSource, EventSource, Field, History, SourceName, Version};
pub use metric::{Dimension, Fact, Grain, Kind, Metric, MetricRef, Precision, Rollup, Span};
pub(crate) use metric::{Empty, SpanUnit, StepOrder};
pub use personal::{KeyRef, LetterValues, PiiAction, PiiClass, PiiMethod, PiiPeriod};

section! {
    /// A catalog: what the events of a product are, and everything that is counted by them.
    pub struct CatalogFile as "the catalog" {
        /// The version of this language.
        cdp: LanguageVersion;
        /// The catalog's name, which begins the names of topics and namespaces.
        name: Name;
        /// Who answers for it.
        owner: Option<String>;
        /// What it is about.
        doc: Option<String>;
        /// What events share unless they say otherwise.
        defaults: Defaults = "{}";
        /// How the catalog may change, what is kept for how long, what becomes of personal data.
        policies: Policies = "{}";
        /// Lists of words that fields choose from.
        enums: Names<EnumSource> = "{}";
        /// Groups of fields that several events have, under a prefix.
        contexts: Names<Context> = "{}";
        /// The fields of every event. `event_id` (uuid) and `ts` (timestamp) are among them.
        envelope: Names<Field>;
        /// Things that events are about, kept as tables of their own.
        entities: Names<Entity> = "{}";
        /// The events.
        events: Names<EventSource>;
        /// What metrics are split by.
        dimensions: Names<Dimension> = "{}";
        /// Rows that metrics count: an event's, or several events' in one narrow table.
        facts: Names<Fact> = "{}";
        /// What is counted.
        metrics: Names<Metric> = "{}";
        /// Metrics that are kept summed up.
        rollups: Names<Rollup> = "{}";
        /// Where the metrics that people want are written down.
        coverage: Option<CoverageSource>;
        /// Events that must be accepted, or refused, and why.
        tests: Vec<Test> = "[]";
        /// Words that people ask about.
        glossary: std::collections::BTreeMap<String, String> = "{}";
    }
}

/// The version of the language: `"1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageVersion;

impl Word for LanguageVersion {
    const EXPECTED: &'static str = "`\"1\"`, the version of the language";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        if text == "1" { Ok(Self) } else { Err(Some("this program reads version 1")) }
    }

    fn word_schema() -> Value {
        json!({"enum": ["1", 1]})
    }
}

section! {
    /// An event that must be accepted, or refused.
    pub struct Test as "a test" {
        /// What the test is about.
        name: Located<String>;
        /// The event that the value is meant to be.
        event: Located<String>;
        /// Whether it is accepted.
        accept: bool;
        /// The event.
        value: Located<Literal>;
        /// Whether `value` names only what the test is about: the rest is put in from a valid event.
        partial: bool = "false";
        /// Why it is refused: the code of the dead letter.
        code: Option<String>;
        /// The field that it is refused for: its name, a path as `till.no`, or a JSON Pointer.
        field: Option<Located<String>>;
    }
}

impl Test {
    /// The field that it is refused for as a JSON Pointer (RFC 6901), as dead letters have it.
    #[must_use]
    pub fn pointer(&self) -> Option<String> {
        let field = self.field.as_ref()?.value.as_str();
        Some(if field.starts_with('/') { field.to_owned() } else { format!("/{}", field.replace('.', "/")) })
    }

    /// Whether a pointer leads to that field, or into it. Where no field is stated, all do.
    #[must_use]
    pub fn is_about(&self, pointer: &str) -> bool {
        self.pointer().is_none_or(|field| {
            pointer.strip_prefix(&field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The JSON Schema (2020-12) of a catalog's file, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let mut definitions = Definitions::literal();
    CatalogFile::schema(&mut definitions);
    let mut definitions = definitions.finish();
    let include = json!({
        "description": "Files whose sections are merged into this one, from this file's folder.",
        "type": "array",
        "items": {"type": "string", "minLength": 1},
    });
    definitions["CatalogFile"]["properties"]["include"] = include;
    // A file that is included has some of the sections only.
    let mut part = definitions["CatalogFile"].clone();
    if let Value::Object(part) = &mut part {
        part.remove("required");
        part.insert("description".into(), "A part of a catalog, included by another file.".into());
    }
    definitions["CatalogPart"] = part;
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate's catalog: cdp.yaml",
        "if": {"type": "object", "required": ["cdp"]},
        "then": {"$ref": "#/$defs/CatalogFile"},
        "else": {"$ref": "#/$defs/CatalogPart"},
        "$defs": definitions,
    })
}
