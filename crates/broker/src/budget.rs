//! A bound on bytes that many connections hold together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes to be had; who finds too few waits. Counted in KiB, rounded up.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: Arc<Semaphore>,
    kib_max: u32,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    _permit: Option<OwnedSemaphorePermit>,
}

fn kib(size_bytes: usize) -> u32 {
    u32::try_from((size_bytes >> 10) + 1).unwrap_or(u32::MAX)
}

impl Budget {
    pub(crate) fn new(size_bytes: usize) -> Self {
        let permits_max = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let kib_max = kib(size_bytes).min(permits_max);
        Self { left: Arc::new(Semaphore::new(kib_max as usize)), kib_max }
    }

    /// Waits for a part. What is larger than the whole budget gets the whole.
    pub(crate) async fn reserve(&self, size_bytes: usize) -> Reserved {
        let kib = kib(size_bytes).min(self.kib_max);
        // It is never closed, so there is no error.
        Reserved { _permit: Arc::clone(&self.left).acquire_many_owned(kib).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_too_little_waits_until_it_is_given_back() {
        let budget = Budget::new(64 << 10);
        let first = budget.reserve(60 << 10).await;
        let mut second = polled(budget.reserve(8 << 10));
        assert!(second.poll().is_pending());
        drop(first);
        assert!(second.poll().is_ready());
    }

    #[tokio::test]
    async fn what_is_larger_than_the_whole_gets_the_whole() {
        let budget = Budget::new(64 << 10);
        let all = budget.reserve(usize::MAX).await;
        let mut other = polled(budget.reserve(1));
        assert!(other.poll().is_pending());
        drop(all);
        assert!(other.poll().is_ready());
    }

    /// A future that is polled by hand.
    struct Polled<F>(std::pin::Pin<Box<F>>);

    fn polled<F: Future>(future: F) -> Polled<F> {
        Polled(Box::pin(future))
    }

    impl<F: Future> Polled<F> {
        fn poll(&mut self) -> std::task::Poll<F::Output> {
            self.0.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        }
    }
}
