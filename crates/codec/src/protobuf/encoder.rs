//! JSON texts as Protobuf, and Protobuf as JSON texts: for tools that people type into and read from.
//!
//! Names may stand as the schema has them or in Protobuf's camel case, integers in strings. What
//! [`crate::protobuf_to_json`] writes, [`crate::json_to_protobuf`] reads.

use tidegate_core::Reason;
use tidegate_languages::json::{Dialect, Json, Members};

use super::encode::{double, fixed32, fixed64, message_indexes, payload, varint};
use super::model::{Field, Kind, Known, MessageId, Presence, ProtobufMessages, zigzag};
use super::programs::chosen;
use super::text::Text;
use super::wire::{GROUP_END, PAYLOAD, Wire};
use crate::avro::{EncodeError, unbase64};
use crate::instant::{parse_date, parse_date_time};
use crate::options::Limits;

type Encoded<T = ()> = Result<T, Box<EncodeError>>;

/// A JSON text in Protobuf's binary encoding, with Confluent's message indexes before it. `path` is that
/// of the message, as [`ProtobufMessages::find`] gives it.
///
/// # Errors
/// If the text is no value of the message: where, what was expected and what was found.
pub fn json_to_protobuf(types: &ProtobufMessages, path: &[usize], text: &str) -> Encoded<Vec<u8>> {
    let value =
        Json::parse(text, Dialect::Avro).map_err(|error| EncodeError::of("JSON", error.to_string()))?;
    let id = types.at(path).ok_or_else(|| EncodeError::of("a message of the schema", format!("{path:?}")))?;
    let mut out = message_indexes(path);
    out.extend(Encoder { types }.message(id, &value)?);
    Ok(out)
}

/// A message, behind its indexes, as a JSON text. `indexes` are those of the header, if they stand there.
///
/// # Errors
/// If the bytes are not what the schema says.
pub fn protobuf_to_json(
    types: &ProtobufMessages,
    indexes: Option<&[u8]>,
    datum: &[u8],
) -> Result<String, Box<Reason>> {
    let limits = Limits::default();
    let mut out = String::new();
    let mut rest = Wire::new(indexes.unwrap_or(datum));
    let only = indexes.is_some_and(<[u8]>::is_empty);
    let id = if only { Ok(types.outermost[0]) } else { chosen(types, &mut rest) };
    let body = if indexes.is_some() { Wire::new(datum) } else { rest };
    let text = Text { types, bytes_max: limits.record_bytes_max };
    id.and_then(|id| text.message(id, body, limits.depth_max, &mut out))
        .map_err(|refusal| Box::new(refusal.reason))?;
    Ok(out)
}

struct Encoder<'s> {
    types: &'s ProtobufMessages,
}

impl Encoder<'_> {
    fn message(&self, id: MessageId, value: &Json) -> Encoded<Vec<u8>> {
        let message = self.types.message(id);
        let wrong = |expected: &str| Err(EncodeError::new(expected, value));
        match (message.known, value) {
            (Known::Timestamp, Json::String(text)) => match parse_date_time(text) {
                Some(instant) if !instant.finer => {
                    Ok(numbers(&[instant.seconds.cast_unsigned(), u64::from(instant.nanos)]))
                }
                _ => wrong("a date-time with its offset, of nanoseconds at most"),
            },
            (Known::Duration, Json::String(text)) => match duration(text) {
                Some((seconds, nanos)) => {
                    Ok(numbers(&[seconds.cast_unsigned(), i64::from(nanos).cast_unsigned()]))
                }
                None => wrong("a duration in seconds, such as `1.5s`"),
            },
            (Known::Date, Json::String(text)) if parse_date(text).is_some() => {
                let parts: Vec<u64> = text.split('-').filter_map(|part| part.parse().ok()).collect();
                Ok(numbers(&parts))
            }
            (Known::FieldMask, Json::String(text)) => {
                let paths = text.split(',').filter(|path| !path.is_empty());
                Ok(paths.flat_map(|path| tagged(1, path.as_bytes())).collect())
            }
            (Known::Decimal, Json::String(text)) => Ok(tagged(1, text.as_bytes())),
            (Known::Decimal, number) if number.is_number() => Ok(tagged(1, number.to_string().as_bytes())),
            (Known::ConfluentDecimal, Json::String(text)) => confluent(text, value),
            (Known::ConfluentDecimal, number) if number.is_number() => confluent(&number.to_string(), value),
            (Known::Any, Json::Object(members)) => any(members, value),
            (Known::Wrapper, value) => {
                let mut out = Vec::new();
                self.one(&message.fields[0], value, &mut out)?;
                Ok(out)
            }
            (Known::Struct, Json::Object(_)) | (Known::ListValue, Json::Array(_)) => {
                let mut out = Vec::new();
                self.field(&message.fields[0], value, &mut out)?;
                Ok(out)
            }
            (Known::Value, value) => self.any_value(id, value),
            (_, Json::Object(members)) => self.fields(id, members, value),
            _ => wrong(&format!("a `{}`", message.full_name)),
        }
    }

    fn fields(&self, id: MessageId, members: &Members, whole: &Json) -> Encoded<Vec<u8>> {
        let message = self.types.message(id);
        let mut out = Vec::new();
        let mut oneofs: Vec<(u16, &str)> = Vec::new();
        for (name, value) in members {
            let Some(field) = message.named(name).or_else(|| by_json_name(&message.fields, name)) else {
                let known: Vec<&str> = message.fields.iter().map(|field| &*field.name).collect();
                let expected = format!("a field of `{}`: {}", message.full_name, known.join(", "));
                return Err(EncodeError::new(expected, value).within(name));
            };
            let null_is_a_value = self.known(field.kind) == Some(Known::Value);
            if *value == Json::Null && !null_is_a_value {
                continue;
            }
            if let Some(oneof) = field.oneof {
                if let Some((_, other)) = oneofs.iter().find(|(known, _)| *known == oneof) {
                    let expected = format!("one of `{other}` and `{name}`");
                    return Err(EncodeError::new(expected, value).within(name));
                }
                oneofs.push((oneof, name));
            }
            self.field(field, value, &mut out).map_err(|error| error.within(name))?;
        }
        for field in message.fields.iter().filter(|field| field.presence == Presence::Required) {
            if !members.contains_key(&*field.name) && !members.contains_key(&*field.json_name) {
                return Err(EncodeError::new("a value, for the field is required", whole).within(&field.name));
            }
        }
        Ok(out)
    }

    fn known(&self, kind: Kind) -> Option<Known> {
        kind.message().map(|id| self.types.message(id).known)
    }

    fn field(&self, field: &Field, value: &Json, out: &mut Vec<u8>) -> Encoded {
        match (field.presence, value) {
            (Presence::Repeated, Json::Array(items)) if field.packed && field.kind.packable() => {
                let mut packed = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    self.bare(field.kind, item, &mut packed)
                        .map_err(|error| error.within(&at.to_string()))?;
                }
                if !packed.is_empty() {
                    varint(u64::from(field.number << 3 | PAYLOAD), out);
                    payload(&packed, out);
                }
                Ok(())
            }
            (Presence::Repeated, Json::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.one(field, item, out).map_err(|error| error.within(&at.to_string()))?;
                }
                Ok(())
            }
            (Presence::Map, Json::Object(members)) => self.map(field, members, out),
            (Presence::Repeated, value) => Err(EncodeError::new("an array", value)),
            (Presence::Map, value) => Err(EncodeError::new("an object", value)),
            (Presence::Implicit | Presence::Explicit | Presence::Required, value) => {
                let mut written = Vec::new();
                self.one(field, value, &mut written)?;
                // Where absence cannot be told, zero is not written.
                let mut tag = Vec::new();
                varint(u64::from(field.tag()), &mut tag);
                let zero = field.presence == Presence::Implicit && written[tag.len()..] == *field.default;
                if !zero {
                    out.extend(written);
                }
                Ok(())
            }
        }
    }

    fn map(&self, field: &Field, members: &Members, out: &mut Vec<u8>) -> Encoded {
        let Some(entry) = field.kind.message().map(|id| self.types.message(id)) else { return Ok(()) };
        for (name, value) in members {
            let mut bytes = Vec::new();
            let key = match (entry.fields[0].kind, name.as_str()) {
                (Kind::Bool, "true") => Json::Bool(true),
                (Kind::Bool, "false") => Json::Bool(false),
                _ => Json::String(name.clone()),
            };
            self.one(&entry.fields[0], &key, &mut bytes).map_err(|error| error.within(name))?;
            self.one(&entry.fields[1], value, &mut bytes).map_err(|error| error.within(name))?;
            varint(u64::from(field.tag()), out);
            payload(&bytes, out);
        }
        Ok(())
    }

    /// A value behind its tag.
    fn one(&self, field: &Field, value: &Json, out: &mut Vec<u8>) -> Encoded {
        varint(u64::from(field.tag()), out);
        match field.kind {
            Kind::Message(id) => {
                payload(&self.message(id, value)?, out);
                Ok(())
            }
            Kind::Group(id) => {
                out.extend(self.message(id, value)?);
                varint(u64::from(field.number << 3 | GROUP_END), out);
                Ok(())
            }
            kind => self.bare(kind, value, out),
        }
    }

    /// A value without parts.
    fn bare(&self, kind: Kind, value: &Json, out: &mut Vec<u8>) -> Encoded {
        let wrong = || EncodeError::new(format!("`{}`", self.types.kind_name(kind)), value);
        let whole = || integer(value).ok_or_else(wrong);
        let signed32 = || i32::try_from(whole()?).map_err(|_| wrong());
        let unsigned32 = || u32::try_from(whole()?).map_err(|_| wrong());
        let signed = || i64::try_from(whole()?).map_err(|_| wrong());
        let unsigned = || u64::try_from(whole()?).map_err(|_| wrong());
        match kind {
            Kind::Int32 => varint(i64::from(signed32()?).cast_unsigned(), out),
            Kind::Int64 => varint(signed()?.cast_unsigned(), out),
            Kind::Uint32 => varint(u64::from(unsigned32()?), out),
            Kind::Uint64 => varint(unsigned()?, out),
            Kind::Sint32 => varint(zigzag(i64::from(signed32()?)), out),
            Kind::Sint64 => varint(zigzag(signed()?), out),
            Kind::Fixed32 => fixed32(unsigned32()?, out),
            Kind::Fixed64 => fixed64(unsigned()?, out),
            Kind::Sfixed32 => fixed32(signed32()?.cast_unsigned(), out),
            Kind::Sfixed64 => fixed64(signed()?.cast_unsigned(), out),
            #[expect(clippy::cast_possible_truncation, reason = "a float is the nearest to what was typed")]
            Kind::Float => fixed32((float(value).ok_or_else(wrong)? as f32).to_bits(), out),
            Kind::Double => double(float(value).ok_or_else(wrong)?, out),
            Kind::Bool => match value {
                Json::Bool(value) => out.push(u8::from(*value)),
                _ => return Err(wrong()),
            },
            Kind::Text => payload(value.as_str().ok_or_else(wrong)?.as_bytes(), out),
            Kind::Bytes => {
                let raw = value.as_str().and_then(unbase64);
                payload(&raw.ok_or_else(|| EncodeError::new("base64", value))?, out);
            }
            Kind::Enum(id) => {
                let found = self.types.enumeration(id);
                let number = match value {
                    Json::String(name) => found.numbers.get(name.as_str()).copied(),
                    value => integer(value).and_then(|number| i32::try_from(number).ok()),
                };
                let names = || {
                    let names: Vec<&str> = found.names.iter().map(|(_, name)| &**name).collect();
                    EncodeError::new(format!("one of {}", names.join(", ")), value)
                };
                varint(i64::from(number.ok_or_else(names)?).cast_unsigned(), out);
            }
            Kind::Message(_) | Kind::Group(_) => return Err(wrong()),
        }
        Ok(())
    }

    /// A `google.protobuf.Value`: any JSON.
    fn any_value(&self, id: MessageId, value: &Json) -> Encoded<Vec<u8>> {
        let number = match value {
            Json::Null => return Ok(numbers(&[0])),
            Json::String(_) => 3,
            Json::Bool(_) => 4,
            Json::Object(_) => 5,
            Json::Array(_) => 6,
            Json::Integer(_) | Json::BigInteger(_) | Json::Double(_) | Json::Decimal(_) => 2,
        };
        let message = self.types.message(id);
        let mut out = Vec::new();
        if let Some(at) = message.field(number) {
            self.one(&message.fields[at], value, &mut out)?;
        }
        Ok(out)
    }
}

fn by_json_name<'f>(fields: &'f [Field], name: &str) -> Option<&'f Field> {
    fields.iter().find(|field| *field.json_name == *name)
}

/// Fields 1, 2 and so on, as numbers.
fn numbers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for (value, number) in values.iter().zip(1_u64..) {
        varint(number << 3, &mut out);
        varint(*value, &mut out);
    }
    out
}

fn tagged(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | u64::from(PAYLOAD), &mut out);
    payload(value, &mut out);
    out
}

fn any(members: &Members, whole: &Json) -> Encoded<Vec<u8>> {
    let part = |name: &str| members.get(name).and_then(Json::as_str);
    match (part("@type"), part("value").and_then(unbase64), members.len()) {
        (Some(url), Some(value), 2) => Ok([tagged(1, url.as_bytes()), tagged(2, &value)].concat()),
        _ => Err(EncodeError::new("an object of `@type` and `value`, its bytes in base64", whole)),
    }
}

fn confluent(text: &str, value: &Json) -> Encoded<Vec<u8>> {
    let (digits, scale) = match text.split_once('.') {
        Some((whole, fraction)) => (format!("{whole}{fraction}"), fraction.len()),
        None => (text.to_owned(), 0),
    };
    let number: i128 =
        digits.parse().map_err(|_| EncodeError::new("a decimal of 38 digits at most", value))?;
    let bytes = number.to_be_bytes();
    // As few bytes as say the number and its sign.
    let redundant = |pair: &&[u8]| pair[0] == if pair[1] < 0x80 { 0 } else { 0xFF };
    let first = bytes.windows(2).take_while(redundant).count();
    let mut out = tagged(1, &bytes[first..]);
    varint(2 << 3, &mut out);
    varint(digits.trim_start_matches('-').len() as u64, &mut out);
    varint(3 << 3, &mut out);
    varint(scale as u64, &mut out);
    Ok(out)
}

/// `1.5s` as seconds and nanoseconds.
fn duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some((sign * whole.parse::<i64>().ok()?, sign as i32 * nanos))
}

/// An integer, in a string or not.
fn integer(value: &Json) -> Option<i128> {
    match value {
        Json::Integer(value) => Some(i128::from(*value)),
        Json::BigInteger(digits) | Json::String(digits) => digits.parse().ok(),
        Json::Double(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i128),
        Json::Double(_)
        | Json::Decimal(_)
        | Json::Null
        | Json::Bool(_)
        | Json::Array(_)
        | Json::Object(_) => None,
    }
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        value => value.as_f64(),
    }
}
