//! Messages that stand for a value of their own: times, dates, decimals.

use std::fmt::Write as _;

use ethnum::I256;
use tidegate_core::ReasonCode;

use super::text::{quoted, written};
use super::wire::{PAYLOAD, VARINT, Wire, described};
use crate::avro::{base64, civil, decimal_text, signed};
use crate::refusal::{Outcome, Refusal};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what the two types may be (timestamp.proto).
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// About ten thousand years (duration.proto).
const DURATION_MAX: i64 = 315_576_000_000;
const NANOS_MAX: i32 = 999_999_999;
/// How deep groups may nest in fields that these messages do not have.
const GROUPS_MAX: usize = 64;

/// The first fields of a message that are numbers; what was not written is 0.
fn numbers<const N: usize>(mut wire: Wire<'_>) -> Outcome<[u64; N]> {
    let mut found = [0; N];
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        match found.get_mut((tag >> 3) as usize - 1) {
            Some(place) if tag & 7 == VARINT => *place = wire.varint()?,
            Some(_) => return Err(before.broken(described(VARINT), described(tag & 7))),
            None => wire.skip(tag, GROUPS_MAX)?,
        }
    }
    Ok(found)
}

/// The first field of a message, which is a payload; empty if it was not written.
fn payload_of(mut wire: Wire<'_>) -> Outcome<Wire<'_>> {
    let mut found = Wire::new(&[]);
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        match (tag >> 3, tag & 7) {
            (1, PAYLOAD) => found = wire.payload()?,
            (1, other) => return Err(before.broken(described(PAYLOAD), described(other))),
            _ => wire.skip(tag, GROUPS_MAX)?,
        }
    }
    Ok(found)
}

/// `google.protobuf.Timestamp`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Timestamp {
    pub(crate) fn read(wire: Wire<'_>) -> Outcome<Self> {
        let [seconds, nanos] = numbers(wire)?;
        let (seconds, nanos) = (seconds as i64, nanos as i32);
        if !SECONDS.contains(&seconds) || !(0..=NANOS_MAX).contains(&nanos) {
            let found = format!("{seconds} s and {nanos} ns since 1970");
            let expected = "a `google.protobuf.Timestamp` of the years 1 to 9999";
            return Err(Refusal::encode(ReasonCode::BadTimestamp, "Timestamp", expected, &found));
        }
        Ok(Self { seconds, nanos: nanos.unsigned_abs() })
    }

    /// RFC 3339 without quotes.
    pub(crate) fn text(self) -> String {
        let (days, time) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}");
        fraction(self.nanos, &mut text);
        text.push('Z');
        text
    }

    pub(crate) fn write(self, out: &mut String) -> Outcome {
        quoted(&self.text(), out);
        Ok(())
    }
}

/// None, three, six or nine digits, as Protobuf's JSON has them.
fn fraction(nanos: u32, out: &mut String) {
    written(match nanos {
        0 => Ok(()),
        nanos if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
        nanos if nanos % 1000 == 0 => write!(out, ".{:06}", nanos / 1000),
        nanos => write!(out, ".{nanos:09}"),
    });
}

/// `google.protobuf.Duration`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duration {
    seconds: i64,
    nanos: i32,
}

impl Duration {
    pub(crate) fn read(wire: Wire<'_>) -> Outcome<Self> {
        let [seconds, nanos] = numbers(wire)?;
        let (seconds, nanos) = (seconds as i64, nanos as i32);
        let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
        if !(-DURATION_MAX..=DURATION_MAX).contains(&seconds)
            || !(-NANOS_MAX..=NANOS_MAX).contains(&nanos)
            || mixed
        {
            let found = format!("{seconds} s and {nanos} ns");
            let expected = "a `google.protobuf.Duration` within 10,000 years";
            return Err(Refusal::encode(ReasonCode::OutOfRange, "Duration", expected, &found));
        }
        Ok(Self { seconds, nanos })
    }

    /// Nanoseconds.
    pub(crate) fn nanos(self) -> I256 {
        I256::from(self.seconds) * I256::new(1_000_000_000) + I256::from(self.nanos)
    }

    /// `1.5s` without quotes.
    pub(crate) fn text(self) -> String {
        let sign = if self.seconds < 0 || self.nanos < 0 { "-" } else { "" };
        let mut text = format!("{sign}{}", self.seconds.unsigned_abs());
        fraction(self.nanos.unsigned_abs(), &mut text);
        text.push('s');
        text
    }

    pub(crate) fn write(self, out: &mut String) -> Outcome {
        quoted(&self.text(), out);
        Ok(())
    }
}

/// `google.type.Date`, as ISO 8601.
pub(crate) fn date_text(wire: Wire<'_>) -> Outcome<String> {
    let [year, month, day] = numbers::<3>(wire)?.map(|part| part as i32);
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

/// The text of a `google.type.Decimal`.
pub(crate) fn decimal(wire: Wire<'_>) -> Outcome<&str> {
    payload_of(wire)?.as_text()
}

/// The paths of a `google.protobuf.FieldMask`, as the schema has them, with commas between them.
pub(crate) fn field_mask(mut wire: Wire<'_>) -> Outcome<String> {
    let mut paths: Vec<&str> = Vec::new();
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        match (tag >> 3, tag & 7) {
            (1, PAYLOAD) => paths.push(wire.text()?),
            (1, other) => return Err(before.broken(described(PAYLOAD), described(other))),
            _ => wire.skip(tag, GROUPS_MAX)?,
        }
    }
    Ok(paths.join(","))
}

/// `google.protobuf.Any`: what is in it stays bytes.
pub(crate) fn any(mut wire: Wire<'_>, out: &mut String) -> Outcome {
    let (mut url, mut value) = ("", Wire::new(&[]));
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        match (tag >> 3, tag & 7) {
            (1, PAYLOAD) => url = wire.text()?,
            (2, PAYLOAD) => value = wire.payload()?,
            (1 | 2, other) => return Err(before.broken(described(PAYLOAD), described(other))),
            _ => wire.skip(tag, GROUPS_MAX)?,
        }
    }
    out.push_str("{\"@type\":");
    quoted(url, out);
    out.push_str(",\"value\":");
    base64(value.rest(), out);
    out.push('}');
    Ok(())
}

/// `confluent.type.Decimal`: digits in two's complement, and how many of them stand behind the point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfluentDecimal<'a> {
    pub(crate) digits: &'a [u8],
    pub(crate) scale: i64,
}

impl<'a> ConfluentDecimal<'a> {
    pub(crate) fn read(mut wire: Wire<'a>) -> Outcome<Self> {
        let mut found = Self { digits: &[], scale: 0 };
        while !wire.is_empty() {
            let before = wire;
            let tag = wire.tag()?;
            match (tag >> 3, tag & 7) {
                (1, PAYLOAD) => found.digits = wire.payload()?.rest(),
                (1, other) => return Err(before.broken(described(PAYLOAD), described(other))),
                (2, VARINT) => wire.varint().map(drop)?,
                (3, VARINT) => found.scale = i64::from(wire.varint()? as i32),
                (2 | 3, other) => return Err(before.broken(described(VARINT), described(other))),
                _ => wire.skip(tag, GROUPS_MAX)?,
            }
        }
        Ok(found)
    }

    /// Its digits; no byte at all is zero.
    pub(crate) fn number(self) -> Option<I256> {
        if self.digits.is_empty() { Some(I256::ZERO) } else { signed(self.digits) }
    }

    pub(crate) fn text(self) -> Outcome<String> {
        match self.number() {
            Some(number) => Ok(decimal_text(number, self.scale)),
            None => {
                let found = format!("{} bytes of digits", self.digits.len());
                Err(Refusal::encode(ReasonCode::OutOfRange, "JSON", "a decimal of 256 bits", &found))
            }
        }
    }
}
