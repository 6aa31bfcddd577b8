//! Plans by event: the table is described by the server, the schema found, the plan compiled, once, and
//! again when the table changes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_codec::{Plan, SchemaKey, WantedColumn, WriterSchema};
use tidegate_config::{Delivery, Resolved};
use tidegate_core::{Fault, FaultKind, PartId, Reason, ReasonCode, Record, Reject, Stage};
use tidegate_native::Table;
use tidegate_schema::{JsonSchema, quote};
use tokio::sync::Semaphore;

use crate::port::{POSITION_COLUMNS, TableMemory, Warehouse};
use crate::route;
use crate::settings::ConnectorSettings;
use crate::status::Status;
use crate::writers::Writers;

type FindSchema = dyn Fn(&str) -> Option<Arc<JsonSchema>> + Send + Sync;

/// Finds the schema of an event by its name.
#[derive(Clone)]
pub struct EventSchemas {
    find: Arc<FindSchema>,
    required: bool,
    writers: Option<Writers>,
}

impl EventSchemas {
    /// Schemas found by `find`. With `required`, an event without one is a reject (`unknown_event`);
    /// otherwise its table alone says what a row needs.
    pub fn new(
        find: impl Fn(&str) -> Option<Arc<JsonSchema>> + Send + Sync + 'static,
        required: bool,
    ) -> Self {
        Self { find: Arc::new(find), required, writers: None }
    }

    /// Schemas that the records name.
    #[must_use]
    pub fn of_writers(writers: Writers) -> Self {
        Self { writers: Some(writers), ..Self::none() }
    }

    /// No schemas: tables alone say what a row needs.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| None, false)
    }
}

impl fmt::Debug for EventSchemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSchemas").field("required", &self.required).finish_non_exhaustive()
    }
}

/// What a missing table is made from.
#[derive(Debug, Clone, Copy)]
pub enum TableSchema<'a> {
    /// The event's JSON Schema.
    Event(&'a JsonSchema),
    /// The schema of the first record.
    Writer(&'a WriterSchema),
}

type CreateStatement = dyn Fn(&Resolved, TableSchema<'_>) -> String + Send + Sync;

/// Says how a missing table is created: the `CREATE TABLE IF NOT EXISTS` for an event's schema.
#[derive(Clone)]
pub struct TableCreation {
    ddl: Arc<CreateStatement>,
}

impl TableCreation {
    /// Tables are created by `ddl`, which must be harmless when repeated.
    pub fn new(ddl: impl Fn(&Resolved, TableSchema<'_>) -> String + Send + Sync + 'static) -> Self {
        Self { ddl: Arc::new(ddl) }
    }
}

impl fmt::Debug for TableCreation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableCreation").finish_non_exhaustive()
    }
}

/// A compiled plan with the table it is for.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) event: String,
    pub(crate) table: Table,
    pub(crate) plan: Plan,
}

impl TablePlan {
    /// What tokens and checkpoints call the rows that it forms.
    pub(crate) fn id(&self) -> PartId {
        PartId::of(&self.event, &self.table.name)
    }

    /// Whether its rows say which records they are.
    pub(crate) fn knows_positions(&self) -> bool {
        POSITION_COLUMNS.iter().all(|name| self.table.columns.iter().any(|column| column.name == *name))
    }
}

/// Why there is no plan.
#[derive(Debug, Clone)]
pub(crate) enum NoPlan {
    /// The record's event belongs to no table.
    Reject(Box<Reject>),
    /// The server cannot say, or the table that must exist does not.
    Fault(Fault),
}

/// The plans of one connector.
#[derive(Debug)]
pub(crate) struct Tables<W> {
    warehouse: Arc<W>,
    settings: Arc<ConnectorSettings>,
    schemas: EventSchemas,
    creation: Option<TableCreation>,
    known: Mutex<HashMap<String, Known>>,
    /// The writers' schemas that an event's table has been compared with.
    evolved: Mutex<HashSet<(String, SchemaKey)>>,
    status: Status,
    /// What tables remember of inserts, of those that have been asked.
    weighed: Mutex<HashMap<String, TableMemory>>,
    /// For those who ask the server what a table is.
    turns: Semaphore,
}

#[derive(Debug, Clone)]
struct Known {
    plan: Result<Arc<TablePlan>, Box<Reject>>,
    described_at: Instant,
}

/// Event names come from records: a hostile stream may invent as many as it likes.
const KNOWN_EVENTS_MAX: usize = 10_000;

/// How many ask the server what a table is at one time. At a start every partition wants the same tables, and
/// a server answers 100 queries at once by default, inserts among them.
const ASKING_MAX: usize = 8;

impl<W: Warehouse> Tables<W> {
    pub(crate) fn new(
        warehouse: Arc<W>,
        (settings, status): (Arc<ConnectorSettings>, Status),
        schemas: EventSchemas,
        creation: Option<TableCreation>,
    ) -> Self {
        let (known, evolved, weighed) = (Mutex::default(), Mutex::default(), Mutex::default());
        let turns = Semaphore::new(ASKING_MAX);
        Self { warehouse, settings, schemas, creation, known, evolved, status, weighed, turns }
    }

    /// Sees to it that what a record is decoded by is known, as far as it can be.
    pub(crate) async fn prepare(&self, record: &Record<'_>) -> Result<(), Fault> {
        match &self.schemas.writers {
            Some(writers) => writers.prepare(record).await,
            None => Ok(()),
        }
    }

    /// The plan for a record's event.
    pub(crate) async fn plan(
        &self,
        resolved: &Resolved,
        record: &Record<'_>,
    ) -> Result<Arc<TablePlan>, NoPlan> {
        if let Some(plan) = self.fresh(&resolved.event) {
            return plan.map_err(NoPlan::Reject);
        }
        let _turn = self.turns.acquire().await.expect("nobody closes it");
        // Whoever was before may have asked for the same table.
        if let Some(plan) = self.fresh(&resolved.event) {
            return plan.map_err(NoPlan::Reject);
        }
        let seen = self.known().get(&resolved.event).is_some_and(|known| known.plan.is_ok());
        let writer = self.schemas.writers.as_ref().and_then(|writers| writers.of(record));
        let plan = match self.compile(resolved, (seen, writer.as_ref())).await {
            Ok(plan) => Ok(plan),
            Err(NoPlan::Reject(reject)) => Err(reject),
            Err(NoPlan::Fault(fault)) => return Err(NoPlan::Fault(fault)),
        };
        let mut known = self.known();
        if known.len() >= KNOWN_EVENTS_MAX {
            known.retain(|_, known| known.plan.is_ok());
        }
        known.insert(resolved.event.clone(), Known { plan: plan.clone(), described_at: Instant::now() });
        drop(known);
        plan.map_err(NoPlan::Reject)
    }

    /// What is known about an event's plan, unless that was so long ago that the table may be another.
    fn fresh(&self, event: &str) -> Option<Result<Arc<TablePlan>, Box<Reject>>> {
        let known = self.known();
        let known = known.get(event)?;
        (known.described_at.elapsed() < self.settings.describe_every).then(|| known.plan.clone())
    }

    /// The plan for an event whose table has changed under the plan that it had.
    pub(crate) async fn plan_again(&self, stale: &TablePlan) -> Result<Arc<TablePlan>, NoPlan> {
        let resolved = Resolved { event: stale.event.clone(), table: stale.table.name.clone() };
        let plan = self.compile(&resolved, (true, None)).await?;
        let known = Known { plan: Ok(Arc::clone(&plan)), described_at: Instant::now() };
        self.known().insert(resolved.event, known);
        Ok(plan)
    }

    async fn compile(
        &self,
        resolved: &Resolved,
        (seen, writer): (bool, Option<&WriterSchema>),
    ) -> Result<Arc<TablePlan>, NoPlan> {
        let schema = (self.schemas.find)(&resolved.event);
        if schema.is_none() && self.schemas.required {
            return Err(NoPlan::Reject(unknown(resolved, "an event that has a schema")));
        }
        let from = schema.as_deref().map(TableSchema::Event).or(writer.map(TableSchema::Writer));
        let table = match self.describe_or_create(resolved, from).await {
            Ok(table) => table,
            Err(fault) => {
                let expected =
                    seen || schema.is_some() || route::names(&self.settings.route, &resolved.event);
                let missing = fault.kind == FaultKind::Missing;
                return Err(if missing && !expected {
                    NoPlan::Reject(unknown(resolved, "an event that has a table"))
                } else {
                    NoPlan::Fault(fault)
                });
            }
        };
        self.weigh(&table).await.map_err(NoPlan::Fault)?;
        let plan = match &self.schemas.writers {
            Some(writers) => Plan::of_writers(&table, &writers.format, &writers.known, &self.settings.plan),
            None => Plan::compile(&table, schema.as_deref(), &self.settings.plan),
        };
        let plan = plan.map_err(|error| {
            let message = format!("plan rows for table `{}`: {error}", table.name);
            NoPlan::Fault(Fault::new(FaultKind::Missing, message))
        })?;
        Ok(Arc::new(TablePlan { event: resolved.event.clone(), table, plan }))
    }

    /// Asks, once a table, what it remembers of inserts, and says where that is not enough.
    async fn weigh(&self, table: &Table) -> Result<(), Fault> {
        if self.weighed().contains_key(&table.name) || self.settings.guarantee != Delivery::ExactlyOnce {
            return Ok(());
        }
        match self.warehouse.memory(table).await {
            Ok(memory) => {
                let why = memory.weakness.clone();
                let known = self.weighed().insert(table.name.clone(), memory);
                if let (None, Some(why)) = (known, why) {
                    tracing::warn!(table = format!("{}.{}", table.database, table.name), "{why}");
                    self.status.weak(&table.name, why);
                }
            }
            // Whoever may not see more of a table than its columns can insert into it all the same.
            Err(error) if matches!(error.kind, FaultKind::Denied | FaultKind::Missing) => {
                tracing::warn!(%error, table = table.name, "ask what the table remembers of inserts");
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    async fn describe_or_create(
        &self,
        resolved: &Resolved,
        schema: Option<TableSchema<'_>>,
    ) -> Result<Table, Fault> {
        let database = &self.settings.database;
        let missing = match self.warehouse.describe(database, &resolved.table).await {
            Err(fault) if fault.kind == FaultKind::Missing => fault,
            described => return described,
        };
        let (Some(creation), Some(schema)) = (&self.creation, schema) else { return Err(missing) };
        self.warehouse.create(&(creation.ddl)(resolved, schema)).await?;
        tracing::info!(table = resolved.table, event = resolved.event, "table created from its schema");
        self.warehouse.describe(database, &resolved.table).await
    }

    /// Adds the columns that a record's schema has and its table lacks, if it is told to. Gives the plan
    /// that stands if it is another than `at_hand`.
    pub(crate) async fn evolve(
        &self,
        record: &Record<'_>,
        at_hand: &TablePlan,
    ) -> Result<Option<Arc<TablePlan>>, NoPlan> {
        let Some(writers) = self.schemas.writers.as_ref().filter(|_| self.settings.evolve) else {
            return Ok(None);
        };
        let Some((key, schema)) = writers.found(record) else { return Ok(None) };
        let seen = (at_hand.event.clone(), key);
        if self.evolved().contains(&seen) {
            let known = self.known().get(&at_hand.event).and_then(|known| known.plan.clone().ok());
            return Ok(known.filter(|plan| plan.plan.fingerprint() != at_hand.plan.fingerprint()));
        }
        // What the table has now decides: another process may have added columns.
        let mut plan = self.plan_again(at_hand).await?;
        let wanted = schema.missing_columns(&plan.table, &self.settings.plan).unwrap_or_default();
        if !wanted.is_empty() {
            let ddl = add_columns(&plan.table, &wanted);
            self.warehouse.create(&ddl).await.map_err(NoPlan::Fault)?;
            let names: Vec<&str> = wanted.iter().map(|column| column.name.as_str()).collect();
            tracing::info!(table = at_hand.table.name, %key, columns = names.join(", "), "columns added");
            plan = self.plan_again(at_hand).await?;
        }
        self.evolved().insert(seen);
        Ok(Some(plan).filter(|plan| plan.plan.fingerprint() != at_hand.plan.fingerprint()))
    }

    /// Whether the table stores an insert once however often it is sent under its token.
    pub(crate) fn remembers_tokens(&self, table: &str) -> bool {
        self.weighed().get(table).is_some_and(|memory| memory.weakness.is_none())
    }

    /// Whether the table may remember an insert and not have its rows, and can be asked.
    pub(crate) fn may_miss_rows(&self, table: &str) -> bool {
        self.weighed().get(table).is_some_and(|memory| memory.may_miss_rows)
    }

    fn weighed(&self) -> MutexGuard<'_, HashMap<String, TableMemory>> {
        self.weighed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evolved(&self) -> MutexGuard<'_, HashSet<(String, SchemaKey)>> {
        self.evolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The statement that adds columns to a table; harmless when repeated.
#[must_use]
pub fn add_columns(table: &Table, wanted: &[WantedColumn]) -> String {
    let columns = wanted.iter().map(|column| {
        let (ty, default) = column.added();
        let default = default.map_or_else(String::new, |default| format!(" DEFAULT {default}"));
        format!("\n    ADD COLUMN IF NOT EXISTS {} {ty}{default}", quote(&column.name))
    });
    let columns: Vec<String> = columns.collect();
    format!("ALTER TABLE {}.{}{}", quote(&table.database), quote(&table.name), columns.join(","))
}

fn unknown(resolved: &Resolved, expected: &str) -> Box<Reject> {
    let reason = Reason::new(ReasonCode::UnknownEvent, expected, &format!("`{}`", resolved.event));
    let mut reject = Reject::new(Stage::Resolve, reason);
    reject.event = Some(resolved.event.clone());
    reject.table = Some(resolved.table.clone());
    Box::new(reject)
}
