//! A compiled plan's positions: what is checked there and where the value goes.

use hashbrown::HashMap;
use tidegate_schema::{Choice, Rules};

use crate::reader::WrittenName;
use crate::scalar::Scalar;
use crate::usual::Usual;

/// Names a [`Node`] of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// One position of the value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The schema's rules; `None` for no rules.
    pub(crate) rules: Option<Box<Rules>>,
    /// A node without a column, of which the value is checked before it is read for this one. For
    /// columns whose parts are not the schema's parts.
    pub(crate) check_first: Option<NodeId>,
    /// The nodes that objects are read by in place of this one.
    pub(crate) choice: Option<Box<ChoicePlan>>,
    pub(crate) shape: Shape,
    /// How the members of an object are read; `None` to pass over them.
    pub(crate) object: Option<Box<ObjectPlan>>,
    /// How the items of an array are read; `None` to pass over them.
    pub(crate) item: Option<NodeId>,
    /// The table's column, for reasons; on the node that stands for the whole column.
    pub(crate) column: Option<Box<str>>,
    /// What happens if the value is not there.
    pub(crate) absent: Absent,
    /// The node that reads an absent value's literal: the schema's rules are not for defaults. `None` for
    /// this node.
    pub(crate) filled_by: Option<NodeId>,
    /// Whether a value is read once and its own type decides nothing: most nodes, found by
    /// [`Node::reads_once`].
    pub(crate) once: bool,
    /// What most of the node's values are.
    pub(crate) usual: Usual,
}

impl Node {
    /// Whether the value need not be looked at before it is read or after.
    pub(crate) fn reads_once(&self) -> bool {
        let own_type = match &self.shape {
            Shape::Column(_, writer) => writer.by_own_type(),
            Shape::Skip | Shape::Flatten | Shape::Nested(_) => false,
        };
        let foreign = self.rules.as_ref().is_some_and(|rules| !rules.foreign.is_empty());
        self.check_first.is_none() && self.choice.is_none() && !own_type && !foreign
    }
}

impl Writer {
    fn by_own_type(&self) -> bool {
        match self {
            Self::Variant(_) | Self::Dynamic => true,
            Self::Element(values) => values.by_own_type(),
            Self::Scalar(_)
            | Self::LowCardinality(_)
            | Self::Nullable { .. }
            | Self::Array
            | Self::Map { .. }
            | Self::Tuple { .. }
            | Self::Json
            | Self::JsonText => false,
        }
    }
}

/// Nodes for objects, by the string of one of their members.
#[derive(Debug, Clone)]
pub(crate) struct ChoicePlan {
    /// The member, in the schema's words.
    pub(crate) choice: Choice,
    /// The node of each string.
    pub(crate) nodes: HashMap<Box<str>, NodeId, foldhash::fast::FixedState>,
}

/// Where a value goes.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Nowhere.
    Skip,
    /// Into the column at this place of those at hand.
    Column(usize, Writer),
    /// An object whose members go into columns at hand.
    Flatten,
    /// An array of objects whose members go into these columns of arrays.
    Nested(Vec<usize>),
}

/// How a column takes a value.
#[derive(Debug, Clone)]
pub(crate) enum Writer {
    /// A value without parts.
    Scalar(Scalar),
    /// Through a dictionary.
    LowCardinality(Scalar),
    /// Into a Nullable column. `accepts` says whether `null` is a value, or the column is Nullable
    /// only so that the server puts its default where nothing was given.
    Nullable { accepts: bool, values: Box<Writer> },
    /// An element of a column of arrays, whose row something else finishes.
    Element(Box<Writer>),
    /// The node's `item` is written into the elements.
    Array,
    /// Keys by the scalar, through a dictionary if so said; values by the node's `item`.
    Map { key: Scalar, dictionary: bool },
    /// Objects by the node's `object`; arrays by these nodes in turn.
    Tuple { positions: Vec<NodeId> },
    /// An object's text.
    Json,
    /// Any value's text.
    JsonText,
    /// The first alternative that takes the value: its number, and its node.
    Variant(Vec<(u8, NodeId)>),
    /// By the value's own type.
    Dynamic,
}

/// What happens if a value is not there.
#[derive(Debug, Clone)]
pub(crate) enum Absent {
    /// Nothing: there is no column, or the parts know.
    Ignore,
    /// `NULL`, which is also how the server is asked for its default.
    Null,
    /// The same as if this JSON text were there.
    Literal(String),
    /// The record is refused.
    Refuse,
}

/// How an object's members are read.
#[derive(Debug, Clone)]
pub(crate) struct ObjectPlan {
    /// Where predictions for this object begin, in a block's memory.
    pub(crate) base: usize,
    /// The path, for samples of dropped fields: a JSON Pointer with `*` for items.
    pub(crate) pointer: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) index: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
    /// The rules of members that are not among `fields`.
    pub(crate) additional: Option<NodeId>,
    /// What is done with members that have no column.
    pub(crate) unknown: Unknown,
}

/// A member that the table or the schema names.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    pub(crate) written: WrittenName,
    pub(crate) node: NodeId,
    /// The schema requires it.
    pub(crate) required: bool,
    /// It has a column, or columns beneath it.
    pub(crate) wanted: bool,
}

impl Field {
    pub(crate) fn new(name: &str, node: NodeId, required: bool, wanted: bool) -> Self {
        Self { name: name.into(), written: WrittenName::new(name), node, required, wanted }
    }
}

/// What is done with members that have no column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are part of a value that goes somewhere as a whole.
    Keep,
    Reject,
    Drop,
    Collect,
}
