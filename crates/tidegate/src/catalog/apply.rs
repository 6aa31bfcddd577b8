//! `tidegate catalog apply`: carries out what `plan` shows, and goes on where a run that died stopped.

use serde::Serialize;

use super::execute::{Executor, StopError};
use super::journal::{Journal, LockError, begun};
use super::plan::{Asked, Report, report};
use super::server::Server;
use tidegate_catalog::Ddl;
use tidegate_core::Fault;

/// How often a plan may follow from what was done by the last one.
const ROUNDS_MAX: usize = 5;

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Applied {
    /// The change that an earlier run had begun and this one ended.
    pub resumed: Option<String>,
    /// What was done: the thing, the class and the reason of each change.
    pub done: Vec<Done>,
    /// What is left to do, if something was refused.
    pub left: Option<Report>,
}

/// A change that was made.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The table, or the column as `table.column`.
    pub thing: String,
    /// Its class.
    pub class: &'static str,
    /// What differed.
    pub reason: String,
}

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another one is at it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A server cannot be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A change stopped.
    #[error("change `{thing}`: {stop}")]
    Stopped {
        /// The table, or the column as `table.column`.
        thing: String,
        /// Why.
        stop: StopError,
    },
    /// What was done does not bring the servers to what the catalog says.
    #[error("after {ROUNDS_MAX} rounds `{thing}` still differs: {reason}")]
    Endless {
        /// The table, or the column as `table.column`.
        thing: String,
        /// What differs.
        reason: String,
    },
}

/// Brings the servers to what the catalog says. Nothing is done while anything of it is refused.
///
/// # Errors
/// When it stopped; what was done is written down, and the next run goes on there.
pub async fn apply<S: Server>(
    asked: &Asked<'_>,
    servers: &[S],
    names: &[String],
    owner: &str,
) -> Result<Applied, ApplyError> {
    let database = asked.catalog.database();
    if begun(&servers[0], database).await?.is_none() {
        let before = report(asked, servers, names).await?;
        if before.refused() || before.changes.is_empty() {
            return Ok(Applied { left: before.refused().then_some(before), ..Applied::default() });
        }
    }
    let journal = Journal::open(&servers[0], database, owner).await?;
    let cluster = asked.catalog.file.defaults.clickhouse.ddl == Ddl::OnCluster;
    let executor = Executor { servers, database, cluster, journal: &journal };
    let applied = rounds(asked, names, &executor).await;
    // If it cannot be given up it ends by itself.
    let _ = journal.release().await;
    applied
}

async fn rounds<S: Server>(
    asked: &Asked<'_>,
    names: &[String],
    executor: &Executor<'_, S>,
) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    if let Some(open) = executor.journal.unfinished().await? {
        let thing = open.change.thing.clone();
        executor
            .carry_out(&open.id, &open.change, open.done)
            .await
            .map_err(|stop| ApplyError::Stopped { thing: thing.clone(), stop })?;
        applied.resumed = Some(format!("{thing}, begun by version {}", open.version));
    }
    for _ in 0..ROUNDS_MAX {
        let now = report(asked, executor.servers, names).await?;
        if now.refused() {
            applied.left = Some(now);
            return Ok(applied);
        }
        if now.plan.changes.is_empty() {
            return Ok(applied);
        }
        for change in &now.plan.changes {
            let thing = change.thing.clone();
            let id = executor.journal.begin(change).await?;
            executor
                .carry_out(&id, change, 0)
                .await
                .map_err(|stop| ApplyError::Stopped { thing: thing.clone(), stop })?;
            applied.done.push(Done { thing, class: change.class.as_str(), reason: change.reason.clone() });
        }
    }
    let now = report(asked, executor.servers, names).await?;
    match now.plan.changes.into_iter().next() {
        None => Ok(applied),
        Some(change) => Err(ApplyError::Endless { thing: change.thing, reason: change.reason }),
    }
}

/// As text for people.
pub fn text(applied: &Applied) -> String {
    let mut out = String::new();
    if let Some(resumed) = &applied.resumed {
        out.push_str(&format!("ended what an earlier run had begun: {resumed}\n"));
    }
    for done in &applied.done {
        out.push_str(&format!("+ {:<13} {}: {}\n", done.class, done.thing, done.reason));
    }
    match &applied.left {
        Some(left) => {
            out.push_str(&super::plan::text(left));
            out.push_str("nothing is changed while something of it is refused\n");
        }
        None => out
            .push_str(&format!("{} changes made; the database is as the catalog says\n", applied.done.len())),
    }
    out
}
