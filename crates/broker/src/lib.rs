//! A durable single-node broker behind the real Kafka protocol, in the process that starts it.
//!
//! Produced batches are stored byte for byte in append-only segment files and read back without being
//! decoded. What was acknowledged survives `kill -9`. Begin reading at [`Broker`]; `api` has what each
//! request does, `log` how records are kept, `group` and `transactions` the coordinators.

mod api;
mod budget;
mod config;
mod consumers;
mod coordinator;
mod group;
mod listener;
mod log;
mod node;
mod offsets;
mod options;
mod partition;
mod producer_ids;
mod quota;
mod rates;
mod scram;
mod server;
mod store;
mod sync;
mod tls;
mod topics;
mod transactions;
mod users;
mod wire;

pub use listener::Listener;
pub use options::{BrokerOptions, Fsync, Limits};
pub use quota::{LogsUse, LogsWatch};
pub use rates::Rates;
pub use server::{Broker, StartError};
pub use tls::{Tls, TlsError};
pub use users::{Users, UsersError};
