//! Answers of metrics drawn for a terminal: columns along the time axis, a line of them for each part, bars
//! for parts and for the steps of a funnel, a triangle for retention.

use std::fmt::Write;

use jiff::ToSpan;
use jiff::civil::DateTime;
use serde_json::Value;
use tidegate_catalog::Role;

use super::Look;
use super::metrics::{float, number, share, sources, text_of};
use super::text::{Ink, bar, cut};
use crate::metrics::answer::Answer;

/// Rows of a drawing along the time axis.
const HEIGHT: usize = 8;
/// Parts that are drawn; the rest is counted.
const PARTS_MAX: usize = 24;
/// More periods than that are not drawn one by one.
const PERIODS_MAX: usize = 100_000;
const LABEL_MAX: usize = 24;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// An answer as a drawing, with where it comes from. `grain` is the length of its periods.
#[must_use]
pub fn plot(answer: &Answer, grain: Option<&str>, look: Look) -> String {
    let has = |role: Role| answer.columns.iter().any(|column| column.role == role);
    let mut text = match () {
        () if answer.rows.values.is_empty() => String::new(),
        () if has(Role::Step) => funnels(answer, look),
        () if has(Role::After) => retention(answer, look),
        () if has(Role::Period) => time_series(answer, grain.unwrap_or("day"), look),
        () => bars(answer, look),
    };
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&sources(answer, look));
    text
}

/// The columns with a role, by their place.
fn places(answer: &Answer, role: Role) -> Vec<usize> {
    let columns = answer.columns.iter().enumerate();
    columns.filter(|(_, column)| column.role == role).map(|(index, _)| index).collect()
}

fn value(row: &[Value], place: usize) -> Option<f64> {
    row.get(place).and_then(Value::as_f64)
}

fn name(answer: &Answer, place: usize) -> &str {
    answer.columns.get(place).map_or("", |column| column.name.as_str())
}

/// The values of a row's dimensions.
fn part(row: &[Value], dimensions: &[usize]) -> String {
    let texts = dimensions.iter().filter_map(|place| row.get(*place)).map(|value| match text_of(value) {
        text if text.is_empty() => "''".to_owned(),
        text => text,
    });
    texts.collect::<Vec<_>>().join(" · ")
}

/// Rows by their part, in the order in which they come.
fn parts<'a>(answer: &'a Answer) -> Vec<(String, Vec<&'a Vec<Value>>)> {
    let dimensions = places(answer, Role::Dimension);
    let mut index: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    let mut parts: Vec<(String, Vec<&'a Vec<Value>>)> = Vec::new();
    for row in &answer.rows.values {
        let name = part(row, &dimensions);
        let place = *index.entry(name.clone()).or_insert_with(|| {
            parts.push((name, Vec::new()));
            parts.len() - 1
        });
        parts[place].1.push(row);
    }
    parts
}

fn time_series(answer: &Answer, grain: &str, look: Look) -> String {
    let Some(period) = places(answer, Role::Period).first().copied() else { return String::new() };
    let axis = axis(answer, period, grain);
    let single = places(answer, Role::Dimension).is_empty();
    let mut text = String::new();
    for metric in places(answer, Role::Metric) {
        let line = |rows: &[&Vec<Value>]| -> Vec<Option<f64>> {
            let known: std::collections::HashMap<&str, f64> = rows
                .iter()
                .filter_map(|row| Some((row.get(period)?.as_str()?, value(row, metric)?)))
                .collect();
            axis.iter().map(|time| known.get(time.as_str()).copied()).collect()
        };
        let parts = parts(answer);
        if single {
            let rows = parts.first().map_or(&[][..], |(_, rows)| rows);
            text.push_str(&columns(name(answer, metric), &axis, &line(rows), look));
        } else {
            let lines = parts.into_iter().map(|(part, rows)| (part, line(&rows))).collect();
            text.push_str(&sparklines(name(answer, metric), &axis, lines, look));
        }
    }
    text
}

/// Every period from the first to the last, as ClickHouse writes them.
fn axis(answer: &Answer, period: usize, grain: &str) -> Vec<String> {
    let mut known: Vec<String> =
        answer.rows.values.iter().filter_map(|row| row.get(period)?.as_str().map(str::to_owned)).collect();
    known.sort();
    known.dedup();
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return known };
    let (Ok(first), Ok(last)) = (first.parse::<DateTime>(), last.parse::<DateTime>()) else { return known };
    let step = match grain {
        "hour" => 1.hour(),
        "week" => 1.week(),
        "month" => 1.month(),
        _ => 1.day(),
    };
    let mut axis = Vec::new();
    let mut time = first;
    while time <= last && axis.len() < PERIODS_MAX {
        let date = time.date();
        axis.push(match grain {
            "hour" => format!("{date} {:02}:00:00", time.hour()),
            _ => date.to_string(),
        });
        match time.checked_add(step) {
            Ok(next) => time = next,
            Err(_) => break,
        }
    }
    axis
}

/// Values put together to at most `width`: the means of neighbours. With how many these are.
fn squeezed(values: &[Option<f64>], width: usize) -> (Vec<Option<f64>>, usize) {
    let n_each = values.len().div_ceil(width.max(1)).max(1);
    let mean = |chunk: &[Option<f64>]| {
        let known: Vec<f64> = chunk.iter().flatten().copied().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    (values.chunks(n_each).map(mean).collect(), n_each)
}

/// The least and the greatest value, and zero.
fn bounds<'a>(values: impl IntoIterator<Item = &'a Option<f64>>) -> (f64, f64) {
    let known = values.into_iter().flatten();
    known.fold((0.0, 0.0), |(low, high): (f64, f64), value| (low.min(*value), high.max(*value)))
}

/// How much of `steps` a value fills; what is more than the least shows.
fn level(value: Option<f64>, (low, high): (f64, f64), steps: usize) -> usize {
    let Some(value) = value else { return 0 };
    if high <= low {
        return 0;
    }
    let filled = (value - low) / (high - low) * steps as f64;
    let at_least = usize::from(value > low);
    // Between 0 and `steps`, which is small.
    (filled.round() as usize).clamp(at_least, steps)
}

/// Columns along the time axis.
fn columns(title: &str, axis: &[String], values: &[Option<f64>], look: Look) -> String {
    // As wide as the longest number may be: how many columns there are decides which numbers stand there.
    let (low, high) = bounds(values);
    let gutter = [low, high].map(|bound| float(bound).chars().count() + 2).into_iter().max().unwrap_or(0);
    let room = look.width.saturating_sub(gutter + 3).max(8);
    let (values, n_each) = squeezed(values, room);
    let bounds = bounds(&values);
    let labels = [bounds.1, (bounds.0 + bounds.1) / 2.0, bounds.0].map(float);
    let gutter = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let each = (room / values.len().max(1)).clamp(1, 6);
    let gap = usize::from(each >= 3);
    let remark = if n_each > 1 { format!("a column is the mean of {n_each} periods") } else { String::new() };
    let mut text = look.heading(title, &remark);
    for row in (0..HEIGHT).rev() {
        let label = match row {
            row if row == HEIGHT - 1 => labels[0].as_str(),
            row if row == HEIGHT / 2 - 1 => labels[1].as_str(),
            0 => labels[2].as_str(),
            _ => "",
        };
        let mut line = String::new();
        for value in &values {
            let filled = level(*value, bounds, HEIGHT * 8).saturating_sub(row * 8).min(8);
            line.extend(std::iter::repeat_n(EIGHTHS[filled], each - gap));
            line.extend(std::iter::repeat_n(' ', gap));
        }
        let line = look.ink(Ink::Good, line.trim_end());
        let _ = writeln!(text, "{} ┤{line}", look.ink(Ink::Dim, format_args!("{label:>gutter$}")));
    }
    let width = (values.len() * each).max(24);
    let _ = writeln!(text, "{:gutter$} └{}", "", "─".repeat(width));
    text.push_str(&look.ink(Ink::Dim, ends(axis, gutter + 2, width)));
    text.push('\n');
    text
}

/// The first and the last time, and the middle one if there is room.
fn ends(axis: &[String], indent: usize, width: usize) -> String {
    let (first, last) = (axis.first().map_or("", |time| time), axis.last().map_or("", |time| time));
    if axis.len() < 2 {
        return format!("{:indent$}{first}", "");
    }
    let middle = axis.get(axis.len() / 2).map_or("", |time| time);
    let used = first.len() + last.len();
    if axis.len() < 3 || width < used + middle.len() + 4 {
        let last_width = width.saturating_sub(first.len()).max(last.len() + 1);
        return format!("{:indent$}{first}{last:>last_width$}", "");
    }
    let room = width - used;
    format!("{:indent$}{first}{middle:^room$}{last}", "")
}

/// A line of small columns for each part, those with the most first.
fn sparklines(
    title: &str,
    axis: &[String],
    mut lines: Vec<(String, Vec<Option<f64>>)>,
    look: Look,
) -> String {
    let sum = |values: &[Option<f64>]| values.iter().flatten().sum::<f64>();
    lines.sort_by(|(_, one), (_, other)| sum(other).total_cmp(&sum(one)));
    let n_more = lines.len().saturating_sub(PARTS_MAX);
    lines.truncate(PARTS_MAX);
    let label = lines.iter().map(|(part, _)| part.chars().count()).max().unwrap_or(0).min(LABEL_MAX);
    let room = look.width.saturating_sub(label + 18).max(8);
    let squeezed: Vec<(String, Vec<Option<f64>>, String)> = lines
        .into_iter()
        .map(|(part, values)| {
            let last = values.last().copied().flatten().map_or_else(|| "-".to_owned(), float);
            (part, self::squeezed(&values, room).0, last)
        })
        .collect();
    let bounds = bounds(squeezed.iter().flat_map(|(_, values, _)| values));
    let each = (room / squeezed.first().map_or(1, |(_, values, _)| values.len().max(1))).clamp(1, 4);
    let mut text =
        look.heading(title, &format!("at the right the last value; the highest is {}", float(bounds.1)));
    let mut width = 0;
    for (part, values, last) in &squeezed {
        let mut line = String::new();
        for value in values {
            line.extend(std::iter::repeat_n(EIGHTHS[level(*value, bounds, 8)], each));
        }
        width = values.len() * each;
        let part = cut(part, label);
        let _ = writeln!(text, "  {part:<label$}  {}  {last:>12}", look.ink(Ink::Good, line));
    }
    let _ = writeln!(text, "{}", look.ink(Ink::Dim, ends(axis, label + 4, width)));
    if n_more > 0 {
        let _ = writeln!(text, "  {}", look.ink(Ink::Dim, format_args!("and {n_more} more")));
    }
    text
}

/// A bar for each row, for each metric; a number where there is nothing to compare with.
fn bars(answer: &Answer, look: Look) -> String {
    let dimensions = places(answer, Role::Dimension);
    let mut text = String::new();
    for metric in places(answer, Role::Metric) {
        if dimensions.is_empty() {
            let shown =
                answer.rows.values.first().and_then(|row| row.get(metric)).map_or_else(String::new, number);
            let _ = writeln!(text, "{}  {shown}", look.ink(Ink::Bold, name(answer, metric)));
            continue;
        }
        text.push_str(&look.heading(name(answer, metric), ""));
        let rows = || answer.rows.values.iter().take(PARTS_MAX);
        let label =
            rows().map(|row| part(row, &dimensions).chars().count()).max().unwrap_or(0).min(LABEL_MAX);
        let high = rows().filter_map(|row| value(row, metric)).fold(0.0, f64::max);
        let room = look.width.saturating_sub(label + 18).max(8);
        for row in rows() {
            let shown =
                row.get(metric).filter(|value| !value.is_null()).map_or_else(|| "-".to_owned(), number);
            let part = cut(&part(row, &dimensions), label);
            let drawn = scaled(value(row, metric).unwrap_or(0.0), high, room);
            let _ = writeln!(text, "  {part:<label$}  {shown:>12}  {}", look.ink(Ink::Good, drawn));
        }
        let n_more = answer.rows.values.len().saturating_sub(PARTS_MAX);
        if n_more > 0 {
            let _ = writeln!(text, "  {}", look.ink(Ink::Dim, format_args!("and {n_more} more")));
        }
    }
    text
}

/// A bar for a number that is not whole.
fn scaled(value: f64, high: f64, width: usize) -> String {
    const FINE: f64 = 1e6;
    if value <= 0.0 || high <= 0.0 {
        return String::new();
    }
    bar((value / high * FINE).ceil() as u64, FINE as u64, width)
}

/// For each part the steps, with the share that came from the first and from the one before.
fn funnels(answer: &Answer, look: Look) -> String {
    let place = |role: Role| places(answer, role).first().copied().unwrap_or_default();
    let (event, metric, whole) = (place(Role::Event), place(Role::Metric), place(Role::Whole));
    let mut heads = places(answer, Role::Period);
    heads.extend(places(answer, Role::Dimension));
    let label = answer
        .rows
        .values
        .iter()
        .filter_map(|row| row.get(event))
        .map(|event| text_of(event).chars().count());
    let label = label.max().unwrap_or(0).min(LABEL_MAX);
    let room = look.width.saturating_sub(label + 36).max(8);
    let mut text = String::new();
    let mut before: Option<(String, f64)> = None;
    for row in &answer.rows.values {
        let head = part(row, &heads);
        let first = before.as_ref().is_none_or(|(part, _)| *part != head);
        if first {
            let title = if head.is_empty() { name(answer, metric).to_owned() } else { head.clone() };
            text.push_str(&look.heading(&title, if head.is_empty() { "" } else { name(answer, metric) }));
        }
        let own = value(row, metric).unwrap_or(0.0);
        let of_before = match &before {
            Some((_, before)) if !first && *before > 0.0 => format!("{:.1} %", own / before * 100.0),
            Some(_) | None => String::new(),
        };
        let drawn = scaled(own, value(row, whole).unwrap_or(0.0), room);
        let event = cut(&row.get(event).map_or_else(String::new, text_of), label);
        let shown = row.get(metric).map_or_else(String::new, number);
        let of_all = share(row.get(metric), row.get(whole));
        let _ = writeln!(
            text,
            "  {event:<label$}  {shown:>9}  {of_all:>8}  {}  {}",
            look.ink(Ink::Dim, format_args!("{of_before:>8}")),
            look.ink(Ink::Good, drawn),
        );
        before = Some((head, own));
    }
    let note = "at the right of the numbers: the share of the first step, and of the step before";
    let _ = writeln!(text, "  {}", look.ink(Ink::Dim, note));
    text
}

/// A line for each cohort: of how many, and in percent who came in each period after.
fn retention(answer: &Answer, look: Look) -> String {
    let place = |role: Role| places(answer, role).first().copied().unwrap_or_default();
    let (after, metric, whole) = (place(Role::After), place(Role::Metric), place(Role::Whole));
    let mut heads = places(answer, Role::Period);
    heads.extend(places(answer, Role::Dimension));
    let label =
        answer.rows.values.iter().map(|row| part(row, &heads).chars().count()).max().unwrap_or(0).min(36);
    let last = answer.rows.values.iter().filter_map(|row| row.get(after)?.as_u64()).max().unwrap_or(0);
    let mut text = look.heading(name(answer, metric), "percent of those who joined, by periods after");
    let mut head = format!("  {:label$}  {:>9}", "", "joined");
    for period in 0..=last {
        let _ = write!(head, "{period:>5}");
    }
    let _ = write!(text, "{}", look.ink(Ink::Dim, head));
    let mut before: Option<String> = None;
    for row in &answer.rows.values {
        let head = part(row, &heads);
        if before.as_ref() != Some(&head) {
            let joined = row.get(whole).map_or_else(String::new, number);
            let _ = write!(text, "\n  {:<label$}  {joined:>9}", cut(&head, label));
        }
        match (value(row, metric), value(row, whole)) {
            (Some(part), Some(whole)) if whole > 0.0 => text.push_str(&shaded(part / whole, look)),
            (_, _) => text.push_str("    -"),
        }
        before = Some(head);
    }
    text.push('\n');
    text
}

/// A share in percent, with a shade that grows with it.
fn shaded(share: f64, look: Look) -> String {
    let shade = match share {
        share if share >= 0.75 => '█',
        share if share >= 0.5 => '▓',
        share if share >= 0.25 => '▒',
        share if share > 0.0 => '░',
        _ => ' ',
    };
    let percent = share * 100.0;
    let number = if percent > 0.0 && percent < 0.5 { "<1".to_owned() } else { format!("{percent:.0}") };
    format!("{number:>4}{}", look.ink(Ink::Good, shade))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_hides_no_value_and_no_gap() {
        let bounds = bounds(&[Some(0.001), None, Some(1000.0)]);
        assert_eq!(level(Some(0.001), bounds, 64), 1);
        assert_eq!(level(Some(1000.0), bounds, 64), 64);
        assert_eq!((level(None, bounds, 64), level(Some(0.0), bounds, 64)), (0, 0));
        assert_eq!(level(Some(-1.0), (-2.0, 2.0), 8), 2);
        assert_eq!(level(Some(5.0), (0.0, 0.0), 8), 0);
    }

    #[test]
    fn the_axis_tells_the_highest_column_also_of_means() {
        let axis: Vec<String> = (0..200).map(|n| format!("2026-{n}")).collect();
        let values: Vec<Option<f64>> = (0..200).map(|n| Some(if n % 4 == 0 { 400.0 } else { 0.0 })).collect();
        let drawn = columns("x", &axis, &values, Look::PLAIN);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[0].ends_with("a column is the mean of 3 periods"), "{drawn}");
        assert!(lines[1].starts_with("133.333 ┤█"), "{drawn}");
        assert!(lines[8].trim_start().starts_with("0 ┤█"), "{drawn}");
    }

    #[test]
    fn more_periods_than_columns_are_put_together() {
        let values: Vec<Option<f64>> = (0..10).map(|n| (n != 9).then_some(f64::from(n))).collect();
        let (squeezed, n_each) = squeezed(&values, 4);
        assert_eq!((n_each, squeezed), (3, vec![Some(1.0), Some(4.0), Some(7.0), None]));
    }
}
