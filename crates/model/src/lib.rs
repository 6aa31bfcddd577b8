//! The world around the delivery protocol, small enough that a model checker can go through all of it.
//!
//! The protocol itself is not modelled: each process here acts by [`tidegate_protocol::Course`],
//! as the sink does. Modelled is what surrounds it: a group with generations, a dead-letter topic with
//! transactions, a ClickHouse that remembers tokens, refuses rows and changes its rules, tables that are
//! altered, processes that crash or go on after they were given up, answers that get lost. [`Mutation`]s
//! leave a part of the protocol out; the tests show that each is caught.
//!
//! [`Scenario`] is one partition, cut and resumed in every way. [`JointScenario`] is two partitions whose batches are
//! sent together, by [`tidegate_protocol::Joint`], while they move between processes one by one.

mod check;
mod fleet;
mod joint;
mod waters;
mod world;

pub use check::{Bounds, Scenario};
pub use fleet::Fleet;
pub use joint::{JointAction, JointBounds, JointMutation, JointScenario};
pub use world::{Fate, Kind, Mutation, World};
