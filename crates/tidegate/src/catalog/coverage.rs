//! `tidegate catalog coverage`: what a catalog covers of a spreadsheet of wanted metrics, now and over time.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use tidegate_catalog::coverage::history::{self, Point};
use tidegate_catalog::coverage::{Coverage, cover, markdown, sheet};
use tidegate_catalog::{Catalog, File, Generated, Loaded};

use super::{Source, read, read_lock, refused, replace};
use crate::cli::{Exit, Speech, WrongUse};
use crate::commands::print;
use crate::render;

pub const HELP: &str = "\
Examples:
  tidegate catalog coverage --spreadsheet metrics.csv
  tidegate catalog coverage cdp.yaml --spreadsheet metrics.csv --report coverage.md --history coverage.jsonl
  tidegate catalog coverage --fail-under 80          exit code 1 below 80 %: for CI

The spreadsheet has the columns name (or metric), description, formula, owner, priority, in any order; only the
first is needed. A formula is like `sum(watch_ms) / count(video_viewed)`, or words. A row is covered by a metric
that has its name or alias; what is merely like it is proposed.";

/// Which catalog, which spreadsheet, what is kept of it.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    pub source: Source,
    /// The wanted metrics, as CSV with `,`, `;` or tabs; otherwise what `coverage:` of the catalog names
    #[arg(long, value_name = "CSV")]
    pub spreadsheet: Option<PathBuf>,
    /// Keep this run's percentage in this file, a line of JSON a run, and show those before it
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Write everything to this file, as Markdown, with the YAML of metrics that only have to be written
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The day that the history names; today, in UTC, if absent
    #[arg(long, value_name = "DAY")]
    pub date: Option<Date>,
    /// Fail if less than this percentage of the wanted metrics is there
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    pub fail_under: Option<f64>,
}

fn percentage(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(_) | Err(_) => Err("expected a percentage between 0 and 100".to_owned()),
    }
}

/// What the command says.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The catalog.
    pub file: String,
    /// The spreadsheet.
    pub spreadsheet: String,
    /// The percentage of wanted metrics that are there.
    pub percent: f64,
    /// The percentage of wanted metrics that is demanded, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_under: Option<f64>,
    /// Everything.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// The runs that are kept, this one the last.
    pub history: Vec<Point>,
    /// Where the report has been written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Report {
    /// Whether less is there than is demanded.
    #[must_use]
    pub fn too_little(&self) -> bool {
        self.fail_under.is_some_and(|demanded| self.percent < demanded)
    }
}

/// Tells what is covered.
///
/// # Errors
/// When a file cannot be read or written, or no spreadsheet is named.
pub fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let file = &flags.source.catalog;
    let Loaded { catalog, files } = match read(file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return refused(file.display().to_string(), &diagnostics, speech),
    };
    let paths = Paths::of(flags, &catalog);
    let Some(spreadsheet) = &paths.spreadsheet else {
        bail!(WrongUse(
            "no spreadsheet is named\nhint: give --spreadsheet FILE, or write `coverage: {spreadsheet: FILE}` into the \
             catalog"
                .to_owned()
        ));
    };
    let bytes = bytes(spreadsheet)?;
    let coverage = covered(&catalog, file, spreadsheet, &bytes)?;
    let day = flags.date.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(TimeZone::UTC).date());
    let history = match &paths.history {
        Some(path) => kept(path, &files, &bytes, (day, &coverage))?,
        None => Vec::new(),
    };
    if let Some(path) = &paths.report {
        replace(path, &markdown(&coverage, &spreadsheet.display().to_string(), &history))?;
    }
    let report = Report {
        file: file.display().to_string(),
        spreadsheet: spreadsheet.display().to_string(),
        percent: coverage.figures.percent(),
        fail_under: flags.fail_under,
        coverage,
        history,
        report: paths.report.map(|path| path.display().to_string()),
    };
    print(speech, &report, render::coverage)?;
    Ok(if report.too_little() { Exit::Failed } else { Exit::Done })
}

/// The files: a flag counts before the catalog, whose paths begin at its folder.
struct Paths {
    spreadsheet: Option<PathBuf>,
    history: Option<PathBuf>,
    report: Option<PathBuf>,
}

impl Paths {
    fn of(flags: &Flags, catalog: &Catalog) -> Self {
        let section = catalog.file.coverage.as_ref();
        let beside = |path: &String| flags.source.catalog.with_file_name(path);
        // What a catalog keeps is of its own spreadsheet, not of another one.
        let own = section.filter(|_| flags.spreadsheet.is_none());
        Self {
            spreadsheet: flags
                .spreadsheet
                .clone()
                .or_else(|| own.map(|section| beside(&section.spreadsheet))),
            history: flags.history.clone().or_else(|| own?.history.as_ref().map(beside)),
            report: flags.report.clone().or_else(|| own?.report.as_ref().map(beside)),
        }
    }
}

/// The spreadsheet's bytes, one more than it may have if it is larger.
fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = sheet::BYTES_MAX as u64 + 1;
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .with_context(|| format!("read `{}`", path.display()))?;
    Ok(bytes)
}

fn covered(catalog: &Catalog, file: &Path, spreadsheet: &Path, bytes: &[u8]) -> anyhow::Result<Coverage> {
    let sheet = sheet::read(bytes).with_context(|| format!("read `{}`", spreadsheet.display()))?;
    Ok(cover(catalog, &read_lock(file)?, &sheet))
}

/// Keeps the run in the history at `path`; the same inputs on the same day are kept once.
fn kept(
    path: &Path,
    files: &[String],
    spreadsheet: &[u8],
    (day, coverage): (Date, &Coverage),
) -> anyhow::Result<Vec<Point>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
    };
    let mut points = history::read(&text).with_context(|| format!("read `{}`", path.display()))?;
    let texts = files.iter().map(|file| fs::read(file).with_context(|| format!("read `{file}`")));
    let texts = texts.collect::<anyhow::Result<Vec<_>>>()?;
    let catalog = history::hash(texts.iter().map(Vec::as_slice));
    let point = Point::new(day.to_string(), (catalog, history::hash([spreadsheet])), &coverage.figures);
    let added = history::added(&text, &mut points, point).context("write a point of the history down")?;
    if added != text {
        replace(path, &added)?;
    }
    Ok(points)
}

/// Adds the coverage of the catalog's own spreadsheet to what is generated: without days, so that the same catalog
/// and spreadsheet make the same bytes.
///
/// # Errors
/// When the spreadsheet cannot be read.
pub fn added(mut generated: Generated, catalog: &Catalog, file: &Path) -> anyhow::Result<Generated> {
    let Some(section) = &catalog.file.coverage else { return Ok(generated) };
    let spreadsheet = file.with_file_name(&section.spreadsheet);
    let coverage = covered(catalog, file, &spreadsheet, &bytes(&spreadsheet)?)?;
    let json = serde_json::to_string_pretty(&coverage).context("write the coverage as JSON")?;
    for (path, text) in [
        ("coverage.json", format!("{json}\n")),
        ("coverage.md", markdown(&coverage, &section.spreadsheet, &[])),
    ] {
        generated.files.push(File { path: path.to_owned(), text });
    }
    generated.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(generated)
}
