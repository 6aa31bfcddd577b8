//! Appends to a log.
//!
//! A thread serves the deliveries, and only while there are some to come: `rdkafka`'s own threaded producers
//! call the clock without pause through the last millisecond of each tenth of a second, which is 1 % of a core
//! for a program that writes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tidegate_core::{Fault, FaultKind};
use tokio::sync::oneshot;

use crate::client::Quiet;
use crate::fault::fault;
use crate::options::{KafkaOptions, OptionsError};
use crate::transaction::producer_config;

/// How long the thread serves deliveries before it looks whether more are to come.
const SERVE: Duration = Duration::from_millis(100);

/// How often a writer at rest reads what librdkafka has to say, which would pile up.
const REST: Duration = Duration::from_secs(5);

type Delivery = Result<i64, KafkaError>;

/// Appends to a log, one record at a time or many at once. Cheap to clone.
#[derive(Clone)]
pub struct LogWriter {
    serving: Arc<Serving>,
    topic: String,
    address: String,
}

/// A producer and the thread that serves it; the thread ends when the last writer is dropped.
struct Serving {
    producer: Arc<BaseProducer<Quiet>>,
    closing: Arc<AtomicBool>,
    thread: Thread,
}

impl LogWriter {
    /// Makes a writer. Does not wait for Kafka. A record that is not acknowledged within `timeout` is
    /// given up.
    ///
    /// # Errors
    /// If the options cannot be used.
    pub fn connect(options: &KafkaOptions, topic: &str, timeout: Duration) -> Result<Self, OptionsError> {
        let mut config = producer_config(options)?;
        config.set("linger.ms", "0");
        config.set("message.timeout.ms", timeout.as_millis().to_string());
        let producer: BaseProducer<Quiet> =
            config.create_with_context(Quiet::default()).map_err(|error| OptionsError::of(&error))?;
        let (producer, closing) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (served, told) = (Arc::clone(&producer), Arc::clone(&closing));
        let thread = thread::Builder::new()
            .name("kafka-log-writer".to_owned())
            .spawn(move || serve(&served, &told))
            .map_err(|error| OptionsError::Client { reason: error.to_string() })?
            .thread()
            .clone();
        let serving = Arc::new(Serving { producer, closing, thread });
        Ok(Self { serving, topic: topic.to_owned(), address: options.address() })
    }

    /// Appends a record and says its offset.
    ///
    /// # Errors
    /// If no acknowledgement came in time. The record may stand in the log all the same.
    pub async fn append(&self, key: &[u8], value: Option<&[u8]>) -> Result<i64, Fault> {
        self.delivered(self.send(key, value)).await
    }

    /// Appends records in their order without waiting for one before the next is sent; says each one's
    /// offset, or why it has none. The others may stand in the log all the same.
    pub async fn append_all(&self, records: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<Result<i64, Fault>> {
        // All are handed over before the first is waited for.
        let sent: Vec<_> = records.iter().map(|(key, value)| self.send(key, value.as_deref())).collect();
        let mut offsets = Vec::with_capacity(sent.len());
        for one in sent {
            offsets.push(self.delivered(one).await);
        }
        offsets
    }

    fn send(&self, key: &[u8], value: Option<&[u8]>) -> Result<oneshot::Receiver<Delivery>, KafkaError> {
        let Serving { producer, thread, .. } = &*self.serving;
        let (tell, delivered) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(tell)).partition(0).key(key);
        record.payload = value;
        producer.send(record).map_err(|(error, _)| error)?;
        thread.unpark();
        Ok(delivered)
    }

    async fn delivered(&self, sent: Result<oneshot::Receiver<Delivery>, KafkaError>) -> Result<i64, Fault> {
        match sent {
            Err(error) => Err(self.refused(&error)),
            Ok(delivered) => match delivered.await {
                Ok(Ok(offset)) => Ok(offset),
                Ok(Err(error)) => Err(self.refused(&error)),
                Err(_) => Err(Fault::new(FaultKind::Unavailable, "the producer was closed")),
            },
        }
    }

    fn refused(&self, error: &KafkaError) -> Fault {
        fault(error, &format!("write to `{}` at `{}`", self.topic, self.address))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn serve(producer: &BaseProducer<Quiet>, closing: &AtomicBool) {
    while !closing.load(Ordering::Acquire) {
        if producer.in_flight_count() > 0 {
            producer.poll(SERVE);
        } else {
            producer.poll(Duration::ZERO);
            // Who sends after the look above has left a token, with which this does not wait.
            thread::park_timeout(REST);
        }
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = Box<oneshot::Sender<Delivery>>;

    fn delivery(&self, result: &DeliveryResult<'_>, tell: Self::DeliveryOpaque) {
        let delivery = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever asked may have stopped waiting.
        let _ = tell.send(delivery);
    }
}
