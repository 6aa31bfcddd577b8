//! Changing settings and modes.

use serde_json::{Map, Value as Json};

use crate::command::check_writable;
use crate::command::delete::{check_referrers, tombstone};
use crate::entity::{Config, Level, Mode};
use crate::problem::Problem;
use crate::record::{ConfigValue, Key, ModeValue, Record, SubjectValue, Value};
use crate::state::State;
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// Members of a request that become settings as they are. The level has a name of its own here.
const LEVEL: &str = "compatibility";

/// The policy's. What is stored already may have been by a registry that knows more of them.
const POLICY: &str = "compatibilityPolicy";

/// The record that changes the settings of a scope: members that are null are cleared, absent ones stay.
///
/// # Errors
/// If a member has no value that it may have, or the scope is read-only.
pub fn put_config(state: &State, scope: &Subject, request: &Map<String, Json>) -> Result<Record, Problem> {
    check_writable(state, scope)?;
    let qualified = scope.qualified();
    let mut merged = match state.own_config(&qualified).map(serde_json::to_value) {
        Some(Ok(Json::Object(members))) => members,
        _ => Map::new(),
    };
    for (name, value) in request {
        let name = match name.as_str() {
            LEVEL | "compatibilityLevel" => "compatibilityLevel",
            other => other,
        };
        let value = match (name, value) {
            ("compatibilityLevel", Json::Null) => Json::Null,
            ("compatibilityLevel", level) => {
                Json::from(level.as_str().unwrap_or_default().parse::<Level>()?.as_str())
            }
            (_, other) => other.clone(),
        };
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.to_owned(), value);
        }
    }
    let config: Config = serde_json::from_value(Json::Object(merged))
        .map_err(|error| Problem::new(422, format!("settings: {error}")))?;
    for rules in [&config.default_rule_set, &config.override_rule_set].into_iter().flatten() {
        rules.check()?;
    }
    if let Some(policy) = config.compatibility_policy.as_ref().filter(|_| request.contains_key(POLICY))
        && !["STRICT", "LENIENT"].contains(&policy.as_str())
    {
        return Err(Problem::new(
            42203,
            format!("Invalid compatibility policy `{policy}`. Valid values here are STRICT and LENIENT"),
        ));
    }
    let subject = Some(qualified.clone()).filter(|scope| !scope.is_empty());
    let value = Value::Config(Box::new(ConfigValue { subject, config }));
    Ok(Record { key: Key::Config(qualified), value: Some(value) })
}

/// Takes the settings of a scope back; says which they were.
///
/// # Errors
/// If the scope has none, or is read-only.
pub fn delete_config(state: &State, scope: &Subject) -> Result<(Config, Record), Problem> {
    check_writable(state, scope)?;
    let qualified = scope.qualified();
    let old = match state.own_config(&qualified) {
        Some(config) => config.clone(),
        None if scope.name().is_empty() => state.config(scope),
        None => return Err(Problem::subject_not_found(&qualified)),
    };
    Ok((old, tombstone(Key::Config(qualified))))
}

/// The records that change the mode of a scope.
///
/// # Errors
/// If it is no mode, or schemas with ids of their own would be mixed with others.
pub fn put_mode(state: &State, scope: &Subject, mode: &str, force: bool) -> Result<Vec<Record>, Problem> {
    let mode: Mode = mode.parse()?;
    let qualified = scope.qualified();
    let subject = Some(qualified.clone()).filter(|scope| !scope.is_empty());
    let mut records = Vec::new();
    if mode == Mode::Import && state.mode(scope) != Mode::Import && !force {
        records = cleared(state, scope)?;
        let value = Value::Subject(SubjectValue { subject: subject.clone(), version: None });
        records.push(Record { key: Key::ClearSubject(qualified.clone()), value: Some(value) });
    }
    let value = Value::Mode(ModeValue { subject, mode });
    records.push(Record { key: Key::Mode(qualified), value: Some(value) });
    Ok(records)
}

/// The records that delete what is soft-deleted in a scope for good.
fn cleared(state: &State, scope: &Subject) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::new();
    for (name, versions) in state.subjects() {
        let subject = Subject::parse(name, DEFAULT_CONTEXT);
        if subject.context() != scope.context() || !(scope.name().is_empty() || subject == *scope) {
            continue;
        }
        if versions.values().any(|version| !version.deleted) {
            return Err(Problem::not_permitted("Cannot import since found existing subjects"));
        }
        for version in versions.keys() {
            check_referrers(state, &subject, *version)?;
            records.push(tombstone(Key::Schema { subject: name.to_owned(), version: *version }));
        }
    }
    Ok(records)
}

/// Takes the mode of a scope back; says which it was. `inside` takes the modes of a context's subjects back
/// too.
///
/// # Errors
/// If the scope has none.
pub fn delete_mode(state: &State, scope: &Subject, inside: bool) -> Result<(Mode, Vec<Record>), Problem> {
    let qualified = scope.qualified();
    let old = match state.own_mode(&qualified) {
        Some(mode) => mode,
        None if scope.name().is_empty() => state.mode(scope),
        None => return Err(Problem::subject_not_found(&qualified)),
    };
    let inner = state.modes_inside(scope).filter(|_| inside).map(str::to_owned);
    let scopes = inner.chain([qualified]);
    Ok((old, scopes.map(|scope| tombstone(Key::Mode(scope))).collect()))
}

/// Forgets a context, and with it which ids it gave.
///
/// # Errors
/// If it has subjects, soft-deleted ones included.
pub fn delete_context(state: &State, context: &str) -> Result<Vec<Record>, Problem> {
    let inside = |name: &str| Subject::parse(name, DEFAULT_CONTEXT).context() == context;
    if state.subjects().any(|(name, versions)| !versions.is_empty() && inside(name)) {
        return Err(Problem::new(42211, format!("The specified context '{context}' is not empty.")));
    }
    // The default context is there without a record.
    let exists = context != DEFAULT_CONTEXT && state.contexts().any(|known| known == context);
    let record = tombstone(Key::Context(context.to_owned()));
    Ok(exists.then_some(record).into_iter().collect())
}
