//! The catalog: one `cdp.yaml` that says what events, entities and metrics are, and everything that is
//! made from it.
//!
//! Pure: texts in, a checked [`Catalog`] and generated files out. Start with [`load`](fn@load), which reports
//! every mistake with its place, then [`generate()`].

mod catalog;
pub mod change;
mod check;
mod column_type;
pub mod coverage;
mod expression;
mod field_type;
mod generate;
pub mod import;
pub mod infer;
pub mod language;
mod lineage;
mod literal;
mod load;
mod lock;
mod metric_sql;
mod names;
mod personal;
pub mod proposal;
mod question;

pub use catalog::{Catalog, Column, Event, EventField, Origin};
pub use check::event_of_test;
pub use expression::{Expression, Function, Sort};
pub use field_type::{FieldType, Scalar, SecondFraction};
pub use generate::{File, Generated, Given, Statement, Step, full_sample, generate, sample, statements};
pub use language::{CatalogFile, Ddl, Kind, Metric, json_schema};
pub use lineage::fields;
pub use literal::Literal;
pub use load::{Loaded, load};
pub use lock::{Lock, LockError, Numbers};
pub use metric_sql::{Aggregate, aggregate};
pub use names::{Name, Names};
pub use personal::Untreated;
pub use question::{Asked, Column as AnswerColumn, Compiled, Read, Role, Sources, compile, dimensions_of};
pub use tidegate_yaml::Position;
