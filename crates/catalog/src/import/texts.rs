//! Texts: the type that a format stands for, and the rules that are left.

use crate::field_type::{FieldType, Scalar, SecondFraction};
use crate::proposal::{NoteKind, ProposedField};

/// What a source says of a text.
#[derive(Debug, Clone, Default)]
pub(super) struct TextRules {
    pub(super) format: Option<String>,
    pub(super) length_min: Option<u64>,
    pub(super) length_max: Option<u64>,
    pub(super) pattern: Option<String>,
}

/// The type that a format stands for, and how long such a text is.
fn meaning(format: &str) -> Option<(Scalar, std::ops::RangeInclusive<u64>)> {
    Some(match format {
        "date-time" => (Scalar::Timestamp(SecondFraction::Millis), 20..=35),
        "date" => (Scalar::Date, 10..=10),
        "uuid" => (Scalar::Uuid, 36..=36),
        "ipv4" => (Scalar::Ip, 7..=15),
        "ipv6" | "ip" | "ip-address" => (Scalar::Ip, 2..=45),
        "uri" | "url" => (Scalar::Url, 0..=u64::MAX),
        "email" => (Scalar::Email, 0..=u64::MAX),
        _ => return None,
    })
}

/// Makes `field` a text that keeps to the rules.
pub(super) fn text(field: &mut ProposedField, rules: TextRules, at: &str) {
    let known = rules.format.as_deref().and_then(meaning);
    let lengths = known.as_ref().map_or(0..=u64::MAX, |(_, lengths)| lengths.clone());
    let scalar = known.map_or(Scalar::String, |(scalar, _)| scalar);
    let free = matches!(scalar, Scalar::String | Scalar::Url | Scalar::Email);
    match rules.format.as_deref() {
        Some("ipv4") => {
            field.note(NoteKind::Loosened, at, "format ipv4: addresses of version 6 are taken too")
        }
        Some("ipv6") => {
            field.note(NoteKind::Loosened, at, "format ipv6: addresses of version 4 are taken too")
        }
        Some(format) if scalar == Scalar::String => {
            field.note(NoteKind::NotCarried, at, format!("format {format}"));
        }
        Some(_) | None => {}
    }
    if let Some(least) = rules.length_min.filter(|least| *least > *lengths.start()) {
        field.note(NoteKind::NotCarried, at, format!("minLength {least}"));
    }
    if let Some(most) = rules.length_max {
        match u32::try_from(most) {
            Ok(most) if free => field.max_length = Some(most),
            // A text of 4294967296 characters comes in no record.
            Err(_) => {}
            Ok(_) if most >= *lengths.end() => {
                field.note(NoteKind::Informative, at, format!("maxLength {most} follows from `{scalar}`"));
            }
            Ok(_) => field.note(NoteKind::NotCarried, at, format!("maxLength {most} of `{scalar}`")),
        }
    }
    match rules.pattern {
        Some(pattern) if free => field.pattern = Some(pattern),
        Some(pattern) => field.note(NoteKind::NotCarried, at, format!("pattern {pattern} of `{scalar}`")),
        None => {}
    }
    field.ty = FieldType::Scalar(scalar);
}
