//! Whether two schemas say the same: Java's `equals`, with documentation, aliases and enumeration
//! defaults, as the registry compares.

use std::collections::HashSet;
use std::rc::Rc;

use crate::avro::AvroSchema;
use crate::avro::model::{NodeId, Shape};
use crate::budget::{Budget, TooComplex};
use crate::json::{Json, Members};

pub(super) fn equivalent(a: &AvroSchema, b: &AvroSchema) -> Result<bool, TooComplex> {
    let mut compare = Compare { a, b, seen: HashSet::new(), budget: Rc::default() };
    compare.node(a.root, b.root)
}

struct Compare<'a> {
    a: &'a AvroSchema,
    b: &'a AvroSchema,
    seen: HashSet<(NodeId, NodeId)>,
    budget: Rc<Budget>,
}

impl Compare<'_> {
    fn node(&mut self, a: NodeId, b: NodeId) -> Result<bool, TooComplex> {
        let budget = Rc::clone(&self.budget);
        budget.take(1)?;
        budget.deeper(|| self.same(a, b))
    }

    fn same(&mut self, a: NodeId, b: NodeId) -> Result<bool, TooComplex> {
        let (left, right) = (self.a.node(a), self.b.node(b));
        if !props_equal(&left.props, &right.props) {
            return Ok(false);
        }
        match (&left.shape, &right.shape) {
            (Shape::Array(a), Shape::Array(b)) | (Shape::Map(a), Shape::Map(b)) => self.node(*a, *b),
            (Shape::Union(a), Shape::Union(b)) => {
                self.all(a.len() == b.len(), a.iter().copied().zip(b.iter().copied()))
            }
            (Shape::Record(left), Shape::Record(right)) => {
                if !self.seen.insert((a, b)) {
                    return Ok(true);
                }
                let same = left.name == right.name
                    && left.doc == right.doc
                    && same_set(&left.aliases, &right.aliases)
                    && left.fields.len() == right.fields.len()
                    && left.fields.iter().zip(&right.fields).all(|(a, b)| {
                        a.name == b.name
                            && a.doc == b.doc
                            && a.default.as_ref().map(Json::to_string)
                                == b.default.as_ref().map(Json::to_string)
                            && a.order == b.order
                            && same_set(&a.aliases, &b.aliases)
                            && props_equal(&a.props, &b.props)
                    });
                self.all(same, left.fields.iter().zip(&right.fields).map(|(a, b)| (a.node, b.node)))
            }
            (Shape::Enum(a), Shape::Enum(b)) => Ok(a.name == b.name
                && a.symbols == b.symbols
                && a.default == b.default
                && a.doc == b.doc
                && same_set(&a.aliases, &b.aliases)),
            (Shape::Fixed(a), Shape::Fixed(b)) => {
                Ok(a.name == b.name && a.size == b.size && a.doc == b.doc && same_set(&a.aliases, &b.aliases))
            }
            (a, b) => Ok(a == b),
        }
    }

    fn all(
        &mut self,
        so_far: bool,
        pairs: impl Iterator<Item = (NodeId, NodeId)>,
    ) -> Result<bool, TooComplex> {
        if !so_far {
            return Ok(false);
        }
        for (a, b) in pairs {
            if !self.node(a, b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The order of attributes does not count.
fn props_equal(a: &Members, b: &Members) -> bool {
    a == b
}

fn same_set<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().all(|item| b.contains(item))
}
