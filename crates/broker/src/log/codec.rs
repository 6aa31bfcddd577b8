//! Unpacking compressed batches, never beyond a limit: a few kilobytes can claim to be gigabytes.

use std::io::{self, Read};

use bytes::Bytes;

/// The header of xerial's framing, which the Java client puts around snappy.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
/// The header with its version fields.
const XERIAL_BYTES: usize = 16;

/// Unpacks the records of a batch with this codec number.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if they are not of this codec, or more than `bytes_max`.
pub(super) fn unpack(codec: i16, packed: Bytes, bytes_max: usize) -> io::Result<Bytes> {
    match codec {
        0 => Ok(packed),
        1 => bounded(flate2::read::MultiGzDecoder::new(&packed[..]), bytes_max),
        2 => unpack_snappy(&packed, bytes_max),
        3 => bounded(lz4::Decoder::new(&packed[..])?, bytes_max),
        4 => bounded(zstd::stream::read::Decoder::with_buffer(&packed[..])?, bytes_max),
        _ => Err(invalid("a codec that Kafka does not know")),
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn bounded(reader: impl Read, bytes_max: usize) -> io::Result<Bytes> {
    let mut unpacked = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > bytes_max {
        return Err(invalid("a batch that unpacks beyond the limit"));
    }
    Ok(unpacked.into())
}

fn unpack_snappy(packed: &[u8], bytes_max: usize) -> io::Result<Bytes> {
    let mut unpacked = Vec::new();
    if !packed.starts_with(XERIAL) {
        append_snappy(packed, &mut unpacked, bytes_max)?;
        return Ok(unpacked.into());
    }
    let mut rest = packed.get(XERIAL_BYTES..).ok_or_else(|| invalid("a cut snappy header"))?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| invalid("a cut snappy block"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(|| invalid("a cut snappy block"))?;
        append_snappy(block, &mut unpacked, bytes_max)?;
        rest = &after[length..];
    }
    Ok(unpacked.into())
}

fn append_snappy(block: &[u8], unpacked: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    let begin = unpacked.len();
    if length > bytes_max.saturating_sub(begin) {
        return Err(invalid("a batch that unpacks beyond the limit"));
    }
    unpacked.resize(begin + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut unpacked[begin..]).map_err(io::Error::other)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(codec: i16, plain: &[u8]) -> Bytes {
        match codec {
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap().into()
            }
            2 => snap::raw::Encoder::new().compress_vec(plain).unwrap().into(),
            3 => {
                let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
                encoder.write_all(plain).unwrap();
                encoder.finish().0.into()
            }
            4 => zstd::encode_all(plain, 1).unwrap().into(),
            _ => Bytes::copy_from_slice(plain),
        }
    }

    #[test]
    fn every_codec_unpacks_to_what_was_packed() {
        for codec in 0..=4 {
            assert_eq!(unpack(codec, packed(codec, &[7; 9_000]), 9_000).unwrap(), vec![7; 9_000]);
        }
    }

    #[test]
    fn unpacking_stops_at_the_limit() {
        for codec in 1..=4 {
            let refused = unpack(codec, packed(codec, &[7; 9_001]), 9_000).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "codec {codec}");
        }
    }

    #[test]
    fn xerial_blocks_are_joined() {
        let mut framed = [XERIAL, &[0; 8]].concat();
        for block in [b"first", b"later"] {
            let block = packed(2, block);
            framed.extend_from_slice(&(block.len() as u32).to_be_bytes());
            framed.extend_from_slice(&block);
        }
        assert_eq!(unpack(2, framed.into(), 100).unwrap(), "firstlater");
    }
}
