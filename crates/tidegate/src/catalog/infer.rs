//! `tidegate catalog infer`: samples a topic, or a file of JSON lines, and proposes events with the evidence for each
//! field. Nothing is applied: what is proposed goes to a file that was not there before.

mod sampling;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidegate_catalog::infer::{
    Comparison, Difference, Inferred, Separation, Separator, Survey, known, propose, separate,
};
use tidegate_catalog::proposal::{Note, NoteKind};
use tidegate_catalog::{Catalog, load};
use tidegate_config::LoadError;

use self::sampling::{Aside, From, Sampled, Taken};
use super::read;
use crate::cli::{Exit, Speech, WrongUse};
use crate::commands::print;
use crate::reach::Reach;
use crate::render;

pub const HELP: &str = "\
Examples:
  tidegate catalog infer --topic shop.orders --bootstrap localhost:9092 --into proposed.yaml
  tidegate catalog infer --topic app.events --config sink.yaml --event-field type --samples 50000
  tidegate catalog infer --topic app.events --config sink.yaml --catalog cdp.yaml      what cdp.yaml does not know
  tidegate catalog infer --file events.jsonl --output json

Records are read outside of any group; nothing is committed, and no catalog is changed. Without --into the proposal is
counted and its doubts are told; with --output json it is a part of the report.";

/// Flags of `tidegate catalog infer`.
#[derive(Debug, Args)]
pub struct Flags {
    /// The topic to sample
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    pub topic: Option<String>,
    /// A file with a JSON object a line, instead of a topic
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "from"])]
    pub file: Option<PathBuf>,
    /// How many records to look at
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub samples: u64,
    /// Where in the topic: `spread` over beginning, middle and end of each partition; `earliest`; `latest`; or spread
    /// from an RFC 3339 time on
    #[arg(long, value_name = "WHERE", default_value = "spread")]
    pub from: From,
    /// The field whose text says which event a record is; found, and told why, if absent
    #[arg(long, value_name = "FIELD", conflicts_with = "event_header")]
    pub event_field: Option<String>,
    /// The header whose text says which event a record is
    #[arg(long, value_name = "HEADER")]
    pub event_header: Option<String>,
    /// A catalog that is there: tell what it does not know, and propose only events that it lacks
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Write the proposal to this file, which must not be there: a catalog of its own, or with --catalog a file to be
    /// included
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    #[command(flatten)]
    pub reach: Reach,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The topic, or the file.
    pub source: String,
    /// Records that were looked at.
    pub records: u64,
    /// Their values' bytes.
    pub bytes: u64,
    /// Partitions that they are from; none of a file.
    pub partitions: usize,
    /// Why fewer were looked at than were asked for, if that is so.
    pub cut: Option<String>,
    /// What tells events apart.
    pub separator: String,
    /// Why.
    pub why: String,
    /// What else might.
    pub others: Vec<String>,
    /// Records that nothing was inferred from.
    pub aside: Vec<AsideLine>,
    /// The fields of every event.
    pub envelope: Vec<String>,
    /// The proposed events.
    pub events: Vec<EventLine>,
    /// What a person should look at, what would be refused first.
    pub notes: Vec<NoteLine>,
    /// What a catalog that is there does not know.
    pub compared: Option<Compared>,
    /// The files of the proposal.
    pub files: Vec<FileLine>,
}

/// Records that nothing was inferred from.
#[derive(Debug, Serialize)]
pub struct AsideLine {
    /// Why.
    pub why: String,
    /// How many.
    pub records: u64,
    /// Where the first is.
    pub example: String,
}

/// A proposed event.
#[derive(Debug, Serialize)]
pub struct EventLine {
    /// Its name.
    pub name: String,
    /// What the records call it, if that is another name.
    pub original: Option<String>,
    /// How many records were of it.
    pub records: u64,
    /// How many fields it has, without the envelope's.
    pub fields: usize,
}

/// What a person should look at.
#[derive(Debug, Serialize)]
pub struct NoteLine {
    /// The event; none if it is about all.
    pub event: Option<String>,
    #[serde(flatten)]
    pub note: Note,
}

/// A catalog and the records.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The catalog's file.
    pub catalog: String,
    /// Records that it takes, with nothing in them that it does not know.
    pub agreeing: u64,
    /// Differences that were not told apart any more.
    pub left_out: u64,
    /// What differs, the most frequent first.
    pub differences: Vec<Difference>,
}

/// A file of the proposal.
#[derive(Debug, Serialize)]
pub struct FileLine {
    /// Its name.
    pub path: String,
    /// Whether it was written.
    pub written: bool,
    /// Its text, if it was not.
    pub text: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let catalog = match &flags.catalog {
        Some(file) => Some(read(file).map_err(LoadError::Refused)?.catalog),
        None => None,
    };
    if let Some(into) = &flags.into {
        must_be_new(into)?;
    }
    let mut sampled = match (&flags.file, &flags.topic) {
        (Some(file), _) => sampling::file(file, flags.samples)?,
        (None, Some(topic)) => {
            sampling::topic(&flags.reach.kafka()?, topic, flags.samples, &flags.from).await?
        }
        (None, None) => {
            return Err(WrongUse("name a topic with `--topic`, or a file with `--file`".into()).into());
        }
    };
    let source = source(flags);
    if sampled.records.is_empty() && sampled.aside.is_empty() {
        bail!("`{source}` has no records to learn from; produce some, or name another with `--topic`");
    }
    let separation = separation(flags, &sampled);
    let seen = look(&mut sampled, &separation.by, &source, catalog.as_ref())?;
    let mut inferred = propose(&seen.survey, &source, catalog.as_ref());
    inferred.notes.extend(seen.repeated.clone());
    let files = files(flags, &inferred, &sampled, catalog.is_some())?;
    let report = report(flags, (source, sampled, separation), seen, (&inferred, files));
    print(speech, &report, render::inferred)?;
    Ok(Exit::Done)
}

/// The topic, or the file's name without its ending.
fn source(flags: &Flags) -> String {
    let stem = flags.file.as_deref().and_then(Path::file_stem);
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    flags.topic.clone().or(stem).unwrap_or_default()
}

fn separation(flags: &Flags, sampled: &Sampled) -> Separation {
    let told = |by| Separation { by, why: "as asked for".to_owned(), others: Vec::new() };
    match (&flags.event_field, &flags.event_header) {
        (Some(field), _) => told(Separator::Member(field.clone())),
        (None, Some(header)) => told(Separator::Header(header.clone())),
        (None, None) => separate(sampled.records.iter().map(|taken| (taken.headers(), &taken.value))),
    }
}

/// What was seen of the sampled records.
struct Seen<'a> {
    survey: Survey,
    comparison: Option<Comparison<'a>>,
    repeated: Option<Note>,
}

fn look<'a>(
    sampled: &mut Sampled,
    by: &Separator,
    source: &str,
    catalog: Option<&'a Catalog>,
) -> anyhow::Result<Seen<'a>> {
    let mut survey = Survey::default();
    let mut comparison = catalog.map(Comparison::new);
    let mut ids: HashSet<&str> = HashSet::new();
    let mut n_repeated = 0_u64;
    let mut nameless = Vec::new();
    let mut n_seen = 0_u64;
    for taken in &sampled.records {
        let Some(event) = by.event(&taken.headers(), &taken.value) else {
            nameless.push(taken.place.clone());
            continue;
        };
        n_seen += 1;
        if let Some(comparison) = &mut comparison {
            comparison.see(source, event, &taken.value, &taken.place);
        }
        if catalog.is_none_or(|catalog| known(catalog, source, event).is_none()) {
            survey.see(event, &taken.value);
        }
        if let Some(id) = taken.value.get("event_id").and_then(serde_json::Value::as_str) {
            n_repeated += u64::from(!ids.insert(id));
        }
    }
    if n_seen == 0 && !sampled.records.is_empty() {
        let told = by.told();
        bail!(
            "{told} is a text in none of {} records; `--event-field` or `--event-header` names another",
            sampled.records.len()
        );
    }
    for place in nameless {
        sampled.set_aside(Aside::NoEvent, &place);
    }
    let repeated = (n_repeated > 0).then(|| Note {
        kind: NoteKind::Informative,
        at: "/event_id".to_owned(),
        text: format!(
            "{n_repeated} records have an `event_id` that another one has: sent again, or not an identity"
        ),
    });
    Ok(Seen { survey, comparison, repeated })
}

/// The files of the proposal, written if that is asked for.
fn files(
    flags: &Flags,
    inferred: &Inferred,
    sampled: &Sampled,
    included: bool,
) -> anyhow::Result<Vec<FileLine>> {
    if inferred.events.is_empty() {
        return Ok(Vec::new());
    }
    let title = format!(
        "Proposed by `tidegate catalog infer` from {} records of `{}`. Look at each field: the evidence stands above it.",
        sampled.records.len(),
        source(flags)
    );
    let root = flags.into.clone().unwrap_or_else(|| PathBuf::from("proposed.yaml"));
    let stem = root.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let other = |number: usize| format!("{stem}-{number}.yaml");
    let texts: Vec<(Option<String>, String)> = if included {
        let parts = inferred.parts(&title).into_iter().enumerate();
        parts.map(|(index, part)| ((index > 0).then(|| other(index + 1)), part.text)).collect()
    } else {
        let files = inferred.files(&title, &other);
        loads(&files)?;
        files
    };
    let paths = texts
        .iter()
        .map(|(name, _)| name.as_ref().map_or_else(|| root.clone(), |name| root.with_file_name(name)));
    let paths: Vec<PathBuf> = paths.collect();
    let written = flags.into.is_some();
    if written {
        paths.iter().try_for_each(|path| must_be_new(path))?;
        for (path, (_, text)) in paths.iter().zip(&texts) {
            create(path, text).with_context(|| format!("write `{}`", path.display()))?;
        }
    }
    let line = |(path, (_, text)): (PathBuf, (Option<String>, String))| FileLine {
        path: path.display().to_string(),
        written,
        text: (!written).then_some(text),
    };
    Ok(paths.into_iter().zip(texts).map(line).collect())
}

fn must_be_new(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        let path = path.display();
        return Err(WrongUse(format!(
            "`{path}` is there already, and a proposal overwrites nothing; name a new file with `--into`"
        ))
        .into());
    }
    Ok(())
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// What is written can be read.
fn loads(files: &[(Option<String>, String)]) -> anyhow::Result<()> {
    let read = |path: &str| {
        let file = files.iter().find(|(name, _)| name.as_deref().unwrap_or("cdp.yaml") == path);
        file.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    match load("cdp.yaml", &read) {
        Ok(_) => Ok(()),
        Err(mistakes) => bail!("the proposal does not load, which is a mistake of this program: {mistakes}"),
    }
}

fn report(
    flags: &Flags,
    (source, sampled, separation): (String, Sampled, Separation),
    seen: Seen<'_>,
    (inferred, files): (&Inferred, Vec<FileLine>),
) -> Report {
    let events = inferred.events.iter().map(|event| {
        let original = event.original.as_deref().unwrap_or(&event.name);
        let of = seen.survey.events();
        let evidence = of.get(original).or_else(|| of.get(""));
        EventLine {
            name: event.name.clone(),
            original: event.original.clone(),
            records: evidence.map_or(0, tidegate_catalog::infer::Evidence::count),
            fields: event.n_fields(),
        }
    });
    let notes = inferred.all_notes().into_iter();
    let compared = seen.comparison.map(|comparison| Compared {
        catalog: flags.catalog.as_ref().map_or_else(String::new, |file| file.display().to_string()),
        agreeing: comparison.agreeing,
        left_out: comparison.left_out,
        differences: comparison.differences().into_iter().cloned().collect(),
    });
    Report {
        source,
        records: sampled.records.len() as u64,
        bytes: sampled.bytes,
        partitions: sampled.partitions,
        cut: sampled.cut,
        separator: separation.by.told(),
        why: separation.why,
        others: separation.others,
        aside: aside(&sampled.aside),
        envelope: inferred.envelope.iter().map(|field| format!("{}: {}", field.name, field.ty)).collect(),
        events: events.collect(),
        notes: notes
            .map(|(event, note)| NoteLine { event: event.map(str::to_owned), note: note.clone() })
            .collect(),
        compared,
        files,
    }
}

fn aside(of: &BTreeMap<Aside, (u64, String)>) -> Vec<AsideLine> {
    let lines = of.iter().map(|(why, (records, example))| AsideLine {
        why: why.told(),
        records: *records,
        example: example.clone(),
    });
    lines.collect()
}

impl Taken {
    /// The headers that are texts.
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}
