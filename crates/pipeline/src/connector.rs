//! A connector: one consumer group's source, fanned out to a loop a partition.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_core::{Records, TopicPartition};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::budget::{Budget, Held};
use crate::delivery::{Shared, Undelivered};
use crate::halt::{HaltGuard, Halted};
use crate::joining::Joining;
use crate::mailbox::{self, Mail, Mailbox, Unsent};
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::port::{Assignment, CheckpointLog, Epoch, Source, SourceEvent, Warehouse};
use crate::settings::ConnectorSettings;
use crate::status::{Phase, Status};
use crate::tables::{EventSchemas, TableCreation, Tables};

/// Why a connector ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It was told to; everything settled is committed.
    Stopped,
    /// The halt guard tripped. Nothing of the batch that tripped it was written; the connector goes on
    /// from there when it is started again.
    Halted(Box<Halted>),
}

/// One consumer group's work, from its source to its tables.
#[derive(Debug)]
pub struct Connector<L, W> {
    shared: Arc<Shared<L, W>>,
    budget: Budget,
}

/// A partition at work.
struct Running {
    epoch: Epoch,
    mailbox: Mailbox,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Undelivered>>,
    /// What did not fit into the mailbox; the source is paused until it is empty.
    overflow: VecDeque<Mail>,
}

/// How long a full mailbox may hold up the other partitions before its own is paused. A pause throws away
/// what the client has fetched ahead, and fetching it again takes until the broker answers the fetch that is
/// under way: it is for partitions that are stuck, not for those whose inserts take a while.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a paused partition's mailbox and ended loops are looked at.
const TICK: Duration = Duration::from_millis(50);

impl<L: CheckpointLog + 'static, W: Warehouse + 'static> Connector<L, W> {
    /// A connector that has not started. It keeps `status` up to date while it runs.
    #[must_use]
    pub fn new(
        settings: ConnectorSettings,
        world: (Arc<L>, Arc<W>),
        schemas: (EventSchemas, Option<TableCreation>),
        metrics: &Metrics,
        (budget, status): (Budget, Status),
    ) -> Self {
        let settings = Arc::new(settings);
        let (log, warehouse) = world;
        let own = (Arc::clone(&settings), status.clone());
        let tables = Tables::new(Arc::clone(&warehouse), own, schemas.0, schemas.1);
        let name = settings.context.connector.clone();
        let shared = Shared {
            guard: Mutex::new(HaltGuard::new(settings.halt_when)),
            joining: Joining::new(),
            metrics: metrics.connector(&name),
            status,
            settings,
            log,
            warehouse,
            tables,
        };
        Self { shared: Arc::new(shared), budget }
    }

    /// Runs until `stop` resolves or the halt guard trips. The source is the caller's to close.
    pub async fn run(self, source: &mut impl Source, stop: impl Future<Output = ()> + Send) -> Ended {
        self.shared.metrics.halted(false);
        let mut running = HashMap::new();
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => {
                    self.let_go(drain_all(&mut running)).await;
                    self.shared.status.phase(Phase::Stopped, None);
                    return Ended::Stopped;
                }
                _ = tick.tick() => {
                    self.flush_overflows(&mut running, source);
                    if let Some(halted) = self.reap(&mut running).await {
                        self.let_go(drain_all(&mut running)).await;
                        return self.halt(halted);
                    }
                }
                event = source.next() => match event {
                    Some(event) => self.on(event, &mut running, source).await,
                    None => {
                        self.let_go(drain_all(&mut running)).await;
                        self.shared.status.phase(Phase::Stopped, None);
                        return Ended::Stopped;
                    }
                },
            }
        }
    }

    async fn on(
        &self,
        event: SourceEvent,
        running: &mut HashMap<TopicPartition, Running>,
        source: &impl Source,
    ) {
        match event {
            SourceEvent::Assigned(assignments) => {
                self.budget.add_partitions(assignments.len());
                for assignment in assignments {
                    running.insert(assignment.source.clone(), self.start(&assignment));
                }
            }
            SourceEvent::Revoked { partitions, done } => {
                let revoked =
                    partitions.iter().filter_map(|partition| running.remove_entry(partition)).collect();
                self.let_go(revoked).await;
                // The source may have given up waiting; then it has fenced the epoch itself.
                let _ = done.send(());
            }
            SourceEvent::Records { epoch, records, end } => {
                self.shared.status.reading();
                let (partition, held) = self.account(&records, end);
                deliver_mail(
                    running,
                    source,
                    &partition,
                    epoch,
                    Mail::Records { records, held, place: None },
                )
                .await;
            }
            SourceEvent::CaughtUp { source: partition, epoch, position } => {
                self.shared.status.reading();
                let lag = self.shared.status.end(&partition, position);
                self.shared.metrics.lag(&partition, lag);
                deliver_mail(running, source, &partition, epoch, Mail::CaughtUp { position }).await;
            }
            SourceEvent::Missed { source, range } => {
                self.shared.metrics.missed(&source, range.end().abs_diff(range.first()));
            }
            SourceEvent::Faulted(fault) => {
                self.shared.metrics.retried(fault.kind);
                self.shared.status.phase(Phase::Waiting, Some(fault.to_string()));
                tracing::warn!(error = %fault, "read from kafka: waiting");
            }
        }
    }

    /// Counts what has been read; gives its partition, and what it holds of the budget.
    fn account(&self, records: &Records, end: i64) -> (TopicPartition, Held) {
        let partition = records.source().clone();
        let mut held = self.budget.hold();
        held.set(records.size_bytes());
        self.shared.metrics.read(records.size_bytes());
        let lag = self.shared.status.end(&partition, end);
        self.shared.metrics.lag(&partition, lag);
        (partition, held)
    }

    fn start(&self, assignment: &Assignment) -> Running {
        let Assignment { source, epoch, checkpoint, end } = assignment;
        self.shared.status.assigned(source, checkpoint.offset, *end);
        self.shared.metrics.lag(source, (end - checkpoint.offset).max(0));
        tracing::info!(partition = %source, offset = checkpoint.offset, intent = ?checkpoint.range(), "partition assigned");
        let (mailbox, mails) = mailbox::channel(&self.budget);
        let (stop, stopped) = oneshot::channel();
        let partition = Partition::new(Arc::clone(&self.shared), self.budget.clone(), assignment);
        let task = tokio::spawn(partition.run(mails, stopped));
        Running { epoch: *epoch, mailbox, stop, task, overflow: VecDeque::new() }
    }

    /// Stops loops and waits for them; each has its bounded time to finish its batch.
    async fn let_go(&self, leaving: Vec<(TopicPartition, Running)>) {
        self.budget.remove_partitions(leaving.len());
        let mut tasks = Vec::new();
        for (partition, Running { stop, task, .. }) in leaving {
            // A loop that has ended by itself does not listen any more.
            let _ = stop.send(());
            tasks.push((partition, task));
        }
        for (partition, task) in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, %partition, "partition loop panicked");
            }
            self.shared.status.revoked(&partition);
            self.shared.metrics.forget(&partition);
        }
    }

    /// Looks for loops that ended by themselves: a fenced one waits for its revocation, a halted one stops
    /// the connector, a panicked one is a bug that takes the program down rather than lose records.
    async fn reap(&self, running: &mut HashMap<TopicPartition, Running>) -> Option<Box<Halted>> {
        let ended: Vec<_> = running
            .iter()
            .filter(|(_, running)| running.task.is_finished())
            .map(|(source, _)| source.clone())
            .collect();
        for source in ended {
            let (source, Running { task, .. }) = running.remove_entry(&source)?;
            self.budget.remove_partitions(1);
            self.shared.metrics.forget(&source);
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(Undelivered::Fenced)) => {
                    tracing::info!(partition = %source, "partition belongs to another member");
                    self.shared.status.revoked(&source);
                }
                Ok(Err(Undelivered::Halted(halted))) => return Some(halted),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        None
    }

    fn halt(&self, halted: Box<Halted>) -> Ended {
        tracing::error!(reason = %halted, "connector halted");
        self.shared.metrics.halted(true);
        self.shared.status.phase(Phase::Halted, Some(halted.to_string()));
        Ended::Halted(halted)
    }

    fn flush_overflows(&self, running: &mut HashMap<TopicPartition, Running>, source: &impl Source) {
        for (partition, running) in running.iter_mut().filter(|(_, running)| !running.overflow.is_empty()) {
            while let Some(mail) = running.overflow.pop_front() {
                match running.mailbox.try_send(mail) {
                    Ok(()) => {}
                    Err(Unsent::Full(mail)) => {
                        running.overflow.push_front(mail);
                        break;
                    }
                    Err(Unsent::Closed) => running.overflow.clear(),
                }
            }
            if running.overflow.is_empty() {
                source.resume(partition);
            }
        }
    }
}

fn drain_all(running: &mut HashMap<TopicPartition, Running>) -> Vec<(TopicPartition, Running)> {
    running.drain().collect()
}

/// Hands mail to a partition's loop. Mail of an earlier assignment, or for a partition that has gone, is
/// stale: whoever owns the partition reads those records again.
async fn deliver_mail(
    running: &mut HashMap<TopicPartition, Running>,
    source: &impl Source,
    partition: &TopicPartition,
    epoch: Epoch,
    mail: Mail,
) {
    let Some(running) = running.get_mut(partition).filter(|running| running.epoch == epoch) else { return };
    if !running.overflow.is_empty() {
        running.overflow.push_back(mail);
        return;
    }
    match running.mailbox.send(mail, PATIENCE).await {
        // Where the loop has ended, `reap` sees to it.
        Ok(()) | Err(Unsent::Closed) => {}
        Err(Unsent::Full(mail)) => {
            source.pause(partition);
            running.overflow.push_back(mail);
        }
    }
}
