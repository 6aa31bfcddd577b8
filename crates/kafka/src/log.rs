//! A topic of one partition as a log that is read from its beginning and never left: what a program
//! keeps its state in.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tidegate_core::{Fault, FaultKind};
use tokio::sync::mpsc;

use crate::admin::{KafkaAdmin, TopicCreation, TopicSpec};
use crate::client::Quiet;
use crate::fault::{fault, of_code};
use crate::options::{KafkaOptions, OptionsError};

/// How long one question to the cluster may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How many events wait for the reader's caller.
const EVENTS_MAX: usize = 1_024;

/// What a log reader sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// A record.
    Record(LogRecord),
    /// Everything so far was read: the next record will have this offset, or a later one.
    End(i64),
    /// Kafka is away, and why. Reading goes on by itself.
    Trouble(Fault),
}

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` takes back what the key said.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

/// Creates a log's topic, compacted, with one partition, unless it exists.
///
/// # Errors
/// If Kafka cannot be reached, or the topic is there with more partitions or without compaction: what
/// it holds would be lost.
pub async fn ensure_log(options: &KafkaOptions, spec: &TopicSpec) -> Result<TopicCreation, Fault> {
    let admin = KafkaAdmin::connect(options).map_err(denied)?;
    let compaction: BTreeMap<String, String> = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let mut configs = spec.configs.clone();
    configs.extend(compaction);
    let creation = admin.ensure_topic(&TopicSpec { partitions: 1, configs, ..spec.clone() }).await?;
    if creation == TopicCreation::Created {
        return Ok(creation);
    }
    let topic = &spec.name;
    if let Some(partitions) = admin.partition_count(topic).await?.filter(|partitions| *partitions != 1) {
        let message = format!("topic `{topic}` has {partitions} partitions; expected one");
        return Err(Fault::new(FaultKind::Denied, message));
    }
    let policy = cleanup_policy(options, topic).await?;
    if policy.as_deref().is_some_and(|policy| policy != "compact") {
        let policy = policy.unwrap_or_default();
        let message = format!(
            "topic `{topic}` has cleanup.policy `{policy}`; expected `compact`, since otherwise its records \
             are deleted with time"
        );
        return Err(Fault::new(FaultKind::Denied, message));
    }
    Ok(creation)
}

async fn cleanup_policy(options: &KafkaOptions, topic: &str) -> Result<Option<String>, Fault> {
    let doing = format!("look up the settings of topic `{topic}`");
    let admin: AdminClient<Quiet> = options
        .client_config()
        .map_err(denied)?
        .create_with_context(Quiet::default())
        .map_err(|error| denied(OptionsError::of(&error)))?;
    let asked = [ResourceSpecifier::Topic(topic)];
    let timeout = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let answers = admin.describe_configs(&asked, &timeout).await.map_err(|error| fault(&error, &doing))?;
    match answers.into_iter().next() {
        Some(Ok(resource)) => {
            let entry = resource.entries.into_iter().find(|entry| entry.name == "cleanup.policy");
            Ok(entry.and_then(|entry| entry.value))
        }
        Some(Err(code)) => Err(of_code(code, &doing)),
        None => Ok(None),
    }
}

fn denied(error: OptionsError) -> Fault {
    Fault::new(FaultKind::Denied, error.to_string())
}

/// Reads a log from its beginning, for as long as it is kept.
#[derive(Debug)]
pub struct LogReader {
    events: mpsc::Receiver<LogEvent>,
}

impl LogReader {
    /// Begins to read, on a thread of its own.
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn open(options: &KafkaOptions, topic: &str) -> Result<Self, OptionsError> {
        let mut config = options.client_config()?;
        config.set("group.id", "tidegate-log");
        config.set("allow.auto.create.topics", "false");
        config.set("isolation.level", "read_uncommitted");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest");
        config.set("queued.max.messages.kbytes", "16384");
        config.set("fetch.wait.max.ms", "500");
        // A writer waits for its own record: nobody shall wait for a timer besides.
        config.set("fetch.error.backoff.ms", "50");
        config.set("fetch.queue.backoff.ms", "10");
        let consumer: BaseConsumer<Quiet> =
            config.create_with_context(Quiet::default()).map_err(|error| OptionsError::of(&error))?;
        let mut from = TopicPartitionList::new();
        let assigned =
            from.add_partition_offset(topic, 0, Offset::Beginning).and_then(|()| consumer.assign(&from));
        assigned.map_err(|error| OptionsError::of(&error))?;
        let (give, events) = mpsc::channel(EVENTS_MAX);
        let doing = format!("read topic `{topic}` at `{}`", options.address());
        std::thread::Builder::new()
            .name("kafka-log".to_owned())
            .spawn(move || read(&consumer, &give, &doing))
            .map_err(|error| OptionsError::Client { reason: error.to_string() })?;
        Ok(Self { events })
    }

    /// The next event. `None` if the reading thread ended, which is a bug.
    pub async fn next(&mut self) -> Option<LogEvent> {
        self.events.recv().await
    }
}

fn read(consumer: &BaseConsumer<Quiet>, give: &mpsc::Sender<LogEvent>, doing: &str) {
    let mut next = 0;
    while !give.is_closed() {
        let event = match consumer.poll(Duration::from_millis(200)) {
            None => match consumer.context().take() {
                Some(complaint) => {
                    LogEvent::Trouble(of_code(complaint.code, &format!("{doing}: {}", complaint.reason)))
                }
                None => continue,
            },
            Some(Ok(message)) => {
                next = message.offset() + 1;
                LogEvent::Record(LogRecord {
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    timestamp: message.timestamp().to_millis(),
                })
            }
            Some(Err(KafkaError::PartitionEOF(_))) => LogEvent::End(next),
            Some(Err(error)) => LogEvent::Trouble(fault(&error, doing)),
        };
        // A caller that has gone is seen by the loop.
        let _ = give.blocking_send(event);
    }
}
