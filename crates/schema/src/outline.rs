//! What a table for a schema needs to know: the members of the value with their types, over all
//! alternatives.

use crate::graph::{Node, NodeId};
use crate::rules::Types;

/// The shape of a value, seen loosely: whatever any alternative of the schema may allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The types that the value may have.
    pub types: Types,
    /// The format of its strings, if there is one that all agree on.
    pub format: Option<String>,
    /// Whether its strings are listed.
    pub enumerated: bool,
    /// Whether its numbers are at least 0.
    pub natural: bool,
    /// The members of an object, in order of their names. Followed for the root only.
    pub members: Vec<OutlineMember>,
    /// The items of an array.
    pub items: Option<Box<Outline>>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMember {
    /// Its name.
    pub name: String,
    /// Whether every alternative requires it.
    pub required: bool,
    /// Its shape.
    pub outline: Outline,
}

/// The members that alternatives give together, before their shapes are looked at.
#[derive(Default, Clone)]
struct Members {
    /// Name, places that describe it, and whether it is required.
    list: Vec<(String, Vec<NodeId>, bool)>,
}

impl Members {
    fn entry(&mut self, name: &str) -> &mut (String, Vec<NodeId>, bool) {
        if let Some(at) = self.list.iter().position(|(known, ..)| known == name) {
            return &mut self.list[at];
        }
        self.list.push((name.to_owned(), Vec::new(), false));
        self.list.last_mut().expect("an element was pushed")
    }

    fn requires(&self, name: &str) -> bool {
        self.list.iter().any(|(known, _, required)| known == name && *required)
    }
}

/// The outline of one node.
pub(crate) fn outline(nodes: &[Node], id: NodeId) -> Outline {
    let mut outline = shape(nodes, &[id], 1);
    let members = members(nodes, id, &mut Vec::new());
    outline.members = members
        .list
        .into_iter()
        .map(|(name, places, required)| OutlineMember { name, required, outline: shape(nodes, &places, 1) })
        .collect();
    outline.members.sort_by(|a, b| a.name.cmp(&b.name));
    outline
}

fn members(nodes: &[Node], id: NodeId, path: &mut Vec<NodeId>) -> Members {
    let mut all = Members::default();
    if path.contains(&id) {
        return all;
    }
    path.push(id);
    let node = &nodes[id.0];
    for (name, place) in &node.properties {
        all.entry(name).1.push(*place);
    }
    for name in &node.required {
        all.entry(name).2 = true;
    }
    for target in &node.all_of {
        for (name, places, required) in members(nodes, *target, path).list {
            let entry = all.entry(&name);
            entry.1.extend(places);
            entry.2 |= required;
        }
    }
    for (ids, _) in &node.alternatives {
        let each: Vec<Members> = ids.iter().map(|id| members(nodes, *id, path)).collect();
        for one in &each {
            for (name, places, _) in &one.list {
                let everywhere = each.iter().all(|other| other.requires(name));
                let entry = all.entry(name);
                entry.1.extend(places);
                entry.2 |= everywhere;
            }
        }
    }
    path.pop();
    all
}

/// What one place says about its value's type; `None` where it says nothing.
#[derive(Clone)]
struct Kind {
    types: Types,
    formats: Vec<Option<String>>,
    enumerated: bool,
    natural: bool,
    items: Vec<NodeId>,
}

fn shape(nodes: &[Node], places: &[NodeId], depth: usize) -> Outline {
    let kinds: Vec<Kind> = places.iter().map(|place| kind(nodes, *place, &mut Vec::new())).collect();
    let types = kinds.iter().fold(Types::NONE, |all, kind| all | kind.types);
    let with_strings = || kinds.iter().filter(|kind| kind.types.intersects(Types::STRING));
    let mut formats = with_strings().flat_map(|kind| kind.formats.clone()).collect::<Vec<_>>();
    formats.dedup();
    let items: Vec<NodeId> = kinds.iter().flat_map(|kind| kind.items.clone()).collect();
    Outline {
        types: if kinds.is_empty() { Types::ALL } else { types },
        format: if formats.len() == 1 { formats.remove(0) } else { None },
        enumerated: with_strings().count() > 0 && with_strings().all(|kind| kind.enumerated),
        natural: !kinds.is_empty()
            && kinds.iter().filter(|kind| kind.types.intersects(Types::NUMBER)).all(|kind| kind.natural),
        members: Vec::new(),
        items: (depth > 0 && !items.is_empty()).then(|| Box::new(shape(nodes, &items, depth - 1))),
    }
}

fn kind(nodes: &[Node], id: NodeId, path: &mut Vec<NodeId>) -> Kind {
    let node = &nodes[id.0];
    let strings = node.strings.as_ref();
    let mut own = Kind {
        types: node.types,
        formats: Vec::new(),
        enumerated: strings.is_some_and(|rules| rules.one_of.is_some()),
        natural: node
            .numbers
            .as_ref()
            .and_then(|rules| rules.minimum())
            .is_some_and(|bound| !bound.value.negative()),
        items: node.items.2.into_iter().collect(),
    };
    let mut format = strings.and_then(|rules| rules.formats.first()).map(|format| format.name().to_owned());
    if path.contains(&id) {
        return own;
    }
    path.push(id);
    for target in &node.all_of {
        let other = kind(nodes, *target, path);
        own.types = own.types & other.types;
        own.enumerated |= other.enumerated;
        own.natural |= other.natural;
        own.items.extend(other.items);
        format = format.or_else(|| other.formats.into_iter().flatten().next());
    }
    for (ids, _) in &node.alternatives {
        let each: Vec<Kind> = ids.iter().map(|id| kind(nodes, *id, path)).collect();
        let of = |types: Types| each.iter().filter(move |kind| kind.types.intersects(types));
        own.types = own.types & each.iter().fold(Types::NONE, |all, kind| all | kind.types);
        own.enumerated |= of(Types::STRING).count() > 0 && of(Types::STRING).all(|kind| kind.enumerated);
        own.natural |= of(Types::NUMBER).count() > 0 && of(Types::NUMBER).all(|kind| kind.natural);
        own.items.extend(each.iter().flat_map(|kind| kind.items.clone()));
        if format.is_none() {
            let formats: Vec<_> = of(Types::STRING).flat_map(|kind| kind.formats.clone()).collect();
            own.formats.extend(formats);
        }
    }
    path.pop();
    if own.formats.is_empty() || format.is_some() {
        own.formats = vec![format];
    }
    own
}
