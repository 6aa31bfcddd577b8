//! How somebody wrote down what a metric is: `sum(watch_ms) / count(video_viewed)`, or words.
//!
//! The aggregates are taken out of the text; what stands in them and what stays of the text are expressions of
//! the catalog's own language, read by its own parser.

use std::path::Path;

use tidegate_yaml::Position;
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::Shape;

use crate::expression::Expression;
use crate::language::Kind;

/// Longer than any formula; the language's expressions have the same limit.
const BYTES_MAX: usize = 4_096;

/// An aggregate in a formula, with names as they were written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub(super) kind: Kind,
    /// The share of a quantile.
    pub(super) q: Option<f64>,
    /// What is aggregated; empty for rows.
    pub(super) argument: String,
    /// Which rows count.
    pub(super) filter: Option<String>,
}

/// A formula without its aggregates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Formula {
    pub(super) terms: Vec<Term>,
    /// What is computed of them: `__0 / __1`, by their place.
    pub(super) whole: String,
}

/// Functions that put rows together, as people write them.
const AGGREGATES: [(&str, Kind, Option<f64>); 25] = [
    ("count", Kind::Count, None),
    ("countif", Kind::Count, None),
    ("count_if", Kind::Count, None),
    ("sum", Kind::Sum, None),
    ("sumif", Kind::Sum, None),
    ("sum_if", Kind::Sum, None),
    ("total", Kind::Sum, None),
    ("avg", Kind::Avg, None),
    ("average", Kind::Avg, None),
    ("mean", Kind::Avg, None),
    ("min", Kind::Min, None),
    ("max", Kind::Max, None),
    ("any", Kind::Any, None),
    ("count_distinct", Kind::CountDistinct, None),
    ("countdistinct", Kind::CountDistinct, None),
    ("distinct", Kind::CountDistinct, None),
    ("unique", Kind::CountDistinct, None),
    ("uniq", Kind::CountDistinct, None),
    ("median", Kind::Quantile, Some(0.5)),
    ("p50", Kind::Quantile, Some(0.5)),
    ("p90", Kind::Quantile, Some(0.9)),
    ("p95", Kind::Quantile, Some(0.95)),
    ("p99", Kind::Quantile, Some(0.99)),
    ("quantile", Kind::Quantile, None),
    ("percentile", Kind::Quantile, None),
];

/// Takes a text apart. `None` says that it is no formula but words.
pub(super) fn read(text: &str) -> Option<Formula> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let text = text.trim().trim_start_matches('=').trim_end_matches(';');
    let text = text.replace('×', "*").replace('÷', "/").replace(['"', '’', '‘', '“', '”'], "'");
    let (text, filter) = condition(&text);
    let mut terms = Vec::new();
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(piece) = piece(rest) {
        rest = &rest[piece.text().len()..];
        let aggregate = match piece {
            Piece::Word(word) => aggregate(word).zip(rest.trim_start().strip_prefix('(')),
            Piece::Other(_) => None,
        };
        let Some(((kind, q), inside)) = aggregate else {
            whole.push_str(piece.text());
            continue;
        };
        let (inside, after) = bracketed(inside)?;
        rest = after;
        let mut term = term((kind, q), inside)?;
        term.filter = term.filter.or_else(|| filter.map(str::to_owned));
        whole.push_str(&format!("__{}", terms.len()));
        terms.push(term);
    }
    // The outer condition is about rows, and metrics have none.
    if terms.is_empty() && filter.is_some() {
        return None;
    }
    Some(Formula { terms, whole: whole.trim().to_owned() })
}

fn aggregate(word: &str) -> Option<(Kind, Option<f64>)> {
    let found = AGGREGATES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(word));
    found.map(|(_, kind, q)| (*kind, *q))
}

/// What stands in an aggregate's brackets: `x`, `distinct x`, `x, condition`, `x where condition`, `x, 0.95`.
fn term((kind, q): (Kind, Option<f64>), inside: &str) -> Option<Term> {
    let (inside, mut filter) = condition(inside);
    // Spreadsheets of some countries separate values by `;`.
    let (mut argument, second) = match split(inside, ',').or_else(|| split(inside, ';')) {
        Some((argument, second)) => (argument.trim(), Some(second.trim())),
        None => (inside.trim(), None),
    };
    let mut term = Term { kind, q, argument: String::new(), filter: None };
    let first = argument.split_whitespace().next().unwrap_or_default();
    if kind == Kind::Count && first.eq_ignore_ascii_case("distinct") {
        term.kind = Kind::CountDistinct;
        argument = argument[first.len()..].trim();
    }
    match (term.kind, q, second) {
        (Kind::Quantile, None, Some(share)) => {
            let share: f64 = share.parse().ok()?;
            term.q = Some(if share > 1.0 { share / 100.0 } else { share });
        }
        (Kind::Quantile, None, None) => return None,
        (_, _, Some(condition)) if filter.is_none() => filter = Some(condition),
        (_, _, Some(_)) => return None,
        (_, _, None) => {}
    }
    term.argument = if argument == "*" { String::new() } else { argument.to_owned() };
    term.filter = filter.map(str::to_owned);
    Some(term)
}

/// The text before and after its `where`, outside of brackets and quotes.
fn condition(text: &str) -> (&str, Option<&str>) {
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(piece) = piece(rest) {
        match piece {
            Piece::Word(word) if depth == 0 && word.eq_ignore_ascii_case("where") => {
                let before = &text[..text.len() - rest.len()];
                return (before.trim(), Some(rest[word.len()..].trim()));
            }
            Piece::Other("(") => depth += 1,
            Piece::Other(")") => depth = depth.saturating_sub(1),
            Piece::Word(_) | Piece::Other(_) => {}
        }
        rest = &rest[piece.text().len()..];
    }
    (text, None)
}

/// What stands before and after the first such sign outside of brackets and quotes.
fn split(text: &str, sign: char) -> Option<(&str, &str)> {
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(piece) = piece(rest) {
        let after = &rest[piece.text().len()..];
        match piece.text() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            found if depth == 0 && found.starts_with(sign) => {
                return Some((&text[..text.len() - rest.len()], after));
            }
            _ => {}
        }
        rest = after;
    }
    None
}

/// What stands up to the closing bracket, and after it. The opening one is behind.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut rest = text;
    let mut depth = 1_usize;
    while let Some(piece) = piece(rest) {
        let after = &rest[piece.text().len()..];
        match piece.text() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..text.len() - rest.len()], after));
        }
        rest = after;
    }
    None
}

/// A part of a text that is not taken apart.
#[derive(Debug, Clone, Copy)]
enum Piece<'a> {
    /// A name, with points in it.
    Word(&'a str),
    /// A text in quotes, a number, or one character.
    Other(&'a str),
}

impl<'a> Piece<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Other(text) => text,
        }
    }
}

fn piece(text: &str) -> Option<Piece<'_>> {
    let first = text.chars().next()?;
    let until = |wanted: fn(char) -> bool| text.find(wanted).unwrap_or(text.len());
    if first.is_alphabetic() || first == '_' {
        let end = until(|char| !char.is_alphanumeric() && char != '_' && char != '.');
        return Some(Piece::Word(text[..end].trim_end_matches('.')));
    }
    if first.is_ascii_digit() {
        return Some(Piece::Other(&text[..until(|char| !char.is_ascii_alphanumeric() && char != '.')]));
    }
    if first == '\'' {
        let end = text[1..].find('\'').map_or(text.len(), |end| end + 2);
        return Some(Piece::Other(&text[..end]));
    }
    Some(Piece::Other(&text[..first.len_utf8()]))
}

const KEYWORDS: [&str; 9] = ["and", "or", "not", "in", "is", "null", "true", "false", "where"];

/// The text with every name replaced by what `name` makes of it. Functions and keywords stay.
pub(super) fn renamed(text: &str, name: &mut dyn FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(piece) = piece(rest) {
        rest = &rest[piece.text().len()..];
        match piece {
            Piece::Word(word)
                if !rest.trim_start().starts_with('(')
                    && !KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) =>
            {
                out.push_str(&name(word));
            }
            Piece::Word(text) | Piece::Other(text) => out.push_str(text),
        }
    }
    out
}

/// The text as an expression of the catalog's language, or why it is none.
pub(super) fn expression(text: &str) -> Result<Expression, String> {
    let mut cx = Reading { surroundings: None, folder: Path::new(""), found: Vec::new() };
    let node = Node::new(Position::START, NodeKind::Text(text.to_owned()));
    Expression::read(&node, &mut cx).ok_or_else(|| {
        cx.found.into_iter().next().map_or_else(|| "not an expression".to_owned(), |found| found.message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let Some(formula) = read(text) else { return "words".to_owned() };
        let terms = formula.terms.iter().map(|term| {
            let filter = term.filter.as_ref().map(|filter| format!(" if {filter}")).unwrap_or_default();
            let q = term.q.map(|q| format!(" {q}")).unwrap_or_default();
            format!(" [{}{q} {}{filter}]", term.kind, term.argument)
        });
        format!("{}{}", formula.whole, terms.collect::<String>())
    }

    #[test]
    fn aggregates_are_taken_out_of_a_formula() {
        let check = |text, expected: &str| assert_eq!(shown(text), expected, "{text}");
        check("sum(watch_ms)/count(video_viewed)", "__0/__1 [sum watch_ms] [count video_viewed]");
        check("=COUNT(DISTINCT user_id)", "__0 [count_distinct user_id]");
        check(
            "100 * countIf(viewed, a = 'x, y')/ COUNT(*)",
            "100 * __0/ __1 [count viewed if a = 'x, y'] [count ]",
        );
        check("quantile(load_ms, 95) where a > 1", "__0 [quantile 0.95 load_ms if a > 1]");
        check("countif(viewed; a > 1)", "__0 [count viewed if a > 1]");
        check("p95(length(text) where b)", "__0 [quantile 0.95 length(text) if b]");
        check("completed_views / views", "completed_views / views");
        check("sum(a", "words");
        check("percentile(a)", "words");
    }

    #[test]
    fn names_are_replaced_and_nothing_else() {
        let text = "if(a.b > 1.5, 'a', length(c)) and not d in (null, 'd')";
        let renamed = renamed(text, &mut |name| format!("<{name}>"));
        assert_eq!(renamed, "if(<a.b> > 1.5, 'a', length(<c>)) and not <d> in (null, 'd')");
    }
}
