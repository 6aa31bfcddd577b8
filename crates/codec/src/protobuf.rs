//! Protobuf's binary encoding into columns.
//!
//! A writer's schema, one of its messages and a table become a [`op::Program`]: an operation for each
//! field, compiled once. [`run::Run`] follows it through a message's bytes, straight into the columns. A
//! message that comes in parts, which the format allows and hardly anybody writes, is put in order first.

mod columns;
mod compile;
mod encode;
mod encoder;
mod entry;
mod gather;
mod known;
mod leaf;
mod misfits;
mod model;
mod normal;
mod op;
mod programs;
mod run;
mod sample;
mod text;
mod value;
mod wire;

pub(crate) use columns::protobuf_columns;
pub(crate) use compile::{compile, missing_columns};
pub use encode::message_indexes;
pub use encoder::{json_to_protobuf, protobuf_to_json};
pub use model::{MessagesError, ProtobufMessages};
pub(crate) use programs::Programs;
pub use sample::sample_protobuf;
