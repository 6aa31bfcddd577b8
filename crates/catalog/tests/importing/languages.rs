//! Every keyword of JSON Schema and every type of Avro: carried over, or told of.

use serde_json::{Value, json};
use tidegate_catalog::import::{Imported, Language, read};
use tidegate_catalog::proposal::{NoteKind, ProposedField};

fn imported(language: Language, file: &str, schema: &Value) -> Imported {
    read(language, file, schema.to_string().as_bytes()).unwrap_or_else(|unreadable| panic!("{unreadable}"))
}

/// The only field of a schema with one property.
fn field(property: Value) -> ProposedField {
    let schema = json!({"type": "object", "properties": {"x": property}, "required": ["x"], "additionalProperties": false});
    imported(Language::JsonSchema, "page.schema.json", &schema).event.fields.remove(0)
}

#[track_caller]
fn becomes(property: Value, ty: &str, kinds: &[NoteKind]) {
    let field = field(property.clone());
    let found: Vec<NoteKind> = field.notes.iter().map(|note| note.kind).collect();
    assert_eq!(
        (field.ty.to_string().as_str(), found.as_slice()),
        (ty, kinds),
        "{property}: {:?}",
        field.notes
    );
}

#[test]
fn a_property_becomes_the_type_that_holds_its_values() {
    use NoteKind::{AsJson, Informative, Loosened, NotCarried, Tightened};
    becomes(json!({"type": "string"}), "string", &[]);
    becomes(json!({"type": ["string", "null"]}), "optional<string>", &[Loosened]);
    becomes(json!({"type": "integer"}), "i64", &[]);
    becomes(json!({"type": "integer", "minimum": 0, "maximum": 255}), "u8", &[]);
    becomes(json!({"type": "integer", "minimum": -1, "maximum": 128}), "i16", &[]);
    becomes(json!({"type": "integer", "minimum": 0}), "u64", &[]);
    becomes(json!({"type": "integer", "maximum": 7}), "i64", &[]);
    becomes(json!({"type": "integer", "minimum": 0, "maximum": 1e30}), "decimal(38,0)", &[Informative]);
    becomes(json!({"type": "integer", "multipleOf": 5}), "i64", &[NotCarried]);
    becomes(json!({"type": "number", "multipleOf": 0.01}), "decimal(38,2)", &[]);
    becomes(
        json!({"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 99.99}),
        "decimal(4,2)",
        &[],
    );
    becomes(json!({"type": "number", "exclusiveMinimum": 0}), "f64", &[Loosened]);
    becomes(json!({"type": "string", "format": "date-time"}), "timestamp(ms)", &[]);
    becomes(json!({"type": "string", "format": "ipv4"}), "ip", &[Loosened]);
    becomes(json!({"type": "string", "format": "hostname"}), "string", &[NotCarried]);
    becomes(json!({"type": "string", "minLength": 3}), "string", &[NotCarried]);
    becomes(json!({"type": "string", "format": "uuid", "maxLength": 36}), "uuid", &[Informative]);
    becomes(json!({"enum": ["a", "b", null]}), "optional<string>", &[Loosened]);
    becomes(json!({"const": "a"}), "string", &[]);
    becomes(
        json!({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}}),
        "array<u8>",
        &[],
    );
    becomes(
        json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
        "array<string>",
        &[NotCarried],
    );
    becomes(json!({"type": "array"}), "array<any>", &[Informative]);
    becomes(
        json!({"type": ["array", "null"], "items": {"type": "string"}}),
        "optional<array<string>>",
        &[Loosened, Tightened],
    );
    becomes(json!({"type": "object", "additionalProperties": {"type": "number"}}), "map<f64>", &[]);
    becomes(json!({"type": "object"}), "json", &[Informative]);
    becomes(json!({"type": ["string", "integer"], "minimum": 0}), "any", &[Informative, NotCarried]);
    becomes(json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), "optional<i64>", &[Loosened]);
    becomes(json!({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}), "any", &[AsJson]);
    becomes(json!({"$ref": "#/properties/x"}), "optional<any>", &[AsJson]);
    becomes(json!({"$ref": "https://example.com/other.json"}), "optional<any>", &[NotCarried]);
    becomes(json!({"type": "string", "x-owner": "me", "if": {}}), "string", &[NotCarried, NotCarried]);
    becomes(json!(7), "optional<any>", &[NotCarried]);
}

#[test]
fn draft_4_and_2020_12_say_the_same_of_bounds() {
    let old = field(json!({"type": "integer", "minimum": 0, "exclusiveMinimum": true, "maximum": 300}));
    let new = field(json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 300}));
    assert_eq!((&old.ty, &old.min, &old.max), (&new.ty, &new.min, &new.max));
    assert_eq!((old.ty.to_string().as_str(), old.min), ("u16", Some(1.into())));
}

#[test]
fn a_definition_is_named_by_itself_or_by_its_path() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    for (file, family, label) in [
        ("schemas/page.schema.json", "page", None),
        ("schemas/page/1-0-2", "page", Some("1-0-2")),
        ("page/jsonschema/v3.json", "page", Some("3-0-0")),
    ] {
        let one = imported(Language::JsonSchema, file, &schema);
        assert_eq!(
            (one.family.as_str(), one.label.map(|label| label.to_string()).as_deref()),
            (family, label)
        );
    }
    let mut described = schema.clone();
    described["self"] =
        json!({"vendor": "com.acme", "name": "page", "format": "jsonschema", "version": "2-1-0"});
    let one = imported(Language::Iglu, "anything", &described);
    assert_eq!((one.family.as_str(), one.event.version.to_string().as_str()), ("com.acme.page", "2.1.0"));
}

#[test]
fn a_text_that_is_no_definition_is_told_with_place_and_next_step() {
    for (language, text, at, words) in [
        (Language::JsonSchema, "{\n  \"type\": }", "2:11", "expected JSON"),
        (Language::JsonSchema, "[]", "", "found a list"),
        (Language::Iglu, "{}", "", "expected `self`"),
        (Language::Iglu, "{\"self\": {\"vendor\": \"a\"}}", "", "lacks"),
        (Language::Avro, "{\"type\": \"enum\"}", "", "found type `enum`"),
    ] {
        let unreadable = read(language, "a.json", text.as_bytes()).unwrap_err();
        assert_eq!(unreadable.at, at, "{unreadable}");
        assert!(unreadable.to_string().contains(words) && !unreadable.hint.is_empty(), "{unreadable}");
    }
    let deep = "[".repeat(100_000);
    assert!(read(Language::JsonSchema, "a.json", deep.as_bytes()).is_err());
}

#[test]
fn references_that_unfold_without_end_are_kept_as_any_value() {
    // Each definition has the next one twice: 2^60 fields.
    let mut definitions = serde_json::Map::new();
    for n in 0..60 {
        let next = json!({"$ref": format!("#/definitions/d{}", n + 1)});
        definitions.insert(format!("d{n}"), json!({"type": "object", "properties": {"a": next, "b": next}}));
    }
    let schema = json!({"definitions": definitions, "type": "object", "properties": {"x": {"$ref": "#/definitions/d0"}}});
    let event = imported(Language::JsonSchema, "a.json", &schema).event;
    assert!(event.n_fields() <= 40_000, "{}", event.n_fields());
}

#[test]
fn an_avro_record_becomes_an_event() {
    let schema = json!({
        "type": "record", "name": "Page", "namespace": "com.acme", "doc": "A page.",
        "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "other", "type": ["null", "Kind"], "default": null},
            {"name": "n", "type": ["int", "long"]},
            {"name": "odd", "type": ["null", "string", "boolean"]},
            {"name": "tags", "type": {"type": "map", "values": "float"}, "default": {}},
            {"name": "raw", "type": "bytes"},
            {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [
                {"name": "again", "type": ["null", "Page"]}, {"name": "count", "type": "int", "default": 0}]}}
        ]
    });
    let one = imported(Language::Avro, "page/1-2-0.avsc", &schema);
    assert_eq!((one.family.as_str(), one.event.name.as_str()), ("com.acme.Page", "Page"));
    assert_eq!(one.event.doc, "A page.");
    let types: Vec<String> = one.event.fields.iter().map(|field| field.ty.to_string()).collect();
    assert_eq!(
        types,
        [
            "uuid",
            "timestamp(us)",
            "decimal(12,2)",
            "string",
            "optional<string>",
            "i64",
            "optional<any>",
            "map<f32>",
            "string",
            "object"
        ]
    );
    assert_eq!(one.event.fields[4].words.as_ref().unwrap().values, ["A", "B"]);
    let inner: Vec<String> = one.event.fields[9].members.iter().map(|field| field.ty.to_string()).collect();
    assert_eq!(inner, ["optional<any>", "i32"]);
}
