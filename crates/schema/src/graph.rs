//! A schema document as a graph: one node a subschema, `$ref` and `allOf` as edges, nothing merged yet.

use std::collections::HashMap;

use jsonschema::{Draft, Registry};
use referencing::Resolver;
use serde_json::{Map, Value, json};

use crate::decimal::Decimal;
use crate::document::{FormatMode, SchemaError};
use crate::foreign::Foreign;
use crate::format::Format;
use crate::rules::{Bound, NumberRules, StringRules, Types};

/// The URI under which the document itself is registered.
pub(crate) const ROOT_URI: &str = "tidegate:///schema";

/// Keywords whose effect depends on the ones beside them, so that the whole subschema goes to the
/// general validator.
const WHOLE: [&str; 5] =
    ["patternProperties", "prefixItems", "additionalItems", "unevaluatedProperties", "unevaluatedItems"];

/// Keywords that stand for themselves, each group as one schema for the general validator.
const APART: [&[&str]; 9] = [
    &["not"],
    &["if", "then", "else"],
    &["contains", "minContains", "maxContains"],
    &["uniqueItems"],
    &["dependentSchemas"],
    &["dependentRequired"],
    &["dependencies"],
    &["propertyNames"],
    &["multipleOf"],
];

/// A node of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

/// One subschema's own keywords.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) types: Types,
    pub(crate) numbers: Option<NumberRules>,
    pub(crate) strings: Option<StringRules>,
    pub(crate) items: (Option<u64>, Option<u64>, Option<NodeId>),
    pub(crate) members: (Option<u64>, Option<u64>),
    pub(crate) properties: Vec<(String, NodeId)>,
    pub(crate) required: Vec<String>,
    pub(crate) additional: Option<NodeId>,
    /// Targets of `$ref` and `allOf`.
    pub(crate) all_of: Vec<NodeId>,
    /// `oneOf` and `anyOf`, each with the schema that stands for it alone.
    pub(crate) alternatives: Vec<(Vec<NodeId>, Value)>,
    /// Groups of keywords that only the general validator knows.
    pub(crate) apart: Vec<Value>,
    /// The whole subschema, where its keywords depend on each other.
    pub(crate) whole: Option<Value>,
}

impl Node {
    fn new(types: Types) -> Self {
        Self {
            types,
            numbers: None,
            strings: None,
            items: (None, None, None),
            members: (None, None),
            properties: Vec::new(),
            required: Vec::new(),
            additional: None,
            all_of: Vec::new(),
            alternatives: Vec::new(),
            apart: Vec::new(),
            whole: None,
        }
    }
}

/// Builds the graph of what is reachable from one subschema.
pub(crate) struct GraphBuilder<'r> {
    registry: &'r Registry<'r>,
    draft: Draft,
    formats: FormatMode,
    pointers: &'r Pointers,
    known: HashMap<usize, NodeId>,
    pub(crate) nodes: Vec<Node>,
}

/// Where each value of a document stands, by its address.
pub(crate) type Pointers = HashMap<usize, String>;

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

impl<'r> GraphBuilder<'r> {
    pub(crate) fn new(
        registry: &'r Registry<'r>,
        pointers: &'r Pointers,
        draft: Draft,
        formats: FormatMode,
    ) -> Self {
        Self { registry, draft, formats, pointers, known: HashMap::new(), nodes: Vec::new() }
    }

    /// Compiles a schema for the general validator. References in it start from [`ROOT_URI`].
    pub(crate) fn compile(&self, schema: &Value) -> Result<Foreign, SchemaError> {
        jsonschema::options()
            .with_draft(self.draft)
            .with_registry(self.registry)
            .should_validate_formats(self.formats == FormatMode::Assert)
            .offline()
            .build(schema)
            .map(Foreign::new)
            .map_err(|error| SchemaError::Invalid {
                pointer: error.schema_path().to_string(),
                message: error.to_string(),
            })
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// The node of a subschema, with everything that it reaches.
    pub(crate) fn add(&mut self, schema: &'r Value, resolver: &Resolver<'r>) -> Result<NodeId, SchemaError> {
        if let Some(id) = self.known.get(&address(schema)) {
            return Ok(*id);
        }
        let id = self.push(Node::new(Types::ALL));
        self.known.insert(address(schema), id);
        let node = match schema {
            Value::Bool(true) => Node::new(Types::ALL),
            Value::Bool(false) => Node::new(Types::NONE),
            Value::Object(keywords) => {
                let resolver = resolver
                    .in_subresource(self.draft.create_resource_ref(schema))
                    .map_err(|error| SchemaError::unresolved(&error))?;
                self.node(schema, keywords, &resolver)?
            }
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(SchemaError::Invalid {
                    pointer: self.pointer(schema),
                    message: "a schema is an object or a boolean".to_owned(),
                });
            }
        };
        self.nodes[id.0] = node;
        Ok(id)
    }

    fn node(
        &mut self,
        schema: &'r Value,
        keywords: &'r Map<String, Value>,
        resolver: &Resolver<'r>,
    ) -> Result<Node, SchemaError> {
        let mut node = Node::new(Types::ALL);
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            let target = self.reference(reference, resolver)?;
            node.all_of.push(target);
            if self.draft <= Draft::Draft7 {
                return Ok(node);
            }
        }
        node.types = types(keywords);
        self.enumerate(keywords, &mut node);
        numbers(keywords, &mut node);
        self.strings(keywords, &mut node);
        self.arrays(keywords, resolver, &mut node)?;
        self.objects(keywords, resolver, &mut node)?;
        for schema in subschemas(keywords.get("allOf")) {
            let id = self.add(schema, resolver)?;
            node.all_of.push(id);
        }
        let location = self.pointer(schema);
        for keyword in ["oneOf", "anyOf"] {
            let Some(listed) = keywords.get(keyword) else { continue };
            let ids =
                subschemas(Some(listed)).map(|one| self.add(one, resolver)).collect::<Result<_, _>>()?;
            node.alternatives
                .push((ids, json!({ keyword: refer(listed, &format!("{location}/{keyword}")) })));
        }
        for group in APART {
            let of_group = group.iter().filter(|keyword| keywords.contains_key(**keyword));
            let apart: Map<String, Value> = of_group
                .map(|&keyword| (keyword.to_owned(), refer_keyword(keyword, &keywords[keyword], &location)))
                .collect();
            if !apart.is_empty() {
                node.apart.push(Value::Object(apart));
            }
        }
        let tuple = keywords.get("items").is_some_and(Value::is_array);
        if tuple || WHOLE.iter().any(|keyword| keywords.contains_key(*keyword)) {
            node.whole = Some(refer_to(&location));
        }
        Ok(node)
    }

    fn reference(&mut self, reference: &str, resolver: &Resolver<'r>) -> Result<NodeId, SchemaError> {
        let resolved = resolver.lookup(reference).map_err(|error| SchemaError::unresolved(&error))?;
        if self.pointers.contains_key(&address(resolved.contents())) {
            return self.add(resolved.contents(), resolved.resolver());
        }
        // A meta-schema: known to the general validator, and of no use to a table.
        let base = resolver.base_uri();
        let uri = resolver
            .resolve_uri(&base.borrow(), reference)
            .map_err(|error| SchemaError::unresolved(&error))?;
        let mut node = Node::new(Types::ALL);
        node.whole = Some(json!({ "$ref": uri.as_str() }));
        Ok(self.push(node))
    }

    fn pointer(&self, schema: &Value) -> String {
        self.pointers.get(&address(schema)).cloned().unwrap_or_default()
    }

    fn enumerate(&self, keywords: &Map<String, Value>, node: &mut Node) {
        let mut lists: Vec<&[Value]> = Vec::new();
        if let Some(Value::Array(values)) = keywords.get("enum") {
            lists.push(values);
        }
        if let Some(value) = keywords.get("const") {
            lists.push(std::slice::from_ref(value));
        }
        if lists.len() > 1 || lists.iter().flat_map(|list| list.iter()).any(|v| v.is_array() || v.is_object())
        {
            for keyword in ["enum", "const"] {
                node.apart.extend(keywords.get(keyword).map(|value| json!({ keyword: value })));
            }
            return;
        }
        let Some(values) = lists.first() else { return };
        let mut types = Types::NONE;
        let (mut strings, mut numbers) = (Vec::new(), Vec::new());
        for value in *values {
            types = types | type_of(value);
            match value {
                Value::String(text) => strings.push(text.clone()),
                Value::Number(number) => {
                    let text = number.to_string();
                    numbers.extend(Decimal::parse(&text).map(|value| (value, text)));
                }
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
            }
        }
        node.types = node.types & types;
        if !strings.is_empty() {
            node.strings.get_or_insert_default().one_of = Some(strings);
        }
        if !numbers.is_empty() {
            node.numbers.get_or_insert_default().one_of = Some(numbers);
        }
    }

    fn strings(&self, keywords: &Map<String, Value>, node: &mut Node) {
        if let Some(least) = count(keywords, "minLength") {
            node.strings.get_or_insert_default().length_min = Some(least);
        }
        if let Some(most) = count(keywords, "maxLength") {
            node.strings.get_or_insert_default().length_max = Some(most);
        }
        if let Some(Value::String(pattern)) = keywords.get("pattern") {
            let compiled =
                jsonschema_regex::to_rust_regex(pattern).ok().and_then(|rust| regex::Regex::new(&rust).ok());
            match compiled {
                Some(regex) => node.strings.get_or_insert_default().patterns.push((regex, pattern.clone())),
                // Look-around and back-references.
                None => node.apart.push(json!({ "pattern": pattern })),
            }
        }
        if let (FormatMode::Assert, Some(Value::String(name))) = (self.formats, keywords.get("format"))
            && let Some(format) = Format::new(name, self.draft)
        {
            node.strings.get_or_insert_default().formats.push(format);
        }
    }

    fn arrays(
        &mut self,
        keywords: &'r Map<String, Value>,
        resolver: &Resolver<'r>,
        node: &mut Node,
    ) -> Result<(), SchemaError> {
        let items = match keywords.get("items") {
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => Some(self.add(schema, resolver)?),
            _ => None,
        };
        node.items = (count(keywords, "minItems"), count(keywords, "maxItems"), items);
        Ok(())
    }

    fn objects(
        &mut self,
        keywords: &'r Map<String, Value>,
        resolver: &Resolver<'r>,
        node: &mut Node,
    ) -> Result<(), SchemaError> {
        node.members = (count(keywords, "minProperties"), count(keywords, "maxProperties"));
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, schema) in properties {
                let id = self.add(schema, resolver)?;
                node.properties.push((name.clone(), id));
            }
        }
        if let Some(Value::Array(required)) = keywords.get("required") {
            node.required.extend(required.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        if let Some(schema) = keywords.get("additionalProperties") {
            node.additional = Some(self.add(schema, resolver)?);
        }
        Ok(())
    }
}

fn types(keywords: &Map<String, Value>) -> Types {
    match keywords.get("type") {
        Some(Value::String(name)) => Types::named(name).unwrap_or(Types::NONE),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| Types::named(name.as_str()?))
            .fold(Types::NONE, |all, one| all | one),
        _ => Types::ALL,
    }
}

/// The type of one value.
pub(crate) fn type_of(value: &Value) -> Types {
    match value {
        Value::Null => Types::NULL,
        Value::Bool(true) => Types::TRUE,
        Value::Bool(false) => Types::FALSE,
        Value::Number(number) => match Decimal::parse(&number.to_string()) {
            Some(number) if number.integral() => Types::INTEGER,
            Some(_) | None => Types::FRACTION,
        },
        Value::String(_) => Types::STRING,
        Value::Array(_) => Types::ARRAY,
        Value::Object(_) => Types::OBJECT,
    }
}

fn numbers(keywords: &Map<String, Value>, node: &mut Node) {
    let bound = |keyword: &str, exclusive| {
        let Some(Value::Number(number)) = keywords.get(keyword) else { return None };
        let text = number.to_string();
        Some(Bound { value: Decimal::parse(&text)?, text, exclusive })
    };
    let minimum = tighter(bound("minimum", false), bound("exclusiveMinimum", true), true);
    let maximum = tighter(bound("maximum", false), bound("exclusiveMaximum", true), false);
    if minimum.is_some() || maximum.is_some() {
        let rules = node.numbers.get_or_insert_default();
        rules.minimum = minimum;
        rules.maximum = maximum;
    }
}

/// The bound that leaves less; `lower` says that both are lower ends.
pub(crate) fn tighter(a: Option<Bound>, b: Option<Bound>, lower: bool) -> Option<Bound> {
    let (Some(x), Some(y)) = (&a, &b) else { return a.or(b) };
    let order = if lower { x.value.cmp(&y.value) } else { y.value.cmp(&x.value) };
    if order.then(x.exclusive.cmp(&y.exclusive)).is_ge() { a } else { b }
}

/// A count may be written `2.0`.
fn count(keywords: &Map<String, Value>, keyword: &str) -> Option<u64> {
    let Some(Value::Number(number)) = keywords.get(keyword) else { return None };
    u64::try_from(Decimal::parse(&number.to_string())?.to_i128()?).ok()
}

fn subschemas(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Where each value of a document stands.
pub(crate) fn locate(document: &Value) -> Pointers {
    let mut pointers = Pointers::new();
    locate_within(document, String::new(), &mut pointers);
    pointers
}

fn locate_within(value: &Value, pointer: String, pointers: &mut Pointers) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                locate_within(item, format!("{pointer}/{index}"), pointers);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                locate_within(member, format!("{pointer}/{}", escape(name)), pointers);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    pointers.insert(address(value), pointer);
}

/// A name as a segment of a JSON Pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A schema that is the one at `pointer` of the document.
pub(crate) fn refer_to(pointer: &str) -> Value {
    let mut uri = format!("{ROOT_URI}#");
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    json!({ "$ref": uri })
}

/// The keyword's value with each schema in it replaced by a reference to its place.
fn refer_keyword(keyword: &str, value: &Value, location: &str) -> Value {
    let place = format!("{location}/{keyword}");
    match keyword {
        "not" | "if" | "then" | "else" | "contains" | "propertyNames" => refer_to(&place),
        "dependentSchemas" | "dependencies" => refer(value, &place),
        _ => value.clone(),
    }
}

/// References in place of the schemas that are the elements of `listed`.
fn refer(listed: &Value, place: &str) -> Value {
    match listed {
        Value::Array(items) => (0..items.len()).map(|index| refer_to(&format!("{place}/{index}"))).collect(),
        Value::Object(members) => {
            let refer_member = |(name, member): (&String, &Value)| {
                let names = member.is_array();
                let value =
                    if names { member.clone() } else { refer_to(&format!("{place}/{}", escape(name))) };
                (name.clone(), value)
            };
            Value::Object(members.iter().map(refer_member).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => listed.clone(),
    }
}
