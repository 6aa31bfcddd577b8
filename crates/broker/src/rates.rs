//! Client quotas: how many bytes a second users and clients may produce and fetch.
//!
//! As KIP-219 has it, a request beyond the quota is answered at once, with the time that the client is to
//! wait; for that time nothing more is read from its connection. Quotas are kept in `quotas.json` and
//! changed by AlterClientQuotas; [`Rates`] of the options are for clients that no quota there is for.
//!
//! A deviation from Kafka: what has been used is not averaged over 11 windows of a second, but runs off at
//! the quota's rate, beyond what one second lets through.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::store;
use crate::sync::{lock, read, write};

/// No connection is left alone for longer: the requests that a client has under way, 30 s of patience in
/// Java, must not be given up. Who used more than that is forgiven the rest.
const MUTE_MAX: Duration = Duration::from_secs(20);
/// What may be used at once: this long at the quota's rate.
const BURST: Duration = Duration::from_secs(1);
/// Users and clients whose use is remembered; names come from outside.
const REMEMBERED_MAX: usize = 10_000;
/// Quotas that are kept.
const QUOTAS_MAX: usize = 10_000;

/// Bytes a second that one client may produce and fetch; without a value, as many as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Kafka's `producer_byte_rate`.
    pub produce: Option<u64>,
    /// Kafka's `consumer_byte_rate`.
    pub fetch: Option<u64>,
}

impl Rates {
    pub(crate) fn of(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Produce => self.produce,
            Direction::Fetch => self.fetch,
        }
    }

    pub(crate) fn set(&mut self, direction: Direction, rate: Option<u64>) {
        match direction {
            Direction::Produce => self.produce = rate,
            Direction::Fetch => self.fetch = rate,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Produce,
    Fetch,
}

/// Whom one half of a quota's entity names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whose {
    /// All that have none of their own.
    Default,
    Named(String),
}

/// Whom a quota is for: users, clients, or clients of users; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entity {
    pub(crate) user: Option<Whose>,
    pub(crate) client: Option<Whose>,
}

/// Who sends requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) user: &'a str,
    pub(crate) client: &'a str,
}

/// Who shares one quota: a user's clients, all that give one client id, or one client of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Share {
    Of {
        direction: Direction,
        user: Option<String>,
        client: Option<String>,
    },
    /// All that are one too many to be remembered.
    Others(Direction),
}

#[derive(Debug, Clone, Copy)]
struct Used {
    bytes: f64,
    at: Instant,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ClientRates {
    path: PathBuf,
    /// For clients that no quota is for.
    fallback: Rates,
    quotas: RwLock<BTreeMap<Entity, Rates>>,
    used: Mutex<HashMap<Share, Used>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    entity: Entity,
    #[serde(flatten)]
    rates: Rates,
}

/// Quotas that were not changed.
#[derive(Debug)]
pub(crate) enum NotChanged {
    TooMany,
    Io(io::Error),
}

impl ClientRates {
    pub(crate) fn open(directory: &Path, fallback: Rates) -> io::Result<Self> {
        let path = directory.join("quotas.json");
        let stored: Vec<Stored> = match store::read(&path)? {
            Some(content) => serde_json::from_slice(&content).map_err(io::Error::from)?,
            None => Vec::new(),
        };
        let quotas = stored.into_iter().map(|stored| (stored.entity, stored.rates)).collect();
        Ok(Self { path, fallback, quotas: RwLock::new(quotas), used: Mutex::default() })
    }

    /// Every quota, with whom it is for. Those of the options are told as the default of client ids, which
    /// is what they are.
    pub(crate) fn all(&self) -> BTreeMap<Entity, Rates> {
        let mut all = read(&self.quotas).clone();
        if self.fallback != Rates::default() {
            let every = all.entry(Entity { user: None, client: Some(Whose::Default) }).or_default();
            every.produce = every.produce.or(self.fallback.produce);
            every.fetch = every.fetch.or(self.fallback.fetch);
        }
        all
    }

    /// Changes one entity's quota, on the disk first.
    pub(crate) fn change(&self, entity: Entity, change: impl FnOnce(&mut Rates)) -> Result<(), NotChanged> {
        let mut quotas = write(&self.quotas);
        let mut changed = quotas.clone();
        let rates = changed.entry(entity.clone()).or_default();
        change(rates);
        if *rates == Rates::default() {
            changed.remove(&entity);
        }
        if changed.len() > QUOTAS_MAX {
            return Err(NotChanged::TooMany);
        }
        let stored: Vec<Stored> =
            changed.iter().map(|(entity, rates)| Stored { entity: entity.clone(), rates: *rates }).collect();
        let content = serde_json::to_vec(&stored).map_err(|error| NotChanged::Io(error.into()))?;
        store::replace(&self.path, &content).map_err(NotChanged::Io)?;
        *quotas = changed;
        Ok(())
    }

    /// How many bytes a sender may have at once; no bound without a quota.
    pub(crate) fn burst_bytes(&self, sender: Sender<'_>, direction: Direction) -> usize {
        let quota = self.quota(sender, direction);
        quota.map_or(usize::MAX, |(_, rate)| usize::try_from(rate).unwrap_or(usize::MAX))
    }

    /// Counts what a sender has produced or fetched; gives how long it is to wait.
    pub(crate) fn charge(
        &self,
        sender: Sender<'_>,
        direction: Direction,
        size_bytes: usize,
        now: Instant,
    ) -> Duration {
        let Some((share, rate)) = self.quota(sender, direction) else { return Duration::ZERO };
        let rate = rate as f64;
        let left = |used: &Used, rate: f64| {
            (used.bytes - now.saturating_duration_since(used.at).as_secs_f64() * rate).max(0.0)
        };
        let mut all = lock(&self.used);
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&share) {
            // Each runs off within this time, whatever its rate.
            all.retain(|_, used| now.saturating_duration_since(used.at) <= BURST + MUTE_MAX);
        }
        let share = match all.len() >= REMEMBERED_MAX && !all.contains_key(&share) {
            true => Share::Others(direction),
            false => share,
        };
        let used = all.entry(share).or_insert(Used { bytes: 0.0, at: now });
        let burst = BURST.as_secs_f64() * rate;
        let bytes = left(used, rate) + size_bytes as f64;
        *used = Used { bytes: bytes.min(burst + MUTE_MAX.as_secs_f64() * rate), at: now };
        Duration::from_secs_f64((used.bytes - burst).max(0.0) / rate)
    }

    /// The quota that counts for a sender, by Kafka's order of precedence, and who shares it.
    fn quota(&self, sender: Sender<'_>, direction: Direction) -> Option<(Share, u64)> {
        let quotas = read(&self.quotas);
        let share = |user: bool, client: bool| Share::Of {
            direction,
            user: user.then(|| sender.user.to_owned()),
            client: client.then(|| sender.client.to_owned()),
        };
        if !quotas.is_empty() {
            let (user, client) =
                (Whose::Named(sender.user.to_owned()), Whose::Named(sender.client.to_owned()));
            let every = Whose::Default;
            let by_precedence = [
                (Some(&user), Some(&client)),
                (Some(&user), Some(&every)),
                (Some(&user), None),
                (Some(&every), Some(&client)),
                (Some(&every), Some(&every)),
                (Some(&every), None),
                (None, Some(&client)),
                (None, Some(&every)),
            ];
            for (user, client) in by_precedence {
                let entity = Entity { user: user.cloned(), client: client.cloned() };
                if let Some(rate) = quotas.get(&entity).and_then(|rates| rates.of(direction)) {
                    return Some((share(user.is_some(), client.is_some()), rate));
                }
            }
        }
        self.fallback.of(direction).map(|rate| (share(false, true), rate))
    }
}

#[cfg(test)]
mod tests;
