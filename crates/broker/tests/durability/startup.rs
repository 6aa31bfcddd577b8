//! What starting reads: counted by the system, not timed.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::BrokerProcess;
use crate::wire::{Wire, batch};

const VALUE_BYTES: usize = 500_000;
const N_BATCHES: i32 = 60;

/// The bytes that the process has read from files, sockets and pipes.
fn bytes_read(broker: &BrokerProcess) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{}/io", broker.id())).unwrap();
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// Waits until a snapshot takes in half of the batches.
fn wait_for_checkpoint(directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let topic = std::fs::read_dir(directory.join("topics")).unwrap().next().unwrap().unwrap().path();
    loop {
        assert!(Instant::now() < deadline, "no checkpoint in time");
        let snapshot = std::fs::read_to_string(topic.join("0/snapshot")).unwrap();
        let end = snapshot.split_once("\"end\":").and_then(|(_, rest)| rest.split_once(','));
        if end.unwrap().0.parse::<i32>().unwrap() >= N_BATCHES / 2 {
            return;
        }
        std::thread::yield_now();
    }
}

fn end(broker: &BrokerProcess) -> i64 {
    // The last batch alone.
    Wire::connect(broker.address).unwrap().read("t", 0, i64::from(N_BATCHES) - 1).unwrap().end
}

#[test]
fn starting_reads_what_is_new_since_the_last_checkpoint_and_not_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    let mut broker = BrokerProcess::start(&directory);
    let mut wire = Wire::connect(broker.address).unwrap();
    wire.create("t", 1, &[("segment.bytes", "8000000")]).unwrap();
    let producer = wire.begin_producing(None).unwrap();
    for n in 0..N_BATCHES {
        let value = "v".repeat(VALUE_BYTES);
        wire.produce("t", 0, batch(producer, n, false, &[("k".to_owned(), Some(value))])).unwrap();
    }
    wait_for_checkpoint(&directory);
    broker.kill();

    // 30 MB are there. A checkpoint is due every 16 MiB, so less than that is new, and one batch.
    let after_crash = BrokerProcess::start(&directory);
    let read = bytes_read(&after_crash);
    assert!(read < (16 << 20) + 2 * VALUE_BYTES as u64, "{read} bytes were read after a crash");
    assert_eq!(end(&after_crash), i64::from(N_BATCHES));
    after_crash.stop();

    let after_stop = BrokerProcess::start(&directory);
    let read = bytes_read(&after_stop);
    assert!(read < 200_000, "{read} bytes were read after a stop in order");
    assert_eq!(end(&after_stop), i64::from(N_BATCHES));
    let mut wire = Wire::connect(after_stop.address).unwrap();
    let again = batch(producer, N_BATCHES - 1, false, &[("k".to_owned(), Some("v".repeat(VALUE_BYTES)))]);
    assert_eq!(wire.produce("t", 0, again).unwrap(), i64::from(N_BATCHES) - 1, "producers are known too");
}
