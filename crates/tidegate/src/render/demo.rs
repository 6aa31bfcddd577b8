//! The demo's report.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Look;
use super::text::{Ink, bar, count, counted, cut, quoted};
use crate::report::{DeadLetterExample, DemoReport};

/// How many tables get a bar; the others stand in columns below.
const BARS_MAX: usize = 10;
const BAR_WIDTH: usize = 28;

/// What became of the demo's records.
#[must_use]
pub fn demo(report: &DemoReport, look: Look) -> String {
    let names = report.rows.keys().chain(report.dead_letters.keys()).chain(report.lag.keys());
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    // One width for the three lists, so that their numbers stand under one another.
    let name_width = longest.clamp(16, look.width - BAR_WIDTH - 13);
    let parts = [
        verdict(report, look),
        rows(&report.rows, name_width, look),
        dead_letters(report, name_width, look),
        lag(&report.lag, name_width, look),
        next(report, look),
    ];
    parts.join("\n")
}

fn verdict(report: &DemoReport, look: Look) -> String {
    let n_rows: u64 = report.rows.values().sum();
    let n_letters: u64 = report.dead_letters.values().sum();
    let mut text = format!(
        "{}\n",
        look.ink(
            Ink::Bold,
            format_args!(
                "{} became {} in {} and {} in {:.1} s",
                counted(report.records, "event"),
                counted(n_rows, "row"),
                counted(u64::try_from(report.rows.len()).unwrap_or(u64::MAX), "table"),
                counted(n_letters, "dead letter"),
                report.seconds,
            )
        )
    );
    let verdict = if report.accounted {
        look.ink(Ink::Good, "✓ every event is a row or a dead letter, once; none stopped the stream")
    } else {
        look.ink(Ink::Bad, "✗ not every event is a row or a dead letter, once")
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn rows(rows: &BTreeMap<String, u64>, name_width: usize, look: Look) -> String {
    let mut text = look.heading("Rows per table", "counted by ClickHouse");
    let mut tables: Vec<(&str, u64)> = rows.iter().map(|(table, rows)| (table.as_str(), *rows)).collect();
    tables.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let largest = tables.first().map_or(0, |(_, rows)| *rows);
    let (top, rest) = tables.split_at(tables.len().min(BARS_MAX));
    for (table, rows) in top {
        let bar = look.ink(Ink::Good, bar(*rows, largest, BAR_WIDTH));
        let _ = writeln!(text, "  {:<name_width$}{:>9} {bar}", quoted(table, name_width), count(*rows));
    }
    text + &columns(rest, look)
}

/// Names and counts side by side, read downwards.
fn columns(tables: &[(&str, u64)], look: Look) -> String {
    const GAP: usize = 3;
    let cells: Vec<String> =
        tables.iter().map(|(table, rows)| format!("{} {}", quoted(table, 60), count(*rows))).collect();
    let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let n_columns = ((look.width - 2 + GAP) / (widest + GAP)).max(1);
    let n_lines = cells.len().div_ceil(n_columns);
    let mut text = String::new();
    for line in 0..n_lines {
        let row: Vec<String> =
            cells.iter().skip(line).step_by(n_lines).map(|cell| format!("{cell:<widest$}")).collect();
        let row = cut(row.join(&" ".repeat(GAP)).trim_end(), look.width - 2);
        let _ = writeln!(text, "  {}", look.ink(Ink::Dim, row));
    }
    text
}

fn dead_letters(report: &DemoReport, name_width: usize, look: Look) -> String {
    let remark = format!("read from topic {}", report.dead_letter_topic);
    let mut text = look.heading("Dead letters per reason, with one example each", &remark);
    let largest = report.dead_letters.values().max().copied().unwrap_or(0);
    let mut reasons: Vec<(&String, &u64)> = report.dead_letters.iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    if reasons.is_empty() {
        text.push_str("  none\n");
    }
    for (code, letters) in reasons {
        let bar = look.ink(Ink::Warn, bar(*letters, largest, BAR_WIDTH));
        let _ = writeln!(text, "  {code:<name_width$}{:>9} {bar}", count(*letters));
        if let Some(example) = report.examples.get(code) {
            text.push_str(&self::example(example, look, 4));
        }
    }
    text
}

/// Where a refused record is and what was wrong with it, in two or three lines.
pub(super) fn example(example: &DeadLetterExample, look: Look, indent: usize) -> String {
    let DeadLetterExample { topic, partition, offset, table, field, found, expected } = example;
    let space = " ".repeat(indent);
    let width = look.width - indent - 10;
    let table =
        table.as_deref().map(|table| format!(", for table {}", quoted(table, 40))).unwrap_or_default();
    let field = if field.is_empty() { "the whole value" } else { field };
    let place = format!("{topic} partition {partition} offset {offset}{table}");
    let mut text = format!("{space}{}\n", look.ink(Ink::Dim, quoted(&place, width + 10)));
    for (name, value) in [("field", field), ("found", found), ("expected", expected)] {
        let name = look.ink(Ink::Dim, format_args!("{name:<10}"));
        let _ = writeln!(text, "{space}{name}{}", quoted(value, width));
    }
    text
}

fn lag(lag: &BTreeMap<String, u64>, name_width: usize, look: Look) -> String {
    let mut text = look.heading("Lag per partition", "the topic's end less what is committed");
    for (partition, lag) in lag {
        let ink = if *lag == 0 { Ink::Good } else { Ink::Bad };
        let lag = look.ink(ink, format_args!("{:>9}", count(*lag)));
        let _ = writeln!(text, "  {:<name_width$}{lag}", quoted(partition, name_width));
    }
    text
}

fn next(report: &DemoReport, look: Look) -> String {
    if report.next.is_empty() {
        return String::new();
    }
    let mut text = look.heading("What to try next", "");
    for step in &report.next {
        let _ = writeln!(text, "  {}", step.title);
        let _ = writeln!(text, "    {}", look.ink(Ink::Command, &step.command));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Endpoints, NextStep};

    fn report() -> DemoReport {
        let rows = (0..58).map(|n| (format!("github_event_{n:02}"), 1 + (n * n) % 37)).collect();
        let example = |field: &str, found: &str, expected: &str| DeadLetterExample {
            topic: "github.webhooks".to_owned(),
            partition: 0,
            offset: 58,
            table: Some("github_push".to_owned()),
            field: field.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        DemoReport {
            records: 1000,
            rows,
            dead_letters: BTreeMap::from([
                ("missing_required".to_owned(), 41),
                ("bad_timestamp".to_owned(), 1),
            ]),
            lag: (0..3).map(|n| (format!("github.webhooks/{n}"), 0)).collect(),
            accounted: true,
            examples: BTreeMap::from([
                ("missing_required".to_owned(), example("", "nothing\x1b[31m", "the field `action`")),
                (
                    "bad_timestamp".to_owned(),
                    example("/created_at", "`yesterday`", &"a date-time ".repeat(20)),
                ),
            ]),
            endpoints: endpoints(),
            dead_letter_topic: "github.dlq.v1".to_owned(),
            seconds: 1.24,
            next: vec![NextStep {
                title: "Look at every dead letter".to_owned(),
                command: "tidegate dlq list --config sink.yaml".to_owned(),
            }],
        }
    }

    fn endpoints() -> Endpoints {
        Endpoints {
            kafka: "127.0.0.1:19092".to_owned(),
            clickhouse: "http://127.0.0.1:8123".to_owned(),
            clickhouse_reader: String::new(),
            clickhouse_native: "127.0.0.1:9000".to_owned(),
            registry: String::new(),
            api: "http://127.0.0.1:8080".to_owned(),
            data_dir: "data".to_owned(),
        }
    }

    #[test]
    fn the_demo_report_is_understood_at_a_glance() {
        insta::assert_snapshot!(demo(&report(), Look::PLAIN));
    }

    #[test]
    fn no_line_is_wider_than_the_look() {
        for width in [76, 88, 100] {
            let text = demo(&report(), Look { width, color: false });
            let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= width, "{width}: {widest}");
        }
    }

    #[test]
    fn colours_change_nothing_else() {
        let colored = demo(&report(), Look { color: true, ..Look::PLAIN });
        let stripped = strip(&colored);
        assert_ne!(colored, stripped);
        assert_eq!(stripped, demo(&report(), Look::PLAIN));
    }

    fn strip(text: &str) -> String {
        let mut parts = text.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
    }

    #[test]
    fn a_loss_is_said_in_the_second_line() {
        let report = DemoReport { accounted: false, dead_letters: BTreeMap::new(), ..report() };
        let text = demo(&report, Look::PLAIN);
        assert!(text.lines().nth(1).unwrap().starts_with('✗'), "{text}");
    }

    #[test]
    fn the_demo_json_has_the_agreed_fields() {
        let json = serde_json::to_value(report()).unwrap();
        for field in ["records", "rows", "dead_letters", "lag", "accounted"] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["lag"]["github.webhooks/0"], 0);
    }
}
