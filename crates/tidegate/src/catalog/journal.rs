//! What `apply` knows of changes, kept in ClickHouse: what was to be done, what has been, and who is at it.
//!
//! Rows are only added. The lock is a row a generation, inserted under a token that is the generation's: of two
//! that want the same generation, ClickHouse keeps the first one's row and drops the other's as a repeat.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tidegate_catalog::change::Change;
use tidegate_clickhouse::{quote_name, quote_text};
use tidegate_core::{Fault, FaultKind};

use super::server::{JOURNAL, Server, number, rows};

/// How long a lock stays that nobody renews.
const LEASE: Duration = Duration::from_secs(60);
/// How often it is renewed.
pub const RENEWAL: Duration = Duration::from_secs(15);
/// The name that rows of the lock have in place of a change's.
const LOCK: &str = "lock";

/// The journal of a database.
pub struct Journal<'a, S> {
    server: &'a S,
    table: String,
    owner: String,
    generation: u64,
    renewed: Mutex<Instant>,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error(
        "`{owner}` is changing this database since {since}; its lock ends at {until} unless it renews it"
    )]
    Held {
        /// Who.
        owner: String,
        /// Since when.
        since: String,
        /// When it ends.
        until: String,
    },
    /// The server cannot be asked.
    #[error("take the lock: {0}")]
    Fault(#[from] Fault),
}

/// A change that was begun and has no end.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Its number.
    pub id: String,
    /// What was to be done.
    pub change: Change,
    /// How many of its actions have been.
    pub done: usize,
    /// Which version of the program began it.
    pub version: String,
}

#[derive(Deserialize)]
struct LockRow {
    step: u64,
    holder: String,
    since: String,
    ends: String,
    free: u8,
}

impl<'a, S: Server> Journal<'a, S> {
    /// The journal, its table made if it is not there, and the lock ours.
    ///
    /// # Errors
    /// When somebody else has the lock, or the server cannot be asked.
    pub async fn open(server: &'a S, database: &str, owner: &str) -> Result<Self, LockError> {
        let table = format!("{}.{JOURNAL}", quote_name(database));
        server.ask(&format!("CREATE DATABASE IF NOT EXISTS {}", quote_name(database))).await?;
        server
            .ask(&format!(
                "CREATE TABLE IF NOT EXISTS {table} (\
                 `at` DateTime64(3, 'UTC') DEFAULT now64(3), `change` String, `step` UInt64, \
                 `state` LowCardinality(String), `statement` String, `owner` String, \
                 `version` LowCardinality(String), `detail` String, `until` DateTime64(3, 'UTC') DEFAULT 0\
                 ) ENGINE = MergeTree ORDER BY (change, step, at) \
                 SETTINGS non_replicated_deduplication_window = 10000 \
                 COMMENT 'What tidegate catalog apply did, and who is at it'"
            ))
            .await?;
        let mut journal = Self {
            server,
            table,
            owner: owner.to_owned(),
            generation: 0,
            renewed: Mutex::new(Instant::now()),
        };
        let last = journal.lock_row().await?;
        if let Some(row) = last.as_ref().filter(|row| row.free == 0) {
            return Err(journal.held(row));
        }
        journal.generation = last.map_or(1, |row| row.step + 1);
        journal.note_lock("held", Some(format!("{LOCK}-{}", journal.generation))).await?;
        match journal.lock_row().await? {
            Some(row) if row.step == journal.generation && row.holder == journal.owner => Ok(journal),
            Some(row) => Err(journal.held(&row)),
            None => Err(Fault::new(FaultKind::Unknown, "the lock's row is not there").into()),
        }
    }

    fn held(&self, row: &LockRow) -> LockError {
        LockError::Held { owner: row.holder.clone(), since: row.since.clone(), until: row.ends.clone() }
    }

    async fn lock_row(&self) -> Result<Option<LockRow>, Fault> {
        let sql = format!(
            "SELECT toUInt32(step) AS step, argMin(owner, at) AS holder, toString(min(at)) AS since, \
             toString(max(until)) AS ends, toUInt8(max(until) <= now64(3) OR countIf(state = 'released') > 0) AS free \
             FROM {} WHERE change = '{LOCK}' GROUP BY step ORDER BY step DESC LIMIT 1",
            self.table
        );
        Ok(rows(self.server, &sql).await?.pop())
    }

    async fn note_lock(&self, state: &str, token: Option<String>) -> Result<(), Fault> {
        let token = token.map_or_else(String::new, |token| {
            format!(", insert_deduplication_token = {}", quote_text(&token))
        });
        let sql = format!(
            "INSERT INTO {} (change, step, state, owner, version, until) SETTINGS async_insert = 0{token} \
             VALUES ('{LOCK}', {}, '{state}', {}, '{}', now64(3) + toIntervalSecond({}))",
            self.table,
            self.generation,
            quote_text(&self.owner),
            env!("CARGO_PKG_VERSION"),
            LEASE.as_secs(),
        );
        self.server.ask(&sql).await.map(drop)
    }

    /// Keeps the lock, if it is still ours. It is asked each time, and written if it was not for a while.
    ///
    /// # Errors
    /// When somebody else has it, or the server cannot be asked.
    pub async fn renew(&self) -> Result<(), LockError> {
        match self.lock_row().await? {
            Some(row) if row.step == self.generation && row.holder == self.owner => {
                let last = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= RENEWAL / 2 {
                    self.note_lock("renewed", None).await?;
                    *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                }
                Ok(())
            }
            Some(row) => Err(self.held(&row)),
            None => Err(Fault::new(FaultKind::Unknown, "the lock's row is not there").into()),
        }
    }

    /// Gives the lock up.
    ///
    /// # Errors
    /// When the server cannot be asked: then it ends by itself.
    pub async fn release(&self) -> Result<(), Fault> {
        self.note_lock("released", None).await
    }

    /// Writes down that a change begins, and gives its number.
    ///
    /// # Errors
    /// When the server cannot be asked, or the change has no JSON.
    pub async fn begin(&self, change: &Change) -> Result<String, Fault> {
        let id = self.server.ask("SELECT generateUUIDv4()").await?.trim().to_owned();
        let text = serde_json::to_string(change)
            .map_err(|error| Fault::new(FaultKind::Unknown, format!("write a change down: {error}")))?;
        self.note((&id, 0), "planned", &text, &change.reason).await?;
        Ok(id)
    }

    /// Writes down how far a change is; step 0 is the change itself.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn note(
        &self,
        (id, step): (&str, usize),
        state: &str,
        statement: &str,
        detail: &str,
    ) -> Result<(), Fault> {
        let sql = format!(
            "INSERT INTO {} (change, step, state, statement, owner, version, detail) SETTINGS async_insert = 0 \
             VALUES ({}, {step}, '{state}', {}, {}, '{}', {})",
            self.table,
            quote_text(id),
            quote_text(statement),
            quote_text(&self.owner),
            env!("CARGO_PKG_VERSION"),
            quote_text(detail),
        );
        self.server.ask(&sql).await.map(drop)
    }

    /// The change that was begun and has no end; there is one at most.
    ///
    /// # Errors
    /// When the server cannot be asked, or another version of the program wrote what this one cannot read.
    pub async fn unfinished(&self) -> Result<Option<Unfinished>, Fault> {
        unfinished(self.server, &self.table).await
    }
}

/// The change that was begun and has no end, for who does not hold the lock.
///
/// # Errors
/// As [`Journal::unfinished`].
pub async fn begun<S: Server>(server: &S, database: &str) -> Result<Option<Unfinished>, Fault> {
    let there = format!(
        "SELECT count() FROM system.tables WHERE database = {} AND name = '{JOURNAL}'",
        quote_text(database)
    );
    if number(server, &there).await? == 0 {
        return Ok(None);
    }
    unfinished(server, &format!("{}.{JOURNAL}", quote_name(database))).await
}

async fn unfinished<S: Server>(server: &S, table: &str) -> Result<Option<Unfinished>, Fault> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        text: String,
        done: u32,
        by: String,
    }
    let sql = format!(
        "SELECT change AS id, argMinIf(statement, at, state = 'planned') AS text, \
         toUInt32(uniqExactIf(step, state = 'done')) AS done, argMinIf(version, at, state = 'planned') AS by \
         FROM {table} WHERE change != '{LOCK}' GROUP BY change \
         HAVING countIf(state = 'planned') > 0 AND countIf(state IN ('finished', 'abandoned')) = 0 ORDER BY min(at) LIMIT 1"
    );
    let found: Vec<Row> = rows(server, &sql).await?;
    let Some(row) = found.into_iter().next() else { return Ok(None) };
    let change = serde_json::from_str(&row.text).map_err(|error| {
        let text = format!(
            "change {} was begun by version {}, which wrote what this one does not read: {error}",
            row.id, row.by
        );
        Fault::new(FaultKind::Unknown, text)
    })?;
    Ok(Some(Unfinished { id: row.id, change, done: row.done as usize, version: row.by }))
}
