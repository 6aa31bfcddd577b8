//! What the registry knows: the topic's records, folded. Pure; [`State::apply`] is the only change.

mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tidegate_languages::Language;

use crate::entity::{Config, Metadata, Mode, Reference, RuleSet};
use crate::guid::Guid;
use crate::record::{Key, Record, SchemaValue, Value};
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// A schema as it is stored: shared by all versions that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its language.
    pub language: Language,
    /// Its text, verbatim.
    pub text: String,
    /// What it refers to.
    pub references: Vec<Reference>,
    /// What people say about it.
    pub metadata: Option<Metadata>,
    /// Its rules.
    pub rules: Option<RuleSet>,
    /// Its identity.
    pub guid: Guid,
}

impl Text {
    /// Makes the identity that of what is there.
    pub(crate) fn state_guid(&mut self) {
        self.guid = Guid::of(&self.text, &self.references, self.metadata.as_ref(), self.rules.as_ref());
    }
}

/// A version of a subject.
#[derive(Debug, Clone)]
pub struct Version {
    /// The id of its schema in the subject's context.
    pub id: i32,
    /// The schema.
    pub schema: Arc<Text>,
    /// Whether it is soft-deleted.
    pub deleted: bool,
    /// When its record was written, in milliseconds since the epoch.
    pub written_at: Option<i64>,
}

/// The versions of one subject.
pub type Versions = BTreeMap<i32, Version>;

#[derive(Debug, Default)]
struct Ids {
    /// The largest id that was ever seen.
    max: i32,
    known: BTreeMap<i32, Known>,
    by_guid: HashMap<Guid, i32>,
}

#[derive(Debug)]
struct Known {
    schema: Arc<Text>,
    /// Qualified subject and version.
    uses: BTreeSet<(String, i32)>,
}

/// What a record did.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// It was taken.
    Taken,
    /// It is none that we act on.
    Ignored,
    /// It cannot be read, and why.
    Unreadable(String),
    /// Its id belongs to another schema: two registries led at once. A leader writes this back.
    Conflict(Record),
}

/// Everything that was registered.
#[derive(Debug, Default)]
pub struct State {
    subjects: BTreeMap<String, Versions>,
    /// The largest version that a subject ever had, of subjects that may have lost it.
    version_max: HashMap<String, i32>,
    contexts: BTreeMap<String, Ids>,
    configs: BTreeMap<String, Config>,
    modes: BTreeMap<String, Mode>,
    /// Ids by what they refer to: qualified subject and version, then context and id.
    referrers: HashMap<(String, i32), BTreeSet<(String, i32)>>,
    /// Keys whose bytes are not the ones that we write: a tombstone goes there too.
    foreign_keys: HashMap<Key, Vec<u8>>,
}

impl State {
    /// Takes a record of the topic. Whatever it is, the state stays whole.
    pub fn apply(&mut self, key_bytes: &[u8], value: Option<&[u8]>, timestamp: Option<i64>) -> Applied {
        let Some(key) = Key::read(key_bytes) else { return Applied::Ignored };
        let value = match value.map(|bytes| Value::read(&key, bytes)).transpose() {
            Ok(value) => value.flatten(),
            Err(error) => return Applied::Unreadable(error),
        };
        if let Key::Schema { .. } = key {
            if value.is_none() {
                self.foreign_keys.remove(&key);
            } else if key.to_bytes() != key_bytes {
                self.foreign_keys.insert(key.clone(), key_bytes.to_vec());
            }
        }
        match (key, value) {
            (Key::Schema { subject, version }, Some(Value::Schema(value))) => {
                return self.put_version(&subject, version, *value, timestamp);
            }
            (Key::Schema { subject, version }, _) => self.drop_version(&subject, version),
            (Key::Config(scope), Some(Value::Config(value))) => {
                self.configs.insert(scope, value.config);
            }
            (Key::Config(scope), _) => drop(self.configs.remove(&scope)),
            (Key::Mode(scope), Some(Value::Mode(value))) => drop(self.modes.insert(scope, value.mode)),
            (Key::Mode(scope), _) => drop(self.modes.remove(&scope)),
            (Key::DeleteSubject(subject), Some(Value::Subject(value))) => {
                let last = value.version.unwrap_or(i32::MAX);
                for (_, version) in self.subjects.entry(subject).or_default().range_mut(..=last) {
                    version.deleted = true;
                }
            }
            (Key::ClearSubject(scope), Some(Value::Subject(_))) => self.clear(&scope),
            (Key::Context(context), Some(Value::Context)) => {
                self.contexts.entry(context).or_default();
            }
            // Somebody may have registered a schema in it in between.
            (Key::Context(context), _) => {
                if self.contexts.get(&context).is_some_and(|ids| ids.known.is_empty()) {
                    self.contexts.remove(&context);
                }
            }
            (Key::Noop | Key::DeleteSubject(_) | Key::ClearSubject(_), _) => {}
        }
        Applied::Taken
    }

    fn put_version(
        &mut self,
        subject: &str,
        version: i32,
        value: SchemaValue,
        timestamp: Option<i64>,
    ) -> Applied {
        let language = match value.schema_type.as_deref().unwrap_or("AVRO").parse() {
            Ok(language) => language,
            Err(error) => return Applied::Unreadable(format!("{error}")),
        };
        let references = value.references.unwrap_or_default();
        let guid = Guid::of(&value.schema, &references, value.metadata.as_ref(), value.rule_set.as_ref());
        let context = Subject::parse(subject, DEFAULT_CONTEXT).context().to_owned();
        if let Some(known) = self.contexts.get(&context).and_then(|ids| ids.known.get(&value.id))
            && known.schema.guid != guid
            && known.uses.iter().any(|used| *used != (subject.to_owned(), version))
        {
            return Applied::Conflict(self.as_record(subject, version));
        }
        self.drop_version(subject, version);
        let ids = self.contexts.entry(context.clone()).or_default();
        ids.max = ids.max.max(value.id);
        let schema = ids.known.get(&value.id).map_or_else(
            || {
                let (metadata, rules) = (value.metadata, value.rule_set);
                Arc::new(Text { language, text: value.schema, references, metadata, rules, guid })
            },
            |known| Arc::clone(&known.schema),
        );
        let known = ids
            .known
            .entry(value.id)
            .or_insert_with(|| Known { schema: Arc::clone(&schema), uses: BTreeSet::new() });
        known.uses.insert((subject.to_owned(), version));
        ids.by_guid.entry(guid).or_insert(value.id);
        for reference in &schema.references {
            let target = Subject::parse(&reference.subject, &context).qualified();
            self.referrers
                .entry((target, reference.version))
                .or_default()
                .insert((context.clone(), value.id));
        }
        let entry = Version { id: value.id, schema, deleted: value.deleted, written_at: timestamp };
        self.subjects.entry(subject.to_owned()).or_default().insert(version, entry);
        let max = self.version_max.entry(subject.to_owned()).or_default();
        *max = version.max(*max);
        Applied::Taken
    }

    fn drop_version(&mut self, subject: &str, version: i32) {
        let Some(versions) = self.subjects.get_mut(subject) else { return };
        let Some(dropped) = versions.remove(&version) else { return };
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
        let context = Subject::parse(subject, DEFAULT_CONTEXT).context().to_owned();
        let Some(ids) = self.contexts.get_mut(&context) else { return };
        let Some(known) = ids.known.get_mut(&dropped.id) else { return };
        known.uses.remove(&(subject.to_owned(), version));
        if !known.uses.is_empty() {
            return;
        }
        ids.known.remove(&dropped.id);
        if ids.by_guid.get(&dropped.schema.guid) == Some(&dropped.id) {
            ids.by_guid.remove(&dropped.schema.guid);
        }
        for reference in &dropped.schema.references {
            let target = (Subject::parse(&reference.subject, &context).qualified(), reference.version);
            if let Some(referrers) = self.referrers.get_mut(&target) {
                referrers.remove(&(context.clone(), dropped.id));
                if referrers.is_empty() {
                    self.referrers.remove(&target);
                }
            }
        }
    }

    /// Forgets the soft-deleted versions of a subject, a context, or everything.
    fn clear(&mut self, scope: &str) {
        let of = Subject::parse(scope, DEFAULT_CONTEXT);
        let deleted: Vec<(String, i32)> = self
            .subjects
            .iter()
            .filter(|(subject, _)| {
                let subject = Subject::parse(subject, DEFAULT_CONTEXT);
                subject.context() == of.context() && (of.name().is_empty() || of == subject)
            })
            .flat_map(|(subject, versions)| {
                let deleted = versions.iter().filter(|(_, version)| version.deleted);
                deleted.map(|(version, _)| (subject.clone(), *version))
            })
            .collect();
        for (subject, version) in deleted {
            self.drop_version(&subject, version);
        }
    }

    /// A version as the record that says it; a tombstone if there is none.
    fn as_record(&self, subject: &str, version: i32) -> Record {
        let key = Key::Schema { subject: subject.to_owned(), version };
        let value = self.subjects.get(subject).and_then(|versions| versions.get(&version));
        Record { key, value: value.map(|found| Value::Schema(Box::new(value_of(subject, version, found)))) }
    }

    /// The subjects of all contexts, in order of their qualified names.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &Versions)> {
        self.subjects.iter().map(|(subject, versions)| (subject.as_str(), versions))
    }

    /// A subject's versions, soft-deleted ones included.
    #[must_use]
    pub fn versions(&self, subject: &Subject) -> Option<&Versions> {
        self.subjects.get(&subject.qualified()).filter(|versions| !versions.is_empty())
    }

    /// The largest version that a subject ever had; 0 of one that had none.
    #[must_use]
    pub fn version_max(&self, subject: &Subject) -> i32 {
        self.version_max.get(&subject.qualified()).copied().unwrap_or(0)
    }

    /// The contexts that exist, the default one always.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        let known = self.contexts.keys().map(String::as_str).filter(|context| *context != DEFAULT_CONTEXT);
        std::iter::once(DEFAULT_CONTEXT).chain(known)
    }

    /// The schema of an id.
    #[must_use]
    pub fn by_id(&self, context: &str, id: i32) -> Option<&Arc<Text>> {
        Some(&self.contexts.get(context)?.known.get(&id)?.schema)
    }

    /// Where a schema is registered: qualified subjects and versions.
    pub fn uses(&self, context: &str, id: i32) -> impl Iterator<Item = &(String, i32)> {
        self.contexts
            .get(context)
            .and_then(|ids| ids.known.get(&id))
            .into_iter()
            .flat_map(|known| &known.uses)
    }

    /// The id of a schema in a context.
    #[must_use]
    pub fn id_of(&self, context: &str, guid: Guid) -> Option<i32> {
        self.contexts.get(context)?.by_guid.get(&guid).copied()
    }

    /// The largest id of a context.
    #[must_use]
    pub fn id_max(&self, context: &str) -> i32 {
        self.contexts.get(context).map_or(0, |ids| ids.max)
    }

    /// Contexts and ids of the schemas that refer to a version.
    pub fn referrers(&self, subject: &Subject, version: i32) -> impl Iterator<Item = &(String, i32)> {
        self.referrers.get(&(subject.qualified(), version)).into_iter().flatten()
    }

    /// The bytes of a key under which another registry wrote the same, if they differ from ours.
    #[must_use]
    pub fn foreign_key(&self, key: &Key) -> Option<&[u8]> {
        self.foreign_keys.get(key).map(Vec::as_slice)
    }
}

/// A version as a record's value.
pub(crate) fn value_of(subject: &str, number: i32, version: &Version) -> SchemaValue {
    let schema = &version.schema;
    SchemaValue {
        subject: subject.to_owned(),
        version: number,
        id: version.id,
        schema_type: Some(schema.language.as_str().to_owned()),
        references: Some(schema.references.clone()).filter(|references| !references.is_empty()),
        metadata: schema.metadata.clone(),
        rule_set: schema.rules.clone(),
        schema: schema.text.clone(),
        deleted: version.deleted,
    }
}
