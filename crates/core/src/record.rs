//! Kafka records as they came, kept in one arena a partition so that holding a record costs no
//! allocation of its own.

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
        let name = std::str::from_utf8(&self.arena[entry.name.clone()])
            .expect("header names enter the arena as `&str`");
        Some(Header { name, value: entry.value.as_ref().map(|value| &self.arena[value.clone()]) })
    }
}

#[derive(Debug, Clone)]
struct HeaderEntry {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

#[derive(Debug, Clone)]
struct Entry {
    offset: i64,
    timestamp: Option<Timestamp>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// Consecutive records of one partition, in offset order, in one arena.
#[derive(Debug, Clone)]
pub struct Records {
    source: TopicPartition,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

impl Records {
    /// An empty run of records of `source`.
    #[must_use]
    pub fn new(source: TopicPartition) -> Self {
        Self { source, arena: Vec::new(), entries: Vec::new(), headers: Vec::new() }
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
        assert!(
            self.entries.last().is_none_or(|last| last.offset < offset),
            "offsets grow within a partition"
        );
        let headers_first = self.headers.len();
        for header in headers {
            let name = self.copy_in(header.name.as_bytes());
            let value = header.value.map(|value| self.copy_in(value));
            self.headers.push(HeaderEntry { name, value });
        }
        let key = key.map(|key| self.copy_in(key));
        let value = value.map(|value| self.copy_in(value));
        let headers = headers_first..self.headers.len();
        self.entries.push(Entry { offset, timestamp, key, value, headers });
    }

    fn copy_in(&mut self, bytes: &[u8]) -> Range<usize> {
        let first = self.arena.len();
        self.arena.extend_from_slice(bytes);
        first..self.arena.len()
    }

    /// Copies every record of `later` behind the ones already here.
    ///
    /// # Panics
    /// If `later` is of another partition or starts before the last record here.
    pub fn append(&mut self, later: &Self) {
        assert_eq!(self.source, later.source, "records of one partition stay together");
        let (last, next) = (self.entries.last(), later.entries.first());
        assert!(
            last.zip(next).is_none_or(|(last, next)| last.offset < next.offset),
            "offsets grow within a partition"
        );
        let (bytes, headers) = (self.arena.len(), self.headers.len());
        let shift = |range: &Range<usize>| range.start + bytes..range.end + bytes;
        self.arena.extend_from_slice(&later.arena);
        self.headers.extend(later.headers.iter().map(|header| HeaderEntry {
            name: shift(&header.name),
            value: header.value.as_ref().map(shift),
        }));
        self.entries.extend(later.entries.iter().map(|entry| Entry {
            key: entry.key.as_ref().map(shift),
            value: entry.value.as_ref().map(shift),
            headers: entry.headers.start + headers..entry.headers.end + headers,
            ..*entry
        }));
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the records occupy, in bytes: the arena and the index.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.arena.len()
            + self.entries.len() * size_of::<Entry>()
            + self.headers.len() * size_of::<HeaderEntry>()
    }

    /// From the first record's offset to one past the last one's; `None` if there are no records.
    /// Offsets in between may be absent (compaction, transaction markers).
    #[must_use]
    pub fn range(&self) -> Option<OffsetRange> {
        let (first, last) = (self.entries.first()?, self.entries.last()?);
        OffsetRange::new(first.offset, last.offset + 1)
    }

    /// The record at `index`, counted from 0 in offset order.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.entries.get(index).map(|entry| self.view(entry))
    }

    /// The records in offset order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    fn view(&self, entry: &Entry) -> Record<'_> {
        Record {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.as_ref().map(|key| &self.arena[key.clone()]),
            value: entry.value.as_ref().map(|value| &self.arena[value.clone()]),
            headers: &self.headers[entry.headers.clone()],
            arena: &self.arena,
        }
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

    #[test]
    fn appended_records_are_as_they_were() {
        let source = TopicPartition::new("t", 0);
        let (mut whole, mut first, mut second) =
            (Records::new(source.clone()), Records::new(source.clone()), Records::new(source));
        for offset in 0..6 {
            let value = format!("value {offset}");
            let header = Header { name: "h", value: Some(value.as_bytes()) };
            let half = if offset < 3 { &mut first } else { &mut second };
            for records in [&mut whole, half] {
                records.push(offset, None, Some(b"k"), Some(value.as_bytes()), [header]);
            }
        }
        first.append(&second);
        let all = |records: &Records| -> Vec<_> {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            records
                .iter()
                .map(|r| (r.offset, text(r.value.unwrap()), text(r.header("h").unwrap().unwrap())))
                .collect()
        };
        assert_eq!(all(&first), all(&whole));
    }
}
