//! From records to rows and dead letters, with one connector.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_core::{Header, header};

use crate::process::get;
use crate::world::{World, record};

const KIND: Header<'static> = Header { name: "kind", value: Some(b"orders") };

const ORDERS: &str = "CREATE TABLE e2e.orders (
    id UInt64, amount UInt16, state Enum8('open' = 1, 'paid' = 2), note String DEFAULT concat('order ', toString(id)),
    tag Nullable(String), user__name String DEFAULT '', at DateTime64(3, 'UTC'),
    _topic LowCardinality(String), _partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC'),
    _key String, _headers Map(String, String),
    CONSTRAINT small CHECK amount < 1000
) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000";

const SCHEMAS: &str = r##"{"definitions": {"orders": {
    "type": "object",
    "required": ["id", "state"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "state": {"enum": ["open", "paid"]},
        "note": {"type": "string", "pattern": "^[a-z ]*$"}
    }
}}}"##;

fn connector(unknown_fields: &str) -> String {
    format!(
        r##"  - name: orders
    topics: [orders]
    table: "{{header:kind}}"
    schema: {{file: schemas.json, pointer: "#/definitions/{{event}}"}}
    unknown_fields: {unknown_fields}
    halt_when: never
    batch: {{linger: 50ms}}"##
    )
}

fn good(id: usize) -> Vec<u8> {
    let event = json!({"id": id, "amount": id % 1000, "state": "paid", "at": "2024-02-29T12:00:00.125Z"});
    event.to_string().into_bytes()
}

fn with(id: usize, change: &[(&str, Value)]) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(&good(id)).unwrap();
    for (field, value) in change {
        event[*field] = value.clone();
    }
    event.to_string().into_bytes()
}

/// What is poison, and the stage and code that it is refused with.
fn poison() -> Vec<(Option<Vec<u8>>, &'static str, &'static str)> {
    vec![
        (Some(b"{\"id\":1".to_vec()), "decode", "not_json"),
        (Some(b"{\"id\":1,\"note\":\"\xff\"}".to_vec()), "decode", "not_utf8"),
        (Some(br#"{"id":1,"id":2}"#.to_vec()), "decode", "duplicate_field"),
        (None, "decode", "tombstone"),
        (Some(with(901, &[("state", json!("lost"))])), "validate", "bad_enum"),
        (Some(with(902, &[("note", json!("LOUD"))])), "validate", "pattern"),
        (Some(with(0, &[])), "validate", "out_of_range"),
        (Some(br#"{"state":"open"}"#.to_vec()), "validate", "missing_required"),
        (Some(with(903, &[("amount", json!(70_000))])), "encode", "out_of_range"),
        (Some(with(904, &[("amount", json!("7 apples"))])), "encode", "wrong_type"),
        (Some(with(905, &[("at", json!("2023-02-29T12:00:00Z"))])), "encode", "bad_timestamp"),
        (Some(br#"{"id":906,"amount":1,"state":"open"}"#.to_vec()), "encode", "missing_required"),
        (Some(with(907, &[("amount", json!(1000))])), "insert", "row_refused"),
        (Some(with(908, &[("surprise", json!(1))])), "encode", "extra_field"),
    ]
}

#[expect(clippy::too_many_lines, reason = "one story, told from the first record to the last question")]
#[tokio::test(flavor = "multi_thread")]
async fn good_records_are_rows_and_poison_of_every_stage_is_a_dead_letter() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(ORDERS).await.unwrap();
    std::fs::write(world.folder.path().join("schemas.json"), SCHEMAS).unwrap();
    world.topic("orders", 1).await;
    let poison = poison();
    let headers = [
        KIND,
        Header { name: "trace", value: Some(b"first") },
        Header { name: "trace", value: Some(b"\xfe\xff") },
        Header { name: "empty", value: None },
    ];
    let good: Vec<Vec<u8>> = (1..=100).map(good).collect();
    let mut records: Vec<_> = good.iter().map(|value| record("orders", 0, value, &headers)).collect();
    for (n, (value, _, _)) in poison.iter().enumerate() {
        let value = value.as_deref();
        let poisoned = tidegate_kafka::Outgoing {
            value,
            key: Some(b"key \xff"),
            timestamp: Some(1_700_000_000_123),
            ..record("orders", 0, b"", &headers)
        };
        records.insert(n * 7, poisoned);
    }
    records.push(record("orders", 0, b"{\"test\":\"connection_test\"}", &[]));
    let n_records = records.len();
    world.publish(records).await;

    let file = world.file("sink.yaml", &connector("reject"));
    let (sink, api) = world.sink(&file).await;
    world.settled("tidegate-orders", "orders").await;

    // Rows: each once, with defaults and metadata.
    assert_eq!(world.number("SELECT count() FROM e2e.orders").await, 100);
    let row = world
        .rows(
            "SELECT id, note, tag, user__name, toString(at) AS at, _topic, _partition, _key, _headers['kind'] AS kind, \
             _offset FROM e2e.orders WHERE id = 50",
        )
        .await;
    let expected = json!({
        "id": 50, "note": "order 50", "tag": null, "user__name": "", "at": "2024-02-29 12:00:00.125",
        "_topic": "orders", "_partition": 0, "_key": "", "kind": "orders",
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(
            row[0][column].to_string().trim_matches('"'),
            value.to_string().trim_matches('"'),
            "{column}"
        );
    }

    // Dead letters: one for each poison, in the topic and in the table alike.
    let topic = letters_of_topic(&world).await;
    let table = letters_of_table(&world).await;
    assert_eq!(topic.len(), n_records - 100);
    for (offset, letter) in &topic {
        assert_eq!(Some(letter), table.get(offset), "offset {offset}");
    }
    assert_eq!(topic.len(), table.len());
    for (n, (value, stage, code)) in poison.iter().enumerate() {
        let letter = &topic[&i64::try_from(n * 7).unwrap()];
        assert_eq!(
            (letter["stage"].as_str(), letter["code"].as_str()),
            (Some(*stage), Some(*code)),
            "{letter}"
        );
        assert_eq!(letter["raw"], hex(value.as_deref()), "byte for byte: {code}");
        assert_eq!(letter["key"], hex(Some(b"key \xff")));
        assert_eq!(
            letter["headers"],
            json!([
                ["kind", hex(Some(b"orders"))],
                ["trace", hex(Some(b"first"))],
                ["trace", hex(Some(b"\xfe\xff"))],
                ["empty", null]
            ])
        );
        assert_eq!(letter["attempt"], 1);
        assert_eq!(letter["timestamp"], 1_700_000_000_123_i64);
    }
    let unnamed = &topic[&i64::try_from(n_records - 1).unwrap()];
    assert_eq!(
        (unnamed["stage"].as_str(), unnamed["code"].as_str()),
        (Some("resolve"), Some("unknown_event"))
    );
    has_connects_headers(&world).await;

    let (_, metrics) = get(&api, "/metrics").unwrap();
    check_metrics(&metrics, n_records);
    sink.stop().await;
}

fn hex(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into()
    })
}

/// The dead letters that a topic holds, by the offset of the original.
async fn letters_of_topic(world: &World) -> BTreeMap<i64, Value> {
    let mut letters = BTreeMap::new();
    for records in world.read("orders.dlq.v1").await {
        for record in records.iter() {
            let letter = tidegate_kafka::dead_letter::DeadLetterRecord::parse(record).unwrap();
            let headers: Vec<Value> =
                letter.original_headers().map(|header| json!([header.name, hex(header.value)])).collect();
            let seen = json!({
                "id": letter.id.to_string(), "stage": letter.stage, "code": letter.code,
                "topic": &*letter.provenance.source.topic, "partition": letter.provenance.source.partition,
                "event": letter.event.clone().unwrap_or_default(), "table": letter.table.clone().unwrap_or_default(),
                "key": hex(record.key), "raw": hex(record.value), "headers": headers, "attempt": letter.attempt,
                "timestamp": letter.timestamp, "path": letter.errors[0].path, "expected": letter.errors[0].expected,
                "found": letter.errors[0].found, "errors": letter.errors.len(),
                "connector": letter.connector, "consumer_group": letter.group, "processor": letter.processor,
                "plan": letter.plan,
            });
            let twice = letters.insert(letter.provenance.offset, seen);
            assert_eq!(twice, None, "one letter a record");
        }
    }
    letters
}

/// The same, as the table has them.
async fn letters_of_table(world: &World) -> BTreeMap<i64, Value> {
    let sql = "SELECT toString(offset) AS o, id, stage, code, topic, partition, event, `table`, hex(key) AS k, \
               hex(raw) AS r, arrayMap(h -> (h.1, hex(h.2)), headers) AS hs, attempt, \
               toString(toUnixTimestamp64Milli(assumeNotNull(timestamp))) AS ts, path, expected, found, \
               length(errors) AS n, connector, consumer_group, processor, plan FROM e2e.dead_letters FINAL";
    let rows = world.rows(sql).await;
    let number =
        |value: &Value| value.as_str().map_or_else(|| value.as_i64(), |text| text.parse().ok()).unwrap();
    let letter = |row: BTreeMap<String, Value>| {
        let mut letter = json!({
            "key": row["k"], "raw": row["r"], "headers": row["hs"], "timestamp": number(&row["ts"]),
            "errors": number(&row["n"]),
        });
        let same = [
            "id",
            "stage",
            "code",
            "topic",
            "partition",
            "event",
            "table",
            "attempt",
            "path",
            "expected",
            "found",
            "connector",
            "consumer_group",
            "processor",
            "plan",
        ];
        for column in same {
            letter[column] = row[column].clone();
        }
        (number(&row["o"]), letter)
    };
    rows.into_iter().map(letter).collect()
}

async fn has_connects_headers(world: &World) {
    let connects = [
        header::CONNECT_TOPIC,
        header::CONNECT_PARTITION,
        header::CONNECT_OFFSET,
        header::CONNECT_CONNECTOR,
        header::CONNECT_TASK,
        header::CONNECT_STAGE,
        header::CONNECT_CLASS,
        header::CONNECT_EXCEPTION_CLASS,
        header::CONNECT_EXCEPTION_MESSAGE,
        header::CONNECT_STACKTRACE,
    ];
    for records in world.read("orders.dlq.v1").await {
        for record in records.iter() {
            let found: Vec<&str> = record.headers().map(|header| header.name).collect();
            for name in connects {
                assert_eq!(found.iter().filter(|found| **found == name).count(), 1, "{name} in {found:?}");
            }
        }
    }
}

#[track_caller]
fn check_metrics(text: &str, n_records: usize) {
    assert!(!text.contains("_total_total"), "{text}");
    let sample = |name: &str| {
        let samples = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>()
    };
    #[expect(clippy::cast_precision_loss, reason = "a test's counts are small")]
    let n_records = n_records as f64;
    assert_eq!(sample("tidegate_records_total{"), n_records, "{text}");
    assert_eq!(sample("tidegate_rows_total{connector=\"orders\",table=\"orders\"}"), 100.0, "{text}");
    assert_eq!(sample("tidegate_rejects_total{"), n_records - 100.0, "{text}");
    assert_eq!(sample("tidegate_lag{"), 0.0, "{text}");
    for name in [
        "tidegate_lag{",
        "tidegate_buffered_bytes_max ",
        "tidegate_insert_seconds_count{",
        "tidegate_end_to_end_seconds_count{",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    let described = |line: &&str| line.starts_with("# HELP");
    assert_eq!(
        text.lines().filter(described).count(),
        text.lines().filter(|line| line.starts_with("# TYPE")).count(),
        "every metric is described"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_dropped_and_counted_or_collected() {
    let Some(world) = World::start().await else { return };
    for (name, rest) in [("dropping", ""), ("collecting", "rest JSON,")] {
        let columns = format!("id UInt64, {rest} _partition Int32, _offset Int64");
        let ddl = format!("CREATE TABLE e2e.{name} ({columns}) ENGINE = MergeTree ORDER BY id");
        world.clickhouse.execute(&ddl).await.unwrap();
    }
    world.topic("wide", 1).await;
    let values = [
        br#"{"id":1,"extra":{"a":1},"more":[1,2]}"#.as_slice(),
        br#"{"id":2,"extra":{"a":"x","b":null}}"#,
        br#"{"id":3}"#,
    ];
    world.publish(values.iter().map(|value| record("wide", 0, value, &[]))).await;
    let one = |name: &str, unknown: &str| {
        format!(
            "  - {{name: {name}, topics: [wide], table: {name}, unknown_fields: {unknown}, \
             dead_letters: {{topic: {name}.dlq}}, batch: {{linger: 20ms}}}}\n"
        )
    };
    let file = world.file("sink.yaml", &(one("dropping", "drop") + &one("collecting", "{collect: rest}")));
    let (sink, api) = world.sink(&file).await;
    world.settled("tidegate-dropping", "wide").await;
    world.settled("tidegate-collecting", "wide").await;
    assert_eq!(world.number("SELECT count() FROM e2e.dropping").await, 3);
    let collected =
        world.clickhouse.query("SELECT toString(rest) FROM e2e.collecting ORDER BY id").await.unwrap();
    assert_eq!(
        collected.lines().collect::<Vec<_>>(),
        [r#"{"extra":{"a":1},"more":[1,2]}"#, r#"{"extra":{"a":"x"}}"#, "{}"]
    );
    let (_, metrics) = get(&api, "/metrics").unwrap();
    let counted = r#"tidegate_dropped_fields_total{connector="dropping",table="dropping"} 3"#;
    assert!(metrics.contains(counted), "{metrics}");
    let (_, status) = get(&api, "/api/v1/status").unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let connector = &status["connectors"][0];
    assert_eq!(connector["dropped_fields"]["dropping"]["/extra"], 2, "{status}");
    sink.stop().await;
}
