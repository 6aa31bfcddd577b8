//! Metrics: what they count, what they are made of, and that none is made of itself.

use std::collections::{HashMap, HashSet};

use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Located;
use tidegate_yaml::{Mistake, Position};

use super::{event, expressions, unknown};
use crate::catalog::Catalog;
use crate::expression::{Expr, Expression, Operator, Sort};
use crate::language::{Fact, Kind, Metric, MetricRef};

/// More than any person reads; and the stack that a chain of definitions may take.
const CHAIN_MAX: usize = 64;

pub(super) fn check(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (_, located) in catalog.file.metrics.located() {
        metric(catalog, &located.value, located.at, cx);
    }
    aliases(catalog, cx);
    cycles(catalog, cx);
    units(catalog, cx);
}

pub(super) fn metric(catalog: &Catalog, metric: &Metric, at: Position, cx: &mut Reading<'_>) {
    match metric.kind() {
        Kind::Count
        | Kind::Sum
        | Kind::Min
        | Kind::Max
        | Kind::Any
        | Kind::Avg
        | Kind::CountDistinct
        | Kind::Quantile
        | Kind::First
        | Kind::Last => over_rows(catalog, metric, at, cx),
        Kind::Conversion | Kind::Funnel | Kind::Retention => over_events(catalog, metric, at, cx),
        Kind::Ratio => {
            for part in metric.0.numerator.iter().chain(&metric.0.denominator) {
                match part {
                    MetricRef::Named(name) => named(catalog, &name.value, name.at, cx),
                    MetricRef::Inline(inline) => self::metric(catalog, inline, at, cx),
                }
            }
        }
        Kind::Derived => {
            if let Some(expr) = &metric.0.expr {
                for (name, at) in expr.value.names() {
                    named(catalog, name, at, cx);
                }
                let mut wrong = Vec::new();
                expr.value.sort(&|_| Sort::Number, &mut |at, message| wrong.push((at, message)));
                for (at, message) in wrong {
                    cx.report(Mistake::BadExpression, at, message, None);
                }
            }
        }
        Kind::Cumulative => cumulative(catalog, metric, at, cx),
    }
}

fn named(catalog: &Catalog, name: &str, at: Position, cx: &mut Reading<'_>) {
    if !catalog.file.metrics.contains(name) {
        unknown("metric", name, at, catalog.file.metrics.keys(), cx);
    }
}

/// The rows that a metric counts: a fact's, or an event's.
pub(super) fn rows(catalog: &Catalog, metric: &Metric) -> Option<Fact> {
    match (&metric.0.fact, &metric.0.event) {
        (Some(fact), _) => catalog.file.facts.get(&fact.value).cloned(),
        (None, Some(event)) => Some(Fact {
            doc: None,
            event: Some(event.clone()),
            events: Vec::new(),
            columns: Vec::new(),
            where_: None,
        }),
        (None, None) => None,
    }
}

/// The rows of a metric, which must name them once; reported if not.
fn rows_of(catalog: &Catalog, metric: &Metric, at: Position, cx: &mut Reading<'_>) -> Option<Fact> {
    match (&metric.0.fact, &metric.0.event) {
        (Some(fact), None) => {
            if !catalog.file.facts.contains(&fact.value) {
                unknown("fact", &fact.value, fact.at, catalog.file.facts.keys(), cx);
            }
        }
        (None, Some(name)) => drop(event(catalog, name, cx)),
        (Some(_), Some(name)) => {
            cx.report(
                Mistake::Conflict,
                name.at,
                "`fact` and `event` are both given",
                Some("keep one".to_owned()),
            );
            return None;
        }
        (None, None) => {
            let message = format!("a `{}` metric lacks `fact` or `event`", metric.kind());
            cx.report(Mistake::MissingKey, at, message, None);
            return None;
        }
    }
    rows(catalog, metric)
}

fn over_rows(catalog: &Catalog, metric: &Metric, at: Position, cx: &mut Reading<'_>) {
    let Some(fact) = rows_of(catalog, metric, at, cx) else { return };
    if let Some(filter) = &metric.0.where_ {
        expressions::over_fact(catalog, &fact, filter, Some(Sort::Bool), cx);
    }
    let expected = match metric.kind() {
        Kind::Sum | Kind::Avg | Kind::Quantile | Kind::First | Kind::Last => Some(Sort::Number),
        Kind::Any => Some(Sort::Bool),
        Kind::Count
        | Kind::Min
        | Kind::Max
        | Kind::CountDistinct
        | Kind::Ratio
        | Kind::Derived
        | Kind::Cumulative
        | Kind::Conversion
        | Kind::Funnel
        | Kind::Retention => None,
    };
    if let Some(expr) = &metric.0.expr {
        expressions::over_fact(catalog, &fact, expr, expected, cx);
    }
    for name in metric.0.by.iter().chain(&metric.0.per) {
        expressions::column(catalog, &fact, name, cx);
    }
    if let Some(q) = &metric.0.q
        && !(q.value > 0.0 && q.value < 1.0)
    {
        cx.report(
            Mistake::OutOfRange,
            q.at,
            "`q` lies between 0 and 1",
            Some("the median is `q: 0.5`".to_owned()),
        );
    }
    if let Some(ty) = &metric.0.ty
        && !ty.value.scalar().is_some_and(|scalar| {
            use crate::field_type::Scalar::{Decimal, Float, Integer};
            matches!(scalar, Integer { .. } | Float { .. } | Decimal { .. })
        })
    {
        cx.report(Mistake::WrongType, ty.at, format!("a sum is a number, not `{}`", ty.value), None);
    }
}

fn over_events(catalog: &Catalog, metric: &Metric, at: Position, cx: &mut Reading<'_>) {
    let Some(fact) = rows_of(catalog, metric, at, cx) else { return };
    let events: Vec<&str> = fact.event.iter().chain(&fact.events).map(|event| event.value.as_str()).collect();
    let keys = &metric.0;
    for step in keys.steps.iter().chain(&keys.cohort).chain(&keys.returns) {
        if !events.contains(&step.value.as_str()) {
            unknown("event of the fact called", &step.value, step.at, events.iter().copied(), cx);
        }
    }
    if let Some(by) = &keys.by {
        expressions::column(catalog, &fact, by, cx);
    }
    let n_steps = keys.steps.len();
    if metric.kind() == Kind::Funnel && !(2..=32).contains(&n_steps) {
        cx.report(Mistake::OutOfRange, at, format!("a funnel has 2 to 32 steps, found {n_steps}"), None);
    }
    if let Some(within) = &keys.within
        && within.value.millis().is_none()
    {
        let hint = Some("give it in days: months have different lengths".to_owned());
        cx.report(
            Mistake::BadValue,
            within.at,
            format!("`within: {}` has no fixed length", within.value),
            hint,
        );
    }
    if let Some(periods) = &keys.periods
        && !(1..=120).contains(&periods.value)
    {
        cx.report(Mistake::OutOfRange, periods.at, "`periods` lies between 1 and 120", None);
    }
}

fn cumulative(catalog: &Catalog, metric: &Metric, at: Position, cx: &mut Reading<'_>) {
    let keys = &metric.0;
    match (&keys.window, keys.reset) {
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) | (Some(_), Some(_)) => {
            cx.report(
                Mistake::MissingKey,
                at,
                "a `cumulative` metric needs either `window` or `reset`",
                None,
            );
        }
    }
    let Some(of) = &keys.of else { return };
    let Some(base) = catalog.file.metrics.get(&of.value) else {
        named(catalog, &of.value, of.at, cx);
        return;
    };
    if !mergeable(base.kind()) {
        let message = format!(
            "`{}` is a `{}` metric, whose values of single days cannot be put together",
            of.value,
            base.kind()
        );
        let hint = Some("accumulate a count, sum, min, max, any, avg, count_distinct or quantile".to_owned());
        cx.report(Mistake::Conflict, of.at, message, hint);
    }
}

/// Whether the values of two groups of rows can be put together.
pub(crate) const fn mergeable(kind: Kind) -> bool {
    match kind {
        Kind::Count
        | Kind::Sum
        | Kind::Min
        | Kind::Max
        | Kind::Any
        | Kind::Avg
        | Kind::CountDistinct
        | Kind::Quantile => true,
        Kind::Ratio
        | Kind::Derived
        | Kind::First
        | Kind::Last
        | Kind::Cumulative
        | Kind::Conversion
        | Kind::Funnel
        | Kind::Retention => false,
    }
}

/// A spreadsheet's name stands for one metric.
fn aliases(catalog: &Catalog, cx: &mut Reading<'_>) {
    let mut taken: HashMap<String, &str> =
        catalog.file.metrics.keys().map(|name| (name.to_owned(), name)).collect();
    for (name, located) in catalog.file.metrics.located() {
        for alias in located.value.alias() {
            if let Some(other) = taken.insert(alias.to_lowercase(), name)
                && other != name
            {
                let message = format!("`{alias}` is another name of `{other}` and of `{name}`");
                cx.report(Mistake::Conflict, located.at, message, None);
            }
        }
    }
}

/// The metrics that a metric is made of, by name.
pub(crate) fn parts(metric: &Metric) -> Vec<&str> {
    let keys = &metric.0;
    let mut parts: Vec<&str> = Vec::new();
    for part in keys.numerator.iter().chain(&keys.denominator) {
        match part {
            MetricRef::Named(name) => parts.push(&name.value),
            MetricRef::Inline(inline) => parts.extend(self::parts(inline)),
        }
    }
    parts.extend(keys.of.iter().map(|of| of.value.as_str()));
    if metric.kind() == Kind::Derived
        && let Some(expr) = &keys.expr
    {
        parts.extend(expr.value.names().into_iter().map(|(name, _)| name));
    }
    parts
}

fn cycles(catalog: &Catalog, cx: &mut Reading<'_>) {
    let mut done: HashSet<&str> = HashSet::new();
    for (name, located) in catalog.file.metrics.located() {
        let mut path: Vec<&str> = Vec::new();
        if let Err(cycle) = visit(catalog, name, &mut path, &mut done) {
            cx.report(
                Mistake::Cycle,
                located.at,
                cycle,
                Some("a metric cannot be made of itself".to_owned()),
            );
        }
    }
}

fn visit<'a>(
    catalog: &'a Catalog,
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut HashSet<&'a str>,
) -> Result<(), String> {
    if done.contains(name) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|part| *part == name) {
        let way: Vec<&str> = path[start..].iter().copied().chain([name]).collect();
        return Err(format!("metrics are made of one another: {}", way.join(" -> ")));
    }
    if path.len() >= CHAIN_MAX {
        return Err(format!("more than {CHAIN_MAX} metrics are made of one another in a row"));
    }
    let Some(metric) = catalog.file.metrics.get(name) else { return Ok(()) };
    path.push(name);
    let outcome = parts(metric).into_iter().try_for_each(|part| visit(catalog, part, path, done));
    path.pop();
    // A cycle is told once, by the first of its metrics.
    done.insert(name);
    outcome
}

/// What is added and subtracted counts the same thing.
fn units(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (_, metric) in catalog.file.metrics.iter().filter(|(_, metric)| metric.kind() == Kind::Derived) {
        if let Some(Located { value, .. }) = &metric.0.expr {
            unit_of(catalog, value, value.root(), cx);
        }
    }
}

/// The unit of an expression over metrics; `None` where nobody said.
fn unit_of<'a>(
    catalog: &'a Catalog,
    whole: &Expression,
    expr: &Expr,
    cx: &mut Reading<'_>,
) -> Option<&'a str> {
    match expr {
        Expr::Name { name, .. } => catalog.file.metrics.get(name).and_then(Metric::unit),
        Expr::Negative(inner) => unit_of(catalog, whole, inner, cx),
        Expr::Binary { operator, left, right, at } => {
            let units = (unit_of(catalog, whole, left, cx), unit_of(catalog, whole, right, cx));
            match (operator, units) {
                (Operator::Plus | Operator::Minus, (Some(left), Some(right))) if left != right => {
                    let message = format!("`{}` of {left} and {right} in `{}`", operator.sql(), whole.text());
                    cx.report(
                        Mistake::BadExpression,
                        *at,
                        message,
                        Some("bring both to one unit".to_owned()),
                    );
                    None
                }
                (Operator::Plus | Operator::Minus, (left, right)) => left.or(right),
                (_, _) => None,
            }
        }
        Expr::Number(_) | Expr::Text(_) | Expr::Bool(_) | Expr::Null => None,
        Expr::Not(_) | Expr::In { .. } | Expr::IsNull { .. } | Expr::Call { .. } => None,
    }
}
