//! What the numbers of a field were like.

use serde_json::Number;

/// Numbers that were seen: whole ones by their range, others by their digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Whole numbers: written without fraction and exponent.
    pub whole: u64,
    /// The others.
    pub broken: u64,
    /// The least and the greatest whole number of at most 38 digits.
    pub range: Option<(i128, i128)>,
    /// Whole numbers beyond 38 digits.
    pub huge: u64,
    /// Numbers that no double is near.
    pub beyond_double: u64,
    /// Numbers with an exponent.
    pub scientific: u64,
    /// The most digits before the point, of numbers without exponent.
    pub digits_before: usize,
    /// The most digits after the point, of numbers without exponent.
    pub digits_after: usize,
}

impl Numbers {
    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.whole + self.broken
    }

    /// Takes in one more.
    pub fn see(&mut self, number: &Number) {
        let text = number.to_string();
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if !number.as_f64().is_some_and(f64::is_finite) {
            self.beyond_double += 1;
        }
        if digits.contains(['e', 'E']) {
            self.broken += 1;
            self.scientific += 1;
            return;
        }
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        self.digits_before = self.digits_before.max(before.len());
        self.digits_after = self.digits_after.max(after.len());
        if digits.contains('.') {
            self.broken += 1;
            return;
        }
        self.whole += 1;
        match text.parse::<i128>() {
            Ok(value) if before.len() <= 38 => self.reach(value, value),
            Ok(_) | Err(_) => self.huge += 1,
        }
    }

    fn reach(&mut self, low: i128, high: i128) {
        let (min, max) = self.range.unwrap_or((low, high));
        self.range = Some((min.min(low), max.max(high)));
    }

    /// Takes in what others saw.
    pub fn merge(&mut self, other: &Self) {
        self.whole += other.whole;
        self.broken += other.broken;
        self.huge += other.huge;
        self.beyond_double += other.beyond_double;
        self.scientific += other.scientific;
        self.digits_before = self.digits_before.max(other.digits_before);
        self.digits_after = self.digits_after.max(other.digits_after);
        if let Some((low, high)) = other.range {
            self.reach(low, high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart_by_how_they_are_written() {
        let mut seen = Numbers::default();
        for text in ["0", "-7", "18446744073709551616", "1.50", "1e3", "1e999"] {
            seen.see(&serde_json::from_str(text).unwrap());
        }
        assert_eq!((seen.whole, seen.broken, seen.scientific, seen.beyond_double), (3, 3, 2, 1));
        assert_eq!(seen.range, Some((-7, 18_446_744_073_709_551_616)));
        assert_eq!((seen.digits_before, seen.digits_after), (20, 2));
        seen.see(&serde_json::from_str(&"9".repeat(60)).unwrap());
        assert_eq!(seen.huge, 1);
    }
}
