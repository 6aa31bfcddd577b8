//! ClickHouse's data types as the server names them.

/// A ClickHouse data type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `String`.
    String,
}
