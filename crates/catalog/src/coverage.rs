//! What a catalog covers of the metrics that people want: a spreadsheet's rows, each with one status.
//!
//! A row is covered only by a metric that has its name, or an alias of it that somebody wrote: what is merely like
//! it is proposed. Start with [`sheet::read`], then [`cover`].

mod figures;
mod formula;
pub mod history;
mod known;
mod needs;
mod proposal;
mod report;
pub mod sheet;
mod unused;
mod words;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

pub use self::figures::{Figures, Group, Lacking, percent};
use self::known::Known;
pub use self::proposal::Proposal;
pub use self::report::{markdown, small_plot};
pub use self::sheet::{Malformed, Sheet, SheetError, Wanted};
pub use self::unused::Unused;
use crate::catalog::Catalog;
use crate::lock::Lock;
use crate::question::{Asked, compile};

/// What a catalog covers of a spreadsheet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// How many rows have which status.
    pub figures: Figures,
    /// The same by owner, in the sheet's order.
    pub owners: Vec<Group>,
    /// The same by priority, in the order of the alphabet.
    pub priorities: Vec<Group>,
    /// Every row that could be read, in the sheet's order.
    pub rows: Vec<Row>,
    /// Rows that could not.
    pub malformed: Vec<Malformed>,
    /// What there is not, that which unlocks most metrics first.
    pub missing: Vec<Lacking>,
    /// What is collected and counted by no metric.
    pub unused: Unused,
}

/// A row of the spreadsheet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The line that it begins at, from 1.
    pub line: usize,
    /// What the metric is called.
    pub name: String,
    /// Who wants it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// How much.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub priority: String,
    /// What there is of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What its formula says otherwise than the metric that covers it by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// Metrics that it may be another name of. Nobody said so: it counts for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<String>,
}

/// What there is of a wanted metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// A metric of that name is there, and compiles.
    Covered {
        /// The metric.
        metric: String,
        /// How its name was found.
        by: Match,
    },
    /// All that it is computed of is there; the metric is not.
    Derivable {
        /// What would have to be written.
        proposal: Proposal,
    },
    /// Some fields are not there.
    Partial {
        /// These.
        missing: Vec<Missing>,
    },
    /// Some event is not there.
    Blocked {
        /// The event, and fields that are not there either.
        missing: Vec<Missing>,
    },
    /// Another row wants the same.
    Duplicate {
        /// The line of that row.
        of_line: usize,
        /// Its name.
        of: String,
    },
    /// A person has to say what it is.
    Unclear {
        /// Why.
        reason: String,
    },
}

/// How a metric was found by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// It has the name.
    Name,
    /// It has it as an alias.
    Alias,
    /// Its name or alias has the same words in the same order.
    Words,
}

/// Something that a wanted metric needs and no event has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Missing {
    /// A field of an event.
    Field {
        /// The event.
        event: String,
        /// The field.
        field: String,
    },
    /// A whole event.
    Event {
        /// The event.
        event: String,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { event, field } => write!(f, "{event}.{field}"),
            Self::Event { event } => f.write_str(event),
        }
    }
}

/// A status without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// [`Outcome::Covered`]
    Covered,
    /// [`Outcome::Derivable`]
    Derivable,
    /// [`Outcome::Partial`]
    Partial,
    /// [`Outcome::Blocked`]
    Blocked,
    /// [`Outcome::Unclear`]
    Unclear,
    /// [`Outcome::Duplicate`]
    Duplicate,
}

impl Status {
    /// All of them, the best first; duplicates, which are no metrics of their own, last.
    pub const ALL: [Self; 6] =
        [Self::Covered, Self::Derivable, Self::Partial, Self::Blocked, Self::Unclear, Self::Duplicate];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Derivable => "derivable",
            Self::Partial => "partial",
            Self::Blocked => "blocked",
            Self::Unclear => "unclear",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Outcome {
    /// Its status.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Covered { .. } => Status::Covered,
            Self::Derivable { .. } => Status::Derivable,
            Self::Partial { .. } => Status::Partial,
            Self::Blocked { .. } => Status::Blocked,
            Self::Duplicate { .. } => Status::Duplicate,
            Self::Unclear { .. } => Status::Unclear,
        }
    }
}

/// Gives every row of the sheet its status. The same catalog, lock and sheet give the same answer.
#[must_use]
pub fn cover(catalog: &Catalog, lock: &Lock, sheet: &Sheet) -> Coverage {
    let known = Known::of(catalog);
    let lock = lock.extended(catalog);
    let mut seen = Seen::default();
    // Names first: what has the name of a metric is that metric, wherever it stands in the sheet.
    let mut outcomes: Vec<Option<Outcome>> =
        sheet.rows.iter().map(|row| seen.by_name(&known, &lock, row)).collect();
    seen.taken = catalog.file.metrics.keys().map(str::to_owned).collect();
    for (row, outcome) in sheet.rows.iter().zip(&mut outcomes) {
        if outcome.is_none() {
            *outcome = Some(seen.by_needs(&known, row));
        }
    }
    let rows = sheet.rows.iter().zip(outcomes).filter_map(|(row, outcome)| {
        let outcome = outcome?;
        let similar = match outcome.status() {
            Status::Covered | Status::Duplicate => Vec::new(),
            Status::Derivable | Status::Partial | Status::Blocked | Status::Unclear => known.like(&row.name),
        };
        let differs = if let Outcome::Covered { metric, .. } = &outcome {
            needs::otherwise(&known, row, metric)
        } else {
            None
        };
        let (owner, priority) = (row.owner.clone(), row.priority.clone());
        Some(Row { line: row.line, name: row.name.clone(), owner, priority, outcome, differs, similar })
    });
    let rows: Vec<Row> = rows.collect();
    Coverage {
        figures: Figures::of(&rows),
        owners: figures::groups(&rows, |row| &row.owner),
        priorities: figures::sorted(figures::groups(&rows, |row| &row.priority)),
        missing: figures::missing(&rows),
        unused: unused::unused(catalog),
        malformed: sheet.malformed.clone(),
        rows,
    }
}

/// The rows that have been looked at, by what they want.
#[derive(Default)]
struct Seen {
    names: HashMap<String, (usize, String)>,
    metrics: HashMap<String, (usize, String)>,
    /// What rows propose, without name and words.
    shapes: Vec<(needs::Shape, usize, String)>,
    taken: HashSet<String>,
}

impl Seen {
    /// What the row's name alone says.
    fn by_name(&mut self, known: &Known<'_>, lock: &Lock, row: &Wanted) -> Option<Outcome> {
        let place = (row.line, row.name.clone());
        // A name without letters and digits has no words.
        let key =
            Some(words::key(&row.name)).filter(|key| !key.is_empty()).unwrap_or_else(|| row.name.clone());
        if let Some((of_line, of)) = self.names.get(&key).cloned() {
            return Some(Outcome::Duplicate { of_line, of });
        }
        self.names.insert(key, place.clone());
        let (metric, by) = match known.metric_called(&row.name) {
            Some((metric, true)) => (metric, Match::Alias),
            Some((metric, false)) => (metric, Match::Name),
            None => (known.metric_worded(&row.name)?, Match::Words),
        };
        if let Some((of_line, of)) = self.metrics.get(metric).cloned() {
            return Some(Outcome::Duplicate { of_line, of });
        }
        self.metrics.insert(metric.to_owned(), place);
        Some(match compiles(known, lock, metric) {
            Ok(()) => Outcome::Covered { metric: metric.to_owned(), by },
            Err(why) => Outcome::Unclear { reason: format!("metric `{metric}` does not compile: {why}") },
        })
    }

    /// What the row's formula and words say.
    fn by_needs(&mut self, known: &Known<'_>, row: &Wanted) -> Outcome {
        let shape = match needs::needs(known, row) {
            Ok(shape) => shape,
            Err(gap) => return lacking(gap),
        };
        if let Some((_, of_line, of)) = self.shapes.iter().find(|(other, ..)| *other == shape) {
            return Outcome::Duplicate { of_line: *of_line, of: of.clone() };
        }
        let proposal = match shape.proposal(known, row, &mut self.taken) {
            Ok(proposal) => proposal,
            Err(gap) => return lacking(gap),
        };
        if let Proposal::Alias { metric, .. } = &proposal {
            if let Some((of_line, of)) = self.metrics.get(metric).cloned() {
                return Outcome::Duplicate { of_line, of };
            }
            self.metrics.insert(metric.clone(), (row.line, row.name.clone()));
        }
        self.shapes.push((shape, row.line, row.name.clone()));
        Outcome::Derivable { proposal }
    }
}

/// Whether the metric can be asked for, over all time or by day.
fn compiles(known: &Known<'_>, lock: &Lock, metric: &str) -> Result<(), String> {
    let mut asked = Asked { metrics: vec![metric.to_owned()], ..Asked::default() };
    if compile(known.catalog, lock, &asked).is_ok() {
        return Ok(());
    }
    asked.grain = Some("day".to_owned());
    compile(known.catalog, lock, &asked).map(drop).map_err(|refused| {
        refused.as_slice().first().map(|mistake| mistake.message.clone()).unwrap_or_default()
    })
}

fn lacking(needs::Gap { missing, unclear }: needs::Gap) -> Outcome {
    if missing.is_empty() {
        return Outcome::Unclear { reason: unclear.unwrap_or_else(|| "no formula".to_owned()) };
    }
    let blocked = missing.iter().any(|missing| matches!(missing, Missing::Event { .. }));
    if blocked { Outcome::Blocked { missing } } else { Outcome::Partial { missing } }
}
