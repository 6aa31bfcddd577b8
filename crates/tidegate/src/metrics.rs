//! `tidegate metrics`: questions for a catalog's metrics, compiled to SQL, asked of ClickHouse, answered as a
//! table, JSON, CSV or a plot.

pub mod answer;
pub mod http;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tidegate_catalog::{Asked, Sources, compile};
use tidegate_config::Diagnostics;

use self::answer::{Answer, MetricLine, Model};
use crate::cli::{Exit, Output, Speech};
use crate::commands::print;
use crate::reach::Reach;
use crate::render;

/// What to do with metrics.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer metrics from ClickHouse, split by dimensions and along the time axis
    #[command(after_help = "\
Examples:
  tidegate metrics query dau --grain day --from 2026-01-01 --clickhouse http://me:secret@localhost:8123
  tidegate metrics query views,viewers --by country --where \"platform in ('ios', 'android')\" --config sink.yaml
  tidegate metrics query signup_funnel --by platform --as plot --config sink.yaml
  tidegate metrics query retention_week --grain week --as csv --config sink.yaml
  tidegate metrics query mau --grain day --as sql          what would be asked, and why so; asks nobody

Times are in UTC. Without --grain there is one answer over all the time. A rollup is read where it gives the
same answer as the rows.")]
    Query(Box<Query>),
    /// List a catalog's metrics, and what each can be split by
    #[command(after_help = "Example:\n  tidegate metrics list --catalog examples/short-video/cdp.yaml")]
    List(Which),
}

/// Flags of `tidegate metrics query`.
#[derive(Debug, Args)]
pub struct Query {
    /// The metrics, by name; a funnel or retention stands alone
    #[arg(value_name = "NAME", required = true, value_delimiter = ',')]
    pub metrics: Vec<String>,
    #[command(flatten)]
    pub which: Which,
    /// Dimensions to split by
    #[arg(long, value_name = "DIM,..", value_delimiter = ',')]
    pub by: Vec<String>,
    /// The length of the time axis: hour, day, week or month
    #[arg(long, value_name = "GRAIN")]
    pub grain: Option<String>,
    /// Which rows count: a condition over dimensions, in the catalog's language of expressions
    #[arg(long = "where", value_name = "CONDITION")]
    pub filter: Option<String>,
    /// The first time that counts: `2026-01-31` or `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The first time that does not count any more
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// What may be read
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = SourceFlag::Best)]
    pub source: SourceFlag,
    /// Ask the rows too where a rollup is read, and fail if they say otherwise
    #[arg(long)]
    pub verify: bool,
    /// How the answer is shown; --output json goes before it
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub form: Form,
    /// The most rows of the answer
    #[arg(long, value_name = "N", default_value_t = answer::ROWS_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=answer::ROWS_MAX))]
    pub limit: u64,
    #[command(flatten)]
    pub reach: Reach,
}

/// Which catalog.
#[derive(Debug, Args)]
pub struct Which {
    /// The catalog's root file
    #[arg(long, value_name = "FILE", default_value = "cdp.yaml")]
    pub catalog: PathBuf,
}

/// What may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceFlag {
    /// A rollup where one gives the same answer, otherwise rows
    Best,
    /// Rows only
    Rows,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns, and below where they come from
    Table,
    /// Comma-separated values, RFC 4180
    Csv,
    /// A drawing for the terminal
    Plot,
    /// The SQL, without asking ClickHouse
    Sql,
}

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: &Command, speech: &Speech) -> anyhow::Result<Exit> {
    match command {
        Command::Query(flags) => query(flags, speech).await,
        Command::List(flags) => {
            let model = match Model::read(&flags.catalog)? {
                Ok(model) => model,
                Err(mistakes) => return refused(&mistakes, speech),
            };
            let lines: Vec<MetricLine> = model.metrics();
            print(speech, &lines, render::list)?;
            Ok(Exit::Done)
        }
    }
}

async fn query(flags: &Query, speech: &Speech) -> anyhow::Result<Exit> {
    let model = match Model::read(&flags.which.catalog)? {
        Ok(model) => model,
        Err(mistakes) => return refused(&mistakes, speech),
    };
    let mut asked = Asked {
        metrics: flags.metrics.clone(),
        by: flags.by.clone(),
        grain: flags.grain.clone(),
        filter: flags.filter.clone(),
        from: flags.from.clone(),
        to: flags.to.clone(),
        sources: match flags.source {
            SourceFlag::Best => Sources::Best,
            SourceFlag::Rows => Sources::Rows,
        },
        // One more tells that there are more.
        limit: Some(flags.limit + 1),
    };
    let compiled = match compile(&model.catalog, &model.lock, &asked) {
        Ok(compiled) => compiled,
        Err(mistakes) => return refused(&mistakes, speech),
    };
    if flags.form == Form::Sql {
        print(speech, &compiled, render::sql)?;
        return Ok(Exit::Done);
    }
    let clickhouse = flags.reach.clickhouse()?;
    let by_rollup = compiled.reads.iter().any(|read| read.rollup);
    let mut answer = Answer::ask(&clickhouse, compiled, flags.limit).await?;
    if flags.verify && by_rollup {
        asked.sources = Sources::Rows;
        // What has been compiled once is compiled from rows, too.
        if let Ok(compiled) = compile(&model.catalog, &model.lock, &asked) {
            let of_rows = Answer::ask(&clickhouse, compiled, flags.limit).await?;
            answer.differences = Some(answer.differences(&of_rows));
        }
    }
    show(&answer, flags, speech)?;
    let same = answer.differences.as_ref().is_none_or(Vec::is_empty);
    if !same {
        eprintln!(
            "error: rows and rollup differ: one of them lacks what the other has; --source rows goes by the rows"
        );
    }
    Ok(if same { Exit::Done } else { Exit::Failed })
}

fn show(answer: &Answer, flags: &Query, speech: &Speech) -> anyhow::Result<()> {
    match flags.form {
        Form::Csv if speech.output == Output::Text => {
            let mut out = std::io::stdout().lock();
            out.write_all(render::csv(answer).as_bytes())?;
            Ok(out.flush()?)
        }
        Form::Plot => {
            print(speech, answer, |answer, look| render::plot(answer, flags.grain.as_deref(), look))
        }
        Form::Table | Form::Csv | Form::Sql => print(speech, answer, render::table),
    }
}

/// Tells what is wrong with a question, or with the catalog.
fn refused(mistakes: &Diagnostics, speech: &Speech) -> anyhow::Result<Exit> {
    match speech.output {
        Output::Text => eprintln!("{mistakes}"),
        Output::Json => print(speech, &json!({"mistakes": mistakes}), |_, _| String::new())?,
    }
    Ok(Exit::Usage)
}
