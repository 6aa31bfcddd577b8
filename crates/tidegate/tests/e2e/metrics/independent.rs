//! Metrics counted by hand: rows in memory, loops, no SQL. What is counted is said in the same words as in
//! docs/catalog.md; how, has nothing in common with the product.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::DateTime;
use jiff::{SignedDuration, ToSpan};

const EPOCH: DateTime = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
const HOUR: i64 = 3_600_000;
/// In milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// A row of a fact.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Milliseconds since 1970.
    pub at: i64,
    pub id: u64,
    pub event: &'static str,
    pub who: Option<String>,
    pub dims: BTreeMap<&'static str, String>,
    /// What is absent is not in it.
    pub numbers: BTreeMap<&'static str, f64>,
}

/// Whether a filter lets a row through.
pub type Lets = fn(&Row) -> bool;
/// A metric of a group of rows.
pub type Count = fn(&[&Row]) -> Option<f64>;
/// Where the window of a period begins, given the period's first and last millisecond.
pub type Begin = fn(i64, i64) -> i64;
/// Period and dimensions of a group, then whatever its rows are told apart by.
pub type Key = Vec<String>;
pub type Groups<T> = BTreeMap<Key, T>;

/// A question, in both languages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    pub by: &'a [&'static str],
    pub grain: Option<&'a str>,
    pub filter: Option<(&'a str, Lets)>,
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
}

pub fn millis(text: &str) -> i64 {
    let time: DateTime = text.trim_end_matches('Z').parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    i64::try_from(time.duration_since(EPOCH).as_millis()).unwrap()
}

pub fn civil(at: i64) -> DateTime {
    EPOCH + SignedDuration::from_millis(at)
}

/// The beginning of a period.
pub fn start(at: i64, grain: &str) -> i64 {
    match grain {
        "hour" => at - at.rem_euclid(HOUR),
        "day" => at - at.rem_euclid(DAY),
        // 1970 began with a Thursday.
        "week" => at - (at + 3 * DAY).rem_euclid(7 * DAY),
        "month" => millis(&civil(at).date().first_of_month().to_string()),
        other => panic!("{other}"),
    }
}

pub fn next(at: i64, grain: &str, n: i64) -> i64 {
    let time = civil(at);
    let then = match grain {
        "hour" => time + n.hours(),
        "day" => time + n.days(),
        "week" => time + n.weeks(),
        "month" => time + n.months(),
        other => panic!("{other}"),
    };
    millis(&then.to_string())
}

/// A period as ClickHouse writes it.
pub fn written(at: i64, grain: &str) -> String {
    let time = civil(at);
    if grain == "hour" {
        format!("{} {:02}:00:00", time.date(), time.hour())
    } else {
        time.date().to_string()
    }
}

impl Ask<'_> {
    fn dims(&self, row: &Row) -> Key {
        self.by.iter().map(|name| row.dims.get(name).cloned().unwrap_or_default()).collect()
    }

    fn key(&self, row: &Row) -> Key {
        let period = self.grain.map(|grain| written(start(row.at, grain), grain));
        period.into_iter().chain(self.dims(row)).collect()
    }

    fn lets(&self, row: &Row) -> bool {
        self.filter.is_none_or(|(_, lets)| lets(row))
    }

    /// The rows that count, in groups.
    pub fn groups<'r>(&self, rows: &'r [Row]) -> Groups<Vec<&'r Row>> {
        let (from, to) = self.range();
        let mut groups: Groups<Vec<&Row>> = BTreeMap::new();
        let mut periods: HashMap<i64, Groups<Vec<&Row>>> = HashMap::new();
        for row in rows.iter().filter(|row| (from..to).contains(&row.at) && self.lets(row)) {
            let period = self.grain.map_or(0, |grain| start(row.at, grain));
            periods.entry(period).or_default().entry(self.dims(row)).or_default().push(row);
        }
        for (period, by_dims) in periods {
            for (dims, rows) in by_dims {
                let period = self.grain.map(|grain| written(period, grain));
                groups.insert(period.into_iter().chain(dims).collect(), rows);
            }
        }
        groups
    }

    fn range(&self) -> (i64, i64) {
        (self.from.map_or(i64::MIN, millis), self.to.map_or(i64::MAX, millis))
    }

    /// A metric of the rows of the window that ends with each period.
    pub fn cumulative(&self, rows: &[Row], begin: Begin, count: Count) -> Groups<Option<f64>> {
        let grain = self.grain.unwrap();
        let end = self.to.map_or(i64::MAX, millis);
        let mut rows: Vec<&Row> = rows.iter().filter(|row| row.at < end && self.lets(row)).collect();
        rows.sort_by_key(|row| row.at);
        let times = || rows.iter().map(|row| row.at);
        let mut period = start(self.from.map_or_else(|| times().min().unwrap(), millis), grain);
        let last = if self.to.is_some() { end - 1 } else { times().max().unwrap() };
        let mut answer = BTreeMap::new();
        while period <= last {
            let after = next(period, grain, 1);
            let low = begin(period, after - 1);
            let mut groups: Groups<Vec<&Row>> = BTreeMap::new();
            let (first, end) =
                (rows.partition_point(|row| row.at < low), rows.partition_point(|row| row.at < after));
            for row in &rows[first..end] {
                groups.entry(self.dims(row)).or_default().push(row);
            }
            for (dims, rows) in groups {
                let key = [written(period, grain)].into_iter().chain(dims).collect();
                answer.insert(key, count(&rows));
            }
            period = after;
        }
        answer
    }

    /// In each group how many came to each of the steps. Every way through is tried.
    pub fn journeys(&self, rows: &[Row], steps: &[&str], within: i64, strict: bool) -> Groups<Vec<u64>> {
        let mut of_somebody: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in rows {
            if let Some(who) = &row.who {
                of_somebody.entry(who).or_default().push(row);
            }
        }
        let (from, to) = self.range();
        let mut levels: Groups<Vec<u64>> = BTreeMap::new();
        for rows in of_somebody.values() {
            let mut best: Groups<usize> = BTreeMap::new();
            let firsts = rows.iter().filter(|row| row.event == steps[0]);
            for first in firsts.filter(|row| (from..to).contains(&row.at) && self.lets(row)) {
                let level = farthest(rows, (first, first), steps, within, strict);
                let known = best.entry(self.key(first)).or_default();
                *known = level.max(*known);
            }
            for (key, level) in best {
                let counts = levels.entry(key).or_insert_with(|| vec![0; steps.len()]);
                counts[..level].iter_mut().for_each(|count| *count += 1);
            }
        }
        levels
    }

    /// By cohort, dimensions and periods after: who came back, of how many.
    pub fn retention(
        &self,
        rows: &[Row],
        (joins, returns): (&str, &str),
        (period, n_periods): (&str, i64),
    ) -> Groups<(u64, u64)> {
        let mut first: HashMap<&str, &Row> = HashMap::new();
        let mut seen: HashMap<&str, BTreeSet<i64>> = HashMap::new();
        for row in rows {
            let Some(who) = row.who.as_deref() else { continue };
            if row.event == joins {
                let known = first.entry(who).or_insert(row);
                if (row.at, row.id) < (known.at, known.id) {
                    *known = row;
                }
            }
            if row.event == returns {
                seen.entry(who).or_default().insert(start(row.at, period));
            }
        }
        let last = rows.iter().map(|row| start(row.at, period)).max().unwrap();
        let (from, to) = self.range();
        let mut answer: Groups<(u64, u64)> = BTreeMap::new();
        for (who, joined) in first {
            if !(from..to).contains(&joined.at) || !self.lets(joined) {
                continue;
            }
            let cohort = start(joined.at, period);
            for after in 0..=n_periods {
                let then = next(cohort, period, after);
                if then > last {
                    break;
                }
                let mut key = self.key(joined);
                // As wide as numbers are: the order of texts is that of numbers.
                key.push(format!("{after:03}"));
                let (back, of) = answer.entry(key).or_default();
                let came = after == 0 || seen.get(who).is_some_and(|seen| seen.contains(&then));
                *back += u64::from(came);
                *of += 1;
            }
        }
        answer
    }
}

/// A metric of each group.
pub fn counted(groups: &Groups<Vec<&Row>>, count: Count) -> Groups<Option<f64>> {
    groups.iter().map(|(key, rows)| (key.clone(), count(rows))).collect()
}

/// How many steps somebody came from `at`, trying every row of the next step that is in time.
fn farthest(rows: &[&Row], (first, at): (&Row, &Row), steps: &[&str], within: i64, strict: bool) -> usize {
    let [own, rest @ ..] = steps else { return 0 };
    let Some(step) = rest.first() else { return 1 };
    let later = strict || own == step;
    let on = rows.iter().filter(|row| row.event == *step && row.at - first.at <= within);
    let on = on.filter(|row| if later { row.at > at.at } else { row.at >= at.at });
    // Of several rows the soonest leaves open all that the others do.
    let soonest = on.min_by_key(|row| row.at);
    1 + soonest.map_or(0, |row| farthest(rows, (first, row), rest, within, strict))
}

/// The first or last value of each `who`, summed.
pub fn per_person(rows: &[&Row], number: &'static str, last: bool) -> f64 {
    let mut of: HashMap<&str, (i64, u64, f64)> = HashMap::new();
    for row in rows {
        let (Some(who), Some(value)) = (&row.who, row.numbers.get(number)) else { continue };
        let known = of.entry(who).or_insert((row.at, row.id, *value));
        let newer = (row.at, row.id) > (known.0, known.1);
        if newer == last {
            *known = (row.at, row.id, *value);
        }
    }
    of.values().map(|(.., value)| value).sum()
}

/// The values of a number, where it is there.
pub fn numbers(rows: &[&Row], number: &'static str) -> Vec<f64> {
    rows.iter().filter_map(|row| row.numbers.get(number).copied()).collect()
}

/// How many people.
pub fn people(rows: &[&Row]) -> f64 {
    rows.iter().filter_map(|row| row.who.as_deref()).collect::<BTreeSet<_>>().len() as f64
}

pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
