//! Which topic it is that has a name: Kafka's topic ids, out of librdkafka's own log.
//!
//! The client knows the id of every topic that it reads, and gives it to nobody; but it logs, at level debug, that a
//! topic's id has changed (from none, at first), before it uses the new one. Log lines come by the queue that records
//! come by, before those that are there already. So what is read here is known before the first record of the other
//! topic comes, over whatever connection, TLS and password the client has.
//!
//! The same log tells the leader epochs (KIP-320) that Kafka states. A topic that is created again begins at epoch 0,
//! and librdkafka takes no epoch that is below the one it has, of whichever topic
//! ([librdkafka 4898](https://github.com/confluentinc/librdkafka/issues/4898)): what it states in its statistics stays
//! above what Kafka states, and it reads the partition no more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_core::{TopicId, TopicPartition};

/// The debugging context whose lines tell ids.
pub(super) const DEBUG_CONTEXT: &str = "metadata";

/// The ids that the client has told.
#[derive(Debug, Default)]
pub(crate) struct TopicIds {
    known: Mutex<Known>,
    replaced: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    present: HashMap<String, TopicId>,
    /// The id that the client uses, by topic: a broker that is behind may have told it a former one.
    used: HashMap<String, TopicId>,
    /// The highest leader epochs of the present topics, by partition.
    leader_epochs: HashMap<String, HashMap<i32, i32>>,
    /// Ids that others have replaced. None comes back: a broker that still tells one is behind the others.
    former: HashSet<TopicId>,
}

/// `Topic <name> changed id from <id> to <id>`, whatever stands before.
#[derive(Debug, PartialEq, Eq)]
struct Change<'a> {
    topic: &'a str,
    from: Option<TopicId>,
    to: Option<TopicId>,
}

impl<'a> Change<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (head, ids) = line.split_once(" changed id from ")?;
        let (_, topic) = head.rsplit_once("Topic ")?;
        let (from, to) = ids.trim_end().split_once(" to ")?;
        Some(Self { topic, from: TopicId::parse(from), to: TopicId::parse(to) })
    }
}

/// `Topic <name> [<partition>] Leader <node> Epoch <epoch>`, whatever stands before.
#[derive(Debug, PartialEq, Eq)]
struct Leader<'a> {
    topic: &'a str,
    partition: i32,
    epoch: i32,
}

impl<'a> Leader<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (head, leader) = line.split_once("] Leader ")?;
        let (_, place) = head.rsplit_once("Topic ")?;
        let (topic, partition) = place.rsplit_once(" [")?;
        let (_, epoch) = leader.trim_end().split_once(" Epoch ")?;
        Some(Self { topic, partition: partition.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

impl Known {
    /// Whether the topic's name was another topic's until now.
    fn change(&mut self, topic: &str, from: Option<TopicId>, to: TopicId) -> bool {
        self.used.insert(topic.to_owned(), to.clone());
        if self.former.contains(&to) {
            return false;
        }
        // The client forgets topics that it has no partition of, and then tells of no change.
        let before = self.present.insert(topic.to_owned(), to.clone()).or(from);
        let Some(before) = before.filter(|before| *before != to) else { return false };
        self.former.insert(before);
        self.leader_epochs.remove(topic);
        true
    }

    fn lead(&mut self, Leader { topic, partition, epoch }: Leader<'_>) {
        // Epochs of a former topic say nothing of this one's.
        if self.used.get(topic) == self.present.get(topic) {
            let epochs = self.leader_epochs.entry(topic.to_owned()).or_default();
            let known = epochs.entry(partition).or_insert(epoch);
            *known = epoch.max(*known);
        }
    }
}

impl TopicIds {
    /// Takes note of a line of the log. Says whether a topic has taken the name of another.
    pub(super) fn hear(&self, line: &str) -> bool {
        if let Some(leader) = Leader::read(line) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).lead(leader);
        }
        let Some(Change { topic, from, to: Some(to) }) = Change::read(line) else { return false };
        let another = self.known.lock().unwrap_or_else(PoisonError::into_inner).change(topic, from, to);
        if another {
            self.replaced.fetch_add(1, Ordering::Release);
        }
        another
    }

    /// The highest leader epoch that Kafka has told of the partition, since its topic has the name.
    pub(super) fn leader_epoch(&self, source: &TopicPartition) -> Option<i32> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.leader_epochs.get(&*source.topic)?.get(&source.partition).copied()
    }

    /// The id of the topic that has this name now, as far as it is known.
    pub(crate) fn of(&self, topic: &str) -> Option<TopicId> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).present.get(topic).cloned()
    }

    /// Whether the partition's topic is known to be another one than `id`.
    pub(super) fn replaced(&self, source: &TopicPartition, id: Option<&TopicId>) -> bool {
        let present = self.of(&source.topic);
        id.is_some_and(|id| present.is_some_and(|present| present != *id))
    }

    /// Grows with every topic that takes the place of another.
    pub(super) fn version(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    const ONE: &str = "1AAAAAAAAAAAAAAAAAAAAA";
    const TWO: &str = "2AAAAAAAAAAAAAAAAAAAAA";

    fn line(from: &str, to: &str) -> String {
        format!("[thrd:main]: Topic t.x changed id from {from} to {to}")
    }

    fn known(ids: &TopicIds) -> (Option<String>, u64) {
        (ids.of("t.x").map(|id| id.to_string()), ids.version())
    }

    #[test]
    fn an_id_is_told_by_the_log_and_never_comes_back_once_it_is_replaced() {
        let ids = TopicIds::default();
        ids.hear("[thrd:main]: Topic t.x [0] Leader 1 Epoch 0");
        assert_eq!(known(&ids), (None, 0));
        ids.hear(&line(NONE, ONE));
        assert_eq!(known(&ids), (Some(ONE.to_owned()), 0));
        ids.hear(&line(ONE, TWO));
        assert_eq!(known(&ids), (Some(TWO.to_owned()), 1));
        // A broker that is behind.
        ids.hear(&line(TWO, ONE));
        ids.hear(&line(ONE, TWO));
        assert_eq!(known(&ids), (Some(TWO.to_owned()), 1));
    }

    #[test]
    fn a_leader_epoch_is_of_the_topic_that_has_the_name_now() {
        let ids = TopicIds::default();
        let source = TopicPartition::new("t.x", 0);
        let lead = |epoch: i32| ids.hear(&format!("[thrd:main]: Topic t.x [0] Leader 1 Epoch {epoch}"));
        ids.hear(&line(NONE, ONE));
        assert_eq!(ids.leader_epoch(&source), None);
        lead(7);
        lead(6);
        assert_eq!(ids.leader_epoch(&source), Some(7), "a broker that is behind tells an older one");
        ids.hear(&line(ONE, TWO));
        lead(0);
        assert_eq!(ids.leader_epoch(&source), Some(0));
        // A broker that is behind tells of the former topic.
        ids.hear(&line(TWO, ONE));
        lead(7);
        ids.hear(&line(ONE, TWO));
        lead(1);
        assert_eq!(ids.leader_epoch(&source), Some(1));
    }

    #[test]
    fn a_topic_that_the_client_had_forgotten_is_compared_all_the_same() {
        let ids = TopicIds::default();
        ids.hear(&line(NONE, ONE));
        ids.hear(&line(NONE, ONE));
        let source = TopicPartition::new("t.x", 3);
        let one = TopicId::parse(ONE);
        assert!(!ids.replaced(&source, one.as_ref()) && ids.version() == 0);
        ids.hear(&line(NONE, TWO));
        assert!(ids.replaced(&source, one.as_ref()) && ids.version() == 1);
        assert!(!ids.replaced(&source, None), "nothing is known of what was read");
    }
}
