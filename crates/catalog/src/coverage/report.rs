//! The coverage as Markdown, to be read beside the spreadsheet.

use std::fmt::Write as _;

use super::history::{Point, days};
use super::{Coverage, Figures, Group, Outcome, Proposal, Row, Status};

/// The days that a plot shows.
const DAYS_MAX: usize = 30;
const BAR: usize = 40;

/// The report. `source` names the spreadsheet; the history is left out where it is empty.
#[must_use]
pub fn markdown(coverage: &Coverage, source: &str, history: &[Point]) -> String {
    let figures = &coverage.figures;
    let mut text = format!("# Coverage of `{}`\n\n", source.replace('`', "'"));
    // Writing into a `String` does not fail.
    let _ = writeln!(
        text,
        "**{:.1} %**: {} of {} wanted metrics are there. {} more only have to be written.\n",
        figures.percent(),
        figures.covered,
        figures.wanted,
        figures.derivable
    );
    statuses(figures, &mut text);
    if !history.is_empty() {
        let _ = writeln!(text, "\n## Over time\n\n```text\n{}```", small_plot(history));
    }
    burn_down("By owner", &coverage.owners, &mut text);
    burn_down("By priority", &coverage.priorities, &mut text);
    lacking(coverage, &mut text);
    for status in [
        Status::Derivable,
        Status::Unclear,
        Status::Partial,
        Status::Blocked,
        Status::Duplicate,
        Status::Covered,
    ] {
        rows(coverage, status, &mut text);
    }
    if !coverage.malformed.is_empty() {
        text.push_str("\n## Rows that cannot be read\n\n| line | why |\n| ---: | --- |\n");
        for row in &coverage.malformed {
            let _ = writeln!(text, "| {} | {} |", row.line, cell(&row.message));
        }
    }
    unused(coverage, &mut text);
    text
}

fn statuses(figures: &Figures, text: &mut String) {
    text.push_str("| status | metrics | share |\n| --- | ---: | ---: |\n");
    for (status, tenths) in figures.tenths() {
        let (count, share) = (figures.count(status), tenths as f64 / 10.0);
        let _ = writeln!(text, "| {} | {count} | {share:.1} % |", status.as_str());
    }
    let _ = writeln!(text, "\n{} rows want what another row wants; they are not counted.", figures.duplicate);
}

/// A line a day: the percentage as a bar.
#[must_use]
pub fn small_plot(history: &[Point]) -> String {
    let days = days(history);
    let shown = days.iter().skip(days.len().saturating_sub(DAYS_MAX));
    let mut text = String::new();
    for day in shown {
        let filled = (day.percent() / 100.0 * BAR as f64).round() as usize;
        let bar = format!("{}{}", "█".repeat(filled.min(BAR)), "░".repeat(BAR - filled.min(BAR)));
        let _ = writeln!(text, "{}  {bar} {:5.1} %  {}/{}", day.date, day.percent(), day.covered, day.wanted);
    }
    text
}

fn burn_down(title: &str, groups: &[Group], text: &mut String) {
    if groups.iter().all(|group| group.name.is_empty()) {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n| | covered | left |");
    text.push_str(" derivable | partial | blocked | unclear | |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Group { name, figures, percent } in groups {
        let Figures { wanted, covered, derivable, partial, blocked, unclear, duplicate: _ } = figures;
        let name = if name.is_empty() { "(nobody)".to_owned() } else { cell(name) };
        let left = wanted - covered;
        let _ = writeln!(
            text,
            "| {name} | {covered} | {left} | {derivable} | {partial} | {blocked} | {unclear} | {percent:.1} % |"
        );
    }
}

fn lacking(coverage: &Coverage, text: &mut String) {
    if coverage.missing.is_empty() {
        return;
    }
    text.push_str("\n## What is missing\n\n| field or event | unlocks | metrics | helps |\n| --- | ---: | --- | --- |\n");
    for lacking in &coverage.missing {
        let names = |names: &[String]| names.iter().map(|name| cell(name)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            cell(&lacking.missing.to_string()),
            lacking.unlocks.len(),
            names(&lacking.unlocks),
            names(&lacking.helps)
        );
    }
}

fn rows(coverage: &Coverage, status: Status, text: &mut String) {
    let mut rows = coverage.rows.iter().filter(|row| row.outcome.status() == status).peekable();
    if rows.peek().is_none() {
        return;
    }
    let title = match status {
        Status::Covered => "Covered",
        Status::Derivable => "To be written",
        Status::Partial => "Lacking fields",
        Status::Blocked => "Lacking events",
        Status::Unclear => "For a person",
        Status::Duplicate => "Wanted twice",
    };
    let _ = writeln!(text, "\n## {title}\n\n| line | metric | owner | |\n| ---: | --- | --- | --- |");
    let mut proposed = Vec::new();
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            row.line,
            cell(&row.name),
            cell(&row.owner),
            cell(&remark(row))
        );
        if let Outcome::Derivable { proposal: Proposal::Metrics { metrics } } = &row.outcome {
            proposed.extend(metrics);
        }
    }
    if !proposed.is_empty() {
        text.push_str("\n```yaml\nmetrics:\n");
        for line in proposed {
            let _ = writeln!(text, "  {line}");
        }
        text.push_str("```\n");
    }
}

fn remark(row: &Row) -> String {
    let remark = match &row.outcome {
        Outcome::Covered { metric, .. } => match &row.differs {
            Some(differs) => format!("`{metric}`; to be compared: {differs}"),
            None => format!("`{metric}`"),
        },
        Outcome::Derivable { proposal: Proposal::Alias { metric, alias } } => {
            format!("`{metric}` computes it: add `{alias}` to its `alias`")
        }
        Outcome::Derivable { proposal: Proposal::Metrics { metrics } } => {
            let name = metrics.last().and_then(|line| line.split_once(':')).map_or("", |(name, _)| name);
            format!("as `{name}`, below")
        }
        Outcome::Partial { missing } | Outcome::Blocked { missing } => {
            missing.iter().map(|missing| format!("`{missing}`")).collect::<Vec<_>>().join(", ")
        }
        Outcome::Duplicate { of_line, of } => format!("{of}, line {of_line}"),
        Outcome::Unclear { reason } => reason.clone(),
    };
    if row.similar.is_empty() || row.outcome.status() != Status::Unclear {
        return remark;
    }
    format!("{remark}; is it `{}`?", row.similar.join("`, `"))
}

fn unused(coverage: &Coverage, text: &mut String) {
    let unused = &coverage.unused;
    if unused.n_fields() == 0 && unused.events.is_empty() {
        return;
    }
    text.push_str("\n## Collected and counted by no metric\n\n");
    let list = |names: &[String]| format!("`{}`", names.join("`, `"));
    if !unused.events.is_empty() {
        let _ = writeln!(text, "Events: {}.\n", list(&unused.events));
    }
    if !unused.shared.is_empty() {
        let _ = writeln!(text, "Fields of every event or of contexts: {}.\n", list(&unused.shared));
    }
    if !unused.fields.is_empty() {
        text.push_str("| event | fields |\n| --- | --- |\n");
        for (event, fields) in &unused.fields {
            let _ = writeln!(text, "| `{event}` | {} |", list(fields));
        }
    }
}

/// A text of the sheet in a cell of a table: on one line, and nothing but a text.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '|' | '<' | '\\' | '*' | '[' => cell.extend(['\\', char]),
            char if char.is_control() => cell.push(' '),
            char => cell.push(char),
        }
    }
    cell
}
