//! A message's fields brought into order: what was written in parts, twice or in any order comes out as
//! what it means. Slower than reading straight through, and right for every message.

use super::model::{Field, Kind, MessageId, Presence, ProtobufMessages};
use super::wire::{PAYLOAD, Wire, described, too_deep};
use crate::refusal::{Outcome, Refusal};

/// One time that a field was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Which field of the message.
    pub(crate) field: usize,
    /// A number's own bytes, what stands behind a length, a group's body.
    pub(crate) value: Wire<'a>,
    /// Whether many values stand in it, one behind the other.
    pub(crate) packed: bool,
}

/// A message's fields.
#[derive(Debug, Default)]
pub(crate) struct Gathered<'a> {
    /// In the order of the fields; of a field in the order of writing. Of a field that has one value, only
    /// the value that counts; a message may be in parts, to be put behind one another.
    pub(crate) parts: Vec<Part<'a>>,
    /// Fields that the schema does not have: tag and value.
    pub(crate) strangers: Vec<(u32, Wire<'a>)>,
}

impl<'a> Gathered<'a> {
    /// The parts of each field that was written.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[Part<'a>]> {
        self.parts.chunk_by(|a, b| a.field == b.field)
    }
}

/// How a field is written with this wire type: whether packed; `None` if it cannot be.
pub(crate) fn written(field: &Field, wire: u32) -> Option<bool> {
    let packable = field.presence == Presence::Repeated && field.kind.packable();
    if wire == field.kind.wire() {
        Some(false)
    } else if packable && wire == PAYLOAD {
        Some(true)
    } else {
        None
    }
}

#[cold]
pub(crate) fn wrong_wire(field: &Field, tag: u32, before: &Wire<'_>) -> Box<Refusal> {
    before.broken(described(field.kind.wire()), described(tag & 7)).within(&field.name)
}

/// Reads a message's fields into order.
pub(crate) fn gather<'a>(
    types: &ProtobufMessages,
    id: MessageId,
    mut wire: Wire<'a>,
    depth: usize,
) -> Outcome<Gathered<'a>> {
    let message = types.message(id);
    let mut gathered = Gathered::default();
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        let Some(at) = message.field(tag >> 3) else {
            let value = wire.value(tag, depth)?;
            gathered.strangers.push((tag, value));
            continue;
        };
        let field = &message.fields[at];
        let packed = written(field, tag & 7).ok_or_else(|| wrong_wire(field, tag, &before))?;
        let value = wire.value(tag, depth).map_err(|refusal| refusal.within(&field.name))?;
        gathered.parts.push(Part { field: at, value, packed });
    }
    let fields = &message.fields;
    keep_the_last_of_each_oneof(types, fields, depth, &mut gathered.parts)?;
    gathered.parts.sort_by_key(|part| part.field);
    let mut kept: Vec<Part<'a>> = Vec::with_capacity(gathered.parts.len());
    for part in gathered.parts.drain(..) {
        let field = &fields[part.field];
        if field.singular()
            && field.kind.message().is_none()
            && let Some(last) = kept.last_mut()
            && last.field == part.field
        {
            // What is overwritten is still read.
            check_value(types, field, last, depth)?;
            *last = part;
        } else {
            kept.push(part);
        }
    }
    gathered.parts = kept;
    Ok(gathered)
}

/// Writing a field of a oneof takes away what stood in the others.
fn keep_the_last_of_each_oneof(
    types: &ProtobufMessages,
    fields: &[Field],
    depth: usize,
    parts: &mut Vec<Part<'_>>,
) -> Outcome {
    // For each oneof, its last field, and whether another one came after an earlier part of it.
    let mut last: Vec<(u16, usize, bool)> = Vec::new();
    let mut overwritten = vec![false; parts.len()];
    for (at, part) in parts.iter().enumerate().rev() {
        let Some(oneof) = fields[part.field].oneof else { continue };
        match last.iter_mut().find(|(known, ..)| *known == oneof) {
            None => last.push((oneof, part.field, false)),
            Some((_, field, broken)) => {
                *broken |= *field != part.field;
                if *broken {
                    check_value(types, &fields[part.field], part, depth)?;
                    overwritten[at] = true;
                }
            }
        }
    }
    let mut overwritten = overwritten.into_iter();
    parts.retain(|_| !overwritten.next().unwrap_or(false));
    Ok(())
}

/// Checks a whole message, without a word about what is in it.
pub(crate) fn check(types: &ProtobufMessages, id: MessageId, mut wire: Wire<'_>, depth: usize) -> Outcome {
    let message = types.message(id);
    while !wire.is_empty() {
        let before = wire;
        let tag = wire.tag()?;
        let Some(at) = message.field(tag >> 3) else {
            wire.skip(tag, depth)?;
            continue;
        };
        let field = &message.fields[at];
        let packed = written(field, tag & 7).ok_or_else(|| wrong_wire(field, tag, &before))?;
        let value = wire.value(tag, depth).map_err(|refusal| refusal.within(&field.name))?;
        check_value(types, field, &Part { field: at, value, packed }, depth)?;
    }
    Ok(())
}

/// As [`check_part`], with the field's name.
fn check_value(types: &ProtobufMessages, field: &Field, part: &Part<'_>, depth: usize) -> Outcome {
    check_part(types, field, part, depth).map_err(|refusal| refusal.within(&field.name))
}

/// Checks what was written of a field.
pub(crate) fn check_part(types: &ProtobufMessages, field: &Field, part: &Part<'_>, depth: usize) -> Outcome {
    let mut value = part.value;
    match field.kind {
        Kind::Text => value.as_text().map(drop),
        Kind::Message(id) | Kind::Group(id) => match depth.checked_sub(1) {
            Some(depth) => check(types, id, value, depth),
            None => Err(too_deep()),
        },
        kind if part.packed => {
            let mut checked = Ok(());
            while checked.is_ok() && !value.is_empty() {
                checked = value.skip(kind.wire(), 0);
            }
            checked
        }
        _ => Ok(()),
    }
}

/// The parts of a message, one behind the other: reading them is merging them.
pub(crate) fn joined(parts: &[Part<'_>]) -> Vec<u8> {
    parts.iter().map(|part| part.value.rest()).collect::<Vec<_>>().concat()
}
