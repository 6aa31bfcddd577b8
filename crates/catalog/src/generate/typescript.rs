//! TypeScript: one interface per event, and a map from names to them for a typed `track`.

use std::fmt::Write as _;

use super::{File, banner, pascal};
use crate::catalog::Catalog;
use crate::field_type::{FieldType, Scalar};
use crate::language::Field;

pub(super) fn file(catalog: &Catalog) -> File {
    let mut text = format!("// {}\n", banner(catalog));
    // Writing into a `String` does not fail.
    for (name, source) in catalog.file.enums.iter() {
        let words: Vec<String> = source.values.iter().map(|word| quoted(&word.value)).collect();
        // Any other text is a word of an open enum; the union keeps the known ones in the editor's list.
        let open = if source.open { " | (string & {})" } else { "" };
        let _ = write!(text, "\nexport type {} = {}{open};\n", pascal(name), words.join(" | "));
    }
    for event in catalog.events.values() {
        text.push('\n');
        doc(&mut text, "", &event.source.doc, event.source.deprecated.as_deref());
        let _ = writeln!(text, "export interface {}Event {{", pascal(&event.name));
        for field in &event.fields {
            member(&mut text, "  ", &field.name, &field.field);
        }
        text.push_str("}\n");
    }
    text.push_str("\n/** Every event by its name. */\nexport interface Events {\n");
    for event in catalog.events.values() {
        let _ = writeln!(text, "  {}: {}Event;", event.name, pascal(&event.name));
    }
    text.push_str("}\n\nexport type EventName = keyof Events;\n");
    text.push_str(
        "\n/** The topic of each event. */\nexport const topics: Readonly<Record<EventName, string>> = {\n",
    );
    for event in catalog.events.values() {
        let _ = writeln!(text, "  {}: {},", event.name, quoted(&event.topic));
    }
    text.push_str("};\n");
    text.push_str(
        "\n/** Hands an event to whatever sends it, with its type checked. */\n\
         export type Track = <N extends EventName>(name: N, event: Events[N]) => void;\n",
    );
    File::new("typescript/events.ts", text)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn doc(text: &mut String, indent: &str, doc: &str, deprecated: Option<&str>) {
    let clean = |line: &str| line.replace("*/", "* /");
    let _ = match deprecated {
        None => writeln!(text, "{indent}/** {} */", clean(doc)),
        Some(reason) => writeln!(text, "{indent}/** {} @deprecated {} */", clean(doc), clean(reason)),
    };
}

fn member(text: &mut String, indent: &str, name: &str, field: &Field) {
    if let Some(about) = &field.doc {
        doc(text, indent, about, field.deprecated.as_deref());
    }
    let absent = if field.ty.value.optional() || field.default.is_some() { "?" } else { "" };
    let ty = typed(&field.ty.value, field, indent);
    let called = field.in_records(name);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let plain = called.bytes().all(word) && !called.starts_with(|first: char| first.is_ascii_digit());
    let called = if plain { called.to_owned() } else { quoted(called) };
    let _ = writeln!(text, "{indent}{called}{absent}: {ty};");
}

fn typed(ty: &FieldType, field: &Field, indent: &str) -> String {
    match ty {
        FieldType::Optional(inner) if !inner.may_be_null() => typed(inner, field, indent),
        FieldType::Optional(inner) => format!("{} | null", typed(inner, field, indent)),
        FieldType::Array(inner) => format!("Array<{}>", typed(inner, field, indent)),
        FieldType::Map(inner) => format!("Record<string, {}>", typed(inner, field, indent)),
        FieldType::Json | FieldType::Any => "unknown".to_owned(),
        FieldType::Object => {
            let mut text = "{\n".to_owned();
            let inner = format!("{indent}  ");
            for (name, member_field) in field.fields.iter() {
                member(&mut text, &inner, name, member_field);
            }
            let _ = write!(text, "{indent}}}");
            text
        }
        FieldType::Scalar(scalar) => match scalar {
            Scalar::Enum(name) => pascal(name),
            Scalar::Bool => "boolean".to_owned(),
            Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Duration => "number".to_owned(),
            Scalar::Decimal { .. } => "string | number".to_owned(),
            Scalar::String
            | Scalar::Timestamp(_)
            | Scalar::Date
            | Scalar::Uuid
            | Scalar::Ip
            | Scalar::Url
            | Scalar::Email
            | Scalar::Geohash { .. } => "string".to_owned(),
        },
    }
}
