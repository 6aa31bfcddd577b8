//! A compiled plan: for each field of each message that has a place, what is read and where it goes.

use std::sync::Arc;

use tidegate_native::Type;

use super::leaf::Leaf;
use super::model::{Kind, MessageId, ProtobufMessages};
use crate::avro::{Fill, MapKey, Misfit};
use crate::options::Limits;

/// Names an [`Op`] of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpId(pub(crate) usize);

/// Names a [`MessagePlan`] of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanId(pub(crate) usize);

/// How messages of one type become rows of one table.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) types: Arc<ProtobufMessages>,
    pub(crate) plans: Vec<MessagePlan>,
    pub(crate) ops: Vec<Op>,
    pub(crate) root: PlanId,
    /// The column that collects unknown fields.
    pub(crate) collect: Option<usize>,
    pub(crate) limits: Limits,
}

/// How a message is read for the columns at hand.
#[derive(Debug)]
pub(crate) struct MessagePlan {
    pub(crate) message: MessageId,
    /// A place for each field of the message, in its order.
    pub(crate) members: Box<[Member]>,
    /// For low numbers: which member it is, plus one.
    pub(crate) low: Box<[u16]>,
    /// How many of its fields are written at most once.
    pub(crate) n_singular: usize,
    /// How many oneofs it has.
    pub(crate) n_oneofs: usize,
    /// What is done after the last field: rows of arrays and maps end.
    pub(crate) ends: Box<[End]>,
    /// Fields whose text is written when all of them has been seen: the member and the column.
    pub(crate) late: Box<[(usize, usize)]>,
    /// Columns that no field is for.
    pub(crate) fills: Box<[Filled]>,
    /// What is done about fields that the schema does not have.
    pub(crate) strangers: Strangers,
    /// Whether some of its fields are collected.
    pub(crate) collects: bool,
}

/// Where a row of an array or map ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In the column at this place.
    Column(usize),
    /// In the elements of the column of arrays at this place.
    Element(usize),
}

/// What is done about fields that the schema does not have.
#[derive(Debug, Clone)]
pub(crate) enum Strangers {
    Reject,
    /// They are counted, under this path.
    Drop(Box<str>),
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its number and the wire type of one value.
    pub(crate) tag: u32,
    pub(crate) name: Box<str>,
    /// The table's column, for reasons.
    pub(crate) column: Option<Box<str>>,
    /// Whether it is written at most once.
    pub(crate) singular: bool,
    /// Whether its values may stand in one payload.
    pub(crate) packable: bool,
    pub(crate) oneof: Option<u16>,
    pub(crate) action: Action,
    /// What its columns take if it was not written.
    pub(crate) absent: Box<[Filled]>,
}

/// What is done about a field that was written.
#[derive(Debug)]
pub(crate) enum Action {
    /// A value without parts.
    Leaf { place: usize, leaf: Leaf },
    /// Its value is read.
    Value(OpId),
    /// Its value is a message whose fields go into columns at hand.
    Flat { plan: PlanId, json_name: Option<Box<str>> },
    /// Its text is written later.
    Late,
    /// It has no column: checked and counted.
    Drop(Box<str>),
    /// It has no column: kept as JSON.
    Collect,
    /// Nobody has asked for it: checked.
    Pass,
}

/// Reads one value and puts it into columns at hand.
#[derive(Debug)]
pub(crate) enum Op {
    /// A value without parts.
    Leaf { place: usize, leaf: Leaf },
    /// A value without parts into a Nullable column.
    Optional { place: usize, leaf: Leaf },
    /// Into the values of a Nullable column.
    Some { place: usize, value: OpId },
    /// Into the elements of a column of arrays whose row something else ends.
    Element { place: usize, value: OpId },
    /// A message whose fields go into the elements of these columns of arrays.
    Nested { plan: PlanId },
    /// A map's entry.
    Entry { place: usize, entry: Box<Entry> },
    /// A message into the elements of a Tuple.
    Tuple { place: usize, plan: PlanId },
    /// Into the column of a Variant's alternative.
    Variant { place: usize, alternative: u8, value: OpId },
    /// Into the column of a type that Dynamic has, or will have.
    Dynamic { place: usize, ty: Box<Type>, value: OpId },
    /// Any value as its JSON text; an object where `object` says so.
    Text { place: usize, kind: Kind, object: bool },
    /// No such value has a place.
    Refuse(Box<Misfit>),
}

/// How a map's entries are written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: MessageId,
    pub(crate) key: Key,
    pub(crate) value: OpId,
    /// What the key is if it was not written: bytes of the wire.
    pub(crate) absent_key: Box<[u8]>,
    /// What the value is if it was not written: bytes of the wire.
    pub(crate) absent: Box<[u8]>,
}

/// How a map's keys are written.
#[derive(Debug)]
pub(crate) enum Key {
    /// Texts.
    Text(MapKey),
    /// Numbers and truth values.
    Leaf(Leaf),
}

/// What a column takes without a value.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) name: Box<str>,
    pub(crate) column: Option<Box<str>>,
    pub(crate) how: How,
}

#[derive(Debug)]
pub(crate) enum How {
    Fill(Fill),
    /// The same as if these bytes had been written.
    Read {
        bytes: Box<[u8]>,
        op: OpId,
    },
    /// A Tuple, each element in its way.
    Tuple {
        place: usize,
        fills: Box<[Filled]>,
    },
    /// An element of a column of arrays.
    Element {
        place: usize,
        how: Box<How>,
    },
    /// The record is refused: the schema requires the field.
    Required,
}

impl Member {
    pub(crate) const fn number(&self) -> u32 {
        self.tag >> 3
    }
}
