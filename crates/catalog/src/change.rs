//! How a live ClickHouse becomes what the catalog says: each difference with its class, and the actions that
//! carry it out while rows are written.
//!
//! Pure: statements as they stand and as they should be in, a [`Plan`] out. Start with [`plan`]. Every action may
//! be repeated, so that a run that died is simply run again.

mod derived;
mod gate;
mod rebuild;
mod shape;
mod sql;
mod table;
mod type_change;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_schema::quote;

use crate::catalog::{Catalog, Origin};
use crate::generate::{Statement, Step};
use crate::language::Ddl;

pub use gate::{Gate, Permission};
pub use shape::{Shape, shape};

/// What is between a table's name and the use of a table that a change makes for a while.
pub const WORK: &str = "__tidegate_";

/// A table or view on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its name.
    pub name: String,
    /// Its statement, as the server gives it.
    pub statement: String,
    /// The server's number for it; a table that takes its name has another.
    pub uuid: String,
    /// Its rows.
    pub rows: u64,
    /// What they take on the disk.
    pub bytes: u64,
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What the catalog says, in the order in which it is made.
    pub statements: &'a [Statement],
    /// The statements, each as the server would write it (`formatQuerySingleLine`).
    pub normal: &'a [String],
    /// Whether the database is there.
    pub database: bool,
    /// What stands in the database, without the tables that apply keeps its records in.
    pub live: &'a [Live],
    /// Where statements run.
    pub mode: Ddl,
    /// How many servers are asked.
    pub servers: usize,
    /// What a person allows, and what day it is.
    pub permission: &'a Permission,
}

/// How a change bears on what reads and writes the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It is not there yet.
    New,
    /// Words for people.
    Documentation,
    /// Everybody who reads or writes goes on as before.
    Minor,
    /// A field leaves the catalog; its column stays for a while.
    Deprecate,
    /// What a table made of others holds is made anew.
    Definition,
    /// More, or something else, is done to personal data: rows that are stored were stored otherwise.
    Policy,
    /// Old rows have a value that nobody sent.
    Major,
    /// The rows are copied into a table that is laid out differently.
    Rebuild,
    /// A value may be lost.
    Destructive,
}

impl Class {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Documentation => "documentation",
            Self::Minor => "minor",
            Self::Deprecate => "deprecate",
            Self::Definition => "definition",
            Self::Policy => "policy",
            Self::Major => "major",
            Self::Rebuild => "rebuild",
            Self::Destructive => "destructive",
        }
    }
}

/// A query whose answer is a number, and what it must be for a change to do no harm: nought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What is counted.
    pub claim: String,
    /// The query.
    pub sql: String,
}

/// Something that is done. Each may be repeated after it was carried out, or half carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// A statement.
    Run {
        /// The statement.
        sql: String,
        /// A query that answers 1 if it has been done, where the statement itself cannot be repeated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless: Option<String>,
    },
    /// Waits until the table's parts have been rewritten.
    AwaitRewrite {
        /// The table.
        table: String,
    },
    /// Waits until every insert that runs at its beginning has ended.
    AwaitInserts,
    /// Makes `to` hold the parts that `from` holds, by links.
    Link {
        /// The table.
        from: String,
        /// A table of the same structure.
        to: String,
    },
    /// Makes a table that nobody else writes to hold what the statements insert.
    Fill {
        /// The table.
        table: String,
        /// The statements.
        inserts: Vec<String>,
    },
    /// Moves every partition.
    Move {
        /// The table that is empty afterwards.
        from: String,
        /// A table of the same structure.
        to: String,
    },
    /// Exchanges the names of two tables at once, unless that has been done.
    Exchange {
        /// The table.
        table: String,
        /// The other.
        with: String,
        /// A query that answers 1 if it has been done.
        done: String,
    },
    /// Stops the change unless the proof holds.
    Check(Proof),
}

impl Action {
    fn run(sql: impl Into<String>) -> Self {
        Self::Run { sql: sql.into(), unless: None }
    }
}

/// What a change costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Rows that are rewritten.
    pub rows: u64,
    /// What they take on the disk.
    pub bytes: u64,
}

/// A difference, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The database, the table, or the column as `table.column`.
    pub thing: String,
    /// How it bears on others.
    pub class: Class,
    /// What differs.
    pub reason: String,
    /// Whether it may be done.
    pub gate: Gate,
    /// What must hold for it to do no harm.
    pub proofs: Vec<Proof>,
    /// What is done, in this order.
    pub actions: Vec<Action>,
    /// The statement that takes it back; none if there is none.
    pub undo: Option<String>,
    /// What is rewritten.
    pub cost: Option<Cost>,
}

/// Something that a person should know and that nothing is done about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The table, or the column as `table.column`.
    pub thing: String,
    /// What there is to know.
    pub text: String,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
    /// What nothing is done about.
    pub notes: Vec<Note>,
}

/// Compares.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let planner = Planner::new(situation);
    let mut plan = Plan::default();
    let mut remade = BTreeSet::new();
    for (index, statement) in situation.statements.iter().enumerate() {
        if statement.step == Step::Database {
            plan.changes.extend(planner.database(statement));
            continue;
        }
        let Some(Shape::Table(wanted)) = planner.shapes.get(index).and_then(Option::as_ref) else { continue };
        let wanted = Wanted { statement, table: wanted };
        match statement.step {
            Step::Database => {}
            Step::Events | Step::DeadLetters => table::compare(&planner, wanted, &mut plan),
            Step::Entities | Step::Facts | Step::Rollups => {
                derived::compare(&planner, wanted, &mut remade, &mut plan);
            }
        }
    }
    planner.leftovers(&mut plan);
    plan
}

/// What replicas say differently: each with what differs.
#[must_use]
pub fn differences(first: &[Live], other: &[Live]) -> Vec<Note> {
    let shapes = |live: &[Live]| -> BTreeMap<String, Option<Shape>> {
        live.iter().map(|live| (live.name.clone(), shape(&live.statement))).collect()
    };
    let (first, other) = (shapes(first), shapes(other));
    let names: BTreeSet<&String> = first.keys().chain(other.keys()).collect();
    let differs = names.into_iter().filter_map(|name| {
        let text = match (first.get(name), other.get(name)) {
            (Some(one), Some(two)) if one == two => return None,
            (Some(Some(Shape::Table(one))), Some(Some(Shape::Table(two)))) => table::differing(one, two),
            (Some(_), Some(_)) => "its definition differs".to_owned(),
            (Some(_), None) => "it is missing on the second".to_owned(),
            (None, _) => "it is missing on the first".to_owned(),
        };
        Some(Note { thing: name.clone(), text })
    });
    differs.collect()
}

/// A table as it should be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    statement: &'a Statement,
    table: &'a shape::Table,
}

/// What the comparisons of tables share.
struct Planner<'a> {
    situation: &'a Situation<'a>,
    /// The shapes of the statements, in their order.
    shapes: Vec<Option<Shape>>,
    live: BTreeMap<&'a str, (&'a Live, Option<Shape>)>,
    /// By table and new column, the old one.
    renames: BTreeMap<(String, String), String>,
}

impl<'a> Planner<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let live = situation.live.iter().map(|live| (live.name.as_str(), (live, shape(&live.statement))));
        Self {
            situation,
            shapes: situation.normal.iter().map(|text| shape(text)).collect(),
            live: live.collect(),
            renames: renames(situation.catalog),
        }
    }

    fn permission(&self) -> &Permission {
        self.situation.permission
    }

    fn live_table(&self, name: &str) -> Option<(&'a Live, &shape::Table)> {
        match self.live.get(name) {
            Some((live, Some(Shape::Table(table)))) => Some((live, table)),
            _ => None,
        }
    }

    /// The live views that fill a table.
    fn live_views(&self, target: &str) -> Vec<(&'a str, &shape::View)> {
        let views = self.live.iter().filter_map(|(name, (_, shape))| match shape {
            Some(Shape::View(view)) if view.target == target => Some((*name, view)),
            _ => None,
        });
        views.collect()
    }

    /// The live views that read a table to fill another one of the catalog's.
    fn live_readers(&self, source: &str) -> Vec<&'a str> {
        let of_catalog =
            |name: &str| self.situation.statements.iter().any(|statement| statement.object == name);
        let views = self.live.iter().filter_map(|(name, (_, shape))| match shape {
            Some(Shape::View(view)) if view.source == source && of_catalog(&view.target) => Some(*name),
            _ => None,
        });
        views.collect()
    }

    /// The views that should fill a table, each with its statement.
    fn wanted_views(&self, target: &str) -> Vec<(&'a Statement, &shape::View)> {
        let all = self.situation.statements.iter().zip(&self.shapes);
        let views = all.filter_map(|(statement, shape)| match shape {
            Some(Shape::View(view)) if view.target == target => Some((statement, view)),
            _ => None,
        });
        views.collect()
    }

    /// `db`.`table`, and on a cluster the words that reach all of it.
    fn altered(&self, table: &str) -> String {
        let cluster = &self.situation.catalog.file.defaults.clickhouse.cluster;
        match (self.situation.mode, cluster) {
            (Ddl::OnCluster, Some(cluster)) => {
                format!("{} ON CLUSTER {}", self.place(table), quote(cluster.as_str()))
            }
            (Ddl::OnCluster | Ddl::Single, _) => self.place(table),
        }
    }

    /// Whether rows can be copied: it is done on one server, and its answers are believed.
    fn alone(&self) -> Result<(), String> {
        match (self.situation.mode, self.situation.servers) {
            (Ddl::Single, 0 | 1) => Ok(()),
            (Ddl::Single | Ddl::OnCluster, _) => Err(
                "copying rows into a new table is done on one server only, and these tables are on several"
                    .to_owned(),
            ),
        }
    }

    fn place(&self, table: &str) -> String {
        format!("{}.{}", quote(self.situation.catalog.database()), quote(table))
    }

    fn database(&self, statement: &Statement) -> Option<Change> {
        (!self.situation.database).then(|| created(statement, "the database is not there"))
    }

    /// Tables that nothing in the catalog makes.
    fn leftovers(&self, plan: &mut Plan) {
        let wanted: BTreeSet<&str> =
            self.situation.statements.iter().map(|statement| statement.object.as_str()).collect();
        for (name, (live, shape)) in &self.live {
            if wanted.contains(name) {
                continue;
            }
            let thing = (*name).to_owned();
            if name.contains(WORK) {
                let text = "it is left of a change that has no record; see what it holds before you drop it";
                plan.notes.push(Note { thing, text: text.to_owned() });
                continue;
            }
            match shape {
                Some(Shape::Table(_)) if self.permission().dropped(name) => {
                    plan.changes.push(self.dropped(name, live));
                }
                Some(Shape::Table(_)) => {
                    let text = format!(
                        "the catalog does not have it; it stays, with {} rows, until `--drop {name}` when it is empty",
                        live.rows
                    );
                    plan.notes.push(Note { thing, text });
                }
                Some(Shape::View(view)) if wanted.contains(view.target.as_str()) => {}
                Some(Shape::View(_)) | None => {
                    plan.notes
                        .push(Note { thing, text: "the catalog does not have it; it stays".to_owned() });
                }
            }
        }
    }

    fn dropped(&self, name: &str, live: &Live) -> Change {
        let proof = Proof {
            claim: format!("rows in `{name}`"),
            sql: format!("SELECT count() FROM {}", self.place(name)),
        };
        Change {
            thing: name.to_owned(),
            class: Class::Destructive,
            reason: "the catalog does not have this table".to_owned(),
            gate: Gate::Asked { flag: format!("--drop {name}") },
            proofs: vec![proof],
            actions: vec![Action::run(format!("DROP TABLE IF EXISTS {} SYNC", self.altered(name)))],
            undo: Some(live.statement.clone()),
            cost: None,
        }
    }
}

/// A change that makes something which is not there.
fn created(statement: &Statement, reason: &str) -> Change {
    Change {
        thing: statement.object.clone(),
        class: Class::New,
        reason: reason.to_owned(),
        gate: Gate::Open,
        proofs: Vec::new(),
        actions: vec![Action::run(statement.sql.clone())],
        undo: None,
        cost: None,
    }
}

/// The columns whose fields say what they were called before.
fn renames(catalog: &Catalog) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for event in catalog.events.values() {
        for field in &event.fields {
            let Some(old) = &field.field.renamed_from else { continue };
            let prefix = match &field.origin {
                Origin::Context(context) => {
                    catalog.file.contexts.get(context).map_or("", |context| context.prefix.0.as_str())
                }
                Origin::Envelope | Origin::Event => "",
            };
            found.insert((event.table.clone(), field.name.clone()), format!("{prefix}{}", old.value));
        }
    }
    found
}
