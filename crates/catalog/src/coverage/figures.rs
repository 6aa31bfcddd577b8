//! Rows counted: by status, owner and priority; and what they lack, by how much of it helps most.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::{Missing, Outcome, Row, Status};

/// How many rows have which status. Every row is in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Figures {
    /// Metrics that are wanted: the rows without those that want what another one wants.
    pub wanted: usize,
    /// Metrics that are there.
    pub covered: usize,
    /// Metrics that only have to be written.
    pub derivable: usize,
    /// Metrics that lack fields.
    pub partial: usize,
    /// Metrics that lack an event.
    pub blocked: usize,
    /// Rows that a person has to look at.
    pub unclear: usize,
    /// Rows that want what another one wants.
    pub duplicate: usize,
}

/// How many of a whole a part is, in tenths of a percent and rounded down: 100 % is all of it. Nothing of nothing is
/// all of it too.
#[must_use]
pub fn percent(part: usize, whole: usize) -> f64 {
    let tenths = part.saturating_mul(1_000).checked_div(whole).unwrap_or(1_000);
    tenths as f64 / 10.0
}

impl Figures {
    /// Counts rows.
    #[must_use]
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut figures = Self::default();
        for row in rows {
            figures.add(row.outcome.status());
        }
        figures
    }

    fn add(&mut self, status: Status) {
        self.wanted += usize::from(status != Status::Duplicate);
        *match status {
            Status::Covered => &mut self.covered,
            Status::Derivable => &mut self.derivable,
            Status::Partial => &mut self.partial,
            Status::Blocked => &mut self.blocked,
            Status::Unclear => &mut self.unclear,
            Status::Duplicate => &mut self.duplicate,
        } += 1;
    }

    /// How many rows have that status.
    #[must_use]
    pub const fn count(&self, status: Status) -> usize {
        match status {
            Status::Covered => self.covered,
            Status::Derivable => self.derivable,
            Status::Partial => self.partial,
            Status::Blocked => self.blocked,
            Status::Unclear => self.unclear,
            Status::Duplicate => self.duplicate,
        }
    }

    /// The percentage of wanted metrics that are there.
    #[must_use]
    pub fn percent(&self) -> f64 {
        percent(self.covered, self.wanted)
    }

    /// The percentages of wanted metrics with each status but `duplicate`, in the order of [`Status::ALL`], in tenths
    /// of a percent. They add up to 100 %: what rounding leaves goes to those that lost most by it.
    #[must_use]
    pub fn tenths(&self) -> [(Status, usize); 5] {
        let mut shares =
            [Status::Covered, Status::Derivable, Status::Partial, Status::Blocked, Status::Unclear]
                .map(|status| (status, self.count(status) * 1_000));
        if self.wanted == 0 {
            return shares;
        }
        let mut lost: Vec<(usize, usize)> =
            shares.iter().enumerate().map(|(index, (_, share))| (share % self.wanted, index)).collect();
        // What is covered is never rounded up: it is the number that a build may fail by.
        lost.sort_by_key(|(lost, index)| (*index == 0, std::cmp::Reverse(*lost)));
        for share in &mut shares {
            share.1 /= self.wanted;
        }
        let left = 1_000 - shares.iter().map(|(_, share)| share).sum::<usize>();
        for (_, index) in lost.into_iter().filter(|(lost, _)| *lost > 0).take(left) {
            if let Some(share) = shares.get_mut(index) {
                share.1 += 1;
            }
        }
        shares
    }
}

/// The rows of an owner or a priority, counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The owner or the priority; empty if the rows name none.
    pub name: String,
    /// The percentage of its wanted metrics that are there.
    pub percent: f64,
    /// The counts.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Counts rows by what `of` gives, in the order in which it comes first.
pub(super) fn groups(rows: &[Row], of: impl Fn(&Row) -> &str) -> Vec<Group> {
    let mut groups: IndexMap<&str, Figures> = IndexMap::new();
    for row in rows {
        groups.entry(of(row)).or_default().add(row.outcome.status());
    }
    let groups = groups.into_iter();
    groups
        .map(|(name, figures)| Group { name: name.to_owned(), percent: figures.percent(), figures })
        .collect()
}

pub(super) fn sorted(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by(|one, other| (one.name.is_empty(), &one.name).cmp(&(other.name.is_empty(), &other.name)));
    groups
}

/// Something that is missing, and whom it would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// The field or event.
    #[serde(flatten)]
    pub missing: Missing,
    /// The metrics that lack nothing else.
    pub unlocks: Vec<String>,
    /// The metrics that lack more than this.
    pub helps: Vec<String>,
}

/// What rows lack, that which unlocks most metrics first.
pub(super) fn missing(rows: &[Row]) -> Vec<Lacking> {
    let mut found: BTreeMap<&Missing, Lacking> = BTreeMap::new();
    for row in rows {
        let (Outcome::Partial { missing } | Outcome::Blocked { missing }) = &row.outcome else { continue };
        for one in missing {
            let lacking = found.entry(one).or_insert_with(|| Lacking {
                missing: one.clone(),
                unlocks: Vec::new(),
                helps: Vec::new(),
            });
            let names = if missing.len() == 1 { &mut lacking.unlocks } else { &mut lacking.helps };
            names.push(row.name.clone());
        }
    }
    let mut found: Vec<Lacking> = found.into_values().collect();
    found.sort_by_key(|lacking| std::cmp::Reverse((lacking.unlocks.len(), lacking.helps.len())));
    found
}
