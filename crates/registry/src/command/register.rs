//! Registering a schema: the id that it has, or the records that give it one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidegate_languages::{Language, ParsedSchema, Strictness};

use crate::command::compatibility::Comparison;
use crate::command::library::{self, Library};
use crate::command::references::{self, Deleted};
use crate::command::{SchemaRequest, Shared, check_writable, inherited};
use crate::entity::{Metadata, Mode, Reference, RuleSet};
use crate::guid::Guid;
use crate::problem::Problem;
use crate::record::{Key, Record, Value};
use crate::state::{State, Text, Version, value_of};
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// The longest text that is taken, in bytes: some hundred times the longest that people have.
pub const SCHEMA_BYTES_MAX: usize = 4 * 1024 * 1024;

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

/// The version that a request names: 0 if it names none, negative for the latest.
fn given_version(request: &SchemaRequest) -> i32 {
    request.version.unwrap_or(0)
}

/// Reads a schema that was sent, with the references that it makes. One that was stored elsewhere, or may
/// have been, may refer to what is deleted.
///
/// # Errors
/// If it cannot be read.
pub fn read(
    shared: &Shared,
    subject: &Subject,
    request: &SchemaRequest,
    (normalize, strictness): (bool, Strictness),
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
    let (normalize, strictness, fields_validated, pinned, texts) = {
        let state = shared.read();
        let config = state.config(subject);
        let given = request.references.as_deref().unwrap_or_default();
        let mut pinned = references::pinned(&state, subject.context(), given)?;
        let normalize = normalize || config.normalize.unwrap_or(false);
        let deleted = match strictness {
            Strictness::Fresh => Deleted::Refused,
            Strictness::Stored => Deleted::Allowed,
        };
        let validated = config.validate_new_schemas.unwrap_or(true);
        let strictness = if validated { strictness } else { Strictness::Stored };
        if normalize {
            pinned.sort();
            pinned.dedup();
        }
        let texts = references::resolve(&state, subject.context(), &pinned, deleted)?;
        // What is imported is taken as it comes.
        let fields_validated = config.validate_fields == Some(true) && !state.mode(subject).imports();
        (normalize, strictness, fields_validated, pinned, texts)
    };
    let parsed = library::parse(language, text, &texts, strictness)?;
    if let Some(name) = parsed.restricted_field().filter(|_| fields_validated) {
        let details = format!("field `{name}` begins with `$$`, which `validateFields` does not allow");
        return Err(Problem::invalid_schema(text, &details));
    }
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
        // What is imported is taken as it comes.
        let request = match mode.imports() {
            true => request.clone(),
            false => inherited::completed(request, latest(&state, subject), state.config(subject)),
        };
        let comparison = Comparison::with_live(&state, subject, request.metadata.as_ref());
        (mode, request, comparison)
    };
    let strictness = if id.is_some() { Strictness::Stored } else { Strictness::Fresh };
    let again = |fresh: &Fresh| repeated(shared, library, subject, (fresh, &request));
    let mut fresh = match read(shared, subject, &request, (normalize, strictness)) {
        Ok(fresh) => fresh,
        // What is there already need not have been checked as strictly.
        Err(problem) => {
            let lax = read(shared, subject, &request, (normalize, Strictness::Stored));
            let Ok(Some((version, entry))) = lax.and_then(|lax| again(&lax)) else { return Err(problem) };
            return Ok(Outcome::Known { version, entry });
        }
    };
    if let Some((version, entry)) = again(&fresh)? {
        return Ok(Outcome::Known { version, entry });
    }
    if !mode.imports() {
        let reasons = comparison.reasons(shared, library, subject.context(), &fresh.parsed)?;
        if !reasons.is_empty() {
            return Err(Problem::incompatible(subject, &reasons));
        }
    }
    let state = shared.read();
    let version = new_version(&state, subject, &request, mode)?;
    if !mode.imports() {
        inherited::state_version(&mut fresh.text, version, given_version(&request) != 0);
    }
    let id = new_id(&state, subject, &fresh.text, (id, taken))?;
    let schema = state.by_id(subject.context(), id).cloned().unwrap_or_else(|| Arc::new(fresh.text));
    let entry = Version { id, schema, deleted: false, written_at: None };
    let records = records(&state, subject, version, &entry);
    Ok(Outcome::New { version, entry, records })
}

/// The version that a registration repeats: any live one of the subject; if it asks for the latest one, that
/// one; none if it names its own. An import repeats what has its id.
fn repeated(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    (fresh, request): (&Fresh, &SchemaRequest),
) -> Result<Option<(i32, Version)>, Problem> {
    let candidates = match given_version(request) {
        0 => Candidates::Live,
        -1 => Candidates::Latest,
        _ => return Ok(None),
    };
    let found = known(shared, library, subject, fresh, candidates)?;
    Ok(found.filter(|(_, entry)| given_id(request).is_none_or(|id| id == entry.id)))
}

/// The number of the new version.
fn new_version(
    state: &State,
    subject: &Subject,
    request: &SchemaRequest,
    mode: Mode,
) -> Result<i32, Problem> {
    let next = state.version_max(subject).checked_add(1);
    let next = next.ok_or_else(|| Problem::new(50001, format!("subject {subject} has no version left")))?;
    match given_version(request) {
        ..=0 => Ok(next),
        given if given == next || mode.imports() => Ok(given),
        given => {
            let text = request.schema.as_deref().unwrap_or_default();
            let details = format!(
                "Version is not one more than previous version: found {given}, expected {next}, or none"
            );
            Err(Problem::invalid_schema(text, &details))
        }
    }
}

fn latest<'a>(state: &'a State, subject: &Subject) -> Option<&'a Version> {
    state.versions(subject)?.values().rfind(|version| !version.deleted)
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

/// The versions that may be found to have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidates {
    /// Soft-deleted ones too.
    All,
    /// Those that are not.
    Live,
    /// The newest of those.
    Latest,
}

/// The version of the subject that has the schema, to the byte or in other words.
pub(super) fn known(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    fresh: &Fresh,
    which: Candidates,
) -> Result<Option<(i32, Version)>, Problem> {
    let candidates: Vec<(i32, Version)> = {
        let state = shared.read();
        let versions = state.versions(subject).into_iter().flatten().rev();
        versions
            .filter(|(_, version)| which == Candidates::All || !version.deleted)
            .take(if which == Candidates::Latest { 1 } else { usize::MAX })
            .map(|(number, version)| (*number, version.clone()))
            .collect()
    };
    let same = candidates.iter().find(|(_, entry)| entry.schema.guid == fresh.text.guid);
    if let Some((version, entry)) = same {
        return Ok(Some((*version, entry.clone())));
    }
    for (version, entry) in candidates {
        let schema = &entry.schema;
        // One text may have everything in it that the other refers to.
        let comparable = schema.language == fresh.text.language
            && (schema.references == fresh.text.references || fresh.text.references.is_empty())
            && schema.rules == fresh.text.rules
            && inherited::same_metadata(fresh.text.metadata.as_ref(), schema.metadata.as_ref(), version);
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
