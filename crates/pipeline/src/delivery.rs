//! Delivers one batch: does what the protocol's [`Course`] decides, and tells it what came of it (design:
//! delivery).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use tidegate_config::Delivery as Guarantee;
use tidegate_core::{
    Checkpoint, Fault, FaultKind, InsertToken, PartId, Reason, ReasonCode, Reject, Stage, TopicPartition,
};
use tidegate_protocol::{Answer, Course, Effect};
use tokio::time::Instant;

use crate::attempt::{Attempt, Outcome};
use crate::backoff::Backoff;
use crate::batch::{Batch, Part, oldest_wait};
use crate::dead_letter_table::dead_letter_block;
use crate::halt::{HaltGuard, Halted};
use crate::joining::Joining;
use crate::metrics::ConnectorMetrics;
use crate::port::{CheckpointLog, Epoch, InsertError, Rejected, Warehouse};
use crate::rewound::Rewound;
use crate::settings::ConnectorSettings;
use crate::status::Status;
use crate::tables::{TablePlan, Tables};

/// What every partition of a connector shares.
#[derive(Debug)]
pub(crate) struct Shared<L, W> {
    pub(crate) settings: Arc<ConnectorSettings>,
    pub(crate) log: Arc<L>,
    pub(crate) warehouse: Arc<W>,
    pub(crate) tables: Tables<W>,
    pub(crate) guard: Mutex<HaltGuard>,
    pub(crate) joining: Joining,
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
#[derive(Debug)]
pub(crate) struct Delivered {
    /// One past the batch's last offset.
    pub(crate) end: i64,
    /// Whether the checkpoint says so already; if not, the next intent says it too.
    pub(crate) committed: bool,
    /// The batch's parts, for the memory that they have.
    pub(crate) parts: Vec<Part>,
}

/// How long after a commit a process counts on owning the partition still. Before it sends anything
/// later than that it commits its intent again, which fails if it does not.
pub(crate) const OWNERSHIP_MAX: Duration = Duration::from_secs(5);

/// Delivers one batch of a partition, however long it takes.
pub(crate) struct Delivery<'a, L, W> {
    pub(crate) shared: &'a Shared<L, W>,
    pub(crate) source: &'a TopicPartition,
    pub(crate) epoch: Epoch,
    /// The reset of the offsets after which the partition is read.
    pub(crate) rewound: Option<&'a Rewound>,
}

/// A batch at work.
struct Work {
    batch: Batch,
    /// What the parts of the piece at hand were answered.
    answers: Vec<(PartId, Answer)>,
    /// Parts whose answers have been faults, with what is known about them.
    attempts: BTreeMap<PartId, Attempt>,
    /// Why the server refused rows alone, by offset.
    condemned: BTreeMap<i64, Reject>,
    /// When the intent was last committed, and so this process was the partition's owner.
    stated_at: Instant,
}

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Runs the protocol. `begun` is the checkpoint whose intent this batch is, if there is one.
    pub(crate) async fn deliver(
        &self,
        mut batch: Batch,
        begun: Option<&Checkpoint>,
    ) -> Result<Delivered, Undelivered> {
        let begun = self.leave_what_is_there(&mut batch, begun).await?;
        self.doubt_old_plans(&mut batch).await?;
        self.guard(&batch, &batch.rejected)?;
        self.count_dropped(&mut batch);
        let end = batch.range.end();
        let intent = begun.as_ref().and_then(|begun| begun.intent.as_ref().map(|intent| (begun, intent)));
        let (plan, unfit) = (batch.fingerprint(), batch.unfit());
        let (batch, mut course) = match intent {
            Some((begun, intent)) => (batch, Course::resumed(begun, intent, plan, &unfit)),
            None if batch.parts.is_empty() && unfit.is_empty() => {
                self.count(&batch);
                return Ok(Delivered { end, committed: false, parts: batch.parts });
            }
            None => {
                let first = batch.records.get(0).and_then(|record| record.timestamp);
                let course = Course::fresh(batch.range, plan, unfit)
                    .rewound(self.rewind(batch.range.first()))
                    .marked(first.map(|timestamp| timestamp.millis));
                self.together(batch, course).await?
            }
        };
        let mut work = Work {
            batch,
            answers: Vec::new(),
            attempts: BTreeMap::new(),
            condemned: BTreeMap::new(),
            stated_at: Instant::now(),
        };
        let committed = loop {
            match course.effect() {
                Effect::Done(unsaid) => break unsaid.is_none(),
                effect => self.act(effect, &mut course, &mut work).await?,
            }
        };
        self.count(&work.batch);
        Ok(Delivered { end, committed, parts: work.batch.parts })
    }

    async fn act(&self, effect: Effect, course: &mut Course, work: &mut Work) -> Result<(), Undelivered> {
        match effect {
            Effect::State(checkpoint) => {
                if self.shared.settings.guarantee == Guarantee::ExactlyOnce {
                    self.commit(checkpoint).await?;
                }
                work.stated_at = Instant::now();
                course.stated();
            }
            Effect::Insert => self.insert(course, work).await?,
            Effect::Wait => self.wait_for_the_world(course, work).await?,
            Effect::Look => self.look(course, &work.batch).await?,
            Effect::Mirror(letters) => {
                let letters = work.letters(&letters);
                self.guard_condemned(work, &letters)?;
                self.insert_dead_letters(course, &work.batch, &letters).await?;
                course.mirrored();
            }
            Effect::Settle(letters, checkpoint) => {
                let letters = work.letters(&letters);
                self.commit_with_dead_letters(&work.batch, &letters, checkpoint).await?;
                for rejected in &letters {
                    self.shared.metrics.rejected(rejected.reject.stage, rejected.reject.reason().code);
                }
                work.stated_at = Instant::now();
                course.settled();
            }
            Effect::Done(_) => {}
        }
        Ok(())
    }

    /// Commits a checkpoint, trying until it is done or fenced.
    pub(crate) async fn commit(&self, checkpoint: Checkpoint) -> Result<(), Undelivered> {
        let mut backoff = self.backoff();
        loop {
            match self.shared.log.commit(self.epoch, self.source, checkpoint.clone()).await {
                Ok(()) => return Ok(()),
                Err(fault) => self.wait_out(&fault, &mut backoff, "commit checkpoint").await?,
            }
        }
    }

    async fn commit_with_dead_letters(
        &self,
        batch: &Batch,
        letters: &[Rejected],
        checkpoint: Checkpoint,
    ) -> Result<(), Undelivered> {
        let mut backoff = self.backoff();
        let context = &self.shared.settings.context;
        loop {
            let committed = self.shared.log.commit_with_dead_letters(
                self.epoch,
                checkpoint.clone(),
                &batch.records,
                letters,
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

    /// Rows that only the server refused count against the guard too, before they become dead letters.
    fn guard_condemned(&self, work: &Work, letters: &[Rejected]) -> Result<(), Undelivered> {
        let condemned: Vec<&Rejected> =
            letters.iter().filter(|rejected| rejected.reject.stage == Stage::Insert).collect();
        let Some(last) = condemned.last() else { return Ok(()) };
        let mut guard = self.shared.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(n_bad), Some(policy)) = (guard.condemn(condemned.len()), guard.policy()) else {
            return Ok(());
        };
        Err(Undelivered::Halted(Box::new(Halted {
            policy,
            n_bad,
            reasons: BTreeMap::from([(last.reject.reason().code, condemned.len())]),
            example: Box::new(last.reject.clone()),
            source: self.source.clone(),
            offset: work.batch.offset(last.index),
        })))
    }

    /// Sends what is not answered yet, then tells the course, unless a table has changed.
    async fn insert(&self, course: &mut Course, work: &mut Work) -> Result<(), Undelivered> {
        if work.stated_at.elapsed() > OWNERSHIP_MAX {
            course.stale();
            return Ok(());
        }
        let mut due = Vec::new();
        for (at, part) in work.batch.parts.iter().enumerate() {
            let answered = work.answers.iter().any(|(answered, _)| *answered == part.id());
            let rows = work.batch.wanted(course, part);
            if !answered && !rows.is_empty() {
                due.push((at, rows));
            }
        }
        let exactly_once = self.shared.settings.guarantee == Guarantee::ExactlyOnce;
        let (batch, attempts, stated_at) = (&work.batch, &work.attempts, work.stated_at);
        let outcomes: Vec<(usize, Attempt, Outcome)> = stream::iter(due)
            .map(|(at, rows)| {
                let part = &batch.parts[at];
                let token = exactly_once.then(|| self.token(course, &part.plan));
                let attempt = attempts.get(&part.id()).cloned();
                let attempt = attempt.unwrap_or_else(|| Attempt::new(self.backoff()));
                async move {
                    let deadline = stated_at + OWNERSHIP_MAX;
                    let (attempt, outcome) =
                        self.attempt(batch, (part, rows), token.as_ref(), (attempt, deadline)).await?;
                    Ok((at, attempt, outcome))
                }
            })
            .buffer_unordered(self.shared.settings.inserts_max.max(1))
            .try_collect()
            .await?;
        self.conclude(course, work, outcomes).await
    }

    async fn conclude(
        &self,
        course: &mut Course,
        work: &mut Work,
        outcomes: Vec<(usize, Attempt, Outcome)>,
    ) -> Result<(), Undelivered> {
        let (mut doubtful_plans, mut unanswered) = (Vec::new(), false);
        let can_look = self.can_look(&work.batch);
        for (at, attempt, outcome) in outcomes {
            let part = &mut work.batch.parts[at];
            if attempt.in_doubt {
                course.in_doubt();
            }
            match outcome {
                Outcome::Taken { whole } => {
                    let missable = can_look && self.shared.tables.may_miss_rows(&part.plan.table.name);
                    let repeated = missable && course.may_repeat();
                    work.answers.push((part.id(), if repeated { Answer::Repeated } else { Answer::Taken }));
                    if whole {
                        part.block.clear();
                    }
                }
                Outcome::Refused { rows, reject, suspected } => {
                    if let [offset] = rows[..] {
                        work.condemned.insert(offset, reject);
                    }
                    work.answers.push((part.id(), Answer::Refused { rows, suspected }));
                    doubtful_plans.push(at);
                }
                Outcome::TableGone => {
                    doubtful_plans.push(at);
                    unanswered = true;
                }
                Outcome::Unsure => unanswered = true,
            }
            work.attempts.insert(part.id(), attempt);
        }
        if self.replan_all(&mut work.batch, doubtful_plans).await? {
            let answers = std::mem::take(&mut work.answers);
            course.replanned(work.batch.fingerprint(), &work.batch.unfit(), &answers);
            return Ok(());
        }
        if unanswered {
            return Ok(());
        }
        work.batch.held.set(work.batch.size_bytes());
        let answers = std::mem::take(&mut work.answers);
        work.attempts.retain(|_, attempt| attempt.suspected);
        course.inserted(&answers, self.can_look(&work.batch));
        Ok(())
    }

    /// Not one row was taken, for a reason that no table of codes knows: that is the world's fault.
    async fn wait_for_the_world(&self, course: &mut Course, work: &mut Work) -> Result<(), Undelivered> {
        let (base, max) = self.shared.settings.retry_wait;
        let mut backoff = Backoff::new(max.max(base), max.max(base));
        let unknown =
            || Fault::new(FaultKind::Unknown, "clickhouse takes no row, by codes that are not known");
        let fault =
            work.attempts.values_mut().find_map(|attempt| attempt.fault.take()).unwrap_or_else(unknown);
        self.wait_out(&fault, &mut backoff, "insert block").await?;
        work.attempts.clear();
        course.waited();
        Ok(())
    }

    fn token(&self, course: &Course, plan: &TablePlan) -> InsertToken {
        let table = format!("{}.{}", plan.table.database, plan.table.name);
        let (group, range) = (&self.shared.settings.context.group, course.token(plan.id()));
        if let Some(joint) = course.joint() {
            return InsertToken::joint(group, joint, &table, plan.id());
        }
        InsertToken::new(group, self.source, range, &table, plan.id())
            .marked(course.mark())
            .rewound(course.rewind())
            .again(course.again(plan.id()))
    }

    async fn insert_dead_letters(
        &self,
        course: &Course,
        batch: &Batch,
        letters: &[Rejected],
    ) -> Result<(), Undelivered> {
        let settings = &self.shared.settings;
        let Some(table) = &settings.dead_letter_table else { return Ok(()) };
        let block = dead_letter_block(settings, batch, letters, table);
        let group = &settings.context.group;
        let token = InsertToken::new(group, self.source, course.piece(), table, PartId::of("", table));
        let token = token.marked(course.mark()).rewound(course.rewind());
        let mut backoff = self.backoff();
        loop {
            match self.shared.warehouse.insert(&block.table, block.encoded(), Some(&token)).await {
                Ok(()) => return Ok(()),
                Err(InsertError::Fault(fault)) => {
                    self.wait_out(&fault, &mut backoff, "insert dead letters").await?;
                }
                Err(InsertError::Refused { code, message, column: _ }) => {
                    let message = format!("table of dead letters `{table}` refuses its rows: {message}");
                    let fault = Fault { kind: FaultKind::Missing, code: Some(code), message };
                    self.wait_out(&fault, &mut backoff, "insert dead letters").await?;
                }
            }
        }
    }

    /// Shows the fault, then waits; a fenced partition does not wait.
    pub(crate) async fn wait_out(
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

    pub(crate) fn backoff(&self) -> Backoff {
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
        for (rule, n_records) in [("tombstones", batch.n_tombstones), ("rewind", batch.n_there)] {
            if n_records > 0 {
                metrics.dropped_records(rule, n_records);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if let Some(wait) = oldest_wait(&batch.records, now) {
            metrics.end_to_end(wait.as_secs_f64());
        }
    }
}

impl Work {
    /// The rejects of these offsets, in order.
    fn letters(&self, offsets: &[i64]) -> Vec<Rejected> {
        let find = |offset: &i64| {
            let index = self.batch.index(*offset)?;
            let formed = self.batch.rejected.binary_search_by_key(&index, |rejected| rejected.index);
            let reject = match (formed, self.condemned.get(offset)) {
                (Ok(at), _) => self.batch.rejected[at].reject.clone(),
                (Err(_), Some(reject)) => reject.clone(),
                (Err(_), None) => refused_before(),
            };
            Some(Rejected { index, reject })
        };
        // A record that compaction has removed since leaves nothing to write.
        offsets.iter().filter_map(find).collect()
    }
}

/// The reject of a record that the intent excludes, and that would be accepted as things are.
fn refused_before() -> Reject {
    let found = "a row that was refused before its process ended; the table or its rules have changed since";
    Reject::new(Stage::Insert, Reason::new(ReasonCode::RowRefused, "a row that ClickHouse accepts", found))
}
