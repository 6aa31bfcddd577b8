//! Membership of a group that divides something else than partitions, such as the right to write.
//!
//! librdkafka joins groups of consumers only, so the four requests of Kafka's group protocol are sent
//! from here. One member, the group's leader, decides for all: see [`MembershipOptions::assign`].

mod connection;

use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiKey, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_core::{Fault, FaultKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::options::{KafkaOptions, Sasl};
use connection::Connection;

/// Error codes of the protocol.
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER: i16 = 25;
const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

/// How long a group waits for a silent member; Confluent's number, as the next two.
const SESSION: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
const REBALANCE: Duration = Duration::from_secs(300);

/// Before a group that could not be joined is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long leaving may take.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// What a member tells its group, and how it decides when it must.
#[derive(Debug, Clone)]
pub struct MembershipOptions {
    /// The group.
    pub group: String,
    /// What kind of group it is: no member of another kind can join.
    pub protocol_type: &'static str,
    /// How its members decide.
    pub protocol: &'static str,
    /// What others are told of this member.
    pub metadata: Vec<u8>,
    /// Decides for all members; everybody is told the same.
    pub assign: fn(&[Candidate]) -> Vec<u8>,
}

/// A member, as the one that decides sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id in the group.
    pub member: String,
    /// What it told.
    pub metadata: Vec<u8>,
}

/// What happens to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipEvent {
    /// It was decided.
    Assigned {
        /// This member's id.
        member: String,
        /// The decision.
        assignment: Vec<u8>,
    },
    /// The decision holds no longer: others come or go or, with a fault, the group cannot be reached.
    Lost(Option<Fault>),
}

/// A member of a group. It leaves when this is dropped.
#[derive(Debug)]
pub struct Membership {
    events: mpsc::Receiver<MembershipEvent>,
    task: JoinHandle<()>,
}

impl Membership {
    /// Joins a group, and stays in it.
    ///
    /// # Errors
    /// If the brokers ask for a mechanism that is not spoken here: only PLAIN is.
    pub fn join(options: &KafkaOptions, membership: MembershipOptions) -> Result<Self, Fault> {
        match options.sasl {
            Sasl::None | Sasl::Plain(_) => {}
            Sasl::ScramSha256(_) | Sasl::ScramSha512(_) => {
                let message = format!("joining group `{}` is not possible with SASL SCRAM", membership.group);
                return Err(Fault::new(FaultKind::Denied, message));
            }
        }
        let (sender, events) = mpsc::channel(16);
        let member = Member { options: options.clone(), membership, id: StrBytes::default(), events: sender };
        Ok(Self { events, task: tokio::spawn(member.run()) })
    }

    /// What happens next.
    pub async fn next(&mut self) -> Option<MembershipEvent> {
        self.events.recv().await
    }

    /// Leaves the group and waits until it knows.
    pub async fn leave(self) {
        drop(self.events);
        // A group that cannot be told notices by itself.
        let _late = tokio::time::timeout(LEAVE_MAX * 2, self.task).await;
    }
}

struct Member {
    options: KafkaOptions,
    membership: MembershipOptions,
    id: StrBytes,
    events: mpsc::Sender<MembershipEvent>,
}

impl Member {
    async fn run(mut self) {
        let events = self.events.clone();
        loop {
            let ended = tokio::select! {
                () = events.closed() => break,
                ended = self.belong() => ended,
            };
            let fault = ended.err();
            let failed = fault.is_some();
            if events.send(MembershipEvent::Lost(fault)).await.is_err() {
                break;
            }
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let _late = tokio::time::timeout(LEAVE_MAX, self.leave()).await;
    }

    /// Joins, learns the decision, and stays until it holds no longer.
    async fn belong(&mut self) -> Result<(), Fault> {
        let mut coordinator = self.coordinator().await?;
        let joined = self.joined(&mut coordinator).await?;
        let Some(assignment) = self.assignment(&mut coordinator, &joined).await? else { return Ok(()) };
        let event = MembershipEvent::Assigned { member: self.id.to_string(), assignment };
        if self.events.send(event).await.is_err() {
            return Ok(());
        }
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(joined.generation_id)
            .with_member_id(self.id.clone());
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let answer: HeartbeatResponse =
                coordinator.ask((ApiKey::Heartbeat, 3), &heartbeat, SESSION).await?;
            match answer.error_code {
                0 => {}
                REBALANCE_IN_PROGRESS => return Ok(()),
                code => return Err(self.refused("stay in", code)),
            }
        }
    }

    fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.membership.group.clone()))
    }

    async fn coordinator(&self) -> Result<Connection, Fault> {
        Connection::to_coordinator(&self.options, &self.membership.group).await
    }

    fn refused(&mut self, doing: &str, code: i16) -> Fault {
        if matches!(code, UNKNOWN_MEMBER | ILLEGAL_GENERATION) {
            self.id = StrBytes::default();
        }
        let message = format!("{doing} group `{}`: Kafka answers with error {code}", self.membership.group);
        Fault::new(FaultKind::Unavailable, message)
    }

    async fn joined(&mut self, coordinator: &mut Connection) -> Result<JoinGroupResponse, Fault> {
        let text = |text: &'static str| StrBytes::from_static_str(text);
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(self.membership.protocol))
            .with_metadata(self.membership.metadata.clone().into());
        let mut request = JoinGroupRequest::default()
            .with_group_id(self.group())
            .with_session_timeout_ms(millis(SESSION))
            .with_rebalance_timeout_ms(millis(REBALANCE))
            .with_protocol_type(text(self.membership.protocol_type))
            .with_protocols(vec![protocol]);
        // The first answer may be an id only (KIP-394).
        for _ in 0..2 {
            request.member_id = self.id.clone();
            let answer: JoinGroupResponse =
                coordinator.ask((ApiKey::JoinGroup, 5), &request, REBALANCE + SESSION).await?;
            match answer.error_code {
                0 => {
                    self.id = answer.member_id.clone();
                    return Ok(answer);
                }
                MEMBER_ID_REQUIRED => self.id = answer.member_id,
                code => return Err(self.refused("join", code)),
            }
        }
        Err(self.refused("join", MEMBER_ID_REQUIRED))
    }

    /// The decision; `None` if another round is needed first.
    async fn assignment(
        &mut self,
        coordinator: &mut Connection,
        joined: &JoinGroupResponse,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let mut request = SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(joined.generation_id)
            .with_member_id(self.id.clone());
        if joined.leader == self.id {
            let candidate =
                |member: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember| Candidate {
                    member: member.member_id.to_string(),
                    metadata: member.metadata.to_vec(),
                };
            let candidates: Vec<Candidate> = joined.members.iter().map(candidate).collect();
            let decision = (self.membership.assign)(&candidates);
            let assigned = joined.members.iter().map(|member| {
                SyncGroupRequestAssignment::default()
                    .with_member_id(member.member_id.clone())
                    .with_assignment(decision.clone().into())
            });
            request.assignments = assigned.collect();
        }
        let answer: SyncGroupResponse =
            coordinator.ask((ApiKey::SyncGroup, 3), &request, REBALANCE + SESSION).await?;
        match answer.error_code {
            0 => Ok(Some(answer.assignment.to_vec())),
            REBALANCE_IN_PROGRESS => Ok(None),
            code => Err(self.refused("learn the decision of", code)),
        }
    }

    async fn leave(&self) -> Result<(), Fault> {
        if self.id.is_empty() {
            return Ok(());
        }
        let request =
            LeaveGroupRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
        let mut coordinator = self.coordinator().await?;
        let _left: LeaveGroupResponse = coordinator.ask((ApiKey::LeaveGroup, 2), &request, LEAVE_MAX).await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
