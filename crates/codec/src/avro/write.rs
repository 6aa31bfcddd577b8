//! Writes single values. Nothing is rounded, cut or wrapped: what a column cannot hold is refused.

use ethnum::I256;
use tidegate_native::Column;

use super::bytes::Bytes;
use super::leaf::{Leaf, Put, Scale, Source};
use crate::refusal::Outcome;
use crate::scalar::{Scalar, Token, push_integer, push_small, quoted};

impl Leaf {
    /// Reads a value and writes it.
    #[inline]
    pub(crate) fn run(&self, bytes: &mut Bytes<'_>, column: &mut Column) -> Outcome {
        match (&self.source, &self.put, column) {
            (Source::Text, Put::Plain, Column::String(values)) => {
                values.push_str(bytes.text()?);
                Ok(())
            }
            (Source::Text, Put::Plain, Column::LowCardinality(values)) => {
                let text = bytes.text()?;
                if values.push_str(text) { Ok(()) } else { Err(self.wrong_type(&quoted(text))) }
            }
            (Source::Long, put, column) => self.integer(bytes.long()?, put, column),
            (Source::Int, put, column) => self.integer(i64::from(bytes.int()?), put, column),
            (Source::Double, Put::Float, Column::Float64(values)) => {
                values.push(bytes.double()?);
                Ok(())
            }
            (Source::Boolean, Put::Bool, Column::UInt8(values)) => {
                values.push(u8::from(bytes.boolean()?));
                Ok(())
            }
            (_, _, column) => self.through(bytes, column),
        }
    }

    /// Values that are less often met, and those that go through a dictionary.
    #[inline(never)]
    fn through(&self, bytes: &mut Bytes<'_>, column: &mut Column) -> Outcome {
        if let Column::LowCardinality(values) = column {
            self.direct(bytes, values.value_mut())?;
            values.end_value();
            return Ok(());
        }
        self.direct(bytes, column)
    }

    fn direct(&self, bytes: &mut Bytes<'_>, column: &mut Column) -> Outcome {
        match &self.source {
            Source::Boolean => {
                let value = bytes.boolean()?;
                match column {
                    Column::UInt8(values) => values.push(u8::from(value)),
                    _ => return Err(self.wrong_type(if value { "true" } else { "false" })),
                }
                Ok(())
            }
            Source::Int => self.integer(i64::from(bytes.int()?), &self.put, column),
            Source::Long => self.integer(bytes.long()?, &self.put, column),
            Source::Float => self.float(f64::from(bytes.float()?), column),
            Source::Double => self.float(bytes.double()?, column),
            Source::Bytes => self.raw(bytes.bytes()?, column),
            Source::Fixed(size) => self.raw(bytes.take(*size, "a `fixed`")?, column),
            Source::Text => {
                let text = bytes.text()?;
                match &self.put {
                    Put::Text(scalar) => scalar.write(Token::String(text), column),
                    _ => self.plain(text, column),
                }
            }
            Source::Enum(symbols) => {
                let chosen = bytes.choice(symbols.len(), "symbols")?;
                let Some(symbol) = &symbols[chosen] else {
                    return Err(self.bad_enum(&format!("symbol {chosen}, which the reader's schema lacks")));
                };
                match (&self.put, symbol.number) {
                    (Put::SymbolNumber, Some(number)) if push_integer(number.into(), column) => Ok(()),
                    (Put::SymbolNumber, _) => Err(self.bad_enum(&quoted(&symbol.text))),
                    (Put::Text(scalar), _) => Scalar::write(scalar, Token::String(&symbol.text), column),
                    _ => self.plain(&symbol.text, column),
                }
            }
        }
    }

    pub(crate) fn plain(&self, text: &str, column: &mut Column) -> Outcome {
        match column {
            Column::String(values) => {
                values.push_str(text);
                Ok(())
            }
            _ => Err(self.wrong_type(&quoted(text))),
        }
    }

    #[inline]
    pub(crate) fn integer(&self, value: i64, put: &Put, column: &mut Column) -> Outcome {
        let written = match (put, column) {
            (Put::Integer, column) => push_small(value, column) || push_wide(value, column),
            (Put::Ticks { scale, first, last }, column) => {
                ticks(value, *scale, (*first, *last)).is_some_and(|ticks| match column {
                    Column::Int64(values) => {
                        values.push(ticks);
                        true
                    }
                    column => through_dictionary(column, |column| push_integer(ticks.into(), column)),
                })
            }
            (Put::Float, column) => return self.whole(value, column),
            (Put::Places { scale, precision }, column) => {
                rescaled(I256::from(value), 0, (*scale, *precision))
                    .is_some_and(|value| push_decimal(value, column))
            }
            _ => false,
        };
        if written { Ok(()) } else { Err(self.out_of_range(&value.to_string())) }
    }

    /// An integer into a column of floats.
    fn whole(&self, value: i64, column: &mut Column) -> Outcome {
        let float = value as f64;
        // 2^63 as a float is one more than the largest integer.
        let exact = float < 9_223_372_036_854_775_808.0 && float as i64 == value;
        if !exact {
            return Err(self.out_of_range(&value.to_string()));
        }
        self.float(float, column)
    }

    pub(crate) fn float(&self, value: f64, column: &mut Column) -> Outcome {
        let single = value as f32;
        let exact = value.is_nan() || f64::from(single).to_bits() == value.to_bits();
        match column {
            Column::Float64(values) => values.push(value),
            Column::Float32(values) if exact => values.push(single),
            Column::UInt16(values) if exact && single.to_bits() & 0xFFFF == 0 => {
                values.push((single.to_bits() >> 16) as u16);
            }
            Column::LowCardinality(values) => {
                self.float(value, values.value_mut())?;
                values.end_value();
            }
            _ => return Err(self.out_of_range(&format!("{value:?}"))),
        }
        Ok(())
    }

    pub(crate) fn raw(&self, value: &[u8], column: &mut Column) -> Outcome {
        match (&self.put, column) {
            (Put::Raw, Column::String(values)) => values.push(value),
            (Put::Raw, Column::FixedString(values)) => {
                if value.len() != values.width() || values.push(value).is_err() {
                    return Err(self.out_of_range(&format!("{} bytes", value.len())));
                }
            }
            (Put::Uuid, Column::Uuid(values)) => {
                let number =
                    u128::from_be_bytes(value.try_into().map_err(|_| self.wrong_type("other bytes"))?);
                values.push([(number >> 64) as u64, number as u64]);
            }
            (Put::IPv6, Column::IPv6(values)) => {
                values.push(value.try_into().map_err(|_| self.wrong_type("other bytes"))?);
            }
            (Put::IPv4, Column::UInt32(values)) => {
                values
                    .push(u32::from_be_bytes(value.try_into().map_err(|_| self.wrong_type("other bytes"))?));
            }
            (Put::Unscaled { from, scale, precision }, column) => {
                return self.decimal(value, i64::from(*from), (*scale, *precision), column);
            }
            (Put::BigDecimal { scale, precision }, column) => {
                let mut inner = Bytes::new(value);
                let digits = inner.bytes()?;
                let from = inner.int()?;
                inner.end()?;
                return self.decimal(digits, i64::from(from), (*scale, *precision), column);
            }
            _ => return Err(self.wrong_type(&format!("{} bytes", value.len()))),
        }
        Ok(())
    }

    fn decimal(&self, digits: &[u8], from: i64, to: (u8, u8), column: &mut Column) -> Outcome {
        let number = signed(digits);
        let written = number
            .and_then(|number| rescaled(number, from, to))
            .is_some_and(|value| push_decimal(value, column));
        if written {
            return Ok(());
        }
        let found =
            number.map_or_else(|| format!("{} bytes of digits", digits.len()), |n| decimal_text(n, from));
        Err(self.out_of_range(&found))
    }
}

/// Ticks in the column's unit and within its bounds.
#[inline]
fn ticks(value: i64, scale: Scale, (first, last): (i64, i64)) -> Option<i64> {
    scale.apply(value).filter(|ticks| first <= *ticks && *ticks <= last)
}

/// Integers for the columns that numbers of 64 bits always fit into, and those with a dictionary.
fn push_wide(value: i64, column: &mut Column) -> bool {
    match column {
        Column::UInt128(values) => u128::try_from(value).map(|value| values.push(value)).is_ok(),
        Column::UInt256(values) => {
            u128::try_from(value).map(|value| values.push(ethnum::U256::new(value).to_le_bytes())).is_ok()
        }
        Column::Int256(values) => {
            values.push(I256::from(value).to_le_bytes());
            true
        }
        Column::LowCardinality(_) => {
            through_dictionary(column, |column| push_small(value, column) || push_wide(value, column))
        }
        _ => false,
    }
}

fn through_dictionary(column: &mut Column, push: impl FnOnce(&mut Column) -> bool) -> bool {
    let Column::LowCardinality(values) = column else { return push(column) };
    let pushed = push(values.value_mut());
    if pushed {
        values.end_value();
    }
    pushed
}

/// A big-endian number in two's complement; `None` beyond 256 bits. No byte at all is no number.
pub(crate) fn signed(bytes: &[u8]) -> Option<I256> {
    let negative = bytes.first()? & 0x80 != 0;
    let fill = if negative { 0xFF } else { 0 };
    let mut rest = bytes;
    while rest.len() > 32 {
        if rest[0] != fill {
            return None;
        }
        rest = &rest[1..];
    }
    if bytes.len() > 32 && (rest[0] & 0x80 != 0) != negative {
        return None;
    }
    let mut whole = [fill; 32];
    whole[32 - rest.len()..].copy_from_slice(rest);
    Some(I256::from_be_bytes(whole))
}

/// `number × 10^-from` as digits of a decimal of so many places, if it is one.
pub(crate) fn rescaled(number: I256, from: i64, (scale, precision): (u8, u8)) -> Option<I256> {
    /// Ten to this power is beyond 256 bits.
    const POWER_MAX: u32 = 76;
    let ten = I256::new(10);
    let shift = i64::from(scale) - from;
    let power = u32::try_from(shift.unsigned_abs()).ok();
    let value = if number == I256::ZERO {
        number
    } else {
        let factor = ten.pow(power.filter(|power| *power <= POWER_MAX)?);
        if shift >= 0 {
            number.checked_mul(factor)?
        } else if number % factor == I256::ZERO {
            number / factor
        } else {
            return None;
        }
    };
    let limit = ten.pow(u32::from(precision).min(POWER_MAX));
    (-limit < value && value < limit).then_some(value)
}

pub(crate) fn push_decimal(value: I256, column: &mut Column) -> bool {
    match column {
        Column::Int256(values) => {
            values.push(value.to_le_bytes());
            true
        }
        column => through_dictionary(column, |column| {
            i128::try_from(value).is_ok_and(|value| push_integer(value, column))
        }),
    }
}

/// `number × 10^-places` in digits.
pub(crate) fn decimal_text(number: I256, places: i64) -> String {
    /// More zeros than this are written as an exponent.
    const PLACES_MAX: i64 = 1000;
    if !(0..=PLACES_MAX).contains(&places) {
        return format!("{number}e{}", places.saturating_neg());
    }
    let places = places as usize;
    let digits = number.unsigned_abs().to_string();
    let sign = if number < I256::ZERO { "-" } else { "" };
    if places == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_moved_without_loss_or_not_at_all() {
        let moved =
            |number: i64, from, scale, precision| rescaled(I256::from(number), from, (scale, precision));
        assert_eq!(moved(1250, 2, 1, 9), Some(I256::from(125_i64)));
        assert_eq!(moved(1255, 2, 1, 9), None);
        assert_eq!(moved(-5, 0, 2, 3), Some(I256::from(-500_i64)));
        assert_eq!(moved(-10, 0, 2, 3), None);
        assert_eq!(moved(0, 5_000_000_000, 0, 1), Some(I256::ZERO));
        assert_eq!(moved(1, -5_000_000_000, 0, 1), None);
    }

    #[test]
    fn digits_are_big_endian_in_twos_complement() {
        assert_eq!(signed(&[0xFF]), Some(I256::from(-1_i64)));
        assert_eq!(signed(&[0x00, 0x80]), Some(I256::from(128_i64)));
        assert_eq!(signed(&[0xFF; 40]), Some(I256::from(-1_i64)));
        assert_eq!(signed(&[0x7F; 33]), None);
        let mut wrapped = [0_u8; 33];
        wrapped[1] = 0x80;
        assert_eq!(signed(&wrapped), None);
        assert_eq!(signed(&[]), None);
    }

    #[test]
    fn decimals_read_as_they_are_written_by_hand() {
        let text = |number: i64, places| decimal_text(I256::from(number), places);
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(1250, 2), "12.50");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(7, -3), "7e3");
    }
}
