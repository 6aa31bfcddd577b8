use serde_json::{Value, json};
use tidegate_kafka::{LogEvent, LogReader, LogWriter};

use crate::stack::{Stack, record};

async fn records(stack: &Stack) -> Vec<(String, Option<String>)> {
    let mut reader = LogReader::open(&stack.kafka, "_schemas").unwrap();
    let mut all = Vec::new();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    while let Some(event) = reader.next().await {
        match event {
            LogEvent::Record(record) => all.push((text(record.key.unwrap()), record.value.map(text))),
            LogEvent::End(_) => break,
            LogEvent::Trouble(fault) => panic!("{fault}"),
        }
    }
    all
}

#[tokio::test]
async fn records_are_those_of_confluent_byte_for_byte() {
    let stack = Stack::start().await;
    stack.register("s1", "\"string\"").await;
    stack.ask("PUT", "/config/s1", json!({"compatibility": "FULL"})).await;
    stack.ask("DELETE", "/subjects/s1", Value::Null).await;
    let expected = [
        (r#"{"keytype":"NOOP","magic":0}"#, None),
        (
            r#"{"keytype":"SCHEMA","subject":"s1","version":1,"magic":1}"#,
            Some(
                r#"{"subject":"s1","version":1,"id":1,"schemaType":"AVRO","schema":"\"string\"","deleted":false}"#,
            ),
        ),
        (
            r#"{"keytype":"CONFIG","subject":"s1","magic":0}"#,
            Some(r#"{"subject":"s1","compatibilityLevel":"FULL"}"#),
        ),
        (r#"{"keytype":"DELETE_SUBJECT","subject":"s1","magic":0}"#, Some(r#"{"subject":"s1","version":1}"#)),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).collect();
    assert_eq!(records(&stack).await, expected);
}

#[tokio::test]
async fn a_log_that_others_wrote_is_taken_over_verbatim() {
    let mut stack = Stack::start().await;
    let writer = LogWriter::connect(&stack.kafka, "_schemas", std::time::Duration::from_secs(20)).unwrap();
    // Another order of members, no type, and a text that we would print differently.
    let foreign_key = br#"{"subject":"old","version":3,"magic":1,"keytype":"SCHEMA"}"#;
    let value = br#"{"subject":"old","version":3,"id":17,"schema":"{ \"type\" : \"string\" }","deleted":false,"new":1}"#;
    let noise: [(&[u8], Option<&[u8]>); 5] = [
        (b"\xff\x00", Some(b"x")),
        (br#"{"keytype":"ASSOC","magic":0}"#, Some(b"{}")),
        (br#"{"keytype":"SCHEMA","subject":"bad","version":1,"magic":1}"#, Some(b"{nonsense")),
        (
            br#"{"keytype":"DELETE_SUBJECT","subject":"nobody","magic":0}"#,
            Some(br#"{"subject":"nobody","version":2}"#),
        ),
        (foreign_key, Some(value)),
    ];
    for (key, value) in noise {
        writer.append(key, value).await.unwrap();
    }
    stack.restart().await;
    let found = stack.get("/subjects/old/versions/3").await;
    assert_eq!((&found["id"], &found["schema"]), (&json!(17), &json!("{ \"type\" : \"string\" }")));
    assert_eq!(stack.register("old", "\"string\"").await["id"], 17, "it is the same schema in other words");
    assert_eq!(stack.register("new", &record("R", &[])).await["id"], 18);
    assert_eq!(stack.get("/subjects").await, json!(["new", "old"]));

    stack.ask("DELETE", "/subjects/old", Value::Null).await;
    assert_eq!(stack.ask("DELETE", "/subjects/old?permanent=true", Value::Null).await.0, 200);
    let tombstones: Vec<_> = records(&stack).await.into_iter().filter(|(_, value)| value.is_none()).collect();
    let keys: Vec<&str> = tombstones.iter().map(|(key, _)| key.as_str()).collect();
    assert!(keys.contains(&str::from_utf8(foreign_key).unwrap()), "compaction must find it: {keys:?}");
}

#[tokio::test]
async fn while_kafka_is_away_reads_are_answered_and_say_so() {
    let mut stack = Stack::start().await;
    stack.register("s", "\"int\"").await;
    assert_eq!(stack.warning("/schemas/ids/1").await, None);
    stack.stop_kafka().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while stack.warning("/schemas/ids/1").await.is_none() {
        assert!(std::time::Instant::now() < deadline, "the answer says that Kafka is away");
        tokio::task::yield_now().await;
    }
    assert_eq!(stack.register("s", "\"int\"").await["id"], 1, "what is known needs no write");
}
