//! Kafka as the run and its checker see it: by librdkafka itself, with nothing of the sink's crate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::brokers::{PASSWORD, USER};
use crate::check::Seen;
use crate::ledger::Kind;

const REQUEST_MAX: Duration = Duration::from_secs(20);
/// How long a topic may take to be read to its end without a sign of life.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A topic of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) partitions: i32,
}

/// Where a group is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The committed offset; below zero if there is none.
    pub(crate) committed: i64,
    /// Whether the commit states a batch that is being inserted.
    pub(crate) in_doubt: bool,
    pub(crate) low: i64,
    pub(crate) end: i64,
}

impl Progress {
    pub(crate) const fn settled(self) -> bool {
        !self.in_doubt && (self.committed >= self.end || self.low == self.end)
    }
}

/// How to reach the cluster.
#[derive(Clone)]
pub(crate) struct Kafka {
    config: ClientConfig,
}

impl Kafka {
    pub(crate) fn at(addresses: &[String]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", addresses.join(","));
        config.set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "SCRAM-SHA-512");
        config.set("sasl.username", USER).set("sasl.password", PASSWORD);
        // Brokers that are down are what this is about; librdkafka would write a line for each try.
        config.set("log_level", "0");
        Self { config }
    }

    /// A producer's properties: in order, once, and never given up.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.config.clone();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "20");
        config.set("message.timeout.ms", "0");
        config
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        self.config.create().context("make the admin client")
    }

    fn viewer(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        let mut config = self.config.clone();
        config.set("group.id", group).set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
        config.create().context("make the viewer")
    }

    /// Waits until three brokers answer and every replica of every partition is in sync.
    pub(crate) async fn well(&self, within: Duration) -> anyhow::Result<()> {
        let this = self.clone();
        blocking(move || {
            let viewer = this.viewer("tidegate-faults")?;
            let deadline = Instant::now() + within;
            loop {
                let found = viewer.fetch_metadata(None, Duration::from_secs(5));
                let ill = match &found {
                    Ok(found) if found.brokers().len() < 3 => format!("{} brokers", found.brokers().len()),
                    Ok(found) => {
                        let all = found.topics().iter().flat_map(|topic| topic.partitions());
                        match all.filter(|partition| partition.isr().len() < 3).count() {
                            0 => return Ok(()),
                            behind => format!("{behind} partitions with replicas that are not in sync"),
                        }
                    }
                    Err(error) => error.to_string(),
                };
                ensure!(Instant::now() < deadline, "Kafka is not well after {within:?}: {ill}");
                std::thread::sleep(Duration::from_millis(300));
            }
        })
        .await
    }

    /// Creates a topic; tries again while the cluster has no controller, or the last one of that name is still going.
    pub(crate) async fn create(&self, topic: Topic) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let new = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(3));
            let result =
                admin.create_topics([&new], &options()).await.map(|results| results.into_iter().next());
            let failed = match result {
                Ok(Some(Ok(_))) => return Ok(()),
                Ok(Some(Err((_, code)))) => code.to_string(),
                Ok(None) => "no answer".to_owned(),
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "create topic `{}`: {failed}", topic.name);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Deletes a topic.
    pub(crate) async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let result = admin.delete_topics(&[topic], &options()).await;
            let failed = match result.map(|results| results.into_iter().next()) {
                Ok(Some(Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)))) => return Ok(()),
                Ok(Some(Err((_, code)))) => code.to_string(),
                Ok(None) => "no answer".to_owned(),
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "delete topic `{topic}`: {failed}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Says how large a batch of records a topic takes. Its other settings are kept as dead letters need them.
    pub(crate) async fn message_bytes_max(&self, topic: &str, bytes: &str) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let specifier = ResourceSpecifier::Topic(topic);
            let config =
                AlterConfig::new(specifier).set("max.message.bytes", bytes).set("retention.ms", "-1");
            let failed = match admin.alter_configs([&config], &options()).await {
                Ok(results) => match results.into_iter().next() {
                    Some(Ok(_)) => return Ok(()),
                    Some(Err((_, code))) => code.to_string(),
                    None => "no answer".to_owned(),
                },
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "alter topic `{topic}`: {failed}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Removes every record before these offsets, as retention does. Gives the partitions' first offsets since.
    pub(crate) async fn remove_before(
        &self,
        topic: &str,
        before: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<BTreeMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let removed = self.admin()?.delete_records(&list, &options()).await.context("delete records")?;
        let mut lows = BTreeMap::new();
        for element in removed.elements() {
            element.error().with_context(|| format!("delete records of `{topic}`"))?;
            if let Offset::Offset(low) = element.offset() {
                lows.insert(element.partition(), low);
            }
        }
        Ok(lows)
    }

    /// Where a group is in a topic, without joining it.
    pub(crate) async fn progress(
        &self,
        group: &str,
        topic: Topic,
    ) -> anyhow::Result<BTreeMap<i32, Progress>> {
        let (this, group) = (self.clone(), group.to_owned());
        blocking(move || {
            let viewer = this.viewer(&group)?;
            let mut list = TopicPartitionList::new();
            list.add_partition_range(topic.name, 0, topic.partitions - 1);
            let committed = viewer.committed_offsets(list, REQUEST_MAX).context("read committed offsets")?;
            let mut progress = BTreeMap::new();
            for element in committed.elements() {
                let (low, end) = viewer.fetch_watermarks(topic.name, element.partition(), REQUEST_MAX)?;
                let in_doubt = element.metadata().contains("end=");
                let committed = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => -1,
                };
                progress.insert(element.partition(), Progress { committed, in_doubt, low, end });
            }
            Ok(progress)
        })
        .await
    }

    /// Every committed dead letter of a topic, by what its headers and its key say.
    pub(crate) async fn letters(&self, topic: Topic) -> anyhow::Result<Vec<Seen>> {
        let this = self.clone();
        blocking(move || {
            let viewer = this.viewer("tidegate-faults")?;
            let mut list = TopicPartitionList::new();
            for partition in 0..topic.partitions {
                list.add_partition_offset(topic.name, partition, Offset::Beginning)?;
            }
            viewer.assign(&list)?;
            let (mut seen, mut open, mut heard) = (Vec::new(), topic.partitions, Instant::now());
            while open > 0 {
                match viewer.poll(Duration::from_millis(200)) {
                    Some(Ok(message)) => seen.push(letter(&message)?),
                    Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                    Some(Err(_)) | None => {
                        ensure!(heard.elapsed() < SILENCE_MAX, "topic `{}` is silent", topic.name);
                        continue;
                    }
                }
                heard = Instant::now();
            }
            Ok(seen)
        })
        .await
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_MAX)).operation_timeout(Some(REQUEST_MAX))
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(call).await.context("a question to Kafka panicked")?
}

fn letter<M: Message>(message: &M) -> anyhow::Result<Seen> {
    let at = format!("dead letter at {}:{}", message.partition(), message.offset());
    let key = std::str::from_utf8(message.key().unwrap_or_default())?;
    let n: u64 = key.parse().with_context(|| format!("{at} has the key `{key}`"))?;
    let number = |name: &str| -> anyhow::Result<i64> {
        let headers = message.headers().with_context(|| format!("{at} has no headers"))?;
        let header = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        let Some(value) = header else { bail!("{at} has no header `{name}`") };
        Ok(std::str::from_utf8(value)?.parse()?)
    };
    let partition = i32::try_from(number("__connect.errors.partition")?)?;
    let offset = number("__connect.errors.offset")?;
    let whole = message.payload() == Some(Kind::of(n).value(n).as_bytes());
    Ok(Seen { n, partition, offset, place: message.offset().cast_unsigned(), whole })
}
