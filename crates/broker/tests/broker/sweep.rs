//! Every API at every version that is spoken gets an answer that decodes.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::client::{ask, broker, text};

/// The calls that were made, and what was wrong with them.
struct Sweep {
    address: SocketAddr,
    n_calls: usize,
    wrong: Vec<String>,
}

impl Sweep {
    async fn go<Q: Encodable, R: Decodable>(
        &mut self,
        api: ApiKey,
        versions: RangeInclusive<i16>,
        request: impl Fn(i16) -> Q,
    ) {
        for version in versions {
            self.n_calls += 1;
            if let Err(error) = ask::<R>(self.address, api, version, &request(version)).await {
                self.wrong.push(format!("{api:?} v{version}: {error}"));
            }
        }
    }
}

fn t() -> TopicName {
    TopicName(text("t"))
}

fn g() -> GroupId {
    GroupId(text("g"))
}

#[tokio::test]
async fn every_api_answers_at_every_version() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let mut sweep = Sweep { address: broker.address(), n_calls: 0, wrong: Vec::new() };
    records(&mut sweep).await;
    look_ups(&mut sweep).await;
    cluster(&mut sweep).await;
    settings(&mut sweep).await;
    quotas(&mut sweep).await;
    groups(&mut sweep).await;
    group_offsets(&mut sweep).await;
    consumers(&mut sweep).await;
    transactions(&mut sweep).await;
    last(&mut sweep).await;
    assert_eq!(sweep.wrong, Vec::<String>::new());
    let request = ApiVersionsRequest::default();
    let told: ApiVersionsResponse = ask(broker.address(), ApiKey::ApiVersions, 3, &request).await.unwrap();
    let n_told: i16 = told.api_keys.iter().map(|api| api.max_version - api.min_version + 1).sum();
    assert_eq!(sweep.n_calls, n_told as usize, "each version that the broker tells is called once");
    broker.stop().await;
}

async fn records(sweep: &mut Sweep) {
    sweep
        .go::<CreateTopicsRequest, CreateTopicsResponse>(ApiKey::CreateTopics, 2..=7, |v| {
            CreateTopicsRequest::default().with_topics(vec![
                m::create_topics_request::CreatableTopic::default()
                    .with_name(TopicName(text(if v == 2 { "t" } else { "t2" })))
                    .with_num_partitions(2)
                    .with_replication_factor(1),
            ])
        })
        .await;
    sweep
        .go::<FetchRequest, FetchResponse>(ApiKey::Fetch, 4..=12, |_| {
            FetchRequest::default().with_max_wait_ms(1).with_topics(vec![
                m::fetch_request::FetchTopic::default().with_topic(t()).with_partitions(vec![
                    m::fetch_request::FetchPartition::default().with_partition(0),
                    m::fetch_request::FetchPartition::default().with_partition(9),
                ]),
            ])
        })
        .await;
    sweep
        .go::<ProduceRequest, ProduceResponse>(ApiKey::Produce, 3..=9, |_| {
            ProduceRequest::default().with_acks(1).with_topic_data(vec![
                m::produce_request::TopicProduceData::default().with_name(t()).with_partition_data(vec![
                    m::produce_request::PartitionProduceData::default()
                        .with_records(Some(Bytes::from_static(b"junk"))),
                ]),
            ])
        })
        .await;
}

async fn look_ups(sweep: &mut Sweep) {
    sweep
        .go::<ListOffsetsRequest, ListOffsetsResponse>(ApiKey::ListOffsets, 1..=8, |_| {
            ListOffsetsRequest::default().with_topics(vec![
                m::list_offsets_request::ListOffsetsTopic::default().with_name(t()).with_partitions(vec![
                    m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1),
                    m::list_offsets_request::ListOffsetsPartition::default().with_partition_index(9),
                ]),
            ])
        })
        .await;
    sweep
        .go::<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>(
            ApiKey::OffsetForLeaderEpoch,
            2..=4,
            |_| {
                OffsetForLeaderEpochRequest::default().with_topics(vec![
                    m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                        .with_topic(t())
                        .with_partitions(vec![
                            m::offset_for_leader_epoch_request::OffsetForLeaderPartition::default(),
                        ]),
                ])
            },
        )
        .await;
    sweep
        .go::<CreatePartitionsRequest, CreatePartitionsResponse>(ApiKey::CreatePartitions, 0..=3, |_| {
            CreatePartitionsRequest::default().with_topics(vec![
                m::create_partitions_request::CreatePartitionsTopic::default()
                    .with_name(t())
                    .with_count(3)
                    .with_assignments(None),
            ])
        })
        .await;
    sweep
        .go::<DeleteRecordsRequest, DeleteRecordsResponse>(ApiKey::DeleteRecords, 0..=2, |_| {
            DeleteRecordsRequest::default().with_topics(vec![
                m::delete_records_request::DeleteRecordsTopic::default().with_name(t()).with_partitions(
                    vec![m::delete_records_request::DeleteRecordsPartition::default().with_offset(-1)],
                ),
            ])
        })
        .await;
}

async fn cluster(sweep: &mut Sweep) {
    sweep
        .go::<ApiVersionsRequest, ApiVersionsResponse>(ApiKey::ApiVersions, 0..=3, |_| {
            ApiVersionsRequest::default()
        })
        .await;
    sweep
        .go::<MetadataRequest, MetadataResponse>(ApiKey::Metadata, 0..=12, |_| {
            MetadataRequest::default().with_topics(Some(vec![
                m::metadata_request::MetadataRequestTopic::default().with_name(Some(t())),
                m::metadata_request::MetadataRequestTopic::default()
                    .with_name(Some(TopicName(text("bad name")))),
            ]))
        })
        .await;
    sweep
        .go::<FindCoordinatorRequest, FindCoordinatorResponse>(ApiKey::FindCoordinator, 0..=4, |v| {
            if v >= 4 {
                FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")])
            } else {
                FindCoordinatorRequest::default().with_key(text("g"))
            }
        })
        .await;
    sweep
        .go::<DescribeClusterRequest, DescribeClusterResponse>(ApiKey::DescribeCluster, 0..=1, |_| {
            DescribeClusterRequest::default()
        })
        .await;
}

async fn quotas(sweep: &mut Sweep) {
    sweep
        .go::<AlterClientQuotasRequest, AlterClientQuotasResponse>(ApiKey::AlterClientQuotas, 0..=1, |_| {
            let half = m::alter_client_quotas_request::EntityData::default()
                .with_entity_type(text("client-id"))
                .with_entity_name(Some(text("c")));
            let op = m::alter_client_quotas_request::OpData::default()
                .with_key(text("producer_byte_rate"))
                .with_value(1e9);
            AlterClientQuotasRequest::default().with_entries(vec![
                m::alter_client_quotas_request::EntryData::default()
                    .with_entity(vec![half])
                    .with_ops(vec![op]),
            ])
        })
        .await;
    sweep
        .go::<DescribeClientQuotasRequest, DescribeClientQuotasResponse>(
            ApiKey::DescribeClientQuotas,
            0..=1,
            |_| DescribeClientQuotasRequest::default(),
        )
        .await;
}

async fn settings(sweep: &mut Sweep) {
    sweep
        .go::<SaslHandshakeRequest, SaslHandshakeResponse>(ApiKey::SaslHandshake, 0..=1, |_| {
            SaslHandshakeRequest::default().with_mechanism(text("PLAIN"))
        })
        .await;
    sweep
        .go::<SaslAuthenticateRequest, SaslAuthenticateResponse>(ApiKey::SaslAuthenticate, 0..=2, |_| {
            SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0a\0b"))
        })
        .await;
    sweep
        .go::<DescribeConfigsRequest, DescribeConfigsResponse>(ApiKey::DescribeConfigs, 1..=4, |_| {
            DescribeConfigsRequest::default().with_resources(
                [("t", 2), ("none", 2), ("1", 4)]
                    .map(|(r, k)| {
                        m::describe_configs_request::DescribeConfigsResource::default()
                            .with_resource_type(k)
                            .with_resource_name(text(r))
                            .with_configuration_keys(None)
                    })
                    .to_vec(),
            )
        })
        .await;
    sweep
        .go::<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>(
            ApiKey::IncrementalAlterConfigs,
            0..=1,
            |_| {
                IncrementalAlterConfigsRequest::default().with_resources(vec![
                    m::incremental_alter_configs_request::AlterConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(text("t"))
                        .with_configs(vec![
                            m::incremental_alter_configs_request::AlterableConfig::default()
                                .with_name(text("retention.ms"))
                                .with_value(Some(text("9"))),
                        ]),
                ])
            },
        )
        .await;
}

async fn groups(sweep: &mut Sweep) {
    sweep
        .go::<JoinGroupRequest, JoinGroupResponse>(ApiKey::JoinGroup, 0..=9, |v| {
            JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("j{v}"))))
                .with_session_timeout_ms(6000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![
                    m::join_group_request::JoinGroupRequestProtocol::default().with_name(text("range")),
                ])
        })
        .await;
    sweep
        .go::<SyncGroupRequest, SyncGroupResponse>(ApiKey::SyncGroup, 0..=5, |_| {
            SyncGroupRequest::default().with_group_id(g()).with_member_id(text("x"))
        })
        .await;
    sweep
        .go::<HeartbeatRequest, HeartbeatResponse>(ApiKey::Heartbeat, 0..=4, |_| {
            HeartbeatRequest::default().with_group_id(g()).with_member_id(text("x"))
        })
        .await;
    sweep
        .go::<LeaveGroupRequest, LeaveGroupResponse>(ApiKey::LeaveGroup, 0..=5, |v| {
            if v >= 3 {
                LeaveGroupRequest::default().with_group_id(GroupId(text("j0"))).with_members(vec![
                    m::leave_group_request::MemberIdentity::default().with_member_id(text("x")),
                ])
            } else {
                LeaveGroupRequest::default().with_group_id(GroupId(text("j0"))).with_member_id(text("x"))
            }
        })
        .await;
}

async fn group_offsets(sweep: &mut Sweep) {
    sweep
        .go::<OffsetCommitRequest, OffsetCommitResponse>(ApiKey::OffsetCommit, 2..=9, |_| {
            OffsetCommitRequest::default()
                .with_group_id(g())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![
                    m::offset_commit_request::OffsetCommitRequestTopic::default()
                        .with_name(t())
                        .with_partitions(vec![
                            m::offset_commit_request::OffsetCommitRequestPartition::default()
                                .with_committed_offset(3),
                        ]),
                ])
        })
        .await;
    sweep
        .go::<OffsetFetchRequest, OffsetFetchResponse>(ApiKey::OffsetFetch, 1..=9, |v| {
            if v >= 8 {
                OffsetFetchRequest::default().with_groups(vec![
                    m::offset_fetch_request::OffsetFetchRequestGroup::default()
                        .with_group_id(g())
                        .with_topics(None),
                ])
            } else {
                OffsetFetchRequest::default().with_group_id(g()).with_topics(Some(vec![
                    m::offset_fetch_request::OffsetFetchRequestTopic::default()
                        .with_name(t())
                        .with_partition_indexes(vec![0, 1]),
                ]))
            }
        })
        .await;
    sweep
        .go::<DescribeGroupsRequest, DescribeGroupsResponse>(ApiKey::DescribeGroups, 0..=5, |_| {
            DescribeGroupsRequest::default().with_groups(vec![GroupId(text("j0")), GroupId(text("none"))])
        })
        .await;
    sweep
        .go::<ListGroupsRequest, ListGroupsResponse>(ApiKey::ListGroups, 0..=5, |_| {
            ListGroupsRequest::default()
        })
        .await;
    sweep
        .go::<DeleteGroupsRequest, DeleteGroupsResponse>(ApiKey::DeleteGroups, 0..=2, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![g()])
        })
        .await;
    sweep
        .go::<OffsetDeleteRequest, OffsetDeleteResponse>(ApiKey::OffsetDelete, 0..=0, |_| {
            OffsetDeleteRequest::default().with_group_id(g()).with_topics(vec![
                m::offset_delete_request::OffsetDeleteRequestTopic::default()
                    .with_name(t())
                    .with_partitions(vec![Default::default()]),
            ])
        })
        .await;
}

async fn consumers(sweep: &mut Sweep) {
    sweep
        .go::<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse>(
            ApiKey::ConsumerGroupHeartbeat,
            0..=1,
            |_| {
                ConsumerGroupHeartbeatRequest::default()
                    .with_group_id(GroupId(text("c")))
                    .with_member_id(text("m"))
                    .with_rebalance_timeout_ms(1_000)
                    .with_subscribed_topic_names(Some(vec![t()]))
                    .with_topic_partitions(Some(Vec::new()))
            },
        )
        .await;
    sweep
        .go::<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse>(
            ApiKey::ConsumerGroupDescribe,
            0..=1,
            |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("c")), g()]),
        )
        .await;
}

async fn transactions(sweep: &mut Sweep) {
    sweep
        .go::<InitProducerIdRequest, InitProducerIdResponse>(ApiKey::InitProducerId, 0..=4, |_| {
            InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text("x"))))
                .with_transaction_timeout_ms(1000)
        })
        .await;
    sweep
        .go::<AddPartitionsToTxnRequest, AddPartitionsToTxnResponse>(
            ApiKey::AddPartitionsToTxn,
            0..=3,
            |_| {
                AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(TransactionalId(text("x")))
                    .with_v3_and_below_topics(vec![
                        m::add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                            .with_name(t())
                            .with_partitions(vec![0]),
                    ])
            },
        )
        .await;
    sweep
        .go::<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse>(ApiKey::AddOffsetsToTxn, 0..=3, |_| {
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(TransactionalId(text("x")))
                .with_group_id(g())
        })
        .await;
    sweep
        .go::<TxnOffsetCommitRequest, TxnOffsetCommitResponse>(ApiKey::TxnOffsetCommit, 0..=3, |_| {
            TxnOffsetCommitRequest::default()
                .with_transactional_id(TransactionalId(text("x")))
                .with_group_id(g())
                .with_topics(vec![
                    m::txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                        .with_name(t())
                        .with_partitions(vec![
                            m::txn_offset_commit_request::TxnOffsetCommitRequestPartition::default(),
                        ]),
                ])
        })
        .await;
    sweep
        .go::<EndTxnRequest, EndTxnResponse>(ApiKey::EndTxn, 0..=3, |_| {
            EndTxnRequest::default().with_transactional_id(TransactionalId(text("x")))
        })
        .await;
}

async fn last(sweep: &mut Sweep) {
    sweep
        .go::<DeleteTopicsRequest, DeleteTopicsResponse>(ApiKey::DeleteTopics, 1..=6, |v| {
            if v >= 6 {
                DeleteTopicsRequest::default().with_topics(vec![
                    m::delete_topics_request::DeleteTopicState::default().with_name(Some(t())),
                ])
            } else {
                DeleteTopicsRequest::default().with_topic_names(vec![t()])
            }
        })
        .await;
}
