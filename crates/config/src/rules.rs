//! What the values of a column keep to, beside what the schema of a record says.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Number, Value, json};
use tidegate_yaml::diagnostic::Mistake;
use tidegate_yaml::node::Node;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Word;
use tidegate_yaml::{choice, section};

use crate::check::place;
use crate::connector::Connector;

section! {
    /// What each value of a column keeps to; in a list or map, each value in it. A record that breaks it is
    /// dead-lettered. What is absent or null keeps every rule.
    pub struct ColumnRules as "`rules`" {
        /// The least number.
        min: Option<Bound>;
        /// The greatest number.
        max: Option<Bound>;
        /// The most characters of a text.
        max_length: Option<u32>;
        /// The regular expression that a text satisfies somewhere in it, as JSON Schema has them.
        pattern: Option<Pattern>;
        /// The format that a text has.
        format: Option<TextFormat>;
        /// The texts that there are.
        one_of: Vec<String> = "[]";
        /// The rules of the members of a `Tuple`, by name: of the objects in a list or map.
        members: BTreeMap<String, ColumnRules> = "{}";
    }
}

choice! {
    /// A format of texts, as JSON Schema defines them.
    pub enum TextFormat {
        /// An address of electronic mail (RFC 5321).
        Email => "email",
        /// An address with its scheme (RFC 3986).
        Uri => "uri",
    }
}

/// A number of any size and precision, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound(Number);

impl Bound {
    /// The nearest double, for comparisons of bounds with each other.
    #[must_use]
    pub fn approximately(&self) -> f64 {
        self.0.as_f64().unwrap_or(f64::NAN)
    }
}

/// As JSON writes it.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for Bound {
    const EXPECTED: &'static str = "a number";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        serde_json::from_str(text).map(Self).map_err(|_| text.contains('_').then_some("write digits only"))
    }

    fn word_schema() -> Value {
        json!({"type": "number"})
    }
}

/// A regular expression that JSON Schema's `pattern` can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for Pattern {
    const EXPECTED: &'static str = "a regular expression (ECMA-262)";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        match jsonschema::validator_for(&json!({ "pattern": text })) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(None),
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string"})
    }
}

/// Bounds that some number is within, at the columns of all tables.
pub(crate) fn check(connector: &Connector, node: &Node, cx: &mut Reading<'_>) {
    for (mut path, column) in connector.every_column() {
        path.push("rules");
        if let Some(rules) = &column.rules {
            bounds(rules, &path, node, cx);
        }
    }
}

fn bounds(rules: &ColumnRules, path: &[&str], node: &Node, cx: &mut Reading<'_>) {
    if let (Some(min), Some(max)) = (&rules.min, &rules.max)
        && min.approximately() > max.approximately()
    {
        let at: Vec<&str> = path.iter().copied().chain(["min"]).collect();
        let message = format!("`min` of {min} is above `max` of {max}: no number is within");
        cx.report(Mistake::Conflict, place(node, &at), message, None);
    }
    for (name, member) in &rules.members {
        let within: Vec<&str> = path.iter().copied().chain(["members", name]).collect();
        bounds(member, &within, node, cx);
    }
}
