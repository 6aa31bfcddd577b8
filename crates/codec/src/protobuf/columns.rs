//! The columns that a message's fields fit into.

use tidegate_native::{JsonType, TupleElement, Type};

use super::model::{Field, Kind, Known, MessageId, Presence, ProtobufMessages};
use super::text::Number;
use crate::avro::{WantedColumn, nullable};

/// How deep messages become columns of their own; deeper ones become `JSON`.
const FLATTEN_MAX: usize = 8;

/// The columns for the fields of a message, in their order.
///
/// | Protobuf | the column |
/// | --- | --- |
/// | a message | a column for each of its fields, `a__b`, which take NULL; `JSON` where it is recursive or very deep |
/// | a repeated message | an array column for each of its fields, `a.b` |
/// | other repeated fields, maps | `Array(T)`, `Map(K, T)` |
/// | an enumeration | `LowCardinality(String)`: a new name needs no new column |
/// | a field whose absence can be told | `Nullable(T)` |
/// | a field whose absence cannot | `T DEFAULT` its zero |
/// | `Timestamp`, `Duration`, `google.type.Date` | `DateTime64(9, 'UTC')`, `Decimal(21, 9)` in seconds, `Date32` |
/// | `google.type.Decimal`, `confluent.type.Decimal` | `Decimal(76, 38)` |
/// | wrappers | `Nullable(T)` |
/// | `Struct`, `Any`; `Value`, `ListValue`, `FieldMask` | `JSON`; `String` |
pub(crate) fn protobuf_columns(
    types: &ProtobufMessages,
    message: MessageId,
    separator: &str,
) -> Vec<WantedColumn> {
    let mut columns = Columns { types, separator, wanted: Vec::new() };
    columns.message(message, &mut vec![message], &mut Vec::new(), false);
    columns.wanted
}

/// The column type of one value that has no parts.
pub(crate) fn scalar(types: &ProtobufMessages, kind: Kind) -> Option<Type> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Type::Int32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Type::Int64,
        Kind::Uint32 | Kind::Fixed32 => Type::UInt32,
        Kind::Uint64 | Kind::Fixed64 => Type::UInt64,
        Kind::Float => Type::Float32,
        Kind::Double => Type::Float64,
        Kind::Bool => Type::Bool,
        Kind::Text | Kind::Bytes => Type::String,
        Kind::Enum(_) => Type::LowCardinality(Box::new(Type::String)),
        Kind::Message(id) | Kind::Group(id) => match types.message(id).known {
            Known::Timestamp => Type::DateTime64 { precision: 9, timezone: Some("UTC".to_owned()) },
            Known::Duration => Type::Decimal { precision: 21, scale: 9 },
            Known::Date => Type::Date32,
            Known::Decimal | Known::ConfluentDecimal => Type::Decimal { precision: 76, scale: 38 },
            Known::Wrapper => scalar(types, types.message(id).fields.first()?.kind)?,
            Known::Value | Known::ListValue | Known::FieldMask => Type::String,
            Known::Struct | Known::Any | Known::No => return None,
        },
    })
}

struct Columns<'s> {
    types: &'s ProtobufMessages,
    separator: &'s str,
    wanted: Vec<WantedColumn>,
}

impl Columns<'_> {
    /// `open` are the messages that this one stands in, itself included.
    fn message(&mut self, id: MessageId, open: &mut Vec<MessageId>, path: &mut Vec<String>, optional: bool) {
        for field in &self.types.message(id).fields {
            path.push(field.name.to_string());
            self.field(field, open, path, optional);
            path.pop();
        }
    }

    fn field(&mut self, field: &Field, open: &mut Vec<MessageId>, path: &mut Vec<String>, optional: bool) {
        let plain = field.kind.message().filter(|id| {
            let message = self.types.message(*id);
            message.known == Known::No && !message.fields.is_empty() && !open.contains(id)
        });
        match (plain, field.presence) {
            (Some(id), Presence::Implicit | Presence::Explicit | Presence::Required)
                if open.len() <= FLATTEN_MAX =>
            {
                open.push(id);
                self.message(id, open, path, true);
                open.pop();
            }
            (Some(id), Presence::Repeated) if open.len() <= FLATTEN_MAX => {
                open.push(id);
                for part in &self.types.message(id).fields {
                    let element = self.ty(part, open);
                    path.push(part.name.to_string());
                    self.want(path, ".", element.array(), None);
                    path.pop();
                }
                open.pop();
            }
            _ => {
                let ty = self.ty(field, open);
                let ty = if optional && field.singular() { nullable(ty) } else { ty };
                let default =
                    (field.presence == Presence::Implicit && !optional).then(|| self.zero(field)).flatten();
                self.want(path, self.separator, ty, default);
            }
        }
    }

    /// `last` joins the path's last name to the others.
    fn want(&mut self, path: &[String], last: &str, ty: Type, default: Option<String>) {
        let Some((name, before)) = path.split_last() else { return };
        let before = before.join(self.separator);
        let name = if before.is_empty() { name.clone() } else { format!("{before}{last}{name}") };
        self.wanted.push(WantedColumn { path: path.to_vec(), name, ty, default });
    }

    /// The type of one column that takes every value of a field.
    fn ty(&self, field: &Field, open: &mut Vec<MessageId>) -> Type {
        let one = self.one(field.kind, open);
        match field.presence {
            Presence::Repeated => one.array(),
            Presence::Map => {
                let entry = field.kind.message().map(|id| self.types.message(id));
                let Some([key, value]) = entry.map(|entry| &*entry.fields) else { return one };
                let own = match key.kind {
                    Kind::Text => Type::LowCardinality(Box::new(Type::String)),
                    kind => self.one(kind, open),
                };
                Type::Map(Box::new(own), Box::new(self.one(value.kind, open)))
            }
            Presence::Explicit => match &one {
                Type::Tuple(_) | Type::Json(_) => one,
                _ => nullable(one),
            },
            Presence::Implicit | Presence::Required => one,
        }
    }

    fn one(&self, kind: Kind, open: &mut Vec<MessageId>) -> Type {
        let json = || Type::Json(Box::<JsonType>::default());
        if let Some(ty) = scalar(self.types, kind) {
            return ty;
        }
        let Some(id) = kind.message() else { return json() };
        let message = self.types.message(id);
        let plain = message.known == Known::No && !message.fields.is_empty();
        if !plain || open.contains(&id) || open.len() > FLATTEN_MAX {
            return json();
        }
        open.push(id);
        let elements = message
            .fields
            .iter()
            .map(|field| TupleElement { name: Some(field.name.to_string()), ty: self.ty(field, open) });
        let tuple = Type::Tuple(elements.collect());
        open.pop();
        tuple
    }

    /// The zero of a field whose absence cannot be told, as SQL.
    fn zero(&self, field: &Field) -> Option<String> {
        let text = match field.kind {
            Kind::Enum(id) => {
                let number = Number::value_of(field.kind, &field.default);
                let zero = number.and_then(|value| Number::read(field.kind, value)).ok()?;
                let Number::Signed(zero) = zero else { return None };
                let name = self.types.enumeration(id).name(i32::try_from(zero).ok()?)?;
                format!("'{name}'")
            }
            Kind::Text | Kind::Bytes => "''".to_owned(),
            Kind::Bool => "false".to_owned(),
            Kind::Message(_) | Kind::Group(_) => return None,
            _ => "0".to_owned(),
        };
        Some(text)
    }
}
