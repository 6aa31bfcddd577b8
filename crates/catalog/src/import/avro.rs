//! Avro: a record's fields as an event's.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json_schema::{kind, named_by_path};
use super::{Imported, Unreadable, version};
use crate::field_type::{FieldType, Scalar, SecondFraction};
use crate::proposal::{NoteKind, ProposedEvent, ProposedField, Words};

const FIELDS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 24;

/// Reads a schema. Its version, which Avro does not know, is the path's.
pub(super) fn read(file: &str, schema: &Value) -> Result<Imported, Unreadable> {
    let wrong = |message: String| Unreadable {
        file: file.to_owned(),
        at: String::new(),
        message,
        hint: "an event is a record: import the file that has it, or leave this one out".to_owned(),
    };
    let record = schema.as_object().filter(|of| of.get("type").is_some_and(|ty| ty == "record"));
    let Some(record) = record else {
        return Err(wrong(format!("expected an Avro schema of a record, found {}", shown(schema))));
    };
    let Some(name) = record.get("name").and_then(Value::as_str) else {
        return Err(wrong("the record has no `name`".to_owned()));
    };
    let space = record.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let full = full_name(name, space);
    let (_, label) = named_by_path(file);
    let mut event = ProposedEvent::new(full.rsplit('.').next().unwrap_or(&full));
    event.version = version(label);
    event.evidence.push(format!("from Avro `{full}` in `{file}`"));
    let mut reading = Reading { named: BTreeMap::new(), open: Vec::new(), n_fields: 0 };
    reading.learn(schema, space, 0);
    let whole = reading.value(schema, space, ("", 0)).0;
    event.doc = whole.doc.unwrap_or_default();
    event.fields = whole.members;
    event.notes = whole.notes;
    Ok(Imported { file: file.to_owned(), family: full, label, event })
}

fn shown(schema: &Value) -> String {
    match schema.get("type") {
        Some(Value::String(ty)) => format!("type `{ty}`"),
        Some(_) | None => kind(schema).to_owned(),
    }
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

struct Reading<'a> {
    /// Types that have names, with the namespace in which their own parts are.
    named: BTreeMap<String, (&'a Value, String)>,
    open: Vec<String>,
    n_fields: usize,
}

/// A value without a name, and whether it may be null.
type Read = (ProposedField, bool);

fn scalar(of: Scalar) -> ProposedField {
    ProposedField::new("", FieldType::Scalar(of))
}

fn any(kind: NoteKind, at: &str, text: impl Into<String>) -> ProposedField {
    let mut field = ProposedField::new("", FieldType::Any);
    field.note(kind, at, text);
    field
}

impl<'a> Reading<'a> {
    /// Notes every type that has a name: fields may name it before they do.
    fn learn(&mut self, schema: &'a Value, space: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        match schema {
            Value::Array(branches) => branches.iter().for_each(|branch| self.learn(branch, space, depth + 1)),
            Value::Object(of) => {
                let space = of.get("namespace").and_then(Value::as_str).unwrap_or(space);
                if let Some(name) = of.get("name").and_then(Value::as_str) {
                    let full = full_name(name, space);
                    let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
                    self.named.entry(full).or_insert((schema, space));
                }
                for part in ["type", "items", "values"] {
                    of.get(part).into_iter().for_each(|part| self.learn(part, space, depth + 1));
                }
                let fields = of.get("fields").and_then(Value::as_array).into_iter().flatten();
                fields.filter_map(|field| field.get("type")).for_each(|ty| self.learn(ty, space, depth + 1));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn value(&mut self, schema: &'a Value, space: &str, (at, depth): (&str, usize)) -> Read {
        self.n_fields += 1;
        if depth > DEPTH_MAX || self.n_fields > FIELDS_MAX {
            return (any(NoteKind::AsJson, at, "too deep, or too large, to be unfolded"), true);
        }
        match schema {
            Value::String(name) => self.named_type(name, space, (at, depth)),
            Value::Array(branches) => self.union(branches, space, (at, depth)),
            Value::Object(of) => {
                let space = of.get("namespace").and_then(Value::as_str).unwrap_or(space);
                (self.complex(of, space, (at, depth)), false)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let text = format!("expected a schema, found {}: any value is taken", kind(schema));
                (any(NoteKind::NotCarried, at, text), true)
            }
        }
    }

    fn named_type(&mut self, name: &str, space: &str, (at, depth): (&str, usize)) -> Read {
        let field = match name {
            "null" => return (any(NoteKind::Loosened, at, "null is the only value in the source"), true),
            "boolean" => scalar(Scalar::Bool),
            "int" => scalar(Scalar::Integer { signed: true, bits: 32 }),
            "long" => scalar(Scalar::Integer { signed: true, bits: 64 }),
            "float" => scalar(Scalar::Float { bits: 32 }),
            "double" => scalar(Scalar::Float { bits: 64 }),
            "string" => scalar(Scalar::String),
            "bytes" => bytes(at),
            name => {
                let full = full_name(name, space);
                let known = [full, name.to_owned()].into_iter().find(|full| self.named.contains_key(full));
                let Some(full) = known else {
                    let text = format!("`{name}` is defined nowhere in the file: any value is taken");
                    return (any(NoteKind::NotCarried, at, text), true);
                };
                if self.open.contains(&full) {
                    return (any(NoteKind::AsJson, at, format!("`{full}` is inside of itself")), false);
                }
                let Some((schema, space)) = self.named.get(&full).cloned() else { return (bytes(at), false) };
                return self.value(schema, &space, (at, depth + 1));
            }
        };
        (field, false)
    }

    /// Null and another type; several others are a value of any type, unless one of them holds the rest.
    fn union(&mut self, branches: &'a [Value], space: &str, (at, depth): (&str, usize)) -> Read {
        let nullable = branches.iter().any(|branch| branch == "null");
        let others: Vec<&Value> = branches.iter().filter(|branch| *branch != "null").collect();
        let names: Vec<&str> = others.iter().filter_map(|branch| branch.as_str()).collect();
        let numbers = names.len() == others.len() && names.len() > 1;
        match others.as_slice() {
            [] => (any(NoteKind::Loosened, at, "null is the only value in the source"), true),
            [only] => {
                let (field, null) = self.value(only, space, (at, depth + 1));
                (field, nullable || null)
            }
            _ if numbers && names.iter().all(|name| ["int", "long"].contains(name)) => {
                (scalar(Scalar::Integer { signed: true, bits: 64 }), nullable)
            }
            _ if numbers && names.iter().all(|name| ["int", "float", "double"].contains(name)) => {
                (scalar(Scalar::Float { bits: 64 }), nullable)
            }
            several => {
                let shown: Vec<String> = several.iter().map(|branch| branch_name(branch)).collect();
                (any(NoteKind::Informative, at, format!("a value of {}", shown.join(" or "))), nullable)
            }
        }
    }

    fn complex(&mut self, of: &'a Map<String, Value>, space: &str, place: (&str, usize)) -> ProposedField {
        let (at, depth) = place;
        let mut field = match of.get("type") {
            Some(Value::String(ty)) => match ty.as_str() {
                "record" | "error" => self.record(of, space, place),
                "enum" => enumeration(of, at),
                "array" => self.composite(of.get("items"), space, (at, depth), FieldType::Array),
                "map" => self.composite(of.get("values"), space, (at, depth), FieldType::Map),
                "fixed" => logical(of, bytes(at), at),
                ty => {
                    let plain = self.named_type(ty, space, (at, depth + 1)).0;
                    logical(of, plain, at)
                }
            },
            Some(inner) => self.value(inner, space, (at, depth + 1)).0,
            None => any(NoteKind::NotCarried, at, "a schema without `type`: any value is taken"),
        };
        if let Some(doc) = of.get("doc").and_then(Value::as_str).filter(|doc| !doc.trim().is_empty()) {
            field.doc = Some(doc.trim().to_owned());
        }
        const KNOWN: [&str; 16] = [
            "type",
            "name",
            "namespace",
            "doc",
            "fields",
            "items",
            "values",
            "symbols",
            "default",
            "size",
            "logicalType",
            "precision",
            "scale",
            "aliases",
            "connect.name",
            "avro.java.string",
        ];
        for (key, value) in of.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
            field.note(NoteKind::NotCarried, at, format!("{key} {value}"));
        }
        field
    }

    fn composite(
        &mut self,
        part: Option<&'a Value>,
        space: &str,
        (at, depth): (&str, usize),
        of: fn(Box<FieldType>) -> FieldType,
    ) -> ProposedField {
        let (mut item, nullable) = match part {
            Some(part) => self.value(part, space, (&format!("{at}/items"), depth + 1)),
            None => (any(NoteKind::NotCarried, at, "values of no stated type"), false),
        };
        let inner = if nullable { FieldType::Optional(Box::new(item.ty)) } else { item.ty };
        item.ty = of(Box::new(inner));
        item
    }

    fn record(
        &mut self,
        of: &'a Map<String, Value>,
        space: &str,
        (at, depth): (&str, usize),
    ) -> ProposedField {
        let full = full_name(of.get("name").and_then(Value::as_str).unwrap_or_default(), space);
        let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        self.open.push(full);
        let mut record = ProposedField::new("", FieldType::Object);
        for (index, field) in of.get("fields").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let place = format!("{at}/fields/{index}");
            match (field.get("name").and_then(Value::as_str), field.get("type")) {
                (Some(name), Some(ty)) => {
                    let read = self.value(ty, &space, (&place, depth + 1));
                    record.members.push(member(name, field, read, &place));
                }
                (_, _) => record.note(NoteKind::NotCarried, place, "a field without name or type"),
            }
        }
        self.open.pop();
        record
    }
}

fn branch_name(branch: &Value) -> String {
    let name = branch.as_str().or_else(|| branch.get("name").and_then(Value::as_str));
    name.or_else(|| branch.get("type").and_then(Value::as_str)).unwrap_or("a type").to_owned()
}

fn member(name: &str, source: &Value, (mut field, nullable): Read, at: &str) -> ProposedField {
    name.clone_into(&mut field.name);
    if let Some(doc) = source.get("doc").and_then(Value::as_str).filter(|doc| !doc.trim().is_empty()) {
        field.doc = Some(doc.trim().to_owned());
    }
    if nullable && matches!(field.ty, FieldType::Array(_) | FieldType::Map(_)) {
        field.note(NoteKind::Tightened, at, "may be null; here a list or map that is not there is left out");
    }
    if nullable {
        field.ty = FieldType::Optional(Box::new(field.ty));
    }
    match source.get("default") {
        None | Some(Value::Null) => {}
        Some(default) => field.default = Some(default.clone()),
    }
    if let Some(aliases) = source.get("aliases") {
        field.note(NoteKind::NotCarried, at, format!("aliases {aliases}"));
    }
    field
}

fn bytes(at: &str) -> ProposedField {
    let mut field = scalar(Scalar::String);
    field.note(NoteKind::Tightened, at, "bytes are a text here, which is UTF-8");
    field
}

fn enumeration(of: &Map<String, Value>, at: &str) -> ProposedField {
    let symbols = of.get("symbols").and_then(Value::as_array).into_iter().flatten();
    let values: Vec<String> = symbols.filter_map(Value::as_str).map(str::to_owned).collect();
    let mut field = scalar(Scalar::String);
    if let Some(default) = of.get("default") {
        field.note(
            NoteKind::Informative,
            at,
            format!("readers take words that they do not know for {default}"),
        );
    }
    field.words = Some(Words { values, open: false });
    field
}

/// What a logical type makes of a plain one.
fn logical(of: &Map<String, Value>, plain: ProposedField, at: &str) -> ProposedField {
    let Some(logical) = of.get("logicalType").and_then(Value::as_str) else { return plain };
    let local = |fraction| {
        let mut field = scalar(Scalar::Timestamp(fraction));
        if logical.starts_with("local-") {
            field.note(NoteKind::Informative, at, format!("{logical}: taken as UTC"));
        }
        field
    };
    match logical {
        "decimal" => {
            let count = |key: &str| of.get(key).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
            let (precision, scale) = (count("precision").unwrap_or(38), count("scale").unwrap_or(0));
            if (1..=38).contains(&precision) && scale <= precision {
                return scalar(Scalar::Decimal { precision, scale });
            }
            let mut field = scalar(Scalar::Decimal { precision: 38, scale: scale.min(38) });
            field.note(NoteKind::Tightened, at, format!("{precision} digits; expected at most 38"));
            field
        }
        "uuid" => scalar(Scalar::Uuid),
        "date" => scalar(Scalar::Date),
        "timestamp-millis" | "local-timestamp-millis" => local(SecondFraction::Millis),
        "timestamp-micros" | "local-timestamp-micros" => local(SecondFraction::Micros),
        "timestamp-nanos" | "local-timestamp-nanos" => local(SecondFraction::Nanos),
        other => {
            let mut field = plain;
            field.note(NoteKind::NotCarried, at, format!("logicalType {other}"));
            field
        }
    }
}
