//! One partition's loop: while a batch is being delivered, the next one is gathered and decoded.

use std::sync::Arc;

use tidegate_core::{Checkpoint, TopicPartition};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::batch::{Incoming, OpenBatch, Part};
use crate::budget::Budget;
use crate::delivery::{Delivered, Delivery, Shared, Undelivered};
use crate::mailbox::{Mail, Mails};
use crate::port::{Assignment, CheckpointLog, Epoch, Warehouse};
use crate::rewound::Rewound;

/// What the loop does next.
enum Event {
    Mail(Mail),
    Delivered(Result<Delivered, Undelivered>),
    /// The linger of the open batch is over, or a fault has been waited out.
    Timer,
    /// Batches of other partitions are about to leave, and the open one may go with them.
    Called,
    Stop,
}

/// The loop's state.
pub(crate) struct Partition<L, W> {
    shared: Arc<Shared<L, W>>,
    budget: Budget,
    source: TopicPartition,
    epoch: Epoch,
    open: OpenBatch,
    /// The checkpoint whose intent the open batch is, if somebody began it before.
    begun: Option<Checkpoint>,
    incoming: Option<Incoming>,
    in_flight: Option<JoinHandle<Result<Delivered, Undelivered>>>,
    /// The reset of the offsets after which the partition is read.
    rewound: Option<Arc<Rewound>>,
    /// The parts of the batch that was delivered just now.
    spare: Vec<Part>,
    /// Delivered, and not said by a checkpoint yet.
    unsaid: Option<i64>,
    /// Other partitions' calls to go together.
    calls: watch::Receiver<u64>,
    /// Whether the open batch is to go with others, though its time is not over.
    called: bool,
    /// After a fault while decoding: when to try again.
    blocked: Option<(Instant, Backoff)>,
}

impl<L: CheckpointLog + 'static, W: Warehouse + 'static> Partition<L, W> {
    /// A loop that goes on where the assignment's checkpoint says.
    pub(crate) fn new(shared: Arc<Shared<L, W>>, budget: Budget, assignment: &Assignment) -> Self {
        let checkpoint = &assignment.checkpoint;
        let replay_end = checkpoint.intent.as_ref().map(|intent| intent.root);
        let open =
            OpenBatch::new(&shared.settings, &budget, &assignment.source, checkpoint.offset, replay_end);
        let begun = checkpoint.intent.is_some().then(|| checkpoint.clone());
        let (source, epoch) = (assignment.source.clone(), assignment.epoch);
        Self {
            calls: shared.joining.enter(),
            called: false,
            shared,
            budget,
            source,
            epoch,
            open,
            begun,
            rewound: checkpoint.rewind.map(|rewind| Arc::new(Rewound::new(rewind))),
            incoming: None,
            in_flight: None,
            spare: Vec::new(),
            unsaid: None,
            blocked: None,
        }
    }

    /// Runs until it is stopped, fenced or halted.
    pub(crate) async fn run(
        mut self,
        mut mailbox: Mails,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), Undelivered> {
        loop {
            // What it waits for can take as long as a server likes; a stop does not wait for that.
            let stopped = tokio::select! {
                biased;
                advanced = self.advance() => advanced.map(|()| false)?,
                _ = &mut stop => true,
            };
            if stopped {
                return self.drain().await;
            }
            if !self.may_go() {
                // Whoever called has gone before there is something to go with.
                self.calls.mark_unchanged();
            }
            match self.next_event(&mut mailbox, &mut stop).await {
                Event::Mail(Mail::Records { records, held, place }) => {
                    self.incoming = Some(Incoming { records, _held: held, _place: place });
                }
                Event::Mail(Mail::CaughtUp { position }) => self.open.caught_up(position, Instant::now()),
                Event::Delivered(delivered) => self.delivered(delivered?),
                Event::Timer => {}
                Event::Called => self.called = true,
                Event::Stop => return self.drain().await,
            }
        }
    }

    async fn next_event(&mut self, mailbox: &mut Mails, stop: &mut oneshot::Receiver<()>) -> Event {
        let wants_mail = self.incoming.is_none() && !self.open.is_full();
        let blocked_until = self.blocked.as_ref().map(|(until, _)| *until);
        // A ripe batch that must wait for the one in flight needs no timer: its delivery is the event.
        let linger = if self.in_flight.is_none() { self.open.deadline() } else { None };
        let linger = linger.map(|at| at.max(self.shared.joining.not_before().unwrap_or(at)));
        let timer = [blocked_until, linger].into_iter().flatten().min();
        let may_go = self.may_go();
        tokio::select! {
            biased;
            _ = stop => Event::Stop,
            delivered = joined(&mut self.in_flight) => Event::Delivered(delivered),
            mail = mailbox.recv(), if wants_mail => mail.map_or(Event::Stop, Event::Mail),
            () = at(timer) => Event::Timer,
            // An error says that the connector is going, and so will this loop.
            _ = self.calls.changed(), if may_go => Event::Called,
        }
    }

    /// Does everything that can be done without waiting for an event.
    async fn advance(&mut self) -> Result<(), Undelivered> {
        loop {
            self.decode().await;
            let ripe = self.open.is_ripe(Instant::now(), self.shared.joining.not_before());
            let ripe = ripe || (self.called && self.open.may_go());
            self.called = false;
            if !ripe || self.in_flight.is_some() {
                break;
            }
            self.launch();
        }
        // A partition that has no batch to send keeps no memory for the next one.
        self.spare = Vec::new();
        if let (Some(end), None) = (self.unsaid, &self.in_flight) {
            self.delivery().settle(end).await?;
            self.said(end);
        }
        Ok(())
    }

    /// Whether the open batch may go with others.
    fn may_go(&self) -> bool {
        self.in_flight.is_none() && self.open.may_go()
    }

    /// Moves arrived records into the open batch.
    async fn decode(&mut self) {
        let now = Instant::now();
        if self.blocked.as_ref().is_some_and(|(until, _)| *until > now) {
            return;
        }
        let Some(incoming) = &mut self.incoming else { return };
        match self.open.take(incoming, &self.shared.tables, now).await {
            Ok(()) => {
                self.blocked = None;
                if incoming.records.is_empty() {
                    self.incoming = None;
                }
            }
            Err(fault) => {
                let (base, max) = self.shared.settings.retry_wait;
                let mut backoff =
                    self.blocked.take().map_or_else(|| Backoff::new(base, max), |(_, backoff)| backoff);
                self.shared.metrics.retried(fault.kind);
                self.shared.status.waiting(&self.source, &fault);
                let wait = backoff.next_wait(fastrand::f64());
                if backoff.attempts().is_power_of_two() {
                    tracing::warn!(error = %fault, partition = %self.source, "plan rows: waiting");
                }
                self.blocked = Some((now + wait, backoff));
            }
        }
    }

    /// Closes the open batch and starts to deliver it. Its intent says what `unsaid` would.
    fn launch(&mut self) {
        let first = self.open.through();
        let mut next = OpenBatch::new(&self.shared.settings, &self.budget, &self.source, first, None);
        next.reuse(std::mem::take(&mut self.spare));
        let batch = std::mem::replace(&mut self.open, next).close();
        self.unsaid = None;
        let (shared, source, epoch) = (Arc::clone(&self.shared), self.source.clone(), self.epoch);
        let (begun, rewound) = (self.begun.take(), self.rewound.clone());
        self.in_flight = Some(tokio::spawn(async move {
            let delivery = Delivery { shared: &shared, source: &source, epoch, rewound: rewound.as_deref() };
            delivery.deliver(batch, begun.as_ref()).await
        }));
    }

    fn delivered(&mut self, delivered: Delivered) {
        self.in_flight = None;
        self.calls.mark_unchanged();
        self.spare = delivered.parts;
        if delivered.committed {
            self.said(delivered.end);
        } else {
            self.unsaid = Some(delivered.end);
        }
    }

    fn said(&mut self, end: i64) {
        self.unsaid = None;
        let lag = self.shared.status.settled(&self.source, end);
        self.shared.metrics.lag(&self.source, lag);
    }

    /// Finishes the batch in flight if that takes no longer than the settings allow. What is open is
    /// dropped: whoever owns the partition next reads it again.
    async fn drain(mut self) -> Result<(), Undelivered> {
        self.shared.joining.hurry();
        if let Some(mut in_flight) = self.in_flight.take() {
            match tokio::time::timeout(self.shared.settings.drain_max, &mut in_flight).await {
                Ok(joined) => {
                    let delivered = flatten(joined)?;
                    self.delivered(delivered);
                }
                Err(_) => in_flight.abort(),
            }
        }
        if let Some(end) = self.unsaid {
            let delivery = self.delivery();
            let commit = delivery.settle(end);
            if let Ok(committed) = tokio::time::timeout(self.shared.settings.drain_max, commit).await {
                committed?;
                self.said(end);
            }
        }
        Ok(())
    }

    fn delivery(&self) -> Delivery<'_, L, W> {
        let rewound = self.rewound.as_deref();
        Delivery { shared: &self.shared, source: &self.source, epoch: self.epoch, rewound }
    }
}

impl<L, W> Drop for Partition<L, W> {
    fn drop(&mut self) {
        self.shared.joining.leave();
        if let Some(in_flight) = &self.in_flight {
            in_flight.abort();
        }
    }
}

async fn joined(
    in_flight: &mut Option<JoinHandle<Result<Delivered, Undelivered>>>,
) -> Result<Delivered, Undelivered> {
    match in_flight {
        Some(handle) => flatten(handle.await),
        None => std::future::pending().await,
    }
}

/// A delivery that was aborted is one that the partition's owner no longer wants; a panic is a bug and
/// goes on as one.
fn flatten<T>(joined: Result<Result<T, Undelivered>, tokio::task::JoinError>) -> Result<T, Undelivered> {
    match joined {
        Ok(delivered) => delivered,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Undelivered::Fenced),
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
