//! `tidegate catalog plan`: what differs between a catalog and the servers, and what each difference takes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use tidegate_catalog::change::{self, Change, Gate, Note, Permission, Plan, Situation};
use tidegate_catalog::{Catalog, Ddl, Lock, statements};
use tidegate_core::Fault;

use super::execute::shown;
use super::server::{Server, normal, number, standing};

/// How many of a change's statements are shown to people.
const SHOWN_MAX: usize = 4;

/// What a plan says.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The catalog's file.
    pub file: String,
    /// The catalog's database.
    pub database: String,
    /// How many servers were asked.
    pub servers: usize,
    /// What replicas say differently. Nothing is planned then.
    pub drift: Vec<Drift>,
    /// What is to be done, in this order.
    pub changes: Vec<Told>,
    /// What nothing is done about.
    pub notes: Vec<Note>,
    /// What to run next.
    pub next: Option<String>,
    /// What `changes` was told from.
    #[serde(skip)]
    pub plan: Plan,
}

/// What a replica says differently from the first one.
#[derive(Debug, Serialize)]
pub struct Drift {
    /// The first.
    pub first: String,
    /// The other.
    pub second: String,
    /// What differs.
    pub differences: Vec<Note>,
}

/// A change, with what the servers say to it.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The table, or the column as `table.column`.
    pub thing: String,
    /// Its class.
    pub class: &'static str,
    /// What differs.
    pub reason: String,
    /// Why it is not made, and what would change that.
    pub refused: Vec<String>,
    /// What was asked to know that it does no harm.
    pub proofs: Vec<Proved>,
    /// What is done.
    pub statements: Vec<String>,
    /// What takes it back.
    pub undo: Option<String>,
    /// Rows that are rewritten.
    pub rows: Option<u64>,
    /// What they take on the disk.
    pub bytes: Option<u64>,
}

/// A proof and its answer.
#[derive(Debug, Serialize)]
pub struct Proved {
    /// What was counted.
    pub claim: String,
    /// How.
    pub sql: String,
    /// How many there are; it does no harm if there are none.
    pub answer: u64,
}

impl Report {
    /// Whether something must be decided before anything is done.
    pub fn refused(&self) -> bool {
        !self.drift.is_empty() || self.changes.iter().any(|change| !change.refused.is_empty())
    }
}

/// What is asked for.
pub struct Asked<'a> {
    /// The catalog's file, for the report.
    pub file: &'a str,
    pub catalog: &'a Catalog,
    pub lock: &'a Lock,
    /// What is allowed; the day is the server's.
    pub permission: &'a Permission,
    /// Things that are left as they are.
    pub leave: &'a BTreeSet<String>,
}

/// Asks the servers, each with its name, and compares.
///
/// # Errors
/// When a server cannot be asked.
pub async fn report<S: Server>(asked: &Asked<'_>, servers: &[S], names: &[String]) -> Result<Report, Fault> {
    let Asked { catalog, lock, leave, .. } = *asked;
    let database = catalog.database();
    let mode = catalog.file.defaults.clickhouse.ddl;
    let wanted = statements(catalog, lock, super::given(), mode);
    let first = standing(&servers[0], database).await?;
    let mut drift = Vec::new();
    for (server, name) in servers.iter().zip(names).skip(1) {
        let differences = change::differences(&first.live, &standing(server, database).await?.live);
        if !differences.is_empty() {
            drift.push(Drift { first: names[0].clone(), second: name.clone(), differences });
        }
    }
    let normal = normal(&servers[0], &wanted).await?;
    let permission = Permission { today: first.today, ..asked.permission.clone() };
    let mut plan = change::plan(&Situation {
        catalog,
        statements: &wanted,
        normal: &normal,
        database: first.database,
        live: &first.live,
        mode,
        servers: servers.len(),
        permission: &permission,
    });
    plan.changes.retain(|change| !leave.contains(&change.thing));
    let mut changes = Vec::with_capacity(plan.changes.len());
    for change in &plan.changes {
        changes.push(told(change, &servers[0], database).await?);
    }
    let mut report = Report {
        file: asked.file.to_owned(),
        database: database.to_owned(),
        servers: servers.len(),
        drift,
        changes,
        notes: plan.notes.clone(),
        next: None,
        plan,
    };
    report.next = next(&report, mode);
    Ok(report)
}

async fn told<S: Server>(change: &Change, server: &S, database: &str) -> Result<Told, Fault> {
    let mut refused = Vec::new();
    match &change.gate {
        Gate::Open | Gate::Asked { .. } => {}
        Gate::Needs { flag } => refused.push(format!("it must be asked for: {flag}")),
        Gate::Closed { why } => refused.push(why.clone()),
    }
    let mut proofs = Vec::new();
    for proof in &change.proofs {
        let answer = number(server, &proof.sql).await?;
        if answer > 0 {
            refused.push(format!("{}: {answer}; it would lose them", proof.claim));
        }
        proofs.push(Proved { claim: proof.claim.clone(), sql: proof.sql.clone(), answer });
    }
    Ok(Told {
        thing: change.thing.clone(),
        class: change.class.as_str(),
        reason: change.reason.clone(),
        refused,
        proofs,
        statements: change.actions.iter().map(|action| shown(action, database)).collect(),
        undo: change.undo.clone(),
        rows: change.cost.map(|cost| cost.rows),
        bytes: change.cost.map(|cost| cost.bytes),
    })
}

fn next(report: &Report, mode: Ddl) -> Option<String> {
    let file = &report.file;
    if !report.drift.is_empty() {
        let how = match mode {
            Ddl::OnCluster => {
                "make the replicas agree first (SYSTEM SYNC DATABASE REPLICA, or the statements by hand)"
            }
            Ddl::Single => "make the servers agree first, by `apply` with each one's --clickhouse alone",
        };
        return Some(how.to_owned());
    }
    if report.changes.is_empty() {
        return None;
    }
    let flags: BTreeSet<String> = report
        .plan
        .changes
        .iter()
        .filter_map(|change| match &change.gate {
            Gate::Needs { flag } | Gate::Asked { flag } => Some(format!(" {flag}")),
            Gate::Open | Gate::Closed { .. } => None,
        })
        .collect();
    let flags: String = flags.into_iter().collect();
    let lost = report.changes.iter().find(|change| change.proofs.iter().any(|proof| proof.answer > 0));
    let closed = report.changes.iter().zip(&report.plan.changes);
    let closed =
        closed.filter(|(_, change)| matches!(change.gate, Gate::Closed { .. })).map(|(told, _)| told).next();
    match lost.or(closed) {
        Some(told) => Some(format!(
            "`{0}` cannot be changed so: change the catalog, or the rows; `--leave {0}` applies the rest",
            told.thing
        )),
        None => Some(format!("tidegate catalog apply {file}{flags}")),
    }
}

/// As text for people.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing into a `String` does not fail.
    for drift in &report.drift {
        let _ = writeln!(out, "{} and {} differ:", drift.first, drift.second);
        for note in &drift.differences {
            let _ = writeln!(out, "  {}: {}", note.thing, note.text);
        }
    }
    for change in &report.changes {
        let sign = if change.refused.is_empty() { "+" } else { "!" };
        let _ = writeln!(out, "{sign} {:<13} {}: {}", change.class, change.thing, change.reason);
        if let (Some(rows), Some(bytes)) = (change.rows, change.bytes) {
            let _ = writeln!(out, "    rewrites {rows} rows, {} MiB", bytes.div_ceil(1 << 20));
        }
        for proof in &change.proofs {
            let _ = writeln!(out, "    {}: {}\n      {}", proof.claim, proof.answer, proof.sql);
        }
        for why in &change.refused {
            let _ = writeln!(out, "    refused: {why}");
        }
        if change.class != "new" {
            for statement in change.statements.iter().take(SHOWN_MAX) {
                let _ = writeln!(out, "    {};", statement.replace('\n', "\n    "));
            }
            match change.statements.len().saturating_sub(SHOWN_MAX) {
                0 => {}
                more => {
                    let _ = writeln!(out, "    .. and {more} more statements (--output json has them all)");
                }
            }
        }
    }
    for note in &report.notes {
        let _ = writeln!(out, "  {}: {}", note.thing, note.text);
    }
    let refused = report.changes.iter().filter(|change| !change.refused.is_empty()).count();
    let _ = match (report.changes.len(), refused) {
        (0, _) if report.drift.is_empty() => {
            writeln!(out, "{}: `{}` is as the catalog says", report.file, report.database)
        }
        (changes, 0) => writeln!(out, "{changes} changes"),
        (changes, refused) => writeln!(out, "{changes} changes, {refused} of them refused"),
    };
    if let Some(next) = &report.next {
        let _ = writeln!(out, "next: {next}");
    }
    out
}
