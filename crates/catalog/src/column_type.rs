//! ClickHouse's types for the fields of events.

use crate::catalog::Catalog;
use crate::field_type::{FieldType, Scalar};
use crate::language::Field;
use crate::lock::{Lock, Numbers};

/// ClickHouse's type of a closed enum.
pub(crate) fn enum_type(codes: &Numbers) -> String {
    let mut words: Vec<(&String, &u32)> = codes.iter().collect();
    words.sort_by_key(|(_, code)| **code);
    let wide = words.last().is_some_and(|(_, code)| **code > 127);
    let words: Vec<String> = words.iter().map(|(word, code)| format!("'{word}' = {code}")).collect();
    format!("Enum{}({})", if wide { 16 } else { 8 }, words.join(", "))
}

/// ClickHouse's type of a field's values, without `Nullable`.
#[must_use]
pub(crate) fn clickhouse_type(ty: &FieldType, field: &Field, catalog: &Catalog, lock: &Lock) -> String {
    match ty {
        FieldType::Scalar(scalar) => scalar_type(scalar, field, catalog, lock),
        FieldType::Optional(inner) => {
            let inner_type = clickhouse_type(inner, field, catalog, lock);
            match (inner.as_ref(), catalog.nulls()) {
                (FieldType::Scalar(_), true) => nullable(&inner_type),
                (_, _) => inner_type,
            }
        }
        FieldType::Array(inner) => format!("Array({})", clickhouse_type(inner, field, catalog, lock)),
        FieldType::Map(inner) => format!("Map(String, {})", clickhouse_type(inner, field, catalog, lock)),
        FieldType::Object => {
            let members = field.fields.iter().map(|(name, member)| {
                format!("{name} {}", clickhouse_type(&member.ty.value, member, catalog, lock))
            });
            format!("Tuple({})", members.collect::<Vec<_>>().join(", "))
        }
        FieldType::Json => "JSON".to_owned(),
        FieldType::Any => "Dynamic".to_owned(),
    }
}

/// `Nullable(T)`; within `LowCardinality` where that is the type.
pub(crate) fn nullable(ty: &str) -> String {
    match ty.strip_prefix("LowCardinality(").and_then(|ty| ty.strip_suffix(')')) {
        Some(inner) => format!("LowCardinality(Nullable({inner}))"),
        None => format!("Nullable({ty})"),
    }
}

fn scalar_type(scalar: &Scalar, field: &Field, catalog: &Catalog, lock: &Lock) -> String {
    match scalar {
        Scalar::String if field.hint.is_some() => "LowCardinality(String)".to_owned(),
        Scalar::String | Scalar::Url | Scalar::Email => "String".to_owned(),
        Scalar::Enum(name) => match (catalog.file.enums.get(name), lock.codes(name)) {
            (Some(source), Some(codes)) if !source.open => enum_type(codes),
            // An open one is a text: new words never need DDL.
            (_, _) => "LowCardinality(String)".to_owned(),
        },
        Scalar::Bool => "Bool".to_owned(),
        Scalar::Integer { signed, bits } => format!("{}{bits}", if *signed { "Int" } else { "UInt" }),
        Scalar::Float { bits } => format!("Float{bits}"),
        Scalar::Decimal { precision, scale } => format!("Decimal({precision}, {scale})"),
        Scalar::Timestamp(fraction) => format!("DateTime64({}, 'UTC')", fraction.digits()),
        Scalar::Date => "Date32".to_owned(),
        Scalar::Duration => "UInt64".to_owned(),
        Scalar::Uuid => "UUID".to_owned(),
        Scalar::Ip => "IPv6".to_owned(),
        Scalar::Geohash { .. } => "LowCardinality(String)".to_owned(),
    }
}
