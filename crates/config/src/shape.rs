//! What every section and value of the file can do: be read from a node, and describe itself as JSON
//! Schema. `section!` and `choice!` make both out of one declaration.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::diagnostic::{Mistake, Position};
use crate::nearest::nearest;
use crate::node::{Entry, Node, NodeKind};
use crate::reading::Reading;

/// JSON Schemas of the sections, by name.
pub(crate) type Definitions = BTreeMap<String, Value>;

/// The JSON Schema of one section while it is put together.
#[derive(Default)]
pub(crate) struct ObjectSchema {
    pub(crate) properties: Map<String, Value>,
    pub(crate) required: Vec<Value>,
    pub(crate) rules: Vec<Value>,
}

/// One key of a section as it was declared.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) default: Option<&'static str>,
}

impl Declared {
    /// The key's schema with its description and default.
    pub(crate) fn annotate(&self, schema: Value) -> Value {
        let Value::Object(mut schema) = schema else { return schema };
        schema.insert("description".into(), Value::String(paragraph(self.doc)));
        if let Some(default) = self.default {
            schema.insert("default".into(), default_json(default));
        }
        Value::Object(schema)
    }
}

/// A part of the file.
pub(crate) trait Shape: Sized {
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
pub(crate) trait Word: Sized {
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
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", text[..end].escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}

/// The schema, or a text with an environment variable in it.
pub(crate) fn or_variable(schema: Value, definitions: &mut Definitions) -> Value {
    if schema == json!({"type": "string"}) {
        return schema;
    }
    definitions.entry("Variable".to_owned()).or_insert_with(|| {
        json!({
            "description": "A text with an environment variable: `${NAME}` or `${NAME:-fallback}`.",
            "type": "string",
            "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        })
    });
    json!({"anyOf": [schema, {"$ref": "#/$defs/Variable"}]})
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

/// The keys of one section while they are read.
pub(crate) struct Fields<'n, 'r, 'a> {
    pub(crate) at: Position,
    pub(crate) cx: &'r mut Reading<'a>,
    title: &'static str,
    entries: &'n [Entry],
    known: Vec<String>,
    missing: Vec<String>,
}

impl<'n, 'r, 'a> Fields<'n, 'r, 'a> {
    /// Opens the section. `title` names it in messages: `a connector`.
    pub(crate) fn open(node: &'n Node, cx: &'r mut Reading<'a>, title: &'static str) -> Option<Self> {
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
    pub(crate) fn find(&mut self, key: &str) -> Option<&'n Node> {
        self.known.push(key.to_owned());
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Where `key` stands, or the section if it is absent.
    pub(crate) fn place_of(&self, key: &str) -> Position {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.at, |entry| entry.value.at)
    }

    /// Notes a required key that is absent.
    pub(crate) fn missing(&mut self, key: &str) {
        self.missing.push(key.to_owned());
    }

    /// Reports the keys that nobody asked for, and the required ones that are absent. A key that is
    /// only misspelt is reported once.
    pub(crate) fn close(mut self) {
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&entry.key)) {
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
pub(crate) fn within<T: Shape + PartialOrd>(
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
pub(crate) fn describe_bounds(object: &mut ObjectSchema, key: &str, min: &str, max: &str) {
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
pub(crate) fn default_node(text: &str, at: Position) -> Node {
    let kind = match text {
        "{}" => NodeKind::Map(Vec::new()),
        "[]" => NodeKind::List(Vec::new()),
        text => NodeKind::Text(text.to_owned()),
    };
    Node { at, kind }
}

/// A default as an editor sees it: `false` is a boolean, `none` a text.
pub(crate) fn default_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Doc comment lines as one paragraph.
pub(crate) fn paragraph(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn comma_list<T: Display>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The object's finished schema.
pub(crate) fn object_schema(doc: &[&str], object: ObjectSchema) -> Value {
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

/// A section of the file: the struct, its reader and its JSON Schema.
///
/// `key: Type;` is required (unless it is an `Option`), `key: Type = "text";` has a default, written as
/// it would be in the file, and `, "min".."max"` bounds the value, both included.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident as $title:literal {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident: $type:ty $(= $default:literal)? $(, $min:literal..$max:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $field_doc])* $visibility $field: $type,)*
        }

        impl $crate::shape::Shape for $name {
            fn read(
                node: &$crate::node::Node,
                cx: &mut $crate::reading::Reading<'_>,
            ) -> Option<Self> {
                let mut fields = $crate::shape::Fields::open(node, cx, $title)?;
                $(
                    let $field: Option<$type> =
                        $crate::shape::Shape::take(&mut fields, section!(@declared $field $([$field_doc])* ; $($default)?));
                    $(let $field = $crate::shape::within(&mut fields, stringify!($field), $field, $min, $max);)?
                )*
                fields.close();
                Some(Self { $($field: $field?,)* })
            }

            fn schema(definitions: &mut $crate::shape::Definitions) -> serde_json::Value {
                let mut object = $crate::shape::ObjectSchema::default();
                $(
                    <$type as $crate::shape::Shape>::describe(
                        section!(@declared $field $([$field_doc])* ; $($default)?),
                        &mut object,
                        definitions,
                    );
                    $($crate::shape::describe_bounds(&mut object, stringify!($field), $min, $max);)?
                )*
                let schema = $crate::shape::object_schema(&[$($doc),*], object);
                definitions.insert(stringify!($name).to_owned(), schema);
                serde_json::json!({"$ref": concat!("#/$defs/", stringify!($name))})
            }
        }
    };
    (@declared $field:ident $([$doc:literal])* ; $default:literal) => {
        $crate::shape::Declared { key: stringify!($field), doc: &[$($doc),*], default: Some($default) }
    };
    (@declared $field:ident $([$doc:literal])* ;) => {
        $crate::shape::Declared { key: stringify!($field), doc: &[$($doc),*], default: None }
    };
}

/// One word of a closed list: the enum, its reader with suggestions and its JSON Schema.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $($(#[doc = $variant_doc:literal])* $variant:ident => $word:literal,)+ }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $variant_doc])* $variant,)+ }

        impl $name {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that the file uses.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::shape::Shape for $name {
            fn read(node: &$crate::node::Node, cx: &mut $crate::reading::Reading<'_>) -> Option<Self> {
                let words = &[$($word),+];
                let index = $crate::shape::choose(node, cx, words)?;
                Self::ALL.get(index).copied()
            }

            fn schema(definitions: &mut $crate::shape::Definitions) -> serde_json::Value {
                let words: Vec<serde_json::Value> = vec![$($crate::shape::default_json($word)),+];
                $crate::shape::or_variable(serde_json::json!({"enum": words}), definitions)
            }
        }
    };
}

/// The index of the node's word among `words`.
pub(crate) fn choose(node: &Node, cx: &mut Reading<'_>, words: &[&str]) -> Option<usize> {
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

pub(crate) use {choice, section};
