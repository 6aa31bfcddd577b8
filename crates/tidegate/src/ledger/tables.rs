//! What ClickHouse's tables say about the records that they hold.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use tidegate_clickhouse::{Client, quote_name, quote_text};
use tidegate_config::{Part, TableRoute};
use tidegate_core::OffsetRange;

use super::account::{Claim, Fate};
use crate::group::Group;

/// Rows that one question is about: each may be a line of the answer, which has a limit.
const ROWS_A_QUESTION: u64 = 400_000;

/// The tables that a connector may have written to.
#[derive(Debug, Default)]
pub struct Tables {
    /// Those that say which records they hold.
    pub traceable: Vec<String>,
    /// Those that do not, with how many rows they have.
    pub untraceable: BTreeMap<String, u64>,
}

impl Tables {
    /// Finds them, by the names that the connector's template can come to; or takes the named ones.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or a named table does not exist.
    pub async fn find(group: &Group, named: &[String]) -> anyhow::Result<Self> {
        let (clickhouse, route) = (&group.clickhouse, &group.connector.table);
        let letters = group.connector.dead_letters.table.as_str();
        let database = quote_text(&group.database);
        let sql = format!(
            "SELECT name, toString(ifNull(total_rows, 0)) FROM system.tables \
             WHERE database = {database} AND engine NOT LIKE '%View' AND engine != 'Dictionary' ORDER BY name"
        );
        let all = lines(clickhouse, &sql).await.context("list the tables")?;
        if let Some(missing) = named.iter().find(|name| !all.iter().any(|line| line[0] == **name)) {
            bail!("database {database} has no table `{missing}`");
        }
        let sql = format!(
            "SELECT table FROM system.columns WHERE database = {database} \
             AND name IN ('_topic', '_partition', '_offset') GROUP BY table HAVING count() = 3"
        );
        let telling = lines(clickhouse, &sql).await.context("list the tables' columns")?;
        let telling: BTreeSet<String> = telling.into_iter().flatten().collect();
        let mut tables = Self::default();
        for line in all {
            let [name, rows] = <[String; 2]>::try_from(line).map_err(|_| unexpected())?;
            let may_be = || name != letters && may_be(route, &name);
            let ours = if named.is_empty() { may_be() } else { named.contains(&name) };
            match (ours, telling.contains(&name)) {
                (false, _) => {}
                (true, true) => tables.traceable.push(name),
                (true, false) => {
                    tables.untraceable.insert(name, number(&rows)?.unsigned_abs());
                }
            }
        }
        Ok(tables)
    }

    /// Whether there are rows of which nobody can say which records they are.
    #[must_use]
    pub fn hide_rows(&self) -> bool {
        self.untraceable.values().any(|rows| *rows > 0)
    }
}

/// Whether the template can come to this name, or the map names it.
fn may_be(route: &TableRoute, name: &str) -> bool {
    if route.map.values().any(|table| table.as_str() == name) {
        return true;
    }
    fits(route.template.parts(), name)
}

/// A variable part is at least one character of those that names are made of.
fn fits(parts: &[Part], name: &str) -> bool {
    match parts {
        [] => name.is_empty(),
        [Part::Literal(text), rest @ ..] => {
            name.strip_prefix(text.as_str()).is_some_and(|name| fits(rest, name))
        }
        [Part::Topic | Part::Header(_) | Part::Field(_), rest @ ..] => {
            let made = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '_');
            (1..=name.len())
                .take_while(|end| name.get(..*end).is_some_and(|text| text.chars().all(made)))
                .any(|end| fits(rest, &name[end..]))
        }
    }
}

/// Which offsets of these ranges a table holds, and how often.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn claims(
    clickhouse: &Client,
    (database, table): (&str, &str),
    topic: &str,
    ranges: &BTreeMap<i32, OffsetRange>,
) -> anyhow::Result<Vec<(i32, Claim)>> {
    let from = format!("{}.{} WHERE _topic = {}", quote_name(database), quote_name(table), quote_text(topic));
    let sql =
        format!("SELECT _partition, toString(count()) FROM {from} GROUP BY _partition ORDER BY _partition");
    let mut held = BTreeMap::new();
    for line in lines(clickhouse, &sql).await.with_context(|| format!("count table `{table}`"))? {
        let [partition, rows] = <[String; 2]>::try_from(line).map_err(|_| unexpected())?;
        let partition = i32::try_from(number(&partition)?)?;
        if let Some(range) = ranges.get(&partition) {
            held.insert(partition, (*range, number(&rows)?.unsigned_abs()));
        }
    }
    let mut claims = Vec::new();
    for question in questions(&held) {
        let within = question.iter().map(|(partition, range)| {
            format!(
                "(_partition = {partition} AND _offset >= {} AND _offset < {})",
                range.first(),
                range.end()
            )
        });
        let within = within.collect::<Vec<_>>().join(" OR ");
        // Offsets that follow each other differ from their row numbers by the same. `max_threads` keeps the
        // order in which rows are numbered.
        let sql = format!(
            "SELECT p, toString(min(o)), toString(max(o)), toString(n) FROM \
             (SELECT p, o, n, o - toInt64(rowNumberInAllBlocks()) AS run FROM \
             (SELECT toInt32(_partition) AS p, toInt64(_offset) AS o, count() AS n FROM {from} AND ({within}) \
             GROUP BY p, o ORDER BY p, n, o)) GROUP BY p, n, run ORDER BY p, min(o) SETTINGS max_threads = 1"
        );
        for line in lines(clickhouse, &sql).await.with_context(|| format!("read table `{table}`"))? {
            claims.push(claim(table, line)?);
        }
    }
    Ok(claims)
}

fn claim(table: &str, line: Vec<String>) -> anyhow::Result<(i32, Claim)> {
    let [partition, first, last, times] = <[String; 4]>::try_from(line).map_err(|_| unexpected())?;
    let range = OffsetRange::new(number(&first)?, number(&last)? + 1).with_context(unexpected)?;
    let times = usize::try_from(number(&times)?)?;
    let fate = Fate::Row { table: table.to_owned() };
    Ok((i32::try_from(number(&partition)?)?, Claim { range, times, fate }))
}

/// Cuts ranges, each with the number of its rows, into questions with short answers.
fn questions(held: &BTreeMap<i32, (OffsetRange, u64)>) -> Vec<Vec<(i32, OffsetRange)>> {
    let mut questions: Vec<Vec<(i32, OffsetRange)>> = Vec::new();
    let mut room = 0;
    for (partition, (range, rows)) in held {
        let pieces = i64::try_from(rows.div_ceil(ROWS_A_QUESTION).max(1)).unwrap_or(i64::MAX);
        let step = ((range.end() - range.first()) / pieces + 1).max(1);
        let mut first = range.first();
        while first < range.end() {
            let end = range.end().min(first.saturating_add(step));
            let cost = (*rows).clamp(1, ROWS_A_QUESTION);
            match questions.last_mut().filter(|_| cost <= room) {
                Some(question) => {
                    question.extend(OffsetRange::new(first, end).map(|range| (*partition, range)))
                }
                None => {
                    questions.push(
                        OffsetRange::new(first, end).map(|range| (*partition, range)).into_iter().collect(),
                    );
                    room = ROWS_A_QUESTION;
                }
            }
            room = room.saturating_sub(cost);
            first = end;
        }
    }
    questions
}

async fn lines(clickhouse: &Client, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let answer = clickhouse.query(sql).await?;
    // Names that need escapes in TabSeparated are none that a connector's table can have.
    Ok(answer.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn number(text: &str) -> anyhow::Result<i64> {
    text.parse().with_context(|| format!("clickhouse: expected a number, found `{text}`"))
}

fn unexpected() -> anyhow::Error {
    anyhow::anyhow!("clickhouse: an answer is not of the expected shape")
}

#[cfg(test)]
mod tests {
    use tidegate_config::{Template, Unmapped};

    use super::*;

    #[track_caller]
    fn check(template: &str, name: &str, expected: bool) {
        let template = Template::parse(template).unwrap();
        let route = TableRoute { template, map: BTreeMap::new(), unmapped: Unmapped::Template };
        assert_eq!(may_be(&route, name), expected, "{} {name}", route.template);
    }

    #[test]
    fn a_template_says_which_tables_may_be_its() {
        check("events", "events", true);
        check("events", "events2", false);
        check("github_{header:e}", "github_push", true);
        check("github_{header:e}", "github_", false);
        check("github_{header:e}", "github_Push", false);
        check("{topic}_x_{field:a}_y", "t_x_x_y", true);
        check("{topic}_x_{field:a}_y", "t_x_y", false);
        check("{field:type}", "anything_2", true);
    }

    #[test]
    fn questions_are_small_and_cover_everything() {
        let range = |first, end| OffsetRange::new(first, end).unwrap();
        let held = BTreeMap::from([
            (0, (range(0, 10), 10)),
            (1, (range(5, 20), 15)),
            (2, (range(0, 1_000_000), 1_000_000)),
            (3, (range(0, 7), 0)),
        ]);
        let questions = questions(&held);
        assert_eq!(questions[0], [(0, range(0, 10)), (1, range(5, 20))], "small ones share a question");
        let mut covered: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, piece) in questions.iter().flatten() {
            let next = covered.entry(*partition).or_insert_with(|| held[partition].0.first());
            assert_eq!(piece.first(), *next, "no gap and no overlap");
            *next = piece.end();
        }
        assert_eq!(covered, BTreeMap::from([(0, 10), (1, 20), (2, 1_000_000), (3, 7)]));
        assert!(questions.len() <= 5, "{questions:?}");
    }
}
