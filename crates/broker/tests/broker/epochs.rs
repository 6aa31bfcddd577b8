//! Leader epochs that clients believe in (KIP-320): the broker leads in epoch 0 only.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};

use crate::client::{ask, broker, text};

const UNKNOWN_LEADER_EPOCH: i16 = 75;

#[tokio::test]
async fn who_believes_in_a_later_leader_epoch_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let (address, name) = (broker.address(), TopicName(text("t")));
    let topic = MetadataRequestTopic::default().with_name(Some(name.clone()));
    let request =
        MetadataRequest::default().with_allow_auto_topic_creation(true).with_topics(Some(vec![topic]));
    let _: MetadataResponse = ask(address, ApiKey::Metadata, 12, &request).await.unwrap();
    for (epoch, code) in [(-1, 0), (0, 0), (1, UNKNOWN_LEADER_EPOCH)] {
        let partition = FetchPartition::default().with_current_leader_epoch(epoch);
        let topic = FetchTopic::default().with_topic(name.clone()).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_wait_ms(1).with_topics(vec![topic]);
        let fetched: FetchResponse = ask(address, ApiKey::Fetch, 12, &request).await.unwrap();

        let partition = ListOffsetsPartition::default().with_current_leader_epoch(epoch).with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name.clone()).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let listed: ListOffsetsResponse = ask(address, ApiKey::ListOffsets, 7, &request).await.unwrap();

        let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(name.clone()).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let ends: OffsetForLeaderEpochResponse =
            ask(address, ApiKey::OffsetForLeaderEpoch, 4, &request).await.unwrap();

        let codes = (
            fetched.responses[0].partitions[0].error_code,
            listed.topics[0].partitions[0].error_code,
            ends.topics[0].partitions[0].error_code,
        );
        assert_eq!(codes, (code, code, code), "epoch {epoch}");
    }
    broker.stop().await;
}
