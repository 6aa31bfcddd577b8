//! Which rollup gives the same answer as the rows, and what stands against the others.

use super::moment::{Moment, Range, divides};
use super::rows::Rows;
use super::{Question, Sources};
use crate::language::{Fact, Grain, Rollup, Span, SpanUnit};

/// What is to be read: of which metrics, by which periods, from when to when.
pub(super) struct Wanted<'q> {
    pub(super) question: &'q Question,
    /// The length of the periods; `None` for one answer over all of them.
    pub(super) grain: Option<Grain>,
    pub(super) range: Range,
    /// The metrics by the names that rollups know them by; `None` for one that has no name.
    pub(super) metrics: Vec<Option<String>>,
}

/// A rollup that gives the answer.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) name: &'a str,
    pub(super) rollup: &'a Rollup,
}

/// The smallest rollup that gives the same answer, and why it does; or why rows have to be read.
pub(super) fn choose<'a>(rows: &Rows<'a>, wanted: &Wanted<'_>) -> Result<(Kept<'a>, String), String> {
    if wanted.question.sources == Sources::Rows {
        return Err("only rows were to be read".to_owned());
    }
    let mut best: Option<Kept<'a>> = None;
    let mut against: Vec<String> = Vec::new();
    for (name, rollup) in rows.catalog.file.rollups.iter() {
        let same_rows = rows.catalog.file.facts.get(&rollup.fact.value).is_some_and(|fact| {
            let table_of = |fact: &Fact| fact.event.as_ref().map(|event| event.value.clone());
            match (table_of(fact), table_of(&rows.fact)) {
                (Some(one), Some(other)) => one == other,
                (None, None) => rollup.fact.value == rows.table,
                (Some(_), None) | (None, Some(_)) => false,
            }
        });
        if !same_rows {
            continue;
        }
        match obstacle(rows, wanted, rollup) {
            Some(why) => against.push(format!("`{name}` {why}")),
            None => {
                let smaller = |other: &Kept<'_>| {
                    (other.rollup.grain as u8, rollup.dims.len())
                        < (rollup.grain as u8, other.rollup.dims.len())
                };
                if best.as_ref().is_none_or(smaller) {
                    best = Some(Kept { name, rollup });
                }
            }
        }
    }
    match best {
        Some(kept) => Ok((kept, why(rows, kept.rollup))),
        None if against.is_empty() => Err(format!("no rollup sums up rows of `{}`", rows.table)),
        None => Err(against.join("; ")),
    }
}

fn why(rows: &Rows<'_>, rollup: &Rollup) -> String {
    let dims: Vec<&str> = rollup.dims.iter().map(|dim| dim.value.as_str()).collect();
    let split = if dims.is_empty() { String::new() } else { format!(", by {}", dims.join(", ")) };
    let mut why = format!("it keeps what is asked for by {}{split}", rollup.grain);
    // Asked for what is older than the rows, the two differ: the rollup still knows.
    if let (Some(events), kept) = (rows.keep(), keep(rows, rollup))
        && kept.is_none_or(|kept| millis(kept) > millis(events))
    {
        let kept = kept.map_or_else(|| "for ever".to_owned(), |kept| kept.to_string());
        why.push_str(&format!("; its sums are kept {kept}, rows {events}"));
    }
    why
}

fn keep(rows: &Rows<'_>, rollup: &Rollup) -> Option<Span> {
    rollup.keep.or(rows.catalog.file.policies.keep_rollups)
}

/// Why the rollup does not give the answer.
fn obstacle(rows: &Rows<'_>, wanted: &Wanted<'_>, rollup: &Rollup) -> Option<String> {
    let keeps = |name: &String| rollup.metrics.iter().any(|kept| kept.value == *name);
    for metric in &wanted.metrics {
        match metric {
            None => return Some("cannot keep a metric that is told inside of another".to_owned()),
            Some(name) if !keeps(name) => return Some(format!("does not keep `{name}`")),
            Some(_) => {}
        }
    }
    let has = |name: &str| rollup.dims.iter().any(|dim| dim.value == name);
    if let Some(name) = wanted.question.dimensions().into_iter().find(|name| !has(name)) {
        return Some(format!("is not split by `{name}`"));
    }
    if let Some(grain) = wanted.grain.filter(|grain| !divides(rollup.grain, *grain)) {
        return Some(format!("is by {}, not by {grain}", rollup.grain));
    }
    let inside = |moment: Option<Moment>| moment.is_some_and(|moment| !moment.begins(rollup.grain));
    if inside(wanted.range.from) || inside(wanted.range.to) {
        return Some(format!("is by {}, and the time asked for ends inside of one", rollup.grain));
    }
    match (keep(rows, rollup), rows.keep()) {
        (Some(kept), None) => Some(format!("forgets after {kept}, rows stay")),
        (Some(kept), Some(of_rows)) if millis(kept) < millis(of_rows) => {
            Some(format!("forgets after {kept}, rows after {of_rows}"))
        }
        (_, _) => None,
    }
}

/// About how long: a month is a twelfth of a year.
fn millis(span: Span) -> u64 {
    const MONTH: u64 = 2_629_746_000;
    let months = match span.unit {
        SpanUnit::Month => 1,
        SpanUnit::Year => 12,
        SpanUnit::Second | SpanUnit::Minute | SpanUnit::Hour | SpanUnit::Day | SpanUnit::Week => 0,
    };
    span.millis().unwrap_or(u64::from(span.count) * months * MONTH)
}
