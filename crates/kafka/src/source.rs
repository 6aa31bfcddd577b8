//! One member of a consumer group, as the pipeline's source of records.
//!
//! A thread of its own polls librdkafka (`reader`), whatever the pipeline does meanwhile: that keeps the
//! membership. What it reads waits in an [`EventQueue`] that is bounded by bytes.

mod context;
mod ids;
mod reader;
mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidegate_core::TopicPartition;
use tidegate_pipeline::port::{Source, SourceEvent};
use tokio::sync::oneshot;

pub(crate) use self::context::SourceContext;
pub(crate) use self::start::{committed, watermarks};

use self::reader::Reader;
use crate::checkpoints::{CurrentConsumer, KafkaCheckpoints};
use crate::options::{KafkaOptions, OptionsError};
use crate::ownership::Ownership;
use crate::queue::EventQueue;

/// How a group's leader spreads partitions over members. All members must agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AssignmentStrategy {
    /// A rebalance takes only the partitions that move; the others go on.
    #[default]
    CooperativeSticky,
    /// Every rebalance stops all members: for groups with members that know nothing else.
    Range,
}

/// Where a partition starts that the group has never committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At its first record.
    #[default]
    Earliest,
    /// At its end when it is assigned.
    Latest,
}

/// How to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOptions {
    /// What may wait in this process for the pipeline, in bytes: half of it in librdkafka's queue and on
    /// its way there, half in ours. At least [`SourceOptions::BUFFERED_BYTES_MIN`] is taken; a single
    /// record that is larger passes, alone.
    pub buffered_bytes_max: usize,
    /// After how long without a heartbeat the group gives this member's partitions to others, unless the
    /// options' `extra` has `session.timeout.ms`.
    pub session_timeout: Duration,
    /// How partitions are spread.
    pub strategy: AssignmentStrategy,
    /// A name that outlives the process (`group.instance.id`): a restart within the session time-out
    /// then causes no rebalance. Two processes must never share it.
    pub instance_id: Option<String>,
    /// Where a partition starts that was never committed.
    pub reset: OffsetReset,
    /// How long a revocation waits for the pipeline to let go.
    pub revoke_wait_max: Duration,
}

impl SourceOptions {
    /// The least that is buffered: less would make requests too small to be worth their round trip.
    pub const BUFFERED_BYTES_MIN: usize = 8 * 1024 * 1024;
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            buffered_bytes_max: 64 * 1024 * 1024,
            session_timeout: Duration::from_secs(45),
            strategy: AssignmentStrategy::default(),
            instance_id: None,
            reset: OffsetReset::default(),
            revoke_wait_max: Duration::from_secs(10),
        }
    }
}

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTopic {
    /// The topic. It must exist; see [`KafkaAdmin::ensure_topic`](crate::KafkaAdmin::ensure_topic).
    pub topic: String,
    /// The producer's `transactional.id`. Absent, one is made up that no other process has.
    pub transactional_id: Option<String>,
}

/// Who reads what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The consumer group.
    pub group: String,
    /// The topics.
    pub topics: Vec<String>,
    /// Where dead letters go; without it, committing some is a fault.
    pub dead_letters: Option<DeadLetterTopic>,
}

/// What the source has met since it was opened, for metrics.
#[derive(Debug, Default)]
pub struct SourceCounters {
    pub(crate) rebalances: AtomicU64,
    pub(crate) out_of_range: AtomicU64,
    pub(crate) foreign_checkpoints: AtomicU64,
    pub(crate) recreated: AtomicU64,
    pub(crate) rejoins: AtomicU64,
    pub(crate) stalls: AtomicU64,
}

impl SourceCounters {
    /// Assignments and revocations.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    /// Partitions whose offset was not in the log any more (retention overtook it, or the topic was
    /// created again and its id is not known) and that went to their first record. Records may have been missed.
    #[must_use]
    pub fn out_of_range(&self) -> u64 {
        self.out_of_range.load(Ordering::Relaxed)
    }

    /// Committed offsets whose metadata another program wrote.
    #[must_use]
    pub fn foreign_checkpoints(&self) -> u64 {
        self.foreign_checkpoints.load(Ordering::Relaxed)
    }

    /// Partitions that went to their first record because another topic has the name now: the topic was deleted and
    /// created again.
    #[must_use]
    pub fn recreated(&self) -> u64 {
        self.recreated.load(Ordering::Relaxed)
    }

    /// How often the group was joined anew by another client, since librdkafka read a topic that was created again no
    /// more.
    #[must_use]
    pub fn rejoins(&self) -> u64 {
        self.rejoins.load(Ordering::Relaxed)
    }

    /// How often reading stopped because the pipeline did not take what was there.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }
}

/// The source. Dropping it leaves the group in the background; [`KafkaSource::close`] waits for that.
#[derive(Debug)]
pub struct KafkaSource {
    queue: Arc<EventQueue>,
    counters: Arc<SourceCounters>,
    ended: oneshot::Receiver<()>,
}

impl KafkaSource {
    /// Joins the group. Does not wait for Kafka: what goes wrong later arrives as
    /// [`SourceEvent::Faulted`].
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn open(
        options: &KafkaOptions,
        subscription: &Subscription,
        source: &SourceOptions,
    ) -> Result<(Self, KafkaCheckpoints), OptionsError> {
        let config = consumer_config(options, &subscription.group, source)?;
        let member = Member { config, topics: subscription.topics.clone(), current: Arc::default() };
        let consumer = member.join()?;
        let ownership = Arc::new(Ownership::default());
        let checkpoints = KafkaCheckpoints::open(options, subscription, &member.current, &ownership)?;
        let bytes = source.buffered_bytes_max.max(SourceOptions::BUFFERED_BYTES_MIN);
        let queue = Arc::new(EventQueue::new(bytes / 2));
        let counters = Arc::new(SourceCounters::default());
        let (end, ended) = oneshot::channel();
        let shared = reader::Shared {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            ownership,
            starts: checkpoints.starts(),
        };
        let reader = Reader::new(consumer, member, shared, source, options.address());
        let spawned = std::thread::Builder::new().name("kafka-source".to_owned()).spawn(move || {
            reader.run();
            // Nobody may be waiting.
            let _ = end.send(());
        });
        spawned.map_err(|error| OptionsError::Client { reason: error.to_string() })?;
        Ok((Self { queue, counters, ended }, checkpoints))
    }

    /// What the source has met.
    #[must_use]
    pub fn counters(&self) -> Arc<SourceCounters> {
        Arc::clone(&self.counters)
    }

    /// What waits for the pipeline in our queue, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.queue.buffered_bytes()
    }

    /// Leaves the group and waits until it is left. Commits after this are fenced.
    pub async fn close(mut self) {
        self.queue.close();
        // An error says that the thread has ended already.
        let _ = (&mut self.ended).await;
    }
}

impl Source for KafkaSource {
    async fn next(&mut self) -> Option<SourceEvent> {
        self.queue.next().await
    }

    fn pause(&self, source: &TopicPartition) {
        self.queue.pause(source);
    }

    fn resume(&self, source: &TopicPartition) {
        self.queue.resume(source);
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What makes a member of the group.
pub(crate) struct Member {
    config: ClientConfig,
    topics: Vec<String>,
    /// Where those look for the consumer who commit.
    current: Arc<CurrentConsumer>,
}

impl Member {
    /// Joins the group by a consumer that knows nothing yet.
    ///
    /// # Errors
    /// If the options cannot be used.
    fn join(&self) -> Result<Arc<BaseConsumer<SourceContext>>, OptionsError> {
        let consumer: BaseConsumer<SourceContext> = self
            .config
            .create_with_context(SourceContext::default())
            .map_err(|error| OptionsError::of(&error))?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| OptionsError::of(&error))?;
        let consumer = Arc::new(consumer);
        self.current.set(&consumer);
        Ok(consumer)
    }
}

fn consumer_config(
    options: &KafkaOptions,
    group: &str,
    source: &SourceOptions,
) -> Result<ClientConfig, OptionsError> {
    let mut config = options.client_config()?;
    let bytes = source.buffered_bytes_max.max(SourceOptions::BUFFERED_BYTES_MIN);
    // librdkafka looks at its queue before it asks for more, and one answer may come on top of it.
    let (queued, fetch) = (bytes / 4, bytes / 4);
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed");
    // An offset that is not there is an event that we report, never a silent jump.
    config.set("auto.offset.reset", "error");
    config.set("allow.auto.create.topics", "false");
    config.set("statistics.interval.ms", "1000");
    config.set("queued.max.messages.kbytes", (queued / 1024).to_string());
    config.set("fetch.max.bytes", fetch.min(50 * 1024 * 1024).to_string());
    // Topic ids are told by the log alone; see `ids`.
    let debugged = config.get("debug").map_or(String::new(), |contexts| format!("{contexts},"));
    config.set("debug", format!("{debugged}{}", ids::DEBUG_CONTEXT));
    config.set_log_level(RDKafkaLogLevel::Debug);
    let heartbeat = (source.session_timeout / 4).min(Duration::from_secs(3));
    let strategy = match source.strategy {
        AssignmentStrategy::CooperativeSticky => "cooperative-sticky",
        AssignmentStrategy::Range => "range",
    };
    config.set("partition.assignment.strategy", strategy);
    if let Some(instance_id) = &source.instance_id {
        config.set("group.instance.id", instance_id);
    }
    let defaults = [
        ("session.timeout.ms", source.session_timeout.as_millis().to_string()),
        ("heartbeat.interval.ms", heartbeat.as_millis().to_string()),
        // The end of a partition is told in an answer to a fetch; an idle one should not take long.
        ("fetch.wait.max.ms", "100".to_owned()),
        ("fetch.queue.backoff.ms", "10".to_owned()),
        ("topic.metadata.refresh.interval.ms", "10000".to_owned()),
    ];
    for (property, value) in defaults {
        if !options.extra.contains_key(property) {
            config.set(property, value);
        }
    }
    Ok(config)
}
