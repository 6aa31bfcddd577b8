//! What librdkafka calls back: rebalances, errors and statistics are kept for the reader, which acts on
//! them between two polls.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use serde::Deserialize;
use tidegate_core::TopicPartition;
use tracing::debug;

use super::ids::TopicIds;
use crate::client::{Quiet, log};

/// A rebalance that waits to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The group gives us these.
    Given(Vec<TopicPartition>),
    /// The group takes these.
    Taken {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// Whether they may be another member's already.
        lost: bool,
    },
}

/// The consumer's context.
#[derive(Debug, Default)]
pub(crate) struct SourceContext {
    /// Complaints.
    pub quiet: Quiet,
    /// Which topics have the names that are read.
    pub ids: TopicIds,
    changes: Mutex<VecDeque<Change>>,
    end_reached: Mutex<Option<i64>>,
    told: Mutex<HashMap<String, HashMap<i32, PartitionStatistics>>>,
    closing: AtomicBool,
    served: AtomicU64,
}

impl SourceContext {
    /// The next rebalance.
    pub(crate) fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether a rebalance waits to be acted on.
    pub(crate) fn has_change(&self) -> bool {
        !self.changes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Grows with whatever is called back from polling. A poll that gives nothing, and in which it does not grow, has
    /// found the queue empty.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// The offset at which the end of a partition was reported just now.
    pub(crate) fn take_end_reached(&self) -> Option<i64> {
        self.end_reached.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The partition's end as the last statistics told it.
    pub(crate) fn end(&self, source: &TopicPartition) -> Option<i64> {
        self.told(source).map(|told| told.ls_offset).filter(|end| *end >= 0)
    }

    /// Whether librdkafka reads the partition no more: it knows a leader epoch that is above its topic's; see
    /// [`TopicIds`].
    pub(crate) fn is_deaf(&self, source: &TopicPartition) -> bool {
        let used = self.told(source).map(|told| told.leader_epoch);
        used.zip(self.ids.leader_epoch(source)).is_some_and(|(used, stated)| used > stated)
    }

    fn told(&self, source: &TopicPartition) -> Option<PartitionStatistics> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&*source.topic)?.get(&source.partition).copied()
    }

    /// From now on revocations are accepted without asking anybody.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if self.ids.hear(message) {
            // What was told until now is of the former topic.
            self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            *self.end_reached.lock().unwrap_or_else(PoisonError::into_inner) = offset_in(reason);
        } else {
            self.quiet.complain(&error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.served.fetch_add(1, Ordering::Relaxed);
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = statistics.partitions();
            }
            Err(error) => debug!(%error, "statistics do not parse"),
        }
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if self.closing.load(Ordering::SeqCst) {
            if let Err(error) = let_go(consumer, list) {
                debug!(%error, "partitions given up while closing");
            }
            return;
        }
        let partitions = list.elements();
        let partitions = partitions
            .iter()
            .map(|element| TopicPartition::new(element.topic(), element.partition()))
            .collect();
        let change = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Given(partitions)
        } else {
            Change::Taken { partitions, lost: consumer.assignment_lost() }
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }
}

/// Tells librdkafka that these partitions are given up, as the group's protocol wants it told.
pub(crate) fn let_go(consumer: &BaseConsumer<SourceContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => {
            // Those that were accepted and not yet taken cannot be given back.
            let taken = consumer.assignment()?;
            let mut back = TopicPartitionList::new();
            for element in list.elements() {
                if taken.find_partition(element.topic(), element.partition()).is_some() {
                    back.add_partition(element.topic(), element.partition());
                }
            }
            consumer.incremental_unassign(&back)
        }
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

/// The Rust client keeps the partition of an end-of-partition event and drops its offset, which stands
/// in the text alone: `... at offset 12 (HighwaterMark 12)`. A text without it costs only precision:
/// the reader then knows no more than the last record's offset.
fn offset_in(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("at offset ")?;
    rest.split(' ').next()?.parse().ok()
}

#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Debug, Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: HashMap<String, PartitionStatistics>,
}

/// What the statistics tell of a partition.
#[derive(Debug, Clone, Copy, Deserialize)]
struct PartitionStatistics {
    partition: i32,
    /// The last stable offset; negative if it is not known.
    ls_offset: i64,
    /// The leader epoch that librdkafka uses; negative if it knows none.
    leader_epoch: i32,
}

impl Statistics {
    fn partitions(self) -> HashMap<String, HashMap<i32, PartitionStatistics>> {
        let by_number = |topic: TopicStatistics| {
            topic.partitions.into_values().map(|partition| (partition.partition, partition)).collect()
        };
        self.topics.into_iter().map(|(name, topic)| (name, by_number(topic))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_from_the_text_that_carries_it() {
        let reason = "Fetch from broker 1 reached end of partition at offset 907 (HighwaterMark 910)";
        assert_eq!(offset_in(reason), Some(907));
        assert_eq!(offset_in("something else"), None);
    }

    #[test]
    fn statistics_give_the_stable_end_of_known_partitions() {
        let context = SourceContext::default();
        context.stats_raw(
            br#"{"name":"x","topics":{"t":{"age":1,"partitions":{"0":{"partition":0,"hi_offset":9,"ls_offset":7,"leader_epoch":3},"-1":{"partition":-1,"ls_offset":-1001,"leader_epoch":-1}}}}}"#,
        );
        assert_eq!(context.end(&TopicPartition::new("t", 0)), Some(7));
        assert_eq!(context.end(&TopicPartition::new("t", -1)), None);
    }

    #[test]
    fn a_client_that_keeps_a_former_topics_leader_epoch_is_deaf() {
        let context = SourceContext::default();
        let source = TopicPartition::new("t", 0);
        let hear = |line: &str| ClientContext::log(&context, RDKafkaLogLevel::Debug, "METADATA", line);
        let state = |epoch: i32| {
            let partition = format!(r#"{{"partition":0,"ls_offset":7,"leader_epoch":{epoch}}}"#);
            context.stats_raw(
                format!(r#"{{"topics":{{"t":{{"partitions":{{"0":{partition}}}}}}}}}"#).as_bytes(),
            );
        };
        hear("Topic t changed id from AAAAAAAAAAAAAAAAAAAAAA to 1AAAAAAAAAAAAAAAAAAAAA");
        hear("Topic t [0] Leader 1 Epoch 5");
        state(5);
        assert!(!context.is_deaf(&source));
        hear("Topic t changed id from 1AAAAAAAAAAAAAAAAAAAAA to 2AAAAAAAAAAAAAAAAAAAAA");
        hear("Topic t [0] Leader 2 Epoch 0");
        assert!(!context.is_deaf(&source), "the statistics are of the former topic");
        state(0);
        assert!(!context.is_deaf(&source));
        state(5);
        assert!(context.is_deaf(&source));
    }
}
