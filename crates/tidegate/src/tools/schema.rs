//! `tidegate schema`: what a registry has, whether a schema may follow, and what changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tidegate_languages::{Language, ParsedSchema, Policy, Referenced, Strictness, Verdict};
use tidegate_registry_client::{NewSchema, RegistryClient, Version};

use crate::cli::{Exit, Speech, WrongUse};
use crate::commands::print;
use crate::reach::Reach;

/// What to do with schemas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the subjects with their latest versions
    #[command(after_help = "Example:\n  tidegate schema list --registry http://localhost:8081")]
    List(ListFlags),
    /// Check whether a schema may follow what a subject has; nothing is registered
    #[command(after_help = "Example:\n  tidegate schema check orders-value order.avsc --config sink.yaml")]
    Check(FileFlags),
    /// Register a schema under a subject, and say its id
    #[command(after_help = "Example:\n  tidegate schema register orders-value order.avsc --config sink.yaml")]
    Register(FileFlags),
    /// Show what changed between two versions, or from the latest to a file, and who can read whom
    #[command(after_help = "\
Examples:
  tidegate schema diff orders-value --from 1 --to 2 --config sink.yaml
  tidegate schema diff orders-value order.avsc --config sink.yaml")]
    Diff(DiffFlags),
}

/// Flags of `tidegate schema list`.
#[derive(Debug, Args)]
pub struct ListFlags {
    #[command(flatten)]
    pub reach: Reach,
}

/// A schema in a file, and its subject.
#[derive(Debug, Args)]
pub struct FileFlags {
    /// The subject
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// The schema's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its language; by the file's name if absent: .avsc, .json, .proto
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub language: Option<LanguageFlag>,
    #[command(flatten)]
    pub reach: Reach,
}

/// Flags of `tidegate schema diff`.
#[derive(Debug, Args)]
pub struct DiffFlags {
    /// The subject
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// A schema that is not registered
    #[arg(value_name = "FILE", conflicts_with = "to")]
    pub file: Option<PathBuf>,
    /// The older version; the latest with a file, the one before the latest without
    #[arg(long, value_name = "N")]
    pub from: Option<i32>,
    /// The newer version; the latest if absent
    #[arg(long, value_name = "N")]
    pub to: Option<i32>,
    #[command(flatten)]
    pub reach: Reach,
}

/// A schema language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LanguageFlag {
    /// Avro
    Avro,
    /// JSON Schema
    Json,
    /// Protobuf
    Protobuf,
}

impl LanguageFlag {
    const fn word(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }

    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "avsc" => Some(Self::Avro),
            "json" => Some(Self::Json),
            "proto" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: Command, speech: &Speech) -> anyhow::Result<Exit> {
    match command {
        Command::List(flags) => list(&flags.reach.registry()?, speech).await,
        Command::Check(flags) => check(&flags, speech).await,
        Command::Register(flags) => register(&flags, speech).await,
        Command::Diff(flags) => diff(&flags, speech).await,
    }
}

#[derive(Debug, Serialize)]
struct Subject {
    subject: String,
    version: i32,
    id: u32,
    #[serde(rename = "type")]
    language: String,
}

async fn list(registry: &RegistryClient, speech: &Speech) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    for subject in registry.subjects().await? {
        let Version { version, id, language, .. } = registry.version(&subject, None).await?;
        found.push(Subject { subject, version, id, language });
    }
    print(speech, &found, |found, _| {
        let mut text = String::new();
        for Subject { subject, version, id, language } in found {
            // Writing into a `String` does not fail.
            let _ = writeln!(text, "{id:>6}  {language:<8}  v{version:<4} {subject}");
        }
        text
    })?;
    Ok(Exit::Done)
}

fn new_schema(flags: &FileFlags) -> anyhow::Result<NewSchema> {
    let language = flags.language.or_else(|| LanguageFlag::of(&flags.file));
    let language = language.ok_or_else(|| {
        WrongUse(format!(
            "the language of `{}` is not to be told by its name; give `--type`",
            flags.file.display()
        ))
    })?;
    let text = std::fs::read_to_string(&flags.file);
    let schema = text.with_context(|| format!("read `{}`", flags.file.display()))?;
    Ok(NewSchema { language: language.word().to_owned(), schema, references: Vec::new() })
}

#[derive(Debug, Serialize)]
struct Checked {
    subject: String,
    compatible: bool,
    messages: Vec<String>,
}

async fn check(flags: &FileFlags, speech: &Speech) -> anyhow::Result<Exit> {
    let checked = flags.reach.registry()?.check(&flags.subject, &new_schema(flags)?).await?;
    let report = Checked {
        subject: flags.subject.clone(),
        compatible: checked.is_compatible,
        messages: checked.messages,
    };
    print(speech, &report, |report, _| {
        let state = if report.compatible { "may be registered" } else { "is incompatible" };
        let mut text = format!("{}: the schema {state}\n", report.subject);
        for message in &report.messages {
            let _ = writeln!(text, "  {message}");
        }
        text
    })?;
    Ok(if report.compatible { Exit::Done } else { Exit::Failed })
}

#[derive(Debug, Serialize)]
struct Registered {
    subject: String,
    id: u32,
}

async fn register(flags: &FileFlags, speech: &Speech) -> anyhow::Result<Exit> {
    let id = flags.reach.registry()?.register(&flags.subject, &new_schema(flags)?).await?;
    let report = Registered { subject: flags.subject.clone(), id };
    print(speech, &report, |report, _| format!("{}: schema id {}\n", report.subject, report.id))?;
    Ok(Exit::Done)
}

/// Who can read whom, and why not.
#[derive(Debug, Serialize)]
struct Difference {
    older: String,
    newer: String,
    /// What keeps readers of the newer schema from reading the older one's values.
    backward: Vec<String>,
    /// What keeps readers of the older schema from reading the newer one's values.
    forward: Vec<String>,
    /// Lines that only one of them has: `-` the older, `+` the newer.
    lines: Vec<String>,
}

async fn diff(flags: &DiffFlags, speech: &Speech) -> anyhow::Result<Exit> {
    let registry = flags.reach.registry()?;
    let (older, newer, name) = match &flags.file {
        Some(file) => {
            let older = registry.version(&flags.subject, flags.from).await?;
            let text = std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
            let newer = Version { schema: text, ..older.clone() };
            (older, newer, file.display().to_string())
        }
        None => {
            let newer = registry.version(&flags.subject, flags.to).await?;
            let from = flags.from.unwrap_or(newer.version - 1);
            let older = registry.version(&flags.subject, Some(from)).await?;
            let name = format!("version {}", newer.version);
            (older, newer, name)
        }
    };
    let (old, new) = (parse(&registry, &older).await?, parse(&registry, &newer).await?);
    let report = Difference {
        older: format!("version {}", older.version),
        newer: name,
        backward: reasons(&new.reads(&old, Policy::Strict)),
        forward: reasons(&old.reads(&new, Policy::Strict)),
        lines: changed(&pretty(&older.schema), &pretty(&newer.schema)),
    };
    print(speech, &report, |report, _| shown(report))?;
    Ok(Exit::Done)
}

async fn parse(registry: &RegistryClient, version: &Version) -> anyhow::Result<ParsedSchema> {
    let language: Language = version.language.parse()?;
    let references: Vec<Referenced> = registry
        .references(&version.references)
        .await?
        .into_iter()
        .map(|one| Referenced { name: one.name, text: one.text })
        .collect();
    Ok(ParsedSchema::parse(language, &version.schema, &references, Strictness::Stored)?)
}

fn reasons(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::OtherLanguage => vec!["they are in two languages".to_owned()],
        Verdict::Undecided(why) => vec![why.clone()],
        Verdict::Differences(found) => found.iter().map(|one| one.explanation()).collect(),
    }
}

/// A schema of JSON over several lines; others as they are.
fn pretty(text: &str) -> Vec<String> {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let text =
        value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned());
    text.lines().map(str::to_owned).collect()
}

/// The lines that differ, between the longest parts that both have. For schemas of some thousand lines.
fn changed(old: &[String], new: &[String]) -> Vec<String> {
    /// More lines than this are not compared: the table below has their product.
    const LINES_MAX: usize = 5000;
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return vec!["the schemas are too long to compare line by line".to_owned()];
    }
    let width = new.len() + 1;
    let mut common = vec![0_u16; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i * width + j] = if a == b {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            lines.push(format!("-{}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", new[j]));
            j += 1;
        }
    }
    lines
}

fn shown(report: &Difference) -> String {
    let mut text = format!("{} -> {}\n", report.older, report.newer);
    for (direction, reasons) in [("backward", &report.backward), ("forward", &report.forward)] {
        match reasons.as_slice() {
            [] => {
                let _ = writeln!(text, "{direction}: compatible");
            }
            reasons => {
                let _ = writeln!(text, "{direction}: incompatible");
                for reason in reasons {
                    let _ = writeln!(text, "  {reason}");
                }
            }
        }
    }
    for line in &report.lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_changed_are_shown() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(changed(&lines("a b c"), &lines("a x c d")), ["-b", "+x", "+d"]);
        assert_eq!(changed(&lines("a"), &lines("a")), Vec::<String>::new());
    }
}
