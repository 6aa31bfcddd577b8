//! Accounts for every offset of a range by what Kafka and ClickHouse hold. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_core::{OffsetRange, OffsetSet};

/// What became of an offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// A row.
    Row {
        /// Its table.
        table: String,
    },
    /// A dead letter.
    DeadLetter {
        /// Its reason code.
        reason: String,
    },
    /// Dropped by a rule of the configuration.
    Dropped {
        /// The rule, as it stands in the file.
        rule: &'static str,
    },
    /// Not a record: the end of a transaction, or one that compaction removed.
    NoRecord,
    /// Not there yet: the group has not come so far.
    Waiting,
    /// The group has passed it, and some tables do not say which records they hold.
    Untraceable,
    /// In several places, or several times in one.
    Twice {
        /// The tables and reason codes, each as often as it is there.
        places: Vec<String>,
    },
    /// The group has passed it, and it is nowhere: skipped, deleted since, or lost.
    Nowhere,
}

/// Offsets that follow each other and have the same fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The first offset.
    pub first: i64,
    /// One past the last offset.
    pub end: i64,
    /// What became of them.
    #[serde(flatten)]
    pub fate: Fate,
}

/// Where records were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which offsets.
    pub range: OffsetRange,
    /// How often each is there.
    pub times: usize,
    /// A row or a dead letter.
    pub fate: Fate,
}

/// What is known about a partition's records.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the group has passed; 0 if it has committed nothing.
    pub committed: i64,
    /// Rows and dead letters.
    pub claims: Vec<Claim>,
    /// Offsets with a record without a value, under `tombstones: skip`.
    pub dropped: OffsetSet,
    /// Offsets without a record.
    pub no_record: OffsetSet,
    /// Whether some table does not say which records it holds.
    pub untraceable: bool,
}

/// The offsets of `range` that the group has passed and that no claim names: those that the topic itself has to be
/// asked about.
#[must_use]
pub fn gaps(range: OffsetRange, evidence: &Evidence) -> OffsetSet {
    let gap = |entry: Entry| match entry.fate {
        Fate::Nowhere | Fate::Untraceable => OffsetRange::new(entry.first, entry.end),
        Fate::Row { .. }
        | Fate::DeadLetter { .. }
        | Fate::Dropped { .. }
        | Fate::NoRecord
        | Fate::Waiting
        | Fate::Twice { .. } => None,
    };
    account(range, evidence).into_iter().filter_map(gap).collect()
}

/// Every offset of the range, once, in order.
#[must_use]
pub fn account(range: OffsetRange, evidence: &Evidence) -> Vec<Entry> {
    // Fates change only where a claim, a set or the committed offset begins or ends.
    let sets = evidence.dropped.runs().iter().chain(evidence.no_record.runs());
    let ranges = evidence.claims.iter().map(|claim| &claim.range).chain(sets);
    let mut bounds: Vec<i64> = ranges.flat_map(|range| [range.first(), range.end()]).collect();
    bounds.extend([range.first(), range.end(), evidence.committed]);
    bounds.retain(|bound| (range.first()..=range.end()).contains(bound));
    bounds.sort_unstable();
    bounds.dedup();
    let mut claims: Vec<&Claim> = evidence.claims.iter().collect();
    claims.sort_by_key(|claim| claim.range.first());
    let mut claims = claims.into_iter().peekable();
    let mut open: Vec<&Claim> = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for bound in bounds.windows(2) {
        let (first, end) = (bound[0], bound[1]);
        open.retain(|claim| claim.range.end() > first);
        while let Some(claim) = claims.next_if(|claim| claim.range.first() <= first) {
            if claim.range.end() > first {
                open.push(claim);
            }
        }
        let fate = fate(first, &open, evidence);
        match entries.last_mut().filter(|last| last.fate == fate) {
            Some(last) => last.end = end,
            None => entries.push(Entry { first, end, fate }),
        }
    }
    entries
}

fn fate(offset: i64, open: &[&Claim], evidence: &Evidence) -> Fate {
    match open {
        [] if evidence.dropped.contains(offset) => Fate::Dropped { rule: TOMBSTONES },
        [] if evidence.no_record.contains(offset) => Fate::NoRecord,
        [] if offset >= evidence.committed => Fate::Waiting,
        [] if evidence.untraceable => Fate::Untraceable,
        [] => Fate::Nowhere,
        [Claim { times: 1, fate, .. }] => fate.clone(),
        several => {
            let place = |claim: &&Claim| vec![place(&claim.fate).to_owned(); claim.times];
            let mut places: Vec<String> = several.iter().flat_map(place).collect();
            places.sort();
            Fate::Twice { places }
        }
    }
}

const TOMBSTONES: &str = "tombstones: skip";

fn place(fate: &Fate) -> &str {
    match fate {
        Fate::Row { table } => table,
        Fate::DeadLetter { reason } => reason,
        Fate::Dropped { rule } => rule,
        Fate::NoRecord | Fate::Waiting | Fate::Untraceable | Fate::Twice { .. } | Fate::Nowhere => "",
    }
}

/// How many offsets have which fate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    /// Dead letters, by reason code.
    pub dead_letters: BTreeMap<String, u64>,
    /// Dropped records, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Offsets without a record.
    pub no_record: u64,
    /// Not there yet.
    pub waiting: u64,
    /// Passed, and nobody can say where.
    pub untraceable: u64,
    /// In several places.
    pub twice: u64,
    /// Passed, and nowhere.
    pub nowhere: u64,
}

impl Counts {
    /// Counts those parts of the entries that are in `range`.
    #[must_use]
    pub fn of(entries: &[Entry], range: OffsetRange) -> Self {
        let mut counts = Self::default();
        for Entry { first, end, fate } in entries {
            let (first, end) = (*first.max(&range.first()), *end.min(&range.end()));
            if first >= end {
                continue;
            }
            let n = end.abs_diff(first);
            match fate {
                Fate::Row { table } => *counts.rows.entry(table.clone()).or_default() += n,
                Fate::DeadLetter { reason } => {
                    *counts.dead_letters.entry(reason.clone()).or_default() += n;
                }
                Fate::Dropped { rule } => *counts.dropped.entry((*rule).to_owned()).or_default() += n,
                Fate::NoRecord => counts.no_record += n,
                Fate::Waiting => counts.waiting += n,
                Fate::Untraceable => counts.untraceable += n,
                Fate::Twice { .. } => counts.twice += n,
                Fate::Nowhere => counts.nowhere += n,
            }
        }
        counts
    }

    /// Takes other counts in.
    pub fn add(&mut self, other: &Self) {
        let maps = [
            (&mut self.rows, &other.rows),
            (&mut self.dead_letters, &other.dead_letters),
            (&mut self.dropped, &other.dropped),
        ];
        for (own, others) in maps {
            for (name, n) in others {
                *own.entry(name.clone()).or_default() += n;
            }
        }
        self.no_record += other.no_record;
        self.waiting += other.waiting;
        self.untraceable += other.untraceable;
        self.twice += other.twice;
        self.nowhere += other.nowhere;
    }

    /// Rows of all tables.
    #[must_use]
    pub fn all_rows(&self) -> u64 {
        self.rows.values().sum()
    }

    /// Dead letters of all reasons.
    #[must_use]
    pub fn all_dead_letters(&self) -> u64 {
        self.dead_letters.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, end: i64) -> OffsetRange {
        OffsetRange::new(first, end).unwrap()
    }

    fn row(table: &str, first: i64, end: i64, times: usize) -> Claim {
        Claim { range: range(first, end), times, fate: Fate::Row { table: table.to_owned() } }
    }

    fn letter(offset: i64) -> Claim {
        let fate = Fate::DeadLetter { reason: "not_json".to_owned() };
        Claim { range: range(offset, offset + 1), times: 1, fate }
    }

    /// The account in short: `first-end what`.
    #[track_caller]
    fn check(evidence: &Evidence, expected: &[&str]) {
        let entries = account(range(0, 20), evidence);
        let short = |entry: &Entry| {
            let fate = match &entry.fate {
                Fate::NoRecord => "-".to_owned(),
                Fate::Waiting => "waiting".to_owned(),
                Fate::Untraceable => "?".to_owned(),
                Fate::Nowhere => "nowhere".to_owned(),
                Fate::Twice { places } => places.join("+"),
                other @ (Fate::Row { .. } | Fate::DeadLetter { .. } | Fate::Dropped { .. }) => {
                    place(other).to_owned()
                }
            };
            format!("{}-{} {fate}", entry.first, entry.end)
        };
        assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), expected);
        let whole: u64 = entries.iter().map(|entry| entry.end.abs_diff(entry.first)).sum();
        assert_eq!(whole, 20, "each offset once");
    }

    #[test]
    fn every_offset_has_one_fate() {
        let evidence = Evidence {
            committed: 15,
            claims: vec![
                row("a", 0, 4, 1),
                row("b", 4, 6, 1),
                letter(6),
                row("a", 7, 9, 1),
                row("a", 17, 18, 1),
            ],
            dropped: [9].into_iter().collect(),
            no_record: [10, 11].into_iter().collect(),
            untraceable: false,
        };
        check(
            &evidence,
            &[
                "0-4 a",
                "4-6 b",
                "6-7 not_json",
                "7-9 a",
                "9-10 tombstones: skip",
                "10-12 -",
                "12-15 nowhere",
                "15-17 waiting",
                "17-18 a",
                "18-20 waiting",
            ],
        );
        assert_eq!(gaps(range(0, 20), &evidence).runs(), [range(12, 15)]);
        let counts = Counts::of(&account(range(0, 20), &evidence), range(3, 14));
        assert_eq!(counts.rows, BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]));
        assert_eq!((counts.all_dead_letters(), counts.no_record, counts.nowhere), (1, 2, 2));
    }

    #[test]
    fn what_is_in_several_places_is_said_to_be() {
        let claims = vec![row("a", 0, 10, 1), row("a", 5, 6, 1), letter(3), row("b", 12, 20, 2)];
        let evidence = Evidence { committed: 20, claims, ..Evidence::default() };
        check(
            &evidence,
            &["0-3 a", "3-4 a+not_json", "4-5 a", "5-6 a+a", "6-10 a", "10-12 nowhere", "12-20 b+b"],
        );
    }

    #[test]
    fn where_a_table_does_not_tell_nothing_is_called_lost() {
        let evidence = Evidence { committed: 12, untraceable: true, ..Evidence::default() };
        check(&evidence, &["0-12 ?", "12-20 waiting"]);
    }

    #[test]
    fn nothing_known_is_all_waiting() {
        check(&Evidence::default(), &["0-20 waiting"]);
    }
}
