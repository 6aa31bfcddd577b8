//! What a repeated insert proves, and what is done about what it does not.
//!
//! A server notes a token before it has the rows. One that is killed between the two answers every repetition with
//! success, and has no rows (ClickHouse 26.7 on tables that are not replicated). So whoever is told that a repetition was
//! taken asks the table, and sends what is missing under the next token; what comes of that is asked again, since
//! whoever had the partition before may have got as far. A token is followed by the next one only after it was noted, so that
//! nothing can land under it any more, and everybody who goes on goes through the same tokens.

use tidegate_core::{OffsetRange, PartId};

use super::{Bond, Course, Phase};

/// After so many tokens whose rows were not there, they will not be: somebody or something removes them at once, or
/// hides them.
const TOKENS_MAX: u32 = 8;

/// What a table was found to hold of one part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The part.
    pub part: PartId,
    /// Its offsets within [`Course::doubtful`] that are there, in order.
    pub there: Vec<i64>,
    /// Its offsets that [`Course::wants`] and that are not there, in order.
    pub missing: Vec<i64>,
}

/// What is known of tokens that were sent more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Repeats {
    /// Something of the batch was sent, by this process or one before, and not answered.
    possible: bool,
    /// The parts whose last answer does not say whether their rows are there.
    open: Vec<PartId>,
    /// The tokens that are noted without all of their rows: how many there are by now for a part and a range.
    noted: Vec<(PartId, OffsetRange, u32)>,
}

impl Repeats {
    pub(super) const fn unanswered(&mut self) {
        self.possible = true;
    }

    pub(super) fn open(&mut self, part: PartId) {
        self.open.push(part);
    }

    pub(super) const fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn noted(&self, part: PartId, range: OffsetRange) -> u32 {
        let noted = self.noted.iter().find(|noted| (noted.0, noted.1) == (part, range));
        noted.map_or(0, |(_, _, times)| *times)
    }

    fn note(&mut self, part: PartId, range: OffsetRange) {
        match self.noted.iter_mut().find(|noted| (noted.0, noted.1) == (part, range)) {
            Some((_, _, times)) => *times += 1,
            None => self.noted.push((part, range, 1)),
        }
    }
}

impl Course {
    /// Whether something of the batch may have been sent before, so that what is taken now may be taken for a repetition.
    #[must_use]
    pub const fn may_repeat(&self) -> bool {
        self.repeats.possible
    }

    /// Whether `part` was answered by [`Answer::Repeated`](super::Answer::Repeated), and nobody has looked since.
    #[must_use]
    pub fn repeated(&self, part: PartId) -> bool {
        self.repeats.open.contains(&part)
    }

    /// How many tokens of `part` are noted for the range of [`Course::token`] without all of its rows: which of them what
    /// [`Course::wants`] is to be sent under.
    #[must_use]
    pub fn again(&self, part: PartId) -> u32 {
        match self.joint() {
            Some(_) => 0,
            None => self.repeats.noted(part, self.token(part)),
        }
    }

    /// Whether rows of `part` that are missing once more will be counted as there: they do not stay.
    #[must_use]
    pub fn is_last_look(&self, part: PartId) -> bool {
        self.again(part) >= TOKENS_MAX
    }

    /// The tables were asked.
    pub fn looked(&mut self, seen: &[Seen]) {
        self.whole = false;
        self.there.clear();
        let free = matches!(self.bond, Some(Bond::Claiming(_))) && self.is_free(seen);
        for Seen { part, there, missing } in seen {
            self.unfit.retain(|offset| !there.contains(offset));
            self.alone.retain(|alone| !there.contains(&alone.offset));
            let (open, is_last) = (self.repeated(*part), self.is_last_look(*part));
            let misses = open && !missing.is_empty() && !is_last;
            if misses {
                self.repeats.note(*part, self.token(*part));
            }
            if free {
                if missing.is_empty() {
                    self.store(*part, self.root);
                }
                continue;
            }
            if self.bond.is_some() || misses || (!open && has_gap(there, missing)) {
                self.there.extend(there);
                self.there.extend(missing.iter().filter(|_| open && is_last));
                continue;
            }
            let landed = there.last().map(|last| last + 1);
            if let Some(until) = landed.max(open.then_some(self.end)) {
                self.store(*part, until);
            }
        }
        self.there.sort_unstable();
        self.repeats.open.clear();
        self.doubt = self.first;
        self.unclaimed.clear();
        (self.bond, self.phase) = match self.bond {
            Some(_) if free => (None, Phase::State),
            Some(Bond::Member(id) | Bond::Asking(id)) => (Some(Bond::Claiming(id)), Phase::Insert),
            Some(Bond::Claiming(id) | Bond::Apart(id)) => (Some(Bond::Apart(id)), Phase::State),
            None => (None, Phase::State),
        };
    }
}

/// Whether something is missing before what is there.
fn has_gap(there: &[i64], missing: &[i64]) -> bool {
    there.last().zip(missing.first()).is_some_and(|(last, first)| first < last)
}
