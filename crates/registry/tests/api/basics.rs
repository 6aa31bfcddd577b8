use serde_json::{Value, json};

use crate::stack::{Stack, record};

const OLD: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const NEW: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":1}]}"#;
const BAD: &str = r#"{"type":"record","name":"R","fields":[{"name":"c","type":"int"}]}"#;

#[tokio::test]
async fn a_schema_is_registered_once_and_found_by_id_version_guid_and_text() {
    let stack = Stack::start().await;
    let first = stack.register("s-value", " \"string\" ").await;
    let guid = "095d71cf-1255-6b9d-5e33-0ad575b3df5d";
    assert_eq!(first["id"], 1);
    assert_eq!(first["version"], 1);
    assert_eq!(first["guid"], guid);
    assert_eq!(first["schema"], "\"string\"");
    assert_eq!(stack.register("s-value", "{\"type\":\"string\"}").await["id"], 1);
    assert_eq!(stack.register("other", "\"string\"").await["id"], 1, "one schema has one id");
    assert_eq!(stack.register("other2", "\"int\"").await["id"], 2);

    let by_id = stack.get("/schemas/ids/1").await;
    let written = by_id["ts"].clone();
    let expected =
        json!({"guid": guid, "schemaType": "AVRO", "schema": "\"string\"", "ts": written, "deleted": false});
    assert_eq!(by_id, expected);
    assert_eq!(stack.get("/schemas/ids/1/schema").await, "string");
    assert_eq!(stack.get("/schemas/ids/1/subjects").await, json!(["other", "s-value"]));
    let versions = stack.get("/schemas/ids/1/versions").await;
    assert_eq!(versions, json!([{"subject": "other", "version": 1}, {"subject": "s-value", "version": 1}]));
    assert_eq!(stack.get(&format!("/schemas/guids/{guid}/ids")).await, json!([{"context": ".", "id": 1}]));
    assert_eq!(stack.get(&format!("/schemas/guids/{guid}")).await["schema"], "\"string\"");
    assert_eq!(stack.get("/subjects").await, json!(["other", "other2", "s-value"]));
    assert_eq!(stack.get("/subjects/s-value/versions").await, json!([1]));
    let latest = stack.get("/subjects/s-value/versions/latest").await;
    assert_eq!((&latest["id"], &latest["subject"]), (&json!(1), &json!("s-value")));
    assert_eq!(stack.get("/subjects/s-value/versions/-1/schema").await, "string");
    let (status, found) =
        stack.ask("POST", "/subjects/s-value", json!({"schema": "{\"type\": \"string\"}"})).await;
    assert_eq!((status, &found["version"]), (200, &json!(1)));
    let types = stack.get("/schemas/types").await;
    assert!(types.as_array().unwrap().contains(&json!("AVRO")), "{types}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_confluents_words() {
    let stack = Stack::start().await;
    stack.register("s", OLD).await;
    let none = Value::Null;
    let said = stack.refuses("GET", "/subjects/x/versions", none.clone(), 40401).await;
    assert_eq!(said, "Subject 'x' not found.");
    let said = stack.refuses("GET", "/subjects/s/versions/7", none.clone(), 40402).await;
    assert_eq!(said, "Version 7 not found.");
    let said = stack.refuses("GET", "/schemas/ids/99", none.clone(), 40403).await;
    assert_eq!(said, "Schema 99 not found");
    let said = stack.refuses("POST", "/subjects/s", json!({"schema": "\"long\""}), 40403).await;
    assert_eq!(said, "Schema not found");
    stack.refuses("POST", "/subjects/x", json!({"schema": "\"long\""}), 40401).await;
    stack.refuses("GET", "/subjects/s/versions/0", none.clone(), 42202).await;
    stack.refuses("GET", "/subjects/s/versions/first", none.clone(), 42202).await;
    assert_eq!(stack.register("s", "").await["version"], 1, "no text means the last one");
    stack.refuses("POST", "/subjects/y/versions", json!({"schema": ""}), 42201).await;
    stack.refuses("POST", "/subjects/y/versions", json!({"schema": "{\"type\":\"x\"}"}), 42201).await;
    stack
        .refuses("POST", "/subjects/y/versions", json!({"schema": "x", "schemaType": "THRIFT"}), 42201)
        .await;
    stack.refuses("GET", "/associations/resources/1", none.clone(), 404).await;
    stack.refuses("PATCH", "/subjects", none, 405).await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_reasons_and_remedies() {
    let stack = Stack::start().await;
    stack.register("s", OLD).await;
    assert_eq!(stack.register("s", NEW).await["version"], 2);
    let said = stack.refuses("POST", "/subjects/s/versions", json!({"schema": BAD}), 40901).await;
    let start = "Schema being registered is incompatible with an earlier schema for subject \"s\", details: \
                 [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'c' at path \
                 '/fields/0' in the new schema has no default value and is missing in the old schema', \
                 additionalInfo:'c'}";
    assert!(said.starts_with(start), "{said}");
    assert!(said.contains("give `c` a default"), "{said}");
    assert!(said.contains("{oldSchemaVersion: 2}"), "{said}");
    assert!(said.ends_with("{validateFields: 'false', compatibility: 'BACKWARD'}]"), "{said}");

    let check = |path: &'static str, schema: &'static str| stack.ask("POST", path, json!({"schema": schema}));
    let path = "/compatibility/subjects/s/versions/latest";
    assert_eq!(check(path, BAD).await.1, json!({"is_compatible": false}));
    assert_eq!(check(path, OLD).await.1, json!({"is_compatible": true}));
    let verbose = check("/compatibility/subjects/s/versions?verbose=true", BAD).await.1;
    assert!(verbose["messages"].as_array().unwrap().len() > 2, "{verbose}");
    let fine = check("/compatibility/subjects/s/versions/1?verbose=true", NEW).await.1;
    assert_eq!(fine, json!({"is_compatible": true, "messages": []}));
    let nobody = check("/compatibility/subjects/nobody/versions/latest", BAD).await.1;
    assert_eq!(nobody, json!({"is_compatible": true}));
    stack.refuses("POST", "/compatibility/subjects/s/versions/9", json!({"schema": NEW}), 40402).await;
}

#[tokio::test]
async fn a_change_of_language_is_incompatible() {
    let stack = Stack::start().await;
    stack.register("s", OLD).await;
    let other = json!({"schema": "{\"type\":\"object\"}", "schemaType": "JSON"});
    let said = stack.refuses("POST", "/subjects/s/versions", other.clone(), 40901).await;
    assert!(said.contains("Incompatible because of different schema type"), "{said}");
    assert_eq!(stack.register_as("j", other).await["schemaType"], "JSON");
    assert_eq!(stack.get("/schemas/ids/2").await["schema"], "{\"type\":\"object\"}");
}

#[tokio::test]
async fn references_are_resolved_pinned_and_listed() {
    let stack = Stack::start().await;
    let address = stack.register("address", &record("Address", &["zip"])).await;
    let user = r#"{"type":"record","name":"User","fields":[{"name":"a","type":"Address"}]}"#;
    let reference = json!([{"name": "Address", "subject": "address", "version": -1}]);
    let user = stack.register_as("user", json!({"schema": user, "references": reference})).await;
    assert_eq!(user["references"][0]["version"], address["version"]);
    assert_eq!(stack.get("/subjects/address/versions/1/referencedby").await, json!([user["id"]]));
    let resolved = stack.get("/schemas/ids/2?format=resolved").await;
    assert!(resolved["schema"].as_str().unwrap().contains("zip"), "{resolved}");
    stack.refuses("DELETE", "/subjects/address", Value::Null, 42206).await;
    stack.refuses("DELETE", "/subjects/address/versions/1", Value::Null, 42206).await;
    let missing = json!([{"name": "Address", "subject": "nobody", "version": 1}]);
    let request = json!({"schema": "\"Address\"", "references": missing});
    stack.refuses("POST", "/subjects/x/versions", request, 42201).await;
}

#[tokio::test]
async fn metadata_and_rules_are_stored_merged_and_asked_for() {
    let stack = Stack::start().await;
    let rule = json!({"name": "r", "kind": "CONDITION", "mode": "WRITE", "type": "CEL", "expr": "true"});
    let request = json!({
        "schema": OLD,
        "metadata": {"properties": {"owner": "me"}},
        "ruleSet": {"domainRules": [rule]},
    });
    let first = stack.register_as("s", request).await;
    assert_eq!(first["metadata"]["properties"]["owner"], "me");
    assert_eq!(first["ruleSet"]["domainRules"][0]["disabled"], false);
    let second = stack.register_as("s", json!({"metadata": {"properties": {"owner": "you"}}})).await;
    assert_eq!((&second["version"], &second["id"]), (&json!(2), &json!(2)));
    assert_eq!(second["schema"], OLD);
    let found = stack.get("/subjects/s/metadata?key=owner&value=me").await;
    assert_eq!(found["version"], 1);
    let bad =
        json!({"schema": OLD, "ruleSet": {"domainRules": [{"name": "r", "mode": "UPGRADE", "type": "CEL"}]}});
    stack.refuses("POST", "/subjects/t/versions", bad, 42210).await;
}

#[tokio::test]
async fn protobuf_is_registered_looked_up_compared_and_given_out_as_a_descriptor() {
    let stack = Stack::start().await;
    let with = |schema: &str| json!({"schema": schema, "schemaType": "PROTOBUF"});
    let line = "syntax = \"proto3\"; package p; message Line { string sku = 1; }";
    stack.register_as("line", with(line)).await;
    let order = "syntax = \"proto3\"; package p; import \"line.proto\"; // lines\nmessage Order { repeated Line all = 1; }";
    let mut request = with(order);
    request["references"] = json!([{"name": "line.proto", "subject": "line", "version": -1}]);
    let first = stack.register_as("order", request.clone()).await;
    assert_eq!(
        first["schema"],
        "syntax = \"proto3\";\npackage p;\n\nimport \"line.proto\";\n\nmessage Order {\n  repeated Line all = 1;\n}\n"
    );
    assert_eq!((&first["schemaType"], &first["references"][0]["version"]), (&json!("PROTOBUF"), &json!(1)));
    assert_eq!(stack.register_as("order", request.clone()).await["version"], 1, "comments say nothing");
    assert_eq!(stack.get("/subjects/line/versions/1/referencedby").await, json!([first["id"]]));

    // What a client without a text registers finds the same reference.
    let serialized = stack.get("/subjects/order/versions/1?format=serialized").await;
    request["schema"] = serialized["schema"].clone();
    let again = stack.register_as("described", request).await;
    assert!(again["schema"].as_str().unwrap().contains("repeated .p.Line all = 1"), "{again}");

    let bad = with("syntax = \"proto3\"; package p; message Line { int32 sku = 1; }");
    let said = stack.refuses("POST", "/subjects/line/versions", bad.clone(), 40901).await;
    assert!(said.contains("{errorType:\"FIELD_SCALAR_KIND_CHANGED\", description:\"The kind of a SCALAR field at path '#/Line/1' in the new schema does not match its kind in the old schema\"}"), "{said}");
    assert!(
        said.contains("the reader has field `int32 sku = 1`, the writer field `string sku = 1`"),
        "{said}"
    );
    let path = "/compatibility/subjects/line/versions/latest?verbose=true";
    assert_eq!(stack.ask("POST", path, bad).await.1["is_compatible"], false);
    let missing = with("syntax = \"proto3\"; import \"none.proto\";");
    let said = stack.refuses("POST", "/subjects/line/versions", missing, 42201).await;
    assert!(said.contains("import \"none.proto\" leads nowhere"), "{said}");
}

#[tokio::test]
async fn schemas_are_listed_by_their_rules_and_by_the_aliases_of_their_subjects() {
    let stack = Stack::start().await;
    let rules = json!({"domainRules": [{"name": "r", "kind": "CONDITION", "mode": "WRITE", "type": "CEL"}]});
    stack.register_as("checked", json!({"schema": "\"int\"", "ruleSet": rules})).await;
    stack.register("plain", "\"long\"").await;
    stack.ask("PUT", "/config/other", json!({"alias": "plain"})).await;
    let subjects = |listed: Value| -> Vec<String> {
        let all = listed.as_array().unwrap().iter();
        all.map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(subjects(stack.get("/schemas?ruleType=CEL").await), ["checked"]);
    assert_eq!(subjects(stack.get("/schemas?ruleType=JS").await), Vec::<String>::new());
    assert_eq!(subjects(stack.get("/schemas?subjectPrefix=oth").await), Vec::<String>::new());
    let listed = stack.get("/schemas?subjectPrefix=oth&aliases=true").await;
    assert_eq!(listed[0]["aliases"], json!(["other"]));
    assert_eq!(subjects(listed), ["plain"]);
    assert_eq!(stack.get("/schemas").await[1].get("aliases"), None);
}

#[tokio::test]
async fn deleted_versions_are_told_apart() {
    let stack = Stack::start().await;
    stack.register("s", &record("A", &["a"])).await;
    stack.register("s", &record("A", &[])).await;
    let user = r#"{"type":"record","name":"User","fields":[{"name":"a","type":"A"}]}"#;
    let references = json!([{"name": "A", "subject": "s", "version": 2}]);
    let id = stack.register_as("user", json!({"schema": user, "references": references})).await["id"].clone();
    stack.ask("DELETE", "/subjects/s/versions/1", Value::Null).await;
    assert_eq!(stack.get("/subjects/s/versions?deleted=true").await, json!([1, 2]));
    assert_eq!(stack.get("/subjects/s/versions?deleted=true&deletedAsNegative=true").await, json!([-1, 2]));
    assert_eq!(stack.get("/subjects/s/versions/2/referencedby").await, json!([id]));
    stack.ask("DELETE", "/subjects/user", Value::Null).await;
    assert_eq!(stack.get("/subjects/s/versions/2/referencedby").await, json!([]));
    assert_eq!(stack.get("/subjects/s/versions/2/referencedby?deleted=true").await, json!([id]));
}

#[tokio::test]
async fn a_form_of_the_text_is_given_wherever_one_is_asked_for() {
    let stack = Stack::start().await;
    stack.register("address", &record("Address", &["zip"])).await;
    let user = r#"{"type":"record","name":"User","fields":[{"name":"a","type":"Address"}]}"#;
    let references = json!([{"name": "Address", "subject": "address", "version": 1}]);
    let request = json!({"schema": user, "references": references});
    let resolved = r#"{"type":"record","name":"User","fields":[{"name":"a","type":{"type":"record","name":"Address","fields":[{"name":"zip","type":"int"}]}}]}"#;
    for path in ["/subjects/user/versions?format=resolved", "/subjects/user?format=resolved"] {
        assert_eq!(stack.ask("POST", path, request.clone()).await.1["schema"], resolved, "{path}");
    }
    let path = "/subjects/user/versions/1?format=";
    for (format, expected) in [("resolved", resolved), ("none such", user), ("", user)] {
        assert_eq!(stack.get(&format!("{path}{}", format.replace(' ', "+"))).await["schema"], expected);
    }
}

#[tokio::test]
async fn changes_of_tags_are_refused_and_not_passed_over() {
    let stack = Stack::start().await;
    stack.register("s", OLD).await;
    let tag = json!([{"schemaEntity": {"entityPath": "R.a", "entityType": "sr_field"}, "tags": ["PII"]}]);
    let said = stack
        .refuses("POST", "/subjects/s/versions", json!({"schema": NEW, "schemaTagsToAdd": tag}), 42201)
        .await;
    assert!(said.contains("register the text with its `confluent:tags`"), "{said}");
    // What is registered already is no exception.
    let again = json!({"schema": OLD, "schemaTagsToRemove": tag});
    stack.refuses("POST", "/subjects/s/versions", again, 42201).await;
    assert_eq!(stack.get("/subjects/s/versions").await, json!([1]));
    let tags = json!({"schemaTagsToAdd": tag});
    stack.refuses("POST", "/subjects/s/versions/1/tags", tags.clone(), 42201).await;
    stack.refuses("POST", "/subjects/s/versions/2/tags", tags.clone(), 40402).await;
    stack.refuses("POST", "/subjects/x/versions/latest/tags", tags, 40401).await;
    let empty = json!({"schema": NEW, "schemaTagsToAdd": [], "propagateSchemaTags": false});
    assert_eq!(stack.ask("POST", "/subjects/s/versions", empty).await.0, 200);
}

#[tokio::test]
async fn the_id_of_the_kafka_cluster_is_told() {
    let stack = Stack::start().await;
    let clusters = stack.get("/v1/metadata/id").await["scope"]["clusters"].clone();
    assert_eq!(clusters["schema-registry-cluster"], "schema-registry");
    assert!(clusters["kafka-cluster"].as_str().is_some_and(|id| !id.is_empty()), "{clusters}");
}
