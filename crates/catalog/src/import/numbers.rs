//! Numbers: the narrowest type that holds what the bounds take, and the bounds that the type does not have itself.

use serde_json::{Number, Value};

use crate::field_type::{FieldType, Scalar};
use crate::proposal::{NoteKind, ProposedField};

/// What a source says of a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    pub(super) min: Option<Number>,
    pub(super) max: Option<Number>,
    /// Whether the bound itself is not taken.
    pub(super) above_min: bool,
    pub(super) below_max: bool,
}

const INTEGERS: [(bool, u8); 8] =
    [(false, 8), (true, 8), (false, 16), (true, 16), (false, 32), (true, 32), (false, 64), (true, 64)];

fn limits(signed: bool, bits: u8) -> (i128, i128) {
    if signed {
        let max = i128::from(i64::MAX >> (64 - bits));
        (-max - 1, max)
    } else {
        (0, i128::from(u64::MAX >> (64 - bits)))
    }
}

/// A number without its fraction; none if it is beyond 128 bits.
fn whole(number: &Number, up: bool) -> Option<i128> {
    if let Ok(exact) = number.to_string().parse::<i128>() {
        return Some(exact);
    }
    let near = number.as_f64()?;
    let near = if up { near.ceil() } else { near.floor() };
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds that are checked")]
    (near.abs() < 1e37).then_some(near as i128)
}

/// Makes `field` an integer within the bounds.
pub(super) fn integer(field: &mut ProposedField, bounds: &Bounds, at: &str) {
    let least = bounds.min.as_ref().map(|min| whole(min, true).map(|min| min + i128::from(bounds.above_min)));
    let most = bounds.max.as_ref().map(|max| whole(max, false).map(|max| max - i128::from(bounds.below_max)));
    if least == Some(None) || most == Some(None) {
        let text = "a bound beyond 128 bits; expected values are within 38 digits";
        field.note(NoteKind::Tightened, at, text);
    }
    let (least, most) = (least.flatten(), most.flatten());
    let known = limits(true, 64);
    // Where nothing is said, 64 bits with a sign are what JSON's writers mean.
    let (from, to) = match (least, most) {
        (Some(least), None) if least >= 0 => (least, known.1.max(least)),
        (least, most) => (least.unwrap_or(known.0), most.unwrap_or(known.1)),
    };
    // An open end is not a reason for fewer bits.
    let fits = |&&(signed, bits): &&(bool, u8)| {
        let (low, high) = limits(signed, bits);
        low <= from && to <= high && (most.is_some() || bits == 64)
    };
    match INTEGERS.iter().find(fits) {
        Some(&(signed, bits)) => {
            field.ty = FieldType::Scalar(Scalar::Integer { signed, bits });
            let (low, high) = limits(signed, bits);
            field.min = least.filter(|least| *least != low).and_then(number);
            field.max = most.filter(|most| *most != high).and_then(number);
        }
        None => {
            field.ty = FieldType::Scalar(Scalar::Decimal { precision: 38, scale: 0 });
            field.min = least.and_then(number);
            field.max = most.and_then(number);
            field.note(NoteKind::Informative, at, "integers beyond 64 bits are decimals without a fraction");
        }
    }
}

fn number(of: i128) -> Option<Number> {
    serde_json::from_str(&of.to_string()).ok()
}

/// Makes `field` a number within the bounds; one of decimals if it is a multiple of a power of ten below one.
pub(super) fn real(field: &mut ProposedField, (bounds, step): (&Bounds, Option<&Value>), at: &str) {
    field.ty = match step.and_then(decimals) {
        Some(scale) => FieldType::Scalar(Scalar::Decimal { precision: precision(bounds, scale), scale }),
        None => FieldType::Scalar(Scalar::Float { bits: 64 }),
    };
    if let (Some(step), None) = (step, step.and_then(decimals)) {
        field.note(NoteKind::NotCarried, at, format!("multipleOf {step}"));
    }
    field.min.clone_from(&bounds.min);
    field.max.clone_from(&bounds.max);
    for (open, bound, name) in
        [(bounds.above_min, &bounds.min, "minimum"), (bounds.below_max, &bounds.max, "maximum")]
    {
        if let (true, Some(bound)) = (open, bound) {
            field.note(NoteKind::Loosened, at, format!("the {name} {bound} itself is taken too"));
        }
    }
}

/// 2 of `0.01`.
pub(super) fn decimals(step: &Value) -> Option<u8> {
    let Value::Number(step) = step else { return None };
    let step = step.as_f64()?;
    (1..=18_u8).find(|scale| {
        let unit = 10_f64.powi(-i32::from(*scale));
        (step - unit).abs() < unit * 1e-9
    })
}

fn precision(bounds: &Bounds, scale: u8) -> u8 {
    let largest = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64).map(f64::abs);
    match (largest(&bounds.min), largest(&bounds.max)) {
        (Some(min), Some(max)) => {
            let digits = (1..=18_u8).find(|digits| min.max(max) < 10_f64.powi(i32::from(*digits)));
            digits.map_or(38, |digits| (digits + scale).min(38))
        }
        (_, _) => 38,
    }
}
