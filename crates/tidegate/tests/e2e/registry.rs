//! `tidegate registry`: Confluent's API over a topic of any Kafka.

use serde_json::{Value, json};

use crate::process::{Process, ask, get};
use crate::world::World;

async fn start(world: &World) -> (Process, String) {
    let broker = world.broker();
    let args = ["registry", "--bootstrap", &broker, "--listen", "127.0.0.1:0", "--output", "json"];
    let mut registry = Process::start(args);
    let at = registry.json_line().await["registry"].as_str().unwrap().to_owned();
    (registry, at)
}

fn schema(fields: &Value) -> String {
    let schema = json!({"type": "record", "name": "Order", "fields": fields}).to_string();
    json!({ "schema": schema }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_outlives_a_killed_registry_and_guards_what_comes_after() {
    let Some(world) = World::start().await else { return };
    let (mut registry, at) = start(&world).await;
    let first = schema(&json!([{"name": "id", "type": "long"}]));
    let (status, body) = ask(&at, "POST", "/subjects/orders-value/versions", &first).unwrap();
    assert_eq!(status, 200, "{body}");
    let id = serde_json::from_str::<Value>(&body).unwrap()["id"].clone();
    registry.kill();

    let (registry, at) = start(&world).await;
    let (status, body) = get(&at, &format!("/schemas/ids/{id}")).unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("Order"), "{body}");
    let without_default = schema(&json!([{"name": "id", "type": "long"}, {"name": "sum", "type": "int"}]));
    let (status, body) = ask(&at, "POST", "/subjects/orders-value/versions", &without_default).unwrap();
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{body}");
    let (status, body) = get(&at, "/subjects/orders-value/versions").unwrap();
    assert_eq!((status, body.as_str()), (200, "[1]"));
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_single_machine_has_a_registry_that_keeps_what_it_was_told() {
    if !crate::world::engine_is_there() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let (up, line) = crate::stack::up(folder.path()).await;
    let at = crate::stack::of(&line, "registry");
    let schema =
        json!({"schema": "syntax = \"proto3\"; message A { int32 n = 1; }", "schemaType": "PROTOBUF"});
    let (status, body) = ask(at, "POST", "/subjects/a-value/versions", &schema.to_string()).unwrap();
    assert_eq!(status, 200, "{body}");
    up.stop().await;
    let (up, line) = crate::stack::up(folder.path()).await;
    let (status, body) = get(crate::stack::of(&line, "registry"), "/schemas/ids/1/schema").unwrap();
    assert_eq!((status, body.as_str()), (200, "syntax = \"proto3\";\n\nmessage A {\n  int32 n = 1;\n}\n"));
    up.stop().await;
}
