//! The tools around a registry: smoke, produce, consume, schema, table, query.

use crate::process::{text, tidegate};
use crate::registered::registry;
use crate::world::World;

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null}]}"#;
const GROWN: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null},
    {"name":"sum","type":"double","default":0.5}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn smoke_passes_and_leaves_nothing_behind() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let file = world.file(
        "smoke.yaml",
        &format!("  - {{name: a, topics: [a], table: a}}\nregistry: {{urls: [\"{at}\"]}}"),
    );
    let ran = tidegate(["smoke", "--config", text(&file)]).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("PASS\n"), "{}", ran.stdout);
    assert_eq!(world.number("SELECT count() FROM system.tables WHERE database = 'e2e'").await, 0);
    let subjects = tidegate(["schema", "list", "--registry", &at, "--output", "json"]).await.json();
    assert_eq!(subjects, serde_json::json!([]));
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_checked_published_read_back_and_given_a_table() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let file = world.file(
        "tools.yaml",
        &format!("  - {{name: a, topics: [a], table: a}}\nregistry: {{urls: [\"{at}\"]}}"),
    );
    let config = text(&file);
    let write = |name: &str, content: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    world.topic("orders", 1).await;
    let (first, grown) = (write("order.avsc", ORDER), write("grown.avsc", GROWN));
    let wrong = write("wrong.jsonl", "{\"id\":1}\n{\"id\":\"x\"}\n");
    let ran = tidegate(["produce", "orders", "--config", config, "--schema", &first, "--file", &wrong]).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "line 2: field `/id`: expected `long`, found \"x\"\nnothing published: 1 of 2 lines are wrong\n"
    );
    let lines = write("lines.jsonl", "{\"id\":1}\n{\"id\":2,\"note\":\"é\"}\n");
    let args =
        ["produce", "orders", "--config", config, "--file", &lines, "--key-field", "id", "--header", "a=b"];
    let ran = tidegate(args).await;
    assert_eq!(ran.stdout, "2 records published to orders with schema id 1\n", "{}", ran.stderr);
    let ran = tidegate(["consume", "orders", "--config", config]).await;
    assert_eq!(
        ran.stdout, "0:0\t1\t{\"id\":1,\"note\":null}\n0:1\t2\t{\"id\":2,\"note\":\"é\"}\n",
        "{}",
        ran.stderr
    );

    let plan = tidegate(["table", "plan", "orders-value", "--config", config]).await;
    assert!(plan.stdout.contains("`note` Nullable(String)"), "{}\n{}", plan.stdout, plan.stderr);
    let created = tidegate(["table", "create", "orders-value", "--config", config]).await;
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let checked = tidegate(["schema", "check", "orders-value", &grown, "--config", config]).await;
    assert_eq!(checked.stdout, "orders-value: the schema may be registered\n", "{}", checked.stderr);
    let registered = tidegate(["schema", "register", "orders-value", &grown, "--config", config]).await;
    assert_eq!(registered.stdout, "orders-value: schema id 2\n", "{}", registered.stderr);
    let diff = tidegate(["schema", "diff", "orders-value", "--config", config]).await;
    assert!(
        diff.stdout.contains("backward: compatible\nforward: compatible\n"),
        "{}{}",
        diff.stdout,
        diff.stderr
    );
    let evolved = tidegate(["table", "evolve", "orders-value", "--config", config]).await;
    assert!(
        evolved.stdout.contains("ADD COLUMN IF NOT EXISTS `sum` Float64 DEFAULT 0.5"),
        "{}",
        evolved.stdout
    );
    let again = tidegate(["table", "evolve", "orders-value", "--config", config]).await;
    assert!(again.stdout.contains("has every column"), "{}", again.stdout);
    world
        .clickhouse
        .execute("CREATE TABLE e2e.narrow (id Int32, note String, sum Float64) ENGINE = Memory")
        .await
        .unwrap();
    let narrow =
        tidegate(["table", "plan", "orders-value", "--table", "e2e.narrow", "--config", config]).await;
    assert!(narrow.stdout.contains("field `/note`, column `note`"), "{}", narrow.stdout);
    assert!(narrow.stdout.contains("MODIFY COLUMN `id` Int64"), "{}", narrow.stdout);
    let answer =
        tidegate(["query", "--config", config, "SELECT count() AS n FROM e2e.orders", "--output", "json"])
            .await;
    assert_eq!(answer.json()["n"], 0, "{}", answer.stderr);
    registry.stop().await;
}
