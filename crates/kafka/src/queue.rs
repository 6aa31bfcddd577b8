//! The way from the polling thread to [`Source::next`](tidegate_pipeline::port::Source::next): records in
//! a lane that is bounded by bytes, assignments in a lane that overtakes it.
//!
//! One lock guards both lanes, so that the order per partition is exact: `Assigned` is seen before the
//! first record of its epoch, and nothing of a partition is seen after its `Revoked`.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::TopicPartition;
use tidegate_pipeline::port::SourceEvent;
use tokio::sync::Notify;

/// What an empty event costs beside its records, so that many tiny ones are bounded too.
const EVENT_BYTES: usize = 256;

/// How many overtaking events wait before further faults are dropped: a pipeline that takes nothing
/// learns of the first ones, which say why.
const FAULTS_MAX: usize = 64;

/// Pausing that the caller asks for and the polling thread carries out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pausing {
    /// The partitions to be paused.
    pub paused: HashSet<TopicPartition>,
    /// Grows with every change.
    pub version: u64,
}

#[derive(Debug, Default)]
struct Lanes {
    control: VecDeque<SourceEvent>,
    records: VecDeque<SourceEvent>,
    records_bytes: usize,
    pausing: Pausing,
    closing: bool,
    ended: bool,
}

/// The two lanes.
#[derive(Debug)]
pub(crate) struct EventQueue {
    lanes: Mutex<Lanes>,
    arrived: Notify,
    taken: Condvar,
    bytes_max: usize,
}

impl EventQueue {
    /// Lanes that hold at most `bytes_max` of records, or one event if that alone is larger.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (arrived, taken) = (Notify::new(), Condvar::new());
        Self { lanes: Mutex::default(), arrived, taken, bytes_max }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event, the overtaking lane first; `None` once the source has ended.
    pub(crate) async fn next(&self) -> Option<SourceEvent> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut lanes = self.lanes();
                if let Some(event) = lanes.control.pop_front() {
                    return Some(event);
                }
                if let Some(event) = lanes.records.pop_front() {
                    lanes.records_bytes -= size_bytes(&event);
                    self.taken.notify_all();
                    return Some(event);
                }
                if lanes.ended {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Puts an event into the overtaking lane. Records of partitions that it revokes are forgotten.
    pub(crate) fn overtake(&self, event: SourceEvent) {
        let mut lanes = self.lanes();
        if lanes.closing {
            return;
        }
        if let SourceEvent::Revoked { partitions, .. } = &event {
            lanes.forget(partitions);
            self.taken.notify_all();
        }
        if matches!(event, SourceEvent::Faulted(_)) && lanes.control.len() >= FAULTS_MAX {
            return;
        }
        lanes.control.push_back(event);
        drop(lanes);
        self.arrived.notify_one();
    }

    /// Puts an event behind the others, waiting up to `patience` for room.
    ///
    /// # Errors
    /// The event, if there is still no room.
    pub(crate) fn offer(&self, event: SourceEvent, patience: Duration) -> Result<(), Box<SourceEvent>> {
        let bytes = size_bytes(&event);
        let full = |lanes: &mut Lanes| {
            !lanes.closing && lanes.records_bytes > 0 && lanes.records_bytes + bytes > self.bytes_max
        };
        let waited = self.taken.wait_timeout_while(self.lanes(), patience, full);
        let (mut lanes, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if lanes.closing {
            return Ok(());
        }
        if timeout.timed_out() {
            return Err(Box::new(event));
        }
        lanes.records_bytes += bytes;
        lanes.records.push_back(event);
        drop(lanes);
        self.arrived.notify_one();
        Ok(())
    }

    /// Whether records have room again after a stall: half of the lane is free, so that pausing and
    /// resuming do not alternate with every event.
    pub(crate) fn half_free(&self) -> bool {
        self.lanes().records_bytes <= self.bytes_max / 2
    }

    /// The bytes that wait in the records' lane.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.lanes().records_bytes
    }

    /// Asks for a partition to be paused.
    pub(crate) fn pause(&self, partition: &TopicPartition) {
        let mut lanes = self.lanes();
        if lanes.pausing.paused.insert(partition.clone()) {
            lanes.pausing.version += 1;
        }
    }

    /// Asks for a partition to be read again.
    pub(crate) fn resume(&self, partition: &TopicPartition) {
        let mut lanes = self.lanes();
        if lanes.pausing.paused.remove(partition) {
            lanes.pausing.version += 1;
        }
    }

    /// What is to be paused, if that has changed since `version`.
    pub(crate) fn pausing_since(&self, version: u64) -> Option<Pausing> {
        let lanes = self.lanes();
        (lanes.pausing.version != version).then(|| lanes.pausing.clone())
    }

    /// The receiver is gone: everything is dropped, and the polling thread is to end.
    pub(crate) fn close(&self) {
        let mut lanes = self.lanes();
        lanes.closing = true;
        let (control, records) = (std::mem::take(&mut lanes.control), std::mem::take(&mut lanes.records));
        lanes.records_bytes = 0;
        drop(lanes);
        drop((control, records));
        self.taken.notify_all();
    }

    /// Whether the receiver is gone.
    pub(crate) fn closing(&self) -> bool {
        self.lanes().closing
    }

    /// No event will follow.
    pub(crate) fn end(&self) {
        self.lanes().ended = true;
        self.arrived.notify_one();
    }
}

impl Lanes {
    fn forget(&mut self, partitions: &[TopicPartition]) {
        let gone: HashSet<&TopicPartition> = partitions.iter().collect();
        self.records.retain(|event| source(event).is_none_or(|source| !gone.contains(source)));
        self.records_bytes = self.records.iter().map(size_bytes).sum();
        self.pausing.paused.retain(|partition| !gone.contains(partition));
        self.pausing.version += 1;
    }
}

fn source(event: &SourceEvent) -> Option<&TopicPartition> {
    match event {
        SourceEvent::Records { records, .. } => Some(records.source()),
        SourceEvent::CaughtUp { source, .. } => Some(source),
        SourceEvent::Assigned(_)
        | SourceEvent::Revoked { .. }
        | SourceEvent::Missed { .. }
        | SourceEvent::Faulted(_) => None,
    }
}

fn size_bytes(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Records { records, .. } => EVENT_BYTES + records.size_bytes(),
        SourceEvent::CaughtUp { .. }
        | SourceEvent::Assigned(_)
        | SourceEvent::Revoked { .. }
        | SourceEvent::Missed { .. }
        | SourceEvent::Faulted(_) => EVENT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{Fault, FaultKind};
    use tidegate_pipeline::port::Epoch;
    use tokio::sync::oneshot;

    use super::*;

    fn caught_up(partition: i32) -> SourceEvent {
        SourceEvent::CaughtUp { source: TopicPartition::new("t", partition), epoch: Epoch(1), position: 0 }
    }

    fn name(event: Option<SourceEvent>) -> &'static str {
        match event {
            None => "end",
            Some(SourceEvent::Assigned(_)) => "assigned",
            Some(SourceEvent::Revoked { .. }) => "revoked",
            Some(SourceEvent::Records { .. }) => "records",
            Some(SourceEvent::CaughtUp { .. }) => "caught up",
            Some(SourceEvent::Missed { .. }) => "missed",
            Some(SourceEvent::Faulted(_)) => "faulted",
        }
    }

    #[tokio::test]
    async fn a_revocation_overtakes_records_and_drops_its_own() {
        let queue = EventQueue::new(10_000);
        for partition in [0, 1, 0] {
            queue.offer(caught_up(partition), Duration::ZERO).unwrap();
        }
        let (done, _) = oneshot::channel();
        queue.overtake(SourceEvent::Revoked { partitions: vec![TopicPartition::new("t", 0)], done });
        queue.end();
        assert_eq!(name(queue.next().await), "revoked");
        assert!(
            matches!(queue.next().await, Some(SourceEvent::CaughtUp { source, .. }) if source.partition == 1)
        );
        assert_eq!(name(queue.next().await), "end");
        assert_eq!(queue.buffered_bytes(), 0);
    }

    #[tokio::test]
    async fn a_full_lane_gives_the_event_back_and_takes_it_once_there_is_room() {
        let queue = EventQueue::new(EVENT_BYTES * 2);
        queue.offer(caught_up(0), Duration::ZERO).unwrap();
        queue.offer(caught_up(1), Duration::ZERO).unwrap();
        let refused = queue.offer(caught_up(2), Duration::ZERO).unwrap_err();
        queue.overtake(SourceEvent::Faulted(Fault::new(FaultKind::Network, "x")));
        assert_eq!(name(queue.next().await), "faulted");
        assert_eq!(name(queue.next().await), "caught up");
        queue.offer(*refused, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_closed_queue_takes_and_keeps_nothing() {
        let queue = EventQueue::new(1);
        queue.offer(caught_up(0), Duration::ZERO).unwrap();
        queue.close();
        queue.offer(caught_up(1), Duration::ZERO).unwrap();
        assert_eq!(queue.buffered_bytes(), 0);
    }
}
