//! Offsets looked up: the ends of a partition, or by time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use crate::log::Stamped;
use crate::node::Node;
use crate::sync::lock;

/// Kafka's special timestamps.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

pub(super) fn list(node: &Node, request: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let stable = request.isolation_level == 1;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let found = known_epoch(asked.current_leader_epoch)
                .and_then(|()| look_up(node, &topic.name, asked.partition_index, asked.timestamp, stable));
            let Stamped { timestamp, offset } = found.unwrap_or(Stamped { timestamp: -1, offset: -1 });
            // A field that the version lacks must keep its default, or encoding fails.
            let leader_epoch = if offset >= 0 && version >= 4 { 0 } else { -1 };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_timestamp(timestamp)
                .with_offset(offset)
                .with_leader_epoch(leader_epoch)
                .with_error_code(Node::code(&found))
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn look_up(
    node: &Node,
    topic: &str,
    index: i32,
    timestamp: i64,
    stable: bool,
) -> Result<Stamped, ResponseError> {
    let partition = node.topics.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let log = lock(&partition.log);
    let at = |offset| Ok(Some(Stamped { timestamp: -1, offset }));
    let unpacked_bytes_max = node.options.limits.unpacked_bytes_max;
    let found = match timestamp {
        LATEST if stable => at(log.stable_end()),
        LATEST => at(log.end()),
        EARLIEST | EARLIEST_LOCAL => at(log.start()),
        MAX_TIMESTAMP => log.newest_record(unpacked_bytes_max),
        _ => log.record_since(timestamp, unpacked_bytes_max),
    };
    let found = found.map_err(|error| {
        tracing::error!(%error, topic, index, "a log was not read");
        ResponseError::KafkaStorageError
    })?;
    Ok(found.unwrap_or(Stamped { timestamp: -1, offset: -1 }))
}

/// What a client believes of a partition's leader (KIP-320). A single node has led from the beginning, in epoch 0; who
/// knows a later one has it of another topic of this name. Below 0 nothing is believed.
///
/// # Errors
/// `UNKNOWN_LEADER_EPOCH`.
pub(super) fn known_epoch(current: i32) -> Result<(), ResponseError> {
    if current > 0 { Err(ResponseError::UnknownLeaderEpoch) } else { Ok(()) }
}

/// A single node has one leader epoch, 0, which ends where the log ends.
pub(super) fn for_leader_epoch(
    node: &Node,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            let found = node.topics.partition(&topic.topic, asked.partition);
            let found = found.ok_or(ResponseError::UnknownTopicOrPartition);
            match found.and_then(|found| known_epoch(asked.current_leader_epoch).map(|()| found)) {
                Ok(partition) => answer.with_leader_epoch(0).with_end_offset(lock(&partition.log).end()),
                Err(error) => answer.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
