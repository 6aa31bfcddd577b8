//! The flags of `plan` and `apply`, and what they say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tidegate_catalog::change::{Note, Permission};
use tidegate_clickhouse::{Client, Url};

use super::plan::{Asked, Report, text};
use super::{Opened, Source, apply as applying, plan as planning, read, refused};
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::reach::clickhouse_servers;

pub const PLAN_HELP: &str = "\
Examples:
  tidegate catalog plan --clickhouse http://me:secret@clickhouse-1:8123
  tidegate catalog plan cdp.yaml --clickhouse http://me:secret@ch-1:8123,http://me:secret@ch-2:8123
  tidegate catalog plan cdp.yaml --config sink.yaml --check      fails if anything differs: for CI

Every replica is asked; if they differ, that is shown and nothing is planned.";

pub const APPLY_HELP: &str = "\
Examples:
  tidegate catalog apply cdp.yaml --clickhouse http://me:secret@clickhouse-1:8123
  tidegate catalog apply cdp.yaml --config sink.yaml --allow video_viewed
  tidegate catalog apply cdp.yaml --config sink.yaml --drop video_viewed.resolution

Nothing is done while anything of the plan is refused. A run that died is ended by the next one. What is done is
kept in the table tidegate_changes of the catalog's database.";

/// No statement is given up: a rebuild lasts as long as its rows take.
const STATEMENT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which catalog, which servers, what may be done.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    pub source: Source,
    /// ClickHouse's HTTP interface, with user and password; every replica, separated by commas
    #[arg(
        long,
        value_name = "URL,..",
        value_delimiter = ',',
        env = "TIDEGATE_CLICKHOUSE_URL",
        hide_env_values = true
    )]
    pub clickhouse: Vec<Url>,
    /// A sink's configuration file, which says where ClickHouse is
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow the change of this table or column that others notice; what it must not lose is proved besides
    #[arg(long, value_name = "TABLE[.COLUMN]")]
    pub allow: Vec<String>,
    /// Drop this table or column, which the catalog does not have, if that is proved to lose nothing
    #[arg(long, value_name = "TABLE[.COLUMN]")]
    pub drop: Vec<String>,
    /// Leave this table or column as it is
    #[arg(long, value_name = "TABLE[.COLUMN]")]
    pub leave: Vec<String>,
    /// Fail if anything differs
    #[arg(long)]
    pub check: bool,
}

/// Flags of `apply`.
#[derive(Debug, Args)]
pub struct ApplyFlags {
    #[command(flatten)]
    pub flags: Flags,
    /// Show what would be done, as `plan` does
    #[arg(long)]
    pub dry_run: bool,
}

/// What the flags name, read.
struct Given {
    opened: Opened,
    file: String,
    permission: Permission,
    leave: BTreeSet<String>,
    clients: Vec<Client>,
    names: Vec<String>,
}

impl Given {
    fn asked(&self) -> Asked<'_> {
        Asked {
            file: &self.file,
            catalog: &self.opened.catalog,
            lock: &self.opened.generated.lock,
            permission: &self.permission,
            leave: &self.leave,
        }
    }
}

/// Reads what the flags name; `Err` is the exit after a refused catalog has been told.
fn given(flags: &Flags, speech: &Speech) -> anyhow::Result<Result<Given, Exit>> {
    let path = &flags.source.catalog;
    let file = path.display().to_string();
    if let Err(diagnostics) = read(path) {
        return refused(file, &diagnostics, speech).map(Err);
    }
    let opened = Opened::read(path)?;
    let catalog = &opened.catalog;
    let evolution = &catalog.file.policies.evolution;
    let permission = Permission {
        allow: flags.allow.iter().cloned().collect(),
        drop: flags.drop.iter().cloned().collect(),
        destructive: evolution.allow_destructive,
        deprecate_days: evolution.deprecate_days,
        today: String::new(),
    };
    let mut clients = Vec::new();
    let mut names = Vec::new();
    for mut options in clickhouse_servers(&flags.clickhouse, flags.config.as_deref())? {
        options.request_timeout = STATEMENT_MAX;
        // The catalog's database may not be there yet.
        options.database = "default".to_owned();
        names.push(options.urls.first().map(ToString::to_string).unwrap_or_default());
        clients.push(Client::new(options).context("set up the clickhouse client")?);
    }
    Ok(Ok(Given { opened, file, permission, leave: flags.leave.iter().cloned().collect(), clients, names }))
}

/// Shows what differs.
///
/// # Errors
/// When a server cannot be asked.
pub async fn plan(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let given = match given(flags, speech)? {
        Ok(given) => given,
        Err(exit) => return Ok(exit),
    };
    let mut report =
        planning::report(&given.asked(), &given.clients, &given.names).await.context("compare")?;
    report.notes.extend(given.opened.catalog.untreated().iter().map(|untreated| Note {
        thing: "personal data".to_owned(),
        text: format!("stored as it comes: {untreated}"),
    }));
    if let Some(open) = super::journal::begun(&given.clients[0], &report.database).await? {
        eprintln!(
            "warning: a change of `{}` was begun and did not end; `tidegate catalog apply` goes on with it first",
            open.change.thing
        );
    }
    print(speech, &report, |report, _| text(report))?;
    Ok(exit(&report, flags.check))
}

fn exit(report: &Report, check: bool) -> Exit {
    if report.refused() || (check && !report.changes.is_empty()) { Exit::Failed } else { Exit::Done }
}

/// Brings the servers to what the catalog says.
///
/// # Errors
/// When it stopped.
pub async fn apply(flags: &ApplyFlags, speech: &Speech) -> anyhow::Result<Exit> {
    if flags.dry_run {
        return plan(&flags.flags, speech).await;
    }
    let given = match given(&flags.flags, speech)? {
        Ok(given) => given,
        Err(exit) => return Ok(exit),
    };
    // Codes of enums that tables are about to have must be the same the next time.
    given.opened.keep_lock()?;
    let applied = applying::apply(&given.asked(), &given.clients, &given.names, &owner()).await?;
    print(speech, &applied, |applied, _| applying::text(applied))?;
    Ok(if applied.left.is_some() { Exit::Failed } else { Exit::Done })
}

/// Who this run is, for those who find the lock taken.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}, process {}, run {:08x}", host.trim(), std::process::id(), fastrand::u32(..))
}
