//! Topics, ends and committed offsets, looked at and created from outside of any group.

mod group;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tidegate_core::{Checkpoint, CheckpointError, Fault, FaultKind, TopicPartition};

use crate::client::{Complaint, EVENTS_MAX, Quiet};
use crate::fault::{fault, kind, of_code};
use crate::options::{KafkaOptions, OptionsError};
use crate::source::{committed, watermarks};

pub use group::Member;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

impl ConsumerContext for Quiet {}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each; the broker's default if absent.
    pub replication: Option<i32>,
    /// Topic settings (`max.message.bytes`, `retention.ms`).
    pub configs: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic with the broker's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, replication: None, configs: BTreeMap::new() }
    }

    /// A topic for dead letters: kept until a person has looked, and with room for the largest record
    /// and its headers.
    #[must_use]
    pub fn dead_letters(name: impl Into<String>, partitions: i32) -> Self {
        let configs = [("max.message.bytes", "67108864"), ("retention.ms", "-1")];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { configs, ..Self::new(name, partitions) }
    }

    fn new_topic(&self) -> NewTopic<'_> {
        // -1 asks the broker for its default.
        let replication = TopicReplication::Fixed(self.replication.unwrap_or(-1));
        let topic = NewTopic::new(&self.name, self.partitions, replication);
        self.configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
    }
}

/// What became of a topic that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicCreation {
    /// It was created.
    Created,
    /// It was there, with settings of its own.
    Existed,
}

/// The offsets that a partition holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// The first record's offset.
    pub low: i64,
    /// One past the last committed record (the last stable offset).
    pub end: i64,
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The committed offset.
    pub offset: i64,
    /// The commit as a checkpoint, if its metadata is one.
    pub checkpoint: Result<Checkpoint, CheckpointError>,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The committed offset; `None` if the group has committed none.
    pub committed: Option<i64>,
    /// The offsets that the partition holds.
    pub watermarks: Watermarks,
}

impl PartitionLag {
    /// How many offsets there are before the end that the group has not committed. Counted from the
    /// first record if it has committed none.
    #[must_use]
    pub fn lag(&self) -> i64 {
        (self.watermarks.end - self.committed.unwrap_or(self.watermarks.low).max(self.watermarks.low)).max(0)
    }
}

/// Looks at a cluster and creates topics. Cheap to clone.
#[derive(Clone)]
pub struct KafkaAdmin {
    options: KafkaOptions,
    admin: Arc<AdminClient<Quiet>>,
    /// Asks for metadata and offsets: a consumer's questions create no topics and honour transactions.
    viewer: Arc<BaseConsumer<Quiet>>,
}

impl KafkaAdmin {
    /// Makes the clients. Does not wait for Kafka.
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn connect(options: &KafkaOptions) -> Result<Self, OptionsError> {
        let admin = options.client_config()?.create_with_context(Quiet::default());
        let admin = Arc::new(admin.map_err(|error| OptionsError::of(&error))?);
        let viewer = Arc::new(viewer(options, None)?);
        Ok(Self { options: options.clone(), admin, viewer })
    }

    /// Creates a topic unless it exists. Its partitions and settings are left alone if it does.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn ensure_topic(&self, spec: &TopicSpec) -> Result<TopicCreation, Fault> {
        if self.partition_count(&spec.name).await?.is_some() {
            return Ok(TopicCreation::Existed);
        }
        let doing = format!("create topic `{}` at `{}`", spec.name, self.options.address());
        let topic = spec.new_topic();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        let results = self.admin.create_topics([&topic], &options).await;
        let results = results.map_err(|error| fault(&error, &doing))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(TopicCreation::Created),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(TopicCreation::Existed),
            Some(Err((_, code))) => Err(of_code(code, &doing)),
            None => Err(Fault::new(FaultKind::Unknown, format!("{doing}: no answer"))),
        }
    }

    /// Creates the topics that do not exist, with one request, in which each is created or not. Gives how many were
    /// created.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses one.
    pub async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<usize, Fault> {
        let there = self.topics().await?;
        let missing: Vec<&TopicSpec> =
            specs.iter().filter(|spec| there.binary_search(&spec.name).is_err()).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let doing = |topic: &str| format!("create topic `{topic}` at `{}`", self.options.address());
        let topics: Vec<NewTopic<'_>> = missing.iter().map(|spec| spec.new_topic()).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        let results = self.admin.create_topics(&topics, &options).await;
        let mut n_created = 0;
        for result in results.map_err(|error| fault(&error, &doing(&missing[0].name)))? {
            match result {
                Ok(_) => n_created += 1,
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(of_code(code, &doing(&topic))),
            }
        }
        Ok(n_created)
    }

    /// Deletes a topic, if there is one.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Fault> {
        let doing = format!("delete topic `{topic}` at `{}`", self.options.address());
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        let results = self.admin.delete_topics(&[topic], &options).await;
        match results.map_err(|error| fault(&error, &doing))?.into_iter().next() {
            Some(
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)),
            ) => Ok(()),
            Some(Err((_, code))) => Err(of_code(code, &doing)),
            None => Err(Fault::new(FaultKind::Unknown, format!("{doing}: no answer"))),
        }
    }

    /// How many partitions a topic has; `None` if it does not exist.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn partition_count(&self, topic: &str) -> Result<Option<i32>, Fault> {
        let topic = topic.to_owned();
        let (viewer, address) = (Arc::clone(&self.viewer), self.options.address());
        blocking(move || partition_count(&viewer, &topic, &address)).await
    }

    /// The names of all topics that this user may see, sorted.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn topics(&self) -> Result<Vec<String>, Fault> {
        let (viewer, address) = (Arc::clone(&self.viewer), self.options.address());
        blocking(move || {
            let metadata = metadata(&viewer, None, &address)?;
            let mut names: Vec<_> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    /// The cluster's id; `None` of brokers that tell none.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn cluster_id(&self) -> Result<Option<String>, Fault> {
        let (viewer, address) = (Arc::clone(&self.viewer), self.options.address());
        blocking(move || {
            // The id comes with the metadata, and asking for it alone says nothing of what went wrong.
            metadata(&viewer, None, &address)?;
            Ok(viewer.client().fetch_cluster_id(TIMEOUT))
        })
        .await
    }

    /// The offsets that each partition of these topics holds. Topics that do not exist have none.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn watermarks(&self, topics: &[&str]) -> Result<BTreeMap<TopicPartition, Watermarks>, Fault> {
        let (viewer, address) = (Arc::clone(&self.viewer), self.options.address());
        let topics = owned(topics);
        blocking(move || {
            let partitions = partitions(&viewer, &topics, &address)?;
            let found = watermarks(&viewer, &partitions, TIMEOUT)?;
            let found = found.into_iter().map(|(source, (low, end))| (source, Watermarks { low, end }));
            Ok(found.collect())
        })
        .await
    }

    /// What a group has committed for these topics, without joining it. Partitions without a commit
    /// are absent.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn committed(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<BTreeMap<TopicPartition, Committed>, Fault> {
        let (options, group, topics) = (self.options.clone(), group.to_owned(), owned(topics));
        blocking(move || {
            let viewer = group_viewer(&options, &group)?;
            let partitions = partitions(&viewer, &topics, &options.address())?;
            let found = committed(&viewer, &partitions, TIMEOUT)?;
            let found = found.into_iter().map(|(source, found)| {
                (source, Committed { offset: found.offset, checkpoint: found.checkpoint() })
            });
            Ok(found.collect())
        })
        .await
    }

    /// How far a group is in each partition of these topics, without joining it.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn group_lag(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<BTreeMap<TopicPartition, PartitionLag>, Fault> {
        // First the commits, then the ends: the other way round a lag could come out below zero.
        let committed = self.committed(group, topics).await?;
        let watermarks = self.watermarks(topics).await?;
        let lag = |(source, watermarks): (TopicPartition, Watermarks)| {
            let committed = committed.get(&source).map(|committed| committed.offset);
            (source, PartitionLag { committed, watermarks })
        };
        Ok(watermarks.into_iter().map(lag).collect())
    }
}

fn owned(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|&topic| topic.to_owned()).collect()
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|error| Err(Fault::new(FaultKind::Unknown, error.to_string())))
}

/// A consumer that never joins its group.
pub(crate) fn viewer(
    options: &KafkaOptions,
    group: Option<&str>,
) -> Result<BaseConsumer<Quiet>, OptionsError> {
    viewer_of(options, group, "read_committed")
}

fn viewer_of(
    options: &KafkaOptions,
    group: Option<&str>,
    isolation: &str,
) -> Result<BaseConsumer<Quiet>, OptionsError> {
    let mut config = options.client_config()?;
    config.set("allow.auto.create.topics", "false");
    config.set("isolation.level", isolation);
    config.set("enable.auto.commit", "false");
    if let Some(group) = group {
        config.set("group.id", group);
    }
    config.create_with_context(Quiet::default()).map_err(|error| OptionsError::of(&error))
}

fn group_viewer(options: &KafkaOptions, group: &str) -> Result<BaseConsumer<Quiet>, Fault> {
    viewer(options, Some(group)).map_err(|error| Fault::new(FaultKind::Denied, error.to_string()))
}

/// Every partition of those of the topics that exist.
pub(crate) fn partitions(
    viewer: &BaseConsumer<Quiet>,
    topics: &[String],
    address: &str,
) -> Result<Vec<TopicPartition>, Fault> {
    let mut all = Vec::new();
    for topic in topics {
        let count = partition_count(viewer, topic, address)?.unwrap_or(0);
        all.extend((0..count).map(|partition| TopicPartition::new(topic, partition)));
    }
    Ok(all)
}

fn partition_count(viewer: &BaseConsumer<Quiet>, topic: &str, address: &str) -> Result<Option<i32>, Fault> {
    let metadata = metadata(viewer, Some(topic), address)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))),
        Some(code) if kind(code) == FaultKind::Missing => Ok(None),
        Some(code) => Err(of_code(code, &format!("look up topic `{topic}` at `{address}`"))),
    }
}

fn metadata(viewer: &BaseConsumer<Quiet>, topic: Option<&str>, address: &str) -> Result<Metadata, Fault> {
    viewer.fetch_metadata(topic, TIMEOUT).map_err(|error| {
        // The request only says that it timed out; why there is no connection waits in the queue.
        (0..EVENTS_MAX).for_each(|_| drop(viewer.poll(Duration::ZERO)));
        explain(&error, viewer.context().take(), &format!("reach Kafka at `{address}`"))
    })
}

/// A request's error by the connection's complaint, which knows the cause.
fn explain(error: &KafkaError, complaint: Option<Complaint>, doing: &str) -> Fault {
    match complaint {
        Some(complaint) => of_code(complaint.code, &format!("{doing}: {}", complaint.reason)),
        None => fault(error, doing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(committed: Option<i64>, low: i64, end: i64, lag: i64) {
        assert_eq!(PartitionLag { committed, watermarks: Watermarks { low, end } }.lag(), lag);
    }

    #[test]
    fn lag_counts_from_the_commit_or_the_first_record() {
        check(Some(7), 0, 10, 3);
        check(None, 4, 10, 6);
        check(Some(2), 4, 10, 6);
        check(Some(10), 0, 10, 0);
        check(Some(12), 0, 10, 0);
    }
}
