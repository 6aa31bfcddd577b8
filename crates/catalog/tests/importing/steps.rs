//! What the labelled version steps of Iglu Central really do, by readings of the schemas that share nothing with the
//! importer: their top-level fields compared, and values of the old version put before the new one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tidegate_catalog::import::{Family, VersionStep, newest};
use tidegate_schema::{Chance, FormatMode, SchemaDocument};

use crate::central;

/// The types of a property, without null.
fn types(property: &Value) -> BTreeSet<&str> {
    let stated: Vec<&str> = match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    stated.into_iter().filter(|ty| *ty != "null").collect()
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The top-level fields that a step removes, retypes or newly demands.
fn broken_at_the_top(old: &Value, new: &Value) -> Vec<String> {
    let (before, after) = (properties(old), properties(new));
    let gone_or_other =
        before.iter().filter(|(name, old)| after.get(*name).is_none_or(|new| types(old) != types(new)));
    let demanded = required(new).into_iter().filter(|name| !required(old).contains(name)).map(str::to_owned);
    gone_or_other.map(|(name, _)| name.clone()).chain(demanded).collect()
}

/// The schema of a property with nothing that is for people only.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(of) => {
            let kept = of.iter().filter(|(key, value)| !(*key == "description" && value.is_string()));
            Value::Object(kept.map(|(key, value)| (key.clone(), bare(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(bare).collect()),
        plain => plain.clone(),
    }
}

/// Why our class of a step differs from what its top-level fields say; none if nothing explains it.
fn explained((old, new): (&Value, &Value), step: &VersionStep) -> Option<&'static str> {
    let (before, after) = (properties(old), properties(new));
    if step.step.breaks {
        let breaking = step.step.changes.iter().filter(|change| change.class.as_str() != "minor");
        let mut tops = breaking.map(|change| change.field.split('.').next().unwrap_or_default());
        let differs = |name: &str| match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => bare(old) != bare(new),
            (_, _) => name == "value",
        };
        return tops.any(differs).then_some("a rule, or a member further down, takes less than before");
    }
    let holds = |name: &String| match (before.get(name), after.get(name)) {
        (Some(old), Some(new)) => {
            let (old, new) = (types(old), types(new));
            old.is_empty()
                || new.is_empty()
                || new.is_superset(&old)
                || (old.contains("integer") && new.contains("number"))
        }
        (_, _) => false,
    };
    let all = broken_at_the_top(old, new).iter().all(holds);
    all.then_some("the new type takes every value of the old one, or was what the listed words are")
}

fn schema(file: &str) -> Value {
    let mut schema: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    // Iglu's own, which says what draft 4 does.
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema.as_object_mut().unwrap().remove("self");
    schema
}

/// The steps, each with the schemas before and after it.
fn steps(families: &[Family]) -> Vec<(&Family, &VersionStep, Value, Value)> {
    let mut all = Vec::new();
    for family in families {
        let files: Vec<&String> = family.older.iter().chain([&family.newest.file]).collect();
        for (pair, step) in files.windows(2).zip(&family.steps) {
            all.push((family, step, schema(pair[0]), schema(pair[1])));
        }
    }
    all
}

#[test]
fn the_classes_of_version_steps_agree_with_what_the_schemas_do() {
    let Some(folder) = central::folder() else { return };
    let families = newest(central::imported(&folder));
    // By label: steps, those that break a top-level field, those that break by our class.
    let mut labels: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut differing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let steps = steps(&families);
    for (family, step, old, new) in &steps {
        let top = !broken_at_the_top(old, new).is_empty();
        let count = labels.entry(step.label).or_default();
        count.0 += 1;
        count.1 += usize::from(top);
        count.2 += usize::from(step.step.breaks);
        if top != step.step.breaks {
            let why = explained((old, new), step).unwrap_or("unexplained");
            let line = format!(
                "{} {} to {}, labelled {}: {}",
                family.newest.family,
                step.from,
                step.to,
                step.label,
                step.step.class.as_str()
            );
            differing.entry(why).or_default().push(line);
        }
    }
    println!("label: (steps, break at the top, break by class) {labels:?}");
    for (why, lines) in &differing {
        println!("{} steps differ: {why}\n  {}", lines.len(), lines.join("\n  "));
    }
    assert_eq!(steps.len(), 141);
    assert_eq!((labels["addition"].0, labels["addition"].1), (90, 6), "additions that break");
    assert_eq!((labels["model"].0, labels["model"].0 - labels["model"].1), (47, 34), "models that do not");
    assert!(!differing.contains_key("unexplained"), "{differing:?}");
}

#[test]
fn no_step_that_is_told_harmless_refuses_a_value_of_the_version_before() {
    const SAMPLES: usize = 20;
    let Some(folder) = central::folder() else { return };
    let families = newest(central::imported(&folder));
    let mut chance = Chance::new(6);
    let (mut harmless, mut n_samples, mut seen, mut refused) = (0, 0, 0, Vec::new());
    for (family, step, old, new) in steps(&families) {
        let Ok(document) = SchemaDocument::parse(&old.to_string()) else { continue };
        let Ok(sampler) = document.sampler("", FormatMode::Assert) else { continue };
        let after = jsonschema::options().should_validate_formats(true).build(&new).unwrap();
        let samples: Vec<Value> = (0..SAMPLES).filter_map(|_| sampler.sample(&mut chance).ok()).collect();
        let first = samples.iter().find_map(|sample| {
            after.iter_errors(sample).next().map(|error| format!("{error} at {}", error.instance_path()))
        });
        n_samples += samples.len();
        if step.step.breaks {
            seen += usize::from(first.is_some());
            continue;
        }
        harmless += usize::from(!samples.is_empty());
        if let Some(error) = first {
            refused.push(format!(
                "{} {} to {}, {}: {error}",
                family.newest.family, step.from, step.to, step.label
            ));
        }
    }
    println!("{n_samples} samples; {harmless} harmless steps tried; {seen} breaking ones seen to break");
    assert!(harmless > 80 && n_samples > 2_000, "{harmless}, {n_samples}");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
