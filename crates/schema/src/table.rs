//! The ClickHouse table that a schema's values fit into.

use std::fmt;

use crate::document::JsonSchema;
use crate::outline::Outline;
use crate::rules::Types;

/// A table to be created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDefinition {
    /// The columns.
    pub columns: Vec<ColumnDefinition>,
}

/// A column to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The name, unquoted.
    pub name: String,
    /// The ClickHouse type.
    pub ty: String,
    /// Anything after the type (`DEFAULT …`, `CODEC(…)`), empty for nothing.
    pub rest: String,
}

impl ColumnDefinition {
    /// A column with nothing but a type.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: impl Into<String>) -> Self {
        Self { name: name.into(), ty: ty.into(), rest: String::new() }
    }
}

/// The columns for the members of the schema's value, in order of their names, over `$ref`, `allOf`
/// and all alternatives; a member that some alternative lacks or does not require is Nullable where ClickHouse
/// allows it.
///
/// | the member | the column |
/// | --- | --- |
/// | string | `String`; `LowCardinality(String)` if listed; `DateTime64(3, 'UTC')`, `Date32`, `UUID`, `IPv4`, `IPv6` by format |
/// | integer | `Int64`, `UInt64` if at least 0; `Float64` for other numbers; `Bool` |
/// | object | `JSON` |
/// | array | `Array(T)` of scalars, `Array(JSON)` of objects; an absent one is empty |
/// | anything else | `Dynamic`: several types, or none stated |
#[must_use]
pub fn table_for(schema: &JsonSchema) -> TableDefinition {
    let columns = schema.outline().members.iter().map(|member| {
        let (ty, rest) = column_type(&member.outline, !member.required);
        ColumnDefinition { name: member.name.clone(), ty, rest: rest.to_owned() }
    });
    TableDefinition { columns: columns.collect() }
}

fn column_type(outline: &Outline, optional: bool) -> (String, &'static str) {
    let null = outline.types.intersects(Types::NULL);
    let types = outline.types & !Types::NULL;
    if let Some(scalar) = scalar(outline, types) {
        return match (null || optional, scalar) {
            (false, scalar) => (scalar.to_owned(), ""),
            (true, "LowCardinality(String)") => ("LowCardinality(Nullable(String))".to_owned(), ""),
            (true, scalar) => (format!("Nullable({scalar})"), ""),
        };
    }
    if types == Types::OBJECT {
        return (if null || optional { "Nullable(JSON)" } else { "JSON" }.to_owned(), "");
    }
    if types == Types::ARRAY
        && !null
        && let Some(items) = &outline.items
        && let Some(item) = item_type(items)
    {
        return (format!("Array({item})"), if optional { "DEFAULT []" } else { "" });
    }
    ("Dynamic".to_owned(), "")
}

fn item_type(items: &Outline) -> Option<String> {
    let null = items.types.intersects(Types::NULL);
    let types = items.types & !Types::NULL;
    match scalar(items, types) {
        Some(scalar) if null => {
            Some(format!("Nullable({})", scalar.replace("LowCardinality(String)", "String")))
        }
        Some(scalar) => Some(scalar.to_owned()),
        None if types == Types::OBJECT && !null => Some("JSON".to_owned()),
        None => None,
    }
}

fn scalar(outline: &Outline, types: Types) -> Option<&'static str> {
    if types == Types::STRING {
        return Some(match outline.format.as_deref() {
            Some("date-time") => "DateTime64(3, 'UTC')",
            Some("date") => "Date32",
            Some("uuid") => "UUID",
            Some("ipv4") => "IPv4",
            Some("ipv6") => "IPv6",
            _ if outline.enumerated => "LowCardinality(String)",
            _ => "String",
        });
    }
    if types == Types::NONE {
        // Only null: a column that holds it, and whatever a later schema allows.
        return None;
    }
    if types == Types::BOOLEAN || types == Types::TRUE || types == Types::FALSE {
        return Some("Bool");
    }
    if types == Types::INTEGER {
        return Some(if outline.natural { "UInt64" } else { "Int64" });
    }
    (Types::NUMBER.contains(types)).then_some("Float64")
}

impl TableDefinition {
    /// The `CREATE TABLE` statement. `name` is database and table, unquoted; `extra` columns come after
    /// the schema's; `engine` and `order_by` are SQL as it stands.
    #[must_use]
    pub fn create<'a>(
        &'a self,
        (database, table): (&'a str, &'a str),
        extra: &'a [ColumnDefinition],
        engine: &'a str,
        order_by: &'a str,
    ) -> CreateTable<'a> {
        CreateTable { definition: self, database, table, extra, engine, order_by }
    }
}

/// Displays as a `CREATE TABLE` statement.
#[derive(Debug, Clone, Copy)]
pub struct CreateTable<'a> {
    definition: &'a TableDefinition,
    database: &'a str,
    table: &'a str,
    extra: &'a [ColumnDefinition],
    engine: &'a str,
    order_by: &'a str,
}

impl fmt::Display for CreateTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CREATE TABLE IF NOT EXISTS {}.{}\n(", quote(self.database), quote(self.table))?;
        let taken = |column: &&ColumnDefinition| self.extra.iter().all(|extra| extra.name != column.name);
        let columns = self.definition.columns.iter().filter(taken).chain(self.extra);
        for (index, column) in columns.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}\n    {} {}", quote(&column.name), column.ty)?;
            if !column.rest.is_empty() {
                write!(f, " {}", column.rest)?;
            }
        }
        write!(f, "\n)\nENGINE = {}\nORDER BY {}", self.engine, self.order_by)
    }
}

/// A name in backticks, as ClickHouse reads it.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_all_alternatives_become_columns() {
        let schema = JsonSchema::parse(
            r##"{
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {
                "base": {"type": "object", "required": ["id", "at"], "properties": {
                    "id": {"type": "integer", "minimum": 0}, "at": {"type": "string", "format": "date-time"},
                    "day": {"type": "string", "format": "date"}}},
                "user": {"type": "object", "required": ["login"], "properties": {"login": {"type": "string"}}}
            },
            "oneOf": [
                {"allOf": [{"$ref": "#/definitions/base"}], "required": ["kind", "user"], "properties": {
                    "kind": {"enum": ["a", "b"]}, "user": {"$ref": "#/definitions/user"},
                    "by": {"oneOf": [{"$ref": "#/definitions/user"}, {"type": "null"}]}}},
                {"allOf": [{"$ref": "#/definitions/base"}], "required": ["kind"], "properties": {
                    "kind": {"const": "c"}, "ok": {"type": "boolean"}, "score": {"type": ["number", "null"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "list": {"type": "array", "items": {"$ref": "#/definitions/user"}}, "any": {}}}
            ]}"##,
        )
        .unwrap();
        let columns: Vec<String> = table_for(&schema)
            .columns
            .iter()
            .map(|c| format!("{} {} {}", c.name, c.ty, c.rest).trim().to_owned())
            .collect();
        assert_eq!(
            columns,
            [
                "any Dynamic",
                "at DateTime64(3, 'UTC')",
                "by Nullable(JSON)",
                "day Nullable(Date32)",
                "id UInt64",
                "kind LowCardinality(String)",
                "list Array(JSON) DEFAULT []",
                "ok Nullable(Bool)",
                "score Nullable(Float64)",
                "tags Array(String) DEFAULT []",
                "user Nullable(JSON)",
            ]
        );
    }

    #[test]
    fn a_definition_displays_as_sql_with_names_quoted() {
        let definition = TableDefinition { columns: vec![ColumnDefinition::new("a`b", "String")] };
        let extra = [ColumnDefinition::new("_offset", "Int64")];
        assert_eq!(
            definition.create(("db", "t"), &extra, "MergeTree", "tuple()").to_string(),
            "CREATE TABLE IF NOT EXISTS `db`.`t`\n(\n    `a\\`b` String,\n    `_offset` Int64\n)\nENGINE = MergeTree\nORDER BY tuple()"
        );
    }
}
