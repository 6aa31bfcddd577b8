//! Events, an envelope and enums, proposed from what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::Survey;
use super::evidence::{Evidence, Members};
use super::field::{Judging, Place, any};
use super::scalar::share;
use crate::catalog::Catalog;
use crate::field_type::{FieldType, Scalar};
use crate::proposal::{
    Enums, Note, NoteKind, Part, ProposedEvent, ProposedField, Taken, legal_name, settle_with, write,
    write_fields,
};

/// The most columns of a proposed event. Beyond, the widest of the deepest objects are kept as JSON.
const COLUMNS_MAX: usize = 200;
/// What every catalog's envelope has.
const SPINE: [&str; 2] = ["event_id", "ts"];

/// What is proposed. Nothing of it holds before a person has looked at it.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// The catalog's name, if it is to be one of its own.
    pub name: String,
    /// The topic, if it has one event only: the event is read from there.
    pub topic: Option<String>,
    /// The fields of every event; empty if a catalog is there that has them.
    pub envelope: Vec<ProposedField>,
    /// The events.
    pub events: Vec<ProposedEvent>,
    /// The enums that they name.
    pub enums: Enums,
    /// What is to be known of all of it.
    pub notes: Vec<Note>,
    /// Whether fields that nobody could declare are collected in a column.
    pub collects: bool,
}

/// Proposes events for what was seen in `topic`. With a catalog they are to be included by it, else they are a catalog
/// of their own.
#[must_use]
pub fn propose(survey: &Survey, topic: &str, catalog: Option<&Catalog>) -> Inferred {
    let n_records: u64 = survey.events().values().map(Evidence::count).sum();
    let mut notes = Vec::new();
    let mut note = |kind, at: &str, text: String| notes.push(Note { kind, at: at.to_owned(), text });
    if survey.left_out() > 0 {
        let text = format!("{} records of more events than are told apart were left out", survey.left_out());
        note(NoteKind::NotCarried, "", text);
    }
    if let Some(depth) = survey.given_up_below() {
        note(NoteKind::AsJson, "", format!("very many fields: only {depth} levels were looked at"));
    }
    let mut judging = Judging::default();
    let envelope = match catalog {
        Some(_) => Vec::new(),
        None => envelope(survey, &mut judging, &mut notes),
    };
    let shared: BTreeSet<String> = match catalog {
        Some(catalog) => catalog.file.envelope.keys().map(str::to_owned).collect(),
        None => envelope.iter().map(|field| field.name.clone()).collect(),
    };
    let mut events = Vec::new();
    for (name, evidence) in survey.events() {
        events.push(event(
            if name.is_empty() { topic } else { name },
            evidence,
            n_records,
            &shared,
            &mut judging,
        ));
    }
    if survey.events().len() > 1 {
        let text = "a topic of the catalog holds one event: each of these gets a topic of its own, by `defaults.kafka.topic`";
        notes.push(Note { kind: NoteKind::Informative, at: String::new(), text: text.to_owned() });
    }
    let collects = !judging.nameless.is_empty();
    if collects {
        notes.push(Note { kind: NoteKind::NotCarried, at: String::new(), text: nameless(&judging.nameless) });
    }
    let topic = (catalog.is_none() && events.len() == 1).then(|| topic.to_owned());
    let name = legal_name(topic.as_deref().unwrap_or("inferred"));
    settled(Inferred { name, topic, envelope, events, enums: Enums::new(), notes, collects }, catalog)
}

fn nameless(pointers: &[String]) -> String {
    let unique: BTreeSet<&String> = pointers.iter().collect();
    let some: Vec<String> = unique.iter().take(4).map(|pointer| format!("`{pointer}`")).collect();
    let more = if unique.len() > 4 { format!(" and {} more", unique.len() - 4) } else { String::new() };
    format!(
        "{}{more} cannot be names of fields: they are kept in the column `_unknown`, by `unknown_fields: collect`",
        some.join(", ")
    )
}

/// Makes all of it what the language can say.
fn settled(mut inferred: Inferred, catalog: Option<&Catalog>) -> Inferred {
    let mut taken = catalog.map_or_else(Taken::by_any, Taken::by);
    if catalog.is_none() {
        let mut envelope = ProposedEvent::new("envelope");
        envelope.fields = std::mem::take(&mut inferred.envelope);
        let bare = Taken::default();
        inferred.enums = settle_with(std::slice::from_mut(&mut envelope), &bare);
        inferred.envelope = envelope.fields;
        taken.fields = inferred.envelope.iter().map(|field| field.name.clone()).collect();
        taken.enums = inferred.enums.keys().cloned().collect();
    }
    inferred.enums.extend(settle_with(&mut inferred.events, &taken));
    inferred
}

/// The members of an event's records; nothing if they were too many, or no objects.
fn members(evidence: &Evidence) -> Option<&BTreeMap<String, Evidence>> {
    evidence.members.named()
}

/// What every event has: its identity, its time, and members without parts that all events share.
fn envelope(survey: &Survey, judging: &mut Judging, notes: &mut Vec<Note>) -> Vec<ProposedField> {
    let mut all = Evidence::default();
    survey.events().values().for_each(|evidence| all.merge(evidence.clone()));
    let none = BTreeMap::new();
    let of_all = members(&all).unwrap_or(&none);
    let mut fields = spine(of_all, all.objects, judging, notes);
    if survey.events().len() < 2 {
        return fields;
    }
    for (name, evidence) in of_all {
        let everywhere = survey.events().values().all(|event| {
            members(event).and_then(|members| members.get(name)).is_some_and(|of| of.values() > 0)
        });
        if !everywhere || SPINE.contains(&name.as_str()) || legal_name(name) != *name {
            continue;
        }
        let field = judging.field(name, evidence, all.objects, Place::TOP);
        let refuses = field.notes.iter().any(|note| note.kind == NoteKind::Tightened);
        if field.ty.scalar().is_some() && !refuses {
            fields.push(field);
        }
    }
    fields
}

/// `event_id` and `ts`, which every catalog has. What they were like, or what might be them.
fn spine(
    of_all: &BTreeMap<String, Evidence>,
    n_records: u64,
    judging: &mut Judging,
    notes: &mut Vec<Note>,
) -> Vec<ProposedField> {
    let mut spine = Vec::new();
    for name in SPINE {
        let none = Evidence::default();
        let evidence = of_all.get(name).unwrap_or(&none);
        let mut field = judging.field(name, evidence, n_records, Place::TOP);
        let time = name == "ts";
        let fits = match field.ty.scalar() {
            Some(Scalar::Timestamp(_)) => time,
            Some(Scalar::Uuid | Scalar::String) => !time && evidence.values() > 0,
            _ => false,
        };
        let wanted =
            if time { Scalar::Timestamp(crate::field_type::SecondFraction::Millis) } else { Scalar::Uuid };
        let kept = if fits { field.ty.scalar().cloned().unwrap_or(wanted) } else { wanted };
        field.ty = FieldType::Scalar(kept);
        (field.words, field.members) = (None, Vec::new());
        let n_refused = if fits { n_records.saturating_sub(evidence.texts.count) } else { n_records };
        field.notes.retain(|note| note.kind == NoteKind::Informative && evidence.count() > 0);
        if n_refused > 0 {
            let text = format!(
                "{n_refused} of {n_records} records have no `{name}` as the catalog demands it ({}): they would be refused{}",
                field.ty,
                candidates(of_all, n_records, time)
            );
            field.note(NoteKind::Tightened, format!("/{name}"), text);
            notes.extend(field.notes.iter().filter(|note| note.kind == NoteKind::Tightened).cloned());
        }
        spine.push(field);
    }
    spine
}

/// Members that might be the identity, or the time.
fn candidates(of_all: &BTreeMap<String, Evidence>, n_records: u64, time: bool) -> String {
    let mut found: Vec<(u64, String)> = Vec::new();
    for (name, evidence) in of_all {
        let field = Judging::default().field(name, evidence, n_records, Place::TOP);
        let epoch = field.notes.iter().any(|note| note.text.contains("since 1970"));
        let fits = match field.ty.scalar() {
            Some(Scalar::Timestamp(_)) => time,
            Some(Scalar::Uuid) => !time,
            Some(Scalar::String) => !time && (name == "id" || name.ends_with("_id") || name.ends_with("Id")),
            _ => time && epoch,
        };
        if fits && evidence.values() * 2 > n_records && !SPINE.contains(&name.as_str()) {
            let text =
                format!("`{name}` ({}, in {})", field.ty.required(), share(evidence.values(), n_records));
            found.push((evidence.values(), text));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    let some: Vec<String> = found.into_iter().take(3).map(|(_, text)| text).collect();
    match some.as_slice() {
        [] => "; nothing among the fields looks like it".to_owned(),
        some => format!("; it might be {}", some.join(", ")),
    }
}

fn event(
    name: &str,
    evidence: &Evidence,
    n_records: u64,
    shared: &BTreeSet<String>,
    judging: &mut Judging,
) -> ProposedEvent {
    let mut event = ProposedEvent::new(name);
    event.doc = format!("Proposed from {} records; say what happened.", evidence.count());
    event.evidence.push(format!(
        "{} of {n_records} records ({})",
        evidence.count(),
        share(evidence.count(), n_records)
    ));
    let mut note = |kind, text: String| event.notes.push(Note { kind, at: String::new(), text });
    if evidence.objects < evidence.count() {
        let others = evidence.count() - evidence.objects;
        note(
            NoteKind::Tightened,
            format!("{others} of {} were no objects: they would be refused", evidence.count()),
        );
    }
    let mut own = Judging::default();
    match &evidence.members {
        Members::Any(_) => {
            note(NoteKind::NotCarried, "more names than fields can be: they vary, as of a map".to_owned());
            own.nameless.push("/*".to_owned());
        }
        Members::Named(members) => {
            let fields: BTreeMap<String, Evidence> = members
                .iter()
                .filter(|(name, _)| !shared.contains(*name))
                .map(|(name, of)| (name.clone(), of.clone()))
                .collect();
            event.fields = own.members(&fields, evidence.objects, Place::TOP);
        }
    }
    narrow(&mut event.fields, COLUMNS_MAX, &own.null_objects);
    judging.nameless.append(&mut own.nameless);
    event
}

/// Keeps objects as JSON, the deepest and of these the widest first, until there are no more columns than `most`.
fn narrow(fields: &mut [ProposedField], most: usize, null_objects: &BTreeSet<String>) {
    loop {
        let n_columns = columns(fields);
        if n_columns <= most {
            return;
        }
        let mut path = Vec::new();
        let mut best = None;
        deepest(fields, &mut path, &mut best);
        let Some((_, _, path)) = best else { return };
        let Some((pointer, field)) = at(fields, &path, String::new()) else { return };
        let text = format!("{} columns in it: an event should have at most {most}", columns(&field.members));
        if null_objects.contains(&pointer) {
            any(field, &format!("{text}, and it was null at times"), &pointer);
            continue;
        }
        field.ty = match field.ty.optional() {
            true => FieldType::Optional(Box::new(FieldType::Json)),
            false => FieldType::Json,
        };
        // What was refused within it is not any more.
        field.members.clear();
        field.note(NoteKind::AsJson, pointer, text);
    }
}

fn flat(field: &ProposedField) -> bool {
    matches!(field.ty.required(), FieldType::Object)
}

fn columns(fields: &[ProposedField]) -> usize {
    fields.iter().map(|field| if flat(field) { columns(&field.members) } else { 1 }).sum()
}

/// The object to be kept as JSON first: depth, columns, and the places on the way to it.
fn deepest(fields: &[ProposedField], path: &mut Vec<usize>, best: &mut Option<(usize, usize, Vec<usize>)>) {
    for (index, field) in fields.iter().enumerate().filter(|(_, field)| flat(field)) {
        path.push(index);
        let (depth, n_columns) = (path.len(), columns(&field.members));
        if best.as_ref().is_none_or(|(deep, wide, _)| (depth, n_columns) > (*deep, *wide)) {
            *best = Some((depth, n_columns, path.clone()));
        }
        deepest(&field.members, path, best);
        path.pop();
    }
}

/// The field at these places, and its JSON Pointer.
fn at<'a>(
    fields: &'a mut [ProposedField],
    path: &[usize],
    within: String,
) -> Option<(String, &'a mut ProposedField)> {
    let (first, rest) = path.split_first()?;
    let field = fields.get_mut(*first)?;
    let pointer = format!("{within}/{}", field.name);
    if rest.is_empty() { Some((pointer, field)) } else { at(&mut field.members, rest, pointer) }
}

impl Inferred {
    /// Every note: of all of it, of the envelope, of the events; what would be refused first.
    #[must_use]
    pub fn all_notes(&self) -> Vec<(Option<&str>, &Note)> {
        let mut notes: Vec<(Option<&str>, &Note)> = self.notes.iter().map(|note| (None, note)).collect();
        for event in &self.events {
            notes.extend(event.all_notes().into_iter().map(|note| (Some(event.name.as_str()), note)));
        }
        notes.sort_by_key(|(_, note)| rank(note.kind));
        notes
    }

    /// Files that an existing catalog includes.
    #[must_use]
    pub fn parts(&self, title: &str) -> Vec<Part> {
        write(title, &self.events, &self.enums)
    }

    /// The files of a catalog of its own: the root first, then what it includes. `others` names the second file and
    /// those after it.
    #[must_use]
    pub fn files(&self, title: &str, others: &dyn Fn(usize) -> String) -> Vec<(Option<String>, String)> {
        let mut parts = self.parts(title).into_iter();
        let mut root = format!("cdp: \"1\"\nname: {}\n", self.name);
        let mut files = Vec::new();
        let first = parts.next().map_or_else(String::new, |part| part.text);
        for (index, part) in parts.enumerate() {
            files.push((Some(others(index + 2)), part.text));
        }
        if !files.is_empty() {
            let names: Vec<&str> = files.iter().filter_map(|(name, _)| name.as_deref()).collect();
            root.push_str(&format!("include: [{}]\n", names.join(", ")));
        }
        let mut defaults = Vec::new();
        if let Some(topic) = &self.topic {
            defaults.push(format!("kafka: {{topic: \"{topic}\"}}"));
        }
        if self.collects {
            defaults.push("unknown_fields: collect".to_owned());
        }
        if !defaults.is_empty() {
            root.push_str(&format!("defaults: {{{}}}\n", defaults.join(", ")));
        }
        root.push_str(&format!("envelope:\n{}", write_fields(&self.envelope, 2)));
        root.push_str(&first);
        files.insert(0, (None, root));
        files
    }
}

const fn rank(kind: NoteKind) -> u8 {
    match kind {
        NoteKind::Tightened => 0,
        NoteKind::NotCarried => 1,
        NoteKind::AsJson => 2,
        NoteKind::Loosened => 3,
        NoteKind::Renamed => 4,
        NoteKind::Informative => 5,
    }
}
