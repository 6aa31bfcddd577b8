//! What every section and value of the file can do: be read from a node, and describe itself as JSON
//! Schema. `section!` and `choice!` make both out of one declaration.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::diagnostic::{Mistake, Position};
use crate::nearest::nearest;
use crate::node::{Entry, Node, NodeKind};
use crate::reading::Reading;

/// JSON Schemas of the sections, by name, while they are put together.
pub struct Definitions {
    sections: BTreeMap<String, Value>,
    interpolated: bool,
}

impl Definitions {
    /// For a file whose texts may have environment variables in them.
    #[must_use]
    pub const fn interpolated() -> Self {
        Self { sections: BTreeMap::new(), interpolated: true }
    }

    /// For a file whose texts are taken as they stand.
    #[must_use]
    pub const fn literal() -> Self {
        Self { sections: BTreeMap::new(), interpolated: false }
    }

    /// A reference to the section `name`, which `describe` describes if nobody has. Sections may contain
    /// themselves.
    pub fn define(&mut self, name: &str, describe: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.sections.contains_key(name) {
            self.sections.insert(name.to_owned(), Value::Null);
            let schema = describe(self);
            self.sections.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    /// The finished `$defs`.
    #[must_use]
    pub fn finish(self) -> Value {
        Value::Object(self.sections.into_iter().collect())
    }
}

/// The JSON Schema of one section while it is put together.
#[derive(Default)]
pub struct ObjectSchema {
    /// `properties`.
    pub properties: Map<String, Value>,
    /// `required`.
    pub required: Vec<Value>,
    /// `allOf`.
    pub rules: Vec<Value>,
}

/// One key of a section as it was declared.
#[derive(Clone, Copy)]
pub struct Declared {
    /// The key.
    pub key: &'static str,
    /// Its description, line by line.
    pub doc: &'static [&'static str],
    /// What it is when absent, as a file would say it.
    pub default: Option<&'static str>,
}

impl Declared {
    /// The key's schema with its description and default.
    pub fn annotate(&self, schema: Value) -> Value {
        let Value::Object(mut schema) = schema else { return schema };
        schema.insert("description".into(), Value::String(paragraph(self.doc)));
        if let Some(default) = self.default {
            schema.insert("default".into(), default_json(default));
        }
        Value::Object(schema)
    }
}

/// A part of the file.
pub trait Shape: Sized {
    /// Reads a node. `None` says that a mistake has been reported.
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self>;

    /// The JSON Schema of such a node.
    fn schema(definitions: &mut Definitions) -> Value;

    /// Reads the key of a section, if it is there.
    fn take_optional(fields: &mut Fields<'_, '_, '_>, declared: Declared) -> Option<Option<Self>> {
        match fields.find(declared.key) {
            Some(Node { kind: NodeKind::Nothing, .. }) | None => Some(None),
            Some(value) => Self::read(value, fields.cx).map(Some),
        }
    }

    /// Reads the key of a section, or its default. A key without a value counts as absent: its values
    /// were commented out.
    fn take(fields: &mut Fields<'_, '_, '_>, declared: Declared) -> Option<Self> {
        match (Self::take_optional(fields, declared)?, declared.default) {
            (Some(value), _) => Some(value),
            (None, Some(default)) => {
                Self::read(&default_node(default, fields.place_of(declared.key)), fields.cx)
            }
            (None, None) => {
                fields.missing(declared.key);
                None
            }
        }
    }

    /// Adds the key to the section's JSON Schema, as one that may be absent.
    fn describe_optional(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        let schema = declared.annotate(Self::schema(definitions));
        object.properties.insert(declared.key.to_owned(), schema);
    }

    /// Adds the key to the section's JSON Schema.
    fn describe(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        Self::describe_optional(declared, object, definitions);
        if declared.default.is_none() {
            object.required.push(declared.key.into());
        }
    }
}

/// A value that is written as one word.
pub trait Word: Sized {
    /// What is expected, with its article: `a size such as 32MiB`.
    const EXPECTED: &'static str;

    /// Parses the text; an error may say how it is written instead.
    fn parse_word(text: &str) -> Result<Self, Option<&'static str>>;

    /// The JSON Schema of the word, as YAML would type it.
    fn word_schema() -> Value;
}

impl<T: Word> Shape for T {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let text = cx.text(node, T::EXPECTED)?;
        match T::parse_word(&text) {
            Ok(word) => Some(word),
            Err(hint) => {
                let message = format!("expected {}, found {}", T::EXPECTED, written(node));
                cx.report(Mistake::BadValue, node.at, message, hint.map(str::to_owned));
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        or_variable(T::word_schema(), definitions)
    }
}

/// The value as it stands in the file. Not with its variables put in, and not an address with
/// credentials in it: those are secrets.
fn written(node: &Node) -> String {
    match &node.kind {
        NodeKind::Text(text) if !text.contains('@') => quoted(text),
        NodeKind::Text(_) | NodeKind::Nothing | NodeKind::List(_) | NodeKind::Map(_) => {
            format!("another {}", node.kind_name())
        }
    }
}

/// A value in backticks, shortened.
pub fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", text[..end].escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}

/// The schema, or a text with an environment variable in it.
pub fn or_variable(schema: Value, definitions: &mut Definitions) -> Value {
    if schema == json!({"type": "string"}) || !definitions.interpolated {
        return schema;
    }
    let variable = definitions.define("Variable", |_| {
        json!({
            "description": "A text with an environment variable: `${NAME}` or `${NAME:-fallback}`.",
            "type": "string",
            "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        })
    });
    json!({"anyOf": [schema, variable]})
}

impl<T: Shape> Shape for Option<T> {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        T::read(node, cx).map(Some)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }

    fn take(fields: &mut Fields<'_, '_, '_>, declared: Declared) -> Option<Self> {
        T::take_optional(fields, declared)
    }

    fn describe(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        T::describe_optional(declared, object, definitions);
    }
}

/// A list. One without a default has at least one item.
impl<T: Shape> Shape for Vec<T> {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let NodeKind::List(items) = &node.kind else {
            let hint = match node.kind {
                NodeKind::Text(_) => Some("put it in brackets: `[..]`".to_owned()),
                NodeKind::Nothing | NodeKind::List(_) | NodeKind::Map(_) => None,
            };
            let message = format!("expected a list, found {}", node.kind_name());
            cx.report(Mistake::WrongType, node.at, message, hint);
            return None;
        };
        // Every item is read, so that every mistake is found.
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, cx)).collect();
        read.into_iter().collect()
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }

    fn take(fields: &mut Fields<'_, '_, '_>, declared: Declared) -> Option<Self> {
        let list = Self::take_optional(fields, declared)?;
        match (list, declared.default) {
            (Some(list), default) if !list.is_empty() || default.is_some() => Some(list),
            (Some(_), _) => {
                let message = format!("`{}` is empty; expected at least one", declared.key);
                let at = fields.place_of(declared.key);
                fields.cx.report(Mistake::BadValue, at, message, None);
                None
            }
            (None, Some(_)) => Some(Self::new()),
            (None, None) => {
                fields.missing(declared.key);
                None
            }
        }
    }

    fn describe(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        let mut schema = Self::schema(definitions);
        if declared.default.is_none() {
            schema["minItems"] = 1.into();
            object.required.push(declared.key.into());
        }
        object.properties.insert(declared.key.to_owned(), declared.annotate(schema));
    }
}

impl<T: Shape> Shape for BTreeMap<String, T> {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let NodeKind::Map(entries) = &node.kind else {
            cx.wrong_type(node, "a mapping");
            return None;
        };
        let read: Vec<Option<(String, T)>> =
            entries.iter().map(|entry| Some((entry.key.clone(), T::read(&entry.value, cx)?))).collect();
        read.into_iter().collect()
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
}

/// A value with its place, for checks that come after the reading.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// Where it stands.
    pub at: Position,
    /// The value.
    pub value: T,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Shape> Shape for Located<T> {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        T::read(node, cx).map(|value| Self { at: node.at, value })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

/// The keys of one section while they are read.
pub struct Fields<'n, 'r, 'a> {
    /// Where the section stands.
    pub at: Position,
    /// The reading.
    pub cx: &'r mut Reading<'a>,
    title: &'static str,
    entries: &'n [Entry],
    known: Vec<String>,
    missing: Vec<String>,
}

impl<'n, 'r, 'a> Fields<'n, 'r, 'a> {
    /// Opens the section. `title` names it in messages: `a connector`.
    pub fn open(node: &'n Node, cx: &'r mut Reading<'a>, title: &'static str) -> Option<Self> {
        match &node.kind {
            NodeKind::Map(entries) => {
                Some(Self { at: node.at, cx, title, entries, known: Vec::new(), missing: Vec::new() })
            }
            NodeKind::Nothing => {
                Some(Self { at: node.at, cx, title, entries: &[], known: Vec::new(), missing: Vec::new() })
            }
            NodeKind::Text(_) | NodeKind::List(_) => {
                cx.wrong_type(node, &format!("{title}, which is a mapping"));
                None
            }
        }
    }

    /// The value under `key`, which is a known key from here on.
    pub fn find(&mut self, key: &str) -> Option<&'n Node> {
        self.known.push(key.to_owned());
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Where `key` stands, or the section if it is absent.
    pub fn place_of(&self, key: &str) -> Position {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.at, |entry| entry.value.at)
    }

    /// Notes a required key that is absent.
    pub fn missing(&mut self, key: &str) {
        self.missing.push(key.to_owned());
    }

    /// Reports the keys that nobody asked for, and the required ones that are absent. A key that is
    /// only misspelt is reported once.
    pub fn close(mut self) {
        let unknown = self.entries.iter().filter(|entry| !self.known.contains(&entry.key));
        for entry in unknown.take(crate::diagnostic::Diagnostics::KEPT_MAX) {
            let near = nearest(&entry.key, self.known.iter().map(String::as_str));
            let hint = match near {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known keys: {}", comma_list(&self.known)),
            };
            self.missing.retain(|missing| near != Some(missing));
            let message = format!("{} has no key {}", self.title, quoted(&entry.key));
            self.cx.report(Mistake::UnknownKey, entry.key_at, message, Some(hint));
        }
        for key in self.missing {
            let message = format!("{} lacks `{key}`", self.title);
            self.cx.report(Mistake::MissingKey, self.at, message, None);
        }
    }
}

/// Checks a value against its declared bounds, both included.
pub fn within<T: Shape + PartialOrd>(
    fields: &mut Fields<'_, '_, '_>,
    key: &str,
    value: Option<T>,
    min: &str,
    max: &str,
) -> Option<T> {
    let value = value?;
    let at = fields.place_of(key);
    let lowest = T::read(&default_node(min, at), fields.cx)?;
    let highest = T::read(&default_node(max, at), fields.cx)?;
    if value < lowest || value > highest {
        let message = format!("`{key}` is out of range; expected {min} to {max}");
        fields.cx.report(Mistake::OutOfRange, at, message, None);
        return None;
    }
    Some(value)
}

/// Adds the bounds to the key's schema: as keywords for numbers, in words for sizes and durations.
pub fn describe_bounds(object: &mut ObjectSchema, key: &str, min: &str, max: &str) {
    let Some(Value::Object(property)) = object.properties.get_mut(key) else { return };
    match (serde_json::from_str::<Value>(min), serde_json::from_str::<Value>(max)) {
        (Ok(low @ Value::Number(_)), Ok(high @ Value::Number(_))) => {
            property.insert("minimum".into(), low);
            property.insert("maximum".into(), high);
        }
        _ => {
            if let Some(Value::String(description)) = property.get_mut("description") {
                description.push_str(&format!(" From {min} to {max}."));
            }
        }
    }
}

/// The node that a declared default stands for.
pub fn default_node(text: &str, at: Position) -> Node {
    let kind = match text {
        "{}" => NodeKind::Map(Vec::new()),
        "[]" => NodeKind::List(Vec::new()),
        text => NodeKind::Text(text.to_owned()),
    };
    Node::new(at, kind)
}

/// A default as an editor sees it: `false` is a boolean, `none` a text.
pub fn default_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Doc comment lines as one paragraph.
pub fn paragraph(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Words in backticks, with commas between them.
pub fn comma_list<T: Display>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The object's finished schema.
pub fn object_schema(doc: &[&str], object: ObjectSchema) -> Value {
    let mut schema = json!({
        "description": paragraph(doc),
        "type": "object",
        "additionalProperties": false,
        "properties": object.properties,
    });
    if !object.required.is_empty() {
        schema["required"] = Value::Array(object.required);
    }
    if !object.rules.is_empty() {
        schema["allOf"] = Value::Array(object.rules);
    }
    schema
}

/// The index of the node's word among `words`.
pub fn choose(node: &Node, cx: &mut Reading<'_>, words: &[&str]) -> Option<usize> {
    let expected = format!("one of {}", comma_list(words));
    let text = cx.text(node, &expected)?;
    let index = words.iter().position(|word| *word == text);
    if index.is_none() {
        let hint = nearest(&text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
        let message = format!("expected {expected}, found {}", written(node));
        cx.report(Mistake::UnknownChoice, node.at, message, hint);
    }
    index
}
