//! From the graph to rules: each set of nodes that a value must pass becomes one position's rules.
//!
//! A set of (node, types) pairs says that a value of one of these types must pass that node. `$ref` and
//! `allOf` put more pairs into the set; alternatives whose types are distinct put each alternative in
//! for its own types. Alternatives that a tag tells apart become a [`Choice`]: the same set once for each
//! alternative, with the decision for it beside the set. Sets are finite in number, so cycles end.

use std::collections::{BTreeMap, HashMap};

use crate::choice::{Choice, Tag, tag};
use crate::document::SchemaError;
use crate::graph::{GraphBuilder, Node, NodeId, tighter};
use crate::rules::{ArrayRules, NumberRules, ObjectRules, Property, Rules, RulesId, StringRules, Types};

type NodeSet = BTreeMap<NodeId, Types>;

/// One of the groups of alternatives of a node.
type Group = (NodeId, usize);

/// Which alternative of a group is the one, by the value's tag.
type Decisions = BTreeMap<Group, NodeId>;

/// From here on further choices are left to the general validator: independent choices multiply.
const RULES_MAX: usize = 20_000;

/// Builds rules out of a graph.
pub(crate) struct Merger<'g, 'r> {
    graph: &'g GraphBuilder<'r>,
    known: HashMap<(NodeSet, Decisions), RulesId>,
    pub(crate) rules: Vec<Rules>,
    waiting: Vec<(RulesId, NodeSet, Decisions)>,
}

/// What a set says once its edges are followed.
struct Conjunction {
    types: Types,
    nodes: NodeSet,
    foreign: Vec<(Types, serde_json::Value)>,
    undecided: Option<(Group, Tag)>,
}

impl<'g, 'r> Merger<'g, 'r> {
    pub(crate) fn new(graph: &'g GraphBuilder<'r>) -> Self {
        Self { graph, known: HashMap::new(), rules: Vec::new(), waiting: Vec::new() }
    }

    /// The rules of one node, with everything that they lead to.
    pub(crate) fn root(&mut self, node: NodeId) -> Result<RulesId, SchemaError> {
        let root = self.position(NodeSet::from([(node, Types::ALL)]), Decisions::new());
        while let Some((id, set, decided)) = self.waiting.pop() {
            self.rules[id.0] = self.merge(set, &decided)?;
        }
        Ok(root)
    }

    fn position(&mut self, set: NodeSet, decided: Decisions) -> RulesId {
        let key = (set, decided);
        if let Some(id) = self.known.get(&key) {
            return *id;
        }
        let id = RulesId(self.rules.len());
        self.rules.push(Rules::ANY);
        self.waiting.push((id, key.0.clone(), key.1.clone()));
        self.known.insert(key, id);
        id
    }

    fn merge(&mut self, set: NodeSet, decided: &Decisions) -> Result<Rules, SchemaError> {
        let conjunction = self.follow(&set, decided);
        let graph = self.graph;
        let nodes: Vec<(&Node, Types)> =
            conjunction.nodes.iter().map(|(id, types)| (&graph.nodes[id.0], *types)).collect();
        let of = |types: Types| {
            nodes.iter().filter(move |(_, for_types)| for_types.intersects(types)).map(|(node, _)| *node)
        };
        let mut foreign = Vec::new();
        for (types, schema) in &conjunction.foreign {
            foreign.push((*types, self.graph.compile(schema)?));
        }
        Ok(Rules {
            types: conjunction.types,
            numbers: of(Types::NUMBER)
                .filter_map(|node| node.numbers.as_ref())
                .cloned()
                .reduce(both_numbers)
                .map(|mut rules| {
                    rules.settle();
                    rules
                }),
            strings: of(Types::STRING).filter_map(|node| node.strings.as_ref()).cloned().reduce(both_strings),
            arrays: self.arrays(&of(Types::ARRAY).collect::<Vec<_>>()),
            objects: self.objects(&of(Types::OBJECT).collect::<Vec<_>>()),
            foreign,
            choice: conjunction.undecided.map(|undecided| self.choice(&set, decided, undecided)),
        })
    }

    /// The rules of the same set for each way to decide.
    fn choice(&mut self, set: &NodeSet, decided: &Decisions, (group, tag): (Group, Tag)) -> Choice {
        let graph = self.graph;
        let ids = &graph.nodes[group.0.0].alternatives[group.1].0;
        let tagged = ids.iter().zip(tag.values).filter(|(_, values)| !values.is_empty());
        let alternatives = tagged.map(|(id, values)| {
            let mut decided = decided.clone();
            decided.insert(group, *id);
            (values, self.position(set.clone(), decided))
        });
        Choice { alternatives: alternatives.collect(), property: tag.property }
    }

    fn follow(&self, set: &NodeSet, decided: &Decisions) -> Conjunction {
        let mut result =
            Conjunction { types: Types::ALL, nodes: NodeSet::new(), foreign: Vec::new(), undecided: None };
        let mut waiting: Vec<(NodeId, Types)> = set.iter().map(|(id, types)| (*id, *types)).collect();
        while let Some((id, types)) = waiting.pop() {
            let before = result.nodes.get(&id).copied().unwrap_or(Types::NONE);
            if before.contains(types) {
                continue;
            }
            let types = before | types;
            let node = &self.graph.nodes[id.0];
            result.types = result.types & (node.types | !types);
            result.nodes.insert(id, types);
            if let Some(whole) = &node.whole {
                result.nodes.remove(&id);
                result.foreign.push((types, whole.clone()));
                continue;
            }
            waiting.extend(node.all_of.iter().map(|target| (*target, types)));
            result.foreign.extend(node.apart.iter().map(|schema| (types, schema.clone())));
            for (at, (ids, schema)) in node.alternatives.iter().enumerate() {
                let kinds: Vec<Types> = ids.iter().map(|id| self.types(*id, &mut Vec::new())).collect();
                let chosen = decided.get(&(id, at));
                let room = chosen.is_some() || self.rules.len() < RULES_MAX;
                let tag = match distinct(&kinds) {
                    true => None,
                    false => match tag(&self.graph.nodes, ids, &kinds).filter(|_| room) {
                        Some(tag) => Some(tag),
                        None => {
                            result.foreign.push((types, schema.clone()));
                            continue;
                        }
                    },
                };
                let all = kinds.iter().fold(Types::NONE, |all, kind| all | *kind);
                result.types = result.types & (all | !types);
                let apart = ids
                    .iter()
                    .zip(kinds)
                    .filter(|(id, kind)| tag.is_none() || *kind != Types::OBJECT || chosen == Some(*id));
                waiting.extend(apart.map(|(id, kind)| (*id, types & kind.with_whole_numbers())));
                if let Some(tag) = tag
                    && chosen.is_none()
                    && types.contains(Types::OBJECT)
                    && result.undecided.is_none()
                {
                    result.undecided = Some(((id, at), tag));
                }
            }
        }
        result
    }

    /// The types that a node may pass, at most.
    fn types(&self, id: NodeId, path: &mut Vec<NodeId>) -> Types {
        if path.contains(&id) {
            return Types::ALL;
        }
        path.push(id);
        let node = &self.graph.nodes[id.0];
        let mut types = node.types;
        for target in &node.all_of {
            types = types & self.types(*target, path);
        }
        for (ids, _) in &node.alternatives {
            types = types & ids.iter().fold(Types::NONE, |all, id| all | self.types(*id, path));
        }
        path.pop();
        types
    }

    fn arrays(&mut self, nodes: &[&Node]) -> Option<ArrayRules> {
        let mut rules: Option<ArrayRules> = None;
        let mut items = NodeSet::new();
        for node in nodes {
            let (least, most, item) = node.items;
            if least.is_some() || most.is_some() || item.is_some() {
                let rules = rules.get_or_insert_default();
                rules.items_min = rules.items_min.max(least);
                rules.items_max = fewer(rules.items_max, most);
                items.extend(item.map(|id| (id, Types::ALL)));
            }
        }
        let mut rules = rules?;
        rules.items = (!items.is_empty()).then(|| self.position(items, Decisions::new()));
        Some(rules)
    }

    fn objects(&mut self, nodes: &[&Node]) -> Option<ObjectRules> {
        let speaks = |node: &&&Node| {
            !node.properties.is_empty()
                || !node.required.is_empty()
                || node.additional.is_some()
                || node.members != (None, None)
        };
        let nodes: Vec<&Node> = nodes.iter().filter(speaks).copied().collect();
        if nodes.is_empty() {
            return None;
        }
        let mut rules = ObjectRules::default();
        let mut members: Vec<(String, NodeSet, bool)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut additional = NodeSet::new();
        for node in &nodes {
            rules.members_min = rules.members_min.max(node.members.0);
            rules.members_max = fewer(rules.members_max, node.members.1);
            additional.extend(node.additional.map(|id| (id, Types::ALL)));
            let named = node.properties.iter().map(|(name, _)| name).chain(&node.required);
            for name in named {
                places.entry(name).or_insert_with(|| {
                    members.push((name.clone(), NodeSet::new(), false));
                    members.len() - 1
                });
            }
        }
        for node in &nodes {
            let own: HashMap<&str, NodeId> =
                node.properties.iter().map(|(name, id)| (name.as_str(), *id)).collect();
            for (name, set, required) in &mut members {
                *required |= node.required.contains(name);
                set.extend(own.get(name.as_str()).copied().or(node.additional).map(|id| (id, Types::ALL)));
            }
        }
        rules.properties = members
            .into_iter()
            .map(|(name, set, required)| Property {
                name,
                required,
                rules: (!set.is_empty()).then(|| self.position(set, Decisions::new())),
            })
            .collect();
        rules.additional = (!additional.is_empty()).then(|| self.position(additional, Decisions::new()));
        Some(rules)
    }
}

/// Whether no two of them share a type.
fn distinct(kinds: &[Types]) -> bool {
    let mut seen = Types::NONE;
    kinds.iter().all(|kind| {
        let kind = kind.with_whole_numbers();
        let shared = seen.intersects(kind);
        seen = seen | kind;
        !shared
    })
}

fn fewer(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn both_numbers(a: NumberRules, b: NumberRules) -> NumberRules {
    let mut rules = NumberRules::default();
    rules.minimum = tighter(a.minimum, b.minimum, true);
    rules.maximum = tighter(a.maximum, b.maximum, false);
    rules.one_of = match (a.one_of, b.one_of) {
        (Some(a), Some(b)) => {
            Some(a.into_iter().filter(|(one, _)| b.iter().any(|(other, _)| one == other)).collect())
        }
        (a, b) => a.or(b),
    };
    rules
}

fn both_strings(mut a: StringRules, b: StringRules) -> StringRules {
    a.length_min = a.length_min.max(b.length_min);
    a.length_max = fewer(a.length_max, b.length_max);
    a.patterns.extend(b.patterns);
    a.formats.extend(b.formats);
    a.one_of = match (a.one_of, b.one_of) {
        (Some(a), Some(b)) => Some(a.into_iter().filter(|one| b.contains(one)).collect()),
        (a, b) => a.or(b),
    };
    a
}
