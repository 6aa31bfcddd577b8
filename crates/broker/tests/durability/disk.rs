//! A disk that says no, by real errors of the system.

use std::path::Path;
use std::process::Command;

use tidegate_broker::Fsync;

use crate::child::BrokerProcess;
use crate::wire::{Answered, Producer, Refusal, Wire, batch};

/// KAFKA_STORAGE_ERROR.
const STORAGE: i16 = 56;
const N_MAX: i32 = 2_000;

/// In a shell: files may not grow beyond 64 blocks of 512 bytes, and a write beyond is an error.
const SMALL_FILES: &str = "trap '' XFSZ; ulimit -S -f 64; exec \"$0\" \"$@\"";

fn limit_files(broker: &BrokerProcess, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &broker.id().to_string(), &format!("--fsize={limit}:")]);
    assert!(prlimit.status().unwrap().success(), "prlimit of util-linux is needed");
}

fn produce_one(wire: &mut Wire, producer: Producer, n: i32) -> Answered<i64> {
    wire.produce("t", 0, batch(producer, n, false, &[(n.to_string(), Some("v".repeat(900)))]))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answered: Answered<T>) {
    assert!(matches!(answered, Err(Refusal::Code(STORAGE))), "{answered:?}");
}

/// Produces until it is refused; how many were not.
fn fill(wire: &mut Wire, producer: Producer, from: i32) -> i32 {
    for n in from..N_MAX {
        match produce_one(wire, producer, n) {
            Ok(_) => {}
            Err(Refusal::Code(STORAGE)) => return n,
            Err(other) => panic!("{other:?} instead of a storage error"),
        }
    }
    panic!("{N_MAX} batches, and the disk is not full")
}

fn check(wire: &mut Wire, n: i32) {
    let keys: Vec<String> =
        wire.read("t", 0, 0).unwrap().records.into_iter().map(|seen| seen.pair.0).collect();
    assert_eq!(keys, (0..n).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[track_caller]
fn a_full_disk_is_survived(fsync: Fsync) {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    let mut broker = BrokerProcess::start_with(&directory, SMALL_FILES, fsync);
    let mut wire = Wire::connect(broker.address).unwrap();
    wire.create("t", 1, &[]).unwrap();
    let producer = wire.begin_producing(None).unwrap();
    let n = fill(&mut wire, producer, 0);
    assert!(n > 10, "{n} batches before the disk is full");
    check(&mut wire, n);
    refused(produce_one(&mut wire, producer, n));
    let mut n_commits = 0;
    while wire.commit_offset("g", "t", n_commits).is_ok() {
        n_commits += 1;
    }
    assert_eq!(wire.committed("g", "t").unwrap(), n_commits - 1, "what was refused is not there");

    limit_files(&broker, "unlimited");
    assert_eq!(produce_one(&mut wire, producer, n).unwrap(), i64::from(n), "there is room again");
    wire.commit_offset("g", "t", 77).unwrap();
    broker.kill();
    let broker = BrokerProcess::start(&directory);
    let mut wire = Wire::connect(broker.address).unwrap();
    check(&mut wire, n + 1);
    assert_eq!(wire.committed("g", "t").unwrap(), 77);
    assert_eq!(produce_one(&mut wire, producer, n + 1).unwrap(), i64::from(n + 1));
    assert!(broker.words().contains("a batch was not written"), "{}", broker.words());
}

#[test]
fn a_full_disk_refuses_with_a_storage_error_until_there_is_room() {
    a_full_disk_is_survived(Fsync::Never);
}

#[test]
fn a_full_disk_is_survived_with_a_flush_for_every_append() {
    a_full_disk_is_survived(Fsync::EveryAppend);
}

#[test]
fn a_disk_that_takes_nothing_at_all_leaves_what_was_acknowledged_readable() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    let broker = BrokerProcess::start_with(&directory, "trap '' XFSZ; exec \"$0\" \"$@\"", Fsync::Never);
    let mut wire = Wire::connect(broker.address).unwrap();
    wire.create("t", 1, &[]).unwrap();
    let producer = wire.begin_producing(None).unwrap();
    for n in 0..20 {
        produce_one(&mut wire, producer, n).unwrap();
    }
    limit_files(&broker, "0");
    refused(produce_one(&mut wire, producer, 20));
    refused(wire.create("u", 1, &[]));
    refused(wire.commit_offset("g", "t", 1));
    check(&mut wire, 20);
    limit_files(&broker, "unlimited");
    assert_eq!(produce_one(&mut wire, producer, 20).unwrap(), 20);
    wire.create("u", 1, &[]).unwrap();
    broker.stop();
}

/// Whether this process may have a file system of its own.
fn own_mounts() -> bool {
    let probe = Command::new("unshare").args(["-rm", "true"]).status();
    let allowed = probe.is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("no mount of our own here: the limits on files stand in for it in the other tests");
    }
    allowed
}

fn with_mount(directory: &Path, mount: &str) -> String {
    let directory = directory.display();
    format!("exec unshare -rm sh -c '{mount} \"{directory}\" && exec \"$0\" \"$@\"' \"$0\" \"$@\"")
}

#[test]
fn a_full_file_system_has_room_again_once_records_are_deleted() {
    if !own_mounts() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    std::fs::create_dir(&directory).unwrap();
    let script = with_mount(&directory, "mount -t tmpfs -o size=1m none");
    let broker = BrokerProcess::start_with(&directory, &script, Fsync::Never);
    let mut wire = Wire::connect(broker.address).unwrap();
    wire.create("t", 1, &[("segment.bytes", "65536")]).unwrap();
    let producer = wire.begin_producing(None).unwrap();
    let n = fill(&mut wire, producer, 0);
    assert!(n > 500, "{n} batches before the disk is full");
    check(&mut wire, n);
    wire.delete_before("t", i64::from(n - 10)).unwrap();
    assert_eq!(produce_one(&mut wire, producer, n).unwrap(), i64::from(n));
    assert!(broker.words().contains("No space left on device"), "{}", broker.words());
}

#[test]
fn a_read_only_data_directory_is_named_at_the_start() {
    if !own_mounts() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    BrokerProcess::start(&directory).stop();
    let script = with_mount(&directory, "mount -t tmpfs -o ro none");
    assert!(BrokerProcess::try_start(&directory, &script, Fsync::Never).is_none());
    let words = std::fs::read_to_string(directory.with_extension("stderr")).unwrap();
    let named = words.contains(&directory.display().to_string()) && words.contains("Read-only file system");
    assert!(named, "{words}");
}
