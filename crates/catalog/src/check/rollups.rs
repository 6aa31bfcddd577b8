//! Rollups: only what can be kept summed up, and gives the same answer as the rows.

use std::collections::HashSet;

use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Located;

use super::{expressions, metrics, unknown};
use crate::catalog::Catalog;
use crate::language::{EngineKind, Fact, Metric, Rollup};

pub(super) fn check(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (name, located) in catalog.file.rollups.located() {
        let rollup = &located.value;
        table(catalog, name, located, cx);
        let Some(fact) = catalog.file.facts.get(&rollup.fact.value) else {
            unknown("fact", &rollup.fact.value, rollup.fact.at, catalog.file.facts.keys(), cx);
            continue;
        };
        exact(catalog, fact, rollup, cx);
        for dim in &rollup.dims {
            dimension(catalog, fact, dim, cx);
        }
        let mut seen = HashSet::new();
        for named in &rollup.metrics {
            if !seen.insert(named.value.as_str()) {
                cx.report(Mistake::DuplicateKey, named.at, format!("`{}` stands twice", named.value), None);
            }
            let Some(metric) = catalog.file.metrics.get(&named.value) else {
                unknown("metric", &named.value, named.at, catalog.file.metrics.keys(), cx);
                continue;
            };
            kept(rollup, fact, (named, metric), cx);
        }
    }
}

fn table(catalog: &Catalog, name: &str, located: &Located<Rollup>, cx: &mut Reading<'_>) {
    let taken = catalog.events.values().any(|event| event.table == name)
        || catalog.file.facts.get(name).is_some_and(|fact| catalog.narrow(fact))
        || catalog.file.policies.dead_letters.table.as_str() == name;
    if taken {
        let hint = Some("name the rollup otherwise, `hourly_views` say".to_owned());
        cx.report(Mistake::Conflict, located.at, format!("there is another table `{name}`"), hint);
    }
}

/// A view sees each inserted row; a replacing table forgets some of them later.
fn exact(catalog: &Catalog, fact: &Fact, rollup: &Rollup, cx: &mut Reading<'_>) {
    for event in catalog.fact_events(fact) {
        if catalog.engine(event) == EngineKind::Replacing {
            let message = format!(
                "the table of event `{}` replaces rows; a rollup would go on counting what was replaced",
                event.name
            );
            let hint =
                Some(format!("make it `engine: {}`: the sink writes each row once", EngineKind::MergeTree));
            cx.report(Mistake::Conflict, rollup.fact.at, message, hint);
        }
    }
}

fn dimension(catalog: &Catalog, fact: &Fact, name: &Located<String>, cx: &mut Reading<'_>) {
    let Some(dimension) = catalog.file.dimensions.get(&name.value) else {
        unknown("dimension", &name.value, name.at, catalog.file.dimensions.keys(), cx);
        return;
    };
    if dimension.via.is_some() {
        let message =
            format!("`{}` is a field of an entity, which changes after it was summed up", name.value);
        let hint = Some("roll up by the entity's key, and join when asked".to_owned());
        cx.report(Mistake::Conflict, name.at, message, hint);
    }
    // A field that no event has has been reported where the dimension is.
    if let Some(field) = &dimension.field
        && catalog.events.values().any(|event| event.column(&field.value, catalog.nulls()).is_some())
    {
        let field = Located { at: name.at, value: field.value.clone() };
        expressions::column(catalog, fact, &field, cx);
    }
    if let Some(expr) = &dimension.expr {
        expressions::over_fact(catalog, fact, expr, None, cx);
    }
}

fn kept(rollup: &Rollup, fact: &Fact, (named, metric): (&Located<String>, &Metric), cx: &mut Reading<'_>) {
    if !metrics::mergeable(metric.kind()) {
        let message =
            format!("`{}` is a `{}` metric, which cannot be kept summed up", named.value, metric.kind());
        let hint = Some("keep what it is made of".to_owned());
        cx.report(Mistake::Conflict, named.at, message, hint);
        return;
    }
    let same_fact = metric.0.fact.as_ref().is_some_and(|of| of.value == rollup.fact.value);
    let same_event = match (&metric.0.event, &fact.event, &fact.where_) {
        (Some(of), Some(event), None) => of.value == event.value,
        (_, _, _) => false,
    };
    if !same_fact && !same_event {
        let of = metric.0.fact.as_ref().or(metric.0.event.as_ref()).map_or("", |of| of.value.as_str());
        let message =
            format!("`{}` counts rows of `{of}`, the rollup those of `{}`", named.value, rollup.fact.value);
        cx.report(Mistake::Conflict, named.at, message, None);
    }
}
