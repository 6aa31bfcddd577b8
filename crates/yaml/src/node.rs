//! YAML text to a tree whose every node knows its place.
//!
//! Anchors, aliases and tags are refused, so that a small file cannot grow into a large tree; depth,
//! size and number of nodes are bounded, so that hostile text costs no more than honest text.

use std::collections::HashSet;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::diagnostic::{Mistake, Position};
use crate::reading::Found;

/// Files that people write are some kilobytes; a file of more than a mebibyte was named by accident.
pub const BYTES_MAX: usize = 1024 * 1024;
/// The deepest section of any file lies ten levels down.
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 100_000;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub kind: NodeKind,
    /// Whether it is a text in quotes or a block, which is never a number or a truth value.
    pub quoted: bool,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Nothing, `~` or `null`.
    Nothing,
    /// Any other scalar, as text: what `no` or `0123` means is decided by who asks for it.
    Text(String),
    /// `[..]`, or items that begin with `-`.
    List(Vec<Node>),
    /// `{..}`, or lines with `key: value`.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub key_at: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A node that stands in quotes nowhere.
    #[must_use]
    pub const fn new(at: Position, kind: NodeKind) -> Self {
        Self { at, kind, quoted: false }
    }

    /// The kind in words, for a message that must not quote the value.
    pub const fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Nothing => "nothing",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            NodeKind::Nothing | NodeKind::Text(_) | NodeKind::List(_) => None,
        }
    }

    /// The item at `index`, if this is a list that has it.
    pub fn item(&self, index: usize) -> Option<&Self> {
        match &self.kind {
            NodeKind::List(items) => items.get(index),
            NodeKind::Nothing | NodeKind::Text(_) | NodeKind::Map(_) => None,
        }
    }
}

/// A mistake before there is a tree.
#[derive(Debug)]
struct Flaw {
    code: Mistake,
    at: Position,
    message: String,
    hint: Option<&'static str>,
}

/// A collection that is still open.
enum Open {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Position)> },
}

/// Reads one YAML document, the `file`th of those that are read together. Mistakes that leave the tree
/// readable (a duplicate key) are collected, the first one that does not ends the reading.
#[must_use]
pub fn parse(file: usize, text: &str) -> (Option<Node>, Vec<Found>) {
    let mut tree = Tree { file, open: Vec::new(), root: None, n_nodes: 0, flaws: Vec::new() };
    let outcome = tree.read(text);
    if let Err(flaw) = outcome {
        tree.flaws.push(flaw);
        return (None, tree.found());
    }
    let start = tree.position(1, 0);
    let root = tree.root.take().unwrap_or(Node::new(start, NodeKind::Nothing));
    (Some(root), tree.found())
}

struct Tree {
    file: usize,
    open: Vec<Open>,
    root: Option<Node>,
    n_nodes: usize,
    flaws: Vec<Flaw>,
}

impl Tree {
    fn found(self) -> Vec<Found> {
        let found = |flaw: Flaw| Found {
            code: flaw.code,
            at: flaw.at,
            message: flaw.message,
            hint: flaw.hint.map(str::to_owned),
        };
        self.flaws.into_iter().map(found).collect()
    }

    fn position(&self, line: usize, column: usize) -> Position {
        Position { file: self.file, line: line.max(1), column: column + 1 }
    }

    fn read(&mut self, text: &str) -> Result<(), Flaw> {
        if text.len() > BYTES_MAX {
            let message = format!("the file has {} bytes; expected at most {BYTES_MAX}", text.len());
            return Err(Flaw { code: Mistake::TooLarge, at: self.position(1, 0), message, hint: None });
        }
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| Flaw {
                code: Mistake::Syntax,
                at: self.position(error.marker().line(), error.marker().col()),
                message: format!("not YAML: {}", lower_first(&error.info())),
                hint: Some("indent with spaces; quote texts that contain `: `, ` #`, `{` or `[`"),
            })?;
            self.take(event, &span)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Flaw> {
        let at = self.position(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(at, anchor, tag.as_deref())?;
                self.scalar(text.into_owned(), style, at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_extras(at, anchor, tag.as_deref())?;
                self.push(Open::List { at, items: Vec::new() }, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_extras(at, anchor, tag.as_deref())?;
                self.push(Open::Map { at, entries: Vec::new(), seen: HashSet::new(), key: None }, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(unsupported(at, "a second document", "one file holds one document; remove the `---`"))
            }
            Event::Alias(_) => Err(unsupported(at, "an alias", "write the value out")),
            // Stream and document boundaries carry nothing; the enum is foreign and open.
            _ => Ok(()),
        }
    }

    fn count(&mut self, at: Position) -> Result<(), Flaw> {
        self.n_nodes += 1;
        if self.n_nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values");
            return Err(Flaw { code: Mistake::TooLarge, at, message, hint: None });
        }
        Ok(())
    }

    fn push(&mut self, open: Open, at: Position) -> Result<(), Flaw> {
        self.count(at)?;
        if self.open.len() >= DEPTH_MAX {
            let message = format!("values nest deeper than {DEPTH_MAX} levels");
            return Err(Flaw { code: Mistake::TooLarge, at, message, hint: None });
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(unsupported(at, "a key that is not a text", "quote it if it is meant as a text"));
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: Position) -> Result<(), Flaw> {
        self.count(at)?;
        if let Some(Open::Map { seen, key: key @ None, .. }) = self.open.last_mut() {
            if !seen.insert(text.clone()) {
                let message = format!("key `{text}` stands twice in one mapping");
                let hint = Some("keep one of the two");
                self.flaws.push(Flaw { code: Mistake::DuplicateKey, at, message, hint });
            }
            *key = Some((text, at));
            return Ok(());
        }
        let nothing = matches!(style, ScalarStyle::Plain) && matches!(text.as_str(), "" | "~" | "null");
        let kind = if nothing { NodeKind::Nothing } else { NodeKind::Text(text) };
        self.place(Node { at, kind, quoted: !matches!(style, ScalarStyle::Plain) });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        match self.open.pop() {
            Some(Open::List { at, items }) => self.place(Node::new(at, NodeKind::List(items))),
            Some(Open::Map { at, entries, .. }) => self.place(Node::new(at, NodeKind::Map(entries))),
            None => {}
        }
        Ok(())
    }

    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((key, key_at)) = key.take() {
                    entries.push(Entry { key, key_at, value: node });
                }
            }
            None => self.root = Some(node),
        }
    }
}

fn refuse_extras(at: Position, anchor: usize, tag: Option<&Tag>) -> Result<(), Flaw> {
    if anchor != 0 {
        return Err(unsupported(at, "an anchor", "write the value out where it is needed"));
    }
    if tag.is_some() {
        return Err(unsupported(at, "a tag", "the key says which kind of value it takes"));
    }
    Ok(())
}

fn unsupported(at: Position, what: &str, hint: &'static str) -> Flaw {
    let message = format!("{what} is not supported here");
    Flaw { code: Mistake::Unsupported, at, message, hint: Some(hint) }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
