//! What was inferred from samples: doubts before all else.

use std::fmt::Write;

use tidegate_catalog::proposal::NoteKind;

use super::Look;
use super::text::{Ink, count, counted, cut, quoted};
use crate::catalog::infer::{Compared, NoteLine, Report};

/// How many lines of a list are shown; `--output json` has all.
const LINES_MAX: usize = 20;

/// What was sampled, what is doubtful, what is proposed.
#[must_use]
pub fn inferred(report: &Report, look: Look) -> String {
    let of = match report.partitions {
        0 => String::new(),
        partitions => format!(" of {}", counted(partitions as u64, "partition")),
    };
    let mut text =
        look.heading(&quoted(&report.source, 60), &format!("{}{of}", counted(report.records, "record")));
    let mut line = |ink: Ink, said: &str| {
        let _ = writeln!(text, "  {}", look.ink(ink, quoted(said, 400)));
    };
    line(Ink::Bold, &format!("events are told apart by {}", report.separator));
    line(Ink::Dim, &report.why);
    report.others.iter().for_each(|other| line(Ink::Dim, &format!("or: {other}")));
    report.cut.iter().for_each(|cut| line(Ink::Warn, cut));
    for aside in &report.aside {
        let said = format!(
            "{} records left aside: {}; the first at {}",
            count(aside.records),
            aside.why,
            aside.example
        );
        line(Ink::Warn, &said);
    }
    if let Some(compared) = &report.compared {
        text.push_str(&against(compared, report.records, look));
    }
    let (doubts, remarks): (Vec<&NoteLine>, Vec<&NoteLine>) =
        report.notes.iter().partition(|line| doubtful(line.note.kind));
    text.push_str(&notes("Doubts", &doubts, look));
    text.push_str(&notes("Worth a look", &remarks, look));
    text.push_str(&events(report, look));
    text.push_str(&files(report, look));
    text
}

const fn doubtful(kind: NoteKind) -> bool {
    match kind {
        NoteKind::Tightened | NoteKind::NotCarried | NoteKind::AsJson | NoteKind::Loosened => true,
        NoteKind::Renamed | NoteKind::Informative => false,
    }
}

fn against(compared: &Compared, records: u64, look: Look) -> String {
    let remark = format!("{} of {} records agree with it", count(compared.agreeing), count(records));
    let mut text =
        format!("\n{}", look.heading(&format!("Against {}", quoted(&compared.catalog, 60)), &remark));
    for difference in compared.differences.iter().take(LINES_MAX) {
        let place = format!("{}{}", difference.event, difference.at);
        let _ = writeln!(
            text,
            "  {:>7}  {}  {}  {}",
            count(difference.records),
            look.ink(Ink::Warn, quoted(&place, 60)),
            quoted(&difference.what, 120),
            look.ink(Ink::Dim, format!("first at {}", quoted(&difference.example, 30)))
        );
    }
    text.push_str(&more(compared.differences.len(), look));
    text
}

fn notes(title: &str, notes: &[&NoteLine], look: Look) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}", look.heading(title, ""));
    // The same is often to be said of many places.
    let mut said: Vec<(&NoteLine, usize)> = Vec::new();
    for line in notes {
        let same = |(known, _): &&mut (&NoteLine, usize)| {
            known.note.text == line.note.text && known.note.kind == line.note.kind
        };
        match said.iter_mut().find(same) {
            Some((_, times)) => *times += 1,
            None => said.push((line, 1)),
        }
    }
    for (line, times) in said.iter().take(LINES_MAX) {
        let ink = if line.note.kind == NoteKind::Tightened { Ink::Bad } else { Ink::Warn };
        let place = format!("{}{}", line.event.as_deref().unwrap_or_default(), line.note.at);
        let place = if place.is_empty() { String::new() } else { format!("{}  ", quoted(&place, 70)) };
        let kept = if line.note.kind == NoteKind::AsJson { "kept as json: " } else { "" };
        let also = if *times > 1 { format!("  (and {} more places)", times - 1) } else { String::new() };
        let _ = writeln!(
            text,
            "  {}{}{}",
            look.ink(ink, place),
            quoted(&format!("{kept}{}", line.note.text), 400),
            look.ink(Ink::Dim, also)
        );
    }
    text.push_str(&more(said.len(), look));
    text
}

fn events(report: &Report, look: Look) -> String {
    if report.events.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n{}",
        look.heading(&format!("{} proposed", counted(report.events.len() as u64, "event")), "")
    );
    if !report.envelope.is_empty() {
        let envelope = report.envelope.iter().map(|field| quoted(field, 60)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  every event has {}", look.ink(Ink::Dim, envelope));
    }
    let mut events: Vec<_> = report.events.iter().collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.records));
    for event in events.into_iter().take(LINES_MAX) {
        let _ = writeln!(
            text,
            "  {:<40}{:>9} records {:>5} fields",
            cut(&event.name, 40),
            count(event.records),
            count(event.fields as u64)
        );
    }
    text.push_str(&more(report.events.len(), look));
    text
}

fn files(report: &Report, look: Look) -> String {
    let Some(first) = report.files.first() else { return String::new() };
    let path = quoted(&first.path, 200);
    let next = match (first.written, &report.compared) {
        (false, _) => {
            "nothing was written; `--into FILE` writes the proposal, with the evidence beside each field"
                .to_owned()
        }
        (true, None) => format!("written; look at it, then: tidegate catalog check {path}"),
        (true, Some(_)) => format!("written; look at it, then name it in the catalog: include: [{path}]"),
    };
    let names: Vec<String> = report.files.iter().map(|file| quoted(&file.path, 200)).collect();
    let named = if first.written { format!("{}: ", names.join(", ")) } else { String::new() };
    format!("\n{named}{}\n", look.ink(Ink::Command, next))
}

fn more(n_all: usize, look: Look) -> String {
    match n_all.checked_sub(LINES_MAX) {
        None | Some(0) => String::new(),
        Some(rest) => format!("  {}\n", look.ink(Ink::Dim, format!("{rest} more; `--output json` has all"))),
    }
}
