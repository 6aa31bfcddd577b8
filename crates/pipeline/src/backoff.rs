//! How long to wait before the next attempt: exponential, with full jitter.

use std::time::Duration;

/// A growing wait. `jitter` in `[0, 1)` is passed in, so that a test decides chance.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Waits that start around `base` and never exceed `max`.
    #[must_use]
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, attempts: 0 }
    }

    /// How many waits have been asked for.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The next wait: between half and the whole of `base * 2^attempts`, at most `max`. The lower half
    /// is kept so that a server that is down is never hammered by a run of small draws.
    pub fn next_wait(&mut self, jitter: f64) -> Duration {
        let ceiling = self.base.saturating_mul(1u32 << self.attempts.min(20)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..6).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.next_wait(0.0).as_millis(), 500);
    }
}
