//! The parts of an Avro schema.

use crate::avro::LogicalType;
use crate::json::{Json, Members};

/// A node's number in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

/// A type, with the attributes that Avro itself does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub shape: Shape,
    /// Further attributes, in their order.
    pub props: Members,
    /// What the values mean, if a known and valid `logicalType` says so.
    pub logical: Option<LogicalType>,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// `null`
    Null,
    /// `boolean`
    Boolean,
    /// `int`, 32 bits
    Int,
    /// `long`, 64 bits
    Long,
    /// `float`, 32 bits
    Float,
    /// `double`, 64 bits
    Double,
    /// `bytes`
    Bytes,
    /// `string`
    String,
    /// An array of items.
    Array(NodeId),
    /// A map from texts to values.
    Map(NodeId),
    /// One of several types.
    Union(Vec<NodeId>),
    /// A record.
    Record(Record),
    /// An enumeration.
    Enum(Enumeration),
    /// So many bytes.
    Fixed(Fixed),
    /// A name whose definition follows; in no schema that was parsed.
    Pending(String),
}

/// A record's fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// Names that it had.
    pub aliases: Vec<Name>,
    /// What it says about itself.
    pub doc: Option<String>,
    /// Whether it was declared as `error`.
    pub error: bool,
    /// Its fields.
    pub fields: Vec<Field>,
}

impl Record {
    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Names that it had.
    pub aliases: Vec<String>,
    /// Its type.
    pub node: NodeId,
    /// What it says about itself.
    pub doc: Option<String>,
    /// The value that a reader takes where the writer had no such field.
    pub default: Option<Json>,
    /// How it counts in comparisons of records.
    pub order: Order,
    /// Further attributes, in their order.
    pub props: Members,
}

/// How a field counts when records are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smaller first.
    Ascending,
    /// Larger first.
    Descending,
    /// Not at all.
    Ignore,
}

impl Order {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
            Self::Ignore => "ignore",
        }
    }
}

/// An enumeration's symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enumeration {
    /// Its name.
    pub name: Name,
    /// Names that it had.
    pub aliases: Vec<Name>,
    /// What it says about itself.
    pub doc: Option<String>,
    /// Its symbols, in the order of their numbers.
    pub symbols: Vec<String>,
    /// The symbol that a reader takes for one that it does not know.
    pub default: Option<String>,
}

/// A value of so many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Its name.
    pub name: Name,
    /// Names that it had.
    pub aliases: Vec<Name>,
    /// What it says about itself.
    pub doc: Option<String>,
    /// How many bytes.
    pub size: u32,
}

/// The name of a type, with its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    pub(crate) name: String,
    pub(crate) space: Option<String>,
}

impl Name {
    /// A name as written somewhere inside of a namespace. A dot in it brings its own namespace.
    pub(crate) fn of(text: &str, space: Option<&str>) -> Self {
        let (space, name) = match text.rsplit_once('.') {
            Some((space, name)) => (Some(space), name),
            None => (space, text),
        };
        let space = space.filter(|space| !space.is_empty()).map(str::to_owned);
        Self { name: name.to_owned(), space }
    }

    /// The name without the namespace.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.name
    }

    /// The namespace, if there is one.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    /// Namespace and name.
    #[must_use]
    pub fn full(&self) -> String {
        match &self.space {
            Some(space) => format!("{space}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// How it is referred to from inside of a namespace: short, unless it would be taken for another.
    pub(crate) fn qualified(&self, space: Option<&str>) -> String {
        let here = self.space.is_some() && self.space.as_deref() == space;
        if here && !is_type_name(&self.name) { self.name.clone() } else { self.full() }
    }
}

/// Whether a name is also the name of one of Avro's kinds of types.
fn is_type_name(name: &str) -> bool {
    primitive(name).is_some() || matches!(name, "record" | "enum" | "array" | "map" | "union" | "fixed")
}

/// The primitive type of this name.
pub(crate) fn primitive(name: &str) -> Option<Shape> {
    Some(match name {
        "null" => Shape::Null,
        "boolean" => Shape::Boolean,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "float" => Shape::Float,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "string" => Shape::String,
        _ => return None,
    })
}

impl Shape {
    /// The kind of type in a schema's words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(_) => "record",
            Self::Enum(_) => "enum",
            Self::Fixed(_) => "fixed",
            Self::Pending(_) => "undefined",
        }
    }

    /// The name, of a type that has one.
    #[must_use]
    pub const fn name(&self) -> Option<&Name> {
        match self {
            Self::Record(Record { name, .. })
            | Self::Enum(Enumeration { name, .. })
            | Self::Fixed(Fixed { name, .. }) => Some(name),
            Self::Null
            | Self::Boolean
            | Self::Int
            | Self::Long
            | Self::Float
            | Self::Double
            | Self::Bytes
            | Self::String
            | Self::Array(_)
            | Self::Map(_)
            | Self::Union(_)
            | Self::Pending(_) => None,
        }
    }

    /// The former names, of a type that has names.
    #[must_use]
    pub fn aliases(&self) -> &[Name] {
        match self {
            Self::Record(Record { aliases, .. })
            | Self::Enum(Enumeration { aliases, .. })
            | Self::Fixed(Fixed { aliases, .. }) => aliases,
            _ => &[],
        }
    }

    /// What a type with a name says about itself.
    #[must_use]
    pub fn doc(&self) -> Option<&str> {
        match self {
            Self::Record(Record { doc, .. })
            | Self::Enum(Enumeration { doc, .. })
            | Self::Fixed(Fixed { doc, .. }) => doc.as_deref(),
            _ => None,
        }
    }
}
