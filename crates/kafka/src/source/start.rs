//! Where an assigned partition starts: what the group committed, against what the log still holds.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, CheckpointError, Fault, FaultKind, Replay, Rewind, TopicId, TopicPartition};

use super::{OffsetReset, SourceContext};
use crate::fault::fault;

/// What a group committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The offset.
    pub offset: i64,
    /// The metadata; `None` if it is not UTF-8, and so not ours.
    pub metadata: Option<String>,
}

impl CommittedOffset {
    /// The commit as a checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        self.read().map(|(checkpoint, _)| checkpoint)
    }

    /// The commit as a checkpoint, and of which topic it is.
    fn read(&self) -> Result<(Checkpoint, Option<TopicId>), CheckpointError> {
        let metadata = self.metadata.as_deref().unwrap_or("\u{fffd}");
        Checkpoint::parse_in(self.offset, metadata)
    }

    /// Whether a newer version has begun something here. Whoever cannot read what, and goes on all the same, would
    /// write it twice.
    fn newer(&self) -> bool {
        matches!(self.checkpoint(), Err(CheckpointError::Newer { .. }))
    }
}

/// A partition's start, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// Where to go on.
    pub checkpoint: Checkpoint,
    /// The topic, if its id is known.
    pub topic: Option<TopicId>,
    /// The partition's end, read-committed.
    pub end: i64,
    /// Whether it says what the group has not committed, and must not be decided differently by who comes next.
    pub decided: bool,
    /// What was unusual.
    pub remark: Option<Remark>,
}

/// What a person should know about a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The metadata is another program's.
    Foreign(CheckpointError),
    /// The committed offset lies before the log's first record: what was between is gone.
    Overtaken {
        /// The offset that was committed.
        committed: i64,
    },
    /// The committed offset is one of a topic that had the name before.
    Recreated {
        /// The offset that was committed.
        committed: i64,
    },
}

/// Decides where a partition of the topic `present` starts.
///
/// An offset behind the log's end is left to the broker, whose answer to a fetch is final; a
/// stable end that is read here may lag after a change of leader, and going back to the first
/// record for that would insert everything twice.
pub(crate) fn decide(
    committed: Option<&CommittedOffset>,
    (low, end): (i64, i64),
    reset: OffsetReset,
    present: Option<TopicId>,
) -> Start {
    let Some(committed) = committed else {
        let offset = match reset {
            OffsetReset::Earliest => low,
            OffsetReset::Latest => end,
        };
        let checkpoint = Checkpoint::settled(offset);
        return Start { checkpoint, topic: present, end, decided: true, remark: None };
    };
    let read = committed.read();
    let former = read.as_ref().ok().and_then(|(_, topic)| topic.clone());
    if former.is_some() && present.is_some() && former != present {
        // Of this topic nothing has been read, and nothing is being inserted.
        let remark = Some(Remark::Recreated { committed: committed.offset });
        let checkpoint = Checkpoint::settled(low);
        return Start { checkpoint, topic: present, end, decided: true, remark };
    }
    // Whose topic was not named before is named from now on.
    let named = former.is_none() && present.is_some();
    let topic = present.or(former);
    if committed.offset < low {
        let remark = Some(Remark::Overtaken { committed: committed.offset });
        let rewind = read.ok().and_then(|(checkpoint, _)| overtaken(&checkpoint, low));
        let checkpoint = Checkpoint::settled(low).rewound(rewind);
        // It is told, and told again by who comes next rather than not at all.
        return Start { checkpoint, topic, end, decided: false, remark };
    }
    match read {
        Ok((checkpoint, _)) => Start { checkpoint, topic, end, decided: named, remark: None },
        Err(error) => Start {
            checkpoint: Checkpoint::settled(committed.offset),
            topic,
            end,
            decided: false,
            remark: Some(Remark::Foreign(error)),
        },
    }
}

/// How what is left of the log is read. What a person asked for when the offsets were reset still holds. A batch that was
/// being inserted, of which retention took the beginning, cannot be formed again, and the rest of it may have rows: the
/// table is asked. The intent's end tells this from other rewinds, and is the same for whoever decides it.
fn overtaken(checkpoint: &Checkpoint, low: i64) -> Option<Rewind> {
    let intent = checkpoint.intent.as_ref().filter(|intent| intent.root > low);
    let filling = intent.map(|intent| {
        let until = intent.root;
        Rewind { id: until.unsigned_abs(), until, replay: Replay::Fill }
    });
    checkpoint.rewind.or(filling)
}

/// Asks Kafka where these partitions start, of the topics that the consumer knows by their names.
pub(crate) fn resolve(
    consumer: &BaseConsumer<SourceContext>,
    partitions: &[TopicPartition],
    reset: OffsetReset,
    timeout: Duration,
) -> Result<Vec<(TopicPartition, Start)>, Fault> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let committed = committed(consumer, partitions, timeout)?;
    let watermarks = watermarks(consumer, partitions, timeout)?;
    let newer = |partition: &&TopicPartition| committed.get(*partition).is_some_and(CommittedOffset::newer);
    if let Some(partition) = partitions.iter().find(newer) {
        let message = format!(
            "what is in flight of `{partition}` was begun by a newer Tidegate; run that version until it is done"
        );
        return Err(Fault::new(FaultKind::Denied, message));
    }
    let start = |partition: &TopicPartition| {
        let watermarks = watermarks.get(partition).copied().unwrap_or_default();
        let present = consumer.context().ids.of(&partition.topic);
        (partition.clone(), decide(committed.get(partition), watermarks, reset, present))
    };
    Ok(partitions.iter().map(start).collect())
}

/// What the group has committed for these partitions. Waits for transactions that still hold an offset
/// open (librdkafka asks for stable offsets under `read_committed`).
pub(crate) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<HashMap<TopicPartition, CommittedOffset>, Fault> {
    const DOING: &str = "read committed offsets";
    let list = list(partitions, Offset::Invalid);
    let list = consumer.committed_offsets(list, timeout).map_err(|error| fault(&error, DOING))?;
    let mut committed = HashMap::new();
    for element in list.elements() {
        let source = TopicPartition::new(element.topic(), element.partition());
        element
            .error()
            .map_err(|error| fault(&error, &format!("read the committed offset of `{source}`")))?;
        if let Offset::Offset(offset) = element.offset() {
            committed.insert(source, CommittedOffset { offset, metadata: metadata(&element) });
        }
    }
    Ok(committed)
}

/// The client library panics on metadata that is not UTF-8, which any program may commit.
fn metadata(element: &TopicPartitionListElem<'_>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).ok()
}

/// The first offset and the end (the last stable offset, under `read_committed`) of these partitions,
/// in two requests a broker.
pub(crate) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<HashMap<TopicPartition, (i64, i64)>, Fault> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let mut watermarks = HashMap::new();
    for (at, first) in [(Offset::Beginning, true), (Offset::End, false)] {
        let found = consumer.offsets_for_times(list(partitions, at), timeout);
        let found = found.map_err(|error| fault(&error, "read the offsets of partitions"))?;
        for element in found.elements() {
            let source = TopicPartition::new(element.topic(), element.partition());
            element.error().map_err(|error| fault(&error, &format!("read the offsets of `{source}`")))?;
            let offset = match element.offset() {
                Offset::Offset(offset) => offset,
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => 0,
            };
            let (low, end) = watermarks.entry(source).or_insert((0, 0));
            if first {
                *low = offset;
            } else {
                *end = offset;
            }
        }
    }
    Ok(watermarks)
}

/// A list of these partitions, all at one offset.
pub(crate) fn list(partitions: &[TopicPartition], offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(offset).expect("every offset that this crate uses has a number");
    }
    list
}

#[cfg(test)]
mod tests {
    use tidegate_core::{OffsetRange, PlanFingerprint};

    use super::*;

    fn committed(offset: i64, metadata: &str) -> CommittedOffset {
        CommittedOffset { offset, metadata: Some(metadata.to_owned()) }
    }

    fn topic(n: u8) -> TopicId {
        TopicId::parse(&format!("{n}AAAAAAAAAAAAAAAAAAAAA")).unwrap()
    }

    #[track_caller]
    fn check(
        committed: Option<CommittedOffset>,
        log: (i64, i64),
        reset: OffsetReset,
        expected: Checkpoint,
    ) -> Start {
        let start = decide(committed.as_ref(), log, reset, Some(topic(1)));
        assert_eq!(start.checkpoint, expected);
        assert_eq!(start.topic, Some(topic(1)));
        assert_eq!(start.end, log.1);
        start
    }

    #[test]
    fn a_partition_never_committed_starts_by_the_reset() {
        check(None, (3, 9), OffsetReset::Earliest, Checkpoint::settled(3));
        check(None, (3, 9), OffsetReset::Latest, Checkpoint::settled(9));
    }

    #[test]
    fn an_intent_is_taken_up_as_it_was_stated() {
        let intent = Checkpoint::intending(OffsetRange::new(4, 8).unwrap(), PlanFingerprint(7));
        let start = check(Some(committed(4, &intent.metadata())), (0, 9), OffsetReset::Latest, intent);
        assert_eq!(start.remark, None);
    }

    #[test]
    fn what_was_committed_of_another_topic_of_the_name_counts_for_nothing() {
        let intent = Checkpoint::intending(OffsetRange::new(4, 8).unwrap(), PlanFingerprint(7));
        for checkpoint in [intent, Checkpoint::settled(4), Checkpoint::settled(40)] {
            let offset = checkpoint.offset;
            let of = |n| Some(committed(offset, &checkpoint.metadata_in(Some(&topic(n)))));
            check(of(1), (3, 9), OffsetReset::Latest, checkpoint.clone());
            let start = check(of(2), (3, 9), OffsetReset::Latest, Checkpoint::settled(3));
            assert_eq!(start.remark, Some(Remark::Recreated { committed: offset }));
        }
    }

    #[test]
    fn a_topic_whose_id_is_not_told_is_the_one_that_was_committed() {
        let committed = committed(4, &Checkpoint::settled(4).metadata_in(Some(&topic(2))));
        let start = decide(Some(&committed), (3, 9), OffsetReset::Latest, None);
        assert_eq!((start.checkpoint, start.topic), (Checkpoint::settled(4), Some(topic(2))));
    }

    #[test]
    fn foreign_metadata_is_settled_at_its_offset_and_remarked() {
        let start = check(Some(committed(4, "x")), (0, 9), OffsetReset::Earliest, Checkpoint::settled(4));
        assert!(matches!(start.remark, Some(Remark::Foreign(_))));
        let binary = CommittedOffset { offset: 4, metadata: None };
        let start = check(Some(binary), (0, 9), OffsetReset::Earliest, Checkpoint::settled(4));
        assert!(matches!(start.remark, Some(Remark::Foreign(_))));
    }

    #[test]
    fn what_a_newer_version_has_begun_is_told_from_what_is_foreign() {
        assert!(committed(4, "v4;end=9;what=ever").newer());
        assert!(!committed(4, "x").newer());
        assert!(
            !committed(4, "v2;end=9;plan=0000000000000000;joint=0000000000000000000000000000000a").newer()
        );
    }

    #[test]
    fn an_offset_that_retention_overtook_goes_to_the_first_record_and_is_remarked() {
        let start = check(Some(committed(4, "v1")), (5, 9), OffsetReset::Latest, Checkpoint::settled(5));
        assert_eq!(start.remark, Some(Remark::Overtaken { committed: 4 }));
        let rewind = Some(Rewind { id: 1, until: 7, replay: Replay::Fill });
        let rest = Checkpoint::settled(5).rewound(rewind);
        check(Some(committed(4, "v1;fill=1:7")), (5, 9), OffsetReset::Latest, rest);
    }

    #[test]
    fn a_batch_that_retention_took_half_of_asks_what_there_is_of_the_rest() {
        let intent = |end| Checkpoint::intending(OffsetRange::new(4, end).unwrap(), PlanFingerprint(7));
        let rest = |rewind| Checkpoint::settled(6).rewound(rewind);
        let begun = committed(4, &intent(8).metadata());
        let filling = Rewind { id: 8, until: 8, replay: Replay::Fill };
        check(Some(begun), (6, 9), OffsetReset::Latest, rest(Some(filling)));
        check(Some(committed(4, &intent(6).metadata())), (6, 9), OffsetReset::Latest, rest(None));
    }

    #[test]
    fn an_offset_behind_the_end_is_left_to_the_broker() {
        let start = check(Some(committed(12, "v1")), (0, 9), OffsetReset::Earliest, Checkpoint::settled(12));
        assert_eq!(start.remark, None);
    }
}
