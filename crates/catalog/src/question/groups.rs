//! Rows put into groups of a period and dimensions: the metrics that one aggregate is, and the first or
//! last values of somebody.

use super::leaf::{Leaf, Way};
use super::moment::{Range, period_of_date};
use super::rollup::{Kept, Wanted, choose};
use super::rows::Rows;
use super::select::{Select, of};
use super::{PERIOD, Part, Question, Read};
use crate::language::Grain;
use crate::metric_sql::source_name;

/// A column of groups: computed over rows, or over what a rollup keeps.
pub(super) struct Computed {
    pub(super) name: String,
    pub(super) of_rows: String,
    pub(super) of_rollup: String,
}

/// The groups of `wanted`, whose periods go by the name `period`; with the table that is read, and why.
pub(super) fn groups(
    rows: &Rows<'_>,
    wanted: &Wanted<'_>,
    period: &str,
    columns: &[Computed],
) -> (Select, Read) {
    let read = |table: &str, because: String, rollup: bool| Read {
        table: table.to_owned(),
        rollup,
        metrics: Vec::new(),
        because,
    };
    match choose(rows, wanted) {
        Ok((kept, because)) => {
            let mut select = of_rollup(rows, wanted, period, kept);
            for column in columns {
                select.column(&column.name, column.of_rollup.as_str());
            }
            (select, read(kept.name, because, true))
        }
        Err(because) => {
            let mut select = of_rows(rows, wanted.question, (period, wanted.grain), wanted.range);
            for column in columns {
                select.column(&column.name, column.of_rows.as_str());
            }
            (select, read(&rows.table, because, false))
        }
    }
}

fn of_rollup(rows: &Rows<'_>, wanted: &Wanted<'_>, period: &str, kept: Kept<'_>) -> Select {
    let (question, own) = (wanted.question, kept.rollup.grain);
    let mut select = Select::from(format!("{} AS source", rows.place(kept.name)));
    let time = source_name(PERIOD);
    select.filter.extend(wanted.range.conditions(&time, &|moment| moment.sql_period(own)));
    select.filter.extend(rows.condition(question, &source_name));
    match wanted.grain {
        Some(grain) if grain == own => drop(select.key(period, time)),
        Some(grain) if own == Grain::Hour => drop(select.key(period, super::moment::period(grain, &time))),
        // A rollup's days, weeks and months are dates.
        Some(grain) => drop(select.key(period, period_of_date(grain, &time))),
        None => {}
    }
    for by in &question.by {
        select.key(&question.key_name(&by.value), format!("toString({})", source_name(&by.value)));
    }
    select
}

fn of_rows(
    rows: &Rows<'_>,
    question: &Question,
    (period, grain): (&str, Option<Grain>),
    range: Range,
) -> Select {
    let (mut select, dims) = rows.asked(question, range);
    if let Some(grain) = grain {
        select.key(period, Rows::period(grain));
    }
    for (name, sql) in dims {
        select.key(&name, sql);
    }
    select
}

/// Metrics over the same rows, each of which one aggregate is.
pub(super) fn aggregated(question: &Question, leaves: &[&Leaf<'_>]) -> Option<Part> {
    let rows = &leaves.first()?.rows;
    let wanted = Wanted {
        question,
        grain: question.grain,
        range: question.range,
        metrics: leaves.iter().map(|leaf| leaf.kept_as.clone()).collect(),
    };
    let columns = leaves.iter().filter_map(|leaf| match &leaf.way {
        Way::Aggregate(aggregate) => Some(Computed {
            name: leaf.name.clone(),
            of_rows: aggregate.raw.clone(),
            of_rollup: aggregate.merged(&source_name(leaf.kept_as.as_deref().unwrap_or(&leaf.name))),
        }),
        Way::Each { .. } | Way::Reaching { .. } | Way::Conversion => None,
    });
    let columns: Vec<Computed> = columns.collect();
    let (select, read) = groups(rows, &wanted, PERIOD, &columns);
    Some(Part { leaves: leaves.iter().map(|leaf| leaf.name.clone()).collect(), sql: select.sql(), read })
}

/// The first or last value of each `per`, summed.
pub(super) fn each(question: &Question, leaf: &Leaf<'_>) -> Option<Part> {
    let Way::Each { value, filter, last } = &leaf.way else { return None };
    let rows = &leaf.rows;
    let keys = &leaf.metric.0;
    let per = &keys.per.as_ref()?.value;
    let by = keys.by.as_ref().map_or("ts", |by| by.value.as_str());
    let (mut inner, dims) = rows.asked(question, question.range);
    inner.filter.extend(filter.clone());
    for name in [per.as_str(), by].into_iter().filter(|name| rows.nullable(name)) {
        inner.filter.push(format!("isNotNull({})", source_name(name)));
    }
    let mut outer_keys: Vec<String> = Vec::new();
    if let Some(grain) = question.grain {
        inner.key(PERIOD, Rows::period(grain));
        outer_keys.push(PERIOD.to_owned());
    }
    for (name, sql) in dims {
        inner.key(&name, sql);
        outer_keys.push(name);
    }
    let function = if *last { "argMax" } else { "argMin" };
    inner.key("_who", source_name(per));
    // Of two values of the same time it is always the same one that counts.
    inner.column(
        "_value",
        format!("{function}({value}, tuple({}, {}))", source_name(by), source_name("event_id")),
    );
    let mut outer = Select::over(&inner.sql(), "each");
    for key in &outer_keys {
        outer.key(key, of("each", key));
    }
    outer.column(&leaf.name, format!("sum({})", of("each", "_value")));
    let word = if *last { "last" } else { "first" };
    let read = Read {
        table: rows.table.clone(),
        rollup: false,
        metrics: Vec::new(),
        because: format!("the {word} value of each `{per}` cannot be kept summed up"),
    };
    Some(Part { leaves: vec![leaf.name.clone()], sql: outer.sql(), read })
}
