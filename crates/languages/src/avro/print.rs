//! `Schema.toString` of Avro's Java library, byte for byte.

use std::collections::HashSet;
use std::fmt::Write;

use crate::avro::model::{Field, Name, Node, NodeId, Order, Shape};
use crate::avro::{AvroError, AvroSchema};
use crate::json::{DEPTH_MAX, write_text};

/// Prints a schema; the types of these names are written as names only.
pub(super) fn print(schema: &AvroSchema, known: &HashSet<String>) -> String {
    let mut printer = Printer { schema, known: known.clone(), out: String::new() };
    printer.node(schema.root, None);
    printer.out
}

/// Refuses a schema whose text would nest too deep: names that are used before they are defined make
/// deep texts out of flat ones.
///
/// # Errors
/// If the text could not be read again.
pub(super) fn check_depth(schema: &AvroSchema) -> Result<(), AvroError> {
    let mut known = HashSet::new();
    let mut ahead = vec![(schema.root, 0)];
    while let Some((id, depth)) = ahead.pop() {
        if depth > DEPTH_MAX {
            return Err(AvroError::invalid(format!("schema nests deeper than {DEPTH_MAX} levels")));
        }
        let node = schema.node(id);
        if node.shape.name().is_some() && !known.insert(id) {
            continue;
        }
        match &node.shape {
            Shape::Array(child) | Shape::Map(child) => ahead.push((*child, depth + 1)),
            // The first is looked at first, as it is printed first.
            Shape::Union(branches) => {
                ahead.extend(branches.iter().rev().map(|branch| (*branch, depth + 1)));
            }
            Shape::Record(record) => {
                ahead.extend(record.fields.iter().rev().map(|field| (field.node, depth + 3)));
            }
            _ => {}
        }
    }
    Ok(())
}

struct Printer<'a> {
    schema: &'a AvroSchema,
    known: HashSet<String>,
    out: String,
}

impl Printer<'_> {
    fn node(&mut self, id: NodeId, space: Option<&str>) {
        let schema = self.schema;
        let node = schema.node(id);
        match &node.shape {
            Shape::Array(items) => {
                self.out.push_str("{\"type\":\"array\",\"items\":");
                self.node(*items, space);
                self.props(node);
                self.out.push('}');
            }
            Shape::Map(values) => {
                self.out.push_str("{\"type\":\"map\",\"values\":");
                self.node(*values, space);
                self.props(node);
                self.out.push('}');
            }
            Shape::Union(branches) => {
                self.out.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.node(*branch, space);
                }
                self.out.push(']');
            }
            shape => match shape.name() {
                Some(name) => self.named(node, name, space),
                None if node.props.is_empty() => self.text(shape.kind()),
                None => {
                    self.out.push_str("{\"type\":");
                    self.text(shape.kind());
                    self.props(node);
                    self.out.push('}');
                }
            },
        }
    }

    fn named(&mut self, node: &Node, name: &Name, space: Option<&str>) {
        if !self.known.insert(name.full()) {
            self.text(&name.qualified(space));
            return;
        }
        let kind = match &node.shape {
            Shape::Record(record) if record.error => "error",
            shape => shape.kind(),
        };
        self.out.push_str("{\"type\":");
        self.text(kind);
        self.member("name", &name.name);
        match name.space() {
            Some(own) if Some(own) != space => self.member("namespace", own),
            None if space.is_some() => self.member("namespace", ""),
            _ => {}
        }
        if let Some(doc) = node.shape.doc() {
            self.member("doc", doc);
        }
        match &node.shape {
            Shape::Record(record) => {
                self.out.push_str(",\"fields\":[");
                for (index, field) in record.fields.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.field(field, name.space());
                }
                self.out.push(']');
            }
            Shape::Enum(enumeration) => {
                self.out.push_str(",\"symbols\":");
                self.texts(enumeration.symbols.iter().map(String::as_str));
                if let Some(default) = &enumeration.default {
                    self.member("default", default);
                }
            }
            Shape::Fixed(fixed) => self.raw_member("size", &fixed.size.to_string()),
            _ => {}
        }
        self.props(node);
        let aliases: Vec<String> =
            node.shape.aliases().iter().map(|alias| alias.qualified(name.space())).collect();
        self.aliases(&aliases);
        self.out.push('}');
    }

    fn field(&mut self, field: &Field, space: Option<&str>) {
        self.out.push_str("{\"name\":");
        self.text(&field.name);
        self.out.push_str(",\"type\":");
        self.node(field.node, space);
        if let Some(doc) = &field.doc {
            self.member("doc", doc);
        }
        if let Some(default) = &field.default {
            self.raw_member("default", &default.to_string());
        }
        if field.order != Order::Ascending {
            self.member("order", field.order.word());
        }
        self.aliases(&field.aliases);
        for (name, value) in &field.props {
            self.raw_member(name, &value.to_string());
        }
        self.out.push('}');
    }

    fn props(&mut self, node: &Node) {
        for (name, value) in &node.props {
            self.raw_member(name, &value.to_string());
        }
    }

    fn aliases(&mut self, aliases: &[String]) {
        if !aliases.is_empty() {
            self.out.push_str(",\"aliases\":");
            self.texts(aliases.iter().map(String::as_str));
        }
    }

    fn texts<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        self.out.push('[');
        for (index, text) in texts.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.text(text);
        }
        self.out.push(']');
    }

    fn member(&mut self, name: &str, text: &str) {
        self.out.push(',');
        self.text(name);
        self.out.push(':');
        self.text(text);
    }

    fn raw_member(&mut self, name: &str, json: &str) {
        self.out.push(',');
        self.text(name);
        write!(self.out, ":{json}").expect("a string takes everything");
    }

    fn text(&mut self, text: &str) {
        write_text(&mut self.out, text).expect("a string takes everything");
    }
}
