//! Bytes to columns by a plan compiled once per schema and table.
//!
//! [`Plan::compile`] decides once which field reaches which column and what each rule checks;
//! [`Plan::append`] then reads a record in one pass: grammar, rules and columns together, no tree of
//! values in between. A record that cannot become a row leaves the [`Block`] as it was.
//!
//! Pure: no clock, no file, no socket. The same records make the same rows.

mod avro;
mod block;
mod build;
mod check;
mod compile;
mod find;
mod frame;
mod instant;
mod json;
mod members;
mod meta;
mod node;
mod number;
mod open;
mod options;
mod personal;
mod plan;
mod protobuf;
mod reader;
mod refusal;
mod rules;
mod sample;
mod scalar;
mod scan;
mod usual;
mod varint;
mod walk;
mod writers;

pub use avro::{EncodeError, WantedColumn, avro_columns, avro_to_json, json_to_avro, sample_avro};
pub use block::{Block, DroppedField};
pub use find::find_text;
pub use frame::{Framed, SchemaKey};
pub use instant::{TimePattern, TimePatternError};
pub use options::{ColumnOptions, EpochUnit, Limits, Metadata, PlanOptions, UnknownFields};
pub use personal::{Period, PersonalAction, PersonalColumn, PseudonymKey, ShortKey};
pub use plan::{Appended, Plan, PlanError};
pub use protobuf::{
    MessagesError, ProtobufMessages, json_to_protobuf, message_indexes, protobuf_to_json, sample_protobuf,
};
pub use rules::ColumnRules;
pub use writers::{WireFormat, WriterSchema, WriterSchemas};
