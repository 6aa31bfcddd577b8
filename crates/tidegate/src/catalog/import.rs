//! `tidegate catalog import`: foreign definitions become a file that a catalog includes, and a report of what differs.

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_catalog::import::{Family, Imported, Language, Unreadable, VersionStep, newest};
use tidegate_catalog::proposal::{Note, NoteKind, Part, ProposedEvent, Taken, settle_with, write};
use tidegate_catalog::{Loaded, load};
use tidegate_clickhouse::Url;

use super::{read as read_catalog, refused, replace};
use crate::cli::{Exit, Output, Speech};
use crate::commands::print;
use source::Gathered;

pub const HELP: &str = "\
Examples:
  tidegate catalog import json-schema schemas/ --into events/imported.yaml
  tidegate catalog import iglu iglu-central/schemas --into catalog/imported.yaml
  tidegate catalog import avro schemas/*.avsc                  prints the file
  tidegate catalog import clickhouse --clickhouse http://me:secret@localhost:8123 --database shop

Of several versions of a schema the newest becomes the event, and the report says what each step between them does.
Everything that could not be carried over is a comment beside its field, and counted.";

/// From what.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// JSON Schemas, draft 4 to 2020-12: `NAME.json`, `NAME/1-0-2.json`
    JsonSchema(Files),
    /// Iglu's self-describing schemas
    Iglu(Files),
    /// Avro schemas of records
    Avro(Files),
    /// Tables of a live ClickHouse
    Clickhouse(Tables),
}

/// Where definitions are.
#[derive(Debug, Args)]
pub struct Files {
    /// Files, and folders with everything below
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub target: Target,
}

/// Which tables.
#[derive(Debug, Args)]
pub struct Tables {
    /// ClickHouse's HTTP interface, with user and password
    #[arg(long, value_name = "URL", env = "TIDEGATE_CLICKHOUSE_URL", hide_env_values = true)]
    pub clickhouse: Option<Url>,
    /// A sink's configuration file, which says where ClickHouse is
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub database: String,
    /// The tables; all of the database if none is named
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    #[command(flatten)]
    pub target: Target,
}

/// Where the proposal goes.
#[derive(Debug, Args)]
pub struct Target {
    /// The file to be written, for `include`; printed if absent. Without a catalog beside it, one is made
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// The catalog that is to include it: no name is given twice [default: cdp.yaml beside the file, if there is one]
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

/// A file that nothing was made of.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// A note with the event that it is of.
#[derive(Serialize)]
struct Told {
    event: String,
    #[serde(flatten)]
    note: Note,
}

/// A step between two versions of an event.
#[derive(Serialize)]
struct ToldStep {
    event: String,
    /// Whether label and content agree.
    agrees: bool,
    #[serde(flatten)]
    step: VersionStep,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    definitions: usize,
    events: usize,
    fields: usize,
    enums: usize,
    /// Files of versions before the newest.
    older: usize,
    notes_by_kind: BTreeMap<&'static str, usize>,
    notes: Vec<Told>,
    steps: Vec<ToldStep>,
    skipped: Vec<Skipped>,
    unreadable: Vec<Unreadable>,
    /// What was written.
    files: Vec<String>,
    /// What was proposed, if nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The next step.
    next: String,
}

/// Runs a subcommand.
///
/// # Errors
/// When a path, a server or the target cannot be used.
pub async fn run(command: &Command, speech: &Speech) -> anyhow::Result<Exit> {
    let (title, target, gathered) = match command {
        Command::JsonSchema(files) => {
            ("JSON Schema", &files.target, source::files(Language::JsonSchema, &files.paths)?)
        }
        Command::Iglu(files) => ("Iglu", &files.target, source::files(Language::Iglu, &files.paths)?),
        Command::Avro(files) => ("Avro", &files.target, source::files(Language::Avro, &files.paths)?),
        Command::Clickhouse(tables) => ("ClickHouse", &tables.target, source::tables(tables).await?),
    };
    let root = root(target);
    let taken = match &root {
        Some(root) => match read_catalog(root) {
            Ok(Loaded { catalog, .. }) => Taken::by(&catalog),
            Err(diagnostics) => return refused(root.display().to_string(), &diagnostics, speech),
        },
        None => Taken::by_any(),
    };
    let (mut report, parts) = propose(gathered, &taken, title);
    save(&mut report, (&parts, target, root.as_deref()))?;
    tell(&report, speech)?;
    let whole = report.unreadable.is_empty() && report.events > 0;
    Ok(if whole { Exit::Done } else { Exit::Failed })
}

/// The catalog whose names are given already.
fn root(target: &Target) -> Option<PathBuf> {
    if target.catalog.is_some() {
        return target.catalog.clone();
    }
    let beside = target.into.as_ref()?.with_file_name("cdp.yaml");
    beside.exists().then_some(beside)
}

/// Makes a proposal of what was gathered.
fn propose(gathered: Gathered, taken: &Taken, title: &str) -> (Report, Vec<Part>) {
    let definitions = gathered.imported.len();
    let families: Vec<Family> = newest(gathered.imported);
    let older: usize = families.iter().map(|family| family.older.len()).sum();
    let mut steps = Vec::new();
    let mut events: Vec<ProposedEvent> = Vec::with_capacity(families.len());
    for family in families {
        let Imported { mut event, .. } = family.newest;
        if !family.older.is_empty() {
            event.evidence.push(format!("{} versions before it", family.older.len()));
        }
        steps.push(family.steps);
        events.push(event);
    }
    let enums = settle_with(&mut events, taken);
    let parts = write(&format!("Proposed by `tidegate catalog import` from {title}."), &events, &enums);
    let named = |event: &ProposedEvent| event.name.clone();
    let steps = events.iter().zip(steps).flat_map(|(event, steps)| {
        steps.into_iter().map(move |step| ToldStep { event: named(event), agrees: step.agrees(), step })
    });
    let steps = steps.collect();
    let notes: Vec<Told> = events
        .iter()
        .flat_map(|event| {
            let notes = event.all_notes().into_iter().cloned();
            notes.map(|note| Told { event: event.name.clone(), note }).collect::<Vec<_>>()
        })
        .collect();
    let mut notes_by_kind = BTreeMap::new();
    for told in &notes {
        *notes_by_kind.entry(told.note.kind.as_str()).or_default() += 1;
    }
    let report = Report {
        definitions,
        events: events.len(),
        fields: events.iter().map(ProposedEvent::n_fields).sum(),
        enums: enums.len(),
        older,
        notes_by_kind,
        notes,
        steps,
        skipped: gathered.skipped,
        unreadable: gathered.unreadable,
        files: Vec::new(),
        text: None,
        next: String::new(),
    };
    (report, parts)
}

/// Writes the parts, each beside its place first; what stands there already is not overwritten.
fn save(report: &mut Report, (parts, target, root): (&[Part], &Target, Option<&Path>)) -> anyhow::Result<()> {
    if report.events == 0 {
        "nothing was proposed: see what was skipped, and why".clone_into(&mut report.next);
        return Ok(());
    }
    let Some(into) = &target.into else {
        if parts.len() > 1 {
            bail!(
                "{} files are needed to hold {} events; name the first with `--into`",
                parts.len(),
                report.events
            );
        }
        report.text = parts.first().map(|part| part.text.clone());
        "check the proposal, then write it with `--into` and include it".clone_into(&mut report.next);
        return Ok(());
    };
    let mut files = named(into, parts)?;
    let made = root.is_none().then(|| into.with_file_name("cdp.yaml"));
    let first = files.first().map(|(path, _)| path.clone()).unwrap_or_default();
    let minimal = minimal(&first)?;
    prove(&minimal, &files)?;
    if let Some(root) = &made {
        files.push((root.clone(), minimal));
    }
    for (path, text) in &files {
        if fs::read_to_string(path).is_ok_and(|found| found != *text) {
            bail!(
                "`{}` is there already, and differs; remove it, or name another with `--into`",
                path.display()
            );
        }
    }
    for (path, text) in &files {
        replace(path, text)?;
        report.files.push(path.display().to_string());
    }
    report.next = match (made, root) {
        (Some(root), _) => format!("tidegate catalog check {}", root.display()),
        (None, Some(root)) => format!("put `{}` into `include` of `{}`", first.display(), root.display()),
        (None, None) => String::new(),
    };
    Ok(())
}

/// The parts by path; the first includes the others.
fn named(into: &Path, parts: &[Part]) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let stem = into.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.with_context(|| format!("`{}` is no name of a file", into.display()))?;
    let others: Vec<String> = (2..=parts.len()).map(|number| format!("{stem}_{number}.yaml")).collect();
    let mut files = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let path = match index.checked_sub(1).and_then(|other| others.get(other)) {
            Some(other) => into.with_file_name(other),
            None => into.to_owned(),
        };
        let include = format!("include: [{}]\n", others.join(", "));
        let text = if index == 0 && !others.is_empty() {
            format!("{include}{}", part.text)
        } else {
            part.text.clone()
        };
        files.push((path, text));
    }
    Ok(files)
}

/// A catalog that has nothing but what every one has.
fn minimal(first: &Path) -> anyhow::Result<String> {
    let name = first.file_name().and_then(|name| name.to_str()).context("the file has a name")?;
    Ok(format!(
        "cdp: \"1\"\nname: imported\ninclude: [{name}]\n# Imported events have their own names for who and when: see what of them belongs here.\n\
         envelope:\n  event_id: {{type: uuid, doc: Made by the producer}}\n  ts: {{type: timestamp(ms)}}\n"
    ))
}

/// What is written loads. If not, that is a mistake of this program, and nothing is written.
fn prove(minimal: &str, files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    let loaded = load("cdp.yaml", &|name| {
        let part = files.iter().find(|(path, _)| path.file_name().is_some_and(|of| of == name));
        Ok(part.map_or(minimal, |(_, text)| text).as_bytes().to_vec())
    });
    match loaded {
        Ok(_) => Ok(()),
        Err(mistakes) => {
            bail!("what would be written is no catalog; please report it with the source:\n{mistakes}")
        }
    }
}

/// The report. Where the proposal is printed, the report goes to standard error.
fn tell(report: &Report, speech: &Speech) -> anyhow::Result<()> {
    match (&report.text, speech.output) {
        (Some(text), Output::Text) => {
            eprint!("{}", shown(report));
            print(speech, report, |_, _| text.clone())
        }
        (_, Output::Text | Output::Json) => print(speech, report, |report, _| shown(report)),
    }
}

/// How many of a list are shown: `--output json` has all.
const SHOWN: usize = 20;

fn shown(report: &Report) -> String {
    let mut text = format!(
        "{} definitions: {} events with {} fields and {} enums; {} versions before the newest\n",
        report.definitions, report.events, report.fields, report.enums, report.older
    );
    for kind in NoteKind::ALL {
        if let Some(count) = report.notes_by_kind.get(kind.as_str()) {
            text.push_str(&format!("  {count:>5} {:<17} {}\n", kind.as_str(), meaning(kind)));
        }
    }
    list(&mut text, "cannot be read", &report.unreadable, |unreadable| unreadable.to_string());
    list(&mut text, "skipped", &report.skipped, |skipped| format!("{}: {}", skipped.file, skipped.reason));
    if !report.steps.is_empty() {
        let breaks = report.steps.iter().filter(|told| told.step.step.breaks).count();
        text.push_str(&format!(
            "{} version steps, of which {breaks} break readers or writers\n",
            report.steps.len()
        ));
        let lies: Vec<&ToldStep> = report.steps.iter().filter(|told| !told.agrees).collect();
        list(&mut text, "are not what their label says", &lies, |told| {
            let (step, first) = (&told.step, told.step.step.changes.iter().max_by_key(|change| change.class));
            let why = first.map_or(String::new(), |change| format!(": `{}` {}", change.field, change.reason));
            let class = step.step.class.as_str();
            format!("{} {} to {}, labelled {}, is {class}{why}", told.event, step.from, step.to, step.label)
        });
    }
    for file in &report.files {
        text.push_str(&format!("written: {file}\n"));
    }
    if !report.next.is_empty() {
        text.push_str(&format!("next: {}\n", report.next));
    }
    text
}

fn list<T>(text: &mut String, title: &str, items: &[T], line: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("{} {title}:\n", items.len()));
    for item in items.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", line(item).replace('\n', "\n  ")));
    }
    if items.len() > SHOWN {
        text.push_str(&format!("  and {} more; `--output json` has all\n", items.len() - SHOWN));
    }
}

const fn meaning(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Renamed => "another name here; `source` is what records call it",
        NoteKind::AsJson => "structures that the language cannot say",
        NoteKind::NotCarried => "rules that are not kept to",
        NoteKind::Loosened => "more is taken than the source takes",
        NoteKind::Tightened => "less is taken than the source takes",
        NoteKind::Informative => "for people",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(into: &Path) -> Target {
        Target { into: Some(into.to_owned()), catalog: None }
    }

    /// Imports a folder as `run` does, without its words.
    fn import(folder: &Path, into: &Path) -> anyhow::Result<Report> {
        let target = target(into);
        let root = root(&target);
        let taken = match &root {
            Some(root) => Taken::by(&read_catalog(root).unwrap().catalog),
            None => Taken::by_any(),
        };
        let gathered = source::files(Language::JsonSchema, &[folder.to_owned()])?;
        let (mut report, parts) = propose(gathered, &taken, "a test");
        save(&mut report, (&parts, &target, root.as_deref()))?;
        Ok(report)
    }

    #[test]
    fn a_folder_becomes_a_catalog_and_nothing_of_it_is_lost_or_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (schemas, into) = (folder.path().join("schemas"), folder.path().join("out/events.yaml"));
        fs::create_dir_all(schemas.join("page")).unwrap();
        let old = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let new = json!({"type": "object", "properties": {"n": {"type": "string", "minLength": 2}}});
        for (name, text) in [
            ("page/1-0-0", old.to_string()),
            ("page/1-0-1", new.to_string()),
            ("click.json", old.to_string()),
            ("broken.json", "{".to_owned()),
            ("README.md", String::new()),
            (".hidden", String::new()),
        ] {
            fs::write(schemas.join(name), text).unwrap();
        }
        let report = import(&schemas, &into).unwrap();
        assert_eq!((report.definitions, report.events, report.older), (3, 2, 1));
        let skipped: Vec<&str> = report.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(skipped, ["hidden", "its name neither ends in .json nor is a version"]);
        assert_eq!((report.unreadable.len(), report.unreadable[0].at.as_str()), (1, "1:1"));
        let text = shown(&report);
        for words in [
            "broken.json:1:1: expected JSON",
            "labelled addition, is destructive: `n`",
            "not carried over",
            "next: tidegate catalog check",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let loaded =
            read_catalog(&into.with_file_name("cdp.yaml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(loaded.catalog.events.keys().collect::<Vec<_>>(), ["click", "page"]);

        // The catalog has these names: a second import into it gives others, and another file.
        let more = import(&schemas, &into.with_file_name("more.yaml")).unwrap();
        assert!(fs::read_to_string(&more.files[0]).unwrap().contains("click_2:"));
        let error = import(&schemas, &into).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("is there already, and differs"), "{error}");
    }

    #[tokio::test]
    async fn a_servers_tables_come_back_as_events() {
        let Some(client) = super::super::changing::client() else { return };
        for sql in [
            "CREATE DATABASE imported",
            "CREATE TABLE imported.pages (event_id UUID, ts DateTime64(3, 'UTC'), `URL` LowCardinality(String), \
             n Nullable(UInt16) COMMENT 'How many', kind Enum8('a' = 1, 'b c' = 2), at DateTime DEFAULT now(), \
             tags Array(Tuple(name String, n UInt8)), attrs Map(String, Float64), doc JSON, x Dynamic, \
             twice UInt32 ALIAS n * 2) ENGINE = MergeTree ORDER BY ts COMMENT 'Pages.'",
            "CREATE VIEW imported.seen AS SELECT n FROM imported.pages",
        ] {
            client.execute(sql).await.unwrap();
        }
        let gathered = source::tables_of(&client, "imported", &[]).await.unwrap();
        assert_eq!(gathered.skipped.len(), 1, "a view is told of");
        let (mut report, parts) = propose(gathered, &Taken::by_any(), "ClickHouse");
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("tables.yaml");
        save(&mut report, (&parts, &target(&into), None)).unwrap();
        let catalog = read_catalog(&folder.path().join("cdp.yaml"))
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .catalog;
        let event = &catalog.events["pages"];
        assert_eq!(event.source.doc, "Pages.");
        let types: Vec<String> =
            event.source.fields.iter().map(|(name, field)| format!("{name} {}", field.ty.value)).collect();
        assert_eq!(
            types,
            [
                "url string",
                "n optional<u16>",
                "kind enum<kind>",
                "at timestamp(ms)",
                "tags array<object>",
                "attrs map<f64>",
                "doc json",
                "x any"
            ]
        );
        assert!(source::tables_of(&client, "imported", &["nothing".to_owned()]).await.is_err());
    }
}
