//! Batches of several partitions, sent together.

use tidegate_core::{Checkpoint, JointId, PartId};

use crate::course::{Answer, Course};

/// What is to be done next. Checkpoints are in the order of the members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JointEffect {
    /// Commit all of these checkpoints or none, then call [`Joint::stated`]; if a member belongs to somebody else by
    /// now, [`Joint::fenced`].
    State(Vec<Checkpoint>),
    /// Send one block a part, with the rows of all members in the order of the members, under the joint token; then
    /// call [`Joint::inserted`].
    Insert,
    /// Commit all of these checkpoints or none, then call [`Joint::confirmed`]; if a member belongs to somebody else
    /// by now, [`Joint::fenced`].
    Confirm(Vec<Checkpoint>),
    /// Every member goes on alone, from where its [`Course`] is.
    Part,
}

/// What became of the block of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It is in the table, or something else is there under its token.
    Taken,
    /// The server refused it, and every attempt before.
    Refused,
    /// Nobody knows.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Member {
    course: Course,
    parts: Vec<PartId>,
    /// Where it goes on once that is committed.
    next: Option<(Course, Checkpoint)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    State,
    Insert,
    Confirm,
    Part,
}

/// A joint batch on its way.
///
/// Every member states its own intent, which names the joint batch, before the first block is sent. That a block was
/// taken proves nothing yet: the new owner of a member that was lost meanwhile may have sent something else under the
/// same token. So the end is committed for all members or for none, which shows that none was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Joint {
    id: JointId,
    members: Vec<Member>,
    phase: Phase,
}

impl Joint {
    /// A joint batch of these members, each of which [may join](Course::may_join), with the parts of which they have
    /// rows. `id` is that of no other joint batch.
    #[must_use]
    pub fn new(id: JointId, members: impl IntoIterator<Item = (Course, Vec<PartId>)>) -> Self {
        let member = |(mut course, parts): (Course, Vec<PartId>)| {
            course.join(id);
            Member { course, parts, next: None }
        };
        Self { id, members: members.into_iter().map(member).collect(), phase: Phase::State }
    }

    /// What the tokens name.
    #[must_use]
    pub const fn id(&self) -> JointId {
        self.id
    }

    /// What is to be done next.
    #[must_use]
    pub fn effect(&self) -> JointEffect {
        match self.phase {
            Phase::State => {
                JointEffect::State(self.members.iter().map(|member| member.course.statement()).collect())
            }
            Phase::Insert => JointEffect::Insert,
            Phase::Confirm => {
                let next = |member: &Member| match &member.next {
                    Some((_, checkpoint)) => checkpoint.clone(),
                    None => member.course.statement(),
                };
                JointEffect::Confirm(self.members.iter().map(next).collect())
            }
            Phase::Part => JointEffect::Part,
        }
    }

    /// Every intent is committed.
    pub fn stated(&mut self) {
        self.phase = Phase::Insert;
    }

    /// The intents are to be committed again before anything more is sent: it has been long.
    pub fn stale(&mut self) {
        self.phase = Phase::State;
    }

    /// What became of every part's block.
    pub fn inserted(&mut self, sent: &[(PartId, Sent)]) {
        for member in &mut self.members {
            let own = || sent.iter().filter(|(part, _)| member.parts.contains(part));
            let mut course = member.course.clone();
            let checkpoint = if own().any(|(_, sent)| *sent == Sent::Unknown) {
                course.part()
            } else {
                let taken = own().filter(|(_, sent)| *sent == Sent::Taken);
                let taken: Vec<_> = taken.map(|(part, _)| (*part, Answer::Taken)).collect();
                course.sent_jointly(&taken, taken.len() == own().count())
            };
            member.next = Some((course, checkpoint));
        }
        self.phase = Phase::Confirm;
    }

    /// No member was lost, and what was to be confirmed is committed for all.
    pub fn confirmed(&mut self) {
        for member in &mut self.members {
            if let Some((mut course, _)) = member.next.take() {
                course.confirmed();
                member.course = course;
            }
        }
        self.phase = Phase::Part;
    }

    /// A member was lost. What was taken may be somebody else's.
    pub fn fenced(&mut self) {
        for member in &mut self.members {
            member.next = None;
            member.course.part();
        }
        self.phase = Phase::Part;
    }

    /// The members, in their order.
    pub fn courses(&self) -> impl Iterator<Item = &Course> {
        self.members.iter().map(|member| &member.course)
    }

    /// The members, each to go on alone.
    #[must_use]
    pub fn into_courses(self) -> Vec<Course> {
        self.members.into_iter().map(|member| member.course).collect()
    }
}
