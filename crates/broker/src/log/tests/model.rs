//! A log beside a list of what was appended to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseResult};

use super::*;
use crate::log::flush::Flush;

/// Producers of transactions; one more produces without.
const N_PRODUCERS: i64 = 2;
const OUTSIDE: i64 = 10;
const N_KEYS: u8 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// Outside of any transaction, by nobody.
    Append {
        n_records: usize,
        key: u8,
        value_bytes: usize,
    },
    /// By an idempotent producer; what it sent last is sent again.
    AppendOnce {
        key: u8,
    },
    Repeat,
    AppendInTransaction {
        producer: i64,
        key: u8,
        tombstone: bool,
    },
    End {
        producer: i64,
        commit: bool,
    },
    Flush,
    Checkpoint,
    /// After as many more batches than the checkpoint before it knows. The process may end while the last
    /// rewritten file has no index yet.
    Compact {
        n_late: u8,
        cut_short: bool,
    },
    Retain {
        bytes: i64,
    },
    DeleteBefore {
        share: u8,
    },
    /// The process ends, and the next one finds all of its files.
    Reopen,
    /// It ends when it has begun a file and written nothing to it.
    ReopenRolled,
    /// Of the batch that was being appended only a part is there.
    ReopenTorn {
        n_bytes: usize,
    },
    /// Somebody has removed indexes or the snapshot.
    ReopenWithout {
        indexes: bool,
        snapshot: bool,
    },
    /// Of what was not flushed only some is there, and some of that is garbage.
    LosePower {
        shares: Vec<u8>,
        garbage: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let producer = 0..N_PRODUCERS;
    let step = prop_oneof![
        6 => (1..4_usize, 0..N_KEYS, 0..400_usize)
            .prop_map(|(n_records, key, value_bytes)| Step::Append { n_records, key, value_bytes }),
        3 => (0..N_KEYS).prop_map(|key| Step::AppendOnce { key }),
        1 => Just(Step::Repeat),
        5 => (producer.clone(), 0..N_KEYS, any::<bool>())
            .prop_map(|(producer, key, tombstone)| Step::AppendInTransaction { producer, key, tombstone }),
        4 => (producer, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        2 => Just(Step::Flush),
        2 => Just(Step::Checkpoint),
        3 => (0..12_u8, any::<bool>()).prop_map(|(n_late, cut_short)| Step::Compact { n_late, cut_short }),
        1 => (0..4_000_i64).prop_map(|bytes| Step::Retain { bytes }),
        1 => any::<u8>().prop_map(|share| Step::DeleteBefore { share }),
        1 => Just(Step::Reopen),
        1 => Just(Step::ReopenRolled),
        1 => (1..120_usize).prop_map(|n_bytes| Step::ReopenTorn { n_bytes }),
        1 => any::<(bool, bool)>()
            .prop_map(|(indexes, snapshot)| Step::ReopenWithout { indexes, snapshot }),
        2 => (proptest::collection::vec(any::<u8>(), 8), any::<bool>())
            .prop_map(|(shares, garbage)| Step::LosePower { shares, garbage }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// One batch, as it should be in the log.
#[derive(Debug, Clone)]
struct Entry {
    first: i64,
    end: i64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Records { key: u8, tombstone: bool, producer: Option<(i64, i32)> },
    Marker { producer: i64, commit: bool },
}

/// The log, and what is known of it.
struct World {
    directory: tempfile::TempDir,
    quota: Arc<Quota>,
    reading: Reading,
    log: Mutex<Log>,
    entries: Vec<Entry>,
    start: i64,
    compacted: bool,
    now_ms: i64,
    /// What of a file, by its path and number, and which files a power cut leaves.
    flushed_bytes: HashMap<(PathBuf, u64), u64>,
    flushed_names: BTreeSet<PathBuf>,
    flushed_end: i64,
}

impl World {
    fn new(reading: Reading) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let quota = Quota::new(None);
        let log = Mutex::new(Log::open(directory.path(), reading, &quota, 0).unwrap());
        let mut world = Self {
            directory,
            quota,
            reading,
            log,
            entries: Vec::new(),
            start: 0,
            compacted: false,
            now_ms: 1_000,
            flushed_bytes: HashMap::new(),
            flushed_names: BTreeSet::new(),
            flushed_end: 0,
        };
        if reading == Reading::Flushed {
            world.all_flushed();
        }
        world
    }

    fn end(&self) -> i64 {
        self.entries.last().map_or(0, |entry| entry.end).max(self.start)
    }

    fn note(&mut self, first: i64, n: i64, content: Content) {
        self.entries.push(Entry { first, end: first + n, content });
    }

    fn next_sequence(&self, id: i64) -> i32 {
        let of = |entry: &Entry| match entry.content {
            Content::Records { producer: Some((by, sequence)), .. } if by == id => Some(sequence + 1),
            Content::Records { .. } | Content::Marker { .. } => None,
        };
        self.entries.iter().rev().find_map(of).unwrap_or(0)
    }

    fn open_since(&self, id: i64) -> Option<i64> {
        let ended =
            |entry: &Entry| matches!(entry.content, Content::Marker { producer, .. } if producer == id);
        let from = self.entries.iter().rposition(ended).map_or(0, |at| at + 1);
        let of = |entry: &&Entry| matches!(entry.content, Content::Records { producer: Some((by, _)), .. } if by == id);
        let kept = self.entries[from..].iter().filter(|entry| entry.end > self.start);
        kept.into_iter().find(of).map(|entry| entry.first)
    }

    fn stable_end(&self) -> i64 {
        let open = (0..N_PRODUCERS).filter_map(|id| self.open_since(id)).min();
        open.unwrap_or(i64::MAX).min(lock(&self.log).end())
    }

    /// Whether the transaction that the entry is part of was aborted, or is still open.
    fn hidden(&self, at: usize) -> bool {
        let Content::Records { producer: Some((id, _)), .. } = self.entries[at].content else { return false };
        let marker = self.entries[at..].iter().find_map(|entry| match entry.content {
            Content::Marker { producer, commit } if producer == id => Some(commit),
            Content::Marker { .. } | Content::Records { .. } => None,
        });
        id != OUTSIDE && marker != Some(true)
    }

    /// What readers of committed records may see: offset, key, tombstone.
    fn readable(&self) -> Vec<Read> {
        let stable_end = self.stable_end();
        let mut readable = Vec::new();
        for (at, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.end <= stable_end) {
            if let Content::Records { key, tombstone, .. } = entry.content
                && !self.hidden(at)
            {
                let offsets = (entry.first..entry.end).filter(|offset| *offset >= self.start);
                readable.extend(offsets.map(|offset| (offset, vec![key], tombstone)));
            }
        }
        readable
    }

    fn files(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
        paths.sort();
        paths
    }

    fn all_flushed(&mut self) {
        for path in self.files() {
            let metadata = fs::metadata(&path).unwrap();
            self.flushed_bytes.insert((path.clone(), metadata.ino()), metadata.len());
            self.flushed_names.insert(path);
        }
        self.flushed_end = self.end();
    }

    /// As the partition does it, noting what the system was asked to have on the disk.
    fn flush(&mut self, flush: &Flush) {
        flush.run().unwrap();
        let numbers: Vec<u64> = flush.files.iter().map(|file| file.metadata().unwrap().ino()).collect();
        for path in self.files() {
            let metadata = fs::metadata(&path).unwrap();
            if numbers.contains(&metadata.ino()) {
                self.flushed_bytes.insert((path, metadata.ino()), metadata.len());
            }
        }
        if flush.directory.is_some() {
            self.flushed_names = self.files().into_iter().collect();
        }
        lock(&self.log).end_flush(flush, Ok(())).unwrap();
        self.flushed_end = self.end();
    }

    fn checkpoint(&mut self) {
        let checkpoint = lock(&self.log).begin_checkpoint().unwrap();
        self.flush(checkpoint.flush());
        checkpoint.store().unwrap();
        lock(&self.log).end_checkpoint(checkpoint, self.now_ms);
    }

    fn reopen(&mut self) {
        let log = Log::open(self.directory.path(), self.reading, &self.quota, self.now_ms).unwrap();
        self.log = Mutex::new(log);
        if self.reading == Reading::Flushed {
            self.all_flushed();
        }
    }

    /// As it is between a rewritten file's taking its place and its index's.
    fn cut_compaction_short(&mut self) {
        let closed = lock(&self.log).segments.iter().rev().nth(1).map(|segment| segment.base);
        if let Some(base) = closed {
            store::remove(&segment::index_path(self.directory.path(), base)).unwrap();
        }
        self.reopen();
    }

    fn append(&mut self, producer: Option<(i64, i32, bool)>, records: &[Pair<'_>]) -> Appended {
        let mut bytes = produced(records, self.now_ms);
        if let Some((id, sequence, open)) = producer {
            bytes = owned(bytes, (id, 0), sequence, open);
        }
        let batch = Produced::parse(bytes.into(), usize::MAX).unwrap();
        lock(&self.log).append(&batch, &POLICY, self.now_ms).unwrap()
    }

    fn lose_power(&mut self, shares: &[u8], garbage: bool) {
        let mut gone = false;
        for (path, share) in self.files().into_iter().zip(shares.iter().cycle()) {
            // A file system keeps the order in which files were created.
            gone = gone || (!self.flushed_names.contains(&path) && share % 4 == 0);
            if gone {
                fs::remove_file(&path).unwrap();
                continue;
            }
            let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let metadata = file.metadata().unwrap();
            let kept = self.flushed_bytes.get(&(path, metadata.ino())).copied().unwrap_or(0);
            let lost = metadata.len() - kept;
            let left = lost * u64::from(*share) / 255;
            if garbage {
                // The file has its length, and what was not written is as it was before: nothing, or old.
                let old = vec![share % 3; (lost - left) as usize];
                file.write_all_at(&old, kept + left).unwrap();
            } else {
                file.set_len(kept + left).unwrap();
            }
        }
        self.reopen();
    }

    fn apply(&mut self, step: Step) -> TestCaseResult {
        self.now_ms += 10;
        match step {
            Step::Append { n_records, key, value_bytes } => {
                let (value, name) = (vec![1; value_bytes], [key]);
                let records = vec![(Some(&name[..]), Some(&value[..])); n_records];
                let base = self.append(None, &records).base;
                prop_assert_eq!(base, self.end());
                self.note(base, n_records as i64, Content::Records { key, tombstone: false, producer: None });
            }
            Step::AppendOnce { key } => {
                let sequence = self.next_sequence(OUTSIDE);
                let base = self.append(Some((OUTSIDE, sequence, false)), &[(Some(&[key]), Some(b"v"))]).base;
                prop_assert_eq!(base, self.end());
                let producer = Some((OUTSIDE, sequence));
                self.note(base, 1, Content::Records { key, tombstone: false, producer });
            }
            Step::Repeat => {
                let last = self.entries.iter().rev().find_map(|entry| match entry.content {
                    Content::Records { key, producer: Some((OUTSIDE, sequence)), .. } => {
                        Some((entry.first, key, sequence))
                    }
                    Content::Records { .. } | Content::Marker { .. } => None,
                });
                if let Some((first, key, sequence)) = last {
                    let again = self.append(Some((OUTSIDE, sequence, false)), &[(Some(&[key]), Some(b"v"))]);
                    prop_assert_eq!(again.base, first);
                }
            }
            Step::AppendInTransaction { producer, key, tombstone } => {
                lock(&self.log).open_transaction(producer, 0, self.now_ms);
                let sequence = self.next_sequence(producer);
                let value: Option<&[u8]> = (!tombstone).then_some(b"v");
                let base = self.append(Some((producer, sequence, true)), &[(Some(&[key]), value)]).base;
                prop_assert_eq!(base, self.end());
                self.note(base, 1, Content::Records { key, tombstone, producer: Some((producer, sequence)) });
            }
            Step::End { producer, commit } => {
                let outcome = if commit { Outcome::Commit } else { Outcome::Abort };
                let open = self.open_since(producer).is_some();
                let base = self.end();
                let mut log = lock(&self.log);
                let ended = log.end_transaction((producer, 0), outcome, &POLICY, self.now_ms).unwrap();
                drop(log);
                prop_assert_eq!(ended, open);
                if ended {
                    self.note(base, 1, Content::Marker { producer, commit });
                }
            }
            step => self.maintain(step)?,
        }
        Ok(())
    }

    fn maintain(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Flush => {
                let flush = lock(&self.log).begin_flush().unwrap();
                self.flush(&flush);
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Compact { n_late, cut_short } => {
                self.checkpoint();
                for key in 0..n_late {
                    self.apply(Step::Append { n_records: 1, key: key % 2, value_bytes: 150 })?;
                }
                compact(&self.log, &cleaning(), self.now_ms).unwrap();
                self.compacted = true;
                self.all_flushed();
                if cut_short {
                    self.cut_compaction_short();
                } else {
                    self.checkpoint();
                }
            }
            Step::Retain { bytes } => {
                let cleaning = Cleaning { delete: true, retention_bytes: bytes, ..cleaning() };
                let stable_end = self.stable_end();
                lock(&self.log).retain(&cleaning, &POLICY, self.now_ms).unwrap();
                let start = lock(&self.log).start();
                prop_assert!((self.start..=stable_end.max(self.start)).contains(&start));
                self.start = start;
            }
            Step::DeleteBefore { share } => {
                let stable_end = self.stable_end();
                let mut log = lock(&self.log);
                // Whether an open transaction is known after its records were deleted is left open.
                let offset = stable_end.max(0) * i64::from(share) / 255;
                log.delete_before(offset, self.now_ms).unwrap();
                self.start = self.start.max(offset);
            }
            step => self.restart(step)?,
        }
        Ok(())
    }

    fn restart(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Reopen => self.reopen(),
            Step::ReopenRolled => {
                let end = self.end();
                let path = segment::log_path(self.directory.path(), end);
                fs::File::options().create(true).append(true).open(path).unwrap();
                self.reopen();
            }
            Step::ReopenTorn { n_bytes } => {
                let torn = &produced(&[(Some(b"torn"), Some(&[7; 100]))], 0)[..n_bytes];
                let files = self.files();
                let last = fs::OpenOptions::new().append(true).open(files.last().unwrap()).unwrap();
                io::Write::write_all(&mut &last, torn).unwrap();
                self.reopen();
            }
            Step::ReopenWithout { indexes, snapshot } => {
                // Without it, nothing tells of producers whose batches were compacted away.
                let snapshot = snapshot && !self.compacted;
                // How far a log was flushed is not known then: what is found is taken to be all.
                self.checkpoint();
                for path in fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
                    let index = path.extension().is_some_and(|extension| extension == "index");
                    if (index && indexes) || (path.ends_with("snapshot") && snapshot) {
                        fs::remove_file(path).unwrap();
                    }
                }
                self.reopen();
                self.checkpoint();
            }
            // Whether a transaction is open again, part of whose records was deleted, is left open.
            Step::LosePower { .. } if self.start > 0 && self.flushed_end < self.end() => {}
            Step::LosePower { shares, garbage } => {
                let flushed_end = self.flushed_end;
                self.lose_power(&shares, garbage);
                let end = lock(&self.log).next();
                prop_assert!((flushed_end..=self.end()).contains(&end), "{} of {}", end, flushed_end);
                self.entries.retain(|entry| entry.end <= end);
                prop_assert_eq!(self.end().max(flushed_end), end, "a batch is there whole or not at all");
                self.flushed_end = if self.reading == Reading::Flushed { end } else { flushed_end };
            }
            other => unreachable!("{other:?} is no restart"),
        }
        Ok(())
    }

    /// What a reader of committed records sees, by the rules of the protocol.
    fn committed(&self, bytes_max: usize) -> Vec<Read> {
        let log = lock(&self.log);
        let (mut offset, upto) = (log.start(), log.stable_end());
        let mut records = Vec::new();
        while let Some(slice) = log.slice(offset, upto, bytes_max).unwrap() {
            let mut aborted = log.aborted_in(offset, slice.end);
            let mut bytes = slice.read().unwrap();
            let mut skipped = BTreeSet::new();
            while !bytes.is_empty() {
                let header = Header::parse(&bytes).unwrap();
                let one = bytes.split_to(header.size_bytes);
                assert!(header.intact(&one) && header.last() < upto);
                aborted.retain(|aborted| {
                    let begun = aborted.first <= header.base;
                    if begun {
                        skipped.insert(aborted.producer_id);
                    }
                    !begun
                });
                if header.control() {
                    skipped.remove(&header.producer_id);
                } else if !(header.transactional() && skipped.contains(&header.producer_id)) {
                    let all = batch::records(&one, 1 << 20).unwrap().into_iter();
                    let all =
                        all.map(|r| (header.base + r.offset_delta, r.key.unwrap().to_vec(), r.tombstone));
                    records.extend(all.filter(|(at, ..)| *at >= offset));
                }
            }
            assert!(slice.end > offset, "a slice that does not get on");
            offset = slice.end;
        }
        records
    }

    fn check(&self, bytes_max: usize) -> TestCaseResult {
        let stable_end = self.stable_end();
        {
            let log = lock(&self.log);
            prop_assert_eq!((log.start(), log.next()), (self.start, self.end()));
            prop_assert_eq!(log.stable_end(), stable_end);
            let visible = if self.reading == Reading::Flushed { self.flushed_end } else { self.end() };
            prop_assert_eq!(log.end(), visible.max(self.start));
            prop_assert_eq!(self.quota.used(), log.size_bytes());
        }
        let (read, readable) = (self.committed(bytes_max), self.readable());
        if !self.compacted {
            prop_assert_eq!(read, readable);
            return Ok(());
        }
        prop_assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let known: BTreeSet<&Read> = readable.iter().collect();
        for record in &read {
            prop_assert!(known.contains(record), "{:?} was never committed", record);
        }
        // Compacted or not, who reads from the start has the same state in the end.
        let state = |records: &[Read]| -> BTreeMap<Vec<u8>, i64> {
            let latest: BTreeMap<_, _> =
                records.iter().map(|(at, key, tombstone)| (key.clone(), (*at, *tombstone))).collect();
            latest.into_iter().filter(|(_, (_, gone))| !gone).map(|(key, (at, _))| (key, at)).collect()
        };
        prop_assert_eq!(state(&read), state(&readable));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]
    #[test]
    fn a_log_is_what_a_list_says(
        steps in steps(),
        bytes_max in 1..3_000_usize,
        strict in any::<bool>(),
    ) {
        let mut world = World::new(if strict { Reading::Flushed } else { Reading::Appended });
        for step in steps {
            world.apply(step)?;
            world.check(bytes_max)?;
        }

    }
}
