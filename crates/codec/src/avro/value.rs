//! Compiles values for columns by the columns' types.

use tidegate_languages::avro::LogicalType;
use tidegate_native::{JsonType, TupleElement, Type};

use super::compile::{Compiler, Target, escaped, filled};
use super::op::{Action, Fill, MapKey, Member, Op, OpId};
use super::resolve::{FieldSource, ReadField, ReadId, ReadShape};
use crate::open::rank;
use crate::scalar::Scalar;

impl Compiler<'_> {
    /// A value for a column of a type.
    pub(super) fn value(&mut self, read: ReadId, target: Target<'_>, depth: usize) -> OpId {
        if self.full(depth) {
            return self.refuse(read, "a simpler schema", "schema");
        }
        let stored = target.ty.stored();
        let target = Target { ty: stored, ..target };
        match self.shape(read) {
            ReadShape::Union(branches) => self.choice(branches, target, depth),
            ReadShape::Null => self.null(read, target),
            ReadShape::Never(_) => self.never(read),
            _ => self.typed(read, target, depth),
        }
    }

    /// A union: by the branch. The usual one, of a value and null, takes one step.
    fn choice(&mut self, branches: &[ReadId], target: Target<'_>, depth: usize) -> OpId {
        if let ([a, b], Type::Nullable(inner), true) = (branches, target.ty, target.accepts_null) {
            let null = |id: &ReadId| matches!(self.shape(*id), ReadShape::Null);
            let found = match (null(a), null(b)) {
                (true, false) => Some((0, *b)),
                (false, true) => Some((1, *a)),
                _ => None,
            };
            if let Some((null, value)) = found
                && let Some(leaf) =
                    super::leaf::Leaf::new(self.reads.get(value), inner.stored(), target.reading)
            {
                return self.push(Op::Optional { place: target.place, null, leaf });
            }
        }
        self.union(branches, |compiler, branch| compiler.value(branch, target, depth + 1))
    }

    fn null(&mut self, read: ReadId, target: Target<'_>) -> OpId {
        if target.ty.accepts_null() && target.accepts_null {
            return self.push(Op::Null { place: target.place });
        }
        self.refuse(read, &format!("a value for `{}`, which has no NULL", target.ty), "type")
    }

    /// A value that is neither null nor of a union.
    fn typed(&mut self, read: ReadId, target: Target<'_>, depth: usize) -> OpId {
        let place = target.place;
        match target.ty {
            Type::Nullable(inner) => {
                let value = self.value(read, target.part(0, inner), depth + 1);
                self.push(Op::Some { place, value })
            }
            Type::LowCardinality(inner) => {
                let inner = if let Type::Nullable(values) = inner.as_ref() { values } else { inner };
                self.scalar(read, Target { ty: inner.stored(), ..target })
            }
            Type::Array(element) => self.array(read, element, target, depth),
            Type::Nested(parts) => {
                let elements =
                    parts.iter().map(|(name, ty)| TupleElement { name: Some(name.clone()), ty: ty.clone() });
                self.array(read, &Type::Tuple(elements.collect()), target, depth)
            }
            Type::Map(key, value) => self.map(read, (key, value), target, depth),
            Type::Tuple(elements) => self.tuple(read, elements, target, depth),
            Type::Variant(alternatives) => self.variant(read, alternatives, target, depth),
            Type::Dynamic { .. } => {
                let ty = self.natural(read, 0);
                let value = self.value(read, target.part(0, &ty), depth + 1);
                self.push(Op::Dynamic { place, ty: Box::new(ty), value })
            }
            Type::Json(_) => match self.shape(read) {
                ReadShape::Record(_) | ReadShape::Map(_) => self.push(Op::JsonText { place, read }),
                _ => self.refuse(read, "a record or map, for a `JSON`", "type"),
            },
            _ => self.scalar(read, target),
        }
    }

    fn array(&mut self, read: ReadId, element: &Type, target: Target<'_>, depth: usize) -> OpId {
        let ReadShape::Array(item) = self.shape(read) else {
            return self.refuse(read, "an array", "type");
        };
        let pointer = format!("{}/*", target.pointer);
        let part = Target { pointer: &pointer, ..target.part(0, element) };
        let item = self.value(*item, part, depth + 1);
        self.push(Op::Array { place: target.place, item })
    }

    fn map(&mut self, read: ReadId, (key, value): (&Type, &Type), target: Target<'_>, depth: usize) -> OpId {
        let ReadShape::Map(item) = self.shape(read) else {
            return self.refuse(read, "a map, for a `Map`", "type");
        };
        let pointer = format!("{}/*", target.pointer);
        let part = Target { pointer: &pointer, ..target.part(0, value) };
        let value = self.value(*item, part, depth + 1);
        let (key, dictionary) = match key {
            Type::LowCardinality(key) => (key.as_ref(), true),
            key => (key, false),
        };
        match Scalar::new(key.stored(), target.reading) {
            Some(scalar) => {
                let key = Box::new(MapKey { scalar, dictionary });
                self.push(Op::Map { place: target.place, key, value })
            }
            None => self.refuse(read, "keys of a scalar type", "type"),
        }
    }

    fn tuple(&mut self, read: ReadId, elements: &[TupleElement], target: Target<'_>, depth: usize) -> OpId {
        let place = target.place;
        if let (ReadShape::Fixed(12), Some(LogicalType::Duration)) =
            (self.shape(read), self.reads.get(read).logical)
        {
            let fits = elements.len() == 3 && elements.iter().all(|element| element.ty == Type::UInt32);
            return if fits {
                self.push(Op::Duration { place })
            } else {
                self.refuse(read, "an Avro `duration`'s `Tuple(UInt32, UInt32, UInt32)`", "type")
            };
        }
        let ReadShape::Record(fields) = self.shape(read) else {
            return self.refuse(read, "a record, for a `Tuple`", "type");
        };
        let named = elements.iter().all(|element| element.name.is_some());
        if !named {
            let expected = "a `Tuple` whose elements have names";
            return self.refuse(read, expected, "type");
        }
        let mut members = Vec::new();
        for field in fields {
            let pointer = format!("{}/{}", target.pointer, escaped(&field.name));
            let element = elements.iter().position(|element| element.name.as_deref() == Some(&*field.name));
            let Some(at) = element.filter(|_| !matches!(field.source, FieldSource::Unwanted)) else {
                members.extend(self.stranger(field, &pointer, self.unknown_within()));
                continue;
            };
            let part = Target { pointer: &pointer, ..target.part(at, &elements[at].ty) };
            let op = self.value(field.node, part, depth + 1);
            let action = match &field.source {
                FieldSource::Default(bytes) => Action::Default { bytes: bytes.clone(), op },
                FieldSource::Written | FieldSource::Unwanted => Action::Read(op),
            };
            members.push(Member { name: field.name.clone(), column: None, action });
        }
        for (at, element) in elements.iter().enumerate() {
            let name = element.name.as_deref().unwrap_or_default();
            let written =
                |field: &ReadField| *field.name == *name && !matches!(field.source, FieldSource::Unwanted);
            if !fields.iter().any(written) {
                let null = element.ty.accepts_null();
                members.push(filled(name, None, if null { Fill::Null { place: at } } else { Fill::Missing }));
            }
        }
        let record = self.push(Op::Record(members.into()));
        self.push(Op::Tuple { place, record })
    }

    /// The alternative of the value's own type; failing that, the first that takes it.
    fn variant(&mut self, read: ReadId, types: &[Type], target: Target<'_>, depth: usize) -> OpId {
        let own = self.natural(read, 0);
        let mut ranked: Vec<(bool, u32, u8, &Type)> =
            types.iter().zip(0..).map(|(ty, at)| (*ty != own, rank(ty), at, ty)).collect();
        ranked.sort_by_key(|(other, rank, at, _)| (*other, *rank, *at));
        for (_, _, alternative, ty) in ranked {
            let value = self.value(read, target.part(0, ty), depth + 1);
            if !matches!(self.op(value), Op::Refuse(_)) {
                return self.push(Op::Variant { place: target.place, alternative, value });
            }
        }
        self.refuse(read, "a value for one type of the `Variant`", "type")
    }

    /// Any value's JSON text in a String column.
    pub(super) fn json_text(&mut self, read: ReadId, target: Target<'_>) -> OpId {
        match (target.ty, self.shape(read)) {
            (Type::Nullable(_), ReadShape::Union(branches)) => {
                self.union(branches, |compiler, branch| compiler.json_text(branch, target))
            }
            (Type::Nullable(_), ReadShape::Null) if target.accepts_null => {
                self.push(Op::Null { place: target.place })
            }
            (Type::Nullable(_), _) => {
                let value = self.push(Op::JsonText { place: 0, read });
                self.push(Op::Some { place: target.place, value })
            }
            _ => self.push(Op::JsonText { place: target.place, read }),
        }
    }

    /// The column type that takes every value of this one.
    fn natural(&self, read: ReadId, depth: usize) -> Type {
        /// Deeper arrays and unions are left to the server.
        const DEPTH_MAX: usize = 16;
        let dynamic = Type::Dynamic { max_types: None };
        if depth > DEPTH_MAX {
            return dynamic;
        }
        let read = self.reads.get(read);
        let time = |precision| Type::DateTime64 { precision, timezone: Some("UTC".to_owned()) };
        match (&read.shape, read.logical) {
            (_, Some(LogicalType::Date)) => Type::Date32,
            (_, Some(LogicalType::TimestampMillis | LogicalType::LocalTimestampMillis)) => time(3),
            (_, Some(LogicalType::TimestampMicros | LogicalType::LocalTimestampMicros)) => time(6),
            (_, Some(LogicalType::TimestampNanos | LogicalType::LocalTimestampNanos)) => time(9),
            (_, Some(LogicalType::Uuid)) => Type::Uuid,
            (_, Some(LogicalType::Decimal { precision: precision @ 1..=76, scale })) => {
                Type::Decimal { precision: precision as u8, scale: scale as u8 }
            }
            (ReadShape::Fixed(12), Some(LogicalType::Duration)) => {
                let part = |name: &str| TupleElement { name: Some(name.to_owned()), ty: Type::UInt32 };
                Type::Tuple(vec![part("months"), part("days"), part("milliseconds")])
            }
            (ReadShape::Boolean, _) => Type::Bool,
            (ReadShape::Int, _) => Type::Int32,
            (ReadShape::Long, _) => Type::Int64,
            (ReadShape::Float, _) => Type::Float32,
            (ReadShape::Double, _) => Type::Float64,
            (ReadShape::Fixed(size @ 1..=1024), _) => Type::FixedString(*size),
            (ReadShape::Bytes | ReadShape::Text | ReadShape::Enum(_) | ReadShape::Fixed(_), _) => {
                Type::String
            }
            (ReadShape::Record(_) | ReadShape::Map(_), _) => Type::Json(Box::<JsonType>::default()),
            (ReadShape::Array(item), _) => self.natural(*item, depth + 1).array(),
            (ReadShape::Union(branches), _) => {
                let mut types = branches.iter().filter(|id| !matches!(self.shape(**id), ReadShape::Null));
                match (types.next(), types.next(), branches.len()) {
                    (Some(only), None, 1) => self.natural(*only, depth + 1),
                    (Some(only), None, _) => nullable(self.natural(*only, depth + 1)),
                    _ => dynamic,
                }
            }
            (ReadShape::Null | ReadShape::Never(_), _) => dynamic,
        }
    }
}

/// A type with NULL; where that cannot be, one that takes anything.
fn nullable(ty: Type) -> Type {
    match ty {
        Type::Array(_) | Type::Tuple(_) | Type::Map(..) => Type::Dynamic { max_types: None },
        Type::Dynamic { .. } => ty,
        ty => ty.nullable(),
    }
}
