//! Avro's binary encoding, read with care: every length is checked before it is believed.

use tidegate_core::ReasonCode;

use crate::refusal::{Outcome, Refusal};
use crate::varint::{self, Broken};

const LONG: &str = "an integer of at most 64 bits";

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() }
    }

    /// How many bytes there were in the beginning.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    #[cold]
    fn broken(&self, expected: &str, found: &str) -> Box<Refusal> {
        let at = self.length - self.rest.len();
        Refusal::decode(ReasonCode::NotAvro, expected, &format!("{found} at byte {at}"))
    }

    #[cold]
    fn ended(&self, expected: &str) -> Box<Refusal> {
        self.broken(expected, "the value's end")
    }

    /// So many bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize, what: &str) -> Outcome<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.broken(
                &format!("{count} bytes of {what}"),
                &format!("{} until the value's end", self.rest.len()),
            ));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// So many bytes, as an array.
    #[inline]
    pub(crate) fn chunk<const N: usize>(&mut self, what: &str) -> Outcome<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.ended(what)),
        }
    }

    /// A `long`: variable length, zig-zag.
    #[inline]
    pub(crate) fn long(&mut self) -> Outcome<i64> {
        match self.rest {
            [first @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(zigzag(u64::from(*first)))
            }
            [first, second @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(zigzag(u64::from(*first & 0x7F) | u64::from(*second) << 7))
            }
            _ => self.longer(),
        }
    }

    fn longer(&mut self) -> Outcome<i64> {
        match varint::read(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(zigzag(value))
            }
            Err(Broken::Ended) => Err(self.ended(LONG)),
            Err(Broken::Longer) => Err(self.broken(LONG, "a longer one")),
        }
    }

    /// An `int`.
    #[inline]
    pub(crate) fn int(&mut self) -> Outcome<i32> {
        let before = *self;
        let value = self.long()?;
        i32::try_from(value).map_err(|_| before.broken("an `int` of at most 32 bits", &format!("{value}")))
    }

    #[inline]
    pub(crate) fn boolean(&mut self) -> Outcome<bool> {
        match self.rest {
            [byte @ (0 | 1), rest @ ..] => {
                self.rest = rest;
                Ok(*byte == 1)
            }
            [byte, ..] => Err(self.broken("a `boolean`, 0 or 1", &format!("byte {byte}"))),
            [] => Err(self.ended("a `boolean`")),
        }
    }

    #[inline]
    pub(crate) fn float(&mut self) -> Outcome<f32> {
        self.chunk("a `float`").map(f32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn double(&mut self) -> Outcome<f64> {
        self.chunk("a `double`").map(f64::from_le_bytes)
    }

    /// Bytes after their length.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Outcome<&'a [u8]> {
        let before = *self;
        let length = self.long()?;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(before.broken(
                "a length within the value",
                &format!("{length} with {} bytes left", self.rest.len()),
            )),
        }
    }

    /// Text after its length.
    #[inline]
    pub(crate) fn text(&mut self) -> Outcome<&'a str> {
        let before = *self;
        let bytes = self.bytes()?;
        simdutf8::basic::from_utf8(bytes).map_err(|_| before.not_utf8(bytes))
    }

    #[cold]
    pub(crate) fn not_utf8(&self, bytes: &[u8]) -> Box<Refusal> {
        let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        let found = format!("byte 0x{:02X} at byte {at} of a `string`", bytes.get(at).copied().unwrap_or(0));
        Refusal::decode(ReasonCode::NotUtf8, "UTF-8", &found)
    }

    /// The number of a branch or symbol, of which there are `count`.
    #[inline]
    pub(crate) fn choice(&mut self, count: usize, what: &str) -> Outcome<usize> {
        let before = *self;
        let chosen = self.long()?;
        match usize::try_from(chosen).ok().filter(|chosen| *chosen < count) {
            Some(chosen) => Ok(chosen),
            None => Err(before.broken(&format!("one of {count} {what}"), &format!("number {chosen}"))),
        }
    }

    /// How many items the next block of an array or map has; 0 after the last.
    pub(crate) fn block(&mut self) -> Outcome<u64> {
        let count = self.long()?;
        if count < 0 {
            // The size in bytes, for those who pass over the block without knowing its items.
            let before = *self;
            let size = self.long()?;
            if usize::try_from(size).is_err() || size as u64 > self.rest.len() as u64 {
                let found = format!("{size} with {} bytes left", self.rest.len());
                return Err(before.broken("a block's size within the value", &found));
            }
        }
        Ok(count.unsigned_abs())
    }

    /// Nothing follows.
    pub(crate) fn end(&self) -> Outcome {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self
            .broken("the end of the value", &format!("{} more bytes than its schema says", self.rest.len())))
    }
}

const fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_to_their_last_bit_and_no_further() {
        let long = |bytes: &[u8]| Bytes::new(bytes).long().ok();
        assert_eq!(long(&[0x01]), Some(-1));
        assert_eq!(long(&[0x80, 0x01]), Some(64));
        let mut max = [0xFF; 10];
        max[9] = 1;
        assert_eq!(long(&max), Some(i64::MIN));
        max[0] = 0xFE;
        assert_eq!(long(&max), Some(i64::MAX));
        max[9] = 2;
        assert_eq!(long(&max), None);
        assert_eq!(long(&[0xFF; 11]), None);
        assert_eq!(long(&[0x80]), None);
        assert_eq!(long(&[]), None);
        assert!(Bytes::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int().is_err());
        assert_eq!(Bytes::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).int().ok(), Some(i32::MIN));
    }

    #[test]
    fn lengths_beyond_the_value_are_refused() {
        assert!(Bytes::new(&[0x06, b'a', b'b']).bytes().is_err());
        assert!(Bytes::new(&[0x01]).bytes().is_err());
        assert!(Bytes::new(&[0x01, 0x04, 0]).block().is_err());
        assert_eq!(Bytes::new(&[0x03, 0x04, 0, 0]).block().ok(), Some(2));
    }
}
