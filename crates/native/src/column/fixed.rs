//! Values of a fixed width: vectors that are copied as they lie in memory.

use bytemuck::Pod;

use super::Layout;

/// Values whose zero value is not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultedColumn<T> {
    /// The rows.
    pub values: Vec<T>,
    default: T,
}

impl<T: Copy> DefaultedColumn<T> {
    /// An empty column with this zero value.
    #[must_use]
    pub const fn new(default: T) -> Self {
        Self { values: Vec::new(), default }
    }

    /// Adds a row.
    pub fn push(&mut self, value: T) {
        self.values.push(value);
    }
}

impl<T: Pod> Layout for Vec<T> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.truncate(rows);
    }

    fn push_default(&mut self) {
        self.push(T::zeroed());
    }

    fn size_bytes(&self) -> usize {
        size_of::<T>() * self.len()
    }

    fn clear_rows(&mut self) {
        self.clear();
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(bytemuck::cast_slice(self));
    }

    fn row_bytes(&self, row: usize) -> Option<&[u8]> {
        self.get(row).map(bytemuck::bytes_of)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        let value = bytemuck::try_pod_read_unaligned(bytes);
        value.map(|value| self.push(value)).is_ok()
    }
}

impl<T: Pod> Layout for DefaultedColumn<T> {
    fn rows(&self) -> usize {
        self.values.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.values.truncate(rows);
    }

    fn push_default(&mut self) {
        self.values.push(self.default);
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes()
    }

    fn clear_rows(&mut self) {
        self.values.clear();
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        self.values.write_values(out);
    }

    fn row_bytes(&self, row: usize) -> Option<&[u8]> {
        self.values.row_bytes(row)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        self.values.push_bytes(bytes)
    }
}

/// `Nothing`: a number of rows; each is written as one byte.
impl Layout for usize {
    fn rows(&self) -> usize {
        *self
    }

    fn truncate_rows(&mut self, rows: usize) {
        *self = rows.min(*self);
    }

    fn push_null(&mut self) -> bool {
        *self += 1;
        true
    }

    fn push_default(&mut self) {
        *self += 1;
    }

    fn size_bytes(&self) -> usize {
        *self
    }

    fn clear_rows(&mut self) {
        *self = 0;
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        // The byte that the server itself writes.
        out.resize(out.len() + *self, b'0');
    }
}
