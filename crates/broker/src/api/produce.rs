//! Produce: the way in. Batches are stored as they came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::{Session, throttle_ms};
use crate::log::batch::Produced;
use crate::node::Node;
use crate::partition::Partition;
use crate::rates::Direction;
use crate::sync::{lock, now_ms};
use crate::topics::Topic;
use crate::wire::{Call, CallError};

/// Gives how long the client is to be left alone, too.
pub(super) async fn respond(
    node: &Arc<Node>,
    session: &Session,
    mut call: Call,
) -> Result<(Option<BytesMut>, Duration), CallError> {
    let size_bytes = call.size_bytes();
    let request: ProduceRequest = call.request()?;
    let silent = request.acks == 0;
    let mut topics = Vec::with_capacity(request.topic_data.len());
    // Everything is appended before anything is flushed, so that what others append meanwhile shares it.
    for topic in request.topic_data {
        let known = node.topics.get(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for partition in topic.partition_data {
            let appended = match (&known, partition.records) {
                (None, _) => Err(ResponseError::UnknownTopicOrPartition),
                (Some(_), None) => Err(ResponseError::CorruptMessage),
                (Some(topic), Some(records)) => append(node, topic, partition.index, records),
            };
            partitions.push((partition.index, appended));
        }
        topics.push((topic.name, partitions));
    }
    let mut responses = Vec::with_capacity(topics.len());
    for (name, partitions) in topics {
        let mut answered = Vec::with_capacity(partitions.len());
        for (index, appended) in partitions {
            answered.push(answer(index, flushed(appended).await));
        }
        responses.push(TopicProduceResponse::default().with_name(name).with_partition_responses(answered));
    }
    let mute = node.rates.charge(session.sender(&call), Direction::Produce, size_bytes, Instant::now());
    let response =
        ProduceResponse::default().with_responses(responses).with_throttle_time_ms(throttle_ms(mute));
    let answer = if silent { None } else { Some(call.answer(&response)?) };
    Ok((answer, mute))
}

struct Stored {
    base: i64,
    time_ms: Option<i64>,
    log_start: i64,
    /// What is to be flushed up to which offset before the answer.
    flush: Option<(Arc<Partition>, i64)>,
}

fn append(node: &Node, topic: &Topic, index: i32, records: Bytes) -> Result<Stored, ResponseError> {
    let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let settings = topic.settings();
    let batch = Produced::parse(records, settings.batch_bytes_max)?;
    if settings.cleaning.compact && !batch.keyed(node.options.limits.unpacked_bytes_max) {
        return Err(ResponseError::InvalidRecord);
    }
    let now_ms = now_ms();
    if settings.timestamps.any() && !settings.append.append_time {
        let admit = |timestamp| settings.timestamps.admit(timestamp, now_ms);
        if !batch.stamped(node.options.limits.unpacked_bytes_max, admit) {
            return Err(ResponseError::InvalidTimestamp);
        }
    }
    let mut log = lock(&partition.log);
    let appended = log.append(&batch, &settings.append, now_ms)?;
    let (log_start, end) = (log.start(), log.next());
    let flush = settings.flush.before_answer || log.unflushed().0 >= settings.flush.n_records_max;
    drop(log);
    partition.grown();
    let flush = flush.then_some((partition, end));
    Ok(Stored { base: appended.base, time_ms: appended.time_ms, log_start, flush })
}

/// A batch that could not be flushed is not acknowledged; the client repeats it, which is harmless.
async fn flushed(appended: Result<Stored, ResponseError>) -> Result<Stored, ResponseError> {
    let stored = appended?;
    if let Some((partition, end)) = &stored.flush {
        partition.flush(*end).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a batch was not flushed");
            ResponseError::KafkaStorageError
        })?;
    }
    Ok(stored)
}

fn answer(index: i32, stored: Result<Stored, ResponseError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match stored {
        Ok(stored) => response
            .with_base_offset(stored.base)
            .with_log_append_time_ms(stored.time_ms.unwrap_or(-1))
            .with_log_start_offset(stored.log_start),
        Err(error) => response
            .with_error_code(error.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1),
    }
}
