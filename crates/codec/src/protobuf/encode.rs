//! The wire's words, written.

use super::model::zigzag;
pub(crate) use crate::varint::write as varint;

pub(crate) fn fixed32(value: u32, out: &mut Vec<u8>) {
    out.extend(value.to_le_bytes());
}

pub(crate) fn fixed64(value: u64, out: &mut Vec<u8>) {
    out.extend(value.to_le_bytes());
}

pub(crate) fn double(value: f64, out: &mut Vec<u8>) {
    fixed64(value.to_bits(), out);
}

/// Bytes after their length.
pub(crate) fn payload(value: &[u8], out: &mut Vec<u8>) {
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// What Confluent's serialisers put before a message: which one of its schema it is. The first has a byte
/// of its own.
#[must_use]
pub fn message_indexes(path: &[usize]) -> Vec<u8> {
    if path == [0] {
        return vec![0];
    }
    let mut out = Vec::new();
    let signed = |value: usize| zigzag(i64::try_from(value).unwrap_or(i64::MAX));
    varint(signed(path.len()), &mut out);
    for index in path {
        varint(signed(*index), &mut out);
    }
    out
}
