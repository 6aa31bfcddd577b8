//! The partition loop, batching and the delivery protocol, with the ports (traits) that they need.
//!
//! Start with [`port`]: what the pipeline asks of Kafka and of ClickHouse.

pub mod port;
