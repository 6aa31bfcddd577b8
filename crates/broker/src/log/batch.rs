//! One record batch (magic 2) as bytes: its header, its records as raw slices, transaction markers.
//!
//! `kafka_protocol`'s own record decoder folds repeated header names into one, so records are walked here
//! and never re-encoded.

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::codec;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
const PREFIX_BYTES: usize = 12;
/// Where the part begins that the checksum covers.
const CHECKED_FROM: usize = 21;

const CODEC_MASK: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// The base timestamp is not the first record's but the time from which on compaction may drop the
/// batch's tombstones, or the marker that it is (KIP-534).
const HORIZON: i16 = 0x40;

/// A batch's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: i64,
    /// Of the whole batch, header included.
    pub(crate) size_bytes: usize,
    pub(crate) magic: u8,
    checksum: u32,
    attributes: i16,
    pub(crate) last_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) n_records: i32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Header {
    /// The header of the batch that `bytes` begins with. `None` if it is cut, or its length or delta
    /// cannot be; whether the rest of the batch is there is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let length = i32::from_be_bytes(field(bytes, 8)?);
        let size_bytes = usize::try_from(length).ok()?.checked_add(PREFIX_BYTES)?;
        let header = Self {
            base: i64::from_be_bytes(field(bytes, 0)?),
            size_bytes,
            magic: *bytes.get(16)?,
            checksum: u32::from_be_bytes(field(bytes, 17)?),
            attributes: i16::from_be_bytes(field(bytes, 21)?),
            last_delta: i32::from_be_bytes(field(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)?),
            producer_id: i64::from_be_bytes(field(bytes, 43)?),
            epoch: i16::from_be_bytes(field(bytes, 51)?),
            sequence: i32::from_be_bytes(field(bytes, 53)?),
            n_records: i32::from_be_bytes(field(bytes, 57)?),
        };
        (size_bytes >= HEADER_BYTES && header.last_delta >= 0).then_some(header)
    }

    pub(crate) fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// When compaction may drop the batch's tombstones, or the marker that it is; in milliseconds.
    pub(crate) fn horizon(&self) -> Option<i64> {
        (self.attributes & HORIZON != 0).then_some(self.base_timestamp)
    }

    pub(crate) fn last(&self) -> i64 {
        self.base.saturating_add(i64::from(self.last_delta))
    }

    /// Whether `batch`, which is exactly this batch, has the checksum that it states.
    pub(crate) fn intact(&self, batch: &[u8]) -> bool {
        batch.len() == self.size_bytes && crc32c::crc32c(&batch[CHECKED_FROM..]) == self.checksum
    }
}

/// Exactly one batch of a produce request, found sound. What is in its records is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Produced {
    pub(crate) header: Header,
    bytes: Bytes,
}

impl Produced {
    /// # Errors
    /// What Kafka answers to bytes that are not one intact batch of at most `bytes_max` bytes.
    pub(crate) fn parse(bytes: Bytes, bytes_max: usize) -> Result<Self, ResponseError> {
        // Older formats have their magic at the same place.
        match bytes.get(16) {
            None => return Err(ResponseError::CorruptMessage),
            Some(0 | 1) => return Err(ResponseError::UnsupportedForMessageFormat),
            Some(_) => {}
        }
        let header = Header::parse(&bytes).ok_or(ResponseError::CorruptMessage)?;
        if header.magic != 2 {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        if header.size_bytes > bytes_max {
            return Err(ResponseError::MessageTooLarge);
        }
        if bytes.len() > header.size_bytes {
            return Err(ResponseError::InvalidRecord);
        }
        if !header.intact(&bytes) {
            return Err(ResponseError::CorruptMessage);
        }
        let counted = header.n_records >= 1 && header.last_delta == header.n_records - 1;
        let owned = header.producer_id >= 0 && header.epoch >= 0 && header.sequence >= 0;
        if !counted || header.control() || header.attributes & CODEC_MASK > 4 {
            return Err(ResponseError::InvalidRecord);
        }
        if !owned && (header.transactional() || header.producer_id >= 0) {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(Self { header, bytes })
    }

    /// Whether every record has a key, as a compacted topic demands. A batch that cannot be unpacked
    /// within `unpacked_bytes_max` is taken for one that has not.
    pub(crate) fn keyed(&self, unpacked_bytes_max: usize) -> bool {
        records(&self.bytes, unpacked_bytes_max)
            .is_ok_and(|records| records.iter().all(|record| record.key.is_some()))
    }

    /// Whether every record's timestamp is within bounds. As [`Self::keyed`] where it cannot be unpacked.
    pub(crate) fn stamped(&self, unpacked_bytes_max: usize, admit: impl Fn(i64) -> bool) -> bool {
        let base = self.header.base_timestamp;
        records(&self.bytes, unpacked_bytes_max).is_ok_and(|records| {
            records.iter().all(|record| admit(base.saturating_add(record.timestamp_delta)))
        })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes to store at `base`. Neither the base offset nor the leader epoch is under the checksum.
    pub(crate) fn stored_at(&self, base: i64) -> Vec<u8> {
        let mut stored = self.bytes.to_vec();
        stored[0..8].copy_from_slice(&base.to_be_bytes());
        stored[12..16].copy_from_slice(&0_i32.to_be_bytes());
        stored
    }

    /// As [`Self::stored_at`], with the broker's time in place of the producer's.
    pub(crate) fn stored_with_time(&self, base: i64, now_ms: i64) -> Vec<u8> {
        let mut stored = self.stored_at(base);
        stored[21..23].copy_from_slice(&(self.header.attributes | APPEND_TIME).to_be_bytes());
        stored[35..43].copy_from_slice(&now_ms.to_be_bytes());
        seal(&mut stored);
        stored
    }
}

/// Writes the length and the checksum that the rest of the batch has.
fn seal(batch: &mut [u8]) {
    let length = (batch.len() - PREFIX_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Commit,
    Abort,
}

/// The control batch that ends a producer's transaction in one partition.
pub(crate) fn marker(producer_id: i64, epoch: i16, outcome: Outcome, base: i64, now_ms: i64) -> Vec<u8> {
    let kind: u8 = match outcome {
        Outcome::Abort => 0,
        Outcome::Commit => 1,
    };
    // length, attributes, timestamp and offset delta, key length (4), version and kind, value length (6),
    // version and coordinator epoch, no headers; lengths are zigzag varints.
    let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0];
    let mut batch = vec![0_u8; HEADER_BYTES];
    batch[0..8].copy_from_slice(&base.to_be_bytes());
    batch[16] = 2;
    batch[21..23].copy_from_slice(&(TRANSACTIONAL | CONTROL).to_be_bytes());
    batch[27..35].copy_from_slice(&now_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&(-1_i32).to_be_bytes());
    batch[57..61].copy_from_slice(&1_i32.to_be_bytes());
    batch.extend_from_slice(&record);
    seal(&mut batch);
    batch
}

/// How the transaction ended that this control batch is the marker of.
pub(crate) fn marker_outcome(batch: &[u8]) -> Option<Outcome> {
    let mut walk = Walk { bytes: batch.get(HEADER_BYTES..)?, at: 0 };
    walk.varint()?;
    walk.at += 1;
    walk.varint()?;
    walk.varint()?;
    if walk.varint()? < 4 {
        return None;
    }
    match i16::from_be_bytes(field(walk.bytes, walk.at + 2)?) {
        0 => Some(Outcome::Abort),
        1 => Some(Outcome::Commit),
        _ => None,
    }
}

/// One record, untouched.
#[derive(Debug, Clone)]
pub(crate) struct RawRecord {
    pub(crate) offset_delta: i64,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) tombstone: bool,
    attributes: u8,
    /// Everything after the timestamp.
    rest: Bytes,
}

/// A batch whose records cannot be walked.
#[derive(Debug, thiserror::Error)]
#[error("a batch whose records cannot be read")]
pub(crate) struct Unreadable;

/// The records of one whole batch.
pub(crate) fn records(batch: &Bytes, unpacked_bytes_max: usize) -> Result<Vec<RawRecord>, Unreadable> {
    let header = Header::parse(batch).ok_or(Unreadable)?;
    if batch.len() < header.size_bytes {
        return Err(Unreadable);
    }
    let packed = batch.slice(HEADER_BYTES..header.size_bytes);
    let unpacked =
        codec::unpack(header.attributes & CODEC_MASK, packed, unpacked_bytes_max).map_err(|_| Unreadable)?;
    let mut walk = Walk { bytes: &unpacked, at: 0 };
    let mut records = Vec::new();
    for _ in 0..header.n_records.max(0) {
        records.push(record(&mut walk, &unpacked).ok_or(Unreadable)?);
    }
    Ok(records)
}

fn record(walk: &mut Walk<'_>, unpacked: &Bytes) -> Option<RawRecord> {
    let length = usize::try_from(walk.varint()?).ok()?;
    let end = walk.at.checked_add(length).filter(|end| *end <= unpacked.len())?;
    let attributes = *unpacked.get(walk.at)?;
    walk.at += 1;
    let timestamp_delta = walk.varint()?;
    let rest_from = walk.at;
    let offset_delta = walk.varint()?;
    let key = match usize::try_from(walk.varint()?) {
        Err(_) => None,
        Ok(length) => {
            let key_end = walk.at.checked_add(length).filter(|key_end| *key_end <= end)?;
            let key = unpacked.slice(walk.at..key_end);
            walk.at = key_end;
            Some(key)
        }
    };
    let tombstone = walk.varint()? < 0;
    walk.at = end;
    let rest = if rest_from <= end { unpacked.slice(rest_from..end) } else { return None };
    Some(RawRecord { offset_delta, timestamp_delta, key, tombstone, attributes, rest })
}

/// The batch with only these of its records, uncompressed, and with this horizon if it has none. Offsets,
/// timestamps and the last delta stay as they are.
pub(crate) fn with_records(
    batch: &[u8],
    header: &Header,
    kept: &[&RawRecord],
    horizon: Option<i64>,
) -> Vec<u8> {
    let mut rewritten = batch[..HEADER_BYTES].to_vec();
    let mut attributes = header.attributes & !CODEC_MASK;
    let mut base_timestamp = header.base_timestamp;
    if let (None, Some(horizon)) = (header.horizon(), horizon) {
        attributes |= HORIZON;
        base_timestamp = horizon;
    }
    let shift = header.base_timestamp.saturating_sub(base_timestamp);
    for record in kept {
        let mut begin = vec![record.attributes];
        put_varint(&mut begin, record.timestamp_delta.saturating_add(shift));
        put_varint(&mut rewritten, (begin.len() + record.rest.len()) as i64);
        rewritten.extend_from_slice(&begin);
        rewritten.extend_from_slice(&record.rest);
    }
    rewritten[21..23].copy_from_slice(&attributes.to_be_bytes());
    rewritten[27..35].copy_from_slice(&base_timestamp.to_be_bytes());
    rewritten[57..61].copy_from_slice(&(kept.len() as i32).to_be_bytes());
    seal(&mut rewritten);
    rewritten
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record as a test writes it: key and value.
    pub(crate) type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    /// What a producer would send: records of (key, value), all at `timestamp`.
    pub(crate) fn produced(records: &[Pair<'_>], timestamp: i64) -> Vec<u8> {
        let mut batch = vec![0_u8; HEADER_BYTES];
        batch[16] = 2;
        batch[23..27].copy_from_slice(&(records.len() as i32 - 1).to_be_bytes());
        batch[27..35].copy_from_slice(&timestamp.to_be_bytes());
        batch[35..43].copy_from_slice(&timestamp.to_be_bytes());
        batch[43..51].copy_from_slice(&(-1_i64).to_be_bytes());
        batch[51..53].copy_from_slice(&(-1_i16).to_be_bytes());
        batch[53..57].copy_from_slice(&(-1_i32).to_be_bytes());
        batch[57..61].copy_from_slice(&(records.len() as i32).to_be_bytes());
        for (index, (key, value)) in records.iter().enumerate() {
            let mut record = vec![0, 0];
            put_varint(&mut record, index as i64);
            for field in [key, value] {
                put_varint(&mut record, field.map_or(-1, |field| field.len() as i64));
                record.extend_from_slice(field.unwrap_or_default());
            }
            record.push(0);
            put_varint(&mut batch, record.len() as i64);
            batch.extend_from_slice(&record);
        }
        seal(&mut batch);
        batch
    }

    /// The same batch as sent by an idempotent or transactional producer.
    pub(crate) fn owned(mut batch: Vec<u8>, producer: (i64, i16), sequence: i32, open: bool) -> Vec<u8> {
        if open {
            batch[21..23].copy_from_slice(&TRANSACTIONAL.to_be_bytes());
        }
        batch[43..51].copy_from_slice(&producer.0.to_be_bytes());
        batch[51..53].copy_from_slice(&producer.1.to_be_bytes());
        batch[53..57].copy_from_slice(&sequence.to_be_bytes());
        seal(&mut batch);
        batch
    }

    #[test]
    fn a_marker_is_an_intact_batch_that_tells_its_outcome() {
        for outcome in [Outcome::Commit, Outcome::Abort] {
            let batch = marker(7, 3, outcome, 42, 1_000);
            let header = Header::parse(&batch).unwrap();
            assert!(header.intact(&batch) && header.control() && header.transactional());
            assert_eq!((header.base, header.producer_id, header.epoch), (42, 7, 3));
            assert_eq!(marker_outcome(&batch), Some(outcome));
            assert_eq!(records(&batch.into(), 1_000).unwrap().len(), 1);
        }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let batch = Bytes::from(produced(&[(Some(b"k"), Some(b"v")), (None, None)], 5));
        let records = records(&batch, 1_000).unwrap();
        assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
        assert!(!records[0].tombstone && records[1].tombstone && records[1].key.is_none());
        assert_eq!(records[1].offset_delta, 1);
    }

    #[test]
    fn a_batch_without_some_records_is_intact_and_keeps_its_offsets() {
        let batch = Bytes::from(produced(&[(Some(b"a"), Some(b"1")), (Some(b"b"), Some(b"2"))], 5));
        let header = Header::parse(&batch).unwrap();
        let all = records(&batch, 1_000).unwrap();
        let thinned = with_records(&batch, &header, &[&all[1]], None);
        let thinned_header = Header::parse(&thinned).unwrap();
        assert!(thinned_header.intact(&thinned));
        assert_eq!((thinned_header.last(), thinned_header.n_records), (1, 1));
        assert_eq!(records(&thinned.into(), 1_000).unwrap()[0].offset_delta, 1);
    }

    #[test]
    fn a_horizon_is_set_once_and_moves_no_timestamp() {
        let batch = Bytes::from(produced(&[(Some(b"a"), None), (Some(b"b"), None)], 5));
        let header = Header::parse(&batch).unwrap();
        let stamps = |batch: &Bytes| -> Vec<i64> {
            let base = Header::parse(batch).unwrap().base_timestamp;
            records(batch, 1_000).unwrap().iter().map(|record| base + record.timestamp_delta).collect()
        };
        let all = records(&batch, 1_000).unwrap();
        let all: Vec<&RawRecord> = all.iter().collect();
        let marked = Bytes::from(with_records(&batch, &header, &all, Some(900)));
        let marked_header = Header::parse(&marked).unwrap();
        assert!(marked_header.intact(&marked));
        assert_eq!((header.horizon(), marked_header.horizon()), (None, Some(900)));
        assert_eq!(stamps(&marked), [5, 5]);
        let all = records(&marked, 1_000).unwrap();
        let again = Bytes::from(with_records(&marked, &marked_header, &[&all[0]], Some(1_000)));
        assert_eq!(Header::parse(&again).unwrap().horizon(), Some(900));
        assert_eq!(stamps(&again), [5]);
    }

    #[track_caller]
    fn refused(mutate: impl FnOnce(&mut Vec<u8>), expected: ResponseError) {
        let mut batch = produced(&[(None, Some(b"v"))], 5);
        mutate(&mut batch);
        assert_eq!(Produced::parse(batch.into(), 1_000).unwrap_err(), expected);
    }

    #[test]
    fn what_is_not_one_intact_batch_is_refused() {
        refused(|batch| batch.truncate(68), ResponseError::CorruptMessage);
        refused(|batch| batch.truncate(3), ResponseError::CorruptMessage);
        refused(|batch| batch[16] = 1, ResponseError::UnsupportedForMessageFormat);
        refused(|batch| batch[62] ^= 1, ResponseError::CorruptMessage);
        refused(|batch| batch.extend_from_within(..), ResponseError::InvalidRecord);
        refused(
            |batch| {
                batch[60] = 9;
                seal(batch);
            },
            ResponseError::InvalidRecord,
        );
        refused(
            |batch| {
                batch[22] |= CONTROL as u8;
                seal(batch);
            },
            ResponseError::InvalidRecord,
        );
        let large = produced(&[(None, Some(&[0; 2_000]))], 5);
        assert_eq!(Produced::parse(large.into(), 1_000).unwrap_err(), ResponseError::MessageTooLarge);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_and_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES..200),
            sealed: bool,
            codec in 0..8_u8,
        ) {
            if sealed {
                bytes[16] = 2;
                bytes[22] = codec;
                let n_records = bytes[60] % 4;
                bytes[57..61].copy_from_slice(&[0, 0, 0, n_records]);
                seal(&mut bytes);
            }
            let bytes = Bytes::from(bytes);
            let _ = Produced::parse(bytes.clone(), 1_000);
            let _ = records(&bytes, 10_000);
            let _ = marker_outcome(&bytes);
        }
    }
}
