//! The tools around a registry: smoke, produce, consume, schema, table, query.

use crate::process::{Process, ask, eventually, text, tidegate};
use crate::registered::registry;
use crate::world::World;

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null}]}"#;
const SAMPLED_AVRO: &str = r#"{"type":"record","name":"Sampled","fields":[
    {"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"uid","type":{"type":"string","logicalType":"uuid"}},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","PAID"]}},
    {"name":"note","type":["null","string"]},
    {"name":"either","type":["null","string","double"]},
    {"name":"hash","type":{"type":"fixed","name":"Hash","size":4}},
    {"name":"user","type":{"type":"record","name":"User","fields":[{"name":"tags","type":{"type":"array","items":"string"}}]}},
    {"name":"counts","type":{"type":"map","values":"int"}}]}"#;
const SAMPLED_JSON: &str = r##"{"type":"object","required":["id","at","kind"],"additionalProperties":false,"properties":{
    "id":{"type":"integer","minimum":1,"maximum":100},"at":{"type":"string","format":"date-time"},
    "kind":{"enum":["a","b"]},"code":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{3}$"},
    "ratio":{"type":"number","minimum":0,"maximum":1},"user":{"$ref":"#/$defs/user"}},
    "$defs":{"user":{"type":"object","required":["name"],"properties":{"name":{"type":["string","null"]},
    "tags":{"type":"array","items":{"type":"string"}}}}}}"##;
const SAMPLED_PROTOBUF: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; \
    import \"google/protobuf/wrappers.proto\"; import \"google/type/date.proto\"; \
    message Sampled { int64 id = 1; google.protobuf.Timestamp at = 2; optional string note = 3; State state = 4; \
    repeated double all = 5; map<string, int32> counts = 6; User user = 7; bytes raw = 8; \
    google.protobuf.Int64Value n = 9; google.type.Date day = 10; oneof way { string card = 11; bool cash = 12; } \
    message User { string name = 1; repeated string tags = 2; } enum State { OPEN = 0; PAID = 1; } }";
const GROWN: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null},
    {"name":"sum","type":"double","default":0.5}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn smoke_passes_in_every_format_and_leaves_nothing_behind() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let file = world.file(
        "smoke.yaml",
        &format!("  - {{name: a, topics: [a], table: a}}\nregistry: {{urls: [\"{at}\"]}}"),
    );
    let ran = tidegate(["smoke", "--config", text(&file), "--output", "json"]).await;
    let report = ran.json();
    assert_eq!(report["passed"], true, "{report}");
    let found = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["what"].as_str().is_some_and(|what| what.starts_with("find their rows")));
    let formats: Vec<&str> = found.map(|step| step["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["avro", "json_schema", "protobuf", "json"]);
    assert_eq!(world.number("SELECT count() FROM system.tables WHERE database = 'e2e'").await, 0);
    let (_, subjects) = ask(&at, "GET", "/subjects?deleted=true", "").unwrap();
    assert_eq!(subjects, "[]", "not even deleted ones");
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smoke_says_what_is_wrong_and_what_to_do() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    registry.stop().await;
    let without = world.file("plain.yaml", "  - {name: a, topics: [a], table: a}");
    let connector = "  - {name: a, topics: [a], table: a}";
    let with = world.file("smoke.yaml", &format!("{connector}\nregistry: {{urls: [\"{at}\"]}}"));

    let ran = tidegate(["smoke", "--config", text(&without)]).await;
    assert_eq!((ran.code, ran.stdout.ends_with("PASS\n")), (Some(0), true), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with("json\n") && !ran.stdout.contains("avro"), "{}", ran.stdout);

    let ran = tidegate(["smoke", "--config", text(&with), "--format", "protobuf"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("protobuf\nFAIL  register a schema ("), "{}", ran.stdout);
    assert!(ran.stdout.contains("hint: is the registry up"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("FAIL\n") && !ran.stdout.contains("clean up"), "{}", ran.stdout);

    let args = ["smoke", "--config", text(&without), "--database", "nowhere"];
    let ran = tidegate(args).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("FAIL  make a table"), "{}", ran.stdout);
    assert!(ran.stdout.contains("may this user create tables in database `nowhere`?"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("clean up"), "{}", ran.stdout);
}

/// The table is altered before Kafka has a record for it: the broker starts when that is done.
#[tokio::test(flavor = "multi_thread")]
async fn smoke_tells_why_records_became_dead_letters() {
    let Some(mut world) = World::start().await else { return };
    let file = world.file("smoke.yaml", "  - {name: a, topics: [a], table: a}");
    world.stop_broker().await;
    let find = "SELECT name FROM system.tables WHERE database = 'e2e' AND name LIKE 'tidegate_smoke_%_json'";
    let smoke = Process::start(["smoke", "--config", text(&file)]);
    let table = eventually(async || {
        let found = world.clickhouse.query(find).await.map_err(|fault| fault.to_string())?;
        if found.trim().is_empty() { Err("no table yet".to_owned()) } else { Ok(found.trim().to_owned()) }
    })
    .await;
    world.clickhouse.execute(&format!("ALTER TABLE e2e.`{table}` DROP COLUMN amount")).await.unwrap();
    world.start_broker().await;
    let ran = smoke.ran().await;
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("FAIL  find their rows in ClickHouse"), "{}", ran.stdout);
    assert!(ran.stdout.contains("100 dead letters: extra_field, field `/amount`"), "{}", ran.stdout);
}

/// Every format: what is drawn from the schema fits the table that the schema asks for, row by row.
#[tokio::test(flavor = "multi_thread")]
async fn samples_of_every_schema_land_as_rows_and_a_seed_draws_the_same_ones() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let mut connectors = String::new();
    let cases = [
        ("avro", "avro", SAMPLED_AVRO),
        ("json_schema", "json-schema", SAMPLED_JSON),
        ("protobuf", "protobuf", SAMPLED_PROTOBUF),
        ("json", "json", SAMPLED_JSON),
    ];
    for (format, _, _) in cases {
        connectors.push_str(&format!(
            "  - {{name: s_{format}, topics: [s_{format}], table: s_{format}, format: {format}, \
             unknown_fields: reject, batch: {{linger: 20ms}}, halt_when: never}}\n"
        ));
    }
    let file = world.file("samples.yaml", &format!("{connectors}registry: {{urls: [\"{at}\"]}}"));
    let config = text(&file);
    for (format, wording, schema) in cases {
        let (topic, path) = (format!("s_{format}"), world.folder.path().join(format!("{format}.schema")));
        std::fs::write(&path, schema).unwrap();
        world.topic(&topic, 2).await;
        let args = ["produce", &topic, "--config", config, "--wording", wording, "--schema", text(&path)];
        let samples = async |more: &[&str]| tidegate(args.iter().chain(more).copied()).await;
        let shown = samples(&["--sample", "3", "--seed", "9", "--dry-run"]).await;
        assert!(shown.stdout.contains("3 samples checked"), "{}{}", shown.stdout, shown.stderr);
        let again = samples(&["--sample", "3", "--seed", "9", "--dry-run"]).await;
        assert_eq!(again.stdout, shown.stdout);
        let ran = samples(&["--sample", "200", "--seed", "9", "--keys", "5"]).await;
        assert!(ran.stdout.starts_with("200 records published"), "{}{}", ran.stdout, ran.stderr);
        let create = if format == "json" {
            "CREATE TABLE e2e.s_json AS e2e.s_json_schema".to_owned()
        } else {
            let subject = format!("{topic}-value");
            let created = tidegate(["table", "create", &subject, "--config", config]).await;
            assert_eq!(created.code, Some(0), "{}{}", created.stdout, created.stderr);
            format!("EXISTS e2e.s_{format}")
        };
        world.clickhouse.execute(&create).await.unwrap();
    }
    let (sink, _) = world.sink(&file).await;
    for (format, _, _) in cases {
        world.settled(&format!("tidegate-s_{format}"), &format!("s_{format}")).await;
        let letters =
            format!("SELECT path, expected, found FROM e2e.dead_letters WHERE topic = 's_{format}' LIMIT 3");
        let letters = world.clickhouse.query(&letters).await.unwrap();
        assert_eq!(
            world.number(&format!("SELECT count() FROM e2e.s_{format}")).await,
            200,
            "{format}: {letters}"
        );
    }
    sink.stop().await;
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
