//! Exact decimal numbers, for bounds that a binary float cannot compare without rounding.

use std::cmp::Ordering;

/// A decimal number as JSON writes it, exact at any size: `0.d₁d₂d₃… × 10^exponent`.
///
/// Numbers that are equal are represented alike, so `1`, `1.0` and `10e-1` compare equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// ASCII digits without leading or trailing zeros; empty for zero.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads a number of RFC 8259's grammar; `None` for any other text. An exponent too large for
    /// an `i64` counts as the largest (or smallest) one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let dotted = mantissa.len() != whole.len();
        let digits_only = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || (dotted && fraction.is_empty())
            || !digits_only(whole)
            || !digits_only(fraction)
        {
            return None;
        }
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let point = whole.len() as i64 - leading as i64;
        Some(Self { negative, digits, exponent: exponent.saturating_add(point) })
    }

    /// Whether there is no fractional part, as JSON Schema's `integer` counts it.
    #[must_use]
    pub fn integral(&self) -> bool {
        self.digits.len() as i64 <= self.exponent || self.digits.is_empty()
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn negative(&self) -> bool {
        self.negative
    }

    /// The digits of `self × 10^scale` if that is an integer of at most `digits_max` digits: ASCII
    /// without leading zeros, empty for zero.
    #[must_use]
    pub fn scaled_digits(&self, scale: u32, digits_max: usize) -> Option<Vec<u8>> {
        if self.digits.is_empty() {
            return Some(Vec::new());
        }
        let length = self.exponent.checked_add(i64::from(scale))?;
        let length = usize::try_from(length).ok()?;
        if length < self.digits.len() || length > digits_max {
            return None;
        }
        let mut digits = self.digits.clone();
        digits.resize(length, b'0');
        Some(digits)
    }

    /// How many digits stand after the decimal point.
    #[must_use]
    pub fn fraction_digits(&self) -> u64 {
        u64::try_from((self.digits.len() as i64).saturating_sub(self.exponent)).unwrap_or(0)
    }

    /// The value as `i128`, if it is integral and fits.
    #[must_use]
    pub fn to_i128(&self) -> Option<i128> {
        let digits = self.scaled_digits(0, 39)?;
        let mut value: i128 = 0;
        for digit in digits {
            let digit = i128::from(digit - b'0');
            value = value.checked_mul(10)?;
            value = if self.negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
        }
        Some(value)
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Halved, so that adding the length of any text cannot overflow.
    let value = digits.parse::<i64>().unwrap_or(i64::MAX).min(i64::MAX / 2);
    Some(if negative { -value } else { value })
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Self| match (d.digits.is_empty(), d.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if self.negative => magnitude().reverse(),
            Ordering::Equal => magnitude(),
            unequal => unequal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn equal_numbers_are_equal_however_written() {
        for (a, b) in [("1", "1.0"), ("10e-1", "1"), ("-0", "0"), ("0.00", "0e9"), ("1200", "1.2E3")] {
            assert_eq!(decimal(a), decimal(b), "{a} and {b}");
        }
    }

    #[test]
    fn order_is_that_of_the_numbers() {
        let sorted = [
            "-1e400",
            "-12",
            "-1.5",
            "-1",
            "0",
            "1e-400",
            "0.1",
            "1",
            "9.99",
            "10",
            "1e99999999999999999999",
        ];
        for pair in sorted.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn integral_and_scaled_digits_see_through_the_notation() {
        assert!(decimal("1.0").integral() && !decimal("15e-1").integral() && decimal("0.0").integral());
        assert_eq!(decimal("1.25").scaled_digits(2, 10).as_deref(), Some(&b"125"[..]));
        assert_eq!(decimal("1.25").scaled_digits(1, 10), None);
        assert_eq!(decimal("1e3").scaled_digits(0, 3), None);
        assert_eq!(decimal("-170141183460469231731687303715884105728").to_i128(), Some(i128::MIN));
        assert_eq!(decimal("170141183460469231731687303715884105728").to_i128(), None);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "1.", ".1", "1e", "+1", "1e+", "NaN", "0x1", "1_0"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
