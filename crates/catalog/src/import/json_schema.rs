//! JSON Schema, draft 4 to 2020-12, and Iglu's self-describing schemas.
//!
//! Every keyword of a schema is either used, or leaves a note: [`Keywords`] knows which were asked for.

mod alternatives;
mod keywords;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::numbers::{self, Bounds};
use super::texts::{self, TextRules};
use super::versions::Label;
use super::{Imported, Unreadable, version};
use crate::field_type::{FieldType, Scalar};
use crate::proposal::{Note, NoteKind, ProposedEvent, ProposedField, Words};
use keywords::Keywords;

/// A schema whose references unfold to more is kept as JSON from there on.
const FIELDS_MAX: usize = 20_000;
/// As deep as the catalog's objects go.
const DEPTH_MAX: usize = 24;

/// Whether a schema has to say in `self` what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The path says it otherwise.
    Optional,
    /// As Iglu has it.
    SelfDescribing,
}

/// Reads a schema.
pub(super) fn read(file: &str, schema: &Value, identity: Identity) -> Result<Imported, Unreadable> {
    let wrong = |message: String, hint: &str| Unreadable {
        file: file.to_owned(),
        at: String::new(),
        message,
        hint: hint.to_owned(),
    };
    let Value::Object(root) = schema else {
        let message = format!("expected a schema, which is an object, found {}", kind(schema));
        return Err(wrong(message, "leave the file out"));
    };
    let (family, label, source) = match (root.get("self").and_then(Value::as_object), identity) {
        (Some(described), _) => described_by_itself(described).ok_or_else(|| {
            wrong("`self` lacks `vendor`, `name` or `version`".to_owned(), "complete `self`")
        })?,
        (None, Identity::SelfDescribing) => {
            let hint = "add `self`, or import it as `json-schema`";
            return Err(wrong("expected `self` with vendor, name and version".to_owned(), hint));
        }
        (None, Identity::Optional) => {
            let (family, label) = named_by_path(file);
            (family, label, format!("JSON Schema `{file}`"))
        }
    };
    let mut event = ProposedEvent::new(family.clone());
    event.version = version(label);
    event.evidence.push(format!("from {source}"));
    let mut reading = Reading { root: schema, open: Vec::new(), n_fields: 0 };
    let whole = reading.value(schema, "", 0).0;
    fill(&mut event, whole);
    Ok(Imported { file: file.to_owned(), family, label, event })
}

fn described_by_itself(of: &Map<String, Value>) -> Option<(String, Option<Label>, String)> {
    let text = |key: &str| of.get(key).and_then(Value::as_str);
    let (vendor, name, version) = (text("vendor")?, text("name")?, text("version")?);
    let format = text("format").unwrap_or("jsonschema");
    let label = Label::parse(version)?;
    Some((format!("{vendor}.{name}"), Some(label), format!("iglu:{vendor}/{name}/{format}/{version}")))
}

/// `page.schema.json` is called `page`; `page/1-0-2`, `page/v2.json` and `page/avro/1-0-0` too.
pub(super) fn named_by_path(file: &str) -> (String, Option<Label>) {
    let mut parts = file.rsplit(['/', '\\']);
    let last = parts.next().unwrap_or(file);
    let mut stem = last;
    for end in [".json", ".avsc", ".schema"] {
        stem = stem.strip_suffix(end).unwrap_or(stem);
    }
    match Label::parse(stem) {
        Some(label) => {
            let formats = ["jsonschema", "avro"];
            let named = parts.find(|part| !part.is_empty() && *part != "." && !formats.contains(part));
            (named.unwrap_or(stem).to_owned(), Some(label))
        }
        None => (stem.to_owned(), None),
    }
}

/// Makes the members of the root the event's fields. A record that is no object has one field with the whole.
fn fill(event: &mut ProposedEvent, mut whole: ProposedField) {
    event.doc = whole.doc.take().unwrap_or_default();
    if whole.ty == FieldType::Object {
        event.fields = whole.members;
        event.notes.append(&mut whole.notes);
        return;
    }
    if whole.ty == FieldType::Json {
        let text = "no member is described: here a record has one, `value`, with the object";
        event.notes.push(Note { kind: NoteKind::Tightened, at: String::new(), text: text.to_owned() });
    } else {
        let text = format!("a record is no object but `{}`: here it is in the member `value`", whole.ty);
        event.notes.push(Note { kind: NoteKind::Tightened, at: String::new(), text });
    }
    "value".clone_into(&mut whole.name);
    event.fields = vec![whole];
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Reading<'a> {
    root: &'a Value,
    /// The references that are being followed.
    open: Vec<&'a str>,
    n_fields: usize,
}

/// A value without a name: what it is, and whether it may be null. Its type is never `optional`.
type Read = (ProposedField, bool);

fn any(kind: NoteKind, at: &str, text: impl Into<String>) -> ProposedField {
    let mut field = ProposedField::new("", FieldType::Any);
    field.note(kind, at, text);
    field
}

impl<'a> Reading<'a> {
    fn value(&mut self, schema: &'a Value, at: &str, depth: usize) -> Read {
        self.n_fields += 1;
        if depth > DEPTH_MAX || self.n_fields > FIELDS_MAX {
            return (any(NoteKind::AsJson, at, "too deep, or too large, to be unfolded"), true);
        }
        match schema {
            Value::Object(keywords) => self.described(keywords, at, depth),
            Value::Bool(true) => (any(NoteKind::Informative, at, "of no stated type"), true),
            Value::Bool(false) => (any(NoteKind::Loosened, at, "no value is taken in the source"), true),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let text = format!("expected a schema, found {}: any value is taken", kind(schema));
                (any(NoteKind::NotCarried, at, text), true)
            }
        }
    }

    fn described(&mut self, schema: &'a Map<String, Value>, at: &str, depth: usize) -> Read {
        let mut keywords = Keywords::new(schema);
        if let Some(reference) = keywords.text("$ref") {
            return self.referred(reference, keywords, at, depth);
        }
        if let Some(read) = self.alternatives(&mut keywords, at, depth) {
            return finish(read, keywords, at);
        }
        let (types, nullable) = types(&mut keywords);
        let only: Vec<&str> = types.iter().map(String::as_str).collect();
        let field = match only.as_slice() {
            ["string"] => self.text(&mut keywords, at),
            ["integer"] => integer(&mut keywords, at),
            ["number"] => real(&mut keywords, at),
            ["boolean"] => ProposedField::new("", FieldType::Scalar(Scalar::Bool)),
            ["array"] => self.list(&mut keywords, at, depth),
            ["object"] => self.object(&mut keywords, at, depth),
            [] if nullable => any(NoteKind::Loosened, at, "null is the only value in the source"),
            [] => any(NoteKind::Informative, at, "of no stated type"),
            several => {
                let text = format!("a value of {}", several.join(" or "));
                any(NoteKind::Informative, at, text)
            }
        };
        finish((field, nullable), keywords, at)
    }

    fn referred(&mut self, reference: &'a str, mut keywords: Keywords<'a>, at: &str, depth: usize) -> Read {
        let target = reference.strip_prefix('#').and_then(|pointer| {
            let pointer = pointer.replace("%24", "$").replace("%25", "%");
            self.root.pointer(&pointer)
        });
        let read = match target {
            Some(_) if self.open.contains(&reference) => {
                (any(NoteKind::AsJson, at, format!("`{reference}` is inside of itself")), true)
            }
            Some(target) => {
                self.open.push(reference);
                let read = self.value(target, reference.trim_start_matches('#'), depth + 1);
                self.open.pop();
                read
            }
            None => {
                let text = format!("`{reference}` is in another document: any value is taken");
                (any(NoteKind::NotCarried, at, text), true)
            }
        };
        keywords.used("definitions");
        keywords.used("$defs");
        finish(read, keywords, at)
    }

    fn text(&mut self, keywords: &mut Keywords<'a>, at: &str) -> ProposedField {
        let mut field = ProposedField::new("", FieldType::Scalar(Scalar::String));
        let rules = TextRules {
            format: keywords.text("format").map(str::to_owned),
            length_min: keywords.count("minLength"),
            length_max: keywords.count("maxLength"),
            pattern: keywords.text("pattern").map(str::to_owned),
        };
        let words = keywords.words();
        // Listed words are what they are, whatever the format says of them.
        let rules = if words.is_some() { TextRules { format: None, ..rules } } else { rules };
        texts::text(&mut field, rules, at);
        field.words = words.map(|values| Words { values, open: false });
        field
    }

    fn list(&mut self, keywords: &mut Keywords<'a>, at: &str, depth: usize) -> ProposedField {
        let items = keywords.get("items");
        let prefix = keywords.get("prefixItems");
        let (mut item, nullable) = match (items, prefix) {
            (Some(Value::Array(_)), _) | (_, Some(_)) => {
                (any(NoteKind::AsJson, at, "each place of the list has a type of its own"), false)
            }
            (Some(of), None) => self.value(of, &format!("{at}/items"), depth + 1),
            (None, None) => (any(NoteKind::Informative, at, "a list of values of no stated type"), false),
        };
        within(&mut item, at);
        item.ty = FieldType::Array(Box::new(optional(item.ty, nullable)));
        item
    }

    fn object(&mut self, keywords: &mut Keywords<'a>, at: &str, depth: usize) -> ProposedField {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let named = properties.filter(|properties| !properties.is_empty());
        let Some(properties) = named else { return self.map(keywords, at, depth) };
        let required: BTreeSet<&str> = keywords.texts("required").into_iter().collect();
        let mut field = ProposedField::new("", FieldType::Object);
        for (name, schema) in properties {
            let pointer = format!("{at}/properties/{}", escaped(name));
            let read = self.value(schema, &pointer, depth + 1);
            let required = required.contains(name.as_str());
            field.members.push(member(name, read, required, &pointer));
        }
        for name in required.iter().filter(|name| !properties.contains_key(**name)) {
            let pointer = format!("{at}/required");
            let text = format!("`{name}` must be there and is not described");
            let read = (any(NoteKind::Informative, &pointer, text), true);
            field.members.push(member(name, read, false, &pointer));
        }
        match keywords.get("additionalProperties") {
            Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) | None => field.note(NoteKind::Tightened, at, OPEN),
            Some(_) => {
                field.note(NoteKind::Tightened, at, OPEN);
                field.note(NoteKind::NotCarried, at, "additionalProperties that are described");
            }
        }
        field
    }

    /// An object whose members nobody names: a map, if its values are described.
    fn map(&mut self, keywords: &mut Keywords<'a>, at: &str, depth: usize) -> ProposedField {
        keywords.get("properties");
        let additional = keywords.get("additionalProperties");
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        let required = keywords.texts("required");
        let (values, pointer) = match (additional, patterns) {
            (Some(of @ Value::Object(_)), None) => (of, format!("{at}/additionalProperties")),
            (Some(Value::Bool(false)) | None, Some(patterns)) if patterns.len() == 1 => {
                let Some((pattern, of)) = patterns.iter().next() else {
                    return ProposedField::new("", FieldType::Json);
                };
                (of, format!("{at}/patternProperties/{}", escaped(pattern)))
            }
            (_, _) => {
                let mut field = ProposedField::new("", FieldType::Json);
                field.note(NoteKind::Informative, at, "an object whose members nobody names");
                if patterns.is_some() {
                    field.note(NoteKind::NotCarried, at, "patternProperties");
                }
                for name in required {
                    field.note(NoteKind::NotCarried, at, format!("member `{name}` must be there"));
                }
                return field;
            }
        };
        let (mut value, nullable) = self.value(values, &pointer, depth + 1);
        within(&mut value, at);
        value.ty = FieldType::Map(Box::new(optional(value.ty, nullable)));
        if patterns.is_some() {
            value.note(NoteKind::Loosened, at, "keys of any form are taken");
        }
        for name in required {
            value.note(NoteKind::NotCarried, at, format!("key `{name}` must be there"));
        }
        value
    }
}

const OPEN: &str = "takes other members too; here `unknown_fields` decides";

/// A member of an object. One that must be there, if only as null, may be absent here.
fn member(name: &str, (mut field, nullable): Read, required: bool, at: &str) -> ProposedField {
    name.clone_into(&mut field.name);
    if required && nullable && field.ty != FieldType::Any {
        field.note(NoteKind::Loosened, at, "must be there, if only as null; here it may be absent");
    }
    let list = matches!(field.ty, FieldType::Array(_) | FieldType::Map(_));
    if nullable && list {
        field.note(NoteKind::Tightened, at, "may be null; here a list or map that is not there is left out");
    }
    field.ty = optional(field.ty, nullable || !required);
    field
}

/// What is said of a value in a list is not said of the list.
fn within(value: &mut ProposedField, at: &str) {
    if let Some(default) = value.default.take() {
        value.note(NoteKind::NotCarried, at, format!("default {default} of each value"));
    }
    if !value.examples.is_empty() {
        let examples = Value::Array(std::mem::take(&mut value.examples));
        value.note(NoteKind::NotCarried, at, format!("examples {examples} of each value"));
    }
}

fn optional(ty: FieldType, optional: bool) -> FieldType {
    if optional { FieldType::Optional(Box::new(ty)) } else { ty }
}

/// A name as a JSON pointer has it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The types that are stated, or that the keywords are about, without null; and whether null is among them.
fn types(keywords: &mut Keywords<'_>) -> (Vec<String>, bool) {
    let stated = match keywords.get("type") {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(several)) => {
            Some(several.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(_) | None => None,
    };
    let mut types = stated.unwrap_or_else(|| keywords.implied());
    let nullable = types.iter().any(|ty| ty == "null");
    types.retain(|ty| ty != "null");
    if types.iter().any(|ty| ty == "number") {
        types.retain(|ty| ty != "integer");
    }
    let mut seen = BTreeSet::new();
    types.retain(|ty| seen.insert(ty.clone()));
    // A list of values without null takes none, and one with it does whatever `type` says.
    let nullable = nullable && keywords.listed().is_none_or(|values| values.contains(&Value::Null));
    (types, nullable)
}

fn bounds(keywords: &mut Keywords<'_>) -> Bounds {
    let number = |value: Option<&Value>| value.and_then(Value::as_number).cloned();
    let mut bounds = Bounds {
        min: number(keywords.get("minimum")),
        max: number(keywords.get("maximum")),
        above_min: false,
        below_max: false,
    };
    match keywords.get("exclusiveMinimum") {
        // Draft 4 says of `minimum` that it is exclusive.
        Some(Value::Bool(exclusive)) => bounds.above_min = *exclusive,
        Some(Value::Number(least)) => (bounds.min, bounds.above_min) = (Some(least.clone()), true),
        Some(_) | None => {}
    }
    match keywords.get("exclusiveMaximum") {
        Some(Value::Bool(exclusive)) => bounds.below_max = *exclusive,
        Some(Value::Number(most)) => (bounds.max, bounds.below_max) = (Some(most.clone()), true),
        Some(_) | None => {}
    }
    bounds
}

fn integer(keywords: &mut Keywords<'_>, at: &str) -> ProposedField {
    let mut field = ProposedField::new("", FieldType::Scalar(Scalar::Integer { signed: true, bits: 64 }));
    let bounds = bounds(keywords);
    numbers::integer(&mut field, &bounds, at);
    if let Some(step) = keywords.get("multipleOf").filter(|step| step.as_f64() != Some(1.0)) {
        field.note(NoteKind::NotCarried, at, format!("multipleOf {step}"));
    }
    field
}

fn real(keywords: &mut Keywords<'_>, at: &str) -> ProposedField {
    let mut field = ProposedField::new("", FieldType::Scalar(Scalar::Float { bits: 64 }));
    let bounds = bounds(keywords);
    numbers::real(&mut field, (&bounds, keywords.get("multipleOf")), at);
    field
}

/// What every value may have, and a note for each keyword that nobody asked for.
fn finish((mut field, nullable): Read, mut keywords: Keywords<'_>, at: &str) -> Read {
    let title = keywords.text("title").filter(|title| !title.trim().is_empty());
    let said = keywords.text("description").filter(|text| !text.trim().is_empty());
    if let Some(doc) = said.or(title) {
        field.doc = Some(doc.trim().to_owned());
    }
    if let Some(default) = keywords.get("default") {
        field.default = Some(default.clone());
    }
    if let Some(Value::Array(examples)) = keywords.get("examples") {
        field.examples =
            examples.iter().filter(|example| example_fits(&field.ty, example)).cloned().collect();
        let n_left = examples.len() - field.examples.len();
        if n_left > 0 {
            field.note(NoteKind::NotCarried, at, format!("{n_left} examples of another type"));
        }
    }
    for (keyword, value) in keywords.rest() {
        let shown: String = value.to_string().chars().take(80).collect();
        let ending = if shown.len() < value.to_string().len() { ".." } else { "" };
        field.note(
            NoteKind::NotCarried,
            format!("{at}/{}", escaped(keyword)),
            format!("{keyword} {shown}{ending}"),
        );
    }
    (field, nullable)
}

fn example_fits(ty: &FieldType, example: &Value) -> bool {
    match ty {
        FieldType::Optional(inner) => example_fits(inner, example),
        FieldType::Array(_) => example.is_array(),
        FieldType::Map(_) | FieldType::Object | FieldType::Json => example.is_object(),
        FieldType::Any => true,
        FieldType::Scalar(scalar) => match scalar {
            Scalar::Bool => example.is_boolean(),
            Scalar::Integer { .. } | Scalar::Duration => example.is_i64() || example.is_u64(),
            Scalar::Float { .. } | Scalar::Decimal { .. } => example.is_number(),
            Scalar::String
            | Scalar::Enum(_)
            | Scalar::Timestamp(_)
            | Scalar::Date
            | Scalar::Uuid
            | Scalar::Ip
            | Scalar::Url
            | Scalar::Email
            | Scalar::Geohash { .. } => example.is_string(),
        },
    }
}
