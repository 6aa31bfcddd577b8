//! YAML text to a tree whose every node knows its place.
//!
//! Anchors, aliases and tags are refused, so that a small file cannot grow into a large tree; depth,
//! size and number of nodes are bounded, so that hostile text costs no more than honest text.

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::diagnostic::{Mistake, Position};

/// A configuration file is a few kilobytes; a file of a mebibyte was named by accident.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;
/// The deepest section lies six levels down.
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 100_000;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    /// Nothing, `~` or `null`.
    Nothing,
    /// Any other scalar, as text: what `no` or `0123` means is decided by who asks for it.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) value: Node,
}

impl Node {
    /// The kind in words, for a message that must not quote the value.
    pub(crate) const fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Nothing => "nothing",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            NodeKind::Nothing | NodeKind::Text(_) | NodeKind::List(_) => None,
        }
    }

    /// The item at `index`, if this is a list that has it.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.kind {
            NodeKind::List(items) => items.get(index),
            NodeKind::Nothing | NodeKind::Text(_) | NodeKind::Map(_) => None,
        }
    }
}

/// A mistake before there is a tree.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) code: Mistake,
    pub(crate) at: Position,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

/// A collection that is still open.
enum Open {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, entries: Vec<Entry>, key: Option<(String, Position)> },
}

/// Reads one YAML document. Flaws that leave the tree readable (a duplicate key) are collected, the
/// first one that does not ends the reading.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let mut tree = Tree { open: Vec::new(), root: None, n_nodes: 0, flaws: Vec::new() };
    let outcome = tree.read(text);
    if let Err(flaw) = outcome {
        tree.flaws.push(flaw);
        return (None, tree.flaws);
    }
    let root = tree.root.unwrap_or(Node { at: Position::START, kind: NodeKind::Nothing });
    (Some(root), tree.flaws)
}

struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    n_nodes: usize,
    flaws: Vec<Flaw>,
}

impl Tree {
    fn read(&mut self, text: &str) -> Result<(), Flaw> {
        if text.len() > BYTES_MAX {
            let message = format!("the file has {} bytes; expected at most {BYTES_MAX}", text.len());
            return Err(Flaw { code: Mistake::TooLarge, at: Position::START, message, hint: None });
        }
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| Flaw {
                code: Mistake::Syntax,
                at: Position { line: error.marker().line().max(1), column: error.marker().col() + 1 },
                message: format!("not YAML: {}", lower_first(&error.info())),
                hint: Some("indent with spaces; quote texts that contain `: `, ` #`, `{` or `[`"),
            })?;
            self.take(event, &span)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Flaw> {
        let at = Position { line: span.start.line().max(1), column: span.start.col() + 1 };
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
                self.push(Open::Map { at, entries: Vec::new(), key: None }, at)
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
        if let Some(Open::Map { entries, key: key @ None, .. }) = self.open.last_mut() {
            if entries.iter().any(|entry| entry.key == text) {
                let message = format!("key `{text}` stands twice in one mapping");
                let hint = Some("keep one of the two");
                self.flaws.push(Flaw { code: Mistake::DuplicateKey, at, message, hint });
            }
            *key = Some((text, at));
            return Ok(());
        }
        let nothing = matches!(style, ScalarStyle::Plain) && matches!(text.as_str(), "" | "~" | "null");
        let kind = if nothing { NodeKind::Nothing } else { NodeKind::Text(text) };
        self.place(Node { at, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        match self.open.pop() {
            Some(Open::List { at, items }) => self.place(Node { at, kind: NodeKind::List(items) }),
            Some(Open::Map { at, entries, .. }) => self.place(Node { at, kind: NodeKind::Map(entries) }),
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
