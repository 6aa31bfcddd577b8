//! A rejected record on its way to the dead-letter topic: the record byte for byte, and headers that
//! say where it came from and why it was refused.

use std::fmt;

use crate::range::TopicPartition;
use crate::record::{Headers, Record};
use crate::reject::Reject;

/// Header names. Kafka Connect's ten (KIP-298) come first so that tools made for Connect read our
/// dead letters; ours stand under their own prefix.
pub mod header {
    /// The original topic.
    pub const CONNECT_TOPIC: &str = "__connect.errors.topic";
    /// The original partition, decimal.
    pub const CONNECT_PARTITION: &str = "__connect.errors.partition";
    /// The original offset, decimal.
    pub const CONNECT_OFFSET: &str = "__connect.errors.offset";
    /// The connector's name.
    pub const CONNECT_CONNECTOR: &str = "__connect.errors.connector.name";
    /// The task's number, decimal; always 0 here.
    pub const CONNECT_TASK: &str = "__connect.errors.task.id";
    /// Connect's name of the stage.
    pub const CONNECT_STAGE: &str = "__connect.errors.stage";
    /// The class that was at work.
    pub const CONNECT_CLASS: &str = "__connect.errors.class.name";
    /// The exception's class.
    pub const CONNECT_EXCEPTION_CLASS: &str = "__connect.errors.exception.class.name";
    /// The message.
    pub const CONNECT_EXCEPTION_MESSAGE: &str = "__connect.errors.exception.message";
    /// The chain of causes.
    pub const CONNECT_STACKTRACE: &str = "__connect.errors.exception.stacktrace";

    /// The dead letter's id, 32 hex digits.
    pub const ID: &str = "tidegate.id";
    /// The stage of our path.
    pub const STAGE: &str = "tidegate.stage";
    /// The reason code.
    pub const CODE: &str = "tidegate.code";
    /// All reasons as a JSON array of objects `code, path, column, rule, expected, found`.
    pub const ERRORS: &str = "tidegate.errors";
    /// The event's name, if known.
    pub const EVENT: &str = "tidegate.event";
    /// The table, if known.
    pub const TABLE: &str = "tidegate.table";
    /// The original timestamp in milliseconds since the epoch, decimal.
    pub const TIMESTAMP: &str = "tidegate.timestamp";
    /// The consumer group.
    pub const GROUP: &str = "tidegate.group";
    /// `tidegate/<version>`.
    pub const PROCESSOR: &str = "tidegate.processor";
    /// The plan's fingerprint.
    pub const PLAN: &str = "tidegate.plan";
    /// How often the record has been tried: 1, and one more for each replay.
    pub const ATTEMPT: &str = "tidegate.attempt";
    /// On a replayed record: the id of the dead letter that it was.
    pub const REPLAY_OF: &str = "tidegate.replay.of";
    /// On a replayed record: `topic/partition/offset` of the dead letter.
    pub const REPLAY_FROM: &str = "tidegate.replay.from";

    /// Whether a header belongs to the dead letter and not to the original record.
    #[must_use]
    pub fn ours(name: &str) -> bool {
        name.starts_with("__connect.errors.") || name.starts_with("tidegate.")
    }
}

/// A dead letter's identity: a 128-bit FNV-1a hash of group, topic, partition and offset, so that a
/// crash that forms the letter again forms the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterId(pub u128);

impl DeadLetterId {
    /// The id of the dead letter that `group` makes of the record at `offset` of `source`.
    #[must_use]
    pub fn new(group: &str, source: &TopicPartition, offset: i64) -> Self {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let text = format!("{group}\0{}\0{}\0{offset}", source.topic, source.partition);
        Self(text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)))
    }

    /// Reads the 32 hex digits that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What every dead letter of one connector shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterContext {
    /// The connector's name.
    pub connector: String,
    /// The consumer group.
    pub group: String,
    /// `tidegate/<version>`.
    pub processor: String,
}

/// Where the dead letter's record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The original partition.
    pub source: TopicPartition,
    /// The original offset.
    pub offset: i64,
}

/// One header that is added to a dead letter.
pub type DeadLetterHeader = (&'static str, Option<String>);

/// A rejected record with its reject.
#[derive(Debug, Clone)]
pub struct DeadLetter<'a> {
    /// The partition that the record came from.
    pub source: &'a TopicPartition,
    /// The record, untouched.
    pub record: Record<'a>,
    /// Why it was refused.
    pub reject: &'a Reject,
}

impl<'a> DeadLetter<'a> {
    /// The letter's identity under `group`.
    #[must_use]
    pub fn id(&self, group: &str) -> DeadLetterId {
        DeadLetterId::new(group, self.source, self.record.offset)
    }

    /// The record's own headers, which come first in the dead letter. Headers of an earlier dead
    /// letter (after a replay that failed again) are not among them, except the attempt.
    pub fn original_headers(&self) -> impl Iterator<Item = crate::Header<'a>> {
        let headers: Headers<'a> = self.record.headers();
        headers.filter(|header| !header::ours(header.name))
    }

    /// How often the record has been tried, this time included.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        let earlier = self.record.header(header::ATTEMPT).flatten();
        let earlier = earlier.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u32>().ok());
        earlier.unwrap_or(0).saturating_add(1)
    }
}
