//! Dead letters and the checkpoint that leaves them behind, in one transaction.
//!
//! A thread owns the only transactional producer. A batch's letters come to it in chunks, so that a
//! batch of which every record was refused is never in memory twice.

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

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A batch with what was refused of it.
#[derive(Clone, Copy)]
pub(crate) struct LetterBatch<'a> {
    pub records: &'a Records,
    pub rejected: &'a [Rejected],
    pub context: &'a DeadLetterContext,
    pub plan: PlanFingerprint,
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
    parts: mpsc::Receiver<Part>,
    reply: oneshot::Sender<Result<(), Fault>>,
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
        let stopped = || Fault::new(FaultKind::Fenced, "the Kafka source is closed");
        let (give, parts) = mpsc::channel(CHUNKS_MAX);
        let (reply, answer) = oneshot::channel();
        let source = batch.records.source().clone();
        let request = Request { epoch, source, checkpoint, parts, reply };
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
        answer.await.unwrap_or_else(|_| Err(stopped()))
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
        while let Some(mut request) = queue.blocking_recv() {
            let result = self.serve(&mut request);
            // Whoever is still giving letters stops now.
            drop(request.parts);
            let _ = request.reply.send(result);
        }
    }

    fn serve(&mut self, request: &mut Request) -> Result<(), Fault> {
        self.group.ownership.hold().check(&request.source, request.epoch)?;
        self.connect()?;
        if self.settled(request)? {
            return Ok(());
        }
        let Some(client) = self.client.as_ref() else { return Err(gone(&request.source)) };
        let Err(error) = write(client, &self.group, request) else { return Ok(()) };
        if !error.aborted {
            self.unsettled.insert(request.source.clone(), request.checkpoint.clone());
        }
        if error.broken {
            warn!(fault = %error.fault, "the transactional producer is made anew");
            self.client = None;
        }
        Err(error.fault)
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

/// Runs one transaction.
fn write(client: &Client, group: &Group, request: &mut Request) -> Result<(), TransactionError> {
    let transactions = &client.transactions;
    transactions.begin()?;
    loop {
        match request.parts.blocking_recv() {
            Some(Part::Letters(letters)) => {
                for mut letter in letters {
                    letter.partition = letter.partition.map(|partition| partition % client.partitions);
                    transactions.send(&letter)?;
                }
            }
            Some(Part::End) => break,
            None => return Err(transactions.abort(gone(&request.source))),
        }
    }
    // From here on a revocation of the partition waits.
    let held = group.ownership.hold();
    held.check(&request.source, request.epoch).map_err(|fault| transactions.abort(fault))?;
    group.ownership.begin(&request.source, request.epoch);
    let consumer = group.consumer().map_err(|fault| transactions.abort(fault))?;
    let Some(metadata) = consumer.group_metadata() else {
        return Err(transactions.abort(gone(&request.source)));
    };
    let offsets = offsets([(&request.source, &request.checkpoint, held.topic(&request.source))]);
    let committed = transactions.commit(Some((&offsets, &metadata)));
    drop(held);
    committed
}

fn gone(source: &TopicPartition) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("the dead letters of `{source}` were withdrawn"))
}
