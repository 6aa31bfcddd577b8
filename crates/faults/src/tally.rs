//! What has been done to the world so far: a line as it happens, and a count by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// What can be done to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Blow {
    SinkKilled,
    SinkStopped,
    SinkRestarted,
    MemberJoined,
    BrokerKilled,
    BrokerStopped,
    ClickhouseKilled,
    NodeKilled,
    NodeStopped,
    ZookeeperKilled,
    ZookeeperStopped,
    BalancerKilled,
    BalancerStopped,
    AnswerLost,
    AnswerHalved,
    RequestHalved,
    AppliedLate,
    Slow,
    HalfOpen,
    Status5xx,
    Exception,
    DeadLettersFull,
    TopicRecreated,
    RetentionOvertook,
}

/// Counts by kind, and the codes of exceptions that inserts met.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    blows: BTreeMap<Blow, u64>,
    codes: BTreeSet<i32>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), counts: Mutex::default() }
    }

    /// Something was done: says so.
    pub(crate) fn blow(&self, blow: Blow, what: &str) {
        *self.lock().blows.entry(blow).or_default() += 1;
        self.say(what);
    }

    /// An insert will meet this; many come in a row, so nothing is said.
    pub(crate) fn quietly(&self, blow: Blow, code: Option<i32>) {
        let mut counts = self.lock();
        *counts.blows.entry(blow).or_default() += 1;
        counts.codes.extend(code);
    }

    /// A line of progress, on standard error.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn blows(&self) -> BTreeMap<Blow, u64> {
        self.lock().blows.clone()
    }

    pub(crate) fn n_codes(&self) -> usize {
        self.lock().codes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A panic while the lock was held cannot leave plain counts half-written.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
