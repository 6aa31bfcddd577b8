//! A field, by what was seen of it and below it.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Members};
use super::scalar::{Judged, of_numbers, of_texts, share};
use super::text::Form;
use crate::field_type::{FieldType, Scalar};
use crate::language::SourceName;
use crate::proposal::{NoteKind, ProposedField, legal_name};

/// A field is proposed as one that is always there if it was in so many: three in a hundred may lack it otherwise,
/// and be refused.
const REQUIRED_SEEN_MIN: u64 = 30;
/// Fewer names make no map.
const MAP_NAMES_MIN: usize = 8;
/// Of a map, an object has such a share of all names at most.
const MAP_FILL_MAX: f64 = 0.25;

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Among the columns: objects become the columns of their members.
    Columns,
    /// In an item of a list or a value of a map: one column holds the whole.
    Within,
}

/// A place in records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// What it stands in: a JSON Pointer, empty for the record.
    pub(super) within: &'a str,
    /// What becomes of it.
    pub(super) standing: Standing,
}

impl Place<'_> {
    /// A member of the record itself.
    pub(super) const TOP: Self = Place { within: "", standing: Standing::Columns };
}

/// What is proposed, and what goes with it.
#[derive(Debug, Default)]
pub(super) struct Judging {
    /// Members whose names cannot be fields: JSON pointers.
    pub(super) nameless: Vec<String>,
    /// Objects that were null at times, as `json` is not: JSON pointers.
    pub(super) null_objects: BTreeSet<String>,
}

impl Judging {
    /// The field of that name, which `n_parents` objects could have.
    pub(super) fn field(
        &mut self,
        name: &str,
        evidence: &Evidence,
        n_parents: u64,
        place: Place<'_>,
    ) -> ProposedField {
        let at = format!("{}/{}", place.within, name.replace('~', "~0").replace('/', "~1"));
        let mut field = self.value(name, evidence, &at, place.standing);
        let absent = n_parents.saturating_sub(evidence.count());
        field.evidence.insert(0, presence(evidence, n_parents, absent));
        if absent > 0 || evidence.nulls > 0 || n_parents < REQUIRED_SEEN_MIN {
            field.ty = FieldType::Optional(Box::new(field.ty));
        }
        if evidence.nulls > 0 {
            match field.ty.required() {
                FieldType::Json => any(&mut field, "null at times, which `json` never is", &at),
                FieldType::Array(_) | FieldType::Map(_) if many(evidence.nulls, evidence.count()) => {
                    any(&mut field, "often null, which a list or a map never is", &at);
                }
                FieldType::Array(_) | FieldType::Map(_) => {
                    let what = "null, which a list or a map never is";
                    refuses(&mut field, evidence.nulls, evidence.count(), what, &at);
                }
                FieldType::Object => drop(self.null_objects.insert(at.clone())),
                FieldType::Scalar(_) | FieldType::Optional(_) | FieldType::Any => {}
            }
        }
        if let Some(kind) = personal(name, evidence) {
            let text = format!("looks like personal data ({kind}): name its class with `pii`");
            field.note(NoteKind::Informative, at.as_str(), text);
        }
        field
    }

    /// What the values are, without whether they are always there.
    fn value(&mut self, name: &str, of: &Evidence, at: &str, standing: Standing) -> ProposedField {
        let mut field = match of.values() {
            0 => {
                let mut field = ProposedField::new(name, FieldType::Scalar(Scalar::String));
                field.note(NoteKind::Informative, at, "only null was seen: the type is a guess");
                return field;
            }
            _ => self.most(name, of, at, standing),
        };
        let taken = match field.ty.required() {
            FieldType::Scalar(Scalar::Bool) => of.bools,
            FieldType::Scalar(Scalar::Decimal { .. }) if of.texts.of(Form::Decimal) == of.texts.count => {
                of.numbers.count() + of.texts.count
            }
            FieldType::Scalar(
                Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration,
            ) => of.numbers.count(),
            FieldType::Scalar(
                Scalar::String
                | Scalar::Enum(_)
                | Scalar::Timestamp(_)
                | Scalar::Date
                | Scalar::Uuid
                | Scalar::Ip
                | Scalar::Url
                | Scalar::Email
                | Scalar::Geohash { .. },
            ) => of.texts.count,
            FieldType::Array(_) => of.lists,
            FieldType::Map(_) | FieldType::Object | FieldType::Json | FieldType::Optional(_) => of.objects,
            FieldType::Any => of.values(),
        };
        if taken < of.values() {
            let (n_others, others) = (of.values() - taken, others(of, field.ty.required()));
            if many(n_others, of.values()) {
                any(&mut field, &format!("{n_others} of {} were {others}", of.values()), at);
            } else {
                refuses(&mut field, n_others, of.values(), &others, at);
            }
        }
        field
    }

    /// The type of the most values.
    fn most(&mut self, name: &str, of: &Evidence, at: &str, standing: Standing) -> ProposedField {
        let counts = [of.objects, of.lists, of.texts.count, of.numbers.count(), of.bools];
        let most = counts.into_iter().max().unwrap_or_default();
        if of.objects == most {
            return self.object(name, of, at, standing);
        }
        if of.lists == most {
            return self.list(name, of, at);
        }
        // A decimal takes numbers and texts of digits.
        let digits = of.texts.count > 0 && of.texts.of(Form::Decimal) == of.texts.count;
        let both = digits && of.numbers.count() > 0 && of.numbers.scientific == 0;
        let (before, after) = (
            of.numbers.digits_before.max(of.texts.digits_before),
            of.numbers.digits_after.max(of.texts.digits_after),
        );
        if both && before + after <= 38 {
            let scale = u8::try_from(after).unwrap_or_default();
            let mut field =
                ProposedField::new(name, FieldType::Scalar(Scalar::Decimal { precision: 38, scale }));
            field.evidence.push(format!(
                "{} numbers, {} texts of digits",
                of.numbers.count(),
                of.texts.count
            ));
            return field;
        }
        if of.texts.count == most {
            judged(name, of_texts(name, &of.texts), at)
        } else if of.numbers.count() == most {
            judged(name, of_numbers(name, &of.numbers), at)
        } else {
            let mut field = ProposedField::new(name, FieldType::Scalar(Scalar::Bool));
            field.evidence.push(format!("{} times true or false", of.bools));
            field
        }
    }

    fn object(&mut self, name: &str, of: &Evidence, at: &str, standing: Standing) -> ProposedField {
        let as_json = |reason: &str| {
            let mut field = ProposedField::new(name, FieldType::Json);
            field.note(NoteKind::AsJson, at, reason);
            field
        };
        if of.deep {
            return as_json("it stands too deep to be looked into");
        }
        let Some(members) = of.members.named() else {
            return self.map(name, of, at).unwrap_or_else(|| as_json("more names than fields can be"));
        };
        if members.is_empty() {
            return as_json("always an empty object");
        }
        if map_like(members, of.objects)
            && let Some(map) = self.map(name, of, at)
        {
            return map;
        }
        let strange = |member: &&String| match standing {
            Standing::Columns => !SourceName::legal(member),
            Standing::Within => legal_name(member) != **member,
        };
        let nameless = members.keys().filter(strange).count();
        if nameless == members.len() || (nameless > 0 && standing == Standing::Within) {
            let some = members.keys().find(strange);
            return as_json(&format!("names such as `{}` cannot be fields", some.map_or("", String::as_str)));
        }
        let mut field = ProposedField::new(name, FieldType::Object);
        field.members = self.members(members, of.objects, Place { within: at, standing });
        if standing == Standing::Within && !field.members.iter().all(fits_in_a_tuple) {
            return as_json(
                "members that ClickHouse has no null of cannot be absent from the objects of a list",
            );
        }
        field
    }

    /// The fields of an object. Names that cannot be fields are left out and remembered.
    pub(super) fn members(
        &mut self,
        members: &BTreeMap<String, Evidence>,
        n_parents: u64,
        place: Place<'_>,
    ) -> Vec<ProposedField> {
        let mut fields = Vec::new();
        for (name, evidence) in members {
            let called = place.standing == Standing::Columns && SourceName::legal(name);
            if called || legal_name(name) == *name {
                fields.push(self.field(name, evidence, n_parents, place));
            } else {
                self.nameless.push(format!("{}/{name}", place.within));
            }
        }
        fields
    }

    /// A map, if its values are all alike and without parts.
    fn map(&mut self, name: &str, of: &Evidence, at: &str) -> Option<ProposedField> {
        let mut all = Evidence::default();
        let n_names = match &of.members {
            Members::Any(values) => {
                all.merge(values.as_ref().clone());
                None
            }
            Members::Named(members) => {
                members.values().for_each(|values| all.merge(values.clone()));
                Some(members.len())
            }
        };
        let mut value = Self::default().value(name, &all, &format!("{at}/*"), Standing::Within);
        let refused = value.notes.iter().any(|note| note.kind == NoteKind::Tightened);
        if refused || value.ty.scalar().is_none() {
            return None;
        }
        if all.nulls > 0 {
            value.ty = FieldType::Optional(Box::new(value.ty));
        }
        value.ty = FieldType::Map(Box::new(value.ty));
        let names = n_names.map_or_else(|| "very many".to_owned(), |n_names| n_names.to_string());
        let text = format!("{names} different names in {} objects, few of them in each: a map", of.objects);
        value.evidence.push(text);
        // Of an enum each value would be a word; the names vary, and so may these.
        value.words = None;
        Some(value)
    }

    fn list(&mut self, name: &str, of: &Evidence, at: &str) -> ProposedField {
        let at = format!("{at}/*");
        let list = |mut field: ProposedField| {
            field.ty = FieldType::Array(Box::new(field.ty));
            field
        };
        if of.deep {
            let mut field = ProposedField::new(name, FieldType::Json);
            field.note(NoteKind::AsJson, at.as_str(), "it stands too deep to be looked into");
            return list(field);
        }
        let Some(items) = &of.items else {
            let mut field = ProposedField::new(name, FieldType::Scalar(Scalar::String));
            field.note(
                NoteKind::Informative,
                at.as_str(),
                "always an empty list: the type of its items is a guess",
            );
            return list(field);
        };
        let mut field = self.value(name, items, &at, Standing::Within);
        let lists = format!("{} lists with {} items", of.lists, items.count());
        field.evidence.insert(0, lists);
        // What is said of a text is not said of a list of them.
        field.low_cardinality = false;
        if items.nulls > 0 {
            if field.ty.scalar().is_some() {
                field.ty = FieldType::Optional(Box::new(field.ty));
            } else {
                refuses(&mut field, items.nulls, items.count(), "null", &at);
            }
        }
        list(field)
    }
}

fn judged(name: &str, judged: Judged, at: &str) -> ProposedField {
    let mut field = ProposedField::new(name, judged.ty);
    field.words = judged.words;
    field.low_cardinality = judged.low_cardinality;
    field.evidence = judged.told;
    for remark in judged.remarks {
        field.note(NoteKind::Informative, at, remark);
    }
    if judged.refused > 0 {
        field.note(NoteKind::Tightened, at, format!("{} values would be refused", judged.refused));
    }
    field
}

fn refuses(field: &mut ProposedField, n_refused: u64, n_values: u64, what: &str, at: &str) {
    let text = format!("{n_refused} of {n_values} were {what}: they would be refused");
    field.note(NoteKind::Tightened, at, text);
}

/// Whether so many of the values are too many to be refused: one in twenty.
const fn many(others: u64, all: u64) -> bool {
    others * 20 > all
}

/// Makes the field one that takes a value of whatever type.
pub(super) fn any(field: &mut ProposedField, why: &str, at: &str) {
    field.ty = match field.ty.optional() {
        true => FieldType::Optional(Box::new(FieldType::Any)),
        false => FieldType::Any,
    };
    (field.words, field.low_cardinality) = (None, false);
    field.members.clear();
    // What was refused, and looked into, is not any more.
    field.notes.clear();
    field.note(NoteKind::Loosened, at, format!("{why}: taken as it comes, by `any`"));
}

/// How often it was there, and what follows for others: of `n` without one that lacks it, fewer than `3 / n` do, with
/// 95 % confidence (the rule of three).
fn presence(of: &Evidence, n_parents: u64, absent: u64) -> String {
    let there = n_parents.saturating_sub(absent);
    let mut text = format!("in {there} of {n_parents}");
    if of.nulls > 0 {
        text.push_str(&format!(", {} times null", of.nulls));
    }
    match (absent + of.nulls, n_parents) {
        (0, n_parents) if n_parents >= REQUIRED_SEEN_MIN => {
            text.push_str(&format!(": with 95 % fewer than {} lack it", share(3, n_parents)));
        }
        (0, n_parents) => text.push_str(&format!(
            ": {n_parents} are too few to call it always there; {REQUIRED_SEEN_MIN} would do"
        )),
        (_, _) => {}
    }
    text
}

/// The values that are not of the type, in words.
fn others(of: &Evidence, ty: &FieldType) -> String {
    let objects = matches!(ty, FieldType::Object | FieldType::Map(_) | FieldType::Json);
    let scalar = ty.scalar();
    let number = matches!(
        scalar,
        Some(Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration)
    );
    let boolean = matches!(scalar, Some(Scalar::Bool));
    let text = scalar.is_some() && !number && !boolean;
    let list = matches!(ty, FieldType::Array(_));
    let kinds = [
        (objects, of.objects, "objects"),
        (list, of.lists, "lists"),
        (text, of.texts.count, "texts"),
        (number, of.numbers.count(), "numbers"),
        (boolean, of.bools, "true or false"),
    ];
    let others = kinds.into_iter().filter(|(own, count, _)| !own && *count > 0);
    others.map(|(_, _, name)| name).collect::<Vec<_>>().join(" or ")
}

/// Whether objects rather have values for names: there are many, and each object has few of them; or most are
/// numbers, identifiers and the like.
fn map_like(members: &BTreeMap<String, Evidence>, n_objects: u64) -> bool {
    if members.len() < MAP_NAMES_MIN {
        return false;
    }
    let values = members.keys().filter(|name| legal_name(name) != **name).count();
    let there: u64 = members.values().map(Evidence::count).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let fill = there as f64 / (members.len() as f64 * n_objects.max(1) as f64);
    fill < MAP_FILL_MAX || values * 2 > members.len()
}

/// What is absent from an object in a list must be null or there: ClickHouse has no null of lists.
fn fits_in_a_tuple(field: &ProposedField) -> bool {
    match &field.ty {
        FieldType::Optional(inner) => inner.scalar().is_some(),
        FieldType::Array(inner) => inner.scalar().is_some(),
        FieldType::Scalar(_) => true,
        FieldType::Map(_) | FieldType::Object | FieldType::Json | FieldType::Any => false,
    }
}

/// What sort of personal data it looks like.
fn personal(name: &str, of: &Evidence) -> Option<&'static str> {
    let all = |form: Form| of.texts.count > 0 && of.texts.of(form) == of.texts.count;
    let parts = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    if all(Form::Email) || parts(&["email", "mail"]) {
        return Some("an address of mail");
    }
    if all(Form::Ip) || parts(&["ip"]) {
        return Some("an IP address");
    }
    if all(Form::Phone) || parts(&["phone", "mobile", "telephone"]) {
        return Some("a telephone number");
    }
    let named = ["first_name", "last_name", "birthday", "date_of_birth", "street", "iban"];
    named.contains(&name).then_some("a person")
}
