//! Rebalances, carried out between two polls: what is given is looked up and opened, what is taken is
//! let go of once the pipeline and the commits under way are done with it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, Fault, FaultKind, Records, TopicPartition};
use tidegate_pipeline::port::{Assignment, SourceEvent};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tracing::{info, warn};

use super::{Open, REQUEST_TIMEOUT, RETRY_DELAY, Reader, list};
use crate::fault::fault;
use crate::source::context::{Change, let_go};
use crate::source::start::{Remark, Start, resolve, watermarks};

/// How long a partition's start is asked for again, one partition at a time: others are being read.
const LATE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is to be done, and not before when.
#[derive(Debug, Default)]
pub(super) struct Duties {
    /// Partitions that the group gave us and whose start is not known yet.
    given: Vec<TopicPartition>,
    /// Whether their starts could not be told together.
    singly: bool,
    /// Whether the group waits to hear that we accept what it gave: under the cooperative protocol only.
    unaccepted: bool,
    /// Whether the group waits for our answer: under the eager protocol only.
    unanswered: bool,
    range_check: bool,
    /// Whether Kafka has said of some partition that it does not know it.
    gone_check: bool,
    not_before: Option<Instant>,
}

impl Duties {
    /// Asks for every partition's place in its log to be checked.
    pub(super) fn check_range(&mut self) {
        self.range_check = true;
    }

    /// Asks for every partition to be looked for.
    pub(super) fn look_for_gone(&mut self) {
        self.gone_check = true;
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.given.is_empty() && !self.unaccepted && !self.unanswered && !self.range_check
    }

    fn due(&self) -> bool {
        self.not_before.is_none_or(|at| at <= Instant::now())
    }
}

impl Reader {
    /// Carries out what has come up. A duty that Kafka does not let us do is tried again later;
    /// librdkafka waits for its assignment meanwhile and keeps the membership.
    pub(super) fn serve_duties(&mut self) {
        if self.duties.due()
            && let Err(fault) = self.try_duties()
        {
            self.duties.not_before = Some(Instant::now() + RETRY_DELAY);
            self.tell(fault);
        }
    }

    fn try_duties(&mut self) -> Result<(), Fault> {
        while let Some(change) = self.consumer.context().next_change() {
            self.shared.counters.rebalances.fetch_add(1, Ordering::Relaxed);
            match change {
                Change::Given(partitions) => self.note_given(partitions),
                Change::Taken { partitions, lost } => self.give_up(&partitions, lost),
            }
            self.accept()?;
        }
        self.accept()?;
        self.compare_ids();
        if std::mem::take(&mut self.duties.gone_check) {
            self.lose_gone();
        }
        self.give_back_gone()?;
        if self.duties.range_check {
            self.check_range()?;
            self.duties.range_check = false;
        }
        self.assign_given()
    }

    /// The group gave us partitions.
    fn note_given(&mut self, partitions: Vec<TopicPartition>) {
        self.duties.singly = false;
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.duties.given.extend(partitions);
                self.duties.unaccepted = true;
            }
            // All partitions are given at once, and there is one answer.
            RebalanceProtocol::Eager | RebalanceProtocol::None => {
                self.duties.given = partitions;
                self.duties.unanswered = true;
            }
        }
    }

    /// The member accepts what it was given at once: until it does it cannot join the next rebalance, and the
    /// whole group would wait for it as long as one partition's start cannot be told (its offset may be held by
    /// the transaction of a process that died).
    fn accept(&mut self) -> Result<(), Fault> {
        if self.duties.unaccepted {
            let accepted = self.consumer.incremental_assign(&TopicPartitionList::new());
            accepted.map_err(|error| fault(&error, "accept the assigned partitions"))?;
            self.duties.unaccepted = false;
        }
        Ok(())
    }

    /// What the pipeline still has of a partition that is gone must not be committed once it is there again.
    fn lose_gone(&self) {
        for open in &self.open {
            let found = watermarks(&self.consumer, std::slice::from_ref(&open.source), LATE_TIMEOUT);
            if found.is_err_and(|fault| fault.kind == FaultKind::Missing) {
                self.shared.ownership.lose(&open.source);
            }
        }
    }

    /// Partitions that Kafka does not know any more begin anew, wherever the group is once they are there again.
    fn give_back_gone(&mut self) -> Result<(), Fault> {
        let gone = self.shared.ownership.take_gone();
        let read = |source: &TopicPartition| self.open.iter().any(|open| open.source == *source);
        let gone: Vec<TopicPartition> = gone.into_iter().filter(read).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.let_go(&gone);
        self.duties.given.extend(gone.iter().cloned());
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let back = let_go(&self.consumer, &list(&gone, Offset::Invalid));
                back.map_err(|error| fault(&error, "stop reading partitions that are gone"))
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => {
                self.duties.unanswered = true;
                Ok(())
            }
        }
    }

    /// Opens the partitions that we were given: together if that goes, else one after the other.
    fn assign_given(&mut self) -> Result<(), Fault> {
        if self.duties.given.is_empty() && !self.duties.unanswered {
            return Ok(());
        }
        if self.duties.unanswered || !self.duties.singly {
            let given = self.duties.given.clone();
            self.duties.singly = true;
            if self.assign(&given, REQUEST_TIMEOUT)? {
                self.duties.given.clear();
                self.duties.unanswered = false;
            }
            return Ok(());
        }
        // The next try begins with another one.
        self.duties.given.rotate_left(1);
        if let Some(next) = self.duties.given.last().cloned()
            && self.assign(&[next], LATE_TIMEOUT)?
        {
            self.duties.given.pop();
        }
        Ok(())
    }

    /// Opens these partitions, unless the group has something else to say meanwhile.
    fn assign(&mut self, given: &[TopicPartition], timeout: Duration) -> Result<bool, Fault> {
        self.identify(given, timeout)?;
        if self.consumer.context().has_change() {
            return Ok(false);
        }
        let starts = resolve(&self.consumer, given, self.reset, timeout)?;
        let mut list = TopicPartitionList::with_capacity(starts.len());
        // The eager protocol knows only whole assignments.
        let eager = !matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        for open in self.open.iter().filter(|_| eager) {
            let mut element = list.add_partition(&open.source.topic, open.source.partition);
            element.set_offset(Offset::Offset(open.position)).expect("a position has a number");
        }
        for (source, start) in &starts {
            let mut element = list.add_partition(&source.topic, source.partition);
            element
                .set_offset(Offset::Offset(start.checkpoint.offset))
                .expect("a committed offset has a number");
        }
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(&list),
        };
        assigned.map_err(|error| fault(&error, "take the assigned partitions"))?;
        self.remark(&starts);
        self.announce(starts);
        Ok(true)
    }

    /// Opens an epoch for these partitions and tells the pipeline.
    fn announce(&mut self, starts: Vec<(TopicPartition, Start)>) {
        if starts.is_empty() {
            return;
        }
        let owned = starts.iter().map(|(source, start)| (source, start.topic.clone()));
        let epoch = self.shared.ownership.open(owned);
        let mut assignments = Vec::with_capacity(starts.len());
        for (source, Start { checkpoint, topic, end, decided, .. }) in starts {
            if decided {
                self.commit_start(epoch, &source, &checkpoint);
            }
            self.open.push(Open {
                chunk: Records::new(source.clone()),
                source: source.clone(),
                epoch,
                topic,
                replaced: false,
                position: checkpoint.offset,
                end,
                paused: None,
            });
            assignments.push(Assignment { source, epoch, checkpoint, end });
        }
        info!(partitions = assignments.len(), epoch = epoch.0, "partitions assigned");
        self.shared.queue.overtake(SourceEvent::Assigned(assignments));
        self.apply_pausing();
    }

    fn remark(&self, starts: &[(TopicPartition, Start)]) {
        for (source, start) in starts {
            match &start.remark {
                None => {}
                Some(Remark::Foreign(error)) => {
                    self.shared.counters.foreign_checkpoints.fetch_add(1, Ordering::Relaxed);
                    let offset = start.checkpoint.offset;
                    warn!(%source, offset, %error, "going on from the committed offset alone");
                }
                Some(Remark::Overtaken { committed }) => {
                    self.shared.counters.out_of_range.fetch_add(1, Ordering::Relaxed);
                    let low = start.checkpoint.offset;
                    self.tell_missed(source, *committed, low);
                    warn!(%source, committed, low, "records after the committed offset are gone: going to the first record");
                }
                Some(Remark::Recreated { committed }) => {
                    self.shared.counters.recreated.fetch_add(1, Ordering::Relaxed);
                    let low = start.checkpoint.offset;
                    warn!(%source, committed, low, "the committed offset is one of another topic of this name: going to the first record");
                }
            }
        }
    }

    fn give_up(&mut self, partitions: &[TopicPartition], lost: bool) {
        self.duties.given.retain(|given| !partitions.contains(given));
        (self.duties.unaccepted, self.duties.unanswered) = (false, false);
        if lost {
            // Another member may have them: nothing more may be committed, whatever the generation.
            self.shared.ownership.close(partitions);
        }
        self.let_go(partitions);
        self.shared.ownership.close(partitions);
        let list = list(partitions, Offset::Invalid);
        if let Err(error) = let_go(&self.consumer, &list) {
            warn!(%error, "give up revoked partitions");
        }
        info!(partitions = partitions.len(), lost, "partitions revoked");
    }

    /// Tells the pipeline that these partitions go, and waits until it has let go of them.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        let opened = |source: &&TopicPartition| self.open.iter().any(|open| open.source == **source);
        let partitions: Vec<TopicPartition> = partitions.iter().filter(opened).cloned().collect();
        let gone = |source: &TopicPartition| partitions.contains(source);
        self.open.retain(|open| !gone(&open.source));
        self.outbox.retain(|event| match event {
            SourceEvent::Records { records, .. } => !gone(records.source()),
            SourceEvent::CaughtUp { source, .. } => !gone(source),
            SourceEvent::Assigned(_)
            | SourceEvent::Revoked { .. }
            | SourceEvent::Missed { .. }
            | SourceEvent::Faulted(_) => true,
        });
        if partitions.is_empty() {
            return;
        }
        let (done, mut wait) = oneshot::channel();
        self.shared.queue.overtake(SourceEvent::Revoked { partitions: partitions.clone(), done });
        let deadline = Instant::now() + self.revoke_wait_max;
        while matches!(wait.try_recv(), Err(TryRecvError::Empty)) {
            if Instant::now() >= deadline {
                warn!(
                    partitions = partitions.len(),
                    "the pipeline holds on to revoked partitions: they go without it"
                );
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Ends the epoch of partitions that stay ours, and begins another at their first record.
    pub(super) fn restart(
        &mut self,
        partitions: &[TopicPartition],
        watermarks: &HashMap<TopicPartition, (i64, i64)>,
    ) {
        self.let_go(partitions);
        self.shared.ownership.close(partitions);
        let start = |source: &TopicPartition| {
            let (low, end) = watermarks[source];
            let topic = self.consumer.context().ids.of(&source.topic);
            (
                source.clone(),
                Start { checkpoint: Checkpoint::settled(low), topic, end, decided: true, remark: None },
            )
        };
        self.announce(partitions.iter().map(start).collect());
    }
}
