//! A table that views fill from others: narrow facts, rollups, entities. If its definition changes it is made
//! anew from the rows of its sources, and each row is in it once.
//!
//! From the beginning a view notes the place in Kafka of each row that comes. The rows that stood there before,
//! kept by links to their parts, go to the new table; the names are exchanged; views of the new definition add
//! what comes from then on, and the places of it. Then what was noted and did not come through them is added.

use std::collections::BTreeSet;

use tidegate_schema::quote;

use super::gate::Gate;
use super::rebuild::{create, log_table, place_list};
use super::shape::Table;
use super::table::{differing, outside, same_engine};
use super::{Action, Change, Class, Cost, Plan, Planner, Proof, WORK, Wanted, created};
use crate::expression::sql_text;
use crate::generate::{Statement, Step};
use crate::question::period;

/// The column of a table that is being made which holds the places of the rows that views brought.
const SEEN: &str = "_tidegate_seen";
const SEEN_TYPE: &str = "Array(Tuple(String, Int32, Int64))";

pub(super) fn compare<'a>(
    planner: &Planner<'a>,
    wanted: Wanted<'a>,
    remade: &mut BTreeSet<&'a str>,
    plan: &mut Plan,
) {
    let name = wanted.statement.object.as_str();
    let views = planner.wanted_views(name);
    let derived = Derived { planner, name, wanted, views };
    let live = planner.live_table(name);
    let source_remade = derived.sources().iter().any(|source| remade.contains(source));
    let cause = match live {
        None => {
            let empty = derived.sources().iter().all(|source| {
                planner.live_table(source).is_none_or(|(live, _)| live.rows == 0) && !remade.contains(source)
            });
            if empty {
                plan.changes.push(derived.first());
                return;
            }
            Some("the table is not there, and the rows that it is made of are".to_owned())
        }
        Some((_, table)) => derived
            .cause(table)
            .or_else(|| source_remade.then(|| "the table that it is made of is made anew".to_owned())),
    };
    match cause {
        Some(cause) => {
            plan.changes.push(derived.anew(cause, remade));
            remade.insert(wanted.statement.object.as_str());
        }
        None => {
            if let Some((_, table)) = live {
                plan.changes.extend(outside(planner, name, wanted.table, table));
                plan.changes.extend(derived.comments(table));
            }
        }
    }
}

struct Derived<'a, 'p> {
    planner: &'a Planner<'p>,
    name: &'a str,
    wanted: Wanted<'a>,
    views: Vec<(&'p Statement, &'a super::shape::View)>,
}

impl Derived<'_, '_> {
    fn sources(&self) -> Vec<&str> {
        self.views.iter().map(|(_, view)| view.source.as_str()).collect()
    }

    fn work(&self, what: &str) -> String {
        format!("{}{WORK}{what}", self.name)
    }

    fn place(&self, what: &str) -> String {
        self.planner.place(&self.work(what))
    }

    /// Table and views, of which none is there.
    fn first(&self) -> Change {
        let mut change = created(self.wanted.statement, "the table is not there");
        for (view, _) in &self.views {
            change.actions.push(Action::run(view.sql.clone()));
        }
        change
    }

    /// Why it must be made anew, if it must.
    fn cause(&self, live: &Table) -> Option<String> {
        let wanted = self.wanted.table;
        let mut bare = (wanted.clone(), live.clone());
        for table in [&mut bare.0, &mut bare.1] {
            for column in table.columns.values_mut() {
                column.comment.clear();
                column.definition.clear();
            }
        }
        if bare.0.columns != bare.1.columns {
            let columns = |table: &Table| Table { columns: table.columns.clone(), ..Table::default() };
            return Some(
                differing(&columns(live), &columns(wanted))
                    .replace("on the second", "in the catalog")
                    .replace("on the first", "in the table"),
            );
        }
        if !same_engine(&wanted.engine, &live.engine)
            || wanted.order_by != live.order_by
            || wanted.partition_by != live.partition_by
        {
            return Some(format!("its engine or keys: `{}` ORDER BY ({})", wanted.engine, wanted.order_by));
        }
        let stand = self.planner.live_views(self.name);
        for (statement, view) in &self.views {
            match stand.iter().find(|(name, _)| *name == statement.object) {
                None => return Some(format!("view `{}` is not there", statement.object)),
                Some((_, live)) if live.select != view.select => {
                    return Some(format!("view `{}` says something else", statement.object));
                }
                Some(_) => {}
            }
        }
        let extra = stand.iter().find(|(name, _)| self.views.iter().all(|(view, _)| view.object != *name));
        extra.map(|(name, _)| format!("view `{name}` fills it and is not in the catalog"))
    }

    /// Comments of columns.
    fn comments(&self, live: &Table) -> Vec<Change> {
        let columns = self.wanted.table.columns.iter();
        let differ = columns.filter_map(|(name, wanted)| {
            let stands = live.columns.get(name)?;
            let alter =
                format!("ALTER TABLE {} COMMENT COLUMN {}", self.planner.altered(self.name), quote(name));
            let sql = |comment: &str| format!("{alter} {}", sql_text(comment));
            (stands.comment != wanted.comment).then(|| Change {
                thing: format!("{}.{name}", self.name),
                class: Class::Documentation,
                reason: "the column's comment".to_owned(),
                gate: Gate::Open,
                proofs: Vec::new(),
                actions: vec![Action::run(sql(&wanted.comment))],
                undo: Some(sql(&stands.comment)),
                cost: None,
            })
        });
        differ.collect()
    }

    fn anew(&self, reason: String, remade: &BTreeSet<&str>) -> Change {
        let live = self.planner.live_table(self.name);
        let sources = self.sources();
        let gate = match self.planner.alone().and_then(|()| self.told_apart(&sources, remade)) {
            Ok(()) => Gate::Open,
            Err(why) => Gate::Closed { why },
        };
        let read = sources.iter().filter_map(|source| self.planner.live_table(source)).map(|(live, _)| live);
        let (rows, bytes) = read.fold((0, 0), |(rows, bytes), live| (rows + live.rows, bytes + live.bytes));
        Change {
            thing: self.name.to_owned(),
            class: if live.is_some() { Class::Definition } else { Class::New },
            reason,
            gate,
            proofs: live.and_then(|_| self.nothing_older()).into_iter().collect(),
            actions: self.actions(),
            undo: None,
            cost: Some(Cost { rows, bytes }),
        }
    }

    /// Whether the rows of the sources have places. A table that is made anew before this one will have them.
    fn told_apart(&self, sources: &[&str], remade: &BTreeSet<&str>) -> Result<(), String> {
        let lacks = sources.iter().find(|source| {
            let live = self.planner.live_table(source);
            !remade.contains(**source)
                && live.is_some_and(|(_, table)| !table.columns.contains_key("_offset"))
        });
        match lacks {
            Some(source) => {
                Err(format!("rows of `{source}` cannot be told apart: it has no column `_offset`"))
            }
            None => Ok(()),
        }
    }

    /// A proof that the sources still have whatever the table is made of.
    fn nothing_older(&self) -> Option<Proof> {
        let table = self.planner.place(self.name);
        let since = |source: &str, of: &str| {
            format!(
                "ifNull((SELECT toDateTime64({of}, 3, 'UTC') FROM (SELECT min(rows.`ts`) AS `ts` FROM {} AS rows \
                 HAVING count() > 0) AS source), toDateTime64('2106-01-01 00:00:00', 3, 'UTC'))",
                self.planner.place(source)
            )
        };
        let (time, counted) = match self.wanted.statement.step {
            Step::Entities => {
                let source = self.sources().first().map(|source| (*source).to_owned())?;
                ("since", format!("countIf(`since` < {})", since(&source, "`ts`")))
            }
            Step::Rollups => {
                let rollup = self.planner.situation.catalog.file.rollups.get(self.name)?;
                let source = self.sources().first().map(|source| (*source).to_owned())?;
                let of = period(rollup.grain, "source.`ts`");
                ("period", format!("countIf(toDateTime64(`period`, 3, 'UTC') < {})", since(&source, &of)))
            }
            Step::Facts => {
                let fact = self.planner.situation.catalog.file.facts.get(self.name)?;
                let events = self.planner.situation.catalog.fact_events(fact);
                let counts = events.iter().map(|event| {
                    let name = sql_text(&event.name);
                    format!("countIf(`event` = {name} AND `ts` < {})", since(&event.table, "`ts`"))
                });
                ("ts", counts.collect::<Vec<_>>().join(" + "))
            }
            Step::Database | Step::Events | Step::DeadLetters => return None,
        };
        Some(Proof {
            claim: format!(
                "rows of `{}` that are older (`{time}`) than any row that it is made of",
                self.name
            ),
            sql: format!("SELECT {counted} FROM {table}"),
        })
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = self.history();
        actions.extend(self.exchange());
        actions.extend(self.rest());
        actions.extend(self.end());
        actions
    }

    /// Comings are noted, and what was there before goes to the new table.
    fn history(&self) -> Vec<Action> {
        let (next, log, keys) = (self.place("next"), self.place("log"), place_list());
        let mut actions = Vec::new();
        if self.planner.live_table(self.name).is_none() {
            actions.push(Action::run(self.wanted.statement.sql.clone()));
        }
        actions.push(Action::run(log_table(&log)));
        actions.extend(self.each(|index, source| {
            let (view, source) = (self.place(&format!("noting_{index}")), self.planner.place(source));
            Action::run(format!(
                "CREATE MATERIALIZED VIEW IF NOT EXISTS {view} TO {log} AS SELECT {keys} FROM {source} AS source"
            ))
        }));
        actions.push(Action::AwaitInserts);
        for (index, source) in self.sources().into_iter().enumerate() {
            let to = self.work(&format!("of_{index}"));
            let (place, of) = (self.planner.place(&to), self.planner.place(source));
            actions.push(Action::run(format!("CREATE TABLE IF NOT EXISTS {place} AS {of}")));
            actions.push(Action::Link { from: source.to_owned(), to });
        }
        actions.push(Action::AwaitInserts);
        actions.push(Action::run(create(&next, self.wanted.table, &[&self.seen_column()])));
        // There may be any number of rows: their places are not kept.
        let inserts = self.views.iter().enumerate().map(|(index, (_, view))| {
            let rows = format!(
                "(SELECT * FROM {} WHERE ({keys}) NOT IN (SELECT {keys} FROM {log}))",
                self.place(&format!("of_{index}"))
            );
            format!("INSERT INTO {next} ({}) {}", self.column_list(), view.over(&rows))
        });
        actions.push(Action::Fill { table: self.work("next"), inserts: inserts.collect() });
        actions
    }

    /// The new table takes the name, and views of the new definition add to it.
    fn exchange(&self) -> Vec<Action> {
        // The views that read this table would meet its new columns; what they fill is made anew after it.
        let fill_it = self.planner.live_views(self.name).into_iter().map(|(name, _)| name);
        let readers = self.planner.live_readers(self.name);
        let drop = |view| Action::run(format!("DROP VIEW IF EXISTS {} SYNC", self.planner.place(view)));
        let mut actions: Vec<Action> = fill_it.chain(readers).map(drop).collect();
        actions.push(Action::Exchange {
            table: self.name.to_owned(),
            with: self.work("next"),
            done: format!(
                "SELECT count() FROM system.columns WHERE database = {} AND table = {} AND name = {}",
                sql_text(self.planner.situation.catalog.database()),
                sql_text(self.name),
                sql_text(SEEN),
            ),
        });
        for (statement, view) in &self.views {
            let head = statement.sql.split_once(" AS\n").map_or(statement.sql.as_str(), |(head, _)| head);
            actions.push(Action::run(format!("{head} AS {}", self.seeing(view.select.as_str()))));
        }
        actions.push(Action::AwaitInserts);
        actions
    }

    /// What was noted and did not come through the new views is added.
    fn rest(&self) -> Vec<Action> {
        let (table, fill, log) = (self.planner.place(self.name), self.place("fill"), self.place("log"));
        let (keys, seen) = (place_list(), quote(SEEN));
        let mut actions = self.each(|index, _| {
            Action::run(format!("DROP VIEW IF EXISTS {} SYNC", self.place(&format!("noting_{index}"))))
        });
        actions.push(Action::AwaitInserts);
        actions.push(Action::run(create(&fill, self.wanted.table, &[&self.seen_column()])));
        let inserts = self.views.iter().map(|(_, view)| {
            let rows = format!(
                "(SELECT * FROM {} WHERE ({keys}) IN (SELECT {keys} FROM {log}) AND ({keys}) NOT IN \
                 (SELECT seen.1, seen.2, seen.3 FROM (SELECT arrayJoin({seen}) AS seen FROM {table})))",
                self.planner.place(&view.source)
            );
            format!("INSERT INTO {fill} ({seen}, {}) {}", self.column_list(), self.seeing(&view.over(&rows)))
        });
        actions.push(Action::Fill { table: self.work("fill"), inserts: inserts.collect() });
        actions.push(Action::Move { from: self.work("fill"), to: self.name.to_owned() });
        actions
    }

    /// The views say what the catalog says, and what the change needed goes.
    fn end(&self) -> Vec<Action> {
        let table = self.planner.place(self.name);
        let mut actions: Vec<Action> = Vec::new();
        for (statement, view) in &self.views {
            let place = self.planner.place(&statement.object);
            actions.push(Action::run(format!("ALTER TABLE {place} MODIFY QUERY {}", view.select)));
        }
        actions.push(Action::AwaitInserts);
        actions.push(Action::run(format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {}", quote(SEEN))));
        let works = ["next", "fill", "log"].map(|what| self.place(what)).into_iter();
        let links = (0..self.views.len()).map(|index| self.place(&format!("of_{index}")));
        actions.extend(
            works.chain(links).map(|place| Action::run(format!("DROP TABLE IF EXISTS {place} SYNC"))),
        );
        actions
    }

    fn each(&self, action: impl Fn(usize, &str) -> Action) -> Vec<Action> {
        self.sources().iter().enumerate().map(|(index, source)| action(index, source)).collect()
    }

    fn rollup(&self) -> bool {
        self.wanted.statement.step == Step::Rollups
    }

    /// A rollup puts rows together, and the lists of their places with them.
    fn seen_column(&self) -> String {
        let ty = if self.rollup() {
            format!("SimpleAggregateFunction(groupArrayArray, {SEEN_TYPE})")
        } else {
            SEEN_TYPE.to_owned()
        };
        format!("{} {ty}", quote(SEEN))
    }

    /// The select with the places of the rows as its first result.
    fn seeing(&self, select: &str) -> String {
        let place = "(toString(source.`_topic`), source.`_partition`, source.`_offset`)";
        let seen = if self.rollup() { format!("groupArray({place})") } else { format!("[{place}]") };
        let rest = select.get("SELECT".len()..).unwrap_or_default();
        format!("SELECT {seen} AS {},{rest}", quote(SEEN))
    }

    fn column_list(&self) -> String {
        let names = self.wanted.table.columns.keys().map(|name| quote(name));
        names.collect::<Vec<_>>().join(", ")
    }
}
