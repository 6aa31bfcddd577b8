//! Transactions.

use std::net::SocketAddr;

use rdkafka::consumer::{BaseConsumer, Consumer};
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
