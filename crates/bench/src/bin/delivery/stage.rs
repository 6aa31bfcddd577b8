//! Apache Kafka and the embedded ClickHouse, and what is asked of them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use tempfile::TempDir;
use tidegate_bench::Apache;
use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions};
use tidegate_kafka::{KafkaAdmin, KafkaOptions, TopicSpec};

use crate::cores::Cores;

/// The database of all tables.
pub(crate) const DATABASE: &str = "bench";

/// The running engines.
pub(crate) struct Stage {
    apache: Apache,
    engine: Engine,
    /// ClickHouse.
    pub(crate) clickhouse: Client,
    folder: TempDir,
}

impl Stage {
    /// Starts both, each with its cores.
    pub(crate) async fn start(cores: &Cores) -> anyhow::Result<Self> {
        // Beside the program, on a disk: where temporary files go may be memory.
        let program = std::env::current_exe()?;
        let folder = tempfile::tempdir_in(program.parent().context("a program is in a folder")?)?;
        let kafka = folder.path().join("kafka");
        let apache = tokio::task::spawn_blocking(move || Apache::start(&kafka)).await?;
        let apache = apache.context("start Apache Kafka")?;
        let library = EngineLibrary::find(None).context("find the embedded clickhouse")?;
        let engine = Engine::start(EngineOptions::new(folder.path().join("clickhouse"), library));
        let engine = engine.await.context("start the embedded clickhouse")?;
        cores.confine_clickhouse(engine.child_id().context("the engine has a process")?)?;
        let url = Url::parse(&format!("http://{}", engine.http()))?;
        let credentials = engine.credentials();
        let options = ClientOptions::new(url, credentials.user.clone(), Secret::new(credentials.password()));
        let stage = Self { apache, engine, clickhouse: Client::new(options)?, folder };
        stage.execute(&format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(stage)
    }

    /// Stops ClickHouse; Apache Kafka is killed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.engine.stop(Duration::from_secs(10)).await.context("stop the embedded clickhouse")
    }

    /// What another sink is told about the two, as variables of its environment.
    pub(crate) fn addresses(&self) -> [(&'static str, String); 5] {
        [
            ("BROKERS", self.apache.address.clone()),
            ("CLICKHOUSE_URL", format!("http://{}", self.engine.http())),
            ("CLICKHOUSE_USER", self.engine.credentials().user.clone()),
            ("CLICKHOUSE_PASSWORD", self.engine.credentials().password().to_owned()),
            ("DATABASE", DATABASE.to_owned()),
        ]
    }

    /// Settings of a bare Kafka client.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.apache.address);
        client
    }

    /// Creates a topic.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = TopicSpec::new(name, partitions);
        self.admin()?.ensure_topic(&topic).await.map_err(|fault| anyhow!("{fault}"))?;
        Ok(())
    }

    /// Asks Kafka.
    pub(crate) fn admin(&self) -> anyhow::Result<KafkaAdmin> {
        Ok(KafkaAdmin::connect(&KafkaOptions::new([self.apache.address.clone()]))?)
    }

    /// How many offsets a group has not committed.
    pub(crate) async fn lag(&self, group: &str, topic: &str) -> anyhow::Result<i64> {
        let lag = self.admin()?.group_lag(group, &[topic]).await.map_err(|fault| anyhow!("{fault}"))?;
        Ok(lag.values().map(tidegate_kafka::PartitionLag::lag).sum())
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        self.clickhouse.execute(sql).await.map_err(|fault| anyhow!("{fault}"))
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let answer = self.clickhouse.query(sql).await.map_err(|fault| anyhow!("{fault}"))?;
        answer.trim().parse().with_context(|| format!("{sql}: expected a number, found `{}`", answer.trim()))
    }

    /// A configuration file of `tidegate sink` with these connectors, a YAML list: without compression, as the
    /// prepared blocks are sent, and with a buffer that keeps the process below what is promised. No
    /// connector may have batches of more than a quarter of it.
    pub(crate) fn file(&self, name: &str, connectors: &str) -> anyhow::Result<PathBuf> {
        let [brokers, url, user, password, database] = self.addresses().map(|(_, value)| value);
        let text = format!(
            "kafka: {{brokers: [\"{brokers}\"]}}\n\
             clickhouse: {{urls: [\"{url}\"], database: {database}, user: {user}, password: \"{password}\", \
             compression: none}}\n\
             memory_max: 112MiB\napi: {{listen: \"127.0.0.1:0\"}}\nconnectors:\n{connectors}\n"
        );
        let path = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
