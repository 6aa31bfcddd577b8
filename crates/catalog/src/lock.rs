//! Numbers that must never change their meaning: codes of closed enums, Protobuf's field numbers.
//!
//! They are kept in `cdp.lock` beside the catalog, written by `tidegate catalog generate`. A name keeps its
//! number for ever; the number of a name that is gone is never given to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::language::Field;

/// Numbers by name.
pub type Numbers = BTreeMap<String, u32>;

/// What `cdp.lock` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    enums: BTreeMap<String, Numbers>,
    /// By event, or by event and object: `video_viewed`, `video_viewed.stalls`.
    messages: BTreeMap<String, Numbers>,
}

/// Why a text is no lock file.
#[derive(Debug)]
pub enum LockError {
    /// Not the JSON that is expected.
    Unreadable(serde_json::Error),
    /// A version that this program does not read.
    Version(u32),
    /// A number that stands for two names, or that no format has.
    Number {
        /// The enum or message.
        of: String,
        /// The number.
        number: u32,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "not a lock file: {error}"),
            Self::Version(version) => write!(f, "a lock file of version {version}; expected version 1"),
            Self::Number { of, number } => {
                write!(f, "number {number} of `{of}` stands twice or is out of range")
            }
        }
    }
}

impl std::error::Error for LockError {}

/// Protobuf's greatest field number; 19000 to 19999 are its own.
const NUMBER_MAX: u32 = (1 << 29) - 1;
const RESERVED: std::ops::RangeInclusive<u32> = 19_000..=19_999;

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// When it is none, or was changed by hand so that two names share a number.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let lock: Self = serde_json::from_str(text).map_err(LockError::Unreadable)?;
        if lock.version != 1 {
            return Err(LockError::Version(lock.version));
        }
        for (of, numbers) in lock.enums.iter().chain(&lock.messages) {
            let mut seen = BTreeSet::new();
            for number in numbers.values() {
                let legal = (1..=NUMBER_MAX).contains(number) && !RESERVED.contains(number);
                if !legal || !seen.insert(*number) {
                    return Err(LockError::Number { of: of.clone(), number: *number });
                }
            }
        }
        Ok(lock)
    }

    /// The lock with a number for every name of the catalog that has none.
    #[must_use]
    pub fn extended(&self, catalog: &Catalog) -> Self {
        let mut lock = Self { version: 1, ..self.clone() };
        for (name, source) in catalog.file.enums.iter().filter(|(_, source)| !source.open) {
            let numbers = lock.enums.entry(name.to_owned()).or_default();
            source.values.iter().for_each(|value| give(numbers, &value.value));
        }
        for event in catalog.events.values() {
            for field in &event.fields {
                lock.field(&event.name, &field.name, &field.field);
            }
        }
        lock
    }

    fn field(&mut self, message: &str, name: &str, field: &Field) {
        give(self.messages.entry(message.to_owned()).or_default(), name);
        let inner = format!("{message}.{name}");
        for (member, of) in field.fields.iter() {
            self.field(&inner, member, of);
        }
    }

    /// The codes of a closed enum, by word.
    #[must_use]
    pub fn codes(&self, name: &str) -> Option<&Numbers> {
        self.enums.get(name)
    }

    /// The numbers of a message's fields, by name.
    #[must_use]
    pub fn numbers(&self, message: &str) -> Option<&Numbers> {
        self.messages.get(message)
    }

    /// The lock file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Maps of texts and numbers always have a JSON.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn give(numbers: &mut Numbers, name: &str) {
    if numbers.contains_key(name) {
        return;
    }
    let mut next = numbers.values().max().map_or(1, |last| last + 1);
    if RESERVED.contains(&next) {
        next = RESERVED.end() + 1;
    }
    numbers.insert(name.to_owned(), next);
}
