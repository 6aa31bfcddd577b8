//! The Kafka edge against the own broker, through the real protocol.

mod stack;

mod checkpoints;
mod dead_letters;
mod groups;
mod reading;
mod refusals;
