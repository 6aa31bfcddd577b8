//! A compiled plan: for each place in the bytes, what is read there and where it goes.

use tidegate_core::ReasonCode;
use tidegate_native::Type;

use super::leaf::Leaf;
use super::resolve::{ReadId, Resolved};
use crate::options::Limits;
use crate::refusal::Refusal;
use crate::scalar::Scalar;

/// Names an [`Op`] of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpId(pub(crate) usize);

/// How records of one writer's schema become rows of one table.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) reads: Resolved,
    pub(crate) ops: Vec<Op>,
    pub(crate) root: OpId,
    /// The column that collects unknown fields.
    pub(crate) collect: Option<usize>,
    pub(crate) limits: Limits,
}

/// Reads one value and puts it into columns at hand.
#[derive(Debug)]
pub(crate) enum Op {
    /// A record whose fields go into columns at hand.
    Record(Box<[Member]>),
    /// A value without parts.
    Leaf { place: usize, leaf: Leaf },
    /// A value without parts, or `null`, whose branch has this number.
    Optional { place: usize, null: u8, leaf: Leaf },
    /// `null` into a column that has it.
    Null { place: usize },
    /// Into the values of a Nullable column.
    Some { place: usize, value: OpId },
    /// Into the elements of a column of arrays whose row something else finishes.
    Element { place: usize, value: OpId },
    /// An array.
    Array { place: usize, item: OpId },
    /// An array of records whose fields go into these columns of arrays.
    Nested { places: Box<[usize]>, item: OpId },
    /// A map.
    Map { place: usize, key: Box<MapKey>, value: OpId },
    /// A record into the elements of a Tuple.
    Tuple { place: usize, record: OpId },
    /// Months, days and milliseconds into a Tuple of three.
    Duration { place: usize },
    /// Into the column of a Variant's alternative.
    Variant { place: usize, alternative: u8, value: OpId },
    /// Into the column of a type that Dynamic has, or will have.
    Dynamic { place: usize, ty: Box<Type>, value: OpId },
    /// Any value as its JSON text; `object` into a JSON column.
    JsonText { place: usize, read: ReadId },
    /// By the branch that was written.
    Union(Box<[OpId]>),
    /// No such value has a place.
    Refuse(Box<Misfit>),
}

/// How a map's keys are written.
#[derive(Debug)]
pub(crate) struct MapKey {
    pub(crate) scalar: Scalar,
    pub(crate) dictionary: bool,
}

/// A field of a record, or a column that no field is for.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) column: Option<Box<str>>,
    pub(crate) action: Action,
}

/// What is done about a field.
#[derive(Debug)]
pub(crate) enum Action {
    /// Its value is read.
    Read(OpId),
    /// Its value is read, and the names of fields within it that are collected stand in an object of
    /// its name.
    Within { json_name: Box<str>, op: OpId },
    /// A value that the reader's schema gives, in the place of one that was not written.
    Default { bytes: Box<[u8]>, op: OpId },
    /// It has no column: passed over and counted.
    Drop { read: ReadId, pointer: Box<str> },
    /// It has no column: kept as JSON under this name.
    Collect { read: ReadId, json_name: Box<str> },
    /// Nobody has asked for it: passed over.
    Pass(ReadId),
    /// The column is filled without a value.
    Fill(Fill),
}

/// What a column takes that no field is for.
#[derive(Debug)]
pub(crate) enum Fill {
    /// `NULL`, which is also how the server is asked for its default.
    Null { place: usize },
    /// The type's zero value: an empty array, map or object.
    Zero { place: usize },
    /// A constant, by its JSON text.
    Constant { place: usize, scalar: Box<Scalar>, json: Box<str> },
    /// An element's `NULL`.
    NullElement { place: usize },
    /// The record is refused.
    Missing,
}

/// Why a value has no place.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) code: ReasonCode,
    pub(crate) rule: Box<str>,
    pub(crate) expected: Box<str>,
    pub(crate) found: Box<str>,
}

impl Misfit {
    #[cold]
    pub(crate) fn refusal(&self) -> Box<Refusal> {
        Refusal::encode(self.code, &self.rule, &self.expected, &self.found)
    }
}
