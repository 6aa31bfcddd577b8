//! What a run costs: wall-clock time, and CPU time of this process and of the embedded ClickHouse.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Linux counts CPU time in hundredths of a second, whatever the kernel's own tick.
const TICK: Duration = Duration::from_millis(10);

/// A moment, with the CPU time used until then.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    ours: Duration,
    engine: Duration,
}

/// What happened between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The time between them.
    pub wall: Duration,
    /// CPU time of this process: user and system, the broker's with it.
    pub ours: Duration,
    /// CPU time of the embedded ClickHouse.
    pub engine: Duration,
}

impl Cost {
    /// CPU time of both.
    pub fn cpu(self) -> Duration {
        self.ours + self.engine
    }
}

impl Mark {
    /// Now. `engine` is the process of the embedded ClickHouse.
    pub fn now(engine: u32) -> anyhow::Result<Self> {
        Ok(Self { ours: cpu("self")?, engine: cpu(&engine.to_string())?, at: Instant::now() })
    }

    /// What happened since then.
    pub fn cost(self, engine: u32) -> anyhow::Result<Cost> {
        let now = Self::now(engine)?;
        Ok(Cost { wall: now.at - self.at, ours: now.ours - self.ours, engine: now.engine - self.engine })
    }
}

/// CPU time that the thread that asks has used.
pub fn of_thread() -> anyhow::Result<Duration> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).context("a thread's CPU time is not negative")
}

fn cpu(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read `{path}`"))?;
    // The name, in parentheses, may hold anything; what follows does not.
    let (_, numbers) = stat.rsplit_once(')').context("a process has a name")?;
    let field = |n: usize| numbers.split_whitespace().nth(n).and_then(|text| text.parse::<u32>().ok());
    // proc(5): utime and stime are fields 14 and 15; 11 and 12 after the name, from 0.
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    Ok(TICK * ticks.with_context(|| format!("`{path}` states no CPU time"))?)
}
