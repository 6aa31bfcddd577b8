//! Personal data: which fields are of a class that something should be done to, and to which nothing is done.

use std::fmt;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::language::{Field, PiiAction};

/// A class of personal data whose fields are stored as they come, although it says that they should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Untreated {
    /// The class.
    pub class: String,
    /// What should be done.
    pub action: &'static str,
    /// The fields, as `event.field`, in the catalog's order. There is at least one.
    pub fields: Vec<String>,
}

impl fmt::Display for Untreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, action, fields } = self;
        let first = fields.first().map_or("", String::as_str);
        let more = match fields.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        write!(f, "class `{class}`, action `{action}`: `{first}`{more}")
    }
}

impl Catalog {
    /// The classes whose action nobody carries out: it is neither `keep` nor done by the producers.
    #[must_use]
    pub fn untreated(&self) -> Vec<Untreated> {
        let classes = self.file.policies.pii.iter();
        let open = classes.filter(|(_, class)| class.action != PiiAction::Keep && !class.upstream);
        let all = open.map(|(name, class)| {
            let mut fields = Vec::new();
            for (event, of) in &self.events {
                for field in &of.fields {
                    collect(&format!("{event}.{}", field.name), &field.field, name, &mut fields);
                }
            }
            Untreated { class: name.to_owned(), action: class.action.as_str(), fields }
        });
        all.filter(|untreated| !untreated.fields.is_empty()).collect()
    }
}

fn collect(path: &str, field: &Field, class: &str, found: &mut Vec<String>) {
    if field.pii.as_ref().is_some_and(|own| own.value == class) {
        found.push(path.to_owned());
        return;
    }
    for (member, inner) in field.fields.iter() {
        collect(&format!("{path}.{member}"), inner, class, found);
    }
}
