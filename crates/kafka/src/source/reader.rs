//! The polling thread: copies messages into chunks of one partition each, and carries out rebalances.
//!
//! It never stops polling for longer than [`PATIENCE`], except where a revocation waits for the
//! pipeline: a member that does not poll loses its partitions.

mod rebalance;
mod rejoining;
mod starting;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::{Fault, OffsetRange, Records, TopicId, TopicPartition};
use tidegate_pipeline::port::{Epoch, SourceEvent};
use tracing::{debug, warn};

use self::rebalance::Duties;
use self::starting::Starting;
use super::context::SourceContext;
use super::start::{list, watermarks};
use super::{Member, OffsetReset, SourceCounters, SourceOptions};
use crate::checkpoints::Starts;
use crate::fault::of_code;
use crate::message::push;
use crate::ownership::Ownership;
use crate::queue::EventQueue;

/// A chunk is sent once it holds this much: large enough that the hand-over costs nothing, small enough
/// that many partitions fit into the queue.
const CHUNK_BYTES: usize = 256 * 1024;

/// How long a full queue is waited for before reading pauses. Pausing throws away what librdkafka has
/// fetched, so it should not happen for a hiccup.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request to a broker may hold up the thread.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before a failed duty is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The same fault is told again after this long.
const FAULT_REPEAT: Duration = Duration::from_secs(5);

/// What the thread shares with the source and the checkpoints.
pub(super) struct Shared {
    pub queue: Arc<EventQueue>,
    pub counters: Arc<SourceCounters>,
    pub ownership: Arc<Ownership>,
    pub starts: Starts,
}

/// A partition that is being read.
struct Open {
    source: TopicPartition,
    epoch: Epoch,
    /// The topic, if its id is known.
    topic: Option<TopicId>,
    /// Whether another topic has its name now: what comes is none of this one.
    replaced: bool,
    /// The next offset that will be taken.
    position: i64,
    /// The end as it was last seen.
    end: i64,
    chunk: Records,
    /// Whether librdkafka has been told to pause it. Unknown after an assignment: librdkafka keeps a
    /// partition paused that goes and comes back.
    paused: Option<bool>,
}

/// The polling thread's state.
pub(super) struct Reader {
    consumer: Arc<BaseConsumer<SourceContext>>,
    member: Member,
    shared: Shared,
    reset: OffsetReset,
    revoke_wait_max: Duration,
    address: String,
    open: Vec<Open>,
    /// Where the last message's partition stands in `open`: the next one is likely to be of it.
    last: usize,
    /// Events that found no room.
    outbox: VecDeque<SourceEvent>,
    stalled: bool,
    pausing: crate::queue::Pausing,
    /// Starts that are being committed.
    starting: Vec<Starting>,
    /// The version of the topics' ids that was compared with what is open.
    ids_version: u64,
    duties: Duties,
    told: Option<(Fault, Instant)>,
    /// Whether librdkafka was found to read some partition no more.
    deaf: bool,
    failed: bool,
}

impl Reader {
    pub(super) fn new(
        consumer: Arc<BaseConsumer<SourceContext>>,
        member: Member,
        shared: Shared,
        options: &SourceOptions,
        address: String,
    ) -> Self {
        Self {
            consumer,
            member,
            shared,
            reset: options.reset,
            revoke_wait_max: options.revoke_wait_max,
            address,
            open: Vec::new(),
            last: 0,
            outbox: VecDeque::new(),
            stalled: false,
            pausing: crate::queue::Pausing::default(),
            starting: Vec::new(),
            ids_version: 0,
            duties: Duties::default(),
            told: None,
            deaf: false,
            failed: false,
        }
    }

    /// Reads until the source is closed, then leaves the group.
    pub(super) fn run(mut self) {
        while self.wanted() {
            let consumer = Arc::clone(&self.consumer);
            while self.wanted() && !self.deaf {
                match consumer.poll(self.wait()) {
                    Some(Ok(message)) => self.take(&message),
                    Some(Err(error)) => self.hear(&error),
                    None => self.idle(),
                }
            }
            if self.wanted() {
                self.rejoin(consumer);
            }
        }
        self.leave();
    }

    fn wanted(&self) -> bool {
        !self.failed && !self.shared.queue.closing()
    }

    /// The last word of a source that goes: everything is let go of, then the group is left.
    fn leave(self) {
        self.shared.queue.end();
        self.shared.ownership.close_all();
        self.consumer.context().close();
        // The last reference leaves the group. A commit under way may hold another for a moment.
        drop(self.consumer);
    }

    /// Nothing is waited for while a chunk could be sent, and little while something is to be done.
    fn wait(&self) -> Duration {
        if self.open.iter().any(|open| !open.chunk.is_empty()) {
            return Duration::ZERO;
        }
        let busy = self.stalled || !self.duties.is_idle() || !self.pausing.paused.is_empty();
        Duration::from_millis(if busy { 10 } else { 100 })
    }

    /// The queue of librdkafka is empty, or an event other than a record was served.
    fn idle(&mut self) {
        self.flush_all();
        self.unstall();
        self.follow_pausing();
        self.serve_duties();
        self.follow_starts();
        self.listen();
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.compare_ids();
        let Some(index) = self.find(message.topic(), message.partition()) else { return };
        self.last = index;
        let open = &mut self.open[index];
        // A pause or a seek lets librdkafka fetch again what was under way.
        if message.offset() < open.position || open.replaced {
            return;
        }
        push(&mut open.chunk, message);
        open.position = message.offset() + 1;
        if open.chunk.size_bytes() >= CHUNK_BYTES {
            self.flush(index);
            self.follow_pausing();
        }
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        let matches = |open: &Open| open.source.partition == partition && *open.source.topic == *topic;
        match self.open.get(self.last) {
            Some(open) if matches(open) => Some(self.last),
            Some(_) | None => self.open.iter().position(matches),
        }
    }

    fn flush_all(&mut self) {
        for index in 0..self.open.len() {
            self.flush(index);
        }
    }

    fn flush(&mut self, index: usize) {
        let open = &mut self.open[index];
        if open.chunk.is_empty() {
            return;
        }
        let another = open.chunk.another();
        let records = std::mem::replace(&mut open.chunk, another);
        let told = self.consumer.context().end(&open.source).unwrap_or(open.end);
        open.end = told.max(open.end).max(open.position);
        let event = SourceEvent::Records { epoch: open.epoch, records, end: open.end };
        self.send(event);
    }

    /// Puts an event into the queue. If that stays full, reading pauses, and polling goes on.
    fn send(&mut self, event: SourceEvent) {
        if !self.outbox.is_empty() {
            self.outbox.push_back(event);
        } else if let Err(event) = self.shared.queue.offer(event, PATIENCE) {
            self.outbox.push_back(*event);
            self.stalled = true;
            self.shared.counters.stalls.fetch_add(1, Ordering::Relaxed);
            debug!("reading pauses: the pipeline takes no records");
            self.apply_pausing();
        }
    }

    fn unstall(&mut self) {
        if !self.stalled {
            return;
        }
        while let Some(event) = self.outbox.pop_front() {
            if let Err(event) = self.shared.queue.offer(event, Duration::ZERO) {
                self.outbox.push_front(*event);
                return;
            }
        }
        if self.shared.queue.half_free() {
            self.stalled = false;
            debug!("reading goes on");
            self.apply_pausing();
        }
    }

    fn follow_pausing(&mut self) {
        if let Some(pausing) = self.shared.queue.pausing_since(self.pausing.version) {
            self.pausing = pausing;
            self.apply_pausing();
        }
    }

    /// Pauses and resumes what differs from what is wanted.
    fn apply_pausing(&mut self) {
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for open in &mut self.open {
            let wanted = self.stalled || self.pausing.paused.contains(&open.source);
            if open.paused != Some(wanted) {
                open.paused = Some(wanted);
                let list = if wanted { &mut pause } else { &mut resume };
                list.add_partition(&open.source.topic, open.source.partition);
            }
        }
        if pause.count() > 0
            && let Err(error) = self.consumer.pause(&pause)
        {
            warn!(%error, "pause partitions");
        }
        if resume.count() > 0
            && let Err(error) = self.consumer.resume(&resume)
        {
            warn!(%error, "resume partitions");
        }
    }

    fn hear(&mut self, error: &KafkaError) {
        if let KafkaError::PartitionEOF(partition) = error {
            let end = self.consumer.context().take_end_reached();
            return self.caught_up(*partition, end);
        }
        let Some(code) = error.rdkafka_error_code() else { return };
        let reason = self.consumer.context().quiet.take().filter(|complaint| complaint.code == code);
        let doing = match &reason {
            Some(complaint) => format!("read from Kafka at `{}`: {}", self.address, complaint.reason),
            None => format!("read from Kafka at `{}`", self.address),
        };
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation => self.duties.check_range(),
            RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition => {
                self.duties.look_for_gone();
                self.tell(of_code(code, &doing));
            }
            _ => self.tell(of_code(code, &doing)),
        }
        if let KafkaError::MessageConsumptionFatal(_) = error {
            self.failed = true;
            let all: Vec<TopicPartition> = self.open.iter().map(|open| open.source.clone()).collect();
            self.shared.ownership.close(&all);
            self.let_go(&all);
        }
    }

    /// Tells a fault, unless it was told just now.
    fn tell(&mut self, fault: Fault) {
        let repeated =
            self.told.as_ref().is_some_and(|(told, at)| *told == fault && at.elapsed() < FAULT_REPEAT);
        if !repeated {
            self.told = Some((fault.clone(), Instant::now()));
            self.shared.queue.overtake(SourceEvent::Faulted(fault));
        }
    }

    /// A partition of that number has reached its end. Which topic's it is, the Rust client does not
    /// say; see [`Reader::at_end`].
    fn caught_up(&mut self, partition: i32, end: Option<i64>) {
        let of_number = |(_, open): &(usize, &Open)| open.source.partition == partition && !open.replaced;
        let candidates: Vec<usize> = self.open.iter().enumerate().filter(of_number).map(|(i, _)| i).collect();
        for (index, position) in self.at_end(&candidates, end) {
            self.flush(index);
            let open = &mut self.open[index];
            open.position = open.position.max(position);
            open.end = open.end.max(open.position);
            let event = SourceEvent::CaughtUp {
                source: open.source.clone(),
                epoch: open.epoch,
                position: open.position,
            };
            self.send(event);
        }
    }

    /// Which of the candidates have reached their end, and where. With one candidate it is that one.
    /// With several, those whose next offset is the reported end have nothing before it to wait for,
    /// whichever was meant. If there is none, transaction markers stand between the last record and
    /// the end, and the candidate is told by the logs' ends; if that stays open, nothing is said.
    fn at_end(&self, candidates: &[usize], end: Option<i64>) -> Vec<(usize, i64)> {
        let position = |index: &usize| self.open[*index].position;
        if let [only] = candidates {
            return vec![(*only, end.unwrap_or(position(only)))];
        }
        let Some(end) = end else { return Vec::new() };
        let exact: Vec<_> = candidates.iter().filter(|index| position(index) == end).collect();
        if !exact.is_empty() {
            return exact.into_iter().map(|index| (*index, end)).collect();
        }
        let behind = candidates.iter().filter(|index| position(index) < end);
        let behind: Vec<usize> = behind.copied().collect();
        let sources: Vec<_> = behind.iter().map(|index| self.open[*index].source.clone()).collect();
        let Ok(ends) = watermarks(&self.consumer, &sources, REQUEST_TIMEOUT) else { return Vec::new() };
        let reaches =
            |index: &usize| ends.get(&self.open[*index].source).is_some_and(|(_, high)| *high >= end);
        let able: Vec<usize> = behind.into_iter().filter(reaches).collect();
        match able[..] {
            [only] => vec![(only, end)],
            _ => Vec::new(),
        }
    }

    /// Partitions whose next offset is not in the log any more go to its first record: behind what retention
    /// took, if it took something, else under a new epoch, since the log is another one; those of a topic that was
    /// created again too, wherever they are. Errors are tried again later.
    fn check_range(&mut self) -> Result<(), Fault> {
        let sources: Vec<_> = self.open.iter().map(|open| open.source.clone()).collect();
        self.identify(&sources, REQUEST_TIMEOUT)?;
        let found = watermarks(&self.consumer, &sources, REQUEST_TIMEOUT)?;
        let (mut overtaken, mut anew) = (Vec::new(), Vec::new());
        for open in &mut self.open {
            let Some(&(low, end)) = found.get(&open.source) else { continue };
            let (source, position) = (open.source.clone(), open.position);
            if open.replaced {
                self.shared.counters.recreated.fetch_add(1, Ordering::Relaxed);
                warn!(%source, position, low, end, "another topic has this name now: going to its first record");
                anew.push(source);
                continue;
            }
            if (low..=end).contains(&position) {
                continue;
            }
            self.shared.counters.out_of_range.fetch_add(1, Ordering::Relaxed);
            warn!(%source, position, low, end, "the next offset is not in the log: going to the first record");
            if position < low {
                // What has been read of the log stays with the pipeline: it may be the last copy.
                open.position = low;
                overtaken.push((source, position, low));
            } else {
                anew.push(source);
            }
        }
        if overtaken.is_empty() && anew.is_empty() {
            // The log has changed again meanwhile; whoever stopped goes on where it was.
            return self.reassign(&sources);
        }
        let mut moved = anew.clone();
        for (source, position, low) in overtaken {
            self.tell_missed(&source, position, low);
            moved.push(source);
        }
        self.restart(&anew, &found);
        self.reassign(&moved)
    }

    /// Tells that retention took records that nobody had read.
    fn tell_missed(&self, source: &TopicPartition, first: i64, low: i64) {
        if let Some(range) = OffsetRange::new(first, low) {
            self.shared.queue.overtake(SourceEvent::Missed { source: source.clone(), range });
        }
    }

    /// Lets librdkafka fetch these partitions from our positions on. A fetch that was refused for its
    /// offset has stopped its partition, and a seek does not start it again.
    fn reassign(&mut self, sources: &[TopicPartition]) -> Result<(), Fault> {
        let eager = matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Eager);
        let mut list = TopicPartitionList::new();
        for open in self.open.iter_mut().filter(|open| eager || sources.contains(&open.source)) {
            let mut element = list.add_partition(&open.source.topic, open.source.partition);
            element.set_offset(Offset::Offset(open.position)).expect("a position has a number");
            open.paused = None;
        }
        let assigned = if eager {
            self.consumer.assign(&list)
        } else {
            // One that an earlier, failed call has taken out is not there to be taken out again.
            let out = self.consumer.incremental_unassign(&list);
            out.or_else(|error| if self.missing(sources) { Ok(()) } else { Err(error) })
                .and_then(|()| self.consumer.incremental_assign(&list))
        };
        self.apply_pausing();
        assigned.map_err(|error| crate::fault::fault(&error, "start partitions again"))
    }

    /// Whether librdkafka has none of these partitions assigned.
    fn missing(&self, sources: &[TopicPartition]) -> bool {
        let none = |assignment: TopicPartitionList| {
            sources.iter().all(|source| assignment.find_partition(&source.topic, source.partition).is_none())
        };
        self.consumer.assignment().is_ok_and(none)
    }
}
