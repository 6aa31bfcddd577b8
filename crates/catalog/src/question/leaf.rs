//! What a question's metrics are made of: values that groups of rows have, and arithmetic over them.

use indexmap::IndexMap;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::{Mistake, Position};

use super::Question;
use super::over_time::{Reach, reach};
use super::rows::Rows;
use super::select::of;
use crate::catalog::Catalog;
use crate::language::{Empty, Kind, Metric, MetricRef, Precision};
use crate::lock::Lock;
use crate::metric_sql::{Aggregate, Summand, aggregate, summand};

/// A metric whose value is computed of rows, not of other metrics.
pub(super) struct Leaf<'a> {
    /// What its column is called.
    pub(super) name: String,
    pub(super) metric: Metric,
    pub(super) rows: Rows<'a>,
    /// The name by which rollups keep it; what is told inside of another metric has none.
    pub(super) kept_as: Option<String>,
    pub(super) way: Way,
}

/// How it is computed.
pub(super) enum Way {
    /// By one aggregate.
    Aggregate(Aggregate),
    /// The first or last value of each of somebody, summed: the value, and the conditions of its rows.
    Each { value: String, filter: Vec<String>, last: bool },
    /// By one aggregate over the rows of a window.
    Reaching { aggregate: Aggregate, reach: Reach },
    /// By following everybody from one event to another.
    Conversion,
}

impl Leaf<'_> {
    /// Whether there is a value where there are no rows: none were counted.
    pub(super) fn zero_without_rows(&self) -> bool {
        match &self.way {
            Way::Each { .. } => true,
            Way::Conversion => false,
            Way::Aggregate(_) | Way::Reaching { .. } => match self.metric.kind() {
                Kind::Count | Kind::Sum | Kind::Any | Kind::CountDistinct => true,
                Kind::Min | Kind::Max | Kind::Avg | Kind::Quantile => false,
                Kind::Ratio | Kind::Derived | Kind::First | Kind::Last => false,
                Kind::Cumulative | Kind::Conversion | Kind::Funnel | Kind::Retention => false,
            },
        }
    }
}

/// Whether a metric's numbers are estimates, by what it is made of.
pub(super) fn estimated(catalog: &Catalog, metric: &Metric) -> bool {
    let inline = metric.0.numerator.iter().chain(&metric.0.denominator).any(|part| match part {
        MetricRef::Inline(inline) => estimated(catalog, inline),
        MetricRef::Named(_) => false,
    });
    let named = || {
        let parts = crate::check::parts(metric);
        // A checked catalog has no metric that is made of itself.
        parts
            .into_iter()
            .filter_map(|part| catalog.file.metrics.get(part))
            .any(|part| estimated(catalog, part))
    };
    let own = match metric.kind() {
        Kind::Quantile => true,
        Kind::CountDistinct => metric.0.precision != Some(Precision::Exact),
        Kind::Count | Kind::Sum | Kind::Min | Kind::Max | Kind::Any | Kind::Avg => false,
        Kind::Ratio | Kind::Derived | Kind::First | Kind::Last => false,
        Kind::Cumulative | Kind::Conversion | Kind::Funnel | Kind::Retention => false,
    };
    own || inline || named()
}

/// Takes metrics apart.
pub(super) struct TakenApart<'a, 'q, 'r, 's> {
    pub(super) catalog: &'a Catalog,
    pub(super) lock: &'q Lock,
    pub(super) question: &'q Question,
    pub(super) leaves: IndexMap<String, Leaf<'a>>,
    pub(super) cx: &'r mut Reading<'s>,
}

impl TakenApart<'_, '_, '_, '_> {
    /// The metric as SQL over the leaves' columns; `at` is where it, or what is made of it, was asked for.
    /// `None` if something was reported.
    pub(super) fn named(&mut self, name: &str, at: Position) -> Option<String> {
        let metric = self.catalog.file.metrics.get(name)?;
        self.metric(name, metric, at, true)
    }

    fn metric(&mut self, name: &str, metric: &Metric, at: Position, named: bool) -> Option<String> {
        match metric.kind() {
            Kind::Ratio => self.ratio(name, metric, at),
            Kind::Derived => {
                let expr = metric.expr()?;
                let mut parts: IndexMap<&str, String> = IndexMap::new();
                for (part, _) in expr.names() {
                    let sql = self.named(part, at)?;
                    parts.insert(part, format!("toFloat64({sql})"));
                }
                let sql = expr.sql(&|part| parts.get(part).cloned().unwrap_or_default());
                Some(finite(&sql, metric.0.empty))
            }
            Kind::Cumulative => {
                let base_name = &metric.0.of.as_ref()?.value;
                let base = self.catalog.file.metrics.get(base_name)?;
                let reach = reach(self.question, (name, metric), at, self.cx)?;
                let way = Way::Reaching { aggregate: aggregate(self.catalog, self.lock, base)?, reach };
                self.leaf(name, base, Some(base_name.clone()), way)
            }
            Kind::First | Kind::Last => {
                let Summand { value, filter } = summand(self.catalog, self.lock, metric)?;
                let way = Way::Each { value, filter, last: metric.kind() == Kind::Last };
                self.leaf(name, metric, None, way)
            }
            Kind::Conversion => self.leaf(name, metric, None, Way::Conversion),
            Kind::Funnel | Kind::Retention => {
                let message = format!("`{name}` is a `{}` metric, which has no single number", metric.kind());
                self.cx.report(Mistake::Conflict, at, message, Some("ask for it alone".to_owned()));
                None
            }
            Kind::Count
            | Kind::Sum
            | Kind::Min
            | Kind::Max
            | Kind::Any
            | Kind::Avg
            | Kind::CountDistinct
            | Kind::Quantile => {
                let way = Way::Aggregate(aggregate(self.catalog, self.lock, metric)?);
                self.leaf(name, metric, named.then(|| name.to_owned()), way)
            }
        }
    }

    fn ratio(&mut self, name: &str, metric: &Metric, at: Position) -> Option<String> {
        let mut parts = Vec::new();
        for (part, of) in [("numerator", &metric.0.numerator), ("denominator", &metric.0.denominator)] {
            parts.push(match of.as_ref()? {
                MetricRef::Named(of) => self.named(&of.value, at)?,
                // Two underscores: no name of the catalog is like that.
                MetricRef::Inline(inline) => self.metric(&format!("{name}__{part}"), inline, at, false)?,
            });
        }
        let [numerator, denominator] = parts.as_slice() else { return None };
        Some(finite(&format!("toFloat64({numerator}) / toFloat64({denominator})"), metric.0.empty))
    }

    fn leaf(&mut self, name: &str, metric: &Metric, kept_as: Option<String>, way: Way) -> Option<String> {
        if !self.leaves.contains_key(name) {
            let rows = Rows::of(self.catalog, metric)?;
            rows.check(self.question, name, self.cx);
            let leaf = Leaf { name: name.to_owned(), metric: metric.clone(), rows, kept_as, way };
            self.leaves.insert(name.to_owned(), leaf);
        }
        let column = of("answer", name);
        let kind = metric.kind();
        // The mean of nothing is not a number.
        let may_be_nan = matches!(kind, Kind::Avg | Kind::Quantile | Kind::Conversion);
        Some(if may_be_nan { format!("if(isFinite({column}), {column}, NULL)") } else { column })
    }
}

/// A quotient by nothing is what the metric says: null, or zero.
fn finite(sql: &str, empty: Option<Empty>) -> String {
    let otherwise = match empty {
        Some(Empty::Zero) => "0",
        Some(Empty::Null) | None => "NULL",
    };
    format!("if(isFinite({sql}), {sql}, {otherwise})")
}
