//! The sink itself, `tidegate sink` in a process of its own, between a real Apache Kafka and the embedded ClickHouse.
//!
//! * `delivery path`: the whole path beside its two limits, exactly once and at least once, with poison rows, and any
//!   other sink as a command;
//! * `delivery many`: 100 partitions into 105 tables, a steady stream;
//! * `delivery soak`: memory, file descriptors and lag under a steady stream.
//!
//! Each prints one JSON object. `CORES=apart` gives half of the cores to ClickHouse alone. `tidegate` is the one beside this program, or `TIDEGATE_PROGRAM`.

mod cores;
mod many;
mod path;
mod rival;
mod sink;
mod soak;
mod stage;
mod stream;

use std::process::ExitCode;

use anyhow::Context;

use crate::cores::Cores;

fn main() -> ExitCode {
    // The embedded ClickHouse is this program too.
    tidegate_engine::run_child_if_asked();
    match Cores::from_environment().and_then(start) {
        Ok(kept) if kept => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The runtime's threads keep to the cores that this one has now.
fn start(cores: Cores) -> anyhow::Result<bool> {
    tokio::runtime::Runtime::new()?.block_on(run(cores))
}

/// Whether all limits were kept.
async fn run(cores: Cores) -> anyhow::Result<bool> {
    let used = cores.json();
    let (mut report, kept) = match std::env::args().nth(1).as_deref() {
        Some("path") => path::measure(cores).await?,
        Some("many") => many::measure(cores).await?,
        Some("soak") => soak::measure(cores).await?,
        other => anyhow::bail!("expected `path`, `many` or `soak`, found `{}`", other.unwrap_or_default()),
    };
    report["cores"] = used;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(kept)
}

/// A whole number from the environment, or what is usual.
fn number(name: &str, usual: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}: expected a number, found `{text}`")),
        Err(_) => Ok(usual),
    }
}
