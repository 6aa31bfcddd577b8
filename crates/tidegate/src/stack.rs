//! The single machine's engines: the broker in this process, ClickHouse in a child process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions};
use tidegate_kafka::KafkaOptions;

/// Where the engines listen and keep their data. A port of 0 takes a free one.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The folder of both engines' data.
    pub data_dir: PathBuf,
    /// The Kafka protocol's port.
    pub kafka_port: u16,
    /// ClickHouse's HTTP port.
    pub clickhouse_port: u16,
    /// ClickHouse's native port; `None` keeps it shut.
    pub clickhouse_native_port: Option<u16>,
}

/// The running engines.
pub struct Stack {
    broker: Broker,
    engine: Engine,
}

/// How long ClickHouse may take to finish its queries when it is stopped.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

impl Stack {
    /// Starts both engines and waits until they answer.
    ///
    /// # Errors
    /// When a port or the data folder is in use, or ClickHouse's library is not there.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        let StackOptions { data_dir, kafka_port, clickhouse_port, clickhouse_native_port } = options;
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("create data folder `{}`", data_dir.display()))?;
        let library = EngineLibrary::find(None).context("find the embedded clickhouse")?;
        let mut engine = EngineOptions::new(data_dir.join("clickhouse"), library);
        engine.http = local(clickhouse_port);
        engine.tcp = clickhouse_native_port.map(local);
        let broker = BrokerOptions::new(data_dir.join("kafka"), Listener::loopback(kafka_port));
        let (broker, engine) = tokio::join!(Broker::start(broker), Engine::start(engine));
        let broker = broker.context("start the embedded broker")?;
        let engine = engine.context("start the embedded clickhouse")?;
        Ok(Self { broker, engine })
    }

    /// `host:port` of the Kafka protocol.
    #[must_use]
    pub fn kafka_address(&self) -> String {
        self.broker.address().to_string()
    }

    /// How to reach the broker.
    #[must_use]
    pub fn kafka(&self) -> KafkaOptions {
        KafkaOptions::new([self.kafka_address()])
    }

    /// The URL of ClickHouse's HTTP interface.
    #[must_use]
    pub fn clickhouse_url(&self) -> String {
        format!("http://{}", self.engine.http())
    }

    /// `host:port` of ClickHouse's native protocol.
    #[must_use]
    pub fn clickhouse_native(&self) -> Option<String> {
        self.engine.tcp().map(|address| address.to_string())
    }

    /// The embedded ClickHouse.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops both engines, ClickHouse first: nothing writes to it any more.
    ///
    /// # Errors
    /// When ClickHouse had to be killed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.engine.stop(ENGINE_GRACE).await.context("stop the embedded clickhouse");
        self.broker.stop().await;
        stopped
    }
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
