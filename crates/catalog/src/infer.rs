//! Records that were seen, summed up, and the events that are proposed from them.
//!
//! [`Survey`] takes records in, each with the event that it is meant to be, and remembers no more than it has room
//! for. [`separate`](fn@separate) finds what tells events apart where nobody says it. [`propose`](fn@propose) makes
//! the proposal, with the evidence beside each field and a note of everything that the proposal would refuse of what
//! was seen. [`Comparison`] holds records against a catalog that is there.

mod against;
mod evidence;
mod field;
mod number;
mod propose;
mod scalar;
mod separate;
mod text;

use std::collections::BTreeMap;

use serde_json::Value;

use self::evidence::Looking;
use self::text::Forms;

pub use against::{Comparison, Difference, known};
pub use evidence::{Evidence, Members};
pub use number::Numbers;
pub use propose::{Inferred, propose};
pub use separate::{Separation, Separator, separate};
pub use text::{Form, Texts, Words};

/// The most events that are told apart.
pub const EVENTS_MAX: usize = 200;
/// The most places of values that are remembered, over all events. One takes some hundred bytes, and at most two
/// kibibytes.
const PLACES_MAX: usize = 60_000;
/// How deep values are looked at.
const DEPTH_MAX: usize = 12;

/// Records by events, summed up.
///
/// The order in which records come does not matter, nor who sees which of them. Where there are more places than there
/// is room for, the deepest levels are given up for all events; that alone may depend on the order, where objects with
/// very many names are among them.
#[derive(Debug)]
pub struct Survey {
    events: BTreeMap<String, Evidence>,
    left_out: u64,
    depth: usize,
    /// No fewer than there are.
    places: usize,
    forms: Forms,
}

impl Default for Survey {
    fn default() -> Self {
        Self { events: BTreeMap::new(), left_out: 0, depth: DEPTH_MAX, places: 0, forms: Forms::default() }
    }
}

impl Survey {
    /// Takes in a record of that event.
    pub fn see(&mut self, event: &str, value: &Value) {
        if !self.events.contains_key(event) {
            if self.events.len() >= EVENTS_MAX {
                self.left_out += 1;
                return;
            }
            self.events.insert(event.to_owned(), Evidence::default());
        }
        if let Some(evidence) = self.events.get_mut(event) {
            let mut looking = Looking { forms: &self.forms, places: self.places };
            evidence.see(value, self.depth, &mut looking);
            self.places = looking.places;
        }
        self.fit();
    }

    /// Takes in what others saw.
    pub fn merge(&mut self, other: Self) {
        self.depth = self.depth.min(other.depth);
        self.left_out += other.left_out;
        for (name, mut evidence) in other.events {
            evidence.forget_below(self.depth);
            if let Some(own) = self.events.get_mut(&name) {
                own.forget_below(self.depth);
                own.merge(evidence);
            } else if self.events.len() < EVENTS_MAX {
                self.events.insert(name, evidence);
            } else {
                self.left_out += evidence.count();
            }
        }
        self.places = usize::MAX;
        self.fit();
    }

    /// Gives up the deepest levels until there is room.
    fn fit(&mut self) {
        while self.places > PLACES_MAX {
            self.places = self.events.values().map(Evidence::places).sum();
            if self.places <= PLACES_MAX || self.depth == 1 {
                return;
            }
            self.depth -= 1;
            for evidence in self.events.values_mut() {
                evidence.forget_below(self.depth);
            }
        }
    }

    /// The events with what was seen of them, by name.
    #[must_use]
    pub const fn events(&self) -> &BTreeMap<String, Evidence> {
        &self.events
    }

    /// Records of events beyond the most that are told apart.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How deep values were looked at, if that was less than usual.
    #[must_use]
    pub fn given_up_below(&self) -> Option<usize> {
        (self.depth < DEPTH_MAX).then_some(self.depth)
    }
}

#[cfg(test)]
mod tests;
