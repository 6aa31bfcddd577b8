//! Thin partitions and many tables: few blocks, and every record a row once, whoever dies.

use std::time::{Duration, Instant};

use tidegate_core::Header;

use crate::process::get;
use crate::world::{World, record};

const PARTITIONS: i32 = 12;
const TABLES: usize = 20;
/// A few records a second for each partition.
const BEAT: Duration = Duration::from_millis(100);
const PER_BEAT: usize = 36;

#[tokio::test(flavor = "multi_thread")]
async fn thin_partitions_share_blocks_and_a_killed_sink_loses_and_doubles_nothing() {
    let Some(world) = World::start().await else { return };
    for table in 0..TABLES {
        let sql = format!(
            "CREATE TABLE e2e.thin_{table} (n UInt64, _topic LowCardinality(String), _partition Int32, _offset Int64) \
             ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000"
        );
        world.clickhouse.execute(&sql).await.unwrap();
    }
    world.topic("thin", PARTITIONS).await;
    let connector = "  - {name: c, topics: [thin], table: \"thin_{header:kind}\"}";
    let file = world.file("sink.yaml", connector);
    let (mut first, api) = world.sink(&file).await;
    let (second, _) = world.sink(&file).await;
    let blocks = "SELECT sum(value) FROM system.events WHERE event = 'MergeTreeDataWriterBlocks'";
    let (began, before) = (Instant::now(), world.number(blocks).await);
    let mut published = 0;
    let mut publish = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            publish_a_beat(&world, published).await;
            published += PER_BEAT;
            tokio::time::sleep(BEAT).await;
        }
    };
    publish(Duration::from_secs(6)).await;
    let (_, metrics) = get(&api, "/metrics").unwrap();
    first.kill();
    publish(Duration::from_secs(4)).await;
    world.settled("tidegate-c", "thin").await;
    let seconds = began.elapsed().as_secs_f64();
    let counted = "SELECT count(), uniqExact(_partition, _offset), uniqExact(n) FROM merge('e2e', '^thin_')";
    let expected = format!("{published}\t{published}\t{published}");
    assert_eq!(world.clickhouse.query(counted).await.unwrap().trim(), expected);
    let joined = metrics.lines().find(|line| line.starts_with("tidegate_joint_partitions_count"));
    assert!(joined.is_some_and(|line| !line.ends_with(" 0")), "{joined:?}");
    // Two sinks, a block a table each half a second, and what is sent again alone. It would be six times as many.
    let written = world.number(blocks).await - before;
    let most = 2.0 * TABLES as f64 * 2.0 * seconds + (PARTITIONS as usize * TABLES) as f64;
    assert!((written as f64) < most, "{written} blocks in {seconds:.1} s");
    second.stop().await;
}

async fn publish_a_beat(world: &World, from: usize) {
    let values: Vec<_> = (from..from + PER_BEAT)
        .map(|n| (n, format!(r#"{{"n":{n}}}"#), (n / 5 % TABLES).to_string()))
        .collect();
    let headers: Vec<_> =
        values.iter().map(|(.., kind)| [Header { name: "kind", value: Some(kind.as_bytes()) }]).collect();
    let records = values.iter().zip(&headers).map(|((n, value, _), headers)| {
        let partition = i32::try_from(*n).unwrap() % PARTITIONS;
        record("thin", partition, value.as_bytes(), headers)
    });
    world.publish(records).await;
}
