//! What the whole path costs a record, from the embedded broker through librdkafka and the pipeline into
//! the embedded ClickHouse, beside two limits measured in the same minutes: reading the topic with a
//! bare consumer, and inserting prepared blocks of the same size and number. `make bench` runs it.

#![expect(
    unreachable_pub,
    reason = "a program has no public interface; `pub` tells a module's surface from its insides"
)]

mod cost;
mod runs;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use crate::cost::Cost;
use crate::world::{Load, World};

/// Bytes of an event, records of a partition, records of a batch: batches are what the sink's defaults
/// (100,000 records, or what three partitions' share of its buffer holds) make of such events, about, and each
/// partition has twelve whole ones: until the first ones are read ClickHouse has nothing to do, and after the last one
/// is read Tidegate has not. A rest would wait for others that do not come.
const SIZES: [(usize, usize, usize); 3] =
    [(150, 1_200_000, 100_000), (754, 432_000, 36_000), (1600, 204_000, 17_000)];
/// Of so many rounds the median is shown.
const N_ROUNDS: usize = 5;

fn main() -> ExitCode {
    // The embedded ClickHouse is this program too.
    tidegate_engine::run_child_if_asked();
    let runtime = tokio::runtime::Runtime::new();
    let measured = runtime.map_err(anyhow::Error::new).and_then(|runtime| runtime.block_on(measure()));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> anyhow::Result<()> {
    let only: Option<usize> = std::env::args().nth(1).and_then(|size| size.parse().ok());
    let cores = std::thread::available_parallelism()?;
    let world = World::start().await?;
    println!("bytes  run            rows/s     MB/s   CPU s a million rows: here  clickhouse");
    for (size, partition_rows, batch_rows) in SIZES {
        if only.is_some_and(|only| only != size) {
            continue;
        }
        let load = world.fill(size, partition_rows, batch_rows).await?;
        let (mut consume, mut insert, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..N_ROUNDS {
            consume.push(tokio::task::block_in_place(|| runs::consume(&world, &load))?);
            insert.push(runs::insert(&world, &load, round).await?);
            whole.push(runs::whole_path(&world, &load, round).await?);
        }
        let (consume, insert, whole) = (median(consume), median(insert), median(whole));
        show(&load, "read alone", consume);
        println!("{:>5}  {:<30}   {:>26.2}", load.size(), "decode alone", a_million(&load, load.decoding));
        show(&load, "insert alone", insert);
        show(&load, "whole path", whole);
        let limit = consume.wall.max(insert.wall);
        // Each alone has all cores to itself, and together they share them.
        let together = (consume.cpu() + load.decoding + insert.cpu()).div_f64(cores.get() as f64);
        let share = |wall: Duration| (limit.as_secs_f64() / wall.as_secs_f64()).min(1.0);
        println!(
            "{:>5}  whole path / lower limit: {:.2}; what the three cost alone leaves room for {:.2} on {cores} cores\n",
            load.size(),
            share(whole.wall),
            share(together),
        );
    }
    world.stop().await
}

/// The run in the middle, by time.
fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    costs[costs.len() / 2]
}

/// Prints what a run costs.
fn show(load: &Load, run: &str, cost: Cost) {
    let per_second = load.rows() as f64 / cost.wall.as_secs_f64();
    let megabytes = load.bytes as f64 / cost.wall.as_secs_f64() / 1e6;
    let (here, engine) = (a_million(load, cost.ours), a_million(load, cost.engine));
    let size = load.size();
    println!("{size:>5}  {run:<12} {per_second:>8.0} {megabytes:>8.1}   {here:>26.2}  {engine:>10.2}");
}

/// Seconds of CPU time a million rows.
fn a_million(load: &Load, cpu: Duration) -> f64 {
    cpu.as_secs_f64() / load.rows() as f64 * 1e6
}
