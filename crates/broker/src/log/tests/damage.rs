//! Files that are not as they were left, below the last checkpoint: no crash does that.

use super::*;

const N_BATCHES: i64 = 12;

/// A checkpointed log of several segments; gives their first offsets.
fn checkpointed(directory: &Path) -> Vec<i64> {
    let log = Mutex::new(Log::open(directory, Reading::Appended, &Quota::new(None), 0).unwrap());
    for n in 0..N_BATCHES {
        lock(&log).append(&batch(&[(Some(b"k"), Some(&[1; 300]))], n), &POLICY, n).unwrap();
    }
    checkpoint(&log);
    let bases: Vec<i64> = lock(&log).segments.iter().map(|segment| segment.base).collect();
    assert!(bases.len() > 3);
    bases
}

/// Opens the log after `damage` was done to the second of its files: what is before and behind can be
/// read, what is lost is an error, the end is where it was, and deleting the records ends it.
#[track_caller]
fn check(damage: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let bases = checkpointed(directory.path());
    damage(&segment::log_path(directory.path(), bases[1]));
    // What is wrong once stays wrong, however often the log is opened.
    for again in 0..2 {
        let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
        assert_eq!((log.start(), log.end()), (0, N_BATCHES + again));
        assert_eq!(read_all(&log, 0, bases[1], 1 << 20).len() as i64, bases[1]);
        let behind = read_all(&log, bases[2], log.end(), 1 << 20);
        assert_eq!(behind.len() as i64, log.end() - bases[2]);
        assert_eq!(
            log.slice(bases[2] - 1, log.end(), 1 << 20).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        log.append(&batch(&[(None, Some(b"more"))], 50), &POLICY, 50).unwrap();
    }
    let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    log.delete_before(bases[2], 60).unwrap();
    let log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    assert_eq!(read_all(&log, bases[2], log.end(), 1 << 20).len() as i64, log.end() - bases[2]);
    assert!(log.segments.iter().all(|segment| !segment.damaged));
}

#[test]
fn a_truncated_file_is_an_error_where_it_was_cut_and_nowhere_else() {
    check(|path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 50).unwrap();
    });
}

#[test]
fn a_missing_file_is_an_error_where_it_was_and_nowhere_else() {
    check(|path| fs::remove_file(path).unwrap());
}

#[test]
fn a_missing_file_with_its_index_is_an_error_too() {
    check(|path| {
        fs::remove_file(path).unwrap();
        fs::remove_file(path.with_extension("index")).unwrap();
    });
}

#[test]
fn damage_that_only_a_scan_finds_is_kept_and_reported() {
    check(|path| {
        // Without its index the file is read, and its last batch has a wrong checksum.
        fs::remove_file(path.with_extension("index")).unwrap();
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let end = file.metadata().unwrap().len();
        file.set_len(end - 380 + 10).unwrap();
        file.set_len(end).unwrap();
    });
}

#[test]
fn the_last_files_loss_does_not_give_its_offsets_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let bases = checkpointed(directory.path());
    let last = *bases.last().unwrap();
    fs::remove_file(segment::log_path(directory.path(), last)).unwrap();
    fs::remove_file(segment::index_path(directory.path(), last)).unwrap();
    let mut log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    assert_eq!(log.append(&batch(&[(None, None)], 50), &POLICY, 50).unwrap().base, N_BATCHES);
    assert_eq!(log.slice(last, N_BATCHES, 1 << 20).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn damaged_indexes_and_snapshots_cost_time_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    checkpointed(directory.path());
    for path in fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension == "index") {
            fs::write(path, b"garbage").unwrap();
        }
    }
    let log = Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap();
    assert_eq!(read_all(&log, 0, log.end(), 1 << 20).len() as i64, N_BATCHES);
}

#[test]
fn compaction_does_not_vouch_for_a_damaged_batch() {
    let directory = tempfile::tempdir().unwrap();
    let bases = checkpointed(directory.path());
    let path = segment::log_path(directory.path(), bases[1]);
    let mut content = fs::read(&path).unwrap();
    let last = content.len() - 20;
    content[last] ^= 1;
    fs::write(&path, &content).unwrap();
    let log = Mutex::new(Log::open(directory.path(), Reading::Appended, &Quota::new(None), 0).unwrap());
    assert_eq!(compact(&log, &cleaning(), 50).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(fs::read(&path).unwrap(), content);
    compact(&log, &cleaning(), 50).unwrap();
}
