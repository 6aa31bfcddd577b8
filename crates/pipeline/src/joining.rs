//! Small batches of several partitions, sent together: one block a table, not one a table and partition.
//!
//! A batch that was closed because its time was over waits here for others. The first one leads: it calls every
//! partition that has records, waits a moment for them to come, takes what waits, and does what the protocol's
//! [`Joint`] decides. Then each batch goes on alone from where its course is, which is mostly at its end. A leader
//! that is stopped leaves the others to themselves: the course of each knows what to do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidegate_config::Delivery as Guarantee;
use tidegate_core::{Checkpoint, FaultKind, InsertToken, JointId, PartId, PlanFingerprint, TopicPartition};
use tidegate_protocol::{Course, Joint, JointEffect, Sent};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::attempt::{Attempt, UNKNOWN_TRIES_MAX};
use crate::batch::{Batch, Part};
use crate::delivery::{Delivery, OWNERSHIP_MAX, Undelivered};
use crate::port::{CheckpointLog, EncodedBlock, Epoch, InsertError, Warehouse};
use crate::settings::ConnectorSettings;

/// How long those who were called may take to come. Closing a batch and looking at its rejects takes a millisecond.
const GATHER: Duration = Duration::from_millis(20);

/// How long the next joint batch waits for each block of the one before: ClickHouse is to get some 60 small parts a
/// second, which it merges without effort, however many tables there are.
const BLOCK_PAUSE: Duration = Duration::from_millis(16);

/// It waits no longer than that, so that records come in time.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where batches wait for company.
#[derive(Debug)]
pub(crate) struct Joining {
    waiting: Mutex<Vec<Waiting>>,
    tickets: AtomicU64,
    /// Whoever holds it leads.
    lead: tokio::sync::Mutex<()>,
    /// When the next joint batch may leave.
    not_before: Mutex<Option<Instant>>,
    /// Counts the calls to all partitions.
    calls: watch::Sender<u64>,
    /// A partition is to stop, so that nobody shall wait.
    hurry: Notify,
    n_partitions: AtomicUsize,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    epoch: Epoch,
    source: TopicPartition,
    course: Course,
    // Dropped before `reply`: who hears of an answer, or that none will come, has the only batch.
    batch: Arc<Batch>,
    joint: Arc<OnceLock<JointId>>,
    reply: oneshot::Sender<Course>,
}

/// The place of one batch among those that wait; given up when dropped.
struct Place<'a> {
    joining: &'a Joining,
    ticket: u64,
}

impl Joining {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            tickets: AtomicU64::new(0),
            lead: tokio::sync::Mutex::default(),
            not_before: Mutex::default(),
            calls: watch::Sender::new(0),
            hurry: Notify::new(),
            n_partitions: AtomicUsize::new(0),
        }
    }

    /// One more partition may have batches. It hears when it is called to close what it has.
    pub(crate) fn enter(&self) -> watch::Receiver<u64> {
        self.n_partitions.fetch_add(1, Ordering::Relaxed);
        self.calls.subscribe()
    }

    /// A partition has gone.
    pub(crate) fn leave(&self) {
        self.n_partitions.fetch_sub(1, Ordering::Relaxed);
    }

    /// What waits is to be sent without waiting for more.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Until then small batches had better take more records: no joint one leaves earlier.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A joint batch of so many blocks leaves.
    fn leaves(&self, n_blocks: usize, linger: Duration) {
        let pause = BLOCK_PAUSE.saturating_mul(u32::try_from(n_blocks).unwrap_or(u32::MAX)).min(PAUSE_MAX);
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = Some(Instant::now() + pause.max(linger));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, waiting: Waiting) -> Place<'_> {
        let ticket = waiting.ticket;
        self.lock().push(waiting);
        Place { joining: self, ticket }
    }

    /// Takes the batch with this ticket, and those that fit beside it.
    fn take(&self, ticket: u64, settings: &ConnectorSettings) -> Vec<Waiting> {
        let mut waiting = self.lock();
        waiting.sort_by_key(|waiting| waiting.ticket != ticket);
        let (mut n_records, mut n_bytes, mut plans) = (0, 0, HashMap::new());
        let fits = |waiting: &mut Waiting| {
            let batch = &waiting.batch;
            let same = |part: &Part| *plans.get(&part.id()).unwrap_or(&print(part)) == print(part);
            let (records, bytes) = (n_records + batch.records.len(), n_bytes + batch.records.size_bytes());
            let fits = records <= settings.flush.rows_max && bytes <= settings.flush.bytes_max;
            if !(n_records == 0 || fits) || !batch.parts.iter().all(same) {
                return false;
            }
            (n_records, n_bytes) = (records, bytes);
            plans.extend(batch.parts.iter().map(|part| (part.id(), print(part))));
            true
        };
        let mut members: Vec<_> = waiting.extract_if(.., fits).collect();
        members.sort_by(|a, b| a.source.cmp(&b.source));
        members
    }
}

/// The plan of a part.
fn print(part: &Part) -> PlanFingerprint {
    part.plan.plan.fingerprint()
}

impl Place<'_> {
    fn is_kept(&self) -> bool {
        self.joining.lock().iter().any(|waiting| waiting.ticket == self.ticket)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.joining.lock().retain(|waiting| waiting.ticket != self.ticket);
    }
}

/// The rows of one part, of all members.
struct JointBlock {
    part: Part,
    attempt: Attempt,
    sent: Option<Sent>,
}

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Sends a batch together with those of other partitions, if that is worth while. Gives it back with the course
    /// on which it goes on alone.
    pub(crate) async fn together(
        &self,
        batch: Batch,
        course: Course,
    ) -> Result<(Batch, Course), Undelivered> {
        if !self.may_join(&batch, &course) {
            return Ok((batch, course));
        }
        let joining = &self.shared.joining;
        let (batch, joint) = (Arc::new(batch), Arc::new(OnceLock::new()));
        let (reply, mut answer) = oneshot::channel();
        let place = joining.wait(Waiting {
            ticket: joining.tickets.fetch_add(1, Ordering::Relaxed),
            epoch: self.epoch,
            source: self.source.clone(),
            course: course.clone(),
            batch: Arc::clone(&batch),
            joint: Arc::clone(&joint),
            reply,
        });
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                leading = joining.lead.lock() => {
                    if place.is_kept() {
                        self.lead(place.ticket).await?;
                    } else {
                        drop(leading);
                        break answer.await;
                    }
                }
            }
        };
        let course = match (answer, joint.get()) {
            (Ok(course), _) => course,
            (Err(_), None) => course,
            (Err(_), Some(joint)) => {
                // Whoever led was stopped, and may have sent anything.
                let mut alone = Joint::new(*joint, [(course.clone(), batch.part_ids())]);
                alone.fenced();
                alone.into_courses().pop().unwrap_or(course)
            }
        };
        let batch = Arc::into_inner(batch).expect("who leads drops a batch before it answers");
        Ok((batch, course))
    }

    fn may_join(&self, batch: &Batch, course: &Course) -> bool {
        let company = self.shared.joining.n_partitions.load(Ordering::Relaxed) > 1;
        // Who goes alone in the end must be able to ask its tables, and to take the token from others.
        let able = |part: &Part| {
            part.plan.knows_positions() && self.shared.tables.remembers_tokens(&part.plan.table.name)
        };
        let parts = !batch.parts.is_empty() && batch.parts.iter().all(able);
        let exactly_once = self.shared.settings.guarantee == Guarantee::ExactlyOnce;
        company && parts && exactly_once && !batch.full && course.may_join(&batch.part_ids())
    }

    /// Sends what waits, when it is time.
    async fn lead(&self, ticket: u64) -> Result<(), Undelivered> {
        let (joining, settings) = (&self.shared.joining, &self.shared.settings);
        if let Some(not_before) = joining.not_before() {
            tokio::select! {
                () = tokio::time::sleep_until(not_before) => {}
                () = joining.hurry.notified() => {}
            }
        }
        joining.calls.send_modify(|calls| *calls += 1);
        tokio::time::sleep(GATHER).await;
        let members = joining.take(ticket, settings);
        if members.len() < 2 {
            answer(members.into_iter().map(|member| (member.course.clone(), member)).collect());
            return Ok(());
        }
        self.send_together(members).await
    }

    async fn send_together(&self, members: Vec<Waiting>) -> Result<(), Undelivered> {
        let Some(mut blocks) = self.joint_blocks(&members) else {
            // What was accepted once is refused: nobody knows why, and each finds out for itself.
            answer(members.into_iter().map(|member| (member.course.clone(), member)).collect());
            return Ok(());
        };
        self.shared.joining.leaves(blocks.len(), self.shared.settings.flush.linger);
        self.shared.metrics.joined(members.len());
        let named = members.iter().map(|m| (&m.source, m.batch.range, m.course.mark()));
        let id = JointId::of(named);
        for member in &members {
            // It is set here alone, once.
            let _ = member.joint.set(id);
        }
        let mut joint = Joint::new(id, members.iter().map(|m| (m.course.clone(), m.batch.part_ids())));
        let mut stated_at = Instant::now();
        loop {
            match joint.effect() {
                JointEffect::State(checkpoints) => match self.commit_all(&members, checkpoints).await {
                    Ok(()) => {
                        stated_at = Instant::now();
                        joint.stated();
                    }
                    Err(_) => joint.fenced(),
                },
                JointEffect::Insert => {
                    blocks = self.insert_together(id, blocks, stated_at + OWNERSHIP_MAX).await?;
                    let sent = blocks.iter().filter_map(|block| Some((block.part.id(), block.sent?)));
                    let sent: Vec<_> = sent.collect();
                    if sent.len() == blocks.len() {
                        joint.inserted(&sent);
                    } else {
                        joint.stale();
                    }
                }
                JointEffect::Confirm(checkpoints) => match self.commit_all(&members, checkpoints).await {
                    Ok(()) => joint.confirmed(),
                    Err(_) => joint.fenced(),
                },
                JointEffect::Part => break,
            }
        }
        answer(joint.into_courses().into_iter().zip(members).collect());
        Ok(())
    }

    /// One block a part, with the rows of all members in their order. `None` if a row does not fit any more.
    fn joint_blocks(&self, members: &[Waiting]) -> Option<Vec<JointBlock>> {
        let mut blocks: Vec<JointBlock> = Vec::new();
        let mut by_part: HashMap<PartId, usize> = HashMap::new();
        for member in members {
            for part in member.batch.parts.iter().filter(|part| !part.rows.is_empty()) {
                let at = *by_part.entry(part.id()).or_insert(blocks.len());
                if at == blocks.len() {
                    let part = Part::new(Arc::clone(&part.plan));
                    blocks.push(JointBlock { part, attempt: Attempt::new(self.backoff()), sent: None });
                }
                for index in &part.rows {
                    let record = member.batch.records.get(*index).expect("rows point into their batch");
                    blocks[at].part.append(&member.source, &record, *index).ok()?;
                }
            }
        }
        Some(blocks)
    }

    /// Commits all or none. The only error that is given is that a member was lost.
    async fn commit_all(&self, members: &[Waiting], checkpoints: Vec<Checkpoint>) -> Result<(), Undelivered> {
        let commits: Vec<_> = members
            .iter()
            .zip(checkpoints)
            .map(|(member, checkpoint)| (member.epoch, member.source.clone(), checkpoint))
            .collect();
        let mut backoff = self.backoff();
        loop {
            match self.shared.log.commit_all(&commits).await {
                Ok(()) => return Ok(()),
                Err(fault) => self.wait_out(&fault, &mut backoff, "commit checkpoints").await?,
            }
        }
    }

    /// Sends what is not answered yet. What is not answered even then is to be sent when the intents have been
    /// committed again.
    async fn insert_together(
        &self,
        id: JointId,
        blocks: Vec<JointBlock>,
        deadline: Instant,
    ) -> Result<Vec<JointBlock>, Undelivered> {
        stream::iter(blocks)
            .map(|block| self.insert_joint_block(id, block, deadline))
            .buffer_unordered(self.shared.settings.inserts_max.max(1))
            .try_collect()
            .await
    }

    async fn insert_joint_block(
        &self,
        id: JointId,
        mut block: JointBlock,
        deadline: Instant,
    ) -> Result<JointBlock, Undelivered> {
        if block.sent.is_some() || Instant::now() > deadline {
            return Ok(block);
        }
        let plan = &block.part.plan;
        let table = format!("{}.{}", plan.table.database, plan.table.name);
        let token = InsertToken::joint(&self.shared.settings.context.group, id, &table, plan.id());
        let mut native = Vec::with_capacity(block.part.block.size_bytes());
        block.part.block.encode(&mut native);
        let native = native.into();
        let rows = &block.part.block;
        let encoded = EncodedBlock { native: &native, columns: rows.columns(), rows: rows.rows() };
        let attempt = &mut block.attempt;
        let sent = loop {
            let fault = match self.send(plan, encoded, Some(&token)).await {
                // Its token is noted; whether its rows are there, the members ask.
                Ok(()) if attempt.in_doubt && self.shared.tables.may_miss_rows(&plan.table.name) => {
                    break Some(Sent::Unknown);
                }
                Ok(()) => break Some(Sent::Taken),
                Err(InsertError::Refused { .. }) if attempt.in_doubt => break Some(Sent::Unknown),
                Err(InsertError::Refused { .. }) => break Some(Sent::Refused),
                Err(InsertError::Fault(fault)) => fault,
            };
            attempt.in_doubt = true;
            let suspicious = fault.kind == FaultKind::Unknown && attempt.attempts() >= UNKNOWN_TRIES_MAX;
            // Whether rows or a table are to blame, each member finds out for itself.
            if suspicious || fault.kind == FaultKind::Missing {
                break Some(Sent::Unknown);
            }
            self.wait_out(&fault, attempt.backoff(), "insert joint block").await?;
            if Instant::now() > deadline {
                break None;
            }
        };
        block.sent = sent;
        Ok(block)
    }
}

/// Tells the members how they go on.
fn answer(members: Vec<(Course, Waiting)>) {
    for (course, Waiting { batch, reply, .. }) in members {
        drop(batch);
        // A partition that was stopped meanwhile does not listen.
        let _ = reply.send(course);
    }
}
