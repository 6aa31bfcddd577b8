//! What the world does to the sink costs time and no record.

use std::collections::BTreeSet;

use tidegate_kafka::KafkaAdmin;

use crate::process::{eventually, get};
use crate::world::{World, record};

const PARTITIONS: i32 = 3;
const TABLE: &str = "CREATE TABLE e2e.events (n UInt64, pad String, _partition Int32, _offset Int64) \
                     ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000";
const CONNECTOR: &str = "  - {name: c, topics: [events], table: events, halt_when: never, \
                         batch: {rows_max: 500, bytes_max: 8MiB, linger: 20ms}}";

/// Every so many records one is no event.
const POISON_EVERY: usize = 97;

fn value(n: usize) -> Vec<u8> {
    match n % POISON_EVERY {
        5 => br#"{"test":"connection_test"}"#.to_vec(),
        _ => format!(r#"{{"n":{n},"pad":"{n:0>200}"}}"#).into_bytes(),
    }
}

async fn publish(world: &World, numbers: std::ops::Range<usize>) {
    let values: Vec<Vec<u8>> = numbers.map(value).collect();
    let partitions = (0..PARTITIONS).cycle();
    world
        .publish(
            values.iter().zip(partitions).map(|(value, partition)| record("events", partition, value, &[])),
        )
        .await;
}

/// Every record published is in its place, once.
async fn every_record_is_in_its_place(world: &World, published: usize) {
    world.settled("tidegate-c", "events").await;
    let rejected = (0..published).filter(|n| n % POISON_EVERY == 5).count();
    // A sink that was killed may leave a transaction open, behind which nobody sees until it times out.
    let letters = eventually(async || match world.letters("c.dlq.v1").await {
        letters if letters.len() < rejected => Err(format!("{} of {rejected} dead letters", letters.len())),
        letters => Ok(letters),
    })
    .await;
    let distinct: BTreeSet<_> = letters.iter().collect();
    assert_eq!(distinct.len(), letters.len(), "no dead letter twice");
    assert_eq!(letters.len(), rejected);
    let counted = "SELECT count(), uniqExact(_partition, _offset), uniqExact(n) FROM e2e.events";
    let rows = published - rejected;
    assert_eq!(world.clickhouse.query(counted).await.unwrap().trim(), format!("{rows}\t{rows}\t{rows}"));
    assert_eq!(
        world.number("SELECT count() FROM e2e.dead_letters").await,
        world.number("SELECT uniqExact(partition, offset) FROM e2e.dead_letters").await
    );
    assert_eq!(world.number("SELECT count() FROM e2e.dead_letters").await, rejected as u64);
}

async fn start() -> Option<(World, std::path::PathBuf)> {
    let world = World::start().await?;
    world.clickhouse.execute(TABLE).await.unwrap();
    world.topic("events", PARTITIONS).await;
    let file = world.file("sink.yaml", CONNECTOR);
    Some((world, file))
}

async fn rows_reach(world: &World, rows: u64) {
    eventually(async || match world.number("SELECT count() FROM e2e.events").await {
        there if there >= rows => Ok(()),
        there => Err(format!("{there} of {rows} rows")),
    })
    .await;
}

/// The API's words for what is waited for.
async fn status_names(api: &str, word: &str) {
    eventually(async || match get(api, "/api/v1/status") {
        Ok((_, status)) if status.contains(word) => Ok(()),
        other => Err(format!("no `{word}` in {other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_that_stops_for_a_while_costs_no_record() {
    let Some((mut world, file)) = start().await else { return };
    publish(&world, 0..3_000).await;
    let (sink, api) = world.sink(&file).await;
    rows_reach(&world, 500).await;
    world.stop_clickhouse().await;
    publish(&world, 3_000..9_000).await;
    status_names(&api, "\"waiting\"").await;
    let (ready, _) = get(&api, "/health").unwrap();
    assert_eq!(ready, 200, "a fault of the world does not make the process ill");
    world.start_clickhouse().await;
    every_record_is_in_its_place(&world, 9_000).await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_for_a_while_costs_no_record() {
    let Some((mut world, file)) = start().await else { return };
    publish(&world, 0..6_000).await;
    let (sink, api) = world.sink(&file).await;
    rows_reach(&world, 500).await;
    world.stop_broker().await;
    status_names(&api, "waiting").await;
    world.start_broker().await;
    publish(&world, 6_000..9_000).await;
    every_record_is_in_its_place(&world, 9_000).await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_and_created_again_takes_what_comes_after() {
    let Some((world, file)) = start().await else { return };
    let (sink, api) = world.sink(&file).await;
    publish(&world, 0..900).await;
    every_record_is_in_its_place(&world, 900).await;
    world.clickhouse.execute("DROP TABLE e2e.events SYNC").await.unwrap();
    publish(&world, 900..3_000).await;
    status_names(&api, "does not exist").await;
    world.clickhouse.execute(TABLE).await.unwrap();
    world.settled("tidegate-c", "events").await;
    let rows = (900..3_000).filter(|n| n % POISON_EVERY != 5).count();
    let counted = "SELECT count(), uniqExact(_partition, _offset) FROM e2e.events WHERE n >= 900";
    assert_eq!(world.clickhouse.query(counted).await.unwrap().trim(), format!("{rows}\t{rows}"));
    assert_eq!(
        world.letters("c.dlq.v1").await.len(),
        3_000_usize.div_ceil(POISON_EVERY),
        "a fault dead-letters nothing"
    );
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_killed_in_mid_stream_leaves_nothing_lost_or_double() {
    let Some((world, file)) = start().await else { return };
    let published = 24_000;
    publish(&world, 0..published).await;
    for kill in 1..=3u64 {
        let (mut sink, _) = world.sink(&file).await;
        rows_reach(&world, kill * 4_000).await;
        sink.kill();
    }
    assert!(world.number("SELECT count() FROM e2e.events").await < 20_000, "killed while at work");
    let (sink, _) = world.sink(&file).await;
    every_record_is_in_its_place(&world, published).await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_loses_nothing_when_it_is_killed_and_states_no_intents() {
    let Some((world, file)) = start().await else { return };
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("halt_when: never", "halt_when: never, delivery: at_least_once"))
        .unwrap();
    let published = 12_000;
    publish(&world, 0..published).await;
    let (mut sink, _) = world.sink(&file).await;
    rows_reach(&world, 2_000).await;
    sink.kill();
    let admin = KafkaAdmin::connect(&world.kafka).unwrap();
    // Killed in the middle of a transaction, the sink leaves offsets that Kafka tells nobody until it times out.
    let committed = eventually(async || {
        admin.committed("tidegate-c", &["events"]).await.map_err(|fault| fault.to_string())
    })
    .await;
    for committed in committed.values() {
        assert_eq!(committed.checkpoint.as_ref().unwrap().intent, None);
    }
    let (sink, _) = world.sink(&file).await;
    world.settled("tidegate-c", "events").await;
    let rejected = (0..published).filter(|n| n % POISON_EVERY == 5).count();
    let letters: BTreeSet<_> = eventually(async || match world.letters("c.dlq.v1").await {
        letters if letters.len() < rejected => Err(format!("{} of {rejected} dead letters", letters.len())),
        letters => Ok(letters),
    })
    .await
    .into_iter()
    .collect();
    assert_eq!(letters.len(), rejected);
    let stored = world.number("SELECT uniqExact(_partition, _offset) FROM e2e.events").await;
    assert_eq!(stored, (published - rejected) as u64, "every record is a row, at least once");
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_address_that_does_not_answer_is_passed_over_for_the_next() {
    let Some((world, file)) = start().await else { return };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("urls: [", &format!("urls: [\"http://{nobody}\", "), 1)).unwrap();
    publish(&world, 0..900).await;
    let (sink, _) = world.sink(&file).await;
    every_record_is_in_its_place(&world, 900).await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_share_a_group_through_rebalances() {
    let Some((world, file)) = start().await else { return };
    let (first, api) = world.sink(&file).await;
    publish(&world, 0..6_000).await;
    let (second, second_api) = world.sink(&file).await;
    publish(&world, 6_000..9_000).await;
    let lags = |api: &str| {
        let (_, metrics) = get(api, "/metrics").unwrap();
        metrics.lines().filter(|line| line.starts_with("tidegate_lag{")).count()
    };
    eventually(async || match (lags(&api), lags(&second_api)) {
        (first @ 1.., second @ 1..) if first + second == 3 => Ok(()),
        shares => Err(format!("each partition's lag is told by its owner alone: {shares:?}")),
    })
    .await;
    let (_, metrics) = get(&api, "/metrics").unwrap();
    let rebalances = metrics.lines().find_map(|line| line.strip_prefix("tidegate_source_rebalances_total{"));
    let rebalances: u64 = rebalances.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap();
    assert!(rebalances >= 2, "all partitions came, and some went: {metrics}");
    first.stop().await;
    publish(&world, 9_000..12_000).await;
    every_record_is_in_its_place(&world, 12_000).await;
    assert_eq!(lags(&second_api), 3);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_bounded_while_clickhouse_is_down() {
    let Some((mut world, file)) = start().await else { return };
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("memory_max: 128MiB", "memory_max: 64MiB")).unwrap();
    let (sink, api) = world.sink(&file).await;
    publish(&world, 0..30).await;
    world.settled("tidegate-c", "events").await;
    world.stop_clickhouse().await;
    // Four times the memory that the sink may use.
    let values: Vec<Vec<u8>> = (30..2_030).map(big).collect();
    world
        .publish(values.iter().zip((0..PARTITIONS).cycle()).map(|(value, p)| record("events", p, value, &[])))
        .await;
    status_names(&api, "\"waiting\"").await;
    let limit = 64 << 20;
    let mut last = 0;
    // Looks until it has filled up: the figure rests while nothing can be inserted.
    let mut resting = 0;
    eventually(async || {
        let (_, status) = get(&api, "/api/v1/status").unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let used = status["buffered_bytes"].as_u64().unwrap();
        assert_eq!(status["buffered_bytes_max"], limit);
        assert!(used <= limit, "{used} of {limit} bytes");
        resting = if used == last && used > 0 { resting + 1 } else { 0 };
        last = used;
        if resting >= 40 { Ok(()) } else { Err(format!("still moving: {used}")) }
    })
    .await;
    world.start_clickhouse().await;
    world.settled("tidegate-c", "events").await;
    let rows = world.number("SELECT count() FROM e2e.events").await;
    assert_eq!(rows, world.number("SELECT uniqExact(_partition, _offset) FROM e2e.events").await);
    assert_eq!(rows + world.letters("c.dlq.v1").await.len() as u64, 2_030);
    sink.stop().await;
}

fn big(n: usize) -> Vec<u8> {
    format!(r#"{{"n":{n},"pad":"{}"}}"#, "x".repeat(128 << 10)).into_bytes()
}
