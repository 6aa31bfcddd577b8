//! `make faults`: three sinks of one group on a real Kafka and a real ClickHouse, all of which are broken again and again
//! for some minutes, as a seed has it; then an account of every record that was published.
//!
//! Start with `run`. The seed decides what is done and when, and how long it lasts; not what the processes make of it.

mod account;
mod blows;
mod brokers;
mod check;
mod cluster;
mod http;
mod kafka;
mod ledger;
mod process;
mod report;
mod servers;
mod sinks;
mod stream;
mod tally;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use fastrand::Rng;
use tokio::time::sleep;

use crate::brokers::Layout;
use crate::report::Report;
use crate::servers::{Running, ServersPlan};
use crate::world::{DOOMED, Plan, World};

/// Breaks sinks, Kafka and ClickHouse for some minutes, then accounts for every record.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// What is done, when, and for how long follows from it. By chance if absent; it is printed.
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// How many minutes to go on breaking.
    #[arg(long, env = "MINUTES", default_value = "5")]
    minutes: f64,
    /// Records a second into the main topic; two others get a quarter of that each.
    #[arg(long, env = "RATE", default_value = "200")]
    rate: f64,
    /// Three controllers and three brokers, or three processes that are both.
    #[arg(long, env = "LAYOUT", value_enum, default_value = "apart")]
    layout: LayoutFlag,
    /// Which ClickHouse: the embedded one, or two replicated nodes of 18.16, behind HAProxy or each by its address.
    #[arg(long, env = "SERVERS", value_enum, default_value = "embedded")]
    servers: ServersFlag,
    /// Deletes no topic, and so creates none again: records can still be lost of it.
    #[arg(long, env = "KEEP_TOPICS", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::SetTrue)]
    keep_topics: bool,
    /// Never kills the embedded ClickHouse: its tables note an insert's token before they have the rows.
    #[arg(long, env = "KEEP_CLICKHOUSE", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::SetTrue)]
    keep_clickhouse: bool,
    /// Where everything is kept; what is there is removed first, and again after a run that went well.
    #[arg(long, default_value = "target/faults")]
    folder: PathBuf,
    /// The `tidegate` to run; by default the one beside this program.
    #[arg(long)]
    tidegate: Option<PathBuf>,
    /// How the account is told.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LayoutFlag {
    Apart,
    Together,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ServersFlag {
    Embedded,
    Balanced,
    Replicas,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&flags, seed, &error.to_string()),
    };
    let ran = runtime.block_on(run(&flags, seed));
    // A producer of a run that failed may wait for brokers that have gone.
    runtime.shutdown_background();
    match ran {
        Ok(report) if report.holds() => ExitCode::SUCCESS,
        Ok(_) => failed(&flags, seed, "the promise is broken"),
        Err(error) => {
            failed(&flags, seed, &format!("{error:#}"));
            ExitCode::from(NO_ACCOUNT)
        }
    }
}

/// The exit code of a run that says nothing about any record: something did not start, or took longer than it may.
const NO_ACCOUNT: u8 = 3;

fn failed(flags: &Flags, seed: u64, why: &str) -> ExitCode {
    eprintln!("error: {why}");
    eprintln!("seed {seed}; everything is kept in {}", flags.folder.display());
    ExitCode::FAILURE
}

async fn run(flags: &Flags, seed: u64) -> anyhow::Result<Report> {
    ensure!((0.1..=600.0).contains(&flags.minutes), "MINUTES is {}; expected 0.1 to 600", flags.minutes);
    ensure!((1.0..=5000.0).contains(&flags.rate), "RATE is {}; expected 1 to 5000", flags.rate);
    let beside = std::env::current_exe().context("find this program")?.with_file_name("tidegate");
    let program = std::path::absolute(flags.tidegate.clone().unwrap_or(beside))?;
    ensure!(program.is_file(), "`{}` is not there; build it: cargo build -p tidegate", program.display());
    world::remove(&flags.folder)?;
    let layout = match flags.layout {
        LayoutFlag::Apart => Layout::Apart,
        LayoutFlag::Together => Layout::Together,
    };
    let servers = match flags.servers {
        ServersFlag::Embedded => ServersPlan::Embedded,
        ServersFlag::Balanced => ServersPlan::Balanced,
        ServersFlag::Replicas => ServersPlan::Replicas,
    };
    std::fs::create_dir_all(&flags.folder)?;
    let folder = flags.folder.canonicalize()?;
    eprintln!("seed {seed}, {} minutes, {} records a second", flags.minutes, flags.rate);
    let Flags { rate, keep_topics, keep_clickhouse, .. } = *flags;
    let plan = Plan { seed, layout, servers, rate, keep_topics, keep_clickhouse, program, folder };
    let world = World::start(plan).await?;
    let report = tokio::select! {
        report = breaking(&world, Duration::from_secs_f64(flags.minutes * 60.0)) => report?,
        stopped = tokio::signal::ctrl_c() => {
            stopped.context("listen for Ctrl-C")?;
            anyhow::bail!("stopped by Ctrl-C");
        }
    };
    report.print(flags.output == Output::Json)?;
    if report.holds() {
        // The account stands, whatever becomes of the folder.
        let ended = world.end().await.and_then(|()| world::remove(&flags.folder));
        if let Err(error) = ended {
            eprintln!("warning: {error:#}");
        }
    }
    Ok(report)
}

async fn breaking(world: &World, duration: Duration) -> anyhow::Result<Report> {
    let lasting = world.topics().iter().filter(|topic| **topic != DOOMED);
    let streams = lasting.map(|topic| world.publish(*topic)).collect::<anyhow::Result<Vec<_>>>()?;
    let until = Instant::now() + duration;
    // Each hand has dice of its own: what one does never shifts what another does.
    let mut dice = Rng::with_seed(world.plan.seed);
    let (a, b, c, d, e) = (dice.fork(), dice.fork(), dice.fork(), dice.fork(), dice.fork());
    let clickhouse = async {
        tokio::try_join!(
            blows::on_sinks(world, a, until),
            blows::on_clickhouse(world, c, until),
            blows::on_inserts(world, d, until),
        )
    };
    // A run on the old cluster is about ClickHouse alone.
    let kafka = async {
        match world.servers.running {
            Running::Cluster(_) => Ok(()),
            Running::Embedded(_) => {
                tokio::try_join!(blows::on_brokers(world, b, until), blows::on_topics(world, e, until))
                    .map(drop)
            }
        }
    };
    let hands = async { tokio::try_join!(clickhouse, kafka) };
    tokio::select! {
        done = hands => done.map(drop)?,
        died = watch(world, || streams[0].sent()) => died?,
    }
    blows::relent(world).await?;
    world.doomed.lock().await.end().await?;
    for stream in streams {
        stream.stop().await.context("stop publishing")?;
    }
    world.tally.say("everything is published; waiting until it is settled");
    account::settled(world).await?;
    for sink in world.sinks.lock().await.iter_mut() {
        sink.stop().await?;
    }
    world.tally.say("settled; checking");
    Ok(Report::new(world, account::verdicts(world).await?))
}

/// Ends when something ended that should not have; says now and then how far things are.
async fn watch(world: &World, sent: impl Fn() -> u64) -> anyhow::Result<()> {
    let mut seconds = 0_u64;
    loop {
        sleep(Duration::from_secs(1)).await;
        seconds += 1;
        account::alive(world).await?;
        if seconds.is_multiple_of(20) {
            let rows = world.servers.warehouse().query("SELECT count() FROM faults.events").await;
            let rows = rows.map_or_else(|_| "unknown".to_owned(), |count| count.trim().to_owned());
            world.tally.say(&format!("events: {} sent, {rows} rows", sent()));
        }
    }
}
