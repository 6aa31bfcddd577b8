//! One reading of a file: what was found wrong, and the variables that are put into texts.

use std::io;
use std::path::Path;

use crate::diagnostic::{Mistake, Position};
use crate::node::{Node, NodeKind};

/// What a file may refer to outside of itself.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a secret's file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// A mistake found while reading; the file's name is added at the end.
#[derive(Debug)]
pub struct Found {
    /// The kind.
    pub code: Mistake,
    /// Where.
    pub at: Position,
    /// What is, and what was expected.
    pub message: String,
    /// The next step, where one is known.
    pub hint: Option<String>,
}

/// One reading of one file: what it may ask for, and what it found wrong.
pub struct Reading<'a> {
    /// What texts may refer to; nothing where texts are taken as they stand.
    pub surroundings: Option<&'a Surroundings<'a>>,
    /// What relative paths are taken against.
    pub folder: &'a Path,
    /// What is wrong so far.
    pub found: Vec<Found>,
}

impl Reading<'_> {
    /// Notes a mistake.
    pub fn report(&mut self, code: Mistake, at: Position, message: impl Into<String>, hint: Option<String>) {
        self.found.push(Found { code, at, message: message.into(), hint });
    }

    /// Notes a value of the wrong kind.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        let message = format!("expected {expected}, found {}", node.kind_name());
        self.report(Mistake::WrongType, node.at, message, None);
    }

    /// The node's text with its `${VARIABLES}` put in. Never quoted in a diagnostic: a variable may
    /// hold a secret.
    pub fn text(&mut self, node: &Node, expected: &str) -> Option<String> {
        let NodeKind::Text(raw) = &node.kind else {
            self.wrong_type(node, expected);
            return None;
        };
        match self.surroundings {
            Some(surroundings) if raw.contains("${") => self.interpolate(surroundings, raw, node.at),
            Some(_) | None => Some(raw.clone()),
        }
    }

    fn interpolate(&mut self, surroundings: &Surroundings<'_>, raw: &str, at: Position) -> Option<String> {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        let mut complete = true;
        while let Some(start) = rest.find("${") {
            if let Some(before) = rest[..start].strip_suffix('$') {
                text.push_str(before);
                text.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            text.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                let hint = Some("write `$${` for a text that contains `${`".to_owned());
                self.report(Mistake::BadValue, at, "`${` without its closing `}`", hint);
                return None;
            };
            match self.variable(surroundings, &rest[start + 2..start + end], at) {
                Some(value) => text.push_str(&value),
                None => complete = false,
            }
            rest = &rest[start + end + 1..];
        }
        text.push_str(rest);
        complete.then_some(text)
    }

    /// `NAME` or `NAME:-fallback`.
    fn variable(&mut self, surroundings: &Surroundings<'_>, reference: &str, at: Position) -> Option<String> {
        let (name, fallback) = match reference.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (reference, None),
        };
        let named = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
        if name.is_empty() || !named || name.starts_with(|char: char| char.is_ascii_digit()) {
            let hint = Some("write `${NAME}` or `${NAME:-fallback}`".to_owned());
            self.report(Mistake::BadValue, at, "`${..}` does not name an environment variable", hint);
            return None;
        }
        let value = (surroundings.variable)(name).or_else(|| fallback.map(str::to_owned));
        if value.is_none() {
            let hint = Some(format!("set it, or give a fallback: `${{{name}:-value}}`"));
            let message = format!("environment variable `{name}` is not set");
            self.report(Mistake::MissingVariable, at, message, hint);
        }
        value
    }
}
