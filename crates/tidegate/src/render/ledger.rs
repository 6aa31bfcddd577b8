//! The ledger: a bar a partition, sums, and what is not as it should be.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Look;
use super::text::{Ink, count, counted, quoted};
use crate::ledger::account::{Counts, Entry, Fate};
use crate::ledger::{LedgerReport, PartitionLedger};

/// How many stretches are listed; JSON has all.
const STRETCHES_MAX: usize = 12;
/// How many partitions are drawn.
const PARTITIONS_MAX: usize = 200;

/// What became of a topic's offsets.
#[must_use]
pub fn ledger(report: &LedgerReport, look: Look) -> String {
    let remark = format!("of group {}", quoted(&report.group, 40));
    let mut text = look.heading(&format!("Ledger of {}", quoted(&report.topic, 60)), &remark);
    let number = report.partitions.iter().map(|ledger| ledger.partition.to_string().len()).max().unwrap_or(1);
    for partition in report.partitions.iter().take(PARTITIONS_MAX) {
        text.push_str(&line(partition, number, look));
    }
    if report.partitions.len() > PARTITIONS_MAX {
        let more = report.partitions.len() - PARTITIONS_MAX;
        let _ = writeln!(text, "  {more} more partitions; `--output json` has them");
    }
    text.push_str(&legend(&report.counts, look));
    text.push('\n');
    text.push_str(&sums(&report.counts, look));
    text.push_str(&stretches(report, look));
    if !report.untraceable_tables.is_empty() {
        text.push_str(&untraceable(report, look));
    }
    let _ = writeln!(text, "\n{}", verdict(report, look));
    text
}

fn line(ledger: &PartitionLedger, number: usize, look: Look) -> String {
    let offsets = match ledger.committed {
        Some(committed) => format!("{}..{} at {committed}", ledger.first, ledger.end),
        None => format!("{}..{}", ledger.first, ledger.end),
    };
    let width = look.width.saturating_sub(number + 6 + 30).max(10);
    let bar = bar(ledger, width, look);
    format!("  {:>number$}  {bar}  {}\n", ledger.partition, look.ink(Ink::Dim, offsets))
}

/// What a cell of a bar shows, the worst of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Nothing,
    Waiting,
    Row,
    Dropped,
    DeadLetter,
    Untraceable,
    Twice,
    Nowhere,
}

impl Cell {
    const fn of(fate: &Fate) -> Self {
        match fate {
            Fate::Row { .. } => Self::Row,
            Fate::DeadLetter { .. } => Self::DeadLetter,
            Fate::Dropped { .. } => Self::Dropped,
            Fate::NoRecord => Self::Nothing,
            Fate::Waiting => Self::Waiting,
            Fate::Untraceable => Self::Untraceable,
            Fate::Twice { .. } => Self::Twice,
            Fate::Nowhere => Self::Nowhere,
        }
    }

    const fn look(self) -> (char, Ink) {
        match self {
            Self::Nothing => (' ', Ink::Dim),
            Self::Waiting => ('·', Ink::Dim),
            Self::Row => ('█', Ink::Good),
            Self::Dropped => ('░', Ink::Dim),
            Self::DeadLetter => ('▒', Ink::Warn),
            Self::Untraceable => ('?', Ink::Warn),
            Self::Twice => ('2', Ink::Bad),
            Self::Nowhere => ('!', Ink::Bad),
        }
    }
}

/// Each cell stands for the same number of offsets; a short log has a cell an offset.
fn bar(ledger: &PartitionLedger, width: usize, look: Look) -> String {
    let length = i128::from(ledger.end) - i128::from(ledger.first);
    let cells = usize::try_from(length).map_or(width, |length| length.min(width));
    let mut drawn = vec![Cell::Nothing; cells];
    let at = |offset: i64| -> usize {
        let from = i128::from(offset) - i128::from(ledger.first);
        usize::try_from(from * i128::try_from(cells).unwrap_or(0) / length.max(1)).unwrap_or(0)
    };
    for Entry { first, end, fate } in &ledger.entries {
        for cell in drawn.iter_mut().take(at(end - 1) + 1).skip(at(*first)) {
            *cell = (*cell).max(Cell::of(fate));
        }
    }
    let mut text = String::new();
    for run in drawn.chunk_by(|a, b| a == b) {
        let (char, ink) = run[0].look();
        text.push_str(&look.ink(ink, char.to_string().repeat(run.len())));
    }
    text.push_str(&" ".repeat(width - cells));
    text
}

fn legend(counts: &Counts, look: Look) -> String {
    let cells = [
        (Cell::Row, "row", true),
        (Cell::DeadLetter, "dead letter", true),
        (Cell::Waiting, "not there yet", true),
        (Cell::Dropped, "dropped by a rule", !counts.dropped.is_empty()),
        (Cell::Untraceable, "cannot be known", counts.untraceable > 0),
        (Cell::Twice, "in several places", counts.twice > 0),
        (Cell::Nowhere, "nowhere", counts.nowhere > 0),
    ];
    let shown = cells.iter().filter(|(_, _, shown)| *shown).map(|(cell, name, _)| {
        let (char, ink) = cell.look();
        format!("{} {name}", look.ink(ink, char))
    });
    format!("  {}\n", shown.collect::<Vec<_>>().join("   "))
}

fn sums(counts: &Counts, look: Look) -> String {
    let mut text = String::new();
    let mut group = |title: &str, ink: Ink, members: &BTreeMap<String, u64>| {
        let total: u64 = members.values().sum();
        if total == 0 {
            return;
        }
        let _ = writeln!(text, "  {}", look.ink(ink, format_args!("{title:<34}{:>14}", count(total))));
        for (name, n) in members {
            let _ = writeln!(text, "    {:<32}{:>14}", quoted(name, 32), count(*n));
        }
    };
    group("rows", Ink::Good, &counts.rows);
    group("dead letters", Ink::Warn, &counts.dead_letters);
    group("dropped by a rule", Ink::Dim, &counts.dropped);
    for (name, ink, n) in [
        ("not there yet", Ink::Dim, counts.waiting),
        ("no record at the offset", Ink::Dim, counts.no_record),
        ("cannot be known", Ink::Warn, counts.untraceable),
        ("in several places", Ink::Bad, counts.twice),
        ("nowhere", Ink::Bad, counts.nowhere),
    ] {
        if n > 0 {
            let _ = writeln!(text, "  {}", look.ink(ink, format_args!("{name:<34}{:>14}", count(n))));
        }
    }
    text
}

/// What is not a row and not waiting, offset by offset.
fn stretches(report: &LedgerReport, look: Look) -> String {
    let mut notable = Vec::new();
    for ledger in &report.partitions {
        for entry in &ledger.entries {
            let (rank, what) = match &entry.fate {
                Fate::Row { .. } | Fate::Waiting | Fate::Untraceable | Fate::NoRecord => continue,
                Fate::Nowhere => (0, "nowhere: skipped, deleted since, or lost".to_owned()),
                Fate::Twice { places } => (0, format!("in several places: {}", places.join(", "))),
                Fate::DeadLetter { reason } => (1, format!("dead letter, {reason}")),
                Fate::Dropped { rule } => (2, format!("dropped, {rule}")),
            };
            notable.push((rank, ledger.partition, entry, what));
        }
    }
    if notable.is_empty() {
        return String::new();
    }
    // The worst first; a stable sort keeps partitions and offsets in order.
    notable.sort_by_key(|(rank, ..)| *rank);
    let mut text = format!("\n{}", look.heading("What is not a row", ""));
    for (rank, partition, entry, what) in notable.iter().take(STRETCHES_MAX) {
        let offsets = match entry.end - entry.first {
            1 => format!("{partition}:{}", entry.first),
            _ => format!("{partition}:{}..{}", entry.first, entry.end),
        };
        let ink = if *rank == 0 { Ink::Bad } else { Ink::Warn };
        let _ = writeln!(text, "  {offsets:<24}{}", look.ink(ink, quoted(what, look.width - 26)));
    }
    if notable.len() > STRETCHES_MAX {
        let more = counted((notable.len() - STRETCHES_MAX) as u64, "more stretch");
        let more = format!("  {}es; `--output json` has all\n", more.trim_end_matches('s'));
        text.push_str(&look.ink(Ink::Dim, more));
    }
    text
}

fn untraceable(report: &LedgerReport, look: Look) -> String {
    let mut text = format!("\n{}", look.heading("Tables that do not say which records they hold", ""));
    for (table, rows) in &report.untraceable_tables {
        let _ = writeln!(text, "  {:<34}{:>14}", quoted(table, 34), counted(*rows, "row"));
    }
    text.push_str(
        "hint: with the columns _topic, _partition and _offset the sink fills in what the ledger needs\n",
    );
    text
}

fn verdict(report: &LedgerReport, look: Look) -> String {
    let Counts { nowhere, twice, untraceable, .. } = &report.counts;
    if report.accounted {
        return look.ink(Ink::Good, "Every record that the group has passed is in one place, once.");
    }
    let parts = [(*nowhere, "nowhere"), (*twice, "in several places"), (*untraceable, "untraceable")];
    let parts = parts.iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, what)| format!("{} {what}", counted(*n, "record"))).collect();
    let ink = if nowhere + twice > 0 { Ink::Bad } else { Ink::Warn };
    look.ink(ink, format!("Not accounted for: {}.", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(entries: &[(i64, i64, Fate)], committed: i64) -> LedgerReport {
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(first, end, fate)| Entry { first: *first, end: *end, fate: fate.clone() })
            .collect();
        let range = tidegate_core::OffsetRange::new(0, 1000).unwrap();
        let counts = Counts::of(&entries, range);
        LedgerReport {
            connector: "github".to_owned(),
            group: "tidegate-github".to_owned(),
            topic: "github.webhooks".to_owned(),
            accounted: counts.nowhere + counts.twice + counts.untraceable == 0,
            tables: vec!["github_push".to_owned()],
            untraceable_tables: BTreeMap::new(),
            partitions: vec![PartitionLedger {
                partition: 0,
                first: 0,
                end: 1000,
                committed: Some(committed),
                counts: counts.clone(),
                entries,
            }],
            counts,
        }
    }

    fn row(table: &str) -> Fate {
        Fate::Row { table: table.to_owned() }
    }

    fn letter() -> Fate {
        Fate::DeadLetter { reason: "unknown_event".to_owned() }
    }

    #[test]
    fn a_ledger_is_a_bar_sums_and_what_is_not_a_row() {
        let entries = [
            (0, 58, row("github_push")),
            (58, 59, letter()),
            (59, 500, row("github_push")),
            (500, 700, row("github_fork")),
            (700, 1000, Fate::Waiting),
        ];
        insta::assert_snapshot!(ledger(&report(&entries, 700), Look::PLAIN));
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let places = vec!["github_fork".to_owned(), "unknown_event".to_owned()];
        let entries = [
            (0, 100, row("github_push")),
            (100, 110, letter()),
            (110, 200, Fate::Twice { places }),
            (200, 500, Fate::Untraceable),
            (500, 980, row("github_push")),
            (980, 990, Fate::Nowhere),
            (990, 1000, Fate::NoRecord),
        ];
        let mut report = report(&entries, 1000);
        report.untraceable_tables.insert("github_blind".to_owned(), 290);
        insta::assert_snapshot!(ledger(&report, Look::PLAIN));
    }
}
