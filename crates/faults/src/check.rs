//! The checker: what was published against what the tables and the dead-letter topic hold. It uses nothing of the
//! sink, and takes the topic's own offsets from the producer's acknowledgements.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::ledger::{Answer, Fate, Published};

/// How the promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Breach {
    /// In neither place.
    Lost,
    /// A row twice, or a dead letter twice.
    Twice,
    /// A row and a dead letter.
    InBoth,
    /// A row stands behind one of a later record of its partition, or a dead letter does.
    OutOfOrder,
    /// A row that should be a dead letter, or the other way round.
    WrongPlace,
    /// Not the bytes that were published, or not their offset.
    Altered,
    /// Nobody published it.
    Stranger,
}

/// A row or a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) n: u64,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Where it stands: the number of the insert, or the offset among the dead letters of its partition.
    pub(crate) place: u64,
    /// Whether its content is what was published.
    pub(crate) whole: bool,
}

/// One topic's account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) published: Vec<Published>,
    pub(crate) rows: Vec<Seen>,
    pub(crate) letters: Vec<Seen>,
    /// Offsets by partition, half-open, of records that the topic lost before anybody read them.
    pub(crate) gone: Vec<(i32, i64, i64)>,
}

/// What the checker found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Acknowledged to the producer.
    pub(crate) records: usize,
    pub(crate) rows: usize,
    pub(crate) letters: usize,
    /// Records that the topic itself lost.
    pub(crate) gone: usize,
    /// Each breach with what broke it, in words.
    pub(crate) breaches: BTreeMap<Breach, Vec<String>>,
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        self.breaches.is_empty()
    }

    fn breach(&mut self, breach: Breach, what: String) {
        self.breaches.entry(breach).or_default().push(what);
    }
}

/// Compares.
pub(crate) fn check(account: &Account, fate: impl Fn(u64) -> Fate) -> Verdict {
    let mut verdict =
        Verdict { rows: account.rows.len(), letters: account.letters.len(), ..Verdict::default() };
    let published: HashMap<u64, &Published> = account.published.iter().map(|sent| (sent.n, sent)).collect();
    let rows = each_once("row", &account.rows, &published, &mut verdict);
    let letters = each_once("dead letter", &account.letters, &published, &mut verdict);
    for sent in &account.published {
        let found = (rows.contains_key(&sent.n), letters.contains_key(&sent.n));
        let name = name(sent);
        verdict.records += usize::from(sent.answer != Answer::Nothing);
        match (found, sent.answer, fate(sent.n)) {
            ((true, true), ..) => verdict.breach(Breach::InBoth, name),
            ((true, false), _, Fate::Letter) => {
                verdict.breach(Breach::WrongPlace, format!("{name} is a row"));
            }
            ((false, true), _, Fate::Row) => {
                verdict.breach(Breach::WrongPlace, format!("{name} is a dead letter"));
            }
            ((false, false), Answer::Somewhere | Answer::At(_), _) => {
                // Of whom it is not known where it was, it may have been among those that are gone.
                let gone = |&(partition, first, end): &(i32, i64, i64)| {
                    let elsewhere = matches!(sent.answer, Answer::At(at) if !(first..end).contains(&at));
                    partition == sent.partition && !elsewhere
                };
                if account.gone.iter().any(gone) {
                    verdict.gone += 1;
                } else {
                    verdict.breach(Breach::Lost, name);
                }
            }
            ((true, false), _, Fate::Row)
            | ((false, true), _, Fate::Letter)
            | ((false, false), Answer::Nothing, _) => {}
        }
    }
    in_order("row", &account.rows, |earlier, later| earlier <= later, &mut verdict);
    in_order("dead letter", &account.letters, |earlier, later| earlier < later, &mut verdict);
    verdict
}

fn name(sent: &Published) -> String {
    match sent.answer {
        Answer::At(offset) => format!("record {} at {}:{offset}", sent.n, sent.partition),
        Answer::Somewhere => format!("record {} of partition {}", sent.n, sent.partition),
        Answer::Nothing => format!("record {} of partition {}, not acknowledged", sent.n, sent.partition),
    }
}

fn each_once<'a>(
    what: &str,
    all: &'a [Seen],
    published: &HashMap<u64, &Published>,
    verdict: &mut Verdict,
) -> HashMap<u64, &'a Seen> {
    let mut once = HashMap::new();
    for seen in all {
        let name = format!("{what} of record {} at {}:{}", seen.n, seen.partition, seen.offset);
        if let Some(earlier) = once.insert(seen.n, seen) {
            verdict.breach(Breach::Twice, format!("{name}: at {} and at {}", earlier.place, seen.place));
        }
        let Some(sent) = published.get(&seen.n) else {
            verdict.breach(Breach::Stranger, name);
            continue;
        };
        let elsewhere = matches!(sent.answer, Answer::At(at) if at != seen.offset);
        let there = sent.partition == seen.partition && !elsewhere;
        if !there || !seen.whole {
            verdict.breach(Breach::Altered, name);
        }
    }
    once
}

/// Whether places grow with offsets, partition by partition.
fn in_order(what: &str, all: &[Seen], grows: impl Fn(u64, u64) -> bool, verdict: &mut Verdict) {
    let mut sorted: Vec<&Seen> = all.iter().collect();
    sorted.sort_by_key(|seen| (seen.partition, seen.offset));
    for pair in sorted.windows(2) {
        let (earlier, later) = (pair[0], pair[1]);
        // The same record twice is told as that.
        let comparable = earlier.partition == later.partition && earlier.offset < later.offset;
        if comparable && !grows(earlier.place, later.place) {
            let (partition, first, second) = (later.partition, earlier.offset, later.offset);
            let text = format!(
                "{what} of {partition}:{second} at {} before that of {first} at {}",
                later.place, earlier.place
            );
            verdict.breach(Breach::OutOfOrder, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POISON: u64 = 3;

    fn fate(n: u64) -> Fate {
        if n % 10 == POISON { Fate::Letter } else { Fate::Row }
    }

    fn seen(n: u64, place: u64) -> Seen {
        Seen { n, partition: 0, offset: n.cast_signed(), place, whole: true }
    }

    /// Twenty records of which two are dead letters, all in place; rows were inserted five at a time.
    fn well() -> Account {
        let answer = |n: u64| Answer::At(n.cast_signed());
        let published = (0..20).map(|n| Published { n, partition: 0, answer: answer(n) }).collect();
        let rows = (0..20).filter(|n| fate(*n) == Fate::Row).map(|n| seen(n, n / 5)).collect();
        Account { published, rows, letters: vec![seen(3, 0), seen(13, 1)], gone: Vec::new() }
    }

    /// The breaches of an account after something was done to it.
    #[track_caller]
    fn finds(plant: impl FnOnce(&mut Account), expected: &[Breach]) {
        let mut account = well();
        plant(&mut account);
        let verdict = check(&account, fate);
        assert_eq!(verdict.breaches.keys().copied().collect::<Vec<_>>(), expected, "{verdict:?}");
    }

    #[test]
    fn an_account_that_is_right_holds() {
        let verdict = check(&well(), fate);
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.records, verdict.rows, verdict.letters, verdict.gone), (20, 18, 2, 0));
    }

    #[test]
    fn a_lost_row_and_a_lost_dead_letter_are_found() {
        finds(|account| account.rows.retain(|row| row.n != 8), &[Breach::Lost]);
        finds(|account| account.letters.truncate(1), &[Breach::Lost]);
    }

    #[test]
    fn a_row_twice_and_a_dead_letter_twice_are_found() {
        finds(|account| account.rows.push(seen(19, 9)), &[Breach::Twice]);
        finds(|account| account.letters.push(seen(13, 9)), &[Breach::Twice]);
    }

    #[test]
    fn a_record_in_both_places_is_found() {
        finds(|account| account.letters.push(seen(19, 9)), &[Breach::InBoth]);
        finds(|account| account.rows.push(seen(13, 2)), &[Breach::InBoth]);
    }

    #[test]
    fn a_row_or_dead_letter_out_of_order_is_found() {
        finds(|account| account.rows[2].place = 9, &[Breach::OutOfOrder]);
        finds(|account| account.letters[0].place = 9, &[Breach::OutOfOrder]);
    }

    #[test]
    fn a_record_in_the_wrong_place_is_found() {
        finds(
            |account| {
                account.rows.remove(0);
                account.letters.insert(0, seen(0, 0));
                account.letters[1].place = 1;
                account.letters[2].place = 2;
            },
            &[Breach::WrongPlace],
        );
    }

    #[test]
    fn altered_bytes_a_wrong_offset_and_a_stranger_are_found() {
        finds(|account| account.rows[0].whole = false, &[Breach::Altered]);
        finds(|account| account.letters[1].offset = 12, &[Breach::Altered]);
        finds(|account| account.rows.push(seen(99, 9)), &[Breach::Stranger]);
    }

    #[test]
    fn what_the_topic_lost_is_counted_and_what_it_did_not_lose_is_missed() {
        let lose = |account: &mut Account| account.rows.retain(|row| !(5..8).contains(&row.n));
        let mut account = well();
        lose(&mut account);
        account.gone = vec![(0, 4, 8)];
        let verdict = check(&account, fate);
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!(verdict.gone, 3);
        account.gone = vec![(1, 4, 8), (0, 4, 7)];
        assert_eq!(check(&account, fate).breaches[&Breach::Lost].len(), 1);
    }

    #[test]
    fn a_record_that_kafka_never_acknowledged_may_be_there_or_not() {
        finds(|account| account.published[19].answer = Answer::Nothing, &[]);
        finds(
            |account| {
                account.published[19].answer = Answer::Nothing;
                account.rows.pop();
            },
            &[],
        );
    }

    #[test]
    fn a_record_that_is_somewhere_is_missed_when_it_is_nowhere() {
        finds(|account| account.published[19].answer = Answer::Somewhere, &[]);
        let nowhere = |account: &mut Account| {
            account.published[19].answer = Answer::Somewhere;
            account.rows.pop();
        };
        finds(nowhere, &[Breach::Lost]);
        let mut account = well();
        nowhere(&mut account);
        account.gone = vec![(0, 0, 3)];
        assert_eq!(check(&account, fate).gone, 1);
    }
}
