//! Where records stand: topic partitions and half-open offset ranges.

use std::fmt;
use std::sync::Arc;

/// One partition of one topic. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    /// `topic/partition`, the form that reports, metrics and tokens use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A half-open range `first..end` of one partition's offsets. `end` is the number that Kafka wants
/// committed once everything before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetRange {
    first: i64,
    end: i64,
}

impl OffsetRange {
    /// `None` unless `0 <= first <= end`.
    #[must_use]
    pub const fn new(first: i64, end: i64) -> Option<Self> {
        if first >= 0 && first <= end { Some(Self { first, end }) } else { None }
    }

    /// The first offset in the range.
    #[must_use]
    pub const fn first(self) -> i64 {
        self.first
    }

    /// One past the last offset in the range.
    #[must_use]
    pub const fn end(self) -> i64 {
        self.end
    }

    /// Whether the range holds `offset`.
    #[must_use]
    pub const fn contains(self, offset: i64) -> bool {
        self.first <= offset && offset < self.end
    }

    /// Whether the range holds no offset at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.first == self.end
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_runs_backwards_cannot_be_built() {
        assert_eq!(OffsetRange::new(5, 4), None);
        assert_eq!(OffsetRange::new(-1, 4), None);
        assert!(OffsetRange::new(4, 4).is_some_and(OffsetRange::is_empty));
    }
}
