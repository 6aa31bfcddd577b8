//! Finds where the plain part of a JSON string ends, several bytes at a time.

use wide::u8x16;

/// What ends a string, or a piece of it without escapes: a quote, a backslash or a control character.
#[inline]
pub(crate) const fn special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// How many bytes are looked at together.
const BLOCK: usize = 16;

/// How many bytes stand before the first special one, or all of them.
#[inline]
pub(crate) fn before_special(bytes: &[u8]) -> usize {
    let (mut at, mut rest) = (0, bytes);
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let found = specials(block);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        (at, rest) = (at + BLOCK, behind);
    }
    at + rest.iter().position(|byte| special(*byte)).unwrap_or(rest.len())
}

/// A bit for each special byte of a block, the first byte's lowest.
#[inline]
fn specials(block: &[u8; BLOCK]) -> u32 {
    let bytes = u8x16::new(*block);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.simd_le(u8x16::splat(0x1F));
    (quote | backslash | control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_at_every_place_and_no_other() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut text = [b'a'; 50];
                text[at] = byte;
                let expected = if special(byte) { at } else { text.len() };
                assert_eq!(before_special(&text), expected, "{byte:#x} at {at}");
            }
        }
    }
}
