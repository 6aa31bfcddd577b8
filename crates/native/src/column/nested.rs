//! Columns around columns: `Nullable`, `Array`, `Map`, `Tuple`.
//!
//! A row's value is pushed into the inner columns first and finished by one call on the outer one.

use super::layout::{Unfinished, check_part, write_part};
use super::{Column, Layout};

/// `Nullable`: a byte a row, and a column that has a zero value where the row is `NULL`.
#[derive(Debug, Clone, PartialEq)]
pub struct NullableColumn {
    nulls: Vec<u8>,
    /// The values. Push one here, then call [`NullableColumn::end_value`].
    pub values: Column,
}

impl NullableColumn {
    /// An empty column of `values`, which must be empty too.
    #[must_use]
    pub const fn new(values: Column) -> Self {
        Self { nulls: Vec::new(), values }
    }

    /// Finishes a row whose value has been pushed into `values`.
    #[inline]
    pub fn end_value(&mut self) {
        self.nulls.push(0);
    }

    /// Adds a `NULL`.
    #[inline]
    pub fn push_null(&mut self) {
        self.values.push_default();
        self.nulls.push(1);
    }

    /// For each row, 1 where it is `NULL` and 0 where it is not.
    #[must_use]
    pub fn nulls(&self) -> &[u8] {
        &self.nulls
    }

    pub(crate) fn extend_nulls(&mut self, nulls: &[u8]) {
        self.nulls.extend_from_slice(nulls);
    }
}

impl Layout for NullableColumn {
    fn rows(&self) -> usize {
        self.nulls.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.values.truncate(self.nulls.len());
    }

    fn push_null(&mut self) -> bool {
        Self::push_null(self);
        true
    }

    fn push_default(&mut self) {
        Self::push_null(self);
    }

    fn size_bytes(&self) -> usize {
        self.nulls.len() + self.values.size_bytes()
    }

    fn clear_rows(&mut self) {
        self.nulls.clear();
        self.values.clear();
    }

    fn check(&self) -> Result<(), Unfinished> {
        check_part(&self.values, self.nulls.len())
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        self.values.layout().write_prefix(out);
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nulls);
        write_part(&self.values, out);
    }
}

/// `Array`: the elements of all rows in one column, and where each row's elements end.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayColumn {
    ends: Vec<u64>,
    /// The elements. Push a row's elements here, then call [`ArrayColumn::end_row`].
    pub elements: Column,
}

impl ArrayColumn {
    /// An empty column of `elements`, which must be empty too.
    #[must_use]
    pub const fn new(elements: Column) -> Self {
        Self { ends: Vec::new(), elements }
    }

    /// Finishes a row with the elements that have been pushed since the last.
    #[inline]
    pub fn end_row(&mut self) {
        self.ends.push(self.elements.len() as u64);
    }

    /// The elements of a row, as a range of rows of `elements`.
    #[must_use]
    pub fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        range(&self.ends, row)
    }

    pub(crate) fn extend_ends(&mut self, ends: &[u64]) {
        self.ends.extend_from_slice(ends);
    }
}

impl Layout for ArrayColumn {
    fn rows(&self) -> usize {
        self.ends.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.elements.truncate(last(&self.ends));
    }

    fn push_default(&mut self) {
        self.end_row();
    }

    fn size_bytes(&self) -> usize {
        self.ends.size_bytes() + self.elements.size_bytes()
    }

    fn clear_rows(&mut self) {
        self.ends.clear();
        self.elements.clear();
    }

    fn check(&self) -> Result<(), Unfinished> {
        check_part(&self.elements, last(&self.ends))
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        self.elements.layout().write_prefix(out);
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        self.ends.write_values(out);
        write_part(&self.elements, out);
    }
}

/// `Map`: the pairs of all rows in two columns, and where each row's pairs end.
#[derive(Debug, Clone, PartialEq)]
pub struct MapColumn {
    ends: Vec<u64>,
    /// The keys. Push a row's keys here and its values into `values`, then call [`MapColumn::end_row`].
    pub keys: Column,
    /// The values.
    pub values: Column,
}

impl MapColumn {
    /// An empty column of `keys` and `values`, which must be empty too.
    #[must_use]
    pub const fn new(keys: Column, values: Column) -> Self {
        Self { ends: Vec::new(), keys, values }
    }

    /// Finishes a row with the pairs that have been pushed since the last.
    #[inline]
    pub fn end_row(&mut self) {
        self.ends.push(self.keys.len() as u64);
    }

    /// The pairs of a row, as a range of rows of `keys` and `values`.
    #[must_use]
    pub fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        range(&self.ends, row)
    }

    pub(crate) fn extend_ends(&mut self, ends: &[u64]) {
        self.ends.extend_from_slice(ends);
    }
}

impl Layout for MapColumn {
    fn rows(&self) -> usize {
        self.ends.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.keys.truncate(last(&self.ends));
        self.values.truncate(last(&self.ends));
    }

    fn push_default(&mut self) {
        self.end_row();
    }

    fn size_bytes(&self) -> usize {
        self.ends.size_bytes() + self.keys.size_bytes() + self.values.size_bytes()
    }

    fn clear_rows(&mut self) {
        self.ends.clear();
        self.keys.clear();
        self.values.clear();
    }

    fn check(&self) -> Result<(), Unfinished> {
        check_part(&self.keys, last(&self.ends))?;
        check_part(&self.values, last(&self.ends))
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        self.keys.layout().write_prefix(out);
        self.values.layout().write_prefix(out);
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        self.ends.write_values(out);
        write_part(&self.keys, out);
        write_part(&self.values, out);
    }
}

/// `Tuple`: a column an element.
#[derive(Debug, Clone, PartialEq)]
pub struct TupleColumn {
    rows: usize,
    /// The elements. Push one value into each, in any order, then call [`TupleColumn::end_row`].
    pub columns: Vec<Column>,
}

impl TupleColumn {
    /// An empty column of `columns`, which must be empty too.
    #[must_use]
    pub const fn new(columns: Vec<Column>) -> Self {
        Self { rows: 0, columns }
    }

    /// Finishes a row whose elements have all been pushed.
    #[inline]
    pub fn end_row(&mut self) {
        self.rows += 1;
    }

    pub(crate) fn extend_rows(&mut self, rows: usize) {
        self.rows += rows;
    }
}

impl Layout for TupleColumn {
    fn rows(&self) -> usize {
        self.rows
    }

    fn truncate_rows(&mut self, rows: usize) {
        self.rows = rows.min(self.rows);
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    fn push_default(&mut self) {
        for column in &mut self.columns {
            column.push_default();
        }
        self.end_row();
    }

    fn size_bytes(&self) -> usize {
        // An empty tuple is written as one byte.
        if self.columns.is_empty() { self.rows } else { self.columns.iter().map(Column::size_bytes).sum() }
    }

    fn clear_rows(&mut self) {
        self.rows = 0;
        self.columns.iter_mut().for_each(Column::clear);
    }

    fn check(&self) -> Result<(), Unfinished> {
        self.columns.iter().try_for_each(|column| check_part(column, self.rows))
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        for column in &self.columns {
            column.layout().write_prefix(out);
        }
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        if self.columns.is_empty() {
            out.resize(out.len() + self.rows, b'0');
        }
        for column in &self.columns {
            write_part(column, out);
        }
    }
}

fn last(ends: &[u64]) -> usize {
    ends.last().map_or(0, |end| *end as usize)
}

fn range(ends: &[u64], row: usize) -> Option<std::ops::Range<usize>> {
    let end = *ends.get(row)? as usize;
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    Some(start..end)
}
