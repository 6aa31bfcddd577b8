//! The promise as properties, and the steps between which the checker chooses.

use std::time::Duration;

use stateright::{Checker, Model, Property};
use tidegate_core::PartId;
use tidegate_protocol::Effect;

use crate::world::{Fate, Kind, Mutation, Setting, World};

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How often a process starts, the first one included.
    pub joins: u8,
    /// How many answers of ClickHouse and Kafka get lost.
    pub losses: u8,
    /// How often the server is killed amid an insert, so that it may have noted a token and not have its rows.
    pub kills: u8,
    /// Whether the server's rules change, once, at any time.
    pub rules_change: bool,
    /// Whether the tables are altered, once, at any time.
    pub tables_change: bool,
    /// How many tokens a table remembers.
    pub window: usize,
    /// Whether an insert may arrive after its process was given up. If not, processes make sure that they
    /// still own the partition before they send, and none is held up between the two.
    pub late: bool,
    /// Batches have at most so many records.
    pub batch_max: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            joins: 3,
            losses: 1,
            kills: 0,
            rules_change: false,
            tables_change: false,
            window: 100,
            late: true,
            batch_max: 4,
        }
    }
}

/// One partition's records, and what may happen to them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The records.
    pub kinds: Vec<Kind>,
    /// How much may happen.
    pub bounds: Bounds,
    /// What is left out of the protocol.
    pub mutation: Option<Mutation>,
    /// Whether tables can be asked which offsets they hold.
    pub witness: bool,
    /// Whether the server refuses rows with a code that nobody knows.
    pub suspected: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A process starts in a slot.
    Join(usize),
    /// The process forms a batch of at most so many records.
    Form(usize, i64),
    /// The process sends one part.
    Insert(usize, PartId, Fate),
    /// The process weighs the answers.
    Conclude(usize),
    /// The process commits; the answer is lost or not.
    Commit(usize, bool),
    /// The process asks the tables.
    Look(usize),
    /// The process waits.
    Wait(usize),
    /// The process does what the model does not show.
    Pass(usize),
    /// The server's rules change.
    ChangeRules,
    /// The tables are altered.
    AlterTables,
}

impl Scenario {
    /// A scenario without mutations.
    #[must_use]
    pub fn new(kinds: impl Into<Vec<Kind>>, bounds: Bounds) -> Self {
        Self { kinds: kinds.into(), bounds, mutation: None, witness: false, suspected: false }
    }

    /// Leaves a part of the protocol out.
    #[must_use]
    pub fn without(mut self, mutation: Mutation) -> Self {
        self.mutation = Some(mutation);
        self
    }

    /// Goes through every interleaving. Gives the number of states and the names of the properties that
    /// do not hold, each with the steps to where it does not.
    ///
    /// # Panics
    /// If that takes longer than ten minutes: the bounds are too wide for a test.
    #[must_use]
    pub fn check(self) -> (usize, Vec<(&'static str, Vec<Action>)>) {
        let checker = self.checker().threads(2).timeout(Duration::from_secs(600)).spawn_bfs().join();
        let found = checker.discoveries();
        let broken: Vec<_> = found
            .into_iter()
            .filter(|(name, _)| *name != DELIVERED)
            .map(|(name, path)| (name, path.into_actions()))
            .collect();
        assert!(checker.is_done() || !broken.is_empty(), "the checker ran out of time");
        (checker.unique_state_count(), broken)
    }

    fn setting(&self) -> Setting<'_> {
        let Self { kinds, bounds, mutation, witness, suspected } = self;
        Setting {
            kinds,
            mutation: *mutation,
            window: bounds.window,
            witness: *witness,
            suspected: *suspected,
        }
    }

    fn steps(&self, world: &World, slot: usize, actions: &mut Vec<Action>) {
        let setting = self.setting();
        let lossy = world.losses > 0;
        match world.may_form(setting, slot) {
            Some(true) => actions.extend((1..=self.bounds.batch_max).map(|size| Action::Form(slot, size))),
            Some(false) => actions.push(Action::Form(slot, 0)),
            None => {}
        }
        if world.must_say(setting, slot) {
            actions.push(Action::Commit(slot, false));
        }
        match world.effect(slot) {
            Some(Effect::State(_) | Effect::Settle(..)) => {
                actions.push(Action::Commit(slot, false));
                if lossy {
                    actions.push(Action::Commit(slot, true));
                }
            }
            Some(Effect::Insert) => {
                let unsent = world.unsent(setting, slot);
                if !self.bounds.late && !unsent.is_empty() && world.given_up(slot) {
                    return;
                }
                if unsent.is_empty() {
                    actions.push(Action::Conclude(slot));
                }
                for part in unsent {
                    let killed = (world.kills > 0).then_some([Fate::Killed(0), Fate::Killed(1)]);
                    let fates = [Fate::Answered].into_iter().chain(lossy.then_some(Fate::Lost));
                    let fates = fates.chain(killed.into_iter().flatten());
                    actions.extend(fates.map(|fate| Action::Insert(slot, part, fate)));
                }
            }
            Some(Effect::Look) => actions.push(Action::Look(slot)),
            Some(Effect::Wait) => actions.push(Action::Wait(slot)),
            Some(Effect::Mirror(_) | Effect::Done(_)) => actions.push(Action::Pass(slot)),
            None => {}
        }
    }
}

const DELIVERED: &str = "everything can be delivered";

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.bounds.losses, self.bounds.kills)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.generation < self.bounds.joins {
            actions.extend([Action::Join(0), Action::Join(1)]);
        }
        if self.bounds.rules_change && world.rules == 0 {
            actions.push(Action::ChangeRules);
        }
        if self.bounds.tables_change && world.plan == 0 {
            actions.push(Action::AlterTables);
        }
        self.steps(world, 0, actions);
        self.steps(world, 1, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let setting = self.setting();
        match action {
            Action::Join(slot) => world.join(slot),
            Action::Form(slot, size) => world.form(setting, slot, size),
            Action::Insert(slot, part, fate) => world.insert(setting, slot, part, fate),
            Action::Conclude(slot) => world.conclude(setting, slot),
            Action::Commit(slot, lost) => world.commit(setting, slot, lost),
            Action::Look(slot) => world.look(setting, slot),
            Action::Wait(slot) => world.wait(slot),
            Action::Pass(slot) => world.pass(slot),
            Action::ChangeRules => world.rules = 1,
            Action::AlterTables => world.plan = 1,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no row twice", |_, world: &World| world.tables.iter().all(|table| once(table))),
            Property::always("no letter twice", |_, world: &World| once(&world.letters)),
            Property::always("never row and letter", |_, world: &World| {
                !world.letters.iter().any(|offset| world.tables.concat().contains(offset))
            }),
            Property::always("nothing is passed over", |_, world: &World| {
                let placed = [world.tables.concat(), world.letters.clone()].concat();
                (0..world.committed.offset).all(|offset| placed.iter().any(|at| i64::from(*at) == offset))
            }),
            Property::always("rows are in order", |scenario: &Self, world: &World| {
                // In each partition of the table: between those there is no order.
                let day = |offset: &u8| scenario.kinds[usize::from(*offset)].day;
                let own = |table: &[u8], of: u8| {
                    table.iter().copied().filter(|offset| day(offset) == of).collect::<Vec<_>>()
                };
                world.tables.iter().all(|table| [0, 1].iter().all(|of| own(table, *of).is_sorted()))
            }),
            Property::always("nobody stops half-way", |scenario: &Self, world: &World| {
                let mut actions = Vec::new();
                scenario.actions(world, &mut actions);
                let done = |action: &Action| {
                    matches!(action, Action::Join(_) | Action::ChangeRules | Action::AlterTables)
                };
                actions.retain(|action| !done(action));
                world.generation == 0
                    || !actions.is_empty()
                    || world.committed.offset == scenario.setting().end()
            }),
            Property::sometimes(DELIVERED, |scenario: &Self, world: &World| {
                world.committed.offset == scenario.setting().end()
            }),
        ]
    }
}

fn once(offsets: &[u8]) -> bool {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}
