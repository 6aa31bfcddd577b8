//! What `confluent:tags` says about records and their fields.

use std::collections::HashSet;

use crate::avro::AvroSchema;
use crate::avro::model::{NodeId, Shape};
use crate::json::{Json, Members};
use crate::language::{Tagged, TaggedKind};

/// The attribute with the tags of what it stands on.
const TAGS: &str = "confluent:tags";

/// Every record and field that has tags, in the order of the text; a record that is named again once.
pub(super) fn tagged(schema: &AvroSchema) -> Vec<Tagged> {
    let mut walk = Walk { schema, seen: HashSet::new(), found: Vec::new() };
    walk.node(schema.root());
    walk.found
}

struct Walk<'a> {
    schema: &'a AvroSchema,
    seen: HashSet<NodeId>,
    found: Vec<Tagged>,
}

impl Walk<'_> {
    /// How deep this goes was bounded when the schema was read.
    fn node(&mut self, id: NodeId) {
        let schema = self.schema;
        let node = schema.node(id);
        match &node.shape {
            Shape::Array(inside) | Shape::Map(inside) => self.node(*inside),
            Shape::Union(branches) => branches.iter().for_each(|branch| self.node(*branch)),
            Shape::Record(record) if self.seen.insert(id) => {
                let name = record.name.full();
                self.take(name.clone(), TaggedKind::Record, &node.props);
                for field in &record.fields {
                    self.take(format!("{name}.{}", field.name), TaggedKind::Field, &field.props);
                    self.node(field.node);
                }
            }
            Shape::Record(_)
            | Shape::Null
            | Shape::Boolean
            | Shape::Int
            | Shape::Long
            | Shape::Float
            | Shape::Double
            | Shape::Bytes
            | Shape::String
            | Shape::Enum(_)
            | Shape::Fixed(_)
            | Shape::Pending(_) => {}
        }
    }

    fn take(&mut self, path: String, kind: TaggedKind, props: &Members) {
        let Some(Json::Array(items)) = props.get(TAGS) else { return };
        let text = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
        let mut tags: Vec<String> = Vec::with_capacity(items.len());
        for tag in items.iter().map(text) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        if !tags.is_empty() {
            self.found.push(Tagged { path, kind, tags });
        }
    }
}
