//! The Kafka edge against the own broker, through the real protocol.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod stack;

mod checkpoints;
mod dead_letters;
mod epochs;
mod groups;
mod reading;
mod recreated;
mod refusals;
