//! What records call fields: each member of an object is one field.

use std::collections::HashMap;

use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::quoted;

use crate::catalog::Event;
use crate::field_type::FieldType;
use crate::language::{CatalogFile, Field, RecordFormat, SourceName};
use crate::names::Names;

/// Checks fields where they are declared.
pub(super) fn fields(file: &CatalogFile, declared: &Names<Field>, cx: &mut Reading<'_>) {
    within(file, declared, Listed::No, cx);
}

/// Whether an object is one of a list or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    No,
    Yes,
}

fn within(file: &CatalogFile, declared: &Names<Field>, listed: Listed, cx: &mut Reading<'_>) {
    for (name, field) in declared.iter() {
        if let Some(source) = &field.source {
            let called = &source.value.0;
            if listed == Listed::Yes {
                let message = format!("`{name}` stands in a list, where records call it `{name}`");
                let hint = Some("name the field as records do, or make the list `json`".to_owned());
                cx.report(Mistake::Conflict, source.at, message, hint);
            } else if file.defaults.kafka.format == RecordFormat::Avro && !SourceName::legal_in_avro(called) {
                let message = format!("no field of an Avro record can be called {}", quoted(called));
                cx.report(Mistake::Conflict, source.at, message, None);
            }
        }
        let inner = match field.ty.value.required() {
            FieldType::Object => listed,
            FieldType::Scalar(_)
            | FieldType::Optional(_)
            | FieldType::Array(_)
            | FieldType::Map(_)
            | FieldType::Json
            | FieldType::Any => Listed::Yes,
        };
        within(file, &field.fields, inner, cx);
        alone(field.fields.iter(), cx);
    }
}

/// No two fields of an event are the same member of its records.
pub(super) fn event(event: &Event, cx: &mut Reading<'_>) {
    alone(event.fields.iter().map(|field| (field.name.as_str(), &field.field)), cx);
}

fn alone<'a>(fields: impl Iterator<Item = (&'a str, &'a Field)>, cx: &mut Reading<'_>) {
    let mut called: HashMap<&str, (&str, &Field)> = HashMap::new();
    for (name, field) in fields {
        let Some((other, of)) = called.insert(field.in_records(name), (name, field)) else { continue };
        let Some(source) = field.source.as_ref().or(of.source.as_ref()) else { continue };
        let message =
            format!("fields `{other}` and `{name}` are both {} in records", quoted(field.in_records(name)));
        cx.report(Mistake::Conflict, source.at, message, None);
    }
}
