//! `Variant`: a byte a row says which of the columns has its value.

use super::layout::{Unfinished, check_part, write_part};
use super::{Column, Layout};

/// The discriminator of `NULL`.
pub const NULL_DISCRIMINATOR: u8 = 255;

/// Discriminators are written one a row, not compactly.
const MODE_BASIC: u64 = 0;

/// `Variant` rows.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantColumn {
    discriminators: Vec<u8>,
    columns: Vec<Column>,
    /// Finished rows of each of `columns`.
    lengths: Vec<usize>,
}

impl VariantColumn {
    /// An empty column of `columns`, which must be empty too and stand in the order of the type
    /// ([`Type::Variant`](crate::Type::Variant)). `None` if they are more than 254.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Option<Self> {
        let lengths = vec![0; columns.len()];
        (columns.len() < NULL_DISCRIMINATOR as usize).then(|| Self {
            discriminators: Vec::new(),
            columns,
            lengths,
        })
    }

    /// The column of an alternative, to push a value into; [`VariantColumn::end_value`] then finishes
    /// the row.
    pub fn value_mut(&mut self, alternative: u8) -> Option<&mut Column> {
        self.columns.get_mut(usize::from(alternative))
    }

    /// Finishes a row whose value has been pushed into the column of `alternative`.
    pub fn end_value(&mut self, alternative: u8) {
        if let Some(length) = self.lengths.get_mut(usize::from(alternative)) {
            *length += 1;
            self.discriminators.push(alternative);
        }
    }

    /// Adds a `NULL`.
    pub fn push_null(&mut self) {
        self.discriminators.push(NULL_DISCRIMINATOR);
    }

    /// For each row, the number of its alternative or [`NULL_DISCRIMINATOR`].
    #[must_use]
    pub fn discriminators(&self) -> &[u8] {
        &self.discriminators
    }

    /// The alternatives' columns; each has only the rows that are its own.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The alternative of a row and the row's place in the alternative's column; `None` for `NULL`.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<(u8, usize)> {
        let alternative = *self.discriminators.get(row).filter(|found| **found != NULL_DISCRIMINATOR)?;
        let earlier = self.discriminators[..row].iter().filter(|other| **other == alternative);
        Some((alternative, earlier.count()))
    }

    pub(crate) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Adds rows whose values are still to come. Gives how many each column gets; `None` if there is
    /// a discriminator of no column.
    pub(crate) fn extend_rows(&mut self, discriminators: &[u8]) -> Option<Vec<usize>> {
        let mut lengths = vec![0; self.columns.len()];
        for discriminator in discriminators.iter().filter(|found| **found != NULL_DISCRIMINATOR) {
            *lengths.get_mut(usize::from(*discriminator))? += 1;
        }
        self.discriminators.extend_from_slice(discriminators);
        self.lengths.iter_mut().zip(&lengths).for_each(|(length, more)| *length += more);
        Some(lengths)
    }
}

impl Layout for VariantColumn {
    fn rows(&self) -> usize {
        self.discriminators.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        for discriminator in self.discriminators.drain(rows.min(self.discriminators.len())..) {
            if let Some(length) = self.lengths.get_mut(usize::from(discriminator)) {
                *length -= 1;
            }
        }
        for (column, length) in self.columns.iter_mut().zip(&self.lengths) {
            column.truncate(*length);
        }
    }

    fn push_null(&mut self) -> bool {
        Self::push_null(self);
        true
    }

    fn push_default(&mut self) {
        Self::push_null(self);
    }

    fn size_bytes(&self) -> usize {
        self.discriminators.len() + self.columns.iter().map(Column::size_bytes).sum::<usize>()
    }

    fn clear_rows(&mut self) {
        self.discriminators.clear();
        self.lengths.fill(0);
        self.columns.iter_mut().for_each(Column::clear);
    }

    fn check(&self) -> Result<(), Unfinished> {
        self.columns.iter().zip(&self.lengths).try_for_each(|(column, length)| check_part(column, *length))
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MODE_BASIC.to_le_bytes());
        for column in &self.columns {
            column.layout().write_prefix(out);
        }
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.discriminators);
        for column in &self.columns {
            write_part(column, out);
        }
    }
}
