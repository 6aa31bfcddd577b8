//! Which fields a metric is made from, and which metrics a field is in.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::check;
use crate::language::{Metric, MetricRef};

/// The fields that a metric reads, each with its event, over everything that the metric is made of.
#[must_use]
pub fn fields(catalog: &Catalog, metric: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut open = vec![metric];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let Some(metric) = catalog.file.metrics.get(name) else { continue };
        own(catalog, metric, &mut found);
        open.extend(check::parts(metric));
    }
    found
}

/// What the metric itself reads, and metrics that are told inside of it.
fn own(catalog: &Catalog, metric: &Metric, found: &mut BTreeSet<(String, String)>) {
    for part in metric.0.numerator.iter().chain(&metric.0.denominator) {
        if let MetricRef::Inline(inline) = part {
            own(catalog, inline, found);
        }
    }
    let Some(fact) = check::rows_of_metric(catalog, metric) else { return };
    let mut names: Vec<&str> = Vec::new();
    let filters = fact.where_.iter().chain(&metric.0.where_).chain(&metric.0.expr);
    for expression in filters {
        names.extend(expression.value.names().into_iter().map(|(name, _)| name));
    }
    names.extend(metric.0.by.iter().chain(&metric.0.per).map(|name| name.value.as_str()));
    for event in catalog.fact_events(&fact) {
        // What only counts rows reads their identity.
        found.insert((event.name.clone(), "event_id".to_owned()));
        for name in &names {
            if event.column(name, true).is_some() {
                found.insert((event.name.clone(), (*name).to_owned()));
            }
        }
    }
}
