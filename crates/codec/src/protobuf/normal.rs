//! A message whose fields come twice, or in parts, as one whose fields do not: what is read straight
//! through must not meet a field again that it has already put into a column.

use hashbrown::HashMap;

use super::encode::{payload, varint};
use super::gather::{Part, gather, joined};
use super::model::{Field, Kind, MessageId, Presence, ProtobufMessages};
use super::text::Number;
use super::wire::{GROUP, GROUP_END, PAYLOAD, Wire, too_deep};
use crate::refusal::Outcome;

/// The same message, each field written once, keys of maps too.
pub(crate) fn normal(
    types: &ProtobufMessages,
    id: MessageId,
    wire: Wire<'_>,
    depth: usize,
) -> Outcome<Vec<u8>> {
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
    let gathered = gather(types, id, wire, depth)?;
    let message = types.message(id);
    let mut out = Vec::with_capacity(wire.rest().len());
    for parts in gathered.fields() {
        let field = &message.fields[parts[0].field];
        write(types, field, parts, (depth, &mut out)).map_err(|refusal| refusal.within(&field.name))?;
    }
    for (tag, value) in &gathered.strangers {
        varint(u64::from(*tag), &mut out);
        match tag & 7 {
            PAYLOAD => payload(value.rest(), &mut out),
            GROUP => {
                out.extend_from_slice(value.rest());
                varint(u64::from(tag & !7 | GROUP_END), &mut out);
            }
            _ => out.extend_from_slice(value.rest()),
        }
    }
    Ok(out)
}

fn write(
    types: &ProtobufMessages,
    field: &Field,
    parts: &[Part<'_>],
    (depth, out): (usize, &mut Vec<u8>),
) -> Outcome {
    match field.kind.message() {
        Some(id) if field.presence == Presence::Map => {
            for entry in entries(types, (id, depth), parts)? {
                varint(u64::from(field.tag()), out);
                payload(&entry, out);
            }
        }
        Some(id) if field.singular() => {
            let whole = joined(parts);
            message(field, &normal(types, id, Wire::new(&whole), depth)?, out);
        }
        Some(id) => {
            for part in parts {
                message(field, &normal(types, id, part.value, depth)?, out);
            }
        }
        None => {
            for part in parts {
                if part.packed || field.kind.wire() == PAYLOAD {
                    varint(u64::from(field.number << 3 | PAYLOAD), out);
                    payload(part.value.rest(), out);
                } else {
                    varint(u64::from(field.tag()), out);
                    out.extend_from_slice(part.value.rest());
                }
            }
        }
    }
    Ok(())
}

fn message(field: &Field, body: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(field.tag()), out);
    if matches!(field.kind, Kind::Group(_)) {
        out.extend_from_slice(body);
        varint(u64::from(field.number << 3 | GROUP_END), out);
    } else {
        payload(body, out);
    }
}

/// The entries of a map: of a key that comes twice the last one.
fn entries(
    types: &ProtobufMessages,
    (id, depth): (MessageId, usize),
    parts: &[Part<'_>],
) -> Outcome<Vec<Vec<u8>>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut places: HashMap<Number, usize> = HashMap::new();
    for part in parts {
        let entry = normal(types, id, part.value, depth)?;
        let key = key(types, id, &entry)?;
        match places.get(&key) {
            Some(at) => found[*at] = entry,
            None => {
                places.insert(key, found.len());
                found.push(entry);
            }
        }
    }
    Ok(found)
}

/// The key of an entry, whatever bytes it was written with.
fn key(types: &ProtobufMessages, id: MessageId, entry: &[u8]) -> Outcome<Number> {
    let message = types.message(id);
    let field = &message.fields[0];
    let gathered = gather(types, id, Wire::new(entry), 1)?;
    match gathered.parts.iter().find(|part| part.field == 0) {
        Some(part) => Number::read(field.kind, part.value),
        None => Number::read(field.kind, Number::value_of(field.kind, &field.default)?),
    }
}
