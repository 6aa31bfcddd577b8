//! Avro, one schema per event and version.

use serde_json::{Value, json};

use super::{File, pascal};
use crate::catalog::{Catalog, Event};
use crate::field_type::{FieldType, Scalar, SecondFraction};
use crate::language::{Field, SourceName, Version};

pub(super) fn files(catalog: &Catalog) -> Vec<File> {
    let mut files = Vec::new();
    for event in catalog.events.values() {
        for version in event.versions() {
            let path = format!("avro/{}/{version}.avsc", event.name);
            files.push(File::json(path, &schema(catalog, event, version)));
        }
    }
    files
}

fn schema(catalog: &Catalog, event: &Event, version: Version) -> Value {
    let name = pascal(&event.name);
    let mut writer = Writer { catalog, enums: Vec::new() };
    let fields: Vec<Value> =
        event.fields_at(version).map(|field| writer.field(&field.name, &field.field, &name)).collect();
    json!({
        "type": "record",
        "name": name,
        "namespace": catalog.file.name.as_str(),
        "doc": event.source.doc,
        "fields": fields,
    })
}

/// Writes one schema; a named type is told once and named afterwards.
struct Writer<'a> {
    catalog: &'a Catalog,
    enums: Vec<String>,
}

impl Writer<'_> {
    fn field(&mut self, name: &str, field: &Field, owner: &str) -> Value {
        let called = Some(field.in_records(name)).filter(|called| SourceName::legal_in_avro(called));
        let mut written = json!({"name": called.unwrap_or(name), "type": self.typed(&field.ty.value, field, (owner, name))});
        if let Some(doc) = &field.doc {
            written["doc"] = json!(doc);
        }
        if let Some(default) = self.default(field) {
            written["default"] = default;
        }
        if let Some(old) = &field.renamed_from {
            written["aliases"] = json!([old.value]);
        }
        written
    }

    /// Optional fields are null unless they are there, lists and maps are empty; others only have a default that is
    /// stated.
    fn default(&self, field: &Field) -> Option<Value> {
        if let FieldType::Optional(inner) = &field.ty.value {
            return Some(match inner.as_ref() {
                FieldType::Array(_) => json!([]),
                FieldType::Map(_) => json!({}),
                FieldType::Scalar(_)
                | FieldType::Optional(_)
                | FieldType::Object
                | FieldType::Json
                | FieldType::Any => Value::Null,
            });
        }
        let default = &field.default.as_ref()?.value.0;
        match field.ty.value.scalar() {
            // Bytes of a number are unlike the number; such a field has no default in Avro.
            Some(Scalar::Decimal { .. }) => None,
            // Avro has no type for it: it is a text.
            Some(Scalar::Integer { signed: false, bits: 64 }) => Some(json!(default.to_string())),
            Some(_) | None => Some(default.clone()),
        }
    }

    fn typed(&mut self, ty: &FieldType, field: &Field, (owner, name): (&str, &str)) -> Value {
        match ty {
            FieldType::Scalar(scalar) => self.scalar(scalar),
            FieldType::Optional(inner) if !inner.may_be_null() => self.typed(inner, field, (owner, name)),
            FieldType::Optional(inner) => json!(["null", self.typed(inner, field, (owner, name))]),
            FieldType::Array(inner) => {
                json!({"type": "array", "items": self.typed(inner, field, (owner, name))})
            }
            FieldType::Map(inner) => {
                json!({"type": "map", "values": self.typed(inner, field, (owner, name))})
            }
            FieldType::Object => {
                let record = format!("{owner}{}", pascal(name));
                let fields: Vec<Value> =
                    field.fields.iter().map(|(member, of)| self.field(member, of, &record)).collect();
                json!({"type": "record", "name": record, "fields": fields})
            }
            FieldType::Json | FieldType::Any => json!("string"),
        }
    }

    fn scalar(&mut self, scalar: &Scalar) -> Value {
        match scalar {
            Scalar::String | Scalar::Ip | Scalar::Url | Scalar::Email | Scalar::Geohash { .. } => {
                json!("string")
            }
            Scalar::Enum(name) => self.enumeration(name),
            Scalar::Bool => json!("boolean"),
            Scalar::Integer { signed: false, bits: 64 } => json!("string"),
            Scalar::Integer { signed: true, bits: 64 } | Scalar::Integer { signed: false, bits: 32 } => {
                json!("long")
            }
            Scalar::Integer { .. } => json!("int"),
            Scalar::Float { bits: 32 } => json!("float"),
            Scalar::Float { .. } => json!("double"),
            Scalar::Decimal { precision, scale } => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
            }
            Scalar::Timestamp(fraction) => {
                let logical = match fraction {
                    SecondFraction::Millis => "timestamp-millis",
                    SecondFraction::Micros => "timestamp-micros",
                    SecondFraction::Nanos => "timestamp-nanos",
                };
                json!({"type": "long", "logicalType": logical})
            }
            Scalar::Date => json!({"type": "int", "logicalType": "date"}),
            Scalar::Duration => json!("long"),
            Scalar::Uuid => json!({"type": "string", "logicalType": "uuid"}),
        }
    }

    fn enumeration(&mut self, name: &str) -> Value {
        let Some(source) = self.catalog.file.enums.get(name).filter(|source| !source.open) else {
            return json!("string");
        };
        let symbol = pascal(name);
        if self.enums.contains(&symbol) {
            return json!(symbol);
        }
        self.enums.push(symbol.clone());
        // A reader that does not know a word reads the first symbol.
        let words: Vec<&str> =
            ["__unknown"].into_iter().chain(source.values.iter().map(|word| word.value.as_str())).collect();
        json!({"type": "enum", "name": symbol, "symbols": words, "default": "__unknown"})
    }
}
