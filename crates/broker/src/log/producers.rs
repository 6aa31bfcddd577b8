//! What one partition knows of its producers: sequences, open transactions, aborted ranges.
//!
//! A pure state machine, rebuilt by replaying the headers of the log from where it was last stored.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::batch::{Header, Outcome};

/// Batches of one producer whose repetition is recognised. Kafka's number: a producer has at most five
/// requests in flight.
const RECENT_MAX: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Recent {
    first: i32,
    last: i32,
    base: i64,
}

/// A transaction that this partition takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    /// The transaction's first offset here, once it has one.
    first: Option<i64>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Recent>,
    open: Option<Open>,
    seen_ms: i64,
}

/// The offsets of one aborted transaction: from its first record to its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first: i64,
    pub(crate) marker: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Append,
    /// It stands in the log already, at this offset.
    Repeated(i64),
}

/// All producers of one partition.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// By marker.
    aborted: Vec<Aborted>,
}

/// Sequences count up to `i32::MAX` and go on at 0.
fn sequence_after(sequence: i32, n: i32) -> i32 {
    sequence.checked_add(n).unwrap_or_else(|| n - (i32::MAX - sequence) - 1)
}

impl Producers {
    /// Whether a client's batch may be appended.
    pub(super) fn check(&self, header: &Header) -> Result<Verdict, ResponseError> {
        if header.producer_id < 0 {
            return Ok(Verdict::Append);
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            // As in Kafka, an unknown producer may begin anywhere: its records may have expired.
            return match header.transactional() {
                true => Err(ResponseError::InvalidTxnState),
                false => Ok(Verdict::Append),
            };
        };
        if header.epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let last = sequence_after(header.sequence, header.last_delta);
        if header.epoch == producer.epoch {
            let repeated = |recent: &&Recent| (recent.first, recent.last) == (header.sequence, last);
            if let Some(recent) = producer.recent.iter().find(repeated) {
                return Ok(Verdict::Repeated(recent.base));
            }
        }
        let expected = match producer.recent.back() {
            _ if header.epoch > producer.epoch => Some(0),
            Some(recent) => Some(sequence_after(recent.last, 1)),
            None => None,
        };
        if expected.is_some_and(|expected| expected != header.sequence) {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        // A late batch would otherwise begin a transaction that nobody ends: it was added to the
        // partition before its marker was written, and arrives after.
        if header.transactional() && (producer.open.is_none() || header.epoch != producer.epoch) {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// A client's batch stands in the log at `base`.
    pub(super) fn appended(&mut self, header: &Header, base: i64, now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.at_epoch(header.producer_id, header.epoch, now_ms);
        let last = sequence_after(header.sequence, header.last_delta);
        producer.recent.push_back(Recent { first: header.sequence, last, base });
        if producer.recent.len() > RECENT_MAX {
            producer.recent.pop_front();
        }
        if header.transactional() {
            let open = producer.open.get_or_insert(Open { first: None });
            open.first.get_or_insert(base);
        }
    }

    /// A marker stands in the log at `base`.
    pub(super) fn ended(&mut self, header: &Header, outcome: Outcome, base: i64, now_ms: i64) {
        let producer = self.at_epoch(header.producer_id, header.epoch, now_ms);
        let first = producer.open.take().and_then(|open| open.first);
        if let (Some(first), Outcome::Abort) = (first, outcome) {
            self.aborted.push(Aborted { producer_id: header.producer_id, first, marker: base });
        }
    }

    /// As the log alone tells it: without transactions that have nothing in it yet.
    pub(super) fn stored(&self) -> Self {
        let mut stored = self.clone();
        for producer in stored.by_id.values_mut() {
            producer.open = producer.open.filter(|open| open.first.is_some());
        }
        stored
    }

    fn at_epoch(&mut self, id: i64, epoch: i16, now_ms: i64) -> &mut Producer {
        let producer = self.by_id.entry(id).or_default();
        if epoch > producer.epoch {
            producer.recent.clear();
            producer.epoch = epoch;
        }
        producer.seen_ms = now_ms;
        producer
    }

    /// The producer's transaction takes in this partition; its batches are let in from here on.
    pub(super) fn open(&mut self, id: i64, epoch: i16, now_ms: i64) {
        self.at_epoch(id, epoch, now_ms).open.get_or_insert(Open { first: None });
    }

    /// Whether the producer has a transaction open here.
    pub(super) fn has_open(&self, id: i64) -> bool {
        self.by_id.get(&id).is_some_and(|producer| producer.open.is_some())
    }

    /// Producers with an open transaction: id and epoch.
    pub(super) fn all_open(&self) -> Vec<(i64, i16)> {
        let open = self.by_id.iter().filter(|(_, producer)| producer.open.is_some());
        open.map(|(id, producer)| (*id, producer.epoch)).collect()
    }

    /// The first offset of the oldest open transaction.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.by_id.values().filter_map(|producer| producer.open?.first).min()
    }

    /// The highest producer id seen.
    pub(super) fn id_max(&self) -> Option<i64> {
        self.by_id.keys().copied().max()
    }

    /// Aborted transactions with offsets in `first..end`.
    pub(super) fn aborted_in(&self, first: i64, end: i64) -> Vec<Aborted> {
        let begin = self.aborted.partition_point(|aborted| aborted.marker < first);
        self.aborted[begin..].iter().filter(|aborted| aborted.first < end).copied().collect()
    }

    /// Forgets aborted transactions that ended before an offset: none of their records is left.
    pub(super) fn forget_aborted_before(&mut self, offset: i64) {
        self.aborted.retain(|aborted| aborted.marker >= offset);
    }

    /// Forgets what is below the log's start, and the longest silent producers beyond `n_max`.
    pub(super) fn forget(&mut self, start: i64, n_max: usize) {
        self.aborted.retain(|aborted| aborted.marker >= start);
        let Some(excess) = self.by_id.len().checked_sub(n_max).filter(|excess| *excess > 0) else { return };
        let idle = self.by_id.iter().filter(|(_, producer)| producer.open.is_none());
        let mut idle: Vec<(i64, i64)> = idle.map(|(id, producer)| (producer.seen_ms, *id)).collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(excess) {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::tests::{owned, produced};

    fn header(epoch: i16, sequence: i32, n_records: usize, open: bool) -> Header {
        let plain = produced(&vec![(None, None); n_records], 0);
        Header::parse(&owned(plain, (1, epoch), sequence, open)).unwrap()
    }

    #[test]
    fn a_repeated_batch_is_recognised_and_a_gap_refused() {
        let mut producers = Producers::default();
        producers.appended(&header(0, 0, 3, false), 100, 0);
        assert_eq!(producers.check(&header(0, 0, 3, false)), Ok(Verdict::Repeated(100)));
        assert_eq!(producers.check(&header(0, 3, 1, false)), Ok(Verdict::Append));
        assert_eq!(producers.check(&header(0, 4, 1, false)), Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.appended(&header(0, i32::MAX - 1, 2, false), 0, 0);
        assert_eq!(producers.check(&header(0, 0, 1, false)), Ok(Verdict::Append));
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn an_old_epoch_is_fenced_and_a_higher_one_begins_at_zero() {
        let mut producers = Producers::default();
        producers.appended(&header(1, 0, 3, false), 0, 0);
        assert_eq!(producers.check(&header(0, 3, 1, false)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(producers.check(&header(2, 3, 1, false)), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(producers.check(&header(2, 0, 1, false)), Ok(Verdict::Append));
    }

    #[test]
    fn a_transactional_batch_needs_an_open_transaction() {
        let mut producers = Producers::default();
        assert_eq!(producers.check(&header(0, 0, 1, true)), Err(ResponseError::InvalidTxnState));
        producers.open(1, 0, 0);
        assert_eq!(producers.check(&header(0, 0, 1, true)), Ok(Verdict::Append));
        producers.appended(&header(0, 0, 1, true), 10, 0);
        assert_eq!(producers.first_open(), Some(10));
        producers.ended(&header(0, 0, 1, true), Outcome::Abort, 11, 0);
        assert_eq!(producers.first_open(), None);
        assert_eq!(producers.check(&header(0, 1, 1, true)), Err(ResponseError::InvalidTxnState));
    }

    #[test]
    fn aborted_ranges_are_found_by_overlap() {
        let mut producers = Producers::default();
        for base in [10, 20] {
            producers.appended(&header(0, base, 1, true), i64::from(base), 0);
            producers.ended(&header(0, 0, 1, true), Outcome::Abort, i64::from(base) + 5, 0);
        }
        let markers = |first, end| -> Vec<i64> {
            producers.aborted_in(first, end).iter().map(|aborted| aborted.marker).collect()
        };
        assert_eq!(markers(0, 10), [0; 0]);
        assert_eq!(markers(0, 11), [15]);
        assert_eq!(markers(15, 21), [15, 25]);
        assert_eq!(markers(16, 99), [25]);
    }

    #[test]
    fn the_longest_silent_producers_are_forgotten_but_never_an_open_one() {
        let mut producers = Producers::default();
        for id in 0..5 {
            producers.at_epoch(id, 0, id);
        }
        producers.open(0, 0, 0);
        producers.forget(0, 2);
        let mut left: Vec<i64> = producers.by_id.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [0, 4]);
    }
}
