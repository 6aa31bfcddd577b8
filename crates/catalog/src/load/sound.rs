//! What is sound of a catalog some of whose parts cannot be read: so that mistakes of names are told in the same run
//! as mistakes of structure.

use std::collections::BTreeSet;

use tidegate_yaml::Position;
use tidegate_yaml::node::{Entry, Node, NodeKind};

/// Sections whose entries are things with names. A mistake in one costs that thing, not the section.
const NAMED: [&str; 9] =
    ["enums", "contexts", "envelope", "entities", "events", "dimensions", "facts", "metrics", "rollups"];
/// More parts than this are not taken out one by one: the file is of another kind.
const PARTS_MAX: usize = 200;

/// Takes the things out in which mistakes stand. Gives every name that is gone with them; `None` if what is left
/// says nothing of names.
pub(super) fn without(tree: &mut Node, mistakes: &[Position]) -> Option<BTreeSet<String>> {
    let mut gone = BTreeSet::new();
    for at in mistakes.iter().take(PARTS_MAX) {
        let NodeKind::Map(sections) = &mut tree.kind else { return None };
        let index = holder(sections, *at)?;
        let section = &mut sections[index];
        match (&mut section.value.kind, NAMED.contains(&section.key.as_str())) {
            (NodeKind::Map(things), true) => take(things, *at, &mut gone)?,
            _ => {
                every_key(&section.value, &mut gone);
                sections.remove(index);
            }
        }
    }
    Some(gone)
}

/// Takes out the thing in which the place lies: a field of it, if it lies in a field.
fn take(things: &mut Vec<Entry>, at: Position, gone: &mut BTreeSet<String>) -> Option<()> {
    let index = holder(things, at)?;
    let thing = &mut things[index];
    if let NodeKind::Map(keys) = &mut thing.value.kind
        && let Some(inside) = holder(keys, at)
        && keys[inside].key == "fields"
        && let NodeKind::Map(fields) = &mut keys[inside].value.kind
        && fields.len() > 1
        && holder(fields, at).is_some()
    {
        return take(fields, at, gone);
    }
    let thing = things.remove(index);
    gone.insert(thing.key);
    fields(&thing.value, gone);
    Some(())
}

/// The last entry that begins at or before the place, in the same file. What a file includes follows what it says.
fn holder(entries: &[Entry], at: Position) -> Option<usize> {
    let before = entries.iter().enumerate().filter(|(_, entry)| begins_before(entry, at));
    before.max_by_key(|(_, entry)| begin(entry, at)).map(|(index, _)| index)
}

fn begins_before(entry: &Entry, at: Position) -> bool {
    begin(entry, at).is_some_and(|begin| begin <= at)
}

/// Where the entry begins in the place's file: a section that several files have begins in each of them.
fn begin(entry: &Entry, at: Position) -> Option<Position> {
    let own = Some(entry.key_at).filter(|own| own.file == at.file);
    own.or_else(|| match &entry.value.kind {
        NodeKind::Map(entries) => entries.iter().filter_map(|entry| begin(entry, at)).min(),
        NodeKind::List(items) => items.iter().map(|item| item.at).filter(|item| item.file == at.file).min(),
        NodeKind::Nothing | NodeKind::Text(_) => None,
    })
}

/// The fields of a thing, and theirs. Its other keys are words of the language.
fn fields(thing: &Node, gone: &mut BTreeSet<String>) {
    let Some(Node { kind: NodeKind::Map(entries), .. }) = thing.get("fields") else { return };
    for entry in entries {
        gone.insert(entry.key.clone());
        fields(&entry.value, gone);
    }
}

fn every_key(node: &Node, gone: &mut BTreeSet<String>) {
    match &node.kind {
        NodeKind::Map(entries) => {
            for entry in entries {
                gone.insert(entry.key.clone());
                every_key(&entry.value, gone);
            }
        }
        NodeKind::List(items) => items.iter().for_each(|item| every_key(item, gone)),
        NodeKind::Nothing | NodeKind::Text(_) => {}
    }
}

/// Whether a mistake may follow from what is gone: it speaks of something of that name, of the same behind a context's
/// prefix, or of an object's member. Too many are let go rather than one told that is none.
pub(super) fn follows(message: &str, gone: &BTreeSet<String>) -> bool {
    let of = |name: &str, lost: &String| {
        let behind =
            name.strip_suffix(lost.as_str()).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'));
        behind || name.strip_prefix(lost.as_str()).is_some_and(|member| member.starts_with("__"))
    };
    message.split('`').skip(1).step_by(2).any(|name| gone.iter().any(|lost| of(name, lost)))
}
