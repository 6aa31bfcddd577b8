//! Whether defaults fit their types.

use crate::avro::AvroError;
use crate::avro::model::{Node, NodeId, Shape};
use crate::budget::{Budget, TooComplex};
use crate::json::Json;

pub(super) fn check(nodes: &[Node], budget: &Budget) -> Result<(), AvroError> {
    let check = Check { nodes, budget };
    for node in nodes {
        let Shape::Record(record) = &node.shape else { continue };
        for field in &record.fields {
            let Some(default) = &field.default else { continue };
            if !check.fits(field.node, Some(default))? {
                let kind = nodes[field.node.0].shape.kind();
                let name = &field.name;
                let message = format!("Invalid default for field {name}: {default} not a {kind}");
                return Err(AvroError::invalid(message));
            }
        }
    }
    Ok(())
}

struct Check<'a> {
    nodes: &'a [Node],
    budget: &'a Budget,
}

impl Check<'_> {
    /// Through the types of a default's members, which may be recursive: an infinite one does not end by
    /// itself.
    fn fits(&self, id: NodeId, value: Option<&Json>) -> Result<bool, TooComplex> {
        self.budget.take(1)?;
        self.budget.deeper(|| self.shape_fits(id, value))
    }

    fn shape_fits(&self, id: NodeId, value: Option<&Json>) -> Result<bool, TooComplex> {
        let Some(value) = value else { return Ok(false) };
        Ok(match &self.nodes[id.0].shape {
            Shape::String | Shape::Bytes | Shape::Enum(_) | Shape::Fixed(_) => value.as_str().is_some(),
            Shape::Int => matches!(value, Json::Integer(value) if i32::try_from(*value).is_ok()),
            Shape::Long => matches!(value, Json::Integer(_)),
            Shape::Float | Shape::Double => value.is_number(),
            Shape::Boolean => matches!(value, Json::Bool(_)),
            Shape::Null => matches!(value, Json::Null),
            Shape::Array(items) => match value {
                Json::Array(values) => self.all(values.iter().map(|value| (*items, Some(value))))?,
                _ => false,
            },
            Shape::Map(items) => match value {
                Json::Object(members) => self.all(members.values().map(|value| (*items, Some(value))))?,
                _ => false,
            },
            Shape::Union(branches) => {
                for branch in branches {
                    if self.fits(*branch, Some(value))? {
                        return Ok(true);
                    }
                }
                false
            }
            Shape::Record(record) => match value {
                Json::Object(members) => {
                    let fields = record.fields.iter();
                    let values =
                        fields.map(|field| (field.node, members.get(&field.name).or(field.default.as_ref())));
                    self.all(values)?
                }
                _ => false,
            },
            Shape::Pending(_) => false,
        })
    }

    fn all<'a>(&self, values: impl Iterator<Item = (NodeId, Option<&'a Json>)>) -> Result<bool, TooComplex> {
        for (id, value) in values {
            if !self.fits(id, value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
