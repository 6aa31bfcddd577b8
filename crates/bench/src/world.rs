//! The embedded Kafka and ClickHouse, a topic filled once, and the blocks that its records become.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_codec::{Plan, PlanOptions};
use tidegate_core::{Records, TopicPartition};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions};
use tidegate_kafka::{KafkaAdmin, KafkaOptions, TopicSpec};
use tidegate_native::Table;
use tidegate_schema::JsonSchema;

use tidegate_bench::Events;

use crate::cost;

/// The database of all tables.
pub const DATABASE: &str = "bench";
/// Partitions of each topic.
pub const N_PARTITIONS: usize = 3;

/// The running engines.
pub struct World {
    broker: Broker,
    engine: Engine,
    /// The process of the embedded ClickHouse.
    pub engine_id: u32,
    /// ClickHouse.
    pub clickhouse: Arc<Client>,
    // Removed last.
    _folder: TempDir,
}

/// One size's records: how many a partition has, and in how many batches they arrive.
#[derive(Clone)]
pub struct Load {
    /// The topic.
    pub topic: String,
    /// The events.
    pub events: Events,
    /// The events' schema.
    pub schema: Arc<JsonSchema>,
    /// Records of one partition; a multiple of `batch_rows`.
    pub partition_rows: usize,
    /// Records of one batch.
    pub batch_rows: usize,
    /// The JSON of all records, in bytes.
    pub bytes: usize,
    /// CPU time of decoding and encoding all records.
    pub decoding: Duration,
    /// Prepared blocks by partition.
    pub blocks: Vec<Vec<Prepared>>,
}

/// One block, encoded.
#[derive(Clone)]
pub struct Prepared {
    /// The block's bytes.
    pub native: Bytes,
    /// Its columns.
    pub columns: Vec<String>,
}

impl Load {
    /// Bytes of an event.
    pub fn size(&self) -> usize {
        self.bytes / self.rows()
    }

    /// Records of all partitions.
    pub fn rows(&self) -> usize {
        self.partition_rows * N_PARTITIONS
    }
}

impl World {
    /// Starts both engines.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new().context("create a folder for the engines")?;
        let broker = Broker::start(BrokerOptions::new(folder.path().join("kafka"), Listener::loopback(0)));
        let broker = broker.await.context("start the embedded broker")?;
        let library = EngineLibrary::find(None).context("find the embedded clickhouse")?;
        let engine = Engine::start(EngineOptions::new(folder.path().join("clickhouse"), library));
        let engine = engine.await.context("start the embedded clickhouse")?;
        let engine_id = engine.child_id().context("the engine has a process")?;
        let url = Url::parse(&format!("http://{}", engine.http()))?;
        let credentials = engine.credentials();
        let options = ClientOptions::new(url, credentials.user.clone(), Secret::new(credentials.password()));
        let clickhouse = Arc::new(Client::new(options)?);
        execute(&clickhouse, &format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(Self { broker, engine, engine_id, clickhouse, _folder: folder })
    }

    /// Stops both.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.engine.stop(Duration::from_secs(10)).await;
        self.broker.stop().await;
        stopped.context("stop the embedded clickhouse")
    }

    /// How to reach the broker.
    pub fn kafka(&self) -> KafkaOptions {
        KafkaOptions::new([self.broker.address().to_string()])
    }

    /// Settings of a bare Kafka client.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.broker.address().to_string());
        client
    }

    /// An empty table for these events, whose parts stay as they are inserted: merges are done by ClickHouse in its
    /// own time, whoever inserted, and the longer a run takes the more of them would fall into it. It is never
    /// dropped: ext4 passes over the inodes of files that were deleted within the last minutes one by one, which was
    /// 40 % of what the next run's inserts cost.
    pub async fn create_table(&self, load: &Load, table: &str) -> anyhow::Result<Table> {
        let table_path = format!("{DATABASE}.{table}");
        execute(&self.clickhouse, &load.events.create_table(&table_path)).await?;
        execute(&self.clickhouse, &format!("SYSTEM STOP MERGES {table_path}")).await?;
        let described = self.clickhouse.describe(DATABASE, table).await;
        described.map_err(|fault| anyhow!("{fault}"))
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> anyhow::Result<usize> {
        let count = self.clickhouse.query(&format!("SELECT count() FROM {DATABASE}.{table}")).await;
        Ok(count.map_err(|fault| anyhow!("{fault}"))?.trim().parse()?)
    }

    /// Publishes the events of one size, and prepares the blocks that they become.
    pub async fn fill(&self, size: usize, partition_rows: usize, batch_rows: usize) -> anyhow::Result<Load> {
        let events = Events::of_size(size);
        let mut load = Load {
            topic: format!("events-{size}"),
            events,
            schema: Arc::new(events.schema()?),
            partition_rows,
            batch_rows,
            bytes: 0,
            decoding: Duration::ZERO,
            blocks: Vec::new(),
        };
        let admin = KafkaAdmin::connect(&self.kafka())?;
        let topic = TopicSpec::new(&load.topic, i32::try_from(N_PARTITIONS)?);
        admin.ensure_topic(&topic).await.map_err(|fault| anyhow!("{fault}"))?;
        let table = self.create_table(&load, &format!("shape_{size}")).await?;
        let plan = Plan::compile(&table, Some(&load.schema), &PlanOptions::default())?;
        let producer: BaseProducer = self.client().set("linger.ms", "20").create()?;
        for partition in 0..N_PARTITIONS {
            let source = TopicPartition::new(load.topic.as_str(), i32::try_from(partition)?);
            let mut blocks = Vec::new();
            for first in (0..partition_rows).step_by(batch_rows) {
                let mut records = Records::new(source.clone());
                for row in first..first + batch_rows {
                    let json = events.json(row * N_PARTITIONS + partition);
                    load.bytes += json.len();
                    publish(&producer, &source, &json)?;
                    records.push(i64::try_from(row)?, None, None, Some(json.as_bytes()), []);
                }
                let began = cost::of_thread()?;
                blocks.push(prepare(&plan, &records)?);
                load.decoding += cost::of_thread()? - began;
            }
            load.blocks.push(blocks);
        }
        producer.flush(Duration::from_secs(30)).context("publish the events")?;
        Ok(load)
    }
}

async fn execute(clickhouse: &Client, sql: &str) -> anyhow::Result<()> {
    clickhouse.execute(sql).await.map_err(|fault| anyhow!("{fault}"))
}

fn publish(producer: &BaseProducer, to: &TopicPartition, json: &str) -> anyhow::Result<()> {
    let mut record = BaseRecord::<(), str>::to(&to.topic).partition(to.partition).payload(json);
    loop {
        match producer.send(record) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                record = refused;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error).context("publish an event"),
        }
    }
}

fn prepare(plan: &Plan, records: &Records) -> anyhow::Result<Prepared> {
    let mut block = plan.block();
    for record in records.iter() {
        plan.append(&mut block, records.source(), &record).map_err(|reject| anyhow!("{reject}"))?;
    }
    let mut native = Vec::new();
    block.encode(&mut native);
    Ok(Prepared { native: native.into(), columns: block.columns().to_vec() })
}
