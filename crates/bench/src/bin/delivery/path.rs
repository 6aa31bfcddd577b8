//! The whole path of 1.6 KB events, beside the two limits: a bare consumer, and prepared blocks.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tidegate_bench::Events;
use tidegate_codec::{Plan, PlanOptions};
use tidegate_core::{InsertToken, OffsetRange, PartId, Records, TopicPartition};
use tidegate_pipeline::port::{EncodedBlock, Warehouse};

use crate::cores::Cores;
use crate::number;
use crate::rival::{Race, race};
use crate::sink::Sink;
use crate::stage::{DATABASE, Stage};
use crate::stream::{Outgoing, Stream};

const BYTES: usize = 1600;
const N_PARTITIONS: usize = 3;
/// Records of one prepared block: what 32 MiB of such events are, the sink's default.
const BATCH: usize = 19_000;
/// One record in so many is poison, in the run with poison.
const POISON_EVERY: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole path is to reach this share of the lower limit.
const SHARE_MIN: f64 = 0.8;
/// Exactly once and poison may cost this share.
const EXACTLY_ONCE_COST_MAX: f64 = 0.05;
const POISON_COST_MAX: f64 = 0.1;
const MEMORY_MAX: u64 = 256 << 20;

/// Runs everything, so many rounds of it, and compares medians.
pub(crate) async fn measure(cores: Cores) -> anyhow::Result<(Value, bool)> {
    let rows = number("RECORDS", 684_000)?;
    let rounds = number("ROUNDS", 5)?;
    let stage = Stage::start(&cores).await?;
    let events = Events::of_size(BYTES);
    for (topic, poison) in [("clean", false), ("poisoned", true)] {
        stage.topic(topic, i32::try_from(N_PARTITIONS)?).await?;
        let stream = Stream::open(&mut stage.client(), topic)?;
        tokio::task::block_in_place(|| stream.fill((0..rows).map(|n| record(events, n, poison))))?;
    }
    let blocks = prepare(&stage, events, rows).await?;
    let mut figures = Figures::default();
    for round in 0..=rounds {
        if round > 0 {
            eprintln!("round {round} of {rounds}");
        } else {
            eprintln!("a round that does not count: Kafka's Java compiles what is asked of it often");
        }
        figures.consume.push(tokio::task::block_in_place(|| consume(&stage, rows))?);
        figures.insert.push(insert(&stage, events, &blocks, round).await?);
        figures.exactly_once.push(tidegate(&stage, events, ("exactly_once", "clean", round), rows).await?);
        figures.at_least_once.push(tidegate(&stage, events, ("at_least_once", "clean", round), rows).await?);
        let poisoned = tidegate(&stage, events, ("exactly_once", "poisoned", round), rows).await?;
        figures.poisoned.push(poisoned);
        if let Ok(command) = std::env::var("EXTERNAL") {
            figures.external.push(external(&stage, events, (&command, round), rows).await?);
        }
        if round == 0 {
            figures = Figures::default();
        }
    }
    stage.stop().await?;
    Ok(figures.report(rows))
}

fn record(events: Events, n: u64, poisoned: bool) -> Outgoing {
    let number = usize::try_from(n).unwrap_or(usize::MAX);
    let mut value = events.json(number);
    if poisoned && n.is_multiple_of(POISON_EVERY) {
        // As long as the others, and no JSON.
        value.replace_range(..1, "[");
    }
    Outgoing { partition: i32::try_from(number % N_PARTITIONS).unwrap_or(0), kind: None, value }
}

/// Runs of everything, by kind.
#[derive(Default)]
struct Figures {
    consume: Vec<f64>,
    insert: Vec<f64>,
    exactly_once: Vec<Race>,
    at_least_once: Vec<Race>,
    poisoned: Vec<Race>,
    external: Vec<Race>,
}

impl Figures {
    fn report(mut self, rows: u64) -> (Value, bool) {
        let (consume, insert) = (middle(&mut self.consume), middle(&mut self.insert));
        let exactly = median(&mut self.exactly_once);
        let (least, poisoned) = (median(&mut self.at_least_once), median(&mut self.poisoned));
        let rate = |race: Option<Race>| race.map_or(f64::NAN, |race| race.per_second());
        let share = rate(exactly) / consume.min(insert);
        let cost = |of: Option<Race>, than: Option<Race>| 1.0 - rate(of) / rate(than);
        let (once_cost, poison_cost) = (cost(exactly, least), cost(poisoned, exactly));
        let memory = exactly.map_or(u64::MAX, |race| race.memory_peak);
        let kept = [
            ("share_of_lower_limit", share >= SHARE_MIN),
            ("cost_of_exactly_once", once_cost < EXACTLY_ONCE_COST_MAX),
            ("cost_of_poison", poison_cost < POISON_COST_MAX),
            ("memory", memory < MEMORY_MAX),
        ];
        let report = json!({
            "records": rows, "bytes_each": BYTES, "rounds": self.exactly_once.len(),
            "limits": {"librdkafka_alone_per_second": consume.round(), "blocks_alone_per_second": insert.round()},
            "exactly_once": exactly.map(|race| race.json()),
            "at_least_once": least.map(|race| race.json()),
            "one_percent_poison": poisoned.map(|race| race.json()),
            "external": median(&mut self.external).map(|race| race.json()),
            "share_of_lower_limit": share, "cost_of_exactly_once": once_cost, "cost_of_poison": poison_cost,
            "kept": kept.iter().map(|(name, kept)| ((*name).to_owned(), json!(kept))).collect::<serde_json::Map<_, _>>(),
        });
        (report, kept.iter().all(|(_, kept)| *kept))
    }
}

fn median(races: &mut [Race]) -> Option<Race> {
    races.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    races.get(races.len() / 2).copied()
}

fn middle(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Reads the topic with a bare consumer and nothing else. Gives records a second, from the first one on.
fn consume(stage: &Stage, rows: u64) -> anyhow::Result<f64> {
    let consumer: BaseConsumer = stage.client().set("group.id", "limit").create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..N_PARTITIONS {
        partitions.add_partition_offset("clean", i32::try_from(partition)?, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let mut began = None;
    for _ in 0..rows {
        consumer.poll(PATIENCE).context("the topic ends early")?.context("read the topic")?;
        began.get_or_insert_with(Instant::now);
    }
    Ok(began.map_or(f64::NAN, |began| rows as f64 / began.elapsed().as_secs_f64()))
}

/// One block, encoded.
struct Prepared {
    native: bytes::Bytes,
    columns: Vec<String>,
    rows: usize,
}

/// A partition's blocks.
type Blocks = Vec<std::sync::Arc<Vec<Prepared>>>;

async fn prepare(stage: &Stage, events: Events, rows: u64) -> anyhow::Result<Blocks> {
    create_table(stage, events, "shape").await?;
    let table = stage.clickhouse.describe(DATABASE, "shape").await.map_err(|fault| anyhow!("{fault}"))?;
    let plan = Plan::compile(&table, None, &PlanOptions::default())?;
    let own = usize::try_from(rows)? / N_PARTITIONS;
    let mut all = Vec::new();
    for partition in 0..N_PARTITIONS {
        let mut blocks = Vec::new();
        for first in (0..own).step_by(BATCH) {
            let mut block = plan.block();
            let mut records = Records::new(TopicPartition::new("clean", i32::try_from(partition)?));
            for row in first..own.min(first + BATCH) {
                let json = events.json(row * N_PARTITIONS + partition);
                records.push(i64::try_from(row)?, None, None, Some(json.as_bytes()), []);
            }
            for record in records.iter() {
                plan.append(&mut block, records.source(), &record).map_err(|reject| anyhow!("{reject}"))?;
            }
            let mut native = Vec::new();
            block.encode(&mut native);
            let (columns, rows) = (block.columns().to_vec(), block.rows());
            blocks.push(Prepared { native: native.into(), columns, rows });
        }
        all.push(std::sync::Arc::new(blocks));
    }
    Ok(all)
}

/// Inserts the prepared blocks, a partition's one after the other, and nothing else. Gives rows a second.
async fn insert(stage: &Stage, events: Events, blocks: &Blocks, round: u64) -> anyhow::Result<f64> {
    let name = format!("inserted_{round}");
    create_table(stage, events, &name).await?;
    let table = stage.clickhouse.describe(DATABASE, &name).await.map_err(|fault| anyhow!("{fault}"))?;
    let table = std::sync::Arc::new(table);
    let began = Instant::now();
    let mut tasks = Vec::new();
    for (partition, blocks) in (0..).zip(blocks) {
        let (blocks, table) = (std::sync::Arc::clone(blocks), std::sync::Arc::clone(&table));
        let clickhouse = stage.clickhouse.clone();
        tasks.push(tokio::spawn(async move {
            for (n, prepared) in (0..).zip(blocks.iter()) {
                let range = OffsetRange::new(n, n + 1).context("a block has rows")?;
                let source = TopicPartition::new("clean", partition);
                let token = InsertToken::new("limit", &source, range, &table.name, PartId(0));
                let Prepared { native, columns, rows } = prepared;
                let block = EncodedBlock { native, columns, rows: *rows };
                let inserted = clickhouse.insert(&table, block, Some(&token)).await;
                inserted.map_err(|error| anyhow!("insert a prepared block: {error:?}"))?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let took = began.elapsed().as_secs_f64();
    let rows: usize = blocks.iter().flat_map(|blocks| blocks.iter()).map(|block| block.rows).sum();
    Ok(rows as f64 / took)
}

async fn tidegate(
    stage: &Stage,
    events: Events,
    (delivery, topic, round): (&str, &str, u64),
    rows: u64,
) -> anyhow::Result<Race> {
    let table = format!("{delivery}_{topic}_{round}");
    create_table(stage, events, &table).await?;
    let connector = format!(
        "  - {{name: {table}, topics: [{topic}], table: {table}, delivery: {delivery}, halt_when: never, batch: {{bytes_max: 16MiB}}}}"
    );
    let file = stage.file(&table, &connector)?;
    let poison = if topic == "poisoned" { rows.div_ceil(POISON_EVERY) } else { 0 };
    let race = race(stage, Sink::tidegate(&file)?, &table, rows - poison).await?;
    Ok(race)
}

async fn external(
    stage: &Stage,
    events: Events,
    (command, round): (&str, u64),
    rows: u64,
) -> anyhow::Result<Race> {
    let table = format!("external_{round}");
    create_table(stage, events, &table).await?;
    let mut variables = stage.addresses().to_vec();
    variables.extend([
        ("TOPIC", "clean".to_owned()),
        ("TABLE", table.clone()),
        ("RECORDS", rows.to_string()),
        ("GROUP", format!("external-{round}")),
    ]);
    let race = race(stage, Sink::shell(command, &variables)?, &table, rows).await?;
    Ok(race)
}

/// An empty table whose parts stay as they are inserted: merges are done by ClickHouse in its own time, whoever
/// inserted, and the longer a run takes the more of them would fall into it.
async fn create_table(stage: &Stage, events: Events, name: &str) -> anyhow::Result<()> {
    let table = format!("{DATABASE}.{name}");
    stage.execute(&events.create_table(&table)).await?;
    stage.execute(&format!("SYSTEM STOP MERGES {table}")).await
}
