//! Two partitions whose batches are sent together: the promise as properties, and the steps between which the
//! checker chooses. Partitions move one by one, and whoever had one goes on and does not know.

use std::time::Duration;

use stateright::{Checker, Model, Property};
use tidegate_core::PartId;
use tidegate_protocol::{Effect, JointEffect};

use crate::fleet::Fleet;
use crate::waters::Waters;
use crate::world::{Fate, Kind};

/// A part of the protocol of joint batches that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JointMutation {
    /// Nothing is stated before the joint blocks are sent.
    Unstated,
    /// The intent does not name the joint batch.
    Unnamed,
    /// Joint blocks go under the token that the first member's own block would have.
    BorrowedToken,
    /// Who goes alone looks, and sends its rows under its own token at once.
    NoClaim,
    /// Who goes alone sends its rows under the joint token, and believes that they are there.
    BlindClaim,
    /// The end is committed for those members that are still owned.
    TornConfirm,
    /// The end is committed for members that belong to somebody else.
    Trespass,
    /// What the server takes for a repetition is believed to be there.
    TrustRepeats,
}

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct JointBounds {
    /// How often a partition goes to a process, the first two times included.
    pub takes: u8,
    /// How many answers get lost.
    pub losses: u8,
    /// How often the server is killed amid an insert, so that it may have noted a token and not have its rows.
    pub kills: u8,
    /// How many processes crash; others are only late.
    pub crashes: u8,
    /// Whether the server's rules change, once, at any time. Then nobody sends for a partition that was taken from it.
    pub rules_change: bool,
    /// Whether all batches are joint ones at first. If not, any may go alone.
    pub always_joint: bool,
}

impl Default for JointBounds {
    fn default() -> Self {
        Self { takes: 4, losses: 1, kills: 0, crashes: 1, rules_change: false, always_joint: true }
    }
}

/// The records of two partitions, and what may happen to them.
#[derive(Debug, Clone)]
pub struct JointScenario {
    /// The records.
    pub kinds: [Vec<Kind>; 2],
    /// How much may happen.
    pub bounds: JointBounds,
    /// What is left out of the protocol.
    pub mutation: Option<JointMutation>,
}

/// One step of a process; its first number is the process, the second the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JointAction {
    /// The partition goes to the process.
    Take(usize, usize),
    /// The process ends.
    Crash(usize),
    /// It forms a batch of one partition: what an intent asks for, or all records.
    Form(usize, usize),
    /// It forms a joint batch, of so many records of each.
    Join(usize, [i64; 2]),
    /// It commits for a joint batch; the answer is lost or not.
    CommitAll(usize, bool),
    /// It sends a joint block.
    InsertJoint(usize, PartId, Fate),
    /// It makes sure that it owns the members of a joint batch still.
    Stale(usize),
    /// It weighs the answers to joint blocks.
    ConcludeJoint(usize),
    /// It commits for one partition; the answer is lost or not.
    Commit(usize, usize, bool),
    /// It sends a block of one partition.
    Insert(usize, usize, PartId, Fate),
    /// It weighs the answers to them.
    Conclude(usize, usize),
    /// It asks the tables.
    Look(usize, usize),
    /// It does what the model does not show.
    Pass(usize, usize),
    /// The server's rules change.
    ChangeRules,
}

const DELIVERED: &str = "everything can be delivered";

impl JointScenario {
    /// A scenario without mutations.
    #[must_use]
    pub fn new(kinds: [Vec<Kind>; 2], bounds: JointBounds) -> Self {
        Self { kinds, bounds, mutation: None }
    }

    /// Leaves a part of the protocol out.
    #[must_use]
    pub fn without(mut self, mutation: JointMutation) -> Self {
        self.mutation = Some(mutation);
        self
    }

    /// Goes through every interleaving. Gives the number of states and the names of the properties that do not hold,
    /// each with the steps to where it does not.
    ///
    /// # Panics
    /// If that takes longer than ten minutes: the bounds are too wide for a test.
    #[must_use]
    pub fn check(self) -> (usize, Vec<(&'static str, Vec<JointAction>)>) {
        let checker = self.checker().threads(2).timeout(Duration::from_secs(600)).spawn_bfs().join();
        let found = checker.discoveries();
        let delivered = found.contains_key(DELIVERED);
        let broken: Vec<_> = found
            .into_iter()
            .filter(|(name, _)| *name != DELIVERED)
            .map(|(name, path)| (name, path.into_actions()))
            .collect();
        assert!(checker.is_done() || !broken.is_empty(), "the checker ran out of time");
        assert!(delivered || !broken.is_empty(), "nothing is ever delivered");
        (checker.unique_state_count(), broken)
    }

    fn waters(&self) -> Waters<'_> {
        Waters { kinds: &self.kinds, mutation: self.mutation }
    }

    /// What may become of an insert.
    fn fates(&self, fleet: &Fleet) -> impl Iterator<Item = Fate> + use<> {
        let lost = (fleet.losses < self.bounds.losses).then_some(Fate::Lost);
        let killed = (fleet.kills < self.bounds.kills).then_some([Fate::Killed(0), Fate::Killed(1)]);
        std::iter::once(Fate::Answered).chain(lost).chain(killed.into_iter().flatten())
    }

    fn joint_steps(&self, fleet: &Fleet, slot: usize, actions: &mut Vec<JointAction>) {
        let Some(effect) = fleet.joint_effect(slot) else { return };
        let lossy = fleet.losses < self.bounds.losses;
        match effect {
            JointEffect::State(_) | JointEffect::Confirm(_) => {
                actions.push(JointAction::CommitAll(slot, false));
                if lossy {
                    actions.push(JointAction::CommitAll(slot, true));
                }
            }
            JointEffect::Insert => {
                let (unsent, unanswered) = fleet.unsent_jointly(self.waters(), slot);
                if unanswered == 0 {
                    actions.push(JointAction::ConcludeJoint(slot));
                }
                if self.bounds.rules_change && fleet.joint_given_up(slot) {
                    actions.push(JointAction::Stale(slot));
                    return;
                }
                for part in unsent {
                    actions.extend(self.fates(fleet).map(|fate| JointAction::InsertJoint(slot, part, fate)));
                }
            }
            JointEffect::Part => {}
        }
    }

    fn steps(&self, fleet: &Fleet, (slot, partition): (usize, usize), actions: &mut Vec<JointAction>) {
        let lossy = fleet.losses < self.bounds.losses;
        if fleet.may_form(self.waters(), slot, partition, self.bounds.always_joint) {
            actions.push(JointAction::Form(slot, partition));
        }
        if fleet.must_say(slot, partition) {
            actions.push(JointAction::Commit(slot, partition, false));
        }
        match fleet.effect(slot, partition) {
            Some(Effect::State(_) | Effect::Settle(..)) => {
                actions.push(JointAction::Commit(slot, partition, false));
                if lossy {
                    actions.push(JointAction::Commit(slot, partition, true));
                }
            }
            Some(Effect::Insert) => {
                let unsent = fleet.unsent(self.waters(), slot, partition);
                if unsent.is_empty() {
                    actions.push(JointAction::Conclude(slot, partition));
                } else if self.bounds.rules_change && fleet.given_up(slot, partition) {
                    return;
                }
                for part in unsent {
                    actions.extend(
                        self.fates(fleet).map(|fate| JointAction::Insert(slot, partition, part, fate)),
                    );
                }
            }
            Some(Effect::Look) => actions.push(JointAction::Look(slot, partition)),
            Some(Effect::Mirror(_) | Effect::Done(_)) => actions.push(JointAction::Pass(slot, partition)),
            Some(Effect::Wait) | None => {}
        }
    }
}

impl Model for JointScenario {
    type State = Fleet;
    type Action = JointAction;

    fn init_states(&self) -> Vec<Fleet> {
        vec![Fleet::new()]
    }

    fn actions(&self, fleet: &Fleet, actions: &mut Vec<JointAction>) {
        // Which process is the first does not matter, nor which partition it gets first.
        match fleet.takes {
            0 => return actions.push(JointAction::Take(0, 0)),
            1 => return actions.push(JointAction::Take(0, 1)),
            takes if takes < self.bounds.takes => {
                actions.extend([0, 1].map(|partition| JointAction::Take(0, partition)));
                actions.extend([0, 1].map(|partition| JointAction::Take(1, partition)));
            }
            _ => {}
        }
        if self.bounds.rules_change && fleet.rules == 0 {
            actions.push(JointAction::ChangeRules);
        }
        for slot in [0, 1] {
            if fleet.crashes < self.bounds.crashes && fleet.runs(slot) {
                actions.push(JointAction::Crash(slot));
            }
            actions.extend(fleet.joints(self.waters(), slot).map(|sizes| JointAction::Join(slot, sizes)));
            self.joint_steps(fleet, slot, actions);
            self.steps(fleet, (slot, 0), actions);
            self.steps(fleet, (slot, 1), actions);
        }
    }

    fn next_state(&self, before: &Fleet, action: JointAction) -> Option<Fleet> {
        let mut fleet = before.clone();
        let waters = self.waters();
        match action {
            JointAction::Take(slot, partition) => fleet.take(slot, partition),
            JointAction::Crash(slot) => fleet.crash(slot),
            JointAction::Form(slot, partition) => fleet.form(waters, slot, partition),
            JointAction::Join(slot, sizes) => fleet.join(waters, slot, sizes),
            JointAction::CommitAll(slot, lost) => fleet.commit_all(waters, slot, lost),
            JointAction::InsertJoint(slot, part, fate) => fleet.insert_joint(waters, slot, part, fate),
            JointAction::Stale(slot) => fleet.stale(slot),
            JointAction::ConcludeJoint(slot) => fleet.conclude_joint(slot),
            JointAction::Commit(slot, partition, lost) => fleet.commit(slot, partition, lost),
            JointAction::Insert(slot, partition, part, fate) => {
                fleet.insert(waters, (slot, partition), part, fate);
            }
            JointAction::Conclude(slot, partition) => fleet.conclude(waters, slot, partition),
            JointAction::Look(slot, partition) => fleet.look(waters, slot, partition),
            JointAction::Pass(slot, partition) => fleet.pass(slot, partition),
            JointAction::ChangeRules => fleet.rules = 1,
        }
        Some(fleet)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no row twice", |_, fleet: &Fleet| once(&fleet.tables.concat())),
            Property::always("no letter twice", |_, fleet: &Fleet| once(&fleet.letters)),
            Property::always("never row and letter", |_, fleet: &Fleet| {
                !fleet.letters.iter().any(|place| fleet.tables.concat().contains(place))
            }),
            Property::always("nothing is passed over", |_, fleet: &Fleet| {
                let placed = [fleet.tables.concat(), fleet.letters.clone()].concat();
                (0..2).all(|partition| {
                    (0..fleet.committed[usize::from(partition)].offset).all(|offset| {
                        placed.iter().any(|(p, at)| *p == partition && i64::from(*at) == offset)
                    })
                })
            }),
            Property::always("rows are in order", |scenario: &Self, fleet: &Fleet| {
                // In each partition of the table: between those there is no order.
                let day = |(partition, at): &(u8, u8)| {
                    scenario.kinds[usize::from(*partition)][usize::from(*at)].day
                };
                let own = |table: &[(u8, u8)], partition: u8, of: u8| {
                    let own = table.iter().filter(|place| place.0 == partition && day(place) == of);
                    own.map(|(_, at)| *at).collect::<Vec<_>>()
                };
                let sorted = |table: &Vec<(u8, u8)>, (p, d)| own(table, p, d).is_sorted();
                fleet
                    .tables
                    .iter()
                    .all(|t| [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().all(|of| sorted(t, of)))
            }),
            Property::always("nobody stops half-way", |scenario: &Self, fleet: &Fleet| {
                let mut actions = Vec::new();
                scenario.actions(fleet, &mut actions);
                actions.retain(|action| {
                    !matches!(
                        action,
                        JointAction::Take(..) | JointAction::Crash(_) | JointAction::ChangeRules
                    )
                });
                !actions.is_empty()
                    || fleet.takes < 2
                    || !fleet.all_owned()
                    || fleet.delivered(&scenario.kinds)
            }),
            Property::sometimes(DELIVERED, |scenario: &Self, fleet: &Fleet| fleet.delivered(&scenario.kinds)),
        ]
    }
}

fn once(places: &[(u8, u8)]) -> bool {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}
