//! Personal data: whether what a class says can be done to the fields that are of it.

use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Located;

use super::unknown;
use crate::catalog::{Catalog, Event};
use crate::field_type::{FieldType, Scalar};
use crate::language::{CatalogFile, Field, PiiAction, PiiClass};
use crate::names::Names;

/// Classes have what their actions need.
pub(super) fn classes(file: &CatalogFile, cx: &mut Reading<'_>) {
    for (name, located) in file.policies.pii.located() {
        let class = &located.value;
        if class.makes_texts() && class.key_ref.is_none() {
            let message = format!("class `{name}` pseudonymises, and has no `key_ref`");
            let hint =
                "say where the key is, `key_ref: env:CDP_PII_KEY`; or `upstream: true` where producers do it";
            cx.report(Mistake::MissingKey, located.at, message, Some(hint.to_owned()));
        }
        if let (Some(key), false) = (&class.key_ref, class.action == PiiAction::Pseudonymise) {
            let message =
                format!("`key_ref` is for `pseudonymise`; class `{name}` is for `{}`", class.action);
            cx.report(Mistake::Conflict, key.at, message, None);
        }
    }
}

/// Where a field stands.
#[derive(Clone, Copy)]
struct Within<'a> {
    /// The class of the object around it.
    class: Option<&'a Located<String>>,
    /// Whether that object is one of a list or map.
    listed: bool,
}

/// Checks fields where they are declared.
pub(super) fn fields(file: &CatalogFile, declared: &Names<Field>, cx: &mut Reading<'_>) {
    within(file, declared, Within { class: None, listed: false }, cx);
}

fn within(file: &CatalogFile, declared: &Names<Field>, around: Within<'_>, cx: &mut Reading<'_>) {
    for (name, field) in declared.iter() {
        let class = field.pii.as_ref().or(around.class);
        let list = !matches!(field.ty.value.required(), FieldType::Object);
        // A list of objects that has a class has it as a whole.
        if field.ty.value.has_members() && (!list || class.is_none()) {
            within(file, &field.fields, Within { class, listed: around.listed || list }, cx);
            continue;
        }
        let Some((named, class)) =
            class.and_then(|named| Some((named, file.policies.pii.get(&named.value)?)))
        else {
            continue;
        };
        if class.carried_out() {
            treatable(name, field, (named, class, around.listed), cx);
        }
    }
}

fn treatable(
    name: &str,
    field: &Field,
    (named, class, listed): (&Located<String>, &PiiClass, bool),
    cx: &mut Reading<'_>,
) {
    let (action, ty) = (class.action, &field.ty.value);
    let single = match ty.required() {
        FieldType::Scalar(scalar) => Some(scalar),
        FieldType::Array(inner) => match inner.as_ref() {
            FieldType::Scalar(scalar) => Some(scalar),
            FieldType::Optional(_)
            | FieldType::Array(_)
            | FieldType::Map(_)
            | FieldType::Object
            | FieldType::Json
            | FieldType::Any => None,
        },
        FieldType::Optional(_) | FieldType::Map(_) | FieldType::Object | FieldType::Json | FieldType::Any => {
            None
        }
    };
    let fits = match (action, single) {
        (PiiAction::Drop, _) => !listed,
        (_, Some(scalar)) => !listed && takes(class, scalar),
        (_, None) => false,
    };
    if !fits {
        let message =
            format!("class `{}` says `{action}`, which is not done to `{name}: {ty}`{}", named.value, {
                if listed { " within a list" } else { "" }
            });
        let hint = match action {
            _ if listed => {
                "give the class to the whole list, with `drop`; or let producers do it, `upstream: true`"
            }
            PiiAction::Pseudonymise => {
                "texts, ids, addresses and whole numbers can be pseudonymised, alone or in a list; anything can be \
                 dropped"
            }
            PiiAction::Truncate => {
                "addresses can be truncated, and with `characters_max` texts; anything can be dropped"
            }
            PiiAction::Generalise => {
                "`url`, dates, timestamps and with `step` whole numbers can be generalised; anything can be dropped"
            }
            PiiAction::Keep | PiiAction::Drop | PiiAction::Restrict => {
                "let producers do it, `upstream: true`"
            }
        };
        cx.report(Mistake::Conflict, named.at, message, Some(hint.to_owned()));
    } else if let (Some(default), PiiAction::Pseudonymise) = (&field.default, action) {
        let empty = default.value.0.is_null() || default.value.0 == "" || default.value.0.is_array();
        if !empty {
            let message = format!("`{name}` is pseudonymised, and its default would not be");
            let hint = Some("remove the default, and make it `optional<..>`".to_owned());
            cx.report(Mistake::Conflict, default.at, message, hint);
        }
    }
}

/// Whether the action is for values of the type.
fn takes(class: &PiiClass, scalar: &Scalar) -> bool {
    match class.action {
        PiiAction::Keep | PiiAction::Restrict | PiiAction::Drop => true,
        PiiAction::Pseudonymise => match scalar {
            Scalar::String
            | Scalar::Url
            | Scalar::Email
            | Scalar::Geohash { .. }
            | Scalar::Enum(_)
            | Scalar::Uuid
            | Scalar::Ip
            | Scalar::Integer { .. } => true,
            Scalar::Bool
            | Scalar::Float { .. }
            | Scalar::Decimal { .. }
            | Scalar::Timestamp(_)
            | Scalar::Date
            | Scalar::Duration => false,
        },
        PiiAction::Truncate => match scalar {
            Scalar::Ip => true,
            Scalar::String | Scalar::Url | Scalar::Email => class.characters_max.is_some(),
            Scalar::Bool
            | Scalar::Float { .. }
            | Scalar::Decimal { .. }
            | Scalar::Duration
            | Scalar::Geohash { .. }
            | Scalar::Enum(_)
            | Scalar::Uuid
            | Scalar::Integer { .. }
            | Scalar::Timestamp(_)
            | Scalar::Date => false,
        },
        PiiAction::Generalise => match scalar {
            Scalar::Url | Scalar::Date | Scalar::Timestamp(_) => true,
            Scalar::Integer { .. } => class.step.is_some_and(|step| step > 0),
            Scalar::Bool
            | Scalar::Float { .. }
            | Scalar::Decimal { .. }
            | Scalar::Duration
            | Scalar::Geohash { .. }
            | Scalar::Enum(_)
            | Scalar::Uuid
            | Scalar::String
            | Scalar::Email
            | Scalar::Ip => false,
        },
    }
}

/// Every event that has a field of a class has the fields that tell its pseudonyms apart.
pub(super) fn tellers(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (name, class) in catalog.file.policies.pii.iter().filter(|(_, class)| class.makes_texts()) {
        for teller in &class.per {
            let lacks = |event: &&Event| {
                let columns = event.columns(catalog.nulls());
                let column = columns.iter().find(|(column, _)| *column == teller.value);
                let single = column.and_then(|(_, column)| column.clear.scalar());
                let single = single.is_some_and(|scalar| takes(class, scalar));
                !event.incomplete && !single && columns.iter().any(|(_, column)| column.pii == Some(name))
            };
            let Some(event) = catalog.events.values().find(lacks) else { continue };
            let columns = event.columns(catalog.nulls());
            let kind = format!("field of event `{}` with single texts or numbers called", event.name);
            unknown(&kind, &teller.value, teller.at, columns.iter().map(|(column, _)| column.as_str()), cx);
        }
    }
}
