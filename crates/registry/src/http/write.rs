//! What changes something, and what compares schemas.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use crate::command::compatibility::{self, Against};
use crate::command::delete::Depth;
use crate::command::lookup::{self, Show};
use crate::command::register::Outcome;
use crate::command::{SchemaRequest, Which, settings};
use crate::http::answer::{Answer, Compatible, Registered, SchemaBody};
use crate::http::parameters;
use crate::http::read::formatted;
use crate::http::request::{Call, context_name};
use crate::problem::Problem;
use crate::service::{Dialect, Registry};
use crate::state::Version;
use crate::subject::Subject;

type Found404 = Result<Option<Answer>, Problem>;

pub(super) async fn post(registry: &Arc<Registry>, call: &Call, path: &[&str]) -> Found404 {
    match path {
        [] => Answer::json(&json!({})),
        ["subjects", subject] => {
            let show = if call.flag("deleted") { Show::All } else { Show::Live };
            let how = (call.flag("normalize"), show);
            let found = registry.lookup(call.subject(subject), call.body()?, how).await?;
            let text = formatted(registry, call, found.subject.context(), &found.entry.schema)?;
            Answer::json(&SchemaBody::of(&found, &text, registry.dialect))
        }
        ["subjects", subject, "versions"] => register(registry, call, &call.subject(subject)).await,
        ["subjects", subject, "versions", version, "tags"] => {
            lookup::version(
                &registry.shared.read(),
                &call.subject(subject),
                Which::parse(version)?,
                Show::Live,
            )?;
            call.body::<SchemaRequest>()?.check_tags()?;
            Err(Problem::invalid_schema("", "there are no tags to add or to remove"))
        }
        ["compatibility", "subjects", subject, "versions"] => {
            compatible(registry, call, call.subject(subject), Against::Level).await
        }
        ["compatibility", "subjects", subject, "versions", version] => {
            let against = Against::Version(Which::parse(version)?);
            compatible(registry, call, call.subject(subject), against).await
        }
        _ => Ok(None),
    }
}

/// The answer to a registration of what is registered.
pub(super) async fn known(registry: &Arc<Registry>, call: &Call) -> Option<Answer> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let ["subjects", subject, "versions"] = path.as_slice() else { return None };
    let request: SchemaRequest = call.body().ok()?;
    request.check_tags().ok()?;
    let outcome = registry.decided(&call.subject(subject), &request, call.flag("normalize")).await;
    let Ok(Outcome::Known { version, entry }) = outcome else { return None };
    registered(registry, call, &call.subject(subject), (version, &entry)).ok().flatten()
}

async fn register(registry: &Arc<Registry>, call: &Call, subject: &Subject) -> Found404 {
    let request: SchemaRequest = call.body()?;
    request.check_tags()?;
    {
        let state = registry.shared.read();
        let latest = lookup::version(&state, subject, Which::Latest, Show::Live).ok();
        parameters::check_propagation(&request, latest.as_ref().map(|found| &*found.entry.schema))?;
    }
    match registry.register(subject, request, call.flag("normalize")).await {
        Ok((version, entry)) => registered(registry, call, subject, (version, &entry)),
        Err(mut problem) => {
            if problem.code == 40901 && registry.dialect == Dialect::V7 {
                problem.code = 409;
            }
            Err(problem)
        }
    }
}

fn registered(registry: &Registry, call: &Call, subject: &Subject, found: (i32, &Version)) -> Found404 {
    let text = formatted(registry, call, subject.context(), &found.1.schema)?;
    Answer::json(&Registered::of(found, &text, registry.dialect))
}

async fn compatible(registry: &Arc<Registry>, call: &Call, subject: Subject, against: Against) -> Found404 {
    let request: SchemaRequest = call.body()?;
    let (verbose, normalize) = (call.flag("verbose"), call.flag("normalize"));
    let reasons = registry
        .compute(move |registry| {
            let (shared, library) = (&registry.shared, &registry.library);
            compatibility::check(shared, library, &subject, &request, (against, normalize))
        })
        .await;
    let reasons = match reasons {
        Err(problem) if verbose && problem.code == 42201 => vec![problem.message],
        other => other?,
    };
    let is_compatible = reasons.is_empty();
    Answer::json(&Compatible { is_compatible, messages: verbose.then_some(reasons) })
}

pub(super) async fn put(registry: &Arc<Registry>, call: &Call, path: &[&str]) -> Found404 {
    match path {
        ["config"] => put_config(registry, call, &call.scope()).await,
        ["config", subject] => put_config(registry, call, &call.subject(subject)).await,
        ["mode"] => put_mode(registry, call, &call.scope()).await,
        ["mode", subject] => put_mode(registry, call, &call.subject(subject)).await,
        _ => Ok(None),
    }
}

async fn put_config(registry: &Arc<Registry>, call: &Call, scope: &Subject) -> Found404 {
    let request: Map<String, Json> = call.body()?;
    registry.change(|state| Ok(((), vec![settings::put_config(state, scope, &request)?]))).await?;
    Answer::json(&request)
}

async fn put_mode(registry: &Arc<Registry>, call: &Call, scope: &Subject) -> Found404 {
    let request: Map<String, Json> = call.body()?;
    let mode = request.get("mode").and_then(Json::as_str).unwrap_or_default();
    let force = call.flag("force");
    registry.change(|state| Ok(((), settings::put_mode(state, scope, mode, force)?))).await?;
    Answer::json(&json!({ "mode": mode }))
}

pub(super) async fn delete(registry: &Arc<Registry>, call: &Call, path: &[&str]) -> Found404 {
    let depth = if call.flag("permanent") { Depth::Permanent } else { Depth::Soft };
    match path {
        ["subjects", subject] => Answer::json(&registry.delete(&call.subject(subject), None, depth).await?),
        ["subjects", subject, "versions", version] => {
            let which = Which::parse(version)?;
            let versions = registry.delete(&call.subject(subject), Some(which), depth).await?;
            Answer::json(&versions.first())
        }
        ["config"] => delete_config(registry, &call.scope()).await,
        ["config", subject] => delete_config(registry, &call.subject(subject)).await,
        ["mode"] => delete_mode(registry, call, &call.scope()).await,
        ["mode", subject] => delete_mode(registry, call, &call.subject(subject)).await,
        ["contexts", context] => {
            let context = context_name(context);
            registry.change(|state| Ok(((), settings::delete_context(state, &context)?))).await?;
            Ok(Some(Answer::Done))
        }
        _ => Ok(None),
    }
}

async fn delete_config(registry: &Arc<Registry>, scope: &Subject) -> Found404 {
    let decide = |state: &_| settings::delete_config(state, scope).map(|(old, record)| (old, vec![record]));
    Answer::json(&registry.change(decide).await?)
}

async fn delete_mode(registry: &Arc<Registry>, call: &Call, scope: &Subject) -> Found404 {
    let inside = call.flag("recursive");
    let old = registry.change(|state| settings::delete_mode(state, scope, inside)).await?;
    Answer::json(&json!({ "mode": old }))
}
