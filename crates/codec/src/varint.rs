//! Integers of variable length, as Avro and Protobuf write them: seven bits a byte, the lowest first.

/// Seven bits a byte: the tenth has one.
const BYTES_MAX: usize = 10;

/// Why bytes do not begin with an integer of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// They end before it does.
    Ended,
    /// It is longer.
    Longer,
}

/// The integer that bytes begin with, and what follows it. For those of more than two bytes: shorter ones
/// are read where they are met.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, &[u8]), Broken> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if *byte < 0x80 {
            if at == BYTES_MAX - 1 && *byte > 1 {
                break;
            }
            return Ok((value, &bytes[at + 1..]));
        }
    }
    Err(if bytes.len() < BYTES_MAX { Broken::Ended } else { Broken::Longer })
}

/// Writes an integer.
pub(crate) fn write(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_behind_it() {
        for shift in 0..64 {
            for value in [1 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                write(value, &mut bytes);
                assert_eq!(read(&bytes), Ok((value, &[][..])));
                bytes.push(7);
                assert_eq!(read(&bytes), Ok((value, &[7][..])));
                assert_eq!(read(&bytes[..bytes.len() - 2]), Err(Broken::Ended));
            }
        }
    }

    #[test]
    fn what_64_bits_do_not_hold_is_refused() {
        assert_eq!(read(&[0xFF; 10]), Err(Broken::Longer));
        let tenth = |last: u8| [&[0xFF; 9][..], &[last]].concat();
        assert_eq!(read(&tenth(1)), Ok((u64::MAX, &[][..])));
        assert_eq!(read(&tenth(2)), Err(Broken::Longer));
        assert_eq!(read(&[0xFF; 9]), Err(Broken::Ended));
    }
}
