//! The token under which ClickHouse recognises a block that it already has.

use std::fmt;

use crate::checkpoint::{JointId, PartId, Rewind};
use crate::range::{OffsetRange, TopicPartition};

/// `insert_deduplication_token` of one block: `<group>/<topic>/<partition>/<first>-<end>/<table>/<part>`,
/// `@<milliseconds>` if the intent has a mark, and `/<id>` after a rewind.
///
/// A function of what the intent says alone, so that whoever forms the batch again, in whichever process,
/// sends the same token (design: delivery, step 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InsertToken(String);

impl InsertToken {
    /// The token of the block that `part` of the batch `range` of `source` becomes for `table`.
    #[must_use]
    pub fn new(group: &str, source: &TopicPartition, range: OffsetRange, table: &str, part: PartId) -> Self {
        Self(format!("{group}/{source}/{range}/{table}/{part}"))
    }

    /// The token of the block that `part` of a joint batch becomes for `table`. Ranges and marks are in the id.
    #[must_use]
    pub fn joint(group: &str, joint: JointId, table: &str, part: PartId) -> Self {
        Self(format!("{group}/joint/{joint}/{table}/{part}"))
    }

    /// The token of the same block of a batch with this mark: a block of the topic's earlier life, at the same
    /// offsets, does not stand in its way.
    #[must_use]
    pub fn marked(self, mark: Option<i64>) -> Self {
        match mark {
            Some(mark) => Self(format!("{self}@{mark}")),
            None => self,
        }
    }

    /// The token of the same block after a rewind: what was inserted before it does not stand in its way.
    #[must_use]
    pub fn rewound(self, rewind: Option<Rewind>) -> Self {
        match rewind {
            Some(rewind) => Self(format!("{self}/{}", rewind.id)),
            None => self,
        }
    }

    /// The token of what was missing of the same block when it was looked for the `times`-th time: the token of the time
    /// before is noted, and its rows are not there.
    #[must_use]
    pub fn again(self, times: u32) -> Self {
        match times {
            0 => self,
            times => Self(format!("{self}+{times}")),
        }
    }

    /// The token as ClickHouse takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InsertToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Replay;

    #[test]
    fn a_token_names_group_source_range_table_and_part() {
        let range = OffsetRange::new(56, 1000).unwrap();
        let token = InsertToken::new("cdp", &TopicPartition::new("events", 1), range, "ev.push", PartId(10));
        assert_eq!(token.as_str(), "cdp/events/1/56-1000/ev.push/000000000000000a");
        let rewind = Rewind { id: 3, until: 1000, replay: Replay::Again };
        assert_eq!(token.clone().rewound(None).marked(None), token);
        let marked = token.clone().marked(Some(-5));
        assert_eq!(marked.as_str(), "cdp/events/1/56-1000/ev.push/000000000000000a@-5");
        assert_eq!(token.clone().again(0), token);
        assert_eq!(token.clone().again(2).as_str(), "cdp/events/1/56-1000/ev.push/000000000000000a+2");
        assert_eq!(token.rewound(Some(rewind)).as_str(), "cdp/events/1/56-1000/ev.push/000000000000000a/3");
    }
}
