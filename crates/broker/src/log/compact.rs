//! Compaction: of each key the last record stays, of aborted transactions nothing.
//!
//! As in Kafka, tombstones and the markers of transactions without records stay for
//! `delete.retention.ms` after the first pass over them, so that a reader who is behind sees them (KIP-534).
//!
//! A pass reads and writes without the log's lock, on closed segments, which no longer change; only
//! putting a rewritten file in place takes the lock.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;

use bytes::Bytes;

use super::Log;
use super::batch::{self, RawRecord};
use super::clean::Cleaning;
use super::producers::Aborted;
use super::recovery::MergeNote;
use super::segment::{Located, Segment, View, damage};
use crate::store;
use crate::sync::lock;

/// Bytes of keys that one pass remembers. A log with more is compacted over several passes.
const KEY_BYTES_MAX: usize = 64 << 20;
/// What an entry of the key map costs beside the key.
const KEY_OVERHEAD_BYTES: usize = 48;

/// A closed segment as a pass sees it.
#[derive(Debug)]
struct Source {
    base: i64,
    end: i64,
    begun_ms: i64,
    view: View,
}

/// One pass over a log.
struct Pass {
    sources: Vec<Source>,
    /// Keys below it are compacted among themselves.
    first_dirty: i64,
    aborted: Vec<Aborted>,
    start: i64,
    cleaning: Cleaning,
    now_ms: i64,
}

/// What a pass knows of keys: the last offset of each, among those from the first dirty offset up to `upto`.
struct Newest {
    by_key: HashMap<Bytes, i64>,
    upto: i64,
}

impl Log {
    /// The closed segments below the last stable offset and `upto`, if enough of them is not yet compacted.
    fn compactable(&self, upto: i64, cleaning: &Cleaning, now_ms: i64) -> Option<Pass> {
        let upto = upto.min(self.stable_end());
        let (lag_min, lag_max) = cleaning.compaction_lag_ms;
        let closed = &self.segments[..self.segments.len() - 1];
        let ready = |segment: &&Segment| {
            let young = lag_min > 0 && segment.index.max_timestamp > now_ms.saturating_sub(lag_min);
            let dirty = segment.index.end > self.first_dirty;
            segment.index.end <= upto && !segment.damaged && !(dirty && young)
        };
        let ready: Vec<&Segment> = closed.iter().take_while(ready).collect();
        let total: u64 = ready.iter().map(|segment| segment.size_bytes()).sum();
        let dirty: Vec<&&Segment> =
            ready.iter().filter(|segment| segment.index.end > self.first_dirty).collect();
        let dirty_bytes: u64 = dirty.iter().map(|segment| segment.size_bytes()).sum();
        let overdue =
            dirty.first().is_some_and(|first| now_ms.saturating_sub(first.index.begun_ms) > lag_max);
        let enough = dirty_bytes as f64 >= cleaning.dirty_ratio * total as f64;
        if dirty_bytes == 0 || !(enough || overdue) {
            return None;
        }
        let sources = ready.iter().map(|segment| Source {
            base: segment.base,
            end: segment.index.end,
            begun_ms: segment.index.begun_ms,
            view: segment.view(),
        });
        Some(Pass {
            sources: sources.collect(),
            first_dirty: self.first_dirty,
            aborted: self.aborted_in(self.start, upto),
            start: self.start,
            cleaning: *cleaning,
            now_ms,
        })
    }

    /// Puts a rewritten segment in the place of all those that lie in its offsets.
    ///
    /// The note says so before the first file is touched: a crash in between leaves files of the old
    /// segments, which opening the log then removes.
    fn put_in_place(&mut self, replacement: Segment) -> io::Result<()> {
        let (base, end) = (replacement.base, replacement.index.end);
        // Records may have been deleted in the meantime, and the segment with them.
        let Some(at) = self.segments.iter().position(|segment| segment.base == base) else {
            return replacement.discard();
        };
        // Never the active one, which ends there too as long as it is empty.
        let closed = &self.segments[..self.segments.len() - 1];
        let n_absorbed = closed.iter().skip(at + 1).take_while(|later| later.index.end <= end).count();
        if n_absorbed == 0 {
            return self.segments[at].take_over(replacement);
        }
        let note = MergeNote { base, end };
        note.write(&self.directory)?;
        let taken = self.segments[at].take_over(replacement);
        // Even if the last step of it failed, the others' records are in the new file.
        if self.segments[at].index.end == end {
            let absorbed: Vec<Segment> = self.segments.drain(at + 1..=at + n_absorbed).collect();
            absorbed.iter().try_for_each(Segment::remove)?;
        }
        taken?;
        // Without the note, nothing tells that files which a power cut brings back were merged.
        store::sync_directory(&self.directory)?;
        note.remove(&self.directory)
    }

    /// Leaves segments alone that cannot be compacted, until the log is opened again.
    fn mark_damaged(&mut self, first: i64, end: i64) {
        for segment in self.segments.iter_mut().filter(|segment| (first..end).contains(&segment.base)) {
            segment.damaged = true;
        }
    }

    /// A pass has got to `upto`.
    fn compacted(&mut self, upto: i64) {
        self.first_dirty = self.first_dirty.max(upto);
        self.producers.forget_aborted_before(upto);
    }
}

/// Whether [`compact`] would do anything after a checkpoint.
pub(crate) fn compaction_due(log: &Mutex<Log>, cleaning: &Cleaning, now_ms: i64) -> bool {
    lock(log).compactable(i64::MAX, cleaning, now_ms).is_some()
}

/// Compacts the log up to the last checkpoint if it is worth it. Blocks for as long as reading and writing
/// the closed segments takes.
///
/// What was closed since the checkpoint waits: opening the log takes gaps between offsets for compaction's
/// doing only where the snapshot says that everything was on the disk.
pub(crate) fn compact(log: &Mutex<Log>, cleaning: &Cleaning, now_ms: i64) -> io::Result<()> {
    let locked = lock(log);
    let upto = locked.flushed.snapshot_end;
    let Some(pass) = locked.compactable(upto, cleaning, now_ms) else { return Ok(()) };
    drop(locked);
    let passed = pass.run(log);
    if let (Err(error), [first, ..]) = (&passed, pass.sources.as_slice())
        && error.kind() == io::ErrorKind::InvalidData
    {
        lock(log).mark_damaged(first.base, pass.end());
    }
    passed
}

impl Pass {
    fn run(&self, log: &Mutex<Log>) -> io::Result<()> {
        let newest = self.newest()?;
        // Producers of which a transaction's records were met, and its marker was not yet.
        let mut under_way = HashSet::new();
        let mut rest = self.sources.as_slice();
        while let Some(first) = rest.first().filter(|first| first.base < newest.upto) {
            let (group, later) = rest.split_at(self.group_len(rest));
            let replacement = self.rewritten(first, group, &newest, &mut under_way);
            let mut log = lock(log);
            let put = log.put_in_place(replacement?);
            log.count_bytes();
            put?;
            rest = later;
        }
        lock(log).compacted(newest.upto);
        Ok(())
    }

    fn end(&self) -> i64 {
        self.sources.last().map_or(0, |last| last.end)
    }

    fn aborted(&self, located: &Located) -> bool {
        let header = &located.header;
        header.transactional()
            && !header.control()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == header.producer_id
                    && header.base >= aborted.first
                    && header.last() < aborted.marker
            })
    }

    /// The batch's bytes. To rewrite a damaged one would be to vouch for it.
    fn batch(source: &Source, located: &Located) -> io::Result<Bytes> {
        let batch = source.view.read_batch(located)?;
        match located.header.intact(&batch) {
            true => Ok(batch),
            false => Err(damage(source.view.path(), located.position)),
        }
    }

    /// The batch's records, or `None` if they cannot be read: such a batch is kept as it is.
    fn records(&self, batch: &Bytes) -> Option<Vec<RawRecord>> {
        batch::records(batch, self.cleaning.unpacked_bytes_max).ok()
    }

    /// The last offset of each dirty key, as far as the keys fit.
    fn newest(&self) -> io::Result<Newest> {
        let mut newest = Newest { by_key: HashMap::new(), upto: self.first_dirty };
        let mut key_bytes = 0;
        for source in self.sources.iter().filter(|source| source.end > self.first_dirty) {
            for located in source.view.batches() {
                let located = located?;
                let header = &located.header;
                if header.control() || header.last() < self.first_dirty || self.aborted(&located) {
                    continue;
                }
                if key_bytes > KEY_BYTES_MAX {
                    newest.upto = header.base;
                    return Ok(newest);
                }
                for record in self.records(&Self::batch(source, &located)?).into_iter().flatten() {
                    let Some(key) = record.key else { continue };
                    // A copy of its own: a slice would keep the whole batch.
                    let key = Bytes::copy_from_slice(&key);
                    let size_bytes = key.len() + KEY_OVERHEAD_BYTES;
                    let offset = header.base.saturating_add(record.offset_delta);
                    if newest.by_key.insert(key, offset).is_none() {
                        key_bytes += size_bytes;
                    }
                }
            }
            newest.upto = source.end;
        }
        Ok(newest)
    }

    /// How many of the sources become one segment. Compacted ones are small, and each costs an open file.
    fn group_len(&self, sources: &[Source]) -> usize {
        let mut size_bytes = 0;
        let fits = |source: &&Source| {
            size_bytes += source.view.size_bytes;
            size_bytes <= self.cleaning.segment_bytes
        };
        sources.iter().take_while(fits).count().max(1)
    }

    fn rewritten(
        &self,
        first: &Source,
        group: &[Source],
        newest: &Newest,
        under_way: &mut HashSet<i64>,
    ) -> io::Result<Segment> {
        let mut replacement = Segment::replacement(&first.view, first.base, first.begun_ms)?;
        let mut filled =
            group.iter().try_for_each(|source| self.fill(&mut replacement, source, newest, under_way));
        filled = filled.and_then(|()| replacement.file().sync_data());
        if let Err(error) = filled {
            // The disk may be full: what was written of it is room that others need.
            replacement.discard()?;
            return Err(error);
        }
        replacement.index.end = group.last().map_or(first.end, |last| last.end);
        Ok(replacement)
    }

    fn fill(
        &self,
        replacement: &mut Segment,
        source: &Source,
        newest: &Newest,
        under_way: &mut HashSet<i64>,
    ) -> io::Result<()> {
        for located in source.view.batches() {
            let located = located?;
            let header = &located.header;
            let batch = if header.control() {
                // Kept at least as long as there are records that it ends.
                let ends_some = under_way.remove(&header.producer_id);
                self.marker(source, &located, ends_some)?
            } else {
                if header.transactional() {
                    under_way.insert(header.producer_id);
                }
                self.thinned(source, &located, newest)?
            };
            if let Some(batch) = batch {
                let header = batch::Header::parse(&batch).ok_or(io::ErrorKind::InvalidData)?;
                replacement.append(&batch, &header, source.begun_ms)?;
            }
        }
        Ok(())
    }

    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.cleaning.delete_retention_ms)
    }

    /// A transaction's marker; `None` if it is not needed any more.
    fn marker(&self, source: &Source, located: &Located, ends_some: bool) -> io::Result<Option<Bytes>> {
        let header = &located.header;
        let batch = Self::batch(source, located)?;
        Ok(match header.horizon() {
            _ if ends_some => Some(batch),
            // Readers are told to skip from the transaction's first offset to its marker. Without the
            // marker they would skip what comes after, so first it is forgotten, also by the snapshot.
            _ if self.aborted.iter().any(|aborted| aborted.marker == header.base) => Some(batch),
            Some(horizon) if horizon <= self.now_ms => None,
            Some(_) => Some(batch),
            None => match self.records(&batch) {
                Some(records) => {
                    let records: Vec<&RawRecord> = records.iter().collect();
                    Some(batch::with_records(&batch, header, &records, Some(self.horizon())).into())
                }
                None => Some(batch),
            },
        })
    }

    /// What is left of a batch; `None` if nothing is.
    fn thinned(&self, source: &Source, located: &Located, newest: &Newest) -> io::Result<Option<Bytes>> {
        let header = &located.header;
        if header.last() < self.start || self.aborted(located) {
            return Ok(None);
        }
        let batch = Self::batch(source, located)?;
        let Some(records) = self.records(&batch) else { return Ok(Some(batch)) };
        let tombstones_stay = header.horizon().is_none_or(|horizon| horizon > self.now_ms);
        let kept: Vec<&RawRecord> = records
            .iter()
            .filter(|record| {
                let Some(key) = record.key.as_ref() else { return true };
                let offset = header.base.saturating_add(record.offset_delta);
                let superseded = newest.by_key.get(key).is_some_and(|newest| *newest > offset);
                !superseded && (tombstones_stay || !record.tombstone)
            })
            .collect();
        let tombstones = kept.iter().any(|record| record.tombstone && record.key.is_some());
        let horizon = (tombstones && header.horizon().is_none()).then(|| self.horizon());
        Ok(match kept.len() {
            0 => None,
            n if n == records.len() && horizon.is_none() => Some(batch),
            _ => Some(batch::with_records(&batch, header, &kept, horizon).into()),
        })
    }
}
