//! Whether a schema may follow others.

use std::sync::Arc;

use tidegate_languages::{Age, ParsedSchema, Policy, Strictness, Verdict};

use crate::command::library::Library;
use crate::command::references::{self, Deleted};
use crate::command::{SchemaRequest, Shared, Which, register};
use crate::entity::{Level, Metadata};
use crate::problem::Problem;
use crate::state::{State, Text};
use crate::subject::Subject;

/// How much of an old schema a message repeats, in characters; Confluent's number.
const ECHO_MAX: usize = 10 * 1024;

/// A version to compare with.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its number.
    pub version: i32,
    /// Its schema.
    pub schema: Arc<Text>,
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// How much may differ.
    pub level: Level,
    policy: Policy,
    validate_fields: bool,
    /// The metadata property whose value tells which versions are compared, and the schema's value of it.
    group: Option<(String, Option<String>)>,
    /// Names that the schema says no field has.
    reserved: Vec<String>,
    /// The live versions, newest first.
    pub earlier: Vec<Earlier>,
}

impl Comparison {
    /// With the live versions of a subject, as its settings say.
    #[must_use]
    pub fn with_live(state: &State, subject: &Subject, metadata: Option<&Metadata>) -> Self {
        let config = state.config(subject);
        let lenient = config.compatibility_policy.as_deref() == Some("LENIENT");
        let group = config.compatibility_group.map(|name| {
            let ours = property(metadata, &name).cloned();
            (name, ours)
        });
        let versions = state.versions(subject).into_iter().flat_map(|versions| versions.iter().rev());
        let earlier = versions
            .filter(|(_, version)| !version.deleted)
            .map(|(number, version)| Earlier { version: *number, schema: Arc::clone(&version.schema) })
            .collect();
        Self {
            level: config.compatibility_level.unwrap_or(Level::Backward),
            policy: if lenient { Policy::Lenient } else { Policy::Strict },
            validate_fields: config.validate_fields.unwrap_or(false),
            group,
            reserved: reserved(metadata),
            earlier,
        }
    }

    /// Every reason against the schema, in Confluent's words, each with what would help. None if it is
    /// compatible. Of several versions the first that fails ends the search.
    ///
    /// # Errors
    /// If a stored schema cannot be read.
    pub fn reasons(
        &self,
        shared: &Shared,
        library: &Library,
        context: &str,
        new: &ParsedSchema,
    ) -> Result<Vec<String>, Problem> {
        let mut reasons = self.reserved_reasons(new);
        let of_group = self.earlier.iter().filter(|earlier| {
            let same = |(name, ours): &(String, Option<String>)| {
                property(earlier.schema.metadata.as_ref(), name) == ours.as_ref()
            };
            self.group.as_ref().is_none_or(same)
        });
        let n = match self.level {
            Level::None => 0,
            level if level.transitive() => usize::MAX,
            _ => 1,
        };
        for earlier in of_group.take(n) {
            let old = library.stored(context, &earlier.schema, || {
                references::resolve(&shared.read(), context, &earlier.schema.references, Deleted::Allowed)
            })?;
            let differences = self.against(new, &old);
            if !differences.is_empty() {
                reasons.extend(differences);
                reasons.push(format!("{{oldSchemaVersion: {}}}", earlier.version));
                reasons.push(old_schema(&earlier.schema.text));
                break;
            }
        }
        if !reasons.is_empty() {
            let (fields, level) = (self.validate_fields, self.level.as_str());
            reasons.push(format!("{{validateFields: '{fields}', compatibility: '{level}'}}"));
        }
        Ok(reasons)
    }

    /// What `validateFields` asks for, whatever the level: names that the newest version reserves stay
    /// reserved, and no field has one.
    fn reserved_reasons(&self, new: &ParsedSchema) -> Vec<String> {
        if !self.validate_fields {
            return Vec::new();
        }
        let newest = self.earlier.first().and_then(|newest| newest.schema.metadata.as_ref());
        let freed = reserved(newest).into_iter().filter(|name| !self.reserved.contains(name)).map(|name| {
            format!(
                "{{errorType:'RESERVED_FIELD_REMOVED', description:'The new schema has reserved field {name} \
                 removed from its metadata which is present in the old schema's metadata.', \
                 additionalInfo:'{name}'}}"
            )
        });
        let used = self.reserved.iter().filter(|name| new.has_top_level_field(name)).map(|name| {
            format!(
                "{{errorType:'FIELD_CONFLICTS_WITH_RESERVED_FIELD', description:'The new schema has field that \
                 conflicts with the reserved field {name}.', additionalInfo:'{name}'}}"
            )
        });
        freed.chain(used).collect()
    }

    fn against(&self, new: &ParsedSchema, old: &ParsedSchema) -> Vec<String> {
        let backward = || messages(&new.reads(old, self.policy), Age::New);
        let forward = || messages(&old.reads(new, self.policy), Age::Old);
        match self.level {
            Level::None => Vec::new(),
            Level::Backward | Level::BackwardTransitive => backward(),
            Level::Forward | Level::ForwardTransitive => forward(),
            Level::Full | Level::FullTransitive => {
                let mut both = forward();
                both.extend(backward());
                both
            }
        }
    }
}

/// The metadata property with the names that no field may have, separated by commas.
const RESERVED: &str = "confluent:reserved";

fn property<'a>(metadata: Option<&'a Metadata>, name: &str) -> Option<&'a String> {
    metadata?.properties.get(name)
}

fn reserved(metadata: Option<&Metadata>) -> Vec<String> {
    let names = property(metadata, RESERVED).into_iter().flat_map(|list| list.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn messages(verdict: &Verdict, reader: Age) -> Vec<String> {
    match verdict {
        Verdict::OtherLanguage => vec!["Incompatible because of different schema type".to_owned()],
        Verdict::Undecided(why) => vec![format!("Unexpected exception during compatibility check: {why}")],
        Verdict::Differences(all) => {
            let confluent = all.iter().map(|one| one.confluent_message(reader));
            confluent.chain(all.iter().map(|one| format!("{{remedy: '{}'}}", one.explanation()))).collect()
        }
    }
}

fn old_schema(text: &str) -> String {
    match text.char_indices().nth(ECHO_MAX) {
        None => format!("{{oldSchema: '{text}'}}"),
        Some((end, _)) => {
            format!("{{oldSchema: <truncated to {ECHO_MAX} characters> '{}'}}", &text[..end])
        }
    }
}

/// What a check is made against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// One version.
    Version(Which),
    /// The live versions, as the level says.
    Level,
}

/// The reasons against a schema that is not registered yet.
///
/// # Errors
/// If the version does not exist, or the schema cannot be read.
pub fn check(
    shared: &Shared,
    library: &Library,
    subject: &Subject,
    request: &SchemaRequest,
    (against, normalize): (Against, bool),
) -> Result<Vec<String>, Problem> {
    let comparison = {
        let state = shared.read();
        let mut comparison = Comparison::with_live(&state, subject, request.metadata.as_ref());
        if let Against::Version(which) = against {
            comparison.earlier = one_version(&state, subject, which)?;
        }
        comparison
    };
    let fresh = register::read(shared, subject, request, (normalize, Strictness::Fresh))?;
    comparison.reasons(shared, library, subject.context(), &fresh.parsed)
}

/// The version that was named. Of a subject that does not exist there is no latest one, and everything
/// may follow nothing.
fn one_version(state: &State, subject: &Subject, which: Which) -> Result<Vec<Earlier>, Problem> {
    let live = state.versions(subject).into_iter().flatten().filter(|(_, version)| !version.deleted);
    let mut live = live.rev();
    let found = match which {
        Which::Latest => live.next(),
        Which::Number(wanted) => {
            let found = live.find(|(number, _)| **number == wanted);
            Some(found.ok_or_else(|| Problem::version_not_found(wanted))?)
        }
    };
    let earlier = |(number, version): (&i32, &crate::state::Version)| Earlier {
        version: *number,
        schema: Arc::clone(&version.schema),
    };
    Ok(found.map(earlier).into_iter().collect())
}
