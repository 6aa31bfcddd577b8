//! The partition loop, batching and the delivery protocol, with the ports (traits) that they need.
//!
//! Start with [`port`] (what the pipeline asks of Kafka and of ClickHouse), then [`Connector`], which
//! owns one consumer group's work. Each partition runs its own loop (`partition`): records become a
//! `Batch`; `delivery` does with a batch what crate `protocol` decides.

mod attempt;
mod backoff;
mod batch;
mod budget;
mod connector;
mod dead_letter_table;
mod delivery;
mod halt;
mod joining;
mod looking;
mod mailbox;
mod metrics;
mod partition;
pub mod port;
mod reform;
mod rewound;
mod route;
mod settings;
mod status;
mod tables;
mod writers;

pub use backoff::Backoff;
pub use budget::Budget;
pub use connector::{Connector, Ended};
pub use dead_letter_table::{DEAD_LETTER_COLUMNS, dead_letter_ddl};
pub use halt::{HaltGuard, HaltPolicy, Halted};
pub use metrics::Metrics;
pub use settings::{ConnectorSettings, FlushPolicy};
pub use status::{ConnectorStatus, PartitionStatus, Phase, Status};
pub use tables::{EventSchemas, TableCreation, TableSchema, add_columns};
pub use writers::{Fetched, Writers};
