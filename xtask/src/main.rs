//! `cargo xtask`: the repository's own checks and code generation.
fn main() {}
