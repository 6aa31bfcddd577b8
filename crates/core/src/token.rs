//! The token under which ClickHouse recognises a block that it already has.

use std::fmt;

use crate::range::{OffsetRange, TopicPartition};

/// `insert_deduplication_token` of one block: `<group>/<topic>/<partition>/<first>-<end>/<table>/<n>`.
///
/// A function of the offset range alone, so that whoever forms the batch again, in whichever process,
/// sends the same token (design: delivery, step 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InsertToken(String);

impl InsertToken {
    /// The token of block `n` that the batch `range` of `source` becomes for `table`.
    #[must_use]
    pub fn new(group: &str, source: &TopicPartition, range: OffsetRange, table: &str, n: usize) -> Self {
        Self(format!("{group}/{source}/{range}/{table}/{n}"))
    }

    /// The token of the rows `first..end` of this block, for a block that is sent in parts because
    /// the server refused it whole.
    #[must_use]
    pub fn part(&self, first: usize, end: usize) -> Self {
        Self(format!("{}/{first}-{end}", self.0))
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

    #[test]
    fn a_token_names_group_source_range_table_and_block() {
        let range = OffsetRange::new(56, 1000).unwrap();
        let token = InsertToken::new("cdp", &TopicPartition::new("events", 1), range, "ev.push", 0);
        assert_eq!(token.as_str(), "cdp/events/1/56-1000/ev.push/0");
        assert_eq!(token.part(0, 12).as_str(), "cdp/events/1/56-1000/ev.push/0/0-12");
    }
}
