//! Avro against Avro's Java library 1.12: what it prints, refuses and calls compatible.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use serde_json::Value;
use tidegate_languages::avro::{AvroSchema, Defaults};

fn parse(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], Defaults::Checked).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Texts with what the Java library made of them.
fn java_texts() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/avro-texts.json")).unwrap()
}

#[test]
fn what_java_refuses_is_refused_and_the_rest_is_not() {
    for case in java_texts() {
        let text = case["text"].as_str().unwrap();
        let ours = AvroSchema::parse(text, &[], Defaults::Checked);
        assert_eq!(ours.is_err(), case.get("error").is_some(), "{text}: {ours:?}, java: {case}");
    }
}

#[test]
fn canonical_texts_are_those_of_java() {
    for case in java_texts() {
        let Some(expected) = case.get("canonical") else { continue };
        let schema = parse(case["text"].as_str().unwrap());
        assert_eq!(schema.canonical(), expected.as_str().unwrap());
        assert_eq!(parse(&schema.canonical()).canonical(), schema.canonical(), "printing is a fixed point");
    }
}

#[test]
fn parsing_forms_and_fingerprints_are_those_of_java() {
    for case in java_texts() {
        let Some(expected) = case.get("parsing") else { continue };
        let schema = parse(case["text"].as_str().unwrap());
        assert_eq!(schema.parsing_form(), expected.as_str().unwrap());
        let fingerprint = case["fingerprint"].as_str().unwrap();
        assert_eq!(format!("{:x}", schema.fingerprint()), fingerprint, "{}", schema.parsing_form());
    }
}

#[test]
fn a_schema_is_equivalent_to_its_canonical_text() {
    for case in java_texts() {
        let Some(canonical) = case.get("canonical") else { continue };
        // Java prints an infinite attribute as a text, which is then another attribute, and an alias
        // outside of all namespaces like one inside.
        let lossy = ["\"p\":\"Infinity\"", "\"Old4\""];
        if lossy.iter().any(|text| canonical.as_str().unwrap().contains(text)) {
            continue;
        }
        let schema = parse(case["text"].as_str().unwrap());
        assert!(schema.equivalent(&parse(canonical.as_str().unwrap())).unwrap(), "{canonical}");
    }
}

/// Pairs with Java's verdicts; the second file lies beside the repository, or nowhere.
fn verdicts() -> Vec<Value> {
    let mut all: Vec<Value> = serde_json::from_str(include_str!("fixtures/avro-pairs.json")).unwrap();
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/avro/reader-writer-pairs.json");
    if let Ok(text) = std::fs::read_to_string(beside) {
        all.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
    } else {
        eprintln!("skipped: the pairs beside the repository are not there");
    }
    all
}

#[test]
fn verdicts_on_compatibility_are_those_of_java() {
    for case in verdicts() {
        let (reader, writer) = (parse(&case["reader"].to_string()), parse(&case["writer"].to_string()));
        let ours = reader.reads(&writer);
        if let Some(error) = case.get("error") {
            let message = error.as_str().unwrap().split_once(": ").unwrap().1;
            assert_eq!(ours.unwrap_err().to_string(), message);
            continue;
        }
        let ours = ours.unwrap();
        let expected: Vec<String> = case["incompatibilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{} {} {}", one["type"], one["location"], one["message"]).replace('"', ""))
            .collect();
        let found: Vec<String> = ours
            .iter()
            .map(|one| {
                let message = one.confluent_message(tidegate_languages::Age::New);
                let detail = message.split("additionalInfo:'").nth(1).unwrap().trim_end_matches("'}");
                format!("{} {} {}", one.rule, one.path, detail)
            })
            .collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn references_are_written_as_names_and_written_out_when_asked() {
    let address = r#"{"type":"record","name":"Address","namespace":"n","fields":[]}"#;
    let user = r#"{"type":"record","name":"User","namespace":"n","fields":[{"name":"a","type":"Address"}]}"#;
    let schema = AvroSchema::parse(user, &[address], Defaults::Checked).unwrap();
    assert_eq!(schema.canonical(), user);
    assert!(schema.resolved().contains(r#""type":{"type":"record","name":"Address","fields":[]}"#));
    let alone = AvroSchema::parse(user, &[], Defaults::Checked).unwrap_err();
    assert_eq!(alone.to_string(), "Undefined schema: n.Address");
}

#[test]
fn an_incompatibility_says_where_it_is_and_what_would_help() {
    let old = parse(r#"{"type":"record","name":"R","fields":[]}"#);
    let new = parse(r#"{"type":"record","name":"R","fields":[{"name":"f","type":"int"}]}"#);
    let found = new.reads(&old).unwrap();
    assert_eq!(
        found[0].explanation(),
        "READER_FIELD_MISSING_DEFAULT_VALUE at `/fields/0`: the reader has field `f` of type `int` without a \
         default, the writer no field `f`; give `f` a default, or name the writer's field in its aliases"
    );
    assert_eq!(
        found[0].confluent_message(tidegate_languages::Age::New),
        "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'f' at path '/fields/0' in \
         the new schema has no default value and is missing in the old schema', additionalInfo:'f'}"
    );
}

#[test]
fn normal_texts_do_not_depend_on_the_order_of_attributes() {
    let one = parse(
        r#"{"type":"record","name":"a.R","z":1,"b":{"y":1,"x":2},"aliases":["Z","A"],"fields":[{"name":"f","type":{"type":"bytes","scale":2,"logicalType":"decimal","precision":4}},{"name":"d","type":"double","default":1}]}"#,
    );
    let two = parse(
        r#"{"b":{"x":2,"y":1},"z":1,"type":"record","namespace":"a","name":"R","aliases":["a.A","a.Z"],"fields":[{"type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},"name":"f"},{"name":"d","default":1.0,"type":"double"}]}"#,
    );
    assert_eq!(one.normalized(), two.normalized());
    assert_eq!(
        one.normalized(),
        r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"f","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}},{"name":"d","type":"double","default":1.0}],"b":{"x":2,"y":1},"z":1,"aliases":["A","Z"]}"#
    );
}

#[test]
fn hostile_schemas_end_soon() {
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(10_000), "}".repeat(10_000));
    let error = AvroSchema::parse(&deep, &[], Defaults::Checked).unwrap_err();
    assert!(error.to_string().contains("nests deeper"), "{error}");

    // Each record's default asks for two of the next one's.
    let mut doubling =
        String::from(r#"{"type":"record","name":"R0","fields":[{"name":"x","type":"int","default":0}]}"#);
    for level in 1..60 {
        doubling = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{doubling},"default":{{}}}},{{"name":"b","type":"R{}","default":{{}}}}]}}"#,
            level - 1
        );
    }
    let error = AvroSchema::parse(&doubling, &[], Defaults::Checked).unwrap_err();
    assert!(error.to_string().contains("too complex"), "{error}");

    // Names that are used before they are defined: flat to read, deep to print.
    let chain = |n: usize| {
        let link = |k: usize| {
            format!(
                r#"{{"type":"record","name":"C{k}","fields":[{{"name":"n","type":"C{}"}}]}}"#,
                (k + 1) % n
            )
        };
        format!("[{}]", (0..n).map(link).collect::<Vec<_>>().join(","))
    };
    let error = AvroSchema::parse(&chain(20_000), &[], Defaults::Checked).unwrap_err();
    assert!(error.to_string().contains("nests deeper"), "{error}");
    let union = |namespace: &str| {
        let branches: Vec<String> = (0..4_000)
            .map(|n| format!(r#"{{"type":"record","name":"{namespace}R{n}","fields":[]}}"#))
            .collect();
        format!("[{}]", branches.join(","))
    };
    let error = parse(&union("A")).reads(&parse(&union("B"))).unwrap_err();
    assert!(error.to_string().contains("too complex"), "{error}");
}
