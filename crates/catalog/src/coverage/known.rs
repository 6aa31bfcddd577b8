//! What the catalog has, by the names that people may use for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::words::{key, likeness, words};
use crate::catalog::Catalog;
use crate::check;
use crate::expression::{Expr, Expression, Operator};
use crate::language::{Kind, Metric, MetricRef};

/// Less than this in common is chance.
const LIKE_MIN: f64 = 0.5;
const LIKE_SHOWN: usize = 3;

/// The catalog's names.
pub(super) struct Known<'a> {
    pub(super) catalog: &'a Catalog,
    /// Metrics by name and alias in lower case.
    exact: HashMap<String, &'a str>,
    /// Metrics by the words of name and alias; `None` where several have these.
    metrics: HashMap<String, Option<&'a str>>,
    /// Metrics by what they compute.
    definitions: HashMap<String, &'a str>,
    /// Metrics with the words of each of their names.
    named: Vec<(&'a str, Vec<Vec<String>>)>,
    events: HashMap<String, &'a str>,
    columns: HashMap<&'a str, HashSet<String>>,
    /// The events that have a column.
    pub(super) fields: BTreeMap<String, Vec<&'a str>>,
    /// Columns by their words; `None` where several have these.
    field_keys: HashMap<String, Option<String>>,
    /// Facts that are all rows of one event.
    facts: HashMap<&'a str, &'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn of(catalog: &'a Catalog) -> Self {
        let mut known = Self {
            catalog,
            exact: HashMap::new(),
            metrics: HashMap::new(),
            definitions: HashMap::new(),
            named: Vec::new(),
            events: catalog.events.keys().map(|name| (key(name), name.as_str())).collect(),
            columns: HashMap::new(),
            fields: BTreeMap::new(),
            field_keys: HashMap::new(),
            facts: HashMap::new(),
        };
        known.add_fields();
        for (name, fact) in catalog.file.facts.iter() {
            if let (Some(event), None) = (&fact.event, &fact.where_) {
                known.facts.entry(&event.value).or_insert(name);
            }
        }
        for (name, metric) in catalog.file.metrics.iter() {
            known.add_metric(name, metric);
        }
        known
    }

    fn add_fields(&mut self) {
        for (name, event) in &self.catalog.events {
            let columns: HashSet<String> =
                event.columns(self.catalog.nulls()).into_iter().map(|(column, _)| column).collect();
            for column in &columns {
                self.fields.entry(column.clone()).or_default().push(name);
            }
            self.columns.insert(name, columns);
        }
        for column in self.fields.keys() {
            unique(&mut self.field_keys, key(column), column.clone());
        }
        // `user` is what people call `user_id`, if nothing else has that name.
        for column in self.fields.keys() {
            if let Some(stem) = column.strip_suffix("_id") {
                self.field_keys.entry(key(stem)).or_insert_with(|| Some(column.clone()));
            }
        }
    }

    fn add_metric(&mut self, name: &'a str, metric: &'a Metric) {
        let mut names = vec![words(name)];
        self.exact.insert(name.to_lowercase(), name);
        unique(&mut self.metrics, key(name), name);
        for alias in metric.alias() {
            self.exact.entry(alias.to_lowercase()).or_insert(name);
            unique(&mut self.metrics, key(alias), name);
            names.push(words(alias));
        }
        names.extend(metric.doc().map(words));
        self.named.push((name, names));
        if let Some(definition) = definition(self.catalog, metric) {
            self.definitions.entry(definition).or_insert(name);
        }
    }

    /// The metric of exactly that name, in any case; and whether it is an alias.
    pub(super) fn metric_called(&self, name: &str) -> Option<(&'a str, bool)> {
        let lower = name.to_lowercase();
        self.exact.get(&lower).map(|metric| (*metric, *metric != lower))
    }

    /// The only metric with those words for a name.
    pub(super) fn metric_worded(&self, name: &str) -> Option<&'a str> {
        self.metrics.get(&key(name)).copied().flatten()
    }

    /// The metric that computes just this.
    pub(super) fn metric_defined(&self, definition: &str) -> Option<&'a str> {
        self.definitions.get(definition).copied()
    }

    /// What a metric computes.
    pub(super) fn definition(&self, metric: &str) -> Option<String> {
        definition(self.catalog, self.catalog.file.metrics.get(metric)?)
    }

    /// The event of that name, however it is written.
    pub(super) fn event(&self, name: &str) -> Option<&'a str> {
        self.events.get(&key(name)).copied()
    }

    /// The fact of that name.
    pub(super) fn fact(&self, name: &str) -> Option<&'a str> {
        self.catalog.file.facts.keys().find(|fact| *fact == name)
    }

    /// The fact that is all rows of the event.
    pub(super) fn fact_of(&self, event: &str) -> Option<&'a str> {
        self.facts.get(event).copied()
    }

    /// A fact of several events that has the columns.
    pub(super) fn narrow_fact(&self, names: &[String]) -> Option<&'a str> {
        let mut facts = self.catalog.file.facts.iter().filter(|(_, fact)| fact.event.is_none());
        let has = |fact: &crate::language::Fact, name: &String| {
            fact.columns.iter().any(|column| column.value == *name)
        };
        facts.find(|(_, fact)| names.iter().all(|name| has(fact, name))).map(|(name, _)| name)
    }

    /// The column that a name stands for, however it is written; the name itself if there is none.
    pub(super) fn field(&self, name: &str) -> String {
        if self.fields.contains_key(name) {
            return name.to_owned();
        }
        self.field_keys.get(&key(name)).cloned().flatten().unwrap_or_else(|| name.to_owned())
    }

    /// The column of the event with these words.
    pub(super) fn field_worded(&self, event: &str, words: &str) -> Option<String> {
        let field = self.field_keys.get(words).cloned().flatten()?;
        self.has(event, &field).then_some(field)
    }

    pub(super) fn has(&self, event: &str, field: &str) -> bool {
        self.columns.get(event).is_some_and(|columns| columns.contains(field))
    }

    /// The metrics whose names are most like these words, the likest first.
    pub(super) fn like(&self, name: &str) -> Vec<String> {
        let wanted = words(name);
        let best =
            |names: &[Vec<String>]| names.iter().map(|name| likeness(&wanted, name)).fold(0.0_f64, f64::max);
        let mut like: Vec<(f64, &str)> =
            self.named.iter().map(|(metric, names)| (best(names), *metric)).collect();
        like.retain(|(likeness, _)| *likeness >= LIKE_MIN);
        like.sort_by(|one, other| other.0.total_cmp(&one.0));
        like.into_iter().take(LIKE_SHOWN).map(|(_, metric)| metric.to_owned()).collect()
    }
}

/// Remembers what a key stands for; one that stands for several things stands for none.
fn unique<T: PartialEq>(map: &mut HashMap<String, Option<T>>, key: String, value: T) {
    if key.is_empty() {
        return;
    }
    match map.get_mut(&key) {
        None => drop(map.insert(key, Some(value))),
        Some(found) if found.as_ref() == Some(&value) => {}
        Some(found) => *found = None,
    }
}

/// The two names of an expression that divides one by another.
pub(super) fn quotient(expression: &Expression) -> Option<(&str, &str)> {
    if let Expr::Binary { operator: Operator::Divided, left, right, .. } = expression.root()
        && let (Expr::Name { name: above, .. }, Expr::Name { name: below, .. }) = (&**left, &**right)
    {
        return Some((above, below));
    }
    None
}

/// What a metric computes, as a text that is the same for all metrics that compute it.
pub(super) fn definition(catalog: &Catalog, metric: &Metric) -> Option<String> {
    let part = |part: &Option<MetricRef>| match part {
        Some(MetricRef::Named(name)) => Some(name.value.clone()),
        Some(MetricRef::Inline(inline)) => definition(catalog, inline),
        None => None,
    };
    let sql = |expr: &Expression| expr.sql(&str::to_owned);
    match metric.kind() {
        Kind::Ratio => Some(format!("ratio|{}|{}", part(&metric.0.numerator)?, part(&metric.0.denominator)?)),
        Kind::Derived => metric.expr().map(|expr| match quotient(expr) {
            Some((above, below)) => format!("ratio|{above}|{below}"),
            None => format!("derived|{}", sql(expr)),
        }),
        Kind::Count
        | Kind::Sum
        | Kind::Min
        | Kind::Max
        | Kind::Any
        | Kind::Avg
        | Kind::CountDistinct
        | Kind::Quantile => {
            let fact = check::rows_of_metric(catalog, metric)?;
            let events: Vec<&str> =
                fact.event.iter().chain(&fact.events).map(|event| event.value.as_str()).collect();
            let mut filters: Vec<String> =
                fact.where_.iter().chain(&metric.0.where_).map(|filter| sql(&filter.value)).collect();
            filters.sort();
            let q = metric.0.q.as_ref().map(|q| q.value.to_string()).unwrap_or_default();
            let (expr, filters) = (metric.expr().map(sql).unwrap_or_default(), filters.join(" and "));
            Some(format!("{}{q}|{}|{expr}|{filters}", metric.kind(), events.join(",")))
        }
        Kind::First | Kind::Last | Kind::Cumulative | Kind::Conversion | Kind::Funnel | Kind::Retention => {
            None
        }
    }
}
