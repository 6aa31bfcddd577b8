//! Values that a catalog quotes: defaults, examples, events of tests.

use serde_json::{Map, Number, Value, json};
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Shape, Word};

/// A JSON value as YAML writes it: a plain `5` is a number, `"5"` is a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal(pub Value);

impl Literal {
    /// The value as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }
}

impl Shape for Literal {
    fn read(node: &Node, _: &mut Reading<'_>) -> Option<Self> {
        Some(Self(value(node)))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}

/// The tree is as deep as the reader of YAML lets it be.
fn value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Nothing => Value::Null,
        NodeKind::Text(text) if node.quoted => Value::String(text.clone()),
        NodeKind::Text(text) => plain(text),
        NodeKind::List(items) => Value::Array(items.iter().map(value).collect()),
        NodeKind::Map(entries) => {
            let members = entries.iter().map(|entry| (entry.key.clone(), value(&entry.value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// The text as a number, if JSON has it as one.
fn number(text: &str) -> Option<Number> {
    let begins = text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit());
    if begins { serde_json::from_str(text).ok() } else { None }
}

/// A number of any size and precision, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound(pub Number);

impl Bound {
    /// The nearest double, for comparisons of bounds with each other.
    #[must_use]
    pub fn approximately(&self) -> f64 {
        self.0.as_f64().unwrap_or(f64::NAN)
    }
}

impl Word for Bound {
    const EXPECTED: &'static str = "a number";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        number(text).map(Self).ok_or(text.contains('_').then_some("write digits only"))
    }

    fn word_schema() -> Value {
        json!({"type": "number"})
    }
}
