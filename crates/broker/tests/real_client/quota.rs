//! The quota of the logs: producers wait for room, and lose nothing.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_broker::{Broker, BrokerOptions, Listener, LogsWatch};
use tokio::time::timeout;

use crate::client::{WAIT, config, consumer, create};

const N: usize = 100;
const BYTES_MAX: u64 = 60_000;

fn fill(producer: &BaseProducer) {
    let filler = "x".repeat(1_000);
    for n in 0..N {
        let value = format!("{n:03}{filler}");
        producer.send(BaseRecord::<str, str>::to("t").partition(0).payload(&value)).unwrap();
    }
}

/// Serves the producer until the broker has refused something.
fn wait_for_a_refusal(producer: &BaseProducer, logs: &LogsWatch) {
    let deadline = Instant::now() + WAIT;
    while !logs.look().full {
        assert!(Instant::now() < deadline, "nothing is refused: {:?}", logs.look());
        producer.poll(Duration::from_millis(10));
    }
}

/// Deletes the first `n` records.
async fn delete(admin: &AdminClient<DefaultClientContext>, n: usize) {
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset("t", 0, Offset::Offset(n as i64)).unwrap();
    let deleted = timeout(WAIT, admin.delete_records(&upto, &AdminOptions::new())).await;
    deleted.expect("records are deleted in time").unwrap();
}

/// Reads on, as long as there is something, and gives each value's number.
fn read_on(reader: &BaseConsumer, read: &mut Vec<usize>) {
    while let Some(message) = reader.poll(Duration::from_millis(50)) {
        let message = message.unwrap();
        let number = &message.payload().unwrap()[..3];
        read.push(str::from_utf8(number).unwrap().parse().unwrap());
    }
}

/// More is produced than the logs may have; the producer gets everything in, once somebody makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_wait_for_room_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions::new(directory.path(), Listener::loopback(0));
    options.logs_bytes_max = Some(BYTES_MAX);
    let broker = Broker::start(options).await.unwrap();
    let (address, logs) = (broker.address(), broker.logs());
    create(address, "t", 1).await;
    let admin: AdminClient<DefaultClientContext> = config(address).create().unwrap();
    let mut settings = config(address);
    settings.set("enable.idempotence", "true").set("batch.size", "5000").set("retry.backoff.ms", "50");
    let producer: BaseProducer = settings.set("retry.backoff.max.ms", "50").create().unwrap();
    fill(&producer);
    tokio::task::block_in_place(|| wait_for_a_refusal(&producer, &logs));

    let reader = consumer(address);
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("t", 0, Offset::Beginning).unwrap();
    reader.assign(&from).unwrap();
    let (mut read, deadline) = (Vec::new(), Instant::now() + WAIT);
    while read.len() < N {
        assert!(Instant::now() < deadline, "{} of {N} read; {:?}", read.len(), logs.look());
        assert!(logs.look().bytes <= BYTES_MAX, "{:?}", logs.look());
        tokio::task::block_in_place(|| {
            read_on(&reader, &mut read);
            producer.poll(Duration::ZERO);
        });
        delete(&admin, read.len()).await;
    }
    assert_eq!(read, (0..N).collect::<Vec<_>>());
    producer.flush(WAIT).unwrap();
    assert!(!logs.look().full && logs.look().batches_refused > 0, "{:?}", logs.look());
    broker.stop().await;
}

/// The room that a topic has goes to others when it is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_gives_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions::new(directory.path(), Listener::loopback(0));
    options.logs_bytes_max = Some(BYTES_MAX);
    let broker = Broker::start(options).await.unwrap();
    let (address, logs) = (broker.address(), broker.logs());
    create(address, "t", 1).await;
    create(address, "other", 1).await;
    let impatient: BaseProducer =
        config(address).set("message.timeout.ms", "2000").set("batch.size", "5000").create().unwrap();
    fill(&impatient);
    tokio::task::block_in_place(|| wait_for_a_refusal(&impatient, &logs));
    drop(impatient);
    let admin: AdminClient<DefaultClientContext> = config(address).create().unwrap();
    let deleted = timeout(WAIT, admin.delete_topics(&["t"], &AdminOptions::new())).await;
    deleted.expect("the topic is deleted in time").unwrap()[0].as_ref().unwrap();
    let producer: BaseProducer = config(address).create().unwrap();
    producer.send(BaseRecord::<str, str>::to("other").payload("v")).unwrap();
    tokio::task::block_in_place(|| producer.flush(WAIT)).unwrap();
    assert!(logs.look().bytes < 1_000, "{:?}", logs.look());
    broker.stop().await;
}
