//! Native's variable-length numbers: seven bits a byte, the lowest first.

/// The most bytes that one number takes.
pub(crate) const LENGTH_MAX: usize = 10;

/// Appends `value`.
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `text` and `text`.
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The number at the start of `bytes` and how many bytes it takes; `None` if it is cut short or does
/// not fit 64 bits.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(LENGTH_MAX).enumerate() {
        let part = u64::from(byte & 0x7F);
        let shift = 7 * index as u32;
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if *byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}
