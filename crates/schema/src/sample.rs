//! Values that a schema accepts, by chance.
//!
//! A value is drawn from the graph, which knows what most keywords ask for: of alternatives one is
//! followed, of members that need not be there most are. What the graph does not know (`not`, `if`,
//! `contains`, ..) decides afterwards: the general validator takes the value, or another one is drawn.

mod text;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::chance::Chance;
use crate::foreign::Foreign;
use crate::graph::{Node, NodeId};
use crate::rules::{Types, Violation};

/// How many values are drawn before a schema is given up.
const TRIES: usize = 300;
/// How deep values may nest, and how many a sample may be made of.
const DEPTH_MAX: usize = 48;
const VALUES_MAX: usize = 5_000;
/// From here on only what must be there is drawn.
const DEPTH_PLENTY: usize = 6;
const VALUES_PLENTY: usize = 300;
/// Drawn where a schema sets no bounds.
const NUMBERS: (f64, f64) = (0.0, 1_000.0);

/// No value was found that the schema accepts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no value was found that the schema accepts, of {TRIES}{}", Last(violation.as_ref()))]
pub struct Unsampled {
    /// What the last one broke; `None` if none came that far.
    pub violation: Option<Violation>,
}

struct Last<'a>(Option<&'a Violation>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(violation) => {
                write!(f, "; the last one: field `{}`: expected {}", violation.path, violation.expected)
            }
            None => Ok(()),
        }
    }
}

/// Draws values that a schema accepts. [`SchemaDocument::sampler`](crate::SchemaDocument::sampler) makes it.
#[derive(Debug)]
pub struct Sampler {
    nodes: Vec<Node>,
    root: NodeId,
    general: Foreign,
}

impl Sampler {
    pub(crate) const fn new(nodes: Vec<Node>, root: NodeId, general: Foreign) -> Self {
        Self { nodes, root, general }
    }

    /// A value.
    ///
    /// # Errors
    /// If none was found. The schema may have none, or rules that chance hardly ever meets.
    pub fn sample(&self, chance: &mut Chance) -> Result<Value, Unsampled> {
        let mut violation = None;
        for _ in 0..TRIES {
            let mut drawing = Drawing { nodes: &self.nodes, chance, n_values: 0 };
            let Some(value) = drawing.value(&[self.root], 0) else { continue };
            match self.general.violations(&value, 1).pop() {
                None => return Ok(value),
                broken => violation = broken,
            }
        }
        Err(Unsampled { violation })
    }
}

struct Drawing<'s> {
    nodes: &'s [Node],
    chance: &'s mut Chance,
    n_values: usize,
}

impl<'s> Drawing<'s> {
    /// A value that all of these nodes are meant to accept; `None` if none was found.
    fn value(&mut self, set: &[NodeId], depth: usize) -> Option<Value> {
        self.n_values += 1;
        if depth > DEPTH_MAX || self.n_values > VALUES_MAX {
            return None;
        }
        let nodes = self.followed(set);
        if let Some(listed) = nodes.iter().find_map(|node| listed(node)) {
            return self.chance.of(&listed).cloned();
        }
        let types = nodes.iter().fold(Types::ALL, |types, node| types & node.types);
        let kind = if types == Types::ALL { meant(&nodes) } else { self.kind(types)? };
        Some(match kind {
            Types::NULL => Value::Null,
            Types::TRUE => Value::Bool(true),
            Types::FALSE => Value::Bool(false),
            Types::INTEGER => self.number(&nodes, true)?,
            Types::FRACTION => self.number(&nodes, false)?,
            Types::STRING => Value::String(text::some(&nodes, self.chance)?),
            Types::ARRAY => self.array(&nodes, depth)?,
            _ => self.object(&nodes, depth)?,
        })
    }

    /// What the nodes come to when references are followed, and one of each group of alternatives.
    fn followed(&mut self, set: &[NodeId]) -> Vec<&'s Node> {
        let (mut seen, mut waiting) = (BTreeSet::new(), set.to_vec());
        let mut found = Vec::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = &self.nodes[id.0];
            found.push(node);
            waiting.extend(&node.all_of);
            let groups = node.alternatives.iter();
            waiting.extend(groups.filter_map(|(ids, _)| self.chance.of(ids).copied()));
        }
        found
    }

    /// One of the types; `null` seldom, if there are others.
    fn kind(&mut self, types: Types) -> Option<Types> {
        let all = [
            Types::OBJECT,
            Types::ARRAY,
            Types::STRING,
            Types::INTEGER,
            Types::FRACTION,
            Types::TRUE,
            Types::FALSE,
        ];
        let kinds: Vec<Types> = all.into_iter().filter(|kind| types.contains(*kind)).collect();
        let null = types.contains(Types::NULL) && (kinds.is_empty() || self.chance.one_in(8));
        if null { Some(Types::NULL) } else { self.chance.of(&kinds).copied() }
    }

    const fn plenty(&self, depth: usize) -> bool {
        depth > DEPTH_PLENTY || self.n_values > VALUES_PLENTY
    }

    fn number(&mut self, nodes: &[&Node], whole: bool) -> Option<Value> {
        let rules: Vec<_> = nodes.iter().filter_map(|node| node.numbers.as_ref()).collect();
        if let Some(listed) = rules.iter().find_map(|rules| rules.one_of.as_ref()) {
            let fitting = listed.iter().filter(|(number, _)| number.integral() == whole);
            let texts: Vec<&String> = fitting.map(|(_, text)| text).collect();
            return number(self.chance.of(&texts)?);
        }
        let (mut low, mut high) = (f64::MIN, f64::MAX);
        for rules in rules {
            // The first number inside of an end that is outside: the next integer, or a hair beyond it.
            let step = |end: f64| if whole { 1.0 } else { (end.abs() * 1e-9).max(1e-9) };
            if let Some(bound) = &rules.minimum {
                let end: f64 = bound.text.parse().ok()?;
                let first = if whole { end.ceil() } else { end };
                let outside = bound.exclusive && first <= end;
                low = low.max(if outside { first + step(end) } else { first });
            }
            if let Some(bound) = &rules.maximum {
                let end: f64 = bound.text.parse().ok()?;
                let last = if whole { end.floor() } else { end };
                let outside = bound.exclusive && last >= end;
                high = high.min(if outside { last - step(end) } else { last });
            }
        }
        let (low, high) = window(low, high)?;
        if let Some(step) = nodes.iter().flat_map(|node| &node.apart).find_map(|rule| rule.get("multipleOf"))
        {
            return self.multiple(&step.to_string(), low, high);
        }
        let share = self.chance.below(1_000_001) as f64 / 1e6;
        let drawn = low + (high - low) * share;
        if whole {
            return Some(Value::from(drawn.round().clamp(low, high) as i64));
        }
        let short = (drawn * 100.0).round() / 100.0;
        let short = if low <= short && short <= high { short } else { drawn };
        Number::from_f64(short).map(Value::Number)
    }

    /// A multiple of a decimal number, digit by digit: 3 times 0.1 is 0.3.
    fn multiple(&mut self, step: &str, low: f64, high: f64) -> Option<Value> {
        let size: f64 = step.parse().ok()?;
        let (first, last) = ((low / size).ceil(), (high / size).floor());
        if size <= 0.0 || first > last {
            return None;
        }
        let times = first as i64 + self.chance.below(((last - first) as usize).saturating_add(1)) as i64;
        let Some((whole, fraction)) = step.split_once('.') else {
            let step: i64 = step.parse().ok()?;
            return step.checked_mul(times).map(Value::from);
        };
        let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
        let product = digits.checked_mul(times)?;
        let (sign, size) = (if product < 0 { "-" } else { "" }, product.unsigned_abs());
        let unit = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let text = format!("{sign}{}.{:0width$}", size / unit, size % unit, width = fraction.len());
        number(&text)
    }

    fn array(&mut self, nodes: &[&Node], depth: usize) -> Option<Value> {
        let least = nodes.iter().filter_map(|node| node.items.0).max().unwrap_or(0);
        let most = nodes.iter().filter_map(|node| node.items.1).min().unwrap_or(u64::MAX);
        let items: Vec<NodeId> = nodes.iter().filter_map(|node| node.items.2).collect();
        let unique = nodes.iter().flat_map(|node| &node.apart).any(|rule| rule.get("uniqueItems").is_some());
        let more = if self.plenty(depth) { 0 } else { self.chance.below(4) as u64 };
        let n = least.saturating_add(more).min(most);
        let mut values: Vec<Value> = Vec::new();
        // Items that must differ are drawn more often than they are needed.
        for _ in 0..n.saturating_mul(if unique { 4 } else { 1 }) {
            if values.len() as u64 >= n {
                break;
            }
            match self.value(&items, depth + 1) {
                Some(value) if unique && values.contains(&value) => {}
                Some(value) => values.push(value),
                None if values.len() as u64 >= least => break,
                None => return None,
            }
        }
        (values.len() as u64 >= least).then_some(Value::Array(values))
    }

    fn object(&mut self, nodes: &[&Node], depth: usize) -> Option<Value> {
        let least = nodes.iter().filter_map(|node| node.members.0).max().unwrap_or(0);
        let most = nodes.iter().filter_map(|node| node.members.1).min().unwrap_or(u64::MAX);
        let required: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.required).collect();
        let declared = nodes.iter().flat_map(|node| &node.properties).map(|(name, _)| name);
        let mut names: Vec<&String> = declared.filter(|name| !required.contains(name)).collect();
        names.dedup();
        let open = nodes.iter().any(|node| node.additional.is_some());
        let mut members = Map::new();
        for name in &required {
            members.insert((*name).clone(), self.value(&of_member(nodes, name), depth + 1)?);
        }
        for name in names {
            let wanted = !self.plenty(depth) && !self.chance.one_in(4);
            let wanted = wanted || (members.len() as u64) < least;
            if wanted
                && (members.len() as u64) < most
                && !members.contains_key(name)
                && let Some(value) = self.value(&of_member(nodes, name), depth + 1)
            {
                members.insert(name.clone(), value);
            }
        }
        // A map has members that no schema names.
        let others = if open && members.is_empty() && !self.plenty(depth) { self.chance.below(3) } else { 0 };
        let wanted = ((members.len() + others) as u64).max(least).min(most);
        let mut tries = 0;
        while (members.len() as u64) < wanted && tries < 20 {
            tries += 1;
            let name = self.chance.word();
            let Some(value) = self.value(&of_member(nodes, &name), depth + 1) else { break };
            members.insert(name, value);
        }
        (members.len() as u64 >= least).then_some(Value::Object(members))
    }
}

/// The schemas of a member: each node's own, or what it says of all others.
fn of_member(nodes: &[&Node], name: &str) -> Vec<NodeId> {
    let of = |node: &&Node| {
        let own = node.properties.iter().find(|(own, _)| own == name).map(|(_, id)| *id);
        own.or(node.additional)
    };
    nodes.iter().filter_map(of).collect()
}

/// What nodes that name no type speak about.
fn meant(nodes: &[&Node]) -> Types {
    let any = |speaks: fn(&Node) -> bool| nodes.iter().any(|node| speaks(node));
    if any(|node| !node.properties.is_empty() || !node.required.is_empty() || node.additional.is_some()) {
        Types::OBJECT
    } else if any(|node| node.items != (None, None, None)) {
        Types::ARRAY
    } else if any(|node| node.numbers.is_some()) {
        Types::INTEGER
    } else {
        Types::STRING
    }
}

/// The values of an `enum` or `const` with arrays or objects in it.
fn listed(node: &Node) -> Option<Vec<Value>> {
    node.apart.iter().find_map(|rule| match (rule.get("enum"), rule.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.clone()),
        (_, Some(value)) => Some(vec![value.clone()]),
        _ => None,
    })
}

/// The numbers to draw from: plain ones, if they are within the bounds.
fn window(low: f64, high: f64) -> Option<(f64, f64)> {
    let plain = (low.max(NUMBERS.0), high.min(NUMBERS.1));
    if plain.0 <= plain.1 {
        return Some(plain);
    }
    let near =
        if low > NUMBERS.1 { (low, high.min(low + NUMBERS.1)) } else { (low.max(high - NUMBERS.1), high) };
    (near.0 <= near.1).then_some(near)
}

fn number(text: &str) -> Option<Value> {
    serde_json::from_str::<Number>(text).ok().map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FormatMode, JsonSchema, SchemaDocument};

    const SCHEMAS: [&str; 16] = [
        "true",
        r#"{"type":"object","required":["id"],"properties":{"id":{"type":"integer","minimum":5,"exclusiveMaximum":7},"at":{"type":"string","format":"date-time"},"tags":{"type":"array","items":{"type":"string","maxLength":3},"minItems":2,"uniqueItems":true}},"additionalProperties":false}"#,
        r##"{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","required":["name"],"properties":{"name":{"type":"string","pattern":"^[A-Z]{3}-\\d{4,}$"},"left":{"$ref":"#/$defs/tree"},"right":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/tree"}]}}}}}"##,
        r#"{"oneOf":[{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}},"additionalProperties":false},{"type":"object","required":["b"],"properties":{"b":{"const":{"deep":[1,2]}}}}]}"#,
        r#"{"allOf":[{"required":["x"],"properties":{"x":{"minLength":10}}},{"properties":{"x":{"type":"string","maxLength":12}}}],"type":"object"}"#,
        r#"{"type":"object","properties":{"kind":{"enum":["a","b"]}},"required":["kind"],"if":{"properties":{"kind":{"const":"a"}}},"then":{"required":["n"],"properties":{"n":{"type":"integer"}}}, "else":{"properties":{"m":{"type":"number"}}}}"#,
        r#"{"type":"number","multipleOf":0.01,"minimum":1.5,"maximum":2.5}"#,
        r#"{"type":"integer","multipleOf":7,"minimum":-20,"maximum":-10}"#,
        r#"{"type":"integer","minimum":9007199254740993,"maximum":9223372036854775807}"#,
        r#"{"type":["number","null"],"exclusiveMinimum":0,"exclusiveMaximum":0.001}"#,
        r#"{"type":"object","minProperties":3,"maxProperties":4,"additionalProperties":{"type":"boolean"}}"#,
        r#"{"type":"array","items":{"not":{"type":"string"},"type":["string","integer"]},"minItems":1}"#,
        r#"{"enum":[1.5,"x",null,[1],{"a":1}]}"#,
        r#"{"type":"object","required":["e","u","h","i","t","d"],"properties":{"e":{"format":"email"},"u":{"format":"uri"},"h":{"format":"hostname"},"i":{"format":"ipv6"},"t":{"format":"time"},"d":{"format":"duration"}}}"#,
        r#"{"type":"string","pattern":"(foo|bar)+","minLength":30,"maxLength":60}"#,
        r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"card":{"type":"string"}},"dependencies":{"card":["address"]},"required":["card"]}"#,
    ];

    #[test]
    fn a_sample_is_a_value_of_its_schema_and_the_seed_decides_which() {
        for text in &SCHEMAS[..15] {
            let sampler = SchemaDocument::parse(text).unwrap().sampler("", FormatMode::Assert).unwrap();
            let schema = JsonSchema::parse(text).unwrap();
            for seed in 0..50 {
                let value =
                    sampler.sample(&mut Chance::new(seed)).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(schema.violations(value.to_string().as_bytes(), 1), [], "{text}: {value}");
                assert_eq!(sampler.sample(&mut Chance::new(seed)).as_ref(), Ok(&value), "{text}");
            }
        }
    }

    #[test]
    fn what_chance_never_meets_is_said() {
        let never = [SCHEMAS[15], r#"{"type":"string","pattern":"^a$","minLength":2}"#, "false"];
        let told: Vec<String> = never
            .map(|text| {
                let sampler = SchemaDocument::parse(text).unwrap().sampler("", FormatMode::Assert).unwrap();
                sampler.sample(&mut Chance::new(1)).unwrap_err().to_string()
            })
            .into();
        assert!(
            told[0].ends_with("of 300; the last one: field `/address`: expected a field `address`"),
            "{}",
            told[0]
        );
        assert_eq!(told[1], "no value was found that the schema accepts, of 300");
        assert_eq!(told[2], told[1]);
    }

    #[test]
    fn a_schema_that_grows_without_end_is_given_up_soon() {
        let text = r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","required":["x","y"],"properties":{"x":{"$ref":"#/$defs/a"},"y":{"$ref":"#/$defs/a"}}}}}"##;
        let sampler = SchemaDocument::parse(text).unwrap().sampler("", FormatMode::Assert).unwrap();
        assert!(sampler.sample(&mut Chance::new(1)).is_err());
    }
}
