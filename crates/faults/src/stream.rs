//! A stream of records into one topic, with its ledger.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::task::JoinHandle;

use crate::kafka::{Kafka, Topic};
use crate::ledger::{Kind, Ledger};

const TICK: Duration = Duration::from_millis(50);
const FLUSH_MAX: Duration = Duration::from_secs(180);

/// What a stream publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) topic: Topic,
    /// Records a second.
    pub(crate) rate: f64,
    /// The number of its first record.
    pub(crate) first: u64,
    /// The kind of each record.
    pub(crate) kind: fn(u64) -> Kind,
}

/// A stream that flows until it is stopped.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<u64>>,
}

/// Writes down what Kafka acknowledges.
struct Acknowledged {
    ledger: Arc<Ledger>,
    unwritten: AtomicBool,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, n: Box<u64>) {
        // One that was given up may be in the topic or not; the ledger has it as sent.
        if let Ok(message) = result
            && self.ledger.acknowledged(message.partition(), *n, message.offset()).is_err()
        {
            self.unwritten.store(true, Ordering::Relaxed);
        }
    }
}

impl Stream {
    /// Begins to publish.
    pub(crate) fn start(kafka: &Kafka, flow: Flow, ledger: &Path) -> anyhow::Result<Self> {
        let ledger = Arc::new(Ledger::create(ledger)?);
        let context = Acknowledged { ledger: Arc::clone(&ledger), unwritten: AtomicBool::new(false) };
        let producer: ThreadedProducer<Acknowledged> =
            kafka.producer().create_with_context(context).context("make a producer")?;
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let task = tokio::spawn(publish(producer, ledger, flow, (Arc::clone(&stop), Arc::clone(&sent))));
        Ok(Self { stop, sent, task })
    }

    /// How many records have been sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and waits until Kafka has said what became of everything. Gives the number of the next record.
    pub(crate) async fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("a producer panicked")?
    }
}

async fn publish(
    producer: ThreadedProducer<Acknowledged>,
    ledger: Arc<Ledger>,
    flow: Flow,
    (stop, sent): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> anyhow::Result<u64> {
    let mut ticks = tokio::time::interval(TICK);
    // After a machine that stood still, the rate goes on; nothing is caught up.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut n, mut due) = (flow.first, 0.0);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        due += flow.rate * TICK.as_secs_f64();
        while due >= 1.0 {
            send(&producer, &ledger, flow, n)?;
            (n, due) = (n + 1, due - 1.0);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    let flushing = producer.clone();
    let flushed = tokio::task::spawn_blocking(move || flushing.flush(FLUSH_MAX)).await?;
    let waiting = producer.in_flight_count();
    flushed.with_context(|| format!("`{}`: {waiting} records are not acknowledged", flow.topic.name))?;
    ensure!(!producer.context().unwritten.load(Ordering::Relaxed), "a ledger cannot be written");
    Ok(n)
}

fn send(
    producer: &ThreadedProducer<Acknowledged>,
    ledger: &Ledger,
    flow: Flow,
    n: u64,
) -> anyhow::Result<()> {
    // Not round robin: partitions come at different times to different places.
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let partition = i32::try_from(spread % u64::from(flow.topic.partitions.unsigned_abs()))?;
    let (key, value) = (n.to_string(), (flow.kind)(n).value(n));
    ledger.sent(partition, n)?;
    let record = BaseRecord::with_opaque_to(flow.topic.name, Box::new(n));
    let sent = producer.send(record.partition(partition).key(&key).payload(&value));
    sent.map_err(|(error, _)| error).with_context(|| format!("send record {n}"))
}
