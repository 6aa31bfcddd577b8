use serde_json::{Value, json};

use crate::stack::Stack;

#[tokio::test]
async fn contexts_have_ids_and_settings_of_their_own() {
    let stack = Stack::start().await;
    stack.register("a%2Fb", "\"int\"").await;
    assert_eq!(stack.register(":.c:s", "\"long\"").await["id"], 1);
    let (status, again) =
        stack.ask("POST", "/contexts/.c/subjects/s/versions", json!({"schema": "\"long\""})).await;
    assert_eq!((status, &again["id"]), (200, &json!(1)));
    assert_eq!(stack.get("/contexts").await, json!([".", ".c"]));
    assert_eq!(stack.get("/subjects").await, json!([":.c:s", "a/b"]));
    assert_eq!(stack.get("/contexts/.c/subjects").await, json!([":.c:s"]));
    assert_eq!(stack.get("/subjects?subjectPrefix=a").await, json!(["a/b"]));
    assert_eq!(stack.get("/contexts/.c/schemas/ids/1").await["schema"], "\"long\"");
    assert_eq!(stack.get("/schemas/ids/1").await["schema"], "\"int\"");
    stack.ask("PUT", "/contexts/.c/config", json!({"compatibility": "FULL"})).await;
    assert_eq!(stack.get("/config/:.c:s?defaultToGlobal=true").await["compatibilityLevel"], "FULL");
    assert_eq!(stack.get("/config").await["compatibilityLevel"], "BACKWARD");
    stack.refuses("POST", "/subjects/__GLOBAL/versions", json!({"schema": "\"int\""}), 42208).await;
    stack.refuses("GET", "/contexts/.c/subjects/nobody/versions", Value::Null, 40401).await;
}

#[tokio::test]
async fn a_context_is_deleted_when_nothing_is_left_in_it() {
    let mut stack = Stack::start().await;
    stack.register(":.c:s", "\"long\"").await;
    stack.register(":.c:s", "\"double\"").await;
    let said = stack.refuses("DELETE", "/contexts/.c", Value::Null, 42211).await;
    assert!(said.contains("'.c' is not empty"), "{said}");
    stack.ask("DELETE", "/subjects/:.c:s", Value::Null).await;
    stack.refuses("DELETE", "/contexts/.c", Value::Null, 42211).await;
    stack.ask("DELETE", "/subjects/:.c:s?permanent=true", Value::Null).await;
    assert_eq!(stack.get("/contexts").await, json!([".", ".c"]));
    assert_eq!(stack.ask("DELETE", "/contexts/:.c:", Value::Null).await, (204, Value::Null));
    assert_eq!(stack.ask("DELETE", "/contexts/.c", Value::Null).await.0, 204);
    for _ in 0..2 {
        assert_eq!(stack.get("/contexts").await, json!(["."]));
        stack.restart().await;
    }
    assert_eq!(stack.register(":.c:s", "\"long\"").await["id"], 1);
}

#[tokio::test]
async fn a_subject_without_a_context_is_found_in_the_one_that_has_it() {
    let stack = Stack::start().await;
    stack.register("own", "\"int\"").await;
    stack.register(":.c:s", "\"long\"").await;
    assert_eq!(stack.get("/subjects/s/versions/latest").await["subject"], ":.c:s");
    let lookup = stack.ask("POST", "/subjects/s", json!({"schema": "\"long\""})).await;
    assert_eq!((lookup.0, &lookup.1["subject"]), (200, &json!(":.c:s")));
    stack.refuses("POST", "/subjects/s", json!({"schema": "\"float\""}), 40401).await;
    stack.refuses("GET", "/contexts/.d/subjects/s/versions/1", Value::Null, 40401).await;
    // Both contexts have the id 1.
    assert_eq!(stack.get("/schemas/ids/1?subject=s").await["schema"], "\"long\"");
    assert_eq!(stack.get("/schemas/ids/1?subject=own").await["schema"], "\"int\"");
    assert_eq!(stack.get("/schemas/ids/1?subject=nobody").await["schema"], "\"int\"");
    stack.refuses("GET", "/contexts/.d/schemas/ids/1", Value::Null, 40403).await;
}
