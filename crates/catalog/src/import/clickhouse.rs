//! Tables of ClickHouse: the rows of `system.columns` as an event's fields.

use super::{Imported, version};
use crate::field_type::{FieldType, Scalar, SecondFraction};
use crate::proposal::{Note, NoteKind, ProposedEvent, ProposedField, Words};

/// A row of `system.columns`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the server writes it.
    pub ty: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or nothing.
    pub default_kind: String,
    /// The expression of it.
    pub default_expression: String,
    /// Its comment.
    pub comment: String,
}

/// The deepest type that is taken apart.
const DEPTH_MAX: usize = 16;

/// Makes a proposal of a table. `name` is its name, with the database's before it if that should be said.
#[must_use]
pub fn table(name: &str, comment: &str, columns: &[TableColumn]) -> Imported {
    let mut event = ProposedEvent::new(name.rsplit('.').next().unwrap_or(name));
    event.version = version(None);
    event.doc = comment.trim().to_owned();
    event.evidence.push(format!("from table `{name}`"));
    for column in columns {
        let note = |kind, text: String| Note { kind, at: column.name.clone(), text };
        match column.default_kind.as_str() {
            "MATERIALIZED" | "ALIAS" | "EPHEMERAL" => {
                let text = format!("{} column `{}`", column.default_kind, column.name);
                event
                    .notes
                    .push(note(NoteKind::NotCarried, format!("{text}: {}", column.default_expression)));
                continue;
            }
            _ => {}
        }
        if column.name == "event_id" || column.name == "ts" || column.name.starts_with('_') {
            let text = format!("column `{}` {}: the envelope, or the sink, has it", column.name, column.ty);
            event.notes.push(note(NoteKind::Informative, text));
            continue;
        }
        let mut field = typed(&column.ty, 0);
        field.name.clone_from(&column.name);
        if !column.comment.trim().is_empty() {
            field.doc = Some(column.comment.trim().to_owned());
        }
        if column.default_kind == "DEFAULT" {
            defaulted(&mut field, &column.default_expression);
        }
        event.fields.push(field);
    }
    Imported { file: name.to_owned(), family: name.to_owned(), label: None, event }
}

/// A default that is a plain number or text is one here too.
fn defaulted(field: &mut ProposedField, expression: &str) {
    let plain = match expression.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) if !text.contains(['\'', '\\']) => Some(serde_json::Value::from(text)),
        Some(_) => None,
        None => serde_json::from_str(expression).ok(),
    };
    match plain {
        Some(value) => field.default = Some(value),
        None => field.note(NoteKind::NotCarried, "", format!("DEFAULT {expression}")),
    }
}

fn scalar(of: Scalar) -> ProposedField {
    ProposedField::new("", FieldType::Scalar(of))
}

fn noted(mut field: ProposedField, kind: NoteKind, text: impl Into<String>) -> ProposedField {
    field.note(kind, "", text);
    field
}

fn wrapped(mut field: ProposedField, of: fn(Box<FieldType>) -> FieldType) -> ProposedField {
    field.ty = of(Box::new(field.ty));
    field
}

/// The type without optional lists, which ClickHouse does not have either.
fn typed(ty: &str, depth: usize) -> ProposedField {
    let ty = ty.trim();
    if depth > DEPTH_MAX {
        return noted(
            ProposedField::new("", FieldType::Any),
            NoteKind::AsJson,
            format!("`{ty}` is too deep"),
        );
    }
    let (outer, inner) = match ty.strip_suffix(')').and_then(|ty| ty.split_once('(')) {
        Some((outer, inner)) => (outer, inner),
        None => (ty, ""),
    };
    let parts = arguments(inner);
    match outer {
        "Nullable" => {
            let field = typed(inner, depth + 1);
            if field.ty.optional() { field } else { wrapped(field, FieldType::Optional) }
        }
        "LowCardinality" => {
            let mut field = typed(inner, depth + 1);
            field.low_cardinality = true;
            field
        }
        "Array" => wrapped(typed(inner, depth + 1), FieldType::Array),
        "Map" => {
            let value = typed(parts.get(1).map_or("", String::as_str), depth + 1);
            let key = parts.first().map_or("", String::as_str);
            let value = wrapped(value, FieldType::Map);
            if key.contains("String") {
                value
            } else {
                noted(value, NoteKind::Loosened, format!("keys of {key} are texts here"))
            }
        }
        "Tuple" | "Nested" => tuple(outer, &parts, depth),
        "Enum8" | "Enum16" => {
            let values = parts.iter().filter_map(|part| literal(part)).collect();
            let mut field = scalar(Scalar::String);
            field.words = Some(Words { values, open: false });
            noted(field, NoteKind::Informative, format!("codes in the table: {inner}"))
        }
        "Decimal" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => decimal(outer, &parts),
        "FixedString" => {
            let mut field = scalar(Scalar::String);
            field.max_length = inner.trim().parse().ok();
            noted(field, NoteKind::Informative, format!("{ty}: {inner} bytes, filled up with zeros"))
        }
        "DateTime" => noted(
            scalar(Scalar::Timestamp(SecondFraction::Millis)),
            NoteKind::Loosened,
            format!("{ty}: a fraction of a second is taken too"),
        ),
        "DateTime64" => timestamp(&parts),
        _ => plain(ty),
    }
}

fn plain(ty: &str) -> ProposedField {
    for (sign, prefix) in [(false, "UInt"), (true, "Int")] {
        let Some(bits) = ty.strip_prefix(prefix).and_then(|bits| bits.parse::<u16>().ok()) else { continue };
        return match u8::try_from(bits) {
            Ok(bits @ (8 | 16 | 32 | 64)) => scalar(Scalar::Integer { signed: sign, bits }),
            Ok(_) | Err(_) => noted(
                scalar(Scalar::Decimal { precision: 38, scale: 0 }),
                NoteKind::Tightened,
                format!("{ty}: at most 38 digits here"),
            ),
        };
    }
    match ty {
        "String" => scalar(Scalar::String),
        "Bool" => scalar(Scalar::Bool),
        "Float32" => scalar(Scalar::Float { bits: 32 }),
        "Float64" => scalar(Scalar::Float { bits: 64 }),
        "BFloat16" => {
            noted(scalar(Scalar::Float { bits: 32 }), NoteKind::Loosened, "BFloat16: more digits are kept")
        }
        "Date" | "Date32" => scalar(Scalar::Date),
        "UUID" => scalar(Scalar::Uuid),
        "IPv6" => scalar(Scalar::Ip),
        "IPv4" => noted(scalar(Scalar::Ip), NoteKind::Loosened, "IPv4: addresses of version 6 are taken too"),
        ty if ty == "JSON" || ty.starts_with("JSON(") || ty.starts_with("Object(") => {
            ProposedField::new("", FieldType::Json)
        }
        ty => noted(
            ProposedField::new("", FieldType::Any),
            NoteKind::AsJson,
            format!("`{ty}` is kept as any value"),
        ),
    }
}

fn tuple(outer: &str, parts: &[String], depth: usize) -> ProposedField {
    let mut field = ProposedField::new("", FieldType::Object);
    for (index, part) in parts.iter().enumerate() {
        let named = part.split_once(' ').filter(|(name, _)| !name.contains(['(', ')']));
        let (name, ty) = match named {
            Some((name, ty)) => (name.trim_matches('`').to_owned(), ty),
            None => (format!("n_{}", index + 1), part.as_str()),
        };
        let mut member = typed(ty, depth + 1);
        member.name = name;
        field.members.push(member);
    }
    if outer == "Nested" { wrapped(field, FieldType::Array) } else { field }
}

fn decimal(outer: &str, parts: &[String]) -> ProposedField {
    let number = |index: usize| parts.get(index).and_then(|part| part.trim().parse::<u8>().ok());
    let (precision, scale) = match outer {
        "Decimal" => (number(0).unwrap_or(38), number(1).unwrap_or(0)),
        "Decimal32" => (9, number(0).unwrap_or(0)),
        "Decimal64" => (18, number(0).unwrap_or(0)),
        "Decimal128" => (38, number(0).unwrap_or(0)),
        _ => (76, number(0).unwrap_or(0)),
    };
    if (1..=38).contains(&precision) && scale <= precision {
        return scalar(Scalar::Decimal { precision, scale });
    }
    let field = scalar(Scalar::Decimal { precision: 38, scale: scale.min(38) });
    noted(field, NoteKind::Tightened, format!("{precision} digits; at most 38 here"))
}

fn timestamp(parts: &[String]) -> ProposedField {
    let digits: u8 = parts.first().and_then(|digits| digits.trim().parse().ok()).unwrap_or(3);
    let fraction = match digits {
        0..=3 => SecondFraction::Millis,
        4..=6 => SecondFraction::Micros,
        _ => SecondFraction::Nanos,
    };
    let field = scalar(Scalar::Timestamp(fraction));
    match parts.get(1).map(|zone| zone.trim().trim_matches('\'')) {
        None | Some("UTC") => field,
        Some(zone) => {
            noted(field, NoteKind::Informative, format!("shown in {zone} in the table, in UTC here"))
        }
    }
}

/// The text of `'ios' = 1`.
fn literal(part: &str) -> Option<String> {
    let part = part.trim().strip_prefix('\'')?;
    let mut text = String::new();
    let mut chars = part.chars();
    loop {
        match chars.next()? {
            '\\' => text.push(chars.next()?),
            '\'' => return Some(text),
            char => text.push(char),
        }
    }
}

/// What stands between commas that are in no brackets and no quotes.
fn arguments(inner: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut part, mut depth, mut quote, mut escaped) = (String::new(), 0_usize, None, false);
    for char in inner.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None => match char {
                '\'' | '`' => quote = Some(char),
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    parts.push(std::mem::take(&mut part).trim().to_owned());
                    continue;
                }
                _ => {}
            },
        }
        part.push(char);
    }
    if !part.trim().is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ty: &str) -> TableColumn {
        TableColumn { name: name.to_owned(), ty: ty.to_owned(), ..TableColumn::default() }
    }

    #[test]
    fn a_columns_type_is_found_in_the_language() {
        for (ty, ours) in [
            ("LowCardinality(Nullable(String))", "optional<string>"),
            ("Array(Tuple(a UInt8, `b c` Nullable(Float64)))", "array<object>"),
            ("Map(LowCardinality(String), Array(Int16))", "map<array<i16>>"),
            ("Decimal(12, 6)", "decimal(12,6)"),
            ("Decimal256(10)", "decimal(38,10)"),
            ("DateTime64(6, 'Asia/Tokyo')", "timestamp(us)"),
            ("DateTime", "timestamp(ms)"),
            ("Date32", "date"),
            ("IPv4", "ip"),
            ("UInt256", "decimal(38,0)"),
            ("JSON", "json"),
            ("JSON(max_dynamic_paths=8)", "json"),
            ("Variant(String, UInt8)", "any"),
            ("Enum8('a' = 1, 'b,\\'' = 2)", "string"),
            ("Nested(a String)", "array<object>"),
        ] {
            assert_eq!(typed(ty, 0).ty.to_string(), ours, "{ty}");
        }
        let words = typed("Enum8('a' = 1, 'b,\\'' = 2)", 0).words.unwrap().values;
        assert_eq!(words, ["a", "b,'"]);
    }

    #[test]
    fn no_column_is_left_out_in_silence() {
        let columns = [
            column("event_id", "UUID"),
            TableColumn { default_kind: "ALIAS".to_owned(), ..column("twice", "UInt64") },
            TableColumn {
                default_kind: "DEFAULT".to_owned(),
                default_expression: "now()".to_owned(),
                ..column("at", "DateTime64(3, 'UTC')")
            },
            TableColumn {
                default_kind: "DEFAULT".to_owned(),
                default_expression: "'web'".to_owned(),
                ..column("platform", "String")
            },
        ];
        let event = table("shop.pages", "Pages.", &columns).event;
        let names: Vec<&str> = event.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!((event.name.as_str(), names), ("pages", vec!["at", "platform"]));
        assert_eq!(event.fields[1].default, Some("web".into()));
        assert_eq!(event.all_notes().len(), 3, "{:?}", event.all_notes());
    }
}
