//! Deleting: softly first, so that what was written can still be read, then for good.

use crate::command::lookup::{Show, version};
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
            let mut keys: Vec<Key> = numbers.iter().rev().map(schema).collect();
            keys.extend(state.own_mode(&qualified).map(|_| Key::Mode(qualified.clone())));
            keys.extend(state.own_config(&qualified).map(|_| Key::Config(qualified.clone())));
            let records = keys.into_iter().map(|key| Record { key, value: None }).collect();
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
    let show = if which == Which::Latest && depth == Depth::Soft { Show::Live } else { Show::All };
    let found = version(state, subject, which, show)?;
    let number = found.version;
    let refuse = |code, what: &str| {
        Err(Problem::new(code, format!("Subject '{qualified}' Version {number} was {what}")))
    };
    match (depth, found.entry.deleted) {
        (Depth::Soft, true) => {
            return refuse(40406, "soft deleted.Set permanent=true to delete permanently");
        }
        (Depth::Permanent, false) => {
            return refuse(40407, "not deleted first before being permanently deleted");
        }
        (Depth::Soft, false) | (Depth::Permanent, true) => {}
    }
    check_referrers(state, subject, number)?;
    let value = match depth {
        Depth::Soft => {
            let mut value = value_of(&qualified, number, &found.entry);
            value.deleted = true;
            Some(Value::Schema(Box::new(value)))
        }
        Depth::Permanent => None,
    };
    let key = Key::Schema { subject: qualified, version: number };
    Ok(Deletion { versions: vec![number], records: vec![Record { key, value }] })
}

fn check_referrers(state: &State, subject: &Subject, number: i32) -> Result<(), Problem> {
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
