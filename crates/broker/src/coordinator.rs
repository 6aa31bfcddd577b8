//! All consumer groups: who is in them, and what they have committed.
//!
//! Invariant: an offset is in the journal before it is in memory, and both change under one lock.
//!
//! Offsets that nobody uses expire (KIP-211), by a clock that runs while the broker does: neither a machine
//! that was off nor one whose clock was set takes a group's place away. The journal has that clock.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::consumers::Consumers;
use crate::group::{Claim, Group, State};
use crate::offsets::{Committed, Offsets, Place};
use crate::options::{Fsync, Limits};
use crate::store::Journal;
use crate::sync::lock;

/// From this size on the journal is rewritten once most of it is superseded.
const JOURNAL_BYTES_MIN: u64 = 4 << 20;

/// How often the journal is told the time and who is in use. What a crash takes of both it takes together:
/// offsets may be kept longer by this, never shorter.
const RECORD_INTERVAL: Duration = Duration::from_mins(1);

/// One change, as the journal keeps it. It is applied whole or not at all.
#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    #[serde(rename = "commit")]
    Commit { group: String, offsets: Vec<(Place, Committed)> },
    #[serde(rename = "forget")]
    Forget { group: String, places: Vec<Place> },
    #[serde(rename = "delete")]
    Delete { group: String },
    /// At this time of the coordinator's clock, in milliseconds, these groups were in use.
    #[serde(rename = "used")]
    Used { at: u64, groups: Vec<String> },
}

/// The time that the broker has run, in all its lives.
#[derive(Debug, Default)]
struct Clock {
    at: Duration,
    read: Option<Instant>,
    /// When the journal was last told, in this life.
    recorded: Option<Duration>,
}

impl Clock {
    fn advance(&mut self, now: Instant) {
        let last = self.read.unwrap_or(now).min(now);
        self.at += now - last;
        self.read = Some(now);
    }

    fn record_due(&self) -> bool {
        self.recorded.is_none_or(|recorded| self.at.saturating_sub(recorded) >= RECORD_INTERVAL)
    }

    fn used(&self, groups: Vec<String>) -> Entry {
        Entry::Used { at: self.at.as_millis() as u64, groups }
    }
}

/// A group. It has members of one protocol at a time.
#[derive(Debug, Default)]
pub(crate) struct Coordinated {
    /// Members of the classic protocol.
    pub(crate) group: Group,
    /// Members of the consumer protocol.
    pub(crate) consumers: Consumers,
    pub(crate) offsets: Offsets,
    /// When it last had a member or got an offset, by the coordinator's clock.
    used_at: Duration,
}

impl Coordinated {
    /// Whether it has members.
    fn peopled(&self) -> bool {
        !self.group.vacant() || !self.consumers.vacant()
    }

    /// Whether someone is about to commit or to read its offsets.
    fn in_use(&self) -> bool {
        self.peopled() || self.offsets.awaited()
    }

    /// Kafka's name of the group's state.
    pub(crate) fn state(&self) -> &'static str {
        match self.consumers.vacant() {
            true => self.group.state().name(),
            false => self.consumers.state(),
        }
    }

    /// Whether a commit of offsets is to be taken.
    fn admit_commit(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        match self.consumers.vacant() {
            true => self.group.admit_commit(claim, now),
            false => self.consumers.admit_offsets(claim),
        }
    }

    /// Whether a commit within a transaction is to be taken. Older producers state no member.
    fn admit_transactional_commit(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        let unclaimed = claim.generation < 0 && claim.member_id.is_empty();
        match self.consumers.vacant() {
            true => self.group.admit_transactional_commit(claim, now),
            false if unclaimed => Ok(()),
            false => self.consumers.admit_offsets(claim).map_err(|error| match error {
                ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
                other => other,
            }),
        }
    }

    /// Whether who asks for offsets may have them; members of the consumer protocol say who they are.
    pub(crate) fn admit_fetch(&self, claim: &Claim<'_>) -> Result<(), ResponseError> {
        match claim.member_id.is_empty() || self.consumers.vacant() {
            true => Ok(()),
            false => self.consumers.admit_offsets(claim),
        }
    }
}

#[derive(Debug)]
struct Groups {
    by_id: HashMap<String, Coordinated>,
    journal: Journal,
    clock: Clock,
    /// The journal's size after it was last rewritten.
    rewritten_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    groups: Mutex<Groups>,
    limits: Limits,
}

impl Coordinator {
    pub(crate) fn open(directory: &Path, fsync: Fsync, limits: &Limits) -> io::Result<Self> {
        let (journal, entries) = Journal::open(&directory.join("offsets.log"), fsync)?;
        let mut groups =
            Groups { by_id: HashMap::new(), journal, clock: Clock::default(), rewritten_bytes: 0 };
        for entry in entries {
            groups.apply(serde_json::from_str(&entry).map_err(io::Error::from)?);
        }
        groups.rewrite()?;
        Ok(Self { groups: Mutex::new(groups), limits: limits.clone() })
    }

    /// Does something with a group, which is created if there is none.
    pub(crate) fn with<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut Coordinated) -> T,
    ) -> Result<T, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = lock(&self.groups);
        if !groups.by_id.contains_key(id) && groups.by_id.len() >= self.limits.groups_max {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        Ok(act(groups.by_id.entry(id.to_owned()).or_default()))
    }

    /// Does something with a group, if there is one.
    pub(crate) fn with_known<T>(&self, id: &str, act: impl FnOnce(&mut Coordinated) -> T) -> Option<T> {
        lock(&self.groups).by_id.get_mut(id).map(act)
    }

    /// What `act` makes of each group.
    pub(crate) fn map<T>(&self, mut act: impl FnMut(&str, &Coordinated) -> Option<T>) -> Vec<T> {
        lock(&self.groups).by_id.iter().filter_map(|(id, group)| act(id, group)).collect()
    }

    /// Commits the offsets if the group's generation admits it.
    pub(crate) fn commit(
        &self,
        id: &str,
        claim: &Claim<'_>,
        offsets: Vec<(Place, Committed)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = lock(&self.groups);
        if !groups.by_id.contains_key(id) && groups.by_id.len() >= self.limits.groups_max {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let coordinated = groups.by_id.entry(id.to_owned()).or_default();
        coordinated.admit_commit(claim, now)?;
        room(coordinated, offsets.len(), &self.limits)?;
        groups.append(Entry::Commit { group: id.to_owned(), offsets })
    }

    /// Keeps the offsets until the producer's transaction ends, if the group's generation admits it.
    pub(crate) fn hold(
        &self,
        (id, producer_id): (&str, i64),
        claim: &Claim<'_>,
        offsets: Vec<(Place, Committed)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.with(id, |coordinated| {
            coordinated.admit_transactional_commit(claim, now)?;
            room(coordinated, offsets.len(), &self.limits)?;
            coordinated.offsets.hold(producer_id, offsets);
            Ok(())
        })?
    }

    /// The offsets that the producer's transaction holds in a group.
    pub(crate) fn held(&self, id: &str, producer_id: i64) -> Vec<(Place, Committed)> {
        self.with_known(id, |coordinated| coordinated.offsets.held(producer_id)).unwrap_or_default()
    }

    /// Commits what a transaction held. May be repeated.
    pub(crate) fn commit_held(
        &self,
        id: &str,
        producer_id: i64,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<(), ResponseError> {
        if !offsets.is_empty() {
            self.apply(Entry::Commit { group: id.to_owned(), offsets })?;
        }
        self.release(id, producer_id);
        Ok(())
    }

    /// Drops what a transaction held.
    pub(crate) fn release(&self, id: &str, producer_id: i64) {
        self.with_known(id, |coordinated| coordinated.offsets.release(producer_id));
    }

    /// Forgets committed offsets.
    pub(crate) fn forget(&self, id: &str, places: Vec<Place>) -> Result<(), ResponseError> {
        self.apply(Entry::Forget { group: id.to_owned(), places })
    }

    /// Deletes a group without members.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        match groups.by_id.get(id) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(coordinated)
                if coordinated.group.state() != State::Empty || !coordinated.consumers.vacant() =>
            {
                Err(ResponseError::NonEmptyGroup)
            }
            Some(_) => groups.append(Entry::Delete { group: id.to_owned() }),
        }
    }

    fn apply(&self, entry: Entry) -> Result<(), ResponseError> {
        lock(&self.groups).append(entry)
    }

    /// Lets time pass in every group.
    pub(crate) fn advance(&self, now: Instant) {
        let mut groups = lock(&self.groups);
        let groups = &mut *groups;
        groups.clock.advance(now);
        for coordinated in groups.by_id.values_mut() {
            if coordinated.in_use() {
                coordinated.used_at = groups.clock.at;
            }
            coordinated.group.advance(now);
            coordinated.consumers.advance(now);
        }
        groups.by_id.retain(|_, coordinated| coordinated.peopled() || !coordinated.offsets.vacant());
    }

    /// Forgets the offsets of groups that were not in use for this time, and from time to time those of
    /// topics that are not `known`.
    pub(crate) fn expire(
        &self,
        retention: Duration,
        known: impl Fn(&str) -> bool,
    ) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let now = groups.clock.at;
        let expired = |group: &Coordinated| !group.in_use() && now.saturating_sub(group.used_at) >= retention;
        groups.forget_besides(|group, _| !expired(group))?;
        if groups.clock.record_due() {
            groups.forget_besides(|_, (topic, _)| known(topic))?;
            groups.record()?;
        }
        Ok(())
    }

    /// Forgets what all groups have committed for a topic, which has been deleted.
    pub(crate) fn forget_topic(&self, name: &str) -> Result<(), ResponseError> {
        lock(&self.groups).forget_besides(|_, (topic, _)| topic != name)
    }

    /// Has on the disk what the journal is to have there by now.
    pub(crate) fn flush(&self, now: Instant) -> io::Result<()> {
        let due = lock(&self.groups).journal.begin_flush(now)?;
        match due.map(|file| file.sync_data()) {
            Some(Err(error)) => {
                tracing::error!(%error, "committed offsets were not flushed; they are written again");
                lock(&self.groups).rewrite()
            }
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Rewrites the journal if most of it is superseded.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let mut groups = lock(&self.groups);
        let size_bytes = groups.journal.size_bytes();
        if size_bytes > JOURNAL_BYTES_MIN && size_bytes > 4 * groups.rewritten_bytes {
            groups.rewrite()?;
        }
        Ok(())
    }
}

fn room(coordinated: &Coordinated, n: usize, limits: &Limits) -> Result<(), ResponseError> {
    match coordinated.offsets.len() + n <= limits.group_offsets_max {
        true => Ok(()),
        // A group near its limit may still commit where it has committed before, one request at a time.
        false if n <= coordinated.offsets.iter().count() => Ok(()),
        false => Err(ResponseError::PolicyViolation),
    }
}

impl Groups {
    fn append(&mut self, entry: Entry) -> Result<(), ResponseError> {
        let line = serde_json::to_string(&entry).map_err(|_| ResponseError::UnknownServerError)?;
        if let Err(error) = self.journal.append(&line) {
            tracing::error!(%error, "offsets were not written");
            return Err(ResponseError::KafkaStorageError);
        }
        self.apply(entry);
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Commit { group, offsets } => {
                let coordinated = self.by_id.entry(group).or_default();
                coordinated.offsets.commit(offsets);
                coordinated.used_at = self.clock.at;
            }
            Entry::Forget { group, places } => {
                if let Some(coordinated) = self.by_id.get_mut(&group) {
                    places.iter().for_each(|place| coordinated.offsets.forget(place));
                }
            }
            Entry::Delete { group } => {
                self.by_id.remove(&group);
            }
            Entry::Used { at, groups } => {
                self.clock.at = Duration::from_millis(at);
                for group in groups {
                    if let Some(coordinated) = self.by_id.get_mut(&group) {
                        coordinated.used_at = self.clock.at;
                    }
                }
            }
        }
    }

    /// Forgets the committed offsets that are not to be kept.
    fn forget_besides(&mut self, kept: impl Fn(&Coordinated, &Place) -> bool) -> Result<(), ResponseError> {
        let besides = |group: &Coordinated| group.offsets.besides(|place| kept(group, place));
        let gone: Vec<(String, Vec<Place>)> =
            self.by_id.iter().map(|(id, group)| (id.clone(), besides(group))).collect();
        for (group, places) in gone.into_iter().filter(|(_, places)| !places.is_empty()) {
            tracing::info!(group, n = places.len(), "committed offsets are removed");
            self.append(Entry::Forget { group, places })?;
        }
        Ok(())
    }

    /// Tells the journal the time and who is in use, if anyone has committed anything.
    fn record(&mut self) -> Result<(), ResponseError> {
        let committed = |group: &Coordinated| group.offsets.iter().next().is_some();
        if self.by_id.values().any(committed) {
            let used = self.by_id.iter().filter(|(_, group)| group.in_use() && committed(group));
            let used = used.map(|(id, _)| id.clone()).collect();
            self.append(self.clock.used(used))?;
        }
        self.clock.recorded = Some(self.clock.at);
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut entries = Vec::new();
        for (id, coordinated) in &self.by_id {
            let committed = coordinated.offsets.iter();
            let offsets: Vec<_> = committed.map(|(place, at)| (place.clone(), at.clone())).collect();
            if !offsets.is_empty() {
                // A commit is of the time that the journal was last told.
                let at = coordinated.used_at.as_millis() as u64;
                entries.push(Entry::Used { at, groups: Vec::new() });
                entries.push(Entry::Commit { group: id.clone(), offsets });
            }
        }
        entries.push(self.clock.used(Vec::new()));
        let lines: Result<Vec<String>, _> = entries.iter().map(serde_json::to_string).collect();
        self.journal.rewrite(&lines.map_err(io::Error::from)?)?;
        self.rewritten_bytes = self.journal.size_bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
