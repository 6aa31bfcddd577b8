//! Carries a change's actions out, one after the other, each written down before and after.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tidegate_catalog::change::{Action, Change, Proof, WORK};
use tidegate_clickhouse::{quote_name, quote_text};
use tidegate_core::Fault;

use super::journal::{Journal, LockError, RENEWAL};
use super::server::{Server, number, rows};

/// How long an insert may run that a change waits for.
const INSERT_MAX: Duration = Duration::from_secs(900);
/// How often a server is asked whether something has ended.
const POLL: Duration = Duration::from_millis(100);

/// Why a change stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The lock is another's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A server does not answer, or says no. What has been done is written down; the next run goes on there.
    #[error("{action}: {fault}")]
    Fault {
        /// What was to be done.
        action: String,
        /// What came instead.
        fault: Fault,
    },
    /// It would do harm. What was begun of it has been taken away, if rows had not gone to the new table yet.
    #[error("{claim}: {found}; expected 0")]
    Refuted {
        /// What was counted.
        claim: String,
        /// How many.
        found: u64,
    },
    /// An insert does not end.
    #[error("an insert runs for more than {} s: query `{query}`; apply goes on after it", INSERT_MAX.as_secs())]
    Insert {
        /// Its number at the server.
        query: String,
    },
    /// Parts cannot be rewritten.
    #[error("rewriting `{table}`: {reason}")]
    Rewrite {
        /// The table.
        table: String,
        /// What the server says.
        reason: String,
    },
}

/// Servers and journal of a run.
pub struct Executor<'a, S> {
    /// Every server whose tables are changed; the first has the journal.
    pub servers: &'a [S],
    /// The catalog's database.
    pub database: &'a str,
    /// Whether a statement says itself that it is for a whole cluster.
    pub cluster: bool,
    /// The journal.
    pub journal: &'a Journal<'a, S>,
}

impl<S: Server> Executor<'_, S> {
    /// Carries a change out, from its beginning or from where it stopped.
    ///
    /// # Errors
    /// When it stopped. What was done is written down.
    pub async fn carry_out(&self, id: &str, change: &Change, done: usize) -> Result<(), StopError> {
        for (index, action) in change.actions.iter().enumerate().skip(done) {
            let text = shown(action, self.database);
            self.journal.renew().await?;
            let noted = |fault| StopError::Fault { action: "write the journal".to_owned(), fault };
            self.journal.note((id, index + 1), "started", &text, "").await.map_err(noted)?;
            match self.while_renewing(self.act(action)).await {
                Ok(()) => self.journal.note((id, index + 1), "done", &text, "").await.map_err(noted)?,
                Err(error) => {
                    let answered = match &error {
                        StopError::Fault { fault, .. } => fault.code.is_some(),
                        StopError::Refuted { .. } => true,
                        StopError::Lock(_) | StopError::Insert { .. } | StopError::Rewrite { .. } => false,
                    };
                    // The connection may be what failed: the error is told whether or not this is kept.
                    let _ = self.journal.note((id, index + 1), "failed", &text, &error.to_string()).await;
                    if answered && Self::harmless_so_far(change, index) {
                        self.abandon(id, change).await.map_err(noted)?;
                    }
                    return Err(error);
                }
            }
        }
        let finished = self.journal.note((id, 0), "finished", "", "").await;
        finished.map_err(|fault| StopError::Fault { action: "write the journal".to_owned(), fault })
    }

    /// The lock stays ours as long as the work lasts.
    async fn while_renewing(
        &self,
        work: impl Future<Output = Result<(), StopError>>,
    ) -> Result<(), StopError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                ended = &mut work => return ended,
                () = tokio::time::sleep(RENEWAL) => self.journal.renew().await?,
            }
        }
    }

    /// Whether a new plan would begin again where this change stands: no names have been exchanged, and no view was
    /// dropped before that.
    fn harmless_so_far(change: &Change, failed: usize) -> bool {
        let exchange = change.actions.iter().position(|action| matches!(action, Action::Exchange { .. }));
        let dropped = change.actions.iter().position(|action| match action {
            Action::Run { sql, .. } => sql.starts_with("DROP VIEW"),
            _ => false,
        });
        exchange.is_none_or(|exchange| failed < exchange && dropped.is_none_or(|dropped| failed < dropped))
    }

    /// Takes away what a change made for itself, which nobody has seen.
    async fn abandon(&self, id: &str, change: &Change) -> Result<(), Fault> {
        for action in &change.actions {
            if let Action::Run { sql, .. } = action
                && sql.starts_with("DROP ")
                && sql.contains(WORK)
            {
                self.first().ask(sql).await?;
            }
        }
        self.journal.note((id, 0), "abandoned", "", "nothing but its own tables had been touched").await
    }

    fn first(&self) -> &S {
        &self.servers[0]
    }

    fn place(&self, table: &str) -> String {
        format!("{}.{}", quote_name(self.database), quote_name(table))
    }

    async fn act(&self, action: &Action) -> Result<(), StopError> {
        match action {
            Action::Run { sql, unless } => self.everywhere(sql, unless.as_deref()).await,
            Action::AwaitRewrite { table } => self.await_rewrite(table).await,
            Action::AwaitInserts => self.await_inserts().await,
            Action::Link { from, to } => {
                self.ask(&format!("TRUNCATE TABLE {}", self.place(to))).await?;
                for partition in self.partitions(from).await? {
                    let (from, to) = (self.place(from), self.place(to));
                    self.ask(&format!(
                        "ALTER TABLE {to} ATTACH PARTITION ID {} FROM {from}",
                        quote_text(&partition)
                    ))
                    .await?;
                }
                Ok(())
            }
            Action::Fill { table, inserts } => {
                // A run that died may have left the server at it.
                let left = format!("INSERT INTO {} %", self.place(table)).replace('_', "\\_");
                self.ask(&format!("KILL QUERY WHERE query LIKE {} SYNC", quote_text(&left))).await?;
                self.ask(&format!("TRUNCATE TABLE {}", self.place(table))).await?;
                for insert in inserts {
                    self.ask(insert).await?;
                }
                Ok(())
            }
            Action::Move { from, to } => {
                for partition in self.partitions(from).await? {
                    let (from, to) = (self.place(from), self.place(to));
                    self.ask(&format!(
                        "ALTER TABLE {from} MOVE PARTITION ID {} TO TABLE {to}",
                        quote_text(&partition)
                    ))
                    .await?;
                }
                Ok(())
            }
            Action::Exchange { table, with, done } => {
                if self.number(done).await? == 0 {
                    self.ask(&format!("EXCHANGE TABLES {} AND {}", self.place(table), self.place(with)))
                        .await?;
                }
                Ok(())
            }
            Action::Check(Proof { claim, sql }) => match self.number(sql).await? {
                0 => Ok(()),
                found => Err(StopError::Refuted { claim: claim.clone(), found }),
            },
        }
    }

    async fn everywhere(&self, sql: &str, unless: Option<&str>) -> Result<(), StopError> {
        let servers = if self.cluster { &self.servers[..1] } else { self.servers };
        for server in servers {
            let stop = |fault| StopError::Fault { action: sql.to_owned(), fault };
            if let Some(unless) = unless
                && number(server, unless).await.map_err(stop)? > 0
            {
                continue;
            }
            server.ask(sql).await.map_err(stop)?;
        }
        Ok(())
    }

    async fn ask(&self, sql: &str) -> Result<(), StopError> {
        let stop = |fault| StopError::Fault { action: sql.to_owned(), fault };
        self.first().ask(sql).await.map(drop).map_err(stop)
    }

    async fn number(&self, sql: &str) -> Result<u64, StopError> {
        number(self.first(), sql).await.map_err(|fault| StopError::Fault { action: sql.to_owned(), fault })
    }

    async fn partitions(&self, table: &str) -> Result<Vec<String>, StopError> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
        }
        let sql = format!(
            "SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = {} AND table = {} ORDER BY id",
            quote_text(self.database),
            quote_text(table)
        );
        let found: Result<Vec<Row>, Fault> = rows(self.first(), &sql).await;
        let found = found.map_err(|fault| StopError::Fault { action: sql, fault })?;
        Ok(found.into_iter().map(|row| row.id).collect())
    }

    async fn await_rewrite(&self, table: &str) -> Result<(), StopError> {
        #[derive(Deserialize)]
        struct Row {
            reason: String,
        }
        let sql = format!(
            "SELECT latest_fail_reason AS reason FROM system.mutations WHERE database = {} AND table = {} AND NOT is_done",
            quote_text(self.database),
            quote_text(table)
        );
        for server in self.servers {
            loop {
                let stop = |fault| StopError::Fault { action: sql.clone(), fault };
                let open: Vec<Row> = rows(server, &sql).await.map_err(stop)?;
                if open.is_empty() {
                    break;
                }
                if let Some(row) = open.into_iter().find(|row| !row.reason.is_empty()) {
                    return Err(StopError::Rewrite { table: table.to_owned(), reason: row.reason });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// An insert finds its table and its views when it begins: those that began later know what was changed.
    async fn await_inserts(&self) -> Result<(), StopError> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
        }
        let running =
            "SELECT query_id AS id FROM system.processes WHERE query_kind IN ('Insert', 'AsyncInsertFlush')";
        for server in self.servers {
            let stop = |fault| StopError::Fault { action: running.to_owned(), fault };
            let begun: Vec<Row> = rows(server, running).await.map_err(stop)?;
            let mut open: Vec<String> = begun.into_iter().map(|row| row.id).collect();
            let began = Instant::now();
            while !open.is_empty() {
                let now: Vec<Row> = rows(server, running).await.map_err(stop)?;
                open.retain(|id| now.iter().any(|row| row.id == *id));
                match open.first() {
                    None => break,
                    Some(query) if began.elapsed() > INSERT_MAX => {
                        return Err(StopError::Insert { query: query.clone() });
                    }
                    Some(_) => tokio::time::sleep(POLL).await,
                }
            }
        }
        Ok(())
    }
}

/// An action as people read it: SQL, or a comment where the statements depend on what is there.
pub fn shown(action: &Action, database: &str) -> String {
    let place = |table: &str| format!("{}.{}", quote_name(database), quote_name(table));
    match action {
        Action::Run { sql, .. } => sql.clone(),
        Action::AwaitRewrite { table } => {
            format!("-- wait until the parts of {} have been rewritten", place(table))
        }
        Action::AwaitInserts => "-- wait until the inserts that run now have ended".to_owned(),
        Action::Link { from, to } => {
            format!(
                "ALTER TABLE {} ATTACH PARTITION .. FROM {}  -- each partition, by links",
                place(to),
                place(from)
            )
        }
        Action::Fill { table, inserts } => format!("TRUNCATE TABLE {}; {}", place(table), inserts.join("; ")),
        Action::Move { from, to } => {
            format!("ALTER TABLE {} MOVE PARTITION .. TO TABLE {}  -- each partition", place(from), place(to))
        }
        Action::Exchange { table, with, .. } => {
            format!("EXCHANGE TABLES {} AND {}", place(table), place(with))
        }
        Action::Check(proof) => format!("{}  -- must be 0", proof.sql),
    }
}
