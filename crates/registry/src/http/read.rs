//! What is asked and changes nothing. Answered from memory, so also while Kafka is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tidegate_languages::{Language, ParsedSchema};
use tracing::debug;

use crate::command::Which;
use crate::command::lookup::{self, Found, Show};
use crate::command::references::{self, Deleted};
use crate::entity::Mode;
use crate::guid::Guid;
use crate::http::answer::{Answer, SchemaBody, SchemaString, SchemaTags, SubjectVersion};
use crate::http::request::Call;
use crate::problem::Problem;
use crate::service::Registry;
use crate::state::{State, Text, Version};
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
            let versions =
                lookup::versions(&registry.shared.read(), &call.subject(subject), show_some(call))?;
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
    if call.flag("deleted") { Show::All } else { Show::Live }
}

/// As [`show`], where the deleted ones alone can be asked for too.
fn show_some(call: &Call) -> Show {
    if call.flag("deletedOnly") { Show::DeletedOnly } else { show(call) }
}

fn subjects(registry: &Registry, call: &Call) -> Found404 {
    let (show, prefix) = (show_some(call), Prefix::of(call));
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
            let counted = versions.iter().filter(|(_, version)| show.counts(version));
            let skipped = if latest { counted.clone().count().saturating_sub(1) } else { 0 };
            counted.skip(skipped).filter(|(_, version)| has_rule(version)).map(move |(number, entry)| Found {
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
    match parsed(registry, context, schema)?.formatted(format) {
        // As Confluent's: a form that is younger than this registry is no reason to have no text.
        None => {
            debug!(format, language = %schema.language, "a form that the language does not have");
            Ok(schema.text.clone())
        }
        Some(text) => text.map_err(|error| Problem::invalid_schema(&schema.text, &error.to_string())),
    }
}

/// What has one of the tags that were asked for, if any were.
fn tagged(
    registry: &Registry,
    call: &Call,
    context: &str,
    schema: &Arc<Text>,
) -> Result<Option<Vec<SchemaTags>>, Problem> {
    let asked = call.tags(schema)?;
    if asked.is_empty() {
        return Ok(None);
    }
    let wanted = |tag: &String| asked.iter().any(|asked| asked == "*" || asked == tag);
    let tagged = parsed(registry, context, schema)?.tagged().unwrap_or_default();
    let found = tagged.into_iter().filter(|one| one.tags.iter().any(wanted));
    Ok(Some(found.map(SchemaTags::from).collect()))
}

fn parsed(registry: &Registry, context: &str, schema: &Arc<Text>) -> Result<Arc<ParsedSchema>, Problem> {
    registry.library.stored(context, schema, || {
        references::resolve(&registry.shared.read(), context, &schema.references, Deleted::Allowed)
    })
}

fn by_id(registry: &Registry, call: &Call, id: &str, rest: &[&str]) -> Found404 {
    let number: i32 = id.parse().map_err(|_| Problem::new(404, "HTTP 404 Not Found"))?;
    let asked = call.query("subject").map(|subject| call.subject(subject));
    let subject = asked.clone().unwrap_or_else(|| call.scope());
    let (context, schema) = lookup::by_id(&registry.shared.read(), number, &subject)?;
    let all: Vec<(String, i32, Version)> = {
        let state = registry.shared.read();
        let uses = state.uses(&context, number).filter_map(|(name, version)| {
            let versions = state.versions(&Subject::parse(name, DEFAULT_CONTEXT))?;
            Some((name.clone(), *version, versions.get(version)?.clone()))
        });
        // The context is the one that has the id, whichever the subject was looked for in.
        let named = |name: &str| {
            let asked = asked.as_ref().filter(|asked| !asked.name().is_empty());
            asked.is_none_or(|asked| Subject::parse(asked.name(), &context).qualified() == name)
        };
        uses.filter(|(name, _, _)| named(name)).collect()
    };
    let uses = all.iter().filter(|(_, _, entry)| show(call).counts(entry));
    match rest {
        [] => {
            let text = formatted(registry, call, &context, &schema)?;
            // Whoever consumes asks for what was deleted since, too.
            let found = all.iter().rfind(|(_, _, entry)| !entry.deleted).or(all.last());
            let entry = found.map(|(_, _, entry)| entry);
            let mut body = SchemaString::of(&schema, &text, entry, registry.dialect);
            if let Some((subject, version, _)) = found.filter(|_| asked.is_some()) {
                (body.subject, body.version) = (Some(subject.clone()), Some(*version));
            }
            body.schema_tags = tagged(registry, call, &context, &schema)?;
            body.max_id = call.flag("fetchMaxId").then(|| registry.shared.read().id_max(&context));
            Answer::json(&body)
        }
        ["schema"] => Ok(Answer::text(&formatted(registry, call, &context, &schema)?)),
        ["subjects"] => {
            let names: BTreeSet<&String> = uses.map(|(name, _, _)| name).collect();
            Answer::json(&call.page(names.into_iter(), usize::MAX))
        }
        ["versions"] => {
            let pairs = uses.map(|(subject, version, _)| SubjectVersion { subject, version: *version });
            Answer::json(&call.page(pairs, usize::MAX))
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
            let entry = entry_of(&registry.shared.read(), context, *id);
            Answer::json(&SchemaString::of(&schema, &text, entry.as_ref(), registry.dialect))
        }
        (["ids"], Some(_)) => {
            let ids = ids.iter().map(|(context, id)| json!({"context": context, "id": id}));
            Answer::json(&ids.collect::<Vec<_>>())
        }
        ([] | ["ids"], None) => Err(not_found()),
        _ => Ok(None),
    }
}

/// A version that has a schema, a live one if there is one.
fn entry_of(state: &State, context: &str, id: i32) -> Option<Version> {
    let uses = state
        .uses(context, id)
        .filter_map(|(name, version)| state.versions(&Subject::parse(name, DEFAULT_CONTEXT))?.get(version));
    uses.max_by_key(|version| !version.deleted).cloned()
}

fn one(registry: &Registry, call: &Call, (subject, version): (&str, &str), rest: &[&str]) -> Found404 {
    let which = Which::parse(version)?;
    // What refers to a deleted version may be asked for.
    let show_it = if rest == ["referencedby"] { Show::All } else { show(call) };
    let found = lookup::version_anywhere(&registry.shared.read(), &call.subject(subject), which, show_it)?;
    let (context, schema) = (found.subject.context(), &found.entry.schema);
    match rest {
        [] => {
            let text = formatted(registry, call, context, schema)?;
            let mut body = SchemaBody::of(&found, &text, registry.dialect);
            body.schema_tags = tagged(registry, call, context, schema)?;
            Answer::json(&body)
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
