//! Confluent's wire format: which schema a value was written with.
//!
//! The value begins with a magic byte and the schema's id, or the header `__value_schema_id` has them and
//! the value is the message alone (Confluent 8, `HeaderSchemaIdSerializer`). Magic 0 is followed by an id
//! of four bytes, magic 1 by a GUID of sixteen.

use std::fmt;

use tidegate_core::{ReasonCode, Record};

use crate::refusal::{Outcome, Refusal};

/// The header that carries the schema of a value.
const HEADER: &str = "__value_schema_id";
const MAGIC_ID: u8 = 0;
const MAGIC_GUID: u8 = 1;

/// How a record names the schema that it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaKey {
    /// By its number in the registry.
    Id(u32),
    /// By the digest of its text and references: the same in every registry.
    Guid(u128),
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema id {id}"),
            Self::Guid(guid) => write!(f, "schema guid {}", Self::guid_text(*guid)),
        }
    }
}

impl SchemaKey {
    /// A GUID as the registry writes it: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    #[must_use]
    pub fn guid_text(guid: u128) -> String {
        let digits = format!("{guid:032x}");
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
    }

    /// The schema that a record names; `None` if it names none as it should, and is to be refused.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Self> {
        Framed::read(record).ok().map(|frame| frame.key)
    }
}

/// A value that names its schema, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Framed<'a> {
    /// The schema.
    pub key: SchemaKey,
    /// The value without it.
    pub payload: &'a [u8],
    /// What follows the schema in the header, if it stands there: Protobuf's message indexes.
    pub behind: Option<&'a [u8]>,
}

impl<'a> Framed<'a> {
    /// Takes a record's value apart; `None` if it names no schema as it should.
    #[must_use]
    pub fn of(record: &Record<'a>) -> Option<Self> {
        Self::read(record).ok()
    }

    pub(crate) fn read(record: &Record<'a>) -> Outcome<Self> {
        let Some(value) = record.value else {
            return Err(Refusal::decode(ReasonCode::Tombstone, "a value", "a null value"));
        };
        if let Some(Some(header)) = record.header(HEADER) {
            let (key, behind) = read_key(header).ok_or_else(|| {
                let expected = format!("a schema id or GUID in header `{HEADER}`");
                bad_magic(&expected, header)
            })?;
            return Ok(Self { key, payload: value, behind: Some(behind) });
        }
        match read_key(value) {
            Some((key, payload)) => Ok(Self { key, payload, behind: None }),
            None => Err(bad_magic("Confluent's magic byte 0 and a schema id of four bytes", value)),
        }
    }
}

fn read_key(bytes: &[u8]) -> Option<(SchemaKey, &[u8])> {
    let (magic, rest) = bytes.split_first()?;
    match *magic {
        MAGIC_ID => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((SchemaKey::Id(u32::from_be_bytes(*id)), rest))
        }
        MAGIC_GUID => {
            let (guid, rest) = rest.split_first_chunk()?;
            Some((SchemaKey::Guid(u128::from_be_bytes(*guid)), rest))
        }
        _ => None,
    }
}

#[cold]
fn bad_magic(expected: &str, bytes: &[u8]) -> Box<Refusal> {
    const SHOWN_MAX: usize = 8;
    let shown: Vec<String> = bytes.iter().take(SHOWN_MAX).map(|byte| format!("{byte:02X}")).collect();
    let found = match bytes.len() {
        0 => "no byte".to_owned(),
        length => format!("{length} bytes that begin with {}", shown.join(" ")),
    };
    Refusal::decode(ReasonCode::BadMagic, expected, &found)
}

#[cfg(test)]
mod tests {
    use tidegate_core::{Header, Records, TopicPartition};

    use super::*;

    #[track_caller]
    fn check(value: &[u8], header: Option<&[u8]>, expected: Option<(SchemaKey, &[u8])>) {
        let mut records = Records::new(TopicPartition::new("t", 0));
        let headers = header.map(|value| Header { name: HEADER, value: Some(value) });
        records.push(0, None, None, Some(value), headers);
        let record = records.get(0).unwrap();
        let frame = Framed::read(&record).ok();
        assert_eq!(frame.map(|frame| (frame.key, frame.payload)), expected);
    }

    #[test]
    fn the_schema_stands_before_the_value_or_in_a_header() {
        check(&[0, 0, 0, 1, 2, 9], None, Some((SchemaKey::Id(258), &[9])));
        let mut guid = vec![1];
        guid.extend(7_u128.to_be_bytes());
        check(b"payload", Some(&guid), Some((SchemaKey::Guid(7), b"payload")));
        check(b"payload", Some(&[0, 0, 0, 0, 5]), Some((SchemaKey::Id(5), b"payload")));
    }

    #[test]
    fn what_names_no_schema_is_refused() {
        check(b"{}", None, None);
        check(&[0, 0, 0, 1], None, None);
        check(b"", None, None);
        check(b"{}", Some(&[1, 2]), None);
    }

    #[test]
    fn a_guid_reads_as_the_registry_writes_it() {
        let guid = 0x095d_71cf_1255_6b9d_5e33_0ad5_75b3_df5d;
        assert_eq!(SchemaKey::guid_text(guid), "095d71cf-1255-6b9d-5e33-0ad575b3df5d");
    }
}
