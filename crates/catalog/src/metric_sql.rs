//! Metrics as aggregates of ClickHouse: over rows, and as states that rollups keep.
//!
//! Both are made of the same function over the same values, so that a rollup's answer is the rows' answer.

use tidegate_schema::quote;

use crate::catalog::Catalog;
use crate::column_type::clickhouse_type;
use crate::expression::{Expression, Sort};
use crate::field_type::{FieldType, Scalar};
use crate::language::{Fact, Field, Kind, Metric, Precision};
use crate::lock::Lock;

/// A metric whose groups can be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The aggregate over rows.
    pub raw: String,
    /// The type of the column that a rollup keeps.
    pub state_type: String,
    /// The aggregate over rows whose result that column keeps.
    pub state: String,
    /// The function that puts states together: its argument is the column.
    pub merge: &'static str,
    /// The function's parameters, with brackets; empty for none.
    pub parameters: String,
}

impl Aggregate {
    /// The metric out of the states in `column`, which is SQL.
    #[must_use]
    pub fn merged(&self, column: &str) -> String {
        format!("{}{}({column})", self.merge, self.parameters)
    }

    /// States in `column`, put together to a state.
    pub(crate) fn merged_state(&self, column: &str) -> String {
        // A simple aggregate's state is its value.
        let combinator = if self.merge.ends_with("Merge") { "State" } else { "" };
        format!("{}{combinator}{}({column})", self.merge, self.parameters)
    }
}

/// What is added up of the first or last value of somebody.
pub(crate) struct Summand {
    /// The value, never null.
    pub(crate) value: String,
    /// The conditions of the rows that have it.
    pub(crate) filter: Vec<String>,
}

/// The summand of a metric that has an expression.
pub(crate) fn summand(catalog: &Catalog, lock: &Lock, metric: &Metric) -> Option<Summand> {
    let fact = crate::check::rows_of_metric(catalog, metric)?;
    let rows = Rows { catalog, lock, fact };
    let (value, present) = rows.value(metric.expr()?);
    let filter = metric.filter().map(|filter| rows.condition(filter));
    let (value, _) = rows.summand(metric, value);
    Some(Summand { value, filter: filter.into_iter().chain(present).collect() })
}

/// A column of the rows, told from what a query calls its results.
pub(crate) fn source_name(name: &str) -> String {
    format!("source.{}", quote(name))
}

/// The aggregate of a metric over the rows of its fact; `None` for kinds that no single aggregate is.
/// The fact's own filter is not in it; the rows go by the name `source`.
#[must_use]
pub fn aggregate(catalog: &Catalog, lock: &Lock, metric: &Metric) -> Option<Aggregate> {
    let fact = crate::check::rows_of_metric(catalog, metric)?;
    let rows = Rows { catalog, lock, fact };
    let filter = metric.filter().map(|filter| rows.condition(filter));
    let value = metric.expr().map(|expr| rows.value(expr));
    let made = match metric.kind() {
        Kind::Count => {
            let raw = call("count", "", None, filter);
            simple("sum", "UInt64", raw)
        }
        Kind::Sum => {
            let (value, present) = value?;
            let (value, ty) = rows.summand(metric, value);
            simple("sum", &ty, call("sum", "", Some(value), both(filter, present)))
        }
        Kind::Min | Kind::Max => {
            let (value, present) = value?;
            let ty = format!("Nullable({})", rows.value_type(metric.expr()?));
            let name = if metric.kind() == Kind::Min { "min" } else { "max" };
            let raw = call(&format!("{name}OrNull"), "", Some(value), both(filter, present));
            simple(if name == "min" { "min" } else { "max" }, &ty, raw)
        }
        Kind::Any => {
            let (value, present) = value?;
            simple("max", "UInt8", call("max", "", Some(format!("toUInt8({value})")), both(filter, present)))
        }
        Kind::Avg => {
            let (value, present) = value?;
            stated("avg", "", ("Float64", format!("toFloat64({value})")), both(filter, present))
        }
        Kind::CountDistinct => {
            let (value, present) = value?;
            let ty = rows.value_type(metric.expr()?);
            let value = format!("CAST({value}, {})", crate::expression::sql_text(&ty));
            match metric.0.precision.unwrap_or(Precision::Approx) {
                Precision::Approx => stated("uniqCombined64", "(17)", (&ty, value), both(filter, present)),
                Precision::Exact => stated("uniqExact", "", (&ty, value), both(filter, present)),
            }
        }
        Kind::Quantile => {
            let (value, present) = value?;
            let q = metric.0.q.as_ref()?.value;
            let value = format!("toFloat64({value})");
            stated("quantileTDigest", &format!("({q})"), ("Float64", value), both(filter, present))
        }
        Kind::Ratio
        | Kind::Derived
        | Kind::First
        | Kind::Last
        | Kind::Cumulative
        | Kind::Conversion
        | Kind::Funnel
        | Kind::Retention => return None,
    };
    Some(made)
}

/// `functionIf(parameters)(value, condition)`.
fn call(function: &str, parameters: &str, value: Option<String>, condition: Option<String>) -> String {
    let combinator = if condition.is_some() { "If" } else { "" };
    let arguments: Vec<String> = value.into_iter().chain(condition).collect();
    format!("{function}{combinator}{parameters}({})", arguments.join(", "))
}

fn both(filter: Option<String>, present: Option<String>) -> Option<String> {
    match (filter, present) {
        (Some(filter), Some(present)) => Some(format!("{filter} AND {present}")),
        (one, other) => one.or(other),
    }
}

/// An aggregate whose state is its result.
fn simple(merge: &'static str, ty: &str, raw: String) -> Aggregate {
    Aggregate {
        state: raw.clone(),
        raw,
        state_type: format!("SimpleAggregateFunction({merge}, {ty})"),
        merge,
        parameters: String::new(),
    }
}

/// An aggregate with a state of its own.
fn stated(
    function: &'static str,
    parameters: &str,
    (ty, value): (&str, String),
    condition: Option<String>,
) -> Aggregate {
    Aggregate {
        raw: call(function, parameters, Some(value.clone()), condition.clone()),
        state_type: format!("AggregateFunction({function}{parameters}, {ty})"),
        state: call(&format!("{function}State"), parameters, Some(value), condition),
        merge: match function {
            "avg" => "avgMerge",
            "uniqCombined64" => "uniqCombined64Merge",
            "uniqExact" => "uniqExactMerge",
            _ => "quantileTDigestMerge",
        },
        parameters: parameters.to_owned(),
    }
}

/// The rows that an aggregate runs over.
struct Rows<'a> {
    catalog: &'a Catalog,
    lock: &'a Lock,
    fact: Fact,
}

impl Rows<'_> {
    /// Field, type without `optional`, and whether the column may be null.
    fn column(&self, name: &str) -> Option<(Field, FieldType, bool)> {
        let events = self.catalog.fact_events(&self.fact);
        // In a narrow table a column may be null if it may be in any of the events.
        let columns = events.iter().filter_map(|event| event.column(name, self.catalog.nulls()));
        let nullable = columns.clone().any(|column| column.nullable);
        let first = columns.into_iter().next()?;
        Some((first.field.clone(), first.ty.clone(), nullable))
    }

    fn nullable(&self, expr: &Expression) -> bool {
        let names = expr.names();
        expr.text().to_ascii_lowercase().contains("null")
            || names.iter().any(|(name, _)| self.column(name).is_some_and(|(.., nullable)| nullable))
    }

    /// A condition that is never null.
    fn condition(&self, expr: &Expression) -> String {
        let sql = expr.sql(&source_name);
        if self.nullable(expr) { format!("ifNull({sql}, false)") } else { sql }
    }

    /// A value, and the condition under which it is there.
    fn value(&self, expr: &Expression) -> (String, Option<String>) {
        let sql = expr.sql(&source_name);
        if self.nullable(expr) {
            (format!("assumeNotNull({sql})"), Some(format!("isNotNull({sql})")))
        } else {
            (sql, None)
        }
    }

    /// What is summed, and the type of the sum.
    fn summand(&self, metric: &Metric, value: String) -> (String, String) {
        let stated = metric.0.ty.as_ref().and_then(|ty| ty.value.scalar().cloned());
        let named = metric.expr().and_then(Expression::only_name).and_then(|name| self.column(name));
        match (stated, named) {
            (Some(Scalar::Decimal { scale, .. }), _) => {
                (format!("toDecimal128({value}, {scale})"), format!("Decimal(38, {scale})"))
            }
            (Some(Scalar::Integer { signed, .. }), _) => {
                let ty = if signed { "Int64" } else { "UInt64" };
                (format!("to{ty}({value})"), ty.to_owned())
            }
            (None, Some((_, FieldType::Scalar(Scalar::Decimal { scale, .. }), _))) => {
                (value, format!("Decimal(38, {scale})"))
            }
            (None, Some((_, FieldType::Scalar(Scalar::Integer { signed, .. }), _))) => {
                (value, if signed { "Int64" } else { "UInt64" }.to_owned())
            }
            (None, Some((_, FieldType::Scalar(Scalar::Duration), _))) => (value, "UInt64".to_owned()),
            (_, _) => (format!("toFloat64({value})"), "Float64".to_owned()),
        }
    }

    /// The type of an expression's values.
    fn value_type(&self, expr: &Expression) -> String {
        let named = expr.only_name().and_then(|name| self.column(name));
        if let Some((field, ty, _)) = named
            && matches!(ty, FieldType::Scalar(_))
        {
            let ty = clickhouse_type(&ty, &field, self.catalog, self.lock);
            // A dictionary is a way of storing; an enum's words are what is counted.
            return match ty.as_str() {
                ty if ty.starts_with("LowCardinality") || ty.starts_with("Enum") => "String".to_owned(),
                _ => ty,
            };
        }
        let sort_of = |name: &str| {
            self.catalog
                .fact_events(&self.fact)
                .first()
                .and_then(|event| event.column(name, true))
                .map_or(Sort::Any, |column| column.sort())
        };
        match expr.sort(&sort_of, &mut |_, _| {}) {
            Sort::Number => "Float64",
            Sort::Bool => "UInt8",
            Sort::Time => "DateTime64(3, 'UTC')",
            Sort::Date => "Date",
            Sort::Text | Sort::Any | Sort::Composite => "String",
        }
        .to_owned()
    }
}
