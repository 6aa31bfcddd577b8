//! Fakes that behave, for the workspace's tests: a log with a consumer group and a dead-letter topic
//! ([`FakeKafka`]), a warehouse that deduplicates ([`FakeWarehouse`]), a world that stops at a chosen
//! effect ([`Crash`]), one that fails by chance ([`Weather`]), and a proxy that fails as it is told
//! ([`HarmfulProxy`]).

mod crash;
mod kafka;
mod proxy;
mod settings;
mod warehouse;
mod weather;

pub use crash::{Crash, Moment};
pub use kafka::{FakeDeadLetter, FakeKafka, FakeLog, FakeSource};
pub use proxy::{Harm, HarmfulProxy};
pub use settings::settings;
pub use warehouse::{FakeRow, FakeWarehouse};
pub use weather::{Stroke, Weather};
