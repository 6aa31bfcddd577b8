//! Metrics that the catalog does not have and could have, as its own YAML.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;
use tidegate_yaml::node;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Shape as _;

use super::Wanted;
use super::formula::renamed;
use super::known::{Known, definition, quotient};
use super::needs::Gap;
use crate::check;
use crate::expression::Expression;
use crate::language::{Kind, Metric};
use crate::proposal::quoted;

/// What makes a wanted metric one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "write", rename_all = "snake_case")]
pub enum Proposal {
    /// Metrics to be added under `metrics`, the wanted one last.
    Metrics {
        /// Each as a line of YAML.
        metrics: Vec<String>,
    },
    /// A metric computes just this: the wanted name is another name of it.
    Alias {
        /// The metric.
        metric: String,
        /// The name to be added to its `alias`.
        alias: String,
    },
}

/// Rows that are put together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rows {
    Event(String),
    Fact(String),
}

/// A part of a wanted metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// A metric that there is.
    Metric(String),
    /// Rows put together.
    Aggregate { kind: Kind, q: Option<f64>, rows: Rows, expr: Option<String>, filter: Option<String> },
}

/// How the parts make the metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Single(Part),
    Ratio(Part, Part),
    /// An expression whose names are metrics and, as `__0`, parts.
    Derived(String, Vec<Part>),
}

impl Part {
    /// Rows put together; `argument` is empty if it is the rows themselves.
    pub(super) fn aggregate(
        (kind, q): (Kind, Option<f64>),
        rows: Rows,
        (argument, mut filter): (String, Option<String>),
        known: &Known<'_>,
    ) -> Self {
        let mut expr = (!argument.is_empty()).then_some(argument);
        if kind == Kind::Count
            && let Some(value) = expr.take()
        {
            let optional = match &rows {
                Rows::Event(event) => known.catalog.events.get(event).is_some_and(|event| {
                    event.column(&value, known.catalog.nulls()).is_none_or(|column| column.nullable)
                }),
                Rows::Fact(_) => true,
            };
            // SQL counts the rows that have the value.
            if optional {
                let there = format!("({value}) is not null");
                filter =
                    Some(filter.map_or_else(|| there.clone(), |filter| format!("({filter}) and {there}")));
            }
        }
        Self::Aggregate { kind, q, rows, expr, filter }
    }

    pub(super) fn event(&self) -> Option<&str> {
        match self {
            Self::Aggregate { rows: Rows::Event(event), .. } => Some(event),
            Self::Aggregate { rows: Rows::Fact(_), .. } | Self::Metric(_) => None,
        }
    }

    /// The keys of the metric, as they stand in braces.
    fn keys(&self, known: &Known<'_>) -> String {
        let Self::Aggregate { kind, q, rows, expr, filter } = self else { return String::new() };
        let rows = match rows {
            Rows::Event(event) => match known.fact_of(event) {
                Some(fact) => format!("fact: {fact}"),
                None => format!("event: {event}"),
            },
            Rows::Fact(fact) => format!("fact: {fact}"),
        };
        let mut keys = format!("kind: {kind}, {rows}");
        if let Some(expr) = expr {
            keys.push_str(&format!(", expr: {}", quoted(expr)));
        }
        if let Some(q) = q {
            keys.push_str(&format!(", q: {q}"));
        }
        if let Some(filter) = filter {
            keys.push_str(&format!(", where: {}", quoted(filter)));
        }
        keys
    }

    /// The metric that is this part, if there is one.
    fn there(&self, known: &Known<'_>) -> Result<Option<String>, Gap> {
        if let Self::Metric(name) = self {
            return Ok(Some(name.clone()));
        }
        let metric = metric(known, &self.keys(known))?;
        let definition = definition(known.catalog, &metric);
        Ok(definition.and_then(|definition| known.metric_defined(&definition)).map(str::to_owned))
    }

    /// As a part of a ratio: a name, or a metric in braces.
    fn in_place(&self, known: &Known<'_>) -> Result<String, Gap> {
        Ok(self.there(known)?.unwrap_or_else(|| format!("{{{}}}", self.keys(known))))
    }

    /// What it would be called.
    fn name(&self) -> String {
        match self {
            Self::Metric(name) => name.clone(),
            Self::Aggregate { kind, rows, expr, .. } => {
                let (Rows::Event(rows) | Rows::Fact(rows)) = rows;
                format!("{rows} {} {kind}", expr.as_deref().unwrap_or_default())
            }
        }
    }
}

/// The metric that the keys say, if the catalog takes it.
fn metric(known: &Known<'_>, keys: &str) -> Result<Metric, Gap> {
    let mut cx = Reading { surroundings: None, folder: Path::new(""), found: Vec::new() };
    let (node, found) = node::parse(0, &format!("{{{keys}}}"));
    cx.found.extend(found);
    let metric = node.and_then(|node| Metric::read(&node, &mut cx));
    if let Some(metric) = &metric {
        check::metric_alone(known.catalog, metric, &mut cx);
    }
    match (metric, cx.found.first()) {
        (Some(metric), None) => Ok(metric),
        (_, found) => {
            let message = found.map_or("the catalog would not take it", |found| found.message.as_str());
            Err(Gap::unclear(message))
        }
    }
}

impl Shape {
    /// The parts as the expression puts them together. `None` if it has none.
    pub(super) fn of(expression: Expression, mut parts: Vec<Part>) -> Option<Self> {
        let part = |name: &str| match name.strip_prefix("__").and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => parts.get(index).cloned(),
            None => Some(Part::Metric(name.to_owned())),
        };
        if expression.names().is_empty() {
            return None;
        }
        if let Some(name) = expression.only_name() {
            return part(name).map(Self::Single);
        }
        if let Some((above, below)) = quotient(&expression) {
            return Some(Self::Ratio(part(above)?, part(below)?));
        }
        Some(Self::Derived(expression.text().to_owned(), std::mem::take(&mut parts)))
    }

    /// What it computes, as [`definition`] tells it; `None` if it is made of parts that are yet to be written.
    pub(super) fn definition(&self, known: &Known<'_>) -> Option<String> {
        let of = |keys: &str| definition(known.catalog, &metric(known, keys).ok()?);
        match self {
            Self::Single(Part::Metric(metric)) => known.definition(metric),
            Self::Single(part) => of(&part.keys(known)),
            Self::Ratio(above, below) => {
                let (above, below) = (above.in_place(known).ok()?, below.in_place(known).ok()?);
                of(&format!("kind: ratio, numerator: {above}, denominator: {below}"))
            }
            Self::Derived(..) => None,
        }
    }

    /// What would have to be written for the row. `taken` has the names of metrics, and gets those that are given.
    pub(super) fn proposal(
        &self,
        known: &Known<'_>,
        row: &Wanted,
        taken: &mut HashSet<String>,
    ) -> Result<Proposal, Gap> {
        let mut more: Vec<String> = Vec::new();
        let mut given: Vec<String> = Vec::new();
        let keys = match self {
            Self::Single(part) => {
                if let Some(metric) = part.there(known)? {
                    return Ok(Proposal::Alias { metric, alias: row.name.clone() });
                }
                part.keys(known)
            }
            Self::Ratio(above, below) => {
                let (above, below) = (above.in_place(known)?, below.in_place(known)?);
                format!("kind: ratio, numerator: {above}, denominator: {below}")
            }
            Self::Derived(whole, parts) => {
                let mut names = Vec::with_capacity(parts.len());
                for part in parts {
                    names.push(match part.there(known)? {
                        Some(name) => name,
                        None => {
                            let name = free(&part.name(), row.line, |name| {
                                taken.contains(name) || given.iter().any(|given| given == name)
                            });
                            more.push(format!("{name}: {{{}}}", part.keys(known)));
                            given.push(name.clone());
                            name
                        }
                    });
                }
                let whole = renamed(whole, &mut |name| {
                    let index = name.strip_prefix("__").and_then(|index| index.parse::<usize>().ok());
                    index.and_then(|index| names.get(index).cloned()).unwrap_or_else(|| name.to_owned())
                });
                format!("kind: derived, expr: {}", quoted(&whole))
            }
        };
        // What is made of parts that are yet to be written cannot be looked up among the metrics.
        if more.is_empty() {
            let made = metric(known, &keys)?;
            let made = definition(known.catalog, &made);
            if let Some(metric) = made.and_then(|made| known.metric_defined(&made)) {
                return Ok(Proposal::Alias { metric: metric.to_owned(), alias: row.name.clone() });
            }
        }
        let name =
            free(&row.name, row.line, |name| taken.contains(name) || given.iter().any(|given| given == name));
        more.push(format!("{name}: {{{keys}{}}}", said(row, &name)));
        taken.extend(given);
        taken.insert(name);
        Ok(Proposal::Metrics { metrics: more })
    }
}

/// What the sheet says of the metric.
fn said(row: &Wanted, name: &str) -> String {
    let mut said = String::new();
    let description = row.description.split_whitespace().collect::<Vec<_>>().join(" ");
    if !description.is_empty() {
        said.push_str(&format!(", doc: {}", quoted(&description)));
    }
    if !row.owner.is_empty() {
        said.push_str(&format!(", owner: {}", quoted(&row.owner)));
    }
    if row.name != name {
        said.push_str(&format!(", alias: [{}]", quoted(&row.name)));
    }
    said
}

/// A name out of a text that is not taken.
fn free(text: &str, line: usize, taken: impl Fn(&str) -> bool) -> String {
    const CHARS_MAX: usize = 60;
    let lower = text.to_lowercase();
    let words = lower.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("_");
    name.truncate(CHARS_MAX);
    let mut name = name.trim_matches('_').to_owned();
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name = format!("metric_{}", if name.is_empty() { line.to_string() } else { name });
    }
    let mut numbered = name.clone();
    let mut number = 2;
    while taken(&numbered) {
        numbered = format!("{name}_{number}");
        number += 1;
    }
    numbered
}
