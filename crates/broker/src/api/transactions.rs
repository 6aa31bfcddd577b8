//! Producer ids and transactions.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::offsets::Wanted;
use crate::group::Claim;
use crate::log::batch::Outcome;
use crate::node::Node;
use crate::transactions::Producer;

/// PRODUCER_FENCED came with this version; older clients know INVALID_PRODUCER_EPOCH only.
fn for_version<T>(
    result: Result<T, ResponseError>,
    fenced_since: i16,
    version: i16,
) -> Result<T, ResponseError> {
    result.map_err(|error| match error {
        ResponseError::ProducerFenced if version < fenced_since => ResponseError::InvalidProducerEpoch,
        other => other,
    })
}

pub(super) fn init_producer_id(
    node: &Node,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let known = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let known = (known.id >= 0).then_some(known);
    let producer = match &request.transactional_id {
        Some(id) => {
            let timeout = Duration::from_millis(u64::try_from(request.transaction_timeout_ms).unwrap_or(0));
            for_version(node.transactions.initialise(id, timeout, known), 4, version)
        }
        None => match known {
            Some(Producer { id, epoch }) if (0..i16::MAX - 1).contains(&epoch) => {
                Ok(Producer { id, epoch: epoch + 1 })
            }
            Some(_) | None => node.producer_ids.next().map(|id| Producer { id, epoch: 0 }),
        },
    };
    let Producer { id, epoch } = *producer.as_ref().unwrap_or(&Producer { id: -1, epoch: -1 });
    InitProducerIdResponse::default()
        .with_error_code(Node::code(&producer))
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

pub(super) fn add_partitions(
    node: &Node,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let producer =
        Producer { id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
    let asked = &request.v3_and_below_topics;
    let places: Vec<(String, i32)> = asked
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| (topic.name.to_string(), *index)))
        .collect();
    let known = |(topic, index): &(String, i32)| node.topics.partition(topic, *index).is_some();
    // All or nothing, as in Kafka.
    let all_known = places.iter().all(known);
    let added = match all_known {
        true => {
            let id = &request.v3_and_below_transactional_id;
            for_version(node.transactions.add_partitions(id, producer, places, Instant::now()), 2, version)
        }
        false => Err(ResponseError::OperationNotAttempted),
    };
    let topics = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let unknown = !known(&(topic.name.to_string(), *index));
            let result = if unknown { Err(ResponseError::UnknownTopicOrPartition) } else { added };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(Node::code(&result))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}

pub(super) fn add_offsets(
    node: &Node,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let id = &request.transactional_id;
    let added = node.transactions.add_group(id, producer, &request.group_id, Instant::now());
    AddOffsetsToTxnResponse::default().with_error_code(Node::code(&for_version(added, 2, version)))
}

pub(super) fn commit_offsets(
    node: &Node,
    request: TxnOffsetCommitRequest,
    _version: i16,
) -> TxnOffsetCommitResponse {
    let mut wanted = Wanted::default();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let place = (topic.name.to_string(), partition.partition_index);
            let at = (partition.committed_offset, partition.committed_leader_epoch);
            wanted.add(node, place, at, partition.committed_metadata.as_ref());
        }
    }
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let from = (request.transactional_id.as_str(), producer);
    let accepted = std::mem::take(&mut wanted.accepted);
    let held = node.transactions.hold_offsets(from, (&request.group_id, &claim), accepted, Instant::now());
    // Clients of every version take this API's fencing as a stale epoch.
    let mut codes = wanted.codes(for_version(held, i16::MAX, 0));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(codes.next().unwrap_or_default())
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

pub(super) fn end(node: &Node, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let outcome = if request.committed { Outcome::Commit } else { Outcome::Abort };
    let ended = node.transactions.end(&request.transactional_id, producer, outcome);
    EndTxnResponse::default().with_error_code(Node::code(&for_version(ended, 2, version)))
}
