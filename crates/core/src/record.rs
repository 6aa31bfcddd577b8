//! Kafka records as they came, kept in arenas so that holding a record costs no allocation of its own.

use std::ops::Range;

use crate::range::{OffsetRange, TopicPartition};

/// What a record's timestamp means (Kafka's `message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampKind {
    /// Set by the producer.
    CreateTime,
    /// Set by the broker when it appended the record.
    LogAppendTime,
}

/// A record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub millis: i64,
    /// Who set it.
    pub kind: TimestampKind,
}

/// One header: a name, and a value that may be null. Names may repeat within a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header's name.
    pub name: &'a str,
    /// The header's value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

/// One Kafka message, untouched, borrowed from its [`Records`].
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The offset in its partition.
    pub offset: i64,
    /// The timestamp, if the log holds one.
    pub timestamp: Option<Timestamp>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is Kafka's null (a tombstone).
    pub value: Option<&'a [u8]>,
    headers: &'a [HeaderEntry],
    arena: &'a [u8],
}

impl<'a> Record<'a> {
    /// The headers, in the order in which the producer wrote them.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { entries: self.headers.iter(), arena: self.arena }
    }

    /// What the record occupies among [`Records`], in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let spans = [self.key, self.value].into_iter().flatten().map(<[u8]>::len);
        let headers = self.headers().map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len));
        let index = size_of::<Entry>() + size_of_val(self.headers);
        spans.chain(headers).sum::<usize>() + index
    }

    /// The last header of that name, as Kafka's own `lastHeader` picks it. The outer `None` says
    /// that there is none, the inner one that its value is null.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.headers().filter(|header| header.name == name).last().map(|header| header.value)
    }
}

/// Iterator over one record's headers.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    entries: std::slice::Iter<'a, HeaderEntry>,
    arena: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let entry = self.entries.next()?;
        let name =
            std::str::from_utf8(entry.name.of(self.arena)).expect("header names enter the arena as `&str`");
        Some(Header { name, value: entry.value.map(|value| value.of(self.arena)) })
    }
}

/// A piece of a chunk's arena.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..self.end as usize]
    }

    const fn back_by(self, bytes: u32) -> Self {
        Self { start: self.start - bytes, end: self.end - bytes }
    }
}

#[derive(Debug, Clone, Copy)]
struct HeaderEntry {
    name: Span,
    value: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    timestamp: Option<Timestamp>,
    key: Option<Span>,
    value: Option<Span>,
    /// Where the record's bytes begin in the arena: headers, key, value.
    start: u32,
    headers_first: u32,
    headers_end: u32,
}

impl Entry {
    fn headers(&self) -> Range<usize> {
        self.headers_first as usize..self.headers_end as usize
    }
}

/// Records whose bytes lie in one arena, one after the other.
#[derive(Debug, Clone, Default)]
struct Chunk {
    /// The index of the first entry among all records.
    first: usize,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

/// An arena that would grow beyond this is left for a new one, so that places in it are 32 bits. One
/// record of Kafka has less than 2 GiB.
const ARENA_BYTES_MAX: usize = 1 << 30;

impl Chunk {
    fn copy_in(&mut self, bytes: &[u8]) -> Span {
        let start = self.at();
        self.arena.extend_from_slice(bytes);
        Span { start, end: self.at() }
    }

    fn at(&self) -> u32 {
        u32::try_from(self.arena.len()).expect("a record of Kafka is shorter than 2 GiB")
    }

    fn size_bytes(&self) -> usize {
        self.arena.len()
            + self.entries.len() * size_of::<Entry>()
            + self.headers.len() * size_of::<HeaderEntry>()
    }

    fn view(&self, entry: &Entry) -> Record<'_> {
        Record {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.map(|key| key.of(&self.arena)),
            value: entry.value.map(|value| value.of(&self.arena)),
            headers: &self.headers[entry.headers()],
            arena: &self.arena,
        }
    }

    /// Takes the entries from `at` on out, with their bytes.
    fn split_off(&mut self, at: usize) -> Self {
        let Some(cut) = self.entries.get(at).copied() else { return Self::default() };
        let mut entries = self.entries.split_off(at);
        let mut headers = self.headers.split_off(cut.headers_first as usize);
        for header in &mut headers {
            header.name = header.name.back_by(cut.start);
            header.value = header.value.map(|value| value.back_by(cut.start));
        }
        for entry in &mut entries {
            entry.key = entry.key.map(|key| key.back_by(cut.start));
            entry.value = entry.value.map(|value| value.back_by(cut.start));
            entry.start -= cut.start;
            entry.headers_first -= cut.headers_first;
            entry.headers_end -= cut.headers_first;
        }
        Self { first: 0, arena: self.arena.split_off(cut.start as usize), entries, headers }
    }
}

/// Consecutive records of one partition, in offset order. Joining runs of records moves them, and
/// copies none.
#[derive(Debug, Clone)]
pub struct Records {
    source: TopicPartition,
    /// None of them is empty.
    chunks: Vec<Chunk>,
    /// Bytes and records that a new arena is made for.
    room: (usize, usize),
}

impl Records {
    /// An empty run of records of `source`.
    #[must_use]
    pub const fn new(source: TopicPartition) -> Self {
        Self { source, chunks: Vec::new(), room: (0, 0) }
    }

    /// An empty run of records of the same source. Its first record makes room for as many as are here in
    /// the last arena.
    #[must_use]
    pub fn another(&self) -> Self {
        let room = self.chunks.last().map_or(self.room, |last| (last.arena.len(), last.entries.len()));
        Self { source: self.source.clone(), chunks: Vec::new(), room }
    }

    /// Where the records come from.
    #[must_use]
    pub fn source(&self) -> &TopicPartition {
        &self.source
    }

    /// Copies one record in. Offsets must grow from call to call; a record that does not is a bug of
    /// the caller.
    ///
    /// # Panics
    /// If `offset` is not greater than the last one pushed.
    #[expect(
        clippy::too_many_arguments,
        reason = "a record's parts; a struct of them would be `Record`, which borrows from here"
    )]
    pub fn push<'h>(
        &mut self,
        offset: i64,
        timestamp: Option<Timestamp>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        assert!(self.last_offset().is_none_or(|last| last < offset), "offsets grow within a partition");
        let chunk = self.open_chunk();
        let (start, headers_first) = (chunk.at(), chunk.headers.len() as u32);
        for header in headers {
            let name = chunk.copy_in(header.name.as_bytes());
            let value = header.value.map(|value| chunk.copy_in(value));
            chunk.headers.push(HeaderEntry { name, value });
        }
        let key = key.map(|key| chunk.copy_in(key));
        let value = value.map(|value| chunk.copy_in(value));
        let headers_end = chunk.headers.len() as u32;
        chunk.entries.push(Entry { offset, timestamp, key, value, start, headers_first, headers_end });
    }

    /// The chunk that the next record goes into.
    fn open_chunk(&mut self) -> &mut Chunk {
        let first = self.len();
        if self.chunks.last().is_none_or(|chunk| chunk.arena.len() > ARENA_BYTES_MAX) {
            let (bytes, records) = self.room;
            let (arena, entries) = (Vec::with_capacity(bytes), Vec::with_capacity(records));
            self.chunks.push(Chunk { first, arena, entries, headers: Vec::new() });
        }
        self.chunks.last_mut().expect("a chunk was pushed if there was none")
    }

    fn last_offset(&self) -> Option<i64> {
        self.chunks.last()?.entries.last().map(|entry| entry.offset)
    }

    /// Moves every record of `later` behind the ones already here.
    ///
    /// # Panics
    /// If `later` is of another partition or starts before the last record here.
    pub fn append(&mut self, later: Self) {
        assert_eq!(self.source, later.source, "records of one partition stay together");
        let next = later.get(0).map(|record| record.offset);
        assert!(
            self.last_offset().zip(next).is_none_or(|(last, next)| last < next),
            "offsets grow within a partition"
        );
        for chunk in later.chunks {
            let first = self.len();
            self.chunks.push(Chunk { first, ..chunk });
        }
    }

    /// Leaves the first `at` records here and gives the rest. Copies at most the rest of one arena.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::new(self.source.clone());
        let whole = self.chunks.partition_point(|chunk| chunk.first + chunk.entries.len() <= at);
        let mut behind = self.chunks.split_off(whole).into_iter();
        if let Some(mut cut) = behind.next() {
            let tail = cut.split_off(at - cut.first);
            if !cut.entries.is_empty() {
                self.chunks.push(cut);
            }
            rest.chunks.push(tail);
        }
        for chunk in behind {
            let first = rest.len();
            rest.chunks.push(Chunk { first, ..chunk });
        }
        rest
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |chunk| chunk.first + chunk.entries.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What the records occupy, in bytes: arenas and index.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::size_bytes).sum()
    }

    /// From the first record's offset to one past the last one's; `None` if there are no records.
    /// Offsets in between may be absent (compaction, transaction markers).
    #[must_use]
    pub fn range(&self) -> Option<OffsetRange> {
        OffsetRange::new(self.get(0)?.offset, self.last_offset()? + 1)
    }

    /// The record at `index`, counted from 0 in offset order.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let after = self.chunks.partition_point(|chunk| chunk.first <= index);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        chunk.entries.get(index - chunk.first).map(|entry| chunk.view(entry))
    }

    /// The records in offset order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter().map(|entry| chunk.view(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_with_nulls_and_repeated_headers() {
        let mut records = Records::new(TopicPartition::new("t", 3));
        let headers = [
            Header { name: "a", value: Some(b"1") },
            Header { name: "b", value: None },
            Header { name: "a", value: Some(b"2") },
        ];
        records.push(7, None, None, Some(b"v"), headers);
        records.push(9, None, Some(b""), None, []);
        let first = records.get(0).unwrap();
        assert_eq!((first.offset, first.key, first.value), (7, None, Some(&b"v"[..])));
        assert_eq!(first.headers().collect::<Vec<_>>(), headers);
        assert_eq!(first.header("a"), Some(Some(&b"2"[..])));
        assert_eq!(first.header("b"), Some(None));
        assert_eq!(first.header("c"), None);
        let second = records.get(1).unwrap();
        assert_eq!((second.key, second.value), (Some(&b""[..]), None));
        assert_eq!(records.range(), OffsetRange::new(7, 10));
    }

    /// Offset, value and header of each record.
    fn all(records: &Records) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let header = |record: &Record<'_>| record.header("h").map(|value| text(value.unwrap()));
        records.iter().map(|record| (record.offset, text(record.value.unwrap()), header(&record))).collect()
    }

    fn numbered(offsets: Range<i64>) -> Records {
        let mut records = Records::new(TopicPartition::new("t", 0));
        for offset in offsets {
            let value = format!("value {offset}");
            let header = Header { name: "h", value: Some(value.as_bytes()) };
            let headers = (offset % 2 == 0).then_some(header);
            records.push(offset, None, Some(b"k"), Some(value.as_bytes()), headers);
        }
        records
    }

    #[test]
    fn runs_cut_anywhere_and_joined_again_are_as_they_were() {
        let whole = numbered(0..9);
        for first in 0..=9 {
            for second in first..=9 {
                let mut front = whole.clone();
                let mut middle = front.split_off(first);
                let back = middle.split_off(second - first);
                assert_eq!((front.len(), middle.len(), back.len()), (first, second - first, 9 - second));
                assert_eq!(middle.is_empty(), first == second);
                assert_eq!(all(&middle), all(&whole)[first..second]);
                front.append(middle);
                front.append(back);
                assert_eq!(all(&front), all(&whole));
                let sizes = front.iter().map(|record| record.size_bytes());
                assert_eq!(front.size_bytes(), sizes.sum::<usize>());
                for index in 0..9 {
                    assert_eq!(front.get(index).unwrap().offset, index as i64);
                }
                assert!(front.get(9).is_none());
                // What is cut once more lies in several chunks.
                let rest = front.split_off(5);
                assert_eq!((all(&front), all(&rest)), (all(&numbered(0..5)), all(&numbered(5..9))));
            }
        }
    }

    #[test]
    #[should_panic(expected = "offsets grow within a partition")]
    fn records_that_come_late_are_a_bug_of_the_caller() {
        let mut records = numbered(3..5);
        records.append(numbered(4..6));
    }
}
