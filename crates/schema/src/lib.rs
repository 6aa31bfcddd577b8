//! JSON Schema drafts 7 and 2020-12 as rules that a decode plan can fuse.
//!
//! Start with [`JsonSchema`]: a document, resolved, as [`Rules`] for each position. What rules cannot
//! say stands in them as [`Foreign`], a subschema for the general validator. [`table_for`] says which
//! ClickHouse table the schema's values fit into. Nothing here touches a file or the network.

mod bundle;
mod chance;
mod choice;
mod decimal;
mod document;
mod foreign;
mod format;
mod graph;
mod merge;
mod outline;
mod rules;
mod sample;
mod table;

pub use chance::Chance;
pub use choice::Choice;
pub use decimal::Decimal;
pub use document::{FormatMode, JsonSchema, SchemaDocument, SchemaError};
pub use foreign::Foreign;
pub use format::{Format, ipv4};
pub use outline::{Outline, OutlineMember};
pub use rules::{
    ArrayRules, Bound, NumberRules, ObjectRules, Property, Rules, RulesId, StringRules, Types, Violation,
};
pub use sample::{Sampler, Unsampled};
pub use table::{ColumnDefinition, CreateTable, TableDefinition, quote, table_for};
