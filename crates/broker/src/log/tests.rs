mod damage;
mod model;
mod room;

use std::sync::Mutex;

use super::batch::tests::{Pair, owned, produced};
use super::batch::{Outcome, Produced};
use super::*;
use crate::sync::lock;

const POLICY: AppendPolicy = AppendPolicy { append_time: false, segment_bytes: 1_000, segment_ms: i64::MAX };

fn cleaning() -> Cleaning {
    Cleaning {
        compact: true,
        delete: false,
        retention_ms: -1,
        retention_bytes: -1,
        delete_retention_ms: 25,
        dirty_ratio: 0.0,
        compaction_lag_ms: (0, i64::MAX),
        segment_bytes: 1_000,
        producers_max: 100,
        unpacked_bytes_max: 1 << 20,
    }
}

fn batch(records: &[Pair<'_>], timestamp: i64) -> Produced {
    Produced::parse(produced(records, timestamp).into(), usize::MAX).unwrap()
}

fn checkpoint(log: &Mutex<Log>) {
    let checkpoint = lock(log).begin_checkpoint().unwrap();
    lock(log).end_flush(checkpoint.flush(), checkpoint.flush().run()).unwrap();
    checkpoint.store().unwrap();
    lock(log).end_checkpoint(checkpoint, 0);
}

/// Offset, key, and whether it is a tombstone.
type Read = (i64, Vec<u8>, bool);

/// Every record from `offset` on: offset and key.
fn read_all(log: &Log, mut offset: i64, upto: i64, bytes_max: usize) -> Vec<Read> {
    let mut records = Vec::new();
    while let Some(slice) = log.slice(offset, upto, bytes_max).unwrap() {
        assert!(slice.end > offset, "a slice that does not get on");
        let mut bytes = slice.read().unwrap();
        while !bytes.is_empty() {
            let header = Header::parse(&bytes).unwrap();
            let one = bytes.split_to(header.size_bytes);
            assert!(header.intact(&one) && header.base < upto);
            for record in batch::records(&one, 1 << 20).unwrap() {
                let at = header.base + record.offset_delta;
                if at >= offset && !header.control() {
                    records.push((at, record.key.unwrap_or_default().to_vec(), record.tombstone));
                }
            }
        }
        offset = slice.end;
    }
    records
}

#[test]
fn compaction_leaves_one_record_of_each_key_in_closed_segments() {
    let directory = tempfile::tempdir().unwrap();
    let log = Mutex::new(Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap());
    for round in 0..10 {
        for key in [b"a", b"b", b"c"] {
            lock(&log).append(&batch(&[(Some(key), Some(&[1; 200]))], round), &POLICY, round).unwrap();
        }
    }
    checkpoint(&log);
    compact(&log, &cleaning(), 10).unwrap();
    let log = lock(&log);
    let read = read_all(&log, 0, log.end(), 1 << 20);
    let active = log.segments.last().unwrap().base;
    assert!(log.segments.len() > 1 && read.iter().filter(|(offset, ..)| *offset < active).count() == 3);
    assert_eq!(log.end(), 30);
}

#[test]
fn compaction_leaves_an_empty_active_segment_to_be_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    let log = Mutex::new(Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap());
    for round in 0..5 {
        lock(&log).append(&batch(&[(Some(b"a"), Some(&[1; 200]))], round), &POLICY, round).unwrap();
    }
    // A crash between a file's creation and its first batch leaves that too.
    lock(&log).begin_segment(5).unwrap();
    checkpoint(&log);
    compact(&log, &cleaning(), 10).unwrap();
    let bases: Vec<i64> = lock(&log).segments.iter().map(|segment| segment.base).collect();
    assert_eq!(bases, [0, 3, 5]);
}

#[test]
fn expired_segments_go_and_the_end_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    for timestamp in 0..10 {
        log.append(&batch(&[(None, Some(&[1; 600]))], timestamp), &POLICY, timestamp).unwrap();
    }
    let by_age = Cleaning { compact: false, delete: true, retention_ms: 100, ..cleaning() };
    log.retain(&by_age, &POLICY, 104).unwrap();
    assert_eq!((log.start(), log.end()), (4, 10));
    log.retain(&by_age, &POLICY, 1_000).unwrap();
    assert_eq!((log.start(), log.end()), (10, 10));
    drop(log);
    let reopened = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    assert_eq!((reopened.start(), reopened.end()), (10, 10));
}

#[test]
fn the_stable_end_and_the_aborted_range_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    let transactional = |producer, sequence| {
        let plain = produced(&[(None, Some(b"v"))], 5);
        Produced::parse(owned(plain, (producer, 0), sequence, true).into(), 1_000).unwrap()
    };
    log.open_transaction(1, 0, 5);
    log.open_transaction(2, 0, 5);
    log.append(&transactional(1, 0), &POLICY, 5).unwrap();
    log.append(&transactional(2, 0), &POLICY, 5).unwrap();
    log.end_transaction((1, 0), Outcome::Abort, &POLICY, 6).unwrap();
    for _ in 0..2 {
        assert_eq!((log.stable_end(), log.end()), (1, 3));
        let aborted = Aborted { producer_id: 1, first: 0, marker: 2 };
        assert_eq!(log.aborted_in(0, 3), [aborted]);
        assert!(log.slice(1, log.stable_end(), 1_000).unwrap().is_none());
        assert_eq!(log.open_transactions(), [(2, 0)]);
        log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    }
}

#[test]
fn a_record_is_found_by_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    for timestamp in [10, 20, 30] {
        log.append(&batch(&[(None, Some(&[1; 600])), (None, None)], timestamp), &POLICY, 0).unwrap();
    }
    let found = |since| log.record_since(since, 1 << 20).unwrap().map(|found| found.offset);
    assert_eq!((found(5), found(11), found(30), found(31)), (Some(0), Some(2), Some(4), None));
    let newest = log.newest_record(1 << 20).unwrap().unwrap();
    assert_eq!((newest.timestamp, newest.offset), (30, 4));
}
