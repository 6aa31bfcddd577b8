//! Parsed schemas, kept for the next comparison.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_languages::{Language, ParsedSchema, Referenced, Strictness};

use crate::guid::Guid;
use crate::problem::Problem;
use crate::state::Text;

/// How many parsed schemas are kept, and how many bytes of text they may have in all: a parsed schema
/// takes some ten times its text.
const SCHEMAS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A cache of parsed schemas: the ones that were parsed first go first.
#[derive(Debug, Default)]
pub struct Library(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    schemas: HashMap<(String, Guid), (Arc<ParsedSchema>, usize)>,
    order: VecDeque<(String, Guid)>,
    bytes: usize,
}

impl Library {
    /// A stored schema, parsed. `references` are only asked for if it is not at hand.
    ///
    /// # Errors
    /// If its text cannot be read, which another registry may have let pass.
    pub fn stored(
        &self,
        context: &str,
        schema: &Text,
        references: impl FnOnce() -> Result<Vec<Referenced>, Problem>,
    ) -> Result<Arc<ParsedSchema>, Problem> {
        let key = (context.to_owned(), schema.guid);
        if let Some((found, _)) = self.shelf().schemas.get(&key) {
            return Ok(Arc::clone(found));
        }
        let parsed = parse(schema.language, &schema.text, &references()?, Strictness::Stored)?;
        let parsed = Arc::new(parsed);
        self.shelf().put(key, Arc::clone(&parsed), schema.text.len());
        Ok(parsed)
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, key: (String, Guid), schema: Arc<ParsedSchema>, bytes: usize) {
        if bytes > TEXT_BYTES_MAX / 4 || self.schemas.insert(key.clone(), (schema, bytes)).is_some() {
            return;
        }
        self.order.push_back(key);
        self.bytes += bytes;
        while self.order.len() > SCHEMAS_MAX || self.bytes > TEXT_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some((_, bytes)) = self.schemas.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}

/// Parses a text.
///
/// # Errors
/// With the language's reason.
pub fn parse(
    language: Language,
    text: &str,
    references: &[Referenced],
    strictness: Strictness,
) -> Result<ParsedSchema, Problem> {
    ParsedSchema::parse(language, text, references, strictness)
        .map_err(|error| Problem::invalid_schema(text, &error.to_string()))
}
