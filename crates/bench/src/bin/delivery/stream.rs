//! Records on their way to Apache Kafka: as fast as they go, or at a steady rate.

use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// How long the last acknowledgements may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a steady stream sends what is due.
const BEAT: Duration = Duration::from_millis(20);

/// A record to send.
pub(crate) struct Outgoing {
    /// Its partition.
    pub(crate) partition: i32,
    /// The header `kind`, if it has one.
    pub(crate) kind: Option<String>,
    /// Its value.
    pub(crate) value: String,
}

/// Sends to one topic.
pub(crate) struct Stream {
    producer: BaseProducer,
    topic: String,
}

impl Stream {
    /// Makes a producer with the client's settings.
    pub(crate) fn open(client: &mut rdkafka::ClientConfig, topic: &str) -> anyhow::Result<Self> {
        let producer = client.set("linger.ms", "20").create()?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Sends records as fast as they go, until all are acknowledged.
    pub(crate) fn fill(&self, records: impl Iterator<Item = Outgoing>) -> anyhow::Result<()> {
        for record in records {
            self.send(&record)?;
        }
        self.producer.flush(PATIENCE).context("wait for the acknowledgements")
    }

    /// Sends so many records a second, for so long. Gives how many there were.
    pub(crate) fn steadily(
        &self,
        per_second: u64,
        time: Duration,
        mut record: impl FnMut(u64) -> Outgoing,
    ) -> anyhow::Result<u64> {
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < time {
            let due = began.elapsed().as_secs_f64() * per_second as f64;
            while (sent as f64) < due {
                self.send(&record(sent))?;
                sent += 1;
            }
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(BEAT);
        }
        self.producer.flush(PATIENCE).context("wait for the acknowledgements")?;
        Ok(sent)
    }

    fn send(&self, outgoing: &Outgoing) -> anyhow::Result<()> {
        let mut record =
            BaseRecord::<(), str>::to(&self.topic).partition(outgoing.partition).payload(&outgoing.value);
        if let Some(kind) = &outgoing.kind {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "kind", value: Some(kind) }));
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error).context("publish an event"),
            }
        }
    }
}
