//! The records of two partitions, and what of the protocol is left out.

use tidegate_core::{JointId, OffsetRange, PartId};

use crate::joint::JointMutation;
use crate::world::Kind;

/// What the records are, and what is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waters<'a> {
    pub(crate) kinds: &'a [Vec<Kind>; 2],
    pub(crate) mutation: Option<JointMutation>,
}

impl Waters<'_> {
    pub(crate) fn is(&self, mutation: JointMutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn end(&self, partition: usize) -> i64 {
        i64::try_from(self.kinds[partition].len()).expect("a model is small")
    }

    pub(crate) fn kind(&self, partition: usize, offset: i64) -> &Kind {
        &self.kinds[partition][usize::try_from(offset).expect("offsets start at 0")]
    }

    pub(crate) fn unfit(&self, partition: usize, range: OffsetRange) -> Vec<i64> {
        (range.first()..range.end()).filter(|offset| !self.kind(partition, *offset).fits[0]).collect()
    }

    /// The rows of a range that are for a part.
    pub(crate) fn rows(&self, partition: usize, range: OffsetRange, part: PartId) -> Vec<i64> {
        let offsets = range.first()..range.end();
        let own = |offset: &i64| {
            let kind = self.kind(partition, *offset);
            kind.part == part && kind.fits[0]
        };
        offsets.filter(own).collect()
    }
}

/// What ClickHouse knows a block by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    /// Of a partition: its part, range, and how often that was found noted without its rows.
    Own(usize, PartId, i64, i64, u32),
    Joint(JointId, PartId),
}

pub(crate) fn place(partition: usize, offset: i64) -> (u8, u8) {
    let small = "a model is small";
    (u8::try_from(partition).expect(small), u8::try_from(offset).expect(small))
}

pub(crate) fn range((first, end): (i64, i64)) -> OffsetRange {
    OffsetRange::new(first, end).expect("a batch has records")
}
