//! Consumer groups: membership and administration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Session;
use crate::coordinator::Coordinated;
use crate::group::{Assignment, Claim, Group, Join, Membership, Refused, State};
use crate::node::Node;
use crate::wire::{Call, CallError, optional, text};

/// A longer session or rebalance time-out is cut to this; Kafka's `group.max.session.timeout.ms`.
const TIMEOUT_MAX: Duration = Duration::from_mins(30);
/// What of a client's name goes into its member id.
const CLIENT_ID_CHARS_MAX: usize = 128;

fn timeout(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).clamp(Duration::from_millis(1), TIMEOUT_MAX)
}

/// Waits for a group's answer; a dropped one means that the member is no longer known.
async fn answered<T>(
    node: &Node,
    member_id: &str,
    answer: oneshot::Receiver<Result<T, Refused>>,
) -> Result<Result<T, Refused>, CallError> {
    let mut stopping = node.stopping.clone();
    let dropped = || Refused { error: ResponseError::UnknownMemberId, member_id: member_id.to_owned() };
    tokio::select! {
        answer = answer => Ok(answer.unwrap_or_else(|_| Err(dropped()))),
        _ = stopping.wait_for(|stopping| *stopping) => Err(CallError::Stopping),
    }
}

pub(super) async fn join(
    node: &Arc<Node>,
    session: &Session,
    call: &Call,
    request: JoinGroupRequest,
) -> Result<JoinGroupResponse, CallError> {
    let version = call.version;
    let rebalance_ms = if version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms };
    let client: String = call.client_id.chars().take(CLIENT_ID_CHARS_MAX).collect();
    let protocols = request.protocols.into_iter();
    let join = Join {
        member_id: request.member_id.to_string(),
        instance: optional(request.group_instance_id.as_ref()),
        fresh_id: format!("{client}-{}", Uuid::new_v4()),
        client_id: client,
        host: session.host.clone(),
        session: timeout(request.session_timeout_ms),
        rebalance: timeout(rebalance_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|protocol| (protocol.name.to_string(), protocol.metadata)).collect(),
        returns_with_id: version >= 4,
        members_max: node.options.limits.group_members_max,
    };
    let member_id = join.member_id.clone();
    let (reply, answer) = oneshot::channel();
    let joined = node.groups.with(&request.group_id, |coordinated| match coordinated.consumers.vacant() {
        true => {
            coordinated.group.join(join, Instant::now(), reply);
            Ok(())
        }
        // Its members speak the consumer protocol.
        false => Err(ResponseError::InconsistentGroupProtocol),
    });
    let membership = match joined.flatten() {
        Ok(()) => answered(node, &member_id, answer).await?,
        Err(error) => Err(Refused { error, member_id }),
    };
    Ok(match membership {
        Ok(membership) => joined_response(membership, version),
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.error.code())
            .with_generation_id(-1)
            .with_member_id(text(refused.member_id))
            .with_protocol_name((version < 7).then(|| text(""))),
    })
}

fn joined_response(membership: Membership, version: i16) -> JoinGroupResponse {
    let members = membership.members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.filter(|_| version >= 5).map(text))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(membership.generation)
        .with_protocol_type(Some(text(membership.protocol_type)))
        .with_protocol_name(Some(text(membership.protocol)))
        .with_leader(text(membership.leader))
        .with_member_id(text(membership.member_id))
        .with_members(members.collect())
}

pub(super) async fn sync(
    node: &Arc<Node>,
    request: SyncGroupRequest,
) -> Result<SyncGroupResponse, CallError> {
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let given = request.assignments.iter();
    let assignments: HashMap<_, _> =
        given.map(|given| (given.member_id.to_string(), given.assignment.clone())).collect();
    let (reply, answer) = oneshot::channel();
    let known = node.groups.with_known(&request.group_id, |coordinated| {
        coordinated.group.sync(&claim, assignments, Instant::now(), reply);
    });
    let assignment = match known {
        Some(()) => answered(node, &request.member_id, answer).await?.map_err(|refused| refused.error),
        None => Err(ResponseError::UnknownMemberId),
    };
    Ok(match assignment {
        Ok(Assignment { protocol_type, protocol, assignment }) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(protocol_type)))
            .with_protocol_name(Some(text(protocol)))
            .with_assignment(assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    })
}

pub(super) fn heartbeat(node: &Node, request: HeartbeatRequest, _version: i16) -> HeartbeatResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let beat = node
        .groups
        .with_known(&request.group_id, |coordinated| coordinated.group.heartbeat(&claim, Instant::now()));
    let beat = beat.unwrap_or(Err(ResponseError::UnknownMemberId));
    HeartbeatResponse::default().with_error_code(Node::code(&beat))
}

pub(super) fn leave(node: &Node, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let alone = MemberIdentity::default().with_member_id(request.member_id);
    let leaving = if version >= 3 { request.members } else { vec![alone] };
    let left: Option<Vec<_>> = node.groups.with_known(&request.group_id, |coordinated| {
        let group = &mut coordinated.group;
        let leave = |member: &MemberIdentity| {
            group.leave(&member.member_id, member.group_instance_id.as_deref(), Instant::now())
        };
        leaving.iter().map(leave).collect()
    });
    let Some(left) = left else {
        return LeaveGroupResponse::default().with_error_code(ResponseError::UnknownMemberId.code());
    };
    if version < 3 {
        return LeaveGroupResponse::default().with_error_code(left.iter().map(Node::code).sum());
    }
    let members = leaving.into_iter().zip(left).map(|(member, left)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(Node::code(&left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(super) fn describe(node: &Node, request: DescribeGroupsRequest, version: i16) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let described = node
            .groups
            .with_known(&id, |coordinated| described(&coordinated.group, version))
            .unwrap_or_else(|| DescribedGroup::default().with_group_state(text("Dead")));
        described.with_group_id(id).with_authorized_operations(i32::MIN)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(group: &Group, version: i16) -> DescribedGroup {
    let stable = group.state() == State::Stable;
    let protocol = if stable { group.protocol() } else { "" };
    let members = group.members().iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id.clone()))
            .with_group_instance_id(member.instance.clone().filter(|_| version >= 4).map(text))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.host.clone()))
            .with_member_metadata(member.metadata(protocol))
            .with_member_assignment(if stable { member.assignment.clone() } else { Default::default() })
    });
    DescribedGroup::default()
        .with_group_state(text(group.state().name()))
        .with_protocol_type(text(group.protocol_type()))
        .with_protocol_data(text(protocol))
        .with_members(members.collect())
}

pub(super) fn list(node: &Node, request: ListGroupsRequest, version: i16) -> ListGroupsResponse {
    let admits = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let listed = |id: &str, coordinated: &Coordinated| {
        let state = coordinated.state();
        let (kind, protocol) = match coordinated.consumers.vacant() {
            true => ("classic", coordinated.group.protocol_type()),
            false => ("consumer", "consumer"),
        };
        let wanted = admits(&request.states_filter, state) && admits(&request.types_filter, kind);
        // A field that the version lacks must keep its default, or encoding fails.
        wanted.then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(protocol))
                .with_group_state(text(if version >= 4 { state } else { "" }))
                .with_group_type(text(if version >= 5 { kind } else { "" }))
        })
    };
    ListGroupsResponse::default().with_groups(node.groups.map(listed))
}

pub(super) fn delete(node: &Node, request: DeleteGroupsRequest, _version: i16) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = node.groups.delete(&id);
        DeletableGroupResult::default().with_group_id(id).with_error_code(Node::code(&deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
