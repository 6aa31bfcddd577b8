//! How many bytes the logs may have together.
//!
//! Invariant: what is used is the sum of all accounts, and each log keeps its own account equal to the
//! bytes of its batches. So room is there for others as soon as records are deleted, whoever deletes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A batch that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Until records are deleted.
    Now,
    /// Even if there were no other.
    Ever,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    bytes_max: Option<u64>,
    used: AtomicU64,
    /// The size of a batch that was refused and would not fit yet; 0 if there is none.
    ///
    /// Others wait until it would. Else a producer's small batch would be let in after its large one was
    /// refused, and its order would be lost, or its sequence broken.
    wanted: AtomicU64,
    /// Batches that were refused.
    refused: AtomicU64,
}

impl Quota {
    /// `None`: without bound.
    pub(crate) fn new(bytes_max: Option<u64>) -> Arc<Self> {
        Arc::new(Self { bytes_max, ..Self::default() })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether batches are being refused.
    pub(crate) fn full(&self) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed).max(1);
        self.bytes_max.is_some_and(|bytes_max| self.used().saturating_add(wanted) > bytes_max)
    }

    fn take(&self, size_bytes: u64) -> Result<(), NoRoom> {
        let Some(bytes_max) = self.bytes_max else {
            self.used.fetch_add(size_bytes, Ordering::Relaxed);
            return Ok(());
        };
        let wanted = self.wanted.load(Ordering::Relaxed);
        let fits = |used: u64| used.checked_add(size_bytes.max(wanted)).is_some_and(|sum| sum <= bytes_max);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            fits(used).then(|| used.saturating_add(size_bytes))
        });
        if taken.is_ok() {
            if wanted > 0 && self.wanted.swap(0, Ordering::Relaxed) > 0 {
                tracing::info!(bytes_max, used = self.used(), "the logs have room again");
            }
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if size_bytes > bytes_max {
            return Err(NoRoom::Ever);
        }
        if self.wanted.fetch_max(size_bytes, Ordering::Relaxed) == 0 {
            tracing::warn!(bytes_max, used = self.used(), "the logs are full; producers wait for room");
        }
        Err(NoRoom::Now)
    }
}

/// What all logs hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogsUse {
    /// The bytes of their batches.
    pub bytes: u64,
    /// [`BrokerOptions::logs_bytes_max`](crate::BrokerOptions::logs_bytes_max).
    pub bytes_max: Option<u64>,
    /// Whether producers wait for room.
    pub full: bool,
    /// Batches that were refused for want of room since the broker was started; a repeated one counts again.
    pub batches_refused: u64,
}

/// Tells what all logs hold, whatever the broker is doing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogsWatch(Arc<Quota>);

impl LogsWatch {
    pub(crate) fn of(quota: &Arc<Quota>) -> Self {
        Self(Arc::clone(quota))
    }

    /// What they hold now.
    #[must_use]
    pub fn look(&self) -> LogsUse {
        LogsUse {
            bytes: self.0.used(),
            bytes_max: self.0.bytes_max,
            full: self.0.full(),
            batches_refused: self.0.refused.load(Ordering::Relaxed),
        }
    }
}

/// What one log has of the quota. It goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Account {
    pub(crate) fn open(quota: &Arc<Quota>) -> Self {
        Self { quota: Arc::clone(quota), bytes: 0 }
    }

    pub(crate) fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Takes what a client's batch needs, if it is to be had.
    pub(crate) fn take(&mut self, size_bytes: u64) -> Result<(), NoRoom> {
        self.quota.take(size_bytes)?;
        self.bytes += size_bytes;
        Ok(())
    }

    /// The log has so many bytes. Never refused.
    pub(crate) fn set(&mut self, bytes: u64) {
        // Wraps back where the log has shrunk.
        self.quota.used.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_until_there_is_room() {
        let quota = Quota::new(Some(100));
        let (mut first, mut second) = (Account::open(&quota), Account::open(&quota));
        first.set(60);
        assert_eq!(second.take(40), Ok(()));
        assert!(quota.full());
        assert_eq!(second.take(1), Err(NoRoom::Now));
        first.set(59);
        assert_eq!(second.take(1), Ok(()));
        assert_eq!((quota.used(), LogsWatch::of(&quota).look().batches_refused), (100, 1));
        drop(first);
        assert_eq!((quota.used(), quota.full()), (41, false));
    }

    #[test]
    fn a_small_batch_does_not_pass_a_large_one_that_waits() {
        let quota = Quota::new(Some(100));
        let (mut first, mut second) = (Account::open(&quota), Account::open(&quota));
        first.set(60);
        assert_eq!(second.take(50), Err(NoRoom::Now));
        assert_eq!(second.take(10), Err(NoRoom::Now));
        assert!(quota.full());
        first.set(50);
        assert!(!quota.full());
        assert_eq!(second.take(10), Ok(()));
        assert_eq!(second.take(40), Ok(()));
    }

    #[test]
    fn what_never_fits_does_not_keep_others_out() {
        let quota = Quota::new(Some(100));
        let mut account = Account::open(&quota);
        assert_eq!(account.take(101), Err(NoRoom::Ever));
        assert_eq!(account.take(u64::MAX), Err(NoRoom::Ever));
        assert_eq!(account.take(100), Ok(()));
    }

    #[test]
    fn a_lower_bound_than_what_is_there_refuses_and_deletes_nothing() {
        let quota = Quota::new(Some(100));
        let mut account = Account::open(&quota);
        account.set(150);
        assert!(quota.full());
        assert_eq!(account.take(1), Err(NoRoom::Now));
        account.set(90);
        assert_eq!(account.take(1), Ok(()));
    }

    #[test]
    fn without_a_bound_nothing_is_refused_and_everything_is_counted() {
        let quota = Quota::new(None);
        let mut account = Account::open(&quota);
        assert_eq!(account.take(1 << 60), Ok(()));
        assert_eq!((quota.used(), quota.full()), (1 << 60, false));
    }
}
