//! What each subcommand does, from flags to exit code.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use serde::Serialize;
use tidegate_config::{self as config, Diagnostic, LoadError};
use tidegate_pipeline::{Ended, Halted};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{Api, Shown};
use crate::cli::{Cli, Command, Config, ConfigFor, Exit, Output, Speech};
use crate::render::{self, Look};
use crate::report::{DeadLetterExample, HaltReport};
use crate::sink::{Sink, World, halt_reasons};
use crate::{catalog, demo, dlq, ledger, metrics, offsets, registry, smoke, status, table, tools, up};

/// Runs a command line to its end.
///
/// # Errors
/// What a person is to be told.
pub async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let speech = &cli.speech;
    match cli.command {
        Command::Demo(flags) => {
            let report = demo::run(&flags).await?;
            print(speech, &report, render::demo)?;
            Ok(if report.accounted { Exit::Done } else { Exit::Failed })
        }
        Command::Up(flags) => up::run(&flags, speech).await,
        Command::Status(flags) => status::run(&flags, speech).await,
        Command::Sink(flags) => sink(&flags.config, speech).await,
        Command::Registry(flags) => registry::run(&flags, speech).await,
        Command::Produce(flags) => tools::produce::run(&flags, speech).await,
        Command::Consume(flags) => tools::consume::run(&flags, speech).await,
        Command::Schema(command) => tools::schema::run(command, speech).await,
        Command::Query(flags) => tools::query::run(&flags, speech).await,
        Command::Smoke(flags) => smoke::run(&flags, speech).await,
        Command::Table(command) => table::run(command, speech).await,
        Command::Catalog(command) => catalog::run(&command, speech).await,
        Command::Metrics(command) => metrics::run(&command, speech).await,
        Command::Dlq(flags) => dlq::run(flags, speech).await,
        Command::Offsets(flags) => offsets::run(flags, speech).await,
        Command::Ledger(flags) => ledger::run(&flags, speech).await,
        Command::Config(Config::Check(flags)) => match flags.command {
            ConfigFor::Sink => config::load_sink(&flags.config).map(drop),
            ConfigFor::Up => config::load_up(&flags.config).map(drop),
        }
        .map_or_else(|error| refused(error, &flags.config, speech), |()| checked(&flags.config, speech)),
        Command::Config(Config::Schema) => {
            let schema = serde_json::to_string_pretty(&config::json_schema())?;
            writeln!(std::io::stdout(), "{schema}")?;
            Ok(Exit::Done)
        }
        Command::Completions(flags) => {
            clap_complete::generate(flags.shell, &mut Cli::command(), "tidegate", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}

/// Prints a report on standard output: as text, or as one line of JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn print<R: Serialize>(
    speech: &Speech,
    report: &R,
    text: impl Fn(&R, Look) -> String,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match speech.output {
        Output::Text => write!(out, "{}", text(report, Look::for_stdout(speech.color)))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(report)?)?,
    }
    Ok(out.flush()?)
}

/// What `config check` says of a file.
#[derive(Serialize)]
struct Checked<'a> {
    file: String,
    mistakes: &'a [Diagnostic],
}

fn checked(file: &Path, speech: &Speech) -> anyhow::Result<Exit> {
    let report = Checked { file: file.display().to_string(), mistakes: &[] };
    print(speech, &report, |report, _| format!("{}: no mistakes\n", report.file))?;
    Ok(Exit::Done)
}

fn refused(error: LoadError, file: &Path, speech: &Speech) -> anyhow::Result<Exit> {
    let (LoadError::Refused(diagnostics), Output::Json) = (&error, speech.output) else {
        return Err(error.into());
    };
    let report = Checked { file: file.display().to_string(), mistakes: diagnostics.as_slice() };
    print(speech, &report, |_, _| String::new())?;
    Ok(Exit::Usage)
}

async fn sink(file: &Path, speech: &Speech) -> anyhow::Result<Exit> {
    let loaded = config::load_sink(file)?;
    let shown = Shown::new(loaded.memory_max.as_usize());
    let world = World {
        kafka: crate::wire::kafka(&loaded.kafka),
        clickhouse: crate::wire::clickhouse(&loaded.clickhouse)?,
        database: loaded.clickhouse.database.to_string(),
        registry: loaded.registry.as_ref().map(crate::writers::registry).transpose()?,
    };
    world.kafka.check().context("set up the kafka client")?;
    let mut signals = StopSignals::listen()?;
    let api = Api::start(loaded.api.listen, shown.clone(), None).await?;
    let mut sink = Some(Sink::start(&world, &loaded.connectors, &shown)?);
    let serving = Serving { api: format!("http://{}", api.address()) };
    print(speech, &serving, |_, _| String::new())?;
    let exit = serve(&mut sink, speech, Some(file), (Lingering::End, &mut signals)).await?;
    let Some(sink) = sink else { return Ok(exit) };
    tokio::select! {
        biased;
        () = signals.next() => anyhow::bail!("told twice to stop: what was under way has been left"),
        () = sink.stop() => Ok(exit),
    }
}

/// The line of `tidegate sink --output json`, once its own interface listens.
#[derive(Serialize)]
struct Serving {
    api: String,
}

/// Whether the process goes on when no connector is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lingering {
    /// It serves what else it has.
    Serve,
    /// It ends.
    End,
}

/// Runs until a signal, or until the last connector has ended by itself. Stops nothing.
///
/// # Errors
/// When a connector could not be set up.
pub async fn serve(
    sink: &mut Option<Sink>,
    speech: &Speech,
    file: Option<&Path>,
    (lingering, signals): (Lingering, &mut StopSignals),
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let Some(sink) = sink else {
        signals.next().await;
        return Ok(exit);
    };
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(exit),
            ended = sink.ended() => match ended {
                Some((name, ended)) => {
                    if let Ended::Halted(halted) = ended.with_context(|| format!("run connector `{name}`"))? {
                        exit = Exit::Halted;
                        let look = Look::for_stdout(speech.color);
                        eprint!("{}", render::halt(&halt_report(&name, &halted, file), look));
                    }
                }
                None => {
                    if lingering == Lingering::Serve {
                        signals.next().await;
                    }
                    return Ok(exit);
                }
            },
        }
    }
}

fn halt_report(connector: &str, halted: &Halted, file: Option<&Path>) -> HaltReport {
    let reason = halted.example.reason();
    HaltReport {
        connector: connector.to_owned(),
        refused: halted.n_bad as u64,
        window: halted.policy.window as u64,
        bad_ratio: halted.policy.bad_ratio,
        reasons: halt_reasons(halted),
        example: Some(DeadLetterExample {
            topic: halted.source.topic.to_string(),
            partition: halted.source.partition,
            offset: halted.offset,
            table: halted.example.table.clone(),
            field: reason.path.clone(),
            found: reason.found.clone(),
            expected: reason.expected.clone(),
        }),
        config: file.map_or_else(String::new, |file| file.display().to_string()),
    }
}

/// Ctrl-C and SIGTERM, from when this is made: until then they end the process.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
