//! One batch, from its intent to its checkpoint.

mod bond;
mod repeat;

use tidegate_core::{Checkpoint, Intent, OffsetRange, PartId, PlanFingerprint, Rewind, Stored};

use self::bond::Bond;
use self::repeat::Repeats;
pub use self::repeat::Seen;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Commit this checkpoint, then call [`Course::stated`].
    State(Checkpoint),
    /// Send each part's rows that [`Course::wants`], each part under its [`Course::token`], then call
    /// [`Course::inserted`]. Before any repetition of a send whose outcome is unknown, call
    /// [`Course::in_doubt`].
    Insert,
    /// No row at all was taken, for a reason that nobody knows: wait, then call [`Course::waited`].
    Wait,
    /// Ask the tables which offsets of [`Course::doubtful`] they hold, then call [`Course::looked`]. Only a batch that
    /// was a member of a joint one asks for it where tables cannot be asked.
    Look,
    /// Copy these offsets' dead letters to the table of dead letters, then call [`Course::mirrored`].
    Mirror(Vec<i64>),
    /// In one transaction write these offsets' dead letters and commit the checkpoint, then call
    /// [`Course::settled`].
    Settle(Vec<i64>, Checkpoint),
    /// The batch is delivered. `Some` is a checkpoint that has not been committed: the next intent may
    /// say it too.
    Done(Option<Checkpoint>),
}

/// What became of one part's rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// They are in the table.
    Taken,
    /// The server has taken them, or has noted their token before, by an attempt that was not answered; which of them are
    /// in the table it does not say. Only where tables can be asked, and only while [`Course::may_repeat`].
    Repeated,
    /// The server refused them; these offsets were sent.
    Refused {
        /// The offsets, in order. Not empty.
        rows: Vec<i64>,
        /// Whether only repetition made the refusal count against the rows rather than the world.
        suspected: bool,
    },
}

/// A row that the server refused alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Alone {
    offset: i64,
    part: PartId,
    suspected: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    State,
    Insert,
    Wait,
    Look,
    Mirror,
    Settle,
    Done,
}

/// One batch on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Course {
    /// Everything before is settled.
    first: i64,
    /// The piece at hand ends here.
    end: i64,
    /// The batch ends here.
    root: i64,
    /// The ends of wider pieces that were refused, the widest first.
    wider: Vec<i64>,
    plan: PlanFingerprint,
    /// Offsets refused while the rows were formed, now or by whoever stated the intent.
    unfit: Vec<i64>,
    alone: Vec<Alone>,
    stored: Vec<Stored>,
    /// Parts of which a row was taken.
    taken: Vec<PartId>,
    /// Rows before this offset may have landed by an attempt whose outcome is unknown.
    doubt: i64,
    /// What is known of tokens that were sent more than once.
    repeats: Repeats,
    phase: Phase,
    /// Whether the last checkpoint is committed.
    said: bool,
    /// Whether the batch is still as it was formed: not resumed, never cut, and by the same plans.
    whole: bool,
    /// The reset of the offsets after which the batch is read; every checkpoint says it on.
    rewind: Option<Rewind>,
    /// When the batch's first record was written, by whoever began it; every intent says it on.
    mark: Option<i64>,
    /// The joint batch under whose tokens its rows may stand.
    bond: Option<Bond>,
    /// The parts whose rows the server refused under the joint token.
    unclaimed: Vec<PartId>,
    /// Offsets whose rows the tables hold, where those have gaps: ClickHouse knows a token by each of a table's
    /// partitions, so that a block may have landed in some of them only.
    there: Vec<i64>,
}

impl Course {
    /// A batch that nobody has begun. `unfit` are its offsets that become no rows, in order.
    #[must_use]
    pub fn fresh(range: OffsetRange, plan: PlanFingerprint, unfit: Vec<i64>) -> Self {
        let (first, root) = (range.first(), range.end());
        let mut course = Self {
            first,
            end: root,
            root,
            wider: Vec::new(),
            plan,
            unfit,
            alone: Vec::new(),
            stored: Vec::new(),
            taken: Vec::new(),
            doubt: first,
            repeats: Repeats::default(),
            phase: Phase::State,
            said: false,
            whole: true,
            rewind: None,
            mark: None,
            bond: None,
            unclaimed: Vec::new(),
            there: Vec::new(),
        };
        course.fit_metadata();
        course
    }

    /// The same fresh batch, read after a rewind.
    #[must_use]
    pub fn rewound(mut self, rewind: Option<Rewind>) -> Self {
        self.rewind = rewind;
        self.fit_metadata();
        self
    }

    /// The same fresh batch, whose first record has this timestamp.
    #[must_use]
    pub fn marked(mut self, mark: Option<i64>) -> Self {
        self.mark = mark;
        self.fit_metadata();
        self
    }

    /// A batch whose intent was stated before, formed again up to `intent.root`. What the intent excludes
    /// stays excluded: the block that may have landed does not have it.
    #[must_use]
    pub fn resumed(checkpoint: &Checkpoint, intent: &Intent, plan: PlanFingerprint, unfit: &[i64]) -> Self {
        let range = OffsetRange::new(checkpoint.offset, intent.end).expect("an intent is no range backwards");
        let mut course = Self::fresh(range, plan, Vec::new());
        course.stored.clone_from(&checkpoint.stored);
        course.rewind = checkpoint.rewind;
        course.mark = intent.mark;
        course.bond = intent.joint.map(Bond::Asking);
        course.unfit = union(&intent.refused, unfit);
        course.root = intent.root;
        course.doubt = intent.root;
        course.repeats.unanswered();
        course.whole = false;
        if intent.root > intent.end {
            course.wider.push(intent.root);
        }
        course.fit_metadata();
        course
    }

    /// What is to be done next.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self.phase {
            Phase::State => Effect::State(self.statement()),
            Phase::Insert => Effect::Insert,
            Phase::Wait => Effect::Wait,
            Phase::Look => Effect::Look,
            Phase::Mirror => Effect::Mirror(self.letters()),
            Phase::Settle => Effect::Settle(self.letters(), self.after()),
            Phase::Done => Effect::Done((!self.said).then(|| self.after())),
        }
    }

    /// Whether the row of `part` at `offset` is to be sent now.
    #[must_use]
    pub fn wants(&self, part: PartId, offset: i64) -> bool {
        // A joint token is for all rows, and whatever is sent under it the first time stays.
        let end = if self.joint().is_some() { self.root } else { self.end };
        let due = self.start(part) <= offset && offset < end;
        due && !self.is_out(offset) && self.there.binary_search(&offset).is_err()
    }

    /// Whether [`Course::wants`] every row of the batch, so that nobody needs to ask for each.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        self.whole && self.alone.is_empty() && self.stored.is_empty()
    }

    /// The range that the token of `part` names: that of the rows that [`Course::wants`].
    #[must_use]
    pub fn token(&self, part: PartId) -> OffsetRange {
        OffsetRange::new(self.start(part).min(self.end), self.end).expect("a course only advances")
    }

    /// The mark that tokens of the batch name.
    #[must_use]
    pub const fn mark(&self) -> Option<i64> {
        self.mark
    }

    /// The rewind that tokens of the piece at hand name: the one that its checkpoint says.
    #[must_use]
    pub fn rewind(&self) -> Option<Rewind> {
        self.rewind.and_then(|rewind| rewind.at(self.first))
    }

    /// The offsets that are being inserted.
    #[must_use]
    pub fn piece(&self) -> OffsetRange {
        OffsetRange::new(self.first, self.end).expect("a course only advances")
    }

    /// The offsets that an unknown attempt may have stored.
    #[must_use]
    pub fn doubtful(&self) -> OffsetRange {
        OffsetRange::new(self.first, self.root).expect("a course only advances")
    }

    /// The offsets that become no rows, from the piece at hand on.
    pub fn refused(&self) -> impl Iterator<Item = i64> + '_ {
        let unfit = self.unfit.iter().copied();
        unfit.chain(self.alone.iter().map(|alone| alone.offset)).filter(|offset| *offset >= self.first)
    }

    /// The intent is committed.
    pub fn stated(&mut self) {
        self.phase = match self.bond {
            Some(Bond::Asking(_)) => Phase::Look,
            Some(Bond::Member(_) | Bond::Claiming(_) | Bond::Apart(_)) | None => Phase::Insert,
        };
    }

    /// The intent is to be committed again before anything more is sent: it has been long.
    pub fn stale(&mut self) {
        if self.phase == Phase::Insert {
            self.phase = Phase::State;
        }
    }

    /// An attempt to send the piece at hand has an unknown outcome.
    pub fn in_doubt(&mut self) {
        self.doubt = self.doubt.max(self.end);
        self.repeats.unanswered();
    }

    /// The rows are formed by another plan, and these are the offsets that it refuses, in order. `answers`
    /// are those that have come for the piece at hand.
    /// While it is unknown whether a block has landed, or known that one has, what was excluded from it
    /// stays excluded: nobody would send it any more.
    pub fn replanned(&mut self, plan: PlanFingerprint, unfit: &[i64], answers: &[(PartId, Answer)]) {
        self.plan = plan;
        self.whole = false;
        if self.joint().is_none() {
            // Under a joint token it says nothing about these rows that they were taken.
            self.take_up(answers);
        }
        self.bond = self.bond.map(|bond| Bond::Asking(bond.id()));
        let bound = self.doubt > self.first || !self.stored.is_empty() || self.bond.is_some();
        self.unfit = if bound { union(&self.unfit, unfit) } else { unfit.to_vec() };
        self.phase = Phase::State;
        self.fit_metadata();
    }

    /// Every part that had rows to send was answered. `can_look`: whether tables can be asked.
    pub fn inserted(&mut self, answers: &[(PartId, Answer)], can_look: bool) {
        if let Some(id) = self.joint() {
            return self.claimed(id, answers, can_look);
        }
        self.take_up(answers);
        let refused = answers.iter().filter_map(|(part, answer)| match answer {
            Answer::Taken | Answer::Repeated => None,
            Answer::Refused { rows, suspected } => Some((*part, rows, *suspected)),
        });
        if self.repeats.are_open() {
            self.phase = Phase::Look;
            return;
        }
        let Some(widest) = refused.clone().map(|(_, rows, _)| rows).max_by_key(|rows| rows.len()) else {
            return self.landed(can_look);
        };
        if can_look && self.doubt > self.first {
            // An earlier attempt may have landed before the server changed its mind.
            self.phase = Phase::Look;
            return;
        }
        self.phase = Phase::State;
        if widest.len() > 1 {
            self.whole = false;
            self.wider.push(self.end);
            self.end = widest[widest.len() / 2];
            return;
        }
        for (part, rows, suspected) in refused {
            self.alone.extend(rows.iter().map(|offset| Alone { offset: *offset, part, suspected }));
        }
        self.alone.sort_unstable_by_key(|alone| alone.offset);
        if !self.widen() {
            self.landed(can_look);
        }
    }

    /// The world may have changed its mind: everything that was only suspected is tried again.
    pub fn waited(&mut self) {
        self.alone.retain(|alone| !alone.suspected);
        self.phase = Phase::State;
    }

    /// The table of dead letters has them.
    pub fn mirrored(&mut self) {
        self.phase = Phase::Settle;
    }

    /// Dead letters and checkpoint are committed.
    pub fn settled(&mut self) {
        self.said = true;
        self.advance(Phase::Insert);
    }

    /// All of the piece has landed, or is refused row by row.
    fn landed(&mut self, can_look: bool) {
        let unproven = |alone: &Alone| alone.suspected && !self.taken.contains(&alone.part);
        if self.alone.iter().any(unproven) {
            self.phase = if self.widen() { Phase::State } else { Phase::Wait };
        } else if can_look && self.doubt > self.first && !self.letters().is_empty() {
            self.phase = Phase::Look;
        } else {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if self.letters().is_empty() {
            self.said = false;
            self.advance(Phase::State);
        } else {
            self.phase = Phase::Mirror;
        }
    }

    fn advance(&mut self, phase: Phase) {
        self.first = self.end;
        let first = self.first;
        self.there.retain(|offset| *offset >= first);
        self.unfit.retain(|offset| *offset >= first);
        self.alone.retain(|alone| alone.offset >= first);
        self.stored.retain(|stored| stored.until > first);
        self.taken.clear();
        match self.wider.pop() {
            Some(end) => {
                self.end = end;
                self.phase = phase;
                self.fit_metadata();
            }
            None => self.phase = Phase::Done,
        }
    }

    /// Takes up the next wider piece of the chain, unless its statement does not fit into a commit.
    fn widen(&mut self) -> bool {
        let Some(end) = self.wider.pop() else { return false };
        let narrow = std::mem::replace(&mut self.end, end);
        if self.fits() {
            return true;
        }
        self.end = narrow;
        self.wider.push(end);
        false
    }

    pub(crate) fn statement(&self) -> Checkpoint {
        // What is stored beyond the piece was formed without these as well.
        let horizon = self.stored.iter().map(|stored| stored.until).fold(self.end, i64::max);
        let refused = self.refused_before(horizon);
        let intent = Intent {
            end: self.end,
            root: self.root,
            plan: self.plan,
            refused,
            mark: self.mark,
            joint: self.bond.map(Bond::id),
        };
        Checkpoint { offset: self.first, intent: Some(intent), stored: self.stored.clone(), rewind: None }
            .rewound(self.rewind)
    }

    /// What is to be said when the piece at hand is settled: the next piece's intent, or that there is none.
    fn after(&self) -> Checkpoint {
        if self.phase == Phase::Done {
            let settled = Checkpoint { stored: self.stored.clone(), ..Checkpoint::settled(self.first) };
            return settled.rewound(self.rewind);
        }
        let mut next = self.clone();
        next.advance(Phase::State);
        match next.phase {
            Phase::State => next.statement(),
            Phase::Insert | Phase::Wait | Phase::Look | Phase::Mirror | Phase::Settle | Phase::Done => {
                next.after()
            }
        }
    }

    /// Offsets of the piece at hand that become dead letters, in order.
    fn letters(&self) -> Vec<i64> {
        self.refused_before(self.end)
    }

    fn refused_before(&self, end: i64) -> Vec<i64> {
        let mut refused: Vec<i64> = self.refused().filter(|offset| *offset < end).collect();
        refused.sort_unstable();
        refused.dedup();
        refused
    }

    fn is_out(&self, offset: i64) -> bool {
        self.unfit.binary_search(&offset).is_ok()
            || self.alone.binary_search_by_key(&offset, |alone| alone.offset).is_ok()
    }

    fn start(&self, part: PartId) -> i64 {
        let stored = self.stored.iter().find(|stored| stored.part == part);
        stored.map_or(self.first, |stored| stored.until.max(self.first))
    }

    /// What was taken is stored up to the end of the piece at hand.
    fn take_up(&mut self, answers: &[(PartId, Answer)]) {
        for (part, answer) in answers {
            match answer {
                Answer::Taken => self.store(*part, self.end),
                Answer::Repeated => self.repeats.open(*part),
                Answer::Refused { .. } => continue,
            }
            self.taken.push(*part);
        }
    }

    fn store(&mut self, part: PartId, until: i64) {
        match self.stored.iter_mut().find(|stored| stored.part == part) {
            Some(stored) => stored.until = stored.until.max(until),
            None => {
                self.stored.push(Stored { part, until });
                self.stored.sort_unstable();
            }
        }
    }

    /// Halves the piece until what is to be stated fits into a commit. Nothing of it has been sent.
    fn fit_metadata(&mut self) {
        while self.end - self.first > 1 && !self.fits() {
            self.whole = false;
            self.wider.push(self.end);
            self.end = self.first + (self.end - self.first) / 2;
        }
    }

    fn fits(&self) -> bool {
        self.statement().metadata().len() <= Checkpoint::METADATA_BYTES_MAX
    }
}

fn union(a: &[i64], b: &[i64]) -> Vec<i64> {
    let mut both = [a, b].concat();
    both.sort_unstable();
    both.dedup();
    both
}
