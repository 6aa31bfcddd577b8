//! The schema languages of a registry: parse, canonical text, references, compatibility.
//!
//! Pure: nothing here touches a clock, a file or the network. Every parser and check takes texts of
//! strangers: depth, size and work are bounded, and what is over a bound is an error.
//! Start with [`ParsedSchema::parse`], and with [`avro::AvroSchema`] for one of the languages.

pub mod avro;
mod budget;
mod incompatibility;
pub mod json;
pub mod json_schema;
mod language;
pub mod protobuf;

pub use budget::TooComplex;
pub use incompatibility::{Age, Incompatibility};
pub use language::{
    Language, ParseError, ParsedSchema, Policy, Referenced, Strictness, Tagged, TaggedKind, UnknownLanguage,
    Verdict,
};
