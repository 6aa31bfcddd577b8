//! The work of Kafka's console tools and of the registry's scripts: publish, read, look at schemas, ask
//! ClickHouse.

pub mod consume;
pub mod produce;
pub mod query;
mod sample;
pub mod schema;
mod wording;

pub use wording::{Encoder, writer};
