//! One number bounds what the process buffers: records read and not yet durable, the columns made of
//! them, and the encoded blocks on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process's buffer memory. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    used: AtomicUsize,
    partitions: AtomicUsize,
}

/// What one buffer holds of a [`Budget`]; gives it back when dropped.
#[derive(Debug)]
pub struct Held {
    shared: Arc<Shared>,
    bytes: usize,
}

/// A partition's buffers at their fullest, in units of one batch of records: the mailbox (1), the open
/// batch's records and columns (2), and records, columns and encoded block of the one in flight (3).
const BATCHES_A_PARTITION: usize = 6;

impl Budget {
    /// A budget of `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let shared = Shared { bytes_max, used: AtomicUsize::new(0), partitions: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The configured limit, in bytes.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    /// What is buffered at the moment, in bytes.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// States how many partitions share the budget from now on.
    pub fn add_partitions(&self, n_partitions: usize) {
        self.shared.partitions.fetch_add(n_partitions, Ordering::Relaxed);
    }

    /// States that partitions no longer share the budget.
    pub fn remove_partitions(&self, n_partitions: usize) {
        self.shared.partitions.fetch_sub(n_partitions, Ordering::Relaxed);
    }

    /// The largest batch of records, in bytes, that one partition may gather so that all partitions
    /// together stay within the limit.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        let partitions = self.shared.partitions.load(Ordering::Relaxed).max(1);
        self.shared.bytes_max / (partitions * BATCHES_A_PARTITION)
    }

    /// Holds nothing yet; grows by `Held::set`.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { shared: Arc::clone(&self.shared), bytes: 0 }
    }
}

impl Held {
    /// States what the buffer holds now, in bytes.
    pub fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.shared.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.shared.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(600);
        let mut held = budget.hold();
        held.set(100);
        held.set(40);
        assert_eq!(budget.used(), 40);
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_partitions_make_smaller_batches() {
        let budget = Budget::new(1200);
        assert_eq!(budget.batch_bytes_max(), 200);
        budget.add_partitions(2);
        assert_eq!(budget.batch_bytes_max(), 100);
        budget.remove_partitions(1);
        assert_eq!(budget.batch_bytes_max(), 200);
    }
}
