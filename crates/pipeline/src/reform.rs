//! Rows formed anew, because their table is another than it was.

use std::sync::Arc;

use tidegate_core::Stage;

use crate::batch::{Batch, Part};
use crate::delivery::{Delivery, Undelivered};
use crate::port::{CheckpointLog, Rejected, Warehouse};
use crate::tables::{NoPlan, TablePlan};

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Before records are refused for what a table cannot hold, the table is looked at again: somebody may
    /// have altered it, and what it holds now decides.
    pub(crate) async fn doubt_old_plans(&self, batch: &mut Batch) -> Result<(), Undelivered> {
        for at in 0..batch.parts.len() {
            let stale = Arc::clone(&batch.parts[at].plan);
            let refused = |rejected: &Rejected| {
                rejected.reject.stage == Stage::Encode && rejected.reject.event.as_ref() == Some(&stale.event)
            };
            if !batch.rejected.iter().any(refused) {
                continue;
            }
            let Some(plan) = self.replan(&stale).await? else { continue };
            let mut rows = std::mem::take(&mut batch.parts[at].rows);
            rows.extend(
                batch.rejected.extract_if(.., |rejected| refused(rejected)).map(|rejected| rejected.index),
            );
            rows.sort_unstable();
            let (part, refused) = self.form(batch, plan, rows);
            batch.parts[at] = part;
            batch.reject(refused);
        }
        Ok(())
    }

    /// Looks at the tables of these parts again. Says whether one has changed; then its rows have been
    /// formed anew.
    pub(crate) async fn replan_all(&self, batch: &mut Batch, parts: Vec<usize>) -> Result<bool, Undelivered> {
        let mut changed = false;
        for at in parts {
            let Some(plan) = self.replan(&batch.parts[at].plan).await? else { continue };
            let rows = std::mem::take(&mut batch.parts[at].rows);
            let (part, refused) = self.form(batch, plan, rows);
            batch.parts[at] = part;
            batch.reject(refused);
            changed = true;
        }
        Ok(changed)
    }

    /// The plan for the table as it stands, if it is another than `stale`. Waits for a missing table.
    async fn replan(&self, stale: &TablePlan) -> Result<Option<Arc<TablePlan>>, Undelivered> {
        let mut backoff = self.backoff();
        loop {
            match self.shared.tables.plan_again(stale).await {
                Ok(plan) if plan.plan.fingerprint() == stale.plan.fingerprint() => return Ok(None),
                Ok(plan) => return Ok(Some(plan)),
                // The event had a plan, so its schema was found; if that is gone the table decides.
                Err(NoPlan::Reject(_)) => return Ok(None),
                Err(NoPlan::Fault(fault)) => self.wait_out(&fault, &mut backoff, "describe table").await?,
            }
        }
    }

    /// Decodes records by a plan. What it refuses is a reject.
    pub(crate) fn form(
        &self,
        batch: &Batch,
        plan: Arc<TablePlan>,
        rows: impl IntoIterator<Item = usize>,
    ) -> (Part, Vec<Rejected>) {
        let mut part = Part::new(plan);
        let mut refused = Vec::new();
        for index in rows {
            let record = batch.records.get(index).expect("rows point into their batch");
            if let Err(reject) = part.append(self.source, &record, index) {
                refused.push(Rejected { index, reject: *reject });
            }
        }
        (part, refused)
    }
}
