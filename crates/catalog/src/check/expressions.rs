//! Expressions over the rows of a fact: names, and what fits what.

use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Located;

use super::unknown;
use crate::catalog::Catalog;
use crate::expression::{Expression, Sort};
use crate::language::Fact;

/// The columns of a fact's rows with the sorts of their values; those that some event lacks are not among
/// them.
pub(crate) fn columns(catalog: &Catalog, fact: &Fact) -> Vec<(String, Sort)> {
    let nulls = catalog.nulls();
    let Some(first) = catalog.fact_events(fact).first().copied().filter(|event| !event.incomplete) else {
        return Vec::new();
    };
    let all = first.columns(nulls).into_iter().map(|(name, column)| (name, column.sort()));
    if !catalog.narrow(fact) {
        return all.collect();
    }
    let kept = |name: &str| {
        name == "event_id" || name == "ts" || fact.columns.iter().any(|column| column.value == name)
    };
    let mut columns: Vec<(String, Sort)> = all.filter(|(name, _)| kept(name)).collect();
    columns.push(("event".to_owned(), Sort::Text));
    columns
}

/// Checks an expression over the fact's rows. `expected` is the sort that it must have.
pub(super) fn over_fact(
    catalog: &Catalog,
    fact: &Fact,
    expression: &Located<Expression>,
    expected: Option<Sort>,
    cx: &mut Reading<'_>,
) {
    let columns = columns(catalog, fact);
    if columns.is_empty() {
        // The fact names no event that there is, which has been said.
        return;
    }
    let mut complete = true;
    for (name, at) in expression.value.names() {
        if !columns.iter().any(|(column, _)| column == name) {
            let kind = match (&fact.event, catalog.narrow(fact)) {
                (Some(event), _) => format!("field of event `{}` called", event.value),
                (None, _) => "column of the fact called".to_owned(),
            };
            unknown(&kind, name, at, columns.iter().map(|(column, _)| column.as_str()), cx);
            complete = false;
        }
    }
    if !complete {
        return;
    }
    let sort_of =
        |name: &str| columns.iter().find(|(column, _)| column == name).map_or(Sort::Any, |(_, sort)| *sort);
    let mut wrong = Vec::new();
    let sort = expression.value.sort(&sort_of, &mut |at, message| wrong.push((at, message)));
    if let Some(expected) = expected
        && wrong.is_empty()
        && !sort.fits(expected)
    {
        wrong.push((expression.at, format!("expected {}, found {}", expected.as_str(), sort.as_str())));
    }
    for (at, message) in wrong {
        cx.report(Mistake::BadExpression, at, message, None);
    }
}

/// Reports a name that is no column of the fact's rows.
pub(super) fn column(catalog: &Catalog, fact: &Fact, name: &Located<String>, cx: &mut Reading<'_>) {
    let columns = columns(catalog, fact);
    if !columns.is_empty() && !columns.iter().any(|(column, _)| *column == name.value) {
        let known = columns.iter().map(|(column, _)| column.as_str());
        unknown("column of the fact called", &name.value, name.at, known, cx);
    }
}
