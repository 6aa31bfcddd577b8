use serde_json::{Value, json};

use crate::stack::{Stack, record};

#[tokio::test]
async fn parameters_that_nothing_follows_are_refused() {
    let stack = Stack::start().await;
    stack.register("s", "\"int\"").await;
    for path in [
        "/schemas/ids/1?format=logical",
        "/subjects/s/versions/1?format=LOGICAL",
        "/schemas/ids/1?referenceFormat=qualified",
        "/subjects/s/versions/1?referenceFormat=serialized",
        "/schemas?resourceType=topic",
        "/schemas?associationType=value",
        "/schemas?lifecycle=STRONG",
    ] {
        stack.refuses("GET", path, Value::Null, 422).await;
    }
    let request = json!({"schema": "ROW(a INT)"});
    stack.refuses("POST", "/subjects/s/versions?format=logical", request, 422).await;
    // What Confluent's passes over is passed over.
    for path in
        ["?referenceFormat=&format=", "?referenceFormat=default&format=none+such", "?reference_format=x"]
    {
        assert_eq!(stack.get(&format!("/schemas/ids/1{path}")).await["schema"], "\"int\"");
    }
    let policy = json!({"compatibilityPolicy": "LOGICAL"});
    let said = stack.refuses("PUT", "/config/s", policy, 42203).await;
    assert!(said.contains("STRICT and LENIENT"), "{said}");
}

#[tokio::test]
async fn what_other_products_answer_is_a_404_as_confluents_without_them() {
    let stack = Stack::start().await;
    let requests = [
        ("GET", "/associations/resources/1?lifecycle=STRONG"),
        ("POST", "/associations"),
        ("GET", "/exporters"),
        ("POST", "/exporters"),
        ("GET", "/dek-registry/v1/keks"),
    ];
    for (method, path) in requests {
        let said = stack.refuses(method, path, Value::Null, 404).await;
        assert_eq!(said, "HTTP 404 Not Found", "{path}");
    }
    for (method, path) in
        [("PUT", "/schemas/types"), ("DELETE", "/schemas/ids/1"), ("PUT", "/v1/metadata/id")]
    {
        stack.refuses(method, path, Value::Null, 405).await;
    }
}

#[tokio::test]
async fn what_has_tags_is_found_in_avro() {
    let stack = Stack::start().await;
    let schema = json!({"type": "record", "name": "n.R", "confluent:tags": ["ROOT"], "fields": [
        {"name": "a", "type": "int", "confluent:tags": ["PII", "X"]},
        {"name": "b", "type": ["null", {"type": "record", "name": "I", "fields": [
            {"name": "c", "type": "string", "confluent:tags": ["PII"]},
            {"name": "r", "type": ["null", "R"]}]}]}]});
    stack.register("s", &schema.to_string()).await;
    let entity = |path: &str, kind: &str, tags: &[&str]| json!({"schemaEntity": {"entityPath": path, "entityType": kind}, "tags": tags});
    let root = entity("n.R", "sr_record", &["ROOT"]);
    let a = entity("n.R.a", "sr_field", &["PII", "X"]);
    let c = entity("n.I.c", "sr_field", &["PII"]);
    for path in ["/schemas/ids/1", "/subjects/s/versions/1"] {
        let tags = async |asked: &str| stack.get(&format!("{path}?{asked}")).await["schemaTags"].clone();
        assert_eq!(tags("findTags=*").await, json!([root, a, c]));
        assert_eq!(tags("findTags=PII").await, json!([a, c]));
        assert_eq!(tags("findTags=X&findTags=ROOT").await, json!([root, a]));
        assert_eq!(tags("findTags=none").await, json!([]));
        assert_eq!(tags("").await, Value::Null);
    }
    // The version before has tags, which nobody here carries over.
    let untagged = json!({"schema": record("n.R", &["a"]), "propagateSchemaTags": true});
    stack.refuses("POST", "/subjects/s/versions", untagged.clone(), 422).await;
    assert_eq!(stack.ask("POST", "/subjects/t/versions", untagged).await.0, 200);
    stack.register_as("j", json!({"schema": "{}", "schemaType": "JSON"})).await;
    stack.refuses("GET", "/subjects/j/versions/1?findTags=PII", Value::Null, 422).await;
}

#[tokio::test]
async fn a_schema_by_its_id_says_when_it_was_written_and_whether_it_is_deleted() {
    let stack = Stack::start().await;
    let written = stack.register("s", "\"int\"").await["ts"].clone();
    let guid = stack.get("/schemas/ids/1").await["guid"].as_str().unwrap().to_owned();
    for path in ["/schemas/ids/1".to_owned(), format!("/schemas/guids/{guid}")] {
        let found = stack.get(&path).await;
        assert_eq!((&found["ts"], &found["deleted"]), (&written, &json!(false)), "{path}");
    }
    stack.ask("DELETE", "/subjects/s", Value::Null).await;
    let found = stack.get("/schemas/ids/1?subject=s").await;
    assert_eq!(
        (&found["deleted"], &found["subject"], &found["version"]),
        (&json!(true), &json!("s"), &json!(1))
    );
}

#[tokio::test]
async fn the_latest_version_is_never_a_deleted_one() {
    let stack = Stack::start().await;
    stack.register("s", &record("R", &["a"])).await;
    stack.register("s", &record("R", &[])).await;
    stack.ask("DELETE", "/subjects/s/versions/2", Value::Null).await;
    assert_eq!(stack.get("/subjects/s/versions/latest?deleted=true").await["version"], 1);
    assert_eq!(stack.get("/subjects/s/versions/2?deleted=true").await["deleted"], true);
    stack.refuses("GET", "/subjects/s/versions/2?deletedOnly=true", Value::Null, 40402).await;
    assert_eq!(stack.get("/subjects/s/versions/2/referencedby").await, json!([]));
    stack.ask("DELETE", "/subjects/s", Value::Null).await;
    let said = stack.refuses("GET", "/subjects/s/versions/-1?deleted=true", Value::Null, 40402).await;
    assert_eq!(said, "Version -1 not found.");
    stack.refuses("GET", "/subjects/s/versions/latest", Value::Null, 40401).await;
}

#[tokio::test]
async fn the_latest_versions_are_chosen_before_they_are_filtered_by_their_rules() {
    let stack = Stack::start().await;
    let rules = json!({"domainRules": [{"name": "r", "kind": "CONDITION", "mode": "WRITE", "type": "CEL"}]});
    stack.register_as("s", json!({"schema": record("R", &["a"]), "ruleSet": rules})).await;
    stack.register_as("s", json!({"schema": record("R", &[]), "ruleSet": {}})).await;
    assert_eq!(stack.get("/schemas?ruleType=CEL&latestOnly=true").await, json!([]));
    assert_eq!(stack.get("/schemas?ruleType=CEL").await[0]["version"], 1);
}
