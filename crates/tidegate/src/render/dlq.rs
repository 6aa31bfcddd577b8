//! Dead letters, and a connector that halted over them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Look;
use super::demo::example;
use super::text::{Ink, bar, count, counted, cut, harmless, quoted};
use crate::report::{Bytes, DlqLine, DlqListReport, DlqReplayReport, DlqShowReport, HaltReport};

/// How much of a record's value is shown; `--output json` has all of it.
const VALUE_CHARS_MAX: usize = 4000;

/// Dead letters that match, counted by reason, and the newest of them.
#[must_use]
pub fn dlq_list(report: &DlqListReport, look: Look) -> String {
    let total: u64 = report.counts.values().sum();
    if total == 0 {
        return format!("no dead letters match in topic {}\n", quoted(&report.topic, 80));
    }
    let remark = format!("in topic {}", quoted(&report.topic, 60));
    let mut text = look.heading(&counted(total, "dead letter"), &remark);
    text.push_str(&reasons(&report.counts, look));
    for letter in &report.letters {
        text.push('\n');
        text.push_str(&line(letter, look));
    }
    let listed = u64::try_from(report.letters.len()).unwrap_or(u64::MAX);
    if listed < total {
        let more = format!("\n{} more; `--limit` lists more, `--reason` fewer\n", count(total - listed));
        text.push_str(&look.ink(Ink::Dim, more));
    }
    text
}

fn reasons(counts: &BTreeMap<String, u64>, look: Look) -> String {
    let largest = counts.values().max().copied().unwrap_or(0);
    let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut text = String::new();
    for (code, letters) in sorted {
        let bar = look.ink(Ink::Warn, bar(*letters, largest, look.width / 3));
        let _ = writeln!(text, "  {:<24}{:>9} {bar}", quoted(code, 24), count(*letters));
    }
    text
}

fn line(letter: &DlqLine, look: Look) -> String {
    let DlqLine { id, code, stage, attempt, replayed, example: found } = letter;
    let mut marks = format!("  {} at {}", quoted(code, 24), quoted(stage, 12));
    if *attempt > 1 {
        let _ = write!(marks, ", attempt {attempt}");
    }
    if *replayed {
        marks.push_str(", put back");
    }
    format!(
        "{}{}\n{}",
        look.ink(Ink::Bold, quoted(id, 32)),
        look.ink(Ink::Warn, marks),
        example(found, look, 2)
    )
}

/// One dead letter whole.
#[must_use]
pub fn dlq_show(report: &DlqShowReport, look: Look) -> String {
    let DlqShowReport { letter, event, timestamp, stored, reasons, headers, key, value } = report;
    let mut text = line(letter, look);
    for (name, value) in
        [("event", event.as_deref()), ("time", timestamp.as_deref()), ("stored", Some(stored))]
    {
        if let Some(value) = value {
            let name = look.ink(Ink::Dim, format_args!("{name:<10}"));
            let _ = writeln!(text, "  {name}{}", quoted(value, look.width - 12));
        }
    }
    let _ = write!(text, "\n{}", look.heading("Reasons", ""));
    for reason in reasons {
        let place = if reason.path.is_empty() { "the whole value" } else { &reason.path };
        let column = reason.column.as_deref().map(|column| format!(", column {column}")).unwrap_or_default();
        let rule = reason.rule.as_deref().map(|rule| format!(" ({rule})")).unwrap_or_default();
        let first = quoted(&format!("{} at {place}{column}{rule}", reason.code), look.width - 2);
        let second = quoted(&format!("expected {}, found {}", reason.expected, reason.found), look.width - 4);
        let _ = writeln!(text, "  {}\n    {second}", look.ink(Ink::Warn, first));
    }
    let _ = write!(text, "\n{}", look.heading("Headers", if headers.is_empty() { "none" } else { "" }));
    for (name, value) in headers {
        let line = format!("{name}: {}", value.as_deref().unwrap_or("(null)"));
        let _ = writeln!(text, "  {}", quoted(&line, look.width - 2));
    }
    let _ = write!(text, "\n{}{}", look.heading("Key", ""), bytes(key.as_ref(), look));
    let _ = write!(text, "\n{}{}", look.heading("Value", ""), bytes(value.as_ref(), look));
    text
}

fn bytes(bytes: Option<&Bytes>, look: Look) -> String {
    let (text, kind) = match bytes {
        None => return format!("  {}\n", look.ink(Ink::Dim, "(null)")),
        Some(Bytes::Text(text)) => (harmless(text), ""),
        Some(Bytes::Hex(digits)) => (digits.clone(), "  (not UTF-8: hex digits)\n"),
    };
    let shown = cut(&text, VALUE_CHARS_MAX);
    let rest = if shown.len() < text.len() { "\n  (cut; `--output json` has all of it)" } else { "" };
    format!("{kind}{shown}{rest}\n")
}

/// What was put back.
#[must_use]
pub fn dlq_replay(report: &DlqReplayReport, look: Look) -> String {
    let total: u64 = report.replayed.values().sum();
    let verb = if report.dry_run { "would be put back" } else { "put back" };
    let mut text = look.heading(&format!("{} {verb}", counted(total, "record")), "");
    for (topic, records) in &report.replayed {
        let _ = writeln!(text, "  {:<48}{:>9}", quoted(topic, 48), count(*records));
    }
    if report.already > 0 {
        let already = format!("  {} had been put back before\n", counted(report.already, "record"));
        text.push_str(&look.ink(Ink::Dim, already));
    }
    text
}

/// Why a connector halted and how to go on.
#[must_use]
pub fn halt(report: &HaltReport, look: Look) -> String {
    let HaltReport { connector, refused, window, bad_ratio, reasons: counts, example: found, config } =
        report;
    let connector = quoted(connector, 60);
    let mut text = format!(
        "{} connector `{connector}` halted: {} of its last {} records were refused; the limit is {:.0} %\n",
        look.ink(Ink::Bad, "error:"),
        count(*refused),
        count(*window),
        bad_ratio * 100.0,
    );
    text.push_str(&reasons(counts, look));
    if let Some(found) = found {
        text.push_str(&example(found, look, 4));
    }
    let config = quoted(config, 200);
    let _ = writeln!(
        text,
        "hint: nothing is lost: what was refused is in the dead-letter topic, the rest waits in Kafka.\n\
         \x20     See why:    tidegate dlq list --config {config} --connector {connector}\n\
         \x20     Then mend the producer, the schema or the table, and start the sink again.\n\
         \x20     Put back:   tidegate dlq replay --config {config} --connector {connector}\n\
         \x20     If it is to go on all the same: `halt_when: never`, or a higher `bad_ratio`."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{DeadLetterExample, ReasonLine};

    fn letter() -> DlqLine {
        DlqLine {
            id: "6c62272e07bb014262b821756295c58d".to_owned(),
            code: "bad_timestamp".to_owned(),
            stage: "encode".to_owned(),
            attempt: 2,
            replayed: true,
            example: DeadLetterExample {
                topic: "github.webhooks".to_owned(),
                partition: 2,
                offset: 113,
                table: Some("github_push".to_owned()),
                field: "/head_commit/timestamp".to_owned(),
                found: "`2020-13-45`".to_owned(),
                expected: "a date-time (RFC 3339)".to_owned(),
            },
        }
    }

    #[test]
    fn a_list_counts_reasons_and_shows_the_newest() {
        let report = DlqListReport {
            topic: "github.dlq.v1".to_owned(),
            counts: BTreeMap::from([("bad_timestamp".to_owned(), 1), ("missing_required".to_owned(), 51)]),
            letters: vec![letter()],
        };
        insta::assert_snapshot!(dlq_list(&report, Look::PLAIN));
        let none = DlqListReport { counts: BTreeMap::new(), letters: Vec::new(), ..report };
        assert_eq!(dlq_list(&none, Look::PLAIN), "no dead letters match in topic github.dlq.v1\n");
    }

    #[test]
    fn one_letter_is_shown_whole() {
        let report = DlqShowReport {
            letter: letter(),
            event: Some("push".to_owned()),
            timestamp: Some("2026-01-02T03:04:05.678Z".to_owned()),
            stored: "github.dlq.v1/0/51".to_owned(),
            reasons: vec![ReasonLine {
                code: "bad_timestamp".to_owned(),
                path: "/head_commit/timestamp".to_owned(),
                column: Some("head_commit__timestamp".to_owned()),
                rule: Some("DateTime64(3)".to_owned()),
                expected: "a date-time (RFC 3339)".to_owned(),
                found: "`2020-13-45`".to_owned(),
            }],
            headers: vec![("x-github-event".to_owned(), Some("push".to_owned())), ("empty".to_owned(), None)],
            key: None,
            value: Some(Bytes::new(b"{\"ref\": \"refs/heads/main\"}\x1b")),
        };
        insta::assert_snapshot!(dlq_show(&report, Look::PLAIN));
        let hex = DlqShowReport { value: Some(Bytes::new(&[0xff, 0x00])), ..report };
        assert!(dlq_show(&hex, Look::PLAIN).contains("ff00"));
    }

    #[test]
    fn a_replay_says_what_it_did_and_what_it_left() {
        let report = DlqReplayReport {
            topic: "github.dlq.v1".to_owned(),
            dry_run: true,
            replayed: BTreeMap::from([("github.webhooks".to_owned(), 51)]),
            already: 1,
        };
        insta::assert_snapshot!(dlq_replay(&report, Look::PLAIN));
    }

    #[test]
    fn a_halt_says_why_and_how_to_go_on() {
        let report = HaltReport {
            connector: "github".to_owned(),
            refused: 600,
            window: 1000,
            bad_ratio: 0.5,
            reasons: BTreeMap::from([("bad_timestamp".to_owned(), 600)]),
            example: Some(letter().example),
            config: "sink.yaml".to_owned(),
        };
        insta::assert_snapshot!(halt(&report, Look::PLAIN));
    }
}
