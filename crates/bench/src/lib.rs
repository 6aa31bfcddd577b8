//! What the benchmarks share: events of chosen sizes.

mod events;

pub use events::Events;
