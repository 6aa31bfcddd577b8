//! Committed offsets: written, read, deleted.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::topic_name;
use crate::group::Claim;
use crate::node::Node;
use crate::offsets::{Committed, Place};
use crate::wire::text;

/// The offsets that one request wants to be committed, within a transaction or without.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Those that their metadata and their partitions allow.
    pub(super) accepted: Vec<(Place, Committed)>,
    /// One for each, in the order of the request.
    checked: Vec<Result<(), ResponseError>>,
}

impl Wanted {
    pub(super) fn add(
        &mut self,
        node: &Node,
        place: Place,
        (offset, leader_epoch): (i64, i32),
        metadata: Option<&StrBytes>,
    ) {
        let too_large = |text: &StrBytes| text.len() > node.options.limits.offset_metadata_bytes_max;
        let checked = if metadata.is_some_and(too_large) {
            Err(ResponseError::OffsetMetadataTooLarge)
        } else if node.topics.partition(&place.0, place.1).is_none() {
            Err(ResponseError::UnknownTopicOrPartition)
        } else {
            let metadata = metadata.map(ToString::to_string).unwrap_or_default();
            self.accepted.push((place, Committed { offset, leader_epoch, metadata }));
            Ok(())
        };
        self.checked.push(checked);
    }

    /// The code of each, in the order of the request, after the accepted ones were taken or not.
    pub(super) fn codes(self, taken: Result<(), ResponseError>) -> impl Iterator<Item = i16> {
        self.checked.into_iter().map(move |checked| Node::code(&taken.and(checked)))
    }
}

pub(super) fn commit(node: &Node, request: OffsetCommitRequest, _version: i16) -> OffsetCommitResponse {
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
        generation: request.generation_id_or_member_epoch,
    };
    let accepted = std::mem::take(&mut wanted.accepted);
    let mut codes = wanted.codes(node.groups.commit(&request.group_id, &claim, accepted, Instant::now()));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(codes.next().unwrap_or_default())
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// What is asked of one group: topics with partitions, or everything.
type Asked = Option<Vec<(TopicName, Vec<i32>)>>;

struct Found {
    index: i32,
    committed: Option<Committed>,
    code: i16,
}

fn look_up(node: &Node, group: &str, asked: Asked, stable: bool) -> Vec<(TopicName, Vec<Found>)> {
    let look_up = |coordinated: &mut crate::coordinator::Coordinated| {
        let offsets = &coordinated.offsets;
        let asked = asked.clone().unwrap_or_else(|| {
            let mut all: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for ((topic, index), _) in offsets.iter() {
                all.entry(topic).or_default().push(*index);
            }
            all.into_iter().map(|(topic, indexes)| (topic_name(topic), indexes)).collect()
        });
        let topics = asked.into_iter().map(|(topic, indexes)| {
            let found = indexes.into_iter().map(|index| {
                let place = (topic.to_string(), index);
                match stable && offsets.unstable(&place) {
                    true => {
                        let code = ResponseError::UnstableOffsetCommit.code();
                        Found { index, committed: None, code }
                    }
                    false => Found { index, committed: offsets.get(&place).cloned(), code: 0 },
                }
            });
            let found = found.collect();
            (topic, found)
        });
        topics.collect()
    };
    let found = node.groups.with_known(group, look_up);
    found.unwrap_or_else(|| {
        let none = |index| Found { index, committed: None, code: 0 };
        let asked = asked.unwrap_or_default().into_iter();
        asked.map(|(topic, indexes)| (topic, indexes.into_iter().map(none).collect())).collect()
    })
}

pub(super) fn fetch(node: &Node, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let claim = Claim {
                member_id: group.member_id.as_deref().unwrap_or_default(),
                instance: None,
                generation: group.member_epoch,
            };
            let admitted =
                node.groups.with_known(&group.group_id, |coordinated| coordinated.admit_fetch(&claim));
            if let Some(Err(error)) = admitted {
                let refused = OffsetFetchResponseGroup::default().with_error_code(error.code());
                return refused.with_group_id(group.group_id);
            }
            let asked = group.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
            });
            let topics = look_up(node, &group.group_id, asked, stable).into_iter().map(|(name, found)| {
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(found.into_iter().map(of_group).collect())
            });
            let topics = topics.collect();
            OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    let topics = look_up(node, &request.group_id, asked, stable).into_iter().map(|(name, found)| {
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(found.into_iter().map(|found| of_request(found, version)).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn of_group(found: Found) -> OffsetFetchResponsePartitions {
    let committed = found.committed.unwrap_or_else(none);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(found.index)
        .with_committed_offset(committed.offset)
        .with_committed_leader_epoch(committed.leader_epoch)
        .with_metadata(Some(text(committed.metadata)))
        .with_error_code(found.code)
}

fn of_request(found: Found, version: i16) -> OffsetFetchResponsePartition {
    let committed = found.committed.unwrap_or_else(none);
    OffsetFetchResponsePartition::default()
        .with_partition_index(found.index)
        .with_committed_offset(committed.offset)
        // A field that the version lacks must keep its default, or encoding fails.
        .with_committed_leader_epoch(if version >= 5 { committed.leader_epoch } else { -1 })
        .with_metadata(Some(text(committed.metadata)))
        .with_error_code(found.code)
}

fn none() -> Committed {
    Committed { offset: -1, leader_epoch: -1, metadata: String::new() }
}

pub(super) fn delete(node: &Node, request: OffsetDeleteRequest, _version: i16) -> OffsetDeleteResponse {
    if node.groups.with_known(&request.group_id, |_| ()).is_none() {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code());
    }
    let places = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.to_string(), partition.partition_index))
    });
    let forgotten = node.groups.forget(&request.group_id, places.collect());
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(Node::code(&forgotten))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
