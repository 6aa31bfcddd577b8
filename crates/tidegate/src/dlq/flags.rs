//! The command line of `tidegate dlq`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List dead letters, newest first, and count them by reason
    #[command(after_help = "\
Examples:
  tidegate dlq list --config sink.yaml
  tidegate dlq list --config sink.yaml --reason bad_timestamp --limit 5
  tidegate dlq list --config sink.yaml --topic github.webhooks --partition 0 --offset 58")]
    List(List),
    /// Show one dead letter whole: its reasons, its headers, the record
    #[command(
        after_help = "Example:\n  tidegate dlq show --config sink.yaml 6c62272e07bb014262b821756295c58d"
    )]
    Show(Show),
    /// Put the original records back on their topics, marked with where they came from
    #[command(after_help = "\
A record that was put back once is not put back again.

Examples:
  tidegate dlq replay --config sink.yaml --reason missing_required --dry-run
  tidegate dlq replay --config sink.yaml --reason missing_required
  tidegate dlq replay --config sink.yaml --id 6c62272e07bb014262b821756295c58d")]
    Replay(Replay),
}

/// Where dead letters are.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// The configuration file of the sink that wrote them
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The connector that wrote them; needed if the file has several
    #[arg(long, value_name = "NAME")]
    pub connector: Option<String>,
}

/// Which dead letters. Several conditions all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Filter {
    /// Only this reason code, such as `wrong_type`
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Only records of this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only records of this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Only the record at this offset
    #[arg(long, value_name = "N")]
    pub offset: Option<i64>,
    /// Only the dead letter with this id
    #[arg(long, value_name = "ID", value_parser = dead_letter_id)]
    pub id: Option<String>,
    /// Only records that were meant for this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
}

/// Flags of `tidegate dlq list`.
#[derive(Debug, Args)]
pub struct List {
    /// Where they are.
    #[command(flatten)]
    pub source: Source,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
    /// How many to list at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// Flags of `tidegate dlq show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The dead letter's id, 32 hex digits
    #[arg(value_name = "ID", value_parser = dead_letter_id)]
    pub id: String,
    /// Where it is.
    #[command(flatten)]
    pub source: Source,
}

/// Flags of `tidegate dlq replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Where they are.
    #[command(flatten)]
    pub source: Source,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
    /// How many to put back at most; all if absent
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Say what would be put back, and leave it
    #[arg(long)]
    pub dry_run: bool,
}

fn dead_letter_id(text: &str) -> Result<String, String> {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text.to_ascii_lowercase()) } else { Err("expected 32 hex digits".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::dead_letter_id;

    #[test]
    fn a_dead_letter_is_named_by_its_whole_id() {
        assert!(dead_letter_id("6c62272e07bb014262b821756295c58d").is_ok());
        assert!(dead_letter_id("6c62").is_err());
    }
}
