//! What the benchmarks share: events of chosen sizes, and an Apache Kafka to measure at.

mod apache;
mod events;

pub use apache::Apache;
pub use events::Events;
