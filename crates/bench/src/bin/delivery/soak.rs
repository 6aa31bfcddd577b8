//! A steady stream for a long time: is memory flat, are file descriptors, is lag?

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_bench::Events;

use crate::cores::Cores;
use crate::number;
use crate::sink::{Held, Sink};
use crate::stage::{DATABASE, Stage};
use crate::stream::{Outgoing, Stream};

const N_PARTITIONS: u64 = 6;
const BYTES: usize = 754;
/// One record in so many is poison: dead letters are a part of a steady state.
const POISON_EVERY: u64 = 1000;
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The first samples are of a process that warms up.
const WARM_UP: Duration = Duration::from_secs(60);
/// What the last quarter's median may be above the first's.
const MEMORY_GROWTH_MAX: u64 = 16 << 20;
const DESCRIPTORS_GROWTH_MAX: u64 = 4;
const LAG_SECONDS_MAX: f64 = 5.0;

struct Sample {
    at: Duration,
    held: Held,
    lag: i64,
}

/// Streams for `MINUTES`, and says whether everything stayed flat.
pub(crate) async fn measure(cores: Cores) -> anyhow::Result<(Value, bool)> {
    let minutes = number("MINUTES", 30)?;
    let per_second = number("RATE", 5000)?;
    let stage = Stage::start(&cores).await?;
    let events = Events::of_size(BYTES);
    stage.topic("soak", i32::try_from(N_PARTITIONS)?).await?;
    stage.execute(&events.create_table(&format!("{DATABASE}.soak"))).await?;
    let connector = "  - {name: soak, topics: [soak], table: soak, batch: {bytes_max: 16MiB}}";
    let mut sink = Sink::tidegate(&stage.file("soak", connector)?)?;
    let stream = Stream::open(&mut stage.client(), "soak")?;
    let time = Duration::from_secs(minutes * 60);
    let streaming =
        tokio::task::spawn_blocking(move || stream.steadily(per_second, time, |n| record(events, n)));
    let began = Instant::now();
    let mut samples = Vec::new();
    while !streaming.is_finished() {
        tokio::time::sleep(LOOK_EVERY).await;
        sink.alive()?;
        let sample = Sample {
            at: began.elapsed(),
            held: sink.held()?,
            lag: stage.lag("tidegate-soak", "soak").await?,
        };
        eprintln!(
            "{:>5} s   memory {:>4} MiB   descriptors {:>3}   lag {:>6}",
            sample.at.as_secs(),
            sample.held.memory >> 20,
            sample.held.descriptors,
            sample.lag
        );
        samples.push(sample);
    }
    let sent = streaming.await??;
    let rows = settled(&stage, sent - sent.div_ceil(POISON_EVERY)).await?;
    sink.stop()?;
    stage.stop().await?;
    samples.retain(|sample| sample.at > WARM_UP.min(time / 4));
    Ok(report(&samples, (sent, rows), (minutes, per_second)))
}

fn record(events: Events, n: u64) -> Outgoing {
    let number = usize::try_from(n % 9_999_999).unwrap_or(0);
    let mut value = events.json(number);
    if n.is_multiple_of(POISON_EVERY) {
        value.replace_range(..1, "[");
    }
    Outgoing { partition: i32::try_from(n % N_PARTITIONS).unwrap_or(0), kind: None, value }
}

/// Waits a while for so many rows; gives how many there are.
async fn settled(stage: &Stage, rows: u64) -> anyhow::Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let count = stage.number(&format!("SELECT count() FROM {DATABASE}.soak")).await?;
        if count >= rows || Instant::now() > deadline {
            return Ok(count);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn report(samples: &[Sample], (sent, rows): (u64, u64), (minutes, per_second): (u64, u64)) -> (Value, bool) {
    let quarter = samples.len().div_ceil(4);
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    let median = |samples: &[Sample], of: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let memory = |sample: &Sample| sample.held.memory;
    let descriptors = |sample: &Sample| sample.held.descriptors;
    let lag = |sample: &Sample| sample.lag.unsigned_abs();
    let worst = samples.iter().map(lag).max().unwrap_or(0) as f64 / per_second as f64;
    let grown = |of: fn(&Sample) -> u64| median(last, of).saturating_sub(median(first, of));
    let kept = [
        ("memory", grown(memory) < MEMORY_GROWTH_MAX),
        ("descriptors", grown(descriptors) < DESCRIPTORS_GROWTH_MAX),
        ("lag", worst < LAG_SECONDS_MAX),
        ("rows", rows == sent - sent.div_ceil(POISON_EVERY)),
    ];
    let figures = |samples: &[Sample]| {
        json!({
            "memory_mib": median(samples, memory) >> 20,
            "descriptors": median(samples, descriptors),
            "lag_seconds": median(samples, lag) as f64 / per_second as f64,
        })
    };
    let report = json!({
        "minutes": minutes, "events_per_second": per_second, "bytes_each": BYTES, "sent": sent, "rows": rows,
        "first_quarter": figures(first), "last_quarter": figures(last), "worst_lag_seconds": worst,
        "memory_peak_mib": samples.last().map_or(0, |sample| sample.held.memory_peak >> 20),
        "kept": kept.iter().map(|(name, kept)| ((*name).to_owned(), json!(kept))).collect::<serde_json::Map<_, _>>(),
    });
    (report, kept.iter().all(|(_, kept)| *kept))
}
