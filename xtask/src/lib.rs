//! The repository's own checks ([`tidy`]), generated files ([`codegen`]) and README's picture ([`picture`]).

pub mod codegen;
mod layers;
pub mod picture;
pub mod tidy;

use std::path::{Path, PathBuf};

/// The repository's root.
///
/// # Panics
/// If the crate does not lie one folder below it, which is a bug.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository's root").to_owned()
}
