//! What the group's committed offset says: how far the sink is, and which batch it is inserting.

use std::fmt;

use thiserror::Error;

use crate::range::OffsetRange;

/// Tells plans apart: a hash of the schema, the table and the options that a plan was compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanFingerprint(pub u64);

impl fmt::Display for PlanFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The committed offset with its metadata.
///
/// The metadata string is `v1` when nothing is in flight, `v1;end=<end>;plan=<16 hex digits>` while the
/// batch `offset..end` is being inserted. Empty metadata (another program's commit, or an offset
/// that a person set) counts as nothing in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything before this offset is durable.
    pub offset: i64,
    /// One past the last offset of the batch being inserted, with the plan it was formed by.
    pub intent: Option<(i64, PlanFingerprint)>,
}

/// The committed metadata is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a text that any version of Tidegate writes.
    #[error(
        "committed metadata `{metadata}` is not a Tidegate checkpoint; expected `v1` or `v1;end=<offset>;plan=<hex>`"
    )]
    Foreign {
        /// The text found.
        metadata: String,
    },
    /// Written by a Tidegate that is newer than this one.
    #[error("committed metadata `{metadata}` is of a newer version; expected `v1`")]
    Newer {
        /// The text found.
        metadata: String,
    },
    /// The intent ends at or before its start.
    #[error("committed intent ends at {end}, not after the committed offset {offset}")]
    Backwards {
        /// The committed offset.
        offset: i64,
        /// The intent's end.
        end: i64,
    },
}

impl Checkpoint {
    /// Nothing is in flight.
    #[must_use]
    pub const fn settled(offset: i64) -> Self {
        Self { offset, intent: None }
    }

    /// The batch `range` is being inserted.
    #[must_use]
    pub const fn intending(range: OffsetRange, plan: PlanFingerprint) -> Self {
        Self { offset: range.first(), intent: Some((range.end(), plan)) }
    }

    /// The batch in flight.
    #[must_use]
    pub fn range(&self) -> Option<OffsetRange> {
        self.intent.and_then(|(end, _)| OffsetRange::new(self.offset, end))
    }

    /// The metadata string that is committed with the offset.
    #[must_use]
    pub fn metadata(&self) -> String {
        match self.intent {
            None => "v1".to_owned(),
            Some((end, plan)) => format!("v1;end={end};plan={plan}"),
        }
    }

    /// Reads a committed offset and its metadata.
    ///
    /// # Errors
    /// When the metadata is neither empty nor a checkpoint. The offset alone still stands; whether to
    /// go on from it is the caller's decision.
    pub fn parse(offset: i64, metadata: &str) -> Result<Self, CheckpointError> {
        let foreign = || CheckpointError::Foreign { metadata: metadata.chars().take(100).collect() };
        let mut parts = metadata.split(';');
        match parts.next().unwrap_or_default() {
            "" if metadata.is_empty() => return Ok(Self::settled(offset)),
            "v1" => {}
            other if other.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()) => {
                return Err(CheckpointError::Newer { metadata: metadata.chars().take(100).collect() });
            }
            _ => return Err(foreign()),
        }
        let (Some(end), Some(plan)) = (parts.next(), parts.next()) else {
            return if metadata == "v1" { Ok(Self::settled(offset)) } else { Err(foreign()) };
        };
        let end = end.strip_prefix("end=").and_then(|end| end.parse::<i64>().ok()).ok_or_else(foreign)?;
        let plan = plan.strip_prefix("plan=").filter(|plan| plan.len() == 16).ok_or_else(foreign)?;
        let plan = u64::from_str_radix(plan, 16).map_err(|_| foreign())?;
        if parts.next().is_some() {
            return Err(foreign());
        }
        if end <= offset {
            return Err(CheckpointError::Backwards { offset, end });
        }
        Ok(Self { offset, intent: Some((end, PlanFingerprint(plan))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let intending =
            Checkpoint::intending(OffsetRange::new(58, 1058).unwrap(), PlanFingerprint(0xdead_beef));
        for checkpoint in [Checkpoint::settled(0), Checkpoint::settled(i64::MAX), intending] {
            assert_eq!(Checkpoint::parse(checkpoint.offset, &checkpoint.metadata()), Ok(checkpoint));
        }
    }

    #[test]
    fn foreign_text_is_refused_and_empty_text_is_settled() {
        assert_eq!(Checkpoint::parse(5, ""), Ok(Checkpoint::settled(5)));
        for text in [
            "x",
            "v1;",
            "v1;end=9",
            "v1;end=x;plan=0000000000000000",
            "v1;end=9;plan=1",
            "v1;end=9;plan=0000000000000000;more",
        ] {
            assert!(matches!(Checkpoint::parse(5, text), Err(CheckpointError::Foreign { .. })), "{text}");
        }
        assert!(matches!(Checkpoint::parse(5, "v2;end=9"), Err(CheckpointError::Newer { .. })));
        let backwards = Checkpoint::parse(9, "v1;end=9;plan=0000000000000000");
        assert_eq!(backwards, Err(CheckpointError::Backwards { offset: 9, end: 9 }));
    }
}
