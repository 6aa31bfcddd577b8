//! What `tidegate up` costs to start, to keep and to stop, with the limits that it is to stay under: that
//! `tidegate` which is beside this program, of the same build.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Of so many starts the median and the slowest are shown.
const STARTS: usize = 5;
/// After a start ClickHouse reads itself in; what follows is idling.
const SETTLE: Duration = Duration::from_secs(10);
/// How long idling is measured.
const IDLE: Duration = Duration::from_secs(60);

const READY_MAX: f64 = 2.0;
const MEMORY_MAX_MB: f64 = 300.0;
const CPU_MAX_PERCENT: f64 = 2.0;

/// A connector with nothing to do: it waits for a topic's first record.
const CONFIG: &str = "connectors:\n  - {name: idle, topics: [events], table: events, halt_when: never}\n";

/// Prints the figures; whether every limit was kept.
///
/// # Errors
/// When `tidegate` is not beside this program, or does not start, answer or stop.
pub(crate) fn measure() -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("up.yaml");
    std::fs::write(&config, CONFIG)?;
    let data = folder.path().join("data");
    let (up, first) = Up::start(&data, &config)?;
    let stop_first = up.stop()?;
    let (mut starts, mut stops) = (Vec::new(), vec![stop_first]);
    for _ in 0..STARTS {
        let (up, took) = Up::start(&data, &config)?;
        starts.push(took);
        stops.push(up.stop()?);
    }
    let (mut up, _) = Up::start(&data, &config)?;
    up.child.kill()?;
    up.child.wait()?;
    let (up, after_kill) = Up::start(&data, &config)?;
    std::thread::sleep(SETTLE);
    // The first look begins what the second one is the share of.
    up.look(&data)?;
    std::thread::sleep(IDLE);
    let idle = up.look(&data)?;
    up.stop()?;
    let mut well = true;
    let mut line = |what: &str, value: f64, unit: &str, limit: Option<f64>| {
        let verdict = limit.map_or_else(String::new, |limit| {
            well &= value < limit;
            format!("   limit {limit} {unit}: {}", if value < limit { "kept" } else { "NOT KEPT" })
        });
        println!("{what:<44}{value:>8.2} {unit}{verdict}");
    };
    line("first start until ready", seconds(first), "s", None);
    line("later starts until ready, median", seconds(median(&mut starts)), "s", Some(READY_MAX));
    line(
        "later starts until ready, slowest",
        seconds(starts.iter().copied().max().unwrap_or_default()),
        "s",
        Some(READY_MAX),
    );
    line("start after kill -9 until ready", seconds(after_kill), "s", Some(READY_MAX));
    line("stop, idle, median", seconds(median(&mut stops)), "s", None);
    for part in &idle {
        line(&format!("resident when idle, {}", part.name), part.memory_mb, "MB", None);
        line(&format!("share of one core when idle, {}", part.name), part.cpu_percent, "%", None);
    }
    let memory = idle.iter().map(|part| part.memory_mb).sum();
    let cpu = idle.iter().map(|part| part.cpu_percent).sum();
    line("resident when idle, in all", memory, "MB", Some(MEMORY_MAX_MB));
    line("share of one core when idle, in all", cpu, "%", Some(CPU_MAX_PERCENT));
    Ok(well)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn median(of: &mut [Duration]) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}

/// The program of the same build.
fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.with_file_name("tidegate");
    ensure!(program.is_file(), "`{}` is not there; build package `tidegate` first", program.display());
    Ok(program)
}

/// A running `tidegate up`. Killed when it is dropped.
struct Up {
    child: Child,
}

/// A process of the stack, idling.
struct Part {
    name: String,
    memory_mb: f64,
    cpu_percent: f64,
}

impl Up {
    fn start(data: &Path, config: &Path) -> anyhow::Result<(Self, Duration)> {
        let began = Instant::now();
        let child = Command::new(program()?)
            .args(["up", "--output", "json", "--data-dir"])
            .arg(data)
            .arg("--config")
            .arg(config)
            .args(["--kafka-port=0", "--clickhouse-port=0", "--clickhouse-native-port=0"])
            .args(["--registry-port=0", "--api-port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .context("start tidegate")?;
        let mut up = Self { child };
        let output = up.child.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(!line.is_empty(), "tidegate did not start");
        Ok((up, began.elapsed()))
    }

    fn look(&self, data: &Path) -> anyhow::Result<Vec<Part>> {
        let asked =
            Command::new(program()?).args(["status", "--output", "json", "--data-dir"]).arg(data).output()?;
        std::io::stderr().write_all(&asked.stderr)?;
        let told: Value = serde_json::from_slice(&asked.stdout).context("read the status")?;
        let parts = told["machine"]["components"].as_array().context("the status has components")?;
        let parts = parts.iter().filter_map(|part| {
            Some(Part {
                name: part["name"].as_str()?.to_owned(),
                memory_mb: part["memory_bytes"].as_f64()? / 1e6,
                cpu_percent: part["cpu_percent"].as_f64()?,
            })
        });
        Ok(parts.collect())
    }

    fn stop(mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "tidegate was not told to stop");
        let status = self.child.wait()?;
        if !status.success() {
            bail!("tidegate ended with {status}");
        }
        Ok(began.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
