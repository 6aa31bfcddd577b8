//! Events that are proposed to a person, from a foreign schema or from records that were seen, and the text by which
//! a catalog includes them.
//!
//! Whoever proposes fills [`ProposedEvent`]s with names as the source has them. [`settle`] makes of them what the
//! catalog's language can say, and leaves a [`Note`] wherever that differs from what was proposed. [`write()`] gives
//! the text. A settled proposal always loads.

mod naming;
mod settling;
mod text;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Number, Value};

use crate::catalog::Catalog;
use crate::field_type::FieldType;
use crate::language::Version;

pub use naming::legal_name;
pub use settling::{Enums, settle, settle_with};
pub(crate) use text::quoted;
pub use text::{Part, write, write_fields};

/// An event as it is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedEvent {
    /// Its name: at first the source's, a legal one when it is settled.
    pub name: String,
    /// What the source calls it, if it had to be altered.
    pub original: Option<String>,
    /// What happened; made up if it is empty.
    pub doc: String,
    /// Its version.
    pub version: Version,
    /// Where it comes from, and anything else that is told above it: one comment each.
    pub evidence: Vec<String>,
    /// Its fields, without those of the envelope.
    pub fields: Vec<ProposedField>,
    /// What differs from the source.
    pub notes: Vec<Note>,
}

/// A field as it is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedField {
    /// Its name: at first the source's, a legal one when it is settled.
    pub name: String,
    /// What the source calls it, if it had to be altered.
    pub original: Option<String>,
    /// What records go on calling it, where that is not its name.
    pub source: Option<String>,
    /// Its type. With `words` the text in it is an enum once it is settled.
    pub ty: FieldType,
    /// The only texts that it takes.
    pub words: Option<Words>,
    /// What it says.
    pub doc: Option<String>,
    /// The least number.
    pub min: Option<Number>,
    /// The greatest number.
    pub max: Option<Number>,
    /// The most characters of a text.
    pub max_length: Option<u32>,
    /// The regular expression that a text satisfies.
    pub pattern: Option<String>,
    /// What it is when absent.
    pub default: Option<Value>,
    /// What its number counts.
    pub unit: Option<String>,
    /// Whether few different texts are expected.
    pub low_cardinality: bool,
    /// Values as they come.
    pub examples: Vec<Value>,
    /// The members of the object in `ty`.
    pub members: Vec<ProposedField>,
    /// What the proposal rests on: one comment each.
    pub evidence: Vec<String>,
    /// What differs from the source.
    pub notes: Vec<Note>,
}

/// A list of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The words, in the order in which they are listed.
    pub values: Vec<String>,
    /// Whether others are taken too.
    pub open: bool,
}

/// Something that differs between the source and what is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How it differs.
    pub kind: NoteKind,
    /// Where in the source: a JSON pointer, a column; empty for the whole.
    pub at: String,
    /// What there is to know.
    pub text: String,
}

/// How a proposal differs from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A name is another. `source` says what records go on calling it, unless something else has that name.
    Renamed,
    /// A structure that the language cannot say is kept as JSON.
    AsJson,
    /// A rule of the source is not kept to.
    NotCarried,
    /// More is taken than the source takes.
    Loosened,
    /// Less is taken than the source takes.
    Tightened,
    /// Something that the source says for people only, or that follows from the type.
    Informative,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Renamed, Self::AsJson, Self::NotCarried, Self::Loosened, Self::Tightened, Self::Informative];

    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Renamed => "renamed",
            Self::AsJson => "kept as json",
            Self::NotCarried => "not carried over",
            Self::Loosened => "loosened",
            Self::Tightened => "tightened",
            Self::Informative => "informative",
        }
    }
}

/// Names that are given already where a proposal is to stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The envelope's fields: every event has them.
    pub fields: BTreeSet<String>,
    /// Events, and tables of any sort.
    pub tables: BTreeSet<String>,
    /// Enums.
    pub enums: BTreeSet<String>,
}

impl Taken {
    /// What any catalog has.
    #[must_use]
    pub fn by_any() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { fields: owned(&["event_id", "ts"]), tables: owned(&["dead_letters"]), enums: BTreeSet::new() }
    }

    /// What a catalog has.
    #[must_use]
    pub fn by(catalog: &Catalog) -> Self {
        let file = &catalog.file;
        let events = catalog.events.values().flat_map(|event| [event.name.as_str(), event.table.as_str()]);
        let derived = file.entities.keys().chain(file.facts.keys()).chain(file.rollups.keys());
        let tables = events.chain(derived).chain([file.policies.dead_letters.table.as_str()]);
        Self {
            fields: file.envelope.keys().map(str::to_owned).collect(),
            tables: tables.map(str::to_owned).collect(),
            enums: file.enums.keys().map(str::to_owned).collect(),
        }
    }
}

impl ProposedEvent {
    /// An event without fields, of version 1.0.0.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            original: None,
            doc: String::new(),
            version: Version { major: 1, minor: 0, patch: 0 },
            evidence: Vec::new(),
            fields: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Every note, its own and its fields'.
    #[must_use]
    pub fn all_notes(&self) -> Vec<&Note> {
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        self.fields.iter().for_each(|field| field.gather_notes(&mut notes));
        notes
    }

    /// How many fields it has, with the members of objects and without the objects.
    #[must_use]
    pub fn n_fields(&self) -> usize {
        self.fields.iter().map(ProposedField::n_fields).sum()
    }
}

impl ProposedField {
    /// A field of a type about which nothing else is known.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: FieldType) -> Self {
        Self {
            name: name.into(),
            original: None,
            source: None,
            ty,
            words: None,
            doc: None,
            min: None,
            max: None,
            max_length: None,
            pattern: None,
            default: None,
            unit: None,
            low_cardinality: false,
            examples: Vec::new(),
            members: Vec::new(),
            evidence: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a note.
    pub fn note(&mut self, kind: NoteKind, at: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note { kind, at: at.into(), text: text.into() });
    }

    fn gather_notes<'a>(&'a self, notes: &mut Vec<&'a Note>) {
        notes.extend(&self.notes);
        self.members.iter().for_each(|member| member.gather_notes(notes));
    }

    fn n_fields(&self) -> usize {
        if self.members.is_empty() { 1 } else { self.members.iter().map(Self::n_fields).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_type::Scalar;
    use crate::language::Field;
    use crate::names::Names;
    use crate::{Catalog, load};
    use serde_json::json;

    fn catalog(parts: &[Part]) -> Catalog {
        let root = "cdp: \"1\"\nname: shop\nenvelope: {event_id: {type: uuid}, ts: {type: timestamp(ms)}}\ninclude: [a.yaml]\n";
        let read = |path: &str| {
            let text = if path == "cdp.yaml" { root } else { &parts[0].text };
            Ok(text.as_bytes().to_vec())
        };
        match load("cdp.yaml", &read) {
            Ok(loaded) => loaded.catalog,
            Err(mistakes) => panic!("{mistakes}\n{}", parts[0].text),
        }
    }

    fn same(proposed: &[ProposedField], read: &Names<Field>) {
        assert_eq!(proposed.len(), read.len());
        for (proposed, (name, read)) in proposed.iter().zip(read.iter()) {
            assert_eq!(proposed.name, name);
            assert_eq!(proposed.source, read.source.as_ref().map(|source| source.value.0.clone()), "{name}");
            assert_eq!(proposed.ty, read.ty.value, "{name}");
            assert_eq!(proposed.doc, read.doc, "{name}");
            assert_eq!(proposed.min, read.min.as_ref().map(|min| min.value.0.clone()), "{name}");
            assert_eq!(proposed.max, read.max.as_ref().map(|max| max.value.0.clone()), "{name}");
            assert_eq!(proposed.max_length, read.max_length.as_ref().map(|max| max.value), "{name}");
            assert_eq!(
                proposed.pattern,
                read.pattern.as_ref().map(|pattern| pattern.value.clone()),
                "{name}"
            );
            assert_eq!(
                proposed.default,
                read.default.as_ref().map(|default| default.value.0.clone()),
                "{name}"
            );
            let examples: Vec<Value> = read.examples.iter().map(|example| example.0.clone()).collect();
            assert_eq!(proposed.examples, examples, "{name}");
            same(&proposed.members, &read.fields);
        }
    }

    fn optional(ty: FieldType) -> FieldType {
        FieldType::Optional(Box::new(ty))
    }

    fn text() -> FieldType {
        FieldType::Scalar(Scalar::String)
    }

    fn integer() -> FieldType {
        FieldType::Scalar(Scalar::Integer { signed: true, bits: 64 })
    }

    fn words(name: &str, values: &[&str]) -> ProposedField {
        let values = values.iter().map(|&word| word.to_owned()).collect();
        ProposedField { words: Some(Words { values, open: false }), ..ProposedField::new(name, text()) }
    }

    fn odd() -> ProposedEvent {
        let mut visitor = ProposedField::new("visitor", optional(FieldType::Object));
        visitor.members = vec![
            ProposedField::new("IP", FieldType::Scalar(Scalar::Ip)),
            ProposedField::new("chat", FieldType::Array(Box::new(FieldType::Object))),
        ];
        visitor.members[1].members = vec![words("kind", &["agent", "visitor"])];
        let mut event = ProposedEvent::new("com.acme/Link-Click");
        event.fields = vec![
            ProposedField { max_length: Some(9), ..ProposedField::new("targetUrl", text()) },
            ProposedField::new("target_url", text()),
            ProposedField::new("event_id", text()),
            ProposedField { min: Some(0.into()), max: Some(9.into()), ..ProposedField::new("n", integer()) },
            ProposedField {
                min: Some(0.into()),
                ..ProposedField::new("list", FieldType::Array(Box::new(integer())))
            },
            ProposedField {
                min: Some(0.into()),
                ..ProposedField::new("flag", FieldType::Scalar(Scalar::Bool))
            },
            ProposedField::new("mixed", optional(FieldType::Any)),
            ProposedField { pattern: Some("(".to_owned()), ..ProposedField::new("a__b", text()) },
            ProposedField { default: Some(json!("z")), ..words("kind", &["a", "b"]) },
            words("state", &["on/off", "a.b"]),
            ProposedField { default: Some(json!(5)), ..ProposedField::new("true", integer()) },
            ProposedField::new("amount", FieldType::Scalar(Scalar::Decimal { precision: 38, scale: 2 })),
            ProposedField {
                doc: Some("says \"no\": {#\n\u{85}\u{feff}\u{1f600}\u{0}".to_owned()),
                examples: vec![json!("5"), json!(5), json!({"a: b": [null, true, "~"]})],
                evidence: vec!["seen in 98 of\n100 records".to_owned()],
                ..ProposedField::new("text", text())
            },
            ProposedField::new("anything", optional(FieldType::Object)),
            visitor,
        ];
        event
    }

    #[test]
    fn what_is_written_is_read_as_it_was_proposed() {
        let mut events = vec![odd(), odd(), ProposedEvent::new("dead_letters")];
        let enums = settle(&mut events);
        let parts = write("Proposed from a test.", &events, &enums);
        let catalog = catalog(&parts);
        let names: Vec<&String> = catalog.events.keys().collect();
        assert_eq!(names, ["com_acme_link_click", "com_acme_link_click_2", "dead_letters_2"]);
        for event in &events {
            same(&event.fields, &catalog.events[&event.name].source.fields);
        }
        assert_eq!(parts, write("Proposed from a test.", &events, &enums));
    }

    #[test]
    fn whatever_had_to_be_altered_has_a_note() {
        let mut events = vec![odd()];
        let enums = settle(&mut events);
        let event = &events[0];
        let noted = |name: &str| {
            let field = event.fields.iter().find(|field| field.name == name).expect(name);
            field.notes.iter().map(|note| note.kind).collect::<Vec<_>>()
        };
        assert_eq!(noted("target_url"), [], "a legal name stays");
        assert_eq!(noted("target_url_2"), [NoteKind::Renamed]);
        assert_eq!(noted("event_id_2"), [NoteKind::Renamed]);
        assert_eq!(noted("n"), []);
        assert_eq!(noted("list"), [], "each number of it");
        assert_eq!(noted("flag"), [NoteKind::NotCarried]);
        assert_eq!(noted("a_b"), [NoteKind::Renamed, NoteKind::NotCarried]);
        assert_eq!(noted("kind"), [NoteKind::NotCarried]);
        assert_eq!(noted("state"), [], "the pattern takes these texts and no other");
        assert_eq!(noted("anything"), [NoteKind::AsJson]);
        assert_eq!(enums.keys().collect::<Vec<_>>(), ["com_acme_link_click_kind", "kind", "state"]);
    }

    #[test]
    fn a_proposal_that_one_file_cannot_hold_is_written_in_parts() {
        let mut events: Vec<ProposedEvent> = (0..50).map(|_| odd()).collect();
        for event in &mut events {
            event.doc = "x".repeat(50_000);
        }
        let enums = settle(&mut events);
        let parts = write("Large.", &events, &enums);
        assert_eq!(parts.iter().map(|part| part.n_events).sum::<usize>(), 50);
        assert!(parts.len() > 3 && parts.iter().all(|part| part.text.len() < tidegate_yaml::node::BYTES_MAX));
    }
}
