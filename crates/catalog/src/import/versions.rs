//! The versions of one definition: which is the newest, and what each step between them does.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Imported;
use super::steps::{Step, class_of_step};

/// A version as sources have it: SchemaVer's `MODEL-REVISION-ADDITION`, or `MAJOR.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label {
    /// Readers of the one before cannot read it.
    pub model: u32,
    /// Some cannot.
    pub revision: u32,
    /// All can.
    pub addition: u32,
}

impl Label {
    /// Reads `1-0-2`, `1.0.2`, `v2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = text.split(['-', '.']).map(|part| {
            let plain = !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
            if plain { part.parse::<u32>().ok() } else { None }
        });
        let model = numbers.next()??;
        let mut more = || numbers.next().unwrap_or(Some(0));
        let (revision, addition) = (more()?, more()?);
        numbers.next().is_none().then_some(Self { model, revision, addition })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.model, self.revision, self.addition)
    }
}

/// A step from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionStep {
    /// The version before.
    pub from: Label,
    /// The version after.
    pub to: Label,
    /// What the labels say that it is: `model`, `revision` or `addition`.
    pub label: &'static str,
    /// What it does.
    pub step: Step,
}

impl VersionStep {
    /// Whether label and step agree on what becomes of readers and writers: a new model breaks them, an addition does
    /// not. A revision may.
    #[must_use]
    pub fn agrees(&self) -> bool {
        match self.label {
            "model" => self.step.breaks,
            "addition" => !self.step.breaks,
            _ => true,
        }
    }
}

/// A definition with all of its versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The newest.
    pub newest: Imported,
    /// The files of those before, the oldest first.
    pub older: Vec<String>,
    /// What the steps do.
    pub steps: Vec<VersionStep>,
}

/// Puts versions of one definition together: the newest is the event. Families in the order of their names. Definitions
/// of one name without versions, or of the same one, are families of their own.
#[must_use]
pub fn newest(imported: Vec<Imported>) -> Vec<Family> {
    let mut families: BTreeMap<String, Vec<Imported>> = BTreeMap::new();
    for one in imported {
        families.entry(one.family.clone()).or_default().push(one);
    }
    let mut found = Vec::with_capacity(families.len());
    for (_, mut versions) in families {
        versions.sort_by(|one, other| (one.label, &one.file).cmp(&(other.label, &other.file)));
        let distinct = versions
            .windows(2)
            .all(|pair| matches!(pair, [one, other] if one.label.is_some() && one.label < other.label));
        if !distinct {
            let alone = |newest| Family { newest, older: Vec::new(), steps: Vec::new() };
            found.extend(versions.into_iter().map(alone));
            continue;
        }
        let steps = versions.windows(2).filter_map(|pair| match pair {
            [old, new] => Some(step(old, new, (old.label?, new.label?))),
            _ => None,
        });
        let steps: Vec<VersionStep> = steps.collect();
        let Some(newest) = versions.pop() else { continue };
        let older = versions.into_iter().map(|version| version.file).collect();
        found.push(Family { newest, older, steps });
    }
    found
}

fn step(old: &Imported, new: &Imported, (from, to): (Label, Label)) -> VersionStep {
    let label = if from.model != to.model {
        "model"
    } else if from.revision != to.revision {
        "revision"
    } else {
        "addition"
    };
    VersionStep { from, to, label, step: class_of_step(&old.event, &new.event) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_every_common_way() {
        let label = |model, revision, addition| Some(Label { model, revision, addition });
        assert_eq!(Label::parse("1-0-2"), label(1, 0, 2));
        assert_eq!(Label::parse("v2"), label(2, 0, 0));
        assert_eq!(Label::parse("1.20.3"), label(1, 20, 3));
        for text in ["", "v", "1-", "1-0-0-0", "a-b-c", "1-0-x", "99999999"] {
            assert_eq!(Label::parse(text), None, "{text}");
        }
    }
}
