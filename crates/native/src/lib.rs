//! ClickHouse's types, column builders and the Native format: pure, no I/O.
//!
//! Start with [`Type::parse`] (what the server prints), [`Column::for_type`] (where values go) and
//! [`write_block`] (what an insert sends).

// Native is little-endian; vectors are written as they lie in memory.
#[cfg(not(target_endian = "little"))]
compile_error!("only little-endian machines are supported");

mod column;
mod parse;
mod read;
mod table;
mod types;
mod value;
mod varint;
mod write;

pub use column::{
    ArrayColumn, Column, ColumnError, DATE32_DEFAULT, DefaultedColumn, DynamicColumn, FixedStringColumn,
    JsonColumn, LowCardinalityColumn, MapColumn, NULL_DISCRIMINATOR, NullableColumn, SlotError, StringColumn,
    TupleColumn, VariantColumn, WrongWidth,
};
pub use read::{Block, ReadColumn, ReadError, ReadProblem, read_block, read_blocks};
pub use table::{ColumnDefault, Table, TableColumn};
pub use types::{DEPTH_MAX, JsonType, TupleElement, Type, TypeError};
pub use value::Value;
pub use write::{BlockColumn, WriteError, write_block};
