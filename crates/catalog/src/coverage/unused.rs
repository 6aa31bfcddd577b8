//! The reverse list: what is collected and counted by no metric.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use crate::catalog::{Catalog, Origin};
use crate::lineage;

/// What no metric reads. Left out are fields that a dimension splits by, that an entity keeps, and the time that
/// every question is asked along.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Unused {
    /// Events of which no metric counts any row.
    pub events: Vec<String>,
    /// Fields of other events that no metric reads, by event.
    pub fields: BTreeMap<String, Vec<String>>,
    /// Fields of the envelope and of contexts that no metric reads of any event.
    pub shared: Vec<String>,
}

impl Unused {
    /// How many fields there are.
    #[must_use]
    pub fn n_fields(&self) -> usize {
        self.fields.values().map(Vec::len).sum::<usize>() + self.shared.len()
    }
}

pub(super) fn unused(catalog: &Catalog) -> Unused {
    let mut read: BTreeSet<(String, String)> = BTreeSet::new();
    for name in catalog.file.metrics.keys() {
        read.extend(lineage::fields(catalog, name));
    }
    let counted: HashSet<&str> = read.iter().map(|(event, _)| event.as_str()).collect();
    let anywhere: HashSet<&str> = read.iter().map(|(_, field)| field.as_str()).collect();
    let split = split_by(catalog);
    let mut unused = Unused::default();
    let mut shared: BTreeSet<String> = BTreeSet::new();
    for (name, event) in &catalog.events {
        if !counted.contains(name.as_str()) {
            unused.events.push(name.clone());
        }
        for field in &event.fields {
            // An object is used if one of its members is.
            let within = format!("{}__", field.name);
            let is = |column: &str| column == field.name || column.starts_with(&within);
            if field.name == "ts" || split.iter().any(|column| is(column)) {
                continue;
            }
            match &field.origin {
                Origin::Event if counted.contains(name.as_str()) => {
                    if !read.iter().any(|(event, column)| event == name && is(column)) {
                        unused.fields.entry(name.clone()).or_default().push(field.name.clone());
                    }
                }
                Origin::Event => {}
                Origin::Envelope | Origin::Context(_) => {
                    if !anywhere.iter().any(|column| is(column)) {
                        shared.insert(field.name.clone());
                    }
                }
            }
        }
    }
    unused.shared = shared.into_iter().collect();
    unused
}

/// Fields that dimensions and entities read.
fn split_by(catalog: &Catalog) -> HashSet<&str> {
    let mut split: HashSet<&str> = HashSet::new();
    for (_, dimension) in catalog.file.dimensions.iter() {
        split.extend(dimension.field.iter().chain(&dimension.via).map(|field| field.value.as_str()));
        let names = dimension.expr.iter().flat_map(|expr| expr.value.names());
        split.extend(names.map(|(name, _)| name));
    }
    for (_, entity) in catalog.file.entities.iter() {
        split.insert(&entity.key.value);
        split.extend(entity.fields.iter().map(|field| field.value.as_str()));
    }
    split
}
