//! JSON texts as Avro, and Avro as JSON texts: for tools that people type into and read from.
//!
//! A union takes the value of one of its branches, or, as Avro's own JSON has it, an object of the
//! branch's name. What [`crate::avro_to_json`] writes, [`crate::json_to_avro`] reads.

use ethnum::I256;
use thiserror::Error;
use tidegate_core::Reason;
use tidegate_languages::avro::{AvroSchema, LogicalType, NodeId, Record, Shape};
use tidegate_languages::json::{Dialect, Json};

use super::encode::{bytes, encode_default, long};
use super::op::{Op, OpId, Program};
use super::resolve::Resolved;
use super::run::Run;
use super::text::unbase64;
use crate::block::Memory;
use crate::instant::{parse_date, parse_date_time, parse_time};
use crate::number;
use crate::options::Limits;
use crate::reader::Reader;
use crate::scalar::uuid;

/// A JSON text is no value of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}expected {expected}, found {found}", Place(path))]
pub struct EncodeError {
    /// Where: a JSON Pointer.
    pub path: String,
    /// What was expected there.
    pub expected: String,
    /// What was found.
    pub found: String,
}

struct Place<'a>(&'a str);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "field `{}`: ", self.0) }
    }
}

impl EncodeError {
    pub(crate) fn of(expected: &str, found: String) -> Box<Self> {
        Box::new(Self { path: String::new(), expected: expected.to_owned(), found })
    }

    pub(crate) fn new(expected: impl Into<String>, found: &Json) -> Box<Self> {
        let found = found.to_string();
        let found = found[..found.floor_char_boundary(Reason::FOUND_BYTES_MAX)].to_owned();
        Box::new(Self { path: String::new(), expected: expected.into(), found })
    }

    pub(crate) fn within(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.path.insert_str(0, &format!("/{}", super::compile::escaped(name)));
        self
    }
}

/// A JSON text in Avro's binary encoding.
///
/// # Errors
/// If the text is no value of the schema: where, what was expected and what was found.
pub fn json_to_avro(schema: &AvroSchema, text: &str) -> Result<Vec<u8>, Box<EncodeError>> {
    let value = Json::parse(text, Dialect::Avro).map_err(|error| {
        Box::new(EncodeError { path: String::new(), expected: "JSON".to_owned(), found: error.to_string() })
    })?;
    let mut out = Vec::new();
    Encoder { schema }.value(schema.root(), &value, &mut out)?;
    Ok(out)
}

/// A record in Avro's binary encoding as a JSON text.
///
/// # Errors
/// If the bytes are not what the schema says.
pub fn avro_to_json(schema: &AvroSchema, datum: &[u8]) -> Result<String, Box<Reason>> {
    let reads = Resolved::new(schema, None);
    let root = reads.root;
    let program = Program {
        reads,
        ops: vec![Op::JsonText { place: 0, read: root }],
        root: OpId(0),
        collect: None,
        limits: Limits::default(),
    };
    let mut memory = Memory::default();
    let mut text = String::new();
    let mut run = Run::new(&program, datum, &mut memory);
    run.json(root, &mut text).and_then(|()| run.bytes.end()).map_err(|refusal| Box::new(refusal.reason))?;
    Ok(text)
}

struct Encoder<'s> {
    schema: &'s AvroSchema,
}

type Encoded = Result<(), Box<EncodeError>>;

impl Encoder<'_> {
    fn value(&self, id: NodeId, value: &Json, out: &mut Vec<u8>) -> Encoded {
        let node = self.schema.node(id);
        if let Some(logical) = node.logical
            && let Some(encoded) = self.logical(logical, &node.shape, value, out)
        {
            return encoded;
        }
        match (&node.shape, value) {
            (Shape::Null, Json::Null) => {}
            (Shape::Boolean, Json::Bool(value)) => out.push(u8::from(*value)),
            (Shape::Int, Json::Integer(number)) if i32::try_from(*number).is_ok() => long(*number, out),
            (Shape::Long, Json::Integer(number)) => long(*number, out),
            #[expect(clippy::cast_possible_truncation, reason = "a float is the nearest to what was typed")]
            (Shape::Float, value) if value.is_number() => {
                out.extend((value.as_f64().unwrap_or(f64::NAN) as f32).to_le_bytes());
            }
            (Shape::Double, value) if value.is_number() => {
                out.extend(value.as_f64().unwrap_or(f64::NAN).to_le_bytes());
            }
            (Shape::String, Json::String(text)) => bytes(text.as_bytes(), out),
            (Shape::Bytes, Json::String(text)) => match unbase64(text) {
                Some(raw) => bytes(&raw, out),
                None => return Err(EncodeError::new("base64", value)),
            },
            (Shape::Fixed(fixed), Json::String(text)) => match unbase64(text) {
                Some(raw) if raw.len() == fixed.size as usize => out.extend(raw),
                _ => return Err(EncodeError::new(format!("base64 of {} bytes", fixed.size), value)),
            },
            (Shape::Enum(symbols), Json::String(text)) => {
                match symbols.symbols.iter().position(|symbol| symbol == text) {
                    Some(at) => long(at as i64, out),
                    None => {
                        let expected = format!("one of {}", symbols.symbols.join(", "));
                        return Err(EncodeError::new(expected, value));
                    }
                }
            }
            (Shape::Array(item), Json::Array(items)) => {
                if !items.is_empty() {
                    long(items.len() as i64, out);
                }
                for (at, value) in items.iter().enumerate() {
                    self.value(*item, value, out).map_err(|error| error.within(&at.to_string()))?;
                }
                long(0, out);
            }
            (Shape::Map(item), Json::Object(members)) => {
                if !members.is_empty() {
                    long(members.len() as i64, out);
                }
                for (name, value) in members {
                    bytes(name.as_bytes(), out);
                    self.value(*item, value, out).map_err(|error| error.within(name))?;
                }
                long(0, out);
            }
            (Shape::Union(branches), value) => return self.union(branches, value, out),
            (Shape::Record(record), Json::Object(_)) => return self.record(record, value, out),
            (shape, value) => {
                let expected = match node.logical {
                    Some(logical) => format!("`{}` of logical type `{}`", shape.kind(), logical.name()),
                    None => format!("`{}`", shape.kind()),
                };
                return Err(EncodeError::new(expected, value));
            }
        }
        Ok(())
    }

    fn record(&self, record: &Record, value: &Json, out: &mut Vec<u8>) -> Encoded {
        let Json::Object(members) = value else { return Err(EncodeError::new("an object", value)) };
        let stranger = members.keys().find(|name| record.field(name).is_none());
        if let Some(name) = stranger {
            let known: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
            let expected = format!("a field of `{}`: {}", record.name.full(), known.join(", "));
            return Err(EncodeError::new(expected, &members[name]).within(name));
        }
        for field in &record.fields {
            let encoded = match (members.get(&field.name), &field.default) {
                (Some(value), _) => self.value(field.node, value, out),
                (None, Some(default)) => match encode_default(self.schema, field.node, default) {
                    Some(encoded) => {
                        out.extend(encoded);
                        Ok(())
                    }
                    None => Err(EncodeError::new("a default of the field's type", default)),
                },
                (None, None) => Err(Box::new(EncodeError {
                    path: String::new(),
                    expected: "a value, for the field has no default".to_owned(),
                    found: "nothing".to_owned(),
                })),
            };
            encoded.map_err(|error| error.within(&field.name))?;
        }
        Ok(())
    }

    /// The branch that an object names, or else the first that takes the value.
    fn union(&self, branches: &[NodeId], value: &Json, out: &mut Vec<u8>) -> Encoded {
        let named = |(name, _): (&String, &Json)| {
            branches.iter().position(|branch| {
                let shape = &self.schema.node(*branch).shape;
                shape.name().map_or_else(|| shape.kind() == name, |own| own.full() == *name)
            })
        };
        if let Json::Object(members) = value
            && members.len() == 1
            && let Some((name, inner)) = members.first()
            && let Some(at) = named((name, inner))
        {
            let mut encoded = Vec::new();
            if self.value(branches[at], inner, &mut encoded).is_ok() {
                long(at as i64, out);
                out.extend(encoded);
                return Ok(());
            }
        }
        let mut failed: Option<Box<EncodeError>> = None;
        for (at, branch) in branches.iter().enumerate() {
            let mut encoded = Vec::new();
            match self.value(*branch, value, &mut encoded) {
                Ok(()) => {
                    long(at as i64, out);
                    out.extend(encoded);
                    return Ok(());
                }
                // What went wrong deepest says most.
                Err(error) => {
                    if failed.as_ref().is_none_or(|known| known.path.len() < error.path.len()) {
                        failed = Some(error);
                    }
                }
            }
        }
        match failed.filter(|error| !error.path.is_empty()) {
            Some(error) => Err(error),
            None => {
                let kinds = branches.iter().map(|branch| self.schema.node(*branch).shape.kind());
                let expected = format!("one of {}", kinds.collect::<Vec<_>>().join(", "));
                Err(EncodeError::new(expected, value))
            }
        }
    }

    /// Logical types as people write them; `None` for those that are written as what they stand on.
    fn logical(
        &self,
        logical: LogicalType,
        shape: &Shape,
        value: &Json,
        out: &mut Vec<u8>,
    ) -> Option<Encoded> {
        let wrong = |expected: &str| Err(EncodeError::new(expected, value));
        Some(match (logical, value) {
            (LogicalType::Decimal { precision, scale }, value) => {
                decimal_value((precision, scale), shape, value, out)
            }
            (LogicalType::Uuid, Json::String(text)) => match (uuid(text.as_bytes()), shape) {
                (Some(_), Shape::String) => {
                    bytes(text.as_bytes(), out);
                    Ok(())
                }
                (Some(halves), _) => {
                    out.extend(halves.map(u64::to_be_bytes).concat());
                    Ok(())
                }
                (None, _) => wrong("a UUID"),
            },
            (LogicalType::Duration, Json::Object(members)) => {
                let part = |name: &str| match members.get(name) {
                    Some(Json::Integer(value)) => u32::try_from(*value).ok(),
                    Some(_) => None,
                    None => Some(0),
                };
                match (part("months"), part("days"), part("milliseconds")) {
                    (Some(months), Some(days), Some(millis)) => {
                        out.extend([months, days, millis].map(u32::to_le_bytes).concat());
                        Ok(())
                    }
                    _ => wrong("`months`, `days` and `milliseconds`"),
                }
            }
            (LogicalType::Date, Json::String(text)) => match parse_date(text) {
                Some(days) => {
                    long(days.into(), out);
                    Ok(())
                }
                None => wrong("a date such as 2026-01-31"),
            },
            (LogicalType::TimeMillis | LogicalType::TimeMicros, Json::String(text)) => {
                let digits = if logical == LogicalType::TimeMillis { 3 } else { 6 };
                let time = parse_time(text).filter(|(negative, _)| !negative);
                match time.and_then(|(_, time)| time.ticks(digits)) {
                    Some(ticks) => {
                        long(ticks, out);
                        Ok(())
                    }
                    None => wrong("a time of day such as 23:59:59.999"),
                }
            }
            (logical, Json::String(text)) => {
                let (digits, zoned) = moment(logical)?;
                let read = parse_date_time(text).filter(|instant| instant.zoned == zoned);
                match read.and_then(|instant| instant.ticks(digits)) {
                    Some(ticks) => {
                        long(ticks, out);
                        Ok(())
                    }
                    None if zoned => wrong("a date-time with its offset, such as 2026-01-31T12:00:00.123Z"),
                    None => wrong("a date-time without an offset, such as 2026-01-31T12:00:00.123"),
                }
            }
            _ => return None,
        })
    }
}

fn decimal_value((precision, scale): (u32, u32), shape: &Shape, value: &Json, out: &mut Vec<u8>) -> Encoded {
    let text = match value {
        Json::String(text) => text.clone(),
        value if value.is_number() => value.to_string(),
        _ => return Err(EncodeError::new("a decimal number, best as a string of digits", value)),
    };
    match (decimal(&text, scale, precision), shape) {
        (Some(digits), Shape::Fixed(fixed)) => fixed_digits(digits, fixed.size as usize, out)
            .ok_or_else(|| EncodeError::new("a decimal that fits its `fixed`", value)),
        (Some(digits), _) => {
            bytes(&shortest(digits), out);
            Ok(())
        }
        (None, _) => {
            let expected = format!("a decimal of {precision} digits, {scale} of them after the point");
            Err(EncodeError::new(expected, value))
        }
    }
}

/// Digits of the second, and whether an offset belongs to the text.
const fn moment(logical: LogicalType) -> Option<(u8, bool)> {
    match logical {
        LogicalType::TimestampMillis => Some((3, true)),
        LogicalType::TimestampMicros => Some((6, true)),
        LogicalType::TimestampNanos => Some((9, true)),
        LogicalType::LocalTimestampMillis => Some((3, false)),
        LogicalType::LocalTimestampMicros => Some((6, false)),
        LogicalType::LocalTimestampNanos => Some((9, false)),
        LogicalType::Decimal { .. }
        | LogicalType::BigDecimal
        | LogicalType::Uuid
        | LogicalType::Duration
        | LogicalType::Date
        | LogicalType::TimeMillis
        | LogicalType::TimeMicros => None,
    }
}

/// A number's digits without the point; `None` if it has others than it may have.
fn decimal(text: &str, scale: u32, precision: u32) -> Option<I256> {
    let mut reader = Reader::new(text);
    let whole = reader.number().ok().filter(|number| number.text.len() == text.len());
    number::signed256(whole?.text, scale, precision.min(76) as usize).map(I256::from_le_bytes)
}

/// Two's complement, big-endian, in as few bytes as hold it.
fn shortest(digits: I256) -> Vec<u8> {
    let whole = digits.to_be_bytes();
    let fill = if digits < I256::ZERO { 0xFF } else { 0 };
    let mut rest = whole.as_slice();
    while let [first, second, ..] = rest
        && *first == fill
        && (second & 0x80 != 0) == (fill != 0)
    {
        rest = &rest[1..];
    }
    rest.to_vec()
}

fn fixed_digits(digits: I256, size: usize, out: &mut Vec<u8>) -> Option<()> {
    let short = shortest(digits);
    let missing = size.checked_sub(short.len())?;
    let fill = if digits < I256::ZERO { 0xFF } else { 0 };
    out.extend(std::iter::repeat_n(fill, missing));
    out.extend(short);
    Some(())
}
