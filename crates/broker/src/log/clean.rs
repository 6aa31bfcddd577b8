//! Retention: closed segments that are too old or too much are dropped whole.

use std::io;

use super::segment::Segment;
use super::{AppendPolicy, Log};

/// What cleaning does to one topic's partitions, from its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cleaning {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    /// Milliseconds; negative: for ever.
    pub(crate) retention_ms: i64,
    /// Negative: without bound.
    pub(crate) retention_bytes: i64,
    /// How long a tombstone stays after it was first compacted, in milliseconds.
    pub(crate) delete_retention_ms: i64,
    /// The share of not yet compacted bytes from which compaction begins.
    pub(crate) dirty_ratio: f64,
    /// How long a record is not compacted, and how long at most it waits to be; in milliseconds.
    pub(crate) compaction_lag_ms: (i64, i64),
    /// Compacted segments are joined up to this size.
    pub(crate) segment_bytes: u64,
    pub(crate) producers_max: usize,
    pub(crate) unpacked_bytes_max: usize,
}

impl Log {
    /// Closes the active segment if it is due, drops expired segments, forgets old producers.
    pub(crate) fn retain(
        &mut self,
        cleaning: &Cleaning,
        policy: &AppendPolicy,
        now_ms: i64,
    ) -> io::Result<()> {
        let mut policy = *policy;
        if cleaning.compact {
            // Only closed segments are compacted, and none may wait longer than this.
            policy.segment_ms = policy.segment_ms.min(cleaning.compaction_lag_ms.1);
        }
        if cleaning.delete {
            self.drop_expired(cleaning, now_ms)?;
        }
        self.producers.forget(self.start, cleaning.producers_max);
        // Last, because a full disk, which may refuse the new file, gains room by what comes before.
        self.roll(0, &policy, now_ms)
    }

    fn drop_expired(&mut self, cleaning: &Cleaning, now_ms: i64) -> io::Result<()> {
        let expired = |segment: &Segment| {
            cleaning.retention_ms >= 0
                && segment.size_bytes() > 0
                && segment.index.max_timestamp < now_ms.saturating_sub(cleaning.retention_ms)
        };
        // An open transaction keeps its records: its marker would stand alone otherwise.
        let stable_end = self.stable_end();
        if stable_end == self.next() && self.segments.iter().all(expired) {
            self.begin_segment(now_ms)?;
        }
        let mut left = self.size_bytes();
        let mut start = self.start;
        for segment in &self.segments[..self.segments.len() - 1] {
            left -= segment.size_bytes();
            let beyond = cleaning.retention_bytes >= 0 && left >= cleaning.retention_bytes as u64;
            if segment.index.end > stable_end || !(expired(segment) || beyond) {
                break;
            }
            start = segment.index.end;
        }
        self.delete_before(start, now_ms)
    }
}
