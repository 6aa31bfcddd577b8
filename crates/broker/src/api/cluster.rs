//! What there is: API versions, the node, topics.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse,
};
use uuid::Uuid;

use super::{Advertised, topic_name};
use crate::config::TopicConfig;
use crate::node::{NODE_ID, Node};
use crate::topics::Topic;
use crate::wire::{APIS, text};

/// Authorized operations of a broker without ACLs: not asked for.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;

pub(super) fn versions() -> ApiVersionsResponse {
    let spoken = APIS.iter().map(|(api, min, max)| {
        ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
    });
    ApiVersionsResponse::default().with_api_keys(spoken.collect())
}

pub(super) fn unsupported_version() -> ApiVersionsResponse {
    versions().with_error_code(ResponseError::UnsupportedVersion.code())
}

pub(super) fn find_coordinator(
    told: &Advertised,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let (host, port) = (text(told.host.clone()), i32::from(told.port));
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(host)
            .with_port(port);
    }
    let coordinator = |key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(NODE_ID))
            .with_host(host.clone())
            .with_port(port)
    };
    FindCoordinatorResponse::default()
        .with_coordinators(request.coordinator_keys.into_iter().map(coordinator).collect())
}

pub(super) fn describe(node: &Node, told: &Advertised) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(told.host.clone()))
        .with_port(i32::from(told.port));
    DescribeClusterResponse::default()
        .with_endpoint_type(1)
        .with_cluster_id(text(node.topics.cluster.clone()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
}

pub(super) fn metadata(
    node: &Node,
    told: &Advertised,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let create = node.options.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let topics = match request.topics {
        Some(asked) if version > 0 || !asked.is_empty() => asked
            .into_iter()
            .map(|topic| match topic.name {
                Some(name) => by_name(node, &name, create),
                None => by_id(node, topic.topic_id, version),
            })
            .collect(),
        Some(_) | None => node.topics.all().iter().map(|topic| described(topic)).collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(told.host.clone()))
        .with_port(i32::from(told.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(node.topics.cluster.clone())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
        .with_topics(topics)
}

fn by_name(node: &Node, name: &str, create: bool) -> MetadataResponseTopic {
    match find_or_create(node, name, create) {
        Ok(topic) => described(&topic),
        Err(error) => MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(error.code())
            .with_topic_authorized_operations(OPERATIONS_UNKNOWN),
    }
}

fn find_or_create(node: &Node, name: &str, create: bool) -> Result<Arc<Topic>, ResponseError> {
    if let Some(topic) = node.topics.get(name) {
        return Ok(topic);
    }
    if !create {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    match node.topics.create(name, node.options.default_partitions, TopicConfig::default()) {
        // Another client was faster.
        Err(ResponseError::TopicAlreadyExists) => {
            node.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
        created => created,
    }
}

fn by_id(node: &Node, id: Uuid, version: i16) -> MetadataResponseTopic {
    match node.topics.by_id(id) {
        Some(topic) => described(&topic),
        None => MetadataResponseTopic::default()
            // Before version 12 the name cannot be null.
            .with_name((version < 12).then(|| topic_name("")))
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code())
            .with_topic_authorized_operations(OPERATIONS_UNKNOWN),
    }
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.n_partitions()).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(0)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    });
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}
