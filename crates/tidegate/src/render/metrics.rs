//! Answers of metrics as a table, as CSV and as SQL; and the list of metrics.

use std::fmt::Write;

use serde_json::Value;
use tidegate_catalog::{AnswerColumn, Compiled, Read, Role};

use super::Look;
use super::text::{Ink, count, counted, harmless, quoted};
use crate::metrics::answer::{Answer, MetricLine};

/// The longest text of a dimension that a table shows whole.
const TEXT_MAX: usize = 40;

/// An answer as a table, with where it comes from.
#[must_use]
pub fn table(answer: &Answer, look: Look) -> String {
    if answer.rows.values.is_empty() {
        return format!("no rows\n\n{}", sources(answer, look));
    }
    let mut columns: Vec<Vec<String>> = Vec::new();
    let whole = answer.columns.iter().position(|column| column.role == Role::Whole);
    for (index, column) in answer.columns.iter().enumerate() {
        let cells = answer.rows.values.iter().map(|row| cell(column.role, row.get(index)));
        columns.push([title(column)].into_iter().chain(cells).collect());
        if let (Role::Metric, Some(whole)) = (column.role, whole) {
            let shares = answer.rows.values.iter().map(|row| share(row.get(index), row.get(whole)));
            columns.push(["share".to_owned()].into_iter().chain(shares).collect());
        }
    }
    let width = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let n_keys = answer.columns.iter().filter(|column| to_the_left(column.role)).count();
    let mut text = String::new();
    for row in 0..=answer.rows.values.len() {
        let mut line = String::new();
        for (index, (cells, width)) in columns.iter().zip(&widths).enumerate() {
            let cell = cells.get(row).map_or("", String::as_str);
            // Writing into a `String` does not fail.
            let _ = match index < n_keys {
                true => write!(line, "  {cell:<width$}"),
                false => write!(line, "  {cell:>width$}"),
            };
        }
        let line = line.trim_end();
        let _ = match row {
            0 => writeln!(text, "{}", look.ink(Ink::Dim, line)),
            _ => writeln!(text, "{line}"),
        };
    }
    let _ = write!(text, "\n{}", sources(answer, look));
    text
}

/// What an answer was made from, and what is to be known of it.
pub(super) fn sources(answer: &Answer, look: Look) -> String {
    let mut text = counted(answer.rows.values.len() as u64, "row");
    if answer.more {
        text.push_str(&look.ink(Ink::Warn, ", and there are more: give a larger --limit"));
    }
    text.push('\n');
    text.push_str(&reads(&answer.reads, look));
    match answer.differences.as_deref() {
        None => {}
        Some([]) => {
            let _ = writeln!(text, "{}", look.ink(Ink::Good, "the rows say the same"));
        }
        Some(differences) => {
            for difference in differences {
                let _ = writeln!(text, "{}", look.ink(Ink::Bad, quoted(difference, 200)));
            }
        }
    }
    let estimates: Vec<&str> =
        answer.columns.iter().filter(|column| column.estimate).map(|column| column.name.as_str()).collect();
    if !estimates.is_empty() {
        let line = format!("~ estimates: {}", estimates.join(", "));
        let _ = writeln!(text, "{}", look.ink(Ink::Dim, line));
    }
    text
}

fn reads(reads: &[Read], look: Look) -> String {
    let mut text = String::new();
    for read in reads {
        let _ = writeln!(
            text,
            "{} from {}: {}",
            read.metrics.join(", "),
            look.ink(Ink::Bold, table_of(read)),
            look.ink(Ink::Dim, &read.because),
        );
    }
    text
}

fn table_of(read: &Read) -> String {
    let what = if read.rollup { "rollup" } else { "the rows of" };
    format!("{what} `{}`", read.table)
}

fn title(column: &AnswerColumn) -> String {
    let unit = column.unit.as_ref().map_or_else(String::new, |unit| format!(" ({})", quoted(unit, 12)));
    let mark = if column.estimate { "~" } else { "" };
    format!("{mark}{}{unit}", column.name)
}

const fn to_the_left(role: Role) -> bool {
    match role {
        Role::Period | Role::Dimension | Role::Step | Role::Event | Role::After => true,
        Role::Metric | Role::Whole => false,
    }
}

fn cell(role: Role, value: Option<&Value>) -> String {
    match (role, value) {
        (_, None | Some(Value::Null)) => "-".to_owned(),
        (Role::Metric | Role::Whole, Some(value)) => number(value),
        (_, Some(value)) => text_of(value),
    }
}

/// A value of a key, safe to print.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text, TEXT_MAX),
        other => other.to_string(),
    }
}

/// `12,345`, `0.0123`, `1.5e-7`; what is no number as it is.
pub(super) fn number(value: &Value) -> String {
    if let Some(whole) = value.as_u64() {
        return count(whole);
    }
    if let Some(negative) = value.as_i64() {
        return format!("-{}", count(negative.unsigned_abs()));
    }
    match value.as_f64() {
        Some(number) => float(number),
        None => text_of(value),
    }
}

/// Six digits or all that stand before the point; small numbers with a power of ten.
pub(super) fn float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{number:.3e}");
    }
    let decimals = match size {
        size if size >= 1e5 => 2,
        size if size >= 100.0 => 3,
        _ => 4,
    };
    let text = format!("{size:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let whole = count(whole.parse().unwrap_or(0));
    let rest = rest.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// A part of a whole, in percent.
pub(super) fn share(part: Option<&Value>, whole: Option<&Value>) -> String {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match (number(part), number(whole)) {
        (Some(part), Some(whole)) if whole > 0.0 => format!("{:.1} %", part / whole * 100.0),
        (_, _) => "-".to_owned(),
    }
}

/// An answer as comma-separated values (RFC 4180), with a line of names.
#[must_use]
pub fn csv(answer: &Answer) -> String {
    let mut text = String::new();
    let names: Vec<String> = answer.columns.iter().map(|column| field(&column.name)).collect();
    let _ = write!(text, "{}\r\n", names.join(","));
    for row in &answer.rows.values {
        let fields: Vec<String> = row
            .iter()
            .map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => field(text),
                other => field(&other.to_string()),
            })
            .collect();
        let _ = write!(text, "{}\r\n", fields.join(","));
    }
    text
}

fn field(text: &str) -> String {
    // An empty text is told from null by its quotes.
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// What would be asked, and why so.
#[must_use]
pub fn sql(compiled: &Compiled, _: Look) -> String {
    let mut text = String::new();
    for read in &compiled.reads {
        let of = table_of(read);
        let _ = writeln!(text, "-- {} from {of}: {}", read.metrics.join(", "), harmless(&read.because));
    }
    let _ = writeln!(text, "{};", harmless(&compiled.sql));
    text
}

/// A catalog's metrics.
#[must_use]
pub fn list(lines: &Vec<MetricLine>, look: Look) -> String {
    let mut text = String::new();
    for line in lines {
        let unit = line.unit.as_ref().map_or_else(String::new, |unit| format!(", {}", quoted(unit, 12)));
        let _ = writeln!(text, "{}  {}{unit}", look.ink(Ink::Bold, &line.name), line.kind);
        if let Some(doc) = &line.doc {
            let _ = writeln!(text, "  {}", quoted(doc, look.width.saturating_sub(2)));
        }
        if !line.dimensions.is_empty() {
            let by = format!("by {}", line.dimensions.join(", "));
            let _ = writeln!(text, "  {}", look.ink(Ink::Dim, by));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short_and_none_is_lost() {
        for (value, text) in [
            (json!(1_234_567), "1,234,567"),
            (json!(-5), "-5"),
            (json!(0.25), "0.25"),
            (json!(2_500_315.63), "2,500,315.63"),
            (json!(-0.5), "-0.5"),
            (json!(0.0), "0"),
            (json!(0.000_001_5), "1.500e-6"),
            (json!("1997-01-01"), "1997-01-01"),
        ] {
            assert_eq!(number(&value), text);
        }
    }

    #[test]
    fn csv_keeps_commas_quotes_and_the_difference_of_nothing_and_empty() {
        assert_eq!(["a,b", "say \"x\"", "", "a"].map(field), ["\"a,b\"", "\"say \"\"x\"\"\"", "\"\"", "a"]);
    }
}
