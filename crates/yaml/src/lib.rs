//! YAML files whose every value knows its place, read into types that describe themselves.
//!
//! One declaration per section (the [`section!`] and [`choice!`] macros) makes the struct, its reader and
//! its JSON Schema, so the three cannot disagree. Reading goes on after a mistake: a file is refused with
//! all that is wrong in it, each with its place and a way out. Nothing here touches disk or environment.
//!
//! Start with [`shape::Shape`], and with [`node::parse`] for the texts of strangers.

mod declare;
pub mod diagnostic;
pub mod nearest;
pub mod node;
pub mod reading;
pub mod shape;
mod word;

pub use diagnostic::{Diagnostic, Diagnostics, Mistake, Position};
pub use reading::{Found, Reading, Surroundings};
