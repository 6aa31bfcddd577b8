//! What no single section can check: that every name stands for something, and that parts fit each other.

mod bounded_texts;
mod events;
mod expressions;
mod metrics;
mod personal;
mod rollups;
mod sources;
mod tests_of_events;

use indexmap::IndexMap;
use tidegate_yaml::nearest::nearest;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Located, comma_list, quoted};
use tidegate_yaml::{Mistake, Position};

use crate::catalog::{Catalog, Event};
use crate::language::{CatalogFile, Dimension};

pub(crate) use events::readable_pattern;
pub use tests_of_events::event_of_test;

/// Checks a file that has been read. The catalog can be used if nothing has been reported.
pub(crate) fn check(file: CatalogFile, cx: &mut Reading<'_>) -> Catalog {
    let mut events = IndexMap::with_capacity(file.events.len());
    events::shared(&file, cx);
    for (name, located) in file.events.located() {
        let event = events::event(&file, name, located, cx);
        sources::event(&event, cx);
        events.insert(name.to_owned(), event);
    }
    let catalog = Catalog { file, events };
    events::topics_and_tables(&catalog, cx);
    events::keys(&catalog, cx);
    personal::tellers(&catalog, cx);
    entities(&catalog, cx);
    facts(&catalog, cx);
    dimensions(&catalog, cx);
    metrics::check(&catalog, cx);
    rollups::check(&catalog, cx);
    // Tests are run against schemas, which only a catalog without mistakes has.
    if cx.found.is_empty() {
        tests_of_events::check(&catalog, cx);
    }
    catalog
}

/// Reports a name that nothing bears, with the nearest one that something does.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    at: Position,
    known: impl Iterator<Item = &'a str> + Clone,
    cx: &mut Reading<'_>,
) {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let some: Vec<&str> = known.take(12).collect();
            if some.is_empty() {
                format!("there is no {kind} at all")
            } else {
                format!("there are {}", comma_list(&some))
            }
        }
    };
    cx.report(Mistake::UnknownName, at, format!("there is no {kind} {}", quoted(name)), Some(hint));
}

/// The event, or a report that there is none.
fn event<'a>(catalog: &'a Catalog, name: &Located<String>, cx: &mut Reading<'_>) -> Option<&'a Event> {
    let event = catalog.events.get(&name.value);
    if event.is_none() {
        unknown("event", &name.value, name.at, catalog.events.keys().map(String::as_str), cx);
    }
    event
}

/// Whether the event has that column; reported if not.
fn has_column(catalog: &Catalog, event: &Event, name: &Located<String>, cx: &mut Reading<'_>) -> bool {
    let columns = event.columns(catalog.nulls());
    let found = columns.iter().any(|(column, _)| *column == name.value);
    if !found && !event.incomplete {
        let kind = format!("field of event `{}` called", event.name);
        unknown(&kind, &name.value, name.at, columns.iter().map(|(column, _)| column.as_str()), cx);
    }
    found
}

fn entities(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (_, entity) in catalog.file.entities.iter() {
        let Some(source) = event(catalog, &entity.source, cx) else { continue };
        has_column(catalog, source, &entity.key, cx);
        for field in &entity.fields {
            has_column(catalog, source, field, cx);
        }
    }
}

fn facts(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (name, located) in catalog.file.facts.located() {
        let fact = &located.value;
        match (&fact.event, fact.events.is_empty()) {
            (Some(_), true) if !fact.columns.is_empty() => {
                let hint = Some("a fact of one event has all of its fields; remove `columns`".to_owned());
                cx.report(
                    Mistake::Conflict,
                    located.at,
                    format!("fact `{name}` has one event and `columns`"),
                    hint,
                );
            }
            (Some(_), true) | (None, false) => {}
            (Some(_), false) | (None, true) => {
                let message = format!("fact `{name}` needs either `event` or `events`");
                cx.report(Mistake::MissingKey, located.at, message, None);
            }
        }
        for named in fact.event.iter().chain(&fact.events) {
            let Some(event) = event(catalog, named, cx) else { continue };
            for column in &fact.columns {
                has_column(catalog, event, column, cx);
            }
        }
        if fact.event.is_none() && catalog.events.contains_key(name) {
            let message = format!("fact `{name}` has a table, and so has the event of that name");
            cx.report(Mistake::Conflict, located.at, message, Some("name the fact otherwise".to_owned()));
        }
        if let Some(filter) = &fact.where_ {
            expressions::over_fact(catalog, fact, filter, Some(crate::expression::Sort::Bool), cx);
        }
    }
}

/// A dimension is checked where it stands alone; whether a fact has its field is for the rollups.
fn dimensions(catalog: &Catalog, cx: &mut Reading<'_>) {
    for (name, located) in catalog.file.dimensions.located() {
        let dimension = &located.value;
        let n_ways = [dimension.field.is_some(), dimension.expr.is_some(), dimension.via.is_some()];
        if n_ways.iter().filter(|way| **way).count() != 1 {
            let message = format!("dimension `{name}` needs one of `field`, `expr` and `via`");
            cx.report(Mistake::MissingKey, located.at, message, None);
            continue;
        }
        if let Some(field) = &dimension.field {
            known_field(catalog, &field.value, field.at, cx);
        }
        if let Some(expr) = &dimension.expr {
            for (field, at) in expr.value.names() {
                known_field(catalog, field, at, cx);
            }
        }
        if dimension.via.is_some() {
            through_entity(catalog, name, dimension, located.at, cx);
        }
    }
}

fn through_entity(catalog: &Catalog, name: &str, dimension: &Dimension, at: Position, cx: &mut Reading<'_>) {
    let (Some(via), Some(entity), Some(attribute)) =
        (&dimension.via, &dimension.entity, &dimension.attribute)
    else {
        let message = format!("dimension `{name}` needs `via`, `entity` and `attribute`");
        cx.report(Mistake::MissingKey, at, message, None);
        return;
    };
    known_field(catalog, &via.value, via.at, cx);
    let Some(found) = catalog.file.entities.get(&entity.value) else {
        unknown("entity", &entity.value, entity.at, catalog.file.entities.keys(), cx);
        return;
    };
    if !found.fields.iter().any(|field| field.value == attribute.value) {
        let kind = format!("field of entity `{}` called", entity.value);
        unknown(
            &kind,
            &attribute.value,
            attribute.at,
            found.fields.iter().map(|field| field.value.as_str()),
            cx,
        );
    }
}

/// Reports a field that no event has.
fn known_field(catalog: &Catalog, name: &str, at: Position, cx: &mut Reading<'_>) {
    let nulls = catalog.nulls();
    // Narrow facts say of each row which event it is.
    if name == "event" || catalog.events.values().any(|event| event.column(name, nulls).is_some()) {
        return;
    }
    let mut all: Vec<String> = catalog
        .events
        .values()
        .flat_map(|event| event.columns(nulls).into_iter().map(|(column, _)| column))
        .collect();
    all.sort_unstable();
    all.dedup();
    unknown("event with a field", name, at, all.iter().map(String::as_str), cx);
}

/// The rows that a metric counts: a fact's, or an event's.
pub(crate) fn rows_of_metric(
    catalog: &Catalog,
    metric: &crate::language::Metric,
) -> Option<crate::language::Fact> {
    metrics::rows(catalog, metric)
}

/// Checks a metric that the catalog does not have, as if it had it.
pub(crate) fn metric_alone(catalog: &Catalog, metric: &crate::language::Metric, cx: &mut Reading<'_>) {
    metrics::metric(catalog, metric, Position::START, cx);
}

pub(crate) use expressions::columns as fact_columns;
pub(crate) use metrics::{mergeable, parts};
