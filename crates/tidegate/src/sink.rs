//! Running connectors: each has a group's source, its checkpoints, and a loop a partition.

pub mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidegate_clickhouse::Client;
use tidegate_config as config;
use tidegate_core::Fault;
use tidegate_kafka::{
    DeadLetterTopic, KafkaAdmin, KafkaOptions, KafkaSource, SourceOptions, Subscription, TopicSpec,
};
use tidegate_pipeline::{
    Backoff, Connector, ConnectorSettings, Ended, EventSchemas, Halted, Phase, Status, TableCreation,
    dead_letter_ddl,
};
use tidegate_registry_client::RegistryClient;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::Shown;
use crate::wire;

/// The foreign systems that connectors run between. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// How to reach Kafka.
    pub kafka: KafkaOptions,
    /// ClickHouse.
    pub clickhouse: Client,
    /// The database of connectors that name none.
    pub database: String,
    /// Where schemas are that records name.
    pub registry: Option<RegistryClient>,
}

/// The share of the buffer memory that waits in the Kafka client.
const SOURCE_SHARE: usize = 4;

/// What a server says to the table of dead letters that is too old for it: `UNKNOWN_TYPE`, and `SYNTAX_ERROR` where it
/// comes upon the tuples with names first (18.16).
const TOO_OLD: [i32; 2] = [50, 62];

/// Whether the server can hold the table of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetterTable {
    There,
    /// It does not know the types: ClickHouse before 20.1 has no `DateTime64`.
    Impossible,
}

/// Running connectors.
pub struct Sink {
    tasks: JoinSet<(String, anyhow::Result<Ended>)>,
    stop: watch::Sender<bool>,
}

/// What one connector needs to start.
struct Start {
    config: config::Connector,
    settings: ConnectorSettings,
    schemas: (EventSchemas, Option<TableCreation>),
    world: World,
    shown: Shown,
    status: Status,
    source_bytes_max: usize,
}

impl Sink {
    /// Starts connectors. Returns at once: Kafka and ClickHouse are waited for by each connector.
    ///
    /// # Errors
    /// When a schema file cannot be read, or a column's options cannot be followed.
    pub fn start(world: &World, connectors: &[config::Connector], shown: &Shown) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let source_bytes_max = shown.budget.bytes_max() / SOURCE_SHARE / connectors.len().max(1);
        for config in connectors {
            let settings = wire::settings(config, &world.database)?;
            let schemas = wire::schemas(config, &settings, world.registry.as_ref())?;
            let status = Status::new(config.name.as_str());
            shown.add(status.clone());
            let start = Start {
                config: config.clone(),
                settings,
                schemas,
                world: world.clone(),
                shown: shown.clone(),
                status,
                source_bytes_max,
            };
            let mut stopped = stopped.clone();
            tasks.spawn(async move {
                let name = start.config.name.to_string();
                let stop = async move {
                    // An error says that whoever could stop the connector has gone; that stops it too.
                    let _ = stopped.wait_for(|stop| *stop).await;
                };
                (name, start.run(stop).await)
            });
        }
        Ok(Self { tasks, stop })
    }

    /// The next connector that ends by itself, with why. `None` if none is left.
    ///
    /// # Errors
    /// When a connector could not be set up.
    pub async fn ended(&mut self) -> Option<(String, anyhow::Result<Ended>)> {
        match self.tasks.join_next().await? {
            Ok(ended) => Some(ended),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Stops all connectors; what is settled is committed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some((name, ended)) = self.ended().await {
            if let Err(error) = ended {
                tracing::error!(
                    error = format!("{error:#}"),
                    connector = name,
                    "connector failed while it stopped"
                );
            }
        }
    }
}

impl Start {
    async fn run(mut self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<Ended> {
        tokio::pin!(stop);
        let letter_table = tokio::select! {
            () = &mut stop => return Ok(Ended::Stopped),
            prepared = self.prepare() => prepared?,
        };
        if letter_table == LetterTable::Impossible {
            self.settings.dead_letter_table = None;
        }
        let subscription = Subscription {
            group: self.config.group_name(),
            topics: self.config.topics.iter().map(ToString::to_string).collect(),
            dead_letters: Some(DeadLetterTopic {
                topic: self.config.dead_letter_topic(),
                transactional_id: None,
            }),
        };
        let options = SourceOptions { buffered_bytes_max: self.source_bytes_max, ..SourceOptions::default() };
        let (mut source, checkpoints) = KafkaSource::open(&self.world.kafka, &subscription, &options)
            .context("join the consumer group")?;
        self.shown.sources.add(self.config.name.as_str(), source.counters());
        let connector = Connector::new(
            self.settings,
            (Arc::new(checkpoints), Arc::new(self.world.clickhouse)),
            self.schemas,
            &self.shown.metrics,
            (self.shown.budget.clone(), self.status),
        );
        let ended = connector.run(&mut source, stop).await;
        source.close().await;
        Ok(ended)
    }

    /// What must be there before the first record: the dead-letter topic and its table.
    async fn prepare(&self) -> anyhow::Result<LetterTable> {
        let admin = KafkaAdmin::connect(&self.world.kafka).context("set up the kafka client")?;
        let letters = &self.config.dead_letters;
        let mut topic =
            TopicSpec::dead_letters(self.config.dead_letter_topic(), i32::try_from(letters.partitions)?);
        topic.replication = Some(i32::from(letters.replication));
        let (base, max) = self.settings.retry_wait;
        let mut backoff = Backoff::new(base, max);
        while let Err(fault) = admin.ensure_topic(&topic).await {
            self.wait_out(&fault, &mut backoff).await;
        }
        let ddl = dead_letter_ddl(&self.settings.database, letters.table.as_str(), wire::DEDUP_WINDOW);
        while let Err(fault) = self.world.clickhouse.execute(&ddl).await {
            // A server that is older than a type does not come to know it by waiting.
            if fault.code.is_some_and(|code| TOO_OLD.contains(&code)) {
                let connector = &self.config.name;
                tracing::warn!(error = %fault, %connector, "no table of dead letters: they are in their topic alone");
                return Ok(LetterTable::Impossible);
            }
            self.wait_out(&fault, &mut backoff).await;
        }
        Ok(LetterTable::There)
    }

    async fn wait_out(&self, fault: &Fault, backoff: &mut Backoff) {
        self.status.phase(Phase::Waiting, Some(fault.to_string()));
        let wait = backoff.next_wait(fastrand::f64());
        if backoff.attempts().is_power_of_two() {
            tracing::warn!(error = %fault, connector = %self.config.name, "set up: waiting");
        }
        tokio::time::sleep(wait).await;
    }
}

/// How long the progress of connectors is looked at apart.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The rejects of a halted connector by reason code.
#[must_use]
pub fn halt_reasons(halted: &Halted) -> BTreeMap<String, u64> {
    halted.reasons.iter().map(|(code, count)| (code.to_string(), *count as u64)).collect()
}
