//! A broker, and members of groups that remember what they were told.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_core::{Checkpoint, Fault, OffsetRange, TopicPartition};
use tidegate_kafka::{
    BoundedReader, DeadLetterTopic, KafkaAdmin, KafkaCheckpoints, KafkaOptions, KafkaProducer, KafkaSource,
    Outgoing, OwnedRecord, ProducerOptions, ReadFrom, SourceOptions, Subscription, TopicSpec,
};
use tidegate_pipeline::port::{Assignment, CheckpointLog, Source, SourceEvent};

/// How long any condition is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

pub(crate) struct Stack {
    pub(crate) broker: Broker,
    pub(crate) options: KafkaOptions,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let broker = start(&dir, "127.0.0.1:0".parse().unwrap()).await;
        let address = broker.address();
        Self { broker, options: KafkaOptions::new([address.to_string()]), address, dir }
    }

    pub(crate) async fn with_topic(topic: &str, partitions: i32) -> Self {
        let stack = Self::start().await;
        stack.topic(TopicSpec::new(topic, partitions)).await;
        stack
    }

    pub(crate) async fn topic(&self, spec: TopicSpec) {
        self.admin().ensure_topic(&TopicSpec { replication: Some(1), ..spec }).await.unwrap();
    }

    pub(crate) fn admin(&self) -> KafkaAdmin {
        KafkaAdmin::connect(&self.options).unwrap()
    }

    pub(crate) async fn publish(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = Vec<u8>>,
    ) {
        let producer = KafkaProducer::connect(&self.options, &ProducerOptions::default()).unwrap();
        for value in values {
            let record =
                Outgoing { topic, partition: Some(partition), value: Some(&value), ..Outgoing::default() };
            producer.send(&record).await.unwrap();
        }
        producer.flush(DEADLINE).await.unwrap();
    }

    pub(crate) async fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        let mut reader = BoundedReader::open(&self.options, topic, ReadFrom::Beginning).unwrap();
        let mut all = Vec::new();
        while let Some(records) = reader.next().await {
            let records = records.unwrap();
            all.extend(records.iter().map(|record| OwnedRecord {
                topic: topic.to_owned(),
                partition: Some(records.source().partition),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers().map(|h| (h.name.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
                timestamp: record.timestamp.map(|timestamp| timestamp.millis),
            }));
        }
        all
    }

    pub(crate) fn member(&self, topics: &[&str]) -> Member {
        self.member_with(topics, &SourceOptions::default())
    }

    pub(crate) fn member_with(&self, topics: &[&str], source: &SourceOptions) -> Member {
        Member::join(&self.options, topics, source)
    }
}

pub(crate) async fn start(dir: &TempDir, listen: SocketAddr) -> Broker {
    Broker::start(BrokerOptions::new(dir.path(), Listener::loopback(listen.port()))).await.unwrap()
}

/// A member of group `g` that lets go of whatever is revoked.
pub(crate) struct Member {
    pub(crate) source: KafkaSource,
    pub(crate) checkpoints: KafkaCheckpoints,
    pub(crate) assigned: HashMap<TopicPartition, Assignment>,
    pub(crate) revoked: Vec<TopicPartition>,
    pub(crate) offsets: BTreeMap<TopicPartition, Vec<i64>>,
    pub(crate) caught_up: HashMap<TopicPartition, i64>,
    pub(crate) faults: Vec<Fault>,
    /// What retention took before it was read.
    pub(crate) missed: Vec<(TopicPartition, OffsetRange)>,
}

impl Member {
    pub(crate) fn join(options: &KafkaOptions, topics: &[&str], source: &SourceOptions) -> Self {
        let subscription = Subscription {
            group: "g".to_owned(),
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            dead_letters: Some(DeadLetterTopic { topic: "dlq".to_owned(), transactional_id: None }),
        };
        let (source, checkpoints) = KafkaSource::open(options, &subscription, source).unwrap();
        Self {
            source,
            checkpoints,
            assigned: HashMap::new(),
            revoked: Vec::new(),
            offsets: BTreeMap::new(),
            caught_up: HashMap::new(),
            faults: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Takes events until `done` says so.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a mut self,
        claim: &'a str,
        done: impl Fn(&Self) -> bool + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + DEADLINE;
            while !done(self) {
                let left = deadline.saturating_duration_since(Instant::now());
                match tokio::time::timeout(left, self.source.next()).await {
                    Ok(Some(event)) => self.take(event),
                    Ok(None) => panic!("{caller}: the source ended before: {claim}"),
                    Err(_) => panic!("{caller}: not in time: {claim}; faults: {:?}", self.faults),
                }
            }
        }
    }

    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(assignments) => {
                for assignment in assignments {
                    self.assigned.insert(assignment.source.clone(), assignment);
                }
            }
            SourceEvent::Revoked { partitions, done } => {
                for partition in partitions {
                    self.assigned.remove(&partition).expect("what is revoked was assigned");
                    self.caught_up.remove(&partition);
                    self.revoked.push(partition);
                }
                done.send(()).expect("the source waits");
            }
            SourceEvent::Records { epoch, records, end } => {
                let source = records.source();
                assert_eq!(self.assigned[source].epoch, epoch, "records follow their assignment");
                let offsets = self.offsets.entry(source.clone()).or_default();
                offsets.extend(records.iter().map(|record| record.offset));
                assert!(end > *offsets.last().unwrap());
            }
            SourceEvent::CaughtUp { source, epoch, position } => {
                assert_eq!(self.assigned[&source].epoch, epoch, "the end follows its assignment");
                self.caught_up.insert(source, position);
            }
            SourceEvent::Missed { source, range } => self.missed.push((source, range)),
            SourceEvent::Faulted(fault) => self.faults.push(fault),
        }
    }

    pub(crate) async fn commit(&self, source: &TopicPartition, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.checkpoints.commit(self.assigned[source].epoch, source, checkpoint).await
    }

    pub(crate) fn owns(&self, source: &TopicPartition) -> bool {
        self.assigned.contains_key(source)
    }
}

pub(crate) fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// `count` distinct values of `size` bytes.
pub(crate) fn values(count: usize, size: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |n| {
        let mut value = format!("{n:08}").into_bytes();
        value.resize(size, b'.');
        value
    })
}
