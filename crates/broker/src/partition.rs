//! One partition: its log, who waits for it to grow, and who sees to it that it reaches the disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use crate::config::TopicSettings;
use crate::log::{self, Log, Reading};
use crate::quota::Quota;
use crate::sync::{lock, now_ms};

/// See the module.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: Mutex<Log>,
    /// Held while files are flushed: who waits for it finds its records flushed along with the others'.
    flushing: Arc<tokio::sync::Mutex<()>>,
    waiting: Mutex<Vec<Weak<Notify>>>,
}

impl Partition {
    pub(crate) fn open(directory: &Path, reading: Reading, quota: &Arc<Quota>) -> io::Result<Arc<Self>> {
        let log = Mutex::new(Log::open(directory, reading, quota, now_ms())?);
        Ok(Arc::new(Self { log, flushing: Arc::default(), waiting: Mutex::default() }))
    }

    /// Has `reader` notified at the next growth. To be called before the log is looked at: what is
    /// appended in between then wakes the reader.
    pub(crate) fn watch(&self, reader: &Arc<Notify>) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|waiting| waiting.strong_count() > 0 && waiting.as_ptr() != Arc::as_ptr(reader));
        waiting.push(Arc::downgrade(reader));
    }

    /// Wakes those who wait, after the log has grown or its stable end has moved.
    pub(crate) fn grown(&self) {
        for reader in lock(&self.waiting).drain(..).filter_map(|waiting| waiting.upgrade()) {
            reader.notify_one();
        }
    }

    /// Returns once everything below `upto` is on the disk. One flush serves all who wait for it.
    pub(crate) async fn flush(self: &Arc<Self>, upto: i64) -> io::Result<()> {
        let turn = Arc::clone(&self.flushing).lock_owned().await;
        if lock(&self.log).flushed(upto) {
            return Ok(());
        }
        let partition = Arc::clone(self);
        // The turn goes along: the flush is not over when nobody waits for it any more.
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            partition.flush_now()
        });
        task.await.map_err(io::Error::other)?
    }

    /// As [`Self::flush`], for threads that may block.
    pub(crate) fn flush_blocking(&self, upto: i64) -> io::Result<()> {
        let _turn = self.flushing.blocking_lock();
        if lock(&self.log).flushed(upto) { Ok(()) } else { self.flush_now() }
    }

    fn flush_now(&self) -> io::Result<()> {
        let flush = lock(&self.log).begin_flush()?;
        let outcome = flush.run();
        let ended = lock(&self.log).end_flush(&flush, outcome);
        self.grown();
        ended
    }

    /// Retention, what is due to be flushed, compaction. Blocks for as long as the files take.
    pub(crate) fn clean(&self, settings: &TopicSettings) -> io::Result<()> {
        let turn = self.flushing.blocking_lock();
        let now_ms = now_ms();
        let cleaning = &settings.cleaning;
        let mut log = lock(&self.log);
        log.reopen(now_ms)?;
        log.retain(cleaning, &settings.append, now_ms)?;
        let flush_due = log
            .unflushed()
            .1
            .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= settings.flush.interval_ms);
        let checkpoint_due = log.checkpoint_due(now_ms);
        drop(log);
        if flush_due {
            self.flush_now()?;
        }
        // Compaction rewrites only what a checkpoint knows to be on the disk.
        let compact = cleaning.compact && log::compaction_due(&self.log, cleaning, now_ms);
        if checkpoint_due || compact {
            self.checkpoint_now(now_ms)?;
        }
        if compact {
            log::compact(&self.log, cleaning, now_ms)?;
            self.checkpoint_now(now_ms)?;
        }
        drop(turn);
        Ok(())
    }

    /// Has everything on the disk, so that nothing need be read when the log is opened.
    pub(crate) fn close(&self) -> io::Result<()> {
        let _turn = self.flushing.blocking_lock();
        if lock(&self.log).unchecked() { self.checkpoint_now(now_ms()) } else { Ok(()) }
    }

    fn checkpoint_now(&self, now_ms: i64) -> io::Result<()> {
        let checkpoint = lock(&self.log).begin_checkpoint()?;
        let outcome = checkpoint.flush().run();
        let flushed = lock(&self.log).end_flush(checkpoint.flush(), outcome);
        self.grown();
        flushed?;
        checkpoint.store()?;
        lock(&self.log).end_checkpoint(checkpoint, now_ms);
        Ok(())
    }
}
