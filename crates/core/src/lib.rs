//! The house's words as types, with their invariants: no I/O, no async, no clock.
//!
//! Start with [`Records`] (what Kafka gave), [`OffsetRange`] (the unit of delivery), [`Reject`] (why a
//! record cannot be a row) and [`Checkpoint`] (what the group's committed offset says).

mod checkpoint;
mod dead_letter;
mod fault;
mod offset_set;
mod range;
mod record;
mod reject;
mod token;

pub use checkpoint::{
    Checkpoint, CheckpointError, Intent, JointId, PartId, PlanFingerprint, Replay, Rewind, Stored, TopicId,
};
pub use dead_letter::{DeadLetter, DeadLetterContext, DeadLetterHeader, DeadLetterId, Provenance, header};
pub use fault::{Fault, FaultKind};
pub use offset_set::OffsetSet;
pub use range::{OffsetRange, TopicPartition};
pub use record::{Header, Headers, Record, Records, Timestamp, TimestampKind};
pub use reject::{Reason, ReasonCode, Reject, Stage};
pub use token::InsertToken;
