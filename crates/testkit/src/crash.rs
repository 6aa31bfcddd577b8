//! A process that dies at a chosen effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether the fatal effect still takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The process dies before the effect reaches the world.
    Before,
    /// The world applies the effect, and the process dies before it hears so.
    After,
}

/// Counts effects and stops the world for the process at one of them. Clones share the count.
#[derive(Debug, Clone)]
pub struct Crash {
    left: Arc<AtomicUsize>,
    moment: Moment,
    died: Arc<Notify>,
}

impl Crash {
    /// The process dies at effect number `effect`, counted from 0.
    #[must_use]
    pub fn at(effect: usize, moment: Moment) -> Self {
        Self { left: Arc::new(AtomicUsize::new(effect + 1)), moment, died: Arc::default() }
    }

    /// The process lives.
    #[must_use]
    pub fn never() -> Self {
        Self::at(usize::MAX - 1, Moment::Before)
    }

    /// The process dies now: no effect takes place any more.
    pub fn kill(&self) {
        self.left.store(0, Ordering::SeqCst);
        self.died.notify_one();
    }

    /// Resolves when the process has died.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Runs one effect, or dies: the future never resolves then.
    pub async fn effect<T>(&self, apply: impl FnOnce() -> T) -> T {
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match (before, self.moment) {
            (Ok(2..), _) => apply(),
            (Ok(1), Moment::After) => {
                apply();
                self.die().await
            }
            // Effects of a process that has died do not take place.
            (Ok(_) | Err(_), _) => self.die().await,
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}
