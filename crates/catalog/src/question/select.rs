//! A `SELECT` as it grows, and as text that people can read.

use tidegate_schema::quote;

/// A `SELECT` whose every column has a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Select {
    columns: Vec<(String, String)>,
    /// What follows `FROM`, with joins.
    pub(super) from: String,
    /// Conditions that all hold.
    pub(super) filter: Vec<String>,
    /// The columns that rows are grouped by.
    keys: Vec<String>,
}

impl Select {
    /// Nothing yet, from there.
    pub(super) fn from(from: String) -> Self {
        Self { from, ..Self::default() }
    }

    /// From what another one gives, by the name `alias`.
    pub(super) fn over(inner: &str, alias: &str) -> Self {
        Self::from(format!("{} AS {alias}", bracketed(inner)))
    }

    /// A column.
    pub(super) fn column(&mut self, name: &str, sql: impl Into<String>) -> &mut Self {
        self.columns.push((name.to_owned(), sql.into()));
        self
    }

    /// A column that rows are grouped by.
    pub(super) fn key(&mut self, name: &str, sql: impl Into<String>) -> &mut Self {
        self.keys.push(name.to_owned());
        self.column(name, sql)
    }

    /// The text.
    pub(super) fn sql(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|(name, sql)| format!("    {sql} AS {}", quote(name))).collect();
        let mut sql = format!("SELECT\n{}\nFROM {}", columns.join(",\n"), self.from);
        if !self.filter.is_empty() {
            sql.push_str("\nWHERE ");
            sql.push_str(&self.filter.join("\n  AND "));
        }
        if !self.keys.is_empty() {
            sql.push_str("\nGROUP BY ");
            sql.push_str(&names(&self.keys));
        }
        sql
    }
}

/// Quoted names with commas between them.
pub(super) fn names(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// A query where a table could stand.
pub(super) fn bracketed(inner: &str) -> String {
    // No literal is changed by that: a line break in a text is written with an escape.
    let lines: Vec<String> = inner.lines().map(|line| format!("    {line}")).collect();
    format!("(\n{}\n)", lines.join("\n"))
}

/// A column of what goes by the name `of`.
pub(super) fn of(of: &str, name: &str) -> String {
    format!("{of}.{}", quote(name))
}
