//! The state of the world of two partitions, and what processes do to it.

use tidegate_core::{Checkpoint, JointId, PartId, PlanFingerprint, TopicPartition};
use tidegate_protocol::{Answer, Course, Effect, Joint, JointEffect, Seen, Sent};

use crate::joint::JointMutation;
use crate::waters::{Token, Waters, place, range};
use crate::world::{Fate, Kind};

const PLAN: PlanFingerprint = PlanFingerprint(0);

/// What a process has of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lane {
    epoch: u8,
    position: i64,
    found: Option<Checkpoint>,
    course: Option<Course>,
    answers: Vec<(PartId, Answer)>,
    /// Delivered, and no checkpoint says so.
    unsaid: Option<Checkpoint>,
    /// Its batch is a member of the joint one.
    joined: bool,
}

/// A joint batch of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Convoy {
    joint: Joint,
    /// Under which epochs.
    epochs: [u8; 2],
    ranges: [(i64, i64); 2],
    sent: Vec<(PartId, Sent)>,
    doubtful: Vec<PartId>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Ship {
    lanes: [Option<Lane>; 2],
    convoy: Option<Convoy>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fleet {
    pub(crate) committed: [Checkpoint; 2],
    epochs: [u8; 2],
    ships: [Option<Ship>; 2],
    /// Partitions and offsets in the order of their arrival, by part.
    pub(crate) tables: [Vec<(u8, u8)>; 2],
    pub(crate) letters: Vec<(u8, u8)>,
    /// By the partition of the table.
    tokens: Vec<(Token, u8)>,
    pub(crate) rules: u8,
    pub(crate) takes: u8,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    /// How often the server was killed amid an insert.
    pub(crate) kills: u8,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            committed: [Checkpoint::settled(0), Checkpoint::settled(0)],
            epochs: [0, 0],
            ships: [None, None],
            tables: [Vec::new(), Vec::new()],
            letters: Vec::new(),
            tokens: Vec::new(),
            rules: 0,
            takes: 0,
            crashes: 0,
            losses: 0,
            kills: 0,
        }
    }

    /// A partition goes to a process. Whoever had it does not know.
    pub(crate) fn take(&mut self, slot: usize, partition: usize) {
        self.takes += 1;
        self.epochs[partition] += 1;
        let committed = &self.committed[partition];
        let ship = self.ships[slot].get_or_insert_default();
        ship.lanes[partition] = Some(Lane {
            epoch: self.epochs[partition],
            position: committed.offset,
            found: committed.intent.is_some().then(|| committed.clone()),
            course: None,
            answers: Vec::new(),
            unsaid: None,
            joined: false,
        });
    }

    pub(crate) fn crash(&mut self, slot: usize) {
        self.crashes += 1;
        self.ships[slot] = None;
    }

    pub(crate) fn runs(&self, slot: usize) -> bool {
        self.ships[slot].is_some()
    }

    /// Whether each partition belongs to a process that runs.
    pub(crate) fn all_owned(&self) -> bool {
        [0, 1].iter().all(|partition| [0, 1].iter().any(|slot| self.owns(*slot, *partition)))
    }

    pub(crate) fn delivered(&self, kinds: &[Vec<Kind>; 2]) -> bool {
        let end = |partition: usize| i64::try_from(kinds[partition].len()).expect("a model is small");
        [0, 1].iter().all(|partition| self.committed[*partition].offset == end(*partition))
    }

    fn lane(&self, slot: usize, partition: usize) -> Option<&Lane> {
        self.ships[slot].as_ref()?.lanes[partition].as_ref()
    }

    fn lane_mut(&mut self, slot: usize, partition: usize) -> Option<&mut Lane> {
        self.ships[slot].as_mut()?.lanes[partition].as_mut()
    }

    fn owns(&self, slot: usize, partition: usize) -> bool {
        self.lane(slot, partition).is_some_and(|lane| lane.epoch == self.epochs[partition])
    }

    pub(crate) fn given_up(&self, slot: usize, partition: usize) -> bool {
        self.lane(slot, partition).is_some() && !self.owns(slot, partition)
    }

    fn convoy(&self, slot: usize) -> Option<&Convoy> {
        self.ships[slot].as_ref()?.convoy.as_ref()
    }

    pub(crate) fn joint_given_up(&self, slot: usize) -> bool {
        self.convoy(slot).is_some_and(|convoy| convoy.epochs != self.epochs)
    }

    pub(crate) fn joint_effect(&self, slot: usize) -> Option<JointEffect> {
        self.convoy(slot).map(|convoy| convoy.joint.effect())
    }

    pub(crate) fn effect(&self, slot: usize, partition: usize) -> Option<Effect> {
        self.lane(slot, partition)?.course.as_ref().map(Course::effect)
    }

    fn idle(&self, waters: Waters<'_>, slot: usize, partition: usize) -> bool {
        self.lane(slot, partition).is_some_and(|lane| {
            lane.course.is_none() && !lane.joined && lane.position < waters.end(partition)
        })
    }

    pub(crate) fn may_form(&self, waters: Waters<'_>, slot: usize, partition: usize, bound: bool) -> bool {
        let found = self.lane(slot, partition).is_some_and(|lane| lane.found.is_some());
        // Alone, too, goes who has no other to join.
        let other = 1 - partition;
        let company = self.lane(slot, other).is_some_and(|lane| lane.position < waters.end(other));
        let company = company && self.owns(slot, other);
        self.idle(waters, slot, partition) && (found || !bound || !company)
    }

    pub(crate) fn must_say(&self, slot: usize, partition: usize) -> bool {
        self.lane(slot, partition).is_some_and(|lane| lane.unsaid.is_some())
    }

    /// The sizes that a joint batch may have.
    pub(crate) fn joints<'a>(
        &self,
        waters: Waters<'a>,
        slot: usize,
    ) -> impl Iterator<Item = [i64; 2]> + use<'a> {
        let free = |partition: usize| {
            let found = self.lane(slot, partition).is_some_and(|lane| lane.found.is_some());
            let position = self.lane(slot, partition).map_or(0, |lane| lane.position);
            if self.idle(waters, slot, partition) && !found { waters.end(partition) - position } else { 0 }
        };
        let (first, second) = (free(0), free(1));
        (1..=first).flat_map(move |a| (1..=second).map(move |b| [a, b]))
    }

    /// A process forms a batch of one partition.
    pub(crate) fn form(&mut self, waters: Waters<'_>, slot: usize, partition: usize) {
        let Some(lane) = self.lane_mut(slot, partition) else { return };
        let course = match lane.found.take() {
            Some(mut checkpoint) => {
                let mut intent = checkpoint.intent.clone().expect("only an intent is kept");
                if waters.is(JointMutation::Unnamed) {
                    intent.joint = None;
                    checkpoint.intent = Some(intent.clone());
                }
                let unfit = waters.unfit(partition, range((checkpoint.offset, intent.root)));
                Course::resumed(&checkpoint, &intent, PLAN, &unfit)
            }
            None => {
                let range = range((lane.position, waters.end(partition)));
                Course::fresh(range, PLAN, waters.unfit(partition, range))
            }
        };
        lane.unsaid = None;
        lane.course = Some(course);
    }

    /// A process forms a joint batch.
    pub(crate) fn join(&mut self, waters: Waters<'_>, slot: usize, sizes: [i64; 2]) {
        let Some(ship) = &mut self.ships[slot] else { return };
        let [Some(a), Some(b)] = &mut ship.lanes else { return };
        let ranges = [(a.position, a.position + sizes[0]), (b.position, b.position + sizes[1])];
        let sources = [0, 1].map(|partition| TopicPartition::new("t", partition));
        let id = JointId::of(sources.iter().zip(ranges).map(|(source, of)| (source, range(of), None)));
        let members = [0, 1].map(|partition| {
            let of = range(ranges[partition]);
            let course = Course::fresh(of, PLAN, waters.unfit(partition, of));
            let parts = [PartId(0), PartId(1)].into_iter();
            let parts: Vec<_> = parts.filter(|part| !waters.rows(partition, of, *part).is_empty()).collect();
            assert!(course.may_join(&parts), "a fresh batch may join");
            (course, parts)
        });
        for lane in [&mut *a, &mut *b] {
            lane.joined = true;
            lane.unsaid = None;
        }
        let epochs = [a.epoch, b.epoch];
        let joint = Joint::new(id, members);
        ship.convoy = Some(Convoy { joint, epochs, ranges, sent: Vec::new(), doubtful: Vec::new() });
    }

    /// The parts that can be sent, and how many of them nobody knows anything about.
    pub(crate) fn unsent_jointly(&self, waters: Waters<'_>, slot: usize) -> (Vec<PartId>, usize) {
        let Some(convoy) = self.convoy(slot) else { return (Vec::new(), 0) };
        let has_rows = |part: &PartId| !joint_rows(waters, convoy, *part).is_empty();
        let unanswered = |part: &PartId| !convoy.sent.iter().any(|(sent, _)| sent == part);
        let parts: Vec<_> = [PartId(0), PartId(1)].into_iter().filter(has_rows).filter(unanswered).collect();
        let unknown = parts.iter().filter(|part| !convoy.doubtful.contains(part)).count();
        (parts, unknown)
    }

    /// All or nothing.
    pub(crate) fn commit_all(&mut self, waters: Waters<'_>, slot: usize, lost: bool) {
        let Some(mut convoy) = self.ships[slot].as_mut().and_then(|ship| ship.convoy.take()) else { return };
        let owned = [0, 1].map(|partition| convoy.epochs[partition] == self.epochs[partition]);
        let (checkpoints, confirms) = match convoy.joint.effect() {
            JointEffect::State(checkpoints) => (checkpoints, false),
            JointEffect::Confirm(checkpoints) => (checkpoints, true),
            JointEffect::Insert | JointEffect::Part => return,
        };
        let careless = [JointMutation::TornConfirm, JointMutation::Trespass].iter().any(|m| waters.is(*m));
        if owned != [true, true] && !(confirms && careless) {
            convoy.joint.fenced();
            return self.part(slot, convoy);
        }
        for (partition, checkpoint) in checkpoints.into_iter().enumerate() {
            let skipped = waters.is(JointMutation::Unstated) && !confirms;
            if !skipped && (owned[partition] || waters.is(JointMutation::Trespass)) {
                self.committed[partition] = checkpoint;
            }
        }
        if lost {
            self.losses += 1;
        } else if confirms {
            convoy.joint.confirmed();
            return self.part(slot, convoy);
        } else {
            convoy.joint.stated();
        }
        self.ships[slot].as_mut().expect("it was there").convoy = Some(convoy);
    }

    /// Every member goes on alone.
    fn part(&mut self, slot: usize, convoy: Convoy) {
        let epochs = convoy.epochs;
        for (partition, course) in convoy.joint.into_courses().into_iter().enumerate() {
            let Some(lane) = self.lane_mut(slot, partition) else { continue };
            // A partition that has come back since has begun anew.
            if lane.epoch == epochs[partition] {
                lane.joined = false;
                lane.course = Some(course);
            }
        }
    }

    pub(crate) fn insert_joint(&mut self, waters: Waters<'_>, slot: usize, part: PartId, fate: Fate) {
        let Some(convoy) = self.convoy(slot) else { return };
        let rows = joint_rows(waters, convoy, part);
        let token = match waters.is(JointMutation::BorrowedToken) {
            true => Token::Own(0, part, convoy.ranges[0].0, convoy.ranges[0].1, 0),
            false => Token::Joint(convoy.joint.id(), part),
        };
        let taken = self.apply(waters, (part, &rows), token, fate);
        let ship = self.ships[slot].as_mut().expect("it was there");
        let convoy = ship.convoy.as_mut().expect("it was there");
        if fate != Fate::Answered {
            return convoy.doubtful.push(part);
        }
        let trusts = waters.is(JointMutation::TrustRepeats);
        let sent = match (taken, convoy.doubtful.contains(&part)) {
            (true, doubtful) if trusts || !doubtful => Sent::Taken,
            (false, false) => Sent::Refused,
            (true | false, _) => Sent::Unknown,
        };
        convoy.sent.push((part, sent));
    }

    pub(crate) fn stale(&mut self, slot: usize) {
        if let Some(convoy) = self.ships[slot].as_mut().and_then(|ship| ship.convoy.as_mut()) {
            convoy.joint.stale();
        }
    }

    pub(crate) fn conclude_joint(&mut self, slot: usize) {
        let Some(convoy) = self.ships[slot].as_mut().and_then(|ship| ship.convoy.as_mut()) else { return };
        let mut sent = std::mem::take(&mut convoy.sent);
        for part in std::mem::take(&mut convoy.doubtful) {
            if !sent.iter().any(|(answered, _)| *answered == part) {
                sent.push((part, Sent::Unknown));
            }
        }
        convoy.joint.inserted(&sent);
    }

    /// Whether ClickHouse takes a block.
    fn apply(
        &mut self,
        waters: Waters<'_>,
        (part, rows): (PartId, &[(usize, i64)]),
        token: Token,
        fate: Fate,
    ) -> bool {
        self.losses += u8::from(fate == Fate::Lost);
        self.kills += u8::from(matches!(fate, Fate::Killed(_)));
        let rules = usize::from(self.rules);
        if rows.iter().any(|(partition, offset)| !waters.kind(*partition, *offset).taken[rules]) {
            return false;
        }
        for day in [0, 1] {
            let own = rows.iter().filter(|(partition, offset)| waters.kind(*partition, *offset).day == day);
            let own: Vec<_> = own.map(|(partition, offset)| place(*partition, *offset)).collect();
            let token = (token.clone(), day);
            if !own.is_empty() && !self.tokens.contains(&token) {
                self.tokens.push(token);
                if fate == Fate::Killed(day) {
                    break;
                }
                self.tables[usize::try_from(part.0).expect("two parts")].extend(own);
            }
        }
        true
    }

    fn wanted(&self, waters: Waters<'_>, (slot, partition): (usize, usize), part: PartId) -> Vec<i64> {
        let Some(course) = self.lane(slot, partition).and_then(|lane| lane.course.as_ref()) else {
            return Vec::new();
        };
        let mut rows = waters.rows(partition, course.doubtful(), part);
        rows.retain(|offset| course.wants(part, *offset));
        rows
    }

    pub(crate) fn unsent(&self, waters: Waters<'_>, slot: usize, partition: usize) -> Vec<PartId> {
        let Some(lane) = self.lane(slot, partition) else { return Vec::new() };
        let unanswered = |part: &PartId| !lane.answers.iter().any(|(answered, _)| answered == part);
        let has_rows = |part: &PartId| !self.wanted(waters, (slot, partition), *part).is_empty();
        [PartId(0), PartId(1)].into_iter().filter(unanswered).filter(has_rows).collect()
    }

    pub(crate) fn insert(
        &mut self,
        waters: Waters<'_>,
        (slot, partition): (usize, usize),
        part: PartId,
        fate: Fate,
    ) {
        let rows = self.wanted(waters, (slot, partition), part);
        let Some(course) = self.lane(slot, partition).and_then(|lane| lane.course.as_ref()) else { return };
        let of = course.token(part);
        let token = match course.joint() {
            Some(joint) if !waters.is(JointMutation::BorrowedToken) => Token::Joint(joint, part),
            Some(_) => Token::Own(0, part, of.first(), of.end(), 0),
            None => Token::Own(partition, part, of.first(), of.end(), course.again(part)),
        };
        let placed: Vec<_> = rows.iter().map(|offset| (partition, *offset)).collect();
        let taken = self.apply(waters, (part, &placed), token, fate);
        let lane = self.lane_mut(slot, partition).expect("it was there");
        let course = lane.course.as_mut().expect("it was there");
        if fate != Fate::Answered {
            return course.in_doubt();
        }
        let answer = match taken {
            true if course.may_repeat() && !waters.is(JointMutation::TrustRepeats) => Answer::Repeated,
            true => Answer::Taken,
            false => Answer::Refused { rows, suspected: false },
        };
        lane.answers.push((part, answer));
    }

    pub(crate) fn conclude(&mut self, waters: Waters<'_>, slot: usize, partition: usize) {
        let sent = [PartId(0), PartId(1)].map(|part| {
            let there = self.wanted(waters, (slot, partition), part);
            Seen { part, there, missing: Vec::new() }
        });
        let Some(lane) = self.lane_mut(slot, partition) else { return };
        let answers = std::mem::take(&mut lane.answers);
        let Some(course) = &mut lane.course else { return };
        let claims = course.joint().is_some() && !answers.is_empty();
        course.inserted(&answers, true);
        if claims && waters.is(JointMutation::BlindClaim) {
            course.looked(&sent);
        }
    }

    pub(crate) fn look(&mut self, waters: Waters<'_>, slot: usize, partition: usize) {
        let Some(course) = self.lane(slot, partition).and_then(|lane| lane.course.as_ref()) else { return };
        let (own, of) = (place(partition, 0).0, course.doubtful());
        let held = |part: usize| {
            let table = self.tables[part].iter().filter(|(partition, _)| *partition == own);
            let mut offsets: Vec<i64> = table.map(|(_, offset)| i64::from(*offset)).collect();
            offsets.retain(|offset| of.contains(*offset));
            offsets.sort_unstable();
            let part = PartId(part as u64);
            let mut missing = self.wanted(waters, (slot, partition), part);
            missing.retain(|offset| !offsets.contains(offset));
            Seen { part, there: offsets, missing }
        };
        let held = [held(0), held(1)];
        let lane = self.lane_mut(slot, partition).expect("it was there");
        let course = lane.course.as_mut().expect("it was there");
        course.looked(&held);
        if waters.is(JointMutation::NoClaim) && course.joint().is_some() {
            course.looked(&held);
        }
    }

    /// A process commits for one partition, with dead letters or without.
    pub(crate) fn commit(&mut self, slot: usize, partition: usize, lost: bool) {
        if !self.owns(slot, partition) {
            // It belongs to somebody else, and learns so here.
            if let Some(ship) = &mut self.ships[slot] {
                ship.lanes[partition] = None;
            }
            return;
        }
        self.losses += u8::from(lost);
        let lane = self.lane_mut(slot, partition).expect("it is owned");
        let effect = lane.course.as_ref().map(Course::effect);
        match effect {
            Some(Effect::State(checkpoint)) => {
                if let (false, Some(course)) = (lost, &mut lane.course) {
                    course.stated();
                }
                self.committed[partition] = checkpoint;
            }
            Some(Effect::Settle(letters, checkpoint)) => {
                // The adapter looks whether a transaction took place before it repeats it.
                if let (false, Some(course)) = (lost, &mut lane.course) {
                    course.settled();
                }
                if self.committed[partition] != checkpoint {
                    self.letters.extend(letters.iter().map(|offset| place(partition, *offset)));
                }
                self.committed[partition] = checkpoint;
            }
            Some(Effect::Insert | Effect::Wait | Effect::Look | Effect::Mirror(_) | Effect::Done(_)) => {}
            None => {
                let unsaid = lane.unsaid.take();
                if let Some(unsaid) = unsaid {
                    self.committed[partition] = unsaid;
                }
            }
        }
    }

    /// A process copies dead letters, or is done: steps that change nothing that is modelled.
    pub(crate) fn pass(&mut self, slot: usize, partition: usize) {
        let Some(lane) = self.lane_mut(slot, partition) else { return };
        let Some(course) = &mut lane.course else { return };
        match course.effect() {
            Effect::Mirror(_) => course.mirrored(),
            Effect::Done(unsaid) => {
                lane.position = course.doubtful().end();
                lane.unsaid = unsaid;
                lane.course = None;
            }
            Effect::State(_) | Effect::Insert | Effect::Wait | Effect::Look | Effect::Settle(..) => {}
        }
    }
}

/// The rows of a joint block.
fn joint_rows(waters: Waters<'_>, convoy: &Convoy, part: PartId) -> Vec<(usize, i64)> {
    let own = |partition: usize| {
        let rows = waters.rows(partition, range(convoy.ranges[partition]), part);
        rows.into_iter().map(move |offset| (partition, offset))
    };
    own(0).chain(own(1)).collect()
}
