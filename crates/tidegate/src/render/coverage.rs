//! What a catalog covers of the metrics that people want.

use std::fmt::Write;

use tidegate_catalog::coverage::history::days;
use tidegate_catalog::coverage::{Coverage, Group, Outcome, Proposal, Row, Status};

use super::Look;
use super::text::{Ink, bar, count, counted, cut, quoted};
use crate::catalog::coverage::Report;

/// Lines of a list; the report has all of them.
const SHOWN: usize = 10;
/// Days of the history.
const DAYS: usize = 12;

/// The figures, what is left to do, and how it went.
#[must_use]
pub fn coverage(report: &Report, look: Look) -> String {
    let coverage = &report.coverage;
    let figures = &coverage.figures;
    let mut text =
        look.heading(&format!("Coverage {:.1} %", report.percent), &quoted(&report.spreadsheet, look.width));
    // Writing into a `String` does not fail.
    for (status, tenths) in figures.tenths() {
        let (n, share) = (figures.count(status) as u64, tenths as f64 / 10.0);
        let bar = bar(n, figures.wanted as u64, look.width.saturating_sub(30));
        let line = format!("  {:<10}{:>5}  {share:>5.1} %  ", status.as_str(), count(n));
        let _ = writeln!(text, "{line}{}", look.ink(ink(status), bar));
    }
    if figures.duplicate > 0 {
        let line = format!("  and {} that another row wants too", counted(figures.duplicate as u64, "row"));
        let _ = writeln!(text, "{}", look.ink(Ink::Dim, line));
    }
    over_time(report, look, &mut text);
    groups("By owner", &coverage.owners, look, &mut text);
    groups("By priority", &coverage.priorities, look, &mut text);
    missing(coverage, look, &mut text);
    to_write(coverage, look, &mut text);
    unclear(coverage, look, &mut text);
    compare(coverage, look, &mut text);
    unused(coverage, look, &mut text);
    malformed(coverage, look, &mut text);
    ending(report, look, &mut text);
    text
}

const fn ink(status: Status) -> Ink {
    match status {
        Status::Covered => Ink::Good,
        Status::Derivable => Ink::Command,
        Status::Partial | Status::Blocked => Ink::Warn,
        Status::Unclear | Status::Duplicate => Ink::Dim,
    }
}

fn over_time(report: &Report, look: Look, text: &mut String) {
    let days = days(&report.history);
    if days.is_empty() {
        return;
    }
    let _ = write!(text, "\n{}", look.heading("Over time", ""));
    let width = look.width.saturating_sub(36);
    for day in days.iter().skip(days.len().saturating_sub(DAYS)) {
        let tenths = (day.percent() * 10.0).round() as u64;
        let bar = bar(tenths, 1_000, width);
        let _ = writeln!(
            text,
            "  {:<10}  {:>5.1} %  {:>9}  {}",
            quoted(&day.date, 10),
            day.percent(),
            format!("{}/{}", day.covered, day.wanted),
            look.ink(Ink::Good, bar)
        );
    }
}

fn groups(title: &str, groups: &[Group], look: Look, text: &mut String) {
    if groups.iter().all(|group| group.name.is_empty()) {
        return;
    }
    let _ = write!(text, "\n{}", look.heading(title, ""));
    let head = format!(
        "  {:<16}{:>7}{:>9}{:>11}{:>9}{:>9}{:>9}",
        "", "left", "covered", "derivable", "partial", "blocked", "unclear"
    );
    let _ = writeln!(text, "{}", look.ink(Ink::Dim, head));
    let mut groups: Vec<&Group> = groups.iter().collect();
    if title == "By owner" {
        groups.sort_by_key(|group| std::cmp::Reverse(group.figures.wanted - group.figures.covered));
    }
    for group in groups.iter().take(2 * SHOWN) {
        let figures = &group.figures;
        let name = if group.name.is_empty() { "(nobody)".to_owned() } else { quoted(&group.name, 16) };
        let line = format!(
            "  {name:<16}{:>7}{:>7.0} %{:>11}{:>9}{:>9}{:>9}",
            figures.wanted - figures.covered,
            group.percent.floor(),
            figures.derivable,
            figures.partial,
            figures.blocked,
            figures.unclear
        );
        let _ = writeln!(text, "{line}");
    }
    more(groups.len(), 2 * SHOWN, look, text);
}

fn more(n: usize, shown: usize, look: Look, text: &mut String) {
    if n > shown {
        let _ = writeln!(text, "  {}", look.ink(Ink::Dim, format_args!("and {} more", n - shown)));
    }
}

fn missing(coverage: &Coverage, look: Look, text: &mut String) {
    if coverage.missing.is_empty() {
        return;
    }
    let _ = write!(text, "\n{}", look.heading("Missing", "what unlocks most metrics comes first"));
    for lacking in coverage.missing.iter().take(SHOWN) {
        let name = quoted(&lacking.missing.to_string(), 40);
        let (unlocks, helps) = (lacking.unlocks.join(", "), lacking.helps.join(", "));
        let whom = match (unlocks.is_empty(), helps.is_empty()) {
            (_, true) => unlocks,
            (true, false) => format!("a part of {helps}"),
            (false, false) => format!("{unlocks}; a part of {helps}"),
        };
        let whom = quoted(&whom, look.width.saturating_sub(49));
        let n = lacking.unlocks.len();
        let _ = writeln!(text, "  {n:>3}  {}{}", look.ink(Ink::Warn, format_args!("{name:<42}")), whom);
    }
    more(coverage.missing.len(), SHOWN, look, text);
}

fn rows(coverage: &Coverage, status: Status) -> Vec<&Row> {
    coverage.rows.iter().filter(|row| row.outcome.status() == status).collect()
}

fn to_write(coverage: &Coverage, look: Look, text: &mut String) {
    let rows = rows(coverage, Status::Derivable);
    if rows.is_empty() {
        return;
    }
    let _ = write!(text, "\n{}", look.heading("To be written", "everything that these need is there"));
    for row in rows.iter().take(SHOWN) {
        let Outcome::Derivable { proposal } = &row.outcome else { continue };
        let how = match proposal {
            Proposal::Alias { metric, alias } => format!("`{metric}` is the same: alias: [{alias}]"),
            Proposal::Metrics { metrics } => {
                let made = metrics.last().and_then(|line| line.split_once(": "));
                made.map(|(_, keys)| keys.trim_start_matches('{').to_owned()).unwrap_or_default()
            }
        };
        // Doc, owner and alias are the row's own words.
        let how =
            how.find(", doc: ").or_else(|| how.find(", owner: ")).map_or(how.as_str(), |end| &how[..end]);
        let room = look.width.saturating_sub(34);
        let _ = writeln!(
            text,
            "  {:<30}  {}",
            quoted(&row.name, 30),
            look.ink(Ink::Command, quoted(&cut(how, room), room))
        );
    }
    more(rows.len(), SHOWN, look, text);
}

fn unclear(coverage: &Coverage, look: Look, text: &mut String) {
    let rows = rows(coverage, Status::Unclear);
    if rows.is_empty() {
        return;
    }
    let _ = write!(text, "\n{}", look.heading("For a person", "what these are cannot be told"));
    for row in rows.iter().take(SHOWN) {
        let Outcome::Unclear { reason } = &row.outcome else { continue };
        let name = format!("line {}, {}", row.line, row.name);
        let like = match row.similar.as_slice() {
            [] => String::new(),
            similar => format!("is it {}? ", similar.join(", ")),
        };
        let room = look.width.saturating_sub(34);
        let _ = writeln!(text, "  {:<30}  {}", quoted(&name, 30), quoted(&format!("{like}{reason}"), room));
    }
    more(rows.len(), SHOWN, look, text);
}

fn compare(coverage: &Coverage, look: Look, text: &mut String) {
    let rows: Vec<(&Row, &String)> =
        coverage.rows.iter().filter_map(|row| Some((row, row.differs.as_ref()?))).collect();
    if rows.is_empty() {
        return;
    }
    let remark = "covered by their names; their formulas say something else";
    let _ = write!(text, "\n{}", look.heading("To be compared", remark));
    for (row, differs) in rows.iter().take(SHOWN) {
        let name = format!("line {}, {}", row.line, row.name);
        let room = look.width.saturating_sub(34);
        let _ = writeln!(text, "  {:<30}  {}", quoted(&name, 30), quoted(differs, room));
    }
    more(rows.len(), SHOWN, look, text);
}

fn unused(coverage: &Coverage, look: Look, text: &mut String) {
    let unused = &coverage.unused;
    let (n_events, n_fields) = (unused.events.len() as u64, unused.n_fields() as u64);
    if n_events + n_fields == 0 {
        return;
    }
    let title = format!("{} and {}", counted(n_events, "event"), counted(n_fields, "field"));
    let _ = write!(text, "\n{}", look.heading(&title, "collected, and counted by no metric"));
    let fields = unused
        .fields
        .iter()
        .flat_map(|(event, fields)| fields.iter().map(move |field| format!("{event}.{field}")));
    for (title, names) in [
        ("events", unused.events.clone()),
        ("shared fields", unused.shared.clone()),
        ("fields", fields.collect()),
    ] {
        if !names.is_empty() {
            let names = cut(&names.join(", "), look.width.saturating_sub(17));
            let _ = writeln!(text, "  {}  {names}", look.ink(Ink::Dim, format_args!("{title:<13}")));
        }
    }
}

fn malformed(coverage: &Coverage, look: Look, text: &mut String) {
    if coverage.malformed.is_empty() {
        return;
    }
    let title = counted(coverage.malformed.len() as u64, "row");
    let _ = write!(text, "\n{}", look.heading(&title, "cannot be read"));
    for row in coverage.malformed.iter().take(SHOWN) {
        let line = format!("line {}: {}", row.line, row.message);
        let _ = writeln!(text, "  {}", look.ink(Ink::Bad, quoted(&line, look.width.saturating_sub(2))));
    }
    more(coverage.malformed.len(), SHOWN, look, text);
}

fn ending(report: &Report, look: Look, text: &mut String) {
    text.push('\n');
    match &report.report {
        Some(path) => {
            let _ = writeln!(text, "{}: everything, with the YAML to be written", quoted(path, look.width));
        }
        None => {
            let how = look.ink(Ink::Command, "--report FILE");
            let _ = writeln!(text, "{how} writes everything, with the YAML to be written");
        }
    }
    if let Some(demanded) = report.fail_under {
        let line = format!("{demanded} % are demanded, {:.1} % are there", report.percent);
        let ink = if report.too_little() { Ink::Bad } else { Ink::Good };
        let _ = writeln!(text, "{}", look.ink(ink, line));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_catalog::coverage::history::Point;
    use tidegate_catalog::coverage::{cover, markdown, sheet};
    use tidegate_catalog::{Lock, load};

    use super::*;

    /// The example's catalog and spreadsheet, of which some other days are known.
    fn example(narrow: bool) -> Report {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/short-video");
        let root = folder.join("cdp.yaml").display().to_string();
        let catalog = load(&root, &|path| std::fs::read(path)).expect("the example has no mistakes").catalog;
        let sheet = std::fs::read(folder.join("wanted-metrics.csv")).expect("the example has a sheet");
        let sheet = sheet::read(&sheet).expect("it can be read");
        let coverage = cover(&catalog, &Lock::default(), &sheet);
        let point = |date: &str, covered| Point {
            date: date.to_owned(),
            catalog: String::new(),
            spreadsheet: String::new(),
            wanted: 62,
            covered,
            derivable: 0,
        };
        Report {
            file: "cdp.yaml".to_owned(),
            spreadsheet: "wanted-metrics.csv".to_owned(),
            percent: coverage.figures.percent(),
            fail_under: narrow.then_some(50.0),
            history: vec![point("2026-01-31", 9), point("2026-02-28", 20), point("2026-03-31", 27)],
            report: narrow.then(|| "coverage.md".to_owned()),
            coverage,
        }
    }

    #[test]
    fn the_examples_coverage_is_drawn() {
        insta::assert_snapshot!(coverage(&example(false), Look::PLAIN));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let report = example(true);
        let look = Look { width: 76, color: false };
        let text = coverage(&report, look);
        for line in text.lines() {
            assert!(line.chars().count() <= look.width, "{line}");
        }
        assert!(text.contains("50 % are demanded"), "{text}");
    }

    #[test]
    fn the_examples_report_says_everything() {
        let report = example(false);
        insta::assert_snapshot!(markdown(&report.coverage, &report.spreadsheet, &report.history));
    }
}
