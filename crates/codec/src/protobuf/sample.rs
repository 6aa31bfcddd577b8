//! Messages of a schema by chance, as the JSON texts that [`json_to_protobuf`](crate::json_to_protobuf)
//! reads.

use tidegate_languages::json::{Json, Members};
use tidegate_schema::Chance;

use super::encode::payload;
use super::model::{Field, Kind, Known, MessageId, Presence, ProtobufMessages};
use crate::avro::base64_text;
use crate::sample::{Extent, eighths, few_bytes, whole};

/// A JSON text of a message; `None` if none was found: one that requires itself has no value. `path` is
/// that of the message, as [`ProtobufMessages::find`] gives it.
#[must_use]
pub fn sample_protobuf(types: &ProtobufMessages, path: &[usize], chance: &mut Chance) -> Option<String> {
    let mut drawing = Drawing { types, chance, extent: Extent::default() };
    drawing.message(types.at(path)?, 0).map(|value| value.to_string())
}

struct Drawing<'s> {
    types: &'s ProtobufMessages,
    chance: &'s mut Chance,
    extent: Extent,
}

impl Drawing<'_> {
    fn message(&mut self, id: MessageId, depth: usize) -> Option<Json> {
        let message = self.types.message(id);
        let chance = &mut *self.chance;
        Some(Json::String(match message.known {
            Known::No => return self.fields(&message.fields, depth),
            Known::Timestamp => format!("{}T{}Z", chance.date(), chance.time(9)),
            Known::Duration => format!("{}.{:03}s", chance.below(10_000), chance.below(1_000)),
            Known::Wrapper => return self.one(message.fields[0].kind, depth),
            Known::Value => chance.word(),
            Known::Struct => {
                return Some(Json::Object(Members::from_iter([(
                    chance.word(),
                    Json::String(chance.word()),
                )])));
            }
            Known::ListValue => return Some(Json::Array(vec![Json::String(chance.word())])),
            Known::FieldMask => chance.word(),
            Known::Any => return Some(any(chance)),
            Known::Date => chance.date(),
            Known::Decimal | Known::ConfluentDecimal => {
                format!("{}.{:02}", chance.below(1_000_000), chance.below(100))
            }
        }))
    }

    fn fields(&mut self, fields: &[Field], depth: usize) -> Option<Json> {
        let mut members = Members::new();
        let mut oneofs: Vec<u16> = fields.iter().filter_map(|field| field.oneof).collect();
        oneofs.sort_unstable();
        oneofs.dedup();
        let chosen: Vec<u32> = oneofs
            .iter()
            .filter_map(|oneof| {
                let of: Vec<&Field> = fields.iter().filter(|field| field.oneof == Some(*oneof)).collect();
                self.chance.of(&of).map(|field| field.number)
            })
            .collect();
        for field in fields {
            let left_out = match (field.presence, field.oneof) {
                (Presence::Required, _) => false,
                (_, Some(_)) if !chosen.contains(&field.number) => true,
                _ => self.extent.is_plenty(depth) || self.chance.one_in(5),
            };
            if left_out {
                continue;
            }
            let value = match field.presence {
                Presence::Implicit | Presence::Explicit | Presence::Required => {
                    self.one(field.kind, depth + 1)?
                }
                Presence::Repeated => {
                    let n = self.chance.below(4);
                    Json::Array((0..n).map(|_| self.one(field.kind, depth + 1)).collect::<Option<_>>()?)
                }
                Presence::Map => self.map(field.kind, depth)?,
            };
            members.insert(field.name.to_string(), value);
        }
        Some(Json::Object(members))
    }

    fn map(&mut self, kind: Kind, depth: usize) -> Option<Json> {
        let [key, value] = &*self.types.message(kind.message()?).fields else { return None };
        let n = self.chance.below(3);
        let mut members = Members::new();
        for _ in 0..n {
            let name = match self.one(key.kind, depth + 1)? {
                Json::String(text) => text,
                other => other.to_string(),
            };
            members.insert(name, self.one(value.kind, depth + 1)?);
        }
        Some(Json::Object(members))
    }

    fn one(&mut self, kind: Kind, depth: usize) -> Option<Json> {
        self.extent.grow(depth)?;
        Some(match kind {
            Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64 => whole(self.chance),
            Kind::Float | Kind::Double => eighths(self.chance),
            Kind::Bool => Json::Bool(self.chance.one_in(2)),
            Kind::Text => Json::String(self.chance.word()),
            Kind::Bytes => few_bytes(self.chance),
            Kind::Enum(id) => {
                let (_, name) = self.chance.of(&self.types.enumeration(id).names)?;
                Json::String(name.to_string())
            }
            Kind::Message(id) | Kind::Group(id) => return self.message(id, depth),
        })
    }
}

/// A word in an envelope.
fn any(chance: &mut Chance) -> Json {
    // Field 1 of `google.protobuf.StringValue`, a payload.
    let mut value = vec![1 << 3 | 2];
    payload(chance.word().as_bytes(), &mut value);
    Json::Object(Members::from_iter([
        ("@type".to_owned(), Json::String("type.googleapis.com/google.protobuf.StringValue".to_owned())),
        ("value".to_owned(), Json::String(base64_text(&value))),
    ]))
}
