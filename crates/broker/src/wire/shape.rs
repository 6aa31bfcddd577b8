//! The shape of every request, walked before it is decoded.
//!
//! `kafka_protocol` reserves an array's stated length before it looks for the elements, so that twelve
//! bytes can ask for a hundred gigabytes. A request that has passed here is whole, and has at most as many
//! elements as were allowed.

use kafka_protocol::messages::ApiKey;

/// One field of a request.
enum Field {
    /// This many bytes.
    Fixed(usize),
    /// A string, which may be null.
    Text,
    /// Bytes, which may be null.
    Blob,
    /// An array, which may be null, of this one field.
    Each(&'static Field),
    /// An array, which may be null, of structures.
    List(&'static [Versions]),
}

/// A field and the versions that have it.
struct Versions {
    min: i16,
    max: i16,
    field: Field,
}

const fn all(field: Field) -> Versions {
    Versions { min: 0, max: i16::MAX, field }
}

const fn since(min: i16, field: Field) -> Versions {
    Versions { min, max: i16::MAX, field }
}

const fn until(max: i16, field: Field) -> Versions {
    Versions { min: 0, max, field }
}

const I8: Field = Field::Fixed(1);
const I16: Field = Field::Fixed(2);
const I32: Field = Field::Fixed(4);
const I64: Field = Field::Fixed(8);
const UUID: Field = Field::Fixed(16);
const TEXT: Field = Field::Text;
const BLOB: Field = Field::Blob;
const TEXTS: Field = Field::Each(&Field::Text);
const I32S: Field = Field::Each(&Field::Fixed(4));

const fn list(fields: &'static [Versions]) -> Versions {
    all(Field::List(fields))
}

// Structures within requests. Several requests have the same one.

/// A topic's name and partition numbers.
const TOPIC: &[Versions] = &[all(TEXT), all(I32S)];
/// A member, or a protocol, and what it brings.
const NAMED_BLOB: &[Versions] = &[all(TEXT), all(BLOB)];
const NAMED_TEXT: &[Versions] = &[all(TEXT), all(TEXT)];
const PRODUCED_PARTITION: &[Versions] = &[all(I32), all(BLOB)];
const PRODUCED_TOPIC: &[Versions] = &[all(TEXT), list(PRODUCED_PARTITION)];
const FETCHED_PARTITION: &[Versions] =
    &[all(I32), since(9, I32), all(I64), since(12, I32), since(5, I64), all(I32)];
const FETCHED_TOPIC: &[Versions] = &[all(TEXT), list(FETCHED_PARTITION)];
const LISTED_PARTITION: &[Versions] = &[all(I32), since(4, I32), all(I64)];
const LISTED_TOPIC: &[Versions] = &[all(TEXT), list(LISTED_PARTITION)];
const ASKED_TOPIC: &[Versions] = &[since(10, UUID), all(TEXT)];
const EPOCH_PARTITION: &[Versions] = &[all(I32), all(I32), all(I32)];
const EPOCH_TOPIC: &[Versions] = &[all(TEXT), list(EPOCH_PARTITION)];
const COMMITTED_PARTITION: &[Versions] = &[all(I32), all(I64), since(6, I32), all(TEXT)];
const COMMITTED_TOPIC: &[Versions] = &[all(TEXT), list(COMMITTED_PARTITION)];
const OFFSETS_GROUP: &[Versions] = &[all(TEXT), since(9, TEXT), since(9, I32), list(TOPIC)];
const OWNED_TOPIC: &[Versions] = &[all(UUID), all(I32S)];
const LEAVING: &[Versions] = &[all(TEXT), all(TEXT), since(5, TEXT)];
const FORGOTTEN_PARTITION: &[Versions] = &[all(I32)];
const FORGOTTEN_TOPIC: &[Versions] = &[all(TEXT), list(FORGOTTEN_PARTITION)];
const ASSIGNED: &[Versions] = &[all(I32), all(I32S)];
const CREATED: &[Versions] = &[all(TEXT), all(I32), all(I16), list(ASSIGNED), list(NAMED_TEXT)];
const DELETED: &[Versions] = &[all(TEXT), all(UUID)];
const CUT_PARTITION: &[Versions] = &[all(I32), all(I64)];
const CUT_TOPIC: &[Versions] = &[all(TEXT), list(CUT_PARTITION)];
const DESCRIBED: &[Versions] = &[all(I8), all(TEXT), all(TEXTS)];
const REPLICAS: &[Versions] = &[all(I32S)];
const GROWN: &[Versions] = &[all(TEXT), all(I32), list(REPLICAS)];
const ALTERATION: &[Versions] = &[all(TEXT), all(I8), all(TEXT)];
const ALTERED: &[Versions] = &[all(I8), all(TEXT), list(ALTERATION)];
const QUOTA_FILTER: &[Versions] = &[all(TEXT), all(I8), all(TEXT)];
const QUOTA_CHANGE: &[Versions] = &[all(TEXT), all(I64), all(I8)];
const QUOTA: &[Versions] = &[list(NAMED_TEXT), list(QUOTA_CHANGE)];
const HELD_PARTITION: &[Versions] = &[all(I32), all(I64), since(2, I32), all(TEXT)];
const HELD_TOPIC: &[Versions] = &[all(TEXT), list(HELD_PARTITION)];

// Requests, in the versions that are spoken.

const PRODUCE: &[Versions] = &[all(TEXT), all(I16), all(I32), list(PRODUCED_TOPIC)];
const FETCH: &[Versions] = &[
    all(Field::Fixed(4 + 4 + 4 + 4 + 1)),
    since(7, Field::Fixed(4 + 4)),
    list(FETCHED_TOPIC),
    since(7, Field::List(TOPIC)),
    since(11, TEXT),
];
const LIST_OFFSETS: &[Versions] = &[all(I32), since(2, I8), list(LISTED_TOPIC)];
const METADATA: &[Versions] =
    &[list(ASKED_TOPIC), since(4, I8), Versions { min: 8, max: 10, field: I8 }, since(8, I8)];
const FIND_COORDINATOR: &[Versions] = &[until(3, TEXT), since(1, I8), since(4, TEXTS)];
const API_VERSIONS: &[Versions] = &[since(3, TEXT), since(3, TEXT)];
const DESCRIBE_CLUSTER: &[Versions] = &[all(I8), since(1, I8)];
const OFFSET_FOR_LEADER_EPOCH: &[Versions] = &[since(3, I32), list(EPOCH_TOPIC)];
const OFFSET_COMMIT: &[Versions] =
    &[all(TEXT), all(I32), all(TEXT), since(7, TEXT), until(4, I64), list(COMMITTED_TOPIC)];
const OFFSET_FETCH: &[Versions] =
    &[until(7, TEXT), until(7, Field::List(TOPIC)), since(8, Field::List(OFFSETS_GROUP)), since(7, I8)];
const JOIN_GROUP: &[Versions] = &[
    all(TEXT),
    all(I32),
    since(1, I32),
    all(TEXT),
    since(5, TEXT),
    all(TEXT),
    list(NAMED_BLOB),
    since(8, TEXT),
];
const HEARTBEAT: &[Versions] = &[all(TEXT), all(I32), all(TEXT), since(3, TEXT)];
const LEAVE_GROUP: &[Versions] = &[all(TEXT), until(2, TEXT), since(3, Field::List(LEAVING))];
const SYNC_GROUP: &[Versions] =
    &[all(TEXT), all(I32), all(TEXT), since(3, TEXT), since(5, TEXT), since(5, TEXT), list(NAMED_BLOB)];
const DESCRIBE_GROUPS: &[Versions] = &[all(TEXTS), since(3, I8)];
const LIST_GROUPS: &[Versions] = &[since(4, TEXTS), since(5, TEXTS)];
const CONSUMER_HEARTBEAT: &[Versions] = &[
    all(TEXT),
    all(TEXT),
    all(I32),
    all(TEXT),
    all(TEXT),
    all(I32),
    all(TEXTS),
    since(1, TEXT),
    all(TEXT),
    list(OWNED_TOPIC),
];
const DESCRIBE_CONSUMERS: &[Versions] = &[all(TEXTS), all(I8)];
const DELETE_GROUPS: &[Versions] = &[all(TEXTS)];
const SASL_HANDSHAKE: &[Versions] = &[all(TEXT)];
const SASL_AUTHENTICATE: &[Versions] = &[all(BLOB)];
const OFFSET_DELETE: &[Versions] = &[all(TEXT), list(FORGOTTEN_TOPIC)];
const CREATE_TOPICS: &[Versions] = &[list(CREATED), all(I32), all(I8)];
const DELETE_TOPICS: &[Versions] = &[since(6, Field::List(DELETED)), until(5, TEXTS), all(I32)];
const DELETE_RECORDS: &[Versions] = &[list(CUT_TOPIC), all(I32)];
const DESCRIBE_CONFIGS: &[Versions] = &[list(DESCRIBED), all(I8), since(3, I8)];
const CREATE_PARTITIONS: &[Versions] = &[list(GROWN), all(I32), all(I8)];
const ALTER_CONFIGS: &[Versions] = &[list(ALTERED), all(I8)];
const DESCRIBE_QUOTAS: &[Versions] = &[list(QUOTA_FILTER), all(I8)];
const ALTER_QUOTAS: &[Versions] = &[list(QUOTA), all(I8)];
const INIT_PRODUCER_ID: &[Versions] = &[all(TEXT), all(I32), since(3, I64), since(3, I16)];
const ADD_PARTITIONS: &[Versions] = &[all(TEXT), all(I64), all(I16), list(TOPIC)];
const ADD_OFFSETS: &[Versions] = &[all(TEXT), all(I64), all(I16), all(TEXT)];
const END: &[Versions] = &[all(TEXT), all(I64), all(I16), all(I8)];
const HOLD_OFFSETS: &[Versions] = &[
    all(TEXT),
    all(TEXT),
    all(I64),
    all(I16),
    since(3, I32),
    since(3, TEXT),
    since(3, TEXT),
    list(HELD_TOPIC),
];

fn fields(api: ApiKey) -> Option<&'static [Versions]> {
    Some(match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::Metadata => METADATA,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::DescribeGroups => DESCRIBE_GROUPS,
        ApiKey::ListGroups => LIST_GROUPS,
        ApiKey::SaslHandshake => SASL_HANDSHAKE,
        ApiKey::ApiVersions => API_VERSIONS,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => DELETE_TOPICS,
        ApiKey::DeleteRecords => DELETE_RECORDS,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        ApiKey::AddPartitionsToTxn => ADD_PARTITIONS,
        ApiKey::AddOffsetsToTxn => ADD_OFFSETS,
        ApiKey::EndTxn => END,
        ApiKey::TxnOffsetCommit => HOLD_OFFSETS,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::SaslAuthenticate => SASL_AUTHENTICATE,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DeleteGroups => DELETE_GROUPS,
        ApiKey::IncrementalAlterConfigs => ALTER_CONFIGS,
        ApiKey::OffsetDelete => OFFSET_DELETE,
        ApiKey::DescribeClientQuotas => DESCRIBE_QUOTAS,
        ApiKey::AlterClientQuotas => ALTER_QUOTAS,
        ApiKey::DescribeCluster => DESCRIBE_CLUSTER,
        ApiKey::ConsumerGroupHeartbeat => CONSUMER_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => DESCRIBE_CONSUMERS,
        _ => return None,
    })
}

/// Walks a request's body. `None` if it is cut, has more elements than allowed, or is of no known API.
pub(super) fn check(api: ApiKey, version: i16, body: &[u8], elements_max: usize) -> Option<()> {
    let compact = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: body, version, compact, elements_left: elements_max };
    walk.structure(fields(api)?)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    /// Lengths are varints, and structures end with tagged fields.
    compact: bool,
    elements_left: usize,
}

impl Walk<'_> {
    fn skip(&mut self, size_bytes: usize) -> Option<()> {
        self.rest = self.rest.get(size_bytes..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A length of `N` bytes in the old encoding; null counts as 0.
    fn length<const N: usize>(&mut self) -> Option<usize> {
        if self.compact {
            return Some(self.varint()?.saturating_sub(1));
        }
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        let negative = bytes[0] & 0x80 != 0;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        Some(if negative { 0 } else { value })
    }

    /// An array's length, counted against what is allowed.
    fn elements(&mut self) -> Option<usize> {
        let n = self.length::<4>()?;
        self.elements_left = self.elements_left.checked_sub(n)?;
        Some(n)
    }

    fn structure(&mut self, fields: &[Versions]) -> Option<()> {
        for versions in fields {
            if (versions.min..=versions.max).contains(&self.version) {
                self.field(&versions.field)?;
            }
        }
        if self.compact {
            let n = self.varint()?;
            self.elements_left = self.elements_left.checked_sub(n)?;
            for _ in 0..n {
                self.varint()?;
                let size_bytes = self.varint()?;
                self.skip(size_bytes)?;
            }
        }
        Some(())
    }

    fn field(&mut self, field: &Field) -> Option<()> {
        match field {
            Field::Fixed(size_bytes) => self.skip(*size_bytes),
            Field::Text => {
                let length = self.length::<2>()?;
                self.skip(length)
            }
            Field::Blob => {
                let length = self.length::<4>()?;
                self.skip(length)
            }
            Field::Each(element) => (0..self.elements()?).try_for_each(|_| self.field(element)),
            Field::List(fields) => (0..self.elements()?).try_for_each(|_| self.structure(fields)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::APIS;

    #[test]
    fn every_spoken_api_has_a_shape() {
        for (api, ..) in APIS {
            assert!(fields(*api).is_some(), "{api:?}");
        }
    }

    #[test]
    fn a_stated_length_without_elements_is_refused() {
        let mut body = vec![0_u8; 17];
        body.extend_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        assert!(check(ApiKey::Fetch, 4, &body, 1_000).is_none());
        assert!(check(ApiKey::Fetch, 4, &body, usize::MAX).is_none());
        body[17..].fill(0);
        assert!(check(ApiKey::Fetch, 4, &body, 1_000).is_some());
    }
}
