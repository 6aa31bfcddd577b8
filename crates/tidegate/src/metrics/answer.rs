//! A question's answer: the rows that ClickHouse gives, with where they come from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_catalog::{AnswerColumn, Catalog, Compiled, Loaded, Lock, Read, Role, dimensions_of};
use tidegate_clickhouse::Client;
use tidegate_config::Diagnostics;
use tidegate_core::{Fault, FaultKind};

use crate::catalog;

/// Rows of an answer where nobody says how many.
pub const ROWS_DEFAULT: u64 = 10_000;
/// More rows than that are not an answer but an export.
pub const ROWS_MAX: u64 = 1_000_000;

/// A catalog that can be asked.
#[derive(Debug)]
pub struct Model {
    /// What the files say.
    pub catalog: Catalog,
    /// The numbers beside them.
    pub lock: Lock,
}

/// A metric, for those who look for one.
#[derive(Debug, Serialize)]
pub struct MetricLine {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// What its number counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it can be split by.
    pub dimensions: Vec<String>,
}

impl Model {
    /// Reads a catalog and its lock; inside, everything that is wrong with it.
    ///
    /// # Errors
    /// When the lock cannot be read.
    pub fn read(file: &Path) -> anyhow::Result<Result<Self, Diagnostics>> {
        let Loaded { catalog, .. } = match catalog::read(file) {
            Ok(loaded) => loaded,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        let lock = catalog::read_lock(file)?.extended(&catalog);
        Ok(Ok(Self { catalog, lock }))
    }

    /// All metrics, in the catalog's order.
    #[must_use]
    pub fn metrics(&self) -> Vec<MetricLine> {
        let line = |(name, metric): (&str, &tidegate_catalog::Metric)| MetricLine {
            name: name.to_owned(),
            kind: metric.kind().as_str(),
            doc: metric.doc().map(str::to_owned),
            unit: metric.unit().map(str::to_owned),
            dimensions: dimensions_of(&self.catalog, name).into_iter().map(str::to_owned).collect(),
        };
        self.catalog.file.metrics.iter().map(line).collect()
    }
}

/// An answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// What stands in which column.
    pub columns: Vec<AnswerColumn>,
    /// The rows: values by column.
    #[serde(serialize_with = "objects")]
    pub rows: Rows,
    /// Whether there are more rows, which were not asked for.
    pub more: bool,
    /// What was read for which metrics, and why.
    pub reads: Vec<Read>,
    /// What was asked.
    pub sql: String,
    /// In what the rows say otherwise, if they were asked too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<String>>,
}

/// Differences that are told one by one.
const DIFFERENCES_MAX: usize = 5;
/// Sums of floating-point numbers depend on the order of what is summed.
const EXACT: f64 = 1e-9;
/// Digests of parts, put together, lie near the digest of the whole.
const ESTIMATE: f64 = 0.05;

/// Rows with the names of their columns.
#[derive(Debug)]
pub struct Rows {
    names: Vec<String>,
    /// The values in the columns' order.
    pub values: Vec<Vec<Value>>,
}

fn objects<S: serde::Serializer>(rows: &Rows, serializer: S) -> Result<S::Ok, S::Error> {
    let object = |row: &Vec<Value>| -> Map<String, Value> {
        rows.names.iter().cloned().zip(row.iter().cloned()).collect()
    };
    serializer.collect_seq(rows.values.iter().map(object))
}

/// An answer in ClickHouse's `JSONCompact`.
#[derive(Deserialize)]
struct Given {
    meta: Vec<GivenColumn>,
    data: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct GivenColumn {
    #[serde(rename = "type")]
    ty: String,
}

impl Answer {
    /// Asks ClickHouse what has been compiled with a limit of one row more than `limit`.
    ///
    /// # Errors
    /// What ClickHouse has against it.
    pub async fn ask(client: &Client, compiled: Compiled, limit: u64) -> anyhow::Result<Self> {
        let text = client.query_as(&compiled.sql, "JSONCompact").await.map_err(explained)?;
        let given: Given = serde_json::from_str(&text).context("read clickhouse's answer")?;
        let mut rows = given.data;
        let more = rows.len() as u64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for row in &mut rows {
            for (value, column) in row.iter_mut().zip(&given.meta) {
                whole_number(value, &column.ty);
            }
        }
        let Compiled { sql, columns, reads } = compiled;
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { columns, rows: Rows { names, values: rows }, more, reads, sql, differences: None })
    }

    /// In what the answer from rows differs.
    #[must_use]
    pub fn differences(&self, of_rows: &Self) -> Vec<String> {
        let by_key = |answer: &Self| -> BTreeMap<String, Vec<Value>> {
            answer.rows.values.iter().map(|row| (self.key(row), row.clone())).collect()
        };
        let (own, theirs) = (by_key(self), by_key(of_rows));
        let mut found = Vec::new();
        for key in own.keys().chain(theirs.keys().filter(|key| !own.contains_key(*key))) {
            let at = if key.is_empty() { String::new() } else { format!(" at {key}") };
            let (Some(one), Some(other)) = (own.get(key), theirs.get(key)) else {
                // Of answers that were cut off, each may have other rows at its end.
                if self.more || of_rows.more {
                    continue;
                }
                let who = if own.contains_key(key) { "the rows" } else { "the rollup" };
                found.push(format!("{who} say nothing{at}"));
                continue;
            };
            for ((column, one), other) in self.columns.iter().zip(one).zip(other) {
                if !near(one, other, if column.estimate { ESTIMATE } else { EXACT }) {
                    found.push(format!("{}{at}: {one}, from rows {other}", column.name));
                }
            }
        }
        let n_more = found.len().saturating_sub(DIFFERENCES_MAX);
        if n_more > 0 {
            found.truncate(DIFFERENCES_MAX);
            found.push(format!("and {n_more} more"));
        }
        found
    }

    /// What tells a row from the others.
    fn key(&self, row: &[Value]) -> String {
        let is_key = |role: Role| match role {
            Role::Period | Role::Dimension | Role::Step | Role::Event | Role::After => true,
            Role::Metric | Role::Whole => false,
        };
        let keys = self.columns.iter().zip(row).filter(|(column, _)| is_key(column.role));
        keys.map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn near(one: &Value, other: &Value, tolerance: f64) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= tolerance * one.abs().max(other.abs()),
        (_, _) => one == other,
    }
}

/// Some servers write whole numbers of 64 bits as texts. A setting would change that, which a user who may
/// only read cannot give.
fn whole_number(value: &mut Value, ty: &str) {
    if let (Value::String(text), true) = (&*value, ty.contains("Int64")) {
        let number = text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from));
        if let Ok(number) = number {
            *value = number;
        }
    }
}

/// What ClickHouse has against a question, with the next step.
fn explained(fault: Fault) -> anyhow::Error {
    let missing = fault.kind == FaultKind::Missing;
    let error = anyhow::Error::new(fault);
    if missing {
        error.context(
            "the catalog's tables are not all there: `tidegate up --catalog` makes them, or the statements that \
             `tidegate catalog generate` writes",
        )
    } else {
        error.context("ask ClickHouse")
    }
}
