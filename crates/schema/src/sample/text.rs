//! Strings that rules accept, by chance.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::chance::Chance;
use crate::graph::Node;
use crate::rules::StringRules;

const TRIES: usize = 40;
/// How often what may be repeated without end is, beyond what must be.
const REPEATED_MORE: u32 = 6;
const BYTES_MAX: usize = 1 << 16;

/// A string that the nodes' rules accept; `None` if none was found.
pub(super) fn some(nodes: &[&Node], chance: &mut Chance) -> Option<String> {
    let rules: Vec<&StringRules> = nodes.iter().filter_map(|node| node.strings.as_ref()).collect();
    (0..TRIES).find_map(|_| {
        let text = drawn(&rules, chance)?;
        rules.iter().all(|rules| rules.check(&text).is_ok()).then_some(text)
    })
}

fn drawn(rules: &[&StringRules], chance: &mut Chance) -> Option<String> {
    if let Some(listed) = rules.iter().find_map(|rules| rules.one_of.as_ref()) {
        return chance.of(listed).cloned();
    }
    let least = rules.iter().filter_map(|rules| rules.length_min).max().unwrap_or(0);
    let most = rules.iter().filter_map(|rules| rules.length_max).min().unwrap_or(u64::MAX);
    if let Some((_, pattern)) = rules.iter().find_map(|rules| rules.patterns.first()) {
        return matching(pattern, u32::try_from(least).unwrap_or(u32::MAX), chance);
    }
    if let Some(format) = rules.iter().find_map(|rules| rules.formats.first()) {
        return formatted(format.name(), chance);
    }
    let mut text = chance.word();
    while (text.chars().count() as u64) < least && text.len() < BYTES_MAX {
        text.push(' ');
        text.push_str(&chance.word());
    }
    Some(text.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect())
}

/// A string of a format; a word for those that are not known.
fn formatted(format: &str, chance: &mut Chance) -> Option<String> {
    let host = |chance: &mut Chance| format!("{}.example.com", plain(chance));
    Some(match format {
        "date-time" => format!("{}T{}Z", chance.date(), chance.time(3)),
        "date" => chance.date(),
        "time" => format!("{}Z", chance.time(3)),
        "duration" => format!("P{}DT{}H", 1 + chance.below(30), 1 + chance.below(23)),
        "uuid" => chance.uuid(),
        "ipv4" => format!("198.51.100.{}", chance.below(256)),
        "ipv6" => format!("2001:db8::{:x}", chance.below(65_536)),
        "email" | "idn-email" => format!("{}@{}", plain(chance), host(chance)),
        "hostname" | "idn-hostname" => host(chance),
        "uri" | "iri" | "uri-reference" | "iri-reference" | "uri-template" => {
            format!("https://{}/{}", host(chance), plain(chance))
        }
        "json-pointer" => format!("/{}", plain(chance)),
        "relative-json-pointer" => format!("{}/{}", chance.below(9), plain(chance)),
        "regex" => format!("^{}$", plain(chance)),
        _ => chance.word(),
    })
}

/// A word of ASCII letters.
fn plain(chance: &mut Chance) -> String {
    chance.word().chars().filter(char::is_ascii).collect()
}

/// A string that matches a pattern, but for what it asks of its surroundings.
fn matching(pattern: &str, least: u32, chance: &mut Chance) -> Option<String> {
    let rust = jsonschema_regex::to_rust_regex(pattern).ok()?;
    let hir = regex_syntax::parse(&rust).ok()?;
    let mut text = String::new();
    write(&hir, least.min(1_000), chance, &mut text)?;
    Some(text)
}

/// The parser bounds how deep patterns nest.
fn write(hir: &Hir, least: u32, chance: &mut Chance, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Class(Class::Unicode(class)) => {
            // What can be read, if the class has any of it.
            let clipped = |(low, high): (char, char)| {
                let (low, high) = (low.max(' '), high.min('~'));
                (low <= high).then_some((low, high))
            };
            let all: Vec<(char, char)> = class.iter().map(|range| (range.start(), range.end())).collect();
            let readable: Vec<(char, char)> = all.iter().copied().filter_map(clipped).collect();
            let (low, high) = *chance.of(if readable.is_empty() { &all } else { &readable })?;
            let at = u32::from(low) + chance.below((u32::from(high) - u32::from(low)) as usize + 1) as u32;
            out.push(char::from_u32(at).unwrap_or(low));
        }
        HirKind::Repetition(repetition) => {
            let few = repetition.min.saturating_add(REPEATED_MORE.max(least));
            let most = repetition.max.map_or(few, |max| max.min(few));
            let n = repetition.min + chance.below((most - repetition.min) as usize + 1) as u32;
            for _ in 0..n {
                write(&repetition.sub, least, chance, out)?;
                if out.len() > BYTES_MAX {
                    return None;
                }
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, least, chance, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, least, chance, out))?,
        HirKind::Alternation(parts) => write(chance.of(parts)?, least, chance, out)?,
    }
    Some(())
}
