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

/// A partition's buffers at their fullest are an open batch, and one in flight, each with its records and columns; what
/// waits in the mailbox, at most half of a batch; and the encoded block, not more than the columns that it is made of. A
/// mailbox counts with the block: what the one does not need of a batch's size, the other may.
const BATCHES_A_PARTITION: usize = 3;

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

    /// How much records and columns of one partition's open batch may take together, in bytes, so that all partitions
    /// stay within the limit.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        let partitions = self.shared.partitions.load(Ordering::Relaxed).max(1);
        self.shared.bytes_max / (partitions * BATCHES_A_PARTITION)
    }

    /// How much may wait in one partition's mailbox, in bytes.
    #[must_use]
    pub fn mailbox_bytes_max(&self) -> usize {
        self.batch_bytes_max() / 2
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
        assert_eq!((budget.batch_bytes_max(), budget.mailbox_bytes_max()), (400, 200));
        budget.add_partitions(2);
        assert_eq!((budget.batch_bytes_max(), budget.mailbox_bytes_max()), (200, 100));
        budget.remove_partitions(1);
        assert_eq!(budget.batch_bytes_max(), 400);
    }
}
