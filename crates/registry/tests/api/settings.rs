use serde_json::{Value, json};

use crate::stack::{Stack, record};

#[tokio::test]
async fn levels_are_set_for_all_and_for_one_subject() {
    let stack = Stack::start().await;
    assert_eq!(stack.get("/config").await, json!({"compatibilityLevel": "BACKWARD"}));
    stack.refuses("GET", "/config/s", Value::Null, 40408).await;
    assert_eq!(stack.get("/config/s?defaultToGlobal=true").await["compatibilityLevel"], "BACKWARD");
    stack.refuses("PUT", "/config", json!({"compatibility": "SIDEWAYS"}), 42203).await;
    let put = stack.ask("PUT", "/config/s", json!({"compatibility": "NONE"})).await;
    assert_eq!(put, (200, json!({"compatibility": "NONE"})));
    assert_eq!(stack.get("/config/s").await, json!({"compatibilityLevel": "NONE"}));
    stack.register("s", &record("R", &["a"])).await;
    stack.register("s", "\"string\"").await;
    let deleted = stack.ask("DELETE", "/config/s", Value::Null).await;
    assert_eq!(deleted, (200, json!({"compatibilityLevel": "NONE"})));
    stack.refuses("DELETE", "/config/s", Value::Null, 40401).await;
    stack.refuses("POST", "/subjects/s/versions", json!({"schema": "\"int\""}), 40901).await;
}

#[tokio::test]
async fn every_level_looks_at_the_versions_that_it_names() {
    let (v1, v2, v3) = (record("R", &["a", "b"]), record("R", &["a"]), record("R", &["a", "b"]));
    // Whether v3 may follow v1 and v2: it lacks a default for `b`, which v2 does not write.
    let stack = Stack::start().await;
    let levels =
        ["BACKWARD", "FORWARD", "FULL", "BACKWARD_TRANSITIVE", "FORWARD_TRANSITIVE", "FULL_TRANSITIVE"];
    for level in levels {
        stack.ask("PUT", &format!("/config/{level}"), json!({"compatibility": "NONE"})).await;
        stack.register(level, &v1).await;
        stack.register(level, &v2).await;
        stack.ask("PUT", &format!("/config/{level}"), json!({"compatibility": level})).await;
        let path = format!("/compatibility/subjects/{level}/versions");
        let (_, answer) = stack.ask("POST", &path, json!({"schema": v3})).await;
        assert_eq!(answer["is_compatible"], level.starts_with("FORWARD"), "{level}");
    }
}

#[tokio::test]
async fn what_is_read_only_refuses_writes() {
    let stack = Stack::start().await;
    assert_eq!(stack.get("/mode").await, json!({"mode": "READWRITE"}));
    stack.refuses("GET", "/mode/s", Value::Null, 40409).await;
    stack.refuses("PUT", "/mode/s", json!({"mode": "ASLEEP"}), 42204).await;
    assert_eq!(stack.ask("PUT", "/mode/s", json!({"mode": "READONLY"})).await.0, 200);
    let request = json!({"schema": "\"int\""});
    let said = stack.refuses("POST", "/subjects/s/versions", request.clone(), 42205).await;
    assert_eq!(said, "Subject s in context . is in read-only mode");
    stack.register_as("t", request.clone()).await;
    assert_eq!(stack.ask("DELETE", "/mode/s", Value::Null).await.1, json!({"mode": "READONLY"}));
    stack.register_as("s", request).await;
}

#[tokio::test]
async fn an_import_keeps_the_ids_that_it_brings() {
    let stack = Stack::start().await;
    stack.register("old", "\"int\"").await;
    stack.refuses("PUT", "/mode", json!({"mode": "IMPORT"}), 42205).await;
    assert_eq!(stack.ask("PUT", "/mode?force=true", json!({"mode": "IMPORT"})).await.0, 200);
    stack.refuses("POST", "/subjects/s/versions", json!({"schema": "\"long\""}), 42205).await;
    let imported = stack.register_as("s", json!({"schema": "\"long\"", "id": 42, "version": 7})).await;
    assert_eq!((&imported["id"], &imported["version"]), (&json!(42), &json!(7)));
    let clash = json!({"schema": "\"float\"", "id": 42});
    let said = stack.refuses("POST", "/subjects/s/versions", clash, 42205).await;
    assert_eq!(said, "Overwrite new schema with id 42 in context . is not permitted.");
    // The same once more is no new version; nor is an import checked or completed.
    let again = stack.register_as("s", json!({"schema": "\"long\"", "id": 42})).await;
    assert_eq!(again["version"], 7);
    let loose = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#;
    stack.register_as("loose", json!({"schema": loose, "id": 41})).await;
    stack.ask("PUT", "/mode", json!({"mode": "READWRITE"})).await;
    stack.refuses("POST", "/subjects/s/versions", json!({"schema": "\"int\"", "id": 9}), 42205).await;
    assert_eq!(stack.register("t", "\"double\"").await["id"], 43);
}

#[tokio::test]
async fn normalised_schemas_are_one_whatever_their_order() {
    let stack = Stack::start().await;
    let one = r#"{"type":"int","b":1,"a":2}"#;
    let two = r#"{"type":"int","a":2,"b":1}"#;
    assert_eq!(stack.register_as("s", json!({"schema": one})).await["schema"], one);
    stack.ask("PUT", "/config/t", json!({"normalize": true})).await;
    assert_eq!(stack.register("t", one).await["schema"], two);
    let (status, _) = stack.ask("POST", "/subjects/t?normalize=true", json!({"schema": one})).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn reserved_names_stay_reserved_where_fields_are_validated() {
    let stack = Stack::start().await;
    let with = |schema: String, reserved: &str| json!({"schema": schema, "metadata": {"properties": {"confluent:reserved": reserved}}});
    stack.ask("PUT", "/config/s", json!({"compatibility": "BACKWARD", "validateFields": true})).await;
    stack.register_as("s", with(record("R", &["a", "b"]), "old, gone")).await;
    let said = stack.refuses("POST", "/subjects/s/versions", with(record("R", &["a"]), "old"), 40901).await;
    assert!(said.contains("RESERVED_FIELD_REMOVED") && said.contains("reserved field gone"), "{said}");
    let said =
        stack.refuses("POST", "/subjects/s/versions", with(record("R", &["a"]), "old,gone,a"), 40901).await;
    assert!(said.contains("FIELD_CONFLICTS_WITH_RESERVED_FIELD"), "{said}");
    assert!(said.contains("validateFields: 'true'"), "{said}");
    assert_eq!(stack.register_as("s", with(record("R", &["a"]), "old,gone")).await["version"], 2);
}

#[tokio::test]
async fn the_modes_inside_of_a_context_are_taken_back_with_its_own() {
    let stack = Stack::start().await;
    for scope in ["/mode/s", "/mode/:.c:s", "/contexts/.c/mode"] {
        assert_eq!(stack.ask("PUT", scope, json!({"mode": "READONLY"})).await.0, 200);
    }
    stack.ask("DELETE", "/contexts/.c/mode", Value::Null).await;
    assert_eq!(stack.get("/mode/:.c:s").await["mode"], "READONLY");
    stack.ask("DELETE", "/contexts/.c/mode?recursive=true", Value::Null).await;
    stack.refuses("GET", "/mode/:.c:s", Value::Null, 40409).await;
    assert_eq!(stack.get("/mode/s").await["mode"], "READONLY");
    stack.ask("DELETE", "/mode?recursive=true", Value::Null).await;
    stack.refuses("GET", "/mode/s", Value::Null, 40409).await;
}

#[tokio::test]
async fn new_schemas_are_checked_unless_the_settings_say_otherwise() {
    let stack = Stack::start().await;
    let loose = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#;
    stack.refuses("POST", "/subjects/s/versions", json!({"schema": loose}), 42201).await;
    stack.ask("PUT", "/config/s", json!({"validateNewSchemas": false})).await;
    assert_eq!(stack.register("s", loose).await["id"], 1);
    stack.refuses("POST", "/subjects/t/versions", json!({"schema": loose}), 42201).await;
}

#[tokio::test]
async fn an_import_begins_without_what_was_softly_deleted() {
    let mut stack = Stack::start().await;
    stack.register("s", "\"int\"").await;
    stack.ask("DELETE", "/subjects/s", Value::Null).await;
    assert_eq!(stack.ask("PUT", "/mode/s?force=true", json!({"mode": "IMPORT"})).await.0, 200);
    assert_eq!(
        stack.get("/subjects?deleted=true").await,
        json!(["s"]),
        "forced, it takes things as they are"
    );
    stack.ask("DELETE", "/mode/s", Value::Null).await;
    assert_eq!(
        stack.ask("PUT", "/mode/s", json!({"mode": "import"})).await,
        (200, json!({"mode": "import"}))
    );
    for _ in 0..2 {
        assert_eq!(stack.get("/subjects?deleted=true").await, json!([]));
        stack.restart().await;
    }
    assert_eq!(stack.register_as("s", json!({"schema": "\"long\"", "id": 1, "version": 1})).await["id"], 1);
}
