//! The group's committed offsets: concurrent commits of many partitions become one request.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::{
    Checkpoint, DeadLetterContext, Fault, FaultKind, OffsetRange, OffsetSet, PlanFingerprint, Records,
    TopicId, TopicPartition,
};
use tidegate_pipeline::port::{CheckpointLog, Epoch, Rejected};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::dead_letter_writer::{DeadLetterWriter, LetterBatch};
use crate::dead_lettered::GroupLetters;
use crate::fault::{code, fault};
use crate::options::{KafkaOptions, OptionsError};
use crate::ownership::{Begun, Ownership};
use crate::source::{SourceContext, Subscription};

/// How many commits become one request at most; one of a hundred bytes each fits any broker's limits.
const JOINED_MAX: usize = 2_000;

/// How long a commit is tried again that meets a rebalance. Longer than the rounds of one rebalance
/// usually take; after it the caller decides.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(5);

/// The pause before such a commit is tried again.
const REBALANCE_DELAY: Duration = Duration::from_millis(50);

/// What is committed as a whole: one partition's checkpoint, or those of several.
#[derive(Debug)]
struct Commit {
    members: Vec<(Epoch, TopicPartition, Checkpoint)>,
    /// Whether it says where a partition starts, and is worth nothing once anything else was to be committed.
    start: bool,
    reply: oneshot::Sender<Result<(), Fault>>,
}

/// Commits where partitions start, in order with what the pipeline commits.
#[derive(Debug, Clone)]
pub(crate) struct Starts(mpsc::UnboundedSender<Commit>);

impl Starts {
    /// Commits one start. May be repeated at any time: it does not turn back what the pipeline has committed since.
    pub(crate) fn commit(
        &self,
        epoch: Epoch,
        source: TopicPartition,
        checkpoint: Checkpoint,
    ) -> oneshot::Receiver<Result<(), Fault>> {
        let (reply, answer) = oneshot::channel();
        let commit = Commit { members: vec![(epoch, source, checkpoint)], start: true, reply };
        // A committer that is gone drops the reply.
        let _ = self.0.send(commit);
        answer
    }
}

/// The pipeline's checkpoint log on Kafka. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KafkaCheckpoints {
    commits: mpsc::UnboundedSender<Commit>,
    dead_letters: Option<DeadLetterWriter>,
    letters: Option<GroupLetters>,
}

impl KafkaCheckpoints {
    pub(crate) fn open(
        options: &KafkaOptions,
        subscription: &Subscription,
        consumer: &Arc<CurrentConsumer>,
        ownership: &Arc<Ownership>,
    ) -> Result<Self, OptionsError> {
        let dead_letters = match &subscription.dead_letters {
            None => None,
            Some(topic) => {
                let group = Group { consumer: Arc::clone(consumer), ownership: Arc::clone(ownership) };
                Some(DeadLetterWriter::start(options, &subscription.group, topic, group)?)
            }
        };
        let letters = subscription.dead_letters.as_ref().map(|topic| GroupLetters {
            options: options.clone(),
            topic: topic.topic.clone(),
            group: subscription.group.clone(),
        });
        let (commits, queue) = mpsc::unbounded_channel();
        let group = Group { consumer: Arc::clone(consumer), ownership: Arc::clone(ownership) };
        let committer = Committer { group, address: options.address() };
        std::thread::Builder::new()
            .name("kafka-commits".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|error| OptionsError::Client { reason: error.to_string() })?;
        Ok(Self { commits, dead_letters, letters })
    }
}

impl KafkaCheckpoints {
    pub(crate) fn starts(&self) -> Starts {
        Starts(self.commits.clone())
    }
}

impl CheckpointLog for KafkaCheckpoints {
    async fn commit(
        &self,
        epoch: Epoch,
        source: &TopicPartition,
        checkpoint: Checkpoint,
    ) -> Result<(), Fault> {
        self.commit_all(&[(epoch, source.clone(), checkpoint)]).await
    }

    async fn commit_all(&self, commits: &[(Epoch, TopicPartition, Checkpoint)]) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let commit = Commit { members: commits.to_vec(), start: false, reply };
        self.commits.send(commit).map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn commit_with_dead_letters(
        &self,
        epoch: Epoch,
        checkpoint: Checkpoint,
        records: &Records,
        rejected: &[Rejected],
        context: &DeadLetterContext,
        plan: PlanFingerprint,
    ) -> Result<(), Fault> {
        let Some(writer) = &self.dead_letters else {
            return Err(Fault::new(
                FaultKind::Missing,
                "no dead-letter topic is configured for rejected records",
            ));
        };
        let batch = LetterBatch { records, rejected, context, plan };
        writer.commit(epoch, checkpoint, batch).await
    }

    async fn dead_lettered(&self, source: &TopicPartition, range: OffsetRange) -> Result<OffsetSet, Fault> {
        match &self.letters {
            Some(letters) => letters.offsets(source, range).await,
            None => Ok(OffsetSet::default()),
        }
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::Fenced, "the Kafka source is closed")
}

/// The consumer that a source reads by now. Gone once the source is closed: a commit must not keep a member alive that
/// nobody polls.
#[derive(Debug, Default)]
pub(crate) struct CurrentConsumer(Mutex<Weak<BaseConsumer<SourceContext>>>);

impl CurrentConsumer {
    /// From now on it is this one.
    pub(crate) fn set(&self, consumer: &Arc<BaseConsumer<SourceContext>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(consumer);
    }

    fn get(&self) -> Option<Arc<BaseConsumer<SourceContext>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// The member of the group, as those see it who commit.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The consumer.
    pub consumer: Arc<CurrentConsumer>,
    /// What the member owns.
    pub ownership: Arc<Ownership>,
}

impl Group {
    /// The consumer.
    ///
    /// # Errors
    /// A [`FaultKind::Fenced`] fault once the source is closed.
    pub(crate) fn consumer(&self) -> Result<Arc<BaseConsumer<SourceContext>>, Fault> {
        self.consumer.get().ok_or_else(stopped)
    }
}

/// A list with these checkpoints' offsets and metadata, each in its topic if its id is known.
pub(crate) fn offsets<'a>(
    checkpoints: impl IntoIterator<Item = (&'a TopicPartition, &'a Checkpoint, Option<&'a TopicId>)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (source, checkpoint, topic) in checkpoints {
        let mut element = list.add_partition(&source.topic, source.partition);
        element.set_offset(Offset::Offset(checkpoint.offset)).expect("a checkpoint's offset has a number");
        element.set_metadata(checkpoint.metadata_in(topic));
    }
    list
}

struct Committer {
    group: Group,
    address: String,
}

impl Committer {
    fn run(self, mut queue: mpsc::UnboundedReceiver<Commit>) {
        while let Some(first) = queue.blocking_recv() {
            let mut waiting = vec![first];
            while waiting.len() < JOINED_MAX
                && let Ok(next) = queue.try_recv()
            {
                waiting.push(next);
            }
            while !waiting.is_empty() {
                let (round, later) = one_each(waiting);
                self.commit(round);
                waiting = later;
            }
        }
    }

    /// Commits one checkpoint of each of some partitions. Those that meet a rebalance are tried again
    /// while they are owned: under the cooperative protocol a member keeps partitions through a
    /// rebalance in which the broker refuses the old generation for a moment.
    fn commit(&self, mut round: Vec<Commit>) {
        let deadline = Instant::now() + REBALANCE_PATIENCE;
        loop {
            let Some(error) = self.attempt(&mut round) else {
                return round.into_iter().for_each(|commit| answer(commit, Ok(())));
            };
            match error.kind {
                Refusal::OnePartition | Refusal::Unknown if round.len() > 1 => {
                    return round.into_iter().for_each(|commit| self.commit(vec![commit]));
                }
                Refusal::Rebalance if Instant::now() < deadline => {
                    debug!(fault = %error.fault, "a commit waits for the rebalance");
                    std::thread::sleep(REBALANCE_DELAY);
                }
                Refusal::Unknown => {
                    // Of several in one commit all begin anew: which of them is unknown is not said.
                    let members = round.iter().flat_map(|commit| &commit.members);
                    members.for_each(|(_, source, _)| self.group.ownership.lose(source));
                    let fenced = Fault { kind: FaultKind::Fenced, ..error.fault };
                    return round.into_iter().for_each(|commit| answer(commit, Err(fenced.clone())));
                }
                Refusal::OnePartition | Refusal::Rebalance | Refusal::Whole => {
                    return round.into_iter().for_each(|commit| answer(commit, Err(error.fault.clone())));
                }
            }
        }
    }

    /// Sends one request for what is still owned; the rest is answered and leaves `round`.
    fn attempt(&self, round: &mut Vec<Commit>) -> Option<CommitError> {
        let held = self.group.ownership.hold();
        for commit in std::mem::take(round) {
            let mut members = commit.members.iter();
            match members.try_for_each(|(epoch, source, _)| held.check(source, *epoch)) {
                Ok(()) => round.push(commit),
                // One request is one step of the group's log: what is not in it does not take place.
                Err(fenced) => answer(commit, Err(fenced)),
            }
        }
        let begun = self.leave_late_starts(round);
        if round.is_empty() {
            return None;
        }
        let consumer = match self.group.consumer() {
            Ok(consumer) => consumer,
            Err(fault) => return Some(CommitError { kind: Refusal::Whole, fault }),
        };
        let members = round.iter().flat_map(|commit| &commit.members);
        let list = offsets(members.map(|(_, source, checkpoint)| (source, checkpoint, held.topic(source))));
        let result = consumer.commit(&list, CommitMode::Sync);
        drop((begun, held));
        result.err().map(|error| CommitError::of(&error, round, &self.address))
    }
}

impl Committer {
    /// Starts of partitions of which the pipeline was to commit something are answered and leave `round`: whether that was
    /// committed is not known, and the start would take it back. As long as the answer lives, nothing is begun elsewhere.
    fn leave_late_starts(&self, round: &mut Vec<Commit>) -> Option<MutexGuard<'_, Begun>> {
        let mut begun = self.group.ownership.begun();
        for commit in std::mem::take(round) {
            let mut members = commit.members.iter();
            if commit.start && members.any(|(epoch, source, _)| begun.get(source) == Some(epoch)) {
                answer(commit, Ok(()));
                continue;
            }
            if !commit.start {
                begun.extend(members.map(|(epoch, source, _)| (source.clone(), *epoch)));
            }
            round.push(commit);
        }
        round.iter().any(|commit| commit.start).then_some(begun)
    }
}

/// The caller may be gone; its commit has happened all the same.
fn answer(commit: Commit, result: Result<(), Fault>) {
    let _ = commit.reply.send(result);
}

/// Commits that name each partition once, and the others, in order.
fn one_each(waiting: Vec<Commit>) -> (Vec<Commit>, Vec<Commit>) {
    let mut seen = HashSet::new();
    waiting.into_iter().partition(|commit| {
        let first = commit.members.iter().all(|(_, source, _)| !seen.contains(source));
        // Those of a commit that waits are seen too, so that a later one does not overtake it.
        seen.extend(commit.members.iter().map(|(_, source, _)| source.clone()));
        first
    })
}

struct CommitError {
    kind: Refusal,
    fault: Fault,
}

/// Whom a refused commit concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// One of several partitions, and it is not known which.
    OnePartition,
    /// The same, and it does not exist.
    Unknown,
    /// The member, until the rebalance is over.
    Rebalance,
    /// All of the request.
    Whole,
}

impl CommitError {
    fn of(error: &KafkaError, round: &[Commit], address: &str) -> Self {
        let kind = code(error).map_or(Refusal::Whole, refusal);
        let mut members = round.iter().flat_map(|commit| &commit.members);
        let doing = match (members.next(), members.count()) {
            (Some((_, source, checkpoint)), 0) => {
                format!("commit offset {} of `{source}` at `{address}`", checkpoint.offset)
            }
            (_, others) => format!("commit offsets of {} partitions at `{address}`", others + 1),
        };
        Self { kind, fault: fault(error, &doing) }
    }
}

fn refusal(code: RDKafkaErrorCode) -> Refusal {
    match code {
        RDKafkaErrorCode::InvalidCommitOffsetSize
        | RDKafkaErrorCode::OffsetMetadataTooLarge
        | RDKafkaErrorCode::TopicAuthorizationFailed => Refusal::OnePartition,
        RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition => Refusal::Unknown,
        RDKafkaErrorCode::AssignmentLost
        | RDKafkaErrorCode::IllegalGeneration
        | RDKafkaErrorCode::RebalanceInProgress
        | RDKafkaErrorCode::UnknownMemberId => Refusal::Rebalance,
        // The client's list is open; any other code says nothing about one partition.
        _ => Refusal::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(partition: i32, offset: i64) -> Commit {
        let (reply, _) = oneshot::channel();
        let source = TopicPartition::new("t", partition);
        Commit { members: vec![(Epoch(1), source, Checkpoint::settled(offset))], start: false, reply }
    }

    #[test]
    fn a_later_commit_of_the_same_partition_waits_for_the_earlier() {
        let (round, later) = one_each(vec![commit(0, 1), commit(1, 1), commit(0, 2)]);
        let offsets = |commits: Vec<Commit>| {
            let members = commits.iter().flat_map(|commit| &commit.members);
            members.map(|(_, _, checkpoint)| checkpoint.offset).collect::<Vec<_>>()
        };
        assert_eq!((offsets(round), offsets(later)), (vec![1, 1], vec![2]));
    }

    #[test]
    fn a_start_that_is_repeated_does_not_take_back_what_was_begun() {
        let group = Group { consumer: Arc::default(), ownership: Arc::default() };
        let committer = Committer { group, address: String::new() };
        let start = |partition| Commit { start: true, ..commit(partition, 0) };
        let sent = |commit: Commit| {
            let mut round = vec![commit];
            let guard = committer.leave_late_starts(&mut round);
            assert_eq!(guard.is_some(), round.iter().any(|commit| commit.start));
            !round.is_empty()
        };
        assert!(sent(start(0)) && sent(start(0)));
        assert!(sent(commit(0, 5)));
        assert!(!sent(start(0)));
        assert!(sent(start(1)));
        let mut another = start(0);
        another.members[0].0 = Epoch(2);
        assert!(sent(another));
        committer.group.ownership.begin(&TopicPartition::new("t", 1), Epoch(1));
        assert!(!sent(start(1)), "dead letters are committed elsewhere");
    }

    #[test]
    fn a_list_carries_the_intent_and_the_topic_as_metadata() {
        let range = tidegate_core::OffsetRange::new(3, 9).unwrap();
        let checkpoint = Checkpoint::intending(range, PlanFingerprint(1));
        let source = TopicPartition::new("t", 2);
        let topic = TopicId::parse("q-1_AAAAAAAAAAAAAAAAAA");
        let list = offsets([(&source, &checkpoint, topic.as_ref())]);
        let element = list.find_partition("t", 2).unwrap();
        assert_eq!(element.offset(), Offset::Offset(3));
        assert_eq!(Checkpoint::parse_in(3, element.metadata()), Ok((checkpoint, topic)));
    }
}
