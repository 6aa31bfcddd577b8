//! A consumer group's members and rounds: a pure state machine, told the time.
//!
//! Invariant: every [`Reply`] that is taken in is answered or dropped, and a dropped one means that the
//! member is no longer known. A member that waits for an answer is not expired.

mod exchange;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

pub(crate) use self::exchange::{Assignment, Claim, Join, Membership, Refused, Reply};
use bytes::Bytes;
use kafka_protocol::ResponseError;

/// How long a group that was empty waits for more members before its first round.
const FIRST_ROUND_DELAY: Duration = Duration::from_millis(100);
/// How long a member id that was given out stays reserved.
const RESERVED_MAX: Duration = Duration::from_secs(30);

/// Kafka's states of a classic group, as far as a group exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    session: Duration,
    rebalance: Duration,
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    seen: Instant,
    joining: Option<Reply<Membership>>,
    syncing: Option<Reply<Assignment>>,
}

impl Member {
    fn waits(&self) -> bool {
        self.joining.as_ref().is_some_and(|reply| !reply.is_closed())
            || self.syncing.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// The metadata that it gave for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Group {
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Ids that were given out to members that have not come back yet.
    reserved: HashMap<String, Instant>,
    /// When a round ends without the members that have not joined.
    round_end: Option<Instant>,
    /// When a first round may end at the earliest.
    round_end_min: Option<Instant>,
}

/// What a request to join comes to, before the group is changed.
enum Entry {
    Refuse(ResponseError, String),
    Reserve,
    /// Joins under this id; with the id of the static member that it replaces.
    Join(String, Option<String>),
}

impl Group {
    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The assignment protocol in use, once there is one.
    pub(crate) fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or_default()
    }

    pub(crate) fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// Whether nobody is in it or about to be.
    pub(crate) fn vacant(&self) -> bool {
        self.members.is_empty() && self.reserved.is_empty()
    }

    fn of_instance(&self, instance: &str) -> Option<&String> {
        let found = self.members.iter().find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id)
    }

    fn fenced(&self, claim: &Claim<'_>) -> bool {
        claim.instance.and_then(|instance| self.of_instance(instance)).is_some_and(|id| id != claim.member_id)
    }

    /// A member joins; the answer comes when the round is complete.
    pub(crate) fn join(&mut self, join: Join, now: Instant, reply: Reply<Membership>) {
        match self.entry(&join) {
            Entry::Refuse(error, member_id) => refuse(reply, error, &member_id),
            Entry::Reserve => {
                self.reserved.insert(join.fresh_id.clone(), now);
                refuse(reply, ResponseError::MemberIdRequired, &join.fresh_id);
            }
            Entry::Join(id, replaced) => {
                let takes_over = replaced.is_some_and(|old| self.replace(&old, &id));
                self.enter(Join { member_id: id, ..join }, now, reply, takes_over);
            }
        }
        self.advance(now);
    }

    fn entry(&self, join: &Join) -> Entry {
        let refuse = |error| Entry::Refuse(error, join.member_id.clone());
        let mut others = self.members.iter().filter(|(id, _)| **id != join.member_id).map(|(_, m)| m);
        let agreed =
            join.protocols.iter().any(|(name, _)| others.clone().all(|member| member.supports(name)));
        let foreign = others.next().is_some() && self.protocol_type != join.protocol_type;
        if !agreed || foreign {
            return refuse(ResponseError::InconsistentGroupProtocol);
        }
        let claim = Claim { member_id: &join.member_id, instance: join.instance.as_deref(), generation: -1 };
        let known = self.members.contains_key(&join.member_id) || self.reserved.contains_key(&join.member_id);
        let full = self.members.len() + self.reserved.len() >= join.members_max;
        let replaced = claim.instance.and_then(|instance| self.of_instance(instance));
        match (join.member_id.is_empty(), replaced) {
            (false, _) if self.fenced(&claim) => refuse(ResponseError::FencedInstanceId),
            (false, _) if !known => refuse(ResponseError::UnknownMemberId),
            (false, _) => Entry::Join(join.member_id.clone(), None),
            (true, Some(old)) => Entry::Join(join.fresh_id.clone(), Some(old.clone())),
            (true, None) if full => refuse(ResponseError::GroupMaxSizeReached),
            (true, None) if join.instance.is_none() && join.returns_with_id => Entry::Reserve,
            (true, None) => Entry::Join(join.fresh_id.clone(), None),
        }
    }

    /// A static member has come back under another id; whoever still uses the old one is fenced.
    fn replace(&mut self, old: &str, id: &str) -> bool {
        let Some(mut member) = self.members.remove(old) else { return false };
        if let Some(reply) = member.joining.take() {
            refuse(reply, ResponseError::FencedInstanceId, old);
        }
        if let Some(reply) = member.syncing.take() {
            refuse(reply, ResponseError::FencedInstanceId, old);
        }
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(id.to_owned());
        }
        self.members.insert(id.to_owned(), member);
        true
    }

    /// Takes in a member under the id that the request states by now.
    fn enter(&mut self, join: Join, now: Instant, reply: Reply<Membership>, takes_over: bool) {
        let id = join.member_id;
        self.reserved.remove(&id);
        self.protocol_type = join.protocol_type;
        let leads = self.leader.as_ref() == Some(&id);
        let member = self.members.get_mut(&id);
        let unchanged = member.as_ref().is_some_and(|member| member.protocols == join.protocols);
        // A member that joins again unchanged learns the current generation, unless it leads a stable
        // group: a leader does that to have a round.
        let answered = match self.state {
            State::Stable => unchanged && (!leads || takes_over),
            State::CompletingRebalance => unchanged && !takes_over,
            State::Empty | State::PreparingRebalance => false,
        };
        if let (true, Some(member)) = (answered, member) {
            member.seen = now;
            let membership = self.membership(&id);
            // The client may be gone; then nobody waits for the answer.
            let _ = reply.send(Ok(membership));
            return;
        }
        let assignment = self.members.remove(&id).map(|member| member.assignment).unwrap_or_default();
        let member = Member {
            instance: join.instance,
            client_id: join.client_id,
            host: join.host,
            session: join.session,
            rebalance: join.rebalance,
            protocols: join.protocols,
            assignment,
            seen: now,
            joining: Some(reply),
            syncing: None,
        };
        self.members.insert(id, member);
        self.prepare(now);
    }

    /// Begins a round.
    fn prepare(&mut self, now: Instant) {
        match self.state {
            State::PreparingRebalance => return,
            State::Empty => self.round_end_min = Some(now + FIRST_ROUND_DELAY),
            State::CompletingRebalance => {
                for (id, member) in &mut self.members {
                    if let Some(reply) = member.syncing.take() {
                        refuse(reply, ResponseError::RebalanceInProgress, id);
                    }
                }
            }
            State::Stable => {}
        }
        self.state = State::PreparingRebalance;
        self.round_end = self.members.values().map(|member| now + member.rebalance).max();
    }

    fn membership(&self, id: &str) -> Membership {
        let assigns = self.leader.as_deref() == Some(id) && self.state == State::CompletingRebalance;
        let listing = self
            .members
            .iter()
            .map(|(id, member)| (id.clone(), member.instance.clone(), member.metadata(self.protocol())));
        Membership {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol().to_owned(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            members: if assigns { listing.collect() } else { Vec::new() },
        }
    }

    /// Lets time pass: expires silent members, ends a round that is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.reserved.retain(|_, since| now.saturating_duration_since(*since) < RESERVED_MAX);
        let silent =
            |member: &Member| !member.waits() && now.saturating_duration_since(member.seen) > member.session;
        let expired: Vec<String> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.remove(&id, now);
        }
        let early = self.round_end_min.is_some_and(|earliest| now < earliest);
        if self.state != State::PreparingRebalance || early {
            return;
        }
        let late = self.round_end.is_some_and(|end| now >= end);
        if late {
            self.members.retain(|_, member| member.joining.is_some());
        }
        if late || self.members.values().all(|member| member.joining.is_some()) {
            self.complete(now);
        }
    }

    /// Everyone who takes part has joined: the leader is asked to assign.
    fn complete(&mut self, now: Instant) {
        self.round_end_min = None;
        self.round_end = None;
        if self.members.is_empty() {
            self.empty();
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.leader.as_ref().is_none_or(|leader| !self.members.contains_key(leader)) {
            self.leader = self.members.keys().next().cloned();
        }
        let preferred = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let mut names = preferred.into_iter().flat_map(|leader| &leader.protocols).map(|(name, _)| name);
        let agreed = names.find(|name| self.members.values().all(|member| member.supports(name)));
        self.protocol = agreed.cloned();
        self.state = State::CompletingRebalance;
        let memberships: Vec<Membership> = self.members.keys().map(|id| self.membership(id)).collect();
        for (member, membership) in self.members.values_mut().zip(memberships) {
            member.seen = now;
            if let Some(reply) = member.joining.take() {
                // Whoever is gone by now expires as a silent member.
                let _ = reply.send(Ok(membership));
            }
        }
    }

    fn empty(&mut self) {
        self.state = State::Empty;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.leader = None;
        self.protocol = None;
        self.round_end = None;
        self.round_end_min = None;
    }

    fn remove(&mut self, id: &str, now: Instant) {
        self.members.remove(id);
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
        if self.members.is_empty() { self.empty() } else { self.prepare(now) }
    }

    /// A member leaves, named by its id, or by its instance alone.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance {
            None => member_id.to_owned(),
            Some(instance) => match self.of_instance(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(id) if !member_id.is_empty() && id != member_id => {
                    return Err(ResponseError::FencedInstanceId);
                }
                Some(id) => id.clone(),
            },
        };
        if self.reserved.remove(&id).is_some() {
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(&id, now);
        self.advance(now);
        Ok(())
    }

    fn admitted(&mut self, claim: &Claim<'_>, now: Instant) -> Result<&mut Member, ResponseError> {
        if self.fenced(claim) {
            return Err(ResponseError::FencedInstanceId);
        }
        let generation = self.generation;
        let member = self.members.get_mut(claim.member_id).ok_or(ResponseError::UnknownMemberId)?;
        if claim.generation != generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.seen = now;
        Ok(member)
    }

    /// A member says that it lives.
    pub(crate) fn heartbeat(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        self.admitted(claim, now)?;
        match self.state {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether a commit of offsets is to be taken. Without a generation, only from outside an empty group.
    pub(crate) fn admit_commit(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        if claim.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.admitted(claim, now)?;
        match self.state {
            State::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::PreparingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether a commit within a transaction is to be taken (KIP-447). Older producers state no member.
    pub(crate) fn admit_transactional_commit(
        &mut self,
        claim: &Claim<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if claim.generation < 0 && claim.member_id.is_empty() && claim.instance.is_none() {
            return Ok(());
        }
        self.admitted(claim, now).map(|_| ())
    }

    /// A member asks for its assignment; the leader brings everyone's.
    pub(crate) fn sync(
        &mut self,
        claim: &Claim<'_>,
        assignments: HashMap<String, Bytes>,
        now: Instant,
        reply: Reply<Assignment>,
    ) {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol().to_owned());
        let of = |assignment: Bytes| Assignment {
            protocol_type: protocol_type.clone(),
            protocol: protocol.clone(),
            assignment,
        };
        let state = self.state;
        let leads = self.leader.as_deref() == Some(claim.member_id);
        let member = match self.admitted(claim, now) {
            Ok(member) => member,
            Err(error) => return refuse(reply, error, claim.member_id),
        };
        match state {
            State::Empty => refuse(reply, ResponseError::UnknownMemberId, claim.member_id),
            State::PreparingRebalance => refuse(reply, ResponseError::RebalanceInProgress, claim.member_id),
            State::Stable => {
                let assignment = of(member.assignment.clone());
                let _ = reply.send(Ok(assignment));
            }
            State::CompletingRebalance => {
                member.syncing = Some(reply);
                if !leads {
                    return;
                }
                self.state = State::Stable;
                for (id, member) in &mut self.members {
                    member.assignment = assignments.get(id).cloned().unwrap_or_default();
                    if let Some(reply) = member.syncing.take() {
                        member.seen = now;
                        let _ = reply.send(Ok(of(member.assignment.clone())));
                    }
                }
            }
        }
    }
}

fn refuse<T>(reply: Reply<T>, error: ResponseError, member_id: &str) {
    let _ = reply.send(Err(Refused { error, member_id: member_id.to_owned() }));
}

#[cfg(test)]
mod tests;
