//! Compiles fields for columns by the columns' types.

use tidegate_native::{JsonType, TupleElement, Type};

use super::compile::{Around, Compiler, Side, Way, filled};
use super::leaf::{Leaf, value_of_its_own};
use super::model::{Field, Kind, Known, MessageId, Presence};
use super::op::{Action, End, Entry, How, Key, Op, OpId, PlanId};
use crate::avro::{Fill, MapKey, Target, escaped};
use crate::build::Leaf as ColumnLeaf;
use crate::open::rank;
use crate::scalar::Scalar;

impl<'s> Compiler<'s> {
    /// A field into a column of its own, or an element of a Tuple.
    pub(super) fn way(&mut self, field: &'s Field, target: Target<'_>, json_text: bool) -> Way {
        let mut way =
            Way { column: None, action: Action::Late, absent: Vec::new(), ends: Vec::new(), late: None };
        let stored = target.ty.stored();
        let target = Target { ty: stored, ..target };
        let text = json_text && (*stored == Type::String || *stored == Type::String.nullable());
        match field.presence {
            Presence::Map if matches!(stored, Type::Json(_)) => way.late = Some(target.place),
            Presence::Map | Presence::Repeated if text => way.late = Some(target.place),
            Presence::Implicit | Presence::Explicit | Presence::Required => {
                let op = if text { self.text(field, target, false) } else { self.value(field, target) };
                way.action = self.short(op);
            }
            Presence::Repeated => {
                let (op, ends) = self.repeated(field, target);
                way.action = Action::Value(op);
                way.ends.extend(ends.then_some(End::Column(target.place)));
                way.absent.push(filled(&field.name, None, How::Fill(Fill::Zero { place: target.place })));
            }
            Presence::Map => {
                let (op, ends) = self.map(field, target);
                way.action = Action::Value(op);
                way.ends.extend(ends.then_some(End::Column(target.place)));
            }
        }
        way
    }

    /// The usual value takes one step.
    fn short(&self, op: OpId) -> Action {
        match self.op(op) {
            Op::Leaf { place, leaf } => Action::Leaf { place: *place, leaf: leaf.clone() },
            _ => Action::Value(op),
        }
    }

    /// A field of a message of a repeated field, into the elements of a column of arrays.
    pub(super) fn element(&mut self, field: &'s Field, target: Target<'_>, leaf: &ColumnLeaf) -> Way {
        let inner = self.way(field, target, false);
        let op = match (inner.action, inner.late) {
            (Action::Leaf { leaf: inner, .. }, _) => {
                let value = self.push(Op::Leaf { place: 0, leaf: inner });
                self.push(Op::Element { place: leaf.place, value })
            }
            (Action::Value(value), None) => self.push(Op::Element { place: leaf.place, value }),
            _ => self.refuse(field, "a value that is no map, for an array of `JSON`", "type"),
        };
        let ends = inner.ends.iter().map(|_| End::Element(leaf.place)).collect();
        let absent = self.absent(field, target, (Side::Present, None));
        let how = How::Element { place: leaf.place, how: Box::new(absent) };
        Way {
            column: Some(leaf.column.as_str().into()),
            action: Action::Value(op),
            absent: vec![filled(&field.name, Some(&leaf.column), how)],
            ends,
            late: None,
        }
    }

    /// One value for a column of a type.
    pub(super) fn value(&mut self, field: &'s Field, target: Target<'_>) -> OpId {
        if self.full() {
            return self.refuse(field, "a simpler schema", "schema");
        }
        let target = Target { ty: target.ty.stored(), ..target };
        let place = target.place;
        match target.ty {
            Type::Nullable(inner) => {
                match Leaf::new(self.types, field.kind, inner.stored(), target.reading) {
                    Some(leaf) => self.push(Op::Optional { place, leaf }),
                    None => {
                        let value = self.value(field, target.part(0, inner));
                        if matches!(self.op(value), Op::Refuse(_)) {
                            return value;
                        }
                        self.push(Op::Some { place, value })
                    }
                }
            }
            Type::LowCardinality(inner) => {
                let inner = if let Type::Nullable(values) = inner.as_ref() { values } else { inner };
                self.scalar(field, target, inner.stored())
            }
            Type::Tuple(elements) => self.tuple(field, elements, target),
            Type::Variant(alternatives) => self.variant(field, alternatives, target),
            Type::Dynamic { .. } => {
                let ty = self.natural(field.kind);
                let value = self.value(field, target.part(0, &ty));
                self.push(Op::Dynamic { place, ty: Box::new(ty), value })
            }
            Type::Json(_) => match self.known(field.kind) {
                Some(Known::No | Known::Struct | Known::Any | Known::Value) => self.text(field, target, true),
                _ => self.refuse(field, "a message, for a `JSON`", "type"),
            },
            Type::String
                if matches!(
                    self.known(field.kind),
                    Some(Known::Struct | Known::Value | Known::ListValue | Known::Any)
                ) =>
            {
                self.text(field, target, false)
            }
            ty => self.scalar(field, target, ty),
        }
    }

    fn known(&self, kind: Kind) -> Option<Known> {
        kind.message().map(|id| self.types.message(id).known)
    }

    fn scalar(&mut self, field: &Field, target: Target<'_>, ty: &Type) -> OpId {
        let place = target.place;
        match Leaf::new(self.types, field.kind, ty, target.reading) {
            Some(leaf) => self.push(Op::Leaf { place, leaf }),
            None => {
                let name = target.ty.to_string();
                let expected = format!("a value for `{}`", &name[..name.floor_char_boundary(120)]);
                self.refuse(field, &expected, &name)
            }
        }
    }

    fn text(&mut self, field: &Field, target: Target<'_>, object: bool) -> OpId {
        let (kind, place) = (field.kind, target.place);
        if matches!(target.ty, Type::Nullable(_)) {
            let value = self.push(Op::Text { place: 0, kind, object });
            return self.push(Op::Some { place, value });
        }
        self.push(Op::Text { place, kind, object })
    }

    /// A repeated field, and whether the column is one of arrays, whose rows end.
    fn repeated(&mut self, field: &'s Field, target: Target<'_>) -> (OpId, bool) {
        let pointer = format!("{}/*", target.pointer);
        let nested;
        let element = match target.ty {
            Type::Array(element) => element.as_ref(),
            Type::Nested(parts) => {
                let elements =
                    parts.iter().map(|(name, ty)| TupleElement { name: Some(name.clone()), ty: ty.clone() });
                nested = Type::Tuple(elements.collect());
                &nested
            }
            _ => return (self.refuse(field, "a single value", "type"), false),
        };
        let part = Target { pointer: &pointer, ..target.part(0, element) };
        let value = self.value(field, part);
        (self.push(Op::Element { place: target.place, value }), true)
    }

    fn map(&mut self, field: &'s Field, target: Target<'_>) -> (OpId, bool) {
        let (Type::Map(key, value), Some(message)) = (target.ty, field.kind.message()) else {
            return (self.refuse(field, "no map", "type"), false);
        };
        let [key_field, value_field] = &*self.types.message(message).fields else {
            return (self.refuse(field, "a map of keys and values", "type"), true);
        };
        let pointer = format!("{}/*", target.pointer);
        let part = Target { pointer: &pointer, ..target.part(0, value) };
        let value = self.value(value_field, part);
        let (inner, dictionary) = match key.as_ref() {
            Type::LowCardinality(inner) => (inner.as_ref(), true),
            inner => (inner, false),
        };
        let key = match key_field.kind {
            Kind::Text => {
                let scalar = Scalar::new(inner.stored(), target.reading);
                scalar.map(|scalar| Key::Text(MapKey { scalar, dictionary }))
            }
            kind => Leaf::new(self.types, kind, inner.stored(), target.reading).map(Key::Leaf),
        };
        let Some(key) = key else {
            return (self.refuse(field, &format!("keys for `{}`", target.ty), "type"), true);
        };
        // A message that was not written is one without fields.
        let absent =
            if value_field.default.is_empty() { Box::from([0]) } else { value_field.default.clone() };
        let entry = Box::new(Entry { message, key, value, absent_key: key_field.default.clone(), absent });
        (self.push(Op::Entry { place: target.place, entry }), true)
    }

    fn tuple(&mut self, field: &'s Field, elements: &[TupleElement], target: Target<'_>) -> OpId {
        let Some(message) = field.kind.message() else {
            return self.refuse(field, "a message, for a `Tuple`", "type");
        };
        if elements.iter().any(|element| element.name.is_none()) {
            return self.refuse(field, "a `Tuple` whose elements have names", "type");
        }
        let plan = self.tuple_plan(message, elements, target);
        self.push(Op::Tuple { place: target.place, plan })
    }

    fn tuple_plan(&mut self, message: MessageId, elements: &[TupleElement], target: Target<'_>) -> PlanId {
        let mut fills = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            let name = element.name.as_deref().unwrap_or_default();
            if self.types.message(message).named(name).is_none() {
                fills.push(filled(name, None, How::Fill(without(&element.ty, at))));
            }
        }
        let unknown = self.unknown_within();
        let around = Around { pointer: target.pointer, unknown, fills };
        self.plan(message, around, |compiler, field| {
            let pointer = format!("{}/{}", target.pointer, escaped(&field.name));
            let at = elements.iter().position(|element| element.name.as_deref() == Some(&*field.name));
            let Some(at) = at else { return compiler.stranger(field, &pointer, unknown) };
            let part = Target { pointer: &pointer, ..target.part(at, &elements[at].ty) };
            let mut way = compiler.way(field, part, false);
            way.absent = vec![filled(&field.name, None, compiler.absent(field, part, (Side::Present, None)))];
            way
        })
    }

    /// The alternative of the value's own type; failing that, the first that takes it.
    fn variant(&mut self, field: &'s Field, types: &[Type], target: Target<'_>) -> OpId {
        let own = self.natural(field.kind);
        let mut ranked: Vec<(bool, u32, u8, &Type)> =
            types.iter().zip(0..).map(|(ty, at)| (*ty != own, rank(ty), at, ty)).collect();
        ranked.sort_by_key(|(other, rank, at, _)| (*other, *rank, *at));
        for (_, _, alternative, ty) in ranked {
            let value = self.value(field, target.part(0, ty));
            if !matches!(self.op(value), Op::Refuse(_)) {
                return self.push(Op::Variant { place: target.place, alternative, value });
            }
        }
        self.refuse(field, "a value for one type of the `Variant`", "type")
    }

    /// The column type that takes every value of this one.
    fn natural(&self, kind: Kind) -> Type {
        match super::columns::scalar(self.types, kind) {
            Some(Type::LowCardinality(inner)) => *inner,
            Some(ty) => ty,
            None => Type::Json(Box::<JsonType>::default()),
        }
    }

    /// What a column takes if a field was not written. `given` is what the table has for that.
    pub(super) fn absent(
        &mut self,
        field: &'s Field,
        target: Target<'_>,
        (side, given): (Side, Option<Fill>),
    ) -> How {
        let place = target.place;
        let ty = target.ty.stored();
        if field.presence == Presence::Required && side == Side::Present {
            return How::Required;
        }
        let implicit = field.presence == Presence::Implicit;
        let nullable = ty.accepts_null() && target.accepts_null;
        if !field.singular() {
            return How::Fill(match ty {
                Type::Array(_) | Type::Nested(_) | Type::Map(..) | Type::Json(_) => Fill::Zero { place },
                _ if nullable => Fill::Null { place },
                _ => given.unwrap_or(Fill::Missing),
            });
        }
        if nullable && (!implicit || side == Side::Within) {
            return How::Fill(Fill::Null { place });
        }
        if let Some(given) = given.filter(|_| !implicit) {
            return How::Fill(given);
        }
        match (ty, field.kind.message()) {
            (Type::Tuple(elements), Some(message)) => {
                let fills = elements.iter().enumerate().map(|(at, element)| {
                    let name = element.name.as_deref().unwrap_or_default();
                    let part = target.part(at, &element.ty);
                    let how = match self.types.message(message).named(name) {
                        Some(own) => self.absent(own, part, (Side::Within, None)),
                        None => How::Fill(without(&element.ty, at)),
                    };
                    filled(name, None, how)
                });
                How::Tuple { place, fills: fills.collect() }
            }
            (Type::Json(_), Some(_)) => How::Fill(Fill::Zero { place }),
            (_, Some(message)) if !value_of_its_own(self.types, message) => How::Fill(Fill::Missing),
            (_, Some(_)) => How::Fill(Fill::Missing),
            (_, None) if implicit || field.declared => {
                let inner = if let Type::Nullable(inner) = ty { inner.stored() } else { ty };
                let leaf = Leaf::new(self.types, field.kind, inner, target.reading);
                // An empty text is no UUID; where it was not written, it is not meant to be one.
                if nullable && !leaf.is_some_and(|leaf| leaf.takes_default(field, inner)) {
                    return How::Fill(Fill::Null { place });
                }
                let op = self.value(field, target);
                How::Read { bytes: field.default.clone(), op }
            }
            (_, None) => How::Fill(Fill::Missing),
        }
    }
}

/// What an element of a Tuple takes that no field is for.
fn without(ty: &Type, place: usize) -> Fill {
    if ty.accepts_null() { Fill::Null { place } } else { Fill::Missing }
}
