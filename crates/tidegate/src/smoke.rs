//! `tidegate smoke`: the whole way once, with things of its own names: a schema, a topic, a table, rows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidegate_codec::{PlanOptions, WriterSchema, json_to_avro};
use tidegate_config::{self as config, Surroundings};
use tidegate_kafka::{KafkaAdmin, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};
use tidegate_registry_client::{NewSchema, RegistryClient, SchemaName};
use tidegate_schema::quote;

use crate::api::Shown;
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::reach::Reach;
use crate::sink::{LOOK_EVERY, Sink, World};
use crate::tools::writer;
use crate::wire;

/// How many records go the whole way.
const RECORDS: u64 = 100;
const MEMORY: usize = 64 << 20;

/// Flags of `tidegate smoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate smoke --config sink.yaml
  tidegate smoke --bootstrap localhost:19092 --registry http://localhost:8081 \\
      --clickhouse http://me:secret@localhost:8123 --database test

It makes a subject, two topics and two tables whose names begin with `tidegate_smoke_`, and deletes them
again. The consumer group of that name is left to expire.")]
pub struct Flags {
    /// The database of its tables; the file's, or `default`, if absent
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// How long the rows may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    /// Leave everything that was made where it is
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// What happened.
#[derive(Debug, Serialize)]
struct Report {
    passed: bool,
    name: String,
    steps: Vec<Step>,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Step {
    what: &'static str,
    millis: u128,
    /// What is wrong; nothing if it went well.
    wrong: Option<String>,
}

const SCHEMA: &str = r#"{"type":"record","name":"Smoke","namespace":"tidegate","fields":[
    {"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}}]}"#;

/// What one run works with.
struct Smoke {
    name: String,
    world: World,
    registry: RegistryClient,
    timeout: Duration,
}

/// Runs the command.
///
/// # Errors
/// When nothing says where the systems are.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let registry = flags.reach.registry()?;
    let database = match &flags.database {
        Some(database) => database.clone(),
        None => flags.reach.database()?,
    };
    let smoke = Smoke {
        name: format!("tidegate_smoke_{:08x}", fastrand::u32(..)),
        world: World {
            kafka: flags.reach.kafka()?,
            clickhouse: flags.reach.clickhouse()?,
            database,
            registry: Some(registry.clone()),
        },
        registry,
        timeout: Duration::from_secs(flags.timeout),
    };
    let mut report = Report { passed: false, name: smoke.name.clone(), steps: Vec::new() };
    report.passed = smoke.forth(&mut report.steps).await;
    if !flags.keep {
        let cleaned = smoke.back().await;
        report.passed &= step(&mut report.steps, ("clean up", Instant::now()), cleaned).is_some();
    }
    print(speech, &report, |report, _| shown(report))?;
    Ok(if report.passed { Exit::Done } else { Exit::Failed })
}

/// Notes how a step went; gives what it came to.
fn step<T>(
    steps: &mut Vec<Step>,
    (what, since): (&'static str, Instant),
    result: anyhow::Result<T>,
) -> Option<T> {
    let (wrong, done) = match result {
        Ok(done) => (None, Some(done)),
        Err(error) => (Some(format!("{error:#}")), None),
    };
    steps.push(Step { what, millis: since.elapsed().as_millis(), wrong });
    done
}

impl Smoke {
    /// Everything up to the rows. Says whether it all went well.
    async fn forth(&self, steps: &mut Vec<Step>) -> bool {
        let now = Instant::now;
        let Some(id) = step(steps, ("register a schema", now()), self.register().await) else { return false };
        let made = self.make(id).await;
        let Some(()) = step(steps, ("make a topic and a table", now()), made) else { return false };
        let published = self.publish(id).await;
        let Some(()) = step(steps, ("publish 100 records", now()), published) else { return false };
        let since = now();
        let rows = self.rows().await;
        step(steps, ("find their rows in ClickHouse", since), rows).is_some()
    }

    fn subject(&self) -> String {
        format!("{}-value", self.name)
    }

    async fn register(&self) -> anyhow::Result<u32> {
        let schema =
            NewSchema { language: "AVRO".to_owned(), schema: SCHEMA.to_owned(), references: Vec::new() };
        Ok(self.registry.register(&self.subject(), &schema).await?)
    }

    async fn schema(&self, id: u32) -> anyhow::Result<WriterSchema> {
        writer(&self.registry, &SchemaName::Id(id)).await
    }

    async fn make(&self, id: u32) -> anyhow::Result<()> {
        KafkaAdmin::connect(&self.world.kafka)?.ensure_topic(&TopicSpec::new(&self.name, 1)).await?;
        let columns = self.schema(id).await?.columns(&PlanOptions::default());
        let create = wire::table_ddl(&self.world.database, &self.name, &wire::definition(&columns));
        self.world.clickhouse.execute(&create).await?;
        Ok(())
    }

    async fn publish(&self, id: u32) -> anyhow::Result<()> {
        let WriterSchema::Avro(schema) = self.schema(id).await? else { bail!("the schema is not Avro") };
        let producer = KafkaProducer::connect(&self.world.kafka, &ProducerOptions::default())?;
        for n in 0..RECORDS {
            let note = if n % 2 == 0 { "null".to_owned() } else { format!("\"note {n}\"") };
            let text = format!(
                "{{\"id\":{n},\"at\":{},\"note\":{note},\"amount\":\"{n}.25\"}}",
                1_700_000_000_000 + n
            );
            let datum = json_to_avro(&schema, &text).context("encode a record")?;
            let value = [&[0][..], &id.to_be_bytes(), &datum].concat();
            let record = Outgoing { topic: &self.name, value: Some(&value), ..Outgoing::default() };
            producer.send(&record).await?;
        }
        producer.flush(self.timeout).await?;
        Ok(())
    }

    async fn rows(&self) -> anyhow::Result<()> {
        let connector = self.connector()?;
        let mut sink = Sink::start(&self.world, std::slice::from_ref(&connector), &Shown::new(MEMORY))?;
        let found = tokio::select! {
            found = self.wait() => found,
            ended = sink.ended() => match ended {
                Some((_, Err(error))) => Err(error),
                Some((_, Ok(_))) | None => Err(anyhow::anyhow!("the connector stopped: too many dead letters")),
            },
        };
        sink.stop().await;
        found
    }

    fn connector(&self) -> anyhow::Result<config::Connector> {
        let name = &self.name;
        let text = format!(
            "kafka: {{brokers: [\"unused:1\"]}}\nclickhouse: {{urls: [\"http://unused:1\"]}}\n\
             registry: {{urls: [\"http://unused:1\"]}}\nmemory_max: 256MiB\nconnectors:\n  \
             - {{name: {name}, topics: [{name}], table: {name}, format: avro, batch: {{linger: 50ms}}, \
             dead_letters: {{table: {name}_dead_letters}}}}\n"
        );
        let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let surroundings = Surroundings { variable: &|_| None, read: &none };
        let file = config::parse_sink(Path::new("smoke.yaml"), &text, &surroundings);
        let file = file.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        file.connectors.into_iter().next().context("the connector is there")
    }

    /// Waits until the rows are there, and right.
    async fn wait(&self) -> anyhow::Result<()> {
        let table = format!("{}.{}", quote(&self.world.database), quote(&self.name));
        let right = "toUnixTimestamp64Milli(at) = 1700000000000 + id AND amount = id + toDecimal32('0.25', 2) \
                     AND ifNull(note, '') = if(id % 2 = 0, '', concat('note ', toString(id)))";
        let sql = format!("SELECT count(), uniqExact(id), countIf({right}) FROM {table}");
        let deadline = Instant::now() + self.timeout;
        let expected = format!("{RECORDS}\t{RECORDS}\t{RECORDS}");
        loop {
            let found = self.world.clickhouse.query(&sql).await.map(|text| text.trim().to_owned());
            match &found {
                Ok(found) if *found == expected => return Ok(()),
                _ if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
                Ok(found) => {
                    let seconds = self.timeout.as_secs();
                    bail!(
                        "after {seconds} s: rows, distinct ids, right rows are {found}, expected {expected}"
                    )
                }
                Err(fault) => bail!("{fault}"),
            }
        }
    }

    /// Deletes what was made, all that can be; tells of the first failure.
    async fn back(&self) -> anyhow::Result<()> {
        let mut failed = None;
        for table in [self.name.clone(), format!("{}_dead_letters", self.name)] {
            let drop = format!("DROP TABLE IF EXISTS {}.{} SYNC", quote(&self.world.database), quote(&table));
            let dropped = self.world.clickhouse.execute(&drop).await;
            failed = failed.or(dropped.err().map(anyhow::Error::from));
        }
        let admin = KafkaAdmin::connect(&self.world.kafka)?;
        let letters = format!("{}.dlq.v1", self.name);
        for topic in [self.name.as_str(), letters.as_str()] {
            failed = failed.or(admin.delete_topic(topic).await.err().map(anyhow::Error::from));
        }
        let deleted = self.registry.delete_subject(&self.subject()).await;
        failed = failed.or(deleted.err().map(anyhow::Error::from));
        failed.map_or(Ok(()), Err)
    }
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    for step in &report.steps {
        let mark = if step.wrong.is_none() { "ok  " } else { "FAIL" };
        text.push_str(&format!("{mark}  {} ({} ms)\n", step.what, step.millis));
        if let Some(wrong) = &step.wrong {
            text.push_str(&format!("      {wrong}\n"));
        }
    }
    text.push_str(if report.passed { "PASS\n" } else { "FAIL\n" });
    text
}
