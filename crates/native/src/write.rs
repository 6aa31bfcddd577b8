//! Writes columns as one block in Native: what `INSERT .. FORMAT Native` takes over HTTP.

use crate::column::Column;
use crate::varint;

/// One column of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockColumn<'a> {
    /// The column's name in the table.
    pub name: &'a str,
    /// The type as the server printed it; the column must have been made for it.
    pub ty: &'a str,
    /// The values.
    pub column: &'a Column,
}

/// The columns do not make a block. A bug of whoever built them, not of what they hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` has {found} finished rows or unfinished parts, expected {rows} rows")]
pub struct WriteError {
    /// The column.
    pub column: String,
    /// The rows that it has.
    pub found: usize,
    /// The rows that the block has.
    pub rows: usize,
}

/// Appends one block of `rows` rows: the body of an insert over HTTP, which carries no block info
/// (client revision 0). Columns without rows make a block that the server takes and ignores.
///
/// # Errors
/// When a column, or a part of it, has not exactly `rows` rows. Nothing is appended.
pub fn write_block(columns: &[BlockColumn<'_>], rows: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    for block_column in columns {
        let layout = block_column.column.layout();
        if layout.rows() != rows || layout.check().is_err() {
            let column = block_column.name.to_owned();
            return Err(WriteError { column, found: layout.rows(), rows });
        }
    }
    out.reserve(columns.iter().map(|c| c.column.size_bytes() + c.name.len() + c.ty.len() + 32).sum());
    varint::write(out, columns.len() as u64);
    varint::write(out, rows as u64);
    for BlockColumn { name, ty, column } in columns {
        varint::write_str(out, name);
        varint::write_str(out, ty);
        // Without rows there is neither a prefix nor values.
        if rows > 0 {
            column.layout().write_prefix(out);
            column.layout().write_values(out);
        }
    }
    Ok(())
}
