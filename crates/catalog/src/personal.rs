//! Personal data: what happens to which fields before they are stored, and to which nothing does although something
//! should.

use std::fmt;

use serde::Serialize;

use crate::catalog::{Catalog, Column};
use crate::language::{KeyRef, PiiAction, PiiClass};

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
    /// The classes whose action nobody carries out: neither the sink nor the producers.
    #[must_use]
    pub fn untreated(&self) -> Vec<Untreated> {
        let classes = self.file.policies.pii.iter();
        let open = classes
            .filter(|(_, class)| class.action != PiiAction::Keep && !class.upstream && !class.carried_out());
        let all = open.map(|(name, class)| Untreated {
            class: name.to_owned(),
            action: class.action.as_str(),
            fields: self.fields_of_class(name),
        });
        all.filter(|untreated| !untreated.fields.is_empty()).collect()
    }

    /// The fields of a class of personal data, as `event.column`.
    #[must_use]
    pub fn fields_of_class(&self, class: &str) -> Vec<String> {
        let mut fields = Vec::new();
        for (event, of) in &self.events {
            let columns = of.columns(self.nulls()).into_iter();
            let its = columns.filter(|(_, column)| column.pii == Some(class));
            fields.extend(its.map(|(name, _)| format!("{event}.{name}")));
        }
        fields
    }

    /// What the sink does to a column's values before they are stored: the class that says so, with its name.
    #[must_use]
    pub fn treatment<'a>(&'a self, column: &Column<'a>) -> Option<(&'a str, &'a PiiClass)> {
        let name = column.pii?;
        let class = self.file.policies.pii.get(name)?;
        class.carried_out().then_some((name, class))
    }

    /// The classes that the sink carries out on some field, with their names.
    #[must_use]
    pub fn treated(&self) -> Vec<(&str, &PiiClass)> {
        let classes = self.file.policies.pii.iter().filter(|(_, class)| class.carried_out());
        classes.filter(|(name, _)| !self.fields_of_class(name).is_empty()).collect()
    }

    /// Where the keys are that the sink needs, each once, with a class that needs it.
    #[must_use]
    pub fn keys(&self) -> Vec<(&str, &KeyRef)> {
        let mut keys: Vec<(&str, &KeyRef)> = Vec::new();
        for (name, class) in self.treated() {
            let Some(key) = class.key_ref.as_ref().filter(|_| class.makes_texts()) else { continue };
            if keys.iter().all(|(_, known)| **known != key.value) {
                keys.push((name, &key.value));
            }
        }
        keys
    }
}

impl PiiClass {
    /// What has become of a value that is stored: `pseudonymised with the key in env:CDP_PII_KEY`.
    #[must_use]
    pub fn done(&self) -> String {
        match self.action {
            PiiAction::Keep | PiiAction::Restrict => "kept as it comes".to_owned(),
            PiiAction::Drop => "dropped".to_owned(),
            PiiAction::Pseudonymise => {
                let per: Vec<&str> = self.per.iter().map(|name| name.value.as_str()).collect();
                let per =
                    if per.is_empty() { String::new() } else { format!(", apart by {}", per.join(", ")) };
                let key = self.key_ref.as_ref();
                let key = key.map_or_else(String::new, |key| format!(" with the key in {}", key.value));
                format!("pseudonymised{key}{per}")
            }
            PiiAction::Truncate => {
                let texts = self.characters_max.map_or_else(String::new, |max| format!(", {max} characters"));
                format!("truncated to /{} (IPv4), /{} (IPv6){texts}", self.ipv4_prefix, self.ipv6_prefix)
            }
            PiiAction::Generalise => {
                let step = self.step.map_or_else(String::new, |step| format!(", multiple of {step}"));
                format!("generalised to the {}{step}, the origin of an url", self.to)
            }
        }
    }
}
