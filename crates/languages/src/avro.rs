//! Avro schemas as Avro's Java library understands, prints and compares them.
//!
//! Begin at [`AvroSchema::parse`]. A schema is an arena of nodes; a named type is one node however
//! often it is referred to, so that recursion is a number and not a pointer.

mod compatible;
mod defaults;
mod equal;
mod logical;
mod model;
mod normal;
mod parse;
mod print;
mod tags;

use std::collections::HashSet;

use thiserror::Error;

use crate::budget::{Budget, TooComplex};
use crate::incompatibility::Incompatibility;
use crate::json::{Dialect, Json, JsonError};
use crate::language::Tagged;

pub use logical::LogicalType;
pub use model::{Enumeration, Field, Fixed, Name, Node, NodeId, Order, Record, Shape};

/// An Avro schema with the named types that it refers to.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    nodes: Vec<Node>,
    root: NodeId,
    /// Full names of the types that references define: they are written as names only.
    foreign: HashSet<String>,
}

/// Why a text is no Avro schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AvroError {
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is JSON that says no schema.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
    },
    /// It takes too long to check.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
}

impl AvroError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }
}

/// Whether the defaults of fields must fit their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// They must: the schema is being registered.
    Checked,
    /// They need not: it was registered by somebody who did not look.
    Believed,
}

impl AvroSchema {
    /// Reads a schema. `references` are the texts of schemas that define the names that it may refer
    /// to, those that others refer to first.
    ///
    /// # Errors
    /// If one of the texts is no Avro schema.
    pub fn parse(text: &str, references: &[&str], defaults: Defaults) -> Result<Self, AvroError> {
        let budget = Budget::default();
        let mut parser = parse::Parser::new(defaults, &budget);
        let mut foreign = HashSet::new();
        for reference in references {
            let root = parser.add(&Json::parse(reference, Dialect::Avro)?)?;
            foreign.extend(parser.name_of(root));
        }
        let root = parser.add(&Json::parse(text, Dialect::Avro)?)?;
        let schema = Self { nodes: parser.resolve()?, root, foreign };
        print::check_depth(&schema)?;
        Ok(schema)
    }

    /// The node of the whole schema.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        self.root
    }

    /// A node.
    ///
    /// # Panics
    /// If the id is of another schema, which is a bug.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The text that is stored: Java's `Schema.toString`, with references left as names.
    #[must_use]
    pub fn canonical(&self) -> String {
        print::print(self, &self.foreign)
    }

    /// The text with every reference written out.
    #[must_use]
    pub fn resolved(&self) -> String {
        print::print(self, &HashSet::new())
    }

    /// The normalised text of the Confluent registry: full names, attributes in one order.
    #[must_use]
    pub fn normalized(&self) -> String {
        normal::normalize(self)
    }

    /// Avro's Parsing Canonical Form, which drops what does not matter to decoding.
    #[must_use]
    pub fn parsing_form(&self) -> String {
        normal::parsing_form(self)
    }

    /// The CRC-64-AVRO of the Parsing Canonical Form.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        normal::crc64(self.parsing_form().as_bytes())
    }

    /// Whether it says the same as another, formatting aside.
    ///
    /// # Errors
    /// If that takes too long to find out.
    pub fn equivalent(&self, other: &Self) -> Result<bool, TooComplex> {
        equal::equivalent(self, other)
    }

    /// Whether the outermost type is a record with this field.
    #[must_use]
    pub fn has_top_level_field(&self, name: &str) -> bool {
        match &self.node(self.root).shape {
            Shape::Record(record) => record.field(name).is_some(),
            _ => false,
        }
    }

    /// The records and fields that have `confluent:tags`.
    #[must_use]
    pub fn tagged(&self) -> Vec<Tagged> {
        tags::tagged(self)
    }

    /// Everything that keeps a reader with this schema from reading what was written with `writer`; by
    /// the rules of Java's `SchemaCompatibility`.
    ///
    /// # Errors
    /// If a field of the reader matches two of the writer, or the check takes too long; with the
    /// message of the Java library.
    pub fn reads(&self, writer: &Self) -> Result<Vec<Incompatibility>, AvroError> {
        compatible::check(self, writer)
    }
}

impl AvroSchema {
    /// The text of one of its types, by itself.
    fn subtext(&self, root: NodeId) -> String {
        print::print(&Self { nodes: self.nodes.clone(), root, foreign: HashSet::new() }, &HashSet::new())
    }
}
