//! Questions for metrics as SQL: which tables answer, and why.
//!
//! A question's metrics are taken apart into those that are computed of rows. Metrics of the same rows are
//! one part, read from these rows or from a rollup that gives the same answer; parts are put together by
//! period and dimensions, and ratios and expressions are computed of what came of it. Of a group of rows a
//! metric is what it is of these rows alone, but for those that follow people: there a journey, or
//! somebody's time, belongs to the group of the row that it begins with.

mod groups;
mod journey;
mod leaf;
mod moment;
mod over_time;
mod retention;
mod rollup;
mod rows;
mod select;

use std::path::Path;

use indexmap::IndexMap;
use serde::Serialize;
use tidegate_schema::quote;
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Located, Shape};
use tidegate_yaml::{Diagnostics, Mistake, Position};

use self::leaf::{Leaf, TakenApart, Way, estimated};
pub(crate) use self::moment::period;
use self::moment::{Moment, Range};
use self::rows::Rows;
use self::select::{Select, of};
use crate::catalog::Catalog;
use crate::check;
use crate::expression::Expression;
use crate::language::{Grain, Kind, Metric, MetricRef};
use crate::lock::Lock;

/// The columns that an answer may have beside dimensions and metrics.
const PERIOD: &str = "period";
const STEP: &str = "step";
const STEP_EVENT: &str = "step_event";
const AFTER: &str = "after";
const WHOLE: &str = "of";
const RESERVED: [&str; 5] = [PERIOD, STEP, STEP_EVENT, AFTER, WHOLE];

/// The parts of a question, as mistakes name them.
const PARTS: [&str; 6] = ["metrics", "by", "grain", "where", "from", "to"];

/// A question, as somebody wrote it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Names of metrics.
    pub metrics: Vec<String>,
    /// The dimensions that they are split by.
    pub by: Vec<String>,
    /// The length of the time axis: `hour`, `day`, `week`, `month`; one answer over all time without.
    pub grain: Option<String>,
    /// Which rows count: an expression over dimensions.
    pub filter: Option<String>,
    /// The first time that counts, in UTC.
    pub from: Option<String>,
    /// The first time that does not count any more.
    pub to: Option<String>,
    /// What may be read.
    pub sources: Sources,
    /// The most rows of the answer.
    pub limit: Option<u64>,
}

/// What a question may be answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sources {
    /// A rollup where one gives the same answer, otherwise rows.
    #[default]
    Best,
    /// Rows only.
    Rows,
}

/// The answer's SQL, and where it reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compiled {
    /// One `SELECT`.
    pub sql: String,
    /// The columns that it gives, in order.
    pub columns: Vec<Column>,
    /// What is read for which metrics, and why.
    pub reads: Vec<Read>,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub role: Role,
    /// What its numbers count, if the metric says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether its numbers are estimates: of different values, or of quantiles.
    pub estimate: bool,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The beginning of a period.
    Period,
    /// A dimension's value.
    Dimension,
    /// A funnel's step, from 1.
    Step,
    /// The step's event.
    Event,
    /// How many periods after joining.
    After,
    /// A metric.
    Metric,
    /// Of how many the metric's number is a part.
    Whole,
}

/// A table that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Read {
    /// The table, without its database.
    pub table: String,
    /// Whether it is a rollup.
    pub rollup: bool,
    /// The metrics that come from it.
    pub metrics: Vec<String>,
    /// Why this one.
    pub because: String,
}

/// A question whose names all stand for something.
#[derive(Debug)]
struct Question {
    metrics: Vec<Located<String>>,
    by: Vec<Located<String>>,
    grain: Option<Grain>,
    filter: Option<Expression>,
    range: Range,
    sources: Sources,
    limit: Option<u64>,
    /// Names of dimensions that another column of the answer bears.
    taken: Vec<String>,
}

/// The rows of some metrics, as a `SELECT` with a column for each of them.
struct Part {
    leaves: Vec<String>,
    sql: String,
    read: Read,
}

/// Compiles a question.
///
/// # Errors
/// Everything that is wrong with it. A mistake's file is the part of the question that it is in: `metrics`,
/// `by`, `grain`, `where`, `from`, `to`; of the first two, which are lists, the column is that of the list
/// with commas.
pub fn compile(catalog: &Catalog, lock: &Lock, asked: &Asked) -> Result<Compiled, Diagnostics> {
    let mut cx = Reading { surroundings: None, folder: Path::new(""), found: Vec::new() };
    let question = Question::read(catalog, asked, &mut cx);
    let compiled = if cx.found.is_empty() { answer(catalog, lock, &question, &mut cx) } else { None };
    if cx.found.is_empty() && compiled.is_none() {
        // No checked catalog comes here.
        cx.report(Mistake::Conflict, in_part(0, 1), "the catalog does not say how to compute it", None);
    }
    match compiled {
        Some(compiled) if cx.found.is_empty() => Ok(compiled),
        Some(_) | None => Err(Diagnostics::new(&PARTS.map(str::to_owned), cx.found)),
    }
}

/// The dimensions that a metric can be split by, in the catalog's order.
#[must_use]
pub fn dimensions_of<'a>(catalog: &'a Catalog, name: &str) -> Vec<&'a str> {
    let mut open = vec![catalog.file.metrics.get(name)];
    let mut common: Option<Vec<&str>> = None;
    while let Some(next) = open.pop() {
        let Some(metric) = next else { continue };
        if let Some(rows) = Rows::of(catalog, metric) {
            let own = rows.dimensions();
            common = Some(match common {
                Some(others) => others.into_iter().filter(|name| own.contains(name)).collect(),
                None => own,
            });
        }
        open.extend(metric.0.numerator.iter().chain(&metric.0.denominator).filter_map(|part| match part {
            MetricRef::Inline(inline) => Some(Some(inline)),
            MetricRef::Named(_) => None,
        }));
        open.extend(check::parts(metric).into_iter().map(|part| catalog.file.metrics.get(part)));
    }
    common.unwrap_or_default()
}

const fn in_part(file: usize, column: usize) -> Position {
    Position { file, line: 1, column }
}

/// Where the filter stands.
const fn part_of_where() -> Position {
    in_part(3, 1)
}

/// Each of a list with its place in the text that has commas between them; once each.
fn listed(names: &[String], part: usize) -> Vec<Located<String>> {
    let mut column = 1;
    let mut list: Vec<Located<String>> = Vec::new();
    for name in names {
        if !list.iter().any(|known| known.value == *name) {
            list.push(Located { at: in_part(part, column), value: name.clone() });
        }
        column += name.chars().count() + 1;
    }
    list
}

fn node(text: &str, part: usize) -> Node {
    Node::new(in_part(part, 1), NodeKind::Text(text.to_owned()))
}

impl Question {
    fn read(catalog: &Catalog, asked: &Asked, cx: &mut Reading<'_>) -> Self {
        let (metrics, by) = (listed(&asked.metrics, 0), listed(&asked.by, 1));
        if metrics.is_empty() {
            let hint = "name one or more of the catalog's metrics".to_owned();
            cx.report(Mistake::MissingKey, in_part(0, 1), "no metric is named", Some(hint));
        }
        for metric in metrics.iter().filter(|metric| !catalog.file.metrics.contains(&metric.value)) {
            check::unknown("metric", &metric.value, metric.at, catalog.file.metrics.keys(), cx);
        }
        let grain = asked.grain.as_deref().and_then(|text| Grain::read(&node(text, 2), cx));
        let filter = asked.filter.as_deref().and_then(|text| Expression::read(&node(text, 3), cx));
        let from = asked.from.as_deref().and_then(|text| Moment::read(&node(text, 4), cx));
        let to = asked.to.as_deref().and_then(|text| Moment::read(&node(text, 5), cx));
        if let (Some(first), Some(end)) = (from, to)
            && first >= end
        {
            let hint = "`to` is the first time that does not count any more".to_owned();
            cx.report(Mistake::Conflict, in_part(5, 1), "`to` is not later than `from`", Some(hint));
        }
        let metric_names = catalog.file.metrics.keys();
        let taken = RESERVED.into_iter().chain(metric_names).map(str::to_owned).collect();
        let (sources, limit) = (asked.sources, asked.limit);
        let range = Range { from, to };
        let question = Self { metrics, by, grain, filter, range, sources, limit, taken };
        question.names_of_dimensions(catalog, cx);
        question
    }

    fn names_of_dimensions(&self, catalog: &Catalog, cx: &mut Reading<'_>) {
        let filtered = self.filter.iter().flat_map(Expression::names);
        for (name, at) in self.by.iter().map(|by| (by.value.as_str(), by.at)).chain(filtered) {
            if catalog.file.dimensions.contains(name) {
                continue;
            }
            let is_field = catalog.events.values().any(|event| event.column(name, true).is_some());
            if is_field {
                let message = format!("`{name}` is a field, and no dimension");
                let hint = format!("give it a name under `dimensions`: `{name}: {{field: {name}}}`");
                cx.report(Mistake::UnknownName, at, message, Some(hint));
            } else {
                check::unknown("dimension", name, at, catalog.file.dimensions.keys(), cx);
            }
        }
    }

    /// The dimensions that it names, in its split and its filter.
    fn dimensions(&self) -> Vec<&str> {
        let filtered = self.filter.iter().flat_map(Expression::names).map(|(name, _)| name);
        self.by.iter().map(|by| by.value.as_str()).chain(filtered).collect()
    }

    /// What a dimension's column is called.
    fn key_name(&self, dimension: &str) -> String {
        if self.taken.iter().any(|taken| taken == dimension) {
            format!("by_{dimension}")
        } else {
            dimension.to_owned()
        }
    }

    fn key_columns(&self) -> Vec<Column> {
        let period = self.grain.map(|_| Column::plain(PERIOD, Role::Period));
        let dims = self.by.iter().map(|by| Column::plain(&self.key_name(&by.value), Role::Dimension));
        period.into_iter().chain(dims).collect()
    }

    /// The answer in order, and no longer than was asked.
    fn ordered(&self, select: &str, columns: &[Column]) -> String {
        let metric = columns.iter().find(|column| column.role == Role::Metric);
        let is_key = |role: Role| match role {
            Role::Period | Role::Dimension | Role::Step | Role::Event | Role::After => true,
            Role::Metric | Role::Whole => false,
        };
        let keys: Vec<&Column> = columns.iter().filter(|column| is_key(column.role)).collect();
        let mut order: Vec<String> = keys.iter().map(|column| quote(&column.name)).collect();
        // Without a time axis or steps, what there is most of is looked for first.
        if let (Some(metric), true) = (metric, keys.iter().all(|key| key.role == Role::Dimension)) {
            order.insert(0, format!("{} DESC NULLS LAST", quote(&metric.name)));
        }
        let mut sql = select.to_owned();
        if !keys.is_empty() {
            sql.push_str(&format!("\nORDER BY {}", order.join(", ")));
        }
        if let Some(limit) = self.limit {
            sql.push_str(&format!("\nLIMIT {limit}"));
        }
        sql
    }
}

impl Column {
    fn plain(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, unit: None, estimate: false }
    }

    fn of_metric(name: &str, metric: &Metric, estimate: bool) -> Self {
        let unit = metric.unit().map(str::to_owned);
        Self { name: name.to_owned(), role: Role::Metric, unit, estimate }
    }
}

fn answer(catalog: &Catalog, lock: &Lock, question: &Question, cx: &mut Reading<'_>) -> Option<Compiled> {
    if let [only] = question.metrics.as_slice() {
        let metric = catalog.file.metrics.get(&only.value)?;
        if matches!(metric.kind(), Kind::Funnel | Kind::Retention) {
            return followed(catalog, question, (only, metric), cx);
        }
    }
    let mut apart = TakenApart { catalog, lock, question, leaves: IndexMap::new(), cx };
    let mut columns = question.key_columns();
    let mut values: Vec<(String, String)> = Vec::new();
    for name in &question.metrics {
        // All metrics are looked at, so that all mistakes are told.
        if let Some(sql) = apart.named(&name.value, name.at) {
            values.push((name.value.clone(), sql));
        }
        let metric = catalog.file.metrics.get(&name.value)?;
        columns.push(Column::of_metric(&name.value, metric, estimated(catalog, metric)));
    }
    let leaves = apart.leaves;
    if values.len() < question.metrics.len() || !cx.found.is_empty() {
        return None;
    }
    let mut parts = parts(question, &leaves)?;
    for part in &mut parts {
        // What is told inside of another metric is told as a part of it.
        part.read.metrics = part.leaves.iter().map(|leaf| leaf.replace("__", "'s ")).collect();
    }
    let select = together(question, &leaves, &parts, &values);
    let reads = reads(parts);
    Some(Compiled { sql: question.ordered(&select, &columns), columns, reads })
}

/// A funnel, or retention: their answers have several rows where others have one.
fn followed(
    catalog: &Catalog,
    question: &Question,
    (name, metric): (&Located<String>, &Metric),
    cx: &mut Reading<'_>,
) -> Option<Compiled> {
    let rows = Rows::of(catalog, metric)?;
    rows.check(question, &name.value, cx);
    if let (Some(asked), Some(period)) = (question.grain, metric.0.period)
        && asked != period
    {
        let message = format!("`{}` is told by {period}, not by {asked}", name.value);
        let hint = format!("ask by {period}, or for all cohorts together without `grain`");
        cx.report(Mistake::Conflict, in_part(2, 1), message, Some(hint));
    }
    let named = (name.value.as_str(), metric);
    let (select, columns, mut read) = if metric.kind() == Kind::Funnel {
        journey::funnel(question, named, &rows)?
    } else {
        retention::retention(question, named, &rows)?
    };
    read.metrics.push(name.value.clone());
    Some(Compiled { sql: question.ordered(&select, &columns), columns, reads: vec![read] })
}

/// The leaves by what they can be read together with.
fn parts(question: &Question, leaves: &IndexMap<String, Leaf<'_>>) -> Option<Vec<Part>> {
    let mut groups: IndexMap<String, Vec<&Leaf<'_>>> = IndexMap::new();
    for leaf in leaves.values() {
        let key = match &leaf.way {
            Way::Aggregate(_) => leaf.rows.key(),
            Way::Each { .. } | Way::Reaching { .. } | Way::Conversion => format!("alone {}", leaf.name),
        };
        groups.entry(key).or_default().push(leaf);
    }
    let part = |leaves: &Vec<&Leaf<'_>>| {
        let first = leaves.first()?;
        match &first.way {
            Way::Aggregate(_) => groups::aggregated(question, leaves),
            Way::Each { .. } => groups::each(question, first),
            Way::Reaching { .. } => over_time::cumulative(question, first),
            Way::Conversion => journey::conversion(question, first),
        }
    };
    groups.values().map(part).collect()
}

/// What is read, each table once for each reason.
fn reads(parts: Vec<Part>) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for Part { read, .. } in parts {
        let same = |known: &&mut Read| known.table == read.table && known.because == read.because;
        match reads.iter_mut().find(same) {
            Some(known) => known.metrics.extend(read.metrics),
            None => reads.push(read),
        }
    }
    reads
}

/// The parts as one answer.
fn together(
    question: &Question,
    leaves: &IndexMap<String, Leaf<'_>>,
    parts: &[Part],
    values: &[(String, String)],
) -> String {
    let keys: Vec<String> = question.key_columns().into_iter().map(|column| column.name).collect();
    let inner = match parts {
        [one] => one.sql.clone(),
        several => {
            let selects: Vec<String> = several.iter().map(|part| filled(&keys, leaves, part)).collect();
            let mut all = Select::over(&selects.join("\nUNION ALL\n"), "part");
            for key in &keys {
                all.key(key, of("part", key));
            }
            for (name, leaf) in leaves {
                // Of a group that the other parts have and this one has not, nothing was counted.
                let any = format!("any({})", of("part", name));
                let value = if leaf.zero_without_rows() { format!("ifNull({any}, 0)") } else { any };
                all.column(name, value);
            }
            all.sql()
        }
    };
    let mut select = Select::over(&inner, "answer");
    for key in &keys {
        select.column(key, of("answer", key));
    }
    for (name, sql) in values {
        select.column(name, sql.as_str());
    }
    select.sql()
}

/// A part with a column for every leaf: null for those of others.
fn filled(keys: &[String], leaves: &IndexMap<String, Leaf<'_>>, part: &Part) -> String {
    let mut select = Select::over(&part.sql, "own");
    for key in keys {
        select.column(key, of("own", key));
    }
    for name in leaves.keys() {
        let own = part.leaves.contains(name);
        select.column(name, if own { of("own", name) } else { "NULL".to_owned() });
    }
    select.sql()
}

#[cfg(test)]
mod tests;
