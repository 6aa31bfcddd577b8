//! What a connector is told.

use std::time::Duration;

use tidegate_codec::PlanOptions;
use tidegate_config::{Delivery, TableRoute, Tombstones};
use tidegate_core::DeadLetterContext;

use crate::halt::HaltPolicy;

/// When an open batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPolicy {
    /// At most this many records. One insert must be one server-side block, so never above
    /// [`FlushPolicy::ROWS_LIMIT`].
    pub rows_max: usize,
    /// At most about this many bytes of records; the memory budget may make it less.
    pub bytes_max: usize,
    /// At most this long after its first record.
    pub linger: Duration,
}

impl FlushPolicy {
    /// ClickHouse applies an insert token per server-side block, and cuts blocks at 1,048,449 rows by
    /// default; half of it leaves room (measured; specification of the embedded server, section 5).
    pub const ROWS_LIMIT: usize = 500_000;
}

/// One connector's settings.
#[derive(Debug, Clone)]
pub struct ConnectorSettings {
    /// Name and group, as dead letters state them.
    pub context: DeadLetterContext,
    /// The database of the tables.
    pub database: String,
    /// Which table a record belongs to.
    pub route: TableRoute,
    /// How plans are compiled.
    pub plan: PlanOptions,
    /// Whether columns are added for fields that a record's schema has and its table lacks.
    pub evolve: bool,
    /// When a batch is closed.
    pub flush: FlushPolicy,
    /// The promise.
    pub guarantee: Delivery,
    /// Null values.
    pub tombstones: Tombstones,
    /// The table of dead letters, in `database`; `None` keeps them in the topic alone.
    pub dead_letter_table: Option<String>,
    /// Whether that table goes without the records' keys, values and headers, which the topic has.
    pub letters_withheld: bool,
    /// The halt guard; `None` never halts.
    pub halt_when: Option<HaltPolicy>,
    /// How many blocks one partition inserts at the same time.
    pub inserts_max: usize,
    /// How long a partition that is taken away may finish its batch.
    pub drain_max: Duration,
    /// The shortest and the longest wait between attempts after a fault.
    pub retry_wait: (Duration, Duration),
    /// How long a table's description is believed before it is asked for again.
    pub describe_every: Duration,
}
