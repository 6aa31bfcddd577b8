//! The ClickHouse of a run: a modern one in its process, or the two old nodes of a replicated cluster.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tidegate_engine::{Engine, EngineLibrary, EngineOptions};
use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::http::Warehouse;
use crate::kafka::Topic;
use crate::world::{BRIEF, DOOMED, EVENTS, Plan};

/// Which ClickHouse there is, and how the sinks reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServersPlan {
    /// One server of today, which dies.
    Embedded,
    /// Two replicated nodes of 18.16 behind HAProxy.
    Balanced,
    /// The same two, each by an address of its own.
    Replicas,
}

/// How long ClickHouse may take to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// The servers that run.
pub(crate) struct Servers {
    pub(crate) running: Running,
    plan: ServersPlan,
    /// Each holder of all rows, asked directly.
    warehouses: Vec<Warehouse>,
    upstream: SocketAddr,
}

pub(crate) enum Running {
    Embedded(Engine),
    Cluster(Mutex<Cluster>),
}

impl Servers {
    pub(crate) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        match plan.servers {
            ServersPlan::Embedded => Self::embedded(plan).await.context("start ClickHouse"),
            ServersPlan::Balanced | ServersPlan::Replicas => {
                Self::cluster(plan).await.context("start the cluster")
            }
        }
    }

    async fn embedded(plan: &Plan) -> anyhow::Result<Self> {
        let library = EngineLibrary::find(None).context("find it")?;
        let mut options = EngineOptions::new(plan.folder.join("clickhouse"), library);
        options.program.path = Some(plan.program.clone());
        let engine = Engine::start(options).await?;
        let credentials = engine.credentials();
        let warehouse = Warehouse {
            address: engine.http().to_string(),
            user: credentials.user.to_owned(),
            password: credentials.password().to_owned(),
        };
        let (upstream, warehouses) = (engine.http(), vec![warehouse]);
        Ok(Self { running: Running::Embedded(engine), plan: plan.servers, warehouses, upstream })
    }

    async fn cluster(plan: &Plan) -> anyhow::Result<Self> {
        let cluster = Cluster::start(&plan.folder.join("clickhouse")).await?;
        let warehouses = cluster.nodes().to_vec();
        let upstream = match plan.servers {
            ServersPlan::Embedded | ServersPlan::Balanced => cluster.balanced(),
            ServersPlan::Replicas => warehouses[0].address.clone(),
        };
        let (upstream, running) = (upstream.parse()?, Running::Cluster(Mutex::new(cluster)));
        Ok(Self { running, plan: plan.servers, warehouses, upstream })
    }

    /// Ends them.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self.running {
            Running::Embedded(engine) => engine.stop(STOP_GRACE).await.context("stop ClickHouse"),
            // Its processes are killed and waited for when it is dropped.
            Running::Cluster(_) => Ok(()),
        }
    }

    /// What the proxy stands before.
    pub(crate) const fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// Where the sinks send rows.
    pub(crate) fn urls(&self, proxy: SocketAddr) -> Vec<String> {
        let mut urls = vec![format!("http://{proxy}")];
        if self.plan == ServersPlan::Replicas {
            urls.extend(self.warehouses[1..].iter().map(|node| format!("http://{}", node.address)));
        }
        urls
    }

    /// One of them, for questions whose answer all have.
    pub(crate) fn warehouse(&self) -> &Warehouse {
        &self.warehouses[0]
    }

    /// Each server that must hold every row, with the name that the account has for it.
    pub(crate) fn holders(&self) -> Vec<(String, &Warehouse)> {
        let name = |at: usize| match self.running {
            Running::Embedded(_) => String::new(),
            Running::Cluster(_) => format!(" on node {}", at + 1),
        };
        self.warehouses.iter().enumerate().map(|(at, warehouse)| (name(at), warehouse)).collect()
    }

    /// What the sinks read: the cluster's runs are about ClickHouse alone.
    pub(crate) const fn topics(&self) -> &'static [Topic] {
        match self.running {
            Running::Embedded(_) => &[EVENTS, DOOMED, BRIEF],
            Running::Cluster(_) => &[EVENTS],
        }
    }

    /// How long a batch is gathered: parts of the cluster's tables are never merged, so there should be fewer.
    pub(crate) const fn linger(&self) -> &'static str {
        match self.running {
            Running::Embedded(_) => "250ms",
            Running::Cluster(_) => "1s",
        }
    }

    /// The insert that a row came with, as a number that grows.
    pub(crate) const fn place(&self) -> &'static str {
        match self.running {
            Running::Embedded(_) => "_block_number",
            Running::Cluster(_) => "splitByChar('_', _part)[2]",
        }
    }

    /// Tables whose rows know which insert brought them: that is what order is checked by.
    pub(crate) async fn create_tables(&self) -> anyhow::Result<()> {
        for warehouse in &self.warehouses {
            warehouse.query("CREATE DATABASE faults").await?;
            for topic in self.topics() {
                warehouse.query(&self.table(topic.name)).await?;
            }
        }
        Ok(())
    }

    fn table(&self, name: &str) -> String {
        let columns = "n UInt64, pad String, mark String, _topic String, _partition Int32, _offset Int64";
        match self.running {
            Running::Embedded(_) => format!(
                "CREATE TABLE faults.{name} ({columns}, CONSTRAINT welcome CHECK mark != 'refuse') \
                 ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000, \
                 enable_block_number_column = 1"
            ),
            // There are no constraints. A part keeps the number of its insert as long as nothing is merged.
            Running::Cluster(_) => format!(
                "CREATE TABLE faults.{name} ({columns}, refused UInt8 MATERIALIZED throwIf(mark = 'refuse')) \
                 ENGINE = ReplicatedMergeTree('/tables/{{shard}}/{name}', '{{replica}}') ORDER BY n \
                 SETTINGS replicated_deduplication_window = 10000, max_bytes_to_merge_at_max_space_in_pool = 1, \
                 parts_to_delay_insert = 100000, parts_to_throw_insert = 100000"
            ),
        }
    }

    /// Waits until every node has what any node has.
    pub(crate) async fn replicated(&self) -> anyhow::Result<()> {
        let Running::Cluster(cluster) = &self.running else { return Ok(()) };
        cluster.lock().await.well_again().await?;
        for node in &self.warehouses {
            for topic in self.topics() {
                node.query(&format!("SYSTEM SYNC REPLICA faults.{}", topic.name)).await?;
            }
        }
        Ok(())
    }
}
