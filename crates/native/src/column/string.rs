//! `String` and `FixedString`. A string column holds its rows as Native has them, so that writing it
//! is one copy.

use super::Layout;
use crate::varint;

/// `String` rows: length as varint, then the bytes, one row after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringColumn {
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    ends: Vec<usize>,
}

impl StringColumn {
    /// An empty column.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.reserve(value.len() + varint::LENGTH_MAX);
        if value.len() < 0x80 {
            self.bytes.push(value.len() as u8);
        } else {
            varint::write(&mut self.bytes, value.len() as u64);
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Adds a row.
    #[inline]
    pub fn push_str(&mut self, value: &str) {
        self.push(value.as_bytes());
    }

    /// Adds a row of several pieces, which are written one after the other.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        varint::write(&mut self.bytes, parts.iter().map(|part| part.len() as u64).sum());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }

    /// The bytes of a row.
    #[must_use]
    #[inline]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)?;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let stored = &self.bytes[start..end];
        match stored.split_first()? {
            (0..0x80, value) => Some(value),
            _ => stored.get(stored.iter().take_while(|byte| **byte >= 0x80).count() + 1..),
        }
    }
}

impl Layout for StringColumn {
    fn rows(&self) -> usize {
        self.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn push_default(&mut self) {
        self.push(b"");
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn clear_rows(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    fn row_bytes(&self, row: usize) -> Option<&[u8]> {
        self.get(row)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes);
        true
    }
}

/// A value is longer than its `FixedString`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes, expected at most {width}")]
pub struct WrongWidth {
    /// The value's length in bytes.
    pub length: usize,
    /// The column's width.
    pub width: usize,
}

/// `FixedString(width)` rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedStringColumn {
    width: usize,
    bytes: Vec<u8>,
}

impl FixedStringColumn {
    /// An empty column; a `width` of 0 counts as 1.
    #[must_use]
    pub const fn new(width: usize) -> Self {
        Self { width: if width == 0 { 1 } else { width }, bytes: Vec::new() }
    }

    /// The width in bytes.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Adds a row; a shorter value is padded with zero bytes, as the server does.
    ///
    /// # Errors
    /// When the value is longer than the width; nothing is added.
    pub fn push(&mut self, value: &[u8]) -> Result<(), WrongWidth> {
        if value.len() > self.width {
            return Err(WrongWidth { length: value.len(), width: self.width });
        }
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len() + self.width - value.len(), 0);
        Ok(())
    }

    /// Adds rows that lie one after the other.
    pub(crate) fn extend(&mut self, rows: &[u8]) {
        self.bytes.extend_from_slice(rows);
    }

    /// The bytes of a row, padding included.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        self.bytes.chunks_exact(self.width).nth(row)
    }
}

impl Layout for FixedStringColumn {
    fn rows(&self) -> usize {
        self.bytes.len() / self.width
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.bytes.truncate(rows.saturating_mul(self.width));
    }

    fn push_default(&mut self) {
        self.bytes.resize(self.bytes.len() + self.width, 0);
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn clear_rows(&mut self) {
        self.bytes.clear();
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    fn row_bytes(&self, row: usize) -> Option<&[u8]> {
        self.get(row)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes).is_ok()
    }
}
