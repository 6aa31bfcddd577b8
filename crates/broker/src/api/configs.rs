//! Configurations: described and altered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::config::{Change, KNOWN, TopicConfig};
use crate::node::{NODE_ID, Node};
use crate::options::Fsync;
use crate::wire::text;

/// Kafka's numbers of resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Kafka's numbers of where a value comes from.
const OF_TOPIC: i8 = 1;
const STATIC_OF_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

pub(super) fn describe(
    node: &Node,
    request: DescribeConfigsRequest,
    _version: i16,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match configs(node, resource) {
            Ok(configs) => result.with_configs(configs),
            Err(error) => {
                result.with_error_code(error.code()).with_error_message(Some(text(error.to_string())))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn configs(
    node: &Node,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
    let all: Vec<(&str, String, i8)> = match resource.resource_type {
        TOPIC => {
            let topic = node.topics.get(&resource.resource_name);
            let config = topic.ok_or(ResponseError::UnknownTopicOrPartition)?.config();
            let value = |name, default: &str| match config.overrides().get(name) {
                Some(value) => (name, value.clone(), OF_TOPIC),
                None => (name, default.to_owned(), DEFAULT),
            };
            KNOWN.iter().map(|known| value(known.name, known.default)).collect()
        }
        BROKER => of_broker(node),
        _ => return Err(ResponseError::InvalidRequest),
    };
    let asked = resource.configuration_keys.as_deref().filter(|names| !names.is_empty());
    let wanted = |name: &str| asked.is_none_or(|names| names.iter().any(|asked| asked.as_str() == name));
    let results = all.into_iter().filter(|(name, ..)| wanted(name)).map(|(name, value, source)| {
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_config_source(source)
            .with_read_only(resource.resource_type == BROKER)
    });
    Ok(results.collect())
}

fn of_broker(node: &Node) -> Vec<(&'static str, String, i8)> {
    let options = &node.options;
    let limits = &options.limits;
    let (flush_messages, flush_ms) = match options.fsync {
        Fsync::Never => (i64::MAX, i64::MAX),
        Fsync::Every(interval) => (i64::MAX, i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)),
        Fsync::EveryAppend => (1, i64::MAX),
    };
    [
        ("broker.id", NODE_ID.to_string()),
        ("auto.create.topics.enable", options.auto_create_topics.to_string()),
        ("fetch.max.bytes", limits.fetch_bytes_max.to_string()),
        ("group.max.size", limits.group_members_max.to_string()),
        ("log.flush.interval.messages", flush_messages.to_string()),
        ("log.flush.interval.ms", flush_ms.to_string()),
        ("num.partitions", options.default_partitions.to_string()),
        ("offset.metadata.max.bytes", limits.offset_metadata_bytes_max.to_string()),
        ("socket.request.max.bytes", limits.request_bytes_max.to_string()),
    ]
    .map(|(name, value)| (name, value, STATIC_OF_BROKER))
    .to_vec()
}

pub(super) fn alter(
    node: &Node,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match alter_one(node, &resource, request.validate_only) {
            Ok(()) => response,
            Err((error, message)) => {
                response.with_error_code(error.code()).with_error_message(Some(text(message)))
            }
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter_one(
    node: &Node,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), (ResponseError, String)> {
    let plain = |error: ResponseError| (error, error.to_string());
    if resource.resource_type != TOPIC {
        return Err(plain(ResponseError::InvalidRequest));
    }
    let topic = node.topics.get(&resource.resource_name);
    let topic = topic.ok_or_else(|| plain(ResponseError::UnknownTopicOrPartition))?;
    let mut config = topic.config();
    for altered in &resource.configs {
        let value = altered.value.as_ref().map(ToString::to_string).unwrap_or_default();
        let change = match altered.config_operation {
            0 => Change::Set(value),
            1 => Change::Delete,
            2 => Change::Append(value),
            3 => Change::Subtract(value),
            _ => return Err(plain(ResponseError::InvalidRequest)),
        };
        apply(&mut config, &altered.name, change)?;
    }
    if validate_only { Ok(()) } else { node.topics.configure(&topic, config).map_err(plain) }
}

/// Changes a configuration, or says to the client why not.
pub(super) fn apply(
    config: &mut TopicConfig,
    name: &str,
    change: Change,
) -> Result<(), (ResponseError, String)> {
    config.change(name, change).map_err(|error| (ResponseError::InvalidConfig, error.to_string()))
}
