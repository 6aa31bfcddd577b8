//! From JSON to nodes, with the checks of Java's parser.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::avro::model::{Enumeration, Field, Fixed, Name, Node, NodeId, Order, Record, Shape, primitive};
use crate::avro::{AvroError, Defaults, LogicalType, defaults};
use crate::budget::Budget;
use crate::json::{Json, Members};

/// Attributes that Avro gives a meaning, on types.
const RESERVED: [&str; 10] =
    ["doc", "fields", "items", "name", "namespace", "size", "symbols", "values", "type", "aliases"];

/// Attributes that Avro gives a meaning, on fields.
const FIELD_RESERVED: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];

/// Reads schemas that may refer to each other's names.
pub(super) struct Parser<'a> {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
    defaults: Defaults,
    budget: &'a Budget,
}

impl<'a> Parser<'a> {
    pub(super) fn new(defaults: Defaults, budget: &'a Budget) -> Self {
        Self { nodes: Vec::new(), names: HashMap::new(), defaults, budget }
    }

    /// Reads one schema and says its node.
    pub(super) fn add(&mut self, json: &Json) -> Result<NodeId, AvroError> {
        self.schema(json, None)
    }

    pub(super) fn name_of(&self, id: NodeId) -> Option<String> {
        self.nodes[id.0].shape.name().map(Name::full)
    }

    /// Puts definitions in the place of names that were used before them.
    pub(super) fn resolve(mut self) -> Result<Vec<Node>, AvroError> {
        let mut targets = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if let Shape::Pending(name) = &node.shape {
                let target = self.names.get(name);
                let target = target.ok_or_else(|| AvroError::invalid(format!("Undefined schema: {name}")))?;
                targets.insert(NodeId(index), *target);
            }
        }
        if !targets.is_empty() {
            for node in &mut self.nodes {
                for child in children(&mut node.shape) {
                    *child = targets.get(child).copied().unwrap_or(*child);
                }
            }
        }
        for index in 0..self.nodes.len() {
            self.check_union(&self.nodes[index].shape)?;
        }
        if self.defaults == Defaults::Checked {
            defaults::check(&self.nodes, self.budget)?;
        }
        Ok(self.nodes)
    }

    fn schema(&mut self, json: &Json, space: Option<&str>) -> Result<NodeId, AvroError> {
        match json {
            Json::String(name) => Ok(self.named(name, space)),
            Json::Array(branches) => {
                let branches: Result<Vec<_>, _> =
                    branches.iter().map(|branch| self.schema(branch, space)).collect();
                Ok(self.push(Shape::Union(branches?), Members::new()))
            }
            Json::Object(members) => self.object(json, members, space),
            Json::Null
            | Json::Bool(_)
            | Json::Integer(_)
            | Json::BigInteger(_)
            | Json::Double(_)
            | Json::Decimal(_) => Err(AvroError::invalid(format!("Schema not yet supported: {json}"))),
        }
    }

    fn object(&mut self, json: &Json, members: &Members, space: Option<&str>) -> Result<NodeId, AvroError> {
        let kind = text(json, "type").ok_or_else(|| missing("No type", json))?;
        if let Some(shape) = primitive(kind) {
            return Ok(self.push(shape, props(members, &RESERVED)));
        }
        match kind {
            "record" | "error" => self.record(json, members, space),
            "enum" => self.enumeration(json, members, space),
            "fixed" => self.fixed(json, members, space),
            "array" => {
                let items = json.get("items").ok_or_else(|| missing("Array has no items type", json))?;
                let items = self.schema(items, space)?;
                Ok(self.push(Shape::Array(items), props(members, &RESERVED)))
            }
            "map" => {
                let values = json.get("values").ok_or_else(|| missing("Map has no values type", json))?;
                let values = self.schema(values, space)?;
                Ok(self.push(Shape::Map(values), props(members, &RESERVED)))
            }
            name => Ok(self.named(name, space)),
        }
    }

    /// A primitive, a name that was defined, or one that will be.
    fn named(&mut self, name: &str, space: Option<&str>) -> NodeId {
        if let Some(shape) = primitive(name) {
            return self.push(shape, Members::new());
        }
        let full = match space {
            Some(space) if !name.contains('.') => format!("{space}.{name}"),
            _ => name.to_owned(),
        };
        let known = self.names.get(&full).or_else(|| self.names.get(name));
        known.copied().unwrap_or_else(|| self.push(Shape::Pending(full), Members::new()))
    }

    fn push(&mut self, shape: Shape, props: Members) -> NodeId {
        let logical = LogicalType::of(&shape, &props);
        self.nodes.push(Node { shape, props, logical });
        NodeId(self.nodes.len() - 1)
    }

    fn record(&mut self, json: &Json, members: &Members, space: Option<&str>) -> Result<NodeId, AvroError> {
        let name = type_name(json, space)?;
        if self.names.contains_key(&name.full()) {
            return Err(AvroError::invalid(format!("Can't redefine: {}", name.full())));
        }
        let inside = name.space.clone();
        let record = Record {
            name: name.clone(),
            aliases: type_aliases(json, &name)?,
            doc: text(json, "doc").map(str::to_owned),
            error: text(json, "type") == Some("error"),
            fields: Vec::new(),
        };
        let id = self.push(Shape::Record(record), props(members, &RESERVED));
        self.names.insert(name.full(), id);
        let fields = json.get("fields").and_then(Json::as_array);
        let fields = fields.ok_or_else(|| missing("Record has no fields", json))?;
        let mut read: Vec<Field> = Vec::with_capacity(fields.len());
        let mut seen = HashSet::new();
        for field in fields {
            let field = self.field(field, inside.as_deref())?;
            if !seen.insert(field.name.clone()) {
                let message = format!("Duplicate field {} in record {}", field.name, name.full());
                return Err(AvroError::invalid(message));
            }
            read.push(field);
        }
        let Shape::Record(record) = &mut self.nodes[id.0].shape else { unreachable!("pushed as a record") };
        record.fields = read;
        Ok(id)
    }

    fn field(&mut self, json: &Json, space: Option<&str>) -> Result<Field, AvroError> {
        let name = text(json, "name").ok_or_else(|| missing("No field name", json))?;
        let node = json.get("type").ok_or_else(|| missing("No field type", json))?;
        let node = self.schema(node, space)?;
        let order = match json.get("order") {
            None => Order::Ascending,
            Some(order) => match order.as_str().map(str::to_ascii_lowercase).as_deref() {
                Some("ascending") => Order::Ascending,
                Some("descending") => Order::Descending,
                Some("ignore") => Order::Ignore,
                _ => {
                    let message =
                        format!("field {name} has order {order}; expected ascending, descending or ignore");
                    return Err(AvroError::invalid(message));
                }
            },
        };
        check_name(name)?;
        Ok(Field {
            name: name.to_owned(),
            aliases: aliases(json)?,
            node,
            doc: text(json, "doc").map(str::to_owned),
            default: self.default(json, node)?,
            order,
            props: json.as_object().map(|members| props(members, &FIELD_RESERVED)).unwrap_or_default(),
        })
    }

    /// The default; of a floating-point field it may be written as a text (`"NaN"`).
    fn default(&self, json: &Json, node: NodeId) -> Result<Option<Json>, AvroError> {
        let Some(default) = json.get("default") else { return Ok(None) };
        let floating = matches!(self.nodes[node.0].shape, Shape::Float | Shape::Double);
        let Some(text) = default.as_str().filter(|_| floating) else { return Ok(Some(default.clone())) };
        let value = java_parse_double(text);
        let value = value.ok_or_else(|| AvroError::invalid(format!("For input string: \"{text}\"")))?;
        Ok(Some(Json::Double(value)))
    }

    fn enumeration(
        &mut self,
        json: &Json,
        members: &Members,
        space: Option<&str>,
    ) -> Result<NodeId, AvroError> {
        let name = type_name(json, space)?;
        let symbols = json.get("symbols").and_then(Json::as_array);
        let symbols = symbols.ok_or_else(|| missing("Enum has no symbols", json))?;
        let mut seen = BTreeSet::new();
        for symbol in symbols {
            let symbol = symbol.as_str().ok_or_else(|| AvroError::invalid("Null name"))?;
            check_name(symbol)?;
            if !seen.insert(symbol) {
                return Err(AvroError::invalid(format!("Duplicate enum symbol: {symbol}")));
            }
        }
        let symbols: Vec<String> = symbols.iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let default = text(json, "default").map(str::to_owned);
        if let Some(default) = default.as_ref().filter(|default| !symbols.contains(default)) {
            let symbols = symbols.join(", ");
            let message = format!("The Enum Default: {default} is not in the enum symbol set: [{symbols}]");
            return Err(AvroError::invalid(message));
        }
        let doc = text(json, "doc").map(str::to_owned);
        let aliases = type_aliases(json, &name)?;
        let shape = Shape::Enum(Enumeration { name, aliases, doc, symbols, default });
        let mut props = props(members, &RESERVED);
        props.shift_remove("default");
        self.define(shape, props)
    }

    fn fixed(&mut self, json: &Json, members: &Members, space: Option<&str>) -> Result<NodeId, AvroError> {
        let name = type_name(json, space)?;
        let Some(Json::Integer(size)) = json.get("size") else {
            return Err(missing("Invalid or no size", json));
        };
        let size = i32::try_from(*size).map_err(|_| missing("Invalid or no size", json))?;
        let size = u32::try_from(size)
            .map_err(|_| AvroError::invalid(format!("Malformed data. Length is negative: {size}")))?;
        let doc = text(json, "doc").map(str::to_owned);
        let aliases = type_aliases(json, &name)?;
        self.define(Shape::Fixed(Fixed { name, aliases, doc, size }), props(members, &RESERVED))
    }

    /// Adds an enumeration or fixed type. Defining one again is allowed if it is the same.
    fn define(&mut self, shape: Shape, props: Members) -> Result<NodeId, AvroError> {
        let full = shape.name().map(Name::full).unwrap_or_default();
        let Some(known) = self.names.get(&full).copied() else {
            let id = self.push(shape, props);
            self.names.insert(full, id);
            return Ok(id);
        };
        let old = &self.nodes[known.0];
        let same = match (&old.shape, &shape) {
            (Shape::Enum(old), Shape::Enum(new)) => old.symbols == new.symbols,
            (Shape::Fixed(old), Shape::Fixed(new)) => old.size == new.size,
            _ => false,
        };
        // Java compares before it has read the attributes of the second one.
        if same && old.props.is_empty() {
            Ok(known)
        } else {
            Err(AvroError::invalid(format!("Can't redefine: {full}")))
        }
    }

    fn check_union(&self, shape: &Shape) -> Result<(), AvroError> {
        let Shape::Union(branches) = shape else { return Ok(()) };
        let mut seen = HashSet::with_capacity(branches.len());
        for branch in branches {
            let branch = &self.nodes[branch.0].shape;
            if matches!(branch, Shape::Union(_)) {
                return Err(AvroError::invalid("Nested union: a union stands directly inside of another"));
            }
            let name = branch.name().map_or_else(|| branch.kind().to_owned(), Name::full);
            if let Some(name) = seen.replace(name) {
                return Err(AvroError::invalid(format!("Duplicate in union:{name}")));
            }
        }
        Ok(())
    }
}

fn children(shape: &mut Shape) -> Vec<&mut NodeId> {
    match shape {
        Shape::Array(child) | Shape::Map(child) => vec![child],
        Shape::Union(branches) => branches.iter_mut().collect(),
        Shape::Record(record) => record.fields.iter_mut().map(|field| &mut field.node).collect(),
        Shape::Null
        | Shape::Boolean
        | Shape::Int
        | Shape::Long
        | Shape::Float
        | Shape::Double
        | Shape::Bytes
        | Shape::String
        | Shape::Enum(_)
        | Shape::Fixed(_)
        | Shape::Pending(_) => Vec::new(),
    }
}

fn text<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    json.get(name).and_then(Json::as_str)
}

/// Java's message: the whole text of what lacks something. It is cut, since it may be long.
fn missing(what: &str, json: &Json) -> AvroError {
    let mut found = json.to_string();
    if found.len() > 200 {
        let end = (0..=200).rev().find(|at| found.is_char_boundary(*at)).unwrap_or(0);
        found.truncate(end);
        found.push_str("...");
    }
    AvroError::invalid(format!("{what}: {found}"))
}

fn props(members: &Members, reserved: &[&str]) -> Members {
    let props = members.iter().filter(|(name, _)| !reserved.contains(&name.as_str()));
    props.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn type_name(json: &Json, space: Option<&str>) -> Result<Name, AvroError> {
    let space = text(json, "namespace").or(space);
    let name = text(json, "name").ok_or_else(|| missing("No name in schema", json))?;
    let name = Name::of(name, space);
    check_name(&name.name)?;
    for part in name.space.iter().flat_map(|space| space.split('.')) {
        check_name(part)
            .map_err(|error| AvroError::invalid(format!("Namespace part \"{part}\" is invalid: {error}")))?;
    }
    if name.space.is_none() && primitive(&name.name).is_some() {
        return Err(AvroError::invalid(format!("Schemas may not be named after primitives: {}", name.name)));
    }
    Ok(name)
}

fn check_name(name: &str) -> Result<(), AvroError> {
    let mut chars = name.chars();
    let Some(first) = chars.next() else { return Err(AvroError::invalid("Empty name")) };
    if !(first.is_alphabetic() || first == '_') {
        return Err(AvroError::invalid(format!("Illegal initial character: {name}")));
    }
    if !chars.all(|char| char.is_alphanumeric() || char == '_') {
        return Err(AvroError::invalid(format!("Illegal character in: {name}")));
    }
    Ok(())
}

fn aliases(json: &Json) -> Result<Vec<String>, AvroError> {
    let Some(aliases) = json.get("aliases") else { return Ok(Vec::new()) };
    let aliases = aliases.as_array().ok_or_else(|| missing("aliases not an array", json))?;
    let mut seen = HashSet::new();
    let mut unique = Vec::new();
    for alias in aliases {
        let alias =
            alias.as_str().ok_or_else(|| AvroError::invalid(format!("alias not a string: {alias}")))?;
        if seen.insert(alias) {
            unique.push(alias.to_owned());
        }
    }
    Ok(unique)
}

fn type_aliases(json: &Json, name: &Name) -> Result<Vec<Name>, AvroError> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for alias in aliases(json)? {
        let alias = Name::of(&alias, name.space());
        check_name(&alias.name)?;
        if seen.insert(alias.full()) {
            names.push(alias);
        }
    }
    Ok(names)
}

/// `Double.parseDouble`, for what is found in schemas.
fn java_parse_double(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    match trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed) {
        "NaN" => return Some(f64::NAN),
        "Infinity" => {
            return Some(if trimmed.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => {}
    }
    let digits = trimmed.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(trimmed);
    let numeric = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    digits.parse().ok().filter(|_| numeric)
}
