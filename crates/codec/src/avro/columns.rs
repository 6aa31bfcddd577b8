//! The columns that a schema's records fit into.

use tidegate_languages::avro::{AvroSchema, LogicalType, NodeId, Record, Shape};
use tidegate_languages::json::Json;
use tidegate_native::{JsonType, TupleElement, Type};

/// How deep records become columns of their own; deeper ones become `JSON`.
const FLATTEN_MAX: usize = 8;

/// A column that a schema asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedColumn {
    /// The field that it takes, as names from the record's root.
    pub path: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What it takes where a record lacks the field, as SQL: the default that the schema has for readers.
    pub default: Option<String>,
}

impl WantedColumn {
    /// The column as it is added to a table that has rows already, and will get more rows without it: its
    /// type, and a default where it takes no NULL, as SQL.
    #[must_use]
    pub fn added(&self) -> (Type, Option<String>) {
        if self.default.is_some() {
            return (self.ty.clone(), self.default.clone());
        }
        match &self.ty {
            Type::Array(_) => (self.ty.clone(), Some("[]".to_owned())),
            Type::Map(..) => (self.ty.clone(), Some("map()".to_owned())),
            ty => (nullable(ty.clone()), None),
        }
    }
}

/// The columns for the fields of a record, in their order; none if the schema is of no record.
///
/// | Avro | the column |
/// | --- | --- |
/// | `record` | a column for each of its fields, `a__b`; `JSON` where it is recursive or very deep |
/// | `array` of records | an array column for each of their fields, `a.b` |
/// | `map` | `Map(LowCardinality(String), T)` |
/// | `enum` | `LowCardinality(String)`: a new symbol needs no new column |
/// | union with `null` | `Nullable(T)`; of arrays and maps a `Variant`, which has NULL |
/// | other unions | `Variant`; `Dynamic` where records are among them |
/// | logical types | `Decimal(p, s)`, `UUID`, `Date32`, `DateTime64(3, 6 or 9, 'UTC')`; times of day as integers |
#[must_use]
pub fn avro_columns(schema: &AvroSchema, separator: &str) -> Vec<WantedColumn> {
    let mut columns = Columns { schema, separator, wanted: Vec::new() };
    if let Shape::Record(record) = &schema.node(schema.root()).shape {
        columns.record(record, &mut vec![schema.root()], &mut Vec::new(), false);
    }
    columns.wanted
}

struct Columns<'s> {
    schema: &'s AvroSchema,
    separator: &'s str,
    wanted: Vec<WantedColumn>,
}

impl<'s> Columns<'s> {
    /// `open` are the records that this one stands in, itself included.
    fn record(&mut self, record: &'s Record, open: &mut Vec<NodeId>, path: &mut Vec<String>, optional: bool) {
        for field in &record.fields {
            path.push(field.name.clone());
            let (node, null) = self.without_null(field.node);
            let first = self.wanted.len();
            self.field(node, open, path, optional || null);
            // A record's default is its fields' business, and NULL needs none.
            if let ([wanted], Some(default)) = (&mut self.wanted[first..], &field.default)
                && wanted.path == *path
            {
                wanted.default = sql_default(&wanted.ty, default);
            }
            path.pop();
        }
    }

    fn field(&mut self, node: NodeId, open: &mut Vec<NodeId>, path: &mut Vec<String>, optional: bool) {
        match &self.schema.node(node).shape {
            Shape::Record(record) if !open.contains(&node) && open.len() <= FLATTEN_MAX => {
                open.push(node);
                self.record(record, open, path, optional);
                open.pop();
            }
            Shape::Array(item) if !optional => match &self.schema.node(*item).shape {
                Shape::Record(record) if !open.contains(item) => {
                    for part in &record.fields {
                        let element = self.ty(part.node, &mut vec![node, *item]);
                        path.push(part.name.clone());
                        self.want(path, ".", element.array());
                        path.pop();
                    }
                }
                _ => {
                    let ty = self.ty(node, open);
                    self.want(path, self.separator, ty);
                }
            },
            _ => {
                let ty = self.ty(node, open);
                let ty = if optional { nullable(ty) } else { ty };
                self.want(path, self.separator, ty);
            }
        }
    }

    /// `last` joins the path's last name to the others.
    fn want(&mut self, path: &[String], last: &str, ty: Type) {
        let (name, before) = path.split_last().expect("a field has a name");
        let before = before.join(self.separator);
        let name = if before.is_empty() { name.clone() } else { format!("{before}{last}{name}") };
        self.wanted.push(WantedColumn { path: path.to_vec(), name, ty, default: None });
    }

    /// The type beside `null` of a union of two, and whether there was a `null`.
    fn without_null(&self, node: NodeId) -> (NodeId, bool) {
        let Shape::Union(branches) = &self.schema.node(node).shape else { return (node, false) };
        let null = |id: &&NodeId| matches!(self.schema.node(**id).shape, Shape::Null);
        match branches.as_slice() {
            [only] => (*only, false),
            [a, b] if null(&a) => (*b, true),
            [a, b] if null(&b) => (*a, true),
            _ => (node, false),
        }
    }

    /// The type of one column that takes every value of the node.
    fn ty(&self, node: NodeId, open: &mut Vec<NodeId>) -> Type {
        let found = self.schema.node(node);
        let json = || Type::Json(Box::<JsonType>::default());
        if let Some(ty) = logical(found.logical, &found.shape) {
            return ty;
        }
        match &found.shape {
            Shape::Null | Shape::Pending(_) => Type::Dynamic { max_types: None },
            Shape::Boolean => Type::Bool,
            Shape::Int => Type::Int32,
            Shape::Long => Type::Int64,
            Shape::Float => Type::Float32,
            Shape::Double => Type::Float64,
            Shape::Bytes | Shape::String => Type::String,
            Shape::Fixed(fixed) if (1..=1024).contains(&fixed.size) => Type::FixedString(fixed.size as usize),
            Shape::Fixed(_) => Type::String,
            Shape::Enum(_) => Type::LowCardinality(Box::new(Type::String)),
            Shape::Array(item) => self.ty(*item, open).array(),
            Shape::Map(item) => Type::Map(
                Box::new(Type::LowCardinality(Box::new(Type::String))),
                Box::new(self.ty(*item, open)),
            ),
            Shape::Record(_) if open.contains(&node) || open.len() > FLATTEN_MAX => json(),
            Shape::Record(record) if record.fields.is_empty() => json(),
            Shape::Record(record) => {
                open.push(node);
                let elements = record.fields.iter().map(|field| TupleElement {
                    name: Some(field.name.clone()),
                    ty: self.ty(field.node, open),
                });
                let tuple = Type::Tuple(elements.collect());
                open.pop();
                tuple
            }
            Shape::Union(branches) => match self.without_null(node) {
                (value, true) => nullable(self.ty(value, open)),
                (value, false) if value != node => self.ty(value, open),
                _ => self.either(branches, open),
            },
        }
    }

    fn either(&self, branches: &[NodeId], open: &mut Vec<NodeId>) -> Type {
        let not_null = |id: &&NodeId| !matches!(self.schema.node(**id).shape, Shape::Null);
        let mut types: Vec<Type> =
            branches.iter().filter(not_null).map(|branch| self.ty(*branch, open)).collect();
        for ty in &mut types {
            // A Variant has no alternative with a dictionary beside its plain type.
            if let Type::LowCardinality(inner) = ty {
                *ty = inner.as_ref().clone();
            }
        }
        let n_types = types.len();
        let compound = |ty: &Type| matches!(ty, Type::Tuple(_) | Type::Json(_) | Type::Dynamic { .. });
        if types.iter().any(compound) {
            return Type::Dynamic { max_types: None };
        }
        match Type::variant(types) {
            Type::Variant(distinct) if distinct.len() == n_types => Type::Variant(distinct),
            // Two branches of one column type: which one a value had would be lost.
            _ => Type::Dynamic { max_types: None },
        }
    }
}

fn logical(logical: Option<LogicalType>, shape: &Shape) -> Option<Type> {
    let time = |precision| Type::DateTime64 { precision, timezone: Some("UTC".to_owned()) };
    Some(match logical? {
        LogicalType::Decimal { precision: precision @ 1..=76, scale } => {
            Type::Decimal { precision: precision as u8, scale: scale as u8 }
        }
        LogicalType::Decimal { .. } | LogicalType::BigDecimal => {
            // Its places are each value's own: digits enough on both sides, or a reject.
            Type::Decimal { precision: 76, scale: 38 }
        }
        LogicalType::Uuid => Type::Uuid,
        LogicalType::Duration => {
            let part = |name: &str| TupleElement { name: Some(name.to_owned()), ty: Type::UInt32 };
            Type::Tuple(vec![part("months"), part("days"), part("milliseconds")])
        }
        LogicalType::Date => Type::Date32,
        // `Time64` is experimental on the servers of today; the number is what was written.
        LogicalType::TimeMillis => Type::Int32,
        LogicalType::TimeMicros => Type::Int64,
        LogicalType::TimestampMillis | LogicalType::LocalTimestampMillis => time(3),
        LogicalType::TimestampMicros | LogicalType::LocalTimestampMicros => time(6),
        LogicalType::TimestampNanos | LogicalType::LocalTimestampNanos => time(9),
    })
    .filter(|_| !matches!(shape, Shape::Union(_)))
}

/// A default of a schema as SQL, where a column's type has it by the same text.
fn sql_default(ty: &Type, default: &Json) -> Option<String> {
    match (ty, default) {
        (Type::Bool, Json::Bool(value)) => Some(value.to_string()),
        (Type::Int32 | Type::Int64, Json::Integer(value)) => Some(value.to_string()),
        (Type::Float32 | Type::Float64, value) if value.is_number() => Some(value.to_string()),
        (Type::Array(_), Json::Array(items)) if items.is_empty() => Some("[]".to_owned()),
        (Type::Map(..), Json::Object(members)) if members.is_empty() => Some("map()".to_owned()),
        (Type::String | Type::Uuid, Json::String(text)) => {
            Some(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
        }
        (Type::LowCardinality(inner), default) => sql_default(inner, default),
        _ => None,
    }
}

/// The type with NULL.
pub(crate) fn nullable(ty: Type) -> Type {
    match ty {
        ty if ty.accepts_null() => ty,
        Type::Array(_) | Type::Map(..) | Type::Tuple(_) => Type::variant(vec![ty]),
        Type::LowCardinality(inner) => Type::LowCardinality(Box::new(inner.nullable())),
        ty => ty.nullable(),
    }
}
