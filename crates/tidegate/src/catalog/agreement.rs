//! Whether a row of ClickHouse is the event that was sent: field by field, by what the catalog says of it.
//!
//! It is written apart from the codec, whose work it judges. Rows come as `FORMAT JSONEachRow` with
//! [`SETTINGS`].

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use tidegate_catalog::language::{Field, PiiAction, PiiClass};
use tidegate_catalog::{Catalog, Event, FieldType, Scalar, SecondFraction};

/// What makes ClickHouse's JSON tell times with their zone, and numbers with all their digits.
pub const SETTINGS: &str = "date_time_output_format = 'iso', output_format_json_quote_decimals = 1, \
     output_format_json_quote_64bit_integers = 1, output_format_json_named_tuples_as_objects = 1";

/// Where the row is not the event, in words.
pub fn disagreements(
    catalog: &Catalog,
    event: &Event,
    sent: &Value,
    row: &Map<String, Value>,
) -> Vec<String> {
    let mut told = Vec::new();
    for ((name, column), (_, path)) in event.columns(catalog.nulls()).into_iter().zip(event.paths()) {
        let Some(found) = row.get(&name) else {
            told.push(format!("the row has no column `{name}`"));
            continue;
        };
        let member = path.iter().try_fold(sent, |value, member| value.get(member));
        let value = member.filter(|value| !value.is_null());
        let default = column.field.default.as_ref().map(|default| &default.value.0);
        if let Some((_, class)) = catalog.treatment(&column) {
            if !treated(class, value, found) {
                let done = class.done();
                told.push(format!("column `{name}` is {found}, where what was sent should have been {done}"));
            }
            continue;
        }
        let agrees = match value.or(default) {
            Some(value) => same(column.ty, column.field, value, found),
            // `Dynamic` has a null of its own.
            None if column.nullable || *column.ty == FieldType::Any => found.is_null(),
            None => empty(found),
        };
        if !agrees {
            let sent = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            told.push(format!("column `{name}` is {found}, sent was {sent}"));
        }
    }
    told
}

/// Whether a value can be what is stored of a personal one. Which pseudonym, only the key says.
fn treated(class: &PiiClass, sent: Option<&Value>, found: &Value) -> bool {
    let nothing = found.is_null() || empty(found);
    match (class.action, sent, found) {
        (PiiAction::Drop, ..) | (_, None, _) => nothing,
        (_, Some(Value::Array(sent)), Value::Array(found)) => {
            let pairs = || sent.iter().zip(found);
            sent.len() == found.len() && pairs().all(|(sent, found)| treated(class, Some(sent), found))
        }
        (PiiAction::Pseudonymise, Some(sent), Value::String(found)) => {
            let digits = found.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            (found.len() == 32 && digits) || (sent == "" && found.is_empty())
        }
        (PiiAction::Truncate, Some(Value::String(sent)), Value::String(found)) => {
            sent.starts_with(found.as_str())
                || (address(&json!(sent)).is_some() && address(&json!(found)).is_some())
        }
        (PiiAction::Truncate | PiiAction::Generalise, Some(_), found) => !found.is_null(),
        (PiiAction::Keep | PiiAction::Restrict | PiiAction::Pseudonymise, ..) => false,
    }
}

/// The value that a column without null has of what is absent.
fn empty(found: &Value) -> bool {
    match found {
        Value::Null => false,
        Value::Bool(found) => !found,
        Value::Number(found) => found.as_f64() == Some(0.0),
        // No time, no id, no address: each type has its own text for it.
        Value::String(_) => true,
        Value::Array(found) => found.is_empty(),
        Value::Object(found) => found.is_empty(),
    }
}

fn same(ty: &FieldType, field: &Field, sent: &Value, found: &Value) -> bool {
    match ty {
        FieldType::Optional(_) if sent.is_null() => found.is_null(),
        FieldType::Optional(inner) => same(inner, field, sent, found),
        FieldType::Scalar(of) => scalar(of, sent, found),
        FieldType::Array(inner) => match (sent, found) {
            (Value::Array(sent), Value::Array(found)) => {
                sent.len() == found.len()
                    && sent.iter().zip(found).all(|(sent, found)| same(inner, field, sent, found))
            }
            _ => false,
        },
        FieldType::Map(inner) => match (sent, found) {
            (Value::Object(sent), Value::Object(found)) => {
                sent.len() == found.len()
                    && sent.iter().all(|(key, sent)| {
                        found.get(key).is_some_and(|found| same(inner, field, sent, found))
                    })
            }
            _ => false,
        },
        FieldType::Object => field.fields.iter().all(|(name, of)| {
            let found = found.get(name).unwrap_or(&Value::Null);
            match sent.get(name).filter(|sent| !sent.is_null()) {
                Some(sent) => same(&of.ty.value, of, sent, found),
                None => found.is_null() || of.default.is_some() || empty(found),
            }
        }),
        FieldType::Json | FieldType::Any => same_json(sent, found),
    }
}

fn scalar(ty: &Scalar, sent: &Value, found: &Value) -> bool {
    match ty {
        Scalar::String | Scalar::Enum(_) | Scalar::Url | Scalar::Email | Scalar::Geohash { .. } => {
            sent == found
        }
        Scalar::Date | Scalar::Bool => sent == found,
        Scalar::Integer { .. } | Scalar::Duration | Scalar::Decimal { .. } => {
            decimal(sent).is_some_and(|sent| decimal(found) == Some(sent))
        }
        Scalar::Float { bits } => float(*bits, sent).is_some_and(|sent| float(*bits, found) == Some(sent)),
        Scalar::Timestamp(fraction) => {
            moment(*fraction, sent).is_some_and(|sent| moment(*fraction, found) == Some(sent))
        }
        Scalar::Uuid => match (sent.as_str(), found.as_str()) {
            (Some(sent), Some(found)) => sent.eq_ignore_ascii_case(found),
            _ => false,
        },
        Scalar::Ip => address(sent).is_some_and(|sent| address(found) == Some(sent)),
    }
}

/// A number's digits, without zeros that say nothing.
fn decimal(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => Some("0".to_owned()),
        _ => Some(format!("{sign}{whole}.{fraction}")),
    }
}

/// A float's bits as its column keeps them.
fn float(bits: u8, value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a column of 32 bits keeps the nearest number")]
    let kept = if bits == 32 { f64::from(number as f32) } else { number };
    Some(kept.to_bits())
}

/// Nanoseconds since 1970, as exact as the column keeps them.
fn moment(fraction: SecondFraction, value: &Value) -> Option<i128> {
    let moment: jiff::Timestamp = value.as_str()?.parse().ok()?;
    let unit = 10_i128.pow(9 - u32::from(fraction.digits()));
    Some(moment.as_nanosecond().div_euclid(unit))
}

/// The address as ClickHouse's `IPv6` has it.
fn address(value: &Value) -> Option<std::net::Ipv6Addr> {
    match value.as_str()?.parse().ok()? {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
        IpAddr::V6(address) => Some(address),
    }
}

/// ClickHouse's `JSON` knows no null, and tells whole numbers as texts here.
fn same_json(sent: &Value, found: &Value) -> bool {
    match (sent, found) {
        (Value::Object(sent), Value::Object(found)) => {
            let there = sent.iter().filter(|(_, value)| !value.is_null());
            there.clone().count() == found.len()
                && there
                    .into_iter()
                    .all(|(key, sent)| found.get(key).is_some_and(|found| same_json(sent, found)))
        }
        (Value::Array(sent), Value::Array(found)) => {
            sent.len() == found.len() && sent.iter().zip(found).all(|(sent, found)| same_json(sent, found))
        }
        (Value::Number(_), _) => decimal(sent) == decimal(found),
        (Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_), _) => {
            sent == found
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(ty: &Scalar, sent: Value, found: Value, expected: bool) {
        assert_eq!(scalar(ty, &sent, &found), expected, "{sent} and {found}");
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let money = Scalar::Decimal { precision: 12, scale: 6 };
        check(&money, json!("4.99"), json!("4.990000"), true);
        check(&money, json!(-0.5), json!("-0.500000"), true);
        check(&money, json!("4.99"), json!("4.99001"), false);
        let whole = Scalar::Integer { signed: false, bits: 64 };
        check(&whole, json!(7), json!("7"), true);
        check(&whole, json!(u64::MAX), json!("18446744073709551615"), true);
        check(&whole, json!(u64::MAX), json!("18446744073709551614"), false);
        let time = Scalar::Timestamp(SecondFraction::Millis);
        check(&time, json!("2026-01-27T12:00:00.1239+02:00"), json!("2026-01-27T10:00:00.123Z"), true);
        check(&time, json!("2026-01-27T12:00:00.123+02:00"), json!("2026-01-27T12:00:00.123Z"), false);
        check(&Scalar::Ip, json!("203.0.113.7"), json!("::ffff:203.0.113.7"), true);
        check(&Scalar::Uuid, json!("AB"), json!("ab"), true);
        check(&Scalar::Float { bits: 32 }, json!(0.1), json!(0.100_000_001_490_116_12), true);
        check(&Scalar::Float { bits: 64 }, json!(0.1), json!(0.100_000_001_490_116_12), false);
        check(&Scalar::String, json!("a"), json!("b"), false);
        assert!(same_json(&json!({"a": 1, "b": null}), &json!({"a": "1"})));
        assert!(!same_json(&json!({"a": 1}), &json!({"a": 1, "c": 2})));
    }

    const CATALOG: &str = "
cdp: \"1\"
name: shop
envelope: {event_id: {type: uuid}, ts: {type: timestamp(ms)}}
events:
  seen:
    doc: Seen.
    fields:
      at: {type: object, fields: {x: {type: i32}}}
      note: {type: optional<string>}
      tags: {type: optional<array<string>>}
      loops: {type: u16, default: 2}
";

    #[test]
    fn a_row_is_told_apart_from_another_events_row() {
        let catalog = tidegate_catalog::load("cdp.yaml", &|_| Ok(CATALOG.into())).unwrap().catalog;
        let sent = json!({"event_id": "ab", "ts": "2026-01-27T10:00:00Z", "at": {"x": 1}});
        let row = json!({"event_id": "ab", "ts": "2026-01-27T10:00:00.000Z", "at__x": 1, "note": null, "tags": [],
            "loops": 2, "_offset": "0"});
        let told =
            |row: &Value| disagreements(&catalog, &catalog.events["seen"], &sent, row.as_object().unwrap());
        assert_eq!(told(&row), [""; 0]);
        for (column, value) in
            [("at__x", json!(2)), ("note", json!("")), ("tags", json!(["a"])), ("loops", json!(0))]
        {
            let mut other = row.clone();
            other[column] = value;
            let told = told(&other);
            assert!(told.len() == 1 && told[0].starts_with(&format!("column `{column}` is ")), "{told:?}");
        }
    }
}
