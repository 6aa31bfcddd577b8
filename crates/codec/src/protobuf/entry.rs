//! The entries of maps, each a message of a key and a value.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use tidegate_native::{Column, MapColumn};

use super::gather::wrong_wire;
use super::model::Kind;
use super::op::{Entry, Key};
use super::run::{Run, tangled};
use super::text::Number;
use super::wire::Wire;
use crate::refusal::{Outcome, Refusal};

/// Seeded alike everywhere: hashes of a message's keys are compared with each other only.
const KEYS: FixedState = FixedState::with_seed(0);

impl<'p, 'b> Run<'p, 'b, '_> {
    /// A map's entry: a message of a key and a value, each of which may be absent.
    pub(super) fn entry(&mut self, entry: &'p Entry, map: &mut MapColumn) -> Outcome {
        self.enter()?;
        let fields = &self.program.types.message(entry.message).fields;
        let mut body = self.wire.payload()?;
        let mut found: [Option<Wire<'b>>; 2] = [None; 2];
        while !body.is_empty() {
            let before = body;
            let tag = body.tag()?;
            let behind = body;
            body.skip(tag, self.program.limits.depth_max)?;
            let at = (tag >> 3) as usize - 1;
            let Some(place) = found.get_mut(at) else { continue };
            if fields[at].tag() != tag {
                return Err(wrong_wire(&fields[at], tag, &before));
            }
            if place.replace(behind).is_some() {
                self.tangled = true;
                return Err(tangled());
            }
        }
        let [key, value] = found;
        let key = key.unwrap_or_else(|| Wire::new(&entry.absent_key));
        let kind = fields[0].kind;
        if !self.ordered {
            let hash = hash(entry, kind, key)?;
            self.memory.names.push(hash);
        }
        let named = |refusal: Box<Refusal>| refusal.within(&shown(kind, key));
        put_key(&entry.key, key, &mut map.keys).map_err(named)?;
        let values = std::slice::from_mut(&mut map.values);
        let read = match value {
            Some(value) => {
                let outer = std::mem::replace(&mut self.wire, value);
                let read = self.op(entry.value, values);
                self.wire = outer;
                read
            }
            None => self.in_place_of(&entry.absent, entry.value, values),
        };
        self.depth -= 1;
        read.map_err(named)
    }
}

fn put_key(key: &Key, wire: Wire<'_>, column: &mut Column) -> Outcome {
    let mut wire = wire;
    match key {
        Key::Text(key) => crate::members::put_key(&key.scalar, key.dictionary, wire.text()?, column),
        Key::Leaf(leaf) => leaf.run(&mut wire, column),
    }
}

/// Tells keys of all maps of a message apart, whatever bytes they were written with.
fn hash(entry: &Entry, kind: Kind, key: Wire<'_>) -> Outcome<u64> {
    let mut key = key;
    Ok(match kind {
        Kind::Text => KEYS.hash_one((entry.message.0, key.text()?)),
        kind => KEYS.hash_one((entry.message.0, Number::next(kind, &mut key)?)),
    })
}

/// A key, for reasons.
fn shown(kind: Kind, key: Wire<'_>) -> String {
    let mut key = key;
    let found = match kind {
        Kind::Text => return key.text().unwrap_or_default().to_owned(),
        kind => Number::next(kind, &mut key),
    };
    match found {
        Ok(Number::Signed(value)) => value.to_string(),
        Ok(Number::Unsigned(value)) => value.to_string(),
        Ok(Number::Bool(value)) => value.to_string(),
        Ok(Number::Float(_) | Number::Double(_) | Number::Bytes(_)) | Err(_) => "?".to_owned(),
    }
}
