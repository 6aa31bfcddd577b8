//! A batch as a member of a joint one, and what becomes of it when it is left alone.

use tidegate_core::{Checkpoint, JointId, PartId};

use super::{Answer, Course, Phase, Seen};

/// How a batch is bound to a joint one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bond {
    /// A [`Joint`](crate::Joint) sends it together with the others.
    Member(JointId),
    /// It goes alone. First the tables are asked whether the joint blocks have landed.
    Asking(JointId),
    /// What was not there is sent under the joint tokens: from then on either the joint block is there, or this
    /// block, or that of another member, and no late one can come.
    Claiming(JointId),
    /// What is not there even now goes under its own tokens. Its intents go on naming the joint batch, so that whoever
    /// takes them up asks too.
    Apart(JointId),
}

impl Bond {
    pub(super) const fn id(self) -> JointId {
        match self {
            Self::Member(id) | Self::Asking(id) | Self::Claiming(id) | Self::Apart(id) => id,
        }
    }
}

impl Course {
    /// The joint batch that the tokens name, instead of ranges and marks.
    #[must_use]
    pub fn joint(&self) -> Option<JointId> {
        match self.bond {
            Some(Bond::Member(id) | Bond::Asking(id) | Bond::Claiming(id)) => Some(id),
            Some(Bond::Apart(_)) | None => None,
        }
    }

    /// Whether it may become a member of a joint batch, with rows of these parts: nothing of it has been stated, and it
    /// can be stated whole, whichever parts are stored.
    #[must_use]
    pub fn may_join(&self, parts: &[PartId]) -> bool {
        let mut joined = Self { bond: Some(Bond::Member(JointId(0))), ..self.clone() };
        parts.iter().for_each(|part| joined.store(*part, self.root));
        self.whole && self.phase == Phase::State && self.rewind().is_none() && joined.fits()
    }

    /// The joint tokens are taken by somebody's rows; whose, the tables know.
    pub(super) fn claimed(&mut self, joint: JointId, answers: &[(PartId, Answer)], can_look: bool) {
        if answers.is_empty() {
            // Nothing was missing.
            self.bond = Some(Bond::Apart(joint));
            return self.landed(can_look);
        }
        let refused = answers.iter().filter(|(_, answer)| matches!(answer, Answer::Refused { .. }));
        self.unclaimed = refused.map(|(part, _)| *part).collect();
        self.phase = Phase::Look;
    }

    /// Whether the joint batch concerns it no more: of each part either every row is there, or none, and the server has
    /// refused them under the joint token. Such a token is not taken. But what is refused of the part's own rows is
    /// refused of the joint block as well, and whoever goes on must send the rest under the same tokens as this one.
    pub(super) fn is_free(&self, seen: &[Seen]) -> bool {
        let unclaimed = |seen: &Seen| self.unclaimed.contains(&seen.part) && seen.there.is_empty();
        !self.unclaimed.is_empty() && seen.iter().all(|seen| seen.missing.is_empty() || unclaimed(seen))
    }

    /// It is a member of this joint batch.
    pub(crate) fn join(&mut self, joint: JointId) {
        self.bond = Some(Bond::Member(joint));
    }

    /// The joint blocks that have its rows are answered, and these were taken. Says what is to be committed together
    /// with the other members.
    pub(crate) fn sent_jointly(&mut self, taken: &[(PartId, Answer)], all_taken: bool) -> Checkpoint {
        self.take_up(taken);
        if all_taken && self.letters().is_empty() {
            self.settle();
            return self.after();
        }
        // What was taken is said, and the rest is its own affair.
        (self.whole, self.bond, self.phase) = (false, None, Phase::State);
        self.statement()
    }

    /// It goes alone, and does not know what became of the joint blocks.
    pub(crate) fn part(&mut self) -> Checkpoint {
        (self.whole, self.phase) = (false, Phase::State);
        self.bond = self.bond.map(|bond| Bond::Asking(bond.id()));
        self.stored.clear();
        self.taken.clear();
        self.statement()
    }

    /// What the joint batch committed for it is committed.
    pub(crate) fn confirmed(&mut self) {
        match self.phase {
            Phase::Done => self.said = true,
            Phase::State | Phase::Insert | Phase::Wait | Phase::Look | Phase::Mirror | Phase::Settle => {
                self.stated()
            }
        }
    }
}
