//! The transaction coordinator.
//!
//! Invariant: a transaction's fate is decided by one line in the journal. Markers and offsets follow from
//! it, and are written again after a crash; a transaction without that line is aborted.
//!
//! Locks are taken in this order: one transaction, then a group or a partition's log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::coordinator::Coordinator;
use crate::group::Claim;
use crate::log::batch::Outcome;
use crate::offsets::{Committed, Place};
use crate::options::BrokerOptions;
use crate::producer_ids::ProducerIds;
use crate::store::Journal;
use crate::sync::{lock, now_ms};
use crate::topics::Topics;

/// Kafka's `transaction.max.timeout.ms`.
const TIMEOUT_MAX: Duration = Duration::from_mins(15);
/// From this size on the journal is rewritten once most of it is superseded.
const JOURNAL_BYTES_MIN: u64 = 4 << 20;

/// The offsets that a transaction commits, by group.
type GroupOffsets = BTreeMap<String, Vec<(Place, Committed)>>;

/// Where a transactional id stands, as the journal keeps it; its last line counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Standing {
    #[serde(rename = "idle")]
    Idle,
    #[serde(rename = "open")]
    Open,
    /// Decided: what is left of the commit is to be done, however often it is begun.
    #[serde(rename = "commit")]
    Commit { partitions: BTreeSet<Place>, offsets: GroupOffsets },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    id: String,
    producer_id: i64,
    epoch: i16,
    timeout_ms: u64,
    standing: Standing,
}

/// An open transaction.
#[derive(Debug)]
struct Open {
    since: Instant,
    partitions: BTreeSet<Place>,
    groups: BTreeSet<String>,
}

/// One transactional id.
#[derive(Debug)]
struct Transactional {
    id: String,
    producer_id: i64,
    epoch: i16,
    timeout: Duration,
    open: Option<Open>,
    /// Decided to be committed, and not done with.
    committing: Option<(BTreeSet<Place>, GroupOffsets)>,
    /// How the last transaction ended, for a repeated request to end it.
    ended: Option<Outcome>,
}

impl Transactional {
    fn entry(&self, standing: Standing) -> Entry {
        Entry {
            id: self.id.clone(),
            producer_id: self.producer_id,
            epoch: self.epoch,
            timeout_ms: self.timeout.as_millis() as u64,
            standing,
        }
    }

    fn overdue(&self, now: Instant) -> bool {
        let since = self.open.as_ref().map(|open| open.since);
        since.is_some_and(|since| now.saturating_duration_since(since) > self.timeout)
    }

    fn standing(&self) -> Standing {
        match (&self.committing, &self.open) {
            (Some((partitions, offsets)), _) => {
                Standing::Commit { partitions: partitions.clone(), offsets: offsets.clone() }
            }
            (None, Some(_)) => Standing::Open,
            (None, None) => Standing::Idle,
        }
    }

    fn check(&self, producer: Producer) -> Result<(), ResponseError> {
        if self.producer_id != producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if self.epoch != producer.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        match self.committing {
            Some(_) => Err(ResponseError::ConcurrentTransactions),
            None => Ok(()),
        }
    }
}

/// A producer as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

#[derive(Debug)]
struct Record {
    journal: Journal,
    rewritten_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    by_id: Mutex<HashMap<String, Arc<Mutex<Transactional>>>>,
    record: Mutex<Record>,
    topics: Arc<Topics>,
    groups: Arc<Coordinator>,
    producer_ids: Arc<ProducerIds>,
    ids_max: usize,
}

impl Transactions {
    /// Finishes the commits that were decided, and aborts every other open transaction.
    pub(crate) fn open(
        topics: Arc<Topics>,
        groups: Arc<Coordinator>,
        producer_ids: Arc<ProducerIds>,
        options: &BrokerOptions,
    ) -> io::Result<Self> {
        let path = options.data_dir.join("transactions.log");
        let (journal, entries) = Journal::open(&path, options.fsync)?;
        let mut latest: HashMap<String, Entry> = HashMap::new();
        for entry in entries {
            let entry: Entry = serde_json::from_str(&entry).map_err(io::Error::from)?;
            latest.insert(entry.id.clone(), entry);
        }
        let transactions = Self {
            by_id: Mutex::default(),
            record: Mutex::new(Record { journal, rewritten_bytes: 0 }),
            topics,
            groups,
            producer_ids,
            ids_max: options.limits.transactional_ids_max,
        };
        for entry in latest.into_values() {
            transactions.recover(entry).map_err(|error| io::Error::other(error.to_string()))?;
        }
        transactions.abort_left_open()?;
        transactions.rewrite()?;
        Ok(transactions)
    }

    fn recover(&self, entry: Entry) -> Result<(), ResponseError> {
        let mut transactional = Transactional {
            id: entry.id.clone(),
            producer_id: entry.producer_id,
            epoch: entry.epoch,
            timeout: Duration::from_millis(entry.timeout_ms),
            open: None,
            committing: None,
            ended: None,
        };
        match entry.standing {
            Standing::Idle => {}
            // Its producer may still live and go on with the rest of the transaction: it is fenced.
            Standing::Open => transactional.epoch = transactional.epoch.saturating_add(1),
            Standing::Commit { partitions, offsets } => {
                transactional.committing = Some((partitions, offsets));
                self.finish_commit(&mut transactional)?;
            }
        }
        lock(&self.by_id).insert(entry.id, Arc::new(Mutex::new(transactional)));
        Ok(())
    }

    fn abort_left_open(&self) -> io::Result<()> {
        let by_id = lock(&self.by_id);
        let epochs: HashMap<i64, i16> = by_id
            .values()
            .map(|transactional| lock(transactional))
            .map(|transactional| (transactional.producer_id, transactional.epoch))
            .collect();
        for topic in self.topics.all() {
            let settings = topic.settings();
            for partition in topic.partitions() {
                let mut log = lock(&partition.log);
                for (id, epoch) in log.open_transactions() {
                    let epoch = epochs.get(&id).copied().unwrap_or(epoch).max(epoch);
                    log.end_transaction((id, epoch), Outcome::Abort, &settings.append, now_ms())?;
                }
                let end = log.next();
                drop(log);
                if settings.flush.before_answer {
                    partition.flush_blocking(end)?;
                }
            }
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Result<Arc<Mutex<Transactional>>, ResponseError> {
        lock(&self.by_id).get(id).cloned().ok_or(ResponseError::InvalidProducerIdMapping)
    }

    fn find_or_create(&self, id: &str) -> Result<Arc<Mutex<Transactional>>, ResponseError> {
        let mut by_id = lock(&self.by_id);
        if let Some(found) = by_id.get(id) {
            return Ok(Arc::clone(found));
        }
        if by_id.len() >= self.ids_max {
            return Err(ResponseError::PolicyViolation);
        }
        let transactional = Arc::new(Mutex::new(Transactional {
            id: id.to_owned(),
            producer_id: self.producer_ids.next()?,
            epoch: -1,
            timeout: Duration::ZERO,
            open: None,
            committing: None,
            ended: None,
        }));
        by_id.insert(id.to_owned(), Arc::clone(&transactional));
        Ok(transactional)
    }

    /// A producer begins to use a transactional id: everyone who used it before is fenced, and what they
    /// left open is aborted. `known` is what the producer held before, if it held any.
    pub(crate) fn initialise(
        &self,
        id: &str,
        timeout: Duration,
        known: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let transactional = self.find_or_create(id)?;
        let mut transactional = lock(&transactional);
        let current = Producer { id: transactional.producer_id, epoch: transactional.epoch };
        if known.is_some_and(|known| known != current) {
            return Err(ResponseError::ProducerFenced);
        }
        self.finish_commit(&mut transactional)?;
        transactional.epoch = transactional.epoch.saturating_add(1);
        self.abort(&mut transactional)?;
        if transactional.epoch >= i16::MAX - 1 {
            transactional.producer_id = self.producer_ids.next()?;
            transactional.epoch = 0;
        }
        transactional.timeout = timeout;
        transactional.ended = None;
        self.write(&transactional.entry(Standing::Idle))?;
        Ok(Producer { id: transactional.producer_id, epoch: transactional.epoch })
    }

    fn begin<'a>(
        &self,
        transactional: &'a mut Transactional,
        now: Instant,
    ) -> Result<&'a mut Open, ResponseError> {
        if transactional.open.is_none() {
            self.write(&transactional.entry(Standing::Open))?;
        }
        Ok(transactional.open.get_or_insert_with(|| Open {
            since: now,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        }))
    }

    /// Adds partitions to the producer's transaction, which begins with the first.
    pub(crate) fn add_partitions(
        &self,
        id: &str,
        producer: Producer,
        places: Vec<Place>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let transactional = self.find(id)?;
        let mut transactional = lock(&transactional);
        transactional.check(producer)?;
        let open = self.begin(&mut transactional, now)?;
        for place in places {
            if let Some(partition) = self.topics.partition(&place.0, place.1) {
                lock(&partition.log).open_transaction(producer.id, producer.epoch, now_ms());
                open.partitions.insert(place);
            }
        }
        Ok(())
    }

    /// Adds a group whose offsets the transaction will commit.
    pub(crate) fn add_group(
        &self,
        id: &str,
        producer: Producer,
        group: &str,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let transactional = self.find(id)?;
        let mut transactional = lock(&transactional);
        transactional.check(producer)?;
        self.begin(&mut transactional, now)?.groups.insert(group.to_owned());
        Ok(())
    }

    /// Takes in offsets that are committed if the transaction is.
    pub(crate) fn hold_offsets(
        &self,
        (id, producer): (&str, Producer),
        (group, claim): (&str, &Claim<'_>),
        offsets: Vec<(Place, Committed)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let transactional = self.find(id)?;
        let transactional = lock(&transactional);
        transactional.check(producer)?;
        match &transactional.open {
            Some(open) if open.groups.contains(group) => {
                self.groups.hold((group, producer.id), claim, offsets, now)
            }
            Some(_) | None => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Ends the producer's transaction. The same request may be repeated.
    pub(crate) fn end(&self, id: &str, producer: Producer, outcome: Outcome) -> Result<(), ResponseError> {
        let transactional = self.find(id)?;
        let mut transactional = lock(&transactional);
        if (transactional.producer_id, transactional.epoch) == (producer.id, producer.epoch) {
            self.finish_commit(&mut transactional)?;
        }
        transactional.check(producer)?;
        if transactional.open.is_none() {
            // Nothing was added, or the answer to the first request was lost.
            return match transactional.ended {
                Some(ended) if ended != outcome => Err(ResponseError::InvalidTxnState),
                Some(_) | None => Ok(()),
            };
        }
        match outcome {
            Outcome::Abort => self.abort(&mut transactional),
            Outcome::Commit => self.commit(&mut transactional),
        }
    }

    fn commit(&self, transactional: &mut Transactional) -> Result<(), ResponseError> {
        let Some(open) = &transactional.open else { return Ok(()) };
        let held = |group: &String| (group.clone(), self.groups.held(group, transactional.producer_id));
        let offsets: GroupOffsets = open.groups.iter().map(held).collect();
        let partitions = open.partitions.clone();
        let decided = Standing::Commit { partitions: partitions.clone(), offsets: offsets.clone() };
        self.write(&transactional.entry(decided))?;
        transactional.open = None;
        transactional.committing = Some((partitions, offsets));
        self.finish_commit(transactional)
    }

    /// Does what a decided commit has left to do. After an error it may be called again.
    fn finish_commit(&self, transactional: &mut Transactional) -> Result<(), ResponseError> {
        let Some((partitions, offsets)) = transactional.committing.clone() else { return Ok(()) };
        self.mark(transactional, &partitions, Outcome::Commit)?;
        for (group, offsets) in offsets {
            self.groups.commit_held(&group, transactional.producer_id, offsets)?;
        }
        self.write(&transactional.entry(Standing::Idle))?;
        transactional.committing = None;
        transactional.ended = Some(Outcome::Commit);
        Ok(())
    }

    /// Aborts what is open. After an error it may be called again.
    fn abort(&self, transactional: &mut Transactional) -> Result<(), ResponseError> {
        let Some(open) = &transactional.open else { return Ok(()) };
        self.mark(transactional, &open.partitions, Outcome::Abort)?;
        for group in &open.groups {
            self.groups.release(group, transactional.producer_id);
        }
        self.write(&transactional.entry(Standing::Idle))?;
        transactional.open = None;
        transactional.ended = Some(Outcome::Abort);
        Ok(())
    }

    fn mark(
        &self,
        transactional: &Transactional,
        places: &BTreeSet<Place>,
        outcome: Outcome,
    ) -> Result<(), ResponseError> {
        let producer = (transactional.producer_id, transactional.epoch);
        for (topic, index) in places {
            let Some(topic) = self.topics.get(topic) else { continue };
            let Some(partition) = topic.partition(*index) else { continue };
            let settings = topic.settings();
            let mut log = lock(&partition.log);
            log.end_transaction(producer, outcome, &settings.append, now_ms()).map_err(storage_error)?;
            let end = log.next();
            drop(log);
            if settings.flush.before_answer {
                partition.flush_blocking(end).map_err(storage_error)?;
            }
            partition.grown();
        }
        Ok(())
    }

    /// Whether [`Self::expire`] has something to do.
    pub(crate) fn due(&self, now: Instant) -> bool {
        lock(&self.by_id).values().any(|transactional| match transactional.try_lock() {
            Ok(transactional) => transactional.committing.is_some() || transactional.overdue(now),
            // Whoever holds it is at work on it.
            Err(_) => false,
        })
    }

    /// Aborts transactions that are open for too long, and fences their producers; goes on with commits
    /// that could not be finished.
    pub(crate) fn expire(&self, now: Instant) {
        let all: Vec<Arc<Mutex<Transactional>>> = lock(&self.by_id).values().cloned().collect();
        for transactional in all {
            let mut transactional = lock(&transactional);
            let mut result = self.finish_commit(&mut transactional);
            if transactional.overdue(now) {
                transactional.epoch = transactional.epoch.saturating_add(1);
                result = self.abort(&mut transactional);
            }
            if let Err(error) = result {
                tracing::warn!(%error, id = transactional.id, "a transaction was not ended");
            }
        }
    }

    fn write(&self, entry: &Entry) -> Result<(), ResponseError> {
        let line = serde_json::to_string(entry).map_err(|_| ResponseError::UnknownServerError)?;
        lock(&self.record).journal.append(&line).map_err(storage_error)
    }

    /// Has on the disk what the journal is to have there by now.
    pub(crate) fn flush(&self, now: Instant) -> io::Result<()> {
        let due = lock(&self.record).journal.begin_flush(now)?;
        match due.map(|file| file.sync_data()) {
            Some(Err(error)) => {
                tracing::error!(%error, "transactions were not flushed; they are written again");
                self.rewrite()
            }
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Rewrites the journal if most of it is superseded.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let record = lock(&self.record);
        let size_bytes = record.journal.size_bytes();
        let due = size_bytes > JOURNAL_BYTES_MIN && size_bytes > 4 * record.rewritten_bytes;
        drop(record);
        if due { self.rewrite() } else { Ok(()) }
    }

    /// Rewrites the journal with one line for each id. All ids are locked meanwhile: a line that is
    /// written between would be lost.
    fn rewrite(&self) -> io::Result<()> {
        let by_id = lock(&self.by_id);
        let all: Vec<_> = by_id.values().map(|transactional| lock(transactional)).collect();
        let entries: Result<Vec<String>, serde_json::Error> = all
            .iter()
            .map(|transactional| serde_json::to_string(&transactional.entry(transactional.standing())))
            .collect();
        let mut record = lock(&self.record);
        record.journal.rewrite(&entries.map_err(io::Error::from)?)?;
        record.rewritten_bytes = record.journal.size_bytes();
        Ok(())
    }
}

fn storage_error(error: io::Error) -> ResponseError {
    tracing::error!(%error, "a transaction's state was not written");
    ResponseError::KafkaStorageError
}
