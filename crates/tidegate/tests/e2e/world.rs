//! A broker and a ClickHouse that a test can stop and start again where they were, with what a test asks
//! of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener, Tls};
use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_core::{Header, Records};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions};
use tidegate_kafka::{
    BoundedReader, KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, ReadFrom, TopicSpec,
};

use crate::process::{Process, eventually, text};

/// The engines outside of the program. The database is `e2e`.
pub struct World {
    broker: Option<Broker>,
    engine: Option<Engine>,
    kafka_at: SocketAddr,
    clickhouse_at: SocketAddr,
    password: String,
    pub clickhouse: Client,
    pub kafka: KafkaOptions,
    pub folder: TempDir,
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The one user of the broker's second listener, which asks for TLS and a password.
const USER: &str = "sink";
pub const PASSWORD: &str = "open, sesame";
const GRACE: Duration = Duration::from_secs(10);

/// Whether there is an engine to run; a test without one says so and ends.
pub fn engine_is_there() -> bool {
    match EngineLibrary::find(None) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// A client of a ClickHouse whose address has user and password in it.
pub fn client(address: &str) -> Client {
    let mut url = Url::parse(address).unwrap();
    let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    Client::new(ClientOptions::new(url, user, Secret::new(password))).unwrap()
}

impl World {
    pub async fn start() -> Option<Self> {
        if !engine_is_there() {
            return None;
        }
        let folder = TempDir::new().unwrap();
        let (broker, engine) = tokio::join!(start_broker(&folder, ANY_PORT), start_engine(&folder, ANY_PORT));
        let (kafka_at, clickhouse_at) = (broker.address(), engine.http());
        let password = engine.credentials().password().to_owned();
        let clickhouse = client(&format!("http://tidegate:{password}@{clickhouse_at}"));
        clickhouse.execute("CREATE DATABASE e2e").await.unwrap();
        Some(Self {
            broker: Some(broker),
            engine: Some(engine),
            kafka_at,
            clickhouse_at,
            password,
            clickhouse,
            kafka: KafkaOptions::new([kafka_at.to_string()]),
            folder,
        })
    }

    /// The broker's `host:port`.
    pub fn broker(&self) -> String {
        self.kafka_at.to_string()
    }

    pub async fn stop_broker(&mut self) {
        self.broker.take().unwrap().stop().await;
    }

    pub async fn start_broker(&mut self) {
        self.broker = Some(start_broker(&self.folder, self.kafka_at).await);
    }

    pub async fn stop_clickhouse(&mut self) {
        self.engine.take().unwrap().stop(GRACE).await.unwrap();
    }

    pub async fn start_clickhouse(&mut self) {
        self.engine = Some(start_engine(&self.folder, self.clickhouse_at).await);
    }

    /// A configuration file with these connectors, a YAML list.
    pub fn file(&self, name: &str, connectors: &str) -> PathBuf {
        let kafka = format!("brokers: [\"{}\"], properties: {{session.timeout.ms: \"6000\"}}", self.kafka_at);
        self.file_through(name, &kafka, connectors)
    }

    /// `host:port` of the broker's listener that asks for TLS and a password.
    pub fn guarded_broker(&self) -> String {
        self.broker.as_ref().unwrap().addresses()[1].to_string()
    }

    /// How a configuration file reaches the broker by TLS, with a password for SCRAM.
    pub fn guarded(&self, password: &str) -> String {
        let broker = self.guarded_broker();
        let ca = self.folder.path().join("tls/certificate.pem");
        let ca = ca.display();
        format!(
            "brokers: [\"{broker}\"], tls: {{ca: \"{ca}\"}}, \
             sasl: {{mechanism: scram-sha-512, user: {USER}, password: \"{password}\"}}"
        )
    }

    /// As [`Self::file`], with another way to the broker.
    pub fn file_through(&self, name: &str, kafka: &str, connectors: &str) -> PathBuf {
        let (clickhouse, password) = (self.clickhouse_at, &self.password);
        let text = format!(
            "kafka: {{{kafka}}}\n\
             clickhouse: {{urls: [\"http://{clickhouse}\"], database: e2e, user: tidegate, password: \"{password}\"}}\n\
             api: {{listen: \"127.0.0.1:0\"}}\nmemory_max: 128MiB\nconnectors:\n{connectors}\n"
        );
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `tidegate sink` with a file's connectors, and where its API is.
    pub async fn sink(&self, file: &std::path::Path) -> (Process, String) {
        let mut sink = Process::start(["sink", "--config", text(file), "--output", "json"]);
        let api = sink.json_line().await["api"].as_str().unwrap().to_owned();
        (sink, api)
    }

    pub async fn topic(&self, name: &str, partitions: i32) {
        let admin = KafkaAdmin::connect(&self.kafka).unwrap();
        admin.ensure_topic(&TopicSpec::new(name, partitions)).await.unwrap();
    }

    /// Publishes records, in order within each partition.
    pub async fn publish(&self, records: impl IntoIterator<Item = Outgoing<'_>>) {
        let producer = KafkaProducer::connect(&self.kafka, &ProducerOptions::default()).unwrap();
        for record in records {
            producer.send(&record).await.unwrap();
        }
        assert_eq!(producer.flush(Duration::from_secs(60)).await.unwrap().failed, 0);
    }

    /// Waits until a group has settled all that a topic holds.
    pub async fn settled(&self, group: &str, topic: &str) {
        eventually(async || {
            let admin = KafkaAdmin::connect(&self.kafka).unwrap();
            let committed = admin.committed(group, &[topic]).await.map_err(|fault| fault.to_string())?;
            let lag = admin.group_lag(group, &[topic]).await.map_err(|fault| fault.to_string())?;
            let behind: Vec<_> = lag.iter().filter(|(_, lag)| lag.lag() > 0).collect();
            let in_doubt: Vec<_> = committed
                .iter()
                .filter(|(_, committed)| {
                    committed.checkpoint.as_ref().is_ok_and(|checkpoint| checkpoint.intent.is_some())
                })
                .collect();
            if behind.is_empty() && in_doubt.is_empty() {
                Ok(())
            } else {
                Err(format!("behind: {behind:?}, in doubt: {in_doubt:?}"))
            }
        })
        .await;
    }

    /// All committed records of a topic.
    pub async fn read(&self, topic: &str) -> Vec<Records> {
        let mut reader = BoundedReader::open(&self.kafka, topic, ReadFrom::Beginning).unwrap();
        let mut all = Vec::new();
        while let Some(records) = reader.next().await {
            all.push(records.unwrap());
        }
        all
    }

    /// Where the dead letters of a topic come from, `(partition, offset)`, sorted.
    pub async fn letters(&self, topic: &str) -> Vec<(i32, i64)> {
        let mut places = Vec::new();
        for records in self.read(topic).await {
            for record in records.iter() {
                let letter = tidegate_kafka::dead_letter::DeadLetterRecord::parse(record).unwrap();
                places.push((letter.provenance.source.partition, letter.provenance.offset));
            }
        }
        places.sort_unstable();
        places
    }

    /// Rows of a query as JSON.
    pub async fn rows(&self, sql: &str) -> Vec<BTreeMap<String, serde_json::Value>> {
        self.clickhouse.rows(sql).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    }

    /// The one number that a query gives.
    pub async fn number(&self, sql: &str) -> u64 {
        let answer = self.clickhouse.query(sql).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
        answer.trim().parse().unwrap_or_else(|_| panic!("{sql}: {answer}"))
    }
}

async fn start_broker(folder: &TempDir, listen: SocketAddr) -> Broker {
    let loopback = Listener::loopback(listen.port());
    let mut options = BrokerOptions::new(folder.path().join("kafka"), loopback);
    let tls = Tls::self_signed(&folder.path().join("tls"), &["127.0.0.1"]).unwrap();
    options.listeners.push(Listener::guarded(ANY_PORT, tls));
    options.users.set(USER, PASSWORD).unwrap();
    Broker::start(options).await.unwrap()
}

async fn start_engine(folder: &TempDir, listen: SocketAddr) -> Engine {
    let library = EngineLibrary::find(None).unwrap();
    let mut options = EngineOptions::new(folder.path().join("clickhouse"), library);
    options.http = listen;
    options.program.path = Some(env!("CARGO_BIN_EXE_tidegate").into());
    Engine::start(options).await.unwrap()
}

/// A record with a value, as most are.
pub fn record<'a>(
    topic: &'a str,
    partition: i32,
    value: &'a [u8],
    headers: &'a [Header<'a>],
) -> Outgoing<'a> {
    Outgoing { topic, partition: Some(partition), value: Some(value), headers, ..Outgoing::default() }
}
