//! The texts that a schema refers to, and what they refer to in turn.

use std::collections::HashSet;

use tidegate_languages::Referenced;

use crate::entity::Reference;
use crate::problem::Problem;
use crate::state::State;
use crate::subject::Subject;

/// How many schemas one may refer to, directly and through others.
const REFERENCES_MAX: usize = 1_000;

/// How many bytes their texts may have in all.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a chain of references may be.
const DEPTH_MAX: usize = 100;

/// Whose references are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// A new schema's: it may not refer to what is deleted.
    Refused,
    /// A stored one's.
    Allowed,
}

/// The texts that `references` of a schema in `context` lead to, each before what refers to it.
///
/// # Errors
/// If one does not exist, or they are too many or too deep: a circle of them ends here.
pub fn resolve(
    state: &State,
    context: &str,
    references: &[Reference],
    deleted: Deleted,
) -> Result<Vec<Referenced>, Problem> {
    let mut walk =
        Walk { state, deleted, seen: HashSet::new(), open: Vec::new(), texts: Vec::new(), bytes: 0 };
    walk.add(context, references)?;
    Ok(walk.texts)
}

struct Walk<'a> {
    state: &'a State,
    deleted: Deleted,
    seen: HashSet<String>,
    /// The subjects and versions that lead to where the walk is.
    open: Vec<(Subject, i32)>,
    texts: Vec<Referenced>,
    bytes: usize,
}

impl Walk<'_> {
    fn add(&mut self, context: &str, references: &[Reference]) -> Result<(), Problem> {
        if self.open.len() > DEPTH_MAX {
            return Err(refuse(&format!("references nest deeper than {DEPTH_MAX}")));
        }
        for reference in references {
            if reference.name.is_empty() || reference.subject.is_empty() {
                return Err(refuse("a reference needs `name`, `subject` and `version`"));
            }
            let subject = Subject::parse(&reference.subject, context);
            let target = (subject, reference.version);
            if let Some(start) = self.open.iter().position(|open| *open == target) {
                let circle = self.open[start..].iter().chain([&target]);
                let circle: Vec<String> =
                    circle.map(|(subject, version)| format!("{subject} {version}")).collect();
                return Err(refuse(&format!("references go in a circle: {}", circle.join(" -> "))));
            }
            // A name means one text for the whole schema.
            if !self.seen.insert(reference.name.clone()) {
                continue;
            }
            if self.seen.len() > REFERENCES_MAX {
                return Err(refuse(&format!("more than {REFERENCES_MAX} references")));
            }
            let (subject, _) = &target;
            let found = self.state.versions(subject).and_then(|versions| versions.get(&reference.version));
            let found = found.filter(|found| self.deleted == Deleted::Allowed || !found.deleted);
            let found = found.ok_or_else(|| {
                refuse(&format!(
                    "No schema reference found for subject \"{}\" and version {}",
                    reference.subject, reference.version
                ))
            })?;
            let schema = std::sync::Arc::clone(&found.schema);
            let context = subject.context().to_owned();
            self.open.push(target);
            self.add(&context, &schema.references)?;
            self.open.pop();
            self.bytes += schema.text.len();
            if self.bytes > BYTES_MAX {
                return Err(refuse(&format!("references have more than {BYTES_MAX} bytes of text")));
            }
            self.texts.push(Referenced { name: reference.name.clone(), text: schema.text.clone() });
        }
        Ok(())
    }
}

fn refuse(message: &str) -> Problem {
    Problem::new(42201, format!("Invalid schema, details: {message}"))
}

/// The references with the latest versions in the place of -1.
///
/// # Errors
/// If there is no latest version of a subject.
pub fn pinned(state: &State, context: &str, references: &[Reference]) -> Result<Vec<Reference>, Problem> {
    let pin = |reference: &Reference| {
        let mut reference = reference.clone();
        if reference.version == -1 {
            let subject = Subject::parse(&reference.subject, context);
            let versions = state.versions(&subject);
            let latest = versions.and_then(|versions| versions.iter().rfind(|(_, version)| !version.deleted));
            let (number, _) = latest.ok_or_else(|| {
                refuse(&format!(
                    "No schema reference found for subject \"{}\" and version -1",
                    reference.subject
                ))
            })?;
            reference.version = *number;
        }
        Ok(reference)
    };
    references.iter().map(pin).collect()
}
