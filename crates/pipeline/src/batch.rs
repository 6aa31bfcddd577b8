//! A batch in the making: records of one partition, decoded as they arrive into one block a table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidegate_codec::Block;
use tidegate_config::{Resolved, Tombstones};
use tidegate_core::{
    Fault, OffsetRange, PartId, PlanFingerprint, Reason, ReasonCode, Record, Records, Reject, Stage,
    TopicPartition,
};
use tidegate_protocol::Course;
use tokio::time::Instant;

use crate::budget::{Budget, Held};
use crate::mailbox::Place;
use crate::port::{Rejected, Warehouse};
use crate::route;
use crate::settings::ConnectorSettings;
use crate::tables::{NoPlan, TablePlan, Tables};

/// The rows of one batch for one plan.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) plan: Arc<TablePlan>,
    pub(crate) block: Block,
    /// For each row of the block, the index of its record in the batch.
    pub(crate) rows: Vec<usize>,
    /// Fields of those records that no column takes.
    pub(crate) n_dropped: u64,
}

/// A closed batch: everything that the records of `range` became.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) range: OffsetRange,
    pub(crate) records: Records,
    pub(crate) parts: Vec<Part>,
    /// In offset order.
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) n_tombstones: usize,
    /// Records that a rewind reads again, and that have a row or a dead letter.
    pub(crate) n_there: usize,
    pub(crate) held: Held,
    /// Whether it was closed because it was full, not because its time was over; or formed again.
    pub(crate) full: bool,
}

impl Batch {
    /// One fingerprint for all plans of the batch, in the order of its parts.
    pub(crate) fn fingerprint(&self) -> PlanFingerprint {
        let parts = self.parts.iter().map(|part| part.plan.plan.fingerprint().0);
        // FNV-1a over the parts' fingerprints: stable between builds, unlike std's hasher.
        let hash = parts.flat_map(u64::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        PlanFingerprint(hash)
    }

    /// The offset of the record at `index`.
    pub(crate) fn offset(&self, index: usize) -> i64 {
        self.records.get(index).map_or(self.range.first(), |record| record.offset)
    }

    /// The index of the record at `offset`, if there is one.
    pub(crate) fn index(&self, offset: i64) -> Option<usize> {
        let (mut low, mut high) = (0, self.records.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.offset(middle) < offset { low = middle + 1 } else { high = middle }
        }
        self.records.get(low).filter(|record| record.offset == offset).map(|_| low)
    }

    /// The offsets of what was refused while rows were formed, in order.
    pub(crate) fn unfit(&self) -> Vec<i64> {
        self.rejected.iter().map(|rejected| self.offset(rejected.index)).collect()
    }

    /// The parts of which it has rows.
    pub(crate) fn part_ids(&self) -> Vec<PartId> {
        self.parts.iter().filter(|part| !part.rows.is_empty()).map(Part::id).collect()
    }

    /// Takes more rejects in.
    pub(crate) fn reject(&mut self, refused: Vec<Rejected>) {
        self.rejected.extend(refused);
        self.rejected.sort_by_key(|rejected| rejected.index);
    }

    /// The indexes of the part's rows that are to be sent now.
    pub(crate) fn wanted(&self, course: &Course, part: &Part) -> Vec<usize> {
        if course.wants_all() {
            return part.rows.clone();
        }
        let wanted = |index: &usize| course.wants(part.id(), self.offset(*index));
        part.rows.iter().copied().filter(wanted).collect()
    }

    /// The offsets of every record that belongs to the part, refused ones included.
    pub(crate) fn offsets_of(&self, part: &Part) -> BTreeSet<i64> {
        let its = |reject: &Reject| {
            reject.event.as_ref() == Some(&part.plan.event)
                && reject.table.as_ref() == Some(&part.plan.table.name)
        };
        let refused = self.rejected.iter().filter(|rejected| its(&rejected.reject));
        let indexes = part.rows.iter().copied().chain(refused.map(|rejected| rejected.index));
        indexes.map(|index| self.offset(index)).collect()
    }

    /// What the batch occupies, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.records.size_bytes() + self.parts.iter().map(|part| part.block.size_bytes()).sum::<usize>()
    }
}

/// Records that arrived and are not taken yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) records: Records,
    /// Given back to the budget when the last record has been taken.
    pub(crate) _held: Held,
    /// Given back to the mailbox with it.
    pub(crate) _place: Option<Place>,
}

/// A batch that still takes records.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    settings: Arc<ConnectorSettings>,
    first: i64,
    /// One past the last offset that is known to be dealt with.
    through: i64,
    /// The end of the batch that an intent asks to be formed again.
    replay_end: Option<i64>,
    opened_at: Option<Instant>,
    full: bool,
    records: Records,
    records_bytes: usize,
    parts: Vec<Part>,
    part_by_event: HashMap<String, usize>,
    /// The part of every record, once it is known, where no record decides about its table.
    only_part: Option<usize>,
    /// Parts without rows, whose memory is used before new memory is asked for.
    spare: Vec<Part>,
    rejected: Vec<Rejected>,
    n_tombstones: usize,
    held: Held,
    /// What records and columns may take together.
    size_bytes_max: usize,
}

impl OpenBatch {
    /// An empty batch that starts at offset `first`; with `replay_end`, exactly `first..replay_end` is formed.
    pub(crate) fn new(
        settings: &Arc<ConnectorSettings>,
        budget: &Budget,
        source: &TopicPartition,
        first: i64,
        replay_end: Option<i64>,
    ) -> Self {
        Self {
            first,
            through: first,
            replay_end,
            opened_at: None,
            full: false,
            records: Records::new(source.clone()),
            records_bytes: 0,
            parts: Vec::new(),
            part_by_event: HashMap::new(),
            only_part: None,
            spare: Vec::new(),
            rejected: Vec::new(),
            n_tombstones: 0,
            held: budget.hold(),
            size_bytes_max: budget.batch_bytes_max(),
            settings: Arc::clone(settings),
        }
    }

    /// Takes over the memory of a batch that was delivered: where batches follow each other, the system
    /// need not find and clear as much for each of them again.
    pub(crate) fn reuse(&mut self, delivered: Vec<Part>) {
        self.spare = delivered.into_iter().map(Part::emptied).collect();
    }

    /// When the batch is to be closed even if it is not full; `None` while it is empty or replays.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.replay_end {
            Some(_) => None,
            None => self.opened_at.map(|at| at + self.settings.flush.linger),
        }
    }

    /// Whether the batch takes no more records.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Where the next batch will start.
    pub(crate) const fn through(&self) -> i64 {
        self.through
    }

    /// Whether the batch has something that may go earlier, if others go.
    pub(crate) const fn may_go(&self) -> bool {
        self.replay_end.is_none() && self.opened_at.is_some() && self.through > self.first
    }

    /// Whether closing the batch now would be right. One that is not full had better not go before `not_before`.
    pub(crate) fn is_ripe(&self, now: Instant, not_before: Option<Instant>) -> bool {
        self.full
            || self.deadline().is_some_and(|deadline| deadline.max(not_before.unwrap_or(deadline)) <= now)
    }

    /// No offset before `position` will come any more. Says that a batch with no records at all is ripe.
    pub(crate) fn caught_up(&mut self, position: i64, now: Instant) {
        if position <= self.through {
            return;
        }
        match self.replay_end {
            Some(end) if position >= end => {
                self.through = end;
                self.full = true;
            }
            Some(_) => {}
            None => {
                self.through = position;
                self.opened_at.get_or_insert(now);
            }
        }
    }

    /// Takes records until the batch is full or `incoming` is empty. After a fault the record at hand has
    /// not been taken; call again when the world is well.
    pub(crate) async fn take<W: Warehouse>(
        &mut self,
        incoming: &mut Incoming,
        tables: &Tables<W>,
        now: Instant,
    ) -> Result<(), Fault> {
        let (first, mut taken, mut outcome) = (self.records.len(), 0, Ok(()));
        while let (false, Some(record)) = (self.full, incoming.records.get(taken)) {
            if let Some(end) = self.replay_end.filter(|end| record.offset >= *end) {
                self.through = end;
                self.full = true;
                break;
            }
            outcome = self.take_one(&record, (first, first + taken), &incoming.records, tables).await;
            if outcome.is_err() {
                break;
            }
            taken += 1;
            self.through = record.offset + 1;
            self.opened_at.get_or_insert(now);
            self.records_bytes += record.size_bytes();
            self.full = self.reached_a_limit(first + taken);
        }
        let rest = incoming.records.split_off(taken);
        self.records.append(std::mem::replace(&mut incoming.records, rest));
        let size_bytes = self.size_bytes();
        self.held.set(size_bytes);
        // What arrives at once is little beside a batch: the columns need not be weighed at each record.
        self.full |= taken > 0 && self.replay_end.is_none() && size_bytes >= self.size_bytes_max;
        outcome
    }

    /// Decodes the record that will be the one at `index`; those from `first` on are still in `incoming`.
    async fn take_one<W: Warehouse>(
        &mut self,
        record: &Record<'_>,
        (first, index): (usize, usize),
        incoming: &Records,
        tables: &Tables<W>,
    ) -> Result<(), Fault> {
        let source = incoming.source();
        let fate = match (record.value, self.settings.tombstones) {
            (None, Tombstones::Skip) => {
                self.n_tombstones += 1;
                Ok(())
            }
            (None, Tombstones::Reject) => Err(tombstone()),
            (Some(_), _) => {
                tables.prepare(record).await?;
                match self.part_of(source, record, tables).await {
                    Err(NoPlan::Fault(fault)) => return Err(fault),
                    Err(NoPlan::Reject(reject)) => Err(reject),
                    Ok(part) => {
                        match tables.evolve(record, &self.parts[part].plan).await {
                            Ok(None) | Err(NoPlan::Reject(_)) => {}
                            Ok(Some(plan)) => self.form_again(part, plan, first, incoming),
                            Err(NoPlan::Fault(fault)) => return Err(fault),
                        }
                        self.parts[part].append(source, record, index)
                    }
                }
            }
        };
        if let Err(reject) = fate {
            self.rejected.push(Rejected { index, reject: *reject });
        }
        Ok(())
    }

    /// The part that takes a record.
    async fn part_of<W: Warehouse>(
        &mut self,
        source: &TopicPartition,
        record: &Record<'_>,
        tables: &Tables<W>,
    ) -> Result<usize, NoPlan> {
        if let Some(part) = self.only_part {
            return Ok(part);
        }
        let resolved = route::resolve(&self.settings.route, source, record).map_err(NoPlan::Reject)?;
        let part = self.part_for(&resolved, record, tables).await?;
        if !route::from_content(&self.settings.route) {
            self.only_part = Some(part);
        }
        Ok(part)
    }

    /// Forms the rows of a part by another plan, whose table has more columns.
    fn form_again(&mut self, part: usize, plan: Arc<TablePlan>, first: usize, incoming: &Records) {
        let old = std::mem::replace(&mut self.parts[part], Part::new(plan));
        for index in old.rows {
            let record = match index.checked_sub(first) {
                Some(at) => incoming.get(at),
                None => self.records.get(index),
            };
            let record = record.expect("rows point at records that have been taken");
            if let Err(reject) = self.parts[part].append(incoming.source(), &record, index) {
                self.rejected.push(Rejected { index, reject: *reject });
            }
        }
        self.rejected.sort_by_key(|rejected| rejected.index);
    }

    async fn part_for<W: Warehouse>(
        &mut self,
        resolved: &Resolved,
        record: &Record<'_>,
        tables: &Tables<W>,
    ) -> Result<usize, NoPlan> {
        if let Some(part) = self.part_by_event.get(&resolved.event) {
            return Ok(*part);
        }
        let plan = tables.plan(resolved, record).await?;
        let spare = self.spare.iter().position(|part| Arc::ptr_eq(&part.plan, &plan));
        self.parts.push(spare.map_or_else(|| Part::new(plan), |at| self.spare.swap_remove(at)));
        self.part_by_event.insert(resolved.event.clone(), self.parts.len() - 1);
        Ok(self.parts.len() - 1)
    }

    fn reached_a_limit(&self, n_records: usize) -> bool {
        match self.replay_end {
            Some(end) => self.through >= end,
            None => {
                n_records >= self.settings.flush.rows_max
                    || self.records_bytes >= self.settings.flush.bytes_max
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.records.size_bytes() + self.parts.iter().map(|part| part.block.size_bytes()).sum::<usize>()
    }

    /// Closes the batch. The next one starts where it ends.
    pub(crate) fn close(self) -> Batch {
        let range = OffsetRange::new(self.first, self.through).expect("a batch only grows");
        Batch {
            range,
            records: self.records,
            parts: self.parts,
            rejected: self.rejected,
            n_tombstones: self.n_tombstones,
            n_there: 0,
            held: self.held,
            full: self.full,
        }
    }
}

impl Part {
    /// No rows yet.
    pub(crate) fn new(plan: Arc<TablePlan>) -> Self {
        let block = plan.plan.block();
        Self { plan, block, rows: Vec::new(), n_dropped: 0 }
    }

    /// No rows any more; the memory stays.
    fn emptied(mut self) -> Self {
        self.block.clear();
        self.rows.clear();
        self.n_dropped = 0;
        self
    }

    /// What its tokens and checkpoints call it.
    pub(crate) fn id(&self) -> PartId {
        self.plan.id()
    }

    /// Decodes, validates and appends one record; `index` is its place in the batch.
    pub(crate) fn append(
        &mut self,
        source: &TopicPartition,
        record: &Record<'_>,
        index: usize,
    ) -> Result<(), Box<Reject>> {
        match self.plan.plan.append(&mut self.block, source, record) {
            Ok(appended) => {
                self.n_dropped += u64::from(appended.dropped_fields);
                self.rows.push(index);
                Ok(())
            }
            Err(mut reject) => {
                reject.event = Some(self.plan.event.clone());
                reject.table = Some(self.plan.table.name.clone());
                Err(reject)
            }
        }
    }
}

fn tombstone() -> Box<Reject> {
    let reason = Reason::new(
        ReasonCode::Tombstone,
        "a value; `tombstones: skip` lets records without one pass",
        "a null value",
    );
    Box::new(Reject::new(Stage::Decode, reason))
}

/// How long a batch's records waited: since the oldest timestamp in it, at `now` (both since the epoch).
pub(crate) fn oldest_wait(records: &Records, now: Duration) -> Option<Duration> {
    let oldest =
        records.iter().filter_map(|record| record.timestamp).map(|timestamp| timestamp.millis).min()?;
    now.checked_sub(Duration::from_millis(u64::try_from(oldest).ok()?))
}
