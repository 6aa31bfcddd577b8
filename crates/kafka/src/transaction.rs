//! One transaction after the other on one transactional producer, blocking. Whoever uses it has a thread
//! for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, TopicPartitionList};
use tidegate_core::Fault;

use crate::client::{Complaint, EVENTS_MAX, Quiet, log};
use crate::fault::{code, fault, of_code};
use crate::message::{OwnedRecord, native_headers};
use crate::options::{KafkaOptions, OptionsError};

/// A producer that died leaves its transaction open, and readers wait at it, for at most this long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a step of a transaction is tried. Below the transaction's own time-out, so that the
/// coordinator does not end it under our feet.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the group's offsets are tried to be added. A revocation waits meanwhile, and with it every member of the
/// group: the coordinator may refuse the offsets until this very member has joined again.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on which nothing is said for so long is closed, in milliseconds.
///
/// A request to a group's coordinator has no time-out in librdkafka, whatever it is told (its issue 5456): when the
/// question who that is was answered by an error, or the coordinator has gone (5511), it waits until some connection
/// comes or goes. With every broker up that is for ever, and so long the group's partitions cannot be given up. So
/// connections come and go.
const CONNECTION_IDLE_MS: u32 = 10_000;

/// How often it is looked whether a transaction's records are written. The Rust client's own flush looks ten times a
/// second: each transaction would take a tenth of a second, whatever the broker needs.
const FLUSH_LOOK: Duration = Duration::from_millis(1);

/// The largest record that is sent: a dead letter is as large as its record and its headers.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a producer's queue holds; one largest record and some.
const QUEUE_KBYTES_MAX: usize = MESSAGE_BYTES_MAX / 1024 + 8 * 1024;

/// Properties that every producer has.
pub(crate) fn producer_config(options: &KafkaOptions) -> Result<ClientConfig, OptionsError> {
    let mut config = options.client_config()?;
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    config.set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
    config.set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string());
    Ok(config)
}

fn transactional_config(options: &KafkaOptions, id: &str) -> Result<ClientConfig, OptionsError> {
    let mut config = producer_config(options)?;
    config.set("transactional.id", id);
    config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
    if !options.extra.contains_key("connections.max.idle.ms") {
        config.set("connections.max.idle.ms", CONNECTION_IDLE_MS.to_string());
    }
    if !options.extra.contains_key("linger.ms") {
        // All records are there when they are waited for. Until the first partition is added they wait in any case.
        config.set("linger.ms", "0");
    }
    Ok(config)
}

/// A producer's context: counts what was delivered, keeps the first failure that says why.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    quiet: Quiet,
    failure: Mutex<Option<Fault>>,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Deliveries {
    /// How many records were acknowledged, and how many were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.delivered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// The first failure since the last call.
    pub(crate) fn take_failure(&self) -> Option<Fault> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What librdkafka last complained about.
    pub(crate) fn take_complaint(&self) -> Option<Complaint> {
        self.quiet.take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.quiet.complain(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, message)) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let bytes = message.payload_len() + message.key_len();
                let (topic, partition) = (message.topic(), message.partition());
                let doing = format!("write a record of {bytes} bytes to `{topic}/{partition}`");
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                // Those that were given up because of another may be told before it.
                if failure.as_ref().is_none_or(purged) {
                    *failure = Some(too_large_or(error, &doing));
                }
            }
        }
    }
}

/// Whether a record was given up because of something else.
fn purged(failure: &Fault) -> bool {
    let codes = [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight];
    codes.iter().any(|code| failure.code == Some(*code as i32))
}

fn too_large_or(error: &KafkaError, doing: &str) -> Fault {
    let mut fault = fault(error, doing);
    let too_large = [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::InvalidMessageSize];
    if code(error).is_some_and(|code| too_large.contains(&code)) {
        fault.message.push_str("; raise the topic's `max.message.bytes`");
    }
    fault
}

/// Why a transaction did not take place, or may not have.
#[derive(Debug)]
pub(crate) struct TransactionError {
    /// What went wrong.
    pub fault: Fault,
    /// Whether the transaction is known to have been aborted.
    pub aborted: bool,
    /// Whether the producer cannot go on and must be made anew.
    pub broken: bool,
}

/// A producer with a `transactional.id`.
pub(crate) struct TransactionalClient {
    producer: BaseProducer<Deliveries>,
    address: String,
}

impl TransactionalClient {
    /// Makes a producer and announces it: earlier producers of that id are fenced, and their open
    /// transaction is ended, committed if its commit had been decided, else aborted.
    pub(crate) fn open(options: &KafkaOptions, transactional_id: &str) -> Result<Self, Fault> {
        let address = options.address();
        let unusable = |error: OptionsError| Fault::new(tidegate_core::FaultKind::Denied, error.to_string());
        let config = transactional_config(options, transactional_id).map_err(unusable)?;
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(|error| unusable(OptionsError::of(&error)))?;
        let doing = format!("start transactional producer `{transactional_id}` at `{address}`");
        if let Err(error) = producer.init_transactions(STEP_TIMEOUT) {
            // `timed out` is all that the call says; the complaint knows that the password was refused.
            (0..EVENTS_MAX).for_each(|_| producer.poll(Duration::ZERO));
            let complaint = producer.context().take_complaint();
            return Err(complaint.map_or_else(
                || fault(&error, &doing),
                |complaint| of_code(complaint.code, &format!("{doing}: {}", complaint.reason)),
            ));
        }
        Ok(Self { producer, address })
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Result<(), TransactionError> {
        // A failure of the last transaction is not one of this.
        self.producer.context().take_failure();
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.broken(&error, "begin a transaction"))
    }

    /// Adds a record to the transaction.
    pub(crate) fn send(&self, record: &OwnedRecord) -> Result<(), TransactionError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let Err((error, _)) = self.producer.send(native(record)) else {
                self.producer.poll(Duration::ZERO);
                return Ok(());
            };
            let full = code(&error) == Some(RDKafkaErrorCode::QueueFull);
            if !full || Instant::now() > deadline {
                let bytes = record.size_bytes();
                let doing = format!("write a record of {bytes} bytes to `{}`", record.topic);
                return Err(self.abort(too_large_or(&error, &doing)));
            }
            self.producer.poll(Duration::from_millis(20));
        }
    }

    /// Adds a group's offsets, if there are any, and commits.
    pub(crate) fn commit(
        &self,
        offsets: Option<(&TopicPartitionList, &ConsumerGroupMetadata)>,
    ) -> Result<(), TransactionError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        self.producer.poll(Duration::ZERO);
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            // Not by the client's `poll`: it waits by whole milliseconds, and goes round without rest for what is left.
            std::thread::sleep(FLUSH_LOOK);
            self.producer.poll(Duration::ZERO);
        }
        if let Some(failure) = self.failure() {
            return Err(self.abort(failure));
        }
        if self.producer.in_flight_count() > 0 {
            let doing = format!("write the records of a transaction at `{}`", self.address);
            return Err(self.abort(of_code(RDKafkaErrorCode::OperationTimedOut, &doing)));
        }
        if let Some((offsets, metadata)) = offsets {
            let sent = retrying(OFFSETS_TIMEOUT, || {
                self.producer.send_offsets_to_transaction(offsets, metadata, OFFSETS_TIMEOUT)
            });
            if let Err(error) = sent {
                let doing = format!("add offsets to a transaction at `{}`", self.address);
                return Err(self.abort_or_broken(&error, &doing));
            }
        }
        retrying(STEP_TIMEOUT, || self.producer.commit_transaction(STEP_TIMEOUT)).map_err(|error| {
            let doing = format!("commit a transaction at `{}`", self.address);
            match &error {
                KafkaError::Transaction(inner) if inner.txn_requires_abort() => {
                    self.abort(fault(&error, &doing))
                }
                other => self.broken(other, &doing),
            }
        })
    }

    /// Why a record was not written. A producer that is fenced gives its records up as purged; the
    /// complaint says why.
    fn failure(&self) -> Option<Fault> {
        let failure = self.producer.context().take_failure()?;
        if !purged(&failure) {
            return Some(failure);
        }
        let doing = format!("write in a transaction at `{}`", self.address);
        let complaint = self.producer.context().take_complaint();
        Some(
            complaint.map_or(failure, |complaint| {
                of_code(complaint.code, &format!("{doing}: {}", complaint.reason))
            }),
        )
    }

    /// Aborts the transaction because of `fault`.
    pub(crate) fn abort(&self, fault: Fault) -> TransactionError {
        match self.producer.abort_transaction(STEP_TIMEOUT) {
            Ok(()) => TransactionError { fault, aborted: true, broken: false },
            // Its successor will abort it: no commit has been asked for.
            Err(_) => TransactionError { fault, aborted: true, broken: true },
        }
    }

    fn abort_or_broken(&self, error: &KafkaError, doing: &str) -> TransactionError {
        match error {
            KafkaError::Transaction(inner) if inner.is_fatal() => {
                TransactionError { fault: fault(error, doing), aborted: true, broken: true }
            }
            other => self.abort(fault(other, doing)),
        }
    }

    fn broken(&self, error: &KafkaError, doing: &str) -> TransactionError {
        TransactionError { fault: fault(error, doing), aborted: false, broken: true }
    }
}

/// Calls again what librdkafka says may be called again.
fn retrying(within: Duration, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let deadline = Instant::now() + within;
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

fn native(record: &OwnedRecord) -> BaseRecord<'_, [u8], [u8]> {
    let mut native = BaseRecord::to(&record.topic);
    native.partition = record.partition;
    native.key = record.key.as_deref();
    native.payload = record.value.as_deref();
    native.timestamp = record.timestamp;
    native.headers =
        native_headers(record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    native
}

#[cfg(test)]
mod tests {
    use rdkafka::Offset;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::mocking::{MockCluster, MockCoordinator};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn idle_ms(options: &KafkaOptions) -> String {
        let config = transactional_config(options, "x").unwrap();
        config.get("connections.max.idle.ms").unwrap().to_owned()
    }

    #[test]
    fn idle_connections_are_closed_unless_the_configuration_says_when() {
        let mut options = KafkaOptions::new(["localhost:9092".to_owned()]);
        assert_eq!(idle_ms(&options), "10000");
        options.extra.insert("connections.max.idle.ms".to_owned(), "77".to_owned());
        assert_eq!(idle_ms(&options), "77");
    }

    #[test]
    fn offsets_are_added_after_nobody_knew_the_groups_coordinator() {
        let cluster = MockCluster::new(3).unwrap();
        cluster.coordinator(MockCoordinator::Transaction("x".to_owned()), 1).unwrap();
        cluster.coordinator(MockCoordinator::Group("g".to_owned()), 2).unwrap();
        cluster.create_topic("t", 1, 3).unwrap();
        let mut options = KafkaOptions::new(cluster.bootstrap_servers().split(',').map(str::to_owned));
        options.extra.insert("connections.max.idle.ms".to_owned(), "1000".to_owned());
        let mut group = options.client_config().unwrap();
        let consumer: BaseConsumer = group.set("group.id", "g").create().unwrap();
        let metadata = consumer.group_metadata().unwrap();
        let client = TransactionalClient::open(&options, "x").unwrap();
        client.begin().unwrap();
        // Before it tries again, the client is told nothing that it could act on.
        let moved = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR];
        cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &moved);
        cluster.request_errors(RDKafkaApiKey::FindCoordinator, &moved);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, Offset::Offset(5)).unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        // Without an end the call would keep the test, too.
        std::thread::spawn(move || {
            let _late = told.send(client.commit(Some((&offsets, &metadata))).is_ok());
        });
        tell.recv_timeout(PATIENCE).expect("the call ends");
    }
}
