//! `JSON`: each value travels as its text, and the server takes it apart.

use super::{Layout, StringColumn};

/// The serialization of each value as text.
const VERSION_STRING: u64 = 1;

/// `JSON` rows: the text of a JSON object each, which the pusher has checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonColumn {
    texts: StringColumn,
}

impl JsonColumn {
    /// An empty column.
    #[must_use]
    pub const fn new() -> Self {
        Self { texts: StringColumn::new() }
    }

    /// Adds a row: the text of a JSON object. The server refuses a block with any other.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.texts.push(text);
    }

    /// Adds a row: the text of a JSON object.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.texts.push_str(text);
    }

    /// Adds a row of several pieces, which are written one after the other.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        self.texts.push_parts(parts);
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        self.texts.get(row)
    }
}

impl Layout for JsonColumn {
    fn rows(&self) -> usize {
        self.texts.rows()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.texts.truncate_rows(rows);
    }

    fn push_default(&mut self) {
        self.texts.push(b"{}");
    }

    fn size_bytes(&self) -> usize {
        self.texts.size_bytes()
    }

    fn clear_rows(&mut self) {
        self.texts.clear_rows();
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION_STRING.to_le_bytes());
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        self.texts.write_values(out);
    }
}
