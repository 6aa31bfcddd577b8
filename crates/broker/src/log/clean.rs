//! Retention and compaction: what makes a log shorter.
//!
//! Compaction reads and writes without the log's lock, on copies of the closed segments, which no longer
//! change; only putting a rewritten file in place takes the lock.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use super::batch::{self, RawRecord};
use super::producers::Aborted;
use super::segment::{Located, Segment};
use super::{AppendPolicy, Log};
use crate::sync::lock;

/// Bytes of keys that one pass remembers. A log with more is compacted up to where they fill it.
const KEY_BYTES_MAX: usize = 64 << 20;
/// What an entry of the key map costs beside the key.
const KEY_OVERHEAD_BYTES: usize = 48;

/// What cleaning does to one topic's partitions, from its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cleaning {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    /// Milliseconds; negative: for ever.
    pub(crate) retention_ms: i64,
    /// Negative: without bound.
    pub(crate) retention_bytes: i64,
    /// How long a tombstone stays, in milliseconds.
    pub(crate) delete_retention_ms: i64,
    /// The share of not yet compacted bytes from which compaction begins.
    pub(crate) dirty_ratio: f64,
    pub(crate) producers_max: usize,
    pub(crate) unpacked_bytes_max: usize,
}

impl Log {
    /// Closes the active segment if it is due, drops expired segments, forgets old producers.
    pub(crate) fn retain(
        &mut self,
        cleaning: &Cleaning,
        policy: &AppendPolicy,
        now_ms: i64,
    ) -> io::Result<()> {
        self.roll(0, policy, now_ms)?;
        if cleaning.delete {
            let expired = |segment: &Segment| {
                cleaning.retention_ms >= 0
                    && segment.size_bytes > 0
                    && segment.max_timestamp < now_ms.saturating_sub(cleaning.retention_ms)
            };
            if self.segments.iter().all(expired) {
                self.begin_segment(now_ms)?;
            }
            let mut left: u64 = self.segments.iter().map(|segment| segment.size_bytes).sum();
            let mut start = self.start;
            for (segment, next) in self.segments.iter().zip(&self.segments[1..]) {
                left -= segment.size_bytes;
                let beyond = cleaning.retention_bytes >= 0 && left >= cleaning.retention_bytes as u64;
                if !expired(segment) && !beyond {
                    break;
                }
                start = next.base;
            }
            // An open transaction keeps its records: its marker would stand alone otherwise.
            self.delete_before(start.min(self.stable_end()), now_ms)?;
        }
        self.producers.forget(self.start, cleaning.producers_max);
        Ok(())
    }

    /// The closed segments below the last stable offset, if enough of them is not yet compacted.
    fn compactable(&self, cleaning: &Cleaning) -> Option<Compaction> {
        let stable_end = self.stable_end();
        let closed = self.segments.iter().zip(&self.segments[1..]);
        let segments: Vec<Segment> = closed
            .take_while(|(_, next)| next.base <= stable_end)
            .map(|(segment, _)| segment.clone())
            .collect();
        let total: u64 = segments.iter().map(|segment| segment.size_bytes).sum();
        let dirty: u64 =
            segments.iter().filter(|segment| segment.dirty).map(|segment| segment.size_bytes).sum();
        if dirty == 0 || (dirty as f64) < cleaning.dirty_ratio * total as f64 {
            return None;
        }
        Some(Compaction {
            aborted: self.aborted_in(self.start, stable_end),
            segments,
            start: self.start,
            cleaning: *cleaning,
        })
    }

    fn put_in_place(&mut self, replacement: Segment) -> io::Result<()> {
        // Retention may have dropped the segment in the meantime.
        match self.segments.iter_mut().find(|segment| segment.base == replacement.base) {
            Some(segment) => segment.take_over(replacement),
            None => replacement.remove(),
        }
    }
}

/// Compacts the log if it is worth it. Blocks for as long as reading and writing the closed segments takes.
pub(crate) fn compact(log: &Mutex<Log>, cleaning: &Cleaning, now_ms: i64) -> io::Result<()> {
    let Some(compaction) = lock(log).compactable(cleaning) else { return Ok(()) };
    let newest = compaction.newest()?;
    for segment in &compaction.segments {
        let replacement = compaction.rewritten(segment, &newest, now_ms)?;
        lock(log).put_in_place(replacement)?;
    }
    Ok(())
}

struct Compaction {
    segments: Vec<Segment>,
    aborted: Vec<Aborted>,
    start: i64,
    cleaning: Cleaning,
}

impl Compaction {
    fn aborted(&self, located: &Located) -> bool {
        let header = &located.header;
        header.transactional()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == header.producer_id
                    && header.base >= aborted.first
                    && header.last() < aborted.marker
            })
    }

    /// The batch's records, or `None` if they cannot be read: such a batch is kept as it is.
    fn records(&self, segment: &Segment, located: &Located) -> io::Result<Option<Vec<RawRecord>>> {
        let batch = segment.read_batch(located)?;
        Ok(batch::records(&batch, self.cleaning.unpacked_bytes_max).ok())
    }

    /// The last offset of each key, as far as the keys fit.
    fn newest(&self) -> io::Result<HashMap<Vec<u8>, i64>> {
        let mut newest = HashMap::new();
        let mut key_bytes = 0;
        for segment in &self.segments {
            for located in segment.batches() {
                let located = located?;
                if located.header.control() || self.aborted(&located) {
                    continue;
                }
                for record in self.records(segment, &located)?.into_iter().flatten() {
                    let Some(key) = record.key else { continue };
                    let offset = located.header.base + record.offset_delta;
                    let size_bytes = key.len() + KEY_OVERHEAD_BYTES;
                    if newest.insert(key.to_vec(), offset).is_none() {
                        key_bytes += size_bytes;
                    }
                    if key_bytes > KEY_BYTES_MAX {
                        return Ok(newest);
                    }
                }
            }
        }
        Ok(newest)
    }

    fn rewritten(
        &self,
        segment: &Segment,
        newest: &HashMap<Vec<u8>, i64>,
        now_ms: i64,
    ) -> io::Result<Segment> {
        let mut replacement = segment.replacement(now_ms)?;
        for located in segment.batches() {
            let located = located?;
            if let Some(batch) = self.thinned(segment, &located, newest, now_ms)? {
                let header = batch::Header::parse(&batch).ok_or(io::ErrorKind::InvalidData)?;
                replacement.append(&batch, &header, now_ms)?;
            }
        }
        replacement.begun_ms = segment.begun_ms;
        replacement.file().sync_data()?;
        Ok(replacement)
    }

    /// What is left of a batch; `None` if nothing is.
    fn thinned(
        &self,
        segment: &Segment,
        located: &Located,
        newest: &HashMap<Vec<u8>, i64>,
        now_ms: i64,
    ) -> io::Result<Option<Vec<u8>>> {
        let header = &located.header;
        if header.last() < self.start || self.aborted(located) {
            return Ok(None);
        }
        let batch = segment.read_batch(located)?;
        let records = self.records(segment, located)?;
        let Some(records) = records.filter(|_| !header.control()) else { return Ok(Some(batch.to_vec())) };
        let tombstones_before = now_ms.saturating_sub(self.cleaning.delete_retention_ms);
        let kept: Vec<&RawRecord> = records
            .iter()
            .filter(|record| {
                let offset = header.base + record.offset_delta;
                let key = record.key.as_ref();
                let latest = key.and_then(|key| newest.get(&key[..])).is_none_or(|newest| *newest <= offset);
                let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
                latest && !(record.tombstone && key.is_some() && timestamp < tombstones_before)
            })
            .collect();
        Ok(match kept.len() {
            0 => None,
            n if n == records.len() => Some(batch.to_vec()),
            _ => Some(batch::with_records(&batch, header, &kept)),
        })
    }
}
