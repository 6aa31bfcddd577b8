//! The offsets that a group has committed, and those that wait for a transaction to end.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// A topic and a partition.
pub(crate) type Place = (String, i32);

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    #[serde(rename = "o")]
    pub(crate) offset: i64,
    #[serde(rename = "e")]
    pub(crate) leader_epoch: i32,
    #[serde(rename = "m")]
    pub(crate) metadata: String,
}

/// One group's offsets.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<Place, Committed>,
    /// By the producer whose transaction they are part of.
    pending: HashMap<i64, BTreeMap<Place, Committed>>,
}

impl Offsets {
    pub(crate) fn get(&self, place: &Place) -> Option<&Committed> {
        self.committed.get(place)
    }

    /// All committed offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Committed)> {
        self.committed.iter()
    }

    pub(crate) fn vacant(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Whether a transaction has offsets here that it may yet commit.
    pub(crate) fn awaited(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The committed offsets that are not among those to be kept.
    pub(crate) fn besides(&self, kept: impl Fn(&Place) -> bool) -> Vec<Place> {
        self.committed.keys().filter(|place| !kept(place)).cloned().collect()
    }

    /// Committed and pending ones.
    pub(crate) fn len(&self) -> usize {
        self.committed.len() + self.pending.values().map(BTreeMap::len).sum::<usize>()
    }

    pub(crate) fn commit(&mut self, places: impl IntoIterator<Item = (Place, Committed)>) {
        self.committed.extend(places);
    }

    pub(crate) fn forget(&mut self, place: &Place) {
        self.committed.remove(place);
    }

    /// Keeps offsets until the producer's transaction ends.
    pub(crate) fn hold(&mut self, producer_id: i64, places: Vec<(Place, Committed)>) {
        self.pending.entry(producer_id).or_default().extend(places);
    }

    /// The offsets of the producer's transaction.
    pub(crate) fn held(&self, producer_id: i64) -> Vec<(Place, Committed)> {
        let held = self.pending.get(&producer_id).into_iter().flatten();
        held.map(|(place, committed)| (place.clone(), committed.clone())).collect()
    }

    /// The producer's transaction has ended.
    pub(crate) fn release(&mut self, producer_id: i64) {
        self.pending.remove(&producer_id);
    }

    /// Whether an open transaction may change this offset.
    pub(crate) fn unstable(&self, place: &Place) -> bool {
        self.pending.values().any(|places| places.contains_key(place))
    }
}
