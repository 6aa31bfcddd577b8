//! A table that is written to by name: what differs, and whether statements alter it where it stands or its
//! rows go to a new one.

mod orphans;

use tidegate_schema::quote;

use super::gate::Gate;
use super::rebuild::{self, Rebuild};
use super::shape::{Column, Table};
use super::sql::{Sql, words};
use super::type_change::{TypeChange, type_change};
use super::{Action, Change, Class, Cost, Live, Note, Plan, Planner, Proof, Wanted, created};
use crate::expression::sql_text;
use crate::generate::PERSONAL_MARK;

pub(super) fn compare(planner: &Planner<'_>, wanted: Wanted<'_>, plan: &mut Plan) {
    let name = wanted.statement.object.as_str();
    let Some((live, table)) = planner.live_table(name) else {
        if planner.live.contains_key(name) {
            let text = "something that is no table has this name".to_owned();
            plan.notes.push(Note { thing: name.to_owned(), text });
        } else {
            plan.changes.push(created(wanted.statement, "the table is not there"));
        }
        return;
    };
    let compared = Compared { planner, name, live, wanted, table };
    compared.keys_and_types(plan);
    compared.orphans(plan);
    plan.changes.extend(outside(planner, name, wanted.table, table));
}

/// What two tables say differently, for people.
pub(super) fn differing(one: &Table, two: &Table) -> String {
    let mut found = Vec::new();
    for (name, column) in &one.columns {
        match two.columns.get(name) {
            None => found.push(format!("column `{name}` is missing on the second")),
            Some(other) if other != column => {
                found.push(format!("column `{name}`: `{}`, `{}`", column.definition, other.definition));
            }
            Some(_) => {}
        }
    }
    let missing = two.columns.keys().filter(|name| !one.columns.contains_key(*name));
    found.extend(missing.map(|name| format!("column `{name}` is missing on the first")));
    if found.is_empty() {
        found.push("its engine, keys, settings or comment differ".to_owned());
    }
    found.join("; ")
}

/// Whether two engines are one; a replicated one's path and replica are the server's affair.
pub(super) fn same_engine(one: &Sql, two: &Sql) -> bool {
    let parts = |engine: &Sql| -> Vec<String> {
        let all = words(engine.as_str());
        let path = all.first().is_some_and(|name| name.text.starts_with("Replicated"));
        let literals = |text: &str| path && text.starts_with('\'');
        all.iter()
            .map(|word| word.text)
            .filter(|text| !literals(text) && *text != ",")
            .map(str::to_owned)
            .collect()
    };
    let empty = |parts: Vec<String>| parts.join(" ").trim_end_matches("( )").trim().to_owned();
    empty(parts(one)) == empty(parts(two))
}

/// Comment, settings and the time to live: they say nothing about the layout of rows.
pub(super) fn outside(planner: &Planner<'_>, name: &str, wanted: &Table, live: &Table) -> Vec<Change> {
    let alter = planner.altered(name);
    let mut found = Vec::new();
    let mut push = |class, reason: String, sql: String, undo: String| {
        found.push(Change {
            thing: name.to_owned(),
            class,
            reason,
            gate: Gate::Open,
            proofs: Vec::new(),
            actions: vec![Action::run(sql)],
            undo: Some(undo),
            cost: None,
        });
    };
    if wanted.comment != live.comment {
        let sql = |comment: &str| format!("ALTER TABLE {alter} MODIFY COMMENT {}", sql_text(comment));
        let reason = "the table's comment".to_owned();
        push(Class::Documentation, reason, sql(&wanted.comment), sql(&live.comment));
    }
    for (setting, value) in &wanted.settings {
        let stands = live.settings.get(setting);
        if stands == Some(value) {
            continue;
        }
        let reason = format!("setting `{setting}`: {} -> {value}", stands.map_or("not set", String::as_str));
        let undo = match stands {
            Some(stands) => format!("ALTER TABLE {alter} MODIFY SETTING {setting} = {stands}"),
            None => format!("ALTER TABLE {alter} RESET SETTING {setting}"),
        };
        push(Class::Minor, reason, format!("ALTER TABLE {alter} MODIFY SETTING {setting} = {value}"), undo);
    }
    if wanted.ttl != live.ttl {
        found.push(time_to_live(planner, name, (&wanted.ttl, &live.ttl)));
    }
    found
}

fn time_to_live(planner: &Planner<'_>, name: &str, (wanted, live): (&Sql, &Sql)) -> Change {
    let alter = planner.altered(name);
    let sql = |ttl: &Sql| match ttl.as_str() {
        "" => format!("ALTER TABLE {alter} REMOVE TTL"),
        ttl => format!("ALTER TABLE {alter} MODIFY TTL {ttl} SETTINGS materialize_ttl_after_modify = 0"),
    };
    let forgotten = wanted.as_str().is_empty().then(|| {
        format!(
            "SELECT count() FROM system.tables WHERE database = {} AND name = {} AND position(engine_full, ' TTL ') = 0",
            sql_text(planner.situation.catalog.database()),
            sql_text(name),
        )
    });
    let shown = |ttl: &Sql| if ttl.as_str().is_empty() { "for ever".to_owned() } else { format!("`{ttl}`") };
    let proofs = match wanted.as_str() {
        "" => Vec::new(),
        ttl => vec![Proof {
            claim: format!("rows of `{name}` that would be forgotten at once"),
            sql: format!("SELECT countIf({ttl} < now()) FROM {}", planner.place(name)),
        }],
    };
    Change {
        thing: name.to_owned(),
        class: Class::Minor,
        reason: format!("how long rows are kept: {} -> {}", shown(live), shown(wanted)),
        gate: Gate::Open,
        proofs,
        actions: vec![Action::Run { sql: sql(wanted), unless: forgotten }],
        undo: Some(sql(live)),
        cost: None,
    }
}

/// What a column's comment says of personal data.
fn personal(comment: &str) -> Option<&str> {
    comment.find(PERSONAL_MARK).map(|at| &comment[at..])
}

struct Compared<'a, 'p> {
    planner: &'a Planner<'p>,
    name: &'a str,
    live: &'a Live,
    wanted: Wanted<'a>,
    table: &'a Table,
}

/// How a column differs from what it should be.
enum Difference {
    Missing,
    Renamed { old: String },
    Type(TypeChange),
    Default,
    Codec,
    Personal,
    Comment,
}

impl Compared<'_, '_> {
    fn keys_and_types(&self, plan: &mut Plan) {
        let mut causes = self.layout();
        let mut changes = Vec::new();
        let mut rebuild: Option<Class> = (!causes.is_empty()).then_some(Class::Rebuild);
        let mut proofs = Vec::new();
        let mut before: Option<&str> = None;
        for (column, wanted) in &self.wanted.table.columns {
            for difference in self.differences(column, wanted) {
                match difference {
                    Difference::Type(change) if change == TypeChange::Narrower || self.in_key(column) => {
                        let class = if change == TypeChange::Narrower {
                            proofs.push(self.fits(column, wanted));
                            Class::Destructive
                        } else {
                            Class::Rebuild
                        };
                        rebuild = rebuild.max(Some(class));
                        causes.push(format!("`{column}`: {}", self.retyped(column, wanted)));
                    }
                    other => changes.push(self.altered(column, wanted, (other, before))),
                }
            }
            before = Some(column);
        }
        let Some(class) = rebuild else {
            plan.changes.extend(changes);
            return;
        };
        // A new table has whatever else was to be altered.
        causes.extend(changes.iter().map(|change| format!("`{}`: {}", change.thing, change.reason)));
        let gate = match self.planner.alone() {
            Err(why) => Gate::Closed { why },
            Ok(()) => self.planner.permission().gate(self.name),
        };
        plan.changes.push(self.rebuilt(class, causes.join("; "), gate, proofs));
    }

    /// What no statement alters.
    fn layout(&self) -> Vec<String> {
        let (wanted, live) = (self.wanted.table, self.table);
        let mut causes = Vec::new();
        if !same_engine(&wanted.engine, &live.engine) {
            causes.push(format!("engine: `{}` -> `{}`", live.engine, wanted.engine));
        }
        for (what, wanted, live) in [
            ("sorting key", &wanted.order_by, &live.order_by),
            ("partition key", &wanted.partition_by, &live.partition_by),
        ] {
            if wanted != live {
                causes.push(format!("{what}: `{live}` -> `{wanted}`"));
            }
        }
        causes
    }

    fn differences(&self, column: &str, wanted: &Column) -> Vec<Difference> {
        let Some(live) = self.table.columns.get(column) else {
            let old = self.old_name(column).filter(|old| self.orphan(old));
            return vec![old.map_or(Difference::Missing, |old| Difference::Renamed { old: old.to_owned() })];
        };
        let mut found = Vec::new();
        match type_change(live.ty.as_str(), wanted.ty.as_str()) {
            TypeChange::Same => {}
            change @ (TypeChange::Wider | TypeChange::Narrower) => found.push(Difference::Type(change)),
        }
        let overlap =
            self.old_name(column).is_some_and(|old| self.orphan(old) && live.default == Sql::new(old));
        if (wanted.default != live.default || wanted.default_kind != live.default_kind) && !overlap {
            found.push(Difference::Default);
        }
        if wanted.codec != live.codec {
            found.push(Difference::Codec);
        }
        if personal(&wanted.comment).is_some_and(|mark| personal(&live.comment) != Some(mark)) {
            found.push(Difference::Personal);
        } else if wanted.comment != live.comment {
            found.push(Difference::Comment);
        }
        found
    }

    /// What the column was called before.
    fn old_name(&self, column: &str) -> Option<&str> {
        self.planner.renames.get(&(self.name.to_owned(), column.to_owned())).map(String::as_str)
    }

    /// Whether the live table has a column that the catalog does not.
    fn orphan(&self, column: &str) -> bool {
        self.table.columns.contains_key(column) && !self.wanted.table.columns.contains_key(column)
    }

    fn in_key(&self, column: &str) -> bool {
        let keys =
            [&self.table.order_by, &self.table.partition_by, &self.table.primary_key, &self.table.engine];
        keys.into_iter().any(|key| words(key.as_str()).iter().any(|word| word.plain() == column))
    }

    fn retyped(&self, column: &str, wanted: &Column) -> String {
        let from = self.table.columns.get(column).map_or("", |live| live.ty.as_str());
        format!("type `{from}` -> `{}`", wanted.ty)
    }

    /// A proof that no value is lost by the column's new type.
    fn fits(&self, column: &str, wanted: &Column) -> Proof {
        let name = quote(column);
        let ty = sql_text(&bare(wanted.ty.as_str()));
        let lost = format!("isNotNull({name}) AND isNull(accurateCastOrNull({name}, {ty}))");
        let null = !wanted.ty.as_str().contains("Nullable(");
        let lost = if null { format!("isNull({name}) OR ({lost})") } else { lost };
        Proof {
            claim: format!("values of `{}.{column}` that `{}` does not have", self.name, wanted.ty),
            sql: format!("SELECT countIf({lost}) FROM {}", self.planner.place(self.name)),
        }
    }

    fn altered(&self, column: &str, wanted: &Column, (how, before): (Difference, Option<&str>)) -> Change {
        let alter = format!("ALTER TABLE {}", self.planner.altered(self.name));
        let (thing, name) = (format!("{}.{column}", self.name), quote(column));
        let live = self.table.columns.get(column);
        let definition = |column: Option<&Column>| column.map(|column| column.definition.clone());
        let back = definition(live).map(|definition| format!("{alter} MODIFY COLUMN {definition}"));
        let modify = format!("{alter} MODIFY COLUMN {}", wanted.definition);
        let after = before.map_or_else(|| " FIRST".to_owned(), |before| format!(" AFTER {}", quote(before)));
        let add = |definition: &str| format!("{alter} ADD COLUMN IF NOT EXISTS {definition}{after}");
        let gone = Some(format!("{alter} DROP COLUMN IF EXISTS {name}"));
        let run = |sql: String| vec![Action::run(sql)];
        let (class, reason, actions, undo) = match how {
            Difference::Missing => {
                let class = if optional(wanted) { Class::Minor } else { Class::Major };
                (class, format!("new column, `{}`", wanted.ty), run(add(&wanted.definition)), gone)
            }
            Difference::Renamed { old } => {
                let sql = add(&with_default(wanted, &old));
                let reason =
                    format!("`{old}` has this name; both stay, and the new one takes the old one's value");
                (Class::Minor, reason, run(sql), gone)
            }
            Difference::Type(_) => (Class::Minor, self.retyped(column, wanted), self.rewritten(modify), back),
            Difference::Default => {
                let reason = format!(
                    "default: {} -> {}",
                    shown(live.map(|live| &live.default)),
                    shown(Some(&wanted.default))
                );
                (Class::Minor, reason, self.new_default(column, wanted, &alter), back)
            }
            Difference::Codec => {
                let reason = format!(
                    "compression: {} -> {}",
                    shown(live.map(|live| &live.codec)),
                    shown(Some(&wanted.codec))
                );
                let action = if wanted.codec.as_str().is_empty() {
                    Action::Run {
                        sql: format!("{alter} MODIFY COLUMN {name} REMOVE CODEC"),
                        unless: Some(self.column_with(column, "compression_codec = ''")),
                    }
                } else {
                    Action::run(modify)
                };
                (Class::Minor, reason, vec![action], back)
            }
            Difference::Personal => {
                let sql = |comment: &str| format!("{alter} COMMENT COLUMN {name} {}", sql_text(comment));
                let mark = personal(&wanted.comment).unwrap_or_default();
                let reason = format!(
                    "{mark}: rows that are stored keep what they have; rewrite it (`{alter} UPDATE {name} = ..`), or \
                     drop their partitions, before you call it done"
                );
                (Class::Policy, reason, run(sql(&wanted.comment)), live.map(|live| sql(&live.comment)))
            }
            Difference::Comment => {
                let sql = |comment: &str| format!("{alter} COMMENT COLUMN {name} {}", sql_text(comment));
                let undo = live.map(|live| sql(&live.comment));
                (Class::Documentation, "the column's comment".to_owned(), run(sql(&wanted.comment)), undo)
            }
        };
        let gate = if [Class::Major, Class::Policy].contains(&class) {
            self.planner.permission().gate(&thing)
        } else {
            Gate::Open
        };
        let rewrites = actions.len() > 1;
        let cost = rewrites.then_some(Cost { rows: self.live.rows, bytes: self.live.bytes });
        Change { thing, class, reason, gate, proofs: Vec::new(), actions, undo, cost }
    }

    fn rewritten(&self, sql: String) -> Vec<Action> {
        vec![Action::run(sql), Action::AwaitRewrite { table: self.name.to_owned() }]
    }

    /// Rows that do not have the column keep what they are read as: that is written down first.
    fn new_default(&self, column: &str, wanted: &Column, alter: &str) -> Vec<Action> {
        let name = quote(column);
        let default = match wanted.default.as_str() {
            "" => Action::Run {
                sql: format!("{alter} MODIFY COLUMN {name} REMOVE DEFAULT"),
                unless: Some(self.column_with(column, "default_kind = ''")),
            },
            default => Action::run(format!("{alter} MODIFY COLUMN {name} DEFAULT {default}")),
        };
        if self.in_key(column) {
            return vec![default];
        }
        let mut actions = self.rewritten(format!("{alter} UPDATE {name} = {name} WHERE true"));
        actions.push(default);
        actions
    }

    /// A query that answers 1 if the column is so.
    fn column_with(&self, column: &str, condition: &str) -> String {
        format!(
            "SELECT count() FROM system.columns WHERE database = {} AND table = {} AND name = {} AND {condition}",
            sql_text(self.planner.situation.catalog.database()),
            sql_text(self.name),
            sql_text(column),
        )
    }

    fn rebuilt(&self, class: Class, reason: String, gate: Gate, proofs: Vec<Proof>) -> Change {
        let orphans: Vec<(&str, &str)> = self
            .table
            .columns
            .iter()
            .filter(|(name, _)| self.orphan(name))
            .map(|(name, column)| (name.as_str(), column.definition.as_str()))
            .collect();
        let rebuild = Rebuild {
            planner: self.planner,
            name: self.name,
            uuid: &self.live.uuid,
            wanted: self.wanted,
            live: self.table,
            orphans: &orphans,
        };
        let (gate, actions) = match rebuild::possible(self.wanted.table, self.table) {
            Ok(()) => (gate, rebuild.actions(&proofs)),
            Err(why) => (Gate::Closed { why }, Vec::new()),
        };
        Change {
            thing: self.name.to_owned(),
            class,
            reason,
            gate,
            proofs,
            actions,
            undo: None,
            cost: Some(Cost { rows: self.live.rows, bytes: self.live.bytes }),
        }
    }
}

/// Whether rows that do not have the column may be told from those that do.
fn optional(column: &Column) -> bool {
    !column.default.as_str().is_empty() || column.ty.as_str().contains("Nullable(")
}

/// The type that a value must have, without null and dictionary.
fn bare(ty: &str) -> String {
    let mut bare = ty;
    for outer in ["LowCardinality(", "Nullable("] {
        bare = bare.strip_prefix(outer).and_then(|inner| inner.strip_suffix(')')).unwrap_or(bare);
    }
    bare.to_owned()
}

/// The definition with another column as its default.
fn with_default(column: &Column, old: &str) -> String {
    let mut text = format!("{} DEFAULT {}", column.ty, quote(old));
    if !column.comment.is_empty() {
        text.push_str(&format!(" COMMENT {}", sql_text(&column.comment)));
    }
    let name = words(&column.definition).first().map_or("", |word| word.text).to_owned();
    let codec =
        if column.codec.as_str().is_empty() { String::new() } else { format!(" CODEC{}", column.codec) };
    format!("{name} {text}{codec}")
}

fn shown(sql: Option<&Sql>) -> String {
    match sql.map(Sql::as_str) {
        None | Some("") => "none".to_owned(),
        Some(text) => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replicated_engines_path_is_no_difference() {
        let one =
            Sql::new("ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/a', '{replica}', version)");
        let two = Sql::new("ReplicatedReplacingMergeTree('/other', 'r1', version)");
        assert!(same_engine(&one, &two));
        assert!(same_engine(&Sql::new("MergeTree"), &Sql::new("MergeTree()")));
        assert!(!same_engine(&Sql::new("MergeTree"), &Sql::new("ReplacingMergeTree(v)")));
    }
}
