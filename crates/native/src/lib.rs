//! ClickHouse's types, column builders and the Native format: pure, no I/O.

mod table;
mod types;

pub use table::{ColumnDefault, Table, TableColumn};
pub use types::Type;
