//! Moments and bounds: each that a schema of Iglu Central states is found again in the event.

use serde_json::{Map, Value};
use tidegate_catalog::import::Imported;
use tidegate_catalog::proposal::ProposedField;
use tidegate_catalog::{FieldType, Scalar};

use crate::central;

/// How often a keyword was found, and what became of it.
#[derive(Default)]
struct Tally {
    moments: usize,
    bounds: usize,
    /// In values of several types, which have a note.
    noted: Vec<String>,
    lost: Vec<String>,
}

struct Walk<'a> {
    file: &'a str,
    root: &'a Value,
    tally: &'a mut Tally,
}

/// A field as the schema calls it.
fn named<'a>(fields: &'a [ProposedField], name: &str) -> Option<&'a ProposedField> {
    fields.iter().find(|field| field.original.as_deref().unwrap_or(&field.name) == name)
}

fn innermost(ty: &FieldType) -> &FieldType {
    match ty {
        FieldType::Optional(inner) | FieldType::Array(inner) | FieldType::Map(inner) => innermost(inner),
        other => other,
    }
}

impl Walk<'_> {
    fn value(&mut self, schema: &Value, field: &ProposedField, path: &str, depth: usize) {
        let Value::Object(of) = schema else { return };
        if depth > 20 {
            return;
        }
        if let Some(Value::String(reference)) = of.get("$ref") {
            if let Some(target) = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                let target = target.clone();
                self.value(&target, field, path, depth + 1);
            }
            return;
        }
        if of.get("format").is_some_and(|format| format == "date-time") {
            self.tally.moments += 1;
            if !matches!(innermost(&field.ty), FieldType::Scalar(Scalar::Timestamp(_)) | FieldType::Any) {
                self.tally.lost.push(format!("{} {path}: a date-time became `{}`", self.file, field.ty));
            }
        }
        self.bounds(of, field, path);
        for keyword in ["oneOf", "anyOf", "allOf"] {
            let alternatives = of.get(keyword).and_then(Value::as_array).into_iter().flatten();
            alternatives.for_each(|one| self.value(one, field, path, depth + 1));
        }
        for part in ["items", "additionalProperties"] {
            of.get(part).into_iter().for_each(|part| self.value(part, field, path, depth + 1));
        }
        let properties = of.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (name, schema) in properties {
            // What is inside of a value of any type is not described: the value has a note.
            let member = named(&field.members, name).unwrap_or(field);
            self.value(schema, member, &format!("{path}/{name}"), depth + 1);
        }
    }

    fn bounds(&mut self, of: &Map<String, Value>, field: &ProposedField, path: &str) {
        for (keyword, least) in [("minimum", true), ("maximum", false)] {
            let Some(bound) = of.get(keyword).filter(|bound| bound.is_number()) else { continue };
            self.tally.bounds += 1;
            let told = format!("{} {path}: {keyword} {bound} of `{}`", self.file, field.ty);
            match innermost(&field.ty) {
                FieldType::Any | FieldType::Json | FieldType::Object if !field.notes.is_empty() => {
                    self.tally.noted.push(told);
                }
                FieldType::Scalar(scalar) if kept(scalar, field, (bound, least)) => {}
                _ => self.tally.lost.push(told),
            }
        }
    }
}

/// Whether the field, or its type, says the bound.
fn kept(scalar: &Scalar, field: &ProposedField, (bound, least): (&Value, bool)) -> bool {
    let said = if least { &field.min } else { &field.max };
    if said.as_ref().is_some_and(|said| said.as_f64() == bound.as_f64()) {
        return true;
    }
    let limit = match (scalar, least) {
        (Scalar::Integer { signed: true, bits }, true) => format!("-{}", 1_u128 << (bits - 1)),
        (Scalar::Integer { signed: true, bits }, false) => ((1_u128 << (bits - 1)) - 1).to_string(),
        (Scalar::Integer { signed: false, .. }, true) => "0".to_owned(),
        (Scalar::Integer { signed: false, bits }, false) => ((1_u128 << bits) - 1).to_string(),
        (_, _) => return false,
    };
    bound.as_number().is_some_and(|bound| bound.to_string() == limit)
}

#[test]
fn no_moment_is_a_text_and_no_bound_is_ignored() {
    let Some(folder) = central::folder() else { return };
    let imported = central::settled(&folder);
    let mut tally = Tally::default();
    for Imported { file, event, .. } in &imported {
        let root: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut whole = ProposedField::new("", FieldType::Object);
        whole.members.clone_from(&event.fields);
        whole.notes.clone_from(&event.notes);
        Walk { file, root: &root, tally: &mut tally }.value(&root, &whole, "", 0);
    }
    assert!(tally.lost.is_empty(), "{} are lost:\n{}", tally.lost.len(), tally.lost.join("\n"));
    assert!(
        tally.moments >= 400 && tally.bounds >= 1_500,
        "{} moments, {} bounds",
        tally.moments,
        tally.bounds
    );
    println!("{} moments, {} bounds, {} of them noted:", tally.moments, tally.bounds, tally.noted.len());
    println!("{}", tally.noted.join("\n"));
    assert!(tally.noted.len() <= 20, "{}", tally.noted.join("\n"));
}
