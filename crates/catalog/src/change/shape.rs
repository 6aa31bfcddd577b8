//! What a CREATE statement says, taken apart so that two of them can be compared.
//!
//! Reads statements as ClickHouse writes them: the catalog's after `formatQuerySingleLine`, the server's own from
//! `system.tables`. What it does not know is kept and compared as text.

use indexmap::IndexMap;

use super::sql::{Sql, Word, literal, parts, unquoted, words};

/// What a statement makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A table.
    Table(Box<Table>),
    /// A materialized view.
    View(View),
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Its columns by name, in its order.
    pub columns: IndexMap<String, Column>,
    /// Indices, projections and constraints.
    pub others: Vec<Sql>,
    /// The engine with its arguments.
    pub engine: Sql,
    /// The partition key.
    pub partition_by: Sql,
    /// The sorting key.
    pub order_by: Sql,
    /// The primary key, if it is told apart.
    pub primary_key: Sql,
    /// When rows are forgotten.
    pub ttl: Sql,
    /// Settings by name.
    pub settings: IndexMap<String, String>,
    /// The comment.
    pub comment: String,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// Its type.
    pub ty: Sql,
    /// What it is when a row does not have it; empty for the type's empty value.
    pub default: Sql,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`; empty without.
    pub default_kind: String,
    /// The comment.
    pub comment: String,
    /// How it is compressed, without the arguments that ClickHouse adds by itself.
    pub codec: Sql,
    /// Everything else that it says.
    pub others: Sql,
    /// The whole definition, as SQL.
    pub definition: String,
}

/// A materialized view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The table that it fills, without its database.
    pub target: String,
    /// The table that it reads, without its database.
    pub source: String,
    /// What it makes of each block.
    pub select: Sql,
    /// The select up to the name of the table that it reads, and from behind it.
    around: (String, String),
}

impl View {
    /// The select over something else than the table that it reads.
    #[must_use]
    pub fn over(&self, rows: &str) -> String {
        let (before, after) = &self.around;
        format!("{before} {rows} {after}")
    }
}

/// Reads a statement; `None` if it makes neither table nor materialized view.
#[must_use]
pub fn shape(statement: &str) -> Option<Shape> {
    let all = words(statement);
    let mut rest = all.as_slice();
    if !eat(&mut rest, "CREATE") && !eat(&mut rest, "ATTACH") {
        return None;
    }
    if eat(&mut rest, "MATERIALIZED") {
        return eat(&mut rest, "VIEW").then(|| view(statement, rest)).flatten().map(Shape::View);
    }
    if !eat(&mut rest, "TABLE") {
        return None;
    }
    let open = rest.iter().position(|word| word.depth == 0 && word.text == "(")?;
    let close = open + rest[open..].iter().position(|word| word.depth == 0 && word.text == ")")?;
    let mut table = Table::default();
    for part in parts(&rest[open + 1..close], 1) {
        let special = ["INDEX", "PROJECTION", "CONSTRAINT", "PRIMARY"].iter().any(|word| part[0].says(word));
        if special && part.len() > 2 {
            table.others.push(Sql::of(statement, part));
        } else {
            table.columns.insert(unquoted(part[0].text), column(statement, part));
        }
    }
    clauses(statement, &rest[close + 1..], &mut table);
    Some(Shape::Table(Box::new(table)))
}

fn eat(words: &mut &[Word<'_>], keyword: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if first.says(keyword) => {
            *words = rest;
            true
        }
        _ => false,
    }
}

/// The words that begin a part of a column's definition.
const OF_COLUMN: [&str; 9] =
    ["DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL", "COMMENT", "CODEC", "TTL", "STATISTICS", "SETTINGS"];

fn column(statement: &str, part: &[Word<'_>]) -> Column {
    let depth = part[0].depth;
    let mut column = Column { definition: Sql::of(statement, part).as_str().to_owned(), ..Column::default() };
    let begins = |word: &Word<'_>| word.depth == depth && OF_COLUMN.iter().any(|keyword| word.says(keyword));
    let mut rest = &part[1..];
    let mut keyword = "";
    loop {
        let end = rest.iter().position(begins).unwrap_or(rest.len());
        let value = Sql::of(statement, &rest[..end]);
        match keyword.to_ascii_uppercase().as_str() {
            "" => column.ty = value,
            kind @ ("DEFAULT" | "MATERIALIZED" | "ALIAS" | "EPHEMERAL") => {
                column.default_kind = kind.to_owned();
                column.default = value;
            }
            "COMMENT" => column.comment = literal(value.as_str()).unwrap_or_default(),
            "CODEC" => column.codec = codec(&rest[..end]),
            _ => column.others = Sql::new(&format!("{} {keyword} {value}", column.others)),
        }
        match rest.get(end) {
            None => return column,
            Some(next) => {
                keyword = next.text;
                rest = &rest[end + 1..];
            }
        }
    }
}

/// `Delta` is stored as `Delta(8)`: the width follows from the type.
fn codec(words: &[Word<'_>]) -> Sql {
    let mut text = String::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        text.push_str(word.text);
        text.push(' ');
        at += 1;
        let width = ["Delta", "DoubleDelta", "Gorilla"].iter().any(|codec| word.says(codec));
        if width && words.get(at).is_some_and(|word| word.text == "(") {
            at += 3;
        }
    }
    Sql::new(&text)
}

/// The clauses after a table's columns, by the words that begin them.
const OF_TABLE: [&str; 8] =
    ["ENGINE", "PARTITION", "ORDER", "PRIMARY", "SAMPLE", "TTL", "SETTINGS", "COMMENT"];

fn clauses(statement: &str, mut rest: &[Word<'_>], table: &mut Table) {
    let begins = |word: &Word<'_>| word.depth == 0 && OF_TABLE.iter().any(|keyword| word.says(keyword));
    while let Some(start) = rest.iter().position(begins) {
        let keyword = rest[start].text.to_ascii_uppercase();
        rest = &rest[start + 1..];
        while rest.first().is_some_and(|word| word.says("BY") || word.says("KEY") || word.text == "=") {
            rest = &rest[1..];
        }
        let end = rest.iter().position(begins).unwrap_or(rest.len());
        let value = Sql::of(statement, &rest[..end]);
        match keyword.as_str() {
            "ENGINE" => table.engine = value,
            "PARTITION" => table.partition_by = value,
            "ORDER" => table.order_by = unbracketed(&value),
            "PRIMARY" => table.primary_key = unbracketed(&value),
            "TTL" => table.ttl = value,
            "COMMENT" => table.comment = literal(value.as_str()).unwrap_or_default(),
            "SETTINGS" => {
                for part in parts(&rest[..end], 0).filter(|part| part.len() > 2) {
                    let name = unquoted(part[0].text);
                    table.settings.insert(name, Sql::of(statement, &part[2..]).as_str().to_owned());
                }
            }
            _ => table.others.push(value),
        }
        rest = &rest[end..];
    }
}

/// `(ts)` and `ts` are one key.
fn unbracketed(key: &Sql) -> Sql {
    let all = words(key.as_str());
    match all.as_slice() {
        [open, inner @ .., close]
            if open.text == "("
                && close.text == ")"
                && close.depth == 0
                && inner.iter().all(|word| word.depth > 0) =>
        {
            Sql::of(key.as_str(), inner)
        }
        _ => key.clone(),
    }
}

fn view(statement: &str, rest: &[Word<'_>]) -> Option<View> {
    let to = rest.iter().position(|word| word.depth == 0 && word.says("TO"))?;
    let target = last_of_name(&rest[to + 1..])?;
    let from_select = rest.iter().position(|word| word.depth == 0 && word.says("SELECT"))?;
    let select = &rest[from_select..];
    let from = select.iter().position(|word| word.depth == 0 && word.says("FROM"))?;
    let source = last_of_name(&select[from + 1..])?;
    let named = if select.get(from + 2).is_some_and(|word| word.text == ".") { 3 } else { 1 };
    let text = |words: &[Word<'_>]| Sql::of(statement, words).as_str().to_owned();
    let around = (text(&select[..=from]), text(select.get(from + 1 + named..).unwrap_or_default()));
    Some(View { target, source, select: Sql::of(statement, select), around })
}

/// The last part of a name such as `db`.`table`.
fn last_of_name(words: &[Word<'_>]) -> Option<String> {
    let first = words.first()?;
    let name = match words.get(1..3) {
        Some([dot, second]) if dot.text == "." => second,
        _ => first,
    };
    Some(unquoted(name.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWED: &str = "CREATE TABLE clip.video_viewed (`event_id` UUID COMMENT 'Made by the app', `ts` DateTime64(3, 'UTC') \
        CODEC(Delta(8), ZSTD(1)), `quality` LowCardinality(Nullable(String)), `stalls` Array(Tuple(at_ms UInt32, for_ms UInt32)) \
        DEFAULT [], `_offset` Int64) ENGINE = ReplacingMergeTree(_offset) PARTITION BY toYYYYMM(ts) ORDER BY (ts, event_id) \
        TTL toDateTime(ts) + toIntervalMonth(25) SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192 \
        COMMENT 'One playback'";

    #[test]
    fn a_tables_parts_are_told_apart() {
        let Some(Shape::Table(table)) = shape(VIEWED) else { panic!("a table") };
        assert_eq!(table.columns.len(), 5);
        assert_eq!(table.columns["event_id"].comment, "Made by the app");
        assert_eq!(table.columns["ts"].codec, Sql::new("(Delta, ZSTD(1))"));
        assert_eq!(table.columns["stalls"].default, Sql::new("[]"));
        assert_eq!(table.columns["stalls"].ty.as_str(), "Array(Tuple(at_ms UInt32, for_ms UInt32))");
        assert_eq!(table.engine.as_str(), "ReplacingMergeTree(_offset)");
        assert_eq!(table.order_by.as_str(), "ts, event_id");
        assert_eq!(table.settings["non_replicated_deduplication_window"], "10000");
        assert_eq!(table.comment, "One playback");
        assert!(table.ttl.as_str().ends_with("toIntervalMonth(25)"));
    }

    #[test]
    fn a_views_columns_are_not_a_part_of_it() {
        let stored = "CREATE MATERIALIZED VIEW clip.v TO clip.r (`n` UInt64) AS SELECT count() AS n FROM clip.a AS source";
        let written = "CREATE MATERIALIZED VIEW IF NOT EXISTS clip.v TO clip.r AS SELECT count() AS `n` FROM clip.a AS source";
        let (Some(Shape::View(one)), Some(Shape::View(two))) = (shape(stored), shape(written)) else {
            panic!("two views")
        };
        assert_eq!((&one.target, &one.source, &one.select), (&two.target, &two.source, &two.select));
        assert_eq!((one.target.as_str(), one.source.as_str()), ("r", "a"));
    }

    #[test]
    fn a_views_select_runs_over_other_rows_however_its_table_is_written() {
        for name in ["a", "clip.a", "clip.`all`", "`clip`.`all`"] {
            let text = format!(
                "CREATE MATERIALIZED VIEW v TO r AS SELECT count() AS n FROM {name} AS source GROUP BY k"
            );
            let Some(Shape::View(view)) = shape(&text) else { panic!("a view") };
            assert_eq!(view.over("(SELECT 1)"), "SELECT count() AS n FROM (SELECT 1) AS source GROUP BY k");
        }
    }

    #[test]
    fn what_is_no_table_has_no_shape() {
        for text in [
            "",
            "CREATE",
            "CREATE TABLE",
            "CREATE TABLE a (",
            "CREATE VIEW v AS SELECT 1",
            "(",
            "CREATE TABLE a ()",
        ] {
            assert!(!matches!(shape(text), Some(Shape::View(_))), "{text}");
        }
    }
}
