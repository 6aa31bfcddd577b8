//! Finding what is registered.

use std::sync::Arc;

use tidegate_languages::Strictness;

use crate::command::library::Library;
use crate::command::register::{self, Candidates};
use crate::command::{SchemaRequest, Shared, Which, inherited};
use crate::problem::Problem;
use crate::state::{State, Text, Version};
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// Whether soft-deleted versions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// They do not.
    Live,
    /// They do.
    All,
    /// Nothing else does.
    DeletedOnly,
}

impl Show {
    /// Whether a version counts.
    #[must_use]
    pub const fn counts(self, version: &Version) -> bool {
        match self {
            Self::Live => !version.deleted,
            Self::All => true,
            Self::DeletedOnly => version.deleted,
        }
    }
}

/// A version that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The subject, in the spelling of answers.
    pub subject: Subject,
    /// The version.
    pub version: i32,
    /// What is stored.
    pub entry: Version,
}

/// The version of a subject that has a schema. Of a subject that names no context, the default one is
/// asked first, then the others.
///
/// # Errors
/// If there is no such subject, or none of its versions has the schema.
pub fn by_schema(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    request: &SchemaRequest,
    how: (bool, Show),
) -> Result<Found, Problem> {
    let found = |subject: &Subject| by_schema_in_context(shared, library, subject, request, how);
    found(subject).or_else(|problem| {
        let others = elsewhere(&shared.read(), subject);
        others.iter().find_map(|other| found(other).ok()).ok_or(problem)
    })
}

/// The subjects of the same name in other contexts, of one that names none.
fn elsewhere(state: &State, subject: &Subject) -> Vec<Subject> {
    if subject.context() != DEFAULT_CONTEXT {
        return Vec::new();
    }
    let others = state.contexts().filter(|context| *context != DEFAULT_CONTEXT);
    let others = others.map(|context| Subject::parse(subject.name(), context));
    others.filter(|other| state.versions(other).is_some()).collect()
}

fn by_schema_in_context(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    request: &SchemaRequest,
    (normalize, show): (bool, Show),
) -> Result<Found, Problem> {
    let subject = &aliased(&shared.read(), subject);
    {
        let state = shared.read();
        let exists =
            state.versions(subject).is_some_and(|versions| versions.values().any(|one| show.counts(one)));
        if !exists {
            return Err(Problem::subject_not_found(&subject.qualified()));
        }
        if let Some((version, entry)) = verbatim(&state, subject, request, show) {
            return Ok(Found { subject: subject.clone(), version, entry });
        }
    }
    let mut fresh = register::read(shared, subject, request, (normalize, Strictness::Stored))?;
    let candidates = if show == Show::All { Candidates::All } else { Candidates::Live };
    let mut found = register::known(shared, library, subject, &fresh, candidates)?;
    if found.is_none() {
        // A client that knows the text only means the version that has it, whatever is said about it there
        // or by the settings.
        let mut request = request.clone();
        {
            let state = shared.read();
            let versions = state.versions(subject);
            let latest = versions.and_then(|versions| versions.values().rfind(|one| !one.deleted));
            inherited::said_about(&mut request, latest, state.config(subject));
        }
        (fresh.text.metadata, fresh.text.rules) = (request.metadata, request.rule_set);
        fresh.text.state_guid();
        found = register::known(shared, library, subject, &fresh, candidates)?;
    }
    let (version, entry) = found.ok_or_else(Problem::schema_not_found)?;
    Ok(Found { subject: subject.clone(), version, entry })
}

/// The version whose stored text is the given one, byte for byte: no need to read it again.
fn verbatim(state: &State, subject: &Subject, request: &SchemaRequest, show: Show) -> Option<(i32, Version)> {
    let text = request.schema.as_deref()?;
    let references = request.references.as_deref().unwrap_or_default();
    let (metadata, rules) = (request.metadata.as_ref(), request.rule_set.as_ref());
    let guid = crate::guid::Guid::of(text, references, metadata, rules);
    let versions = state.versions(subject)?.iter().rev();
    let mut counted = versions.filter(|(_, version)| show.counts(version));
    counted
        .find(|(_, version)| version.schema.guid == guid)
        .map(|(number, version)| (*number, version.clone()))
}

/// One version of a subject, or of the one that it stands for.
///
/// # Errors
/// If there is no such subject or version.
pub fn version(state: &State, subject: &Subject, which: Which, show: Show) -> Result<Found, Problem> {
    own_version(state, aliased(state, subject), which, show)
}

/// One version of exactly this subject.
///
/// # Errors
/// If there is no such subject or version.
pub fn own_version(state: &State, subject: Subject, which: Which, show: Show) -> Result<Found, Problem> {
    let versions = state.versions(&subject);
    let versions = versions.filter(|versions| versions.values().any(|one| show.counts(one)));
    let versions = versions.ok_or_else(|| Problem::subject_not_found(&subject.qualified()))?;
    let found = match which {
        // The latest one is never a deleted one, whoever asks.
        Which::Latest => versions.iter().rfind(|(_, version)| Show::Live.counts(version)),
        Which::Number(number) => versions.get_key_value(&number).filter(|(_, version)| show.counts(version)),
    };
    let (number, entry) = found.ok_or_else(|| Problem::version_not_found(which.number()))?;
    Ok(Found { version: *number, entry: entry.clone(), subject })
}

/// One version of a subject; if it names no context and the default one has none, of another.
///
/// # Errors
/// As of [`version`].
pub fn version_anywhere(
    state: &State,
    subject: &Subject,
    which: Which,
    show: Show,
) -> Result<Found, Problem> {
    version(state, subject, which, show).or_else(|problem| {
        let others = elsewhere(state, subject);
        others.iter().find_map(|other| version(state, other, which, show).ok()).ok_or(problem)
    })
}

/// The numbers of a subject's versions, and whether each is soft-deleted.
///
/// # Errors
/// If there is no such subject.
pub fn versions(state: &State, subject: &Subject, show: Show) -> Result<Vec<(i32, bool)>, Problem> {
    let subject = aliased(state, subject);
    let versions = state.versions(&subject).into_iter().flatten();
    let counted = versions.filter(|(_, version)| show.counts(version));
    let numbers: Vec<_> = counted.map(|(number, version)| (*number, version.deleted)).collect();
    if numbers.is_empty() { Err(Problem::subject_not_found(&subject.qualified())) } else { Ok(numbers) }
}

/// The schema of an id. Of no context in particular, the one counts whose subject of that name has the id,
/// then the default one; without a subject any that has the id.
///
/// # Errors
/// If no context has the id.
pub fn by_id(state: &State, id: i32, subject: &Subject) -> Result<(String, Arc<Text>), Problem> {
    let found =
        |context: &str| state.by_id(context, id).map(|schema| (context.to_owned(), Arc::clone(schema)));
    let used = |context: &&str| {
        state
            .uses(context, id)
            .any(|(user, _)| Subject::parse(user, DEFAULT_CONTEXT).name() == subject.name())
    };
    let in_any = || state.contexts().find_map(found);
    let schema = match (subject.context(), subject.name()) {
        (DEFAULT_CONTEXT, "") => in_any(),
        (DEFAULT_CONTEXT, _) => {
            state.contexts().find(used).and_then(found).or_else(|| found(DEFAULT_CONTEXT))
        }
        (context, _) => found(context),
    };
    schema.ok_or_else(|| Problem::schema_id_not_found(&id.to_string()))
}

fn aliased(state: &State, subject: &Subject) -> Subject {
    state.alias(subject).unwrap_or_else(|| subject.clone())
}
