//! The fused plan and the general validator say the same: on the JSON-Schema-Test-Suite, and on GitHub's
//! webhook payloads. Needs `scripts/fetch-testdata`; without the data each test says so and passes.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_codec::{ColumnOptions, Plan, PlanOptions};
use tidegate_core::{Records, Reject, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::{FormatMode, JsonSchema, SchemaDocument, SchemaError, table_for};

fn data(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/testdata").join(name);
    if !folder.is_dir() {
        println!("skipped: {name} is not there; `scripts/fetch-testdata` fetches it");
        return None;
    }
    Some(folder)
}

fn table(columns: Vec<(String, String)>) -> Table {
    let columns = columns.into_iter().map(|(name, ty)| TableColumn {
        name,
        ty: Type::parse(&ty).unwrap(),
        default: ColumnDefault::None,
    });
    Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() }
}

fn decode(plan: &Plan, json: &[u8]) -> Result<(), Box<Reject>> {
    let source = TopicPartition::new("t", 0);
    let mut records = Records::new(source.clone());
    records.push(0, None, None, Some(json), []);
    let mut block = plan.block();
    let appended = plan.append(&mut block, &source, &records.get(0).unwrap());
    appended.map(|_| ())
}

/// The schema as that of a record's only field, so that values of every type can be tried.
fn wrapped(schema: &Value, draft: &str) -> Option<JsonSchema> {
    let mut document = serde_json::json!({ "$schema": draft, "properties": { "v": {} } });
    // References of the suite's schemas start at their own root, so the field is referred to by an id.
    let id = "http://tidegate.invalid/suite";
    let mut inner = schema.clone();
    if let Some(keywords) = inner.as_object_mut() {
        keywords.remove("$schema");
        keywords.entry("$id").or_insert_with(|| id.into());
        if keywords.contains_key("$ref") && draft.contains("draft-07") {
            return None;
        }
    }
    document["properties"]["v"] = inner;
    match JsonSchema::parse(&document.to_string()) {
        Ok(schema) => Some(schema),
        Err(SchemaError::Unresolved { .. } | SchemaError::Invalid { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn check_draft(folder: &str, draft: &str, tests_min: usize) {
    let Some(suite) = data("json-schema-test-suite") else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(suite.join(folder)).unwrap().map(|f| f.unwrap().path()).collect();
    files.extend(
        std::fs::read_dir(suite.join(folder).join("optional/format")).unwrap().map(|f| f.unwrap().path()),
    );
    files.sort();
    let mut options = PlanOptions::default();
    options.columns.insert("v".to_owned(), ColumnOptions { json_text: true, ..ColumnOptions::default() });
    let (mut tried, mut differing) = (0, Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for group in groups {
            let Some(schema) = wrapped(&group["schema"], draft) else { continue };
            let plan =
                Plan::compile(&table(vec![("v".to_owned(), "String".to_owned())]), Some(&schema), &options)
                    .unwrap();
            for test in group["tests"].as_array().unwrap() {
                let value = serde_json::json!({ "v": test["data"] });
                let theirs = schema.passes(&value);
                let ours = decode(&plan, value.to_string().as_bytes());
                tried += 1;
                if ours.is_ok() != theirs {
                    let name = file.file_name().unwrap().to_string_lossy();
                    differing
                        .push(format!("{name}: {} {}: {ours:?}", group["description"], test["description"]));
                }
            }
        }
    }
    assert!(differing.is_empty(), "{} of {tried} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(tried >= tests_min, "only {tried} tests were tried");
}

#[test]
fn the_plan_and_the_validator_agree_on_draft_7() {
    check_draft("draft7", "http://json-schema.org/draft-07/schema#", 900);
}

#[test]
fn the_plan_and_the_validator_agree_on_draft_2020_12() {
    check_draft("draft2020-12", "https://json-schema.org/draft/2020-12/schema", 1000);
}

#[test]
fn webhook_payloads_become_rows_of_their_tables_if_they_pass_their_schemas() {
    let (Some(examples), Some(schemas)) = (data("webhooks-examples"), data("webhooks-schemas")) else {
        return;
    };
    let text = std::fs::read_to_string(schemas.join("schema.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let schemas = SchemaDocument::parse(&text).unwrap();
    let events: Vec<Value> =
        serde_json::from_slice(&std::fs::read(examples.join("api.github.com/index.json")).unwrap()).unwrap();
    let (mut rows, mut rejects) = (0, 0);
    for event in &events {
        let name = event["name"].as_str().unwrap();
        let definition = [format!("{name}_event"), format!("{name}$event")]
            .into_iter()
            .find(|definition| document["definitions"].get(definition).is_some());
        let Some(definition) = definition else { continue };
        let schema = schemas.schema_at(&format!("#/definitions/{definition}"), FormatMode::Assert).unwrap();
        let columns = table_for(&schema).columns.into_iter().map(|column| (column.name, column.ty)).collect();
        let mut table = table(columns);
        for (column, definition) in table.columns.iter_mut().zip(table_for(&schema).columns) {
            if let Some(expression) = definition.rest.strip_prefix("DEFAULT ") {
                column.default = ColumnDefault::Default { expression: expression.to_owned() };
            }
        }
        let plan = Plan::compile(&table, Some(&schema), &PlanOptions::default()).unwrap();
        for payload in event["examples"].as_array().unwrap() {
            let theirs = schema.passes(payload);
            let ours = decode(&plan, payload.to_string().as_bytes());
            let violations = schema.violations(payload.to_string().as_bytes(), 100);
            match &ours {
                Ok(()) => rows += 1,
                Err(_) => rejects += 1,
            }
            assert_eq!(ours.is_ok(), theirs, "{name}: {ours:?}\n{violations:?}");
            let Err(reject) = ours else { continue };
            let reason = reject.reason();
            println!("{name}: {} {} {:?}", reason.path, reason.expected, reason.rule);
            assert!(
                !reason.path.is_empty() && reason.rule.as_deref() != Some("oneOf"),
                "{name}: no place in {reject}"
            );
            let agreed = violations.iter().any(|violation| violation.path == reason.path);
            assert!(agreed, "{name}: {reject}\n{violations:?}");
        }
    }
    println!("{rows} rows, {rejects} rejects");
    assert!(rows > 250 && rejects > 30, "{rows} rows, {rejects} rejects");
}
