//! `tidegate demo`: the incident that started this project, on real input, doing no harm.
//!
//! GitHub's webhook payloads go to a topic of three partitions, with the incident's poison messages at
//! their places; a connector brings them into one table per event. Every figure of the report is
//! asked of ClickHouse and Kafka afterwards.

mod account;
mod payloads;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tidegate_config::{self as config, Surroundings};
use tidegate_core::Header;
use tidegate_kafka::{KafkaAdmin, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};
use tidegate_schema::{FormatMode, SchemaDocument};

use self::payloads::{EVENT_HEADER, Input, PARTITIONS, publication, with_bad_time};
use crate::api::{Api, Shown};
use crate::cli::Demo;
use crate::render::{Progress, Step};
use crate::report::{DemoReport, NextStep};
use crate::sink::{LOOK_EVERY, Sink, World};
use crate::stack::{Stack, StackOptions};
use crate::up::{DEFAULT_MEMORY_MAX, endpoints, world};

/// The connector, as a user would write it.
const CONNECTOR: &str = include_str!("demo/connector.yaml");
const TOPIC: &str = "github.webhooks";
const DATABASE: &str = "demo";
/// A record is settled in seconds; this is for a machine that is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the demo and tells what became of its records.
///
/// # Errors
/// When the engines do not start, the input is not there, or the sink does not get on.
pub async fn run(flags: &Demo) -> anyhow::Result<DemoReport> {
    let folder = Folder::new(flags)?;
    let input = Input::find()?;
    let mut progress = Progress::on_stderr();
    progress.show(Step::new("starting Kafka and ClickHouse"), Instant::now());
    let stack = Stack::start(StackOptions::on_free_ports(&folder.path)).await?;
    let shown = Shown::new(DEFAULT_MEMORY_MAX);
    let api = Api::start(([127, 0, 0, 1], 0).into(), shown.clone(), None).await?;
    let world = world(&stack, DATABASE).await?;
    let connector = connector(&input)?;
    let published = publish(&world, &input, flags.records.unwrap_or(0), &mut progress).await?;
    let began = Instant::now();
    let sink = Sink::start(&world, std::slice::from_ref(&connector), &shown)?;
    settle(sink, &shown, published, &mut progress).await?;
    let seconds = began.elapsed().as_secs_f64();
    progress.show(Step::new("asking ClickHouse and Kafka"), Instant::now());
    let account = account::Account::take(&world, &connector, TOPIC).await;
    progress.clear();
    let account = account?;
    let report = DemoReport {
        records: account.records,
        accounted: account.accounted(),
        rows: account.rows,
        dead_letters: account.dead_letters,
        lag: account.lag,
        examples: account.examples,
        endpoints: endpoints(&stack, (&format!("http://{}", api.address()), ""), &folder.path),
        dead_letter_topic: connector.dead_letter_topic(),
        seconds,
        next: next_steps(flags),
    };
    drop(api);
    stack.stop().await?;
    Ok(report)
}

/// The demo's files: a folder that was named, or one that goes when the demo is done.
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn new(flags: &Demo) -> anyhow::Result<Self> {
        let Some(path) = &flags.data_dir else {
            let temporary = tempfile::Builder::new().prefix("tidegate-demo-").tempdir();
            let temporary = temporary.context("create a temporary folder")?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        if path.join("kafka").exists() {
            bail!("`{}` holds an earlier demo's data; name another folder or remove it", path.display());
        }
        Ok(Self { path: path.clone(), _temporary: None })
    }
}

fn connector(input: &Input) -> anyhow::Result<config::Connector> {
    let text = CONNECTOR.replace("SCHEMA_FILE", &input.schema_file().display().to_string());
    let surroundings = Surroundings { variable: &|_| None, read: &|path| std::fs::read_to_string(path) };
    let file = config::parse_up(Path::new("demo.yaml"), &text, &surroundings)
        .map_err(|diagnostics| anyhow::anyhow!("{diagnostics}"))?;
    file.connectors.into_iter().next().context("the demo's file has a connector")
}

async fn publish(
    world: &World,
    input: &Input,
    n_records: usize,
    progress: &mut Progress<std::io::Stderr>,
) -> anyhow::Result<u64> {
    let payloads = input.payloads()?;
    let schemas = SchemaDocument::parse(&std::fs::read_to_string(input.schema_file())?)?;
    let valid = |event: &str, json: &serde_json::Value| {
        let pointers = [format!("#/definitions/{event}_event"), format!("#/definitions/{event}$event")];
        let schema = pointers.iter().find_map(|pointer| schemas.schema_at(pointer, FormatMode::Assert).ok());
        schema.is_some_and(|schema| schema.passes(json))
    };
    let bad_time = with_bad_time(&payloads, valid)?;
    let admin = KafkaAdmin::connect(&world.kafka)?;
    admin.ensure_topic(&TopicSpec::new(TOPIC, i32::try_from(PARTITIONS)?)).await?;
    let producer = KafkaProducer::connect(&world.kafka, &ProducerOptions::default())?;
    let planned: Vec<_> = publication(&payloads, &bad_time, n_records).collect();
    let total = planned.len() as u64;
    for (done, record) in (0..).zip(&planned) {
        let header = record.event.map(|event| Header { name: EVENT_HEADER, value: Some(event.as_bytes()) });
        let outgoing = Outgoing {
            topic: TOPIC,
            partition: Some(record.partition),
            value: Some(record.value),
            headers: header.as_slice(),
            ..Outgoing::default()
        };
        producer.send(&outgoing).await?;
        progress.show(Step::counted("publishing events", done, total), Instant::now());
    }
    let delivered = producer.flush(PATIENCE).await?;
    if delivered.failed > 0 {
        bail!("{} of {total} records were not published", delivered.failed);
    }
    Ok(total)
}

/// Waits until every record is settled, then stops the sink.
async fn settle(
    mut sink: Sink,
    shown: &Shown,
    published: u64,
    progress: &mut Progress<std::io::Stderr>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let connectors = shown.connectors();
        let settled: i64 = connectors.iter().flat_map(|c| c.partitions.values()).map(|p| p.settled).sum();
        let settled = u64::try_from(settled).unwrap_or(0);
        progress.show(Step::counted("from Kafka into ClickHouse", settled, published), Instant::now());
        if settled >= published {
            break;
        }
        if Instant::now() > deadline {
            bail!("{settled} of {published} records were settled in {PATIENCE:?}: {connectors:?}");
        }
        tokio::select! {
            ended = sink.ended() => {
                if let Some((name, ended)) = ended {
                    bail!("connector `{name}` ended early: {:?}", ended?);
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    sink.stop().await;
    Ok(())
}

fn next_steps(flags: &Demo) -> Vec<NextStep> {
    let step = |title: &str, command: String| NextStep { title: title.to_owned(), command };
    let kept = match &flags.data_dir {
        Some(folder) => step(
            "Look around in these tables and topics",
            format!("tidegate up --data-dir {}", folder.display()),
        ),
        None => step(
            "Keep the tables and topics, and look around",
            "tidegate demo --data-dir demo-data".to_owned(),
        ),
    };
    vec![
        kept,
        step("The same report for programs", "tidegate demo --output json".to_owned()),
        step("Your own Kafka and ClickHouse", "tidegate sink --config sink.yaml".to_owned()),
    ]
}
