//! What a group is asked, and what it answers.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// A request to join that was refused, with the member id that the answer states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: ResponseError,
    pub(crate) member_id: String,
}

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty: not yet known.
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) protocol_type: String,
    /// By preference: name and the member's metadata.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The client comes back with the id that it is given (KIP-394).
    pub(crate) returns_with_id: bool,
    /// The id for a member that has none.
    pub(crate) fresh_id: String,
    pub(crate) members_max: usize,
}

/// What a member learns when a round has its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// For the leader, which assigns: id, instance, metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// What a member is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// Who a request says that it is from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
}
