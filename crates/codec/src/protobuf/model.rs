//! A schema's messages as far as values depend on them. The one place that reads descriptors.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor, Value,
};
use thiserror::Error;
use tidegate_languages::protobuf::ProtobufSchema;

use super::encode::{double, fixed32, fixed64, payload, varint};

/// Names a [`Message`] of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(pub(crate) usize);

/// Names an [`Enumeration`] of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EnumId(pub(crate) usize);

/// The messages of a Protobuf schema, and of what it imports as far as they need it.
#[derive(Debug)]
pub struct ProtobufMessages {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enumeration>,
    /// The file's own, in the order that message indexes count.
    pub(crate) outermost: Vec<MessageId>,
}

/// Why a schema's messages are not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessagesError {
    /// The schema has no meaning.
    #[error(transparent)]
    Schema(#[from] tidegate_languages::protobuf::ProtobufError),
    /// Its descriptors cannot be read.
    #[error("descriptors: {0}")]
    Descriptors(String),
    /// It has none.
    #[error("the schema has no message")]
    NoMessage,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) full_name: Box<str>,
    /// By their numbers.
    pub(crate) fields: Box<[Field]>,
    /// Those that it declares, without the entries of maps and the bodies of groups.
    pub(crate) nested: Box<[MessageId]>,
    pub(crate) known: Known,
}

/// Messages that stand for a value of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    Timestamp,
    Duration,
    /// `google.protobuf.Int64Value` and its kin.
    Wrapper,
    Struct,
    Value,
    ListValue,
    FieldMask,
    Any,
    /// `google.type.Date`
    Date,
    /// `google.type.Decimal`
    Decimal,
    /// `confluent.type.Decimal`
    ConfluentDecimal,
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    pub(crate) json_name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// Which oneof of its message it belongs to. An `optional` field alone is none.
    pub(crate) oneof: Option<u16>,
    /// What it is if it was not written, as bytes of the wire without a tag; empty for messages.
    pub(crate) default: Box<[u8]>,
    /// Whether the schema says so.
    pub(crate) declared: bool,
    /// Whether writers put its elements into one payload.
    pub(crate) packed: bool,
}

/// Whether it can be told that a field was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It cannot: what was not written is zero.
    Implicit,
    Explicit,
    Required,
    Repeated,
    /// Its kind is the message of an entry.
    Map,
}

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    Text,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    Group(MessageId),
}

/// An enumeration.
#[derive(Debug)]
pub(crate) struct Enumeration {
    /// Numbers and names by numbers; of several names of a number the first.
    pub(crate) names: Box<[(i32, Box<str>)]>,
    /// All names, aliases too.
    pub(crate) numbers: HashMap<Box<str>, i32>,
}

impl Enumeration {
    pub(crate) fn name(&self, number: i32) -> Option<&str> {
        let at = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.names[at].1)
    }
}

impl Kind {
    /// The wire type of one value.
    pub(crate) const fn wire(self) -> u32 {
        match self {
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum(_) => 0,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => 1,
            Self::Text | Self::Bytes | Self::Message(_) => 2,
            Self::Group(_) => 3,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => 5,
        }
    }

    /// Whether several values may stand in one payload.
    pub(crate) const fn packable(self) -> bool {
        matches!(self.wire(), 0 | 1 | 5)
    }

    pub(crate) const fn message(self) -> Option<MessageId> {
        if let Self::Message(id) | Self::Group(id) = self { Some(id) } else { None }
    }
}

impl Field {
    /// The field's number and the wire type of one value.
    pub(crate) const fn tag(&self) -> u32 {
        self.number << 3 | self.kind.wire()
    }

    pub(crate) const fn singular(&self) -> bool {
        match self.presence {
            Presence::Implicit | Presence::Explicit | Presence::Required => true,
            Presence::Repeated | Presence::Map => false,
        }
    }
}

impl Message {
    pub(crate) fn field(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| *field.name == *name)
    }
}

impl ProtobufMessages {
    /// The messages of a schema.
    ///
    /// # Errors
    /// If it was registered by somebody who did not check it, and means nothing; or has no message.
    pub fn new(schema: &ProtobufSchema) -> Result<Self, MessagesError> {
        let set = schema.descriptor_set()?;
        let pool = DescriptorPool::decode(set.as_slice());
        let pool = pool.map_err(|error| MessagesError::Descriptors(error.to_string()))?;
        let file = pool.files().last().ok_or(MessagesError::NoMessage)?;
        let mut reading = Reading {
            implicit: schema.implicit_fields(),
            bodies_are_declared: schema.edition(),
            ..Reading::default()
        };
        let outermost = file.messages().map(|message| reading.message(&message)).collect();
        while let Some(described) = reading.open.pop_front() {
            let message = reading.read(&described);
            reading.messages.push(message);
        }
        let Reading { messages, enums, .. } = reading;
        let messages = Self { messages, enums, outermost };
        if messages.outermost.is_empty() { Err(MessagesError::NoMessage) } else { Ok(messages) }
    }

    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0]
    }

    /// A type's name, for reasons.
    pub(crate) fn kind_name(&self, kind: Kind) -> &str {
        match kind {
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Sint32 => "sint32",
            Kind::Sint64 => "sint64",
            Kind::Fixed32 => "fixed32",
            Kind::Fixed64 => "fixed64",
            Kind::Sfixed32 => "sfixed32",
            Kind::Sfixed64 => "sfixed64",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bool => "bool",
            Kind::Text => "string",
            Kind::Bytes => "bytes",
            Kind::Enum(_) => "enum",
            Kind::Message(id) | Kind::Group(id) => &self.message(id).full_name,
        }
    }

    pub(crate) fn enumeration(&self, id: EnumId) -> &Enumeration {
        &self.enums[id.0]
    }

    /// The message of a path of message indexes.
    pub(crate) fn at(&self, path: &[usize]) -> Option<MessageId> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(*self.outermost.get(*first)?, |message, index| {
            self.message(message).nested.get(*index).copied()
        })
    }

    /// The path of message indexes of a message, by its full name, or the name without its package.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Vec<usize>> {
        let mut paths: Vec<Vec<usize>> = (0..self.outermost.len()).map(|index| vec![index]).collect();
        while let Some(path) = paths.pop() {
            let message = self.message(self.at(&path)?);
            let full = &*message.full_name;
            if full == name || full.strip_suffix(name).is_some_and(|package| package.ends_with('.')) {
                return Some(path);
            }
            let inside = (0..message.nested.len()).map(|index| [path.as_slice(), &[index]].concat());
            paths.extend(inside);
        }
        None
    }
}

/// Reads descriptors, each message once.
#[derive(Default)]
struct Reading {
    known: HashMap<String, MessageId>,
    known_enums: HashMap<String, EnumId>,
    open: std::collections::VecDeque<MessageDescriptor>,
    messages: Vec<Message>,
    enums: Vec<Enumeration>,
    /// Fields of editions that the descriptors take for such as can tell that they were not written.
    implicit: BTreeSet<(String, i32)>,
    /// Whether the bodies of groups are messages like others, which is so in editions.
    bodies_are_declared: bool,
}

impl Reading {
    /// The message's number; it is read later.
    fn message(&mut self, message: &MessageDescriptor) -> MessageId {
        let id = MessageId(self.known.len());
        let known = *self.known.entry(message.full_name().to_owned()).or_insert(id);
        if known == id {
            self.open.push_back(message.clone());
        }
        known
    }

    fn read(&mut self, message: &MessageDescriptor) -> Message {
        let groups = message.fields().filter(|field| field.is_group() && !self.bodies_are_declared);
        let groups: Vec<String> = groups.filter_map(|field| body(&field)).collect();
        let declared = message.child_messages().filter(|child| {
            !child.is_map_entry() && !groups.iter().any(|group| *group == *child.full_name())
        });
        let nested = declared.collect::<Vec<_>>().iter().map(|child| self.message(child)).collect();
        let oneofs: Vec<String> = message
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| oneof.name().to_owned())
            .collect();
        let mut fields: Vec<Field> =
            message.fields().collect::<Vec<_>>().iter().map(|field| self.field(field, &oneofs)).collect();
        fields.sort_by_key(|field| field.number);
        Message {
            full_name: message.full_name().into(),
            fields: fields.into(),
            nested,
            known: known(message.full_name()),
        }
    }

    fn field(&mut self, field: &FieldDescriptor, oneofs: &[String]) -> Field {
        let kind = self.kind(field);
        let presence = if field.is_map() {
            Presence::Map
        } else if field.is_list() {
            Presence::Repeated
        } else if field.cardinality() == Cardinality::Required {
            Presence::Required
        } else if field.supports_presence() && !self.implicit(field) {
            Presence::Explicit
        } else {
            Presence::Implicit
        };
        let oneof = field.containing_oneof();
        let oneof = oneof.and_then(|own| oneofs.iter().position(|name| *name == own.name()));
        Field {
            number: field.number(),
            name: field.name().into(),
            json_name: field.json_name().into(),
            kind,
            presence,
            oneof: oneof.and_then(|at| u16::try_from(at).ok()),
            default: default(field, presence),
            declared: field.field_descriptor_proto().default_value.is_some(),
            packed: field.is_packed(),
        }
    }

    /// Messages and the members of oneofs can always tell.
    fn implicit(&self, field: &FieldDescriptor) -> bool {
        let number = i32::try_from(field.number()).unwrap_or(i32::MAX);
        body(field).is_none()
            && field.containing_oneof().is_none()
            && self.implicit.contains(&(field.parent_message().full_name().to_owned(), number))
    }

    fn kind(&mut self, field: &FieldDescriptor) -> Kind {
        match field.kind() {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::Text,
            Described::Bytes => Kind::Bytes,
            Described::Enum(found) => Kind::Enum(self.enumeration(&found)),
            Described::Message(found) if field.is_group() => Kind::Group(self.message(&found)),
            Described::Message(found) => Kind::Message(self.message(&found)),
        }
    }

    fn enumeration(&mut self, found: &EnumDescriptor) -> EnumId {
        if let Some(known) = self.known_enums.get(found.full_name()) {
            return *known;
        }
        let id = EnumId(self.enums.len());
        self.known_enums.insert(found.full_name().to_owned(), id);
        let mut names: Vec<(i32, Box<str>)> =
            found.values().map(|value| (value.number(), value.name().into())).collect();
        let numbers = names.iter().map(|(number, name)| (name.clone(), *number)).collect();
        names.sort_by_key(|(number, _)| *number);
        names.dedup_by_key(|(number, _)| *number);
        self.enums.push(Enumeration { names: names.into(), numbers });
        id
    }
}

fn body(field: &FieldDescriptor) -> Option<String> {
    field.kind().as_message().map(|message| message.full_name().to_owned())
}

fn known(full_name: &str) -> Known {
    match full_name {
        "google.protobuf.Timestamp" => Known::Timestamp,
        "google.protobuf.Duration" => Known::Duration,
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => Known::Wrapper,
        "google.protobuf.Struct" => Known::Struct,
        "google.protobuf.Value" => Known::Value,
        "google.protobuf.ListValue" => Known::ListValue,
        "google.protobuf.FieldMask" => Known::FieldMask,
        "google.protobuf.Any" => Known::Any,
        "google.type.Date" => Known::Date,
        "google.type.Decimal" => Known::Decimal,
        "confluent.type.Decimal" => Known::ConfluentDecimal,
        _ => Known::No,
    }
}

/// The bytes of what a field is that was not written.
fn default(field: &FieldDescriptor, presence: Presence) -> Box<[u8]> {
    let mut out = Vec::new();
    // Where absence cannot be told, an enumeration's number is zero, whatever comes first.
    if presence == Presence::Implicit && matches!(field.kind(), Described::Enum(_)) {
        return Box::new([0]);
    }
    if field.is_list() || field.is_map() {
        return Box::default();
    }
    match (field.default_value(), field.kind()) {
        (Value::Bool(value), _) => varint(u64::from(value), &mut out),
        (Value::I32(value), Described::Sint32) => varint(zigzag(i64::from(value)), &mut out),
        (Value::I64(value), Described::Sint64) => varint(zigzag(value), &mut out),
        (Value::I32(value), Described::Sfixed32) => fixed32(value.cast_unsigned(), &mut out),
        (Value::I64(value), Described::Sfixed64) => fixed64(value.cast_unsigned(), &mut out),
        (Value::U32(value), Described::Fixed32) => fixed32(value, &mut out),
        (Value::U64(value), Described::Fixed64) => fixed64(value, &mut out),
        (Value::I32(value) | Value::EnumNumber(value), _) => {
            varint(i64::from(value).cast_unsigned(), &mut out)
        }
        (Value::I64(value), _) => varint(value.cast_unsigned(), &mut out),
        (Value::U32(value), _) => varint(u64::from(value), &mut out),
        (Value::U64(value), _) => varint(value, &mut out),
        (Value::F32(value), _) => fixed32(value.to_bits(), &mut out),
        (Value::F64(value), _) => double(value, &mut out),
        (Value::String(value), _) => payload(value.as_bytes(), &mut out),
        (Value::Bytes(value), _) => payload(&value, &mut out),
        (Value::Message(_) | Value::List(_) | Value::Map(_), _) => {}
    }
    out.into()
}

pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
