//! Four clients at work until their broker dies, and what each of them then knows must be so.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{Answered, NOBODY, Pair, Producer, Refusal, View, Wire, batch};

/// Chance with a seed: splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

pub(crate) const PLAIN: &str = "plain";
pub(crate) const KEYED: &str = "keyed";
/// Its name sorts first: it is compacted before the others.
pub(crate) const TRANSACTIONAL: &str = "changes";
const N_PARTITIONS: i32 = 2;
const N_KEYS: u64 = 20;
/// As the transactions' group and the committer's.
const IN_TRANSACTIONS: &str = "in-transactions";
const BY_ITSELF: &str = "by-itself";
const TRANSACTIONAL_ID: &str = "x";

/// One client: works until the broker is gone, says what it finds after a restart.
pub(crate) trait Client: Send {
    /// Works on until a request is not answered.
    fn work(&mut self, wire: &mut Wire, chance: &mut Chance) -> Answered<()>;
    /// Reads what the broker has, since the last check or all of it, and compares.
    fn check(&mut self, wire: &mut Wire, all: bool) -> Answered<()>;
}

/// Has a client work until its broker is gone. Any other refusal is a failure.
pub(crate) fn work_until_gone(client: &mut dyn Client, wire: Answered<Wire>, chance: &mut Chance) {
    let worked = wire.and_then(|mut wire| client.work(&mut wire, chance));
    assert!(matches!(worked, Err(Refusal::Gone)), "{worked:?}");
}

pub(crate) fn prepare(wire: &mut Wire) -> Answered<Vec<Box<dyn Client>>> {
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "4096"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "50"),
    ];
    wire.create(PLAIN, N_PARTITIONS, &[("segment.bytes", "16384")])?;
    wire.create(KEYED, 1, &compacted)?;
    wire.create(TRANSACTIONAL, N_PARTITIONS, &compacted)?;
    let producer = wire.begin_producing(None)?;
    Ok(vec![
        Box::new(Idempotent { producer, partitions: Default::default() }),
        Box::new(Keyed { n_sent: 0, acknowledged: BTreeMap::new(), doubted: Vec::new() }),
        Box::new(Transactional::default()),
        Box::new(Committer { acknowledged: -1, sent: -1 }),
    ])
}

/// Counts up in each partition. After a crash it sends the last batch again: it must stand there once.
struct Idempotent {
    producer: Producer,
    partitions: [Counting; N_PARTITIONS as usize],
}

#[derive(Default)]
struct Counting {
    n_acknowledged: i32,
    /// The records of the batch that was sent last and not answered.
    doubted: Option<i32>,
    checked: i64,
}

impl Client for Idempotent {
    fn work(&mut self, wire: &mut Wire, chance: &mut Chance) -> Answered<()> {
        loop {
            let at = chance.below(self.partitions.len() as u64) as usize;
            let counting = &mut self.partitions[at];
            let n = *counting.doubted.get_or_insert_with(|| 1 + chance.below(5) as i32);
            let first = counting.n_acknowledged;
            let count = |n: i32| (n.to_string(), Some(format!("{n:0>40}")));
            let pairs: Vec<Pair> = (first..first + n).map(count).collect();
            let offset = wire.produce(PLAIN, at as i32, batch(self.producer, first, false, &pairs))?;
            assert_eq!(offset, i64::from(first), "a batch stands where the first attempt has put it");
            counting.n_acknowledged += n;
            counting.doubted = None;
        }
    }

    fn check(&mut self, wire: &mut Wire, all: bool) -> Answered<()> {
        for (at, counting) in self.partitions.iter_mut().enumerate() {
            let from = if all { 0 } else { counting.checked };
            let View { records, end } = wire.read(PLAIN, at as i32, from)?;
            for (record, expected) in records.iter().zip(from..) {
                assert_eq!((record.offset, record.pair.0.as_str()), (expected, &*expected.to_string()));
            }
            let least = i64::from(counting.n_acknowledged);
            let most = least + i64::from(counting.doubted.unwrap_or(0));
            assert_eq!(records.len() as i64, end - from, "no offset is left out");
            assert!(end == least || end == most, "{least} records were acknowledged, {end} are there");
            counting.checked = least;
        }
        Ok(())
    }
}

/// Sets and deletes keys in a compacted topic.
struct Keyed {
    n_sent: u64,
    acknowledged: BTreeMap<String, Option<String>>,
    /// Sent, and not known to be there; of the last broker's lives first.
    doubted: Vec<Pair>,
}

impl Client for Keyed {
    fn work(&mut self, wire: &mut Wire, chance: &mut Chance) -> Answered<()> {
        loop {
            self.n_sent += 1;
            let key = format!("k{}", chance.below(N_KEYS));
            let value = (chance.below(4) > 0).then(|| format!("{:0>60}", self.n_sent));
            self.doubted = vec![(key.clone(), value.clone())];
            wire.produce(KEYED, 0, batch(NOBODY, -1, false, &[(key.clone(), value.clone())]))?;
            self.doubted.clear();
            self.acknowledged.insert(key, value);
        }
    }

    fn check(&mut self, wire: &mut Wire, _all: bool) -> Answered<()> {
        let mut latest: BTreeMap<String, Option<String>> = BTreeMap::new();
        for record in wire.read(KEYED, 0, 0)?.records {
            latest.insert(record.pair.0, record.pair.1);
        }
        for n in 0..N_KEYS {
            let key = format!("k{n}");
            // A tombstone and nothing at all are the same to who reads from the start.
            let found = latest.get(&key).cloned().flatten();
            let expected = self.acknowledged.get(&key).cloned().flatten();
            if found != expected {
                let doubted = self.doubted.pop().filter(|doubted| *doubted == (key.clone(), found.clone()));
                let doubted = doubted.unwrap_or_else(|| panic!("`{key}` is {found:?}, not {expected:?}"));
                self.acknowledged.insert(doubted.0, doubted.1);
            }
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its commit was acknowledged, or it was found to be there.
    Committed,
    /// It was aborted, or never ended.
    Aborted,
    /// Its commit was asked for and not answered.
    Doubted,
}

#[derive(Debug)]
struct Transaction {
    /// With their partition.
    keys: Vec<(i32, String)>,
    fate: Fate,
}

/// Transactions over two partitions and an offset, every record under a key of its own: compaction
/// must leave what is committed.
#[derive(Default)]
struct Transactional {
    /// By number.
    all: Vec<Transaction>,
    /// The transactions that have been checked, and where each partition is read on.
    n_checked: usize,
    checked: [i64; N_PARTITIONS as usize],
}

impl Transactional {
    fn one(
        &mut self,
        wire: &mut Wire,
        producer: Producer,
        sequences: &mut [i32],
        chance: &mut Chance,
    ) -> Answered<()> {
        let number = self.all.len();
        // Whatever cuts it short before the commit is asked for, aborts it.
        self.all.push(Transaction { keys: Vec::new(), fate: Fate::Aborted });
        let by = (TRANSACTIONAL_ID, producer);
        wire.add_partitions(by, TRANSACTIONAL, (0..N_PARTITIONS).collect())?;
        for partition in 0..N_PARTITIONS {
            let n = 1 + chance.below(3) as usize;
            let pairs: Vec<Pair> = (0..n)
                .map(|n| (format!("{number}-{partition}-{n}"), Some(format!("{number:0>50}"))))
                .collect();
            self.all[number].keys.extend(pairs.iter().map(|(key, _)| (partition, key.clone())));
            let sequence = &mut sequences[partition as usize];
            wire.produce(TRANSACTIONAL, partition, batch(producer, *sequence, true, &pairs))?;
            *sequence += n as i32;
        }
        wire.hold_offset(by, IN_TRANSACTIONS, (PLAIN, number as i64))?;
        let commit = chance.below(3) > 0;
        if commit {
            self.all[number].fate = Fate::Doubted;
        }
        wire.end_transaction(by, commit)?;
        self.all[number].fate = if commit { Fate::Committed } else { Fate::Aborted };
        Ok(())
    }
}

impl Client for Transactional {
    fn work(&mut self, wire: &mut Wire, chance: &mut Chance) -> Answered<()> {
        let producer = wire.begin_producing(Some(TRANSACTIONAL_ID))?;
        let mut sequences = [0; N_PARTITIONS as usize];
        loop {
            self.one(wire, producer, &mut sequences, chance)?;
        }
    }

    fn check(&mut self, wire: &mut Wire, all: bool) -> Answered<()> {
        let (first, from) =
            if all { (0, [0; N_PARTITIONS as usize]) } else { (self.n_checked, self.checked) };
        let mut found = BTreeSet::new();
        for partition in 0..N_PARTITIONS {
            let View { records, end } = wire.read(TRANSACTIONAL, partition, from[partition as usize])?;
            for record in records {
                assert!(found.insert((partition, record.pair.0.clone())), "{record:?} is there twice");
            }
            self.checked[partition as usize] = end;
        }
        for (number, Transaction { keys, fate }) in self.all.iter_mut().enumerate().skip(first) {
            let n_found = keys.iter().filter(|key| found.remove(key)).count();
            if *fate == Fate::Doubted {
                *fate = if n_found > 0 { Fate::Committed } else { Fate::Aborted };
            }
            let expected = if *fate == Fate::Committed { keys.len() } else { 0 };
            assert_eq!(n_found, expected, "transaction {number} was {fate:?}: {keys:?}");
        }
        assert!(found.is_empty(), "{found:?} was read from nowhere");
        let last = self.all.iter().rposition(|transaction| transaction.fate == Fate::Committed);
        let last = last.map_or(-1, |number| number as i64);
        assert_eq!(wire.committed(IN_TRANSACTIONS, PLAIN)?, last, "the offset is the last transaction's");
        self.n_checked = self.all.len();
        Ok(())
    }
}

/// Commits offsets, one after the other.
struct Committer {
    acknowledged: i64,
    sent: i64,
}

impl Client for Committer {
    fn work(&mut self, wire: &mut Wire, _chance: &mut Chance) -> Answered<()> {
        loop {
            self.sent = self.acknowledged + 1;
            wire.commit_offset(BY_ITSELF, PLAIN, self.sent)?;
            self.acknowledged = self.sent;
        }
    }

    fn check(&mut self, wire: &mut Wire, _all: bool) -> Answered<()> {
        let found = wire.committed(BY_ITSELF, PLAIN)?;
        let known = self.acknowledged..=self.sent;
        assert!(known.contains(&found), "{found} is committed, {known:?} was expected");
        self.acknowledged = found;
        Ok(())
    }
}
