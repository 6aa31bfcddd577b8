//! Fakes that behave, for the workspace's tests: a log with a consumer group and a dead-letter topic
//! ([`FakeKafka`]), a warehouse that deduplicates ([`FakeWarehouse`]), and a world that stops at a
//! chosen effect ([`Crash`]).

mod crash;
mod kafka;
mod warehouse;

pub use crash::{Crash, Moment};
pub use kafka::{FakeDeadLetter, FakeKafka, FakeLog, FakeSource};
pub use warehouse::{FakeRow, FakeWarehouse};
