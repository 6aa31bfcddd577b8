//! Dead letters and the checkpoint that leaves them behind, in one transaction.
//!
//! A thread owns the only transactional producer. A batch's letters come to it in chunks, so that a
//! batch of which every record was refused is never in memory twice. What waits when a transaction is done
//! goes into the next one together: it is committed for all of them or for none. If it is none because of
//! one of them, the others give their letters once more.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use tidegate_core::{
    Checkpoint, DeadLetter, DeadLetterContext, Fault, FaultKind, PlanFingerprint, Records, TopicPartition,
};
use tidegate_pipeline::port::{Epoch, Rejected};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use uuid::Uuid;

use crate::checkpoints::{Group, offsets};
use crate::dead_letter;
use crate::fault::{fault, of_code};
use crate::message::OwnedRecord;
use crate::options::{KafkaOptions, OptionsError};
use crate::source::{DeadLetterTopic, committed};
use crate::transaction::{TransactionError, TransactionalClient};

/// Letters are handed over in chunks of about this size.
const CHUNK_BYTES: usize = 256 * 1024;

/// How many chunks wait for the producer.
const CHUNKS_MAX: usize = 4;

/// How many partitions' transactions wait for their turn; further callers wait outside.
const WAITING_MAX: usize = 64;

/// How many batches go into one transaction at most.
const JOINED_MAX: usize = 32;

/// How much they may be together, in bytes, if they are several: a transaction must not take long.
const JOINED_BYTES_MAX: usize = 8 * 1024 * 1024;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A batch with what was refused of it.
#[derive(Clone, Copy)]
pub(crate) struct LetterBatch<'a> {
    pub records: &'a Records,
    pub rejected: &'a [Rejected],
    pub context: &'a DeadLetterContext,
    pub plan: PlanFingerprint,
}

impl LetterBatch<'_> {
    /// What the rejected records are, in bytes, without what a letter adds.
    fn size_bytes(&self) -> usize {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let records = self.rejected.iter().filter_map(|rejected| self.records.get(rejected.index));
        records.map(|record| length(record.key) + length(record.value)).sum()
    }
}

enum Part {
    Letters(Vec<OwnedRecord>),
    /// All letters have come. A channel that ends without it belongs to a caller who has gone.
    End,
}

struct Request {
    epoch: Epoch,
    source: TopicPartition,
    checkpoint: Checkpoint,
    /// What is rejected, in bytes.
    bytes: usize,
    /// Whether it must have a transaction of its own.
    alone: bool,
    parts: mpsc::Receiver<Part>,
    reply: oneshot::Sender<Outcome>,
}

impl Request {
    fn answer(self, outcome: Outcome) {
        // Whoever is still giving letters stops now.
        drop(self.parts);
        // The caller may be gone; what has happened has happened all the same.
        let _ = self.reply.send(outcome);
    }

    /// Whether this one can go with those of `round`.
    fn joins(&self, round: &[Self]) -> bool {
        let bytes: usize = round.iter().map(|request| request.bytes).sum();
        !self.alone
            && round.len() < JOINED_MAX
            && bytes + self.bytes <= JOINED_BYTES_MAX
            && round.iter().all(|request| !request.alone && request.source != self.source)
    }
}

/// Whether a failure of this kind may be because of one batch, and not of the others.
fn may_be_of_one(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Denied | FaultKind::Missing | FaultKind::Unknown => true,
        FaultKind::Network | FaultKind::Overload | FaultKind::Unavailable | FaultKind::Fenced => false,
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Committed,
    Faulted(Fault),
    /// The transaction was aborted for another's sake.
    Again {
        /// Whose, is not known.
        alone: bool,
    },
}

/// Why a transaction of several batches did not take place, or may not have.
#[derive(Debug)]
struct Failure {
    error: TransactionError,
    /// Because of which of them, if it is because of one that is known.
    culprit: Option<usize>,
}

impl Failure {
    /// What is answered to one of so many.
    fn outcome(&self, at: usize, n_joined: usize) -> Outcome {
        let TransactionError { fault, aborted, broken: _ } = &self.error;
        match self.culprit {
            Some(culprit) if culprit != at => Outcome::Again { alone: false },
            // One record that is too large, one topic that is gone: for each it is found out.
            None if n_joined > 1 && *aborted && may_be_of_one(fault.kind) => Outcome::Again { alone: true },
            Some(_) | None => Outcome::Faulted(fault.clone()),
        }
    }
}

/// The async side of the writer.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetterWriter {
    requests: mpsc::Sender<Request>,
    topic: String,
}

impl DeadLetterWriter {
    /// Starts the writer's thread. The producer is made when the first letter comes.
    pub(crate) fn start(
        options: &KafkaOptions,
        group_id: &str,
        topic: &DeadLetterTopic,
        group: Group,
    ) -> Result<Self, OptionsError> {
        let unique = || format!("{group_id}-{}", Uuid::new_v4().simple());
        let (requests, queue) = mpsc::channel(WAITING_MAX);
        let writer = Writer {
            options: options.clone(),
            transactional_id: topic.transactional_id.clone().unwrap_or_else(unique),
            topic: topic.topic.clone(),
            group,
            client: None,
            unsettled: HashMap::new(),
        };
        std::thread::Builder::new()
            .name("kafka-dead-letters".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| OptionsError::Client { reason: error.to_string() })?;
        Ok(Self { requests, topic: topic.topic.clone() })
    }

    /// Writes the letters and the checkpoint.
    pub(crate) async fn commit(
        &self,
        epoch: Epoch,
        checkpoint: Checkpoint,
        batch: LetterBatch<'_>,
    ) -> Result<(), Fault> {
        let mut alone = false;
        loop {
            match self.attempt(epoch, checkpoint.clone(), batch, alone).await? {
                Outcome::Committed => return Ok(()),
                Outcome::Faulted(fault) => return Err(fault),
                Outcome::Again { alone: apart } => alone = apart,
            }
        }
    }

    async fn attempt(
        &self,
        epoch: Epoch,
        checkpoint: Checkpoint,
        batch: LetterBatch<'_>,
        alone: bool,
    ) -> Result<Outcome, Fault> {
        let stopped = || Fault::new(FaultKind::Fenced, "the Kafka source is closed");
        let (give, parts) = mpsc::channel(CHUNKS_MAX);
        let (reply, answer) = oneshot::channel();
        let (source, bytes) = (batch.records.source().clone(), batch.size_bytes());
        let request = Request { epoch, source, checkpoint, bytes, alone, parts, reply };
        self.requests.send(request).await.map_err(|_| stopped())?;
        let mut chunk = Vec::new();
        let mut chunk_bytes = 0;
        for rejected in batch.rejected {
            let letter = letter(&self.topic, batch, rejected)?;
            chunk_bytes += letter.size_bytes();
            chunk.push(letter);
            if chunk_bytes >= CHUNK_BYTES {
                chunk_bytes = 0;
                if give.send(Part::Letters(std::mem::take(&mut chunk))).await.is_err() {
                    break;
                }
            }
        }
        // A writer that takes no more has failed, and its answer says why.
        let _ = give.send(Part::Letters(chunk)).await;
        let _ = give.send(Part::End).await;
        answer.await.map_err(|_| stopped())
    }
}

/// The dead letter of one rejected record: to the partition of the same number, if there is one.
fn letter(topic: &str, batch: LetterBatch<'_>, rejected: &Rejected) -> Result<OwnedRecord, Fault> {
    let Some(record) = batch.records.get(rejected.index) else {
        let message = format!("rejected record {} of a batch of {}", rejected.index, batch.records.len());
        return Err(Fault::new(FaultKind::Unknown, message));
    };
    let source = batch.records.source();
    let letter = DeadLetter { source, record, reject: &rejected.reject };
    let added = dead_letter::headers(&letter, batch.context, batch.plan);
    let own = letter.original_headers();
    let own = own.map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)));
    let added = added.into_iter().map(|(name, value)| (name.to_owned(), value.map(String::into_bytes)));
    Ok(OwnedRecord {
        topic: topic.to_owned(),
        partition: Some(source.partition),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: own.chain(added).collect(),
        timestamp: record.timestamp.map(|timestamp| timestamp.millis),
    })
}

struct Client {
    transactions: TransactionalClient,
    partitions: i32,
}

/// The thread's side.
struct Writer {
    options: KafkaOptions,
    transactional_id: String,
    topic: String,
    group: Group,
    client: Option<Client>,
    /// Checkpoints of transactions that may or may not have been committed.
    unsettled: HashMap<TopicPartition, Checkpoint>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| queue.blocking_recv()) {
            let mut round = vec![first];
            while let Ok(request) = queue.try_recv() {
                if !request.joins(&round) {
                    next = Some(request);
                    break;
                }
                round.push(request);
            }
            self.serve(round);
        }
    }

    fn serve(&mut self, round: Vec<Request>) {
        let mut round = self.due(round);
        if round.is_empty() {
            return;
        }
        let Some(client) = self.client.as_ref() else { return };
        let Err(failure) = write(client, &self.group, &mut round) else {
            return round.into_iter().for_each(|request| request.answer(Outcome::Committed));
        };
        if !failure.error.aborted {
            let checkpoints =
                round.iter().map(|request| (request.source.clone(), request.checkpoint.clone()));
            self.unsettled.extend(checkpoints);
        }
        if failure.error.broken {
            warn!(fault = %failure.error.fault, "the transactional producer is made anew");
            self.client = None;
        }
        let n_joined = round.len();
        for (at, request) in round.into_iter().enumerate() {
            request.answer(failure.outcome(at, n_joined));
        }
    }

    /// Those that are still to be written; the others are answered. The producer is there if there are any.
    fn due(&mut self, round: Vec<Request>) -> Vec<Request> {
        let owned = |request: &Request| self.group.ownership.hold().check(&request.source, request.epoch);
        let round = answered(round, |request| owned(request).map(|()| false));
        if round.is_empty() {
            return round;
        }
        let connected = self.connect();
        answered(round, |request| connected.clone().and_then(|()| self.settled(request)))
    }

    /// Makes the producer, if there is none. That ends what its predecessor left open.
    fn connect(&mut self) -> Result<(), Fault> {
        if self.client.is_some() {
            return Ok(());
        }
        let doing = format!("look up dead-letter topic `{}`", self.topic);
        // Asked by the consumer: a producer's question would create the topic with default settings.
        let metadata = self.group.consumer()?.fetch_metadata(Some(&self.topic), REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| fault(&error, &doing))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let missing = || Fault::new(FaultKind::Missing, format!("{doing}: it does not exist"));
        let topic = topic.ok_or_else(missing)?;
        if let Some(error) = topic.error() {
            return Err(of_code(error.into(), &doing));
        }
        let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        if partitions == 0 {
            return Err(missing());
        }
        let transactions = TransactionalClient::open(&self.options, &self.transactional_id)?;
        self.client = Some(Client { transactions, partitions });
        Ok(())
    }

    /// Whether an earlier transaction with this very checkpoint, whose end nobody knew, was committed.
    /// By then the producer has been made anew, and so the transaction has ended; writing its letters
    /// again would write them twice.
    fn settled(&mut self, request: &Request) -> Result<bool, Fault> {
        let Some(checkpoint) = self.unsettled.get(&request.source) else { return Ok(false) };
        let same = *checkpoint == request.checkpoint;
        let sources = std::slice::from_ref(&request.source);
        let found = committed(&*self.group.consumer()?, sources, REQUEST_TIMEOUT)?;
        self.unsettled.remove(&request.source);
        let found = found.get(&request.source).and_then(|found| found.checkpoint().ok());
        Ok(same && found.as_ref() == Some(&request.checkpoint))
    }
}

/// Answers what is done already, or cannot be; the rest is given back.
fn answered(round: Vec<Request>, mut done: impl FnMut(&Request) -> Result<bool, Fault>) -> Vec<Request> {
    let mut rest = Vec::new();
    for request in round {
        match done(&request) {
            Ok(false) => rest.push(request),
            Ok(true) => request.answer(Outcome::Committed),
            Err(fault) => request.answer(Outcome::Faulted(fault)),
        }
    }
    rest
}

/// Runs one transaction.
fn write(client: &Client, group: &Group, round: &mut [Request]) -> Result<(), Failure> {
    let transactions = &client.transactions;
    let all = |error| Failure { error, culprit: None };
    transactions.begin().map_err(all)?;
    for (at, request) in round.iter_mut().enumerate() {
        let written = write_letters(client, request);
        written.map_err(|error| Failure { error, culprit: Some(at) })?;
    }
    // From here on a revocation of the partitions waits.
    let held = group.ownership.hold();
    for (at, request) in round.iter().enumerate() {
        let fenced = held.check(&request.source, request.epoch);
        fenced.map_err(|fault| Failure { error: transactions.abort(fault), culprit: Some(at) })?;
    }
    for request in round.iter() {
        group.ownership.begin(&request.source, request.epoch);
    }
    let consumer = group.consumer().map_err(|fault| all(transactions.abort(fault)))?;
    let Some(metadata) = consumer.group_metadata() else {
        let fault = Fault::new(FaultKind::Unavailable, "the consumer is in no group");
        return Err(all(transactions.abort(fault)));
    };
    let checkpoints =
        round.iter().map(|request| (&request.source, &request.checkpoint, held.topic(&request.source)));
    let offsets = offsets(checkpoints);
    let committed = transactions.commit(Some((&offsets, &metadata)));
    drop(held);
    committed.map_err(all)
}

fn write_letters(client: &Client, request: &mut Request) -> Result<(), TransactionError> {
    let transactions = &client.transactions;
    loop {
        match request.parts.blocking_recv() {
            Some(Part::Letters(letters)) => {
                for mut letter in letters {
                    letter.partition = letter.partition.map(|partition| partition % client.partitions);
                    transactions.send(&letter)?;
                }
            }
            Some(Part::End) => return Ok(()),
            None => return Err(transactions.abort(gone(&request.source))),
        }
    }
}

fn gone(source: &TopicPartition) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("the dead letters of `{source}` were withdrawn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(partition: i32, bytes: usize, alone: bool) -> Request {
        let (_, parts) = mpsc::channel(1);
        let (reply, _) = oneshot::channel();
        let source = TopicPartition::new("t", partition);
        Request { epoch: Epoch(1), source, checkpoint: Checkpoint::settled(1), bytes, alone, parts, reply }
    }

    #[test]
    fn batches_of_distinct_partitions_go_together_up_to_a_size() {
        let round = [request(0, 100, false), request(1, JOINED_BYTES_MAX - 200, false)];
        assert!(request(2, 100, false).joins(&round));
        assert!(!request(2, 101, false).joins(&round));
        assert!(!request(1, 1, false).joins(&round), "one after the other");
        assert!(!request(2, 1, true).joins(&round));
        assert!(!request(2, 1, false).joins(&[request(0, 1, true)]));
    }

    fn failure(kind: FaultKind, aborted: bool, culprit: Option<usize>) -> Failure {
        Failure { error: TransactionError { fault: Fault::new(kind, "x"), aborted, broken: false }, culprit }
    }

    #[test]
    fn only_whom_it_concerns_is_told_of_a_failure() {
        let told = |failure: Failure, n_joined| {
            let outcomes: Vec<Outcome> = (0..n_joined).map(|at| failure.outcome(at, n_joined)).collect();
            outcomes
        };
        let faulted = |kind| Outcome::Faulted(Fault::new(kind, "x"));
        let fenced = failure(FaultKind::Fenced, true, Some(1));
        let [again, alone] = [false, true].map(|alone| Outcome::Again { alone });
        assert_eq!(told(fenced, 2), [again, faulted(FaultKind::Fenced)]);
        let too_large = failure(FaultKind::Denied, true, None);
        assert_eq!(told(too_large, 2), [alone, Outcome::Again { alone: true }]);
        assert_eq!(told(failure(FaultKind::Denied, true, None), 1), [faulted(FaultKind::Denied)]);
        // What concerns all, or may have been committed, is for the callers to wait for and to repeat.
        for unknown in [failure(FaultKind::Network, true, None), failure(FaultKind::Denied, false, None)] {
            let kind = unknown.error.fault.kind;
            assert_eq!(told(unknown, 2), [faulted(kind), faulted(kind)]);
        }
    }
}
