//! Clients as the tests need them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};

/// Longer than anything here takes.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn config(address: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address.to_string());
    config
}

pub(crate) async fn create(address: SocketAddr, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config(address).create().unwrap();
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let created =
        admin.create_topics(&[new], &AdminOptions::new().operation_timeout(Some(WAIT))).await.unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

pub(crate) fn consumer(address: SocketAddr) -> BaseConsumer {
    let mut config = config(address);
    config.set("group.id", "g").set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed").create().unwrap()
}

pub(crate) fn read(consumer: &BaseConsumer, n: usize) -> Vec<String> {
    let mut values = Vec::new();
    let deadline = Instant::now() + WAIT;
    while values.len() < n {
        assert!(Instant::now() < deadline, "{values:?} in time, {n} were expected");
        // A rebalance ends a poll too.
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let message = message.unwrap();
        values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
    }
    values
}

pub(crate) fn produce(producer: &BaseProducer, topic: &str, values: &[&str]) {
    for value in values {
        producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload(value).key("k")).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

pub(crate) async fn broker(directory: &TempDir) -> Broker {
    Broker::start(BrokerOptions::new(directory.path(), Listener::loopback(0))).await.unwrap()
}
