//! The `tidegate` program: flags, configuration, wiring, exit codes, error rendering.

#![expect(
    unreachable_pub,
    reason = "a program has no public interface; `pub` tells a module's surface from its insides"
)]

mod api;
mod catalog;
mod cli;
mod commands;
mod demo;
mod dlq;
mod group;
mod ledger;
mod metrics;
mod offsets;
mod personal;
mod reach;
mod registry;
mod render;
mod report;
mod sink;
mod smoke;
mod stack;
mod status;
mod table;
mod tools;
mod up;
mod wire;
mod writers;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tidegate_config::LoadError;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Exit, LogFormat, Speech, WrongUse};

fn main() -> ExitCode {
    // The embedded ClickHouse is this program too, in a process of its own. It comes before all
    // else: the engine wants its process without threads and signal handlers of ours.
    tidegate_engine::run_child_if_asked();
    let cli = Cli::parse();
    start_log(&cli.speech);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("start the runtime")).into(),
    };
    let exit = match runtime.block_on(commands::run(cli)) {
        Ok(exit) => exit,
        Err(error) => failed(&error),
    };
    // What was left behind on purpose must not hold the process back.
    runtime.shutdown_background();
    exit.into()
}

/// Tells a person what went wrong, on standard error.
fn failed(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<LoadError>() {
        // Diagnostics have their own form: each with its place and a hint.
        Some(LoadError::Refused(diagnostics)) => {
            eprintln!("{diagnostics}");
            Exit::Usage
        }
        Some(LoadError::Unreadable { .. }) => {
            eprintln!("error: {error:#}");
            Exit::Usage
        }
        None if error.is::<WrongUse>() => {
            eprintln!("error: {error:#}");
            Exit::Usage
        }
        None => {
            eprintln!("error: {error:#}");
            Exit::Failed
        }
    }
}

/// The log goes to standard error; standard output is for what was asked.
fn start_log(speech: &Speech) {
    let filter = EnvFilter::try_new(&speech.log_level).unwrap_or_else(|error| {
        eprintln!("warning: log filter `{}`: {error}; using `warn`", speech.log_level);
        EnvFilter::new("warn")
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match speech.log_format {
        LogFormat::Text => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}
