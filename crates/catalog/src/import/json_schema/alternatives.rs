//! `oneOf`, `anyOf`, `allOf`: alternatives that differ in null only, in their texts' form, or in an object's members are
//! put together; others are a value of any type.

use serde_json::{Map, Value};

use super::keywords::Keywords;
use super::{Read, Reading, any, optional};
use crate::field_type::{FieldType, Scalar};
use crate::proposal::{NoteKind, ProposedField};

impl<'a> Reading<'a> {
    /// The value of a schema that has alternatives; none if what else it says is enough.
    pub(super) fn alternatives(
        &mut self,
        keywords: &mut Keywords<'a>,
        at: &str,
        depth: usize,
    ) -> Option<Read> {
        if let Some(Value::Array(all)) = keywords.schema().get("allOf")
            && !keywords.has("properties")
        {
            keywords.used("allOf");
            return Some(self.together(all, &format!("{at}/allOf"), depth));
        }
        let (keyword, list) = ["oneOf", "anyOf"].into_iter().find_map(|keyword| {
            let list = keywords.schema().get(keyword)?.as_array()?;
            Some((keyword, list))
        })?;
        // What says only which members must be there, or forbids, changes no type: it is told of as it stands.
        let typeless = |of: &Value| {
            of.as_object().is_some_and(|of| of.keys().all(|key| key == "required" || key == "not"))
        };
        if keywords.has("properties") || list.iter().all(typeless) || list.is_empty() {
            return None;
        }
        keywords.used(keyword);
        let at = format!("{at}/{keyword}");
        let stated = keywords.get("type");
        let nullable_type =
            matches!(stated, Some(Value::Array(types)) if types.contains(&Value::from("null")));
        let mut nullable = nullable_type || list.iter().any(null_only);
        let mut read: Vec<ProposedField> = Vec::new();
        for (index, of) in list.iter().enumerate().filter(|(_, of)| !null_only(of)) {
            let (field, null) = self.value(of, &format!("{at}/{index}"), depth + 1);
            nullable |= null && field.ty != FieldType::Any;
            read.push(field);
        }
        keywords.get("additionalProperties");
        Some((united(read, &at), nullable))
    }

    /// What must hold together: members are gathered.
    fn together(&mut self, all: &'a [Value], at: &str, depth: usize) -> Read {
        let mut whole: Option<ProposedField> = None;
        let mut nullable = true;
        for (index, of) in all.iter().enumerate() {
            let (field, null) = self.value(of, &format!("{at}/{index}"), depth + 1);
            nullable &= null;
            whole = Some(match whole {
                None => field,
                Some(mut whole) if whole.ty == FieldType::Object && field.ty == FieldType::Object => {
                    for member in field.members {
                        match whole.members.iter_mut().find(|known| known.name == member.name) {
                            Some(known) => {
                                known.note(NoteKind::NotCarried, at, "what else `allOf` says of it")
                            }
                            None => whole.members.push(member),
                        }
                    }
                    whole.notes.extend(field.notes);
                    whole
                }
                Some(mut whole) => {
                    // The part that says more is kept.
                    let mut other = field;
                    if whole.ty == FieldType::Any && other.ty != FieldType::Any {
                        std::mem::swap(&mut whole, &mut other);
                    }
                    whole.note(
                        NoteKind::NotCarried,
                        at,
                        format!("what `allOf` says beside it: `{}`", other.ty),
                    );
                    whole.notes.append(&mut other.notes);
                    whole
                }
            });
        }
        let whole = whole.unwrap_or_else(|| any(NoteKind::Informative, at, "of no stated type"));
        (whole, nullable && all.len() > 1)
    }
}

fn null_only(schema: &Value) -> bool {
    schema.as_object().and_then(|of: &Map<String, Value>| of.get("type")).is_some_and(|ty| ty == "null")
}

/// One value that takes what any of the alternatives takes.
fn united(mut of: Vec<ProposedField>, at: &str) -> ProposedField {
    if of.len() == 1 {
        return of.swap_remove(0);
    }
    let types: Vec<FieldType> = of.iter().map(|field| field.ty.clone()).collect();
    if !of.is_empty() && types.iter().all(|ty| *ty == FieldType::Object) {
        return united_objects(of, at);
    }
    let text = |ty: &FieldType| {
        matches!(
            ty,
            FieldType::Scalar(
                Scalar::String
                    | Scalar::Url
                    | Scalar::Email
                    | Scalar::Uuid
                    | Scalar::Ip
                    | Scalar::Timestamp(_)
                    | Scalar::Date
            )
        )
    };
    let ty = match types.first() {
        Some(first) if types.iter().all(|ty| ty == first) && matches!(first, FieldType::Scalar(_)) => {
            first.clone()
        }
        Some(_) if types.iter().all(text) => FieldType::Scalar(Scalar::String),
        Some(_) | None => FieldType::Any,
    };
    let mut whole = ProposedField::new("", ty);
    let shown: Vec<String> = types.iter().map(|ty| format!("`{ty}`")).collect();
    let kind = if whole.ty == FieldType::Any { NoteKind::AsJson } else { NoteKind::Loosened };
    whole.note(kind, at, format!("one of {}, without their rules", shown.join(", ")));
    for mut one in of {
        whole.notes.append(&mut one.notes);
    }
    whole
}

/// An object with every member of the alternatives, none of which must be there unless all demand it.
fn united_objects(of: Vec<ProposedField>, at: &str) -> ProposedField {
    let n = of.len();
    let mut whole = ProposedField::new("", FieldType::Object);
    whole.note(NoteKind::Loosened, at, format!("{n} sorts of object are one, with the members of all"));
    let mut members: Vec<(ProposedField, usize)> = Vec::new();
    for one in of {
        whole.doc = whole.doc.or(one.doc);
        whole.notes.extend(one.notes);
        for member in one.members {
            match members.iter_mut().find(|(known, _)| known.name == member.name) {
                Some((known, n_seen)) => {
                    *n_seen += 1;
                    unite(known, member, at);
                }
                None => members.push((member, 1)),
            }
        }
    }
    whole.members = members
        .into_iter()
        .map(|(mut member, n_seen)| {
            if n_seen < n && !member.ty.optional() {
                member.ty = optional(member.ty, true);
            }
            member
        })
        .collect();
    whole
}

/// A member that two alternatives have.
fn unite(known: &mut ProposedField, other: ProposedField, at: &str) {
    let may_lack = known.ty.optional() || other.ty.optional();
    let alike = known.ty.required() == other.ty.required();
    let rules = |of: &ProposedField| {
        (
            of.words.clone(),
            of.min.clone(),
            of.max.clone(),
            of.max_length,
            of.pattern.clone(),
            of.members.clone(),
        )
    };
    if alike && rules(known) == rules(&other) {
        known.ty = optional(known.ty.required().clone(), may_lack);
        return;
    }
    let bare = ProposedField::new(known.name.clone(), optional(known.ty.required().clone(), may_lack));
    match (&known.words, &other.words) {
        // The words of every alternative.
        (Some(one), Some(two)) if alike => {
            let mut words = one.clone();
            words.values.extend(two.values.iter().filter(|word| !one.values.contains(word)).cloned());
            *known = ProposedField { words: Some(words), doc: known.doc.clone(), ..bare };
        }
        (_, _) => {
            let ty = if alike && known.members.is_empty() {
                bare.ty.clone()
            } else {
                optional(FieldType::Any, may_lack)
            };
            let mut notes = std::mem::take(&mut known.notes);
            notes.extend(other.notes);
            *known = ProposedField { ty, doc: known.doc.clone(), notes, ..bare };
            known.note(NoteKind::Loosened, at, "the alternatives differ in it; their rules are left out");
        }
    }
}
