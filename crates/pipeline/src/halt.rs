//! The halt guard: a wrong deploy must not dead-letter a whole good stream.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use tidegate_core::{ReasonCode, Reject, TopicPartition};

/// When to stop a connector rather than go on dead-lettering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HaltPolicy {
    /// Halt when more than this share of the window was rejected; in `(0, 1]`.
    pub bad_ratio: f64,
    /// How many consecutive records the share is taken over.
    pub window: usize,
}

/// The guard tripped. Nothing of the batch that tripped it was written, unless it was ClickHouse that
/// refused its rows: then its good rows are in their tables, and no dead letter was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Halted {
    /// The policy that applied.
    pub policy: HaltPolicy,
    /// How many records of the window were rejected.
    pub n_bad: usize,
    /// The rejects of the batch that tripped the guard, by reason.
    pub reasons: BTreeMap<ReasonCode, usize>,
    /// The reject that tripped the guard.
    pub example: Box<Reject>,
    /// The partition of its record.
    pub source: TopicPartition,
    /// The offset of its record.
    pub offset: i64,
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of the last {} records were rejected, more than `halt_when.bad_ratio` {} allows; the last one at {}/{}: {}",
            self.n_bad, self.policy.window, self.policy.bad_ratio, self.source, self.offset, self.example
        )
    }
}

/// A sliding window over the fates of the last records of a connector.
#[derive(Debug, Clone)]
pub struct HaltGuard {
    policy: Option<HaltPolicy>,
    fates: VecDeque<bool>,
    n_bad: usize,
}

impl HaltGuard {
    /// A guard for `policy`; `None` never trips.
    #[must_use]
    pub fn new(policy: Option<HaltPolicy>) -> Self {
        Self { policy, fates: VecDeque::new(), n_bad: 0 }
    }

    /// Notes the fate of the next records, in order; `true` is a reject. Returns the index of the record
    /// that trips the guard and how many of its window were bad. Never trips before a whole window
    /// has been seen.
    pub fn note(&mut self, fates: impl IntoIterator<Item = bool>) -> Option<(usize, usize)> {
        let policy = self.policy?;
        for (index, bad) in fates.into_iter().enumerate() {
            if self.fates.len() == policy.window && self.fates.pop_front() == Some(true) {
                self.n_bad -= 1;
            }
            self.fates.push_back(bad);
            self.n_bad += usize::from(bad);
            #[expect(clippy::cast_precision_loss, reason = "windows are far below 2^52")]
            let ratio = self.n_bad as f64 / policy.window as f64;
            if self.fates.len() == policy.window && ratio > policy.bad_ratio {
                return Some((index, self.n_bad));
            }
        }
        None
    }

    /// The server refused `n` of the records that were noted as good. Returns how many of the window are
    /// bad, if that trips the guard.
    pub fn condemn(&mut self, n: usize) -> Option<usize> {
        let policy = self.policy?;
        for fate in self.fates.iter_mut().rev().filter(|fate| !**fate).take(n) {
            *fate = true;
            self.n_bad += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "windows are far below 2^52")]
        let ratio = self.n_bad as f64 / policy.window as f64;
        (self.fates.len() == policy.window && ratio > policy.bad_ratio).then_some(self.n_bad)
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> Option<HaltPolicy> {
        self.policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> HaltGuard {
        HaltGuard::new(Some(HaltPolicy { bad_ratio: 0.5, window: 4 }))
    }

    #[test]
    fn a_few_bad_records_never_halt_before_the_window_is_full() {
        assert_eq!(guard().note([true, true, true]), None);
    }

    #[test]
    fn the_record_that_passes_the_ratio_trips_the_guard() {
        assert_eq!(guard().note([true, false, true, false, true, true]), Some((5, 3)));
    }

    #[test]
    fn old_fates_leave_the_window() {
        let mut guard = guard();
        assert_eq!(guard.note([true, true, false, false]), None);
        assert_eq!(guard.note([false, false, false, true, true]), None);
    }

    #[test]
    fn rows_that_the_server_refuses_later_count_once() {
        let mut guard = guard();
        assert_eq!(guard.note([true, false, false, false]), None);
        assert_eq!(guard.condemn(1), None);
        assert_eq!(guard.condemn(1), Some(3));
        assert_eq!(guard.condemn(9), Some(4));
    }

    #[test]
    fn without_a_policy_nothing_halts() {
        assert_eq!(HaltGuard::new(None).note(std::iter::repeat_n(true, 10_000)), None);
    }
}
