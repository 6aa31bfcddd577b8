//! Which partitions this process owns, and under which epoch.
//!
//! Whoever commits holds a [`Held`] while the request is under way; a revocation waits for it before it
//! gives the partitions up. Without that wait: a commit is checked, then stalls; the partition goes to
//! another member, which commits further; this member rejoins with a new generation; the stalled
//! commit goes out under the new generation, is accepted, and turns the other's progress back.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tidegate_core::{Fault, FaultKind, TopicId, TopicPartition};
use tidegate_pipeline::port::Epoch;

type Epochs = HashMap<TopicPartition, Owned>;

/// Partitions of which something was to be committed since they were opened, and under which epoch.
pub(crate) type Begun = HashMap<TopicPartition, Epoch>;

/// Under what a partition is owned.
#[derive(Debug)]
struct Owned {
    epoch: Epoch,
    topic: Option<TopicId>,
}

/// The partitions that may be committed, with their epochs.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    epochs: RwLock<Epochs>,
    last: Mutex<u64>,
    gone: Mutex<BTreeSet<TopicPartition>>,
    begun: Mutex<Begun>,
}

/// Keeps every partition in its epoch until it is dropped.
pub(crate) struct Held<'a>(RwLockReadGuard<'a, Epochs>);

impl Ownership {
    /// Opens a fresh epoch for these partitions of these topics, as far as their ids are known.
    pub(crate) fn open<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, Option<TopicId>)>,
    ) -> Epoch {
        let epoch = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last += 1;
            Epoch(*last)
        };
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        let owned = |(partition, topic): (&TopicPartition, _)| (partition.clone(), Owned { epoch, topic });
        epochs.extend(partitions.into_iter().map(owned));
        epoch
    }

    /// Closes these partitions' epochs, once every commit under way has ended.
    pub(crate) fn close<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            epochs.remove(partition);
        }
    }

    /// Closes every epoch, as [`Ownership::close`] does.
    pub(crate) fn close_all(&self) {
        self.epochs.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes the epoch of a partition that Kafka does not know: its topic was deleted. One that is created
    /// again under that name has other records at the same offsets, of which no commit may be made.
    pub(crate) fn lose(&self, partition: &TopicPartition) {
        self.close([partition]);
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(partition.clone());
    }

    /// The partitions that were lost since the last call, each once: who reads and who commits may both have
    /// found it, and librdkafka ends the process if it is told to give a partition back twice.
    pub(crate) fn take_gone(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What has been begun. Nothing more is as long as the answer lives.
    pub(crate) fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the partition's start is history, even if it could not be committed.
    pub(crate) fn begin(&self, partition: &TopicPartition, epoch: Epoch) {
        self.begun().insert(partition.clone(), epoch);
    }

    /// Keeps the epochs as they are while the answer lives.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.epochs.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held<'_> {
    /// Says whether `partition` is owned under `epoch`.
    ///
    /// # Errors
    /// A [`FaultKind::Fenced`] fault if it is not.
    pub(crate) fn check(&self, partition: &TopicPartition, epoch: Epoch) -> Result<(), Fault> {
        match self.0.get(partition) {
            Some(current) if current.epoch == epoch => Ok(()),
            Some(_) => Err(fenced(partition, "was assigned anew")),
            None => Err(fenced(partition, "is not assigned to this process any more")),
        }
    }

    /// The topic whose partition is owned: what is committed is an offset of it, and of no other of its name.
    pub(crate) fn topic(&self, partition: &TopicPartition) -> Option<&TopicId> {
        self.0.get(partition).and_then(|owned| owned.topic.as_ref())
    }
}

fn fenced(partition: &TopicPartition, why: &str) -> Fault {
    Fault::new(FaultKind::Fenced, format!("partition `{partition}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_with_its_partition_and_never_returns() {
        let ownership = Ownership::default();
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let first = ownership.open([(&a, None), (&b, None)]);
        ownership.close([&a]);
        assert_eq!(ownership.hold().check(&b, first), Ok(()));
        assert_eq!(ownership.hold().check(&a, first).unwrap_err().kind, FaultKind::Fenced);
        let second = ownership.open([(&a, None)]);
        assert!(second > first);
        assert_eq!(ownership.hold().check(&a, first).unwrap_err().kind, FaultKind::Fenced);
        assert_eq!(ownership.hold().check(&a, second), Ok(()));
    }

    #[test]
    fn a_lost_partition_is_fenced_and_told_once() {
        let ownership = Ownership::default();
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let epoch = ownership.open([(&a, None), (&b, None)]);
        ownership.lose(&a);
        ownership.lose(&a);
        assert_eq!(ownership.hold().check(&a, epoch).unwrap_err().kind, FaultKind::Fenced);
        assert_eq!(ownership.hold().check(&b, epoch), Ok(()));
        assert_eq!((ownership.take_gone(), ownership.take_gone()), (BTreeSet::from([a]), BTreeSet::new()));
    }

    #[test]
    fn closing_waits_for_a_commit_under_way() {
        let ownership = Ownership::default();
        let partition = TopicPartition::new("t", 0);
        let epoch = ownership.open([(&partition, None)]);
        let (told, tell) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let held = ownership.hold();
            let (ownership, partition) = (&ownership, &partition);
            scope.spawn(move || {
                ownership.close([partition]);
                told.send("closed").unwrap();
            });
            assert_eq!(held.check(partition, epoch), Ok(()));
            assert!(tell.try_recv().is_err(), "closed while a commit was under way");
            drop(held);
            assert_eq!(tell.recv(), Ok("closed"));
        });
    }
}
