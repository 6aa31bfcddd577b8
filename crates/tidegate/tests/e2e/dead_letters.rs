//! `tidegate dlq`, and the halt guard that keeps a good stream out of it.

use serde_json::Value;
use tidegate_core::Header;

use crate::process::{Process, Ran, text, tidegate};
use crate::world::{World, record};

const TABLE: &str = "(id UInt8, _partition Int32, _offset Int64) ENGINE = MergeTree ORDER BY id \
                     SETTINGS non_replicated_deduplication_window = 1000";

fn connector(more: &str) -> String {
    format!("  - {{name: small, topics: [numbers], table: numbers, batch: {{linger: 20ms}}, {more}}}")
}

async fn dlq(file: &str, what: &[&str]) -> Ran {
    let (command, flags) = what.split_first().unwrap();
    let args =
        ["dlq", command, "--config", file, "--output", "json"].into_iter().chain(flags.iter().copied());
    tidegate(args).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_after_the_fix_lands_each_record_once() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(&format!("CREATE TABLE e2e.numbers {TABLE}")).await.unwrap();
    world.topic("numbers", 2).await;
    let headers = [Header { name: "h", value: Some(b"1") }, Header { name: "h", value: None }];
    let values = [b"{\"id\":1}".as_slice(), b"{\"id\":300}", b"{\"id\":70000}", b"{\"id\":2}", b"{\"id\":"];
    world.publish(values.iter().map(|value| record("numbers", 1, value, &headers))).await;
    let file = world.file("sink.yaml", &connector("halt_when: never"));
    let file_text = text(&file);
    let (sink, _) = world.sink(&file).await;
    world.settled("tidegate-small", "numbers").await;

    let list = dlq(file_text, &["list"]).await.json();
    assert_eq!(list["counts"], serde_json::json!({"out_of_range": 2, "not_json": 1}));
    let offsets: Vec<_> =
        list["letters"].as_array().unwrap().iter().map(|l| l["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [4, 2, 1], "newest first");
    let one =
        dlq(file_text, &["list", "--topic", "numbers", "--partition", "1", "--offset", "2"]).await.json();
    let id = one["letters"][0]["id"].as_str().unwrap().to_owned();
    let shown = dlq(file_text, &["show", &id]).await.json();
    assert_eq!(shown["value"]["data"], "{\"id\":70000}");
    assert_eq!(shown["headers"], serde_json::json!([["h", "1"], ["h", null]]));
    assert_eq!(dlq(file_text, &["show", &"0".repeat(32)]).await.code, Some(1));

    let dry = dlq(file_text, &["replay", "--reason", "out_of_range", "--dry-run"]).await.json();
    assert_eq!((&dry["dry_run"], &dry["replayed"]["numbers"]), (&Value::Bool(true), &2.into()));
    assert_eq!(world.letters("small.dlq.v1").await.len(), 3, "a dry run puts nothing back");

    // A fix that helps one of the two.
    world.clickhouse.execute("ALTER TABLE e2e.numbers MODIFY COLUMN id UInt16").await.unwrap_err();
    world
        .clickhouse
        .execute(&format!("CREATE OR REPLACE TABLE e2e.numbers {}", TABLE.replacen("UInt8", "UInt16", 1)))
        .await
        .unwrap();
    sink.stop().await;
    let (sink, _) = world.sink(&file).await;
    let replayed = dlq(file_text, &["replay", "--reason", "out_of_range"]).await.json();
    assert_eq!(replayed["replayed"]["numbers"], 2);
    world.settled("tidegate-small", "numbers").await;
    assert_eq!(world.clickhouse.query("SELECT id FROM e2e.numbers").await.unwrap().trim(), "300");
    let again = dlq(file_text, &["replay", "--reason", "out_of_range", "--id", &id]).await.json();
    assert_eq!((&again["already"], &again["replayed"]), (&1.into(), &serde_json::json!({})));
    world.settled("tidegate-small", "numbers").await;
    assert_eq!(world.number("SELECT count() FROM e2e.numbers").await, 1);

    // What failed again is a letter of its own that says so.
    let list = dlq(file_text, &["list", "--reason", "out_of_range"]).await.json();
    let letters = list["letters"].as_array().unwrap();
    let attempts: Vec<_> =
        letters.iter().map(|l| (l["attempt"].as_u64().unwrap(), l["replayed"] == true)).collect();
    assert_eq!(attempts, [(2, false), (1, true), (1, true)]);
    let newest = dlq(file_text, &["show", letters[0]["id"].as_str().unwrap()]).await.json();
    assert_eq!(newest["value"]["data"], "{\"id\":70000}");
    assert_eq!(newest["headers"], serde_json::json!([["h", "1"], ["h", null]]));
    let states = "SELECT state, count() FROM e2e.dead_letters FINAL GROUP BY state ORDER BY state";
    assert_eq!(world.clickhouse.query(states).await.unwrap().trim(), "open\t2\nreplayed\t2");
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_sink_says_why_and_goes_on_after_the_fix() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(&format!("CREATE TABLE e2e.numbers {TABLE}")).await.unwrap();
    world.topic("numbers", 1).await;
    // A good stream in which a deploy adds a field half-way.
    let values: Vec<String> = (0..200)
        .map(|n| if n < 100 { format!(r#"{{"id":{n}}}"#) } else { format!(r#"{{"id":{n},"new":1}}"#) })
        .collect();
    world.publish(values.iter().map(|value| record("numbers", 0, value.as_bytes(), &[]))).await;
    let guard = "halt_when: {bad_ratio: 0.5, window: 20}";
    let file = world.file("sink.yaml", &connector(guard));
    let halted = Process::start(["sink", "--config", text(&file)]).ran().await;
    assert_eq!(halted.code, Some(3), "{}", halted.stderr);
    for word in
        ["error: connector `small` halted", "extra_field", "/new", "tidegate dlq list", "halt_when: never"]
    {
        assert!(halted.stderr.contains(word), "says `{word}`: {}", halted.stderr);
    }
    // Halted again without a fix: the same, and no further.
    let again = Process::start(["sink", "--config", text(&file)]).ran().await;
    assert_eq!(again.code, Some(3), "{}", again.stderr);

    let file = world.file("fixed.yaml", &connector(&format!("unknown_fields: drop, {guard}")));
    let (sink, _) = world.sink(&file).await;
    world.settled("tidegate-small", "numbers").await;
    sink.stop().await;
    let rows = world.number("SELECT count() FROM e2e.numbers").await;
    assert_eq!(rows, world.number("SELECT uniqExact(_offset) FROM e2e.numbers").await);
    let letters = world.letters("small.dlq.v1").await;
    assert_eq!(rows + letters.len() as u64, 200, "every record in its place: {letters:?}");
    assert_eq!(letters, [], "the guard spared the stream");
}
