//! The state of the world, and what a process of the sink does to it.

use tidegate_core::{Checkpoint, OffsetRange, PartId, PlanFingerprint};
use tidegate_protocol::{Answer, Course, Effect, Seen};

/// What a record is: the table that it is for, and who accepts it when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Its part.
    pub part: PartId,
    /// Whether it fits the table before and after it was altered.
    pub fits: [bool; 2],
    /// Whether the server takes the row before and after its rules were changed.
    pub taken: [bool; 2],
    /// The partition of its table that its row is for: ClickHouse knows a token by each of them.
    pub day: u8,
}

impl Kind {
    /// A record of part `part` that everybody accepts.
    #[must_use]
    pub const fn good(part: u64) -> Self {
        Self { part: PartId(part), fits: [true; 2], taken: [true; 2], day: 0 }
    }

    /// One for another partition of its table.
    #[must_use]
    pub const fn another_day(part: u64) -> Self {
        Self { day: 1, ..Self::good(part) }
    }

    /// One that the server refuses; `later`: whether it takes it once its rules have changed.
    #[must_use]
    pub const fn poison(part: u64, later: bool) -> Self {
        Self { taken: [false, later], ..Self::good(part) }
    }

    /// One that the server takes until its rules are changed.
    #[must_use]
    pub const fn forbidden_later(part: u64) -> Self {
        Self { taken: [true, false], ..Self::good(part) }
    }

    /// One that fits the table `before` and `after` it was altered.
    #[must_use]
    pub const fn fitting(part: u64, before: bool, after: bool) -> Self {
        Self { fits: [before, after], ..Self::good(part) }
    }
}

/// A part of the protocol that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// Intents are not committed.
    NoIntent,
    /// Inserts carry no token.
    NoToken,
    /// The batch's end is committed before its rows are inserted.
    CommitFirst,
    /// Dead letters are written before the commit, not in one transaction with it.
    LettersApart,
    /// After a restart a batch is cut anew from the committed offset.
    Recut,
    /// Commits of earlier generations are accepted.
    NoFence,
    /// A refused batch is cut without saying so in an intent.
    UnstatedCut,
    /// After a restart it is forgotten which parts are stored beyond the offset.
    ForgetStored,
    /// After a restart it is forgotten which offsets the block went without.
    ForgetRefused,
    /// A transaction whose end is unknown is written again without looking.
    BlindRetry,
    /// What the server takes for a repetition is believed to be there.
    TrustRepeats,
    /// What is missing of a block that was taken is sent under the same token.
    SameToken,
}

/// One process of the sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    generation: u8,
    /// The next offset to be read.
    position: i64,
    /// What it found committed, until it has formed that batch again.
    found: Option<Checkpoint>,
    /// The batch that it has formed.
    formed: (i64, i64),
    /// Which state of the tables it knows.
    plan: u8,
    pub(crate) course: Option<Course>,
    answers: Vec<(PartId, Answer)>,
    /// Delivered, and no checkpoint says so.
    unsaid: Option<Checkpoint>,
    /// A transaction whose end it does not know.
    unknown: Option<Checkpoint>,
    /// Letters are written and the commit is not, in a mutation.
    half: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) committed: Checkpoint,
    pub(crate) generation: u8,
    pub(crate) processes: [Option<Process>; 2],
    /// Offsets in the order of their arrival, by part.
    pub(crate) tables: [Vec<u8>; 2],
    pub(crate) letters: Vec<u8>,
    tokens: Vec<Token>,
    pub(crate) rules: u8,
    pub(crate) plan: u8,
    /// How many answers may still get lost.
    pub(crate) losses: u8,
    /// How often the server may still be killed amid an insert.
    pub(crate) kills: u8,
}

/// What a table knows a block by: part, range, how often that was found noted without its rows, and the partition of the
/// table.
type Token = (PartId, i64, i64, u32, u8);

/// What becomes of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It takes place, and the answer is lost.
    Lost,
    /// The server is killed while it notes the token of this partition of the table, before it has the rows; those of
    /// smaller numbers are done, and the others not begun.
    Killed(u8),
}

/// What the world is made of, and which of it is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) kinds: &'a [Kind],
    pub(crate) mutation: Option<Mutation>,
    /// How many tokens a table remembers.
    pub(crate) window: usize,
    /// Whether tables can be asked which offsets they hold.
    pub(crate) witness: bool,
    /// Whether refusals are by a code that nobody knows.
    pub(crate) suspected: bool,
}

impl Setting<'_> {
    pub(crate) fn end(&self) -> i64 {
        i64::try_from(self.kinds.len()).expect("a model is small")
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn kind(&self, offset: i64) -> &Kind {
        &self.kinds[usize::try_from(offset).expect("offsets start at 0")]
    }

    fn unfit(&self, range: OffsetRange, plan: u8) -> Vec<i64> {
        (range.first()..range.end()).filter(|offset| !self.kind(*offset).fits[usize::from(plan)]).collect()
    }
}

fn fingerprint(plan: u8) -> PlanFingerprint {
    PlanFingerprint(u64::from(plan))
}

impl World {
    pub(crate) fn new(losses: u8, kills: u8) -> Self {
        Self {
            committed: Checkpoint::settled(0),
            generation: 0,
            processes: [None, None],
            tables: [Vec::new(), Vec::new()],
            letters: Vec::new(),
            tokens: Vec::new(),
            rules: 0,
            plan: 0,
            losses,
            kills,
        }
    }

    /// A process starts in a slot and owns the partition. What ran there has crashed; what runs in the
    /// other slot goes on and does not know.
    pub(crate) fn join(&mut self, slot: usize) {
        self.generation += 1;
        self.processes[slot] = Some(Process {
            generation: self.generation,
            position: self.committed.offset,
            found: self.committed.intent.is_some().then(|| self.committed.clone()),
            formed: (0, 0),
            plan: self.plan,
            course: None,
            answers: Vec::new(),
            unsaid: None,
            unknown: None,
            half: false,
        });
    }

    /// A process forms a batch: what an intent asks for, or `size` records.
    pub(crate) fn form(&mut self, setting: Setting<'_>, slot: usize, size: i64) {
        let Some(process) = &mut self.processes[slot] else { return };
        let plan = process.plan;
        let course = match process.found.take() {
            Some(checkpoint) if !setting.is(Mutation::Recut) => resume(setting, checkpoint, plan),
            Some(_) | None => {
                let end = (process.position + size).min(setting.end());
                let range = OffsetRange::new(process.position, end).expect("a batch has records");
                Course::fresh(range, fingerprint(plan), setting.unfit(range, plan))
            }
        };
        process.unsaid = None;
        process.formed = (course.doubtful().first(), course.doubtful().end());
        process.course = Some(course);
    }

    /// Whether a batch of any size may be formed (`None`: not now).
    pub(crate) fn may_form(&self, setting: Setting<'_>, slot: usize) -> Option<bool> {
        let process = self.processes[slot].as_ref()?;
        let idle = process.course.is_none() && process.position < setting.end();
        let bound = process.found.is_some() && !setting.is(Mutation::Recut);
        idle.then_some(!bound)
    }

    /// Whether somebody else owns the partition.
    pub(crate) fn given_up(&self, slot: usize) -> bool {
        self.processes[slot].as_ref().is_some_and(|process| process.generation != self.generation)
    }

    /// What a process is about to do.
    pub(crate) fn effect(&self, slot: usize) -> Option<Effect> {
        self.processes[slot].as_ref()?.course.as_ref().map(Course::effect)
    }

    /// Whether a process is at the end and has to say so.
    pub(crate) fn must_say(&self, setting: Setting<'_>, slot: usize) -> bool {
        let unsaid = self.processes[slot].as_ref().and_then(|process| process.unsaid.as_ref());
        unsaid.is_some_and(|unsaid| unsaid.offset == setting.end())
    }

    /// The parts that a process has still to send.
    pub(crate) fn unsent(&self, setting: Setting<'_>, slot: usize) -> Vec<PartId> {
        let Some(process) = &self.processes[slot] else { return Vec::new() };
        let parts = [PartId(0), PartId(1)].into_iter();
        parts.filter(|part| process.unsent(setting, *part)).collect()
    }

    /// A process sends the rows of one part.
    pub(crate) fn insert(&mut self, setting: Setting<'_>, slot: usize, part: PartId, fate: Fate) {
        let Some(process) = self.processes[slot].as_ref() else { return };
        let Some(course) = process.course.as_ref() else { return };
        let rows = process.rows(setting, part);
        let range = course.token(part);
        let again = if setting.is(Mutation::SameToken) { 0 } else { course.again(part) };
        let taken = self.apply(setting, &rows, (part, range.first(), range.end(), again, 0), fate);
        let world_plan = self.plan;
        let process = self.processes[slot].as_mut().expect("it was there");
        let course = process.course.as_mut().expect("it was there");
        match fate {
            Fate::Answered => {}
            Fate::Lost => {
                self.losses -= 1;
                return course.in_doubt();
            }
            Fate::Killed(_) => {
                self.kills -= 1;
                return course.in_doubt();
            }
        }
        if !taken && process.plan != world_plan {
            // Refused rows make the sink look at its table again.
            process.plan = world_plan;
            let answers = std::mem::take(&mut process.answers);
            let unfit = setting.unfit(course.doubtful(), world_plan);
            course.replanned(fingerprint(world_plan), &unfit, &answers);
            return;
        }
        let looks = setting.witness && !setting.is(Mutation::TrustRepeats);
        let answer = match taken {
            true if looks && course.may_repeat() => Answer::Repeated,
            true => Answer::Taken,
            false => Answer::Refused { rows, suspected: setting.suspected },
        };
        process.answers.push((part, answer));
    }

    /// Whether the server takes a block.
    fn apply(&mut self, setting: Setting<'_>, rows: &[i64], token: Token, fate: Fate) -> bool {
        // The server checks rows before it looks for their token.
        if rows.iter().any(|offset| !setting.kind(*offset).taken[usize::from(self.rules)]) {
            return false;
        }
        for day in [0, 1] {
            let own = || rows.iter().filter(|offset| setting.kind(**offset).day == day);
            let token = (token.0, token.1, token.2, token.3, day);
            let known = self.tokens.contains(&token) && !setting.is(Mutation::NoToken);
            if own().next().is_none() || known {
                continue;
            }
            self.tokens.push(token);
            if self.tokens.len() > setting.window {
                self.tokens.remove(0);
            }
            if fate == Fate::Killed(day) {
                break;
            }
            let table = &mut self.tables[usize::try_from(token.0.0).expect("two parts")];
            table.extend(own().map(|offset| u8::try_from(*offset).expect("a model is small")));
        }
        true
    }

    /// All of a process's parts are answered.
    pub(crate) fn conclude(&mut self, setting: Setting<'_>, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let answers = std::mem::take(&mut process.answers);
        if let Some(course) = &mut process.course {
            course.inserted(&answers, setting.witness);
        }
    }

    /// A process asks the tables.
    pub(crate) fn look(&mut self, setting: Setting<'_>, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let Some(course) = process.course.as_ref() else { return };
        let range = course.doubtful();
        let seen = [0, 1].map(|at| {
            let part = PartId(at as u64);
            let held = self.tables[at].iter().map(|offset| i64::from(*offset));
            let mut there: Vec<i64> = held.filter(|offset| range.contains(*offset)).collect();
            there.sort_unstable();
            let mut missing = process.rows(setting, part);
            missing.retain(|offset| !there.contains(offset));
            Seen { part, there, missing }
        });
        process.course.as_mut().expect("it was there").looked(&seen);
    }

    /// A process waits out what it takes for a fault of the world.
    pub(crate) fn wait(&mut self, slot: usize) {
        if let Some(course) = self.processes[slot].as_mut().and_then(|process| process.course.as_mut()) {
            course.waited();
        }
    }

    /// A process commits, in a transaction with dead letters or without. With `lost`, it does not hear of it.
    pub(crate) fn commit(&mut self, setting: Setting<'_>, slot: usize, lost: bool) {
        let Some(mut process) = self.processes[slot].take() else { return };
        let fenced = process.generation != self.generation && !setting.is(Mutation::NoFence);
        let effect = process.course.as_ref().map(Course::effect);
        let unsaid = process.unsaid.clone();
        match effect {
            Some(Effect::State(_)) if setting.is(Mutation::NoIntent) => process.stated(),
            Some(Effect::State(cut))
                if setting.is(Mutation::UnstatedCut)
                    && cut.intent.as_ref().is_some_and(|intent| intent.end < intent.root) =>
            {
                process.stated();
            }
            // It belongs to somebody else, and learns so here.
            Some(_) if fenced && !process.writes_letters_apart(setting) => return,
            None if fenced => return,
            Some(Effect::State(mut checkpoint)) => {
                if setting.is(Mutation::CommitFirst)
                    && let Some(intent) = checkpoint.intent.take()
                {
                    checkpoint.offset = intent.end;
                }
                self.committed = checkpoint;
                if !lost {
                    process.stated();
                }
            }
            Some(Effect::Settle(letters, checkpoint)) => {
                self.settle(setting, &mut process, letters, checkpoint, lost);
            }
            Some(Effect::Insert | Effect::Wait | Effect::Look | Effect::Mirror(_) | Effect::Done(_)) => {}
            None => {
                if let Some(unsaid) = unsaid {
                    self.committed = unsaid;
                }
                if !lost {
                    process.unsaid = None;
                }
            }
        }
        self.losses -= u8::from(lost);
        self.processes[slot] = Some(process);
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the one transaction")]
    fn settle(
        &mut self,
        setting: Setting<'_>,
        process: &mut Process,
        letters: Vec<i64>,
        checkpoint: Checkpoint,
        lost: bool,
    ) {
        let looks = !setting.is(Mutation::BlindRetry);
        if looks && process.unknown.take().as_ref() == Some(&checkpoint) && self.committed == checkpoint {
            return process.settled();
        }
        if !process.half {
            self.letters.extend(letters.iter().map(|offset| u8::try_from(*offset).expect("small")));
        }
        if process.writes_letters_apart(setting) {
            process.half = true;
            return;
        }
        process.half = false;
        self.committed = checkpoint.clone();
        if lost {
            process.unknown = Some(checkpoint);
        } else {
            process.settled();
        }
    }

    /// A process copies dead letters, or is done: steps that change nothing that is modelled.
    pub(crate) fn pass(&mut self, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let Some(course) = &mut process.course else { return };
        match course.effect() {
            Effect::Mirror(_) => course.mirrored(),
            Effect::Done(unsaid) => {
                process.position = course.doubtful().end();
                process.unsaid = unsaid;
                process.course = None;
            }
            Effect::State(_) | Effect::Insert | Effect::Wait | Effect::Look | Effect::Settle(..) => {}
        }
    }
}

impl Process {
    fn rows(&self, setting: Setting<'_>, part: PartId) -> Vec<i64> {
        let Some(course) = &self.course else { return Vec::new() };
        let (first, end) = self.formed;
        // As the sink does: rows that do not fit are in no block, and of the others it asks.
        let fits = |offset: &i64| setting.kind(*offset).fits[usize::from(self.plan)];
        let wanted = |offset: &i64| course.wants_all() || course.wants(part, *offset);
        let own = (first..end).filter(|offset| setting.kind(*offset).part == part);
        own.filter(|offset| fits(offset) && wanted(offset)).collect()
    }

    fn unsent(&self, setting: Setting<'_>, part: PartId) -> bool {
        !self.answers.iter().any(|(answered, _)| *answered == part) && !self.rows(setting, part).is_empty()
    }

    fn stated(&mut self) {
        if let Some(course) = &mut self.course {
            course.stated();
        }
    }

    fn settled(&mut self) {
        if let Some(course) = &mut self.course {
            course.settled();
        }
    }

    /// In the mutation: whether the next step writes letters only.
    fn writes_letters_apart(&self, setting: Setting<'_>) -> bool {
        let settles =
            self.course.as_ref().is_some_and(|course| matches!(course.effect(), Effect::Settle(..)));
        settles && setting.is(Mutation::LettersApart) && !self.half
    }
}

fn resume(setting: Setting<'_>, mut checkpoint: Checkpoint, plan: u8) -> Course {
    if setting.is(Mutation::ForgetStored) {
        checkpoint.stored.clear();
    }
    let mut intent = checkpoint.intent.clone().expect("only an intent is kept");
    if setting.is(Mutation::ForgetRefused) {
        intent.refused.clear();
    }
    let range = OffsetRange::new(checkpoint.offset, intent.root).expect("an intent ends after its offset");
    Course::resumed(&checkpoint, &intent, fingerprint(plan), &setting.unfit(range, plan))
}
