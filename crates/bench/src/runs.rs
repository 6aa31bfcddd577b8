//! The three runs of one size: reading alone, inserting alone, and the whole path.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use tidegate_codec::PlanOptions;
use tidegate_config::{Delivery, TableRoute, Template, Tombstones, Unmapped};
use tidegate_core::{DeadLetterContext, InsertToken, OffsetRange, PartId, TopicPartition};
use tidegate_kafka::{KafkaSource, SourceOptions, Subscription};
use tidegate_pipeline::port::{EncodedBlock, InsertError, Source, SourceEvent, Warehouse};
use tidegate_pipeline::{
    Budget, Connector, ConnectorSettings, Ended, EventSchemas, FlushPolicy, Metrics, Status,
};

use crate::cost::{Cost, Mark};
use crate::world::{DATABASE, Load, N_PARTITIONS, World};

/// What the pipeline may buffer: `tidegate sink`'s default.
const BUFFER: usize = 512 << 20;
/// The share of it that waits in the Kafka client, as in `tidegate sink`.
const SOURCE_SHARE: usize = 4;
/// A run that takes longer does not end any more.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Reads the topic with a bare consumer and nothing else.
pub fn consume(world: &World, load: &Load) -> anyhow::Result<Cost> {
    let mut client = world.client();
    // A poll that serves an event of a commit gives nothing, as one at the topic's end does.
    client.set("group.id", "limit").set("enable.auto.commit", "false");
    // As the sink's. With librdkafka's own second of rest once its queue is full, small events are read slower
    // than the sink stores them.
    client.set("fetch.queue.backoff.ms", "10");
    let consumer: BaseConsumer = client.create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..N_PARTITIONS {
        partitions.add_partition_offset(&load.topic, i32::try_from(partition)?, Offset::Beginning)?;
    }
    let start = Mark::now(world.engine_id)?;
    consumer.assign(&partitions)?;
    for _ in 0..load.rows() {
        let message = consumer.poll(PATIENCE).context("the topic ends early")?;
        message.context("read the topic")?;
    }
    start.cost(world.engine_id)
}

/// Inserts the prepared blocks, a partition's one after the other, and nothing else.
pub async fn insert(world: &World, load: &Load, round: usize) -> anyhow::Result<Cost> {
    let name = format!("inserted_{}_{round}", load.size());
    let table = Arc::new(world.create_table(load, &name).await?);
    let start = Mark::now(world.engine_id)?;
    let tasks = load.blocks.iter().cloned().enumerate().map(|(partition, blocks)| {
        let (clickhouse, table) = (Arc::clone(&world.clickhouse), Arc::clone(&table));
        let (topic, rows) = (load.topic.clone(), load.batch_rows);
        tokio::spawn(async move {
            let source = TopicPartition::new(&topic, i32::try_from(partition)?);
            for (n, prepared) in blocks.iter().enumerate() {
                let range = OffsetRange::new(i64::try_from(n * rows)?, i64::try_from((n + 1) * rows)?)
                    .context("a batch has rows")?;
                let token = InsertToken::new("limit", &source, range, &table.name, PartId(0));
                let block = EncodedBlock { native: &prepared.native, columns: &prepared.columns, rows };
                let inserted = clickhouse.insert(&table, block, Some(&token)).await;
                inserted.map_err(|error| match error {
                    InsertError::Fault(fault) => anyhow!("{fault}"),
                    InsertError::Refused { code, message, column: _ } => anyhow!("code {code}: {message}"),
                })?;
            }
            anyhow::Ok(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.context("join an inserting task")??;
    }
    let cost = start.cost(world.engine_id)?;
    ensure!(world.count(&name).await? == load.rows(), "every row of the blocks is there");
    Ok(cost)
}

/// The whole path, from the group's assignment until every record is settled.
pub async fn whole_path(world: &World, load: &Load, round: usize) -> anyhow::Result<Cost> {
    let table = format!("whole_{}_{round}", load.size());
    world.create_table(load, &table).await?;
    let group = format!("{}-{round}", load.topic);
    let subscription =
        Subscription { group: group.clone(), topics: vec![load.topic.clone()], dead_letters: None };
    let options = SourceOptions { buffered_bytes_max: BUFFER / SOURCE_SHARE, ..SourceOptions::default() };
    let (source, checkpoints) = KafkaSource::open(&world.kafka(), &subscription, &options)?;
    let assigned = Arc::new(Mutex::new(None));
    let mut source = Clocked { source, engine_id: world.engine_id, assigned: Arc::clone(&assigned) };
    let schema = Arc::clone(&load.schema);
    let status = Status::new("bench");
    let connector = Connector::new(
        settings(load, group, &table)?,
        (Arc::new(checkpoints), Arc::clone(&world.clickhouse)),
        (EventSchemas::new(move |_| Some(Arc::clone(&schema)), true), None),
        &Metrics::unregistered(),
        (Budget::new(BUFFER), status.clone()),
    );
    let settled = tokio::time::timeout(PATIENCE, settled(&status, load.rows()));
    let mut cost = None;
    let stop = async {
        if settled.await.is_ok() {
            let start: Option<Mark> = *assigned.lock().unwrap_or_else(PoisonError::into_inner);
            cost = start.map(|start| start.cost(world.engine_id));
        }
    };
    let ended = connector.run(&mut source, stop).await;
    source.source.close().await;
    ensure!(ended == Ended::Stopped, "the connector ended by itself: {ended:?}");
    let cost = cost.context("the records were not settled in time")??;
    ensure!(world.count(&table).await? == load.rows(), "every record is a row");
    Ok(cost)
}

async fn settled(status: &Status, rows: usize) {
    loop {
        let settled: i64 = status.snapshot().partitions.values().map(|partition| partition.settled).sum();
        if usize::try_from(settled).is_ok_and(|settled| settled >= rows) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn settings(load: &Load, group: String, table: &str) -> anyhow::Result<ConnectorSettings> {
    let template = Template::parse(table).context("a name is a template")?;
    Ok(ConnectorSettings {
        context: DeadLetterContext { connector: "bench".to_owned(), group, processor: "bench".to_owned() },
        database: DATABASE.to_owned(),
        route: TableRoute { template, map: Default::default(), unmapped: Unmapped::Template },
        plan: PlanOptions::default(),
        flush: FlushPolicy {
            rows_max: load.batch_rows,
            bytes_max: 32 << 20,
            linger: Duration::from_millis(500),
        },
        guarantee: Delivery::ExactlyOnce,
        tombstones: Tombstones::Reject,
        dead_letter_table: None,
        letters_withheld: false,
        halt_when: None,
        inserts_max: 4,
        drain_max: Duration::from_secs(5),
        retry_wait: (Duration::from_millis(100), Duration::from_secs(15)),
        describe_every: Duration::from_secs(30),
        evolve: false,
    })
}

/// A source that notes when its partitions were assigned: joining a group is not what is measured.
struct Clocked {
    source: KafkaSource,
    engine_id: u32,
    assigned: Arc<Mutex<Option<Mark>>>,
}

impl Source for Clocked {
    async fn next(&mut self) -> Option<SourceEvent> {
        let event = self.source.next().await?;
        if let SourceEvent::Assigned(_) = event {
            *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = Mark::now(self.engine_id).ok();
        }
        Some(event)
    }

    fn pause(&self, source: &TopicPartition) {
        self.source.pause(source);
    }

    fn resume(&self, source: &TopicPartition) {
        self.source.resume(source);
    }
}
