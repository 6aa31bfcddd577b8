//! Records held against a catalog that is there: what it does not know, and what it would refuse.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tidegate_schema::JsonSchema;

use crate::catalog::{Catalog, Event};
use crate::generate::event_schema;
use crate::proposal::legal_name;

/// The most differences that are told apart; more are counted.
const DIFFERENCES_MAX: usize = 1_000;
/// The most violations that are looked at of a record.
const VIOLATIONS_MAX: usize = 16;

/// What records have that a catalog does not say.
#[derive(Debug)]
pub struct Comparison<'a> {
    catalog: &'a Catalog,
    judges: BTreeMap<&'a str, Option<JsonSchema>>,
    differences: BTreeMap<(String, String, String), Difference>,
    /// Records that the catalog accepts, with nothing in them that it does not know.
    pub agreeing: u64,
    /// Records that were compared.
    pub compared: u64,
    /// Differences beyond those that are told apart.
    pub left_out: u64,
}

/// One way in which records differ from the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The event, as records name it.
    pub event: String,
    /// Where in the record: a JSON Pointer with `*` for items; empty for the whole.
    pub at: String,
    /// What is different.
    pub what: String,
    /// In how many records.
    pub records: u64,
    /// Where the first such record is.
    pub example: String,
}

impl<'a> Comparison<'a> {
    /// Nothing compared yet.
    #[must_use]
    pub const fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            judges: BTreeMap::new(),
            differences: BTreeMap::new(),
            agreeing: 0,
            compared: 0,
            left_out: 0,
        }
    }

    /// Compares a record of `topic` that says it is `event` (nothing, if it does not say); `place` is where it is.
    pub fn see(&mut self, topic: &str, event: &str, value: &Value, place: &str) {
        self.compared += 1;
        let name = if event.is_empty() { topic } else { event };
        let Some(known) = known(self.catalog, topic, event) else {
            self.differs((name, "", "an event that the catalog does not have".to_owned()), place);
            return;
        };
        let mut differences: Vec<(String, String)> = strangers(known, value);
        if let Some(schema) = self.judge(known) {
            for violation in schema.violations(value.to_string().as_bytes(), VIOLATIONS_MAX) {
                if violation.keyword != "additionalProperties" {
                    differences.push((violation.path, format!("expected {}", violation.expected)));
                }
            }
        }
        self.agreeing += u64::from(differences.is_empty());
        for (at, what) in differences {
            self.differs((name, &general(&at), what), place);
        }
    }

    fn judge(&mut self, event: &'a Event) -> Option<JsonSchema> {
        let made = self.judges.entry(&event.name).or_insert_with(|| {
            let schema = event_schema(self.catalog, event, event.version());
            JsonSchema::parse(&schema.to_string()).ok()
        });
        made.clone()
    }

    fn differs(&mut self, (event, at, what): (&str, &str, String), place: &str) {
        let key = (event.to_owned(), at.to_owned(), what);
        if let Some(known) = self.differences.get_mut(&key) {
            known.records += 1;
        } else if self.differences.len() < DIFFERENCES_MAX {
            let difference = Difference {
                event: key.0.clone(),
                at: key.1.clone(),
                what: key.2.clone(),
                records: 1,
                example: place.to_owned(),
            };
            self.differences.insert(key, difference);
        } else {
            self.left_out += 1;
        }
    }

    /// What differs, the most frequent first.
    #[must_use]
    pub fn differences(&self) -> Vec<&Difference> {
        let mut all: Vec<&Difference> = self.differences.values().collect();
        all.sort_by_key(|difference| std::cmp::Reverse(difference.records));
        all
    }
}

/// The catalog's event that a record of `topic` is, by what it says it is (nothing, if it does not say).
#[must_use]
pub fn known<'a>(catalog: &'a Catalog, topic: &str, event: &str) -> Option<&'a Event> {
    let by_name = catalog.events.get(&legal_name(if event.is_empty() { topic } else { event }));
    by_name.or_else(|| catalog.events.values().find(|event| event.topic == topic))
}

/// Fields that the event does not have.
fn strangers(event: &Event, value: &Value) -> Vec<(String, String)> {
    let names = value.as_object().into_iter().flatten().map(|(name, _)| name);
    let unknown = names.filter(|name| event.fields.iter().all(|field| field.in_records() != name.as_str()));
    unknown.map(|name| (format!("/{name}"), "a field that the catalog does not have".to_owned())).collect()
}

/// The place with `*` for items.
fn general(pointer: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = pointer.split('/').map(|part| if number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}
