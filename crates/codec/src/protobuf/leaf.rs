//! Single values into columns of ClickHouse's scalar types: which fit is decided once.

use ethnum::I256;
use tidegate_core::ReasonCode;
use tidegate_native::{Column, Type};

use super::known;
use super::model::{EnumId, Field, Kind, Known, Message, MessageId, ProtobufMessages};
use super::text::{unzigzag, unzigzag32};
use super::wire::Wire;
use crate::avro::{Leaf as Put, Put as How, Read, ReadShape, push_decimal, rescaled};
use crate::instant::Instant;
use crate::refusal::{Outcome, Refusal};
use crate::scalar::{Kind as ScalarKind, Scalar, TimeReading, Token, push_integer, quoted};

/// A value without parts, on its way into a column.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    source: Source,
    put: Put,
}

/// How the bytes are read.
#[derive(Debug, Clone)]
enum Source {
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
    Enum(Box<Symbols>),
    Timestamp,
    Duration,
    Date,
    Decimal,
    ConfluentDecimal,
    FieldMask,
    Wrapped(Box<Wrapped>),
}

/// An enumeration's numbers and what they are in the column.
#[derive(Debug, Clone)]
struct Symbols {
    by_number: Box<[(i32, Symbol)]>,
}

#[derive(Debug, Clone)]
struct Symbol {
    name: Box<str>,
    /// Its number in the column's own enumeration.
    number: Option<i16>,
}

impl Symbols {
    fn new(types: &ProtobufMessages, id: EnumId, ty: &Type) -> Self {
        let number = |name: &str| match ty {
            Type::Enum8(values) => {
                values.iter().find(|(known, _)| known == name).map(|(_, value)| i16::from(*value))
            }
            Type::Enum16(values) => values.iter().find(|(known, _)| known == name).map(|(_, value)| *value),
            _ => None,
        };
        let names = types.enumeration(id).names.iter();
        let symbols =
            names.map(|(value, name)| (*value, Symbol { name: name.clone(), number: number(name) }));
        Self { by_number: symbols.collect() }
    }

    /// Most enumerations count from zero.
    #[inline]
    fn get(&self, number: i32) -> Option<&Symbol> {
        let at_its_place = usize::try_from(number).ok().and_then(|at| self.by_number.get(at));
        if let Some((_, symbol)) = at_its_place.filter(|(known, _)| *known == number) {
            return Some(symbol);
        }
        let at = self.by_number.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        Some(&self.by_number[at].1)
    }
}

/// The value of a wrapper.
#[derive(Debug, Clone)]
struct Wrapped {
    leaf: Leaf,
    tag: u32,
    default: Box<[u8]>,
}

impl Leaf {
    /// How a value gets into a column of this type; `None` if it does not.
    pub(crate) fn new(
        types: &ProtobufMessages,
        kind: Kind,
        ty: &Type,
        reading: &TimeReading,
    ) -> Option<Self> {
        let put = |shape: ReadShape| Put::new(&Read { shape, logical: None }, ty, reading);
        let long = || put(ReadShape::Long);
        let (source, put) = match kind {
            Kind::Int32 => (Source::Int32, long()?),
            Kind::Int64 => (Source::Int64, long()?),
            Kind::Uint32 => (Source::Uint32, long()?),
            Kind::Uint64 => (Source::Uint64, long()?),
            Kind::Sint32 => (Source::Sint32, long()?),
            Kind::Sint64 => (Source::Sint64, long()?),
            Kind::Fixed32 => (Source::Fixed32, long()?),
            Kind::Fixed64 => (Source::Fixed64, long()?),
            Kind::Sfixed32 => (Source::Sfixed32, long()?),
            Kind::Sfixed64 => (Source::Sfixed64, long()?),
            Kind::Float => (Source::Float, put(ReadShape::Float)?),
            Kind::Double => (Source::Double, put(ReadShape::Double)?),
            Kind::Bool => (Source::Bool, put(ReadShape::Boolean)?),
            Kind::Text => (Source::Text, put(ReadShape::Text)?),
            Kind::Bytes => (Source::Bytes, bytes(ty).map_or_else(|| put(ReadShape::Bytes), Some)?),
            Kind::Enum(id) => {
                let source = Source::Enum(Box::new(Symbols::new(types, id, ty)));
                let as_number = matches!(long().map(|put| put.put), Some(How::Integer));
                let symbol = || put(ReadShape::Enum([Some("".into())].into()));
                (source, if as_number { long()? } else { symbol()? })
            }
            Kind::Message(id) | Kind::Group(id) => {
                return Self::of_message(types, types.message(id), (ty, reading));
            }
        };
        Some(Self { source, put })
    }

    fn of_message(
        types: &ProtobufMessages,
        message: &Message,
        (ty, reading): (&Type, &TimeReading),
    ) -> Option<Self> {
        let text = || Put::new(&Read { shape: ReadShape::Text, logical: None }, ty, reading);
        let fits = |source, takes: bool| takes.then(text).flatten().map(|put| Self { source, put });
        let time = matches!(ty, Type::DateTime { .. } | Type::DateTime64 { .. });
        let string = *ty == Type::String;
        match message.known {
            Known::Timestamp => fits(Source::Timestamp, time || string),
            Known::Date => fits(Source::Date, string || matches!(ty, Type::Date | Type::Date32)),
            Known::Decimal => fits(Source::Decimal, string || matches!(ty, Type::Decimal { .. })),
            Known::FieldMask => fits(Source::FieldMask, string),
            Known::Duration if string => fits(Source::Duration, true),
            Known::ConfluentDecimal if string => fits(Source::ConfluentDecimal, true),
            Known::Duration | Known::ConfluentDecimal => {
                let Type::Decimal { precision, scale } = ty else { return None };
                let put = How::Places { scale: *scale, precision: *precision };
                let source = if message.known == Known::Duration {
                    Source::Duration
                } else {
                    Source::ConfluentDecimal
                };
                Some(Self { source, put: Put::of(put, ty) })
            }
            Known::Wrapper => {
                let field = message.fields.first()?;
                let leaf = Self::new(types, field.kind, ty, reading)?;
                let put = leaf.put.clone();
                let wrapped = Wrapped { leaf, tag: field.tag(), default: field.default.clone() };
                Some(Self { source: Source::Wrapped(Box::new(wrapped)), put })
            }
            Known::No | Known::Struct | Known::Value | Known::ListValue | Known::Any => None,
        }
    }

    /// Reads a value and writes it.
    #[inline]
    pub(crate) fn run(&self, wire: &mut Wire<'_>, column: &mut Column) -> Outcome {
        match (&self.source, &self.put.put, column) {
            (Source::Text, How::Plain, Column::String(values)) => {
                values.push_str(wire.text()?);
                Ok(())
            }
            (Source::Text, How::Plain, Column::LowCardinality(values)) => {
                let text = wire.text()?;
                if values.push_str(text) { Ok(()) } else { Err(self.put.wrong_type(&quoted(text))) }
            }
            (Source::Int64, how, column) => self.put.integer(wire.varint()? as i64, how, column),
            (Source::Int32, how, column) => self.put.integer(i64::from(wire.varint()? as i32), how, column),
            (Source::Double, How::Float, Column::Float64(values)) => {
                values.push(f64::from_bits(wire.fixed64()?));
                Ok(())
            }
            (Source::Bool, How::Bool, Column::UInt8(values)) => {
                values.push(u8::from(wire.varint()? != 0));
                Ok(())
            }
            (_, _, column) => self.through(wire, column),
        }
    }

    /// Values that are less often met, and those that go through a dictionary.
    #[inline(never)]
    fn through(&self, wire: &mut Wire<'_>, column: &mut Column) -> Outcome {
        if let Column::LowCardinality(values) = column {
            if let (Source::Enum(symbols), How::Symbol) = (&self.source, &self.put.put) {
                let symbol = self.symbol(symbols, wire.varint()? as i32)?;
                if values.push_str(&symbol.name) {
                    return Ok(());
                }
                return Err(self.put.wrong_type(&quoted(&symbol.name)));
            }
            self.direct(wire, values.value_mut())?;
            values.end_value();
            return Ok(());
        }
        self.direct(wire, column)
    }

    fn direct(&self, wire: &mut Wire<'_>, column: &mut Column) -> Outcome {
        let signed = |value: i64, column: &mut Column| self.put.integer(value, &self.put.put, column);
        match &self.source {
            Source::Int32 => signed(i64::from(wire.varint()? as i32), column),
            Source::Int64 => signed(wire.varint()? as i64, column),
            Source::Uint32 => signed(i64::from(wire.varint()? as u32), column),
            Source::Uint64 => self.unsigned(wire.varint()?, column),
            Source::Sint32 => signed(i64::from(unzigzag32(wire.varint()?)), column),
            Source::Sint64 => signed(unzigzag(wire.varint()?), column),
            Source::Fixed32 => signed(i64::from(wire.fixed32()?), column),
            Source::Fixed64 => self.unsigned(wire.fixed64()?, column),
            Source::Sfixed32 => signed(i64::from(wire.fixed32()?.cast_signed()), column),
            Source::Sfixed64 => signed(wire.fixed64()?.cast_signed(), column),
            Source::Float => self.put.float(f64::from(f32::from_bits(wire.fixed32()?)), column),
            Source::Double => self.put.float(f64::from_bits(wire.fixed64()?), column),
            Source::Bool => match (wire.varint()? != 0, column) {
                (value, Column::UInt8(values)) => {
                    values.push(u8::from(value));
                    Ok(())
                }
                (value, _) => Err(self.put.wrong_type(if value { "true" } else { "false" })),
            },
            Source::Text => self.text(wire.text()?, column),
            Source::Bytes => self.put.raw(wire.payload()?.rest(), column),
            Source::Enum(symbols) => self.enumeration(symbols, wire.varint()? as i32, column),
            _ => self.message(wire.payload()?, column),
        }
    }

    /// The value of a message, whose body this is.
    pub(crate) fn message(&self, body: Wire<'_>, column: &mut Column) -> Outcome {
        if let Column::LowCardinality(values) = column {
            self.message(body, values.value_mut())?;
            values.end_value();
            return Ok(());
        }
        match &self.source {
            Source::Timestamp => {
                let found = known::Timestamp::read(body)?;
                let How::Text(scalar) = &self.put.put else { return self.text(&found.text(), column) };
                let ScalarKind::DateTime { precision, .. } = scalar.kind else {
                    return self.text(&found.text(), column);
                };
                let instant =
                    Instant { seconds: found.seconds, nanos: found.nanos, finer: false, zoned: true };
                scalar.write_instant(&instant, precision, "", column).map_err(|mut refusal| {
                    refusal.reason.found = found.text();
                    refusal
                })
            }
            Source::Duration => {
                let found = known::Duration::read(body)?;
                self.decimal(Some((found.nanos(), 9)), &found.text(), column)
            }
            Source::ConfluentDecimal => {
                let found = known::ConfluentDecimal::read(body)?;
                let shown = found.text().unwrap_or_else(|_| format!("{} bytes", found.digits.len()));
                self.decimal(found.number().map(|number| (number, found.scale)), &shown, column)
            }
            Source::Date => self.text(&known::date_text(body)?, column),
            Source::Decimal => self.text(known::decimal(body)?, column),
            Source::FieldMask => self.text(&known::field_mask(body)?, column),
            Source::Wrapped(wrapped) => {
                let mut value = Wire::new(&wrapped.default);
                let mut rest = body;
                while !rest.is_empty() {
                    let before = rest;
                    let tag = rest.tag()?;
                    let behind = rest;
                    if tag >> 3 == 1 && tag != wrapped.tag {
                        let (expected, found) = (wrapped.tag & 7, tag & 7);
                        return Err(
                            before.broken(super::wire::described(expected), super::wire::described(found))
                        );
                    }
                    rest.skip(tag, GROUPS_MAX)?;
                    if tag == wrapped.tag {
                        value = behind;
                    }
                }
                wrapped.leaf.run(&mut value, column)
            }
            _ => Err(self.put.wrong_type("a message")),
        }
    }

    fn text(&self, text: &str, column: &mut Column) -> Outcome {
        match &self.put.put {
            How::Text(scalar) => scalar.write(Token::String(text), column),
            _ => self.put.plain(text, column),
        }
    }

    fn decimal(&self, number: Option<(I256, i64)>, shown: &str, column: &mut Column) -> Outcome {
        let How::Places { scale, precision } = self.put.put else { return self.text(shown, column) };
        let value = number.and_then(|(number, from)| rescaled(number, from, (scale, precision)));
        if value.is_some_and(|value| push_decimal(value, column)) {
            return Ok(());
        }
        Err(self.put.out_of_range(shown))
    }

    fn unsigned(&self, value: u64, column: &mut Column) -> Outcome {
        if let Ok(value) = i64::try_from(value) {
            return self.put.integer(value, &self.put.put, column);
        }
        let written = match (&self.put.put, column) {
            (How::Integer, Column::UInt128(values)) => {
                values.push(u128::from(value));
                true
            }
            (How::Integer, Column::UInt256(values) | Column::Int256(values)) => {
                values.push(ethnum::U256::from(value).to_le_bytes());
                true
            }
            (How::Integer, column) => push_integer(i128::from(value), column),
            (How::Places { scale, precision }, column) => {
                rescaled(I256::from(value), 0, (*scale, *precision))
                    .is_some_and(|value| push_decimal(value, column))
            }
            (How::Float, column) => {
                let float = value as f64;
                // 2^64 as a float is one more than the largest number.
                let exact = float < 18_446_744_073_709_551_616.0 && float as u64 == value;
                return if exact {
                    self.put.float(float, column)
                } else {
                    Err(self.put.out_of_range(&value.to_string()))
                };
            }
            _ => false,
        };
        if written { Ok(()) } else { Err(self.put.out_of_range(&value.to_string())) }
    }

    fn symbol<'s>(&self, symbols: &'s Symbols, number: i32) -> Outcome<&'s Symbol> {
        symbols.get(number).ok_or_else(|| self.unnamed(number))
    }

    #[cold]
    fn unnamed(&self, number: i32) -> Box<Refusal> {
        let expected = format!("a number that the schema has a name for, in `{}`", self.put.shown());
        Refusal::encode(ReasonCode::BadEnum, &self.put.ty, &expected, &number.to_string())
    }

    fn enumeration(&self, symbols: &Symbols, number: i32, column: &mut Column) -> Outcome {
        if matches!(self.put.put, How::Integer) {
            return self.put.integer(i64::from(number), &self.put.put, column);
        }
        let symbol = self.symbol(symbols, number)?;
        match (&self.put.put, symbol.number) {
            (How::SymbolNumber, Some(number)) if push_integer(number.into(), column) => Ok(()),
            (How::SymbolNumber, _) => Err(self.put.bad_enum(&quoted(&symbol.name))),
            (How::Text(scalar), _) => Scalar::write(scalar, Token::String(&symbol.name), column),
            _ => self.put.plain(&symbol.name, column),
        }
    }

    /// Whether what a field is that was not written can be written into a column of this type.
    pub(crate) fn takes_default(&self, field: &Field, ty: &Type) -> bool {
        let Ok(mut column) = Column::for_type(ty) else { return false };
        self.run(&mut Wire::new(&field.default), &mut column).is_ok()
    }
}

/// How deep groups may nest in fields that wrappers do not have.
const GROUPS_MAX: usize = 64;

/// Bytes that are an address or a UUID by their length.
fn bytes(ty: &Type) -> Option<Put> {
    let how = match ty {
        Type::Uuid => How::Uuid,
        Type::IPv6 => How::IPv6,
        Type::IPv4 => How::IPv4,
        _ => return None,
    };
    Some(Put::of(how, ty))
}

/// Whether a message is read as one value.
pub(crate) fn value_of_its_own(types: &ProtobufMessages, id: MessageId) -> bool {
    types.message(id).known != Known::No
}
