//! Protobuf's wire format, read with care: every length is checked before it is believed.

use tidegate_core::ReasonCode;

use crate::refusal::{Outcome, Refusal};
use crate::varint::{self, Broken};

pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const PAYLOAD: u32 = 2;
pub(crate) const GROUP: u32 = 3;
pub(crate) const GROUP_END: u32 = 4;
pub(crate) const FIXED32: u32 = 5;

/// Bytes that are read from the front: a message, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'a> {
    rest: &'a [u8],
    /// Where `rest` ends in the whole message.
    end: usize,
}

impl<'a> Wire<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    const fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    #[cold]
    pub(crate) fn broken(&self, expected: &str, found: &str) -> Box<Refusal> {
        Refusal::decode(ReasonCode::NotProtobuf, expected, &format!("{found} at byte {}", self.at()))
    }

    /// A number of at most 64 bits.
    #[inline]
    pub(crate) fn varint(&mut self) -> Outcome<u64> {
        match self.rest {
            [first @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            [first, second @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*first & 0x7F) | u64::from(*second) << 7)
            }
            _ => self.longer(),
        }
    }

    #[inline(never)]
    fn longer(&mut self) -> Outcome<u64> {
        let broken = match varint::read(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                return Ok(value);
            }
            Err(Broken::Ended) => "the message's end",
            Err(Broken::Longer) => "a longer one",
        };
        Err(self.broken("a number of at most 64 bits", broken))
    }

    /// A field's number and wire type, as they stand: neither the number is 0 nor the type unknown.
    #[inline]
    pub(crate) fn tag(&mut self) -> Outcome<u32> {
        let before = *self;
        let tag = self.varint()?;
        if tag >> 3 == 0 || tag > u64::from(u32::MAX) || tag & 7 > 5 {
            return Err(before.strange(tag));
        }
        Ok(tag as u32)
    }

    #[cold]
    fn strange(&self, tag: u64) -> Box<Refusal> {
        let found = format!("number {}, wire type {}", tag >> 3, tag & 7);
        self.broken("a field's number, 1 to 536870911, and its wire type, 0 to 5", &found)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => {
                let found = format!("the message's end after {}", self.rest.len());
                Err(self.broken(&format!("{N} bytes"), &found))
            }
        }
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Outcome<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Outcome<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// What stands behind its length.
    #[inline]
    pub(crate) fn payload(&mut self) -> Outcome<Self> {
        let before = *self;
        let length = self.varint()?;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(Self { rest: taken, end: self.end - rest.len() })
            }
            None => {
                let found = format!("{length} with {} bytes left", self.rest.len());
                Err(before.broken("a length within the message", &found))
            }
        }
    }

    /// Text behind its length.
    #[inline]
    pub(crate) fn text(&mut self) -> Outcome<&'a str> {
        self.payload()?.as_text()
    }

    /// All of it, as text.
    #[inline]
    pub(crate) fn as_text(&self) -> Outcome<&'a str> {
        simdutf8::basic::from_utf8(self.rest).map_err(|_| self.not_utf8())
    }

    #[cold]
    fn not_utf8(&self) -> Box<Refusal> {
        let at = std::str::from_utf8(self.rest).map_or_else(|error| error.valid_up_to(), str::len);
        let byte = self.rest.get(at).copied().unwrap_or(0);
        Refusal::decode(
            ReasonCode::NotUtf8,
            "UTF-8",
            &format!("byte 0x{byte:02X} at byte {at} of a `string`"),
        )
    }

    /// The body of a group whose start has been read; its end is read too.
    pub(crate) fn group(&mut self, number: u32, depth: usize) -> Outcome<Self> {
        let start = *self;
        loop {
            let before = *self;
            let tag = self.tag()?;
            if tag & 7 == GROUP_END {
                if tag >> 3 != number {
                    let found = format!("the end of group {}", tag >> 3);
                    return Err(before.broken(&format!("the end of group {number}"), &found));
                }
                let length = start.rest.len() - before.rest.len();
                return Ok(Self { rest: &start.rest[..length], end: before.at() });
            }
            self.skip(tag, depth)?;
        }
    }

    /// Passes over the value behind a tag. `depth` more groups may stand in it.
    pub(crate) fn skip(&mut self, tag: u32, depth: usize) -> Outcome {
        self.value(tag, depth).map(drop)
    }

    /// The value behind a tag: a number's own bytes, what stands behind a length, a group's body.
    pub(crate) fn value(&mut self, tag: u32, depth: usize) -> Outcome<Self> {
        let start = *self;
        match tag & 7 {
            VARINT => {
                self.varint()?;
            }
            FIXED64 => {
                self.fixed64()?;
            }
            FIXED32 => {
                self.fixed32()?;
            }
            PAYLOAD => return self.payload(),
            GROUP => {
                let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
                return self.group(tag >> 3, depth);
            }
            _ => {
                return Err(
                    self.broken("a field", &format!("the end of group {}, which is not open", tag >> 3))
                );
            }
        }
        let length = start.rest.len() - self.rest.len();
        Ok(Self { rest: &start.rest[..length], end: start.at() + length })
    }
}

#[cold]
pub(crate) fn too_deep() -> Box<Refusal> {
    Refusal::decode(ReasonCode::TooLarge, "fewer levels of nesting", "more")
}

/// A wire type, for reasons.
pub(crate) fn described(wire: u32) -> &'static str {
    match wire {
        VARINT => "wire type 0 (a number)",
        FIXED64 => "wire type 1 (eight bytes)",
        PAYLOAD => "wire type 2 (a length and bytes)",
        GROUP => "wire type 3 (a group)",
        GROUP_END => "wire type 4 (a group's end)",
        _ => "wire type 5 (four bytes)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_last_bit_and_no_further() {
        let varint = |bytes: &[u8]| Wire::new(bytes).varint().ok();
        assert_eq!(varint(&[0x80, 0x01]), Some(128));
        let mut max = [0xFF; 10];
        max[9] = 1;
        assert_eq!(varint(&max), Some(u64::MAX));
        max[9] = 2;
        assert_eq!(varint(&max), None);
        assert_eq!(varint(&[0xFF; 11]), None);
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x00]), Some(0));
    }

    #[test]
    fn groups_end_where_they_began() {
        // Group 2 within group 1.
        let bytes = [0x13, 0x08, 0x05, 0x14, 0x0C, 0x7F];
        let mut wire = Wire::new(&bytes);
        assert_eq!(wire.group(1, 1).unwrap().rest(), &[0x13, 0x08, 0x05, 0x14]);
        assert_eq!(wire.rest(), &[0x7F]);
        assert!(Wire::new(&bytes).group(1, 0).is_err(), "too deep");
        assert!(Wire::new(&[0x14]).group(1, 1).is_err(), "the end of another");
        assert!(Wire::new(&[0x08]).group(1, 1).is_err(), "no end");
    }

    #[test]
    fn fields_have_numbers_and_wire_types() {
        for bytes in [&[0x00][..], &[0x0E], &[0x0F], &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]] {
            assert!(Wire::new(bytes).tag().is_err(), "{bytes:?}");
        }
        assert_eq!(Wire::new(&[0x0A]).tag().ok(), Some(10));
    }
}
