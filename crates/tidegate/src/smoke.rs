//! `tidegate smoke`: the whole way once for each format, with things of its own names: a schema, a topic, a
//! table, rows.

mod format;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidegate_codec::WriterSchema;
use tidegate_config::{self as config, Surroundings};
use tidegate_kafka::{KafkaAdmin, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};
use tidegate_registry_client::{NewSchema, RegistryClient, SchemaName};
use tidegate_schema::{TableDefinition, quote};

use crate::api::Shown;
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::reach::Reach;
use crate::sink::{LOOK_EVERY, Sink, World};
use crate::tools::{Encoder, writer};
use crate::wire;
use format::{Format, RIGHT, prepared, record};

/// How many records go the whole way.
const RECORDS: u64 = 100;
const MEMORY: usize = 64 << 20;

/// Flags of `tidegate smoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate smoke --config sink.yaml
  tidegate smoke --config sink.yaml --format protobuf
  tidegate smoke --bootstrap localhost:19092 --registry http://localhost:8081 \\
      --clickhouse http://me:secret@localhost:8123 --database test

It makes subjects, topics and tables whose names begin with `tidegate_smoke_`, and deletes them again.
The consumer groups of those names are left to expire.")]
pub struct Flags {
    /// The formats to try; all if absent, without a registry `json` alone
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',')]
    format: Vec<Format>,
    /// The database of its tables; the file's, or `default`, if absent
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// How long the rows of a format may take
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
    format: Format,
    what: &'static str,
    millis: u128,
    /// What is wrong; nothing if it went well.
    wrong: Option<String>,
    /// What to do then.
    hint: Option<String>,
}

/// Whether something has to be deleted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    No,
    /// It was tried; an answer may have been lost.
    Perhaps,
    Yes,
}

/// One format's way.
struct Trial<'w> {
    format: Format,
    name: String,
    world: &'w World,
    timeout: Duration,
    steps: Vec<Step>,
    subject: Made,
    topic: Made,
    table: Made,
}

/// Runs the command.
///
/// # Errors
/// When nothing says where the systems are.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let database = match &flags.database {
        Some(database) => database.clone(),
        None => flags.reach.database()?,
    };
    let named = flags.format.iter().any(|format| format.schema().is_some());
    let registry = if named { Some(flags.reach.registry()?) } else { flags.reach.registry_if_any()? };
    let formats: Vec<Format> = match (flags.format.is_empty(), &registry) {
        (false, _) => Format::ALL.into_iter().filter(|format| flags.format.contains(format)).collect(),
        (true, Some(_)) => Format::ALL.to_vec(),
        (true, None) => vec![Format::Json],
    };
    let (kafka, clickhouse) = (flags.reach.kafka()?, flags.reach.clickhouse()?);
    let world = World { kafka, clickhouse, database, registry };
    let name = format!("tidegate_smoke_{:08x}", fastrand::u32(..));
    let mut report = Report { passed: true, name, steps: Vec::new() };
    for format in formats {
        let name = format!("{}_{}", report.name, format.word());
        let timeout = Duration::from_secs(flags.timeout);
        let (subject, topic, table) = (Made::No, Made::No, Made::No);
        let mut trial =
            Trial { format, name, world: &world, timeout, steps: Vec::new(), subject, topic, table };
        report.passed &= trial.forth().await;
        if !flags.keep {
            report.passed &= trial.back().await;
        }
        report.steps.append(&mut trial.steps);
    }
    print(speech, &report, |report, _| shown(report))?;
    Ok(if report.passed { Exit::Done } else { Exit::Failed })
}

impl Trial<'_> {
    /// Notes how a step went; gives what it came to.
    fn step<T>(
        &mut self,
        (what, since): (&'static str, Instant),
        result: anyhow::Result<T>,
        hint: String,
    ) -> Option<T> {
        let (wrong, done) = match result {
            Ok(done) => (None, Some(done)),
            Err(error) => (Some(format!("{error:#}")), None),
        };
        let hint = wrong.is_some().then_some(hint);
        self.steps.push(Step { format: self.format, what, millis: since.elapsed().as_millis(), wrong, hint });
        done
    }

    /// Everything up to the rows. Says whether it all went well.
    async fn forth(&mut self) -> bool {
        self.way().await.is_some()
    }

    async fn way(&mut self) -> Option<()> {
        let now = Instant::now;
        let database = &self.world.database;
        let mut schema = None;
        if let (Some((language, text)), Some(registry)) = (self.format.schema(), &self.world.registry) {
            let since = now();
            let registered = self.register(registry, (language, text)).await;
            let hint = "is the registry up, and may this user write to it? name another with `--registry URL`; \
                        `--format json` goes without one";
            schema = Some(self.step(("register a schema", since), registered, hint.to_owned())?);
        }
        let (encoder, definition) = self.step(
            ("read it", now()),
            prepared(schema),
            "report this: it is Tidegate's own schema".to_owned(),
        )?;
        let hint = format!(
            "is ClickHouse up, and may this user create tables in database `{database}`? name another with \
             `--clickhouse URL` and `--database NAME`"
        );
        let since = now();
        let made = self.make_table(&definition).await;
        self.step(("make a table", since), made, hint)?;
        let since = now();
        let made = self.make_topic().await;
        let hint = "is Kafka up, and may this user create topics? name another with `--bootstrap HOST:PORT`; TLS \
                    and SASL stand in the file of `--config`";
        self.step(("make a topic", since), made, hint.to_owned())?;
        let since = now();
        let published = self.publish(&encoder).await;
        let hint = "may this user write to the topic, and have the brokers room?";
        self.step(("publish 100 records", since), published, hint.to_owned())?;
        let since = now();
        let rows = self.rows().await;
        let hint = format!(
            "run it again with `--keep --log-level info`, and look at topic `{name}` and at tables `{name}` and \
             `{name}_dead_letters`",
            name = self.name
        );
        self.step(("find their rows in ClickHouse", since), rows, hint)
    }

    fn subject(&self) -> String {
        format!("{}-value", self.name)
    }

    async fn register(
        &mut self,
        registry: &RegistryClient,
        (language, schema): (&str, &str),
    ) -> anyhow::Result<(u32, WriterSchema)> {
        let schema =
            NewSchema { language: language.to_owned(), schema: schema.to_owned(), references: Vec::new() };
        self.subject = Made::Perhaps;
        let id = registry.register(&self.subject(), &schema).await?;
        self.subject = Made::Yes;
        Ok((id, writer(registry, &SchemaName::Id(id)).await?))
    }

    async fn make_topic(&mut self) -> anyhow::Result<()> {
        self.topic = Made::Perhaps;
        KafkaAdmin::connect(&self.world.kafka)?.ensure_topic(&TopicSpec::new(&self.name, 1)).await?;
        self.topic = Made::Yes;
        Ok(())
    }

    async fn make_table(&mut self, definition: &TableDefinition) -> anyhow::Result<()> {
        self.table = Made::Perhaps;
        let create = wire::table_ddl(&self.world.database, &self.name, definition);
        self.world.clickhouse.execute(&create).await?;
        self.table = Made::Yes;
        Ok(())
    }

    async fn publish(&self, encoder: &Encoder) -> anyhow::Result<()> {
        let producer = KafkaProducer::connect(&self.world.kafka, &ProducerOptions::default())?;
        for n in 0..RECORDS {
            let value = encoder.encode(&record(n)).map_err(anyhow::Error::msg).context("encode a record")?;
            let record = Outgoing { topic: &self.name, value: Some(&value), ..Outgoing::default() };
            producer.send(&record).await?;
        }
        let delivered = producer.flush(self.timeout).await?;
        if delivered.failed > 0 {
            bail!("{} of {RECORDS} records were not published", delivered.failed);
        }
        Ok(())
    }

    async fn rows(&self) -> anyhow::Result<()> {
        let connector = self.connector()?;
        let mut sink = Sink::start(self.world, std::slice::from_ref(&connector), &Shown::new(MEMORY))?;
        let found = tokio::select! {
            found = self.wait() => found,
            ended = sink.ended() => match ended {
                Some((_, Err(error))) => Err(error),
                Some((_, Ok(_))) | None => Err(anyhow::anyhow!("the connector stopped")),
            },
        };
        sink.stop().await;
        found
    }

    fn connector(&self) -> anyhow::Result<config::Connector> {
        let (name, format) = (&self.name, self.format.word());
        let text = format!(
            "kafka: {{brokers: [\"unused:1\"]}}\nclickhouse: {{urls: [\"http://unused:1\"]}}\n\
             registry: {{urls: [\"http://unused:1\"]}}\nmemory_max: 256MiB\nconnectors:\n  \
             - {{name: {name}, topics: [{name}], table: {name}, format: {format}, batch: {{linger: 50ms}}, \
             halt_when: never, dead_letters: {{table: {name}_dead_letters}}}}\n"
        );
        let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let surroundings = Surroundings { variable: &|_| None, read: &none };
        let file = config::parse_sink(Path::new("smoke.yaml"), &text, &surroundings);
        let file = file.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        file.connectors.into_iter().next().context("the connector is there")
    }

    /// A table of this trial, by its name or that with something behind it.
    fn named(&self, behind: &str) -> String {
        format!("{}.{}", quote(&self.world.database), quote(&format!("{}{behind}", self.name)))
    }

    /// Waits until the rows are there, and right.
    async fn wait(&self) -> anyhow::Result<()> {
        let sql = format!("SELECT count(), uniqExact(id), countIf({RIGHT}) FROM {}", self.named(""));
        let deadline = Instant::now() + self.timeout;
        let expected = format!("{RECORDS}\t{RECORDS}\t{RECORDS}");
        loop {
            let found = self.world.clickhouse.query(&sql).await.map(|text| text.trim().to_owned());
            let refused = self.refused().await;
            match &found {
                Ok(found) if *found == expected => return Ok(()),
                _ if refused.is_some() || Instant::now() >= deadline => {
                    let found = found.unwrap_or_else(|fault| fault.to_string());
                    bail!(
                        "rows, distinct ids, right rows are {}, expected {}{}",
                        found.replace('\t', ", "),
                        expected.replace('\t', ", "),
                        refused.unwrap_or_default()
                    )
                }
                Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Why records became dead letters, if some did.
    async fn refused(&self) -> Option<String> {
        let letters = self.named("_dead_letters");
        let sql = format!(
            "SELECT concat(toString(count()), ' dead letters: ', code, ', field `', path, '`, column `', column, \
             '`: expected ', any(expected), ', found ', any(found)) FROM {letters} GROUP BY code, path, column \
             ORDER BY count() DESC LIMIT 3"
        );
        // The table is there from the moment the connector has started.
        let told = self.world.clickhouse.query(&sql).await.ok()?;
        let told: String = told.lines().map(|line| format!("\n      {line}")).collect();
        (!told.is_empty()).then_some(told)
    }

    /// Deletes what was made, all that can be. Says whether it all went well.
    async fn back(&mut self) -> bool {
        let since = Instant::now();
        let mut results = Vec::new();
        if self.table != Made::No {
            for table in [self.named(""), self.named("_dead_letters")] {
                let dropped =
                    self.world.clickhouse.execute(&format!("DROP TABLE IF EXISTS {table} SYNC")).await;
                results.push((self.table, dropped.map_err(anyhow::Error::from)));
            }
        }
        if self.topic != Made::No {
            for topic in [self.name.clone(), format!("{}.dlq.v1", self.name)] {
                results.push((self.topic, delete_topic(self.world, &topic).await));
            }
        }
        if let (Made::Perhaps | Made::Yes, Some(registry)) = (self.subject, &self.world.registry) {
            let deleted = registry.delete_subject_for_good(&self.subject()).await;
            results.push((self.subject, deleted.map(drop).map_err(anyhow::Error::from)));
        }
        // What may never have been made need not be deleted.
        if results.iter().all(|(made, _)| *made != Made::Yes) {
            return true;
        }
        let failed =
            results.into_iter().find_map(|(made, result)| result.err().filter(|_| made == Made::Yes));
        let hint = format!("delete by hand what begins with `{}`", self.name);
        self.step(("clean up", since), failed.map_or(Ok(()), Err), hint).is_some()
    }
}

async fn delete_topic(world: &World, topic: &str) -> anyhow::Result<()> {
    Ok(KafkaAdmin::connect(&world.kafka)?.delete_topic(topic).await?)
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    let mut format = None;
    for step in &report.steps {
        if format.replace(step.format) != Some(step.format) {
            text.push_str(&format!("{}\n", step.format.word()));
        }
        let mark = if step.wrong.is_none() { "ok  " } else { "FAIL" };
        text.push_str(&format!("{mark}  {} ({} ms)\n", step.what, step.millis));
        if let Some(wrong) = &step.wrong {
            text.push_str(&format!("      {wrong}\n"));
        }
        if let Some(hint) = &step.hint {
            text.push_str(&format!("      hint: {hint}\n"));
        }
    }
    text.push_str(if report.passed { "PASS\n" } else { "FAIL\n" });
    text
}
