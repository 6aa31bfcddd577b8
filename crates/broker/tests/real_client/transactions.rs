//! Transactions.

use std::net::SocketAddr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{WAIT, broker, config, consumer, produce, read};

fn at(topic: &str, offset: i64, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let mut elements = list.elements_for_topic(topic);
    elements[0].set_metadata(metadata);
    drop(elements);
    list
}

fn committed(consumer: &BaseConsumer, topic: &str) -> (Offset, String) {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, WAIT).unwrap();
    let elements = found.elements_for_topic(topic);
    (elements[0].offset(), elements[0].metadata().to_owned())
}

fn exercise(address: SocketAddr) {
    let plain: BaseProducer = config(address).set("enable.idempotence", "true").create().unwrap();
    produce(&plain, "in", &["a", "b", "c"]);

    let member = consumer(address);
    member.subscribe(&["in"]).unwrap();
    assert_eq!(read(&member, 3), ["a", "b", "c"]);
    let mode = rdkafka::consumer::CommitMode::Sync;
    member.commit(&at("in", 1, "v1;end=3"), mode).unwrap();
    assert_eq!(committed(&member, "in"), (Offset::Offset(1), "v1;end=3".to_owned()));

    let producer: BaseProducer = config(address).set("transactional.id", "x").create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    produce(&producer, "out", &["aborted"]);
    let group = member.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&at("in", 2, "aborted"), &group, WAIT).unwrap();
    producer.abort_transaction(WAIT).unwrap();
    assert_eq!(committed(&member, "in"), (Offset::Offset(1), "v1;end=3".to_owned()));

    producer.begin_transaction().unwrap();
    produce(&producer, "out", &["landed"]);
    producer.send_offsets_to_transaction(&at("in", 3, "done"), &group, WAIT).unwrap();
    producer.commit_transaction(WAIT).unwrap();
    assert_eq!(committed(&member, "in"), (Offset::Offset(3), "done".to_owned()));

    let reader = consumer(address);
    reader.assign(&at("out", 0, "")).unwrap();
    assert_eq!(read(&reader, 1), ["landed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_moves_records_and_offset_together() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    tokio::task::spawn_blocking(move || exercise(address)).await.unwrap();
    broker.stop().await;
}

fn producer(address: SocketAddr, timeout_ms: &str) -> BaseProducer {
    let mut config = config(address);
    config.set("transactional.id", "x").set("transaction.timeout.ms", timeout_ms);
    let producer: BaseProducer = config.set("message.timeout.ms", timeout_ms).create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer
}

fn reader(address: SocketAddr, topic: &str) -> BaseConsumer {
    let reader = consumer(address);
    reader.assign(&at(topic, 0, "")).unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread")]
async fn who_initialises_second_fences_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    tokio::task::spawn_blocking(move || {
        let zombie = producer(address, "60000");
        zombie.begin_transaction().unwrap();
        produce(&zombie, "t", &["zombie"]);
        let successor = producer(address, "60000");
        let refused = zombie.commit_transaction(WAIT).unwrap_err();
        let KafkaError::Transaction(refused) = refused else { panic!("{refused}") };
        assert!(refused.is_fatal(), "{refused}");
        assert_eq!(refused.code(), RDKafkaErrorCode::Fenced, "{refused}");
        successor.begin_transaction().unwrap();
        produce(&successor, "t", &["successor"]);
        successor.commit_transaction(WAIT).unwrap();
        assert_eq!(read(&reader(address, "t"), 1), ["successor"]);
    })
    .await
    .unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_aborted_and_frees_what_follows() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    tokio::task::spawn_blocking(move || {
        let slow = producer(address, "1000");
        slow.begin_transaction().unwrap();
        produce(&slow, "t", &["stale"]);
        let plain: BaseProducer = config(address).create().unwrap();
        produce(&plain, "t", &["plain"]);
        assert_eq!(read(&reader(address, "t"), 1), ["plain"]);
        assert!(slow.commit_transaction(WAIT).is_err(), "it was aborted");
    })
    .await
    .unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_seen_by_nobody_who_reads_committed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    tokio::task::spawn_blocking(move || {
        let open = producer(address, "60000");
        open.begin_transaction().unwrap();
        produce(&open, "t", &["open"]);
        let plain: BaseProducer = config(address).create().unwrap();
        produce(&plain, "t", &["plain"]);
        let reader = reader(address, "t");
        let (first, stable) = reader.fetch_watermarks("t", 0, WAIT).unwrap();
        assert_eq!((first, stable), (0, 0), "the stable end is where the transaction began");
        assert!(reader.poll(Duration::from_millis(300)).is_none());
        open.commit_transaction(WAIT).unwrap();
        assert_eq!(read(&reader, 2), ["open", "plain"]);
    })
    .await
    .unwrap();
    broker.stop().await;
}
