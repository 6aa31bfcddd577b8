//! A partition's log: batches as they were produced, in segment files, with what is known of their producers.
//!
//! Invariant: every batch below [`Log::end`] is whole, and what [`Log::append`] returned is in the page
//! cache at least. Nothing here is async; [`Slice::read`] is called without the log's lock.
//!
//! A segment is `<first offset>.log` with `<first offset>.index` beside it. `snapshot` has the producers'
//! state at one offset, `start` the first readable offset if records were deleted. Begin at [`recovery`]
//! for what is trusted after a crash, at [`flush`] for how things get onto the disk.

pub(crate) mod batch;
mod clean;
mod codec;
mod compact;
mod flush;
mod index;
mod producers;
mod recovery;
mod segment;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use self::batch::{Header, Outcome, Produced};
use self::flush::Flushed;
use self::producers::{Producers, Verdict};
use self::recovery::{Recovered, recover, write_start};
use self::segment::Segment;
use crate::quota::{Account, NoRoom, Quota};
use crate::store;

pub(crate) use self::clean::Cleaning;
pub(crate) use self::compact::{compact, compaction_due};
pub(crate) use self::producers::Aborted;

/// How batches are stored: the part of a topic's configuration that appending needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendPolicy {
    /// Timestamps are the broker's, not the producer's.
    pub(crate) append_time: bool,
    /// A segment is closed before it would grow beyond this.
    pub(crate) segment_bytes: u64,
    /// A segment is closed when its first batch is older than this, in milliseconds.
    pub(crate) segment_ms: i64,
}

/// Which records clients may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All.
    Appended,
    /// Those on the disk. A reader who acts on a record that a power cut then takes away would find
    /// another at its offset, and miss that one.
    Flushed,
}

/// Where a batch was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base: i64,
    /// The broker's time, if the topic's timestamps are the broker's.
    pub(crate) time_ms: Option<i64>,
}

/// Whole batches in one file, not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    file: Arc<File>,
    position: u64,
    pub(crate) size_bytes: usize,
    /// Offsets at and after this one are not in it.
    pub(crate) end: i64,
}

impl Slice {
    /// The batches, read into memory that nothing else was written to before.
    pub(crate) fn read(&self) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(self.size_bytes);
        while bytes.len() < self.size_bytes {
            let position = self.position + bytes.len() as u64;
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), position)
            })?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // The memory may have been larger than was asked for.
        bytes.truncate(self.size_bytes);
        Ok(bytes.into())
    }
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    reading: Reading,
    /// Never empty; the last one is appended to.
    segments: Vec<Segment>,
    start: i64,
    producers: Producers,
    /// Below this offset keys have been compacted.
    first_dirty: i64,
    flushed: Flushed,
    /// Its bytes, in the quota of all logs.
    account: Account,
}

impl Log {
    /// Opens the log in a directory, creating both if needed, and cuts off an unfinished append.
    pub(crate) fn open(
        directory: &Path,
        reading: Reading,
        quota: &Arc<Quota>,
        now_ms: i64,
    ) -> io::Result<Self> {
        if !directory.exists() {
            fs::create_dir_all(directory).map_err(store::at("create", directory))?;
            store::sync_parent(directory)?;
        }
        let Recovered { segments, producers, first_dirty, start, snapshot_end } = recover(directory, now_ms)?;
        let mut log = Self {
            directory: directory.to_owned(),
            reading,
            segments,
            start,
            producers,
            first_dirty,
            flushed: Flushed::new(now_ms, snapshot_end),
            account: Account::open(quota),
        };
        log.count_bytes();
        let (active, closed) = log.segments.split_last().expect("a recovered log has a segment");
        let unknown = closed.iter().filter(|segment| segment.indexed_bytes.is_none() && !segment.damaged);
        log.flushed.closed = unknown.map(Segment::file).collect();
        log.flushed.unchecked_bytes = active.size_bytes() - active.indexed_bytes.unwrap_or(0);
        if reading == Reading::Flushed && log.unchecked() {
            let flush = log.begin_flush()?;
            log.end_flush(&flush, flush.run())?;
        }
        Ok(log)
    }

    /// After a failed flush: drops what nobody was told to be kept, and opens what is left.
    pub(crate) fn reopen(&mut self, now_ms: i64) -> io::Result<()> {
        if !self.flushed.failed {
            return Ok(());
        }
        let kept = self.flushed.end;
        while self.segments.len() > 1 && self.active().base >= kept {
            self.active().remove()?;
            self.segments.pop();
        }
        let active = self.active();
        if let Some(unflushed) = active.batch_of(kept)? {
            active.file().set_len(unflushed.position)?;
        }
        *self = Self::open(&self.directory, self.reading, &Arc::clone(self.account.quota()), now_ms)?;
        Ok(())
    }

    /// The first offset that may be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The bytes of its batches.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size_bytes).sum()
    }

    /// Tells the quota how many that are.
    fn count_bytes(&mut self) {
        self.account.set(self.size_bytes());
    }

    /// The offset that the next record gets.
    pub(crate) fn next(&self) -> i64 {
        self.segments.last().map_or(0, |active| active.index.end)
    }

    /// The offset after the last that may be read; the high watermark of a single node.
    pub(crate) fn end(&self) -> i64 {
        match self.reading {
            Reading::Appended => self.next(),
            Reading::Flushed => self.flushed.end.min(self.next()),
        }
    }

    /// The last stable offset: below it every transaction has ended.
    pub(crate) fn stable_end(&self) -> i64 {
        self.producers.first_open().map_or(self.end(), |first| first.min(self.end()))
    }

    /// Appends a client's batch, once.
    pub(crate) fn append(
        &mut self,
        batch: &Produced,
        policy: &AppendPolicy,
        now_ms: i64,
    ) -> Result<Appended, ResponseError> {
        if self.flushed.failed {
            return Err(ResponseError::KafkaStorageError);
        }
        match self.producers.check(&batch.header) {
            Ok(Verdict::Repeated(base)) => return Ok(Appended { base, time_ms: None }),
            Ok(Verdict::Append) => self.account.take(batch.size_bytes()).map_err(no_room)?,
            // It follows a batch that was refused, and is to be repeated after that one.
            Err(ResponseError::OutOfOrderSequenceNumber) if self.account.quota().full() => {
                return Err(no_room(NoRoom::Now));
            }
            Err(error) => return Err(error),
        }
        let base = self.next();
        let time_ms = policy.append_time.then_some(now_ms);
        let stored = match time_ms {
            Some(time_ms) => batch.stored_with_time(base, time_ms),
            None => batch.stored_at(base),
        };
        let written = self.write(&stored, policy, now_ms);
        if written.is_err() {
            self.count_bytes();
        }
        let header = written.map_err(storage_error)?;
        self.producers.appended(&header, base, now_ms);
        Ok(Appended { base, time_ms })
    }

    /// Ends the producer's transaction here, if it has one; `false` if it has none.
    pub(crate) fn end_transaction(
        &mut self,
        (id, epoch): (i64, i16),
        outcome: Outcome,
        policy: &AppendPolicy,
        now_ms: i64,
    ) -> io::Result<bool> {
        if !self.producers.has_open(id) {
            return Ok(false);
        }
        if self.flushed.failed {
            return Err(io::Error::other("the log waits to be opened again after a failed flush"));
        }
        let base = self.next();
        let marker = batch::marker(id, epoch, outcome, base, now_ms);
        let header = self.write(&marker, policy, now_ms)?;
        self.count_bytes();
        self.producers.ended(&header, outcome, base, now_ms);
        Ok(true)
    }

    /// Lets in the batches of a producer's transaction.
    pub(crate) fn open_transaction(&mut self, id: i64, epoch: i16, now_ms: i64) {
        self.producers.open(id, epoch, now_ms);
    }

    /// Producers with an open transaction: id and epoch.
    pub(crate) fn open_transactions(&self) -> Vec<(i64, i16)> {
        self.producers.all_open()
    }

    /// The highest producer id that the log knows.
    pub(crate) fn producer_id_max(&self) -> Option<i64> {
        self.producers.id_max()
    }

    fn write(&mut self, stored: &[u8], policy: &AppendPolicy, now_ms: i64) -> io::Result<Header> {
        let header = Header::parse(stored).ok_or(io::ErrorKind::InvalidData)?;
        self.roll(stored.len() as u64, policy, now_ms)?;
        self.active().append(stored, &header, now_ms)?;
        self.flushed.since_ms.get_or_insert(now_ms);
        self.flushed.unchecked_bytes += stored.len() as u64;
        Ok(header)
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment from `open` on")
    }

    /// Begins a new segment if the active one is due.
    fn roll(&mut self, more_bytes: u64, policy: &AppendPolicy, now_ms: i64) -> io::Result<()> {
        let active = self.active();
        let full = active.size_bytes() + more_bytes > policy.segment_bytes;
        let old = now_ms.saturating_sub(active.index.begun_ms) > policy.segment_ms;
        if active.size_bytes() > 0 && (full || old) { self.begin_segment(now_ms) } else { Ok(()) }
    }

    fn begin_segment(&mut self, now_ms: i64) -> io::Result<()> {
        let next = Segment::create(&self.directory, self.next(), now_ms)?;
        let closed = self.active().file();
        self.flushed.closed.push(closed);
        self.flushed.directory_changed = true;
        self.segments.push(next);
        Ok(())
    }

    /// Whole batches from the one that holds `offset` on, all below `upto`, which must be where a batch
    /// begins: at most `bytes_max`, but one batch at least. `None` if there is none.
    pub(crate) fn slice(&self, offset: i64, upto: i64, bytes_max: usize) -> io::Result<Option<Slice>> {
        if offset >= upto {
            return Ok(None);
        }
        let first = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        for segment in self.segments.iter().skip(first) {
            let Some(begin) = segment.batch_of(offset)? else { continue };
            if begin.header.base >= upto {
                return Ok(None);
            }
            let segment_end = segment.index.end;
            let (limit, end) = match upto >= segment_end {
                true => (segment.size_bytes(), segment_end),
                false => (segment.batch_of(upto)?.map_or(segment.size_bytes(), |batch| batch.position), upto),
            };
            let (limit, end) = match (limit - begin.position) as usize <= bytes_max {
                true => (limit, end),
                false => {
                    let last = segment.batch_before(begin.position, begin.position + bytes_max as u64)?;
                    let last = last.unwrap_or(begin);
                    (last.end(), last.header.last() + 1)
                }
            };
            let size_bytes = (limit - begin.position) as usize;
            segment.check_length(limit)?;
            return Ok(Some(Slice { file: segment.file(), position: begin.position, size_bytes, end }));
        }
        Ok(None)
    }

    /// Aborted transactions with offsets in `first..end`.
    pub(crate) fn aborted_in(&self, first: i64, end: i64) -> Vec<Aborted> {
        self.producers.aborted_in(first, end)
    }

    /// The first record at or after a timestamp.
    pub(crate) fn record_since(
        &self,
        timestamp: i64,
        unpacked_bytes_max: usize,
    ) -> io::Result<Option<Stamped>> {
        for segment in self.segments.iter().filter(|segment| segment.index.max_timestamp >= timestamp) {
            for (position, end) in segment.index.positions_since(timestamp) {
                for located in segment.batches_from(position) {
                    let located = located?;
                    if located.position >= end {
                        break;
                    }
                    let header = &located.header;
                    if header.control() || header.max_timestamp < timestamp || header.last() < self.start {
                        continue;
                    }
                    let batch = segment.read_batch(&located)?;
                    if let Some(found) = self.record_in(&batch, timestamp, unpacked_bytes_max) {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    fn record_in(&self, batch: &bytes::Bytes, since: i64, unpacked_bytes_max: usize) -> Option<Stamped> {
        let header = Header::parse(batch)?;
        let records = batch::records(batch, unpacked_bytes_max).ok()?;
        let stamped = records.iter().map(|record| Stamped {
            timestamp: match header.append_time() {
                true => header.max_timestamp,
                false => header.base_timestamp.saturating_add(record.timestamp_delta),
            },
            offset: header.base.saturating_add(record.offset_delta),
        });
        stamped.into_iter().find(|found| found.timestamp >= since && found.offset >= self.start)
    }

    /// The first of the records with the highest timestamp.
    pub(crate) fn newest_record(&self, unpacked_bytes_max: usize) -> io::Result<Option<Stamped>> {
        match self.segments.iter().map(|segment| segment.index.max_timestamp).max() {
            Some(newest) if newest >= 0 => self.record_since(newest, unpacked_bytes_max),
            Some(_) | None => Ok(None),
        }
    }

    /// Makes `offset` the first one that may be read, and removes files that lie before it.
    pub(crate) fn delete_before(&mut self, offset: i64, now_ms: i64) -> io::Result<()> {
        let start = offset.min(self.next());
        if start <= self.start {
            return Ok(());
        }
        // Written first: a crash may leave files below the start, but never a start below the files.
        if let Err(error) = write_start(&self.directory, start) {
            // On a full disk, removing whole files is what makes room; they tell the start themselves.
            let whole = self.segments.iter().map(|segment| segment.base).rfind(|base| *base <= start);
            match whole.filter(|whole| *whole > self.start) {
                Some(whole) if whole == start => {
                    tracing::warn!(%error, "records are deleted without a note of it");
                }
                Some(whole) => {
                    self.delete_before(whole, now_ms)?;
                    write_start(&self.directory, start)?;
                }
                None => return Err(error),
            }
        }
        self.start = start;
        if start == self.next() && self.active().size_bytes() > 0 {
            self.begin_segment(now_ms)?;
        }
        while self.segments.len() > 1 && self.segments[1].base <= start {
            self.segments[0].remove()?;
            let removed = self.segments.remove(0).file();
            // As long as anyone holds the file, its room is not free.
            self.flushed.closed.retain(|closed| !Arc::ptr_eq(closed, &removed));
        }
        self.count_bytes();
        Ok(())
    }
}

/// Clients repeat the one, for as long as they have time, and split the batch for the other.
fn no_room(no_room: NoRoom) -> ResponseError {
    match no_room {
        NoRoom::Now => ResponseError::KafkaStorageError,
        NoRoom::Ever => ResponseError::MessageTooLarge,
    }
}

fn storage_error(error: io::Error) -> ResponseError {
    tracing::error!(error = &error as &dyn std::error::Error, "a batch was not written");
    ResponseError::KafkaStorageError
}

#[cfg(test)]
mod tests;
