//! Normal forms: the Confluent registry's `normalize`, and Avro's Parsing Canonical Form.

use std::collections::HashSet;
use std::fmt::Write;

use crate::avro::AvroSchema;
use crate::avro::LogicalType;
use crate::avro::model::{Name, Node, NodeId, Shape};
use crate::json::{Json, Members, utf16};

/// The text of the schema with sorted attributes and aliases, and defaults as their types print them.
pub(super) fn normalize(schema: &AvroSchema) -> String {
    let mut normal = schema.clone();
    let original = &schema.nodes;
    for node in &mut normal.nodes {
        node.props = sorted_props(node);
        match &mut node.shape {
            Shape::Record(record) => {
                record.error = false;
                record.doc.take_if(|doc| doc.is_empty());
                sort_names(&mut record.aliases);
                for field in &mut record.fields {
                    field.props = sorted(&field.props);
                    field.aliases.sort_by(|a, b| utf16(a).cmp(utf16(b)));
                    field.default =
                        field.default.take().map(|default| retyped(original, field.node, &default).sorted());
                }
            }
            Shape::Enum(enumeration) => {
                enumeration.doc.take_if(|doc| doc.is_empty());
                sort_names(&mut enumeration.aliases);
            }
            Shape::Fixed(fixed) => {
                fixed.doc.take_if(|doc| doc.is_empty());
                sort_names(&mut fixed.aliases);
            }
            _ => {}
        }
    }
    normal.canonical()
}

fn sort_names(names: &mut [Name]) {
    names.sort_by_cached_key(|name| name.full().encode_utf16().collect::<Vec<_>>());
}

fn sorted(props: &Members) -> Members {
    let mut sorted: Members = props.iter().map(|(name, value)| (name.clone(), value.sorted())).collect();
    sorted.sort_by(|a, _, b, _| utf16(a).cmp(utf16(b)));
    sorted
}

/// A valid logical type stands before the other attributes.
fn sorted_props(node: &Node) -> Members {
    let rest = sorted(&node.props);
    let Some(logical) = node.logical.filter(|_| !matches!(node.shape, Shape::Array(_) | Shape::Map(_)))
    else {
        return rest;
    };
    let mut props = Members::new();
    props.insert("logicalType".to_owned(), Json::String(logical.name().to_owned()));
    if let LogicalType::Decimal { precision, scale } = logical {
        props.insert("precision".to_owned(), Json::Integer(precision.into()));
        if scale != 0 {
            props.insert("scale".to_owned(), Json::Integer(scale.into()));
        }
    }
    for (name, value) in rest {
        props.entry(name).or_insert(value);
    }
    props
}

/// A default as a value of its type prints: 1 of a `double` is `1.0`.
fn retyped(nodes: &[Node], id: NodeId, default: &Json) -> Json {
    match (&nodes[id.0].shape, default) {
        (Shape::Double, Json::Integer(_) | Json::BigInteger(_)) => {
            default.as_f64().map_or_else(|| default.clone(), Json::Double)
        }
        (Shape::Union(branches), _) => match branches.first() {
            Some(first) => retyped(nodes, *first, default),
            None => default.clone(),
        },
        (Shape::Array(items), Json::Array(values)) => {
            Json::Array(values.iter().map(|value| retyped(nodes, *items, value)).collect())
        }
        (Shape::Map(items), Json::Object(members)) => {
            let members = members.iter();
            Json::Object(members.map(|(name, value)| (name.clone(), retyped(nodes, *items, value))).collect())
        }
        _ => default.clone(),
    }
}

/// The Parsing Canonical Form.
pub(super) fn parsing_form(schema: &AvroSchema) -> String {
    let mut form = Form { schema, known: HashSet::new(), out: String::new() };
    form.node(schema.root);
    form.out
}

struct Form<'a> {
    schema: &'a AvroSchema,
    known: HashSet<String>,
    out: String,
}

impl Form<'_> {
    fn node(&mut self, id: NodeId) {
        let schema = self.schema;
        match &schema.node(id).shape {
            Shape::Array(items) => {
                self.out.push_str("{\"type\":\"array\",\"items\":");
                self.node(*items);
                self.out.push('}');
            }
            Shape::Map(values) => {
                self.out.push_str("{\"type\":\"map\",\"values\":");
                self.node(*values);
                self.out.push('}');
            }
            Shape::Union(branches) => {
                self.out.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    self.comma(index);
                    self.node(*branch);
                }
                self.out.push(']');
            }
            shape => match shape.name() {
                None => self.push(format_args!("\"{}\"", shape.kind())),
                Some(name) => self.named(shape, &name.full()),
            },
        }
    }

    fn named(&mut self, shape: &Shape, name: &str) {
        if !self.known.insert(name.to_owned()) {
            self.push(format_args!("\"{name}\""));
            return;
        }
        self.push(format_args!("{{\"name\":\"{name}\",\"type\":\"{}\"", shape.kind()));
        match shape {
            Shape::Enum(enumeration) => {
                self.out.push_str(",\"symbols\":[");
                for (index, symbol) in enumeration.symbols.iter().enumerate() {
                    self.comma(index);
                    self.push(format_args!("\"{symbol}\""));
                }
                self.out.push(']');
            }
            Shape::Fixed(fixed) => self.push(format_args!(",\"size\":{}", fixed.size)),
            Shape::Record(record) => {
                self.out.push_str(",\"fields\":[");
                for (index, field) in record.fields.iter().enumerate() {
                    self.comma(index);
                    self.push(format_args!("{{\"name\":\"{}\",\"type\":", field.name));
                    self.node(field.node);
                    self.out.push('}');
                }
                self.out.push(']');
            }
            _ => {}
        }
        self.out.push('}');
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes everything");
    }
}

/// CRC-64-AVRO, of the Avro specification's section on fingerprints.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xC15D_213A_A4D7_A795;
    bytes.iter().fold(EMPTY, |crc, byte| {
        let mut table = (crc ^ u64::from(*byte)) & 0xFF;
        for _ in 0..8 {
            table = (table >> 1) ^ (EMPTY & (table & 1).wrapping_neg());
        }
        (crc >> 8) ^ table
    })
}
