//! Avro's binary encoding into columns.
//!
//! A writer's schema, a reader's if there is one, and a table become a [`Program`]: one operation for
//! each field, compiled once. [`Run`] follows it through a record's bytes, straight into the columns.

mod bytes;
mod columns;
mod compile;
mod encode;
mod encoder;
mod leaf;
mod misfits;
mod op;
mod resolve;
mod run;
mod sample;
mod text;
mod value;
mod write;

pub(crate) use columns::nullable;
pub use columns::{WantedColumn, avro_columns};
pub(crate) use compile::{Target, compile, covered, element_of, escaped, fill, missing_columns};
pub use encoder::{EncodeError, avro_to_json, json_to_avro};
pub(crate) use leaf::{Leaf, Put};
pub(crate) use op::{Fill, MapKey, Misfit, Program};
pub(crate) use resolve::{Read, ReadShape};
pub(crate) use run::{Run, fill_column};
pub use sample::sample_avro;
pub(crate) use text::{base64, base64_text, civil, unbase64};
pub(crate) use write::{decimal_text, push_decimal, rescaled, signed};
