//! After a reset of the offsets: records that are read again, and what of them is written.
//!
//! Batches are cut anew after a reset, so tokens of the first time recognise nothing. What is there already is
//! asked of the tables and of the dead-letter topic, batch by batch, however long ago it was written.

use std::collections::{BTreeSet, HashMap};

use tidegate_core::{Checkpoint, Fault, FaultKind, OffsetRange, OffsetSet, Replay, Rewind};
use tokio::sync::OnceCell;

use crate::batch::Batch;
use crate::delivery::{Delivery, Undelivered};
use crate::port::{CheckpointLog, Warehouse};
use crate::tables::TablePlan;

/// A reset, and what has been found out about the log before its end.
#[derive(Debug)]
pub(crate) struct Rewound {
    rewind: Rewind,
    /// Offsets with dead letters, from the first batch on. Who adds to them moves the checkpoint past them.
    dead_lettered: OnceCell<OffsetSet>,
}

impl Rewound {
    pub(crate) fn new(rewind: Rewind) -> Self {
        Self { rewind, dead_lettered: OnceCell::new() }
    }
}

impl<L: CheckpointLog, W: Warehouse> Delivery<'_, L, W> {
    /// The rewind that concerns a batch from `first` on.
    pub(crate) fn rewind(&self, first: i64) -> Option<Rewind> {
        self.rewound.and_then(|rewound| rewound.rewind.at(first))
    }

    /// Commits that everything before `end` is durable.
    pub(crate) async fn settle(&self, end: i64) -> Result<(), Undelivered> {
        self.commit(Checkpoint::settled(end).rewound(self.rewind(end))).await
    }

    /// Takes records out of the batch that have a row or a dead letter, if that is what was asked for.
    /// Gives the checkpoint that the batch was begun by, without them.
    pub(crate) async fn leave_what_is_there(
        &self,
        batch: &mut Batch,
        begun: Option<&Checkpoint>,
    ) -> Result<Option<Checkpoint>, Undelivered> {
        let mut begun = begun.cloned();
        let Some(rewound) = self.rewound else { return Ok(begun) };
        let rewind = rewound.rewind.at(batch.range.first());
        if rewind.is_none_or(|rewind| rewind.replay != Replay::Fill) {
            return Ok(begun);
        }
        let first = batch.range.first();
        let lettered = rewound.dead_lettered.get_or_try_init(|| self.ask_dead_letters(first, rewound.rewind));
        let lettered = lettered.await?;
        let rows = self.ask_tables(batch).await?;
        let there = |offset: i64| rows.contains(&offset) || lettered.contains(offset);
        if let Some(intent) = begun.as_mut().and_then(|begun| begun.intent.as_mut()) {
            intent.refused.retain(|offset| !there(*offset));
        }
        self.leave_out(batch, there);
        Ok(begun)
    }

    async fn ask_dead_letters(&self, first: i64, rewind: Rewind) -> Result<OffsetSet, Undelivered> {
        let Some(range) = OffsetRange::new(first, rewind.until) else { return Ok(OffsetSet::default()) };
        let mut backoff = self.backoff();
        loop {
            match self.shared.log.dead_lettered(self.source, range).await {
                Ok(offsets) => return Ok(offsets),
                Err(fault) => self.wait_out(&fault, &mut backoff, "look for dead letters").await?,
            }
        }
    }

    /// The offsets of which any of the batch's tables holds a row.
    async fn ask_tables(&self, batch: &Batch) -> Result<BTreeSet<i64>, Undelivered> {
        let mut tables: HashMap<&str, &TablePlan> = HashMap::new();
        tables.extend(batch.parts.iter().map(|part| (part.plan.table.name.as_str(), &*part.plan)));
        let mut there = BTreeSet::new();
        for plan in tables.into_values() {
            let mut backoff = self.backoff();
            loop {
                let landed = match plan.knows_positions() {
                    true => self.shared.warehouse.landed(&plan.table, self.source, batch.range).await,
                    false => Err(no_positions(&plan.table.name)),
                };
                match landed {
                    Ok(offsets) => break there.extend(offsets),
                    Err(fault) => self.wait_out(&fault, &mut backoff, "look for rows").await?,
                }
            }
        }
        Ok(there)
    }

    fn leave_out(&self, batch: &mut Batch, there: impl Fn(i64) -> bool) {
        let n_before = batch.rejected.len() + batch.parts.iter().map(|part| part.rows.len()).sum::<usize>();
        let mut rejected = std::mem::take(&mut batch.rejected);
        rejected.retain(|rejected| !there(batch.offset(rejected.index)));
        batch.rejected = rejected;
        let mut parts = std::mem::take(&mut batch.parts);
        for part in &mut parts {
            let rows: Vec<usize> =
                part.rows.iter().copied().filter(|index| !there(batch.offset(*index))).collect();
            if rows.len() < part.rows.len() {
                let (formed, refused) = self.form(batch, std::sync::Arc::clone(&part.plan), rows);
                *part = formed;
                batch.reject(refused);
            }
        }
        parts.retain(|part| !part.rows.is_empty());
        batch.parts = parts;
        let n_after = batch.rejected.len() + batch.parts.iter().map(|part| part.rows.len()).sum::<usize>();
        batch.n_there = n_before.saturating_sub(n_after);
    }
}

/// Nobody can say which records such a table holds, and guessing would write rows twice.
fn no_positions(table: &str) -> Fault {
    let message = format!(
        "the offsets were reset, and table `{table}` has no columns `_topic`, `_partition` and `_offset` that say \
         which records it holds; stop the sink, and reset with `--write-again` or to where nothing is read again"
    );
    Fault::new(FaultKind::Missing, message)
}
