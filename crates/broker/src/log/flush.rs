//! Getting a log onto the disk: flushes before an acknowledgement, and checkpoints, from which opening
//! the log goes on.
//!
//! Both are begun with the log's lock, done without it, and ended with it again; [`Partition`] sees to
//! it that only one is under way at a time.
//!
//! [`Partition`]: crate::partition::Partition

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::recovery::Snapshot;
use super::segment::index_path;
use super::{Log, Reading};
use crate::store;

/// How much may be appended until a checkpoint is due: what opening the log after a crash reads.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// How long less may wait for one, in milliseconds. Kafka's `log.flush.offset.checkpoint.interval.ms`.
const CHECKPOINT_MS: i64 = 60_000;

/// How much of a log is on the disk.
#[derive(Debug)]
pub(super) struct Flushed {
    /// Everything below this offset is.
    pub(super) end: i64,
    /// Closed segments of which some may not be.
    pub(super) closed: Vec<Arc<File>>,
    /// Whether the directory has files of which it may not know after a power cut.
    pub(super) directory_changed: bool,
    /// When what is not was appended, in milliseconds.
    pub(super) since_ms: Option<i64>,
    /// A flush has failed: what the system then holds of the files is not what the disk has.
    pub(super) failed: bool,
    /// Bytes appended since the last checkpoint, and when that was.
    pub(super) unchecked_bytes: u64,
    pub(super) checkpoint_ms: i64,
    /// Where the snapshot on the disk ends.
    pub(super) snapshot_end: i64,
}

impl Flushed {
    pub(super) fn new(now_ms: i64, snapshot_end: i64) -> Self {
        Self {
            end: snapshot_end,
            closed: Vec::new(),
            directory_changed: true,
            since_ms: None,
            failed: false,
            unchecked_bytes: 0,
            checkpoint_ms: now_ms,
            snapshot_end,
        }
    }
}

/// Files to be flushed.
#[derive(Debug)]
pub(crate) struct Flush {
    pub(super) files: Vec<Arc<File>>,
    pub(super) directory: Option<PathBuf>,
    end: i64,
}

impl Flush {
    /// Blocks until the disk has it all.
    pub(crate) fn run(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync_data())?;
        self.directory.as_deref().map_or(Ok(()), store::sync_directory)
    }
}

/// What is written so that opening the log need not read it.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    flush: Flush,
    directory: PathBuf,
    /// By segment, with how many bytes each covers.
    indexes: Vec<(i64, u64, Vec<u8>)>,
    snapshot: Snapshot,
}

impl Checkpoint {
    /// To be done before [`Self::store`]: what an index covers is never looked at again, and nothing
    /// that the snapshot takes in is.
    pub(crate) fn flush(&self) -> &Flush {
        &self.flush
    }

    /// Blocks until the disk has the indexes and the snapshot.
    pub(crate) fn store(&self) -> io::Result<()> {
        for (base, _, index) in &self.indexes {
            store::replace(&index_path(&self.directory, *base), index)?;
        }
        self.snapshot.write(&self.directory)
    }
}

impl Log {
    /// Whether everything below `upto` is on the disk.
    pub(crate) fn flushed(&self, upto: i64) -> bool {
        self.flushed.end >= upto && !self.flushed.failed
    }

    /// Records that are not on the disk, and since when, in milliseconds.
    pub(crate) fn unflushed(&self) -> (i64, Option<i64>) {
        (self.next() - self.flushed.end, self.flushed.since_ms)
    }

    /// # Errors
    /// If a flush has failed, and the log was not opened again since: what the disk has is not known.
    pub(crate) fn begin_flush(&mut self) -> io::Result<Flush> {
        if self.flushed.failed {
            return Err(io::Error::other("the log waits to be opened again after a failed flush"));
        }
        let mut files = std::mem::take(&mut self.flushed.closed);
        files.push(self.active().file());
        let directory = self.flushed.directory_changed.then(|| self.directory.clone());
        self.flushed.directory_changed = false;
        self.flushed.since_ms = None;
        Ok(Flush { files, directory, end: self.next() })
    }

    /// Takes in how a flush went.
    pub(crate) fn end_flush(&mut self, flush: &Flush, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Ok(()) => {
                self.flushed.end = self.flushed.end.max(flush.end);
                Ok(())
            }
            Err(error) => {
                self.flushed.closed.extend(flush.files.iter().cloned());
                self.flushed.directory_changed = true;
                // A second flush may succeed without having written what the first one could not, so
                // what was not acknowledged is dropped; see `reopen`.
                self.flushed.failed = self.reading == Reading::Flushed;
                Err(store::at("flush", &self.directory)(error))
            }
        }
    }

    /// Whether enough has been appended, or long enough ago.
    pub(crate) fn checkpoint_due(&self, now_ms: i64) -> bool {
        let Flushed { unchecked_bytes, checkpoint_ms, .. } = self.flushed;
        unchecked_bytes >= CHECKPOINT_BYTES
            || (self.unchecked() && now_ms.saturating_sub(checkpoint_ms) >= CHECKPOINT_MS)
    }

    /// Whether a checkpoint would spare the next opening anything.
    pub(crate) fn unchecked(&self) -> bool {
        self.flushed.snapshot_end != self.next()
            || self.segments.iter().any(|segment| segment.indexed_bytes != Some(segment.size_bytes()))
    }

    /// # Errors
    /// As [`Self::begin_flush`].
    pub(crate) fn begin_checkpoint(&mut self) -> io::Result<Checkpoint> {
        let flush = self.begin_flush()?;
        let unindexed = self.segments.iter().filter(|segment| !segment.damaged);
        let unindexed = unindexed.filter(|segment| segment.indexed_bytes != Some(segment.size_bytes()));
        let indexes = unindexed.map(|segment| (segment.base, segment.size_bytes(), segment.index.encode()));
        Ok(Checkpoint {
            flush,
            indexes: indexes.collect(),
            snapshot: Snapshot {
                end: self.next(),
                first_dirty: self.first_dirty,
                producers: self.producers.stored(),
            },
            directory: self.directory.clone(),
        })
    }

    /// The checkpoint is on the disk.
    pub(crate) fn end_checkpoint(&mut self, checkpoint: Checkpoint, now_ms: i64) {
        for (base, size_bytes, _) in checkpoint.indexes {
            if let Some(segment) = self.segments.iter_mut().find(|segment| segment.base == base) {
                segment.indexed_bytes = Some(size_bytes);
            }
        }
        self.flushed.snapshot_end = checkpoint.snapshot.end;
        self.flushed.unchecked_bytes = 0;
        self.flushed.checkpoint_ms = now_ms;
    }
}
