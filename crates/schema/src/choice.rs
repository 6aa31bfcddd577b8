//! Alternatives that a member tells apart: `oneOf` and `anyOf` of objects which all require one member,
//! each with other strings for it. Of such alternatives a value can only pass the one that its tag names.

use crate::graph::{Node, NodeId};
use crate::rules::{RulesId, Types, Violation, list};

/// A choice between rules, by the string that a member of the object has.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The member's name. Every alternative requires it.
    pub property: String,
    /// The strings, and the rules of an object with one of them: all of its rules, not only those in
    /// which it differs. No string stands in two alternatives.
    pub alternatives: Vec<(Vec<String>, RulesId)>,
}

impl Choice {
    /// The member has a value that no alternative names.
    #[must_use]
    pub fn unlisted(&self) -> Box<Violation> {
        let values: Vec<&str> =
            self.alternatives.iter().flat_map(|(values, _)| values).map(String::as_str).collect();
        Violation::new("enum", list(values.into_iter()))
    }

    /// The member is not there.
    #[must_use]
    pub fn missing(&self) -> Box<Violation> {
        Violation::new("required", format!("a field `{}`", self.property))
    }
}

/// What tells alternatives apart.
pub(crate) struct Tag {
    pub(crate) property: String,
    /// For each alternative the strings that it may have; none for one that is not for objects.
    pub(crate) values: Vec<Vec<String>>,
}

/// What tells these alternatives of these types apart, if a member does and types do the rest.
pub(crate) fn tag(nodes: &[Node], ids: &[NodeId], kinds: &[Types]) -> Option<Tag> {
    let mut others = Types::OBJECT;
    for kind in kinds.iter().filter(|kind| !Types::OBJECT.contains(**kind)) {
        let kind = kind.with_whole_numbers();
        if others.intersects(kind) {
            return None;
        }
        others = others | kind;
    }
    let first = ids.iter().zip(kinds).find(|(_, kind)| **kind == Types::OBJECT)?.0;
    let mut names = Vec::new();
    required(nodes, *first, &mut Vec::new(), &mut names);
    names.into_iter().find_map(|property| {
        let of = |(id, kind): (&NodeId, &Types)| match *kind {
            Types::OBJECT => tags(nodes, *id, property, &mut Vec::new()),
            _ => Some(Vec::new()),
        };
        let values: Vec<Vec<String>> = ids.iter().zip(kinds).map(of).collect::<Option<_>>()?;
        let mut all: Vec<&String> = values.iter().flatten().collect();
        let n_values = all.len();
        all.sort_unstable();
        all.dedup();
        (all.len() == n_values).then(|| Tag { property: property.to_owned(), values })
    })
}

/// The members that some path through the node requires: those that may be a tag.
fn required<'n>(nodes: &'n [Node], id: NodeId, path: &mut Vec<NodeId>, names: &mut Vec<&'n str>) {
    if path.contains(&id) {
        return;
    }
    path.push(id);
    let node = &nodes[id.0];
    for name in &node.required {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let first_alternatives = node.alternatives.iter().filter_map(|(ids, _)| ids.first());
    for next in node.all_of.iter().chain(first_alternatives) {
        required(nodes, *next, path, names);
    }
    path.pop();
}

/// The strings that an object may have for the member, at most; `None` if it may have others, or go
/// without the member.
fn tags(nodes: &[Node], id: NodeId, property: &str, path: &mut Vec<NodeId>) -> Option<Vec<String>> {
    if path.contains(&id) {
        return None;
    }
    path.push(id);
    let found = tags_within(nodes, id, property, path);
    path.pop();
    found
}

fn tags_within(nodes: &[Node], id: NodeId, property: &str, path: &mut Vec<NodeId>) -> Option<Vec<String>> {
    let node = &nodes[id.0];
    // What is required and what is listed may stand in different parts of an `allOf`; looking at one
    // part at a time finds less, and nothing false.
    let own = node.properties.iter().find(|(name, _)| name == property);
    if let Some((_, listed)) = own.filter(|_| node.required.iter().any(|name| name == property))
        && let Some(values) = strings(nodes, *listed, &mut Vec::new())
    {
        return Some(values);
    }
    if let Some(values) = node.all_of.iter().find_map(|id| tags(nodes, *id, property, path)) {
        return Some(values);
    }
    node.alternatives.iter().find_map(|(ids, _)| {
        let each: Vec<_> =
            ids.iter().map(|id| tags(nodes, *id, property, path)).collect::<Option<Vec<_>>>()?;
        let mut all: Vec<String> = each.into_iter().flatten().collect();
        all.sort_unstable();
        all.dedup();
        Some(all)
    })
}

/// The strings that a node lists, if it passes nothing but them.
fn strings(nodes: &[Node], id: NodeId, path: &mut Vec<NodeId>) -> Option<Vec<String>> {
    if path.contains(&id) {
        return None;
    }
    path.push(id);
    let node = &nodes[id.0];
    let own =
        node.strings.as_ref().and_then(|rules| rules.one_of()).filter(|_| Types::STRING.contains(node.types));
    let found = match own {
        Some(values) => Some(values.to_vec()),
        None => node.all_of.iter().find_map(|id| strings(nodes, *id, path)),
    };
    path.pop();
    found.map(|mut values| {
        values.sort_unstable();
        values.dedup();
        values
    })
}
