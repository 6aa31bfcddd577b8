//! Single Avro values into columns of ClickHouse's scalar types: which fit is decided once.

use tidegate_core::ReasonCode;
use tidegate_languages::avro::LogicalType;
use tidegate_native::Type;

use super::resolve::{Read, ReadShape};
use crate::options::EpochUnit;
use crate::refusal::Refusal;
use crate::scalar::{DATE_TIME_64, Scalar, TimeReading};

/// A value without parts, on its way into a column.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) source: Source,
    pub(crate) put: Put,
    /// The column's type, for reasons.
    pub(crate) ty: Box<str>,
}

/// How the bytes are read.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Box<[Option<Symbol>]>),
}

/// A symbol of an enum, and its number in the column's own enum.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    pub(crate) text: Box<str>,
    pub(crate) number: Option<i16>,
}

/// How the value is written.
#[derive(Debug, Clone)]
pub(crate) enum Put {
    /// `true` and `false` as 1 and 0.
    Bool,
    /// Integers as they are.
    Integer,
    /// Integers as a time of another unit; exact, and within the bounds of the column's ticks.
    Ticks { scale: Scale, first: i64, last: i64 },
    /// Integers as decimals of this many places.
    Places { scale: u8, precision: u8 },
    /// Numbers as a float that is exactly as large.
    Float,
    /// Text as it is.
    Plain,
    /// Text as the column's type is written.
    Text(Box<Scalar>),
    /// Bytes as they are, for a String or a FixedString of the same length.
    Raw,
    /// A big-endian number of digits, of which `from` stand after the point.
    Unscaled { from: u32, scale: u8, precision: u8 },
    /// A number that brings its places along.
    BigDecimal { scale: u8, precision: u8 },
    /// 16 bytes in network order.
    Uuid,
    /// 4 bytes in network order.
    IPv4,
    /// 16 bytes in network order.
    IPv6,
    /// A symbol's name.
    Symbol,
    /// A symbol's number in the column's enum.
    SymbolNumber,
}

/// What a tick becomes in another unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Times(i64),
    By(i64),
}

impl Scale {
    /// From ticks of `10^-from` seconds to ticks of `10^-to` seconds.
    fn between(from: u8, to: u8) -> Self {
        let power = |places: u8| 10_i64.pow(u32::from(places));
        if to >= from { Self::Times(power(to - from)) } else { Self::By(power(from - to)) }
    }

    /// The same time in the other unit, if it has it exactly.
    #[inline]
    pub(crate) fn apply(self, ticks: i64) -> Option<i64> {
        match self {
            Self::Times(factor) => ticks.checked_mul(factor),
            Self::By(factor) => (ticks % factor == 0).then(|| ticks / factor),
        }
    }
}

/// A moment's unit, as digits of the second, and whether its time zone is stated.
struct Moment {
    digits: u8,
    zoned: bool,
}

impl Moment {
    fn of(logical: LogicalType) -> Option<Self> {
        let moment = |digits, zoned| Some(Self { digits, zoned });
        match logical {
            LogicalType::TimestampMillis => moment(3, true),
            LogicalType::TimestampMicros => moment(6, true),
            LogicalType::TimestampNanos => moment(9, true),
            LogicalType::LocalTimestampMillis => moment(3, false),
            LogicalType::LocalTimestampMicros => moment(6, false),
            LogicalType::LocalTimestampNanos => moment(9, false),
            LogicalType::Decimal { .. }
            | LogicalType::BigDecimal
            | LogicalType::Uuid
            | LogicalType::Duration
            | LogicalType::Date
            | LogicalType::TimeMillis
            | LogicalType::TimeMicros => None,
        }
    }
}

impl Leaf {
    /// How a value gets into a column of this type; `None` if it does not.
    pub(crate) fn new(read: &Read, ty: &Type, reading: &TimeReading) -> Option<Self> {
        let source = source(read, ty)?;
        let put = match &read.shape {
            ReadShape::Boolean => matches!(ty, Type::Bool).then_some(Put::Bool)?,
            ReadShape::Int | ReadShape::Long => integer(read, ty, reading)?,
            ReadShape::Float | ReadShape::Double => is_float(ty).then_some(Put::Float)?,
            ReadShape::Bytes | ReadShape::Fixed(_) => bytes(read, ty)?,
            ReadShape::Text => text(ty, reading)?,
            ReadShape::Enum(_) => match ty {
                Type::Enum8(_) | Type::Enum16(_) => Put::SymbolNumber,
                ty => {
                    Scalar::new(ty, reading)?;
                    if matches!(ty, Type::String) { Put::Symbol } else { text(ty, reading)? }
                }
            },
            ReadShape::Null
            | ReadShape::Array(_)
            | ReadShape::Map(_)
            | ReadShape::Union(_)
            | ReadShape::Record(_)
            | ReadShape::Never(_) => return None,
        };
        Some(Self { source, put, ty: ty.to_string().into() })
    }

    /// A way into a column that no Avro value takes.
    pub(crate) fn of(put: Put, ty: &Type) -> Self {
        Self { source: Source::Bytes, put, ty: ty.to_string().into() }
    }

    #[cold]
    pub(crate) fn out_of_range(&self, found: &str) -> Box<Refusal> {
        let expected = format!("what `{}` holds without loss", self.shown());
        Refusal::encode(ReasonCode::OutOfRange, &self.ty, &expected, found)
    }

    #[cold]
    pub(crate) fn wrong_type(&self, found: &str) -> Box<Refusal> {
        Refusal::encode(ReasonCode::WrongType, &self.ty, &format!("a value for `{}`", self.shown()), found)
    }

    #[cold]
    pub(crate) fn bad_enum(&self, found: &str) -> Box<Refusal> {
        let expected = format!("a name of `{}`", self.shown());
        Refusal::encode(ReasonCode::BadEnum, &self.ty, &expected, found)
    }

    pub(crate) fn shown(&self) -> &str {
        &self.ty[..self.ty.floor_char_boundary(120)]
    }
}

fn source(read: &Read, ty: &Type) -> Option<Source> {
    Some(match &read.shape {
        ReadShape::Boolean => Source::Boolean,
        ReadShape::Int => Source::Int,
        ReadShape::Long => Source::Long,
        ReadShape::Float => Source::Float,
        ReadShape::Double => Source::Double,
        ReadShape::Bytes => Source::Bytes,
        ReadShape::Text => Source::Text,
        ReadShape::Fixed(size) => Source::Fixed(*size),
        ReadShape::Enum(symbols) => {
            let number = |name: &str| match ty {
                Type::Enum8(values) => {
                    values.iter().find(|(known, _)| known == name).map(|(_, value)| i16::from(*value))
                }
                Type::Enum16(values) => {
                    values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
                }
                _ => None,
            };
            let symbol = |text: &str| Symbol { text: text.into(), number: number(text) };
            Source::Enum(symbols.iter().map(|text| text.as_deref().map(symbol)).collect())
        }
        ReadShape::Null
        | ReadShape::Array(_)
        | ReadShape::Map(_)
        | ReadShape::Union(_)
        | ReadShape::Record(_)
        | ReadShape::Never(_) => return None,
    })
}

const fn is_float(ty: &Type) -> bool {
    matches!(ty, Type::Float32 | Type::Float64 | Type::BFloat16)
}

fn zone_is_utc(zone: Option<&str>) -> bool {
    zone.is_none_or(|zone| ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu"].contains(&zone))
}

/// The column's digits of the second, and the first and last tick that it can have; `None` for a column
/// of no moments.
fn moments(ty: &Type, zoned: bool) -> Option<(u8, i64, i64)> {
    match ty {
        Type::DateTime { timezone } if zoned || zone_is_utc(timezone.as_deref()) => {
            Some((0, 0, i64::from(u32::MAX)))
        }
        Type::DateTime64 { precision, timezone } if zoned || zone_is_utc(timezone.as_deref()) => {
            let second = 10_i64.checked_pow(u32::from(*precision))?;
            let (first, end) = DATE_TIME_64;
            Some((*precision, first.saturating_mul(second), end.saturating_mul(second).saturating_sub(1)))
        }
        _ => None,
    }
}

fn integer(read: &Read, ty: &Type, reading: &TimeReading) -> Option<Put> {
    // An integer column takes the number as it was written, whatever it means.
    if ty.is_integer() {
        return Some(Put::Integer);
    }
    match read.logical {
        Some(LogicalType::Date) => match ty {
            Type::Date => Some(Put::Ticks { scale: Scale::Times(1), first: 0, last: i64::from(u16::MAX) }),
            Type::Date32 => Some(Put::Ticks { scale: Scale::Times(1), first: -25_567, last: 120_529 }),
            _ => None,
        },
        Some(logical @ (LogicalType::TimeMillis | LogicalType::TimeMicros)) => {
            let from = if logical == LogicalType::TimeMillis { 3 } else { 6 };
            let to = match ty {
                Type::Time => 0,
                Type::Time64 { precision } => *precision,
                _ => return None,
            };
            let day = 86_400 * 10_i64.checked_pow(u32::from(to))?;
            Some(Put::Ticks { scale: Scale::between(from, to), first: 0, last: day - 1 })
        }
        Some(logical) => {
            let moment = Moment::of(logical)?;
            let (digits, first, last) = moments(ty, moment.zoned)?;
            Some(Put::Ticks { scale: Scale::between(moment.digits, digits), first, last })
        }
        None => number(ty, reading),
    }
}

/// An integer that means itself.
fn number(ty: &Type, reading: &TimeReading) -> Option<Put> {
    match ty {
        Type::Decimal { precision, scale } => Some(Put::Places { scale: *scale, precision: *precision }),
        ty if is_float(ty) => Some(Put::Float),
        ty => {
            let from = match reading.epoch? {
                EpochUnit::Seconds => 0,
                EpochUnit::Millis => 3,
                EpochUnit::Micros => 6,
                EpochUnit::Nanos => 9,
            };
            let (digits, first, last) = moments(ty, true)?;
            Some(Put::Ticks { scale: Scale::between(from, digits), first, last })
        }
    }
}

fn bytes(read: &Read, ty: &Type) -> Option<Put> {
    let size = if let ReadShape::Fixed(size) = read.shape { Some(size) } else { None };
    match (read.logical, ty) {
        (Some(LogicalType::Decimal { scale: from, .. }), Type::Decimal { precision, scale }) => {
            Some(Put::Unscaled { from, scale: *scale, precision: *precision })
        }
        (Some(LogicalType::BigDecimal), Type::Decimal { precision, scale }) => {
            Some(Put::BigDecimal { scale: *scale, precision: *precision })
        }
        // The digits alone are not the number: they would be taken for text.
        (Some(LogicalType::Decimal { .. } | LogicalType::BigDecimal), _) => None,
        (Some(LogicalType::Uuid), Type::Uuid) => Some(Put::Uuid),
        (_, Type::IPv6) if size == Some(16) => Some(Put::IPv6),
        (_, Type::IPv4) if size == Some(4) => Some(Put::IPv4),
        (_, Type::String) => Some(Put::Raw),
        (_, Type::FixedString(width)) if size.is_none_or(|size| size == *width) => Some(Put::Raw),
        _ => None,
    }
}

fn text(ty: &Type, reading: &TimeReading) -> Option<Put> {
    match ty {
        Type::String => Some(Put::Plain),
        Type::Bool | Type::Float32 | Type::Float64 | Type::BFloat16 => None,
        Type::Int8 | Type::Int16 | Type::Int32 | Type::UInt8 | Type::UInt16 | Type::UInt32 => None,
        ty => Some(Put::Text(Box::new(Scalar::new(ty, reading)?))),
    }
}
