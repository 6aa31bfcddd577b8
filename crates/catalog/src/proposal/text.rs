//! The text of a proposal: a file that a catalog's `include` takes, with what a person should know as comments.

use std::fmt::Write;

use serde_json::Value;
use tidegate_yaml::node;

use super::settling::Enums;
use super::{Note, NoteKind, ProposedEvent, ProposedField};
use crate::field_type::FieldType;

/// A file may have a mebibyte and 100,000 values; a part stays clearly below both.
const PART_BYTES: usize = node::BYTES_MAX / 4 * 3;
const PART_FIELDS: usize = 8_000;
/// Longer ones are written one key a line.
const LINE_MAX: usize = 118;

/// A text that can be included by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The text.
    pub text: String,
    /// How many events it has.
    pub n_events: usize,
}

/// Writes settled events and the enums that they name; in several parts if one file could not hold them. The enums are
/// in the first. `title` is said above each part.
#[must_use]
pub fn write(title: &str, events: &[ProposedEvent], enums: &Enums) -> Vec<Part> {
    let mut head = String::new();
    comment(&mut head, 0, title);
    let mut first = head.clone();
    if !enums.is_empty() {
        first.push_str("enums:\n");
    }
    for (name, words) in enums {
        let values: Vec<String> = words.values.iter().map(|word| quoted(word)).collect();
        let open = if words.open { "open: true, " } else { "" };
        let _ = writeln!(first, "  {name}: {{{open}values: [{}]}}", values.join(", "));
    }
    if !events.is_empty() {
        first.push_str("events:\n");
    }
    let mut parts = vec![Part { text: first, n_events: 0 }];
    let mut n_fields = 0;
    for event in events {
        let mut text = String::new();
        write_event(&mut text, event);
        n_fields += event.n_fields();
        let full = parts.last().is_some_and(|part| {
            part.n_events > 0 && (part.text.len() + text.len() > PART_BYTES || n_fields > PART_FIELDS)
        });
        if full {
            parts.push(Part { text: format!("{head}events:\n"), n_events: 0 });
            n_fields = event.n_fields();
        }
        if let Some(part) = parts.last_mut() {
            part.text.push_str(&text);
            part.n_events += 1;
        }
    }
    parts
}

/// Writes settled fields as the entries of a mapping, `indent` spaces in.
#[must_use]
pub fn write_fields(fields: &[ProposedField], indent: usize) -> String {
    let mut text = String::new();
    fields.iter().for_each(|field| write_field(&mut text, indent, field));
    text
}

fn write_event(out: &mut String, event: &ProposedEvent) {
    for evidence in &event.evidence {
        comment(out, 2, evidence);
    }
    if let Some(original) = &event.original {
        comment(out, 2, &format!("called `{original}` in the source"));
    }
    notes(out, 2, &event.notes);
    let _ = writeln!(out, "  {}:", event.name);
    let _ = writeln!(out, "    doc: {}", quoted(&event.doc));
    let _ = writeln!(out, "    version: {}", event.version);
    if !event.fields.is_empty() {
        out.push_str("    fields:\n");
    }
    for field in &event.fields {
        write_field(out, 6, field);
    }
}

fn write_field(out: &mut String, indent: usize, field: &ProposedField) {
    for evidence in &field.evidence {
        comment(out, indent, evidence);
    }
    notes(out, indent, &field.notes);
    let space = " ".repeat(indent);
    let keys = keys(field);
    let line: Vec<String> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let line = format!("{space}{}: {{{}}}", field.name, line.join(", "));
    if field.members.is_empty() && line.chars().count() <= LINE_MAX {
        out.push_str(&line);
        out.push('\n');
        return;
    }
    let _ = writeln!(out, "{space}{}:", field.name);
    for (key, value) in keys {
        let _ = writeln!(out, "{space}  {key}: {value}");
    }
    if !field.members.is_empty() {
        let _ = writeln!(out, "{space}  fields:");
        for member in &field.members {
            write_field(out, indent + 4, member);
        }
    }
}

fn keys(field: &ProposedField) -> Vec<(&'static str, String)> {
    let mut keys = vec![("type", written_type(&field.ty))];
    let mut say = |key, value: Option<String>| keys.extend(value.map(|value| (key, value)));
    say("source", field.source.as_deref().map(quoted));
    say("hint", field.low_cardinality.then(|| "low_cardinality".to_owned()));
    say("unit", field.unit.as_deref().map(quoted));
    say("min", field.min.as_ref().map(ToString::to_string));
    say("max", field.max.as_ref().map(ToString::to_string));
    say("max_length", field.max_length.map(|max| max.to_string()));
    say("pattern", field.pattern.as_deref().map(quoted));
    say("default", field.default.as_ref().map(value));
    say("examples", (!field.examples.is_empty()).then(|| value(&Value::Array(field.examples.clone()))));
    say("doc", field.doc.as_deref().map(quoted));
    keys
}

/// `decimal(p,s)` has a comma, which ends a value between braces.
fn written_type(ty: &FieldType) -> String {
    let text = ty.to_string();
    if text.contains(',') { quoted(&text) } else { text }
}

fn notes(out: &mut String, indent: usize, notes: &[Note]) {
    for note in notes {
        let place = if note.at.is_empty() { String::new() } else { format!(" ({})", note.at) };
        match note.kind {
            NoteKind::Informative | NoteKind::Renamed => {
                comment(out, indent, &format!("{}{place}", note.text));
            }
            NoteKind::AsJson | NoteKind::NotCarried | NoteKind::Loosened | NoteKind::Tightened => {
                comment(out, indent, &format!("{}: {}{place}", note.kind.as_str(), note.text));
            }
        }
    }
}

/// A comment is one line, whatever the text has in it.
fn comment(out: &mut String, indent: usize, text: &str) {
    let plain: String = text.chars().map(|char| if printable(char) { char } else { ' ' }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let _ = writeln!(out, "{}# {}", " ".repeat(indent), words.join(" "));
}

/// A value as YAML in one line, which is JSON's way.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, of)| format!("{}: {}", quoted(key), self::value(of)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What YAML takes in a text as it is.
fn printable(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
        && !matches!(char, '\u{2028}' | '\u{2029}')
}

/// The text between double quotes, as YAML reads it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            char if printable(char) => out.push(char),
            char => {
                let _ = write!(out, "\\U{:08x}", u32::from(char));
            }
        }
    }
    out.push('"');
    out
}
