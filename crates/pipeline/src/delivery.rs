//! The delivery protocol for one batch: state the intent, insert every block under its token, then
//! commit, together with the dead letters if there are any (design: delivery).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tidegate_codec::Block;
use tidegate_config::Delivery as Guarantee;
use tidegate_core::{
    Checkpoint, Fault, FaultKind, InsertToken, Reason, ReasonCode, Reject, Stage, TopicPartition,
};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::batch::{Batch, Part, oldest_wait};
use crate::dead_letter_table::dead_letter_block;
use crate::halt::{HaltGuard, Halted};
use crate::metrics::ConnectorMetrics;
use crate::port::{CheckpointLog, EncodedBlock, Epoch, InsertError, Rejected, Warehouse};
use crate::settings::ConnectorSettings;
use crate::status::Status;
use crate::tables::{NoPlan, TablePlan, Tables};

/// What every partition of a connector shares.
#[derive(Debug)]
pub(crate) struct Shared<L, W> {
    pub(crate) settings: Arc<ConnectorSettings>,
    pub(crate) log: Arc<L>,
    pub(crate) warehouse: Arc<W>,
    pub(crate) tables: Tables<W>,
    pub(crate) guard: Mutex<HaltGuard>,
    pub(crate) metrics: ConnectorMetrics,
    pub(crate) status: Status,
}

/// Why a batch was not delivered. Nothing of it is settled; whoever owns the partition next starts at
/// its intent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Undelivered {
    /// The partition belongs to another process.
    Fenced,
    /// The halt guard tripped.
    Halted(Box<Halted>),
}

/// A batch whose rows and dead letters are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// One past the batch's last offset.
    pub(crate) end: i64,
    /// Whether the checkpoint says so already; if not, the next intent says it too.
    pub(crate) committed: bool,
}

/// After so many answers that no table of codes knows, the block is suspected rather than the world.
const UNKNOWN_TRIES_MAX: u32 = 5;

/// Delivers one batch of a partition, however long it takes.
pub(crate) struct Delivery<'a, L, W> {
    pub(crate) shared: &'a Shared<L, W>,
    pub(crate) source: &'a TopicPartition,
    pub(crate) epoch: Epoch,
}

/// What became of one part's rows that the server would not take.
type Refusals = Vec<Rejected>;

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Runs the protocol.
    pub(crate) async fn deliver(&self, mut batch: Batch) -> Result<Delivered, Undelivered> {
        self.doubt_old_plans(&mut batch).await?;
        self.guard(&batch, &batch.rejected)?;
        let fingerprint = batch.fingerprint();
        let anything = !batch.parts.is_empty() || !batch.rejected.is_empty();
        if anything && self.shared.settings.guarantee == Guarantee::ExactlyOnce {
            self.commit(Checkpoint::intending(batch.range, fingerprint)).await?;
        }
        self.count_dropped(&mut batch);
        let refused = self.insert_parts(&mut batch).await?;
        if !refused.is_empty() {
            self.guard(&batch, &refused)?;
            batch.rejected.extend(refused);
            batch.rejected.sort_by_key(|rejected| rejected.index);
        }
        let end = batch.range.end();
        let committed = !batch.rejected.is_empty();
        if committed {
            self.insert_dead_letters(&batch).await?;
            self.commit_with_dead_letters(&batch, Checkpoint::settled(end)).await?;
        }
        self.count(&batch);
        Ok(Delivered { end, committed })
    }

    /// Before records are refused for what a table cannot hold, the table is looked at again: somebody may
    /// have altered it, and what it holds now decides.
    async fn doubt_old_plans(&self, batch: &mut Batch) -> Result<(), Undelivered> {
        for at in 0..batch.parts.len() {
            let stale = Arc::clone(&batch.parts[at].plan);
            let refused = |rejected: &Rejected| {
                rejected.reject.stage == Stage::Encode && rejected.reject.event.as_ref() == Some(&stale.event)
            };
            if !batch.rejected.iter().any(refused) {
                continue;
            }
            let Some(plan) = self.replan(&stale).await? else { continue };
            let mut rows = std::mem::take(&mut batch.parts[at].rows);
            rows.extend(
                batch.rejected.extract_if(.., |rejected| refused(rejected)).map(|rejected| rejected.index),
            );
            rows.sort_unstable();
            let (part, refused) = self.form(batch, plan, batch.parts[at].n, rows);
            batch.parts[at] = part;
            batch.rejected.extend(refused);
            batch.rejected.sort_by_key(|rejected| rejected.index);
        }
        Ok(())
    }

    /// Commits a checkpoint, trying until it is done or fenced.
    pub(crate) async fn commit(&self, checkpoint: Checkpoint) -> Result<(), Undelivered> {
        let mut backoff = self.backoff();
        loop {
            match self.shared.log.commit(self.epoch, self.source, checkpoint).await {
                Ok(()) => return Ok(()),
                Err(fault) => self.wait_out(&fault, &mut backoff, "commit checkpoint").await?,
            }
        }
    }

    async fn commit_with_dead_letters(
        &self,
        batch: &Batch,
        checkpoint: Checkpoint,
    ) -> Result<(), Undelivered> {
        let mut backoff = self.backoff();
        let context = &self.shared.settings.context;
        loop {
            let committed = self.shared.log.commit_with_dead_letters(
                self.epoch,
                checkpoint,
                &batch.records,
                &batch.rejected,
                context,
                batch.fingerprint(),
            );
            match committed.await {
                Ok(()) => return Ok(()),
                Err(fault) => self.wait_out(&fault, &mut backoff, "write dead letters").await?,
            }
        }
    }

    fn guard(&self, batch: &Batch, rejected: &[Rejected]) -> Result<(), Undelivered> {
        let bad: BTreeSet<usize> = rejected.iter().map(|rejected| rejected.index).collect();
        let mut guard = self.shared.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let tripped = guard.note((0..batch.records.len()).map(|index| bad.contains(&index)));
        let (Some((index, n_bad)), Some(policy)) = (tripped, guard.policy()) else { return Ok(()) };
        let example =
            rejected.iter().find(|rejected| rejected.index == index).expect("only a reject trips the guard");
        let offset = batch.records.get(index).map_or(batch.range.first(), |record| record.offset);
        let mut reasons = BTreeMap::new();
        for rejected in rejected {
            *reasons.entry(rejected.reject.reason().code).or_default() += 1;
        }
        Err(Undelivered::Halted(Box::new(Halted {
            policy,
            n_bad,
            reasons,
            example: Box::new(example.reject.clone()),
            source: self.source.clone(),
            offset,
        })))
    }

    async fn insert_parts(&self, batch: &mut Batch) -> Result<Refusals, Undelivered> {
        let held = batch.size_bytes();
        let inserts_max = self.shared.settings.inserts_max.max(1);
        let parts = std::mem::take(&mut batch.parts);
        let shared_batch = &*batch;
        let inserted = stream::iter(parts)
            .map(|part| self.insert_part(shared_batch, part))
            .buffer_unordered(inserts_max)
            .try_collect::<Vec<Refusals>>();
        let refused = inserted.await?;
        batch.held.set(held.min(batch.records.size_bytes()));
        Ok(refused.into_iter().flatten().collect())
    }

    /// Inserts one part whole or, where the server refuses what it contains, all of it but the poison rows.
    async fn insert_part(&self, batch: &Batch, mut part: Part) -> Result<Refusals, Undelivered> {
        let token = self.token(batch, &part.plan, part.n);
        let mut refused = Refusals::new();
        let mut backoff = self.backoff();
        loop {
            match self.insert_block(&part.plan, &part.block, token.as_ref()).await? {
                Inserted::Applied => return Ok(refused),
                Inserted::Refused(refusal) => match self.replan(&part.plan).await? {
                    Some(plan) => refused.extend(self.form_again(batch, &mut part, plan)),
                    None => {
                        let doubt = refusal.doubt.clone();
                        let poison = self.bisect(batch, &part, token.as_ref(), refusal).await?;
                        match doubt {
                            // Not one row was taken, for a reason that no table of codes knows: that
                            // is the world's fault, and nothing has been applied.
                            Some(fault) if poison.len() == part.rows.len() => {
                                self.wait_out(&fault, &mut backoff, "insert block").await?;
                            }
                            Some(_) | None => {
                                refused.extend(poison);
                                return Ok(refused);
                            }
                        }
                    }
                },
                Inserted::TableGone => {
                    if let Some(plan) = self.replan(&part.plan).await? {
                        refused.extend(self.form_again(batch, &mut part, plan));
                    }
                }
            }
        }
    }

    fn token(&self, batch: &Batch, plan: &TablePlan, n: usize) -> Option<InsertToken> {
        let settings = &self.shared.settings;
        let table = format!("{}.{}", plan.table.database, plan.table.name);
        let token = || InsertToken::new(&settings.context.group, self.source, batch.range, &table, n);
        (settings.guarantee == Guarantee::ExactlyOnce).then(token)
    }

    /// Sends one block until it is applied or refused.
    async fn insert_block(
        &self,
        plan: &TablePlan,
        block: &Block,
        token: Option<&InsertToken>,
    ) -> Result<Inserted, Undelivered> {
        if block.rows() == 0 {
            return Ok(Inserted::Applied);
        }
        let mut native = Vec::new();
        block.encode(&mut native);
        let native = Bytes::from(native);
        let encoded = EncodedBlock { native: &native, columns: block.columns(), rows: block.rows() };
        let mut backoff = self.backoff();
        loop {
            let started = Instant::now();
            match self.shared.warehouse.insert(&plan.table, encoded, token).await {
                Ok(()) => {
                    let seconds = started.elapsed().as_secs_f64();
                    self.shared.metrics.inserted(&plan.table.name, block.rows(), native.len(), seconds);
                    return Ok(Inserted::Applied);
                }
                Err(InsertError::Refused { code, message }) => {
                    return Ok(Inserted::Refused(Refusal { code, message, doubt: None }));
                }
                Err(InsertError::Fault(fault)) => {
                    let doubtful =
                        fault.kind == FaultKind::Unknown && backoff.attempts() >= UNKNOWN_TRIES_MAX;
                    if let (true, Some(code)) = (doubtful, fault.code) {
                        let message = fault.message.clone();
                        return Ok(Inserted::Refused(Refusal { code, message, doubt: Some(fault) }));
                    }
                    self.wait_out(&fault, &mut backoff, "insert block").await?;
                    if fault.kind == FaultKind::Missing {
                        return Ok(Inserted::TableGone);
                    }
                }
            }
        }
    }

    /// The plan for the table as it stands, if it is another than `stale`. Waits for a missing table.
    async fn replan(&self, stale: &TablePlan) -> Result<Option<Arc<TablePlan>>, Undelivered> {
        let mut backoff = self.backoff();
        loop {
            match self.shared.tables.plan_again(stale).await {
                Ok(plan) if plan.plan.fingerprint() == stale.plan.fingerprint() => return Ok(None),
                Ok(plan) => return Ok(Some(plan)),
                // The event had a plan, so its schema was found; if that is gone the table decides.
                Err(NoPlan::Reject(_)) => return Ok(None),
                Err(NoPlan::Fault(fault)) => self.wait_out(&fault, &mut backoff, "describe table").await?,
            }
        }
    }

    /// Decodes the part's records again by another plan. What the new plan refuses is a reject.
    fn form_again(&self, batch: &Batch, part: &mut Part, plan: Arc<TablePlan>) -> Refusals {
        let rows = std::mem::take(&mut part.rows);
        let (formed, refused) = self.form(batch, plan, part.n, rows);
        *part = formed;
        refused
    }

    fn form(
        &self,
        batch: &Batch,
        plan: Arc<TablePlan>,
        n: usize,
        rows: impl IntoIterator<Item = usize>,
    ) -> (Part, Refusals) {
        let mut part = Part::new(plan, n);
        let mut refused = Refusals::new();
        for index in rows {
            let record = batch.records.get(index).expect("rows point into their batch");
            if let Err(reject) = part.append(self.source, &record, index) {
                refused.push(Rejected { index, reject: *reject });
            }
        }
        (part, refused)
    }

    /// Halves a refused block until the poison rows stand alone; the rest is inserted under tokens that
    /// follow from the row numbers, so that a replay sends the same ones.
    ///
    /// What a replay cannot know is that the server changed its mind: if the process dies in here and
    /// the table's rule is relaxed before the next one replays, the whole block is accepted beside its
    /// halves. Nothing is lost then, but rows are doubled.
    async fn bisect(
        &self,
        batch: &Batch,
        part: &Part,
        token: Option<&InsertToken>,
        whole: Refusal,
    ) -> Result<Refusals, Undelivered> {
        let mut refused = Refusals::new();
        let mut plan = Arc::clone(&part.plan);
        let mut ranges = vec![(0..part.rows.len(), Some(whole))];
        while let Some((range, known)) = ranges.pop() {
            let answer = match known {
                Some(refusal) => Some(refusal),
                None => {
                    let token = token.map(|token| token.part(range.start, range.end));
                    let rows = &part.rows[range.clone()];
                    let (answer, unfit) =
                        self.insert_rows(batch, (&mut plan, part.n), rows, token.as_ref()).await?;
                    refused.extend(unfit);
                    answer
                }
            };
            match answer {
                None => {}
                Some(refusal) if range.len() == 1 => {
                    refused.push(Rejected {
                        index: part.rows[range.start],
                        reject: row_refused(part, &refusal),
                    });
                }
                Some(_) => {
                    let middle = range.start + range.len() / 2;
                    ranges.push((middle..range.end, None));
                    ranges.push((range.start..middle, None));
                }
            }
        }
        Ok(refused)
    }

    /// Inserts some rows of a refused block, by the table's plan as it is now. Gives the refusal, if they
    /// are refused too, or else what a new plan would not take.
    async fn insert_rows(
        &self,
        batch: &Batch,
        (plan, n): (&mut Arc<TablePlan>, usize),
        rows: &[usize],
        token: Option<&InsertToken>,
    ) -> Result<(Option<Refusal>, Refusals), Undelivered> {
        loop {
            let (piece, unfit) = self.form(batch, Arc::clone(plan), n, rows.iter().copied());
            match self.insert_block(plan, &piece.block, token).await? {
                Inserted::Applied => return Ok((None, unfit)),
                Inserted::Refused(refusal) => return Ok((Some(refusal), Refusals::new())),
                Inserted::TableGone => {
                    if let Some(changed) = self.replan(plan).await? {
                        *plan = changed;
                    }
                }
            }
        }
    }

    async fn insert_dead_letters(&self, batch: &Batch) -> Result<(), Undelivered> {
        let settings = &self.shared.settings;
        let Some(table) = &settings.dead_letter_table else { return Ok(()) };
        let block = dead_letter_block(settings, self.source, batch, table);
        let token = InsertToken::new(&settings.context.group, self.source, batch.range, table, 0);
        let mut backoff = self.backoff();
        loop {
            match self.shared.warehouse.insert(&block.table, block.encoded(), Some(&token)).await {
                Ok(()) => return Ok(()),
                Err(InsertError::Fault(fault)) => {
                    self.wait_out(&fault, &mut backoff, "insert dead letters").await?
                }
                Err(InsertError::Refused { code, message }) => {
                    let message = format!("table of dead letters `{table}` refuses its rows: {message}");
                    let fault = Fault { kind: FaultKind::Missing, code: Some(code), message };
                    self.wait_out(&fault, &mut backoff, "insert dead letters").await?;
                }
            }
        }
    }

    /// Shows the fault, then waits; a fenced partition does not wait.
    async fn wait_out(
        &self,
        fault: &Fault,
        backoff: &mut Backoff,
        doing: &'static str,
    ) -> Result<(), Undelivered> {
        if fault.kind == FaultKind::Fenced {
            return Err(Undelivered::Fenced);
        }
        self.shared.metrics.retried(fault.kind);
        self.shared.status.waiting(self.source, fault);
        let wait = backoff.next_wait(fastrand::f64());
        // Once, and then each time that the number of attempts doubles: a long outage is not a long log.
        if backoff.attempts().is_power_of_two() {
            tracing::warn!(error = %fault, partition = %self.source, attempts = backoff.attempts(), "{doing}: waiting");
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn backoff(&self) -> Backoff {
        let (base, max) = self.shared.settings.retry_wait;
        Backoff::new(base, max)
    }

    /// Fields that no column takes are counted before the blocks are sent and gone.
    fn count_dropped(&self, batch: &mut Batch) {
        for part in &mut batch.parts {
            if part.n_dropped > 0 {
                let table = &part.plan.table.name;
                self.shared.metrics.dropped_fields(table, part.n_dropped);
                self.shared.status.dropped(table, part.block.take_dropped());
            }
        }
    }

    fn count(&self, batch: &Batch) {
        let metrics = &self.shared.metrics;
        metrics.settled(self.source, batch.records.len());
        for rejected in &batch.rejected {
            metrics.rejected(rejected.reject.stage, rejected.reject.reason().code);
        }
        if batch.n_tombstones > 0 {
            metrics.dropped_records("tombstones", batch.n_tombstones);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if let Some(wait) = oldest_wait(&batch.records, now) {
            metrics.end_to_end(wait.as_secs_f64());
        }
    }
}

/// What came of sending one block.
enum Inserted {
    Applied,
    Refused(Refusal),
    TableGone,
}

/// ClickHouse's word against what a block contains.
struct Refusal {
    code: i32,
    message: String,
    /// The fault, if only its repetition made it count against the block.
    doubt: Option<Fault>,
}

fn row_refused(part: &Part, refusal: &Refusal) -> Reject {
    let mut reason = Reason::new(ReasonCode::RowRefused, "a row that ClickHouse accepts", &refusal.message);
    reason.rule = Some(refusal.code.to_string());
    let mut reject = Reject::new(Stage::Insert, reason);
    reject.event = Some(part.plan.event.clone());
    reject.table = Some(part.plan.table.name.clone());
    reject
}
