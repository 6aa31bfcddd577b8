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
