//! A table as the server describes it.

use crate::types::Type;

/// A table's columns as the server describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The database.
    pub database: String,
    /// The table's name within its database.
    pub name: String,
    /// The columns in the table's order.
    pub columns: Vec<TableColumn>,
}

/// One column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// The column's name; a Nested part has a dot in it.
    pub name: String,
    /// The type.
    pub ty: Type,
    /// What happens when a row does not give the column.
    pub default: ColumnDefault,
}

/// A column's default kind, as `DESCRIBE TABLE` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnDefault {
    /// None: a row must give a value, unless the type is Nullable.
    None,
    /// `DEFAULT expr`: the server computes it where a row gives nothing.
    Default {
        /// The expression.
        expression: String,
    },
    /// `MATERIALIZED`: never inserted.
    Materialized,
    /// `ALIAS`: never inserted.
    Alias,
    /// `EPHEMERAL`: inserted, not stored.
    Ephemeral,
}
