//! A document and those that it refers to, as one document.
//!
//! JSON Schema lets a document hold others, each under an `$id` of its own, by which references find it as
//! if it had been fetched from there (2020-12, section 9.3; draft 7, section 8.2.3).

use serde_json::{Map, Value};

use crate::document::{SchemaError, json};
use crate::graph::ROOT_URI;

/// Where the others stand. No document has a definition of this name by accident.
const PREFIX: &str = "tidegate.reference.";

/// One document of several. A name stands for the address that a reference to it resolves to from the
/// document; a document with an address of its own stands there too.
pub(crate) fn bundled(text: &str, references: &[(&str, &str)]) -> Result<String, SchemaError> {
    let mut root = json(text)?;
    let Some(members) = root.as_object_mut() else { return Ok(text.to_owned()) };
    let draft7 = members.get("$schema").and_then(Value::as_str).is_some_and(|uri| uri.contains("draft-07"));
    let keyword = if draft7 { "definitions" } else { "$defs" };
    let own_schema = members.get("$schema").cloned();
    let base = members.get("$id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let definitions = members.entry(keyword).or_insert_with(|| Value::Object(Map::new()));
    let Some(definitions) = definitions.as_object_mut() else { return Ok(text.to_owned()) };
    for (at, (name, text)) in references.iter().enumerate() {
        let reference = json(text)?;
        let Value::Object(mut reference) = reference else {
            // `true` and `false` have no address.
            definitions.insert(format!("{PREFIX}{at}"), reference);
            continue;
        };
        if reference.get("$schema") == own_schema.as_ref() {
            reference.remove("$schema");
        }
        let own = reference.get("$id").and_then(Value::as_str).map(str::to_owned);
        if let Some(own) = own.filter(|own| own != name && *own != resolved(&base, name)) {
            // Within it, references are taken against its own address.
            let mut aliased = reference.clone();
            aliased.insert("$id".to_owned(), Value::String(own));
            definitions.insert(format!("{PREFIX}{at}.own"), Value::Object(aliased));
        }
        if !base.is_empty() && !name.contains("://") {
            // Rules that are compiled apart from their document start from its place, not from its `$id`.
            let mut beside = reference.clone();
            beside.insert("$id".to_owned(), Value::String(resolved(ROOT_URI, name)));
            definitions.insert(format!("{PREFIX}{at}.beside"), Value::Object(beside));
        }
        reference.insert("$id".to_owned(), Value::String((*name).to_owned()));
        definitions.insert(format!("{PREFIX}{at}"), Value::Object(reference));
    }
    Ok(root.to_string())
}

/// The address that a plain name has beside another.
fn resolved(base: &str, name: &str) -> String {
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.is_empty() || name.contains("://") { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;
    use crate::{FormatMode, SchemaDocument};

    #[track_caller]
    fn check(root: &Value, references: &[(&str, Value)], passes: &Value, fails: &Value) {
        let texts: Vec<(&str, String)> =
            references.iter().map(|(name, text)| (*name, text.to_string())).collect();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let document = SchemaDocument::parse_with(&root.to_string(), &texts).expect("a document");
        let schema = document.schema_at("#", FormatMode::Assert).expect("a schema");
        assert!(schema.passes(passes), "{passes} passes");
        assert!(!schema.passes(fails), "{fails} does not");
    }

    fn user() -> Value {
        value!({"type": "object", "required": ["id"], "properties": {"id": {"$ref": "#/$defs/id"}},
                "definitions": {"id": {"type": "integer"}}, "$defs": {"id": {"type": "integer"}}})
    }

    #[test]
    fn references_are_found_by_their_names() {
        let root = |reference: &str| value!({"type": "object", "properties": {"user": {"$ref": reference}}});
        let (good, bad) = (value!({"user": {"id": 1}}), value!({"user": {"id": "x"}}));
        check(&root("user.json"), &[("user.json", user())], &good, &bad);
        check(&root("user.json#/$defs/id"), &[("user.json", user())], &value!({"user": 1}), &bad);
        check(&root("https://e.x/user"), &[("https://e.x/user", user())], &good, &bad);
        let mut named = root("user.json");
        named["$id"] = value!("https://e.x/schemas/event.json");
        check(&named, &[("user.json", user())], &good, &bad);
    }

    #[test]
    fn references_are_found_by_their_own_addresses_and_refer_on() {
        let mut own = user();
        own["$id"] = value!("https://e.x/people/user.json");
        own["properties"]["id"] = value!({"$ref": "id.json"});
        let id = value!({"$id": "https://e.x/people/id.json", "type": "integer"});
        let root = value!({"properties": {"user": {"$ref": "https://e.x/people/user.json"}}});
        let references = [("id.json", id.clone()), ("user.json", own.clone())];
        check(&root, &references, &value!({"user": {"id": 1}}), &value!({"user": {"id": "x"}}));
        let draft7 = value!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                             "properties": {"user": {"$ref": "user.json"}}});
        let old = value!({"$schema": "http://json-schema.org/draft-07/schema#", "required": ["id"],
                          "properties": {"id": {"type": "integer"}}});
        check(&draft7, &[("user.json", old)], &value!({"user": {"id": 1}}), &value!({"user": {}}));
    }

    #[test]
    fn a_reference_to_what_nobody_named_is_refused() {
        let root = value!({"properties": {"user": {"$ref": "user.json"}}}).to_string();
        let other = [("other.json", "{}")];
        let document = SchemaDocument::parse_with(&root, &other);
        let schema = document.and_then(|document| document.schema_at("#", FormatMode::Assert));
        assert!(schema.is_err(), "{schema:?}");
    }
}
