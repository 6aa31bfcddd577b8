//! Rollups: a table of states, and the view that adds to it with each inserted block.
//!
//! The view runs over the block that is inserted, and its own insert carries a token of that block's: a
//! batch that is repeated is dropped here as it is there.

use tidegate_schema::quote;

use super::clickhouse::{NewColumn, NewTable, Statement, Step, Writer, ttl};
use crate::expression::sql_text;
use crate::language::{Dimension, Grain, Rollup};
use crate::metric_sql::{aggregate, source_name};
use crate::question::period;

pub(super) fn statements(writer: &Writer<'_>, name: &str, rollup: &Rollup) -> Vec<Statement> {
    let catalog = writer.catalog;
    let Some(fact) = catalog.file.facts.get(&rollup.fact.value) else { return Vec::new() };
    let (period, period_type) = (period(rollup.grain, &source_name("ts")), period_type(rollup.grain));
    let mut columns = vec![NewColumn::new("period", period_type)];
    let mut select = vec![format!("{period} AS `period`")];
    let mut keys = vec!["`period`".to_owned()];
    for dim in &rollup.dims {
        let Some(dimension) = catalog.file.dimensions.get(&dim.value) else { continue };
        columns.push(NewColumn::new(&dim.value, "LowCardinality(String)"));
        select.push(format!("{} AS {}", dimension_sql(dimension), quote(&dim.value)));
        keys.push(quote(&dim.value));
    }
    for named in &rollup.metrics {
        let metric = catalog.file.metrics.get(&named.value);
        let Some(aggregate) = metric.and_then(|metric| aggregate(catalog, writer.lock, metric)) else {
            continue;
        };
        columns.push(NewColumn::new(&named.value, aggregate.state_type));
        select.push(format!("{} AS {}", aggregate.state, quote(&named.value)));
    }
    let source = match catalog.fact_events(fact).first() {
        Some(event) if !catalog.narrow(fact) => event.table.clone(),
        Some(_) | None => rollup.fact.value.clone(),
    };
    // A narrow fact's filter has been at work when its table was filled.
    let filter = match &fact.where_ {
        Some(filter) if !catalog.narrow(fact) => format!("\nWHERE {}", filter.value.sql(&source_name)),
        Some(_) | None => String::new(),
    };
    let new = NewTable {
        step: Step::Rollups,
        name,
        columns,
        engine: "AggregatingMergeTree",
        partition_by: Some("toYYYYMM(`period`)".to_owned()),
        order_by: keys.clone(),
        ttl: rollup.keep.or(catalog.file.policies.keep_rollups).map(|keep| ttl("period", keep)),
        comment: rollup.doc.as_deref().unwrap_or(name),
    };
    let select = format!(
        "SELECT\n    {}\nFROM {} AS source{filter}\nGROUP BY {}",
        select.join(",\n    "),
        writer.place(&source),
        keys.join(", "),
    );
    let view = format!("{name}_view");
    vec![writer.table(new), writer.view((Step::Rollups, &view), (&source, name), &select)]
}

/// The type of the beginnings of periods.
const fn period_type(grain: Grain) -> &'static str {
    match grain {
        Grain::Hour => "DateTime('UTC')",
        Grain::Day | Grain::Week | Grain::Month => "Date",
    }
}

/// A dimension's value as a text; null is what the dimension says, or nothing.
fn dimension_sql(dimension: &Dimension) -> String {
    let value = match (&dimension.field, &dimension.expr) {
        (Some(field), _) => source_name(&field.value),
        (None, Some(expr)) => expr.value.sql(&source_name),
        (None, None) => "''".to_owned(),
    };
    let missing = sql_text(dimension.missing.as_deref().unwrap_or_default());
    format!("ifNull(toString({value}), {missing})")
}
