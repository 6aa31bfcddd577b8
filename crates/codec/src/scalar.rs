//! Single values into columns of ClickHouse's scalar types.

use hashbrown::HashMap;
use tidegate_core::ReasonCode;
use tidegate_native::{Column, Type};
use tidegate_schema::ipv4;

use crate::instant::{Instant, TimePattern, parse_date, parse_date_time, parse_time};
use crate::number;
use crate::options::EpochUnit;
use crate::reader::{RawNumber, Reader};
use crate::refusal::{Outcome, Refusal};

/// A value without parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token<'a> {
    Bool(bool),
    Number(RawNumber<'a>),
    String(&'a str),
}

/// How a scalar type takes values.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    /// The type's name, for reasons.
    pub(crate) name: String,
    /// Whether numbers that JSON's writers often cannot write (64 bits and more, decimals) may stand in
    /// strings. Not so in a Variant, where a string is a string.
    pub(crate) numbers_as_text: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Bool,
    Integer { low: i128, high: i128, wide: bool },
    UInt128,
    Int256,
    UInt256,
    Float32,
    Float64,
    BFloat16,
    Decimal { scale: u8, precision: u8 },
    String,
    FixedString(usize),
    Uuid,
    IPv4,
    IPv6,
    Date { first: i32, last: i32 },
    DateTime { precision: Option<u8>, utc: bool, reading: Box<TimeReading> },
    Time { precision: u8 },
    Enum(HashMap<String, i16>),
}

/// What a column of times accepts beside RFC 3339 and ISO 8601.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimeReading {
    pub(crate) patterns: Vec<TimePattern>,
    pub(crate) epoch: Option<EpochUnit>,
}

/// 1900-01-01T00:00:00Z and the second after 2299-12-31T23:59:59Z.
pub(crate) const DATE_TIME_64: (i64, i64) = (-2_208_988_800, 10_413_792_000);

impl Scalar {
    /// `None` if the type is not a scalar.
    pub(crate) fn new(ty: &Type, reading: &TimeReading) -> Option<Self> {
        let integer =
            |low: i128, high: i128| Kind::Integer { low, high, wide: low < -(1 << 40) || high > 1 << 40 };
        let zone_is_utc = |zone: &Option<String>| {
            zone.as_deref().is_none_or(|zone| ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu"].contains(&zone))
        };
        let kind = match ty {
            Type::Bool => Kind::Bool,
            Type::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
            Type::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
            Type::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
            Type::Int64 => integer(i64::MIN.into(), i64::MAX.into()),
            Type::Int128 => integer(i128::MIN, i128::MAX),
            Type::UInt8 => integer(0, u8::MAX.into()),
            Type::UInt16 => integer(0, u16::MAX.into()),
            Type::UInt32 => integer(0, u32::MAX.into()),
            Type::UInt64 => integer(0, u64::MAX.into()),
            Type::UInt128 => Kind::UInt128,
            Type::Int256 => Kind::Int256,
            Type::UInt256 => Kind::UInt256,
            Type::Float32 => Kind::Float32,
            Type::Float64 => Kind::Float64,
            Type::BFloat16 => Kind::BFloat16,
            Type::Decimal { precision, scale } => Kind::Decimal { scale: *scale, precision: *precision },
            Type::String => Kind::String,
            Type::FixedString(width) => Kind::FixedString(*width),
            Type::Uuid => Kind::Uuid,
            Type::IPv4 => Kind::IPv4,
            Type::IPv6 => Kind::IPv6,
            Type::Date => Kind::Date { first: 0, last: i32::from(u16::MAX) },
            Type::Date32 => Kind::Date { first: -25_567, last: 120_529 },
            Type::DateTime { timezone } => Kind::DateTime {
                precision: None,
                utc: zone_is_utc(timezone),
                reading: Box::new(reading.clone()),
            },
            Type::DateTime64 { precision, timezone } => Kind::DateTime {
                precision: Some(*precision),
                utc: zone_is_utc(timezone),
                reading: Box::new(reading.clone()),
            },
            Type::Time => Kind::Time { precision: 0 },
            Type::Time64 { precision } => Kind::Time { precision: *precision },
            Type::Enum8(values) => {
                Kind::Enum(values.iter().map(|(n, v)| (n.clone(), i16::from(*v))).collect())
            }
            Type::Enum16(values) => Kind::Enum(values.iter().map(|(n, v)| (n.clone(), *v)).collect()),
            _ => return None,
        };
        Some(Self { kind, name: ty.to_string(), numbers_as_text: true })
    }

    /// Whether it is plain text, which a dictionary can take by its bytes.
    pub(crate) const fn text(&self) -> bool {
        matches!(self.kind, Kind::String)
    }

    /// Whether numbers may be given to it.
    pub(crate) const fn numeric(&self) -> bool {
        match &self.kind {
            Kind::Integer { .. }
            | Kind::UInt128
            | Kind::Int256
            | Kind::UInt256
            | Kind::Float32
            | Kind::Float64
            | Kind::BFloat16
            | Kind::Decimal { .. } => true,
            Kind::DateTime { reading, .. } => reading.epoch.is_some(),
            Kind::Bool
            | Kind::String
            | Kind::FixedString(_)
            | Kind::Uuid
            | Kind::IPv4
            | Kind::IPv6
            | Kind::Date { .. }
            | Kind::Time { .. }
            | Kind::Enum(_) => false,
        }
    }

    /// Writes one value.
    #[inline]
    pub(crate) fn write(&self, token: Token<'_>, column: &mut Column) -> Outcome {
        match (&self.kind, token, column) {
            (Kind::String, Token::String(text), Column::String(column)) => {
                column.push_str(text);
                Ok(())
            }
            (Kind::Integer { .. }, Token::Number(RawNumber { small: Some(value), text }), column) => {
                if push_small(value, column) {
                    Ok(())
                } else {
                    Err(self.out_of_range(text))
                }
            }
            (Kind::Integer { low, high, .. }, Token::Number(number), column) => {
                match number::integer(&number) {
                    Some(value) if *low <= value && value <= *high && push_integer(value, column) => Ok(()),
                    Some(_) => Err(self.out_of_range(number.text)),
                    None => Err(self.not_integer(number.text)),
                }
            }
            (Kind::Bool, Token::Bool(value), Column::UInt8(values)) => {
                values.push(u8::from(value));
                Ok(())
            }
            (Kind::Float64, Token::Number(number), Column::Float64(values)) => {
                values.push(number::double(&number).ok_or_else(|| self.out_of_range(number.text))?);
                Ok(())
            }
            (_, token, column) => self.write_other(token, column),
        }
    }

    fn write_other(&self, token: Token<'_>, column: &mut Column) -> Outcome {
        match token {
            Token::Number(number) => self.write_number(&number, column),
            Token::String(text) => self.write_text(text, column),
            Token::Bool(value) => Err(self.wrong_type(if value { "true" } else { "false" })),
        }
    }

    fn write_number(&self, number: &RawNumber<'_>, column: &mut Column) -> Outcome {
        let out_of_range = || self.out_of_range(number.text);
        match (&self.kind, column) {
            (Kind::Integer { .. }, column) => return self.write(Token::Number(*number), column),
            (Kind::Float64, Column::Float64(values)) => {
                values.push(number::double(number).ok_or_else(out_of_range)?)
            }
            (Kind::Float32, Column::Float32(values)) => {
                values.push(number::single(number).ok_or_else(out_of_range)?)
            }
            (Kind::BFloat16, Column::UInt16(values)) => {
                values.push(number::bfloat16(number).ok_or_else(out_of_range)?)
            }
            (Kind::UInt128, Column::UInt128(values)) => {
                values.push(number::unsigned(number).ok_or_else(out_of_range)?)
            }
            (Kind::UInt256, Column::UInt256(values)) => {
                values.push(number::unsigned256(number).ok_or_else(out_of_range)?)
            }
            (Kind::Int256, Column::Int256(values)) => {
                values.push(number::signed256(number.text, 0, 77).ok_or_else(out_of_range)?);
            }
            (Kind::Decimal { scale, precision }, Column::Int256(values)) => {
                let value = number::signed256(number.text, u32::from(*scale), usize::from(*precision));
                values.push(value.ok_or_else(out_of_range)?);
            }
            (Kind::Decimal { scale, precision }, column) => {
                let value = number::decimal(number, *scale, *precision).ok_or_else(out_of_range)?;
                if !push_integer(value, column) {
                    return Err(out_of_range());
                }
            }
            (Kind::DateTime { precision, reading, .. }, column) => {
                let Some(unit) = reading.epoch else { return Err(self.wrong_type(number.text)) };
                let places = match unit {
                    EpochUnit::Seconds => 9,
                    EpochUnit::Millis => 6,
                    EpochUnit::Micros => 3,
                    EpochUnit::Nanos => 0,
                };
                let nanos = number::decimal(number, places, 38).ok_or_else(out_of_range)?;
                let instant = Instant::from_nanos(nanos).ok_or_else(out_of_range)?;
                return self.write_instant(&instant, *precision, number.text, column);
            }
            _ => return Err(self.wrong_type(number.text)),
        }
        Ok(())
    }

    fn write_text(&self, text: &str, column: &mut Column) -> Outcome {
        match (&self.kind, column) {
            (Kind::String, Column::String(values)) => values.push_str(text),
            (Kind::FixedString(width), Column::FixedString(values)) => {
                if text.len() != *width || values.push(text.as_bytes()).is_err() {
                    let expected = format!("exactly {width} bytes for `{}`", self.name);
                    return Err(Refusal::encode(
                        ReasonCode::OutOfRange,
                        &self.name,
                        &expected,
                        &quoted(text),
                    ));
                }
            }
            (Kind::DateTime { precision, utc, reading }, column) => {
                let read =
                    parse_date_time(text).or_else(|| reading.patterns.iter().find_map(|p| p.read(text)));
                let Some(instant) = read.filter(|instant| instant.zoned || *utc) else {
                    return Err(self.bad_time(
                        text,
                        if read.is_some() { "a date-time with its offset" } else { "a date-time" },
                    ));
                };
                return self.write_instant(&instant, *precision, text, column);
            }
            (Kind::Date { first, last }, column) => {
                let day = parse_date(text).ok_or_else(|| self.bad_time(text, "a date"))?;
                if day < *first || day > *last || !push_integer(day.into(), column) {
                    return Err(self.out_of_range(&quoted(text)));
                }
            }
            (Kind::Time { precision }, column) => {
                let (negative, time) = parse_time(text).ok_or_else(|| self.bad_time(text, "a time"))?;
                let ticks = time.ticks(*precision).ok_or_else(|| self.out_of_range(&quoted(text)))?;
                if !push_integer(i128::from(if negative { -ticks } else { ticks }), column) {
                    return Err(self.out_of_range(&quoted(text)));
                }
            }
            (Kind::Enum(values), column) => {
                if !values.get(text).is_some_and(|value| push_integer((*value).into(), column)) {
                    let expected = format!("a name of `{}`", shortened(&self.name));
                    return Err(Refusal::encode(ReasonCode::BadEnum, &self.name, &expected, &quoted(text)));
                }
            }
            (Kind::Uuid, Column::Uuid(values)) => {
                values.push(uuid(text.as_bytes()).ok_or_else(|| self.bad_format(text))?)
            }
            (Kind::IPv4, Column::UInt32(values)) => {
                values.push(ipv4(text.as_bytes()).map(u32::from).ok_or_else(|| self.bad_format(text))?);
            }
            (Kind::IPv6, Column::IPv6(values)) => {
                // As the server does it: an IPv4 address becomes one of `::ffff:0:0/96`.
                let v4 = ipv4(text.as_bytes()).map(|ip| ip.to_ipv6_mapped());
                let ip = v4.or_else(|| text.parse().ok()).ok_or_else(|| self.bad_format(text))?;
                values.push(ip.octets());
            }
            (
                Kind::Integer { wide: true, .. }
                | Kind::UInt128
                | Kind::Int256
                | Kind::UInt256
                | Kind::Decimal { .. },
                column,
            ) if self.numbers_as_text => {
                let mut reader = Reader::new(text);
                let number = reader.number().ok().filter(|number| number.text.len() == text.len());
                let Some(number) = number else { return Err(self.wrong_type(&quoted(text))) };
                return self.write_number(&number, column);
            }
            _ => return Err(self.wrong_type(&quoted(text))),
        }
        Ok(())
    }

    pub(crate) fn write_instant(
        &self,
        instant: &Instant,
        precision: Option<u8>,
        found: &str,
        column: &mut Column,
    ) -> Outcome {
        let ticks = instant.ticks(precision.unwrap_or(0));
        let (first, end) = if precision.is_some() { DATE_TIME_64 } else { (0, i64::from(u32::MAX) + 1) };
        let in_range = first <= instant.seconds && instant.seconds < end;
        match ticks {
            Some(ticks) if in_range && push_integer(ticks.into(), column) => Ok(()),
            _ => Err(self.out_of_range(&quoted(found))),
        }
    }

    #[cold]
    pub(crate) fn wrong_type(&self, found: &str) -> Box<Refusal> {
        let expected = format!("a value for `{}`", shortened(&self.name));
        Refusal::encode(ReasonCode::WrongType, &self.name, &expected, found)
    }

    #[cold]
    fn not_integer(&self, found: &str) -> Box<Refusal> {
        let expected = format!("an integer within `{}`", self.name);
        Refusal::encode(ReasonCode::OutOfRange, &self.name, &expected, found)
    }

    #[cold]
    fn out_of_range(&self, found: &str) -> Box<Refusal> {
        let expected = format!("what `{}` holds without loss", shortened(&self.name));
        Refusal::encode(ReasonCode::OutOfRange, &self.name, &expected, found)
    }

    #[cold]
    fn bad_time(&self, text: &str, expected: &str) -> Box<Refusal> {
        let expected = format!("{expected} for `{}`", self.name);
        Refusal::encode(ReasonCode::BadTimestamp, &self.name, &expected, &quoted(text))
    }

    #[cold]
    fn bad_format(&self, text: &str) -> Box<Refusal> {
        let expected = format!("the text of a `{}`", self.name);
        Refusal::encode(ReasonCode::BadFormat, &self.name, &expected, &quoted(text))
    }
}

/// A text as reasons show it; what is left out of a long one is in the dead letter.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", &text[..text.floor_char_boundary(400)])
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(120)]
}

/// As [`push_integer`], for the integers that most are, and columns of nothing else.
#[inline]
pub(crate) fn push_small(value: i64, column: &mut Column) -> bool {
    match column {
        Column::Int64(values) => {
            values.push(value);
            true
        }
        Column::UInt64(values) => value.try_into().map(|value| values.push(value)).is_ok(),
        Column::Int32(values) => value.try_into().map(|value| values.push(value)).is_ok(),
        Column::UInt32(values) => value.try_into().map(|value| values.push(value)).is_ok(),
        Column::UInt16(values) => value.try_into().map(|value| values.push(value)).is_ok(),
        other => push_integer(i128::from(value), other),
    }
}

/// Pushes an integer into any column of integers; `false` if it does not fit.
#[inline]
pub(crate) fn push_integer(value: i128, column: &mut Column) -> bool {
    macro_rules! push {
        ($values:expr) => {
            value.try_into().map(|value| $values.push(value)).is_ok()
        };
    }
    match column {
        Column::Int64(values) => push!(values),
        Column::UInt64(values) => push!(values),
        Column::Int32(values) => push!(values),
        Column::UInt32(values) => push!(values),
        Column::Int16(values) => push!(values),
        Column::UInt16(values) => push!(values),
        Column::Int8(values) => push!(values),
        Column::UInt8(values) => push!(values),
        Column::Int128(values) => {
            values.push(value);
            true
        }
        Column::Date32(values) => push!(values),
        Column::Enum8(values) => push!(values),
        Column::Enum16(values) => push!(values),
        _ => false,
    }
}

/// The value of each hexadecimal digit; 0xFF for other bytes.
const HEXADECIMAL: [u8; 256] = {
    let mut values = [0xFF; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` as high and low half.
pub(crate) fn uuid(bytes: &[u8]) -> Option<[u64; 2]> {
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let (mut value, mut wrong) = (0_u128, 0);
    for range in [0..8, 9..13, 14..18, 19..23, 24..36] {
        for byte in &bytes[range] {
            let digit = HEXADECIMAL[usize::from(*byte)];
            wrong |= digit;
            value = value << 4 | u128::from(digit & 0xF);
        }
    }
    if wrong > 0xF {
        return None;
    }
    Some([(value >> 64) as u64, value as u64])
}
