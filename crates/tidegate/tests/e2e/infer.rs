//! Events that are inferred from a topic at work: what was sampled becomes rows by the catalog that was proposed.

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_kafka::{KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};

use crate::catalog::Up;
use crate::process::{PATIENCE, eventually, text, tidegate};
use crate::stack::of;
use crate::world::engine_is_there;

const TOPIC: &str = "app.events";
const RECORDS: u64 = 180;
/// Bytes that are no JSON, JSON that is no object, an object of no event, a record that names a schema.
const POISON: [&[u8]; 4] =
    [b"{\"type\": \"vie", b"[1]", b"{\"test\": \"connection_test\"}", b"\0\0\0\0\x07\x02a"];

/// Records of three events, with about everything in them that a field may be.
fn record(n: u64) -> Value {
    let mut record = json!({
        "event_id": format!("0b6f0c5e-5f0e-4c6e-9a55-{n:012}"),
        "ts": format!("2026-01-27T{:02}:{:02}:00.{n:03}Z", n % 24, n % 60),
        "session": format!("s{}", n % 5),
    });
    let own = match n % 3 {
        0 => json!({
            "type": "page viewed",
            "page": {"path": format!("/p/{n}"), "load_ms": if n.is_multiple_of(2) { json!(n) } else { Value::Null }},
            "where": if n.is_multiple_of(4) { Value::Null } else { json!({"lat": 48.2, "raw": {}}) },
            "userAgent": "x",
            "counts": {format!("k{n}"): n, "all": 1},
        }),
        1 => json!({
            "type": "order.paid",
            "price": if n.is_multiple_of(2) { json!("4.99") } else { serde_json::from_str("4.5").unwrap() },
            "number": u64::MAX - n,
            "paid_at": format!("2026-01-27T10:00:00.{n:06}+01:00"),
            "lines": if n.is_multiple_of(4) { json!([]) } else { json!([{"sku": "a", "gift": true}, {"sku": "b"}]) },
            "ip": if n % 4 == 1 { "203.0.113.7" } else { "2001:db8::7" },
            "any": if n.is_multiple_of(4) { Value::Null } else { json!({"+1": n}) },
            "mixed": if n.is_multiple_of(4) { json!("many") } else { json!([n]) },
            "empty": if n.is_multiple_of(4) { Value::Null } else { json!([n]) },
        }),
        _ => {
            json!({"type": "login", "method": (["sms", "mail"][usize::from(n.is_multiple_of(2))]), "tags": ["a", null]})
        }
    };
    record.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    record
}

async fn publish(up: &Up) {
    let kafka = KafkaOptions::new([of(&up.line, "kafka")]);
    KafkaAdmin::connect(&kafka).unwrap().ensure_topic(&TopicSpec::new(TOPIC, 3)).await.unwrap();
    let producer = KafkaProducer::connect(&kafka, &ProducerOptions::default()).unwrap();
    let records = (0..RECORDS).map(|n| record(n).to_string().into_bytes());
    let values = POISON.iter().map(|value| value.to_vec()).chain(records);
    for (index, value) in values.enumerate() {
        let partition = Some(i32::try_from(index % 3).unwrap());
        let outgoing = Outgoing { topic: TOPIC, partition, value: Some(&value), ..Outgoing::default() };
        producer.send(&outgoing).await.unwrap();
    }
    assert_eq!(producer.flush(PATIENCE).await.unwrap().failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sampled_lands_by_the_catalog_that_was_proposed() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("proposed.yaml"));
    let up = Up::start(&data, &[]).await;
    publish(&up).await;
    let kafka = of(&up.line, "kafka").to_owned();
    let args = ["catalog", "infer", "--topic", TOPIC, "--bootstrap", &kafka, "--output", "json"];
    let report = tidegate(args.into_iter().chain(["--into", text(&file)])).await.json();
    assert_eq!(report["separator"], "the field `type`", "{report:#}");
    assert_eq!((&report["records"], &report["partitions"]), (&json!(RECORDS + 1), &json!(3)));
    let aside: Vec<&str> =
        report["aside"].as_array().unwrap().iter().map(|line| line["why"].as_str().unwrap()).collect();
    assert_eq!(aside.len(), 4, "{aside:?}");
    assert!(aside[2].contains("schema id 7") && aside[2].contains("catalog import"), "{aside:?}");
    assert_eq!(report["aside"][0]["example"], "0/0");
    let refusing = report["notes"].as_array().unwrap().iter().filter(|note| note["kind"] == "tightened");
    assert_eq!(refusing.count(), 0, "{:#}", report["notes"]);

    let again = tidegate(args.into_iter().chain(["--into", text(&file)])).await;
    assert_eq!(again.code, Some(2), "a proposal overwrites nothing: {}", again.stderr);
    let against = tidegate(args.into_iter().chain(["--catalog", text(&file)])).await.json();
    assert_eq!(against["compared"]["differences"], json!([]), "{:#}", against["compared"]);
    assert_eq!((&against["compared"]["agreeing"], &against["events"]), (&json!(RECORDS), &json!([])));
    up.process.stop().await;

    let up = Up::start(&data, &["--catalog", text(&file)]).await;
    let topics = ["inferred.page_viewed.v1", "inferred.order_paid.v1", "inferred.login.v1"];
    up.publish((0..RECORDS).map(|n| (topics[usize::try_from(n % 3).unwrap()], record(n)))).await;
    let refused = "SELECT code, topic, path, expected, found FROM cdp.dead_letters LIMIT 3";
    for event in ["page_viewed", "order_paid", "login"] {
        eventually(async || {
            let letters = up.rows(refused).await;
            assert!(letters.is_empty(), "{letters:?}");
            match up.number(&format!("SELECT count() FROM cdp.{event}")).await {
                60 => Ok(()),
                rows => Err(format!("{event}: {rows} rows")),
            }
        })
        .await;
    }
    let kept = "SELECT countIf(user_agent = 'x') FROM cdp.page_viewed";
    assert_eq!(up.number(kept).await, 60);
    // No digit of the greatest numbers is lost.
    let exact = "SELECT countIf(number + toUInt64(right(toString(event_id), 12)) = 18446744073709551615) \
                 FROM cdp.order_paid";
    assert_eq!(up.number(exact).await, 60);
    up.process.stop().await;
}
