//! Where a group stands, and what a reset means.

use std::fmt::Write;

use super::Look;
use super::text::{Ink, count, counted, quoted};
use crate::ledger::account::Counts;
use crate::offsets::{MoveLine, OffsetsReport, ResetReport, StandingLine, Stretch};

/// Where a group stands.
#[must_use]
pub fn offsets(report: &OffsetsReport, look: Look) -> String {
    let remark = format!("in {}", quoted(&report.topic, 60));
    let mut text = look.heading(&format!("Group {}", quoted(&report.group, 40)), &remark);
    let head = format!("  {:>9}{:>14}{:>14}{:>14}{:>12}", "partition", "first", "committed", "end", "lag");
    let _ = writeln!(text, "{}", look.ink(Ink::Dim, head));
    for line in &report.partitions {
        text.push_str(&standing(line, look));
    }
    text.push('\n');
    if report.members.is_empty() {
        text.push_str(&look.heading("No members", "the offsets can be reset"));
    } else {
        let n = report.members.len() as u64;
        text.push_str(&look.heading(&counted(n, "member"), "stop the sink before the offsets are reset"));
        for member in &report.members {
            let line = format!("{} at {}  {}", member.client, member.host, member.id);
            let _ = writeln!(text, "  {}", quoted(&line, look.width - 2));
        }
    }
    text
}

fn standing(line: &StandingLine, look: Look) -> String {
    let committed = line.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    let lag = count(line.lag.unsigned_abs());
    let mut text =
        format!("  {:>9}{:>14}{committed:>14}{:>14}{lag:>12}\n", line.partition, line.first, line.end);
    let mut note = |ink: Ink, note: String| {
        let _ = writeln!(text, "{:13}{}", "", look.ink(ink, quoted(&note, look.width - 13)));
    };
    if let Some(until) = line.inserting_until {
        note(Ink::Dim, format!("inserting up to {until}"));
    }
    if let Some(rewind) = &line.rewind {
        let what = if rewind.write_again { "is written again" } else { "that is there is left alone" };
        note(Ink::Warn, format!("was reset: what is read before {} {what}", rewind.until));
    }
    if let Some(remark) = &line.remark {
        note(Ink::Bad, remark.clone());
    }
    text
}

/// What a reset does or did.
#[must_use]
pub fn reset(report: &ResetReport, look: Look) -> String {
    let remark = format!("group {}", quoted(&report.group, 60));
    let n = report.moves.len() as u64;
    if n == 0 {
        return look.heading("Nothing to do", "the group stands there already");
    }
    let verb = if report.dry_run { "would move" } else { "moved" };
    let mut text = look.heading(&format!("{} {verb}", counted(n, "partition")), &remark);
    for one in &report.moves {
        text.push_str(&line(one, report.write_again, look));
    }
    if let Some(undo) = &report.undo {
        let when = if report.dry_run { "To come back from there:" } else { "To undo:" };
        let _ =
            writeln!(text, "\n{}\n  {}", look.ink(Ink::Dim, when), look.ink(Ink::Command, quoted(undo, 400)));
    }
    text
}

fn line(one: &MoveLine, write_again: bool, look: Look) -> String {
    let from = one.from.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    let head = format!("{}: {from} to {}", one.partition, one.to);
    let mut text = format!("  {}\n", look.ink(Ink::Bold, head));
    if let Some(skipped) = &one.skipped {
        text.push_str(&stretch("skipped", skipped, look));
        let lost = skipped.counts.waiting + skipped.counts.nowhere;
        if lost > 0 {
            let lost = format!("    {} will be in no table and no dead letter\n", counted(lost, "record"));
            text.push_str(&look.ink(Ink::Bad, lost));
        }
    }
    if let Some(again) = &one.again {
        text.push_str(&stretch("read again", again, look));
        let what = match write_again {
            true => {
                (Ink::Warn, "all of them are written once more, rows and dead letters that are there too")
            }
            false => {
                (Ink::Good, "rows and dead letters that are there stay as they are; the rest is written")
            }
        };
        let _ = writeln!(text, "    {}", look.ink(what.0, what.1));
    }
    text
}

fn stretch(verb: &str, stretch: &Stretch, look: Look) -> String {
    let Stretch { first, end, counts } = stretch;
    let offsets = counted(end.abs_diff(*first), "offset");
    let remark = look.ink(Ink::Dim, format_args!("{first}..{end}: {}", said(counts)));
    format!("    {verb} {offsets}, {remark}\n")
}

/// What the ledger says, in a line.
fn said(counts: &Counts) -> String {
    let dropped: u64 = counts.dropped.values().sum();
    let parts = [
        (counts.all_rows(), "row", true),
        (counts.all_dead_letters(), "dead letter", true),
        (dropped, "dropped by a rule", false),
        (counts.waiting, "not there yet", false),
        (counts.no_record, "without a record", false),
        (counts.untraceable, "nobody can say where", false),
        (counts.twice, "in several places", false),
        (counts.nowhere, "nowhere", false),
    ];
    let said = parts.iter().filter(|(n, ..)| *n > 0).map(|(n, what, plural)| match plural {
        true => counted(*n, what),
        false => format!("{} {what}", count(*n)),
    });
    said.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::offsets::{MemberLine, RewindLine};

    #[test]
    fn a_group_is_a_table_of_partitions_and_members() {
        let line = |partition, committed, lag| StandingLine {
            partition,
            first: 0,
            end: 200,
            committed,
            lag,
            inserting_until: None,
            rewind: None,
            remark: None,
        };
        let report = OffsetsReport {
            connector: "github".to_owned(),
            group: "tidegate-github".to_owned(),
            topic: "github.webhooks".to_owned(),
            partitions: vec![
                line(0, Some(200), 0),
                StandingLine { inserting_until: Some(190), ..line(1, Some(56), 144) },
                StandingLine {
                    rewind: Some(RewindLine { until: 200, write_again: false }),
                    ..line(2, Some(114), 86)
                },
                line(3, None, 200),
            ],
            members: vec![MemberLine {
                id: "tidegate-7f3a".to_owned(),
                client: "tidegate".to_owned(),
                host: "10.0.0.7".to_owned(),
            }],
        };
        insta::assert_snapshot!(offsets(&report, Look::PLAIN));
    }

    #[test]
    fn a_reset_says_what_is_skipped_and_what_is_read_again() {
        let stretch = |first, end, rows, dead_letters, waiting| Stretch {
            first,
            end,
            counts: Counts {
                rows: BTreeMap::from([("github_push".to_owned(), rows)]),
                dead_letters: BTreeMap::from([("unknown_event".to_owned(), dead_letters)]),
                waiting,
                ..Counts::default()
            },
        };
        let one = |partition, from, to, skipped, again| MoveLine { partition, from, to, skipped, again };
        let report = ResetReport {
            connector: "github".to_owned(),
            group: "tidegate-github".to_owned(),
            topic: "github.webhooks".to_owned(),
            dry_run: true,
            write_again: false,
            moves: vec![
                one(0, Some(58), 59, Some(stretch(58, 59, 0, 0, 1)), None),
                one(1, Some(1200), 57, None, Some(stretch(57, 1200, 1140, 3, 0))),
            ],
            untraceable_tables: BTreeMap::new(),
            undo: Some("tidegate offsets set 0:58,1:1200 --config sink.yaml".to_owned()),
        };
        insta::assert_snapshot!(reset(&report, Look::PLAIN));
        let again = ResetReport { dry_run: false, write_again: true, undo: None, ..report };
        assert!(reset(&again, Look::PLAIN).contains("written once more"));
        let none = ResetReport { moves: Vec::new(), ..again };
        assert_eq!(reset(&none, Look::PLAIN), "Nothing to do  the group stands there already\n");
    }
}
