//! The sparse index of one segment: where batches stand and how new they are; kept in a file beside it.
//!
//! Invariant: it describes exactly the first `size_bytes` of the segment's file, which are whole batches.

use super::batch::Header;

/// How far apart entries are. A look-up walks at most this many bytes, and one batch; at 24 bytes an
/// entry the index is less than a thousandth of the log.
pub(super) const INTERVAL_BYTES: u64 = 32 << 10;

const MAGIC: [u8; 8] = *b"tgindex1";
/// Magic, size, end, newest timestamp, beginning, number of entries: eight bytes each.
const HEAD_BYTES: usize = 6 * 8;
const ENTRY_BYTES: usize = 3 * 8;
const CHECKSUM_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    base: i64,
    position: u64,
    /// Of the batches from here to the next entry.
    max_timestamp: i64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// The bytes that it covers.
    pub(super) size_bytes: u64,
    /// The offset after what it covers: where the next segment begins, once there is one.
    pub(super) end: i64,
    pub(super) max_timestamp: i64,
    /// When the first batch was appended, by the broker's clock, in milliseconds.
    pub(super) begun_ms: i64,
}

impl Index {
    pub(super) fn new(base: i64, now_ms: i64) -> Self {
        Self { entries: Vec::new(), size_bytes: 0, end: base, max_timestamp: -1, begun_ms: now_ms }
    }

    /// Of a segment whose records, up to `end`, are lost: reading any of them meets the file's end.
    pub(super) fn lost(base: i64, end: i64, now_ms: i64) -> Self {
        let entries = vec![Entry { base, position: 0, max_timestamp: now_ms }];
        Self { entries, size_bytes: 1, end, max_timestamp: now_ms, begun_ms: now_ms }
    }

    /// A batch was appended.
    pub(super) fn note(&mut self, header: &Header) {
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        match self.entries.last_mut() {
            Some(last) if self.size_bytes < last.position + INTERVAL_BYTES => {
                last.max_timestamp = last.max_timestamp.max(header.max_timestamp);
            }
            _ => self.entries.push(Entry {
                base: header.base,
                position: self.size_bytes,
                max_timestamp: header.max_timestamp,
            }),
        }
        self.size_bytes += header.size_bytes as u64;
        self.end = header.last().saturating_add(1);
    }

    /// Forgets at least what is at or after `offset`.
    pub(super) fn cut(&mut self, offset: i64) {
        if offset >= self.end {
            return;
        }
        let at = self.entries.partition_point(|entry| entry.base <= offset).saturating_sub(1);
        if let Some(entry) = self.entries.get(at).copied() {
            self.entries.truncate(at);
            self.size_bytes = entry.position;
            self.end = entry.base;
        }
    }

    /// Where to begin to look for the batch that holds `offset`.
    pub(super) fn position_of(&self, offset: i64) -> Option<u64> {
        let at = self.entries.partition_point(|entry| entry.base <= offset).saturating_sub(1);
        self.entries.get(at).map(|entry| entry.position)
    }

    /// Where batches begin before `position`, the last one first.
    pub(super) fn positions_before(&self, position: u64) -> impl Iterator<Item = u64> + '_ {
        let upto = self.entries.partition_point(|entry| entry.position < position);
        self.entries[..upto].iter().rev().map(|entry| entry.position)
    }

    /// Where to look for records at or after `timestamp`: from each first position up to the second.
    pub(super) fn positions_since(&self, timestamp: i64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let ends = self.entries.iter().skip(1).map(|entry| entry.position).chain([self.size_bytes]);
        self.entries
            .iter()
            .zip(ends)
            .filter(move |(entry, _)| entry.max_timestamp >= timestamp)
            .map(|(entry, end)| (entry.position, end))
    }

    /// As the file has it: big-endian numbers, and a CRC32C of them at the end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let size_bytes = HEAD_BYTES + self.entries.len() * ENTRY_BYTES + CHECKSUM_BYTES;
        let mut bytes = Vec::with_capacity(size_bytes);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.size_bytes.to_be_bytes());
        for number in [self.end, self.max_timestamp, self.begun_ms, self.entries.len() as i64] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.base.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
            bytes.extend_from_slice(&entry.max_timestamp.to_be_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// `None` if the bytes are not what [`Self::encode`] gave.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) || !content.starts_with(&MAGIC) {
            return None;
        }
        let (head, entries) = content.split_at_checked(HEAD_BYTES)?;
        let mut numbers = head.as_chunks::<8>().0.iter().skip(1).map(|number| i64::from_be_bytes(*number));
        let size_bytes = numbers.next()? as u64;
        let (end, max_timestamp, begun_ms) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if usize::try_from(numbers.next()?).ok()?.checked_mul(ENTRY_BYTES)? != entries.len() {
            return None;
        }
        let entries = entries.as_chunks::<8>().0.as_chunks::<3>().0.iter().map(|entry| Entry {
            base: i64::from_be_bytes(entry[0]),
            position: u64::from_be_bytes(entry[1]),
            max_timestamp: i64::from_be_bytes(entry[2]),
        });
        Some(Self { entries: entries.collect(), size_bytes, end, max_timestamp, begun_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::tests::produced;

    fn index(n_batches: i64) -> Index {
        let value = vec![7; 10_000];
        let mut index = Index::new(0, 77);
        for base in 0..n_batches {
            let mut batch = produced(&[(None, Some(&value))], 100 + base);
            batch[..8].copy_from_slice(&base.to_be_bytes());
            index.note(&Header::parse(&batch).unwrap());
        }
        index
    }

    #[test]
    fn an_index_comes_back_from_its_bytes() {
        for n_batches in [0, 1, 20] {
            assert_eq!(Index::decode(&index(n_batches).encode()), Some(index(n_batches)));
        }
    }

    #[test]
    fn a_damaged_index_is_no_index() {
        let bytes = index(20).encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Index::decode(&damaged), None, "a bit flipped at {at}");
            assert_eq!(Index::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn what_is_cut_is_noted_again() {
        let whole = index(20);
        let mut cut = whole.clone();
        cut.cut(13);
        assert!(cut.end <= 13 && cut.size_bytes < whole.size_bytes && cut.position_of(13).is_some());
        let mut untouched = whole.clone();
        untouched.cut(20);
        assert_eq!(untouched, whole);
    }
}
