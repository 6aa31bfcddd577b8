//! Cumulative metrics: what one aggregate is of the rows of a window that moves, or since a period began.
//!
//! Rows are aggregated to states of short periods; each state is given to every period of the time axis
//! whose window it is in, and these are put together there. So a day without rows has its number too, and
//! nothing is added up that must not be: users of 28 days are not 28 days' users.

use tidegate_yaml::reading::Reading;
use tidegate_yaml::{Mistake, Position};

use super::groups::{Computed, groups};
use super::leaf::{Leaf, Way};
use super::moment::{Moment, Range, period_of_date, unit_name};
use super::rollup::Wanted;
use super::select::{Select, of};
use super::{PERIOD, Part, Question};
use crate::language::{Grain, Span, SpanUnit};
use crate::metric_sql::source_name;

/// More periods than that in a window, and the answer would cost more than anybody expects.
const STEPS_MAX: u64 = 10_000;

/// How far back a period's value reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// So long, up to the end of the period.
    Window(Span),
    /// To the beginning of the longer period that it ends in.
    Since(Grain),
}

impl Reach {
    /// The length of the periods whose states are put together.
    fn base(self, grain: Grain) -> Grain {
        let by_hour = match self {
            Self::Window(span) => match span.unit {
                SpanUnit::Second | SpanUnit::Minute | SpanUnit::Hour => true,
                SpanUnit::Day | SpanUnit::Week | SpanUnit::Month | SpanUnit::Year => false,
            },
            Self::Since(reset) => reset == Grain::Hour,
        };
        if by_hour || grain == Grain::Hour { Grain::Hour } else { Grain::Day }
    }

    /// At most so many periods have a row in their window.
    fn steps(self, grain: Grain) -> u64 {
        const DAY: u64 = 24;
        let shortest = match grain {
            Grain::Hour => 1,
            Grain::Day => DAY,
            Grain::Week => 7 * DAY,
            Grain::Month => 28 * DAY,
        };
        let hours = match self {
            Self::Window(span) => {
                let count = u64::from(span.count);
                match span.unit {
                    SpanUnit::Second => count / 3600,
                    SpanUnit::Minute => count / 60,
                    SpanUnit::Hour => count,
                    SpanUnit::Day => count * DAY,
                    SpanUnit::Week => count * 7 * DAY,
                    SpanUnit::Month => count * 31 * DAY,
                    SpanUnit::Year => count * 366 * DAY,
                }
            }
            Self::Since(Grain::Hour) => 1,
            Self::Since(Grain::Day) => DAY,
            Self::Since(Grain::Week) => 7 * DAY,
            Self::Since(Grain::Month) => 31 * DAY,
        };
        hours.div_ceil(shortest) + 1
    }

    /// Where the window of the period that `moment` is in begins.
    fn begin(self, grain: Grain, moment: Moment) -> Moment {
        let end = moment.start_of(grain).next(grain);
        match self {
            Self::Window(span) => end.before(span),
            Self::Since(reset) => end.just_before().start_of(reset),
        }
    }

    /// The same, as SQL of the column of periods.
    fn begin_sql(self, grain: Grain, base: Grain, period: &str) -> String {
        let edge = match (grain, base) {
            (Grain::Hour, _) | (_, Grain::Day | Grain::Week | Grain::Month) => period.to_owned(),
            (Grain::Day | Grain::Week | Grain::Month, Grain::Hour) => format!("toDateTime({period}, 'UTC')"),
        };
        let end = format!("add{}({edge}, 1)", unit_name(grain));
        match self {
            Self::Window(span) => {
                let (count, unit) = match span.unit {
                    SpanUnit::Second => (span.count / 3600, "Hours"),
                    SpanUnit::Minute => (span.count / 60, "Hours"),
                    SpanUnit::Hour => (span.count, "Hours"),
                    SpanUnit::Day => (span.count, "Days"),
                    SpanUnit::Week => (span.count, "Weeks"),
                    SpanUnit::Month => (span.count, "Months"),
                    SpanUnit::Year => (span.count, "Years"),
                };
                format!("subtract{unit}({end}, {count})")
            }
            Self::Since(reset) => {
                let last = format!("subtract{}({end}, 1)", unit_name(base));
                match base {
                    Grain::Hour if reset == Grain::Hour => last,
                    Grain::Hour => format!("toDateTime({}, 'UTC')", super::moment::period(reset, &last)),
                    Grain::Day | Grain::Week | Grain::Month => period_of_date(reset, &last),
                }
            }
        }
    }
}

/// Reports what a cumulative metric lacks to be told; gives how far it reaches.
pub(super) fn reach(
    question: &Question,
    metric: (&str, &crate::language::Metric),
    at: Position,
    cx: &mut Reading<'_>,
) -> Option<Reach> {
    let (name, keys) = (metric.0, &metric.1.0);
    let reach = match (&keys.window, keys.reset) {
        (Some(window), _) => Reach::Window(window.value),
        (None, Some(reset)) => Reach::Since(reset),
        (None, None) => return None,
    };
    let Some(grain) = question.grain else {
        let hint = Some("say `grain`: hour, day, week or month".to_owned());
        cx.report(Mistake::MissingKey, at, format!("`{name}` is told period by period"), hint);
        return None;
    };
    if let Reach::Window(span) = reach
        && span.millis().is_some_and(|millis| millis % 3_600_000 != 0)
    {
        let message = format!("the window of `{name}`, {span}, is not one of whole hours");
        cx.report(Mistake::BadValue, at, message, Some("change the metric's `window`".to_owned()));
        return None;
    }
    if reach.steps(grain) > STEPS_MAX {
        let message = format!("the window of `{name}` has more than {STEPS_MAX} periods by {grain}");
        cx.report(Mistake::OutOfRange, at, message, Some("ask by a longer `grain`".to_owned()));
        return None;
    }
    Some(reach)
}

/// A cumulative metric.
pub(super) fn cumulative(question: &Question, leaf: &Leaf<'_>) -> Option<Part> {
    let Way::Reaching { aggregate, reach } = &leaf.way else { return None };
    let (grain, reach) = (question.grain?, *reach);
    let base = reach.base(grain);
    let Range { from, to } = question.range;
    let wanted = Wanted {
        question,
        grain: Some(base),
        range: Range { from: from.map(|from| reach.begin(grain, from)), to },
        metrics: vec![leaf.kept_as.clone()],
    };
    let state = Computed {
        name: "_state".to_owned(),
        of_rows: aggregate.state.clone(),
        of_rollup: aggregate.merged_state(&source_name(leaf.kept_as.as_deref().unwrap_or_default())),
    };
    let (states, read) = groups(&leaf.rows, &wanted, "_part", &[state]);

    let dims: Vec<String> = question.by.iter().map(|by| question.key_name(&by.value)).collect();
    let mut known = Select::over(&states.sql(), "states");
    for name in dims.iter().map(String::as_str).chain(["_part", "_state"]) {
        known.column(name, of("states", name));
    }
    known.column("_last", format!("max({}) OVER ()", of("states", "_part")));

    let mut reaching = Select::over(&known.sql(), "known");
    reaching.from.push_str(&format!("\nARRAY JOIN range({}) AS `_step`", reach.steps(grain)));
    let begin = match base {
        Grain::Hour if grain == Grain::Hour => of("known", "_part"),
        Grain::Hour => super::moment::period(grain, &of("known", "_part")),
        Grain::Day | Grain::Week | Grain::Month => period_of_date(grain, &of("known", "_part")),
    };
    reaching.column(PERIOD, format!("add{}({begin}, `_step`)", unit_name(grain)));
    for name in dims.iter().map(String::as_str).chain(["_part", "_state", "_last"]) {
        reaching.column(name, of("known", name));
    }

    let mut select = Select::over(&reaching.sql(), "reaching");
    let period = of("reaching", PERIOD);
    select.filter.push(format!("{} <= {}", reach.begin_sql(grain, base, &period), of("reaching", "_part")));
    let axis = Range { from: from.map(|from| from.start_of(grain)), to };
    select.filter.extend(axis.conditions(&period, &|moment| moment.start_of(grain).sql_period(grain)));
    if let Some(to) = to.filter(|to| !to.begins(grain)) {
        // The period that the end lies in is the last one.
        select.filter.pop();
        select.filter.push(format!("{period} <= {}", to.start_of(grain).sql_period(grain)));
    }
    if to.is_none() {
        // Nobody has told of what comes after the last row.
        select.filter.push(format!("{period} <= {}", of("reaching", "_last")));
    }
    select.key(PERIOD, period);
    for name in &dims {
        select.key(name, of("reaching", name));
    }
    select.column(&leaf.name, aggregate.merged(&of("reaching", "_state")));
    Some(Part { leaves: vec![leaf.name.clone()], sql: select.sql(), read })
}
