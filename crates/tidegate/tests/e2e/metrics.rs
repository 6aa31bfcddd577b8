//! Metrics of every kind on two real data sets: what a rollup says, what rows say, and what is counted by hand
//! are one answer. Needs `scripts/fetch-testdata`; without the data each test says so and passes.

mod clicks;
mod independent;
mod purchases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_catalog::{Asked, Catalog, Ddl, Given, Lock, Role, Sources, compile, load, statements};

use self::independent::{Ask, Count, Groups, Key, Row, counted, millis, numbers};
use crate::process::text;
use crate::world::World;

/// A catalog whose tables are there.
struct Shop {
    world: World,
    catalog: Catalog,
    lock: Lock,
    file: PathBuf,
}

/// What came of a question: by key, in the order of its metrics, and what was read.
struct Answered {
    values: Groups<Vec<Value>>,
    tables: Vec<String>,
}

fn data(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/testdata").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(_) => {
            println!("skipped: {name} is not there; `scripts/fetch-testdata` fetches it");
            None
        }
    }
}

impl Shop {
    async fn open(name: &str) -> Option<Self> {
        let world = World::start().await?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogs").join(name);
        let catalog =
            load(text(&file), &|path| std::fs::read(path)).unwrap_or_else(|wrong| panic!("{wrong}")).catalog;
        let lock = Lock::default().extended(&catalog);
        let given = Given {
            dead_letter_ddl: |database, table| {
                format!("CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (x UInt8) ENGINE = Memory")
            },
            place_columns: &[],
            dedup_window: 100,
        };
        for statement in statements(&catalog, &lock, given, Ddl::Single) {
            world
                .clickhouse
                .execute(&statement.sql)
                .await
                .unwrap_or_else(|fault| panic!("{fault}\n{}", statement.sql));
        }
        Some(Self { world, catalog, lock, file })
    }

    async fn fill(&self, into: &str, lines: &[String]) {
        let sql = format!("INSERT INTO {into} FORMAT TSV\n{}", lines.join("\n"));
        self.world.clickhouse.execute(&sql).await.unwrap_or_else(|fault| panic!("{into}: {fault}"));
    }

    async fn ask(&self, metrics: &[&str], ask: Ask<'_>, sources: Sources) -> Answered {
        let owned = |text: &str| text.to_owned();
        let asked = Asked {
            metrics: metrics.iter().copied().map(owned).collect(),
            by: ask.by.iter().copied().map(owned).collect(),
            grain: ask.grain.map(owned),
            filter: ask.filter.map(|(text, _)| owned(text)),
            from: ask.from.map(owned),
            to: ask.to.map(owned),
            sources,
            limit: None,
        };
        let compiled = compile(&self.catalog, &self.lock, &asked)
            .unwrap_or_else(|wrong| panic!("{metrics:?} {ask:?}: {wrong}"));
        let answer = self.world.clickhouse.query_as(&compiled.sql, "JSONCompact").await;
        let answer = answer.unwrap_or_else(|fault| panic!("{metrics:?} {ask:?}: {fault}\n{}", compiled.sql));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let mut values = BTreeMap::new();
        for row in answer["data"].as_array().unwrap() {
            let (mut key, mut own) = (Key::new(), Vec::new());
            for (value, column) in row.as_array().unwrap().iter().zip(&compiled.columns) {
                match column.role {
                    Role::Period | Role::Dimension => key.push(value.as_str().unwrap().to_owned()),
                    Role::Step | Role::After => key.push(format!("{:03}", value.as_u64().unwrap())),
                    Role::Metric | Role::Whole => own.push(value.clone()),
                    Role::Event => {}
                }
            }
            assert!(values.insert(key.clone(), own).is_none(), "{metrics:?} {ask:?}: {key:?} twice");
        }
        Answered { values, tables: compiled.reads.into_iter().map(|read| read.table).collect() }
    }

    /// The answer from what is best and from rows.
    async fn both(&self, metrics: &[&str], ask: Ask<'_>) -> [Answered; 2] {
        [self.ask(metrics, ask, Sources::Best).await, self.ask(metrics, ask, Sources::Rows).await]
    }

    /// One metric, which is to be read from `table`, against what was counted by hand.
    async fn same(&self, metric: &str, ask: Ask<'_>, table: &str, expected: &Groups<Option<f64>>) {
        let [best, rows] = self.both(&[metric], ask).await;
        let read = best.tables.join("+");
        // A name that is only begun stands for every table that begins so.
        let as_expected = read == table || (table.ends_with('_') && read.starts_with(table));
        assert!(as_expected, "{metric} {ask:?}: read {read}, expected {table}");
        assert!(!expected.is_empty(), "{metric} {ask:?}");
        for answered in [&best, &rows] {
            agree(metric, ask, &column(&answered.values, 0), expected, 1e-9);
        }
    }

    /// Metrics that one aggregate is, all in one question, against each counted by hand.
    async fn aggregates(&self, kinds: &[(&str, Way)], rows: &[Row], ask: Ask<'_>, table: &str) {
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let [best, of_rows] = self.both(&names, ask).await;
        assert_eq!(best.tables, [table], "{ask:?}");
        let groups = ask.groups(rows);
        assert!(!groups.is_empty(), "{ask:?}");
        for (index, (name, way)) in kinds.iter().enumerate() {
            for answered in [&best, &of_rows] {
                let values = column(&answered.values, index);
                match *way {
                    Way::Exact(count) => agree(name, ask, &values, &counted(&groups, count), 1e-9),
                    Way::Near(count) => agree(name, ask, &values, &counted(&groups, count), 0.02),
                    Way::Quantile(q, number) => quantiles(name, ask, &values, (&groups, q, number)),
                }
            }
            if matches!(way, Way::Near(_)) {
                // An estimate, but the same one.
                assert_eq!(column(&best.values, index), column(&of_rows.values, index), "{name} {ask:?}");
            }
        }
    }

    /// A funnel's answer: the counts by step, and how many began.
    async fn funnel(&self, metric: &str, ask: Ask<'_>, counted: &Groups<Vec<u64>>) {
        let answered = self.ask(&[metric], ask, Sources::Best).await;
        let mut expected: Groups<Vec<Value>> = BTreeMap::new();
        for (key, counts) in counted {
            for (step, count) in counts.iter().enumerate() {
                let key = key.iter().cloned().chain([format!("{:03}", step + 1)]).collect();
                expected.insert(key, vec![Value::from(*count), Value::from(counts[0])]);
            }
        }
        assert!(!expected.is_empty());
        assert_eq!(plain(&answered.values), expected, "{metric} {ask:?}");
    }

    /// Retention's answer: who came back, of how many.
    async fn retention(&self, metric: &str, ask: Ask<'_>, counted: &Groups<(u64, u64)>) {
        let answered = self.ask(&[metric], ask, Sources::Best).await;
        let both = |(back, of): &(u64, u64)| vec![Value::from(*back), Value::from(*of)];
        let expected: Groups<Vec<Value>> =
            counted.iter().map(|(key, counts)| (key.clone(), both(counts))).collect();
        assert!(!expected.is_empty());
        assert_eq!(plain(&answered.values), expected, "{metric} {ask:?}");
    }
}

/// How a metric is counted by hand, and how near the answer has to be.
#[derive(Clone, Copy)]
enum Way {
    Exact(Count),
    /// Within two percent.
    Near(Count),
    /// By the share of values below it.
    Quantile(f64, &'static str),
}

/// A metric of an answer; times as milliseconds.
fn column(values: &Groups<Vec<Value>>, index: usize) -> Groups<Option<f64>> {
    let number = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::String(text) => Some(text.parse().unwrap_or_else(|_| millis(text) as f64)),
        other => other.as_f64(),
    };
    values.iter().map(|(key, row)| (key.clone(), number(&row[index]))).collect()
}

#[track_caller]
fn agree(metric: &str, ask: Ask<'_>, found: &Groups<Option<f64>>, expected: &Groups<Option<f64>>, near: f64) {
    let keys: std::collections::BTreeSet<&Key> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        let (found, expected) = (found.get(key), expected.get(key));
        let same = match (found, expected) {
            (Some(Some(found)), Some(Some(expected))) => {
                (found - expected).abs() <= near * expected.abs().max(1.0)
            }
            (found, expected) => found == expected,
        };
        assert!(same, "{metric} {ask:?}, {key:?}: found {found:?}, counted {expected:?}");
    }
}

#[track_caller]
fn quantiles(
    metric: &str,
    ask: Ask<'_>,
    found: &Groups<Option<f64>>,
    (groups, q, number): (&Groups<Vec<&Row>>, f64, &'static str),
) {
    assert_eq!(found.len(), groups.len(), "{metric} {ask:?}");
    for (key, rows) in groups {
        let values = numbers(rows, number);
        let answer = found[key].unwrap_or_else(|| panic!("{metric} {ask:?}: nothing at {key:?}"));
        let share = |below: &dyn Fn(f64) -> bool| {
            values.iter().filter(|value| below(**value)).count() as f64 / values.len() as f64
        };
        // Between values that stand side by side the digest draws a line, and its middle is f32.
        let slack = 0.02 + 1.0 / values.len() as f64;
        let (below, up_to) = (share(&|value| value < answer - 0.01), share(&|value| value <= answer + 0.01));
        let good = below <= q + slack && up_to >= q - slack;
        assert!(
            good,
            "{metric} {ask:?}, {key:?}: {answer} is above {below} and not below {up_to} of the values"
        );
    }
}

/// The share of those who began that came to the second step.
fn shares(journeys: &Groups<Vec<u64>>) -> Groups<Option<f64>> {
    journeys.iter().map(|(key, counts)| (key.clone(), Some(counts[1] as f64 / counts[0] as f64))).collect()
}

/// Whole numbers as numbers, where the server writes them as texts.
fn plain(values: &Groups<Vec<Value>>) -> Groups<Vec<Value>> {
    let number = |value: &Value| match value {
        Value::String(text) => Value::from(text.parse::<u64>().unwrap()),
        other => other.clone(),
    };
    values.iter().map(|(key, row)| (key.clone(), row.iter().map(number).collect())).collect()
}
