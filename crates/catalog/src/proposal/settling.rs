//! A proposal made to fit the catalog's language: names, enums, and rules only where the type has them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::naming::{free, legal_name};
use super::{NoteKind, ProposedEvent, ProposedField, Taken, Words};
use crate::check::readable_pattern;
use crate::field_type::{FieldType, Scalar};
use crate::language::SourceName;

/// The reader of YAML goes 32 levels down, and each object takes two.
const DEPTH_MAX: usize = 12;
/// The language's limit of types in types is 8.
const TYPES_MAX: usize = 7;
/// A longer list is a dimension.
const WORDS_MAX: usize = 1_000;
/// A pattern of every word is read by a person.
const PATTERN_MAX: usize = 4_000;

/// The enums that the proposed fields name, in the order of their names.
pub type Enums = BTreeMap<String, Words>;

/// Makes events fit a catalog that has nothing yet but what any has. Gives the enums that they name.
pub fn settle(events: &mut [ProposedEvent]) -> Enums {
    settle_with(events, &Taken::by_any())
}

/// Makes events fit a catalog in which some names are given already. Gives the enums that they name.
pub fn settle_with(events: &mut [ProposedEvent], taken: &Taken) -> Enums {
    let mut enums = Enums::new();
    let mut tables = taken.tables.clone();
    for event in events {
        let name = free(legal_name(&event.name), &|name| tables.contains(name));
        tables.insert(name.clone());
        let original = std::mem::replace(&mut event.name, name);
        if original != event.name {
            event.original = Some(original);
        }
        if event.doc.trim().is_empty() {
            event.doc = format!("Proposed from {}.", event.original.as_deref().unwrap_or(&event.name));
        }
        let mut settling = Settling { event: &event.name, taken, enums: &mut enums };
        settling.fields(&mut event.fields, &taken.fields, (0, Standing::Columns));
    }
    enums
}

/// Where a field stands: records may call it otherwise only where it becomes a column of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Columns,
    Within,
}

struct Settling<'a> {
    event: &'a str,
    taken: &'a Taken,
    enums: &'a mut Enums,
}

impl Settling<'_> {
    fn fields(
        &mut self,
        fields: &mut [ProposedField],
        reserved: &BTreeSet<String>,
        (depth, standing): (usize, Standing),
    ) {
        let mut names = reserved.clone();
        // A name that is legal already stays, whatever stands before it.
        let legal: BTreeSet<String> = fields
            .iter()
            .filter(|field| legal_name(&field.name) == field.name)
            .map(|field| field.name.clone())
            .collect();
        let mut called = legal.clone();
        for field in fields {
            let wanted = legal_name(&field.name);
            let own = wanted == field.name;
            let name = free(wanted, &|name| names.contains(name) || (!own && legal.contains(name)));
            names.insert(name.clone());
            if name != field.name {
                let original = std::mem::replace(&mut field.name, name);
                field.note(NoteKind::Renamed, "", format!("`{original}` in the source"));
                // What the envelope has of that name comes in the same member.
                let free = standing == Standing::Columns && !reserved.contains(&original);
                if free && SourceName::legal(&original) && called.insert(original.clone()) {
                    field.source = Some(original.clone());
                }
                field.original = Some(original);
            }
            self.field(field, (depth, standing));
        }
    }

    fn field(&mut self, field: &mut ProposedField, (depth, standing): (usize, Standing)) {
        self.structure(field, depth);
        self.words(field);
        fit_rules(field);
        fit_default(field);
        let standing = if *field.ty.required() == FieldType::Object { standing } else { Standing::Within };
        self.fields(&mut field.members, &BTreeSet::new(), (depth + 1, standing));
    }

    fn structure(&mut self, field: &mut ProposedField, depth: usize) {
        if field.ty.absent_list_of_any() {
            let text = format!("`{}`: a list that may be absent is of values of one type", field.ty);
            field.ty = FieldType::Optional(Box::new(FieldType::Any));
            field.note(NoteKind::Loosened, "", text);
        }
        let optional = field.ty.optional();
        let reason = if levels(&field.ty) > TYPES_MAX {
            "lists in lists are too deep"
        } else if field.ty.has_members() && depth >= DEPTH_MAX {
            "objects in objects are too deep"
        } else if field.ty.has_members() && field.members.is_empty() {
            "an object whose members nobody names"
        } else {
            return;
        };
        field.ty = if optional { FieldType::Optional(Box::new(FieldType::Json)) } else { FieldType::Json };
        field.members.clear();
        field.note(NoteKind::AsJson, "", reason);
    }

    /// Words become an enum; those that cannot be words of a closed one, a pattern that takes nothing else.
    fn words(&mut self, field: &mut ProposedField) {
        let Some(mut words) = field.words.take() else { return };
        let mut seen = BTreeSet::new();
        words.values.retain(|word| seen.insert(word.clone()));
        if !has_text(&field.ty) || words.values.is_empty() {
            return;
        }
        let wordlike = words.values.iter().all(|word| wordlike(word));
        if !words.open && !wordlike {
            let pattern = exactly(&words.values);
            if field.pattern.is_none() && pattern.len() <= PATTERN_MAX {
                field.pattern = Some(pattern);
            } else {
                let text = "texts that are no words cannot make a closed enum: others are taken too";
                field.note(NoteKind::Loosened, "", text);
            }
            words.open = true;
        }
        if words.values.len() > WORDS_MAX {
            let text = format!("an enum of {} words; expected at most {WORDS_MAX}", words.values.len());
            field.note(NoteKind::Loosened, "", text);
            return;
        }
        let closed = |default: &mut Value| {
            !words.open && default.as_str().is_some_and(|word| !words.values.iter().any(|of| of == word))
        };
        if let Some(default) = field.default.take_if(closed) {
            field.note(NoteKind::NotCarried, "", format!("default {default}: it is none of the words"));
        }
        let name = self.enumeration(&field.name, words);
        field.ty = with_text(&field.ty, &Scalar::Enum(name));
    }

    /// The name of an enum of these words: one that has the field's name and the same words is shared.
    fn enumeration(&mut self, field: &str, words: Words) -> String {
        if self.enums.get(field) == Some(&words) {
            return field.to_owned();
        }
        let taken = |name: &str, enums: &Enums| enums.contains_key(name) || self.taken.enums.contains(name);
        let name = if taken(field, self.enums) {
            let long = legal_name(&format!("{}_{field}", self.event));
            free(long, &|name| taken(name, self.enums))
        } else {
            field.to_owned()
        };
        self.enums.insert(name.clone(), words);
        name
    }
}

/// Removes what the type has not, with a note.
fn fit_rules(field: &mut ProposedField) {
    let scalar = field.ty.innermost();
    let number = matches!(
        scalar,
        Some(Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration)
    );
    let text = matches!(scalar, Some(Scalar::String | Scalar::Url | Scalar::Email | Scalar::Enum(_)));
    let plain = matches!(field.ty.scalar(), Some(Scalar::String));
    let ty = field.ty.to_string();
    let mut lost = Vec::new();
    if !number {
        lost.extend(field.min.take().map(|min| format!("min {min}")));
        lost.extend(field.max.take().map(|max| format!("max {max}")));
    }
    if !text {
        lost.extend(field.max_length.take().map(|max| format!("max_length {max}")));
        lost.extend(field.pattern.take().map(|pattern| format!("pattern {pattern}")));
    }
    if let Some(pattern) = field.pattern.take_if(|pattern| !readable_pattern(pattern)) {
        let note = format!("the pattern {pattern} is no regular expression that is understood here");
        field.note(NoteKind::NotCarried, "", note);
    }
    let approximately =
        |bound: &Option<serde_json::Number>| bound.as_ref().and_then(serde_json::Number::as_f64);
    if let (Some(min), Some(max)) = (approximately(&field.min), approximately(&field.max))
        && min > max
    {
        lost.extend(field.min.take().map(|min| format!("min {min} above max {max}")));
        field.max = None;
    }
    field.low_cardinality &= plain;
    for rule in lost {
        field.note(NoteKind::NotCarried, "", format!("{rule}: `{ty}` cannot have this rule"));
    }
}

fn fit_default(field: &mut ProposedField) {
    let ty = field.ty.clone();
    if let Some(default) = field.default.take_if(|default| !may_be_default(&ty, default)) {
        field.note(NoteKind::NotCarried, "", format!("default {default}: `{ty}` cannot have it"));
    }
}

fn may_be_default(ty: &FieldType, value: &Value) -> bool {
    match ty {
        FieldType::Optional(inner) => value.is_null() || may_be_default(inner, value),
        FieldType::Array(_) => value.as_array().is_some_and(Vec::is_empty),
        FieldType::Map(_) => value.as_object().is_some_and(serde_json::Map::is_empty),
        FieldType::Object | FieldType::Json | FieldType::Any => false,
        FieldType::Scalar(scalar) => match scalar {
            Scalar::Bool => value.is_boolean(),
            Scalar::Integer { signed: true, .. } => value.is_i64(),
            Scalar::Integer { signed: false, .. } | Scalar::Duration => value.is_u64(),
            Scalar::Float { .. } => value.is_number(),
            Scalar::Decimal { .. } => value.is_number() || value.is_string(),
            Scalar::String | Scalar::Url | Scalar::Email | Scalar::Geohash { .. } => value.is_string(),
            // Whether it is one of the words is for whoever proposes to see to.
            Scalar::Enum(_) => value.is_string(),
            Scalar::Timestamp(_) | Scalar::Date | Scalar::Uuid | Scalar::Ip => false,
        },
    }
}

fn levels(ty: &FieldType) -> usize {
    match ty {
        FieldType::Optional(inner) | FieldType::Array(inner) | FieldType::Map(inner) => 1 + levels(inner),
        FieldType::Scalar(_) | FieldType::Object | FieldType::Json | FieldType::Any => 1,
    }
}

fn has_text(ty: &FieldType) -> bool {
    match ty {
        FieldType::Optional(inner) | FieldType::Array(inner) | FieldType::Map(inner) => has_text(inner),
        FieldType::Scalar(scalar) => *scalar == Scalar::String,
        FieldType::Object | FieldType::Json | FieldType::Any => false,
    }
}

fn with_text(ty: &FieldType, text: &Scalar) -> FieldType {
    match ty {
        FieldType::Optional(inner) => FieldType::Optional(Box::new(with_text(inner, text))),
        FieldType::Array(inner) => FieldType::Array(Box::new(with_text(inner, text))),
        FieldType::Map(inner) => FieldType::Map(Box::new(with_text(inner, text))),
        FieldType::Scalar(Scalar::String) => FieldType::Scalar(text.clone()),
        FieldType::Scalar(_) | FieldType::Object | FieldType::Json | FieldType::Any => ty.clone(),
    }
}

/// Whether a closed enum may have it: Avro's symbols and Protobuf's constants are words.
fn wordlike(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && word.len() <= 100
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A regular expression that takes these texts and no other.
fn exactly(words: &[String]) -> String {
    let mut pattern = String::from("^(?:");
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            pattern.push('|');
        }
        for char in word.chars() {
            if "\\^$.|?*+()[]{}/".contains(char) {
                pattern.push('\\');
            }
            pattern.push(char);
        }
    }
    pattern.push_str(")$");
    pattern
}
