//! Writing to topics: a fast producer, and one that writes all or nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tidegate_core::{Fault, FaultKind, Header};
use tokio::sync::Mutex;

use crate::fault::{code, fault};
use crate::message::{OwnedRecord, native_headers};
use crate::options::{KafkaOptions, OptionsError};
use crate::transaction::{Deliveries, TransactionalClient, producer_config};

/// How long a record waits for room in the producer's queue.
const ROOM_TIMEOUT: Duration = Duration::from_secs(60);

/// How batches are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4.
    Lz4,
    /// ZSTD.
    Zstd,
}

/// How to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerOptions {
    /// Compression of batches.
    pub compression: Compression,
    /// How long a record waits for others to share its request.
    pub linger: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { compression: Compression::None, linger: Duration::from_millis(5) }
    }
}

/// A record on its way out, borrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; by the key's hash if absent.
    pub partition: Option<i32>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the epoch; the time of sending if absent. 0 counts as absent.
    pub timestamp: Option<i64>,
}

/// What became of the records that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Acknowledged by all replicas.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
}

/// An idempotent producer that batches: each record is written once and in order per partition, unless
/// it is given up, which [`KafkaProducer::flush`] reports.
#[derive(Clone)]
pub struct KafkaProducer {
    producer: ThreadedProducer<Deliveries>,
    address: String,
}

impl KafkaProducer {
    /// Makes a producer. Does not wait for Kafka.
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn connect(options: &KafkaOptions, producer: &ProducerOptions) -> Result<Self, OptionsError> {
        let mut config = producer_config(options)?;
        let compression = match producer.compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        config.set("compression.type", compression);
        config.set("linger.ms", producer.linger.as_millis().to_string());
        let producer =
            config.create_with_context(Deliveries::default()).map_err(|error| OptionsError::of(&error))?;
        Ok(Self { producer, address: options.address() })
    }

    /// Hands a record over, waiting while the queue is full. Returns before it is written.
    ///
    /// # Errors
    /// If the record cannot be taken: it is too large, or the queue stays full for a minute because
    /// Kafka does not answer.
    pub async fn send(&self, record: &Outgoing<'_>) -> Result<(), Fault> {
        let deadline = Instant::now() + ROOM_TIMEOUT;
        loop {
            let Err(error) = self.producer.send(native(record)).map_err(|(error, _)| error) else {
                return Ok(());
            };
            let full = code(&error) == Some(RDKafkaErrorCode::QueueFull);
            if !full || Instant::now() > deadline {
                return Err(fault(&error, &format!("write to `{}` at `{}`", record.topic, self.address)));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until every record so far is written or given up.
    ///
    /// # Errors
    /// The first record's failure since the last flush, or that time is up.
    pub async fn flush(&self, timeout: Duration) -> Result<Delivered, Fault> {
        let producer = self.producer.clone();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(timeout)).await;
        if let Some(failure) = self.producer.context().take_failure() {
            return Err(failure);
        }
        match flushed {
            Ok(Ok(())) => Ok(self.delivered()),
            Ok(Err(error)) => {
                let waiting = self.producer.in_flight_count();
                let doing = format!("wait for {waiting} records at `{}`", self.address);
                // The time-out says nothing; the last complaint says why.
                let complaint = self.producer.context().take_complaint();
                let doing =
                    complaint.map_or(doing.clone(), |complaint| format!("{doing}: {}", complaint.reason));
                Err(fault(&error, &doing))
            }
            Err(error) => Err(Fault::new(FaultKind::Unknown, error.to_string())),
        }
    }

    /// What became of the records so far.
    #[must_use]
    pub fn delivered(&self) -> Delivered {
        let (delivered, failed) = self.producer.context().counts();
        Delivered { delivered, failed }
    }
}

fn native<'a>(record: &Outgoing<'a>) -> BaseRecord<'a, [u8], [u8]> {
    let mut native = BaseRecord::to(record.topic);
    native.partition = record.partition;
    native.key = record.key;
    native.payload = record.value;
    native.timestamp = record.timestamp;
    native.headers = native_headers(record.headers.iter().map(|header| (header.name, header.value)));
    native
}

/// A producer that writes many records in one transaction. Cheap to clone; transactions take turns.
#[derive(Clone)]
pub struct TransactionalProducer {
    options: KafkaOptions,
    transactional_id: String,
    client: Arc<Mutex<Option<TransactionalClient>>>,
}

impl TransactionalProducer {
    /// Remembers how to connect; the first transaction does. Producers with the same
    /// `transactional_id` fence each other.
    #[must_use]
    pub fn new(options: &KafkaOptions, transactional_id: impl Into<String>) -> Self {
        let client = Arc::default();
        Self { options: options.clone(), transactional_id: transactional_id.into(), client }
    }

    /// Writes all of these records, or none.
    ///
    /// # Errors
    /// If they were not written, or it is unknown whether they were (the message says so).
    pub async fn write(&self, records: Vec<OwnedRecord>) -> Result<(), Fault> {
        let mut client = Arc::clone(&self.client).lock_owned().await;
        let (options, id) = (self.options.clone(), self.transactional_id.clone());
        let written = tokio::task::spawn_blocking(move || {
            let open = match client.take() {
                Some(open) => open,
                None => TransactionalClient::open(&options, &id)?,
            };
            match write(&open, &records) {
                Ok(()) => *client = Some(open),
                Err(mut error) => {
                    if !error.broken {
                        *client = Some(open);
                    }
                    if !error.aborted {
                        error.fault.message.push_str("; whether it was committed is unknown");
                    }
                    return Err(error.fault);
                }
            }
            Ok(())
        });
        written.await.unwrap_or_else(|error| Err(Fault::new(FaultKind::Unknown, error.to_string())))
    }
}

fn write(
    client: &TransactionalClient,
    records: &[OwnedRecord],
) -> Result<(), crate::transaction::TransactionError> {
    client.begin()?;
    records.iter().try_for_each(|record| client.send(record))?;
    client.commit(None)
}
