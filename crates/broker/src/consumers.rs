//! A consumer group of the consumer protocol (KIP-848): a pure state machine, told the time.
//!
//! The group has a target: what each member shall have. A member comes to it step by step, by heartbeats: it
//! gives up what it shall not have, says so, and only then may others have it.
//!
//! Invariant: no partition is assigned to, or being given up by, two members at a time.

mod assign;
mod exchange;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use self::assign::Candidate;
pub(crate) use self::assign::{Assignor, Place};
pub(crate) use self::exchange::{Answer, Beat, Expression, Step, Subscription, Topics};
use crate::group::Claim;

/// A silent member is taken for dead. Kafka's `group.consumer.session.timeout.ms`.
const SESSION: Duration = Duration::from_secs(45);
/// How often members are told to come. Kafka's default is 5 s, which spares a cluster of brokers; here it is
/// what a rebalance waits for.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Id and number of partitions by name.
type TopicSizes = BTreeMap<String, (Uuid, i32)>;

/// Where a member is on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It has what it shall have.
    Arrived,
    /// It has been told to give something up, and has not said yet that it has.
    GivingUp {
        /// When it is taken for stuck.
        until: Instant,
    },
    /// Others have not given up yet what it shall have.
    Waiting,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) epoch: i32,
    previous_epoch: i32,
    rebalance: Duration,
    pub(crate) subscription: Subscription,
    assignor: Option<Assignor>,
    progress: Progress,
    /// What it may use.
    pub(crate) assigned: BTreeSet<Place>,
    /// What it has been told to give up.
    giving_up: BTreeSet<Place>,
    pub(crate) target: BTreeSet<Place>,
    seen: Instant,
    /// A static member that has said that it will be back.
    away: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    /// Rises with every change of members, subscriptions and topics.
    pub(crate) epoch: i32,
    /// The epoch that the targets were made for.
    pub(crate) target_epoch: i32,
    members: BTreeMap<String, Member>,
    /// The topics that members subscribe to, as they were when the targets were made.
    topics: TopicSizes,
}

impl Consumers {
    pub(crate) fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// Whether nobody is in it.
    pub(crate) fn vacant(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name of the group's state.
    pub(crate) fn state(&self) -> &'static str {
        let arrived = |member: &Member| {
            member.progress == Progress::Arrived && (member.away || member.epoch == self.target_epoch)
        };
        match self.members.is_empty() {
            true => "Empty",
            false if self.epoch > self.target_epoch => "Assigning",
            false if self.members.values().all(arrived) => "Stable",
            false => "Reconciling",
        }
    }

    /// The assignor that most members ask for.
    pub(crate) fn assignor(&self) -> Assignor {
        let asked = |assignor| self.members.values().filter(|m| m.assignor == Some(assignor)).count();
        if asked(Assignor::Range) > asked(Assignor::Uniform) { Assignor::Range } else { Assignor::Uniform }
    }

    fn of_instance(&self, instance: &str) -> Option<&String> {
        let found = self.members.iter().find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id)
    }

    /// A member says that it lives, joins or leaves; it learns what it shall have.
    pub(crate) fn beat(
        &mut self,
        beat: Beat,
        topics: &Topics<'_>,
        now: Instant,
    ) -> Result<Answer, ResponseError> {
        self.advance(now);
        let mut told_all = beat.complete;
        match beat.step {
            Step::Leave => return self.leave(&beat.member_id, beat.instance.as_deref()),
            Step::Pause => return self.pause(&beat, now),
            Step::Join => {
                self.join(&beat, now)?;
                told_all = true;
            }
            Step::Live { epoch } => self.admit(&beat, epoch)?,
        }
        let member = self.members.get_mut(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        member.seen = now;
        member.rebalance = beat.rebalance.unwrap_or(member.rebalance);
        member.assignor = beat.assignor.or(member.assignor);
        member.rack = beat.rack.or(member.rack.take());
        if let Some(subscription) = beat.subscription
            && member.subscription != subscription
        {
            member.subscription = subscription;
            self.epoch += 1;
        }
        self.aim(topics);
        let before = self.members.get(&beat.member_id).map(|member| member.assigned.clone());
        self.reconcile(&beat.member_id, beat.owned.as_ref(), now);
        let member = self.members.get(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        let changed = before.as_ref() != Some(&member.assigned);
        let assigned = (told_all || changed).then(|| member.assigned.clone());
        Ok(Answer { member_id: beat.member_id, epoch: member.epoch, assigned })
    }

    /// A member joins, comes back as a static one, or begins anew under its id.
    fn join(&mut self, beat: &Beat, now: Instant) -> Result<(), ResponseError> {
        let known = beat.instance.as_deref().and_then(|instance| self.of_instance(instance)).cloned();
        let mut fresh = Member {
            instance: beat.instance.clone(),
            rack: None,
            client_id: beat.client_id.clone(),
            host: beat.host.clone(),
            epoch: 0,
            previous_epoch: -1,
            rebalance: Duration::ZERO,
            subscription: Subscription::default(),
            assignor: None,
            progress: Progress::Arrived,
            assigned: BTreeSet::new(),
            giving_up: BTreeSet::new(),
            target: BTreeSet::new(),
            seen: now,
            away: false,
        };
        let old = match known {
            Some(old) if old != beat.member_id && !self.members.get(&old).is_some_and(|old| old.away) => {
                return Err(ResponseError::UnreleasedInstanceId);
            }
            Some(old) => self.members.remove(&old),
            None => self.members.remove(&beat.member_id),
        };
        match old {
            // A static member comes back to what it had; nobody else notices.
            Some(old) if old.away => {
                fresh.subscription = old.subscription;
                fresh.assigned = old.assigned;
                fresh.target = old.target;
                fresh.epoch = old.epoch;
                // The target may have moved on meanwhile.
                fresh.progress = Progress::Waiting;
            }
            // Whoever begins anew has nothing any more; what it shall have stays.
            Some(old) => {
                fresh.subscription = old.subscription;
                fresh.target = old.target;
            }
            None if self.members.len() >= beat.members_max => {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            None => self.epoch += 1,
        }
        self.members.insert(beat.member_id.clone(), fresh);
        Ok(())
    }

    fn admit(&mut self, beat: &Beat, epoch: i32) -> Result<(), ResponseError> {
        let fenced = beat.instance.as_deref().and_then(|instance| self.of_instance(instance));
        if fenced.is_some_and(|id| *id != beat.member_id) {
            return Err(ResponseError::FencedInstanceId);
        }
        let member = self.members.get(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        let within = |owned: &BTreeSet<Place>| owned.is_subset(&member.assigned);
        // The answer that raised the epoch may have been lost.
        let late = epoch == member.previous_epoch && beat.owned.as_ref().is_some_and(within);
        match epoch == member.epoch || late {
            true => Ok(()),
            false => Err(ResponseError::FencedMemberEpoch),
        }
    }

    fn leave(&mut self, member_id: &str, instance: Option<&str>) -> Result<Answer, ResponseError> {
        let of_instance = instance.and_then(|instance| self.of_instance(instance));
        if of_instance.is_some_and(|id| id != member_id) {
            return Err(ResponseError::FencedInstanceId);
        }
        self.members.remove(member_id).ok_or(ResponseError::UnknownMemberId)?;
        self.epoch += 1;
        Ok(Answer { member_id: member_id.to_owned(), epoch: -1, assigned: None })
    }

    /// A static member leaves for a while: its partitions are kept for it until its session is over.
    fn pause(&mut self, beat: &Beat, now: Instant) -> Result<Answer, ResponseError> {
        let instance = beat.instance.as_deref().ok_or(ResponseError::InvalidRequest)?;
        let id = self.of_instance(instance).ok_or(ResponseError::UnknownMemberId)?.clone();
        if id != beat.member_id {
            return Err(ResponseError::FencedInstanceId);
        }
        let member = self.members.get_mut(&id).ok_or(ResponseError::UnknownMemberId)?;
        member.away = true;
        member.seen = now;
        member.giving_up.clear();
        member.progress = Progress::Arrived;
        Ok(Answer { member_id: id, epoch: -2, assigned: None })
    }

    /// Lets time pass: who is silent for too long, or does not give up what it shall, is put out.
    pub(crate) fn advance(&mut self, now: Instant) {
        let n_before = self.members.len();
        self.members.retain(|_, member| {
            let stuck = match member.progress {
                Progress::GivingUp { until } => now >= until,
                Progress::Arrived | Progress::Waiting => false,
            };
            !stuck && now.saturating_duration_since(member.seen) < SESSION
        });
        if self.members.len() < n_before {
            self.epoch += 1;
        }
    }

    /// The topics that members subscribe to.
    fn subscribed(&self, topics: &Topics<'_>) -> TopicSizes {
        let subscriptions = || self.members.values().map(|member| &member.subscription);
        let mut names: BTreeSet<&str> =
            subscriptions().flat_map(|one| one.names.iter().map(String::as_str)).collect();
        let expressions: BTreeMap<&str, &Expression> =
            subscriptions().filter_map(|one| one.expression.as_ref().map(|e| (e.given(), e))).collect();
        let all = if expressions.is_empty() { Vec::new() } else { (topics.names)() };
        names.extend(
            all.iter().map(String::as_str).filter(|name| expressions.values().any(|e| e.admits(name))),
        );
        let sized = names.into_iter().filter_map(|name| (topics.find)(name).map(|size| (name, size)));
        sized.map(|(name, size)| (name.to_owned(), size)).collect()
    }

    /// Makes new targets if there is a reason.
    fn aim(&mut self, topics: &Topics<'_>) {
        let subscribed = self.subscribed(topics);
        if self.topics != subscribed {
            self.topics = subscribed;
            self.epoch += 1;
        }
        if self.epoch == self.target_epoch {
            return;
        }
        let candidates: Vec<Candidate<'_>> = self
            .members
            .iter()
            .map(|(id, member)| {
                let own = self.topics.iter().filter(|(name, _)| member.subscription.contains(name));
                Candidate {
                    name: member.instance.as_ref().unwrap_or(id),
                    topics: own.map(|(_, size)| *size).collect(),
                    has: &member.target,
                }
            })
            .collect();
        let targets = self.assignor().assign(&candidates);
        drop(candidates);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
        self.target_epoch = self.epoch;
    }

    /// What members other than this one have, or are giving up.
    fn taken_by_others(&self, id: &str) -> BTreeSet<Place> {
        let others = self.members.iter().filter(|(other, _)| other.as_str() != id);
        others.flat_map(|(_, other)| other.assigned.iter().chain(&other.giving_up)).copied().collect()
    }

    /// Takes a member as far towards its target as the others let it. `owned`: what it says that it has.
    fn reconcile(&mut self, id: &str, owned: Option<&BTreeSet<Place>>, now: Instant) {
        let taken = self.taken_by_others(id);
        let Some(member) = self.members.get_mut(id) else { return };
        let still_has = |given_up: &BTreeSet<Place>| owned.is_none_or(|owned| !owned.is_disjoint(given_up));
        match member.progress {
            Progress::Arrived if member.epoch == self.target_epoch => return,
            Progress::GivingUp { .. } if still_has(&member.giving_up) => return,
            Progress::Arrived | Progress::GivingUp { .. } | Progress::Waiting => member.giving_up.clear(),
        }
        let surplus: BTreeSet<Place> = member.assigned.difference(&member.target).copied().collect();
        member.assigned.retain(|place| member.target.contains(place));
        if !surplus.is_empty() && still_has(&surplus) {
            member.giving_up = surplus;
            member.progress = Progress::GivingUp { until: now + member.rebalance };
            return;
        }
        let free = member.target.difference(&taken).copied();
        member.assigned.extend(free);
        member.progress = match member.assigned == member.target {
            true => Progress::Arrived,
            false => Progress::Waiting,
        };
        if member.epoch != self.target_epoch {
            member.previous_epoch = member.epoch;
            member.epoch = self.target_epoch;
        }
    }

    /// Whether who claims to be a member may commit or ask for offsets.
    pub(crate) fn admit_offsets(&self, claim: &Claim<'_>) -> Result<(), ResponseError> {
        let member = self.members.get(claim.member_id).ok_or(ResponseError::UnknownMemberId)?;
        match claim.generation == member.epoch {
            true => Ok(()),
            false => Err(ResponseError::StaleMemberEpoch),
        }
    }
}

#[cfg(test)]
mod tests;
