//! Protobuf: one file for each major version of an event, with the numbers of the lock.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{File, banner, pascal};
use crate::catalog::{Catalog, Event};
use crate::field_type::{FieldType, Scalar};
use crate::language::Field;
use crate::lock::{Lock, Numbers};

pub(super) fn files(catalog: &Catalog, lock: &Lock) -> Vec<File> {
    let files = catalog.events.values().map(|event| {
        let path = format!("protobuf/{}/v{}.proto", event.name, event.version().major);
        File::new(path, file(catalog, lock, event))
    });
    files.collect()
}

fn file(catalog: &Catalog, lock: &Lock, event: &Event) -> String {
    let fields: Vec<(&str, &Field)> =
        event.fields.iter().map(|field| (field.name.as_str(), &field.field)).collect();
    let mut enums = BTreeSet::new();
    let mut times = false;
    for (_, field) in &fields {
        needs(catalog, field, &mut enums, &mut times);
    }
    // Writing into a `String` does not fail.
    let mut text = format!("// {}\nsyntax = \"proto3\";\n\n", banner(catalog));
    let _ = writeln!(text, "package {}.{}.v{};\n", catalog.file.name, event.name, event.version().major);
    if times {
        text.push_str("import \"google/protobuf/timestamp.proto\";\n\n");
    }
    comment(&mut text, "", &event.source.doc);
    message(catalog, lock, (&pascal(&event.name), &event.name, &fields), 0, &mut text);
    for name in enums {
        enumeration(lock, &name, &mut text);
    }
    text
}

fn needs(catalog: &Catalog, field: &Field, enums: &mut BTreeSet<String>, times: &mut bool) {
    let mut ty = &field.ty.value;
    while let FieldType::Optional(inner) | FieldType::Array(inner) | FieldType::Map(inner) = ty {
        ty = inner;
    }
    match ty {
        FieldType::Scalar(Scalar::Timestamp(_)) => *times = true,
        FieldType::Scalar(Scalar::Enum(name)) if closed(catalog, name) => {
            enums.insert(name.clone());
        }
        FieldType::Object => field.fields.iter().for_each(|(_, member)| needs(catalog, member, enums, times)),
        FieldType::Scalar(_) | FieldType::Json | FieldType::Any => {}
        FieldType::Optional(_) | FieldType::Array(_) | FieldType::Map(_) => {}
    }
}

fn closed(catalog: &Catalog, name: &str) -> bool {
    catalog.file.enums.get(name).is_some_and(|source| !source.open)
}

fn comment(text: &mut String, indent: &str, doc: &str) {
    for line in doc.lines() {
        let _ = writeln!(text, "{indent}// {line}");
    }
}

fn message(
    catalog: &Catalog,
    lock: &Lock,
    (name, key, fields): (&str, &str, &[(&str, &Field)]),
    depth: usize,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    let none = Numbers::new();
    let numbers = lock.numbers(key).unwrap_or(&none);
    let _ = writeln!(text, "{indent}message {name} {{");
    reserved(numbers, fields, &indent, text);
    for (field_name, field) in fields.iter().filter(|(_, field)| field.ty.value.has_members()) {
        let members: Vec<(&str, &Field)> = field.fields.iter().collect();
        let inner = (pascal(field_name), format!("{key}.{field_name}"));
        message(catalog, lock, (&inner.0, &inner.1, &members), depth + 1, text);
    }
    for (field_name, field) in fields {
        if let Some(doc) = &field.doc {
            comment(text, &format!("{indent}  "), doc);
        }
        let number = numbers.get(*field_name).copied().unwrap_or_default();
        let ty = field_type(catalog, &field.ty.value, field_name);
        let _ = writeln!(text, "{indent}  {ty} {field_name} = {number};");
    }
    let _ = writeln!(text, "{indent}}}");
}

/// Numbers and names of fields that are gone.
fn reserved(numbers: &Numbers, fields: &[(&str, &Field)], indent: &str, text: &mut String) {
    let gone: Vec<(&String, &u32)> =
        numbers.iter().filter(|(name, _)| !fields.iter().any(|(field, _)| field == name)).collect();
    if gone.is_empty() {
        return;
    }
    let mut which: Vec<u32> = gone.iter().map(|(_, number)| **number).collect();
    which.sort_unstable();
    let which: Vec<String> = which.iter().map(u32::to_string).collect();
    let names: Vec<String> = gone.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let _ = writeln!(text, "{indent}  reserved {};", which.join(", "));
    let _ = writeln!(text, "{indent}  reserved {};", names.join(", "));
}

fn field_type(catalog: &Catalog, ty: &FieldType, name: &str) -> String {
    match ty {
        FieldType::Optional(inner) => match inner.as_ref() {
            FieldType::Array(_) | FieldType::Map(_) => field_type(catalog, inner, name),
            FieldType::Scalar(_)
            | FieldType::Object
            | FieldType::Json
            | FieldType::Any
            | FieldType::Optional(_) => {
                format!("optional {}", value_type(catalog, inner, name))
            }
        },
        // Protobuf has no lists of lists: such a value is JSON in a string.
        FieldType::Array(inner) => format!("repeated {}", value_type(catalog, inner, name)),
        FieldType::Map(inner) => format!("map<string, {}>", value_type(catalog, inner, name)),
        FieldType::Scalar(_) | FieldType::Object | FieldType::Json | FieldType::Any => {
            value_type(catalog, ty, name)
        }
    }
}

fn value_type(catalog: &Catalog, ty: &FieldType, name: &str) -> String {
    match ty {
        FieldType::Object => pascal(name),
        FieldType::Json | FieldType::Any | FieldType::Array(_) | FieldType::Map(_) => "string".to_owned(),
        FieldType::Optional(inner) => value_type(catalog, inner, name),
        FieldType::Scalar(scalar) => match scalar {
            Scalar::Enum(name) if closed(catalog, name) => pascal(name),
            Scalar::Timestamp(_) => "google.protobuf.Timestamp".to_owned(),
            Scalar::Bool => "bool".to_owned(),
            Scalar::Integer { signed: true, bits: 64 } => "sint64".to_owned(),
            Scalar::Integer { signed: true, .. } => "sint32".to_owned(),
            Scalar::Integer { signed: false, bits: 64 } | Scalar::Duration => "uint64".to_owned(),
            Scalar::Integer { signed: false, .. } => "uint32".to_owned(),
            Scalar::Float { bits: 32 } => "float".to_owned(),
            Scalar::Float { .. } => "double".to_owned(),
            Scalar::String
            | Scalar::Enum(_)
            | Scalar::Decimal { .. }
            | Scalar::Date
            | Scalar::Uuid
            | Scalar::Ip
            | Scalar::Url
            | Scalar::Email
            | Scalar::Geohash { .. } => "string".to_owned(),
        },
    }
}

fn enumeration(lock: &Lock, name: &str, text: &mut String) {
    let Some(codes) = lock.codes(name) else { return };
    let prefix = name.to_ascii_uppercase();
    let mut words: Vec<(&String, &u32)> = codes.iter().collect();
    words.sort_by_key(|(_, code)| **code);
    let _ = writeln!(text, "\nenum {} {{\n  {prefix}_UNSPECIFIED = 0;", pascal(name));
    for (word, code) in words {
        let _ = writeln!(text, "  {prefix}_{} = {code};", word.to_ascii_uppercase());
    }
    text.push_str("}\n");
}
