use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_core::FaultKind;
use tidegate_kafka::{
    BoundedReader, Credentials, KafkaAdmin, KafkaOptions, ReadFrom, Sasl, Secret, TopicCreation, TopicSpec,
};

use crate::stack::Stack;

fn with_password(broker: &Broker, password: &str) -> KafkaOptions {
    let credentials = Credentials { user: "u".to_owned(), password: Secret::new(password) };
    KafkaOptions { sasl: Sasl::Plain(credentials), ..KafkaOptions::new([broker.address().to_string()]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_told_as_such_and_not_shown() {
    let dir = TempDir::new().unwrap();
    let options = BrokerOptions::new(dir.path(), Listener::loopback(0).with_sasl());
    options.users.set("u", "right").unwrap();
    let broker = Broker::start(options).await.unwrap();
    let admin = KafkaAdmin::connect(&with_password(&broker, "right")).unwrap();
    assert_eq!(admin.partition_count("t").await, Ok(None));
    let admin = KafkaAdmin::connect(&with_password(&broker, "hunter2")).unwrap();
    let fault = admin.partition_count("t").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(!fault.message.contains("hunter2"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_named_with_the_cause() {
    // Port 1 of the loopback interface refuses.
    let admin = KafkaAdmin::connect(&KafkaOptions::new(["127.0.0.1:1"])).unwrap();
    let fault = admin.partition_count("t").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    assert!(fault.message.contains("127.0.0.1:1"), "{fault}");
    assert!(fault.message.contains("refused"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_missing() {
    let stack = Stack::start().await;
    let mut reader = BoundedReader::open(&stack.options, "absent", ReadFrom::Beginning).unwrap();
    let fault = reader.next().await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Missing, "{fault}");
    assert_eq!(stack.admin().partition_count("absent").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_once() {
    let stack = Stack::start().await;
    let spec = TopicSpec { replication: Some(1), ..TopicSpec::dead_letters("t", 3) };
    assert_eq!(stack.admin().ensure_topic(&spec).await, Ok(TopicCreation::Created));
    assert_eq!(stack.admin().ensure_topic(&spec).await, Ok(TopicCreation::Existed));
    assert_eq!(stack.admin().partition_count("t").await, Ok(Some(3)));
    assert_eq!(stack.admin().topics().await, Ok(vec!["t".to_owned()]));
}
