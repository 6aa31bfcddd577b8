//! What the group's committed offset says: how far the sink is, and which batch it is inserting.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::range::{OffsetRange, TopicPartition};

/// Tells plans apart: a hash of the schema, the table and the options that a plan was compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanFingerprint(pub u64);

impl fmt::Display for PlanFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Tells the parts of a batch apart: a hash of an event's name and its table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId(pub u64);

impl PartId {
    /// The part of `event`'s rows for `table`.
    #[must_use]
    pub fn of(event: &str, table: &str) -> Self {
        // FNV-1a: stable between builds, unlike std's hasher. 0xff stands in no UTF-8 text.
        let bytes = event.bytes().chain([0xff]).chain(table.bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Tells joint batches apart: a hash of its members' partitions, ranges and marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JointId(pub u128);

impl JointId {
    /// The joint batch of these members: partition, range, and mark.
    #[must_use]
    pub fn of<'a>(members: impl IntoIterator<Item = (&'a TopicPartition, OffsetRange, Option<i64>)>) -> Self {
        // FNV-1a of 128 bits: stable between builds. No topic's name holds `@` or `;`.
        let text = |(source, range, mark): (&TopicPartition, OffsetRange, Option<i64>)| {
            format!("{source}/{range}@{mark:?};")
        };
        let hash =
            members.into_iter().map(text).fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, text| {
                let multiply = |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul((1 << 88) | 0x13b);
                text.bytes().fold(hash, multiply)
            });
        Self(hash)
    }
}

impl fmt::Display for JointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The rows of `part` before offset `until` are in its table, though the checkpoint stands before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    /// The part.
    pub part: PartId,
    /// One past the last offset that is stored.
    pub until: i64,
}

/// What is being inserted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Intent {
    /// One past the last offset of what is being inserted.
    pub end: i64,
    /// The end of the batch that this was cut from because the server refused it; else `end`. It is a
    /// part of every token.
    pub root: i64,
    /// The plans by which the rows were formed.
    pub plan: PlanFingerprint,
    /// The offsets that become no rows: refused while the rows were formed, or by the server alone. In
    /// order, each once.
    pub refused: Vec<i64>,
    /// The timestamp of the first record when the batch was begun, in milliseconds. It is a part of every
    /// token: a topic that was deleted and created again has other records at the same offsets, and ClickHouse
    /// still knows the tokens of the old ones. Stated, since compaction may remove that record.
    pub mark: Option<i64>,
    /// The joint batch that it is a member of: its rows may stand in blocks under that one's tokens, together with
    /// those of other partitions.
    pub joint: Option<JointId>,
}

/// What becomes of records that are read again after a rewind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Those that have a row or a dead letter are left alone; the others are written.
    Fill,
    /// All are written once more, whatever is there.
    Again,
}

/// A reset of the group's offsets by a person. Checkpoints carry it while they stand before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rewind {
    /// Tells one rewind of a partition from the others; it is a part of every token.
    pub id: u64,
    /// The topic's end at the time of the reset: no record from here on had been read before.
    pub until: i64,
    /// What becomes of what is read again.
    pub replay: Replay,
}

impl Rewind {
    /// The rewind, if it still concerns what starts at `offset`.
    #[must_use]
    pub fn at(self, offset: i64) -> Option<Self> {
        (offset < self.until).then_some(self)
    }
}

/// Tells a topic from others that had its name before: Kafka's topic id (KIP-516), as Kafka's own tools print it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(Arc<str>);

impl TopicId {
    /// How long its text is: 16 bytes in base64 without padding.
    const CHARACTERS: usize = 22;

    /// Reads 22 characters of base64, of either alphabet. `None` if it is something else, or the id that stands for none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('+', "-").replace('/', "_");
        let ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_id = text.len() == Self::CHARACTERS && text.bytes().all(ours);
        (is_id && text.bytes().any(|byte| byte != b'A')).then(|| Self(text.into()))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The word that names the topic of a checkpoint.
const TOPIC_WORD: &str = ";topic=";

/// The committed offset with its metadata.
///
/// The metadata string is `v1`, or `v2` if it says something that no `v1` says (`joint`), or `v3` if it says anything
/// of what follows and names its topic, followed by what applies of, in this order:
///
/// * `;fill=<id>:<until>` or `;again=<id>:<until>`: the offsets were reset, and the log before `until` may
///   have been read before;
/// * `;end=<end>;plan=<16 hex digits>`: the batch `offset..end` is being inserted;
/// * `;at=<milliseconds>`: its mark;
/// * `;joint=<32 hex digits>`: the joint batch that it is a member of;
/// * `;of=<end>`: it was cut from the batch that ends there;
/// * `;out=<runs>`: these of its offsets become no rows. A run is the distance from the end of the one
///   before (the first: from the offset), and `+<length>` if it is longer than one;
/// * `;in=<part>:<until>,..`: rows of these parts (16 hex digits) are stored before `until`, a distance
///   from the offset;
/// * `;topic=<22 characters>`: the offset is one of this topic, and of no other of its name.
///
/// A version that knows no `topic` takes `v1;topic=..` for another program's words and goes on from the offset, which is
/// all that they say; of `v3` it knows that it must not.
///
/// Empty metadata (another program's commit, or an offset that a person set) counts as nothing in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Everything before this offset is durable.
    pub offset: i64,
    /// What is being inserted.
    pub intent: Option<Intent>,
    /// What is stored beyond the offset: parts of a batch that was cut because of its other parts.
    pub stored: Vec<Stored>,
    /// The reset after which the partition is being read, while that matters.
    pub rewind: Option<Rewind>,
}

/// The committed metadata is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a text that any version of Tidegate writes.
    #[error(
        "committed metadata `{metadata}` is not a Tidegate checkpoint; expected `v1` to `v3`, and what is in flight"
    )]
    Foreign {
        /// The text found.
        metadata: String,
    },
    /// Written by a Tidegate that is newer than this one.
    #[error("committed metadata `{metadata}` is of a newer version; expected `v1` to `v3`")]
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
    /// The longest metadata that brokers take unless told otherwise (`offset.metadata.max.bytes`), less what names the
    /// topic.
    pub const METADATA_BYTES_MAX: usize = 4096 - TOPIC_WORD.len() - TopicId::CHARACTERS;

    /// Nothing is in flight.
    #[must_use]
    pub const fn settled(offset: i64) -> Self {
        Self { offset, intent: None, stored: Vec::new(), rewind: None }
    }

    /// The whole batch `range` is being inserted.
    #[must_use]
    pub const fn intending(range: OffsetRange, plan: PlanFingerprint) -> Self {
        let end = range.end();
        let intent = Intent { end, root: end, plan, refused: Vec::new(), mark: None, joint: None };
        Self { offset: range.first(), intent: Some(intent), stored: Vec::new(), rewind: None }
    }

    /// The same checkpoint after a rewind, if that still concerns its offset.
    #[must_use]
    pub fn rewound(mut self, rewind: Option<Rewind>) -> Self {
        self.rewind = rewind.and_then(|rewind| rewind.at(self.offset));
        self
    }

    /// The batch in flight.
    #[must_use]
    pub fn range(&self) -> Option<OffsetRange> {
        self.intent.as_ref().and_then(|intent| OffsetRange::new(self.offset, intent.end))
    }

    /// The metadata string that is committed with an offset of this topic.
    #[must_use]
    pub fn metadata_in(&self, topic: Option<&TopicId>) -> String {
        let text = self.metadata();
        let Some(topic) = topic else { return text };
        // Whoever reads no `topic` must leave alone whatever is more than the offset.
        let text = match text.split_once(';') {
            Some((_, words)) => format!("v3;{words}"),
            None => text,
        };
        format!("{text}{TOPIC_WORD}{topic}")
    }

    /// The metadata string that is committed with an offset of a topic whose id is not known.
    #[must_use]
    pub fn metadata(&self) -> String {
        // Whoever reads `v1` only must not take a member of a joint batch for a batch of its own.
        let joint = self.intent.as_ref().and_then(|intent| intent.joint);
        let mut text = if joint.is_some() { "v2" } else { "v1" }.to_owned();
        if let Some(Rewind { id, until, replay }) = self.rewind {
            let word = match replay {
                Replay::Fill => "fill",
                Replay::Again => "again",
            };
            text.push_str(&format!(";{word}={id}:{until}"));
        }
        if let Some(Intent { end, root, plan, refused, mark, joint }) = &self.intent {
            text.push_str(&format!(";end={end};plan={plan}"));
            if let Some(mark) = mark {
                text.push_str(&format!(";at={mark}"));
            }
            if let Some(joint) = joint {
                text.push_str(&format!(";joint={joint}"));
            }
            if root != end {
                text.push_str(&format!(";of={root}"));
            }
            if !refused.is_empty() {
                text.push_str(&format!(";out={}", write_runs(self.offset, refused)));
            }
        }
        if !self.stored.is_empty() {
            let one = |stored: &Stored| format!("{}:{}", stored.part, stored.until - self.offset);
            text.push_str(&format!(";in={}", self.stored.iter().map(one).collect::<Vec<_>>().join(",")));
        }
        text
    }

    /// Reads a committed offset and its metadata.
    ///
    /// # Errors
    /// When the metadata is neither empty nor a checkpoint. The offset alone still stands; whether to
    /// go on from it is the caller's decision.
    pub fn parse(offset: i64, metadata: &str) -> Result<Self, CheckpointError> {
        Self::parse_in(offset, metadata).map(|(checkpoint, _)| checkpoint)
    }

    /// Reads a committed offset and its metadata, and of which topic it is, if it says so.
    ///
    /// # Errors
    /// Those of [`Checkpoint::parse`].
    pub fn parse_in(offset: i64, metadata: &str) -> Result<(Self, Option<TopicId>), CheckpointError> {
        if metadata.is_empty() {
            return Ok((Self::settled(offset), None));
        }
        let foreign = || CheckpointError::Foreign { metadata: metadata.chars().take(100).collect() };
        let version = match metadata.split(';').next().unwrap_or_default() {
            "v1" => 1,
            "v2" => 2,
            "v3" => 3,
            other if other.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()) => {
                return Err(CheckpointError::Newer { metadata: metadata.chars().take(100).collect() });
            }
            _ => return Err(foreign()),
        };
        let (text, topic) = match metadata.rsplit_once(TOPIC_WORD) {
            Some((text, id)) => (text, Some(TopicId::parse(id).ok_or_else(foreign)?)),
            None => (metadata, None),
        };
        let read = read_words(offset, text.split(';').skip(1).peekable()).filter(|read| {
            let joint = read.intent.as_ref().is_some_and(|intent| intent.joint.is_some());
            let expected = match &topic {
                Some(_) if *read == Self::settled(offset) => 1,
                Some(_) => 3,
                None if joint => 2,
                None => 1,
            };
            version == expected
        });
        let checkpoint = read.ok_or_else(foreign)?;
        match &checkpoint.intent {
            Some(intent) if intent.end <= offset => {
                Err(CheckpointError::Backwards { offset, end: intent.end })
            }
            Some(_) | None => Ok((checkpoint, topic)),
        }
    }
}

/// What stands behind the version; `None` if it is not what [`Checkpoint::metadata`] writes.
fn read_words<'a>(
    offset: i64,
    mut words: std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Option<Checkpoint> {
    let mut word = |name: &str| words.next_if(|word| word.starts_with(name)).map(|word| &word[name.len()..]);
    let mut checkpoint = Checkpoint::settled(offset);
    for (name, replay) in [("fill=", Replay::Fill), ("again=", Replay::Again)] {
        if let Some(rewind) = word(name) {
            if checkpoint.rewind.is_some() {
                return None;
            }
            let (id, until) = rewind.split_once(':')?;
            checkpoint.rewind = Some(Rewind { id: id.parse().ok()?, until: until.parse().ok()?, replay });
        }
    }
    if let Some(end) = word("end=") {
        let end = end.parse().ok()?;
        let plan = word("plan=").filter(|plan| plan.len() == 16)?;
        let plan = PlanFingerprint(u64::from_str_radix(plan, 16).ok()?);
        let mark = match word("at=") {
            Some(mark) => Some(mark.parse().ok()?),
            None => None,
        };
        let joint = match word("joint=") {
            Some(joint) => Some(read_joint(joint)?),
            None => None,
        };
        let root = match word("of=") {
            Some(root) => root.parse().ok().filter(|root| *root > end)?,
            None => end,
        };
        let refused = match word("out=") {
            Some(runs) => read_runs(offset, root, runs)?,
            None => Vec::new(),
        };
        checkpoint.intent = Some(Intent { end, root, plan, refused, mark, joint });
    }
    if let Some(stored) = word("in=") {
        checkpoint.stored = stored.split(',').map(|one| read_stored(offset, one)).collect::<Option<_>>()?;
    }
    words.next().is_none().then_some(checkpoint)
}

fn read_joint(text: &str) -> Option<JointId> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(JointId)
}

fn read_stored(offset: i64, text: &str) -> Option<Stored> {
    let (part, until) = text.split_once(':').filter(|(part, _)| part.len() == 16)?;
    let until = until.parse::<i64>().ok().filter(|until| *until > 0)?;
    Some(Stored { part: PartId(u64::from_str_radix(part, 16).ok()?), until: offset.checked_add(until)? })
}

/// Sorted offsets as runs.
fn write_runs(from: i64, offsets: &[i64]) -> String {
    let mut runs = Vec::new();
    let mut before = from;
    for run in offsets.chunk_by(|a, b| a + 1 == *b) {
        let distance = run[0] - before;
        runs.push(if run.len() == 1 { distance.to_string() } else { format!("{distance}+{}", run.len()) });
        before = run[run.len() - 1] + 1;
    }
    runs.join(",")
}

/// Runs as sorted offsets, all before `end`: a few bytes may not stand for a list without bound.
fn read_runs(from: i64, end: i64, runs: &str) -> Option<Vec<i64>> {
    let mut offsets = Vec::new();
    let mut next = from;
    for run in runs.split(',') {
        let (distance, length) = match run.split_once('+') {
            Some((distance, length)) => (distance, length.parse::<i64>().ok().filter(|length| *length > 1)?),
            None => (run, 1),
        };
        let first = next.checked_add(distance.parse::<i64>().ok().filter(|distance| *distance >= 0)?)?;
        next = first.checked_add(length).filter(|next| *next <= end)?;
        if offsets.len() as i64 + length > RUN_OFFSETS_MAX {
            return None;
        }
        offsets.extend(first..next);
    }
    Some(offsets)
}

/// No batch has more records than this; a longer list is not ours.
const RUN_OFFSETS_MAX: i64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let intending =
            Checkpoint::intending(OffsetRange::new(58, 1058).unwrap(), PlanFingerprint(0xdead_beef));
        let mut cut = intending.clone();
        cut.stored = vec![Stored { part: PartId(7), until: 400 }, Stored { part: PartId(9), until: 1058 }];
        let stored = Checkpoint { intent: None, ..cut.clone() };
        let filling = Rewind { id: u64::MAX, until: 5000, replay: Replay::Fill };
        let again = Rewind { id: 7, until: 1, replay: Replay::Again };
        let filling = stored.clone().rewound(Some(filling));
        assert_eq!(
            filling.metadata(),
            "v1;fill=18446744073709551615:5000;in=0000000000000007:342,0000000000000009:1000"
        );
        let rewound = Checkpoint::settled(0).rewound(Some(again));
        assert_eq!((rewound.metadata(), rewound.rewind), ("v1;again=7:1".to_owned(), Some(again)));
        assert_eq!(Checkpoint::settled(1).rewound(Some(again)), Checkpoint::settled(1), "it is over");
        if let Some(intent) = &mut cut.intent {
            intent.root = 2000;
            intent.mark = Some(-1);
            intent.refused = vec![58, 60, 61, 62, 1057];
        }
        assert_eq!(
            cut.metadata(),
            "v1;end=1058;plan=00000000deadbeef;at=-1;of=2000;out=0,1+3,994;in=0000000000000007:342,0000000000000009:1000"
        );
        let mut joint = intending.clone();
        if let Some(intent) = &mut joint.intent {
            intent.mark = Some(3);
            intent.joint = Some(JointId(10));
        }
        assert_eq!(
            joint.metadata(),
            "v2;end=1058;plan=00000000deadbeef;at=3;joint=0000000000000000000000000000000a"
        );
        for checkpoint in [
            joint,
            Checkpoint::settled(0),
            Checkpoint::settled(i64::MAX),
            intending.clone().rewound(Some(again)),
            intending,
            cut,
            stored,
            filling,
            rewound,
        ] {
            let named = checkpoint.metadata_in(Some(&topic()));
            assert!(Checkpoint::METADATA_BYTES_MAX + named.len() - checkpoint.metadata().len() <= 4096);
            let read = Checkpoint::parse_in(checkpoint.offset, &named);
            assert_eq!(read, Ok((checkpoint.clone(), Some(topic()))), "{named}");
            let read = Checkpoint::parse_in(checkpoint.offset, &checkpoint.metadata_in(None));
            assert_eq!(read, Ok((checkpoint, None)));
        }
    }

    fn topic() -> TopicId {
        TopicId::parse("q-1_AAAAAAAAAAAAAAAAAA").unwrap()
    }

    #[test]
    fn a_version_that_knows_no_topic_ids_goes_on_only_where_nothing_else_is_said() {
        assert_eq!(Checkpoint::settled(5).metadata_in(Some(&topic())), "v1;topic=q-1_AAAAAAAAAAAAAAAAAA");
        let intending = Checkpoint::intending(OffsetRange::new(5, 9).unwrap(), PlanFingerprint(1));
        assert_eq!(
            intending.metadata_in(Some(&topic())),
            "v3;end=9;plan=0000000000000001;topic=q-1_AAAAAAAAAAAAAAAAAA"
        );
    }

    #[test]
    fn a_topic_id_is_the_same_in_both_alphabets_and_never_the_one_for_none() {
        assert_eq!(TopicId::parse("q+1/AAAAAAAAAAAAAAAAAA"), Some(topic()));
        for text in ["", "AAAAAAAAAAAAAAAAAAAAAA", "q-1_AAAAAAAAAAAAAAAAA", "q-1_AAAAAAAAAAAAAAAAA;"] {
            assert_eq!(TopicId::parse(text), None, "{text}");
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
            "v1;end=9;plan=0000000000000000;of=9",
            "v1;end=9;plan=0000000000000000;out=0+9223372036854775807",
            "v1;end=9;plan=0000000000000000;out=4",
            "v1;end=9;plan=0000000000000000;at=",
            "v1;at=1",
            "v1;in=",
            "v1;fill=1",
            "v1;fill=1:x",
            "v1;fill=1:9;again=1:9",
            "v1;in=0000000000000001:0",
            "v2",
            "v3",
            "v1;topic=",
            "v1;topic=AAAAAAAAAAAAAAAAAAAAAA",
            "v2;topic=q-1_AAAAAAAAAAAAAAAAAA",
            "v3;topic=q-1_AAAAAAAAAAAAAAAAAA",
            "v3;end=9;plan=0000000000000000",
            "v1;end=9;plan=0000000000000000;topic=q-1_AAAAAAAAAAAAAAAAAA",
            "v2;end=9;plan=0000000000000000",
            "v2;end=9;plan=0000000000000000;joint=1",
            "v1;end=9;plan=0000000000000000;joint=0000000000000000000000000000000a",
        ] {
            assert!(matches!(Checkpoint::parse(5, text), Err(CheckpointError::Foreign { .. })), "{text}");
        }
        for text in ["v4;end=9", "v4;topic=7"] {
            assert!(matches!(Checkpoint::parse(5, text), Err(CheckpointError::Newer { .. })), "{text}");
        }
        let backwards = Checkpoint::parse(9, "v1;end=9;plan=0000000000000000");
        assert_eq!(backwards, Err(CheckpointError::Backwards { offset: 9, end: 9 }));
    }

    #[test]
    fn a_joint_batch_is_told_from_others_by_each_of_its_members() {
        let names = [("t", 0, 1), ("t", 1, 1), ("t", 0, 2)];
        let id = |members: &[usize]| {
            let sources: Vec<_> =
                members.iter().map(|at| TopicPartition::new(names[*at].0, names[*at].1)).collect();
            let ranges = members.iter().map(|at| OffsetRange::new(0, names[*at].2).unwrap());
            JointId::of(sources.iter().zip(ranges).map(|(source, range)| (source, range, Some(1))))
        };
        assert_eq!(id(&[0, 1]), id(&[0, 1]));
        assert!(id(&[0, 1]) != id(&[0]) && id(&[0, 1]) != id(&[2, 1]), "each member counts");
    }
}
