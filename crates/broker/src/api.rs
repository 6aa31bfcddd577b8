//! One request in, one answer out. `kafka_protocol`'s messages end here: the rest of the crate has its own
//! types.

mod auth;
mod client_quotas;
mod cluster;
mod configs;
mod consumers;
mod fetch;
mod groups;
mod list_offsets;
mod offsets;
mod produce;
mod topics;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, DescribeClusterRequest, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable};

pub(crate) use self::auth::Authentication;
use self::consumers::Caller;
use crate::budget::Reserved;
use crate::node::Node;
use crate::rates::Sender;
use crate::wire::{Call, CallError, Frame, bare, text};

/// The host and port that a client is told to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Advertised {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What the broker knows of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// As Kafka writes it: `/127.0.0.1`.
    pub(crate) host: String,
    pub(crate) advertised: Advertised,
    pub(crate) authentication: Authentication,
    /// Whether what comes is SASL messages without headers, until authentication is complete.
    pub(crate) bare: bool,
    /// How long nothing more is to be read from the connection, after the answer (KIP-219).
    pub(crate) mute: Duration,
}

impl Session {
    /// Who sends its requests.
    fn sender<'a>(&'a self, call: &'a Call) -> Sender<'a> {
        Sender { user: self.authentication.user(), client: &call.client_id }
    }
}

/// Kafka's field for how long a client is to wait.
fn throttle_ms(mute: Duration) -> i32 {
    i32::try_from(mute.as_millis()).unwrap_or(i32::MAX)
}

/// A frame to be written. What it holds of a budget goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: BytesMut,
    _reserved: Option<Reserved>,
}

impl From<BytesMut> for Answer {
    fn from(frame: BytesMut) -> Self {
        Self { frame, _reserved: None }
    }
}

/// Answers a request. `None`: it wants no answer.
pub(crate) async fn respond(
    node: &Arc<Node>,
    session: &mut Session,
    frame: Frame,
) -> Result<Option<Answer>, CallError> {
    let mut call = match frame {
        Frame::Call(call) => call,
        Frame::Token(message) => {
            let answer = auth::prove_bare(node, session, message).await?;
            return Ok(answer.map(|answer| bare(&answer).into()));
        }
        Frame::AskVersions(call) => {
            return call.answer(&cluster::unsupported_version()).map(|frame| Some(frame.into()));
        }
    };
    let open = matches!(call.api, ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
    if !session.authentication.complete() && !open {
        return Err(CallError::Unauthenticated);
    }
    match call.api {
        ApiKey::Produce => {
            let (answer, mute) = produce::respond(node, session, call).await?;
            session.mute = mute;
            return Ok(answer.map(Answer::from));
        }
        ApiKey::Fetch => {
            let request = call.request()?;
            let sender = session.sender(&call);
            let (mut response, reserved) = fetch::fetch(node, request, sender).await?;
            let mute = fetch::charge(node, &response, sender);
            response.throttle_time_ms = throttle_ms(mute);
            session.mute = mute;
            return Ok(Some(Answer { frame: call.answer(&response)?, _reserved: Some(reserved) }));
        }
        ApiKey::SaslHandshake => {
            let request = call.request()?;
            call.answer(&auth::handshake(session, request, call.version))
        }
        ApiKey::SaslAuthenticate => {
            let request = call.request()?;
            let response = auth::authenticate(node, session, request).await?;
            call.answer(&response)
        }
        ApiKey::Metadata => {
            let told = session.advertised.clone();
            blocking(node, call, move |node, request, v| cluster::metadata(node, &told, request, v)).await
        }
        ApiKey::FindCoordinator => {
            let told = &session.advertised;
            inline(node, call, |_, request, v| cluster::find_coordinator(told, request, v))
        }
        ApiKey::DescribeCluster => {
            let told = &session.advertised;
            inline(node, call, |node, _: DescribeClusterRequest, _| cluster::describe(node, told))
        }
        ApiKey::JoinGroup => {
            let request = call.request()?;
            let response = groups::join(node, session, &call, request).await?;
            call.answer(&response)
        }
        ApiKey::SyncGroup => {
            let request = call.request()?;
            let response = groups::sync(node, request).await?;
            call.answer(&response)
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let caller = Caller { client_id: call.client_id.clone(), host: session.host.clone() };
            inline(node, call, |node, request, v| consumers::heartbeat(node, caller, request, v))
        }
        _ => respond_at_once(node, call).await,
    }
    .map(|frame| Some(frame.into()))
}

/// Requests that wait for nothing but, some of them, files.
async fn respond_at_once(node: &Arc<Node>, call: Call) -> Result<BytesMut, CallError> {
    match call.api {
        ApiKey::ApiVersions => inline(node, call, |_, _: ApiVersionsRequest, _| cluster::versions()),
        ApiKey::Heartbeat => inline(node, call, groups::heartbeat),
        ApiKey::LeaveGroup => inline(node, call, groups::leave),
        ApiKey::DescribeGroups => inline(node, call, groups::describe),
        ApiKey::ListGroups => inline(node, call, groups::list),
        ApiKey::ConsumerGroupDescribe => inline(node, call, consumers::describe),
        ApiKey::OffsetFetch => inline(node, call, offsets::fetch),
        ApiKey::OffsetForLeaderEpoch => inline(node, call, list_offsets::for_leader_epoch),
        ApiKey::DescribeConfigs => inline(node, call, configs::describe),
        ApiKey::DeleteGroups => blocking(node, call, groups::delete).await,
        ApiKey::OffsetCommit => blocking(node, call, offsets::commit).await,
        ApiKey::OffsetDelete => blocking(node, call, offsets::delete).await,
        ApiKey::ListOffsets => blocking(node, call, list_offsets::list).await,
        ApiKey::CreateTopics => blocking(node, call, topics::create).await,
        ApiKey::DeleteTopics => blocking(node, call, topics::delete).await,
        ApiKey::CreatePartitions => blocking(node, call, topics::grow).await,
        ApiKey::DeleteRecords => blocking(node, call, topics::delete_records).await,
        ApiKey::DescribeClientQuotas => inline(node, call, client_quotas::describe),
        ApiKey::AlterClientQuotas => blocking(node, call, client_quotas::alter).await,
        ApiKey::IncrementalAlterConfigs => blocking(node, call, configs::alter).await,
        ApiKey::InitProducerId => blocking(node, call, transactions::init_producer_id).await,
        ApiKey::AddPartitionsToTxn => blocking(node, call, transactions::add_partitions).await,
        ApiKey::AddOffsetsToTxn => blocking(node, call, transactions::add_offsets).await,
        ApiKey::TxnOffsetCommit => blocking(node, call, transactions::commit_offsets).await,
        ApiKey::EndTxn => blocking(node, call, transactions::end).await,
        other => Err(CallError::Unspoken { api: other as i16, version: call.version }),
    }
}

fn inline<Q: Decodable, R: Encodable>(
    node: &Node,
    mut call: Call,
    act: impl FnOnce(&Node, Q, i16) -> R,
) -> Result<BytesMut, CallError> {
    let request = call.request()?;
    call.answer(&act(node, request, call.version))
}

/// As [`inline`], on a thread that may wait for the disk.
async fn blocking<Q, R>(
    node: &Arc<Node>,
    call: Call,
    act: impl FnOnce(&Node, Q, i16) -> R + Send + 'static,
) -> Result<BytesMut, CallError>
where
    Q: Decodable + 'static,
    R: Encodable + 'static,
{
    let node = Arc::clone(node);
    let task = tokio::task::spawn_blocking(move || inline(&node, call, act));
    // The task does not come back if the runtime is shut down.
    task.await.unwrap_or(Err(CallError::Stopping))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
