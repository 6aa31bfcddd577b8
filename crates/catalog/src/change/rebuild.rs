//! A table's rows go into a new one of the same name, while rows are written by name.
//!
//! A row is told by its place in Kafka. From the beginning a view notes the place of each row that comes. What
//! stood there before is copied; the names are exchanged at once; then what was noted is copied, but for rows that
//! stand in the new table already. No statement that inserts by name ever finds no table.

use tidegate_schema::quote;

use super::shape::Table;
use super::sql::unquoted;
use super::{Action, Planner, Proof, WORK, Wanted};
use crate::expression::sql_text;
use crate::generate::PLACE;

/// The columns, as they are listed in a statement.
pub(super) fn place_list() -> String {
    PLACE.map(quote).join(", ")
}

/// A table that holds places.
pub(super) fn log_table(place: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {place} (`_topic` String, `_partition` Int32, `_offset` Int64) \
         ENGINE = MergeTree ORDER BY ({}) SETTINGS non_replicated_deduplication_window = 10000",
        place_list()
    )
}

/// A statement that makes a table of this shape, with further columns.
pub(super) fn create(place: &str, table: &Table, further: &[&str]) -> String {
    let columns =
        table.columns.values().map(|column| column.definition.as_str()).chain(further.iter().copied());
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {place} ({}) ENGINE = {}",
        columns.collect::<Vec<_>>().join(", "),
        table.engine
    );
    if !table.partition_by.as_str().is_empty() {
        sql.push_str(&format!(" PARTITION BY {}", table.partition_by));
    }
    sql.push_str(&format!(" ORDER BY ({})", table.order_by));
    if !table.ttl.as_str().is_empty() {
        sql.push_str(&format!(" TTL {}", table.ttl));
    }
    let settings: Vec<String> =
        table.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !settings.is_empty() {
        sql.push_str(&format!(" SETTINGS {}", settings.join(", ")));
    }
    format!("{sql} COMMENT {}", sql_text(&table.comment))
}

/// Whether rows can be copied without losing or doubling one.
pub(super) fn possible(wanted: &Table, live: &Table) -> Result<(), String> {
    let lacks =
        PLACE.iter().find(|name| !wanted.columns.contains_key(**name) || !live.columns.contains_key(**name));
    match lacks {
        Some(name) => Err(format!("its rows cannot be told apart: there is no column `{name}`")),
        None => Ok(()),
    }
}

/// A table whose rows go to a new one.
pub(super) struct Rebuild<'a, 'p> {
    pub(super) planner: &'a Planner<'p>,
    pub(super) name: &'a str,
    /// The live table's number.
    pub(super) uuid: &'a str,
    pub(super) wanted: Wanted<'a>,
    pub(super) live: &'a Table,
    /// Columns that the catalog does not have and that stay, with their definitions.
    pub(super) orphans: &'a [(&'a str, &'a str)],
}

impl Rebuild<'_, '_> {
    fn work(&self, what: &str) -> String {
        format!("{}{WORK}{what}", self.name)
    }

    fn place(&self, what: &str) -> String {
        self.planner.place(&self.work(what))
    }

    pub(super) fn actions(&self, proofs: &[Proof]) -> Vec<Action> {
        let (table, next, log) = (self.planner.place(self.name), self.place("next"), self.place("log"));
        let (view, fill) = (self.place("noting"), self.place("fill"));
        let keys = place_list();
        let noted = format!("({keys}) IN (SELECT {keys} FROM {log})");
        let orphans: Vec<&str> = self.orphans.iter().map(|(_, definition)| *definition).collect();
        let wanted = self.wanted.table;
        let mut actions = vec![
            Action::run(log_table(&log)),
            Action::run(format!(
                "CREATE MATERIALIZED VIEW IF NOT EXISTS {view} TO {log} AS SELECT {keys} FROM {table} AS source"
            )),
            Action::AwaitInserts,
            Action::run(create(&next, wanted, &orphans)),
            Action::Fill {
                table: self.work("next"),
                inserts: vec![self.copy(&next, &table, &format!("NOT ({noted})"))],
            },
        ];
        actions.extend(proofs.iter().cloned().map(Action::Check));
        actions.extend([
            Action::Exchange {
                table: self.name.to_owned(),
                with: self.work("next"),
                done: format!(
                    "SELECT count() FROM system.tables WHERE database = {} AND name = {} AND toString(uuid) != {}",
                    sql_text(self.planner.situation.catalog.database()),
                    sql_text(self.name),
                    sql_text(self.uuid),
                ),
            },
            Action::AwaitInserts,
            Action::run(format!("DROP VIEW IF EXISTS {view} SYNC")),
            Action::AwaitInserts,
            Action::run(create(&fill, wanted, &orphans)),
            Action::Fill {
                table: self.work("fill"),
                inserts: vec![self.copy(
                    &fill,
                    &next,
                    &format!("{noted} AND ({keys}) NOT IN (SELECT {keys} FROM {table} WHERE {noted})"),
                )],
            },
            Action::Move { from: self.work("fill"), to: self.name.to_owned() },
        ]);
        actions.extend(self.complete(&table, &next));
        actions.extend(
            [&next, &fill, &log].map(|place| Action::run(format!("DROP TABLE IF EXISTS {place} SYNC"))),
        );
        actions
    }

    /// A check that the new table has as many rows as the old one had; not where the engine itself forgets rows.
    fn complete(&self, table: &str, old: &str) -> Option<Action> {
        let forgets =
            |table: &Table| !table.ttl.as_str().is_empty() || table.engine.as_str().contains("Replacing");
        if forgets(self.wanted.table) || forgets(self.live) {
            return None;
        }
        Some(Action::Check(Proof {
            claim: format!("rows of the old `{}` that the new one lacks", self.name),
            // The old table is gone if this is asked again after the end.
            sql: format!(
                "SELECT if(old > new, old - new, 0) FROM (SELECT (SELECT count() FROM {old}) AS old, \
                 (SELECT count() FROM {table}) AS new)"
            ),
        }))
    }

    /// Values keep what they are or the statement fails.
    fn copy(&self, to: &str, from: &str, condition: &str) -> String {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, column) in &self.wanted.table.columns {
            let old = self.live.columns.get(name).map(|live| (name.as_str(), live));
            // A column that is new takes the value of what it was called before.
            let renamed = || {
                let key = (self.name.to_owned(), name.clone());
                let old = self.planner.renames.get(&key)?;
                self.live.columns.get(old).map(|live| (old.as_str(), live))
            };
            let Some((old, live)) = old.or_else(renamed) else { continue };
            let same = live.ty == column.ty;
            let value = quote(old);
            let cast = if column.ty.as_str().contains("Tuple(") { "CAST" } else { "accurateCast" };
            names.push(quote(name));
            values.push(if same {
                value
            } else {
                format!("{cast}({value}, {})", sql_text(column.ty.as_str()))
            });
        }
        for (name, _) in self.orphans {
            names.push(quote(&unquoted(name)));
            values.push(quote(name));
        }
        // Values are read from the table, not from what the statement calls its results.
        let values = values.join(", ");
        format!("INSERT INTO {to} ({}) SELECT {values} FROM {from} WHERE {condition}", names.join(", "))
    }
}
