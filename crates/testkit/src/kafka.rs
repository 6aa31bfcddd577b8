//! A log of partitions with one consumer group: offsets with checkpoints, epochs that fence, and
//! a dead-letter topic that changes together with a checkpoint.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::{
    Checkpoint, DeadLetterContext, Fault, FaultKind, Header, OffsetRange, OffsetSet, PlanFingerprint,
    ReasonCode, Records, Stage, Timestamp, TimestampKind, TopicPartition,
};
use tidegate_pipeline::port::{Assignment, CheckpointLog, Epoch, Rejected, Source, SourceEvent};
use tokio::sync::Notify;

use crate::crash::Crash;
use crate::weather::{Stroke, Weather};

/// A dead letter as the fake topic holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FakeDeadLetter {
    /// Where its record came from.
    pub source: TopicPartition,
    /// The record's offset.
    pub offset: i64,
    /// The stage that refused it.
    pub stage: Stage,
    /// Why.
    pub code: ReasonCode,
    /// The column that it is about.
    pub column: Option<String>,
}

#[derive(Debug, Clone)]
struct Stored {
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<TopicPartition, Vec<Stored>>,
    committed: HashMap<TopicPartition, Checkpoint>,
    dead_letters: Vec<FakeDeadLetter>,
    faults: VecDeque<Fault>,
    epoch: u64,
    /// Who owns all partitions but those in `owners`, which went to somebody alone since.
    owner: u64,
    owners: HashMap<TopicPartition, u64>,
    /// How often the topics were created again.
    lives: i64,
}

impl State {
    /// Everything goes to somebody else, or to nobody.
    fn begin(&mut self) -> u64 {
        self.owners.clear();
        self.epoch += 1;
        self.owner = self.epoch;
        self.epoch
    }

    /// Applies a change of these partitions, if they all belong to `epoch`.
    fn change<'a>(
        &mut self,
        epoch: Epoch,
        mut sources: impl Iterator<Item = &'a TopicPartition>,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), Fault> {
        let owner = self.owner;
        if sources.any(|source| *self.owners.get(source).unwrap_or(&owner) != epoch.0) {
            return Err(Fault::new(FaultKind::Fenced, "another member owns the partition"));
        }
        match self.faults.pop_front() {
            Some(fault) => Err(fault),
            None => {
                change(self);
                Ok(())
            }
        }
    }
}

/// A broker with one group. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeKafka {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl FakeKafka {
    /// Appends a record and gives its offset.
    pub fn produce(&self, source: &TopicPartition, value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> i64 {
        let mut state = self.lock();
        let log = state.partitions.entry(source.clone()).or_default();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        log.push(Stored { value: value.map(<[u8]>::to_vec), headers });
        let offset = i64::try_from(log.len()).expect("a test's log is short") - 1;
        drop(state);
        self.changed.notify_waiters();
        offset
    }

    /// The next commits fail with these faults, and change nothing.
    pub fn fail_commits(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// The group's checkpoint.
    #[must_use]
    pub fn committed(&self, source: &TopicPartition) -> Option<Checkpoint> {
        self.lock().committed.get(source).cloned()
    }

    /// A person resets the group's offset of a partition, while the group has no members: whoever is left
    /// of it is fenced.
    pub fn reset(&self, source: &TopicPartition, checkpoint: Checkpoint) {
        let mut state = self.lock();
        state.begin();
        state.committed.insert(source.clone(), checkpoint);
    }

    /// Every topic is deleted and created again, a day later. Kafka forgets the group's offsets with them.
    pub fn recreate(&self) {
        let mut state = self.lock();
        state.begin();
        state.lives += 1;
        state.committed.clear();
        state.partitions.values_mut().for_each(Vec::clear);
    }

    /// One past the last offset.
    #[must_use]
    pub fn end(&self, source: &TopicPartition) -> i64 {
        let n_records = self.lock().partitions.get(source).map_or(0, Vec::len);
        i64::try_from(n_records).expect("a test's log is short")
    }

    /// The dead-letter topic, as a reader of committed records sees it.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<FakeDeadLetter> {
        self.lock().dead_letters.clone()
    }

    /// A process joins the group and takes all partitions; whoever had them before is fenced. Records
    /// arrive in runs of at most `run_max`.
    #[must_use]
    pub fn join(&self, run_max: usize, crash: Crash) -> (FakeSource, FakeLog) {
        self.join_in(run_max, crash, Weather::calm())
    }

    /// The same, for a process in this weather.
    #[must_use]
    pub fn join_in(&self, run_max: usize, crash: Crash, weather: Weather) -> (FakeSource, FakeLog) {
        let epoch = Epoch(self.lock().begin());
        self.member(epoch, None, run_max, (crash, weather))
    }

    /// A process takes one partition alone; whoever has the others keeps them, and is not told.
    #[must_use]
    pub fn take_in(
        &self,
        partition: &TopicPartition,
        run_max: usize,
        crash: Crash,
        weather: Weather,
    ) -> (FakeSource, FakeLog) {
        let mut state = self.lock();
        state.epoch += 1;
        let epoch = state.epoch;
        state.owners.insert(partition.clone(), epoch);
        drop(state);
        self.member(Epoch(epoch), Some(partition.clone()), run_max, (crash, weather))
    }

    fn member(
        &self,
        epoch: Epoch,
        only: Option<TopicPartition>,
        run_max: usize,
        (crash, weather): (Crash, Weather),
    ) -> (FakeSource, FakeLog) {
        let source = FakeSource {
            kafka: self.clone(),
            epoch,
            only,
            run_max,
            positions: BTreeMap::new(),
            assigned: false,
            caught_up: HashSet::new(),
            paused: Arc::default(),
        };
        (source, FakeLog { kafka: self.clone(), crash, weather, unsettled: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One member's source.
#[derive(Debug)]
pub struct FakeSource {
    kafka: FakeKafka,
    epoch: Epoch,
    /// The partition that it has alone; `None` for all.
    only: Option<TopicPartition>,
    run_max: usize,
    positions: BTreeMap<TopicPartition, i64>,
    assigned: bool,
    caught_up: HashSet<(TopicPartition, i64)>,
    paused: Arc<Mutex<HashSet<TopicPartition>>>,
}

impl FakeSource {
    fn poll(&mut self) -> Option<SourceEvent> {
        let state = self.kafka.lock();
        if !self.assigned {
            self.assigned = true;
            let own = |source: &TopicPartition| self.only.as_ref().is_none_or(|only| only == source);
            let assigned = state.partitions.iter().filter(|(source, _)| own(source));
            let assignments = assigned.map(|(source, log)| {
                let checkpoint = state.committed.get(source).cloned().unwrap_or(Checkpoint::settled(0));
                self.positions.insert(source.clone(), checkpoint.offset);
                let end = i64::try_from(log.len()).expect("a test's log is short");
                Assignment { source: source.clone(), epoch: self.epoch, checkpoint, end }
            });
            return Some(SourceEvent::Assigned(assignments.collect()));
        }
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (source, position) in &mut self.positions {
            if paused.contains(source) {
                continue;
            }
            let log = &state.partitions[source];
            let end = i64::try_from(log.len()).expect("a test's log is short");
            let from = usize::try_from(*position).expect("offsets start at 0");
            if from >= log.len() {
                if self.caught_up.insert((source.clone(), *position)) {
                    let (source, position) = (source.clone(), *position);
                    return Some(SourceEvent::CaughtUp { source, epoch: self.epoch, position });
                }
                continue;
            }
            let mut records = Records::new(source.clone());
            for stored in log.iter().skip(from).take(self.run_max) {
                let headers = stored.headers.iter().map(|(name, value)| Header { name, value: Some(value) });
                let millis = 1_700_000_000_000 + 86_400_000 * state.lives + *position;
                let timestamp = Timestamp { millis, kind: TimestampKind::CreateTime };
                records.push(*position, Some(timestamp), None, stored.value.as_deref(), headers);
                *position += 1;
            }
            return Some(SourceEvent::Records { epoch: self.epoch, records, end });
        }
        None
    }
}

impl Source for FakeSource {
    async fn next(&mut self) -> Option<SourceEvent> {
        loop {
            let kafka = self.kafka.clone();
            let changed = kafka.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(event) = self.poll() {
                return Some(event);
            }
            changed.await;
        }
    }

    fn pause(&self, source: &TopicPartition) {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).insert(source.clone());
    }

    fn resume(&self, source: &TopicPartition) {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).remove(source);
        self.kafka.changed.notify_waiters();
    }
}

/// One member's commits.
#[derive(Debug)]
pub struct FakeLog {
    kafka: FakeKafka,
    crash: Crash,
    weather: Weather,
    /// Transactions whose end is unknown: as the adapter does, they are looked for before they are repeated.
    unsettled: Mutex<HashMap<TopicPartition, Checkpoint>>,
}

impl CheckpointLog for FakeLog {
    async fn commit(
        &self,
        epoch: Epoch,
        source: &TopicPartition,
        checkpoint: Checkpoint,
    ) -> Result<(), Fault> {
        let (stroke, late) = self.weather.next();
        tokio::time::sleep(late).await;
        let commit = || {
            self.kafka.lock().change(epoch, [source].into_iter(), |state| {
                state.committed.insert(source.clone(), checkpoint);
            })
        };
        self.crash.effect(|| stroke.strike(commit, |fault| fault)).await
    }

    async fn commit_all(&self, commits: &[(Epoch, TopicPartition, Checkpoint)]) -> Result<(), Fault> {
        let (stroke, late) = self.weather.next();
        tokio::time::sleep(late).await;
        let commit = || {
            let sources = commits.iter().map(|(_, source, _)| source);
            let Some((epoch, ..)) = commits.first() else { return Ok(()) };
            self.kafka.lock().change(*epoch, sources, |state| {
                let checkpoints =
                    commits.iter().map(|(_, source, checkpoint)| (source.clone(), checkpoint.clone()));
                state.committed.extend(checkpoints);
            })
        };
        self.crash.effect(|| stroke.strike(commit, |fault| fault)).await
    }

    async fn commit_with_dead_letters(
        &self,
        epoch: Epoch,
        checkpoint: Checkpoint,
        records: &Records,
        rejected: &[Rejected],
        _context: &DeadLetterContext,
        _plan: PlanFingerprint,
    ) -> Result<(), Fault> {
        let source = records.source().clone();
        let (stroke, late) = self.weather.next();
        tokio::time::sleep(late).await;
        let unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).remove(&source);
        if unsettled.as_ref() == Some(&checkpoint) && self.kafka.committed(&source) == unsettled {
            return Ok(());
        }
        if stroke != Stroke::Fine {
            let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            unsettled.insert(source, checkpoint.clone());
        }
        let letters = rejected.iter().map(|rejected| FakeDeadLetter {
            source: records.source().clone(),
            offset: records.get(rejected.index).expect("rejects point into their batch").offset,
            stage: rejected.reject.stage,
            code: rejected.reject.reason().code,
            column: rejected.reject.reason().column.clone(),
        });
        let commit = || {
            self.kafka.lock().change(epoch, [records.source()].into_iter(), |state| {
                state.dead_letters.extend(letters);
                state.committed.insert(records.source().clone(), checkpoint);
            })
        };
        self.crash.effect(|| stroke.strike(commit, |fault| fault)).await
    }

    async fn dead_lettered(&self, source: &TopicPartition, range: OffsetRange) -> Result<OffsetSet, Fault> {
        let letters = self.kafka.dead_letters().into_iter().filter(|letter| letter.source == *source);
        let offsets = letters.map(|letter| letter.offset).filter(|offset| range.contains(*offset));
        self.crash.effect(|| Ok(offsets.collect())).await
    }
}
