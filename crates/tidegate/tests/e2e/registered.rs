//! Records that name their schemas: the registry, the sink and a real ClickHouse.

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};

use crate::process::{Process, ask, eventually, get, text, tidegate};
use crate::world::{World, record};

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","PAID"]}},
    {"name":"user","type":["null",{"type":"record","name":"User","fields":[{"name":"name","type":"string"}]}]}]}"#;

pub async fn registry(world: &World) -> (Process, String) {
    let broker = world.broker();
    let args = ["registry", "--bootstrap", &broker, "--listen", "127.0.0.1:0", "--output", "json"];
    let mut registry = Process::start(args);
    let at = registry.json_line().await["registry"].as_str().unwrap().to_owned();
    (registry, at)
}

fn register(at: &str, subject: &str, body: &Value) -> u32 {
    let path = format!("/subjects/{subject}/versions");
    let (status, body) = ask(at, "POST", &path, &body.to_string()).unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["id"].as_u64().unwrap().try_into().unwrap()
}

fn order(id: i64) -> Vec<u8> {
    let schema = Schema::parse_str(ORDER).unwrap();
    let user = Avro::Record(vec![("name".to_owned(), Avro::String(format!("user {id}")))]);
    let user =
        if id % 2 == 0 { Avro::Union(1, Box::new(user)) } else { Avro::Union(0, Box::new(Avro::Null)) };
    let fields = [
        ("id", Avro::Long(id)),
        ("at", Avro::TimestampMillis(1_700_000_000_000 + id)),
        ("sum", Avro::Decimal((id * 100 + 1).to_be_bytes().into())),
        ("state", Avro::Enum(1, "PAID".to_owned())),
        ("user", user),
    ];
    let record = Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(record).unwrap()
}

fn framed(id: u32, payload: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), payload].concat()
}

async fn publish(world: &World, topic: &str, values: &[Vec<u8>]) {
    world.publish(values.iter().map(|value| record(topic, 0, value, &[]))).await;
}

/// Waits until a query gives this.
async fn shows(world: &World, sql: &str, expected: &str) {
    eventually(async || {
        let found = world.clickhouse.query(sql).await.map_err(|fault| fault.to_string())?;
        if found.trim() == expected { Ok(()) } else { Err(format!("{sql}: {found}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_and_json_of_a_registry_become_rows_and_what_it_does_not_know_dead_letters() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let orders = register(&at, "orders-value", &json!({ "schema": ORDER }));
    let clicks =
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 0}}});
    let clicks = register(&at, "clicks-value", &json!({"schemaType": "JSON", "schema": clicks.to_string()}));
    for ddl in [
        "CREATE TABLE e2e.orders (id UInt64, at DateTime64(3, 'UTC'), sum Decimal(12, 2), \
         state LowCardinality(String), user__name Nullable(String)) ENGINE = MergeTree ORDER BY id",
        "CREATE TABLE e2e.clicks (n UInt32) ENGINE = MergeTree ORDER BY n",
    ] {
        world.clickhouse.execute(ddl).await.unwrap();
    }
    world.topic("orders", 1).await;
    world.topic("clicks", 1).await;
    let mut values: Vec<Vec<u8>> = (0..100).map(|id| framed(orders, &order(id))).collect();
    values.insert(50, framed(4_000_000, &order(0)));
    values.push(b"{}".to_vec());
    publish(&world, "orders", &values).await;
    let n = |n: i64| framed(clicks, json!({ "n": n }).to_string().as_bytes());
    publish(&world, "clicks", &[n(1), n(-1), n(3)]).await;
    let connectors = "  - {name: orders, topics: [orders], table: orders, format: avro, batch: {linger: 20ms}, halt_when: never}\n  \
                      - {name: clicks, topics: [clicks], table: clicks, format: json_schema, batch: {linger: 20ms}, halt_when: never}";
    let file = world.file("wire.yaml", &format!("{connectors}\nregistry: {{urls: [\"{at}\"]}}"));
    let (sink, _) = world.sink(&file).await;
    shows(&world, "SELECT (SELECT count() FROM e2e.orders), (SELECT count() FROM e2e.clicks)", "100\t2")
        .await;
    let right = "SELECT countIf(toUnixTimestamp64Milli(at) = 1700000000000 + id), \
                 countIf(sum = id + toDecimal32('0.01', 2)), countIf(state = 'PAID'), \
                 countIf(user__name = concat('user ', toString(id))), countIf(isNull(user__name)) FROM e2e.orders";
    shows(&world, right, "100\t100\t100\t50\t50").await;
    let reasons = "SELECT arrayStringConcat(arraySort(groupArray(code)), ',') FROM e2e.dead_letters";
    shows(&world, reasons, "bad_magic,out_of_range,unknown_schema_id").await;
    sink.stop().await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let orders = register(&at, "orders-value", &json!({ "schema": ORDER }));
    let ddl = "CREATE TABLE e2e.orders (id UInt64, state String) ENGINE = MergeTree ORDER BY id";
    world.clickhouse.execute(ddl).await.unwrap();
    world.topic("orders", 1).await;
    publish(&world, "orders", &[framed(orders, &order(7))]).await;
    registry.stop().await;
    let connectors =
        "  - {name: orders, topics: [orders], table: orders, format: avro, unknown_fields: drop}";
    let file = world.file("wire.yaml", &format!("{connectors}\nregistry: {{urls: [\"{at}\"]}}"));
    let (sink, api) = world.sink(&file).await;
    eventually(async || {
        let (_, status) = get(&api, "/api/v1/status").map_err(|error| error.to_string())?;
        if status.contains("schema registry") { Ok(()) } else { Err(status) }
    })
    .await;
    let broker = world.broker();
    let listen = at.trim_start_matches("http://");
    let mut registry =
        Process::start(["registry", "--bootstrap", &broker, "--listen", listen, "--output", "json"]);
    registry.json_line().await;
    shows(&world, "SELECT count() FROM e2e.orders", "1").await;
    sink.stop().await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_from_the_first_schema_and_grows_with_the_next() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let schema = |fields: Value| json!({"type": "record", "name": "E", "fields": fields}).to_string();
    let first = schema(json!([{"name": "id", "type": "long"}]));
    let second = schema(json!([
        {"name": "id", "type": "long"},
        {"name": "note", "type": "string", "default": ""},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}]));
    let first = register(&at, "e-value", &json!({ "schema": first }));
    let second = register(&at, "e-value", &json!({ "schema": second }));
    world.topic("e", 2).await;
    // Old, new, old in one batch of one partition; new alone in the other.
    let old = |id: u8| framed(first, &[id * 2]);
    let new = |id: u8| framed(second, &[id * 2, 2, b'n', 2, 2, b't', 0]);
    let values = [old(1), new(2), old(3), new(4)];
    let partitions = [0, 0, 0, 1];
    world.publish(values.iter().zip(partitions).map(|(value, to)| record("e", to, value, &[]))).await;
    let connectors = "  - {name: e, topics: [e], table: e, format: avro, create_tables: from_schema, \
                      evolve: add_columns, batch: {linger: 200ms}, halt_when: never}";
    let file = world.file("wire.yaml", &format!("{connectors}\nregistry: {{urls: [\"{at}\"]}}"));
    let (sink, _) = world.sink(&file).await;
    let rows = "SELECT arrayStringConcat(arraySort(groupArray(concat(toString(id), ':', note, ':', \
                toString(length(tags))))), ' ') FROM e2e.e";
    shows(&world, rows, "1::0 2:n:1 3::0 4:n:1").await;
    world.settled("tidegate-e", "e").await;
    let letters = "SELECT count() FROM e2e.dead_letters";
    shows(&world, letters, "0").await;
    sink.stop().await;
    registry.stop().await;
}

const EVENT: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; package shop;\n\
    message Order {\n  int64 id = 1;\n  google.protobuf.Timestamp at = 2;\n  State state = 3;\n  User user = 4;\n\
    repeated string tags = 5;\n  map<string, int32> counts = 6;\n  oneof paid_by { string card = 7; string voucher = 8; }\n}\n\
    message User { string name = 1; optional string city = 2; }\nenum State { UNKNOWN = 0; PAID = 1; }\n";

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_that_is_produced_becomes_rows_and_each_poison_a_dead_letter_of_its_own_reason() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let id = register(&at, "shop-value", &json!({"schemaType": "PROTOBUF", "schema": EVENT}));
    world.topic("shop", 1).await;
    let connectors = "  - {name: shop, topics: [shop], table: shop, format: protobuf, batch: {linger: 20ms}, halt_when: never}";
    let file = world.file("wire.yaml", &format!("{connectors}\nregistry: {{urls: [\"{at}\"]}}"));
    let config = text(&file);
    let created = tidegate(["table", "create", "shop-value", "--config", config]).await;
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let lines: String = (0..20)
        .map(|id| {
            let user = if id % 2 == 0 { r#","user":{"name":"Ann","city":"Oslo"}"# } else { "" };
            format!(
                "{{\"id\":{id},\"at\":\"2024-01-01T00:00:{id:02}.5Z\",\"state\":\"PAID\"{user},\
                 \"tags\":[\"a\",\"b\"],\"counts\":{{\"x\":{id}}},\"card\":\"visa\"}}\n"
            )
        })
        .collect();
    let orders = world.folder.path().join("orders.jsonl");
    std::fs::write(&orders, lines).unwrap();
    let args = ["produce", "shop", "--wording", "protobuf", "--config", config, "--file", text(&orders)];
    let produced = tidegate(args).await;
    assert!(produced.stdout.starts_with("20 records published"), "{}{}", produced.stdout, produced.stderr);
    let wrong = world.folder.path().join("wrong.jsonl");
    std::fs::write(&wrong, "{\"id\":1}\n{\"id\":2,\"user\":{\"name\":3}}\n").unwrap();
    let args = ["produce", "shop", "--wording", "protobuf", "--config", config, "--file", text(&wrong)];
    let refused = tidegate(args).await;
    assert!(
        refused.stdout.starts_with("line 2: field `/user/name`: expected `string`, found 3\n"),
        "{}",
        refused.stdout
    );
    let poison: [(&str, &[u8]); 7] = [
        ("not_protobuf", &[0, 8, 0x80]),
        ("not_protobuf", &[0, 10, 1, 0]),
        ("not_protobuf", &[2, 8, 8, 1]),
        ("not_utf8", &[0, 42, 1, 0xFF]),
        ("bad_enum", &[0, 24, 9]),
        ("bad_timestamp", &[0, 18, 11, 16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        // The year 2500.
        ("out_of_range", &[0, 18, 6, 8, 0x80, 0xE1, 0x9A, 0xA7, 0x3E]),
    ];
    let mut values: Vec<Vec<u8>> = poison.iter().map(|(_, payload)| framed(id, payload)).collect();
    values.push(b"{}".to_vec());
    publish(&world, "shop", &values).await;
    let (sink, _) = world.sink(&file).await;
    let right = "SELECT count(), countIf(toUnixTimestamp64Milli(at) = 1704067200500 + 1000 * id), \
                 countIf(state = 'PAID'), countIf(user__name = 'Ann' AND user__city = 'Oslo'), \
                 countIf(isNull(user__name)), countIf(tags = ['a', 'b']), countIf(counts['x'] = id), \
                 countIf(card = 'visa' AND isNull(voucher)) FROM e2e.shop";
    shows(&world, right, "20\t20\t20\t10\t10\t20\t20\t20").await;
    let mut reasons: Vec<&str> = poison.iter().map(|(reason, _)| *reason).chain(["bad_magic"]).collect();
    reasons.sort_unstable();
    let codes = "SELECT arrayStringConcat(arraySort(groupArray(code)), ',') FROM e2e.dead_letters";
    shows(&world, codes, &reasons.join(",")).await;
    let consumed = tidegate(["consume", "shop", "--config", config, "--limit", "1"]).await;
    let shown = r#""at":"2024-01-01T00:00:00.500Z","state":"PAID","user":{"name":"Ann","city":"Oslo"}"#;
    assert!(consumed.stdout.contains(shown), "{}{}", consumed.stdout, consumed.stderr);
    sink.stop().await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_schemas_that_refer_to_others_are_read() {
    let Some(world) = World::start().await else { return };
    let (registry, at) = registry(&world).await;
    let user = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}});
    register(&at, "user", &json!({"schemaType": "JSON", "schema": user.to_string()}));
    let event =
        json!({"type": "object", "properties": {"n": {"type": "integer"}, "user": {"$ref": "user.json"}}});
    let references = json!([{"name": "user.json", "subject": "user", "version": 1}]);
    let body = json!({"schemaType": "JSON", "schema": event.to_string(), "references": references});
    let id = register(&at, "clicks-value", &body);
    let ddl = "CREATE TABLE e2e.clicks (n UInt32, user__id UInt32) ENGINE = MergeTree ORDER BY n";
    world.clickhouse.execute(ddl).await.unwrap();
    world.topic("clicks", 1).await;
    let value = |value: Value| framed(id, value.to_string().as_bytes());
    let good = value(json!({"n": 1, "user": {"id": 7}}));
    let bad = value(json!({"n": 2, "user": {"id": "x"}}));
    publish(&world, "clicks", &[good, bad]).await;
    let connectors = "  - {name: clicks, topics: [clicks], table: clicks, format: json_schema, batch: {linger: 20ms}, halt_when: never}";
    let file = world.file("wire.yaml", &format!("{connectors}\nregistry: {{urls: [\"{at}\"]}}"));
    let (sink, _) = world.sink(&file).await;
    shows(&world, "SELECT n, user__id FROM e2e.clicks", "1\t7").await;
    let codes = "SELECT code, path FROM e2e.dead_letters";
    shows(&world, codes, "wrong_type\t/user/id").await;
    sink.stop().await;
    registry.stop().await;
}
