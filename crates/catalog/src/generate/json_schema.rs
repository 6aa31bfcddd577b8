//! JSON Schema 2020-12, one per event and version, and an example of each event.

use serde_json::{Map, Number, Value, json};

use super::File;
use super::column_rules::geohash;
use crate::catalog::{Catalog, Event};
use crate::field_type::{FieldType, Scalar};
use crate::language::{Field, UnknownFields, Version};

pub(super) fn files(catalog: &Catalog) -> Vec<File> {
    let mut files = Vec::new();
    for event in catalog.events.values() {
        for version in event.versions() {
            let path = format!("json-schema/{}/{version}.json", event.name);
            files.push(File::json(path, &event_schema(catalog, event, version)));
        }
    }
    files
}

/// The schema of an event.
pub(crate) fn event_schema(catalog: &Catalog, event: &Event, version: Version) -> Value {
    let fields: Vec<(&str, &Field)> =
        event.fields_at(version).map(|field| (field.name.as_str(), &field.field)).collect();
    let mut schema = object(catalog, &fields);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:cdp:{}:{}:{version}", catalog.file.name, event.name),
        "title": event.name,
        "description": event.source.doc,
    });
    merge(&mut schema, head);
    if let Some(reason) = &event.source.deprecated {
        merge(&mut schema, json!({"deprecated": true, "x-cdp-deprecated": reason}));
    }
    merge(&mut schema, json!({"x-cdp-version": version.to_string()}));
    if let Some(owner) = event.source.owner.as_ref().or(catalog.file.owner.as_ref()) {
        merge(&mut schema, json!({"x-cdp-owner": owner}));
    }
    schema
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

fn object(catalog: &Catalog, fields: &[(&str, &Field)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, field) in fields {
        let name = field.in_records(name);
        properties.insert(name.to_owned(), described(catalog, field));
        if !field.ty.value.optional() && field.default.is_none() {
            required.push(Value::from(name));
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        merge(&mut schema, json!({"required": required}));
    }
    // With `drop` and `collect` the sink decides what becomes of them.
    if catalog.file.defaults.unknown_fields == UnknownFields::Reject {
        merge(&mut schema, json!({"additionalProperties": false}));
    }
    schema
}

fn described(catalog: &Catalog, field: &Field) -> Value {
    let mut schema = typed(catalog, &field.ty.value, field);
    let mut note = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            merge(&mut schema, json!({key: value}));
        }
    };
    note("description", field.doc.as_ref().map(|doc| json!(doc)));
    note("default", field.default.as_ref().map(|default| default.value.0.clone()));
    let examples: Vec<Value> = field.examples.iter().map(|example| example.0.clone()).collect();
    note("examples", (!examples.is_empty()).then_some(Value::Array(examples)));
    note("deprecated", field.deprecated.as_ref().map(|_| json!(true)));
    note("x-cdp-type", Some(json!(field.ty.value.to_string())));
    note("x-cdp-pii", field.pii.as_ref().map(|class| json!(class.value)));
    note("x-cdp-unit", field.unit.as_ref().map(|unit| json!(unit)));
    note("x-cdp-references", field.references.as_ref().map(|entity| json!(entity.value)));
    schema
}

fn typed(catalog: &Catalog, ty: &FieldType, field: &Field) -> Value {
    match ty {
        FieldType::Scalar(of) => scalar(catalog, of, field),
        FieldType::Optional(inner) if inner.may_be_null() => or_null(typed(catalog, inner, field)),
        FieldType::Optional(inner) => typed(catalog, inner, field),
        FieldType::Array(inner) => json!({"type": "array", "items": typed(catalog, inner, field)}),
        FieldType::Map(inner) => {
            json!({"type": "object", "additionalProperties": typed(catalog, inner, field)})
        }
        FieldType::Object => {
            let fields: Vec<(&str, &Field)> = field.fields.iter().collect();
            object(catalog, &fields)
        }
        FieldType::Json | FieldType::Any => json!({}),
    }
}

/// The schema, or null.
fn or_null(mut schema: Value) -> Value {
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    match schema.get("type").cloned() {
        Some(ty @ Value::String(_)) => schema["type"] = json!([ty, "null"]),
        Some(Value::Array(mut types)) => {
            types.push(json!("null"));
            schema["type"] = Value::Array(types);
        }
        Some(_) => {}
        None if schema.get("anyOf").is_some() => {
            if let Some(Value::Array(any_of)) = schema.get_mut("anyOf") {
                any_of.push(json!({"type": "null"}));
            }
        }
        None => {}
    }
    schema
}

fn scalar(catalog: &Catalog, scalar: &Scalar, field: &Field) -> Value {
    let mut schema = match scalar {
        Scalar::String => json!({"type": "string"}),
        Scalar::Enum(name) => enumeration(catalog, name),
        Scalar::Bool => json!({"type": "boolean"}),
        Scalar::Integer { signed, bits } => integer(*signed, *bits),
        Scalar::Duration => json!({"type": "integer", "minimum": 0}),
        Scalar::Float { .. } => json!({"type": "number"}),
        Scalar::Decimal { precision, scale } => decimal(*precision, *scale),
        Scalar::Timestamp(_) => json!({"type": "string", "format": "date-time"}),
        Scalar::Date => json!({"type": "string", "format": "date"}),
        Scalar::Uuid => json!({"type": "string", "format": "uuid"}),
        Scalar::Ip => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        Scalar::Url => json!({"type": "string", "format": "uri"}),
        Scalar::Email => json!({"type": "string", "format": "email"}),
        Scalar::Geohash { chars } => {
            json!({"type": "string", "pattern": geohash(*chars)})
        }
    };
    if let Some(min) = &field.min {
        merge(&mut schema, json!({"minimum": min.value.0}));
    }
    if let Some(max) = &field.max {
        merge(&mut schema, json!({"maximum": max.value.0}));
    }
    if let Some(max) = &field.max_length {
        merge(&mut schema, json!({"maxLength": max.value}));
    }
    if let Some(pattern) = &field.pattern {
        merge(&mut schema, json!({"pattern": pattern.value}));
    }
    schema
}

fn enumeration(catalog: &Catalog, name: &str) -> Value {
    let Some(source) = catalog.file.enums.get(name) else { return json!({"type": "string"}) };
    let words: Vec<&str> = source.values.iter().map(|word| word.value.as_str()).collect();
    if source.open {
        json!({"type": "string", "examples": words, "x-cdp-enum": name})
    } else {
        json!({"type": "string", "enum": words, "x-cdp-enum": name})
    }
}

/// The bounds are those of the column.
fn integer(signed: bool, bits: u8) -> Value {
    if signed {
        let max = i64::MAX >> (64 - bits);
        json!({"type": "integer", "minimum": -max - 1, "maximum": max})
    } else {
        json!({"type": "integer", "minimum": 0, "maximum": u64::MAX >> (64 - bits)})
    }
}

/// As a text, which keeps every digit, or as a number.
fn decimal(precision: u8, scale: u8) -> Value {
    let whole = precision - scale;
    let whole = if whole == 0 { "0".to_owned() } else { format!("[0-9]{{1,{whole}}}") };
    let pattern = match scale {
        0 => format!("^-?{whole}$"),
        scale => format!("^-?{whole}(\\.[0-9]{{1,{scale}}})?$"),
    };
    json!({"type": ["string", "number"], "pattern": pattern})
}

/// An event that its schema accepts.
#[must_use]
pub fn sample(catalog: &Catalog, event: &Event) -> Value {
    let members = event.fields.iter().filter(|field| !field.field.ty.value.optional());
    let members = members
        .map(|field| (field.in_records().to_owned(), example(catalog, &field.field.ty.value, &field.field)));
    Value::Object(members.collect())
}

/// An event that its schema accepts, with every field that it may have, none of them empty. A `pattern` is only
/// met if the field has an example.
#[must_use]
pub fn full_sample(catalog: &Catalog, event: &Event) -> Value {
    let members = event.fields.iter();
    let members = members
        .map(|field| (field.in_records().to_owned(), full(catalog, &field.field.ty.value, &field.field)));
    Value::Object(members.collect())
}

fn full(catalog: &Catalog, ty: &FieldType, field: &Field) -> Value {
    if let Some(example) = field.examples.first() {
        return example.0.clone();
    }
    // What the field says of the whole is not said of its parts.
    let part = |inner: &FieldType| full(catalog, inner, &Field { default: None, ..field.clone() });
    match ty {
        FieldType::Optional(inner) => full(catalog, inner, field),
        FieldType::Array(inner) => json!([part(inner)]),
        FieldType::Map(inner) => json!({"key": part(inner)}),
        FieldType::Object => {
            let members = field.fields.iter();
            let members =
                members.map(|(name, of)| (of.in_records(name).to_owned(), full(catalog, &of.ty.value, of)));
            Value::Object(members.collect())
        }
        FieldType::Json => json!({"key": 1}),
        FieldType::Any => json!(1),
        FieldType::Scalar(_) => example(catalog, ty, field),
    }
}

/// A value of the type.
pub(super) fn example(catalog: &Catalog, ty: &FieldType, field: &Field) -> Value {
    if let Some(example) = field.examples.first() {
        return example.0.clone();
    }
    if let Some(default) = &field.default {
        return default.value.0.clone();
    }
    match ty {
        FieldType::Optional(inner) => example(catalog, inner, field),
        FieldType::Array(_) => json!([]),
        FieldType::Map(_) | FieldType::Json => json!({}),
        FieldType::Any => json!(1),
        FieldType::Object => {
            let members = field.fields.iter();
            let members = members
                .map(|(name, of)| (of.in_records(name).to_owned(), example(catalog, &of.ty.value, of)));
            Value::Object(members.collect())
        }
        FieldType::Scalar(scalar) => plain_example(catalog, scalar, field),
    }
}

/// The bound that a number is beyond, if it is.
fn beyond(field: &Field, number: f64) -> Option<Number> {
    let min = field.min.as_ref().filter(|min| min.value.approximately() > number);
    let max = field.max.as_ref().filter(|max| max.value.approximately() < number);
    min.or(max).map(|bound| bound.value.0.clone())
}

fn plain_example(catalog: &Catalog, scalar: &Scalar, field: &Field) -> Value {
    match scalar {
        Scalar::String => {
            let most = field.max_length.as_ref().map_or(usize::MAX, |most| most.value as usize);
            json!(&"text"[..most.min(4)])
        }
        Scalar::Enum(name) => {
            let word = catalog.file.enums.get(name).and_then(|source| source.values.first());
            json!(word.map_or("", |word| word.value.as_str()))
        }
        Scalar::Bool => json!(true),
        Scalar::Integer { .. } | Scalar::Duration | Scalar::Float { .. } => {
            let min = field.min.as_ref().map(|min| min.value.0.clone());
            min.or_else(|| beyond(field, 1.0)).map_or(json!(1), Value::Number)
        }
        Scalar::Decimal { .. } => beyond(field, 0.0).map_or(json!("0"), Value::Number),
        Scalar::Timestamp(_) => json!("2026-01-27T10:00:00.123Z"),
        Scalar::Date => json!("2026-01-27"),
        Scalar::Uuid => json!("0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11"),
        Scalar::Ip => json!("203.0.113.7"),
        Scalar::Url => json!("https://example.com/"),
        Scalar::Email => json!("someone@example.com"),
        Scalar::Geohash { .. } => json!("u"),
    }
}
