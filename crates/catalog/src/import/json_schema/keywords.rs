//! The keywords of a schema, of which it is known which have been asked for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What a schema says about itself and not about values.
const ABOUT_ITSELF: [&str; 9] =
    ["$schema", "$id", "id", "$comment", "self", "definitions", "$defs", "$anchor", "$vocabulary"];
/// Whom they are about, where a schema states no type.
const ABOUT: [(&str, &str); 21] = [
    ("properties", "object"),
    ("patternProperties", "object"),
    ("additionalProperties", "object"),
    ("minProperties", "object"),
    ("maxProperties", "object"),
    ("propertyNames", "object"),
    ("required", "object"),
    ("items", "array"),
    ("prefixItems", "array"),
    ("minItems", "array"),
    ("maxItems", "array"),
    ("uniqueItems", "array"),
    ("pattern", "string"),
    ("format", "string"),
    ("minLength", "string"),
    ("maxLength", "string"),
    ("minimum", "number"),
    ("maximum", "number"),
    ("exclusiveMinimum", "number"),
    ("exclusiveMaximum", "number"),
    ("multipleOf", "number"),
];

pub(super) struct Keywords<'a> {
    schema: &'a Map<String, Value>,
    used: BTreeSet<&'static str>,
}

impl<'a> Keywords<'a> {
    pub(super) fn new(schema: &'a Map<String, Value>) -> Self {
        Self { schema, used: ABOUT_ITSELF.into_iter().collect() }
    }

    /// The value of a keyword, which has been seen to from now on.
    pub(super) fn get(&mut self, keyword: &'static str) -> Option<&'a Value> {
        self.used.insert(keyword);
        self.schema.get(keyword)
    }

    /// Says that a keyword has been seen to.
    pub(super) fn used(&mut self, keyword: &'static str) {
        self.used.insert(keyword);
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.schema.contains_key(keyword)
    }

    pub(super) fn schema(&self) -> &'a Map<String, Value> {
        self.schema
    }

    /// A text. One of another type is left, and so is told of.
    pub(super) fn text(&mut self, keyword: &'static str) -> Option<&'a str> {
        let text = self.schema.get(keyword)?.as_str()?;
        self.used.insert(keyword);
        Some(text)
    }

    pub(super) fn texts(&mut self, keyword: &'static str) -> Vec<&'a str> {
        match self.schema.get(keyword) {
            Some(Value::Array(texts)) => {
                self.used.insert(keyword);
                texts.iter().filter_map(Value::as_str).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    pub(super) fn count(&mut self, keyword: &'static str) -> Option<u64> {
        let value = self.schema.get(keyword)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative")]
        let count = value
            .as_u64()
            .or_else(|| value.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0).map(|n| n as u64))?;
        self.used.insert(keyword);
        Some(count)
    }

    /// The only values that are taken, if they are listed.
    pub(super) fn listed(&self) -> Option<Vec<Value>> {
        match (self.schema.get("enum"), self.schema.get("const")) {
            (Some(Value::Array(values)), _) => Some(values.clone()),
            (_, Some(only)) => Some(vec![only.clone()]),
            (_, _) => None,
        }
    }

    /// The only texts that are taken, if values are listed; null aside.
    pub(super) fn words(&mut self) -> Option<Vec<String>> {
        let listed = self.listed()?;
        self.used.extend(["enum", "const"]);
        Some(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The types of the values that are listed, or those that the keywords are about.
    pub(super) fn implied(&self) -> Vec<String> {
        if let Some(listed) = self.listed() {
            let types: BTreeSet<&str> = listed.iter().map(type_of).collect();
            return types.into_iter().map(str::to_owned).collect();
        }
        let about = ABOUT.iter().filter(|(keyword, _)| self.schema.contains_key(*keyword));
        let types: BTreeSet<&str> = about.map(|(_, ty)| *ty).collect();
        // Of several nobody knows which is meant.
        if types.len() == 1 { types.into_iter().map(str::to_owned).collect() } else { Vec::new() }
    }

    /// The keywords that nobody has asked for.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.schema.iter().filter(|(keyword, _)| !self.used.contains(keyword.as_str()))
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
