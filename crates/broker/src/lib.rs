//! A durable single-node broker behind the real Kafka protocol, in the process that starts it.
//!
//! Produced batches are stored byte for byte in append-only segment files and read back without being
//! decoded. What was acknowledged survives `kill -9`. Begin reading at [`Broker`]; `api` has what each
//! request does, `log` how records are kept, `group` and `transactions` the coordinators.

mod api;
mod config;
mod coordinator;
mod group;
mod log;
mod node;
mod offsets;
mod options;
mod producer_ids;
mod server;
mod store;
mod sync;
mod topics;
mod transactions;
mod wire;

pub use options::{BrokerOptions, Fsync, Limits, User};
pub use server::{Broker, StartError};
