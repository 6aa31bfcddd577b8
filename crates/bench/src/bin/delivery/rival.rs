//! A sink's race from a full topic to a full table, whichever sink it is.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::sink::Sink;
use crate::stage::{DATABASE, Stage};

/// A run that takes longer does not end any more.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a race took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Race {
    /// From the start of the process to the last row.
    pub(crate) whole: Duration,
    /// From the first rows that were seen to the last.
    pub(crate) flowing: Duration,
    /// How many rows came while they were flowing.
    pub(crate) flowed: u64,
    /// The most memory that the process held, in bytes.
    pub(crate) memory_peak: u64,
}

impl Race {
    /// Rows a second, from the first ones that were seen: joining a group is not what is measured.
    pub(crate) fn per_second(&self) -> f64 {
        self.flowed as f64 / self.flowing.as_secs_f64().max(1e-3)
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "rows_per_second": self.per_second().round(),
            "whole_seconds": self.whole.as_secs_f64(),
            "memory_peak_mib": self.memory_peak >> 20,
        })
    }
}

/// Waits until a sink that was just started has brought so many rows into a table, and ends it.
pub(crate) async fn race(stage: &Stage, mut sink: Sink, table: &str, rows: u64) -> anyhow::Result<Race> {
    let began = Instant::now();
    let mut first = None;
    loop {
        sink.alive()?;
        let count = stage.number(&format!("SELECT count() FROM {DATABASE}.{table}")).await?;
        let now = Instant::now();
        let (first_at, first_count) = *first.get_or_insert((now, count));
        if count > 0 && first_count == 0 {
            first = Some((now, count));
            continue;
        }
        ensure!(count <= rows, "{count} rows of {rows} in table `{table}`: some are there twice");
        if count == rows {
            let memory_peak = sink.held()?.memory_peak;
            sink.stop()?;
            let flowed = count - first_count;
            return Ok(Race { whole: now - began, flowing: now - first_at, flowed, memory_peak });
        }
        ensure!(began.elapsed() < PATIENCE, "{count} of {rows} rows in table `{table}` after {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
