//! Bounds of the numbers that texts hold: what the sink checks of decimals, and no JSON Schema can say.

use serde_json::Value;
use tidegate_schema::Decimal;

use crate::catalog::Event;
use crate::field_type::{FieldType, Scalar};
use crate::language::Field;

/// The places of decimals in an event that are out of their bounds, as JSON Pointers, with what was expected.
pub(super) fn broken(event: &Event, value: &Value) -> Vec<(String, String)> {
    let mut broken = Vec::new();
    for field in &event.fields {
        if let Some(value) = value.get(field.in_records()) {
            within(
                &field.field.ty.value,
                &field.field,
                value,
                (&format!("/{}", field.in_records()), &mut broken),
            );
        }
    }
    broken
}

fn within(ty: &FieldType, field: &Field, value: &Value, (path, broken): (&str, &mut Vec<(String, String)>)) {
    match (ty, value) {
        (FieldType::Optional(inner), value) => within(inner, field, value, (path, broken)),
        (FieldType::Array(inner), Value::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                within(inner, field, item, (&format!("{path}/{at}"), broken));
            }
        }
        (FieldType::Map(inner), Value::Object(members)) => {
            for (name, member) in members {
                within(inner, field, member, (&format!("{path}/{name}"), broken));
            }
        }
        (FieldType::Object, Value::Object(members)) => {
            for (name, member) in field.fields.iter() {
                let called = member.in_records(name);
                if let Some(value) = members.get(called) {
                    within(&member.ty.value, member, value, (&format!("{path}/{called}"), broken));
                }
            }
        }
        (FieldType::Scalar(Scalar::Decimal { .. }), Value::String(text)) => {
            let expected = Decimal::parse(text).and_then(|number| out_of_bounds(field, &number));
            broken
                .extend(expected.map(|expected| (path.to_owned(), format!("\"{text}\" is not {expected}"))));
        }
        (
            FieldType::Scalar(_)
            | FieldType::Array(_)
            | FieldType::Map(_)
            | FieldType::Object
            | FieldType::Json
            | FieldType::Any,
            _,
        ) => {}
    }
}

fn out_of_bounds(field: &Field, number: &Decimal) -> Option<String> {
    let bound = |text: String| Decimal::parse(&text);
    let min = field.min.as_ref().map(|min| min.value.0.to_string());
    let max = field.max.as_ref().map(|max| max.value.0.to_string());
    match (min, max) {
        (Some(min), _) if bound(min.clone()).is_some_and(|bound| *number < bound) => {
            Some(format!("at least {min}"))
        }
        (_, Some(max)) if bound(max.clone()).is_some_and(|bound| *number > bound) => {
            Some(format!("at most {max}"))
        }
        (_, _) => None,
    }
}
