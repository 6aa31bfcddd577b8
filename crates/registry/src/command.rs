//! From a request and the state to records or a problem. Nothing here waits or writes; what takes time
//! (parsing, comparing) is done without holding the state.

pub mod compatibility;
pub mod delete;
mod inherited;
pub mod library;
pub mod lookup;
pub mod references;
pub mod register;
pub mod settings;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde::Deserialize;

use crate::entity::{Metadata, Mode, Reference, RuleSet};
use crate::problem::Problem;
use crate::state::State;
use crate::subject::Subject;

/// The state, which the log's reader changes while requests look at it.
#[derive(Debug, Default)]
pub struct Shared(RwLock<State>);

impl Shared {
    /// The state as it is now. Nobody may hold this while parsing, comparing or waiting.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A schema as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchemaRequest {
    /// The version, when importing.
    pub version: Option<i32>,
    /// The id, when importing.
    pub id: Option<i32>,
    /// The language; Avro if absent.
    pub schema_type: Option<String>,
    /// What it refers to.
    pub references: Option<Vec<Reference>>,
    /// What people say about it.
    pub metadata: Option<Metadata>,
    /// Its rules.
    pub rule_set: Option<RuleSet>,
    /// Its text.
    pub schema: Option<String>,
    /// Tags to write into the text, which nobody here does.
    pub schema_tags_to_add: Option<Vec<serde_json::Value>>,
    /// Tags to take out of it, likewise.
    pub schema_tags_to_remove: Option<Vec<serde_json::Value>>,
    /// Whether it takes over the tags of the version before, likewise.
    pub propagate_schema_tags: Option<bool>,
}

impl SchemaRequest {
    /// Refuses changes of tags: a client that was answered without them would take them for made.
    ///
    /// # Errors
    /// 42201, if the request has any.
    pub fn check_tags(&self) -> Result<(), Problem> {
        let none = |tags: &Option<Vec<_>>| tags.as_ref().is_none_or(Vec::is_empty);
        if none(&self.schema_tags_to_add) && none(&self.schema_tags_to_remove) {
            return Ok(());
        }
        let text = self.schema.as_deref().unwrap_or_default();
        Err(Problem::invalid_schema(
            text,
            "tags are not written into schemas here; register the text with its `confluent:tags`, or put them \
             into `metadata.tags`",
        ))
    }
}

/// A version in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest that is not deleted.
    Latest,
    /// This one.
    Number(i32),
}

impl Which {
    /// Reads `latest`, -1 or a positive number.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text.parse::<i32>() {
            Ok(-1) => Ok(Self::Latest),
            Ok(number) if number > 0 => Ok(Self::Number(number)),
            _ if text == "latest" => Ok(Self::Latest),
            _ => Err(Problem::invalid_version(text)),
        }
    }

    /// The number as messages say it.
    const fn number(self) -> i32 {
        match self {
            Self::Latest => -1,
            Self::Number(number) => number,
        }
    }
}

/// Refuses writes to what is read-only.
pub(crate) fn check_writable(state: &State, subject: &Subject) -> Result<Mode, Problem> {
    let mode = state.mode(subject);
    if mode.read_only() {
        return Err(Problem::not_permitted(format!(
            "Subject {} in context {} is in read-only mode",
            subject.name(),
            subject.context()
        )));
    }
    Ok(mode)
}
