//! ClickHouse's tables: the database, events, dead letters, entities, narrow facts, rollups, in the order in
//! which they depend on one another, for one server and for a cluster.

use std::fmt::Write as _;

use tidegate_schema::quote;

use super::{File, Given, banner, rollups};
use crate::catalog::{Catalog, Column, Event};
use crate::column_type::{clickhouse_type, nullable};
use crate::expression::sql_text;
use crate::field_type::{FieldType, Scalar};
use crate::language::{Ddl, EngineKind, Entity, Fact, History, PartitionKey, PiiClass, Span, UnknownFields};
use crate::lock::Lock;

/// What begins the part of a column's comment that says what happens to its values before they are stored.
pub(crate) const PERSONAL_MARK: &str = "[personal data, ";

/// That part of the comment: `plan` sees by it that the rows of a table have been stored otherwise.
fn personal_mark(class: &str, of: &PiiClass) -> String {
    format!("{PERSONAL_MARK}{class}: {}]", of.done())
}

/// The columns that tell a row from every other.
pub(crate) const PLACE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// What a table keeps of the records whose fields it does not know.
const UNKNOWN_COLUMN: &str = "_unknown";

/// One statement, and what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The group of statements that it belongs to; groups come in this order.
    pub step: Step,
    /// What it makes: the name of a database, table or view.
    pub object: String,
    /// The statement, without a semicolon. It may be repeated.
    pub sql: String,
    /// The columns that it says of a table, with their types. Empty of databases, views and the table of dead
    /// letters, which is the sink's.
    pub columns: Vec<(String, String)>,
    /// The table of whose inserted blocks a view makes its rows.
    pub reads: Option<String>,
}

/// A group of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The database.
    Database,
    /// Tables of events.
    Events,
    /// The table of dead letters.
    DeadLetters,
    /// Tables of entities, and the views that fill them.
    Entities,
    /// Narrow tables of facts, and the views that fill them.
    Facts,
    /// Rollups, and the views that fill them.
    Rollups,
}

impl Step {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Database, "01-database"),
        (Self::Events, "02-events"),
        (Self::DeadLetters, "03-dead-letters"),
        (Self::Entities, "04-entities"),
        (Self::Facts, "05-facts"),
        (Self::Rollups, "06-rollups"),
    ];
}

pub(super) fn files(catalog: &Catalog, lock: &Lock, given: Given<'_>) -> Vec<File> {
    let mut modes = vec![(Ddl::Single, "single")];
    if catalog.file.defaults.clickhouse.cluster.is_some() {
        modes.push((Ddl::OnCluster, "cluster"));
    }
    let mut files = Vec::new();
    for (mode, folder) in modes {
        let statements = statements(catalog, lock, given, mode);
        for (step, name) in Step::ALL {
            let mut text = format!("-- {}\n", banner(catalog));
            let mut any = false;
            for statement in statements.iter().filter(|statement| statement.step == step) {
                any = true;
                // Writing into a `String` does not fail.
                let _ = write!(text, "\n{};\n", statement.sql);
            }
            if any {
                files.push(File::new(format!("clickhouse/{folder}/{name}.sql"), text));
            }
        }
    }
    files
}

/// Every statement, in an order in which they can be carried out. Each may be repeated.
#[must_use]
pub fn statements(catalog: &Catalog, lock: &Lock, given: Given<'_>, mode: Ddl) -> Vec<Statement> {
    let writer = Writer { catalog, lock, given, mode };
    let mut statements = vec![writer.database()];
    statements.extend(catalog.events.values().map(|event| writer.event(event)));
    statements.push(writer.dead_letters());
    for (name, entity) in catalog.file.entities.iter() {
        statements.extend(writer.entity(name, entity));
    }
    for (name, fact) in catalog.file.facts.iter().filter(|(_, fact)| catalog.narrow(fact)) {
        statements.extend(writer.fact(name, fact));
    }
    for (name, rollup) in catalog.file.rollups.iter() {
        statements.extend(rollups::statements(&writer, name, rollup));
    }
    statements
}

/// Writes the statements of one mode.
pub(super) struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) lock: &'a Lock,
    given: Given<'a>,
    mode: Ddl,
}

/// A column to be created.
pub(super) struct NewColumn {
    name: String,
    ty: String,
    /// Default, comment, codec.
    rest: String,
}

impl NewColumn {
    pub(super) fn new(name: &str, ty: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ty: ty.into(), rest: String::new() }
    }
}

/// A table to be created.
pub(super) struct NewTable<'a> {
    pub(super) step: Step,
    pub(super) name: &'a str,
    pub(super) columns: Vec<NewColumn>,
    /// The engine without its replication: `MergeTree`, `ReplacingMergeTree(since)`.
    pub(super) engine: &'a str,
    pub(super) partition_by: Option<String>,
    pub(super) order_by: Vec<String>,
    pub(super) ttl: Option<String>,
    pub(super) comment: &'a str,
}

impl Writer<'_> {
    fn on_cluster(&self) -> String {
        match (self.mode, &self.catalog.file.defaults.clickhouse.cluster) {
            (Ddl::OnCluster, Some(cluster)) => format!(" ON CLUSTER {}", quote(cluster.as_str())),
            (Ddl::OnCluster | Ddl::Single, _) => String::new(),
        }
    }

    /// The table's full name.
    pub(super) fn place(&self, table: &str) -> String {
        format!("{}.{}", quote(self.catalog.database()), quote(table))
    }

    fn database(&self) -> Statement {
        let database = self.catalog.database();
        let sql = format!("CREATE DATABASE IF NOT EXISTS {}{}", quote(database), self.on_cluster());
        Statement { step: Step::Database, object: database.to_owned(), sql, columns: Vec::new(), reads: None }
    }

    /// The sink's own definition, with the cluster put in.
    fn dead_letters(&self) -> Statement {
        let table = self.catalog.file.policies.dead_letters.table.as_str();
        let sql = (self.given.dead_letter_ddl)(self.catalog.database(), table);
        let sql = match self.mode {
            Ddl::Single => sql,
            Ddl::OnCluster => {
                let (head, tail) = sql.split_once(" (").unwrap_or((&sql, ""));
                format!("{head}{} ({tail}", self.on_cluster())
                    .replace(
                        "ENGINE = ReplacingMergeTree(version)",
                        &format!("ENGINE = {}", self.engine("ReplacingMergeTree(version)")),
                    )
                    .replace("non_replicated_deduplication_window", "replicated_deduplication_window")
            }
        };
        Statement { step: Step::DeadLetters, object: table.to_owned(), sql, columns: Vec::new(), reads: None }
    }

    /// The engine, in a cluster its replicated form.
    fn engine(&self, engine: &str) -> String {
        const REPLICA: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
        match self.mode {
            Ddl::Single => engine.to_owned(),
            Ddl::OnCluster => match engine.split_once('(') {
                None => format!("Replicated{engine}({REPLICA})"),
                Some((name, arguments)) => format!("Replicated{name}({REPLICA}, {arguments}"),
            },
        }
    }

    pub(super) fn table(&self, new: NewTable<'_>) -> Statement {
        let window = match self.mode {
            Ddl::Single => "non_replicated_deduplication_window",
            Ddl::OnCluster => "replicated_deduplication_window",
        };
        let columns = new.columns.iter();
        let columns: Vec<String> =
            columns.map(|column| format!("{} {}{}", quote(&column.name), column.ty, column.rest)).collect();
        let mut sql = format!(
            "CREATE TABLE IF NOT EXISTS {}{}\n(\n    {}\n)\nENGINE = {}",
            self.place(new.name),
            self.on_cluster(),
            columns.join(",\n    "),
            self.engine(new.engine),
        );
        // Writing into a `String` does not fail.
        if let Some(partition_by) = new.partition_by {
            let _ = write!(sql, "\nPARTITION BY {partition_by}");
        }
        let _ = write!(sql, "\nORDER BY ({})", new.order_by.join(", "));
        if let Some(ttl) = new.ttl {
            let _ = write!(sql, "\nTTL {ttl}");
        }
        let _ = write!(sql, "\nSETTINGS {window} = {}", self.given.dedup_window);
        let _ = write!(sql, "\nCOMMENT {}", sql_text(new.comment));
        let columns = new.columns.into_iter().map(|column| (column.name, column.ty)).collect();
        Statement { step: new.step, object: new.name.to_owned(), sql, columns, reads: None }
    }

    /// A view that fills `target` with what `select` makes of each block that is inserted into `source`.
    pub(super) fn view(
        &self,
        (step, name): (Step, &str),
        (source, target): (&str, &str),
        select: &str,
    ) -> Statement {
        let sql = format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {}{} TO {} AS\n{select}",
            self.place(name),
            self.on_cluster(),
            self.place(target),
        );
        Statement { step, object: name.to_owned(), sql, columns: Vec::new(), reads: Some(source.to_owned()) }
    }

    fn event(&self, event: &Event) -> Statement {
        let mut columns: Vec<NewColumn> = event
            .columns(self.catalog.nulls())
            .iter()
            .map(|(name, column)| self.column(name, column))
            .collect();
        if self.catalog.file.defaults.unknown_fields == UnknownFields::Collect {
            let rest = " DEFAULT '{}'".to_owned();
            columns.push(NewColumn { rest, ..NewColumn::new(UNKNOWN_COLUMN, "JSON") });
        }
        columns.extend(self.given.place_columns.iter().map(|(name, ty)| NewColumn::new(name, *ty)));
        let source = &event.source.clickhouse;
        let partition = source.partition_by.unwrap_or(self.catalog.file.defaults.clickhouse.partition_by);
        let engine = match self.catalog.engine(event) {
            EngineKind::MergeTree => "MergeTree",
            EngineKind::Replacing => "ReplacingMergeTree(_offset)",
        };
        self.table(NewTable {
            step: Step::Events,
            name: &event.table,
            columns,
            engine,
            partition_by: partition_sql(partition, "ts"),
            order_by: self.catalog.order_by(event).into_iter().map(quote).collect(),
            ttl: source.keep.or(self.catalog.file.policies.keep_events).map(|keep| ttl("ts", keep)),
            comment: &event.source.doc,
        })
    }

    fn column(&self, name: &str, column: &Column<'_>) -> NewColumn {
        let mut rest = String::new();
        // Writing into a `String` does not fail.
        if let Some(default) = default(column) {
            let _ = write!(rest, " DEFAULT {default}");
        }
        // ClickHouse reads them in this order only.
        let done = self.catalog.treatment(column).map(|(class, of)| personal_mark(class, of));
        let said: Vec<&str> = column.field.doc.as_deref().into_iter().chain(done.as_deref()).collect();
        if !said.is_empty() {
            let _ = write!(rest, " COMMENT {}", sql_text(&said.join(" ")));
        }
        if let (FieldType::Scalar(Scalar::Timestamp(_)), false) = (column.ty, column.nullable) {
            rest.push_str(" CODEC(Delta, ZSTD(1))");
        }
        NewColumn { rest, ..NewColumn::new(name, self.column_type(column)) }
    }

    /// The column's type.
    pub(super) fn column_type(&self, column: &Column<'_>) -> String {
        let ty = clickhouse_type(column.ty, column.field, self.catalog, self.lock);
        if column.nullable { nullable(&ty) } else { ty }
    }

    fn entity(&self, name: &str, entity: &Entity) -> Vec<Statement> {
        let Some(event) = self.catalog.events.get(&entity.source.value) else { return Vec::new() };
        let all = event.columns(self.catalog.nulls());
        let find = |wanted: &str| all.iter().find(|(column, _)| column == wanted);
        let Some((key, key_column)) = find(&entity.key.value) else { return Vec::new() };
        let key_type = clickhouse_type(key_column.ty, key_column.field, self.catalog, self.lock);
        let mut columns = vec![NewColumn::new(key, key_type)];
        let mut select = vec![format!("assumeNotNull(source.{0}) AS {0}", quote(key))];
        for (column, of) in entity.fields.iter().filter_map(|field| find(&field.value)) {
            columns.push(NewColumn::new(column, self.column_type(of)));
            select.push(format!("source.{0} AS {0}", quote(column)));
        }
        columns.push(NewColumn::new("since", "DateTime64(3, 'UTC')"));
        select.push("source.`ts` AS `since`".to_owned());
        let table = format!("entity_{name}");
        let mut order_by = vec![quote(key)];
        if entity.history == History::Scd2 {
            order_by.push("`since`".to_owned());
        }
        let comment = entity.doc.as_deref().unwrap_or(name);
        let new = NewTable {
            step: Step::Entities,
            name: &table,
            columns,
            engine: "ReplacingMergeTree(since)",
            partition_by: None,
            order_by,
            ttl: None,
            comment,
        };
        let select = format!(
            "SELECT\n    {}\nFROM {} AS source\nWHERE isNotNull(source.{})",
            select.join(",\n    "),
            self.place(&event.table),
            quote(key),
        );
        let view = format!("{table}_view");
        vec![self.table(new), self.view((Step::Entities, &view), (&event.table, &table), &select)]
    }

    fn fact(&self, name: &str, fact: &Fact) -> Vec<Statement> {
        let events = self.catalog.fact_events(fact);
        let nulls = self.catalog.nulls();
        let Some(first) = events.first() else { return Vec::new() };
        let mut names: Vec<&str> = vec!["event_id", "ts"];
        names.extend(fact.columns.iter().map(|column| column.value.as_str()));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| *name != "event" && seen.insert(*name));
        let mut columns = vec![NewColumn::new("event", "LowCardinality(String)")];
        for column in &names {
            let Some(of) = first.column(column, nulls) else { continue };
            let null = events.iter().any(|event| event.column(column, nulls).is_some_and(|of| of.nullable));
            let ty = clickhouse_type(of.ty, of.field, self.catalog, self.lock);
            columns.push(NewColumn::new(column, if null { nullable(&ty) } else { ty }));
        }
        // They tell a row from every other, when the table is made anew while rows come.
        let place = self.given.place_columns.iter().filter(|(name, _)| PLACE.contains(name));
        columns.extend(place.clone().map(|(name, ty)| NewColumn::new(name, *ty)));
        names.extend(place.map(|(name, _)| *name));
        let new = NewTable {
            step: Step::Facts,
            name,
            columns,
            engine: "MergeTree",
            partition_by: partition_sql(PartitionKey::Month, "ts"),
            order_by: vec!["`event`".to_owned(), "`ts`".to_owned()],
            ttl: self.catalog.file.policies.keep_events.map(|keep| ttl("ts", keep)),
            comment: fact.doc.as_deref().unwrap_or(name),
        };
        let mut statements = vec![self.table(new)];
        for event in events {
            let literal = sql_text(&event.name);
            let mut select = vec![format!("{literal} AS `event`")];
            select.extend(names.iter().map(|column| format!("source.{0} AS {0}", quote(column))));
            let filter = fact.where_.as_ref().map_or_else(String::new, |filter| {
                let name = |name: &str| {
                    if name == "event" { literal.clone() } else { format!("source.{}", quote(name)) }
                };
                format!("\nWHERE {}", filter.value.sql(&name))
            });
            let select = format!(
                "SELECT\n    {}\nFROM {} AS source{filter}",
                select.join(",\n    "),
                self.place(&event.table)
            );
            let view = format!("{name}_from_{}", event.name);
            statements.push(self.view((Step::Facts, &view), (&event.table, name), &select));
        }
        statements
    }
}

/// When rows may be forgotten.
pub(super) fn ttl(time: &str, keep: Span) -> String {
    format!("toDateTime({}) + {}", quote(time), keep.sql())
}

pub(super) fn partition_sql(key: PartitionKey, time: &str) -> Option<String> {
    let time = quote(time);
    match key {
        PartitionKey::None => None,
        PartitionKey::Day => Some(format!("toYYYYMMDD({time})")),
        PartitionKey::Week => Some(format!("toMonday({time})")),
        PartitionKey::Month => Some(format!("toYYYYMM({time})")),
    }
}

/// What a column is when its field is absent. One that is neither stated nor null is the type's empty value.
fn default(column: &Column<'_>) -> Option<String> {
    if let Some(default) = &column.field.default {
        let value = &default.value.0;
        return Some(match value {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) => sql_text(text),
            serde_json::Value::Array(_) => "[]".to_owned(),
            serde_json::Value::Object(_) => "map()".to_owned(),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
        });
    }
    if !column.optional || column.nullable {
        return None;
    }
    Some(
        match column.ty {
            // Nothing is a value of `Dynamic`.
            FieldType::Any => return None,
            FieldType::Array(_) => "[]",
            FieldType::Map(_) => "map()",
            FieldType::Json | FieldType::Object | FieldType::Optional(_) => "'{}'",
            FieldType::Scalar(scalar) => match scalar {
                Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration => {
                    "0"
                }
                Scalar::Bool => "false",
                Scalar::String | Scalar::Url | Scalar::Email | Scalar::Geohash { .. } | Scalar::Enum(_) => {
                    "''"
                }
                Scalar::Timestamp(_) | Scalar::Date => "'1970-01-01'",
                Scalar::Uuid => "'00000000-0000-0000-0000-000000000000'",
                Scalar::Ip => "'::'",
            },
        }
        .to_owned(),
    )
}
