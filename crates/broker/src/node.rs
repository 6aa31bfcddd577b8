//! What all connections share: the state of the one node.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::ResponseError;
use tokio::sync::watch;

use crate::budget::Budget;
use crate::config::TopicSettings;
use crate::coordinator::Coordinator;
use crate::options::{BrokerOptions, Fsync};
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::rates::ClientRates;
use crate::sync::lock;
use crate::topics::Topics;
use crate::transactions::Transactions;

/// The id that the node has in its cluster of one.
pub(crate) const NODE_ID: i32 = 1;

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("another process uses it")]
    InUse,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) options: BrokerOptions,
    /// Bytes of requests that are being read or answered.
    pub(crate) requests: Budget,
    /// Bytes of records in answers that are being written.
    pub(crate) answers: Budget,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Coordinator>,
    pub(crate) producer_ids: Arc<ProducerIds>,
    pub(crate) rates: ClientRates,
    pub(crate) transactions: Transactions,
    /// True from when the broker is told to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Held for as long as the directory is used.
    _lock: File,
}

fn lock_directory(directory: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(directory)?;
    let file = File::create(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl Node {
    /// Opens the data directory and repairs what a crash left. Blocks while logs are scanned.
    pub(crate) fn open(options: BrokerOptions, stopping: watch::Receiver<bool>) -> Result<Self, OpenError> {
        let directory: PathBuf = options.data_dir.clone();
        let lock_file = lock_directory(&directory)?;
        let topics = Arc::new(Topics::open(&options)?);
        let all = topics.all();
        let partitions = all.iter().flat_map(|topic| topic.partitions());
        let seen = partitions.filter_map(|partition| lock(&partition.log).producer_id_max()).max();
        let producer_ids = Arc::new(ProducerIds::open(&directory, seen)?);
        let groups = Arc::new(Coordinator::open(&directory, options.fsync, &options.limits)?);
        let transactions = Transactions::open(
            Arc::clone(&topics),
            Arc::clone(&groups),
            Arc::clone(&producer_ids),
            &options,
        )?;
        let rates = ClientRates::open(&directory, options.client_rates)?;
        let limits = &options.limits;
        let requests = Budget::new(limits.requests_bytes_max.max(limits.request_bytes_max));
        let answers = Budget::new(limits.answers_bytes_max.max(limits.fetch_bytes_max));
        Ok(Self {
            options,
            requests,
            answers,
            topics,
            groups,
            producer_ids,
            rates,
            transactions,
            stopping,
            _lock: lock_file,
        })
    }

    /// The code of an answer.
    pub(crate) fn code<T>(result: &Result<T, ResponseError>) -> i16 {
        result.as_ref().err().map_or(0, ResponseError::code)
    }

    /// Expires transactions. Groups are cheap enough to be advanced by the caller's timer directly.
    pub(crate) fn expire(&self) {
        self.transactions.expire(Instant::now());
    }

    /// Retention, flushes that are due, compaction, offsets that nobody uses, journals. Blocks for as long as the files take.
    pub(crate) fn clean(&self) {
        self.in_every_partition("a partition was not cleaned", |partition, settings| {
            partition.clean(settings)
        });
        let unchanging = self.topics.hold();
        let known = |topic: &str| self.topics.get(topic).is_some();
        if let Err(error) = self.groups.expire(self.options.offsets_retention, known) {
            tracing::warn!(%error, "offsets that nobody uses were not removed");
        }
        drop(unchanging);
        self.flush_journals(Instant::now());
        for tidied in [self.groups.tidy(), self.transactions.tidy()] {
            if let Err(error) = tidied {
                tracing::warn!(%error, "a journal was not rewritten");
            }
        }
    }

    fn flush_journals(&self, now: Instant) {
        for flushed in [self.groups.flush(now), self.transactions.flush(now)] {
            if let Err(error) = flushed {
                tracing::error!(%error, "a journal was not flushed");
            }
        }
    }

    /// Has every log on the disk in a state that the next start need not read. To be done when nobody
    /// appends any more; if it is not, the start takes longer.
    pub(crate) fn close(&self) {
        self.in_every_partition("a partition was not closed in order", |partition, _| partition.close());
        // Whatever the interval, nothing waits for the next one.
        if let Fsync::Every(interval) = self.options.fsync {
            self.flush_journals(Instant::now() + interval);
        }
    }

    fn in_every_partition(
        &self,
        failed: &'static str,
        act: impl Fn(&Partition, &TopicSettings) -> io::Result<()>,
    ) {
        for topic in self.topics.all() {
            let settings = topic.settings();
            for (index, partition) in topic.partitions().iter().enumerate() {
                if let Err(error) = act(partition, &settings) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, topic = topic.name, index, "{failed}");
                }
            }
        }
    }
}
