//! `tidegate query`: a statement to ClickHouse, its answer as a table for people or lines for programs.

use std::io::Write;

use clap::Args;

use crate::cli::{Exit, Output, Speech};
use crate::reach::Reach;

/// Flags of `tidegate query`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate query --config sink.yaml 'SELECT count() FROM orders'
  tidegate query --clickhouse http://me:secret@localhost:8123 'SHOW TABLES' --output json")]
pub struct Flags {
    /// The statement; a FORMAT of its own goes before what --output says
    #[arg(value_name = "SQL")]
    pub sql: String,
    #[command(flatten)]
    pub reach: Reach,
}

/// Runs the command.
///
/// # Errors
/// What ClickHouse has against the statement.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let format = match speech.output {
        Output::Text => "PrettyCompactMonoBlock",
        Output::Json => "JSONEachRow",
    };
    let sql = flags.sql.trim().trim_end_matches(';');
    let answer = flags.reach.clickhouse()?.query_as(sql, format).await?;
    let mut out = std::io::stdout().lock();
    out.write_all(answer.as_bytes())?;
    out.flush()?;
    Ok(Exit::Done)
}
