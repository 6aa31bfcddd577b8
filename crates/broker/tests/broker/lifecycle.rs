//! Starting, stopping, and what is kept in between.

use std::net::SocketAddr;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey, EndTxnRequest, EndTxnResponse, GroupId,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, txn_offset_commit_request as held,
};
use tidegate_broker::{Broker, Listener, StartError};

use crate::client::{ask, broker, options, text};

fn topic() -> TopicName {
    TopicName(text("t"))
}

fn group() -> GroupId {
    GroupId(text("g"))
}

async fn create(address: SocketAddr) -> MetadataResponse {
    let asked = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default();
    let request = MetadataRequest::default()
        .with_allow_auto_topic_creation(true)
        .with_topics(Some(vec![asked.with_name(Some(topic()))]));
    ask(address, ApiKey::Metadata, 12, &request).await.unwrap()
}

async fn commit(address: SocketAddr, offset: i64, metadata: &str) {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response: OffsetCommitResponse = ask(address, ApiKey::OffsetCommit, 8, &request).await.unwrap();
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

/// The committed offset, its metadata, and the error code.
async fn committed(address: SocketAddr) -> (i64, String, i16) {
    let topic = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]))
        .with_require_stable(true);
    let response: OffsetFetchResponse = ask(address, ApiKey::OffsetFetch, 7, &request).await.unwrap();
    let partition = &response.topics[0].partitions[0];
    let metadata = partition.metadata.as_ref().map(ToString::to_string).unwrap_or_default();
    (partition.committed_offset, metadata, partition.error_code)
}

/// The producer id and epoch.
async fn initialise(address: SocketAddr) -> (ProducerId, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("x"))))
        .with_transaction_timeout_ms(60_000);
    let response: InitProducerIdResponse = ask(address, ApiKey::InitProducerId, 4, &request).await.unwrap();
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}

async fn hold(address: SocketAddr, (id, epoch): (ProducerId, i16), offset: i64, generation: i32) -> i16 {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text("x")))
        .with_producer_id(id)
        .with_producer_epoch(epoch)
        .with_group_id(group());
    let added: AddOffsetsToTxnResponse = ask(address, ApiKey::AddOffsetsToTxn, 3, &request).await.unwrap();
    if added.error_code != 0 {
        return added.error_code;
    }
    let partition = held::TxnOffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("held")));
    let topic =
        held::TxnOffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text("x")))
        .with_producer_id(id)
        .with_producer_epoch(epoch)
        .with_group_id(group())
        .with_generation_id(generation)
        .with_topics(vec![topic]);
    let response: TxnOffsetCommitResponse = ask(address, ApiKey::TxnOffsetCommit, 3, &request).await.unwrap();
    response.topics[0].partitions[0].error_code
}

async fn end(address: SocketAddr, (id, epoch): (ProducerId, i16), commit: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text("x")))
        .with_producer_id(id)
        .with_producer_epoch(epoch)
        .with_committed(commit);
    let response: EndTxnResponse = ask(address, ApiKey::EndTxn, 3, &request).await.unwrap();
    response.error_code
}

const FENCED: i16 = 90;
const UNSTABLE: i16 = 88;
const UNKNOWN_MEMBER: i16 = 25;

#[tokio::test]
async fn topics_and_offsets_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = broker(&directory).await;
    let created = create(first.address()).await;
    commit(first.address(), 42, "v1;end=50").await;
    first.stop().await;
    let second = broker(&directory).await;
    let found = create(second.address()).await;
    assert_eq!(found.topics[0].topic_id, created.topics[0].topic_id);
    assert_eq!(found.cluster_id, created.cluster_id);
    assert_eq!(committed(second.address()).await, (42, "v1;end=50".to_owned(), 0));
    second.stop().await;
}

#[tokio::test]
async fn offsets_of_a_transaction_come_with_its_commit_and_go_with_its_abort() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    create(address).await;
    commit(address, 1, "first").await;
    let producer = initialise(address).await;
    assert_eq!(hold(address, producer, 2, -1).await, 0);
    assert_eq!(committed(address).await.2, UNSTABLE);
    assert_eq!(end(address, producer, false).await, 0);
    assert_eq!(committed(address).await, (1, "first".to_owned(), 0));
    assert_eq!(hold(address, producer, 3, -1).await, 0);
    assert_eq!(end(address, producer, true).await, 0);
    assert_eq!(end(address, producer, true).await, 0, "the answer may be lost, and the request repeated");
    assert_eq!(committed(address).await, (3, "held".to_owned(), 0));
    assert_eq!(hold(address, producer, 4, 7).await, UNKNOWN_MEMBER);
    broker.stop().await;
}

#[tokio::test]
async fn a_restart_aborts_what_is_open_and_fences_its_producer() {
    let directory = tempfile::tempdir().unwrap();
    let first = broker(&directory).await;
    create(first.address()).await;
    commit(first.address(), 1, "first").await;
    let producer = initialise(first.address()).await;
    assert_eq!(hold(first.address(), producer, 2, -1).await, 0);
    first.stop().await;
    let second = broker(&directory).await;
    assert_eq!(committed(second.address()).await, (1, "first".to_owned(), 0));
    assert_eq!(end(second.address(), producer, true).await, FENCED);
    assert_eq!(hold(second.address(), producer, 3, -1).await, FENCED);
    let again = initialise(second.address()).await;
    assert!(again.0 == producer.0 && again.1 > producer.1);
    assert_eq!(hold(second.address(), again, 3, -1).await, 0);
    assert_eq!(end(second.address(), again, true).await, 0);
    assert_eq!(committed(second.address()).await.0, 3);
    second.stop().await;
}

#[tokio::test]
async fn a_directory_is_used_by_one_broker_and_an_address_too() {
    let directory = tempfile::tempdir().unwrap();
    let first = broker(&directory).await;
    assert!(matches!(Broker::start(options(&directory)).await, Err(StartError::InUse { .. })));
    let other = tempfile::tempdir().unwrap();
    let mut busy = options(&other);
    busy.listeners = vec![Listener::loopback(first.address().port())];
    assert!(matches!(Broker::start(busy).await, Err(StartError::Listen { .. })));
    first.stop().await;
    broker(&directory).await.stop().await;
}
