//! Which table a record goes to: literal text with variable parts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::scalar::{FieldPath, Identifier};
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Shape, Word};
use tidegate_yaml::{choice, section};

/// One part of a table's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The text as it is.
    Literal(String),
    /// The topic's name.
    Topic,
    /// The value of a record header; the last one of that name.
    Header(String),
    /// The value of a field of the event: a string, a whole number or a boolean.
    Field(FieldPath),
}

/// A table's name with variable parts: `github_{header:x-github-event}`, `{topic}`, `{field:meta.type}`.
///
/// What a variable part stands for is mapped to a table name: ASCII letters become lower case, digits
/// and `_` stay, every other character becomes `_`. Literal parts stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    parts: Vec<Part>,
}

/// What a template came to for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The values of the variable parts as they are, joined by `.`; empty if there are none.
    pub event: String,
    /// The table's name.
    pub table: String,
}

impl Template {
    /// The longest name: ClickHouse keeps tables in files, whose names have at most 255 bytes.
    pub const TABLE_BYTES_MAX: usize = 200;

    /// Reads a template; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_word(text).ok()
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The one table of a template without variable parts.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(name)] => Some(name),
            _ => None,
        }
    }

    /// The event and table of a record; `value` finds what a variable part stands for. `None` if a
    /// part has no value, an empty one, or the name becomes too long: no table belongs to the record.
    #[must_use]
    pub fn resolve<'a>(&self, mut value: impl FnMut(&Part) -> Option<Cow<'a, str>>) -> Option<Resolved> {
        let mut resolved = Resolved { event: String::new(), table: String::new() };
        for part in &self.parts {
            match part {
                Part::Literal(text) => resolved.table.push_str(text),
                Part::Topic | Part::Header(_) | Part::Field(_) => {
                    let value = value(part).filter(|value| !value.is_empty())?;
                    if !resolved.event.is_empty() {
                        resolved.event.push('.');
                    }
                    resolved.event.push_str(&value);
                    resolved.table.extend(value.chars().map(table_char));
                }
            }
            if resolved.table.len() > Self::TABLE_BYTES_MAX {
                return None;
            }
        }
        Some(resolved)
    }
}

const fn table_char(char: char) -> char {
    match char {
        'a'..='z' | '0'..='9' | '_' => char,
        'A'..='Z' => char.to_ascii_lowercase(),
        _ => '_',
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => f.write_str(text)?,
                Part::Topic => f.write_str("{topic}")?,
                Part::Header(name) => write!(f, "{{header:{name}}}")?,
                Part::Field(path) => write!(f, "{{field:{path}}}")?,
            }
        }
        Ok(())
    }
}

impl Word for Template {
    const EXPECTED: &'static str = "a table name, or a template such as `github_{header:x-github-event}`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        const PARTS: &str = "variable parts are `{topic}`, `{header:NAME}` and `{field:PATH}`";
        const LITERAL: &str =
            "a table's name has letters, digits, `_` and `-`; the database has a key of its own";
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (literal, variable) = rest.split_at(start);
            push_literal(&mut parts, literal).ok_or(Some(LITERAL))?;
            let (name, after) =
                variable.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(Some(PARTS))?;
            let part = match name.split_once(':') {
                None if name == "topic" => Part::Topic,
                Some(("header", header)) if !header.is_empty() => Part::Header(header.to_owned()),
                Some(("field", path)) => FieldPath::parse_word(path).map(Part::Field)?,
                _ => return Err(Some(PARTS)),
            };
            parts.push(part);
            rest = after;
        }
        push_literal(&mut parts, rest).ok_or(Some(LITERAL))?;
        if parts.is_empty() { Err(None) } else { Ok(Self { parts }) }
    }

    fn word_schema() -> Value {
        json!({
            "type": "string",
            "pattern": r"^([\p{L}\p{N}_-]|\{topic\}|\{header:[^}]+\}|\{field:[^}]+\})+$",
        })
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str) -> Option<()> {
    if !literal.is_empty() {
        parts.push(Part::Literal(Identifier::parse(literal)?.to_string()));
    }
    Some(())
}

/// Which table a record goes to: `table: TEMPLATE`, or `table: {template: TEMPLATE, map: {..}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRoute {
    /// The table's name.
    pub template: Template,
    /// Tables of single events, instead of what the template gives.
    pub map: BTreeMap<String, Identifier>,
    /// What becomes of events that are not in `map`.
    pub unmapped: Unmapped,
}

section! {
    /// Which table a record goes to, with exceptions.
    pub(crate) struct LongRoute as "`table`" {
        /// The table's name, or a template.
        template: Template;
        /// Tables of single events, instead of what the template gives. An event is what the variable
        /// parts of the template came to, joined by `.`.
        map: BTreeMap<String, Identifier> = "{}";
        /// What becomes of events that are not in `map`.
        unmapped: Unmapped = "template";
    }
}

choice! {
    /// What becomes of events that the map does not name.
    pub enum Unmapped {
        /// The template names their table.
        Template => "template",
        /// They are dead-lettered as unknown events.
        Reject => "reject",
    }
}

impl TableRoute {
    /// The event and table of a record, as [`Template::resolve`], with the map applied.
    #[must_use]
    pub fn resolve<'a>(&self, value: impl FnMut(&Part) -> Option<Cow<'a, str>>) -> Option<Resolved> {
        let resolved = self.template.resolve(value)?;
        match (self.map.get(&resolved.event), self.unmapped) {
            (Some(table), _) => Some(Resolved { table: table.to_string(), ..resolved }),
            (None, Unmapped::Template) => Some(resolved),
            (None, Unmapped::Reject) => None,
        }
    }
}

impl Shape for TableRoute {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        match &node.kind {
            NodeKind::Map(_) => {
                let LongRoute { template, map, unmapped } = LongRoute::read(node, cx)?;
                Some(Self { template, map, unmapped })
            }
            NodeKind::Text(_) | NodeKind::Nothing | NodeKind::List(_) => {
                let template = Template::read(node, cx)?;
                Some(Self { template, map: BTreeMap::new(), unmapped: Unmapped::Template })
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [Template::schema(definitions), LongRoute::schema(definitions)]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(template: &str, header: &str) -> Option<(String, String)> {
        let template = Template::parse_word(template).unwrap();
        let resolved = template.resolve(|part| match part {
            Part::Topic => Some(Cow::Borrowed("github.webhooks")),
            Part::Header(_) => Some(Cow::Borrowed(header)),
            Part::Field(_) | Part::Literal(_) => None,
        })?;
        Some((resolved.event, resolved.table))
    }

    #[test]
    fn variable_parts_become_table_names_and_events_stay_as_they_are() {
        let check = |template, header, event: &str, table: &str| {
            assert_eq!(resolve(template, header), Some((event.to_owned(), table.to_owned())), "{template}");
        };
        check("github_{header:x-github-event}", "Pull-Request", "Pull-Request", "github_pull_request");
        check("{topic}", "", "github.webhooks", "github_webhooks");
        check("{topic}_{header:h}", "a/ü", "github.webhooks.a/ü", "github_webhooks_a__");
        check("Events", "", "", "Events");
    }

    #[test]
    fn a_part_without_value_and_a_name_without_end_have_no_table() {
        assert_eq!(resolve("x_{header:h}", ""), None);
        assert_eq!(resolve("x_{field:a.b}", "h"), None);
        assert_eq!(resolve("x_{header:h}", &"y".repeat(500)), None);
    }

    #[test]
    fn a_template_is_written_as_it_was_read() {
        for text in ["events", "a_{topic}", "{header:x}_b{field:/a/b}"] {
            assert_eq!(Template::parse_word(text).unwrap().to_string(), text);
        }
        for text in
            ["", "a.b", "{", "}", "{}", "{topik}", "{header:}", "{field:a..b}", "a{topic", "a b", "x`y"]
        {
            assert!(Template::parse_word(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_map_overrides_the_template_and_may_be_complete() {
        let mut route = TableRoute {
            template: Template::parse_word("{header:e}").unwrap(),
            map: BTreeMap::from([("push".to_owned(), Identifier::parse("pushes").unwrap())]),
            unmapped: Unmapped::Template,
        };
        let table = |route: &TableRoute, event: &'static str| {
            route.resolve(|_| Some(Cow::Borrowed(event))).map(|resolved| resolved.table)
        };
        assert_eq!(table(&route, "push"), Some("pushes".to_owned()));
        assert_eq!(table(&route, "fork"), Some("fork".to_owned()));
        route.unmapped = Unmapped::Reject;
        assert_eq!(table(&route, "fork"), None);
    }
}
