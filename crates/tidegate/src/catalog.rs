//! `tidegate catalog`: one `cdp.yaml` checked, and everything that is made from it written or compared.

mod agreement;
mod apply;
#[cfg(test)]
mod changing;
pub mod coverage;
mod evolve;
mod execute;
mod import;
pub mod infer;
mod journal;
mod plan;
pub mod rollout;
mod server;
pub mod trial;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_catalog::{Catalog, Generated, Given, Loaded, Lock, Untreated, generate, json_schema, load};
use tidegate_config::{Diagnostic, Diagnostics, LoadError};
use tidegate_pipeline::dead_letter_ddl;

use crate::cli::{Exit, Output, Speech};
use crate::commands::print;
use crate::wire;

/// The file beside the catalog that keeps numbers which must not change.
const LOCK_FILE: &str = "cdp.lock";
/// A catalog's file is at most a mebibyte; one byte more tells that it is larger.
const READ_MAX: u64 = 1024 * 1024 + 1;

/// What to do with a catalog.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say everything that is wrong with a catalog, at once
    #[command(after_help = "\
Examples:
  tidegate catalog check
  tidegate catalog check examples/short-video/cdp.yaml --output json")]
    Check(Source),
    /// Write everything that is made from a catalog: schemas, tables, the sink's configuration, documentation
    #[command(after_help = "\
Examples:
  tidegate catalog generate --out generated
  tidegate catalog generate --out generated --check      fails if a file differs: for CI")]
    Generate(Generate),
    /// Show which generated files differ from what the catalog says, line by line
    #[command(after_help = "Example:\n  tidegate catalog diff --out generated")]
    Diff(Target),
    /// Run the catalog's tests through a Kafka, the sink and a ClickHouse: each event must become the row, or
    /// the dead letter, that its test states
    #[command(after_help = "\
Examples:
  tidegate catalog test                          with engines of its own, which go when it is done
  tidegate catalog test cdp.yaml --samples --output json
  tidegate catalog test --bootstrap localhost:9092 --clickhouse http://me:secret@localhost:8123

Where engines are given, it makes a database and topics whose names have `test` and eight digits in them, and
removes them again.")]
    Test(Box<trial::Flags>),
    /// Show what differs between a catalog and a live ClickHouse, how each change bears on others, and what it takes
    #[command(after_help = evolve::PLAN_HELP)]
    Plan(evolve::Flags),
    /// Bring a live ClickHouse to what a catalog says, while rows are written; goes on where a run that died stopped
    #[command(after_help = evolve::APPLY_HELP)]
    Apply(evolve::ApplyFlags),
    /// Say what a catalog covers of a spreadsheet of wanted metrics: what is there, what only has to be written, which
    /// fields are missing
    #[command(after_help = coverage::HELP)]
    Coverage(coverage::Flags),
    /// Turn JSON Schemas, Iglu's, Avro's, or a ClickHouse's tables into events that a catalog includes
    #[command(subcommand, after_help = import::HELP)]
    Import(import::Command),
    /// Look at samples of a topic and propose events, with the evidence for each field; nothing is changed
    #[command(after_help = infer::HELP)]
    Infer(Box<infer::Flags>),
    /// Print the JSON Schema of a catalog, for editors
    Schema,
}

/// Which catalog.
#[derive(Debug, Args)]
pub struct Source {
    /// The catalog's root file
    #[arg(value_name = "FILE", default_value = "cdp.yaml")]
    pub catalog: PathBuf,
}

/// Which catalog, and where its files are.
#[derive(Debug, Args)]
pub struct Target {
    #[command(flatten)]
    pub source: Source,
    /// The folder of generated files
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// How files are written.
#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    pub target: Target,
    /// Write nothing; fail if a file is missing, left over or different
    #[arg(long)]
    pub check: bool,
}

/// What `check` says.
#[derive(Serialize)]
struct Checked {
    file: String,
    mistakes: Vec<Diagnostic>,
    events: usize,
    metrics: usize,
    facts: usize,
    rollups: usize,
    /// Classes of personal data whose action nobody carries out.
    stored_as_it_comes: Vec<Untreated>,
}

/// What differs between a folder and what it should hold.
#[derive(Serialize)]
struct Differences {
    out: String,
    files: usize,
    missing: Vec<String>,
    different: Vec<String>,
    left_over: Vec<String>,
    /// Whether the files have been written.
    written: bool,
    #[serde(skip)]
    lines: String,
}

impl Differences {
    fn none(&self) -> bool {
        self.missing.is_empty() && self.different.is_empty() && self.left_over.is_empty()
    }
}

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: &Command, speech: &Speech) -> anyhow::Result<Exit> {
    match command {
        Command::Check(source) => check(&source.catalog, speech),
        Command::Generate(flags) => write(flags, speech),
        Command::Diff(target) => diff(target, speech),
        Command::Test(flags) => trial::run(flags, speech).await,
        Command::Plan(flags) => evolve::plan(flags, speech).await,
        Command::Apply(flags) => evolve::apply(flags, speech).await,
        Command::Coverage(flags) => coverage::run(flags, speech),
        Command::Import(command) => import::run(command, speech).await,
        Command::Infer(flags) => infer::run(flags, speech).await,
        Command::Schema => {
            print(speech, &json_schema(), |schema, _| format!("{schema:#}\n"))?;
            Ok(Exit::Done)
        }
    }
}

/// Reads and checks a catalog.
///
/// # Errors
/// Every mistake in it.
pub fn read(file: &Path) -> Result<Loaded, Diagnostics> {
    load(&file.display().to_string(), &|path| {
        use io::Read;
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(READ_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// A catalog without mistakes, and what is made from it.
pub struct Opened {
    /// Its root file.
    pub file: PathBuf,
    /// The catalog.
    pub catalog: Catalog,
    /// What is made from it.
    pub generated: Generated,
    /// The files that it is made of, the root first: positions name them by number.
    pub names: Vec<String>,
}

impl Opened {
    /// Reads a catalog and makes everything.
    ///
    /// # Errors
    /// Every mistake in it, as `tidegate catalog check` tells them; or the lock beside it cannot be read.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let Loaded { catalog, files } = read(file).map_err(LoadError::Refused)?;
        let generated = make(&catalog, file)?;
        Ok(Self { file: file.to_owned(), catalog, generated, names: files })
    }

    /// Keeps the numbers of names that had none, beside the catalog: from now on tables have them.
    ///
    /// # Errors
    /// When the lock cannot be written.
    pub fn keep_lock(&self) -> anyhow::Result<()> {
        let (path, text) = (lock_path(&self.file), self.generated.lock.to_text());
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        replace(&path, &text)
    }
}

fn check(file: &Path, speech: &Speech) -> anyhow::Result<Exit> {
    let name = file.display().to_string();
    match read(file) {
        Ok(Loaded { catalog, .. }) => {
            let of = &catalog.file;
            let report = Checked {
                file: name,
                mistakes: Vec::new(),
                events: catalog.events.len(),
                metrics: of.metrics.len(),
                facts: of.facts.len(),
                rollups: of.rollups.len(),
                stored_as_it_comes: catalog.untreated(),
            };
            print(speech, &report, |report, _| {
                let untreated = report.stored_as_it_comes.iter();
                let clear = untreated.map(|one| format!("personal data is stored as it comes: {one}\n"));
                let clear: String = clear.collect();
                format!(
                    "{}: no mistakes: {} events, {} metrics, {} facts, {} rollups, {} tests\n{clear}",
                    report.file,
                    report.events,
                    report.metrics,
                    report.facts,
                    report.rollups,
                    of.tests.len()
                )
            })?;
            Ok(Exit::Done)
        }
        Err(diagnostics) => refused(name, &diagnostics, speech),
    }
}

/// Tells what is wrong with the catalog.
fn refused(file: String, diagnostics: &Diagnostics, speech: &Speech) -> anyhow::Result<Exit> {
    match speech.output {
        Output::Text => eprintln!("{diagnostics}"),
        Output::Json => {
            let mistakes = diagnostics.as_slice().to_vec();
            let report = Checked {
                file,
                mistakes,
                events: 0,
                metrics: 0,
                facts: 0,
                rollups: 0,
                stored_as_it_comes: Vec::new(),
            };
            print(speech, &report, |_, _| String::new())?;
        }
    }
    Ok(Exit::Usage)
}

fn lock_path(catalog: &Path) -> PathBuf {
    catalog.with_file_name(LOCK_FILE)
}

fn make(catalog: &Catalog, file: &Path) -> anyhow::Result<Generated> {
    Ok(generate(catalog, &read_lock(file)?, given()))
}

/// The numbers beside the catalog at `file`; none if it has not been generated yet.
///
/// # Errors
/// When the lock cannot be read.
pub fn read_lock(file: &Path) -> anyhow::Result<Lock> {
    let path = lock_path(file);
    match fs::read_to_string(&path) {
        Ok(text) => Lock::parse(&text).with_context(|| format!("read `{}`", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}

/// What the sink defines and the catalog's files contain.
pub fn given() -> Given<'static> {
    const PLACE: [(&str, &str); 4] = wire::place_columns();
    Given {
        dead_letter_ddl: |database, table| dead_letter_ddl(database, table, wire::DEDUP_WINDOW),
        place_columns: &PLACE,
        dedup_window: wire::DEDUP_WINDOW,
    }
}

fn write(flags: &Generate, speech: &Speech) -> anyhow::Result<Exit> {
    let target = &flags.target;
    let (file, out) = (&target.source.catalog, &target.out);
    let loaded = match read(file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return refused(file.display().to_string(), &diagnostics, speech),
    };
    let generated = coverage::added(make(&loaded.catalog, file)?, &loaded.catalog, file)?;
    let mut report = compare(&generated, file, out)?;
    let same = report.none();
    if !flags.check && !same {
        save(&generated, file, out, &report)?;
        report.written = true;
    }
    print(speech, &report, |report, _| shown(report))?;
    Ok(if flags.check && !same { Exit::Failed } else { Exit::Done })
}

fn diff(target: &Target, speech: &Speech) -> anyhow::Result<Exit> {
    let file = &target.source.catalog;
    let loaded = match read(file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return refused(file.display().to_string(), &diagnostics, speech),
    };
    let generated = coverage::added(make(&loaded.catalog, file)?, &loaded.catalog, file)?;
    let report = compare(&generated, file, &target.out)?;
    print(speech, &report, |report, _| format!("{}{}", report.lines, shown(report)))?;
    Ok(if report.none() { Exit::Done } else { Exit::Failed })
}

/// What the folder, and the lock beside the catalog, should hold: full paths and texts.
fn wanted(generated: &Generated, file: &Path, out: &Path) -> BTreeMap<PathBuf, String> {
    let files = generated.files.iter().map(|file| (out.join(&file.path), file.text.clone()));
    files.chain([(lock_path(file), generated.lock.to_text())]).collect()
}

fn compare(generated: &Generated, file: &Path, out: &Path) -> anyhow::Result<Differences> {
    let wanted = wanted(generated, file, out);
    let mut report = Differences {
        out: out.display().to_string(),
        files: generated.files.len(),
        missing: Vec::new(),
        different: Vec::new(),
        left_over: Vec::new(),
        written: false,
        lines: String::new(),
    };
    for (path, text) in &wanted {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(found) if found == *text => {}
            Ok(found) => {
                report.lines.push_str(&first_difference(&name, &found, text));
                report.different.push(name);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => report.missing.push(name),
            Err(error) => return Err(error).with_context(|| format!("read `{name}`")),
        }
    }
    left_over(out, generated, &mut report.left_over)?;
    Ok(report)
}

/// The first lines that differ: what stands there, and what should.
fn first_difference(name: &str, found: &str, wanted: &str) -> String {
    const SHOWN: usize = 5;
    let mut shown = format!("{name}\n");
    let (mut old, mut new) = (found.lines(), wanted.lines());
    let mut line = 0;
    let mut n_shown = 0;
    loop {
        line += 1;
        match (old.next(), new.next()) {
            (None, None) => return shown,
            (old, new) if old == new => {}
            (old, new) => {
                for (sign, text) in [('-', old), ('+', new)] {
                    if let Some(text) = text {
                        shown.push_str(&format!("{line:>6} {sign} {text}\n"));
                    }
                }
                n_shown += 1;
                if n_shown == SHOWN {
                    shown.push_str("       ...\n");
                    return shown;
                }
            }
        }
    }
}

/// Files in the folders that are generated, which nothing is generated into. Other folders are not ours.
fn left_over(out: &Path, generated: &Generated, found: &mut Vec<String>) -> anyhow::Result<()> {
    let mut folders: Vec<PathBuf> =
        generated.files.iter().filter_map(|file| Some(out.join(file.path.split_once('/')?.0))).collect();
    folders.sort();
    folders.dedup();
    let wanted: std::collections::HashSet<PathBuf> =
        generated.files.iter().map(|file| out.join(&file.path)).collect();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("list `{}`", folder.display())),
        };
        for entry in entries {
            let path = entry.with_context(|| format!("list `{}`", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !wanted.contains(&path) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    Ok(())
}

/// A file is written beside its place and renamed, so that a crash leaves no half of one.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let beside = path.with_extension("tidegate-new");
        fs::write(&beside, text)?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("write `{}`", path.display()))
}

fn save(generated: &Generated, file: &Path, out: &Path, report: &Differences) -> anyhow::Result<()> {
    let changed: std::collections::HashSet<&String> =
        report.missing.iter().chain(&report.different).collect();
    for (path, text) in wanted(generated, file, out) {
        if !changed.contains(&path.display().to_string()) {
            continue;
        }
        replace(&path, &text)?;
    }
    for path in &report.left_over {
        fs::remove_file(path).with_context(|| format!("remove `{path}`"))?;
    }
    Ok(())
}

fn shown(report: &Differences) -> String {
    if report.none() {
        return format!("{}: {} files, all as the catalog says\n", report.out, report.files);
    }
    let mut text = String::new();
    if !report.written {
        for (title, files) in
            [("missing", &report.missing), ("different", &report.different), ("left over", &report.left_over)]
        {
            for file in files {
                text.push_str(&format!("{title}: {file}\n"));
            }
        }
    }
    let n_new = report.missing.len() + report.different.len();
    let n_old = report.left_over.len();
    text.push_str(&match report.written {
        true => format!("{}: {} files; {n_new} written, {n_old} removed\n", report.out, report.files),
        false => format!("{}: {n_new} files to be written, {n_old} to be removed\n", report.out),
    });
    text
}
