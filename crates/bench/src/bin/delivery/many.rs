//! Thin partitions and many tables: 100 partitions, 105 tables, 2,000 events a second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cores::Cores;
use crate::number;
use crate::sink::Sink;
use crate::stage::{DATABASE, Stage};
use crate::stream::{Outgoing, Stream};

const N_PARTITIONS: u64 = 100;
const N_TABLES: u64 = 105;
const PER_SECOND: u64 = 2000;
/// Records a second behind that lag stands for: lag is to stay below five seconds' worth.
const LAG_SECONDS_MAX: f64 = 5.0;
/// A ClickHouse with more new parts a second than this spends itself on merging.
const PARTS_PER_SECOND_MAX: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before that the group joins.
const WARM_UP: Duration = Duration::from_secs(10);

/// Streams for a while, and says what it was like.
pub(crate) async fn measure(cores: Cores) -> anyhow::Result<(Value, bool)> {
    let seconds = number("SECONDS", 120)?;
    let linger = std::env::var("LINGER").unwrap_or_else(|_| "500ms".to_owned());
    let stage = Stage::start(&cores).await?;
    stage.topic("many", i32::try_from(N_PARTITIONS)?).await?;
    for table in 0..N_TABLES {
        let sql = format!(
            "CREATE TABLE {DATABASE}.many_{table} (id UInt64, name String, at DateTime64(3, 'UTC'), \
             _topic LowCardinality(String), _partition Int32, _offset Int64) ENGINE = MergeTree ORDER BY id \
             SETTINGS non_replicated_deduplication_window = 10000"
        );
        stage.execute(&sql).await?;
    }
    let connector = format!(
        "  - {{name: many, topics: [many], table: \"many_{{header:kind}}\", batch: {{linger: {linger}, bytes_max: 16MiB}}}}"
    );
    let mut sink = Sink::tidegate(&stage.file("many", &connector)?)?;
    let stream = Stream::open(&mut stage.client(), "many")?;
    let streaming = tokio::task::spawn_blocking(move || {
        stream.steadily(PER_SECOND, Duration::from_secs(seconds), record)
    });
    let began = Instant::now();
    let (mut lags, mut parts_before, mut measured_from) = (Vec::new(), 0, None);
    while !streaming.is_finished() {
        tokio::time::sleep(LOOK_EVERY).await;
        sink.alive()?;
        if began.elapsed() < WARM_UP {
            continue;
        }
        if measured_from.is_none() {
            measured_from = Some(Instant::now());
            parts_before = parts(&stage).await?;
        }
        let lag = stage.lag("tidegate-many", "many").await?;
        eprintln!("{:>5} s   parts {:>8}   lag {lag:>8}", began.elapsed().as_secs(), parts(&stage).await?);
        lags.push(lag);
    }
    let sent = streaming.await??;
    let measured = measured_from.map_or(f64::NAN, |from: Instant| from.elapsed().as_secs_f64());
    let parts_per_second = (parts(&stage).await? - parts_before) as f64 / measured;
    let drained = drain(&stage, &mut sink).await.map_err(|error| eprintln!("{error:#}")).ok();
    let sql = format!(
        "SELECT sum(rows) FROM system.parts WHERE active AND database = '{DATABASE}' AND table LIKE 'many%'"
    );
    let rows = stage.number(&sql).await?;
    let held = sink.held()?;
    sink.stop()?;
    stage.stop().await?;
    lags.sort_unstable();
    let at = |share: usize| lags.get(lags.len().saturating_sub(1) * share / 100).copied().unwrap_or(0);
    let lag_seconds = |lag: i64| lag as f64 / PER_SECOND as f64;
    let kept = [
        ("lag", lag_seconds(at(100)) < LAG_SECONDS_MAX),
        ("parts", parts_per_second < PARTS_PER_SECOND_MAX),
        ("rows", rows == sent),
    ];
    let report = json!({
        "partitions": N_PARTITIONS, "tables": N_TABLES, "events_per_second": PER_SECOND, "seconds": seconds,
        "linger": linger, "sent": sent, "rows": rows, "parts_per_second": parts_per_second,
        "lag_seconds": {"median": lag_seconds(at(50)), "p99": lag_seconds(at(99)), "worst": lag_seconds(at(100))},
        "drained_after_seconds": drained, "memory_peak_mib": held.memory_peak >> 20,
        "kept": kept.iter().map(|(name, kept)| ((*name).to_owned(), json!(kept))).collect::<serde_json::Map<_, _>>(),
    });
    Ok((report, kept.iter().all(|(_, kept)| *kept)))
}

/// Every table's events come on every partition.
fn record(n: u64) -> Outgoing {
    let value = format!(
        r#"{{"id":{n},"name":"customer {n} of the spring campaign","at":"2024-05-17T12:{:02}:{:02}.000Z"}}"#,
        n / 60 % 60,
        n % 60
    );
    let partition = i32::try_from(n % N_PARTITIONS).unwrap_or(0);
    Outgoing { partition, kind: Some((n / 7 % N_TABLES).to_string()), value }
}

/// How many parts ClickHouse has written since it started.
async fn parts(stage: &Stage) -> anyhow::Result<u64> {
    stage.number("SELECT sum(value) FROM system.events WHERE event = 'MergeTreeDataWriterBlocks'").await
}

/// Waits until nothing is behind. Gives the seconds that it took.
async fn drain(stage: &Stage, sink: &mut Sink) -> anyhow::Result<f64> {
    let began = Instant::now();
    while stage.lag("tidegate-many", "many").await? > 0 {
        sink.alive()?;
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "not drained within two minutes");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(began.elapsed().as_secs_f64())
}
