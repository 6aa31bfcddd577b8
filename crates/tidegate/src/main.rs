//! The `tidegate` program: flags, configuration, wiring, exit codes, error rendering.
fn main() {}
