//! The configuration file of `tidegate sink` and `tidegate up`: types, parser, JSON Schema.
//!
//! One declaration per section (the `section!` and `choice!` macros of crate `yaml`) makes the struct, its
//! reader and its JSON Schema, so the three cannot disagree. Reading goes on after a mistake: a file
//! is refused with all that is wrong in it, each with its place and a way out.
//!
//! Start with [`SinkFile`] and [`load_sink`]. Only [`load_sink`] and [`load_up`] touch the disk and the
//! environment; everything else is a function of its arguments.

mod check;
mod clickhouse;
mod connector;
mod file;
mod kafka;
mod personal;
mod registry;
mod rules;
mod scalar;
mod template;

pub use clickhouse::{ClickHouse, ClickHouseTls, Compression};
pub use connector::{
    Batch, BatchLimits, Column, Connector, CreateTables, DeadLetters, Delivery, EpochUnit, Evolve, Format,
    Formats, HaltGuard, HaltWhen, Pointers, SchemaSource, Tombstones, UnknownFields,
};
pub use file::{
    Api, EmbeddedKafka, LoadError, SinkFile, UpFile, json_schema, load_sink, load_up, parse_sink, parse_up,
};
pub use kafka::{Kafka, KafkaTls, Mechanism, Sasl};
pub use personal::{LetterValues, Period, PersonalAction, PersonalClass};
pub use registry::{RegistryTls, SchemaRegistry};
pub use rules::{Bound, ColumnRules, Pattern, TextFormat};
pub use scalar::{
    Broker, ByteSize, FieldPath, HttpUrl, Identifier, Name, RegistryUrl, Secret, TimeFormat, Topic,
};
pub use template::{Part, Resolved, TableRoute, Template, Unmapped};
pub use tidegate_yaml::{Diagnostic, Diagnostics, Mistake, Surroundings};
