//! Topics created, deleted, grown; records deleted.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

use super::{configs, topic_name};
use crate::config::{Change, TopicConfig};
use crate::node::Node;
use crate::sync::{lock, now_ms};
use crate::wire::text;

pub(super) fn create(node: &Node, request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let results = request.topics.iter().map(|topic| {
        // The Java client fails on a null list of configurations.
        let result =
            CreatableTopicResult::default().with_name(topic.name.clone()).with_configs(Some(Vec::new()));
        match create_one(node, topic, request.validate_only) {
            Ok((id, n_partitions)) => {
                let result = result.with_num_partitions(n_partitions).with_replication_factor(1);
                // A field that the version lacks must keep its default, or encoding fails.
                if version >= 7 { result.with_topic_id(id) } else { result }
            }
            Err((error, message)) => {
                result.with_error_code(error.code()).with_error_message(Some(text(message)))
            }
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_one(
    node: &Node,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(Uuid, i32), (ResponseError, String)> {
    let plain = |error: ResponseError| (error, error.to_string());
    let n_partitions = match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => node.options.default_partitions,
        (0, n) => n,
        (n, _) => i32::try_from(n).map_err(|_| plain(ResponseError::InvalidPartitions))?,
    };
    if topic.replication_factor > 1 {
        let message = "a single node keeps one replica".to_owned();
        return Err((ResponseError::InvalidReplicationFactor, message));
    }
    let mut config = TopicConfig::default();
    for given in &topic.configs {
        let value = given.value.as_ref().map(|value| Change::Set(value.to_string()));
        configs::apply(&mut config, &given.name, value.unwrap_or(Change::Delete))?;
    }
    if validate_only {
        node.topics.check_new(&topic.name, n_partitions).map_err(plain)?;
        return Ok((Uuid::nil(), n_partitions));
    }
    let created = node.topics.create(&topic.name, n_partitions, config).map_err(plain)?;
    Ok((created.id, n_partitions))
}

pub(super) fn delete(node: &Node, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let by_name =
        request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let results = request.topics.into_iter().chain(by_name).map(|asked| {
        let name = match &asked.name {
            Some(name) => Ok(name.to_string()),
            None => node.topics.by_id(asked.topic_id).map(|topic| topic.name.clone()).ok_or(()),
        };
        let deleted = match &name {
            Ok(name) => node.topics.delete(name).inspect(|topic| {
                // What is not written, the journal's owner has said; it is tried again later.
                let _ = node.groups.forget_topic(&topic.name);
            }),
            Err(()) => Err(ResponseError::UnknownTopicId),
        };
        let id = deleted.as_ref().map_or(asked.topic_id, |topic| topic.id);
        DeletableTopicResult::default()
            .with_name(name.ok().map(|name| topic_name(&name)))
            .with_topic_id(if version >= 6 { id } else { Uuid::nil() })
            .with_error_code(Node::code(&deleted))
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

pub(super) fn grow(node: &Node, request: CreatePartitionsRequest, _version: i16) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|topic| {
        let grown = match request.validate_only {
            true => node.topics.check_growth(&topic.name, topic.count).map(|_| ()),
            false => node.topics.grow(&topic.name, topic.count),
        };
        CreatePartitionsTopicResult::default().with_name(topic.name).with_error_code(Node::code(&grown))
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

pub(super) fn delete_records(
    node: &Node,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let deleted = delete_before(node, &topic.name, asked.partition_index, asked.offset);
            DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_low_watermark(*deleted.as_ref().unwrap_or(&-1))
                .with_error_code(Node::code(&deleted))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete_before(node: &Node, topic: &str, index: i32, offset: i64) -> Result<i64, ResponseError> {
    let partition = node.topics.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut log = lock(&partition.log);
    let offset = if offset == -1 { log.end() } else { offset };
    if offset < 0 || offset > log.end() {
        return Err(ResponseError::OffsetOutOfRange);
    }
    log.delete_before(offset, now_ms()).map_err(|error| {
        tracing::error!(%error, topic, index, "records were not deleted");
        ResponseError::KafkaStorageError
    })?;
    Ok(log.start())
}
