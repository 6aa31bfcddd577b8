//! Foreign schemas become events: above all Iglu Central's, where a copy is at hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "importing/central.rs"]
mod central;
#[path = "importing/hostile.rs"]
mod hostile;
#[path = "importing/languages.rs"]
mod languages;
#[path = "importing/references.rs"]
mod references;
#[path = "importing/rules.rs"]
mod rules;
#[path = "importing/steps.rs"]
mod steps;
#[path = "importing/tables.rs"]
mod tables;

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}
