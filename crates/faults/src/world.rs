//! Everything that a run stands on: Kafka, ClickHouse behind a proxy, three sinks, and the streams into three topics.
//!
//! `events` has the whole promise. `doomed` is deleted and created again: its last life has the whole promise, of the
//! lives before only a beginning. `brief` loses records to retention: what it lost must have been told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tidegate_testkit::HarmfulProxy;
use tokio::sync::Mutex;

use crate::blows::SESSION;
use crate::brokers::{Brokers, Layout, PASSWORD, USER};
use crate::kafka::{Kafka, Topic};
use crate::ledger::Kind;
use crate::servers::{Servers, ServersPlan};
use crate::sinks::Sink;
use crate::stream::{Flow, Stream};
use crate::tally::Tally;

pub(crate) const EVENTS: Topic = Topic { name: "events", partitions: 6 };
pub(crate) const DOOMED: Topic = Topic { name: "doomed", partitions: 2 };
pub(crate) const BRIEF: Topic = Topic { name: "brief", partitions: 2 };
pub(crate) const DEAD_LETTERS: Topic = Topic { name: "events.dlq.v1", partitions: 6 };

const SINKS: usize = 3;
/// A quarter of it goes to each of the two destructible topics.
const KAFKA_START: Duration = Duration::from_secs(180);

/// What a run is to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) layout: Layout,
    pub(crate) servers: ServersPlan,
    /// Records a second into `events`.
    pub(crate) rate: f64,
    /// Whether topics are never deleted.
    pub(crate) keep_topics: bool,
    pub(crate) keep_clickhouse: bool,
    /// The `tidegate` to run.
    pub(crate) program: PathBuf,
    /// Where everything is kept. Not there yet.
    pub(crate) folder: PathBuf,
}

/// The run's world. Its processes are killed when it is dropped.
pub(crate) struct World {
    pub(crate) tally: Tally,
    pub(crate) kafka: Kafka,
    pub(crate) brokers: Mutex<Brokers>,
    pub(crate) servers: Servers,
    pub(crate) proxy: HarmfulProxy,
    pub(crate) sinks: Mutex<Vec<Sink>>,
    pub(crate) doomed: Mutex<Doomed>,
    pub(crate) brief: Brief,
    pub(crate) plan: Plan,
    guests: AtomicUsize,
}

/// The topic that is deleted and created again.
pub(crate) struct Doomed {
    /// The ledger of each life.
    pub(crate) lives: Vec<PathBuf>,
    stream: Option<Stream>,
    next: u64,
}

/// The topic whose records retention takes.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(crate) topic: Topic,
    lows: StdMutex<BTreeMap<i32, i64>>,
}

impl World {
    /// Starts everything but the sinks and the streams.
    pub(crate) async fn start(plan: Plan) -> anyhow::Result<Self> {
        let folder = &plan.folder;
        for part in ["ledger", "sinks"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).with_context(|| format!("create {}", part.display()))?;
        }
        let tally = Tally::new();
        let (brokers, servers) =
            tokio::join!(start_brokers(folder.join("kafka"), plan.layout), Servers::start(&plan));
        let (brokers, servers) = (brokers?, servers?);
        let kafka = Kafka::at(&brokers.addresses());
        kafka.well(KAFKA_START).await?;
        for topic in servers.topics() {
            kafka.create(*topic).await?;
        }
        tally.say("kafka and clickhouse are up");
        let proxy = HarmfulProxy::start(servers.upstream()).await.context("start the proxy")?;
        servers.create_tables().await?;
        let world = Self {
            tally,
            brokers: Mutex::new(brokers),
            servers,
            proxy,
            sinks: Mutex::new(Vec::new()),
            doomed: Mutex::new(Doomed { lives: Vec::new(), stream: None, next: 0 }),
            brief: Brief { topic: BRIEF, lows: StdMutex::default() },
            guests: AtomicUsize::new(0),
            kafka,
            plan,
        };
        world.configure().await?;
        if world.topics().contains(&DOOMED) {
            world.doomed.lock().await.begin(&world)?;
        }
        Ok(world)
    }

    /// Ends every process, and waits until they write nothing any more.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { sinks, servers, brokers, .. } = self;
        drop(sinks);
        servers.stop().await?;
        drop(brokers);
        Ok(())
    }

    /// The topics that the sinks read.
    pub(crate) fn topics(&self) -> &'static [Topic] {
        self.servers.topics()
    }

    /// The group of the connector that reads a topic.
    pub(crate) fn group(topic: Topic) -> String {
        format!("tidegate-{}", topic.name)
    }

    /// Begins to publish to a topic that stays.
    pub(crate) fn publish(&self, topic: Topic) -> anyhow::Result<Stream> {
        let (rate, kind): (f64, fn(u64) -> Kind) =
            if topic == EVENTS { (self.plan.rate, Kind::of) } else { (self.plan.rate / 4.0, |_| Kind::Good) };
        Stream::start(&self.kafka, Flow { topic, rate, first: 0, kind }, &self.ledger(topic.name))
    }

    pub(crate) fn ledger(&self, name: &str) -> PathBuf {
        self.plan.folder.join("ledger").join(name)
    }

    /// One more member, not started.
    pub(crate) fn guest(&self) -> Sink {
        self.sink(format!("guest-{}", self.guests.fetch_add(1, Ordering::Relaxed) + 1))
    }

    pub(crate) fn sink_folder(&self) -> PathBuf {
        self.plan.folder.join("sinks")
    }

    fn sink(&self, name: String) -> Sink {
        let folder = self.sink_folder();
        Sink::new(name, &self.plan.program, &self.plan.folder.join("sink.yaml"), &folder)
    }

    /// Writes the sinks' file and starts them.
    async fn configure(&self) -> anyhow::Result<()> {
        let brokers = self.brokers.lock().await.addresses();
        let connector = |topic: Topic| {
            format!(
                "  - {{name: {name}, topics: [{name}], table: {name}, halt_when: never, \
                 batch: {{rows_max: 500, bytes_max: 8MiB, linger: {linger}}}, \
                 dead_letters: {{partitions: {partitions}, replication: 3}}}}\n",
                name = topic.name,
                partitions = topic.partitions,
                linger = self.servers.linger(),
            )
        };
        let connectors: String = self.topics().iter().copied().map(connector).collect();
        let warehouse = self.servers.warehouse();
        let text = format!(
            "kafka: {{brokers: {brokers:?}, sasl: {{mechanism: scram-sha-512, user: {USER}, \
             password: \"{PASSWORD}\"}}, properties: {{session.timeout.ms: \"{}\"}}}}\n\
             clickhouse: {{urls: {:?}, database: faults, user: \"{}\", password: \"{}\"}}\n\
             api: {{listen: \"127.0.0.1:0\"}}\nmemory_max: 128MiB\nconnectors:\n{connectors}",
            SESSION.as_millis(),
            self.servers.urls(self.proxy.address()),
            warehouse.user,
            warehouse.password,
        );
        let path = self.plan.folder.join("sink.yaml");
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        let mut sinks = self.sinks.lock().await;
        for number in 1..=SINKS {
            let mut sink = self.sink(format!("sink-{number}"));
            sink.start()?;
            sinks.push(sink);
        }
        Ok(())
    }
}

impl Doomed {
    fn begin(&mut self, world: &World) -> anyhow::Result<()> {
        let ledger = world.ledger(&format!("{}.{}", DOOMED.name, self.lives.len() + 1));
        let flow =
            Flow { topic: DOOMED, rate: world.plan.rate / 4.0, first: self.next, kind: |_| Kind::Good };
        self.stream = Some(Stream::start(&world.kafka, flow, &ledger)?);
        self.lives.push(ledger);
        Ok(())
    }

    /// Nothing more is published to this life.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        if let Some(stream) = self.stream.take() {
            self.next = stream.stop().await?;
        }
        Ok(())
    }

    /// Deletes the topic, waits, creates it, and publishes to it.
    pub(crate) async fn begin_anew(&mut self, world: &World, absent: Duration) -> anyhow::Result<()> {
        world.kafka.delete(DOOMED.name).await?;
        tokio::time::sleep(absent).await;
        world.kafka.create(DOOMED).await?;
        self.begin(world)
    }
}

impl Brief {
    /// Everything before these offsets is gone.
    pub(crate) fn remember(&self, lows: BTreeMap<i32, i64>) {
        self.lows.lock().unwrap_or_else(PoisonError::into_inner).extend(lows);
    }

    /// Before which offset the topic has lost records, by partition.
    pub(crate) fn lows(&self) -> BTreeMap<i32, i64> {
        self.lows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn start_brokers(folder: PathBuf, layout: Layout) -> anyhow::Result<Brokers> {
    tokio::task::spawn_blocking(move || Brokers::start(&folder, layout)).await?.context("start Kafka")
}

/// Removes a folder that a run has used.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
