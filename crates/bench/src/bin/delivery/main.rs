//! The sink itself, `tidegate sink` in a process of its own, between a real Apache Kafka and the embedded ClickHouse.
//!
//! * `delivery path`: the whole path beside its two limits, exactly once and at least once, with poison rows, and any
//!   other sink as a command;
//! * `delivery many`: 100 partitions into 105 tables, a steady stream;
//! * `delivery soak`: memory, file descriptors and lag under a steady stream.
//!
//! Each prints one JSON object. `tidegate` is the one beside this program, or `TIDEGATE_PROGRAM`.

mod many;
mod path;
mod rival;
mod sink;
mod soak;
mod stage;
mod stream;

use std::process::ExitCode;

use anyhow::Context;

fn main() -> ExitCode {
    // The embedded ClickHouse is this program too.
    tidegate_engine::run_child_if_asked();
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::new);
    match runtime.and_then(|runtime| runtime.block_on(run())) {
        Ok(kept) if kept => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all limits were kept.
async fn run() -> anyhow::Result<bool> {
    let (report, kept) = match std::env::args().nth(1).as_deref() {
        Some("path") => path::measure().await?,
        Some("many") => many::measure().await?,
        Some("soak") => soak::measure().await?,
        other => anyhow::bail!("expected `path`, `many` or `soak`, found `{}`", other.unwrap_or_default()),
    };
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
