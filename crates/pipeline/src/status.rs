//! What a connector is doing, for people: the API, the console and the terminal show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tidegate_codec::{Block, DroppedField};
use tidegate_core::{Fault, TopicPartition};

/// What a partition or a connector is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not yet assigned any partition.
    Starting,
    /// At work, or caught up.
    Running,
    /// A fault of the world: waiting, and trying again by itself.
    Waiting,
    /// The halt guard stopped it.
    Halted,
    /// Told to stop.
    Stopped,
}

/// One partition's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// The phase.
    pub phase: Phase,
    /// Everything before this offset is settled.
    pub settled: i64,
    /// The partition's end as last seen.
    pub end: i64,
    /// The fault that is waited for, if one is.
    pub fault: Option<String>,
}

impl PartitionStatus {
    /// Records that are not settled yet.
    #[must_use]
    pub const fn lag(&self) -> i64 {
        let lag = self.end - self.settled;
        if lag > 0 { lag } else { 0 }
    }
}

/// One connector's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorStatus {
    /// The connector's name.
    pub name: String,
    /// The phase.
    pub phase: Phase,
    /// Why it halted or waits, in words, with what to do.
    pub reason: Option<String>,
    /// Its partitions by `topic/partition`.
    pub partitions: BTreeMap<String, PartitionStatus>,
    /// Fields dropped for want of a column, by table and path, as samples count them.
    pub dropped_fields: BTreeMap<String, BTreeMap<String, u64>>,
    /// Tables where an insert that is repeated may be stored twice or not at all, with why.
    pub weak_tables: BTreeMap<String, String>,
}

/// One connector's state, shared between its loops and whoever shows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    shared: Arc<Mutex<ConnectorStatus>>,
}

impl Status {
    /// The state of a connector that has not started.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let status = ConnectorStatus {
            name: name.to_owned(),
            phase: Phase::Starting,
            reason: None,
            partitions: BTreeMap::new(),
            dropped_fields: BTreeMap::new(),
            weak_tables: BTreeMap::new(),
        };
        Self { shared: Arc::new(Mutex::new(status)) }
    }

    /// The state now.
    #[must_use]
    pub fn snapshot(&self) -> ConnectorStatus {
        self.lock().clone()
    }

    /// The connector's own phase changed.
    pub fn phase(&self, phase: Phase, reason: Option<String>) {
        let mut status = self.lock();
        status.phase = phase;
        status.reason = reason;
    }

    /// Records come, or there are none to come: whatever reading waited for is over.
    pub fn reading(&self) {
        let mut status = self.lock();
        if status.phase == Phase::Waiting {
            status.phase = Phase::Running;
            status.reason = None;
        }
    }

    /// A partition is ours and stands at `settled`.
    pub fn assigned(&self, source: &TopicPartition, settled: i64, end: i64) {
        let mut status = self.lock();
        status.phase = Phase::Running;
        status.reason = None;
        let partition =
            PartitionStatus { phase: Phase::Running, settled, end: end.max(settled), fault: None };
        status.partitions.insert(source.to_string(), partition);
    }

    /// A partition is no longer ours.
    pub fn revoked(&self, source: &TopicPartition) {
        self.lock().partitions.remove(&source.to_string());
    }

    /// Everything before `settled` is settled. Gives the lag.
    pub fn settled(&self, source: &TopicPartition, settled: i64) -> i64 {
        self.update(source, |partition| {
            partition.settled = settled;
            partition.end = partition.end.max(settled);
            partition.phase = Phase::Running;
            partition.fault = None;
        })
    }

    /// The partition's end was seen. Gives the lag.
    pub fn end(&self, source: &TopicPartition, end: i64) -> i64 {
        self.update(source, |partition| partition.end = partition.end.max(end))
    }

    /// The partition waits for the world.
    pub fn waiting(&self, source: &TopicPartition, fault: &Fault) {
        self.update(source, |partition| {
            partition.phase = Phase::Waiting;
            partition.fault = Some(fault.to_string());
        });
    }

    /// A table's inserts are not, or only under conditions, stored once.
    pub(crate) fn weak(&self, table: &str, why: String) {
        self.lock().weak_tables.insert(table.to_owned(), why);
    }

    /// Fields of a table's records were dropped. Paths come from records, so their number is bounded.
    pub(crate) fn dropped(&self, table: &str, fields: Vec<DroppedField>) {
        let mut status = self.lock();
        let paths = status.dropped_fields.entry(table.to_owned()).or_default();
        for DroppedField { path, count } in fields {
            let known = paths.contains_key(&path) || paths.len() < Block::DROPPED_PATHS_MAX;
            *paths.entry(if known { path } else { "/…".to_owned() }).or_default() += count;
        }
    }

    fn update(&self, source: &TopicPartition, change: impl FnOnce(&mut PartitionStatus)) -> i64 {
        let mut status = self.lock();
        match status.partitions.get_mut(&source.to_string()) {
            Some(partition) => {
                change(partition);
                partition.lag()
            }
            None => 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ConnectorStatus> {
        // A panic while the lock was held cannot leave the plain values half-written.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
