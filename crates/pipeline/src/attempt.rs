//! Sends one part's rows until they are answered.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Fault, FaultKind, InsertToken, Reason, ReasonCode, Reject, Stage};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::batch::{Batch, Part};
use crate::delivery::{Delivery, Undelivered};
use crate::port::{CheckpointLog, EncodedBlock, InsertError, Warehouse};
use crate::tables::TablePlan;

/// After so many answers that no table of codes knows, the block is suspected rather than the world.
pub(crate) const UNKNOWN_TRIES_MAX: u32 = 5;

/// What is known about a part that could not be sent at once.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    backoff: Backoff,
    /// A send had an unknown outcome.
    pub(crate) in_doubt: bool,
    /// Answers by unknown codes count against the rows by now.
    pub(crate) suspected: bool,
    /// The last fault that counted against the rows.
    pub(crate) fault: Option<Fault>,
}

impl Attempt {
    pub(crate) const fn new(backoff: Backoff) -> Self {
        Self { backoff, in_doubt: false, suspected: false, fault: None }
    }

    /// How often it was waited.
    pub(crate) const fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    /// The wait before the next attempt.
    pub(crate) const fn backoff(&mut self) -> &mut Backoff {
        &mut self.backoff
    }
}

/// What came of sending a part's rows.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// They are in the table; `whole`: all rows that the part has.
    Taken { whole: bool },
    /// The server refuses them.
    Refused { rows: Vec<i64>, reject: Reject, suspected: bool },
    /// The table is missing, or lacks a column; it may be back.
    TableGone,
    /// It is to be sent again, after the intent has been committed again.
    Unsure,
}

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Sends the rows of `part` with these indexes until they are answered, or until `deadline`.
    pub(crate) async fn attempt(
        &self,
        batch: &Batch,
        (part, rows): (&Part, Vec<usize>),
        token: Option<&InsertToken>,
        (mut attempt, deadline): (Attempt, Instant),
    ) -> Result<(Attempt, Outcome), Undelivered> {
        let whole = rows.len() == part.rows.len();
        let formed;
        let block = if whole && part.block.rows() == rows.len() {
            &part.block
        } else {
            formed = self.form(batch, Arc::clone(&part.plan), rows.iter().copied()).0;
            &formed.block
        };
        let mut native = Vec::with_capacity(block.size_bytes());
        block.encode(&mut native);
        let native = Bytes::from(native);
        let encoded = EncodedBlock { native: &native, columns: block.columns(), rows: block.rows() };
        loop {
            let Err(error) = self.send(&part.plan, encoded, token).await else {
                return Ok((attempt, Outcome::Taken { whole }));
            };
            let fault = match error {
                InsertError::Refused { code, message, column } => {
                    let reason = Reason { column, ..reason(code, &message) };
                    return Ok((attempt, refusal(batch, part, &rows, (reason, false))));
                }
                InsertError::Fault(fault) => fault,
            };
            attempt.in_doubt = true;
            let tries_max = if attempt.suspected { 0 } else { UNKNOWN_TRIES_MAX };
            let suspicious = fault.kind == FaultKind::Unknown && attempt.backoff.attempts() >= tries_max;
            if let (true, Some(code)) = (suspicious, fault.code) {
                let outcome = refusal(batch, part, &rows, (reason(code, &fault.message), true));
                attempt.suspected = true;
                attempt.fault = Some(fault);
                return Ok((attempt, outcome));
            }
            self.wait_out(&fault, &mut attempt.backoff, "insert block").await?;
            if fault.kind == FaultKind::Missing {
                return Ok((attempt, Outcome::TableGone));
            }
            if Instant::now() > deadline {
                return Ok((attempt, Outcome::Unsure));
            }
        }
    }

    pub(crate) async fn send(
        &self,
        plan: &TablePlan,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
    ) -> Result<(), InsertError> {
        let started = Instant::now();
        self.shared.warehouse.insert(&plan.table, block, token).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.shared.metrics.inserted(&plan.table.name, block.rows, block.native.len(), seconds);
        Ok(())
    }
}

fn reason(code: i32, message: &str) -> Reason {
    let reason = Reason::new(ReasonCode::RowRefused, "a row that ClickHouse accepts", message);
    Reason { rule: Some(code.to_string()), ..reason }
}

fn refusal(batch: &Batch, part: &Part, rows: &[usize], (reason, suspected): (Reason, bool)) -> Outcome {
    let mut reject = Reject::new(Stage::Insert, reason);
    reject.event = Some(part.plan.event.clone());
    reject.table = Some(part.plan.table.name.clone());
    let rows = rows.iter().map(|index| batch.offset(*index)).collect();
    Outcome::Refused { rows, reject, suspected }
}
