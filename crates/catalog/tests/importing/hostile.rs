//! Schemas that nobody would write: whatever comes of one, a catalog takes it.

use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Map, Value, json};
use tidegate_catalog::import::{Language, read};

use crate::central;

const KEYWORDS: [&str; 36] = [
    "type",
    "properties",
    "items",
    "required",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "oneOf",
    "anyOf",
    "allOf",
    "$ref",
    "additionalProperties",
    "patternProperties",
    "default",
    "examples",
    "description",
    "title",
    "definitions",
    "not",
    "if",
    "self",
    "name",
    "fields",
    "symbols",
    "values",
    "logicalType",
    "precision",
    "scale",
    "namespace",
];
const WORDS: [&str; 24] = [
    "string",
    "integer",
    "number",
    "object",
    "array",
    "null",
    "boolean",
    "record",
    "enum",
    "map",
    "bytes",
    "long",
    "int",
    "date-time",
    "uuid",
    "uri",
    "decimal",
    "timestamp-micros",
    "#/definitions/a",
    "#",
    "(",
    "^a$",
    "pageURL",
    "event_id",
];

fn odd() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        4 => prop::sample::select(&WORDS[..]).prop_map(|word| json!(word)),
        1 => any::<String>().prop_map(|text| json!(text)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(|truth| json!(truth)),
        1 => Just(json!(18_446_744_073_709_551_615_u64)),
        1 => Just(Value::Null),
    ];
    let tree = leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop_oneof![
            6 => prop::sample::select(&KEYWORDS[..]).prop_map(str::to_owned),
            2 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            3 => prop::collection::vec((key, inner), 0..7)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    });
    tree.boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_as_a_schema_loads_as_a_catalog(parts in prop::collection::vec((any::<String>(), odd()), 1..6)) {
        let properties: Map<String, Value> = parts.into_iter().collect();
        let schema = json!({"type": "object", "properties": properties, "definitions": properties});
        let fields: Vec<Value> =
            properties.iter().map(|(name, ty)| json!({"name": name, "type": ty, "default": ty})).collect();
        let record = json!({"type": "record", "name": "Odd", "fields": fields});
        for (language, schema) in [(Language::JsonSchema, schema), (Language::Avro, record)] {
            let imported = read(language, "odd.json", schema.to_string().as_bytes());
            let imported = imported.unwrap_or_else(|unreadable| panic!("{unreadable}"));
            assert_eq!(imported.event.fields.len(), properties.len());
            central::catalog(&mut [imported.event]);
        }
        // Alone it is a schema, or told as none.
        for schema in properties.values() {
            for language in [Language::JsonSchema, Language::Iglu, Language::Avro] {
                if let Ok(imported) = read(language, "odd.json", schema.to_string().as_bytes()) {
                    central::catalog(&mut [imported.event]);
                }
            }
        }
    }
}
