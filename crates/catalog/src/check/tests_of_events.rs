//! The catalog's own tests: each value against the schema that its event gets, and what the sink checks beside it.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::Value;
use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::quoted;

use super::{bounded_texts, event};
use crate::catalog::{Catalog, Event};
use crate::generate::{event_schema, sample};
use crate::language::Test;

pub(super) fn check(catalog: &Catalog, cx: &mut Reading<'_>) {
    let mut validators: HashMap<&str, Validator> = HashMap::new();
    for test in &catalog.file.tests {
        let Some(event) = event(catalog, &test.event, cx) else { continue };
        if !validators.contains_key(event.name.as_str()) {
            let schema = event_schema(catalog, event, event.version());
            match jsonschema::options().should_validate_formats(true).build(&schema) {
                Ok(validator) => drop(validators.insert(&event.name, validator)),
                Err(error) => {
                    let message = format!("the schema of event `{}` is none: {error}", event.name);
                    cx.report(Mistake::BadValue, test.event.at, message, None);
                    continue;
                }
            }
        }
        let value = event_of_test(catalog, event, test);
        if let Some(validator) = validators.get(event.name.as_str()) {
            run(test, (event, &value), validator, cx);
        }
    }
}

/// The event that a test is about: its value, or that put into a valid event where it is partial.
#[must_use]
pub fn event_of_test(catalog: &Catalog, event: &Event, test: &Test) -> Value {
    let value = test.value.value.0.clone();
    if !test.partial {
        return value;
    }
    match (sample(catalog, event), value) {
        (Value::Object(mut valid), Value::Object(value)) => {
            valid.extend(value);
            Value::Object(valid)
        }
        (_, value) => value,
    }
}

fn run(test: &Test, (event, value): (&Event, &Value), validator: &Validator, cx: &mut Reading<'_>) {
    let at = test.value.at;
    let errors = validator.iter_errors(value);
    let errors: Vec<(String, String)> = errors
        .map(|error| (error.instance_path().to_string(), error.to_string()))
        .chain(bounded_texts::broken(event, value))
        .collect();
    match (test.accept, errors.first()) {
        (true, None) => {}
        (true, Some((path, error))) => {
            let message =
                format!("test {}: refused at `{path}`: {}", quoted(&test.name.value), quoted(error));
            cx.report(Mistake::Conflict, at, message, None);
        }
        (false, None) => {
            let message = format!("test {}: accepted, and should be refused", quoted(&test.name.value));
            cx.report(Mistake::Conflict, at, message, None);
        }
        (false, Some((path, _))) => {
            let (Some(field), Some(pointer)) = (&test.field, test.pointer()) else { return };
            // Of what is absent, or there and not declared, the object is refused and its member named.
            let member = pointer.rsplit('/').next().unwrap_or_default();
            let missing =
                |text: &str| text.contains(&format!("\"{member}\"")) || text.contains(&format!("'{member}'"));
            if !errors.iter().any(|(path, error)| test.is_about(path) || missing(error)) {
                let message =
                    format!("test {}: refused at `{path}`, not at `{pointer}`", quoted(&test.name.value));
                cx.report(Mistake::Conflict, field.at, message, None);
            }
        }
    }
}
