//! Fetch: the way out. Batches are copied from file to answer without being looked at; a fetch that finds
//! too little sleeps until a partition that it watches grows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::list_offsets::known_epoch;
use crate::budget::Reserved;
use crate::log::{Aborted, Slice};
use crate::node::Node;
use crate::rates::{Direction, Sender};
use crate::sync::lock;
use crate::wire::CallError;

/// From this size on reading gets a thread of its own: the pages may have to come from the disk.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// No fetch sleeps longer, whatever the client says.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// What one partition answers, with the records not read yet.
struct Planned {
    index: i32,
    ends: Option<Ends>,
    outcome: Result<Option<Slice>, ResponseError>,
    aborted: Vec<Aborted>,
}

#[derive(Clone, Copy)]
struct Ends {
    start: i64,
    stable: i64,
    end: i64,
}

/// The answer to a whole request, with the records not read yet; topic by topic.
struct Plan {
    topics: Vec<Vec<Planned>>,
    size_bytes: usize,
    refused: bool,
}

/// Gives what the answer holds of the budget for answers too.
pub(super) async fn fetch(
    node: &Arc<Node>,
    mut request: FetchRequest,
    sender: Sender<'_>,
) -> Result<(FetchResponse, Reserved), CallError> {
    // Beyond what its quota lets through at once a client would only wait for long.
    let burst_bytes = node.rates.burst_bytes(sender, Direction::Fetch);
    request.max_bytes = request.max_bytes.min(i32::try_from(burst_bytes).unwrap_or(i32::MAX));
    request.min_bytes = request.min_bytes.min(request.max_bytes);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let until = Instant::now() + wait;
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    let reader = Arc::new(Notify::new());
    let mut stopping = node.stopping.clone();
    loop {
        let plan = plan(node, &request, wait.is_zero().then_some(()).map_or(Some(&reader), |()| None));
        if plan.refused || plan.size_bytes >= enough || Instant::now() >= until || *stopping.borrow() {
            let reserved = node.answers.reserve(plan.size_bytes).await;
            return Ok((read(plan, &request).await?, reserved));
        }
        tokio::select! {
            () = reader.notified() => {}
            () = tokio::time::sleep_until(until) => {}
            // An error means that the broker is gone.
            _ = stopping.changed() => {}
        }
    }
}

/// Counts an answer's records; gives how long the client is to be left alone.
pub(super) fn charge(node: &Node, response: &FetchResponse, sender: Sender<'_>) -> Duration {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let sizes = partitions.map(|partition| partition.records.as_ref().map_or(0, Bytes::len));
    node.rates.charge(sender, Direction::Fetch, sizes.sum(), std::time::Instant::now())
}

fn plan(node: &Node, request: &FetchRequest, reader: Option<&Arc<Notify>>) -> Plan {
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
    let mut left = bytes_max.min(node.options.limits.fetch_bytes_max);
    let mut plan = Plan { topics: Vec::with_capacity(request.topics.len()), size_bytes: 0, refused: false };
    for asked_topic in &request.topics {
        let topic = node.topics.get(&asked_topic.topic);
        let mut planned = Vec::with_capacity(asked_topic.partitions.len());
        for asked in &asked_topic.partitions {
            let partition = topic.as_ref().and_then(|topic| topic.partition(asked.partition));
            let found = partition.ok_or(ResponseError::UnknownTopicOrPartition);
            let one = match found.and_then(|found| known_epoch(asked.current_leader_epoch).map(|()| found)) {
                Err(error) => refusal(asked.partition, None, error),
                Ok(partition) => {
                    if let Some(reader) = reader {
                        partition.watch(reader);
                    }
                    // One batch at least, so that a large one gets through, but only for the first.
                    let room = if plan.size_bytes == 0 { left.max(1) } else { left };
                    plan_partition(&lock(&partition.log), asked, request.isolation_level == 1, room)
                }
            };
            match &one.outcome {
                Ok(slice) => {
                    let size_bytes = slice.as_ref().map_or(0, |slice| slice.size_bytes);
                    plan.size_bytes += size_bytes;
                    left = left.saturating_sub(size_bytes);
                }
                Err(_) => plan.refused = true,
            }
            planned.push(one);
        }
        plan.topics.push(planned);
    }
    plan
}

fn refusal(index: i32, ends: Option<Ends>, error: ResponseError) -> Planned {
    Planned { index, ends, outcome: Err(error), aborted: Vec::new() }
}

fn plan_partition(log: &crate::log::Log, asked: &FetchPartition, stable: bool, room: usize) -> Planned {
    let ends = Ends { start: log.start(), stable: log.stable_end(), end: log.end() };
    let offset = asked.fetch_offset;
    if !(ends.start..=ends.end).contains(&offset) {
        return refusal(asked.partition, Some(ends), ResponseError::OffsetOutOfRange);
    }
    let upto = if stable { ends.stable } else { ends.end };
    let bytes_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(room);
    let slice = match room {
        0 => Ok(None),
        _ => log.slice(offset, upto, bytes_max),
    };
    match slice {
        Ok(slice) => {
            let in_slice = slice.as_ref().filter(|_| stable);
            let aborted = in_slice.map(|slice| log.aborted_in(offset, slice.end)).unwrap_or_default();
            Planned { index: asked.partition, ends: Some(ends), outcome: Ok(slice), aborted }
        }
        Err(error) => {
            tracing::error!(%error, "a log was not read");
            refusal(asked.partition, Some(ends), ResponseError::KafkaStorageError)
        }
    }
}

async fn read(plan: Plan, request: &FetchRequest) -> Result<FetchResponse, CallError> {
    let topics = if plan.size_bytes <= INLINE_BYTES_MAX {
        read_topics(plan.topics)
    } else {
        let task = tokio::task::spawn_blocking(move || read_topics(plan.topics));
        task.await.map_err(|_| CallError::Stopping)?
    };
    let responses = request.topics.iter().zip(topics).map(|(asked, partitions)| {
        FetchableTopicResponse::default().with_topic(asked.topic.clone()).with_partitions(partitions)
    });
    Ok(FetchResponse::default().with_responses(responses.collect()))
}

fn read_topics(topics: Vec<Vec<Planned>>) -> Vec<Vec<PartitionData>> {
    topics.into_iter().map(|topic| topic.into_iter().map(read_partition).collect()).collect()
}

fn read_partition(planned: Planned) -> PartitionData {
    let records = planned.outcome.and_then(|slice| {
        let Some(slice) = slice else { return Ok(Bytes::new()) };
        slice.read().map_err(|error| {
            tracing::error!(%error, "a log was not read");
            ResponseError::KafkaStorageError
        })
    });
    let ends = planned.ends.unwrap_or(Ends { start: -1, stable: -1, end: -1 });
    let aborted = planned.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first)
    });
    PartitionData::default()
        .with_partition_index(planned.index)
        .with_error_code(Node::code(&records))
        .with_high_watermark(ends.end)
        .with_last_stable_offset(ends.stable)
        .with_log_start_offset(ends.start)
        .with_preferred_read_replica(BrokerId(-1))
        .with_aborted_transactions(Some(aborted.collect()))
        .with_records(Some(records.unwrap_or_default()))
}
