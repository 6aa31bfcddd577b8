//! Messages as JSON text, for columns of JSON, for fields that are collected, and for people.
//!
//! | Protobuf | JSON |
//! | --- | --- |
//! | names | as the schema has them, not in camel case |
//! | integers of any size | numbers |
//! | `bytes` | base64 |
//! | enumerations | the name; the number if the schema has none for it |
//! | NaN and infinities | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `Timestamp`, `google.type.Date` | RFC 3339 |
//! | `Duration` | `"1.5s"` |
//! | wrappers, `Struct`, `Value`, `ListValue`, `FieldMask` | as Protobuf's JSON has them |
//! | `Any` | an object of `@type` and `value`, its bytes |
//! | what was not written | zero where that cannot be told, else left out |

use std::fmt::Write as _;

use hashbrown::HashMap;
use tidegate_core::ReasonCode;

use super::gather::{Part, gather, joined};
use super::known;
use super::model::{Field, Kind, Known, MessageId, Presence, ProtobufMessages};
use super::wire::{Wire, too_deep};
use crate::avro::base64;
use crate::compile::json_escape_into;
use crate::refusal::{Outcome, Refusal};

/// Writes texts.
#[derive(Clone, Copy)]
pub(crate) struct Text<'s> {
    pub(crate) types: &'s ProtobufMessages,
    /// How long a text may become.
    pub(crate) bytes_max: usize,
}

/// A value without parts, whatever bytes it was written with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Number {
    Signed(i64),
    Unsigned(u64),
    /// Its bits.
    Float(u32),
    /// Its bits.
    Double(u64),
    Bool(bool),
    Bytes(Box<[u8]>),
}

impl Number {
    /// What the bytes of a value, without its length, say.
    pub(crate) fn read(kind: Kind, mut value: Wire<'_>) -> Outcome<Self> {
        Self::next(kind, &mut value)
    }

    /// The next of many values; texts and bytes take all that is there.
    pub(crate) fn next(kind: Kind, wire: &mut Wire<'_>) -> Outcome<Self> {
        Ok(match kind {
            Kind::Int32 | Kind::Enum(_) => Self::Signed(i64::from(wire.varint()? as i32)),
            Kind::Int64 => Self::Signed(wire.varint()? as i64),
            Kind::Uint32 => Self::Unsigned(u64::from(wire.varint()? as u32)),
            Kind::Uint64 => Self::Unsigned(wire.varint()?),
            Kind::Sint32 => Self::Signed(i64::from(unzigzag32(wire.varint()?))),
            Kind::Sint64 => Self::Signed(unzigzag(wire.varint()?)),
            Kind::Fixed32 => Self::Unsigned(u64::from(wire.fixed32()?)),
            Kind::Fixed64 => Self::Unsigned(wire.fixed64()?),
            Kind::Sfixed32 => Self::Signed(i64::from(wire.fixed32()?.cast_signed())),
            Kind::Sfixed64 => Self::Signed(wire.fixed64()?.cast_signed()),
            Kind::Float => Self::Float(wire.fixed32()?),
            Kind::Double => Self::Double(wire.fixed64()?),
            Kind::Bool => Self::Bool(wire.varint()? != 0),
            Kind::Text => Self::Bytes(wire.as_text()?.as_bytes().into()),
            Kind::Bytes | Kind::Message(_) | Kind::Group(_) => Self::Bytes(wire.rest().into()),
        })
    }

    /// A default's bytes without their length.
    pub(crate) fn value_of(kind: Kind, default: &[u8]) -> Outcome<Wire<'_>> {
        let mut wire = Wire::new(default);
        match kind {
            Kind::Text | Kind::Bytes => wire.payload(),
            _ => Ok(wire),
        }
    }
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) const fn unzigzag32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

impl Text<'_> {
    /// Appends the text of a message.
    pub(crate) fn message(self, id: MessageId, wire: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
        self.bounded(out)?;
        match self.types.message(id).known {
            Known::Timestamp => known::Timestamp::read(wire)?.write(out)?,
            Known::Duration => known::Duration::read(wire)?.write(out)?,
            Known::Date => quoted(&known::date_text(wire)?, out),
            Known::FieldMask => quoted(&known::field_mask(wire)?, out),
            Known::Decimal => quoted(known::decimal(wire)?, out),
            Known::ConfluentDecimal => quoted(&known::ConfluentDecimal::read(wire)?.text()?, out),
            Known::Any => known::any(wire, out)?,
            Known::Wrapper => self.wrapped(id, wire, depth, out)?,
            Known::Struct | Known::ListValue => self.only(id, wire, depth, out)?,
            Known::Value => self.value(id, wire, depth, out)?,
            Known::No => self.fields(id, wire, depth, out)?,
        }
        Ok(())
    }

    fn fields(self, id: MessageId, wire: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        let message = self.types.message(id);
        let gathered = gather(self.types, id, wire, depth)?;
        let mut written = gathered.fields().peekable();
        out.push('{');
        let mut first = true;
        for (at, field) in message.fields.iter().enumerate() {
            let parts = written.next_if(|parts| parts[0].field == at);
            if parts.is_none() && field.presence != Presence::Implicit {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            quoted(&field.name, out);
            out.push(':');
            let parts = parts.unwrap_or_default();
            self.field(field, parts, depth, out).map_err(|refusal| refusal.within(&field.name))?;
        }
        out.push('}');
        Ok(())
    }

    /// Appends the text of a field, of all that was written of it.
    pub(crate) fn field(self, field: &Field, parts: &[Part<'_>], depth: usize, out: &mut String) -> Outcome {
        self.bounded(out)?;
        match (field.presence, parts) {
            (Presence::Map, parts) => {
                let id = field.kind.message().unwrap_or(MessageId(0));
                self.map(id, parts, depth, out)
            }
            (Presence::Repeated, parts) => self.list(field, parts, depth, out),
            (_, []) => self.scalar(field.kind, Number::value_of(field.kind, &field.default)?, out),
            (_, [part]) => self.one(field.kind, part.value, depth, out),
            (_, parts) => {
                let whole = joined(parts);
                self.one(field.kind, Wire::new(&whole), depth, out)
            }
        }
    }

    fn one(self, kind: Kind, value: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        match kind.message() {
            Some(id) => self.message(id, value, depth, out),
            None => self.scalar(kind, value, out),
        }
    }

    fn list(self, field: &Field, parts: &[Part<'_>], depth: usize, out: &mut String) -> Outcome {
        out.push('[');
        let mut index = 0_u64;
        for part in parts {
            let mut rest = part.value;
            loop {
                if part.packed && rest.is_empty() {
                    break;
                }
                if index > 0 {
                    out.push(',');
                }
                let written = if part.packed {
                    self.next(field.kind, &mut rest, out)
                } else {
                    self.one(field.kind, rest, depth, out)
                };
                written.map_err(|refusal| refusal.within_item(index))?;
                index += 1;
                if !part.packed {
                    break;
                }
            }
            self.bounded(out)?;
        }
        out.push(']');
        Ok(())
    }

    /// An object; of a key that comes twice, the last value.
    fn map(self, id: MessageId, parts: &[Part<'_>], depth: usize, out: &mut String) -> Outcome {
        let entry = self.types.message(id);
        let [key_field, value_field] = &*entry.fields else { return Ok(()) };
        let mut texts: Vec<String> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for part in parts {
            let gathered = gather(self.types, id, part.value, depth)?;
            let mut key = String::new();
            let of = |at: usize| gathered.fields().find(|parts| parts[0].field == at).unwrap_or_default();
            self.field(key_field, of(0), depth, &mut key)?;
            if !key.starts_with('"') {
                key = format!("\"{key}\"");
            }
            let mut text = format!("{key}:");
            let value = match of(1) {
                [] if value_field.kind.message().is_some() => {
                    self.one(value_field.kind, Wire::new(&[]), depth, &mut text)
                }
                parts => self.field(value_field, parts, depth, &mut text),
            };
            value.map_err(|refusal| refusal.within(key.trim_matches('"')))?;
            match places.get(&key) {
                Some(at) => texts[*at] = text,
                None => {
                    places.insert(key, texts.len());
                    texts.push(text);
                }
            }
        }
        out.push('{');
        out.push_str(&texts.join(","));
        out.push('}');
        Ok(())
    }

    pub(crate) fn scalar(self, kind: Kind, value: Wire<'_>, out: &mut String) -> Outcome {
        let mut rest = value;
        self.next(kind, &mut rest, out)
    }

    /// Appends the next of many values.
    fn next(self, kind: Kind, rest: &mut Wire<'_>, out: &mut String) -> Outcome {
        match kind {
            Kind::Text => quoted(rest.as_text()?, out),
            Kind::Bytes => base64(rest.rest(), out),
            Kind::Enum(id) => {
                let number = rest.varint()? as i32;
                match self.types.enumeration(id).name(number) {
                    Some(name) => quoted(name, out),
                    None => written(write!(out, "{number}")),
                }
            }
            kind => match Number::next(kind, rest)? {
                Number::Signed(value) => written(write!(out, "{value}")),
                Number::Unsigned(value) => written(write!(out, "{value}")),
                Number::Bool(value) => written(write!(out, "{value}")),
                Number::Float(bits) => {
                    let value = f32::from_bits(bits);
                    float(f64::from(value), &value, out);
                }
                Number::Double(bits) => {
                    let value = f64::from_bits(bits);
                    float(value, &value, out);
                }
                Number::Bytes(_) => {}
            },
        }
        Ok(())
    }

    /// A wrapper's value.
    fn wrapped(self, id: MessageId, wire: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        let field = &self.types.message(id).fields[0];
        let gathered = gather(self.types, id, wire, depth)?;
        self.field(field, &gathered.parts, depth, out)
    }

    /// The fields of a Struct, the values of a ListValue.
    fn only(self, id: MessageId, wire: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        let field = &self.types.message(id).fields[0];
        let gathered = gather(self.types, id, wire, depth)?;
        self.field(field, &gathered.parts, depth, out)
    }

    /// A Value: of its one field.
    fn value(self, id: MessageId, wire: Wire<'_>, depth: usize, out: &mut String) -> Outcome {
        let gathered = gather(self.types, id, wire, depth)?;
        let Some(parts) = gathered.fields().next() else {
            out.push_str("null");
            return Ok(());
        };
        let field = &self.types.message(id).fields[parts[0].field];
        if field.number == 1 {
            out.push_str("null");
            return Ok(());
        }
        self.field(field, parts, depth, out)
    }

    /// Names and numbers may be much longer in text than in bytes: what they come to is bounded too.
    fn bounded(self, out: &str) -> Outcome {
        if out.len() <= self.bytes_max {
            return Ok(());
        }
        let expected = format!("at most {} bytes of JSON text", self.bytes_max);
        Err(Refusal::decode(ReasonCode::TooLarge, &expected, "more"))
    }
}

pub(crate) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    json_escape_into(text, out);
    out.push('"');
}

fn float(value: f64, shown: &dyn std::fmt::Debug, out: &mut String) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        written(write!(out, "{shown:?}"));
    }
}

/// Writing into a `String` does not fail.
pub(crate) fn written(result: std::fmt::Result) {
    debug_assert!(result.is_ok());
}
