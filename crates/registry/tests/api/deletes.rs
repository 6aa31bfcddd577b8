use serde_json::{Value, json};

use crate::stack::{Stack, record};

#[tokio::test]
async fn a_subject_is_deleted_softly_and_then_for_good() {
    let mut stack = Stack::start().await;
    stack.register("s", &record("R", &["a"])).await;
    stack.refuses("DELETE", "/subjects/s?permanent=true", Value::Null, 40405).await;
    assert_eq!(stack.ask("DELETE", "/subjects/s", Value::Null).await, (200, json!([1])));
    stack.refuses("DELETE", "/subjects/s", Value::Null, 40404).await;
    stack.refuses("GET", "/subjects/s/versions", Value::Null, 40401).await;
    assert_eq!(stack.get("/subjects").await, json!([]));
    assert_eq!(stack.get("/subjects?deleted=true").await, json!(["s"]));
    assert_eq!(stack.get("/subjects/s/versions?deleted=true").await, json!([1]));
    stack.get("/schemas/ids/1").await;
    let again = stack.register("s", &record("R", &["a"])).await;
    assert_eq!((&again["id"], &again["version"]), (&json!(1), &json!(2)), "same id, a version of its own");
    stack.ask("DELETE", "/subjects/s", Value::Null).await;
    assert_eq!(stack.ask("DELETE", "/subjects/s?permanent=true", Value::Null).await, (200, json!([2])));
    for _ in 0..2 {
        stack.refuses("GET", "/schemas/ids/1", Value::Null, 40403).await;
        stack.refuses("DELETE", "/subjects/s", Value::Null, 40401).await;
        assert_eq!(stack.get("/subjects?deleted=true").await, json!([]));
        stack.restart().await;
    }
}

#[tokio::test]
async fn a_version_is_deleted_softly_and_then_for_good() {
    let stack = Stack::start().await;
    stack.register("s", &record("R", &["a"])).await;
    stack.register("s", &record("R", &[])).await;
    stack.refuses("DELETE", "/subjects/s/versions/1?permanent=true", Value::Null, 40407).await;
    assert_eq!(stack.ask("DELETE", "/subjects/s/versions/latest", Value::Null).await, (200, json!(2)));
    stack.refuses("DELETE", "/subjects/s/versions/2", Value::Null, 40406).await;
    assert_eq!(stack.get("/subjects/s/versions").await, json!([1]));
    assert_eq!(stack.get("/subjects/s/versions?deletedOnly=true").await, json!([2]));
    assert_eq!(stack.ask("DELETE", "/subjects/s/versions/2?permanent=true", Value::Null).await.0, 200);
    stack.refuses("DELETE", "/subjects/s/versions/2", Value::Null, 40402).await;
    assert_eq!(stack.register("s", &record("R", &["a"])).await["version"], 1);
    // A subject's settings go with its last version.
    stack.ask("PUT", "/config/s", json!({"compatibility": "NONE"})).await;
    stack.ask("PUT", "/mode/s", json!({"mode": "READWRITE"})).await;
    stack.ask("DELETE", "/subjects/s/versions/1", Value::Null).await;
    stack.refuses("DELETE", "/subjects/s/versions/latest", Value::Null, 40402).await;
    assert_eq!(stack.ask("DELETE", "/subjects/s/versions/1?permanent=true", Value::Null).await.0, 200);
    stack.refuses("GET", "/config/s", Value::Null, 40408).await;
    stack.refuses("GET", "/mode/s", Value::Null, 40409).await;
}

#[tokio::test]
async fn a_subject_that_stands_for_another_is_not_deleted_in_its_place() {
    let stack = Stack::start().await;
    stack.register("real", "\"int\"").await;
    stack.ask("PUT", "/config/other", json!({"alias": "real"})).await;
    assert_eq!(stack.get("/subjects/other/versions/1").await["subject"], "real");
    stack.refuses("DELETE", "/subjects/other/versions/1", Value::Null, 40401).await;
    stack.refuses("DELETE", "/subjects/other", Value::Null, 40401).await;
    assert_eq!(stack.get("/subjects?deleted=true").await, json!(["real"]));
}
