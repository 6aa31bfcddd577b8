//! What a record is, read by its writer's schema and seen through a reader's: Avro's schema resolution.
//!
//! The result is an arena: one node for each pair of types that meet, so that recursive types end.

use hashbrown::HashMap;
use tidegate_languages::avro::{AvroSchema, Enumeration, Field, LogicalType, Node, NodeId, Record, Shape};

use super::encode::encode_default;

/// A node's number in its [`Resolved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReadId(pub(crate) usize);

/// How values of one type are read.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) shape: ReadShape,
    pub(crate) logical: Option<LogicalType>,
}

/// What stands in the bytes.
#[derive(Debug, Clone)]
pub(crate) enum ReadShape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    /// The symbols by the writer's numbers; `None` for what the reader does not know.
    Enum(Box<[Option<Box<str>>]>),
    Array(ReadId),
    Map(ReadId),
    Union(Box<[ReadId]>),
    Record(Box<[ReadField]>),
    /// The reader cannot take such a value; why.
    Never(Box<str>),
}

/// A field, in the writer's order; those that only the reader has come last.
#[derive(Debug, Clone)]
pub(crate) struct ReadField {
    pub(crate) name: Box<str>,
    pub(crate) node: ReadId,
    pub(crate) source: FieldSource,
}

/// Where a field's value comes from.
#[derive(Debug, Clone)]
pub(crate) enum FieldSource {
    /// From the record.
    Written,
    /// From the record, and the reader does not want it.
    Unwanted,
    /// The reader's default, encoded by the reader's schema.
    Default(Box<[u8]>),
}

impl ReadField {
    /// Whether it stands in the bytes.
    pub(crate) const fn written(&self) -> bool {
        !matches!(self.source, FieldSource::Default(_))
    }

    /// Whether it is one of the reader's fields.
    pub(crate) const fn shown(&self) -> bool {
        !matches!(self.source, FieldSource::Unwanted)
    }
}

/// A schema to read with.
#[derive(Debug)]
pub(crate) struct Resolved {
    nodes: Vec<Read>,
    pub(crate) root: ReadId,
}

impl Resolved {
    /// Resolves. Without a reader, values are what the writer says.
    pub(crate) fn new(writer: &AvroSchema, reader: Option<&AvroSchema>) -> Self {
        let reader = reader.unwrap_or(writer);
        let mut resolver = Resolver { writer, reader, nodes: Vec::new(), known: HashMap::new() };
        let root = resolver.pair(Side::Writer(writer.root()), reader.root());
        Self { nodes: resolver.nodes, root }
    }

    pub(crate) fn get(&self, id: ReadId) -> &Read {
        &self.nodes[id.0]
    }

    /// What kind of value it is, for reasons.
    pub(crate) fn described(&self, id: ReadId) -> String {
        let read = self.get(id);
        let kind = match &read.shape {
            ReadShape::Null => "null",
            ReadShape::Boolean => "boolean",
            ReadShape::Int => "int",
            ReadShape::Long => "long",
            ReadShape::Float => "float",
            ReadShape::Double => "double",
            ReadShape::Bytes => "bytes",
            ReadShape::Text => "string",
            ReadShape::Fixed(_) => "fixed",
            ReadShape::Enum(_) => "enum",
            ReadShape::Array(_) => "array",
            ReadShape::Map(_) => "map",
            ReadShape::Union(_) => "union",
            ReadShape::Record(_) => "record",
            ReadShape::Never(message) => return message.to_string(),
        };
        match read.logical {
            Some(logical) => format!("an Avro `{kind}` of logical type `{}`", logical.name()),
            None => format!("an Avro `{kind}`"),
        }
    }
}

/// The type that stands in the bytes: the writer's, or the reader's own where a default is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Writer(NodeId),
    Reader(NodeId),
}

struct Resolver<'s> {
    writer: &'s AvroSchema,
    reader: &'s AvroSchema,
    nodes: Vec<Read>,
    known: HashMap<(Side, NodeId), ReadId>,
}

impl<'s> Resolver<'s> {
    fn written(&self, side: Side) -> &'s Node {
        match side {
            Side::Writer(id) => self.writer.node(id),
            Side::Reader(id) => self.reader.node(id),
        }
    }

    fn within(side: Side, id: NodeId) -> Side {
        match side {
            Side::Writer(_) => Side::Writer(id),
            Side::Reader(_) => Side::Reader(id),
        }
    }

    fn pair(&mut self, written: Side, reader: NodeId) -> ReadId {
        if let Some(known) = self.known.get(&(written, reader)) {
            return *known;
        }
        let id = ReadId(self.nodes.len());
        self.known.insert((written, reader), id);
        self.nodes.push(Read { shape: ReadShape::Null, logical: None });
        let read = self.resolve(written, reader);
        self.nodes[id.0] = read;
        id
    }

    fn resolve(&mut self, written: Side, reader: NodeId) -> Read {
        let (from, to) = (self.written(written), self.reader.node(reader));
        let shape = match (&from.shape, &to.shape) {
            (Shape::Union(branches), _) => {
                let branches =
                    branches.iter().map(|branch| self.pair(Self::within(written, *branch), reader));
                ReadShape::Union(branches.collect())
            }
            (_, Shape::Union(branches)) => match self.branch(from, branches) {
                Some(branch) => {
                    let chosen = self.pair(written, branch);
                    return self.same(chosen, written, branch);
                }
                None => never(from, to),
            },
            (Shape::Record(writer), Shape::Record(reader)) => self.record(written, writer, reader),
            (Shape::Array(item), Shape::Array(wanted)) => {
                ReadShape::Array(self.pair(Self::within(written, *item), *wanted))
            }
            (Shape::Map(item), Shape::Map(wanted)) => {
                ReadShape::Map(self.pair(Self::within(written, *item), *wanted))
            }
            (Shape::Enum(writer), Shape::Enum(reader)) => enumeration(writer, reader),
            (Shape::Fixed(writer), Shape::Fixed(reader)) if writer.size == reader.size => {
                ReadShape::Fixed(writer.size as usize)
            }
            (from_shape, to_shape) => primitive(from_shape, to_shape).unwrap_or_else(|| never(from, to)),
        };
        Read { shape, logical: from.logical.or(to.logical) }
    }

    /// The node of a union's branch that the reader has for the value. A branch that is still being
    /// resolved, because the type is recursive, is resolved once more under the union's own number.
    fn same(&mut self, chosen: ReadId, written: Side, branch: NodeId) -> Read {
        if let ReadShape::Null = self.nodes[chosen.0].shape
            && !matches!(self.written(written).shape, Shape::Null)
        {
            return self.resolve(written, branch);
        }
        self.nodes[chosen.0].clone()
    }

    fn record(&mut self, written: Side, writer: &'s Record, reader: &'s Record) -> ReadShape {
        let mut fields: Vec<ReadField> = Vec::with_capacity(writer.fields.len());
        let mut taken: Vec<&str> = Vec::new();
        for field in &writer.fields {
            let side = Self::within(written, field.node);
            let wanted =
                reader_field(reader, &field.name).filter(|wanted| !taken.contains(&wanted.name.as_str()));
            fields.push(match wanted {
                Some(wanted) => {
                    taken.push(&wanted.name);
                    let node = self.pair(side, wanted.node);
                    ReadField { name: wanted.name.as_str().into(), node, source: FieldSource::Written }
                }
                None => {
                    let node = self.own(side);
                    ReadField { name: field.name.as_str().into(), node, source: FieldSource::Unwanted }
                }
            });
        }
        for field in reader.fields.iter().filter(|field| !taken.contains(&field.name.as_str())) {
            let node = self.pair(Side::Reader(field.node), field.node);
            let encoded =
                field.default.as_ref().and_then(|default| encode_default(self.reader, field.node, default));
            let (node, source) = match encoded {
                Some(bytes) => (node, FieldSource::Default(bytes.into())),
                None => {
                    let message =
                        format!("no field `{}`, which the reader's schema has no default for", field.name);
                    (self.add(ReadShape::Never(message.into())), FieldSource::Default(Box::default()))
                }
            };
            fields.push(ReadField { name: field.name.as_str().into(), node, source });
        }
        ReadShape::Record(fields.into())
    }

    fn add(&mut self, shape: ReadShape) -> ReadId {
        self.nodes.push(Read { shape, logical: None });
        ReadId(self.nodes.len() - 1)
    }

    /// A value that nobody wants, as it is written.
    fn own(&mut self, written: Side) -> ReadId {
        let alone = match written {
            Side::Writer(_) => self.writer,
            Side::Reader(_) => self.reader,
        };
        let id = match written {
            Side::Writer(id) | Side::Reader(id) => id,
        };
        let offset = self.nodes.len();
        let mut resolver =
            Resolver { writer: alone, reader: alone, nodes: Vec::new(), known: HashMap::new() };
        let root = resolver.pair(Side::Writer(id), id);
        self.nodes.extend(resolver.nodes.into_iter().map(|read| moved(read, offset)));
        ReadId(root.0 + offset)
    }

    /// The reader's branch for a value of the writer's type: the same type first, then one that it can be
    /// promoted to.
    fn branch(&self, from: &Node, branches: &[NodeId]) -> Option<NodeId> {
        let exact = |id: &&NodeId| {
            let to = self.reader.node(**id);
            match (from.shape.name(), to.shape.name()) {
                (Some(a), Some(b)) => {
                    from.shape.kind() == to.shape.kind() && (a == b || to.shape.aliases().contains(a))
                }
                (None, None) => from.shape.kind() == to.shape.kind(),
                _ => false,
            }
        };
        let kindred = |id: &&NodeId| {
            let to = self.reader.node(**id);
            match (from.shape.name(), to.shape.name()) {
                (Some(a), Some(b)) => from.shape.kind() == to.shape.kind() && a.short() == b.short(),
                _ => primitive(&from.shape, &to.shape).is_some(),
            }
        };
        let structural = |id: &&NodeId| {
            let to = self.reader.node(**id);
            matches!((&from.shape, &to.shape), (Shape::Record(_), Shape::Record(_)))
        };
        let found = branches.iter().find(exact).or_else(|| branches.iter().find(kindred));
        found.or_else(|| branches.iter().find(structural)).copied()
    }
}

/// A node of an arena that was put behind another.
fn moved(read: Read, offset: usize) -> Read {
    let at = |id: ReadId| ReadId(id.0 + offset);
    let shape = match read.shape {
        ReadShape::Array(item) => ReadShape::Array(at(item)),
        ReadShape::Map(item) => ReadShape::Map(at(item)),
        ReadShape::Union(branches) => ReadShape::Union(branches.iter().map(|id| at(*id)).collect()),
        ReadShape::Record(fields) => {
            let fields = fields.into_iter().map(|field| ReadField { node: at(field.node), ..field });
            ReadShape::Record(fields.collect())
        }
        other => other,
    };
    Read { shape, logical: read.logical }
}

fn reader_field<'r>(reader: &'r Record, name: &str) -> Option<&'r Field> {
    let by_alias = || reader.fields.iter().find(|field| field.aliases.iter().any(|alias| alias == name));
    reader.field(name).or_else(by_alias)
}

fn enumeration(writer: &Enumeration, reader: &Enumeration) -> ReadShape {
    let symbols = writer.symbols.iter().map(|symbol| {
        let known = reader.symbols.contains(symbol).then_some(symbol);
        known.or(reader.default.as_ref()).map(|symbol| symbol.as_str().into())
    });
    ReadShape::Enum(symbols.collect())
}

/// What the bytes of a primitive type are, if the reader's type takes them.
fn primitive(from: &Shape, to: &Shape) -> Option<ReadShape> {
    Some(match (from, to) {
        (Shape::Null, Shape::Null) => ReadShape::Null,
        (Shape::Boolean, Shape::Boolean) => ReadShape::Boolean,
        (Shape::Int, Shape::Int | Shape::Long | Shape::Float | Shape::Double) => ReadShape::Int,
        (Shape::Long, Shape::Long | Shape::Float | Shape::Double) => ReadShape::Long,
        (Shape::Float, Shape::Float | Shape::Double) => ReadShape::Float,
        (Shape::Double, Shape::Double) => ReadShape::Double,
        (Shape::Bytes, Shape::Bytes) | (Shape::String, Shape::Bytes) => ReadShape::Bytes,
        (Shape::String, Shape::String) | (Shape::Bytes, Shape::String) => ReadShape::Text,
        _ => return None,
    })
}

fn never(from: &Node, to: &Node) -> ReadShape {
    let message =
        format!("an Avro `{}` where the reader's schema has `{}`", from.shape.kind(), to.shape.kind());
    ReadShape::Never(message.into())
}
