//! `LowCardinality`: each distinct value once, and a key a row.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::layout::{Unfinished, check_part};
use super::{Column, Layout};

/// The version of the keys' serialization: `SharedDictionariesWithAdditionalKeys`.
const KEYS_VERSION: u64 = 1;
/// The dictionary comes with the block and is not shared with others.
const HAS_ADDITIONAL_KEYS: u64 = 1 << 9;
/// The server sets this bit where it starts a dictionary.
const NEED_UPDATE_DICTIONARY: u64 = 1 << 10;

/// A value of at most 16 bytes, as numbers that are equal exactly where the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ShortValue {
    length: usize,
    low: u64,
    high: u64,
}

impl ShortValue {
    const LENGTH_MAX: usize = 16;

    /// The first and the last bytes, which overlap where the value is shorter than both.
    #[inline]
    fn of(value: &[u8]) -> Option<Self> {
        let four = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        let length = value.len();
        let (low, high) = match length {
            0 => (0, 0),
            1..=3 => (u64::from(value[0]) | u64::from(value[length / 2]) << 8, u64::from(value[length - 1])),
            4..=7 => (four(value.first_chunk()?), four(value.last_chunk()?)),
            8..=Self::LENGTH_MAX => {
                (u64::from_le_bytes(*value.first_chunk()?), u64::from_le_bytes(*value.last_chunk()?))
            }
            _ => return None,
        };
        Some(Self { length, low, high })
    }

    /// A place among [`Recent::PLACES`]. Values that share one only displace each other.
    #[inline]
    const fn place(self) -> usize {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = (self.low ^ self.high.rotate_left(29) ^ self.length as u64).wrapping_mul(ODD);
        (mixed >> (u64::BITS - Recent::PLACES.ilog2())) as usize
    }
}

/// Short values that were looked up before, with their places in the dictionary: most are found here
/// again by a comparison of numbers, without a hash of bytes.
#[derive(Debug, Clone)]
struct Recent(Box<[Option<(ShortValue, u32)>; Recent::PLACES]>);

impl Recent {
    const PLACES: usize = 64;

    fn new() -> Self {
        Self(Box::new([None; Self::PLACES]))
    }

    #[inline]
    fn find(&self, value: ShortValue) -> Option<u32> {
        self.0[value.place()].filter(|(known, _)| *known == value).map(|(_, place)| place)
    }

    fn remember(&mut self, value: ShortValue, place: u32) {
        self.0[value.place()] = Some((value, place));
    }

    fn forget(&mut self) {
        self.0.fill(None);
    }
}

/// `LowCardinality(T)` or `LowCardinality(Nullable(T))` rows.
///
/// The dictionary begins with the server's own first entries: `NULL` (if the type has it), then the
/// zero value. It outlives [`Column::truncate`], which takes back rows only.
#[derive(Debug, Clone)]
pub struct LowCardinalityColumn {
    nullable: bool,
    dictionary: Column,
    /// Entries of `dictionary` that have been looked up; one more may be under way.
    entries: usize,
    /// Places in `dictionary`, found by the entries' bytes.
    places: HashTable<u32>,
    recent: Recent,
    keys: Vec<u32>,
    /// Seeded anew for each column: what the values are is up to strangers.
    hasher: RandomState,
}

impl LowCardinalityColumn {
    /// The width from which on a `FixedString` gets no dictionary here: its zero value is kept for
    /// each column, even for one without rows.
    pub const WIDTH_MAX: usize = 1025;

    /// An empty column; `None` if `values` is of a layout that a dictionary cannot have.
    #[must_use]
    pub fn new(values: Column, nullable: bool) -> Option<Self> {
        let mut column = Self {
            nullable,
            dictionary: values,
            entries: 0,
            places: HashTable::new(),
            recent: Recent::new(),
            keys: Vec::new(),
            hasher: RandomState::default(),
        };
        column.dictionary.push_default();
        column.dictionary.layout().row_bytes(0)?;
        column.clear_rows();
        Some(column)
    }

    /// Adds a row by its bytes: a text, or a fixed-width value's little-endian bytes. A value that
    /// does not fit the layout (a `FixedString` that is too long, a number of another width) gives
    /// `false` and adds nothing.
    #[inline]
    pub fn push(&mut self, value: &[u8]) -> bool {
        let Some(short) = ShortValue::of(value) else { return self.look_up(value) };
        if let Some(place) = self.recent.find(short) {
            self.keys.push(place);
            return true;
        }
        let pushed = self.look_up(value);
        if let (true, Some(place)) = (pushed, self.keys.last()) {
            self.recent.remember(short, *place);
        }
        pushed
    }

    fn look_up(&mut self, value: &[u8]) -> bool {
        let hash = hash_of(&self.hasher, value);
        let dictionary = &self.dictionary;
        let same = |place: &u32| entry(dictionary, *place) == value;
        if let Some(place) = self.places.find(hash, same) {
            self.keys.push(*place);
            return true;
        }
        self.push_missing(value)
    }

    /// Adds a row by its text.
    #[inline]
    pub fn push_str(&mut self, value: &str) -> bool {
        self.push(value.as_bytes())
    }

    /// Where to push a value of any layout; [`LowCardinalityColumn::end_value`] then finishes the row.
    pub fn value_mut(&mut self) -> &mut Column {
        &mut self.dictionary
    }

    /// Finishes a row whose value has been pushed into [`LowCardinalityColumn::value_mut`].
    pub fn end_value(&mut self) {
        let place = self.entries as u32;
        let value = entry(&self.dictionary, place);
        let hash = hash_of(&self.hasher, value);
        let (dictionary, hasher) = (&self.dictionary, &self.hasher);
        if let Some(known) = self.places.find(hash, |known| entry(dictionary, *known) == value) {
            self.keys.push(*known);
            self.dictionary.truncate(self.entries);
            return;
        }
        self.places.insert_unique(hash, place, |place| hash_of(hasher, entry(dictionary, *place)));
        self.entries += 1;
        self.keys.push(place);
    }

    /// Whether the values may be `NULL`.
    #[must_use]
    pub const fn nullable(&self) -> bool {
        self.nullable
    }

    /// The distinct values. With [`LowCardinalityColumn::nullable`], place 0 stands for `NULL`.
    #[must_use]
    pub const fn dictionary(&self) -> &Column {
        &self.dictionary
    }

    /// For each row, its value's place in the dictionary.
    #[must_use]
    pub fn keys(&self) -> &[u32] {
        &self.keys
    }

    #[cold]
    fn push_missing(&mut self, value: &[u8]) -> bool {
        let pushed = self.dictionary.layout_mut().push_bytes(value);
        if pushed {
            self.end_value();
        }
        pushed
    }

    /// The bytes of a row; `None` where it is `NULL` or there is none.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        match self.keys.get(row) {
            Some(0) if self.nullable => None,
            Some(place) => Some(entry(&self.dictionary, *place)),
            None => None,
        }
    }

    /// A column of the dictionary's layout, without the server's own entries.
    pub(crate) fn empty_dictionary(&self) -> Column {
        let mut dictionary = self.dictionary.clone();
        dictionary.clear();
        dictionary
    }

    /// Adds rows by their places in another dictionary, whose place 0 is `NULL` if the type has it.
    /// `None` if there is a key beyond its end.
    pub(crate) fn extend_rows(&mut self, dictionary: &Column, keys: &[u64]) -> Option<()> {
        for key in keys {
            if *key == 0 && self.nullable {
                self.keys.push(0);
                continue;
            }
            let value = dictionary.layout().row_bytes(usize::try_from(*key).ok()?)?;
            self.push(value);
        }
        Some(())
    }

    /// How many places at the dictionary's start are the server's own.
    fn own_places(&self) -> usize {
        1 + usize::from(self.nullable)
    }
}

/// Equal rows: the order of the dictionary does not matter.
impl PartialEq for LowCardinalityColumn {
    fn eq(&self, other: &Self) -> bool {
        self.nullable == other.nullable
            && self.keys.len() == other.keys.len()
            && (0..self.keys.len()).all(|row| self.get(row) == other.get(row))
    }
}

impl Layout for LowCardinalityColumn {
    fn rows(&self) -> usize {
        self.keys.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.keys.truncate(rows);
        self.dictionary.truncate(self.entries);
    }

    fn push_null(&mut self) -> bool {
        if self.nullable {
            self.keys.push(0);
        }
        self.nullable
    }

    fn push_default(&mut self) {
        self.keys.push(0);
    }

    fn size_bytes(&self) -> usize {
        self.dictionary.size_bytes() + self.keys.len() * key_width(self.entries)
    }

    fn clear_rows(&mut self) {
        self.keys.clear();
        self.places.clear();
        self.recent.forget();
        self.dictionary.clear();
        for _ in 0..self.own_places() {
            self.dictionary.push_default();
        }
        self.entries = self.own_places();
        // With NULL at place 0, the zero value is found at place 1.
        let place = self.entries as u32 - 1;
        let (dictionary, hasher) = (&self.dictionary, &self.hasher);
        let hash = |place: &u32| hash_of(hasher, entry(dictionary, *place));
        self.places.insert_unique(hash(&place), place, hash);
    }

    fn check(&self) -> Result<(), Unfinished> {
        check_part(&self.dictionary, self.entries)
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&KEYS_VERSION.to_le_bytes());
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        let width = key_width(self.entries);
        let flags = width.trailing_zeros() as u64 | HAS_ADDITIONAL_KEYS | NEED_UPDATE_DICTIONARY;
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(self.entries as u64).to_le_bytes());
        self.dictionary.layout().write_values(out);
        out.extend_from_slice(&(self.keys.len() as u64).to_le_bytes());
        match width {
            1 => out.extend(self.keys.iter().map(|key| *key as u8)),
            2 => out.extend(self.keys.iter().flat_map(|key| (*key as u16).to_le_bytes())),
            _ => self.keys.write_values(out),
        }
    }
}

/// The bytes that a key takes in Native.
fn key_width(entries: usize) -> usize {
    match entries {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The bytes alone, without a length before them.
#[inline]
fn hash_of(hasher: &RandomState, value: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(value);
    hasher.finish()
}

#[inline]
fn entry(dictionary: &Column, place: u32) -> &[u8] {
    match dictionary {
        Column::String(texts) => texts.get(place as usize).unwrap_or_default(),
        other => other.layout().row_bytes(place as usize).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::StringColumn;
    use super::*;

    #[test]
    fn every_row_keeps_its_value_however_alike_they_are() {
        let texts = Column::String(StringColumn::new());
        let mut column = LowCardinalityColumn::new(texts, true).unwrap();
        // Values of every length around the limit, zero bytes among them, that differ in one byte.
        let mut values: Vec<Vec<u8>> = Vec::new();
        for length in 0..20 {
            values.push(vec![0; length]);
            for at in 0..length {
                let mut value = vec![0; length];
                value[at] = 1;
                values.push(value);
            }
        }
        for round in 0..3 {
            for (at, value) in values.iter().enumerate() {
                assert!(column.push(value));
                assert_eq!(column.get(column.rows() - 1).unwrap(), value, "value {at} of round {round}");
            }
            assert!(column.push_null());
            column.truncate_rows(column.rows());
        }
        assert_eq!(column.rows(), 3 * (values.len() + 1));
        for (row, value) in values.iter().enumerate() {
            assert_eq!(column.get(row).unwrap(), value);
        }
        // After clearing, places are given anew.
        column.clear_rows();
        for value in values.iter().rev() {
            assert!(column.push(value));
            assert_eq!(column.get(column.rows() - 1).unwrap(), value);
        }
        column.check().unwrap();
    }
}
