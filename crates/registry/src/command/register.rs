//! Registering a schema: the id that it has, or the records that give it one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidegate_languages::{Language, ParsedSchema, Strictness};

use crate::command::compatibility::Comparison;
use crate::command::library::{self, Library};
use crate::command::references::{self, Deleted};
use crate::command::{SchemaRequest, Shared, check_writable};
use crate::entity::{Config, Metadata, Mode, Reference, Rule, RuleSet};
use crate::guid::Guid;
use crate::problem::Problem;
use crate::record::{Key, Record, Value};
use crate::state::{State, Text, Version, value_of};
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// The longest text that is taken, in bytes: some hundred times the longest that people have.
pub const SCHEMA_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The metadata property that repeats the version.
const VERSION_PROPERTY: &str = "confluent:version";

/// A schema that was sent, read.
#[derive(Debug)]
pub struct Fresh {
    /// In its language.
    pub parsed: ParsedSchema,
    /// As it would be stored.
    pub text: Text,
}

/// What registering comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The subject has the schema.
    Known {
        /// As this version.
        version: i32,
        /// With what was stored.
        entry: Version,
    },
    /// It gets it by these records, in order.
    New {
        /// As this version.
        version: i32,
        /// With what will be stored.
        entry: Version,
        /// What is to be written.
        records: Vec<Record>,
    },
    /// It depends on what is about to be written, and is decided when that stands.
    Later,
}

/// What registrations come to that are about to be written together, before the state has it.
#[derive(Debug, Default)]
pub struct Taken {
    /// Qualified.
    subjects: HashSet<String>,
    /// The ids of schemas by context.
    schemas: HashMap<(String, Guid), i32>,
    /// The largest id by context.
    ids: HashMap<String, i32>,
    /// Whether one brings an id of its own: nothing is decided beside it.
    imported: bool,
}

impl Taken {
    /// Takes one more.
    pub fn add(&mut self, subject: &Subject, request: &SchemaRequest, entry: &Version) {
        let context = subject.context().to_owned();
        self.subjects.insert(subject.qualified());
        self.schemas.insert((context.clone(), entry.schema.guid), entry.id);
        let max = self.ids.entry(context).or_default();
        *max = entry.id.max(*max);
        self.imported |= given_id(request).is_some();
    }

    /// Whether a registration may be decided beside these.
    fn leaves_free(&self, subject: &Subject, imported: bool) -> bool {
        !self.imported
            && (!imported || self.subjects.is_empty())
            && !self.subjects.contains(&subject.qualified())
    }
}

/// The id that a schema is imported with.
fn given_id(request: &SchemaRequest) -> Option<i32> {
    request.id.filter(|id| *id >= 0)
}

/// Reads a schema that was sent, with the references that it makes.
///
/// # Errors
/// If it cannot be read.
pub fn read(
    shared: &Shared,
    subject: &Subject,
    request: &SchemaRequest,
    normalize: bool,
) -> Result<Fresh, Problem> {
    let text = request.schema.as_deref().unwrap_or_default();
    check_length(text)?;
    if text.trim().is_empty() {
        return Err(Problem::new(42201, "Empty schema"));
    }
    let language = request.schema_type.as_deref().filter(|name| !name.is_empty()).unwrap_or("AVRO");
    let language: Language =
        language.parse().map_err(|_| Problem::new(42201, format!("Invalid schema type {language}")))?;
    if let Some(rules) = &request.rule_set {
        rules.check()?;
    }
    let (normalize, strictness, pinned, texts) = {
        let state = shared.read();
        let config = state.config(subject);
        let given = request.references.as_deref().unwrap_or_default();
        let mut pinned = references::pinned(&state, subject.context(), given)?;
        let normalize = normalize || config.normalize.unwrap_or(false);
        let validated = config.validate_new_schemas.unwrap_or(true);
        let strictness = if validated { Strictness::Fresh } else { Strictness::Stored };
        if normalize {
            pinned.sort();
            pinned.dedup();
        }
        let texts = references::resolve(&state, subject.context(), &pinned, Deleted::Refused)?;
        (normalize, strictness, pinned, texts)
    };
    let parsed = library::parse(language, text, &texts, strictness)?;
    let stored = if normalize { parsed.normalized() } else { parsed.canonical() };
    // Indentation alone can make a text longer than what was sent.
    check_length(&stored)?;
    let text = stored_text(language, stored, pinned, (request.metadata.clone(), request.rule_set.clone()));
    Ok(Fresh { parsed, text })
}

fn check_length(text: &str) -> Result<(), Problem> {
    if text.len() <= SCHEMA_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "Register operation failed because schema is too large: {} bytes; at most {SCHEMA_BYTES_MAX} are \
         taken",
        text.len()
    );
    Err(Problem::new(42209, message))
}

fn stored_text(
    language: Language,
    text: String,
    references: Vec<Reference>,
    (metadata, rules): (Option<Metadata>, Option<RuleSet>),
) -> Text {
    let guid = Guid::of(&text, &references, metadata.as_ref(), rules.as_ref());
    Text { language, text, references, metadata, rules, guid }
}

/// Decides what registering a schema under a subject comes to. Whoever writes the records makes sure
/// that nobody else decides in between, but for those that know what is `taken`.
///
/// # Errors
/// If the subject does not allow it, or the schema cannot be read, or is incompatible.
pub fn register(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    request: &SchemaRequest,
    (normalize, taken): (bool, &Taken),
) -> Result<Outcome, Problem> {
    let subject = &subject.clone().checked()?;
    let id = given_id(request);
    if !taken.leaves_free(subject, id.is_some()) {
        return Ok(Outcome::Later);
    }
    let (mode, request, comparison) = {
        let state = shared.read();
        let mode = check_mode(&state, subject, id)?;
        let request = completed(&state, subject, request);
        let comparison = Comparison::with_live(&state, subject, request.metadata.as_ref());
        (mode, request, comparison)
    };
    let mut fresh = read(shared, subject, &request, normalize)?;
    if id.is_none() {
        if let Some((version, entry)) = known(shared, library, subject, &fresh, false)? {
            return Ok(Outcome::Known { version, entry });
        }
        let reasons = comparison.reasons(shared, library, subject.context(), &fresh.parsed)?;
        if !reasons.is_empty() && mode == Mode::ReadWrite {
            return Err(Problem::new(
                40901,
                format!(
                    "Schema being registered is incompatible with an earlier schema for subject \"{}\", \
                     details: [{}]",
                    subject.qualified(),
                    reasons.join(", ")
                ),
            ));
        }
    }
    let state = shared.read();
    let version = match request.version.filter(|version| *version > 0 && id.is_some()) {
        Some(version) => version,
        None => state.version_max(subject) + 1,
    };
    restate_version(&mut fresh.text, version);
    let id = new_id(&state, subject, &fresh.text, (id, taken))?;
    let schema = state.by_id(subject.context(), id).cloned().unwrap_or_else(|| Arc::new(fresh.text));
    let entry = Version { id, schema, deleted: false, written_at: None };
    let records = records(&state, subject, version, &entry);
    Ok(Outcome::New { version, entry, records })
}

fn check_mode(state: &State, subject: &Subject, id: Option<i32>) -> Result<Mode, Problem> {
    let mode = check_writable(state, subject)?;
    let needed = match (id, mode) {
        (Some(_), Mode::ReadWrite) => "import",
        (None, Mode::Import | Mode::Forward) => "read-write",
        _ => return Ok(mode),
    };
    let (name, context) = (subject.name(), subject.context());
    Err(Problem::not_permitted(format!("Subject {name} in context {context} is not in {needed} mode")))
}

/// The request with what it leaves out taken from the latest version and from the settings.
fn completed(state: &State, subject: &Subject, request: &SchemaRequest) -> SchemaRequest {
    let mut request = request.clone();
    let config = state.config(subject);
    let versions = state.versions(subject);
    let latest = versions.and_then(|versions| versions.values().rfind(|version| !version.deleted));
    if let Some(latest) = latest {
        if request.schema.as_deref().unwrap_or_default().is_empty() {
            request.schema = Some(latest.schema.text.clone());
            request.schema_type = Some(latest.schema.language.as_str().to_owned());
            request.references.get_or_insert_with(|| latest.schema.references.clone());
        }
        request.metadata = request.metadata.or_else(|| latest.schema.metadata.clone());
        request.rule_set = request.rule_set.or_else(|| latest.schema.rules.clone());
    }
    let Config { default_metadata, override_metadata, default_rule_set, override_rule_set, .. } = config;
    request.metadata = [default_metadata, request.metadata, override_metadata]
        .into_iter()
        .flatten()
        .reduce(|below, above| merged_metadata(below, &above));
    request.rule_set = [default_rule_set, request.rule_set, override_rule_set]
        .into_iter()
        .flatten()
        .reduce(|below, above| merged_rules(below, &above));
    request
}

fn merged_metadata(mut below: Metadata, above: &Metadata) -> Metadata {
    for (path, tags) in &above.tags {
        below.tags.entry(path.clone()).or_default().extend(tags.iter().cloned());
    }
    below.properties.extend(above.properties.clone());
    below.sensitive.extend(above.sensitive.iter().cloned());
    below
}

fn merged_rules(below: RuleSet, above: &RuleSet) -> RuleSet {
    let merge = |below: Vec<Rule>, above: &[Rule]| -> Vec<Rule> {
        let kept = below.into_iter().filter(|rule| above.iter().all(|other| other.name != rule.name));
        kept.chain(above.iter().cloned()).collect()
    };
    RuleSet {
        migration_rules: merge(below.migration_rules, &above.migration_rules),
        domain_rules: merge(below.domain_rules, &above.domain_rules),
        encoding_rules: merge(below.encoding_rules, &above.encoding_rules),
        enable_at: above.enable_at.clone().or(below.enable_at),
    }
}

/// The version of the subject that has the schema, to the byte or in other words.
pub(super) fn known(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    fresh: &Fresh,
    deleted: bool,
) -> Result<Option<(i32, Version)>, Problem> {
    let candidates: Vec<(i32, Version)> = {
        let state = shared.read();
        let versions = state.versions(subject).into_iter().flatten().rev();
        versions
            .filter(|(_, version)| deleted || !version.deleted)
            .map(|(number, version)| (*number, version.clone()))
            .collect()
    };
    let same = candidates.iter().find(|(_, entry)| entry.schema.guid == fresh.text.guid);
    if let Some((version, entry)) = same {
        return Ok(Some((*version, entry.clone())));
    }
    for (version, entry) in candidates {
        let schema = &entry.schema;
        let comparable = schema.language == fresh.text.language
            && schema.references == fresh.text.references
            && schema.metadata == fresh.text.metadata
            && schema.rules == fresh.text.rules;
        if !comparable {
            continue;
        }
        let stored = library.stored(subject.context(), schema, || {
            references::resolve(&shared.read(), subject.context(), &schema.references, Deleted::Allowed)
        });
        // What another registry stored and we cannot read is not the same as what we just read.
        let Ok(stored) = stored else { continue };
        if stored.equivalent(&fresh.parsed).unwrap_or(false) {
            return Ok(Some((version, entry)));
        }
    }
    Ok(None)
}

/// Metadata that repeats the version says the new one.
fn restate_version(text: &mut Text, version: i32) {
    let Some(metadata) = &mut text.metadata else { return };
    let Some(stated) = metadata.properties.get_mut(VERSION_PROPERTY) else { return };
    *stated = version.to_string();
    text.guid = Guid::of(&text.text, &text.references, text.metadata.as_ref(), text.rules.as_ref());
}

/// The id of the schema in its context: the one that it has, the one that is imported, or the next.
fn new_id(
    state: &State,
    subject: &Subject,
    text: &Text,
    (given, taken): (Option<i32>, &Taken),
) -> Result<i32, Problem> {
    let context = subject.context();
    let Some(id) = given else {
        let max = state.id_max(context).max(taken.ids.get(context).copied().unwrap_or(0));
        let next = || max.checked_add(1);
        let known = state.id_of(context, text.guid);
        let known = known.or_else(|| taken.schemas.get(&(context.to_owned(), text.guid)).copied());
        let id = known.or_else(next);
        return id.ok_or_else(|| Problem::new(50001, format!("context {context} has no id left")));
    };
    match state.by_id(context, id) {
        Some(other) if other.guid != text.guid => Err(Problem::not_permitted(format!(
            "Overwrite new schema with id {id} in context {context} is not permitted."
        ))),
        _ => Ok(id),
    }
}

fn records(state: &State, subject: &Subject, version: i32, entry: &Version) -> Vec<Record> {
    let mut records = Vec::new();
    let context = subject.context();
    if context != DEFAULT_CONTEXT && state.contexts().all(|known| known != context) {
        records.push(Record { key: Key::Context(context.to_owned()), value: Some(Value::Context) });
    }
    let qualified = subject.qualified();
    // A schema that comes back has one live version: its deleted ones go, unless they are referred to.
    let old = state.versions(subject).into_iter().flatten();
    for (number, _) in old.filter(|(_, old)| old.deleted && old.id == entry.id) {
        if *number < version && state.referrers(subject, *number).next().is_none() {
            let key = Key::Schema { subject: qualified.clone(), version: *number };
            records.push(Record { key, value: None });
        }
    }
    let value = Value::Schema(Box::new(value_of(&qualified, version, entry)));
    records.push(Record { key: Key::Schema { subject: qualified, version }, value: Some(value) });
    records
}
