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
