//! The quota: what is over is refused, and what goes gives room.

use super::*;

const BYTES_MAX: u64 = 4_000;

fn log(directory: &tempfile::TempDir, quota: &Arc<Quota>) -> Log {
    Log::open(directory.path(), Reading::Appended, quota, 0).unwrap()
}

fn append(log: &mut Log, key: &[u8], timestamp: i64) -> Result<Appended, ResponseError> {
    log.append(&batch(&[(Some(key), Some(&[1; 600]))], timestamp), &POLICY, timestamp)
}

/// A log that takes no more.
fn full(directory: &tempfile::TempDir, quota: &Arc<Quota>) -> Log {
    let mut log = log(directory, quota);
    let refused = (0..100).find_map(|timestamp| append(&mut log, b"k", timestamp).err());
    assert_eq!(refused, Some(ResponseError::KafkaStorageError));
    assert!(quota.full() && log.next() > 3);
    log
}

#[track_caller]
fn check_room(log: &mut Log, quota: &Quota) {
    assert_eq!(quota.used(), log.size_bytes());
    append(log, b"k", 1_000).unwrap();
}

#[test]
fn deleted_records_give_room() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(BYTES_MAX)));
    let mut log = full(&directory, &quota);
    log.delete_before(2, 0).unwrap();
    check_room(&mut log, &quota);
}

#[test]
fn retention_gives_room() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(BYTES_MAX)));
    let mut log = full(&directory, &quota);
    let by_age = Cleaning { compact: false, delete: true, retention_ms: 100, ..cleaning() };
    log.retain(&by_age, &POLICY, 1_000).unwrap();
    check_room(&mut log, &quota);
}

#[test]
fn compaction_gives_room() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(BYTES_MAX)));
    let log = Mutex::new(full(&directory, &quota));
    checkpoint(&log);
    compact(&log, &cleaning(), 10).unwrap();
    check_room(&mut lock(&log), &quota);
}

#[test]
fn a_log_that_goes_gives_room_to_others() {
    let (directories, quota) = ([(); 2].map(|()| tempfile::tempdir().unwrap()), Quota::new(Some(BYTES_MAX)));
    let gone = full(&directories[0], &quota);
    let mut other = log(&directories[1], &quota);
    assert!(append(&mut other, b"k", 0).is_err());
    drop(gone);
    check_room(&mut other, &quota);
}

#[test]
fn a_repeated_batch_is_answered_though_there_is_no_room() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(1_000)));
    let mut log = log(&directory, &quota);
    let numbered = |sequence| {
        let plain = produced(&[(None, Some(&[1; 600]))], 5);
        Produced::parse(owned(plain, (1, 0), sequence, false).into(), 1_000).unwrap()
    };
    let first = log.append(&numbered(0), &POLICY, 0).unwrap();
    assert_eq!(log.append(&numbered(1), &POLICY, 0), Err(ResponseError::KafkaStorageError));
    assert_eq!(log.append(&numbered(0), &POLICY, 0), Ok(first));
    // The one after the refused one: to be repeated as well, and not out of order.
    assert_eq!(log.append(&numbered(2), &POLICY, 0), Err(ResponseError::KafkaStorageError));
    log.delete_before(1, 0).unwrap();
    assert_eq!(log.append(&numbered(2), &POLICY, 0), Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(log.append(&numbered(1), &POLICY, 0), Ok(Appended { base: 1, time_ms: None }));
}

#[test]
fn a_batch_beyond_the_whole_quota_is_too_large() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(500)));
    let mut log = log(&directory, &quota);
    assert_eq!(append(&mut log, b"k", 0), Err(ResponseError::MessageTooLarge));
    assert!(!quota.full());
}

#[test]
fn a_transaction_ends_though_there_is_no_room() {
    let (directory, quota) = (tempfile::tempdir().unwrap(), Quota::new(Some(950)));
    let mut log = log(&directory, &quota);
    log.open_transaction(1, 0, 5);
    let plain = produced(&[(None, Some(&[1; 850]))], 5);
    let batch = Produced::parse(owned(plain, (1, 0), 0, true).into(), 1_000).unwrap();
    log.append(&batch, &POLICY, 5).unwrap();
    assert!(log.end_transaction((1, 0), Outcome::Commit, &POLICY, 6).unwrap());
    assert_eq!(log.stable_end(), 2);
    assert!(quota.used() > 950 && quota.used() == log.size_bytes());
}
