//! Produce: the way in. Batches are stored as they came.

use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::log::batch::Produced;
use crate::node::Node;
use crate::options::Fsync;
use crate::sync::{lock, now_ms};
use crate::topics::Topic;
use crate::wire::{Call, CallError};

pub(super) async fn respond(node: &Arc<Node>, mut call: Call) -> Result<Option<BytesMut>, CallError> {
    let request: ProduceRequest = call.request()?;
    let silent = request.acks == 0;
    let mut unflushed = Vec::new();
    let response = produce(node, request, &mut unflushed);
    if !unflushed.is_empty() {
        flush(unflushed).await?;
    }
    if silent { Ok(None) } else { call.answer(&response).map(Some) }
}

fn produce(node: &Node, request: ProduceRequest, unflushed: &mut Vec<Arc<File>>) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        let known = node.topics.get(&topic.name);
        let partitions = topic.partition_data.into_iter().map(|partition| {
            let appended = match (&known, partition.records) {
                (None, _) => Err(ResponseError::UnknownTopicOrPartition),
                (Some(_), None) => Err(ResponseError::CorruptMessage),
                (Some(topic), Some(records)) => append(node, topic, partition.index, records, unflushed),
            };
            let response = PartitionProduceResponse::default().with_index(partition.index);
            match appended {
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
        });
        let partitions = partitions.collect();
        TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

struct Stored {
    base: i64,
    time_ms: Option<i64>,
    log_start: i64,
}

fn append(
    node: &Node,
    topic: &Topic,
    index: i32,
    records: Bytes,
    unflushed: &mut Vec<Arc<File>>,
) -> Result<Stored, ResponseError> {
    let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let settings = topic.settings();
    let batch = Produced::parse(records, settings.batch_bytes_max)?;
    if settings.cleaning.compact && !batch.keyed(node.options.limits.unpacked_bytes_max) {
        return Err(ResponseError::InvalidRecord);
    }
    let mut log = lock(&partition.log);
    let appended = log.append(&batch, &settings.append, now_ms())?;
    let log_start = log.start();
    match node.options.fsync {
        Fsync::Never => {}
        Fsync::EveryAppend => unflushed.extend(log.unflushed()),
    }
    drop(log);
    partition.grown();
    Ok(Stored { base: appended.base, time_ms: appended.time_ms, log_start })
}

/// Flushes the files. An acknowledgement must not follow if one cannot be flushed, and the records are in
/// the log all the same, so the connection is closed and the client repeats.
async fn flush(files: Vec<Arc<File>>) -> Result<(), CallError> {
    let task = tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| file.sync_data()));
    match task.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%error, "a log was not flushed");
            Err(CallError::Stopping)
        }
        Err(_) => Err(CallError::Stopping),
    }
}
