//! Avro's binary encoding into columns.
//!
//! A writer's schema, a reader's if there is one, and a table become a [`Program`]: one operation for
//! each field, compiled once. [`Run`] follows it through a record's bytes, straight into the columns.

mod bytes;
mod compile;
mod encode;
mod leaf;
mod op;
mod resolve;
mod run;
mod text;
mod value;
mod write;

pub(crate) use compile::compile;
pub(crate) use op::Program;
pub(crate) use run::Run;
