//! Consumer groups of the consumer protocol (KIP-848): heartbeats and their description.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as Described, DescribedGroup, Member as DescribedMember, TopicPartitions as DescribedTopic,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::topic_name;
use crate::consumers::{
    Answer, Assignor, Beat, Consumers, Expression, HEARTBEAT, Member, Place, Step, Subscription, Topics,
};
use crate::node::Node;
use crate::wire::{optional, text};

/// Longer names and ids are no client's.
const TEXT_BYTES_MAX: usize = 1_024;
/// A longer rebalance time-out is cut to this.
const REBALANCE_MAX: Duration = Duration::from_mins(30);

/// Whom a request comes from, apart from what it says.
pub(super) struct Caller {
    pub(super) client_id: String,
    pub(super) host: String,
}

pub(super) fn heartbeat(
    node: &Node,
    caller: Caller,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerGroupHeartbeatResponse {
    let group = request.group_id.to_string();
    let answered = beat(node, caller, request, version).and_then(|beat| {
        let find = |name: &str| node.topics.get(name).map(|topic| (topic.id, topic.n_partitions()));
        let names = || node.topics.all().iter().map(|topic| topic.name.clone()).collect();
        let topics = Topics { find: &find, names: &names };
        node.groups.with(&group, |coordinated| match coordinated.group.vacant() {
            true => coordinated.consumers.beat(beat, &topics, Instant::now()),
            // It is a group of the classic protocol.
            false => Err(ResponseError::GroupIdNotFound),
        })?
    });
    let response =
        ConsumerGroupHeartbeatResponse::default().with_heartbeat_interval_ms(HEARTBEAT.as_millis() as i32);
    match answered {
        Ok(Answer { member_id, epoch, assigned }) => response
            .with_member_id(Some(text(member_id)))
            .with_member_epoch(epoch)
            .with_assignment(assigned.map(|places| {
                let topics = by_topic(&places).into_iter().map(|(id, partitions)| {
                    TopicPartitions::default().with_topic_id(id).with_partitions(partitions)
                });
                Assignment::default().with_topic_partitions(topics.collect())
            })),
        Err(error) => {
            response.with_error_code(error.code()).with_error_message(Some(text(error.to_string())))
        }
    }
}

fn by_topic(places: &BTreeSet<Place>) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, index) in places {
        topics.entry(*topic).or_default().push(*index);
    }
    topics
}

fn short(text: Option<&StrBytes>) -> Result<Option<String>, ResponseError> {
    match text.is_none_or(|text| text.len() <= TEXT_BYTES_MAX) {
        true => Ok(optional(text)),
        false => Err(ResponseError::InvalidRequest),
    }
}

/// What the request says, if it says what its step needs.
fn beat(
    node: &Node,
    caller: Caller,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> Result<Beat, ResponseError> {
    let instance = short(request.instance_id.as_ref())?;
    let given = short(Some(&request.member_id))?.unwrap_or_default();
    let subscription = subscription(node, &request)?;
    let rebalance = u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis);
    let owned = request.topic_partitions.map(|topics| {
        let places = topics
            .into_iter()
            .flat_map(|topic| topic.partitions.into_iter().map(move |index| (topic.topic_id, index)));
        places.collect::<BTreeSet<Place>>()
    });
    let complete = rebalance.is_some() && subscription.is_some() && owned.is_some();
    let step = match request.member_epoch {
        0 if complete && owned.as_ref().is_some_and(BTreeSet::is_empty) => Step::Join,
        -1 => Step::Leave,
        -2 if instance.is_some() => Step::Pause,
        epoch @ 1.. => Step::Live { epoch },
        _ => return Err(ResponseError::InvalidRequest),
    };
    let member_id = match (given.is_empty(), step) {
        (false, _) => given,
        // From version 1 on members make their ids themselves.
        (true, Step::Join) if version == 0 => Uuid::new_v4().to_string(),
        (true, _) => return Err(ResponseError::InvalidRequest),
    };
    let assignor = match request.server_assignor.as_deref() {
        None => None,
        Some(name) => Some(Assignor::parse(name).ok_or(ResponseError::UnsupportedAssignor)?),
    };
    let client_id = caller.client_id.chars().take(TEXT_BYTES_MAX).collect();
    Ok(Beat {
        member_id,
        step,
        instance,
        rack: short(request.rack_id.as_ref())?,
        client_id,
        host: caller.host,
        rebalance: rebalance.map(|rebalance| rebalance.min(REBALANCE_MAX)),
        subscription,
        assignor,
        owned,
        complete,
        members_max: node.options.limits.group_members_max,
    })
}

fn subscription(
    node: &Node,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Option<Subscription>, ResponseError> {
    let (names, expression) = (&request.subscribed_topic_names, &request.subscribed_topic_regex);
    if names.is_none() && expression.is_none() {
        return Ok(None);
    }
    let names = names.as_deref().unwrap_or_default();
    let too_long = names.iter().any(|name| name.len() > TEXT_BYTES_MAX);
    if names.len() > node.options.limits.topics_max || too_long {
        return Err(ResponseError::InvalidRequest);
    }
    let expression = match expression.as_deref() {
        // An empty one takes an expression back.
        None | Some("") => None,
        Some(given) => Some(Expression::parse(given).ok_or(ResponseError::InvalidRegularExpression)?),
    };
    let names = names.iter().map(|name| name.to_string()).collect();
    Ok(Some(Subscription { names, expression }))
}

pub(super) fn describe(
    node: &Node,
    request: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter().map(|id| {
        let known = node.groups.with_known(&id, |coordinated| {
            let consumers = &coordinated.consumers;
            (!consumers.vacant()).then(|| described(node, consumers, version))
        });
        let described = known.flatten().unwrap_or_else(|| {
            // An empty group is of the classic protocol, as far as there is anything to be told of it.
            let error = ResponseError::GroupIdNotFound;
            DescribedGroup::default()
                .with_error_code(error.code())
                .with_error_message(Some(text(error.to_string())))
        });
        described.with_group_id(id).with_authorized_operations(i32::MIN)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn described(node: &Node, consumers: &Consumers, version: i16) -> DescribedGroup {
    let members = consumers.members().iter().map(|(id, member)| describe_member(node, id, member, version));
    DescribedGroup::default()
        .with_group_state(text(consumers.state()))
        .with_group_epoch(consumers.epoch)
        .with_assignment_epoch(consumers.target_epoch)
        .with_assignor_name(text(consumers.assignor().name()))
        .with_members(members.collect())
}

fn describe_member(node: &Node, id: &str, member: &Member, version: i16) -> DescribedMember {
    let places = |places: &BTreeSet<Place>| {
        let topics = by_topic(places).into_iter().map(|(id, partitions)| {
            let name = node.topics.by_id(id).map(|topic| topic.name.clone()).unwrap_or_default();
            DescribedTopic::default()
                .with_topic_id(id)
                .with_topic_name(topic_name(&name))
                .with_partitions(partitions)
        });
        Described::default().with_topic_partitions(topics.collect())
    };
    let names = member.subscription.names.iter().map(|name| topic_name(name));
    DescribedMember::default()
        .with_member_id(text(id))
        .with_instance_id(member.instance.clone().map(text))
        .with_rack_id(member.rack.clone().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(member.client_id.clone()))
        .with_client_host(text(member.host.clone()))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(member.subscription.expression.as_ref().map(|e| text(e.given())))
        .with_assignment(places(&member.assigned))
        .with_target_assignment(places(&member.target))
        // 1: of the consumer protocol. Version 0 lacks the field, which must keep its default then.
        .with_member_type(if version >= 1 { 1 } else { -1 })
}
