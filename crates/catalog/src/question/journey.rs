//! Funnels and conversions: everybody is followed from each first step to the next ones.
//!
//! From every row of the first step the soonest row of the second one is looked for, from there the soonest of
//! the third, and so on; a step that comes too long after the first one does not count. Who goes through
//! several times has come as far as the best time. A journey belongs to the period and the dimensions of its
//! first row: so a filter gives the row that the same split gives.

use super::leaf::Leaf;
use super::moment::Range;
use super::rows::Rows;
use super::select::{Select, of};
use super::{Column, PERIOD, Part, Question, Read, Role, STEP, STEP_EVENT, WHOLE};
use crate::expression::sql_text;
use crate::language::{Metric, StepOrder};
use crate::metric_sql::source_name;

/// A way through events.
struct Journey<'q, 'r, 'a> {
    question: &'q Question,
    rows: &'r Rows<'a>,
    steps: Vec<&'r str>,
    /// How long after the first step the last one may come, in milliseconds.
    within: u64,
    /// Whether a step must be later than the one before it, not only not earlier.
    strict: bool,
    /// The column that says who somebody is.
    by: &'r str,
}

impl Journey<'_, '_, '_> {
    fn who(&self) -> String {
        let column = source_name(self.by);
        if self.rows.nullable(self.by) { format!("assumeNotNull({column})") } else { column }
    }

    fn conditions(&self, step: &str) -> impl Iterator<Item = String> {
        let there = self.rows.nullable(self.by).then(|| format!("isNotNull({})", source_name(self.by)));
        self.rows.is_event(step).into_iter().chain(there)
    }

    /// The names of the columns that journeys are told apart by.
    fn keys(&self) -> Vec<String> {
        let period = self.question.grain.map(|_| PERIOD.to_owned());
        let dims = self.question.by.iter().map(|by| self.question.key_name(&by.value));
        period.into_iter().chain(dims).collect()
    }

    /// Every journey with how many steps it has.
    fn journeys(&self) -> String {
        let (mut first, dims) = self.rows.asked(self.question, self.question.range);
        first.filter.extend(self.conditions(self.steps.first().copied().unwrap_or_default()));
        if let Some(grain) = self.question.grain {
            first.column(PERIOD, Rows::period(grain));
        }
        for (name, sql) in &dims {
            first.column(name, sql.as_str());
        }
        let time = source_name("ts");
        first.column("_who", self.who()).column("_begin", time.as_str()).column("_at", time);
        first.column("_level", "1");
        let mut journeys = first.sql();
        for (index, pair) in self.steps.windows(2).enumerate() {
            // One row is not two steps, though it is not earlier than itself.
            let later = self.strict || pair[0] == pair[1];
            journeys = self.with_step(&journeys, (index + 1, pair[1]), later);
        }
        journeys
    }

    /// The journeys with one more step, which comes after `n_before` others.
    fn with_step(&self, journeys: &str, (n_before, step): (usize, &str), later: bool) -> String {
        let mut next = self.rows.bare();
        let Range { from, to } = self.question.range;
        let range = Range { from, to: to.map(|to| to.after_millis(self.within + 1)) };
        next.filter.extend(range.conditions(&source_name("ts"), &super::moment::Moment::sql_time));
        next.filter.extend(self.conditions(step));
        next.column("_who", self.who()).column("_at", source_name("ts")).column("_found", "1");
        let mut select = Select::over(journeys, "journey");
        let sign = if later { "<" } else { "<=" };
        select.from.push_str(&format!(
            "\nASOF LEFT JOIN {} AS next ON journey.`_who` = next.`_who` AND journey.`_at` {sign} next.`_at`",
            super::select::bracketed(&next.sql()),
        ));
        let went = format!(
            "journey.`_level` = {n_before} AND next.`_found` = 1 \
             AND next.`_at` <= addMilliseconds(journey.`_begin`, {})",
            self.within
        );
        for name in self.keys().iter().map(String::as_str).chain(["_who", "_begin"]) {
            select.column(name, of("journey", name));
        }
        select.column("_at", format!("if({went}, next.`_at`, journey.`_at`)"));
        select.column("_level", format!("journey.`_level` + ({went})"));
        select.sql()
    }

    /// How far everybody has come, in each period and part.
    fn people(&self) -> String {
        let mut select = Select::over(&self.journeys(), "journey");
        for key in self.keys() {
            select.key(&key, of("journey", &key));
        }
        select.key("_who", of("journey", "_who"));
        select.column("_level", format!("max({})", of("journey", "_level")));
        select.sql()
    }

    fn read(&self) -> Read {
        Read {
            table: self.rows.table.clone(),
            rollup: false,
            metrics: Vec::new(),
            because: format!("each `{}` is followed from row to row, which no sum tells", self.by),
        }
    }
}

/// The share of those who did one thing that did another in time.
pub(super) fn conversion(question: &Question, leaf: &Leaf<'_>) -> Option<Part> {
    let keys = &leaf.metric.0;
    let journey = Journey {
        question,
        rows: &leaf.rows,
        steps: vec![&keys.cohort.as_ref()?.value, &keys.returns.as_ref()?.value],
        within: keys.within.as_ref()?.value.millis()?,
        strict: true,
        by: &keys.by.as_ref()?.value,
    };
    let mut select = Select::over(&journey.people(), "people");
    for key in journey.keys() {
        select.key(&key, of("people", &key));
    }
    select.column(&leaf.name, format!("countIf({} = 2) / count()", of("people", "_level")));
    Some(Part { leaves: vec![leaf.name.clone()], sql: select.sql(), read: journey.read() })
}

/// How many came to each step.
pub(super) fn funnel(
    question: &Question,
    (name, metric): (&str, &Metric),
    rows: &Rows<'_>,
) -> Option<(String, Vec<Column>, Read)> {
    let keys = &metric.0;
    let journey = Journey {
        question,
        rows,
        steps: keys.steps.iter().map(|step| step.value.as_str()).collect(),
        within: keys.within.as_ref()?.value.millis()?,
        strict: match keys.order {
            Some(StepOrder::Strict) => true,
            Some(StepOrder::Loose) | None => false,
        },
        by: &keys.by.as_ref()?.value,
    };
    let n_steps = journey.steps.len();
    let mut select = Select::over(&journey.people(), "people");
    select.from.push_str(&format!("\nARRAY JOIN range(1, {}) AS `_step`", n_steps + 1));
    for key in journey.keys() {
        select.key(&key, of("people", &key));
    }
    select.key(STEP, "`_step`");
    let events: Vec<String> = journey.steps.iter().map(|step| sql_text(step)).collect();
    select.key(STEP_EVENT, format!("arrayElement([{}], `_step`)", events.join(", ")));
    select.column(name, format!("countIf({} >= `_step`)", of("people", "_level")));
    select.column(WHOLE, "count()");
    let mut columns = question.key_columns();
    columns.push(Column::plain(STEP, Role::Step));
    columns.push(Column::plain(STEP_EVENT, Role::Event));
    columns.push(Column::of_metric(name, metric, false));
    columns.push(Column::plain(WHOLE, Role::Whole));
    Some((select.sql(), columns, journey.read()))
}
