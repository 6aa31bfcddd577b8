//! Chance that a seed decides, and the plain values that samples are made of.

/// Chance by a seed (Vigna, SplitMix64): the same seed draws the same values, in every release.
#[derive(Debug, Clone)]
pub struct Chance(u64);

const SYLLABLES: [&str; 16] =
    ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "zé"];

impl Chance {
    /// What this seed decides.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`; 0 if there is none.
    pub const fn below(&mut self, n: usize) -> usize {
        let drawn = self.draw();
        if n == 0 { 0 } else { (drawn % n as u64) as usize }
    }

    /// Whether it is the one case of `n`.
    pub const fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them; `None` of none.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// A word of two to four syllables, some of them beyond ASCII.
    pub fn word(&mut self) -> String {
        let n = 2 + self.below(3);
        (0..n).filter_map(|_| self.of(&SYLLABLES).copied()).collect()
    }

    /// Some bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.draw().to_le_bytes()[0]).collect()
    }

    /// A date of the years 2020 to 2029, `2024-02-29`.
    pub fn date(&mut self) -> String {
        let (year, month, day) = (2020 + self.below(10), 1 + self.below(12), 1 + self.below(28));
        format!("{year}-{month:02}-{day:02}")
    }

    /// A time of day with so many digits of the second, 0 to 9.
    pub fn time(&mut self, digits: u8) -> String {
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        let whole = format!("{hour:02}:{minute:02}:{second:02}");
        if digits == 0 {
            return whole;
        }
        let fraction = self.below(10_usize.pow(u32::from(digits.min(9))));
        format!("{whole}.{fraction:0width$}", width = usize::from(digits.min(9)))
    }

    /// A UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let (a, b, c) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFF);
        let (d, e) = (low >> 48 & 0x3FFF | 0x8000, low & 0xFFFF_FFFF_FFFF);
        format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of a seed are in people's scripts: another order of draws would change them all.
    #[test]
    fn a_seed_draws_what_it_always_drew() {
        let mut chance = Chance::new(1);
        assert_eq!([chance.draw(), chance.draw()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
    }
}
