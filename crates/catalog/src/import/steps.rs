//! What a step from one version to the next does, by the classes in which a catalog's changes are told.
//!
//! Label and content are two things: what a source calls an addition may break its readers.

use serde::Serialize;
use serde_json::Number;

use crate::change::Class;
use crate::field_type::{FieldType, Scalar};
use crate::proposal::{ProposedEvent, ProposedField};

/// What changed about a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field, with the objects that it is in: `visitor.city`.
    pub field: String,
    /// How it bears on others.
    pub class: Class,
    /// What changed.
    pub reason: String,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The gravest class of its changes; documentation if none.
    pub class: Class,
    /// Whether a record that was right before may be refused, or lose something.
    pub breaks: bool,
    /// The changes, in the order of the fields.
    pub changes: Vec<FieldChange>,
}

/// Compares two versions of an event.
#[must_use]
pub fn class_of_step(old: &ProposedEvent, new: &ProposedEvent) -> Step {
    let mut changes = Vec::new();
    members("", (&old.fields, &new.fields), &mut changes);
    let class = changes.iter().map(|change| change.class).max().unwrap_or(Class::Documentation);
    Step { class, breaks: changes.iter().any(|change| breaks(change.class)), changes }
}

fn breaks(class: Class) -> bool {
    match class {
        Class::New | Class::Documentation | Class::Minor | Class::Definition | Class::Rebuild => false,
        Class::Deprecate | Class::Policy | Class::Major | Class::Destructive => true,
    }
}

fn members(within: &str, (old, new): (&[ProposedField], &[ProposedField]), changes: &mut Vec<FieldChange>) {
    let mut say = |field: &str, class, reason: String| {
        changes.push(FieldChange { field: format!("{within}{field}"), class, reason });
    };
    for field in old.iter().filter(|field| !new.iter().any(|other| other.name == field.name)) {
        say(&field.name, Class::Deprecate, "is removed".to_owned());
    }
    for field in new.iter().filter(|field| !old.iter().any(|other| other.name == field.name)) {
        if field.ty.optional() || field.default.is_some() {
            say(&field.name, Class::Minor, format!("`{}` is added", field.ty));
        } else {
            say(&field.name, Class::Major, format!("`{}` is added and must be there", field.ty));
        }
    }
    for field in old {
        let Some(other) = new.iter().find(|other| other.name == field.name) else { continue };
        altered(within, (field, other), changes);
    }
}

fn altered(within: &str, (old, new): (&ProposedField, &ProposedField), changes: &mut Vec<FieldChange>) {
    let path = format!("{within}{}", old.name);
    let mut say = |class, reason: String| changes.push(FieldChange { field: path.clone(), class, reason });
    match (old.ty.optional(), new.ty.optional()) {
        (true, false) if new.default.is_none() => say(Class::Destructive, "must be there".to_owned()),
        (false, true) => say(Class::Minor, "may be absent".to_owned()),
        (_, _) => {}
    }
    let (from, to) = (old.ty.required(), new.ty.required());
    match fit(from, to) {
        Fit::Same => {}
        Fit::Wider => say(Class::Minor, format!("`{from}` becomes `{to}`, which holds it")),
        Fit::Narrower => say(Class::Destructive, format!("`{from}` becomes `{to}`")),
    }
    if fit(from, to) != Fit::Narrower {
        rules((old, new), &mut say);
    }
    if old.doc != new.doc {
        say(Class::Documentation, "is told otherwise".to_owned());
    }
    if !old.members.is_empty() && !new.members.is_empty() {
        members(&format!("{path}."), (&old.members, &new.members), changes);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Same,
    Wider,
    Narrower,
}

/// Whether every value of one type is one of the other.
fn fit(mut from: &FieldType, mut to: &FieldType) -> Fit {
    let mut at_least = Fit::Same;
    // A loop, for the same reason as where types of columns are compared (`change::type_change`).
    while from != to {
        let fits = match (from, to) {
            (FieldType::Optional(from_inner), FieldType::Optional(to_inner))
            | (FieldType::Array(from_inner), FieldType::Array(to_inner))
            | (FieldType::Map(from_inner), FieldType::Map(to_inner)) => {
                (from, to) = (from_inner, to_inner);
                continue;
            }
            (_, FieldType::Any) | (FieldType::Object | FieldType::Map(_), FieldType::Json) => true,
            (_, FieldType::Optional(to_inner)) => {
                (to, at_least) = (to_inner, Fit::Wider);
                continue;
            }
            (FieldType::Scalar(from), FieldType::Scalar(to)) => scalar_fits(from, to),
            (
                FieldType::Scalar(_)
                | FieldType::Optional(_)
                | FieldType::Array(_)
                | FieldType::Map(_)
                | FieldType::Object
                | FieldType::Json
                | FieldType::Any,
                _,
            ) => false,
        };
        return if fits { Fit::Wider } else { Fit::Narrower };
    }
    at_least
}

fn scalar_fits(from: &Scalar, to: &Scalar) -> bool {
    match (from, to) {
        (
            Scalar::Integer { signed: from_sign, bits: from },
            Scalar::Integer { signed: to_sign, bits: to },
        ) => match (from_sign, to_sign) {
            (true, true) | (false, false) => from <= to,
            (false, true) => from < to,
            (true, false) => false,
        },
        (Scalar::Integer { .. } | Scalar::Duration, Scalar::Float { bits: 64 }) => true,
        (Scalar::Integer { .. }, Scalar::Decimal { precision, scale }) => precision - scale >= 20,
        (Scalar::Float { bits: 32 }, Scalar::Float { .. }) => true,
        (
            Scalar::Decimal { precision: from, scale: from_scale },
            Scalar::Decimal { precision: to, scale: to_scale },
        ) => to_scale >= from_scale && to - to_scale >= from - from_scale,
        (Scalar::Timestamp(from), Scalar::Timestamp(to)) => from.digits() <= to.digits(),
        (
            Scalar::Enum(_)
            | Scalar::Uuid
            | Scalar::Ip
            | Scalar::Url
            | Scalar::Email
            | Scalar::Geohash { .. }
            | Scalar::Timestamp(_)
            | Scalar::Date,
            Scalar::String,
        ) => true,
        (_, _) => false,
    }
}

/// Rules that take less than before refuse records that were right.
fn rules((old, new): (&ProposedField, &ProposedField), say: &mut dyn FnMut(Class, String)) {
    let below = |one: &Number, other: &Number| match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one < other,
        (_, _) => false,
    };
    let same_type = old.ty.innermost() == new.ty.innermost();
    match (&old.min, &new.min) {
        (Some(old), Some(new)) if below(old, new) => say(Class::Major, format!("min {old} becomes {new}")),
        (Some(old), Some(new)) if below(new, old) => say(Class::Minor, format!("min {old} becomes {new}")),
        (None, Some(new)) if same_type => say(Class::Major, format!("min {new} is added")),
        (Some(_), None) => say(Class::Minor, "min is removed".to_owned()),
        (_, _) => {}
    }
    match (&old.max, &new.max) {
        (Some(old), Some(new)) if below(new, old) => say(Class::Major, format!("max {old} becomes {new}")),
        (Some(old), Some(new)) if below(old, new) => say(Class::Minor, format!("max {old} becomes {new}")),
        (None, Some(new)) if same_type => say(Class::Major, format!("max {new} is added")),
        (Some(_), None) => say(Class::Minor, "max is removed".to_owned()),
        (_, _) => {}
    }
    // Listed words that are short enough keep to a limit that nobody stated.
    let longest =
        old.words.as_ref().and_then(|words| words.values.iter().map(|word| word.chars().count()).max());
    let length = old.max_length.or(longest.and_then(|length| u32::try_from(length).ok()));
    match (length, new.max_length) {
        (Some(old), Some(new)) if new < old => say(Class::Major, format!("max_length {old} becomes {new}")),
        (Some(old), Some(new)) if new > old && longest.is_none() => {
            say(Class::Minor, format!("max_length {old} becomes {new}"));
        }
        (None, Some(new)) => say(Class::Major, format!("max_length {new} is added")),
        (Some(_), None) if old.max_length.is_some() => say(Class::Minor, "max_length is removed".to_owned()),
        (_, _) => {}
    }
    words((old, new), say);
    match (&old.pattern, &new.pattern) {
        (Some(old), Some(new)) if old != new => say(Class::Major, format!("pattern {old} becomes {new}")),
        (None, Some(new)) => say(Class::Major, format!("pattern {new} is added")),
        (Some(_), None) => say(Class::Minor, "pattern is removed".to_owned()),
        (_, _) => {}
    }
}

fn words((old, new): (&ProposedField, &ProposedField), say: &mut dyn FnMut(Class, String)) {
    match (&old.words, &new.words) {
        (Some(old), Some(new)) => {
            let gone: Vec<&String> = old.values.iter().filter(|word| !new.values.contains(word)).collect();
            if !gone.is_empty() && !new.open {
                let gone: Vec<String> = gone.iter().map(|word| format!("`{word}`")).collect();
                say(Class::Destructive, format!("the words {} are gone", gone.join(", ")));
            } else if new.values.iter().any(|word| !old.values.contains(word)) {
                say(Class::Minor, "words are added".to_owned());
            }
        }
        (None, Some(new)) if !new.open => say(Class::Destructive, "only listed words are taken".to_owned()),
        (Some(_), None) => say(Class::Minor, "any text is taken".to_owned()),
        (_, _) => {}
    }
}
