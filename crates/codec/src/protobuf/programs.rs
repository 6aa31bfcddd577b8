//! The programs of one writer's schema: one for each of its messages, compiled when the first record of
//! the message comes.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use hashbrown::HashMap;
use tidegate_core::ReasonCode;
use tidegate_native::{Column, Table};

use super::compile::compile;
use super::gather::check;
use super::model::{MessageId, ProtobufMessages};
use super::normal::normal;
use super::op::Program;
use super::run::Run;
use super::text::unzigzag;
use super::wire::Wire;
use crate::block::Memory;
use crate::options::PlanOptions;
use crate::plan::PlanError;
use crate::refusal::{Outcome, Refusal};

/// How messages of a schema become rows of a table.
#[derive(Debug)]
pub(crate) struct Programs {
    types: Arc<ProtobufMessages>,
    table: Table,
    options: PlanOptions,
    /// The schema's first message, which most records are.
    first: OnceLock<Result<Arc<Program>, PlanError>>,
    others: RwLock<HashMap<MessageId, Result<Arc<Program>, PlanError>>>,
}

impl Programs {
    pub(crate) fn new(types: Arc<ProtobufMessages>, table: &Table, options: &PlanOptions) -> Self {
        let (table, options) = (table.clone(), options.clone());
        Self { types, table, options, first: OnceLock::new(), others: RwLock::default() }
    }

    /// Writes one message. `indexes` stand before it, or, if they are `Some`, in a header.
    pub(crate) fn append(
        &self,
        (indexes, payload): (Option<&[u8]>, &[u8]),
        columns: &mut [Column],
        (memory, rows): (&mut Memory, usize),
    ) -> Outcome {
        let mut rest = Wire::new(indexes.unwrap_or(payload));
        let id = match rest.rest() {
            // A header without indexes speaks of a schema's only message.
            [] if indexes.is_some() => self.types.outermost[0],
            _ => self.chosen(&mut rest)?,
        };
        let bytes = if indexes.is_some() { payload } else { rest.rest() };
        let program = self.program(id).map_err(|error| {
            let expected = "a schema that rows of the table can be formed by";
            Refusal::decode(ReasonCode::WrongSchema, expected, &error.to_string())
        })?;
        let mut run = Run::new(&program, bytes, memory);
        match run.record(columns) {
            Err(_) if run.tangled => {}
            read => return read,
        }
        for column in &mut *columns {
            column.truncate(rows);
        }
        let depth = program.limits.depth_max;
        check(&self.types, id, Wire::new(bytes), depth)?;
        let ordered = normal(&self.types, id, Wire::new(bytes), depth)?;
        Run::again(&program, &ordered, memory).record(columns)
    }

    fn program(&self, id: MessageId) -> Result<Arc<Program>, PlanError> {
        let compiled = || compile(&self.table, &self.types, id, &self.options).map(Arc::new);
        if id == self.types.outermost[0] {
            return self.first.get_or_init(compiled).clone();
        }
        if let Some(known) = self.others.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return known.clone();
        }
        let program = compiled();
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(id, program.clone());
        program
    }

    fn chosen(&self, wire: &mut Wire<'_>) -> Outcome<MessageId> {
        chosen(&self.types, wire)
    }
}

/// Reads message indexes: how many, and each of them, as zig-zag numbers; a single 0 is short for the
/// first message (Confluent, `MessageIndexes`).
pub(crate) fn chosen(types: &ProtobufMessages, wire: &mut Wire<'_>) -> Outcome<MessageId> {
    /// Messages are declared in one another less deeply than this.
    const PATH_MAX: usize = 64;
    let before = *wire;
    let number = |wire: &mut Wire<'_>| -> Outcome<usize> {
        Ok(usize::try_from(unzigzag(wire.varint()?)).unwrap_or(usize::MAX))
    };
    let count = number(wire)?;
    if count == 0 {
        return Ok(types.outermost[0]);
    }
    if count > PATH_MAX {
        return Err(before.broken("message indexes", &format!("{count} of them")));
    }
    let mut path = Vec::new();
    for _ in 0..count {
        path.push(number(wire)?);
    }
    types.at(&path).ok_or_else(|| {
        let expected = format!("message indexes within a schema of {} messages", types.outermost.len());
        before.broken(&expected, &format!("{path:?}"))
    })
}
