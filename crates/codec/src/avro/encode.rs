//! A reader's default, encoded as if it had been written: what reads values then reads defaults too.

use tidegate_languages::avro::{AvroSchema, NodeId, Shape};
use tidegate_languages::json::Json;

use crate::varint;

/// How deep defaults may nest. Types that need themselves never end.
const DEPTH_MAX: usize = 64;
/// How long an encoded default may be, in bytes.
const LENGTH_MAX: usize = 1 << 20;

/// A default's bytes; `None` if it is none of the type.
pub(crate) fn encode_default(schema: &AvroSchema, id: NodeId, value: &Json) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    encode(schema, (id, value), 0, &mut out)?;
    Some(out)
}

fn encode(schema: &AvroSchema, (id, value): (NodeId, &Json), depth: usize, out: &mut Vec<u8>) -> Option<()> {
    if depth > DEPTH_MAX || out.len() > LENGTH_MAX {
        return None;
    }
    match (&schema.node(id).shape, value) {
        (Shape::Null, Json::Null) => {}
        (Shape::Boolean, Json::Bool(value)) => out.push(u8::from(*value)),
        (Shape::Int, Json::Integer(value)) => long(i64::from(i32::try_from(*value).ok()?), out),
        (Shape::Long, Json::Integer(value)) => long(*value, out),
        #[expect(clippy::cast_possible_truncation, reason = "a float's default is the nearest float")]
        (Shape::Float, value) => out.extend((value.as_f64()? as f32).to_le_bytes()),
        (Shape::Double, value) => out.extend(value.as_f64()?.to_le_bytes()),
        (Shape::String, Json::String(text)) => bytes(text.as_bytes(), out),
        (Shape::Bytes, Json::String(text)) => bytes(&latin(text)?, out),
        (Shape::Fixed(fixed), Json::String(text)) => {
            let raw = latin(text)?;
            (raw.len() == fixed.size as usize).then(|| out.extend(raw))?;
        }
        (Shape::Enum(symbols), Json::String(text)) => {
            long(symbols.symbols.iter().position(|symbol| symbol == text)? as i64, out);
        }
        (Shape::Array(item), Json::Array(items)) => {
            if !items.is_empty() {
                long(items.len() as i64, out);
            }
            for value in items {
                encode(schema, (*item, value), depth + 1, out)?;
            }
            long(0, out);
        }
        (Shape::Map(item), Json::Object(members)) => {
            if !members.is_empty() {
                long(members.len() as i64, out);
            }
            for (name, value) in members {
                bytes(name.as_bytes(), out);
                encode(schema, (*item, value), depth + 1, out)?;
            }
            long(0, out);
        }
        (Shape::Union(branches), value) => {
            // The first branch by the letter; whichever fits by what Java takes.
            let fits = |(at, branch): (usize, &NodeId)| {
                let mut encoded = Vec::new();
                long(at as i64, &mut encoded);
                encode(schema, (*branch, value), depth + 1, &mut encoded).map(|()| encoded)
            };
            out.extend(branches.iter().enumerate().find_map(fits)?);
        }
        (Shape::Record(record), Json::Object(members)) => {
            for field in &record.fields {
                let value = members.get(&field.name).or(field.default.as_ref())?;
                encode(schema, (field.node, value), depth + 1, out)?;
            }
        }
        _ => return None,
    }
    Some(())
}

pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    varint::write((value << 1 ^ value >> 63).cast_unsigned(), out);
}

pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

/// A text whose characters stand for bytes.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
