//! The rows of a fact as a question reads them: the table, dimensions with their joins, conditions.

use tidegate_schema::quote;
use tidegate_yaml::Mistake;
use tidegate_yaml::reading::Reading;

use super::moment::{Moment, Range, period};
use super::select::Select;
use super::{Question, part_of_where};
use crate::catalog::Catalog;
use crate::check;
use crate::expression::{Expression, Sort, sql_text};
use crate::language::{Dimension, Fact, Metric, Span};
use crate::metric_sql::source_name;

/// The rows that a metric counts.
#[derive(Debug, Clone)]
pub(super) struct Rows<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) fact: Fact,
    /// Their table, without its database.
    pub(super) table: String,
    columns: Vec<(String, Sort)>,
}

/// A dimension's value over rows: a text that is never null, and the join that it needs.
struct Value {
    sql: String,
    join: String,
}

impl<'a> Rows<'a> {
    /// The rows of a metric that counts rows.
    pub(super) fn of(catalog: &'a Catalog, metric: &Metric) -> Option<Self> {
        let fact = check::rows_of_metric(catalog, metric)?;
        let table = match (&metric.0.fact, catalog.narrow(&fact)) {
            (Some(name), true) => name.value.clone(),
            (_, _) => catalog.fact_events(&fact).first()?.table.clone(),
        };
        let columns = check::fact_columns(catalog, &fact);
        Some(Self { catalog, fact, table, columns })
    }

    /// The same for the same rows.
    pub(super) fn key(&self) -> String {
        let filter = self.fact.where_.as_ref().map_or("", |filter| filter.value.text());
        format!("{} {filter}", self.table)
    }

    /// How long they are kept.
    pub(super) fn keep(&self) -> Option<Span> {
        let of_all = self.catalog.file.policies.keep_events;
        match self.catalog.fact_events(&self.fact).first() {
            Some(event) if !self.catalog.narrow(&self.fact) => event.source.clickhouse.keep.or(of_all),
            Some(_) | None => of_all,
        }
    }

    /// The dimensions that they can be split by, in the catalog's order.
    pub(super) fn dimensions(&self) -> Vec<&'a str> {
        let all = self.catalog.file.dimensions.iter();
        all.filter(|(name, dimension)| self.value(name, dimension).is_some()).map(|(name, _)| name).collect()
    }

    /// Reports what the question asks of these rows and they do not have.
    pub(super) fn check(&self, question: &Question, metric: &str, cx: &mut Reading<'_>) {
        let filtered = question.filter.iter().flat_map(Expression::names);
        let split = question.by.iter().map(|by| (by.value.as_str(), by.at));
        for (name, at) in split.chain(filtered) {
            let Some(dimension) = self.catalog.file.dimensions.get(name) else { continue };
            if self.value(name, dimension).is_none() {
                let message = format!(
                    "`{metric}` cannot be told apart by `{name}`: its rows lack what that is made of"
                );
                let has = self.dimensions();
                let hint = match has.is_empty() {
                    true => "its rows have no dimension; say one under `dimensions`".to_owned(),
                    false => format!("its rows have {}", tidegate_yaml::shape::comma_list(&has)),
                };
                cx.report(Mistake::Conflict, at, message, Some(hint));
            }
        }
        if let Some(filter) = &question.filter {
            let mut wrong = Vec::new();
            let sort = filter.sort(&|name| self.sort(name), &mut |at, message| wrong.push((at, message)));
            if wrong.is_empty() && !sort.fits(Sort::Bool) {
                let message = format!("expected a condition, found {}", sort.as_str());
                wrong.push((part_of_where(), message));
            }
            for (at, message) in wrong {
                let hint = "dimensions are texts, but those of numbers and of true or false".to_owned();
                cx.report(Mistake::BadExpression, at, message, Some(hint));
            }
        }
    }

    /// What a filter may compare the dimension with.
    fn sort(&self, name: &str) -> Sort {
        let Some(dimension) = self.catalog.file.dimensions.get(name) else { return Sort::Any };
        let column = |name: &str| {
            self.columns.iter().find(|(column, _)| column == name).map_or(Sort::Text, |(_, sort)| *sort)
        };
        let sort = match (&dimension.field, &dimension.expr) {
            (Some(field), _) => column(&field.value),
            (None, Some(expr)) => expr.value.sort(&column, &mut |_, _| {}),
            (None, None) => self.attribute_sort(dimension).unwrap_or(Sort::Text),
        };
        match sort {
            Sort::Number | Sort::Bool => sort,
            Sort::Text | Sort::Time | Sort::Date | Sort::Any | Sort::Composite => Sort::Text,
        }
    }

    fn attribute_sort(&self, dimension: &Dimension) -> Option<Sort> {
        let entity = self.catalog.file.entities.get(&dimension.entity.as_ref()?.value)?;
        let event = self.catalog.events.get(&entity.source.value)?;
        Some(event.column(&dimension.attribute.as_ref()?.value, true)?.sort())
    }

    /// A dimension in a filter: its text, or what that says as a number or a truth. It is the same of rows
    /// and of rollups, which keep the text.
    pub(super) fn compared(&self, name: &str, text: &str) -> String {
        match self.sort(name) {
            Sort::Number => format!("toFloat64OrNull({text})"),
            Sort::Bool => format!("({text} = 'true')"),
            Sort::Text | Sort::Time | Sort::Date | Sort::Any | Sort::Composite => text.to_owned(),
        }
    }

    /// Whether a row is of that event; `None` if every row is.
    pub(super) fn is_event(&self, event: &str) -> Option<String> {
        self.catalog.narrow(&self.fact).then(|| format!("{} = {}", source_name("event"), sql_text(event)))
    }

    /// The condition of rows that count, before any metric's own.
    fn own_filter(&self) -> Option<String> {
        // A narrow fact's filter was at work when its table was filled.
        let filter = self.fact.where_.as_ref().filter(|_| !self.catalog.narrow(&self.fact))?;
        Some(filter.value.sql(&source_name))
    }

    /// The table of rows that count, without anything that a question says.
    pub(super) fn bare(&self) -> Select {
        let mut select = Select::from(format!("{} AS source", self.place(&self.table)));
        select.filter.extend(self.own_filter());
        select
    }

    /// The rows of a range that the question's filter lets through, with dimensions joined to them; and how
    /// the values of the dimensions that it splits by are written.
    pub(super) fn asked(&self, question: &Question, range: Range) -> (Select, Vec<(String, String)>) {
        let mut select = self.bare();
        select.filter.extend(range.conditions(&source_name("ts"), &Moment::sql_time));
        let values = self.joined(question, &mut select);
        select.filter.extend(self.condition(question, &|name| {
            values.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, sql)| sql.clone())
        }));
        let keys = question.by.iter().filter_map(|by| {
            let (_, sql) = values.iter().find(|(known, _)| *known == by.value)?;
            Some((question.key_name(&by.value), sql.clone()))
        });
        (select, keys.collect())
    }

    /// The question's filter; `text` writes a dimension's text.
    pub(super) fn condition(&self, question: &Question, text: &dyn Fn(&str) -> String) -> Option<String> {
        let filter = question.filter.as_ref()?;
        Some(filter.sql(&|name| self.compared(name, &text(name))))
    }

    /// Joins what the question's dimensions need; gives their values.
    pub(super) fn joined(&self, question: &Question, select: &mut Select) -> Vec<(String, String)> {
        let mut values: Vec<(String, String)> = Vec::new();
        for name in question.dimensions() {
            let known = values.iter().any(|(known, _)| known == name);
            let dimension = self.catalog.file.dimensions.get(name).filter(|_| !known);
            if let Some(Value { sql, join }) = dimension.and_then(|dimension| self.value(name, dimension)) {
                select.from.push_str(&join);
                values.push((name.to_owned(), sql));
            }
        }
        values
    }

    /// The period of a row.
    pub(super) fn period(grain: crate::language::Grain) -> String {
        period(grain, &source_name("ts"))
    }

    /// A table's full name.
    pub(super) fn place(&self, table: &str) -> String {
        format!("{}.{}", quote(self.catalog.database()), quote(table))
    }

    /// Whether a column of the rows may be null.
    pub(super) fn nullable(&self, name: &str) -> bool {
        let nulls = self.catalog.nulls();
        let events = self.catalog.fact_events(&self.fact);
        events.iter().any(|event| event.column(name, nulls).is_some_and(|column| column.nullable))
    }

    fn value(&self, name: &str, dimension: &Dimension) -> Option<Value> {
        let has = |field: &str| self.columns.iter().any(|(column, _)| column == field);
        let missing = sql_text(dimension.missing.as_deref().unwrap_or_default());
        if let Some(via) = &dimension.via {
            return if has(&via.value) { self.attribute(name, dimension, &missing) } else { None };
        }
        let sql = match (&dimension.field, &dimension.expr) {
            (Some(field), _) if has(&field.value) => source_name(&field.value),
            (None, Some(expr)) if expr.value.names().iter().all(|(name, _)| has(name)) => {
                expr.value.sql(&source_name)
            }
            (_, _) => return None,
        };
        Some(Value { sql: format!("ifNull(toString({sql}), {missing})"), join: String::new() })
    }

    /// A field of an entity, as it was told last.
    fn attribute(&self, name: &str, dimension: &Dimension, missing: &str) -> Option<Value> {
        let (via, attribute) = (dimension.via.as_ref()?, dimension.attribute.as_ref()?);
        let entity_name = &dimension.entity.as_ref()?.value;
        let entity = self.catalog.file.entities.get(entity_name)?;
        let alias = quote(&format!("via_{name}"));
        // In a tuple, since `argMax` passes over what is null. What finds no entity is null too.
        let last =
            format!("tupleElement(argMax(tuple(source.{}), source.`since`), 1)", quote(&attribute.value));
        let join = format!(
            "\nLEFT JOIN (SELECT source.{key} AS k, CAST(toString({last}), 'Nullable(String)') AS v FROM {} AS source \
             GROUP BY k) AS {alias} ON {} = {alias}.k",
            self.place(&format!("entity_{entity_name}")),
            source_name(&via.value),
            key = quote(&entity.key.value),
        );
        Some(Value { sql: format!("ifNull({alias}.v, {missing})"), join })
    }
}
