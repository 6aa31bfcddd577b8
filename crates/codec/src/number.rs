//! Numbers for ClickHouse's numeric types: exact, or refused.

use ethnum::{I256, U256};
use tidegate_schema::Decimal;

use crate::reader::{PlainNumber, RawNumber};

/// The integer that a number is, if it is one (`1.0` and `1e3` are) and fits.
pub(crate) fn integer(number: &RawNumber<'_>) -> Option<i128> {
    match number.small {
        Some(value) => Some(i128::from(value)),
        None => Decimal::parse(number.text)?.to_i128(),
    }
}

/// As [`integer`], for `UInt128`.
pub(crate) fn unsigned(number: &RawNumber<'_>) -> Option<u128> {
    u128::try_from(magnitude(number.text, 0, 39)?)
        .ok()
        .filter(|value| *value == 0 || !number.text.starts_with('-'))
}

/// `number × 10^scale`, if that is an integer of at most `digits_max` digits, without its sign.
fn magnitude(text: &str, scale: u32, digits_max: usize) -> Option<U256> {
    let digits = Decimal::parse(text)?.scaled_digits(scale, digits_max)?;
    digits.iter().try_fold(U256::ZERO, |value, digit| {
        value.checked_mul(U256::new(10))?.checked_add(U256::from(*digit - b'0'))
    })
}

/// As [`integer`], for `UInt256`, in Native's bytes.
pub(crate) fn unsigned256(number: &RawNumber<'_>) -> Option<[u8; 32]> {
    let value = magnitude(number.text, 0, 78)?;
    (value == U256::ZERO || !number.text.starts_with('-')).then(|| value.to_le_bytes())
}

/// `number × 10^scale` as a signed integer of 256 bits, in Native's bytes.
pub(crate) fn signed256(text: &str, scale: u32, digits_max: usize) -> Option<[u8; 32]> {
    let value = magnitude(text, scale, digits_max)?;
    let negative = text.starts_with('-');
    let limit = U256::ONE << 255_u32;
    if value > limit || (value == limit && !negative) {
        return None;
    }
    let value = I256::from_le_bytes(value.to_le_bytes());
    Some(if negative { value.wrapping_neg() } else { value }.to_le_bytes())
}

/// `number × 10^scale`, if that is an integer of at most `precision` digits (up to 38).
pub(crate) fn decimal(number: &RawNumber<'_>, scale: u8, precision: u8) -> Option<i128> {
    let limit = 10_i128.pow(u32::from(precision.min(38)));
    let value = match number.small {
        Some(value) => i128::from(value).checked_mul(10_i128.pow(u32::from(scale)))?,
        None => {
            let value =
                i128::try_from(magnitude(number.text, u32::from(scale), usize::from(precision))?).ok()?;
            if number.text.starts_with('-') { -value } else { value }
        }
    };
    (-limit < value && value < limit).then_some(value)
}

/// Powers of ten that are integers of 64 bits.
const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

impl PlainNumber {
    /// Whether it is at least `low` and at most `high`.
    #[inline]
    pub(crate) fn within(self, low: i64, high: i64) -> bool {
        let value = i128::from(self.value);
        let scaled = |bound: i64| i128::from(bound) * i128::from(POWERS[usize::from(self.places)]);
        if self.places == 0 {
            return low <= self.value && self.value <= high;
        }
        scaled(low) <= value && value <= scaled(high)
    }

    /// `number × 10^scale`, if that is an integer of at most `precision` digits (up to 18).
    #[inline]
    pub(crate) fn decimal(self, scale: u8, precision: u8) -> Option<i64> {
        let power = POWERS.get(usize::from(scale.checked_sub(self.places)?))?;
        let value = self.value.checked_mul(*power)?;
        let limit = *POWERS.get(usize::from(precision))?;
        (-limit < value && value < limit).then_some(value)
    }

    /// The nearest double, where two doubles that are exact give it by one division (Clinger, "How to read
    /// floating point numbers accurately", 1990).
    #[inline]
    pub(crate) fn double(self) -> Option<f64> {
        const EXACT_MAX: u64 = 1 << 53;
        let power = POWERS[usize::from(self.places)];
        (self.value.unsigned_abs() <= EXACT_MAX).then(|| self.value as f64 / power as f64)
    }
}

/// The nearest double; `None` past the largest.
pub(crate) fn double(number: &RawNumber<'_>) -> Option<f64> {
    const EXACT_MAX: i64 = 1 << 53;
    match number.small {
        // `-0` is a double of its own.
        Some(value) if value != 0 && value.abs() <= EXACT_MAX => Some(value as f64),
        _ => number.text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// The nearest single; `None` past the largest, or where a number that is not zero becomes zero.
pub(crate) fn single(number: &RawNumber<'_>) -> Option<f32> {
    let value: f32 = number.text.parse().ok()?;
    let vanished = value == 0.0 && Decimal::parse(number.text)? != Decimal::parse("0")?;
    (value.is_finite() && !vanished).then_some(value)
}

/// The upper half of the nearest single, rounded to even; `None` as for [`single`].
pub(crate) fn bfloat16(number: &RawNumber<'_>) -> Option<u16> {
    let bits = single(number)?.to_bits();
    let rounded = bits.checked_add(0x7FFF + ((bits >> 16) & 1))?;
    let vanished = rounded >> 16 & 0x7FFF == 0 && bits & 0x7FFF_FFFF != 0;
    let overflowed = rounded & 0x7F80_0000 == 0x7F80_0000;
    (!vanished && !overflowed).then_some((rounded >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Reader;

    fn number(text: &str) -> RawNumber<'_> {
        Reader::new(text).number().unwrap()
    }

    #[test]
    fn integers_are_those_of_any_notation() {
        for (text, value) in
            [("1.0", Some(1)), ("1e3", Some(1000)), ("-0", Some(0)), ("1.5", None), ("1e40", None)]
        {
            assert_eq!(integer(&number(text)), value, "{text}");
        }
        assert_eq!(unsigned(&number("340282366920938463463374607431768211455")), Some(u128::MAX));
        assert_eq!(unsigned(&number("340282366920938463463374607431768211456")), None);
        assert_eq!(unsigned(&number("-1")), None);
        let max = "57896044618658097711785492504343953926634992332820282019728792003956564819967";
        let min = "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
        assert_eq!(signed256(max, 0, 77), Some(I256::MAX.to_le_bytes()));
        assert_eq!(signed256(min, 0, 77), Some(I256::MIN.to_le_bytes()));
        assert_eq!(signed256(&min[1..], 0, 77), None);
    }

    #[test]
    fn decimals_are_exact_or_none() {
        for (text, value) in [
            ("12.5", Some(1250)),
            ("-0.01", Some(-1)),
            ("0.001", None),
            ("1.10e1", Some(1100)),
            ("99999.99", Some(9_999_999)),
            ("100000", None),
            ("12.50000000000000000000000", Some(1250)),
            ("12.505", None),
        ] {
            assert_eq!(decimal(&number(text), 2, 7), value, "{text}");
        }
    }

    #[test]
    fn floats_past_their_range_are_none() {
        assert_eq!(double(&number("1e309")), None);
        assert_eq!(double(&number("-0")).map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(double(&number("9007199254740993")), Some(9_007_199_254_740_992.0));
        assert_eq!(
            (single(&number("1e39")), single(&number("1e-50")), single(&number("0e9"))),
            (None, None, Some(0.0))
        );
        assert_eq!((bfloat16(&number("1")), bfloat16(&number("3.4e38"))), (Some(0x3F80), None));
    }
}
