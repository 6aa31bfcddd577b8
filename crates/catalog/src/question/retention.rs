//! Retention: of those who joined in a period, how many came back in each of the next ones.
//!
//! Somebody joins once, with the first row of the cohort's event, whatever time is asked for; period and
//! dimensions are that row's. Periods that begin after the last row are not told: nobody can have come yet.

use super::moment::{Moment, period, unit_name};
use super::rows::Rows;
use super::select::{Select, of};
use super::{AFTER, Column, PERIOD, Question, Read, Role, WHOLE};
use crate::language::Metric;
use crate::metric_sql::source_name;

pub(super) fn retention(
    question: &Question,
    (name, metric): (&str, &Metric),
    rows: &Rows<'_>,
) -> Option<(String, Vec<Column>, Read)> {
    let keys = &metric.0;
    let (grain, n_periods) = (keys.period?, keys.periods.as_ref()?.value);
    let by = keys.by.as_ref()?.value.as_str();
    let is = |event: &str| rows.is_event(event).unwrap_or_else(|| "true".to_owned());
    let (joins, returns) = (is(&keys.cohort.as_ref()?.value), is(&keys.returns.as_ref()?.value));
    let time = source_name("ts");
    let own_period = period(grain, &time);

    // Everybody: when and as what they joined, and the periods in which they came.
    let mut people = rows.bare();
    let values = rows.joined(question, &mut people);
    people.filter.extend(rows.nullable(by).then(|| format!("isNotNull({})", source_name(by))));
    people.key("_who", source_name(by));
    let joined: Vec<&str> = [time.as_str(), own_period.as_str()]
        .into_iter()
        .chain(values.iter().map(|(_, sql)| sql.as_str()))
        .collect();
    let first = format!("tuple({time}, {})", source_name("event_id"));
    people.column("_joined", format!("argMinIf(tuple({}), {first}, {joins})", joined.join(", ")));
    people.column("_joins", format!("countIf({joins})"));
    people.column("_seen", format!("groupUniqArrayIf({own_period}, {returns})"));

    let element = |index: usize| format!("tupleElement({}, {index})", of("people", "_joined"));
    let text = |dimension: &str| {
        values
            .iter()
            .position(|(known, _)| known == dimension)
            .map_or_else(String::new, |index| element(index + 3))
    };
    let cohort = element(2);
    let then = format!("add{}({cohort}, `_after`)", unit_name(grain));
    let mut select = Select::over(&people.sql(), "people");
    select.from.push_str(&format!("\nARRAY JOIN range({}) AS `_after`", n_periods + 1));
    select.filter.push(format!("{} > 0", of("people", "_joins")));
    select.filter.extend(question.range.conditions(&element(1), &Moment::sql_time));
    select.filter.extend(rows.condition(question, &text));
    let mut last = rows.bare();
    last.column("last", format!("max({own_period})"));
    select.filter.push(format!("{then} <= {}", super::select::bracketed(&last.sql())));
    if question.grain.is_some() {
        select.key(PERIOD, cohort.as_str());
    }
    for dim in &question.by {
        select.key(&question.key_name(&dim.value), text(&dim.value));
    }
    select.key(AFTER, "`_after`");
    select.column(name, format!("countIf(`_after` = 0 OR has({}, {then}))", of("people", "_seen")));
    select.column(WHOLE, "count()");

    let mut columns = question.key_columns();
    columns.push(Column::plain(AFTER, Role::After));
    columns.push(Column::of_metric(name, metric, false));
    columns.push(Column::plain(WHOLE, Role::Whole));
    let read = Read {
        table: rows.table.clone(),
        rollup: false,
        metrics: Vec::new(),
        because: format!("each `{by}` is followed from row to row, which no sum tells"),
    };
    Some((select.sql(), columns, read))
}
