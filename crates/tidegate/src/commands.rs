//! What each subcommand does, from flags to exit code.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use serde::Serialize;
use tidegate_clickhouse::{Client, ClientOptions, Compression, Secret, Url, quote_name};
use tidegate_config::{self as config, Diagnostic, LoadError};
use tidegate_pipeline::{Ended, Halted};

use crate::api::{Api, Shown};
use crate::cli::{Cli, Command, Config, ConfigFor, Exit, Output, Speech, Up};
use crate::render::{self, Look};
use crate::report::{DeadLetterExample, Endpoints, HaltReport};
use crate::sink::{Sink, World, halt_reasons};
use crate::stack::{Stack, StackOptions};
use crate::{demo, dlq};

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
        Command::Up(flags) => up(&flags, speech).await,
        Command::Sink(flags) => sink(&flags.config, speech).await,
        Command::Dlq(flags) => dlq::run(flags, speech).await,
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

async fn up(flags: &Up, speech: &Speech) -> anyhow::Result<Exit> {
    let file = flags.config.as_deref().map(config::load_up).transpose()?;
    let stack = Stack::start(StackOptions {
        data_dir: flags.data_dir.clone(),
        kafka_port: flags.kafka_port,
        clickhouse_port: flags.clickhouse_port,
        clickhouse_native_port: Some(flags.clickhouse_native_port),
    })
    .await?;
    let memory_max = file.as_ref().map_or(DEFAULT_MEMORY_MAX, |file| file.memory_max.as_usize());
    let shown = Shown::new(memory_max);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, flags.api_port));
    let api = Api::start(listen, shown.clone()).await?;
    let sink = match &file {
        Some(file) => {
            let world = embedded_world(&stack, file.database.as_str()).await?;
            for database in file.connectors.iter().filter_map(|connector| connector.database.as_ref()) {
                create_database(&world.clickhouse, database.as_str()).await?;
            }
            Some(Sink::start(&world, &file.connectors, &shown)?)
        }
        None => None,
    };
    print(speech, &endpoints(&stack, &api, &flags.data_dir), render::up)?;
    let exit = serve(sink, speech, flags.config.as_deref(), Lingering::Serve).await?;
    drop(api);
    stack.stop().await?;
    Ok(exit)
}

/// Buffer memory where no file says otherwise, in bytes.
pub const DEFAULT_MEMORY_MAX: usize = 512 << 20;

/// The embedded engines as connectors see them, with the database created.
///
/// # Errors
/// When ClickHouse does not take the database's name.
pub async fn embedded_world(stack: &Stack, database: &str) -> anyhow::Result<World> {
    let url = Url::parse(&stack.clickhouse_url()).context("read the engine's address")?;
    let credentials = stack.engine().credentials();
    let mut options = ClientOptions::new(url, credentials.user.clone(), Secret::new(credentials.password()));
    // On one machine compression costs more than it saves.
    options.compression = Compression::None;
    let clickhouse = Client::new(options).context("set up the clickhouse client")?;
    create_database(&clickhouse, database).await?;
    Ok(World { kafka: stack.kafka(), clickhouse, database: database.to_owned() })
}

async fn create_database(clickhouse: &Client, database: &str) -> anyhow::Result<()> {
    let created =
        clickhouse.execute(&format!("CREATE DATABASE IF NOT EXISTS {}", quote_name(database))).await;
    created.with_context(|| format!("create database `{database}`"))
}

/// Where everything listens.
#[must_use]
pub fn endpoints(stack: &Stack, api: &Api, data_dir: &Path) -> Endpoints {
    let credentials = stack.engine().credentials();
    // Whoever reads this line may use the engine: the address has the password in it, as URLs can.
    let clickhouse = stack.clickhouse_url().replacen(
        "http://",
        &format!("http://{}:{}@", credentials.user, credentials.password()),
        1,
    );
    Endpoints {
        kafka: stack.kafka_address(),
        clickhouse,
        clickhouse_native: stack.clickhouse_native().unwrap_or_default(),
        api: format!("http://{}", api.address()),
        data_dir: data_dir.display().to_string(),
    }
}

async fn sink(file: &Path, speech: &Speech) -> anyhow::Result<Exit> {
    let loaded = config::load_sink(file)?;
    let shown = Shown::new(loaded.memory_max.as_usize());
    let world = World {
        kafka: crate::wire::kafka(&loaded.kafka),
        clickhouse: crate::wire::clickhouse(&loaded.clickhouse)?,
        database: loaded.clickhouse.database.to_string(),
    };
    world.kafka.check().context("set up the kafka client")?;
    let api = Api::start(loaded.api.listen, shown.clone()).await?;
    let sink = Sink::start(&world, &loaded.connectors, &shown)?;
    let serving = Serving { api: format!("http://{}", api.address()) };
    print(speech, &serving, |_, _| String::new())?;
    serve(Some(sink), speech, Some(file), Lingering::End).await
}

/// The line of `tidegate sink --output json`, once its own interface listens.
#[derive(Serialize)]
struct Serving {
    api: String,
}

/// Whether the process goes on when no connector is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lingering {
    Serve,
    End,
}

/// Runs until a signal, or until the last connector has ended by itself.
async fn serve(
    sink: Option<Sink>,
    speech: &Speech,
    file: Option<&Path>,
    lingering: Lingering,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let stopped = stop_signal()?;
    tokio::pin!(stopped);
    let Some(mut sink) = sink else {
        stopped.await;
        return Ok(exit);
    };
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            ended = sink.ended() => match ended {
                Some((name, ended)) => {
                    if let Ended::Halted(halted) = ended.with_context(|| format!("run connector `{name}`"))? {
                        exit = Exit::Halted;
                        let look = Look::for_stdout(speech.color);
                        eprint!("{}", render::halt(&halt_report(&name, &halted, file), look));
                    }
                }
                None if lingering == Lingering::Serve => stopped.as_mut().await,
                None => return Ok(exit),
            },
        }
    }
    sink.stop().await;
    Ok(exit)
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

/// Resolves at Ctrl-C or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
