//! What is asked and changes nothing. Answered from memory, so also while Kafka is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tidegate_languages::Language;

use crate::command::Which;
use crate::command::lookup::{self, Found, Show};
use crate::command::references::{self, Deleted};
use crate::entity::Mode;
use crate::guid::Guid;
use crate::http::answer::{Answer, SchemaBody, SchemaString, SubjectVersion};
use crate::http::request::Call;
use crate::problem::Problem;
use crate::service::Registry;
use crate::state::{Text, Version};
use crate::subject::{DEFAULT_CONTEXT, Subject};

type Found404 = Result<Option<Answer>, Problem>;

/// How many schemas one answer has at most.
const SCHEMAS_MAX: usize = 1_000;

/// The release whose API this is.
const VERSION: &str = "8.1.0";

pub(super) fn get(registry: &Registry, call: &Call, path: &[&str]) -> Found404 {
    match path {
        [] => Answer::json(&json!({})),
        ["schemas", "types"] => {
            Answer::json(&Language::ALL.iter().map(|language| language.as_str()).collect::<Vec<_>>())
        }
        ["schemas"] => schemas(registry, call),
        ["schemas", "ids", id, rest @ ..] => by_id(registry, call, id, rest),
        ["schemas", "guids", guid, rest @ ..] => by_guid(registry, call, guid, rest),
        ["subjects"] => subjects(registry, call),
        ["subjects", subject, "versions"] => {
            let versions = lookup::versions(&registry.shared.read(), &call.subject(subject), show(call))?;
            let negative = call.flag("deletedAsNegative");
            let told = |(number, deleted): (i32, bool)| if deleted && negative { -number } else { number };
            Answer::json(&call.page(versions.into_iter().map(told), usize::MAX))
        }
        ["subjects", subject, "metadata"] => with_metadata(registry, call, subject),
        ["subjects", subject, "versions", version, rest @ ..] => {
            one(registry, call, (subject, version), rest)
        }
        ["config"] => config(registry, call, &call.scope()),
        ["config", subject] => config(registry, call, &call.subject(subject)),
        ["mode"] => mode(registry, call, &call.scope()),
        ["mode", subject] => mode(registry, call, &call.subject(subject)),
        ["contexts"] => {
            let state = registry.shared.read();
            let prefix = call.query("contextPrefix").unwrap_or_default();
            let contexts = state.contexts().filter(|context| context.starts_with(prefix));
            Answer::json(&call.page(contexts, usize::MAX))
        }
        ["v1", "metadata", "id"] => {
            let mut clusters = BTreeMap::from([("schema-registry-cluster", "schema-registry")]);
            clusters.extend(registry.cluster_id.as_deref().map(|id| ("kafka-cluster", id)));
            Answer::json(&json!({"scope": {"path": [], "clusters": clusters}}))
        }
        ["v1", "metadata", "version"] => Answer::json(&json!({"version": VERSION, "commitId": "tidegate"})),
        ["v1", "metadata", "deployment"] => Answer::json(&json!({"attributes": []})),
        _ => Ok(None),
    }
}

fn show(call: &Call) -> Show {
    match (call.flag("deletedOnly"), call.flag("deleted")) {
        (true, _) => Show::DeletedOnly,
        (false, true) => Show::All,
        (false, false) => Show::Live,
    }
}

fn subjects(registry: &Registry, call: &Call) -> Found404 {
    let (show, prefix) = (show(call), Prefix::of(call));
    let state = registry.shared.read();
    let mut names: Vec<&str> = state
        .subjects()
        .filter(|(name, versions)| prefix.fits(name) && versions.values().any(|one| show.counts(one)))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    Answer::json(&call.page(names.into_iter(), usize::MAX))
}

/// Which subjects are meant: of all contexts, unless the path or the prefix names one.
struct Prefix {
    context: Option<String>,
    name: String,
}

impl Prefix {
    fn of(call: &Call) -> Self {
        let text = call.query("subjectPrefix").unwrap_or(if call.context.is_some() { "" } else { ":*:" });
        match text.strip_prefix(":*:") {
            Some(name) => Self { context: None, name: name.to_owned() },
            None => {
                let subject = call.subject(text);
                Self { context: Some(subject.context().to_owned()), name: subject.name().to_owned() }
            }
        }
    }

    fn fits(&self, qualified: &str) -> bool {
        let subject = Subject::parse(qualified, DEFAULT_CONTEXT);
        self.context.as_deref().is_none_or(|context| context == subject.context())
            && subject.name().starts_with(&self.name)
    }
}

/// Qualified subjects that stand for others, by those.
type Aliases = BTreeMap<String, Vec<String>>;

fn schemas(registry: &Registry, call: &Call) -> Found404 {
    let (show, prefix, latest) = (show(call), Prefix::of(call), call.flag("latestOnly"));
    let rule_type = call.query("ruleType").filter(|kind| !kind.is_empty());
    let has_rule = |version: &Version| {
        rule_type.is_none_or(|kind| version.schema.rules.as_ref().is_some_and(|rules| rules.has_type(kind)))
    };
    let (found, aliases): (Vec<Found>, Aliases) = {
        let state = registry.shared.read();
        let aliases = if call.flag("aliases") { state.aliases() } else { BTreeMap::new() };
        let aliases_of = |name: &str| aliases.get(name).map_or(&[][..], Vec::as_slice);
        let fits = |name: &str| prefix.fits(name) || aliases_of(name).iter().any(|alias| prefix.fits(alias));
        let all = state.subjects().filter(|(name, _)| fits(name)).flat_map(|(name, versions)| {
            let counted = versions.iter().filter(|(_, version)| show.counts(version) && has_rule(version));
            let skipped = if latest { counted.clone().count().saturating_sub(1) } else { 0 };
            counted.skip(skipped).map(move |(number, entry)| Found {
                subject: Subject::parse(name, DEFAULT_CONTEXT),
                version: *number,
                entry: entry.clone(),
            })
        });
        let found = call.page(all, SCHEMAS_MAX);
        let owned = |names: &Vec<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        (found, aliases.iter().map(|(target, names)| (target.clone(), owned(names))).collect())
    };
    let bodies = found.iter().map(|one| {
        let mut body = SchemaBody::of(one, &one.entry.schema.text, registry.dialect);
        body.aliases = aliases.get(&one.subject.qualified()).map_or(&[], Vec::as_slice);
        body
    });
    Answer::json(&bodies.collect::<Vec<_>>())
}

/// The text in the form that was asked for.
pub(super) fn formatted(
    registry: &Registry,
    call: &Call,
    context: &str,
    schema: &Arc<Text>,
) -> Result<String, Problem> {
    let Some(format) = call.query("format").filter(|format| !format.is_empty()) else {
        return Ok(schema.text.clone());
    };
    let parsed = registry.library.stored(context, schema, || {
        references::resolve(&registry.shared.read(), context, &schema.references, Deleted::Allowed)
    })?;
    match parsed.formatted(format) {
        None => Ok(schema.text.clone()),
        Some(text) => text.map_err(|error| Problem::invalid_schema(&schema.text, &error.to_string())),
    }
}

fn by_id(registry: &Registry, call: &Call, id: &str, rest: &[&str]) -> Found404 {
    let number: i32 = id.parse().map_err(|_| Problem::new(404, "HTTP 404 Not Found"))?;
    let asked = call.query("subject").map(|subject| call.subject(subject));
    let subject = asked.clone().unwrap_or_else(|| call.scope());
    let (context, schema) = lookup::by_id(&registry.shared.read(), number, &subject)?;
    let uses: Vec<(String, i32)> = {
        let (state, show) = (registry.shared.read(), show(call));
        let uses = state.uses(&context, number).filter(|(name, version)| {
            let versions = state.versions(&Subject::parse(name, DEFAULT_CONTEXT));
            let entry = versions.and_then(|versions| versions.get(version));
            // The context is the one that has the id, whichever the subject was looked for in.
            let named = asked.as_ref().is_none_or(|asked| {
                asked.name().is_empty() || Subject::parse(asked.name(), &context).qualified() == *name
            });
            named && entry.is_some_and(|entry| show.counts(entry))
        });
        uses.cloned().collect()
    };
    match rest {
        [] => {
            let text = formatted(registry, call, &context, &schema)?;
            let mut body = SchemaString::of(&schema, &text, registry.dialect);
            if let Some((subject, version)) = uses.last().filter(|_| asked.is_some()) {
                (body.subject, body.version) = (Some(subject.clone()), Some(*version));
            }
            body.max_id = call.flag("fetchMaxId").then(|| registry.shared.read().id_max(&context));
            Answer::json(&body)
        }
        ["schema"] => Ok(Answer::text(&formatted(registry, call, &context, &schema)?)),
        ["subjects"] => {
            let names: BTreeSet<&String> = uses.iter().map(|(name, _)| name).collect();
            Answer::json(&call.page(names.into_iter(), usize::MAX))
        }
        ["versions"] => {
            let all = uses.iter().map(|(subject, version)| SubjectVersion { subject, version: *version });
            Answer::json(&call.page(all, usize::MAX))
        }
        _ => Ok(None),
    }
}

fn by_guid(registry: &Registry, call: &Call, guid: &str, rest: &[&str]) -> Found404 {
    let not_found = || Problem::schema_id_not_found(guid);
    let parsed: Guid = guid.parse().map_err(|_| not_found())?;
    let ids: Vec<(String, i32)> = {
        let state = registry.shared.read();
        let ids =
            state.contexts().filter_map(|context| Some((context.to_owned(), state.id_of(context, parsed)?)));
        ids.collect()
    };
    match (rest, ids.first()) {
        ([], Some((context, id))) => {
            let schema = registry.shared.read().by_id(context, *id).cloned().ok_or_else(not_found)?;
            let text = formatted(registry, call, context, &schema)?;
            Answer::json(&SchemaString::of(&schema, &text, registry.dialect))
        }
        (["ids"], Some(_)) => {
            let ids = ids.iter().map(|(context, id)| json!({"context": context, "id": id}));
            Answer::json(&ids.collect::<Vec<_>>())
        }
        ([] | ["ids"], None) => Err(not_found()),
        _ => Ok(None),
    }
}

fn one(registry: &Registry, call: &Call, (subject, version): (&str, &str), rest: &[&str]) -> Found404 {
    let which = Which::parse(version)?;
    let found = lookup::version_anywhere(&registry.shared.read(), &call.subject(subject), which, show(call))?;
    let (context, schema) = (found.subject.context(), &found.entry.schema);
    match rest {
        [] => {
            let text = formatted(registry, call, context, schema)?;
            Answer::json(&SchemaBody::of(&found, &text, registry.dialect))
        }
        ["schema"] => Ok(Answer::text(&formatted(registry, call, context, schema)?)),
        ["referencedby"] => {
            let (state, show) = (registry.shared.read(), show(call));
            let counts = |(context, id): &&(String, i32)| {
                state.uses(context, *id).any(|(user, version)| {
                    let versions = state.versions(&Subject::parse(user, DEFAULT_CONTEXT));
                    versions.and_then(|all| all.get(version)).is_some_and(|one| show.counts(one))
                })
            };
            let referrers = state.referrers(&found.subject, found.version).filter(counts);
            let ids: BTreeSet<i32> = referrers.map(|(_, id)| *id).collect();
            Answer::json(&call.page(ids.into_iter(), usize::MAX))
        }
        _ => Ok(None),
    }
}

/// The latest version whose metadata has all the pairs that were asked for.
fn with_metadata(registry: &Registry, call: &Call, subject: &str) -> Found404 {
    let subject = call.subject(subject);
    let show = show(call);
    let found = {
        let state = registry.shared.read();
        let versions = state.versions(&subject).filter(|all| all.values().any(|one| show.counts(one)));
        let versions = versions.ok_or_else(|| Problem::subject_not_found(&subject.qualified()))?;
        let pairs: Vec<_> = call.queries("key").iter().zip(call.queries("value")).collect();
        let has_all = |schema: &Text| {
            let properties = schema.metadata.as_ref().map(|metadata| &metadata.properties);
            pairs.iter().all(|(key, value)| properties.and_then(|all| all.get(*key)) == Some(value))
        };
        let found = versions.iter().rfind(|(_, one)| show.counts(one) && has_all(&one.schema));
        let (version, entry) = found.ok_or_else(Problem::schema_not_found)?;
        Found { version: *version, entry: entry.clone(), subject: subject.clone() }
    };
    let text = formatted(registry, call, subject.context(), &found.entry.schema)?;
    Answer::json(&SchemaBody::of(&found, &text, registry.dialect))
}

fn config(registry: &Registry, call: &Call, scope: &Subject) -> Found404 {
    let state = registry.shared.read();
    let own = state.own_config(&scope.qualified());
    match own {
        Some(own) if !call.flag("defaultToGlobal") => Answer::json(own),
        None if !call.flag("defaultToGlobal") && !scope.name().is_empty() => Err(Problem::new(
            40408,
            format!("Subject '{}' does not have subject-level compatibility configured", scope.qualified()),
        )),
        Some(_) | None => Answer::json(&state.config(scope)),
    }
}

fn mode(registry: &Registry, call: &Call, scope: &Subject) -> Found404 {
    let state = registry.shared.read();
    let told = |mode: Mode| Answer::json(&json!({ "mode": mode }));
    match state.own_mode(&scope.qualified()) {
        Some(mode) => told(mode),
        None if !call.flag("defaultToGlobal") && !scope.name().is_empty() => Err(Problem::new(
            40409,
            format!("Subject '{}' does not have subject-level mode configured", scope.qualified()),
        )),
        None => told(state.mode(scope)),
    }
}
