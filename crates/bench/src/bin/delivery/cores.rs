//! Which cores ClickHouse may use, and which everything else.
//!
//! Where a sink is run, ClickHouse has machines of its own. On one machine whose cores it shares with Kafka, the sink
//! and the bench, it takes all of them when it is asked to insert alone, and a sink can only take some away again: the
//! share then says how much there is to do beside inserting, not whether the sink keeps ClickHouse busy. With cores
//! apart it says the latter.

use std::io;

use anyhow::{Context, bail, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// How the cores are given out.
#[derive(Debug, Clone)]
pub(crate) enum Cores {
    /// Everything may use all of them.
    Shared(Vec<usize>),
    /// ClickHouse has the first half, everything else the second.
    Apart { clickhouse: Vec<usize>, others: Vec<usize> },
}

impl Cores {
    /// By the variable `CORES`: `shared`, which is usual, or `apart`. Confines the thread that calls, and what it
    /// starts from now on.
    ///
    /// # Errors
    /// When `CORES` says something else, or there is one core only.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("ask which cores may be used")?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        match std::env::var("CORES").as_deref() {
            Err(_) | Ok("shared") => Ok(Self::Shared(all)),
            Ok("apart") => {
                ensure!(all.len() > 1, "CORES=apart: expected two cores or more, found {}", all.len());
                let (clickhouse, others) = all.split_at(all.len() / 2);
                sched_setaffinity(None, &set(others)).context("keep to the cores beside ClickHouse's")?;
                Ok(Self::Apart { clickhouse: clickhouse.to_vec(), others: others.to_vec() })
            }
            Ok(other) => bail!("CORES: expected `shared` or `apart`, found `{other}`"),
        }
    }

    /// Gives ClickHouse's process its cores.
    ///
    /// # Errors
    /// When the process has gone.
    pub(crate) fn confine_clickhouse(&self, process: u32) -> anyhow::Result<()> {
        let Self::Apart { clickhouse, .. } = self else { return Ok(()) };
        let folder = format!("/proc/{process}/task");
        // A thread that starts while the others are told has what its maker had then.
        for _ in 0..2 {
            for thread in std::fs::read_dir(&folder).with_context(|| format!("read `{folder}`"))? {
                let name = thread?.file_name();
                let id = name.to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
                let id = id.with_context(|| format!("`{folder}`: {} is no thread", name.display()))?;
                match sched_setaffinity(Some(id), &set(clickhouse)).map_err(io::Error::from) {
                    // It ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                    told => told.context("give ClickHouse its cores")?,
                }
            }
        }
        Ok(())
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Shared(all) => json!({"shared": all}),
            Self::Apart { clickhouse, others } => json!({"clickhouse": clickhouse, "others": others}),
        }
    }
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}
