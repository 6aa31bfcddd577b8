//! What one client measures at a broker: how fast it produces and consumes, and how long an acknowledgement takes.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

/// Partitions of a topic.
pub(crate) const N_PARTITIONS: i32 = 3;
/// What takes longer does not end any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long acknowledgements are timed, after a start that does not count.
const TIMED: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(500);
/// Bytes of a message whose acknowledgement is timed.
const TIMED_BYTES: usize = 1 << 10;
/// The client's defaults but for `acks`, which librdkafka has at `all` already: said, so that it stays so.
const ACKS: (&str, &str) = ("acks", "all");

/// A topic of a broker.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// `host:port`.
    pub(crate) address: &'a str,
    /// The topic, which exists.
    pub(crate) topic: &'a str,
}

/// How long single messages waited for their acknowledgement.
pub(crate) struct Waits {
    /// Acknowledged messages per second, of all clients.
    pub(crate) per_second: f64,
    /// The median.
    pub(crate) p50: Duration,
    /// What one in a hundred exceeds.
    pub(crate) p99: Duration,
}

impl Place<'_> {
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.address);
        client
    }

    /// Sends messages as fast as the client's queue takes them, until all are acknowledged.
    ///
    /// # Errors
    /// When one is not acknowledged.
    pub(crate) fn produce(&self, messages: usize, bytes: usize) -> anyhow::Result<Duration> {
        let context = Deliveries::default();
        let lost = Arc::clone(&context.lost);
        let producer: BaseProducer<Deliveries> =
            self.client().set(ACKS.0, ACKS.1).create_with_context(context)?;
        let message = vec![b'x'; bytes];
        let began = Instant::now();
        for n in 0..messages {
            let mut record = BaseRecord::<(), [u8]>::to(self.topic).payload(&message);
            while let Err((error, refused)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                ensure!(error == full, "send a message: {error}");
                record = refused;
                producer.poll(Duration::from_millis(1));
            }
            if n % 1_000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(PATIENCE).context("wait for the acknowledgements")?;
        let took = began.elapsed();
        let lost = lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        lost.map_or(Ok(took), |error| Err(error).context("a message was not acknowledged"))
    }

    /// Reads the topic from its beginning, so many messages.
    ///
    /// # Errors
    /// When the topic has fewer.
    pub(crate) fn consume(&self, messages: usize) -> anyhow::Result<Duration> {
        let consumer: BaseConsumer =
            self.client().set("group.id", "rates").set("fetch.queue.backoff.ms", "10").create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..N_PARTITIONS {
            partitions.add_partition_offset(self.topic, partition, Offset::Beginning)?;
        }
        let began = Instant::now();
        consumer.assign(&partitions)?;
        for _ in 0..messages {
            consumer.poll(PATIENCE).context("the topic ends early")?.context("read the topic")?;
        }
        Ok(began.elapsed())
    }

    /// So many clients at once, each with one message of 1 KiB at a time and no lingering.
    ///
    /// # Errors
    /// When a message is not acknowledged.
    pub(crate) fn wait_for_acknowledgements(&self, clients: usize) -> anyhow::Result<Waits> {
        let counted_from = Instant::now() + WARM_UP;
        let mut waits = std::thread::scope(|scope| {
            let one = || self.one_at_a_time(counted_from);
            let running: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
            let mut waits = Vec::new();
            for client in running {
                waits.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
            }
            anyhow::Ok(waits)
        })?;
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len() * share / 100).copied();
        let (p50, p99) = at(50).zip(at(99)).context("nothing was acknowledged")?;
        #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
        let per_second = waits.len() as f64 / TIMED.as_secs_f64();
        Ok(Waits { per_second, p50, p99 })
    }

    fn one_at_a_time(&self, counted_from: Instant) -> anyhow::Result<Vec<Duration>> {
        let (sender, acknowledged) = mpsc::channel();
        let producer: ThreadedProducer<Announced> =
            self.client().set(ACKS.0, ACKS.1).set("linger.ms", "0").create_with_context(Announced(sender))?;
        let message = vec![b'x'; TIMED_BYTES];
        let mut waits = Vec::new();
        loop {
            let began = Instant::now();
            if began >= counted_from + TIMED {
                return Ok(waits);
            }
            let record = BaseRecord::<(), [u8]>::to(self.topic).payload(&message);
            producer.send(record).map_err(|(error, _)| error).context("send a message")?;
            acknowledged.recv_timeout(PATIENCE)?.context("a message was not acknowledged")?;
            if began >= counted_from {
                waits.push(began.elapsed());
            }
        }
    }
}

/// Keeps why a message was not acknowledged, if one was not.
#[derive(Default)]
struct Deliveries {
    lost: Arc<Mutex<Option<KafkaError>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }
}

/// Says of every message what became of it.
struct Announced(Sender<Result<(), KafkaError>>);

impl ClientContext for Announced {}

impl ProducerContext for Announced {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Who does not wait any more has failed already, and said so.
        let _ = self.0.send(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}
