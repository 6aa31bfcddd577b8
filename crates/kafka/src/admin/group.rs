//! A group looked at and reset from outside: its members, its offsets, and what open transactions hide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, Fault, FaultKind, TopicPartition};

use super::{KafkaAdmin, TIMEOUT, blocking, group_viewer, owned, partitions, viewer_of};
use crate::checkpoints::offsets;
use crate::fault::fault;
use crate::source::{committed, watermarks};

/// How long an open transaction is waited for. One of a process that died ends after 30 s.
const TRANSACTION_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its `client.id`.
    pub client: String,
    /// The host that it connects from.
    pub host: String,
}

impl KafkaAdmin {
    /// The members of a group; none if the group does not exist.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn members(&self, group: &str) -> Result<Vec<Member>, Fault> {
        let (viewer, group) = (Arc::clone(&self.viewer), group.to_owned());
        let doing = format!("look up group `{group}` at `{}`", self.options.address());
        blocking(move || {
            let groups = viewer.fetch_group_list(Some(&group), TIMEOUT).map_err(|e| fault(&e, &doing))?;
            let found = groups.groups().iter().filter(|found| found.name() == group);
            let members = found.flat_map(|found| found.members()).map(|member| Member {
                id: member.id().to_owned(),
                client: member.client_id().to_owned(),
                host: member.client_host().trim_start_matches('/').to_owned(),
            });
            Ok(members.collect())
        })
        .await
    }

    /// The first offset of each partition whose record has this timestamp or a later one, in milliseconds since
    /// the epoch; the end where there is none.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses.
    pub async fn offsets_at(
        &self,
        topics: &[&str],
        millis: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>, Fault> {
        let (viewer, address) = (Arc::clone(&self.viewer), self.options.address());
        let topics = owned(topics);
        blocking(move || {
            let doing = format!("look for records from {millis} on at `{address}`");
            let partitions = partitions(&viewer, &topics, &address)?;
            let ends = watermarks(&viewer, &partitions, TIMEOUT)?;
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for source in &partitions {
                let mut element = asked.add_partition(&source.topic, source.partition);
                element.set_offset(Offset::Offset(millis)).map_err(|error| fault(&error, &doing))?;
            }
            let found = viewer.offsets_for_times(asked, TIMEOUT).map_err(|error| fault(&error, &doing))?;
            let mut offsets = BTreeMap::new();
            for element in found.elements() {
                element.error().map_err(|error| fault(&error, &doing))?;
                let source = TopicPartition::new(element.topic(), element.partition());
                let end = ends.get(&source).map_or(0, |(_, end)| *end);
                let offset = match element.offset() {
                    Offset::Offset(offset) => offset.min(end),
                    Offset::Beginning
                    | Offset::End
                    | Offset::Stored
                    | Offset::Invalid
                    | Offset::OffsetTail(_) => end,
                };
                offsets.insert(source, offset);
            }
            Ok(offsets)
        })
        .await
    }

    /// Commits checkpoints for a group that has no members, and reads them back. Kafka itself refuses while the
    /// group has members, so nobody can start in between.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or refuses: [`FaultKind::Unavailable`] if the group has members.
    pub async fn reset(
        &self,
        group: &str,
        checkpoints: BTreeMap<TopicPartition, Checkpoint>,
    ) -> Result<(), Fault> {
        let (options, group) = (self.options.clone(), group.to_owned());
        blocking(move || {
            let doing = format!("reset the offsets of group `{group}` at `{}`", options.address());
            let viewer = group_viewer(&options, &group)?;
            // Whoever starts from there finds out which topic it is.
            let unnamed = checkpoints.iter().map(|(source, checkpoint)| (source, checkpoint, None));
            let committing = viewer.commit(&offsets(unnamed), CommitMode::Sync);
            committing.map_err(|error| fault(&error, &doing))?;
            let sources: Vec<TopicPartition> = checkpoints.keys().cloned().collect();
            let found = committed(&viewer, &sources, TIMEOUT)?;
            for (source, wanted) in &checkpoints {
                let found = found.get(source).and_then(|found| found.checkpoint().ok());
                if found.as_ref() != Some(wanted) {
                    let found = found.map_or("nothing".to_owned(), |found| found.offset.to_string());
                    let message = format!(
                        "{doing}: `{source}` stands at {found}, not at {}; look again before the sink is started",
                        wanted.offset
                    );
                    return Err(Fault::new(FaultKind::Unknown, message));
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until no transaction that is open now hides records of the topic from readers.
    ///
    /// # Errors
    /// If that takes longer than a transaction may, or Kafka cannot be reached.
    pub async fn await_transactions(&self, topic: &str) -> Result<(), Fault> {
        let (viewer, options) = (Arc::clone(&self.viewer), self.options.clone());
        let topic = topic.to_owned();
        blocking(move || {
            let unusable = |error: crate::OptionsError| Fault::new(FaultKind::Denied, error.to_string());
            let sees_all = viewer_of(&options, None, "read_uncommitted").map_err(unusable)?;
            let partitions = partitions(&viewer, std::slice::from_ref(&topic), &options.address())?;
            let written = watermarks(&sees_all, &partitions, TIMEOUT)?;
            let deadline = Instant::now() + TRANSACTION_PATIENCE;
            loop {
                let readable = watermarks(&viewer, &partitions, TIMEOUT)?;
                let hidden = written.iter().find(|(source, (_, end))| {
                    readable.get(*source).is_none_or(|(_, readable)| readable < end)
                });
                let Some((source, _)) = hidden else { return Ok(()) };
                if Instant::now() > deadline {
                    let message = format!("an open transaction hides records of `{source}`");
                    return Err(Fault::new(FaultKind::Unavailable, message));
                }
                std::thread::sleep(LOOK_EVERY);
            }
        })
        .await
    }
}
