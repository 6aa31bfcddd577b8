//! Values as JSON text, for columns of JSON and for fields that are collected.
//!
//! | Avro | JSON |
//! | --- | --- |
//! | `bytes`, `fixed` | base64 |
//! | decimals | a string of digits, so that nobody reads them as a float |
//! | dates, times, timestamps | ISO 8601; with `Z` unless local |
//! | `duration` | an object of `months`, `days`, `milliseconds` |
//! | unions | the value of the branch |

use std::fmt::Write as _;

use tidegate_core::ReasonCode;
use tidegate_languages::avro::LogicalType;

use super::bytes::Bytes;
use super::resolve::{FieldSource, ReadField, ReadId, ReadShape};
use super::run::{Run, never};
use super::write::{decimal_text, signed};
use crate::compile::json_escape_into;
use crate::refusal::{Outcome, Refusal};

impl<'p> Run<'p, '_> {
    /// Appends the text of the value that is next.
    pub(super) fn json(&mut self, read: ReadId, out: &mut String) -> Outcome {
        self.bounded(out)?;
        let program = self.program;
        let node = program.reads.get(read);
        match (&node.shape, node.logical) {
            (ReadShape::Null, _) => out.push_str("null"),
            (ReadShape::Boolean, _) => out.push_str(if self.bytes.boolean()? { "true" } else { "false" }),
            (ReadShape::Int, logical) => integer(i64::from(self.bytes.int()?), logical, out),
            (ReadShape::Long, logical) => integer(self.bytes.long()?, logical, out),
            (ReadShape::Float, _) => {
                let value = self.bytes.float()?;
                number(value.is_finite(), &value, out)?;
            }
            (ReadShape::Double, _) => {
                let value = self.bytes.double()?;
                number(value.is_finite(), &value, out)?;
            }
            (ReadShape::Bytes, logical) => raw(self.bytes.bytes()?, logical, out)?,
            (ReadShape::Fixed(size), logical) => raw(self.bytes.take(*size, "a `fixed`")?, logical, out)?,
            (ReadShape::Text, _) => string(self.bytes.text()?, out),
            (ReadShape::Enum(symbols), _) => {
                let chosen = self.bytes.choice(symbols.len(), "symbols")?;
                match &symbols[chosen] {
                    Some(symbol) => string(symbol, out),
                    None => return Err(never("a symbol that it lacks")),
                }
            }
            (ReadShape::Union(branches), _) => {
                let branch = self.bytes.choice(branches.len(), "branches")?;
                self.json(branches[branch], out)?;
            }
            (ReadShape::Array(_) | ReadShape::Map(_) | ReadShape::Record(_), _) => {
                self.compound_json(read, out)?
            }
            (ReadShape::Never(message), _) => return Err(never(message)),
        }
        Ok(())
    }

    fn compound_json(&mut self, read: ReadId, out: &mut String) -> Outcome {
        let program = self.program;
        match &program.reads.get(read).shape {
            ReadShape::Array(item) => {
                out.push('[');
                self.items(|run, index| {
                    if index > 0 {
                        out.push(',');
                    }
                    run.json(*item, out)
                })?;
                out.push(']');
            }
            ReadShape::Map(item) => {
                let mut names: Vec<&str> = Vec::new();
                out.push('{');
                self.items(|run, index| {
                    if index > 0 {
                        out.push(',');
                    }
                    let name = run.bytes.text()?;
                    names.push(name);
                    string(name, out);
                    out.push(':');
                    run.json(*item, out).map_err(|refusal| refusal.within(name))
                })?;
                names.sort_unstable();
                if names.windows(2).any(|pair| pair[0] == pair[1]) {
                    let found = "a map that has a key twice";
                    return Err(Refusal::decode(ReasonCode::DuplicateField, "each key once", found));
                }
                out.push('}');
            }
            ReadShape::Record(fields) => {
                self.enter()?;
                out.push('{');
                let mut first = true;
                for field in fields {
                    if !field.shown() {
                        if field.written() {
                            self.skip(field.node).map_err(|refusal| refusal.within(&field.name))?;
                        }
                        continue;
                    }
                    if !std::mem::take(&mut first) {
                        out.push(',');
                    }
                    string(&field.name, out);
                    out.push(':');
                    self.field_json(field, out).map_err(|refusal| refusal.within(&field.name))?;
                }
                out.push('}');
                self.depth -= 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn field_json(&mut self, field: &'p ReadField, out: &mut String) -> Outcome {
        let FieldSource::Default(bytes) = &field.source else {
            return self.json(field.node, out);
        };
        self.in_place_of(bytes, |run| run.json(field.node, out))
    }

    /// Names and symbols may be much longer in text than in bytes: what they come to is bounded too.
    fn bounded(&self, out: &str) -> Outcome {
        let bytes_max = self.program.limits.record_bytes_max;
        if out.len() <= bytes_max {
            return Ok(());
        }
        let expected = format!("at most {bytes_max} bytes of JSON text");
        Err(Refusal::decode(ReasonCode::TooLarge, &expected, "more"))
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    json_escape_into(text, out);
    out.push('"');
}

fn number(finite: bool, value: &dyn std::fmt::Debug, out: &mut String) -> Outcome {
    if !finite {
        let found = format!("{value:?}");
        return Err(Refusal::encode(ReasonCode::OutOfRange, "JSON", "a number that JSON can write", &found));
    }
    written(write!(out, "{value:?}"));
    Ok(())
}

/// Writing into a `String` does not fail.
fn written(result: std::fmt::Result) {
    debug_assert!(result.is_ok());
}

fn integer(value: i64, logical: Option<LogicalType>, out: &mut String) {
    let moment = |digits: u8, zone: &str, out: &mut String| {
        let second = 10_i64.pow(u32::from(digits));
        let (seconds, fraction) = (value.div_euclid(second), value.rem_euclid(second));
        let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        if !(0..=9999).contains(&year) {
            return written(write!(out, "{value}"));
        }
        written(write!(out, "\"{year:04}-{month:02}-{day:02}T"));
        clock(time, (fraction, digits), out);
        out.push_str(zone);
        out.push('"');
    };
    match logical {
        Some(LogicalType::TimestampMillis) => moment(3, "Z", out),
        Some(LogicalType::TimestampMicros) => moment(6, "Z", out),
        Some(LogicalType::TimestampNanos) => moment(9, "Z", out),
        Some(LogicalType::LocalTimestampMillis) => moment(3, "", out),
        Some(LogicalType::LocalTimestampMicros) => moment(6, "", out),
        Some(LogicalType::LocalTimestampNanos) => moment(9, "", out),
        Some(LogicalType::Date) => {
            let (year, month, day) = civil(value);
            if (0..=9999).contains(&year) {
                written(write!(out, "\"{year:04}-{month:02}-{day:02}\""));
            } else {
                written(write!(out, "{value}"));
            }
        }
        Some(LogicalType::TimeMillis) if (0..86_400_000).contains(&value) => {
            out.push('"');
            clock(value / 1000, (value % 1000, 3), out);
            out.push('"');
        }
        Some(LogicalType::TimeMicros) if (0..86_400_000_000).contains(&value) => {
            out.push('"');
            clock(value / 1_000_000, (value % 1_000_000, 6), out);
            out.push('"');
        }
        _ => written(write!(out, "{value}")),
    }
}

fn clock(time: i64, (fraction, digits): (i64, u8), out: &mut String) {
    let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
    let width = usize::from(digits);
    written(write!(out, "{hours:02}:{minutes:02}:{seconds:02}.{fraction:0width$}"));
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level
/// date algorithms").
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn raw(value: &[u8], logical: Option<LogicalType>, out: &mut String) -> Outcome {
    let unreadable =
        |found: &str| Refusal::encode(ReasonCode::OutOfRange, "JSON", "a decimal of 256 bits", found);
    match logical {
        Some(LogicalType::Decimal { scale, .. }) => {
            let digits = signed(value).ok_or_else(|| unreadable("other digits"))?;
            string(&decimal_text(digits, i64::from(scale)), out);
        }
        Some(LogicalType::BigDecimal) => {
            let mut inner = Bytes::new(value);
            let digits = signed(inner.bytes()?).ok_or_else(|| unreadable("other digits"))?;
            let scale = inner.int()?;
            inner.end()?;
            string(&decimal_text(digits, i64::from(scale)), out);
        }
        Some(LogicalType::Uuid) if value.len() == 16 => {
            out.push('"');
            for (at, byte) in value.iter().enumerate() {
                if [4, 6, 8, 10].contains(&at) {
                    out.push('-');
                }
                written(write!(out, "{byte:02x}"));
            }
            out.push('"');
        }
        Some(LogicalType::Duration) if value.len() == 12 => {
            let part = |at: usize| value[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let (months, days, millis) = (part(0), part(4), part(8));
            written(write!(out, "{{\"months\":{months},\"days\":{days},\"milliseconds\":{millis}}}"));
        }
        _ => base64(value, out),
    }
    Ok(())
}

pub(crate) fn base64(value: &[u8], out: &mut String) {
    out.push('"');
    base64_digits(value, out);
    out.push('"');
}

/// Bytes in base64, without quotes.
pub(crate) fn base64_text(value: &[u8]) -> String {
    let mut text = String::new();
    base64_digits(value, &mut text);
    text
}

fn base64_digits(value: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in value.chunks(3) {
        let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 0x3F) as usize];
            out.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
}

/// The bytes of a base64 text, padded or not.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut n_bits, mut out) = (0_u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            out.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    (bits == 0 && n_bits < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: i64, logical: LogicalType, expected: &str) {
        let mut out = String::new();
        integer(value, Some(logical), &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn times_read_as_they_are_written_by_hand() {
        check(0, LogicalType::TimestampMillis, "\"1970-01-01T00:00:00.000Z\"");
        check(-1, LogicalType::LocalTimestampMicros, "\"1969-12-31T23:59:59.999999\"");
        check(951_782_400_000, LogicalType::TimestampMillis, "\"2000-02-29T00:00:00.000Z\"");
        check(19_723, LogicalType::Date, "\"2024-01-01\"");
        check(i64::MIN, LogicalType::Date, &i64::MIN.to_string());
        check(i64::MAX, LogicalType::TimestampMillis, &i64::MAX.to_string());
        check(86_399_999, LogicalType::TimeMillis, "\"23:59:59.999\"");
        check(-5, LogicalType::TimeMicros, "-5");
    }

    #[test]
    fn bytes_are_base64() {
        for (value, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut out = String::new();
            base64(value.as_bytes(), &mut out);
            assert_eq!(out, format!("\"{expected}\""));
            assert_eq!(unbase64(expected).as_deref(), Some(value.as_bytes()));
        }
        assert_eq!((unbase64("Zh=="), unbase64("Z"), unbase64("é")), (None, None, None));
    }
}
