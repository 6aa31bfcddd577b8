//! The program as its users run it: the real executable, against a real broker and a real ClickHouse.
//! Skipped where ClickHouse's library is absent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    unreachable_pub,
    reason = "a test has no public interface; `pub` tells a module's surface from its insides"
)]

mod access;
mod catalog;
mod catalog_tests;
mod dead_letters;
mod demo;
mod faults;
mod guarded;
mod infer;
mod joint;
mod life;
mod metrics;
mod offsets;
mod path;
mod process;
mod refusals;
mod registered;
mod registry;
mod settings;
mod stack;
mod tools;
mod values;
mod world;
