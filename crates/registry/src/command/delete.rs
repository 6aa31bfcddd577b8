//! Deleting: softly first, so that what was written can still be read, then for good.

use crate::command::lookup::{Show, own_version};
use crate::command::{Which, check_writable};
use crate::problem::Problem;
use crate::record::{Key, Record, SubjectValue, Value};
use crate::state::{State, value_of};
use crate::subject::Subject;

/// How thoroughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Consumers still find it by its id.
    Soft,
    /// It is gone.
    Permanent,
}

/// What deleting comes to.
#[derive(Debug)]
pub struct Deletion {
    /// The versions.
    pub versions: Vec<i32>,
    /// What is to be written.
    pub records: Vec<Record>,
}

/// Deletes a subject.
///
/// # Errors
/// If there is none, it is referred to, or it was not softly deleted before.
pub fn subject(state: &State, subject: &Subject, depth: Depth) -> Result<Deletion, Problem> {
    check_writable(state, subject)?;
    let qualified = subject.qualified();
    let versions = state.versions(subject).ok_or_else(|| Problem::subject_not_found(&qualified))?;
    let live: Vec<i32> = versions.iter().filter(|(_, one)| !one.deleted).map(|(number, _)| *number).collect();
    match depth {
        Depth::Soft => {
            let Some(last) = live.last().copied() else {
                let message = format!(
                    "Subject '{qualified}' was soft deleted.Set permanent=true to delete permanently"
                );
                return Err(Problem::new(40404, message));
            };
            live.iter().try_for_each(|number| check_referrers(state, subject, *number))?;
            let value = SubjectValue { subject: Some(qualified.clone()), version: Some(last) };
            let key = Key::DeleteSubject(qualified);
            Ok(Deletion { versions: live, records: vec![Record { key, value: Some(Value::Subject(value)) }] })
        }
        Depth::Permanent => {
            if !live.is_empty() {
                let message =
                    format!("Subject '{qualified}' was not deleted first before being permanently deleted");
                return Err(Problem::new(40405, message));
            }
            let numbers: Vec<i32> = versions.keys().copied().collect();
            numbers.iter().try_for_each(|number| check_referrers(state, subject, *number))?;
            let schema = |version: &i32| Key::Schema { subject: qualified.clone(), version: *version };
            let keys = numbers.iter().rev().map(schema).chain(own_settings(state, &qualified));
            let records = keys.map(tombstone).collect();
            Ok(Deletion { versions: numbers, records })
        }
    }
}

/// Deletes one version.
///
/// # Errors
/// If there is none, it is referred to, or it was not softly deleted before.
pub fn one(state: &State, subject: &Subject, which: Which, depth: Depth) -> Result<Deletion, Problem> {
    check_writable(state, subject)?;
    let qualified = subject.qualified();
    let found = own_version(state, subject.clone(), which, Show::All)?;
    let number = found.version;
    let refuse = |code, what: &str| {
        Err(Problem::new(code, format!("Subject '{qualified}' Version {number} was {what}")))
    };
    if depth == Depth::Soft && found.entry.deleted {
        return refuse(40406, "soft deleted.Set permanent=true to delete permanently");
    }
    check_referrers(state, subject, number)?;
    let key = Key::Schema { subject: qualified.clone(), version: number };
    let records = match depth {
        Depth::Soft => {
            let mut value = value_of(&qualified, number, &found.entry);
            value.deleted = true;
            vec![Record { key, value: Some(Value::Schema(Box::new(value))) }]
        }
        Depth::Permanent if !found.entry.deleted => {
            return refuse(40407, "not deleted first before being permanently deleted");
        }
        Depth::Permanent => {
            let last = state.versions(subject).is_none_or(|versions| versions.len() == 1);
            let own = last.then(|| own_settings(state, &qualified)).into_iter().flatten();
            std::iter::once(key).chain(own).map(tombstone).collect()
        }
    };
    Ok(Deletion { versions: vec![number], records })
}

/// The keys of a subject's mode and settings, which go with its last version.
fn own_settings(state: &State, qualified: &str) -> impl Iterator<Item = Key> {
    let mode = state.own_mode(qualified).map(|_| Key::Mode(qualified.to_owned()));
    let config = state.own_config(qualified).map(|_| Key::Config(qualified.to_owned()));
    mode.into_iter().chain(config)
}

/// A record that takes back what the key says.
pub(super) fn tombstone(key: Key) -> Record {
    Record { key, value: None }
}

/// Refuses to delete what schemas refer to that are not deleted.
pub(super) fn check_referrers(state: &State, subject: &Subject, number: i32) -> Result<(), Problem> {
    let live = |(context, id): &(String, i32)| {
        state.uses(context, *id).any(|(user, version)| {
            let user = state.versions(&Subject::parse(user, context));
            user.and_then(|versions| versions.get(version)).is_some_and(|version| !version.deleted)
        })
    };
    if state.referrers(subject, number).any(live) {
        let subject = subject.qualified();
        return Err(Problem::new(
            42206,
            format!(
                "One or more references exist to the schema \
                 {{magic=1,keytype=SCHEMA,subject={subject},version={number}}}."
            ),
        ));
    }
    Ok(())
}
