//! Reading a topic from somewhere to its present end, outside of any group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tidegate_core::{Fault, FaultKind, Records, TopicPartition};
use tokio::sync::mpsc;

use crate::admin::partitions;
use crate::client::Quiet;
use crate::fault::{fault, of_code};
use crate::message::push;
use crate::options::{KafkaOptions, OptionsError};
use crate::source::watermarks;

/// What is handed over at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// How many chunks wait for the reader's caller.
const CHUNKS_MAX: usize = 4;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long Kafka may say nothing before the reading is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the first record of every partition.
    Beginning,
    /// At these offsets, by partition; partitions that are not named are not read. An offset that
    /// retention has overtaken counts as the first record.
    Offsets(BTreeMap<i32, i64>),
}

/// Reads committed records up to the end that the topic had when reading began. Dropping it stops it.
#[derive(Debug)]
pub struct BoundedReader {
    chunks: mpsc::Receiver<Result<Records, Fault>>,
}

impl BoundedReader {
    /// Begins to read, on a thread of its own.
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn open(options: &KafkaOptions, topic: &str, from: ReadFrom) -> Result<Self, OptionsError> {
        let mut config = options.client_config()?;
        // A name that no group has: nothing is ever committed or joined.
        config.set("group.id", "tidegate-reader");
        config.set("allow.auto.create.topics", "false");
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error");
        config.set("queued.max.messages.kbytes", "4096");
        config.set("fetch.max.bytes", (8 * 1024 * 1024).to_string());
        config.set("fetch.wait.max.ms", "50");
        let consumer =
            config.create_with_context(Quiet::default()).map_err(|error| OptionsError::of(&error))?;
        let (give, chunks) = mpsc::channel(CHUNKS_MAX);
        let reading = Reading { consumer, topic: topic.to_owned(), address: options.address(), give };
        std::thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || reading.run(from))
            .map_err(|error| OptionsError::Client { reason: error.to_string() })?;
        Ok(Self { chunks })
    }

    /// The next records, of one partition, in offset order; `None` at the end, or after a fault.
    pub async fn next(&mut self) -> Option<Result<Records, Fault>> {
        self.chunks.recv().await
    }
}

struct Reading {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    address: String,
    give: mpsc::Sender<Result<Records, Fault>>,
}

/// A partition on its way to its end.
struct Open {
    end: i64,
    chunk: Records,
}

impl Reading {
    fn run(self, from: ReadFrom) {
        if let Err(fault) = self.read(from) {
            // A caller that has gone does not want to know.
            let _ = self.give.blocking_send(Err(fault));
        }
    }

    fn read(&self, from: ReadFrom) -> Result<(), Fault> {
        let mut open = self.assign(from)?;
        let mut heard = Instant::now();
        while !open.is_empty() && !self.give.is_closed() {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(reading) = open.get_mut(&partition) else { continue };
                    if offset < reading.end {
                        push(&mut reading.chunk, &message);
                    }
                    let done = offset + 1 >= reading.end;
                    if done || reading.chunk.size_bytes() >= CHUNK_BYTES {
                        self.hand_over(&mut reading.chunk);
                    }
                    if done {
                        open.remove(&partition);
                    }
                }
                // Transaction markers may stand at the end, so that its last offset never comes.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    if let Some(mut reading) = open.remove(&partition) {
                        self.hand_over(&mut reading.chunk);
                    }
                }
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(permanent) => {
                    return Err(fault(&error, &self.doing()));
                }
                Some(Err(_)) | None => {}
            }
            if heard.elapsed() > SILENCE_MAX {
                let silence = Fault::new(FaultKind::Network, format!("{}: no answer", self.doing()));
                let complaint = self.consumer.context().take();
                return Err(complaint.map_or(silence, |complaint| {
                    of_code(complaint.code, &format!("{}: {}", self.doing(), complaint.reason))
                }));
            }
        }
        Ok(())
    }

    fn doing(&self) -> String {
        format!("read topic `{}` at `{}`", self.topic, self.address)
    }

    /// Starts the partitions that have something to read.
    fn assign(&self, from: ReadFrom) -> Result<BTreeMap<i32, Open>, Fault> {
        let topics = std::slice::from_ref(&self.topic);
        let partitions = partitions(&self.consumer, topics, &self.address)?;
        if partitions.is_empty() {
            return Err(Fault::new(FaultKind::Missing, format!("topic `{}` does not exist", self.topic)));
        }
        let watermarks = watermarks(&self.consumer, &partitions, REQUEST_TIMEOUT)?;
        let mut list = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for (source, (low, end)) in watermarks {
            let first = match &from {
                ReadFrom::Beginning => Some(low),
                ReadFrom::Offsets(offsets) => offsets.get(&source.partition).map(|first| low.max(*first)),
            };
            let Some(first) = first.filter(|first| *first < end) else { continue };
            let mut element = list.add_partition(&self.topic, source.partition);
            element.set_offset(Offset::Offset(first)).expect("a record's offset has a number");
            let chunk = Records::new(TopicPartition::new(&self.topic, source.partition));
            open.insert(source.partition, Open { end, chunk });
        }
        self.consumer.assign(&list).map_err(|error| fault(&error, &self.doing()))?;
        Ok(open)
    }

    fn hand_over(&self, chunk: &mut Records) {
        if chunk.is_empty() {
            return;
        }
        let records = std::mem::replace(chunk, Records::new(chunk.source().clone()));
        // A caller that has gone is seen by the loop.
        let _ = self.give.blocking_send(Ok(records));
    }
}

/// Whether waiting cannot help.
fn permanent(code: rdkafka::error::RDKafkaErrorCode) -> bool {
    let kind = crate::fault::kind(code);
    kind.needs_a_person() || code == rdkafka::error::RDKafkaErrorCode::AutoOffsetReset
}
