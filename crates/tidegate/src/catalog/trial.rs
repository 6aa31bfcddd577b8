//! `tidegate catalog test`: the catalog's own tests, through a real broker, sink and ClickHouse.
//!
//! Each event is produced to a topic of one partition, so that its offset is known, and is then asked for
//! there: the row of the table, or the dead letter. Everything has names of its own.

mod asking;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tidegate_catalog::language::{RecordFormat, Test};
use tidegate_catalog::{Catalog, Ddl, Event, FieldType, Scalar, event_of_test, full_sample, sample};
use tidegate_codec::{WriterSchema, json_to_avro};
use tidegate_config as config;
use tidegate_kafka::{KafkaAdmin, KafkaProducer, Outgoing, ProducerOptions};
use tidegate_registry_client::{RegistryClient, SchemaName};

use self::asking::{Came, Found};
use super::rollout::{Sites, connector, new_schema, subject};
use super::{Opened, Source, make, read, refused};
use crate::api::Shown;
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::reach::Reach;
use crate::sink::{LOOK_EVERY, Sink, World};
use crate::stack::{Stack, StackOptions};
use crate::tools::writer;
use crate::up::access::Access;
use crate::up::registry::SchemaRegistry;
use crate::up::world;

/// What the sink may buffer: tests are small.
const MEMORY: usize = 128 << 20;
/// How long Kafka may take to acknowledge.
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// Flags of `tidegate catalog test`.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    pub source: Source,
    /// Send two valid examples of every event as well, with the least fields and with all of them
    #[arg(long)]
    pub samples: bool,
    /// How long everything may take to arrive
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    #[command(flatten)]
    pub reach: Reach,
}

/// The key of the pseudonyms of a trial on a machine that has none.
const KEY: &str = "a key for trials, which hides nobody";

/// What became of the tests.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    passed: usize,
    failed: usize,
    seconds: f64,
    tests: Vec<Outcome>,
}

/// What became of one test.
#[derive(Debug, Serialize)]
struct Outcome {
    name: String,
    event: String,
    /// Where the test stands, or the event of an example.
    file: String,
    line: usize,
    column: usize,
    /// `row` or `dead_letter`.
    expected: &'static str,
    #[serde(flatten)]
    came: Came,
    passed: bool,
    /// What is not as the test says.
    wrong: Vec<String>,
}

/// An event that is to arrive.
struct Case<'a> {
    name: String,
    event: &'a Event,
    /// File, line, column.
    place: (String, usize, usize),
    value: Value,
    /// The test that says what becomes of it; an example becomes a row.
    test: Option<&'a Test>,
}

impl Case<'_> {
    fn accepted(&self) -> bool {
        self.test.is_none_or(|test| test.accept)
    }
}

/// What has been sent of a case.
enum Sent {
    /// The record at this offset of its topic.
    Record(i64),
    /// Nothing: no serializer makes a record of it.
    Unwritable(String),
}

/// Runs the command.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let file = &flags.source.catalog;
    let loaded = match read(file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return refused(file.display().to_string(), &diagnostics, speech),
    };
    let mut catalog = loaded.catalog.apart(&format!("test{:08x}", fastrand::u32(..)));
    // In one partition the order of sending is the order of offsets.
    catalog.file.defaults.kafka.partitions = 1;
    let generated = make(&catalog, file)?;
    let opened = Opened { file: file.clone(), catalog, generated, names: loaded.files };
    let cases = cases(&opened, flags.samples);
    let began = Instant::now();
    let place = Place::start(flags, &opened.catalog).await?;
    let tried = place.trial(&opened, &cases, Duration::from_secs(flags.timeout)).await;
    let left = place.end(&opened).await;
    let tests = tried?;
    left?;
    let failed = tests.iter().filter(|outcome| !outcome.passed).count();
    let report = Report {
        file: file.display().to_string(),
        passed: tests.len() - failed,
        failed,
        seconds: began.elapsed().as_secs_f64(),
        tests,
    };
    print(speech, &report, |report, _| shown(report))?;
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

fn cases(opened: &Opened, samples: bool) -> Vec<Case<'_>> {
    let catalog = &opened.catalog;
    let place = |at: tidegate_catalog::Position| {
        (opened.names.get(at.file).cloned().unwrap_or_default(), at.line, at.column)
    };
    let mut cases = Vec::new();
    for test in &catalog.file.tests {
        let Some(event) = catalog.events.get(&test.event.value) else { continue };
        let (name, place) = (test.name.value.clone(), place(test.name.at));
        cases.push(Case { name, event, place, value: event_of_test(catalog, event, test), test: Some(test) });
    }
    let located = catalog.file.events.located().filter(|_| samples);
    for (event, at) in located.filter_map(|(name, located)| Some((catalog.events.get(name)?, located.at))) {
        for (with, value) in
            [("the least fields", sample(catalog, event)), ("all fields", full_sample(catalog, event))]
        {
            let name = format!("an example of {} with {with}", event.name);
            cases.push(Case { name, event, place: place(at), value, test: None });
        }
    }
    cases
}

/// Where the tests run.
struct Place {
    world: World,
    ddl: Ddl,
    own: Option<Own>,
}

/// Engines of the tests' own, with their files.
struct Own {
    stack: Stack,
    registry: SchemaRegistry,
    _folder: tempfile::TempDir,
}

impl Place {
    /// What the flags name, or engines that go when the tests are done.
    async fn start(flags: &Flags, catalog: &Catalog) -> anyhow::Result<Self> {
        let reach = &flags.reach;
        if reach.config.is_some() || !reach.bootstrap.is_empty() || reach.clickhouse.is_some() {
            let registry = match catalog.file.defaults.kafka.format {
                RecordFormat::Json => reach.registry().ok(),
                RecordFormat::JsonSchema | RecordFormat::Avro => Some(reach.registry()?),
            };
            let (kafka, clickhouse) = (reach.kafka()?, reach.clickhouse()?);
            let world = World { kafka, clickhouse, database: catalog.database().to_owned(), registry };
            return Ok(Self { world, ddl: catalog.file.defaults.clickhouse.ddl, own: None });
        }
        let folder = tempfile::Builder::new().prefix("tidegate-catalog-").tempdir();
        let folder = folder.context("create a temporary folder")?;
        let stack = Stack::start(StackOptions::on_free_ports(folder.path())).await?;
        let registry = SchemaRegistry::start(&stack.kafka(), (&Access::Machine, None), 0).await?;
        let mut world = world(&stack, catalog.database()).await?;
        world.registry = Some(registry.client(None)?);
        let own = Own { stack, registry, _folder: folder };
        Ok(Self { world, ddl: Ddl::Single, own: Some(own) })
    }

    /// Rolls the catalog out, sends the events, waits until each has arrived, and asks for them.
    async fn trial(
        &self,
        opened: &Opened,
        cases: &[Case<'_>],
        patience: Duration,
    ) -> anyhow::Result<Vec<Outcome>> {
        let world = &self.world;
        let (kafka, clickhouse) = (&world.kafka, &world.clickhouse);
        let sites = Sites { kafka, clickhouse, registry: world.registry.as_ref(), ddl: self.ddl };
        sites.roll_out(opened).await?;
        let files = tempfile::tempdir().context("create a temporary folder")?;
        let connector = hasty(connector(opened, files.path(), Some(KEY))?);
        let sent = publish(world, opened, cases).await?;
        let shown = Shown::new(MEMORY);
        let sink = Sink::start(world, std::slice::from_ref(&connector), &shown)?;
        let n_records = sent.iter().filter(|sent| matches!(sent, Sent::Record(_))).count();
        let late = settled(&shown, n_records, patience).await;
        sink.stop().await;
        let found = Found::ask(clickhouse, &opened.catalog, cases).await?;
        let outcomes = cases.iter().zip(&sent).map(|(case, sent)| {
            let came = found.of(case, sent);
            outcome(&opened.catalog, case, (came, late.as_deref()))
        });
        Ok(outcomes.collect())
    }

    /// Takes away what the tests have made.
    async fn end(self, opened: &Opened) -> anyhow::Result<()> {
        if let Some(own) = self.own {
            // It would ask a Kafka that is gone for more.
            drop(own.registry);
            own.stack.discard().await;
            return Ok(());
        }
        let catalog = &opened.catalog;
        let cluster = match (self.ddl, &catalog.file.defaults.clickhouse.cluster) {
            (Ddl::OnCluster, Some(cluster)) => format!(" ON CLUSTER `{cluster}`"),
            (Ddl::OnCluster | Ddl::Single, _) => String::new(),
        };
        let drop = format!("DROP DATABASE IF EXISTS `{}`{cluster}", catalog.database());
        let mut failed = self.world.clickhouse.execute(&drop).await.err().map(anyhow::Error::from);
        let admin = KafkaAdmin::connect(&self.world.kafka).context("set up the kafka client")?;
        let letters = catalog.dead_letter_topic();
        for topic in catalog.events.values().map(|event| &event.topic).chain([&letters]) {
            failed = failed.or(admin.delete_topic(topic).await.err().map(anyhow::Error::from));
        }
        if let Some(registry) = &self.world.registry {
            for event in catalog.events.values() {
                let deleted = registry.delete_subject(&subject(event)).await;
                failed = failed.or(deleted.err().map(anyhow::Error::from));
            }
        }
        failed.map_or(Ok(()), |error| Err(error.context("take away what the tests have made")))
    }
}

/// The catalog's connector, but that it does not wait for more, and that refusals do not halt it: tests are
/// refused on purpose.
fn hasty(mut connector: config::Connector) -> config::Connector {
    connector.batch.linger = Duration::from_millis(10);
    connector.halt_when = config::HaltWhen::Never;
    connector
}

/// Sends the events. Gives what has been sent of each.
async fn publish(world: &World, opened: &Opened, cases: &[Case<'_>]) -> anyhow::Result<Vec<Sent>> {
    let producer = KafkaProducer::connect(&world.kafka, &ProducerOptions::default());
    let producer = producer.context("set up the kafka client")?;
    let mut next: HashMap<&str, i64> = HashMap::new();
    let mut sent = Vec::with_capacity(cases.len());
    let mut writers = Writers { opened, registry: world.registry.as_ref(), known: HashMap::new() };
    for case in cases {
        let value = match writers.encode(case).await? {
            Ok(value) => value,
            Err(why) => {
                sent.push(Sent::Unwritable(why));
                continue;
            }
        };
        let topic = case.event.topic.as_str();
        producer
            .send(&Outgoing { topic, partition: Some(0), value: Some(&value), ..Outgoing::default() })
            .await?;
        let offset = next.entry(topic).or_default();
        sent.push(Sent::Record(*offset));
        *offset += 1;
    }
    let delivered = producer.flush(FLUSH_MAX).await?;
    anyhow::ensure!(delivered.failed == 0, "{} events were not published", delivered.failed);
    Ok(sent)
}

/// Writes events in the catalog's format.
struct Writers<'a> {
    opened: &'a Opened,
    registry: Option<&'a RegistryClient>,
    known: HashMap<String, (u32, WriterSchema)>,
}

impl Writers<'_> {
    /// The record's value, or why a serializer would refuse the event.
    async fn encode(&mut self, case: &Case<'_>) -> anyhow::Result<Result<Vec<u8>, String>> {
        let format = self.opened.catalog.file.defaults.kafka.format;
        if format == RecordFormat::Json {
            return Ok(Ok(case.value.to_string().into_bytes()));
        }
        let (id, schema) = self.schema(case.event).await?;
        let payload = match schema {
            WriterSchema::Avro(schema) => {
                match json_to_avro(schema, &with_texts(case.event, &case.value).to_string()) {
                    Ok(datum) => datum,
                    Err(why) => return Ok(Err(why.to_string())),
                }
            }
            // A serializer that checks nothing sends it; the sink does check.
            WriterSchema::Json(_)
            | WriterSchema::Protobuf(_)
            | WriterSchema::Unusable(_)
            | WriterSchema::Unknown => case.value.to_string().into_bytes(),
        };
        Ok(Ok([&[0][..], &id.to_be_bytes(), &payload].concat()))
    }

    /// The schema of an event, with the number that the registry has given it.
    async fn schema(&mut self, event: &Event) -> anyhow::Result<&(u32, WriterSchema)> {
        if !self.known.contains_key(&event.name) {
            let registry = self.registry.context("records of this format need a schema registry")?;
            let schema = new_schema(self.opened, &event.name, &event.version().to_string())?;
            let id = registry.register(&subject(event), &schema).await?;
            let read = writer(registry, &SchemaName::Id(id)).await?;
            self.known.insert(event.name.clone(), (id, read));
        }
        self.known.get(&event.name).context("the schema has just been read")
    }
}

/// In Avro fields of type `json` and `u64` are texts.
fn with_texts(event: &Event, value: &Value) -> Value {
    let mut value = value.clone();
    for field in &event.fields {
        let text = match field.field.ty.value.required() {
            FieldType::Json | FieldType::Any => true,
            FieldType::Scalar(scalar) => *scalar == Scalar::Integer { signed: false, bits: 64 },
            FieldType::Optional(_) | FieldType::Array(_) | FieldType::Map(_) | FieldType::Object => false,
        };
        match value.get_mut(field.in_records()).filter(|_| text) {
            Some(Value::String(_) | Value::Null) | None => {}
            Some(member) => *member = Value::String(member.to_string()),
        }
    }
    value
}

/// Waits until the sink has settled every record. Gives what it waits for, if it is not in time.
async fn settled(shown: &Shown, n_records: usize, patience: Duration) -> Option<String> {
    let deadline = Instant::now() + patience;
    loop {
        let connectors = shown.connectors();
        let partitions = connectors.iter().flat_map(|connector| connector.partitions.values());
        let settled: i64 = partitions.clone().map(|partition| partition.settled).sum();
        if usize::try_from(settled).unwrap_or(0) >= n_records {
            return None;
        }
        if Instant::now() > deadline {
            let fault = partitions.clone().find_map(|partition| partition.fault.clone());
            let reason = connectors.iter().find_map(|connector| connector.reason.clone());
            let why = fault.or(reason).map_or_else(String::new, |why| format!(": {why}"));
            return Some(format!("{settled} of {n_records} events were settled within {patience:?}{why}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a test came to.
fn outcome(catalog: &Catalog, case: &Case<'_>, (came, late): (Came, Option<&str>)) -> Outcome {
    let mut wrong = came.against(catalog, case);
    if let (Came::Nothing, Some(late)) = (&came, late) {
        wrong.push(late.to_owned());
    }
    let (file, line, column) = case.place.clone();
    Outcome {
        name: case.name.clone(),
        event: case.event.name.clone(),
        file,
        line,
        column,
        expected: if case.accepted() { "row" } else { "dead_letter" },
        came,
        passed: wrong.is_empty(),
        wrong,
    }
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    for test in &report.tests {
        let mark = if test.passed { "ok  " } else { "FAIL" };
        // Writing into a `String` does not fail.
        let _ = writeln!(text, "{mark}  {}  ({}:{}:{})", test.name, test.file, test.line, test.column);
        if !test.passed {
            let _ = writeln!(text, "      came: {}", test.came);
            for wrong in &test.wrong {
                let _ = writeln!(text, "      {wrong}");
            }
        }
    }
    let n_all = report.passed + report.failed;
    let _ =
        writeln!(text, "{}: {n_all} tests, {} as stated, {} not", report.file, report.passed, report.failed);
    text
}
