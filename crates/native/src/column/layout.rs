//! What every layout can do. `Column` is an enum for its users' sake; behind it each layout answers
//! for itself.

use super::Column;

/// A column's finished rows do not agree with one another: whoever built it left a row half-written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfinished;

/// One physical layout.
pub(crate) trait Layout {
    fn rows(&self) -> usize;

    fn truncate_rows(&mut self, rows: usize);

    /// Gives `false` where the layout has no `NULL`.
    fn push_null(&mut self) -> bool {
        false
    }

    fn push_default(&mut self);

    fn size_bytes(&self) -> usize;

    fn clear_rows(&mut self);

    /// Whether all parts have the values that the rows say.
    fn check(&self) -> Result<(), Unfinished> {
        Ok(())
    }

    /// What Native has before the values of the whole column tree: versions and modes.
    fn write_prefix(&self, _out: &mut Vec<u8>) {}

    /// The values of all rows; not called without any.
    fn write_values(&self, out: &mut Vec<u8>);

    /// The bytes of one row, in the layouts that a dictionary can have.
    fn row_bytes(&self, _row: usize) -> Option<&[u8]> {
        None
    }

    /// Adds a row by its bytes, in the layouts that a dictionary can have. Gives `false`, and adds
    /// nothing, where they don't fit.
    fn push_bytes(&mut self, _bytes: &[u8]) -> bool {
        false
    }
}

/// Checks a part and its number of rows.
pub(crate) fn check_part(column: &Column, rows: usize) -> Result<(), Unfinished> {
    let layout = column.layout();
    if layout.rows() != rows {
        return Err(Unfinished);
    }
    layout.check()
}

/// Writes a part's values, if it has any.
pub(crate) fn write_part(column: &Column, out: &mut Vec<u8>) {
    let layout = column.layout();
    if layout.rows() > 0 {
        layout.write_values(out);
    }
}
