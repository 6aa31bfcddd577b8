//! Questions to the tables, where an answer is in doubt: which of a batch's rows they hold.

use tidegate_config::Delivery as Guarantee;
use tidegate_core::Replay;
use tidegate_protocol::{Course, Seen};

use crate::batch::{Batch, Part};
use crate::delivery::{Delivery, Undelivered};
use crate::port::{CheckpointLog, Warehouse};

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// Whether every table can be asked which offsets it holds.
    pub(crate) fn can_look(&self, batch: &Batch) -> bool {
        let exactly_once = self.shared.settings.guarantee == Guarantee::ExactlyOnce;
        // When records are written again, the rows of the first time say nothing about those of this time.
        let rewind = self.rewind(batch.range.first());
        let again = rewind.is_some_and(|rewind| rewind.replay == Replay::Again);
        exactly_once && !again && batch.parts.iter().all(|part| part.plan.knows_positions())
    }

    /// Asks the tables which of the offsets in doubt they hold.
    pub(crate) async fn look(&self, course: &mut Course, batch: &Batch) -> Result<(), Undelivered> {
        let range = course.doubtful();
        let mut seen = Vec::new();
        for part in &batch.parts {
            let mut backoff = self.backoff();
            let landed = loop {
                match self.shared.warehouse.landed(&part.plan.table, self.source, range).await {
                    Ok(offsets) => break offsets,
                    Err(fault) => self.wait_out(&fault, &mut backoff, "look for rows").await?,
                }
            };
            let own = batch.offsets_of(part);
            let there: Vec<i64> = landed.into_iter().filter(|offset| own.contains(offset)).collect();
            let wanted = batch.wanted(course, part).into_iter().map(|index| batch.offset(index));
            let missing: Vec<i64> = wanted.filter(|offset| there.binary_search(offset).is_err()).collect();
            if course.repeated(part.id()) && !missing.is_empty() {
                self.tell_missing(course, part, &missing);
            }
            seen.push(Seen { part: part.id(), there, missing });
        }
        course.looked(&seen);
        Ok(())
    }

    /// Nothing is repaired in silence.
    fn tell_missing(&self, course: &Course, part: &Part, missing: &[i64]) {
        let table = &part.plan.table.name;
        self.shared.metrics.missing_rows(table, missing.len());
        let (partition, n_rows, first) = (self.source, missing.len(), missing.first());
        if course.is_last_look(part.id()) {
            tracing::error!(
                table, %partition, n_rows, first,
                "the table says again and again that it has rows, and shows none: a TTL, a row policy or somebody removes \
                 them; going on without"
            );
        } else {
            tracing::warn!(
                table, %partition, n_rows, first,
                "the table remembers an insert and does not have its rows: its server was killed in the middle of it; \
                 inserting them again"
            );
        }
    }
}
