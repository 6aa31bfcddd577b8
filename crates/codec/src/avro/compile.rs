//! Compiles a program: where each field of a writer's records goes in a table's columns.
//!
//! What does not fit compiles to a refusal at its place: the records of a schema that a table cannot take
//! are refused one by one, and the partition goes on.

use tidegate_core::ReasonCode;
use tidegate_languages::avro::AvroSchema;
use tidegate_native::{Table, Type};

use super::columns::{WantedColumn, avro_columns};
use super::leaf::Leaf;
use super::op::{Action, Fill, Member, Misfit, Op, OpId, Program};
use super::resolve::{FieldSource, ReadField, ReadId, ReadShape, Resolved};
use crate::build::{Branch, Leaf as ColumnLeaf, Tree};
use crate::compile::{Given, clamped, json_escaped, plan_columns};
use crate::node::{Absent, Unknown};
use crate::options::{PlanOptions, UnknownFields};
use crate::plan::PlanError;
use crate::scalar::{Scalar, TimeReading};

/// More operations than any table needs. A schema whose unions repeat themselves in one another asks
/// for more.
const OPS_MAX: usize = 200_000;

/// Compiles the program for a writer's schema.
///
/// # Errors
/// If no plan can bring rows into this table as the options say.
pub(crate) fn compile(
    table: &Table,
    writer: &AvroSchema,
    reader: Option<&AvroSchema>,
    options: &PlanOptions,
) -> Result<Program, PlanError> {
    let named = reader.unwrap_or(writer);
    let known = |name: &str| named.has_top_level_field(name);
    let planned = plan_columns(table, options, &Given { known: &known, always: &|_| true })?;
    let unknown = match options.unknown_fields {
        UnknownFields::Reject => Unknown::Reject,
        UnknownFields::Drop => Unknown::Drop,
        UnknownFields::Collect { .. } => Unknown::Collect,
    };
    let reads = Resolved::new(writer, reader);
    let mut compiler = Compiler { reads: &reads, unknown, ops: Vec::new() };
    let root = compiler.flatten(reads.root, &planned.tree, "", 0);
    let ops = compiler.ops;
    Ok(Program { root, ops, collect: planned.collect, limits: clamped(options.limits), reads })
}

/// The columns that a schema asks for and a table has nothing for, neither of their own nor around them.
///
/// # Errors
/// As [`compile`].
pub(crate) fn missing_columns(
    table: &Table,
    schema: &AvroSchema,
    options: &PlanOptions,
) -> Result<Vec<WantedColumn>, PlanError> {
    let known = |name: &str| schema.has_top_level_field(name);
    let planned = plan_columns(table, options, &Given { known: &known, always: &|_| true })?;
    let mut wanted = avro_columns(schema, &options.flatten_separator);
    wanted.retain(|column| {
        let named = table.columns.iter().any(|known| known.name == column.name);
        !named && !covered(&planned.tree, &column.path)
    });
    Ok(wanted)
}

/// Whether a column takes the field, or a record that it stands in.
pub(crate) fn covered(tree: &Tree, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    match tree.members.iter().find(|(known, _)| known == name).map(|(_, branch)| branch) {
        None => false,
        Some(Branch::Leaf(_)) => true,
        Some(Branch::Object(tree)) => covered(tree, rest),
        Some(Branch::Nested(parts)) => {
            rest.first().is_none_or(|name| parts.iter().any(|(part, _)| part == name))
        }
    }
}

/// Where a value goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'t> {
    /// Which of the columns at hand.
    pub(crate) place: usize,
    pub(crate) ty: &'t Type,
    /// Whether `NULL` is a value of the table's column.
    pub(crate) accepts_null: bool,
    pub(crate) reading: &'t TimeReading,
    /// The path, for samples of dropped fields.
    pub(crate) pointer: &'t str,
}

impl<'t> Target<'t> {
    /// A part of it.
    pub(crate) const fn part(self, place: usize, ty: &'t Type) -> Self {
        Self { place, ty, accepts_null: true, ..self }
    }
}

pub(super) struct Compiler<'r> {
    pub(super) reads: &'r Resolved,
    unknown: Unknown,
    ops: Vec<Op>,
}

impl<'r> Compiler<'r> {
    pub(super) fn push(&mut self, op: Op) -> OpId {
        self.ops.push(op);
        OpId(self.ops.len() - 1)
    }

    pub(super) fn op(&self, id: OpId) -> &Op {
        &self.ops[id.0]
    }

    pub(super) fn shape(&self, read: ReadId) -> &'r ReadShape {
        &self.reads.get(read).shape
    }

    pub(super) fn refuse(&mut self, read: ReadId, expected: &str, rule: &str) -> OpId {
        let found = match self.shape(read) {
            ReadShape::Null => "null".to_owned(),
            _ => self.reads.described(read),
        };
        let misfit = Misfit {
            code: ReasonCode::WrongType,
            rule: rule.into(),
            expected: expected.into(),
            found: found.into(),
        };
        self.push(Op::Refuse(Box::new(misfit)))
    }

    /// One operation for each branch, all with the same target.
    pub(super) fn union(
        &mut self,
        branches: &[ReadId],
        mut each: impl FnMut(&mut Self, ReadId) -> OpId,
    ) -> OpId {
        let ops = branches.iter().map(|branch| each(self, *branch)).collect();
        self.push(Op::Union(ops))
    }

    /// Whether there is no room for more; what comes then is refused.
    pub(super) fn full(&self, depth: usize) -> bool {
        /// Tables' names and types nest less than this.
        const DEPTH_MAX: usize = 200;
        self.ops.len() > OPS_MAX || depth > DEPTH_MAX
    }

    /// A record whose fields go into columns.
    fn flatten(&mut self, read: ReadId, tree: &Tree, pointer: &str, depth: usize) -> OpId {
        if self.full(depth) {
            return self.refuse(read, "a simpler schema", "schema");
        }
        match self.shape(read) {
            ReadShape::Record(fields) => self.flat_record(fields, tree, pointer, depth),
            ReadShape::Union(branches) => {
                self.union(branches, |compiler, branch| compiler.flatten(branch, tree, pointer, depth + 1))
            }
            // A null record is one without fields: its columns take what stands for absent values.
            ReadShape::Null if depth > 0 => {
                let mut members = Vec::new();
                self.fill_tree(tree, &mut members);
                self.push(Op::Record(members.into()))
            }
            ReadShape::Never(_) => self.never(read),
            _ => self.refuse(read, "a record", "type"),
        }
    }

    pub(super) fn never(&mut self, read: ReadId) -> OpId {
        self.refuse(read, "a value that the reader's schema takes", "schema")
    }

    fn flat_record(&mut self, fields: &[ReadField], tree: &Tree, pointer: &str, depth: usize) -> OpId {
        let mut members = Vec::new();
        for field in fields {
            let branch = tree.members.iter().find(|(name, _)| **name == *field.name);
            let branch =
                branch.map(|(_, branch)| branch).filter(|_| !matches!(field.source, FieldSource::Unwanted));
            let pointer = format!("{pointer}/{}", escaped(&field.name));
            let member = match branch {
                Some(branch) => self.member(field, branch, &pointer, depth),
                None => self.stranger(field, &pointer, self.unknown),
            };
            members.extend(member);
        }
        for (name, branch) in &tree.members {
            let written =
                |field: &ReadField| *field.name == **name && !matches!(field.source, FieldSource::Unwanted);
            if !fields.iter().any(written) {
                self.fill_branch(name, branch, &mut members);
            }
        }
        self.push(Op::Record(members.into()))
    }

    fn member(&mut self, field: &ReadField, branch: &Branch, pointer: &str, depth: usize) -> Option<Member> {
        let op = match branch {
            Branch::Leaf(leaf) => self.leaf(field.node, leaf, pointer),
            Branch::Object(tree) => self.flatten(field.node, tree, pointer, depth + 1),
            Branch::Nested(parts) => self.nested(field.node, parts, pointer, depth + 1),
        };
        let collects = self.unknown == Unknown::Collect && matches!(branch, Branch::Object(_));
        let action = match &field.source {
            FieldSource::Default(bytes) => Action::Default { bytes: bytes.clone(), op },
            FieldSource::Written | FieldSource::Unwanted if collects => {
                Action::Within { json_name: json_escaped(&field.name).into(), op }
            }
            FieldSource::Written | FieldSource::Unwanted => Action::Read(op),
        };
        let column = match branch {
            Branch::Leaf(leaf) => Some(leaf.column.as_str().into()),
            Branch::Nested(parts) => parts.first().map(|(_, leaf)| leaf.column.as_str().into()),
            Branch::Object(_) => None,
        };
        Some(Member { name: field.name.clone(), column, action })
    }

    /// A field without a column.
    pub(super) fn stranger(&mut self, field: &ReadField, pointer: &str, unknown: Unknown) -> Option<Member> {
        let action = match (&field.source, unknown) {
            // What the reader's schema leaves out is left out on purpose.
            (FieldSource::Unwanted, _) | (FieldSource::Written, Unknown::Keep) => Action::Pass(field.node),
            (FieldSource::Default(_), _) => return None,
            (FieldSource::Written, Unknown::Drop) => {
                Action::Drop { read: field.node, pointer: pointer.into() }
            }
            (FieldSource::Written, Unknown::Collect) => {
                Action::Collect { read: field.node, json_name: json_escaped(&field.name).into() }
            }
            (FieldSource::Written, Unknown::Reject) => {
                let misfit = Misfit {
                    code: ReasonCode::ExtraField,
                    rule: "unknown_fields".into(),
                    expected: "a field that the table has a column for".into(),
                    found: self.reads.described(field.node).into(),
                };
                Action::Read(self.push(Op::Refuse(Box::new(misfit))))
            }
        };
        Some(Member { name: field.name.clone(), column: None, action })
    }

    fn leaf(&mut self, read: ReadId, leaf: &ColumnLeaf, pointer: &str) -> OpId {
        let target = Target {
            place: leaf.place,
            ty: &leaf.ty,
            accepts_null: leaf.accepts_null,
            reading: &leaf.reading,
            pointer,
        };
        let text = leaf.ty == Type::String || leaf.ty == Type::String.nullable();
        if leaf.json_text && text { self.json_text(read, target) } else { self.value(read, target, 0) }
    }

    /// An array of records whose fields go into columns of arrays.
    fn nested(&mut self, read: ReadId, parts: &[(String, ColumnLeaf)], pointer: &str, depth: usize) -> OpId {
        let places = parts.iter().map(|(_, leaf)| leaf.place).collect();
        match self.shape(read) {
            ReadShape::Union(branches) if !self.full(depth) => {
                self.union(branches, |compiler, branch| compiler.nested(branch, parts, pointer, depth + 1))
            }
            ReadShape::Array(item) => {
                let item = self.nested_item(*item, parts, &format!("{pointer}/*"), depth);
                self.push(Op::Nested { places, item })
            }
            ReadShape::Never(_) => self.never(read),
            _ => self.refuse(read, "an array of records", "type"),
        }
    }

    fn nested_item(
        &mut self,
        read: ReadId,
        parts: &[(String, ColumnLeaf)],
        pointer: &str,
        depth: usize,
    ) -> OpId {
        let fields = match self.shape(read) {
            ReadShape::Record(fields) => fields,
            ReadShape::Union(branches) if !self.full(depth) => {
                return self.union(branches, |compiler, branch| {
                    compiler.nested_item(branch, parts, pointer, depth + 1)
                });
            }
            _ => return self.refuse(read, "a record", "type"),
        };
        let mut members = Vec::new();
        for field in fields {
            let pointer = format!("{pointer}/{}", escaped(&field.name));
            let part = parts.iter().find(|(name, _)| **name == *field.name);
            let Some((_, leaf)) = part.filter(|_| !matches!(field.source, FieldSource::Unwanted)) else {
                members.extend(self.stranger(field, &pointer, self.unknown_within()));
                continue;
            };
            let element = element_of(&leaf.ty);
            let target = Target {
                place: 0,
                ty: element,
                accepts_null: true,
                reading: &leaf.reading,
                pointer: &pointer,
            };
            let value = self.value(field.node, target, 0);
            let op = self.push(Op::Element { place: leaf.place, value });
            let action = match &field.source {
                FieldSource::Default(bytes) => Action::Default { bytes: bytes.clone(), op },
                FieldSource::Written | FieldSource::Unwanted => Action::Read(op),
            };
            members.push(Member {
                name: field.name.clone(),
                column: Some(leaf.column.as_str().into()),
                action,
            });
        }
        for (name, leaf) in parts {
            let written =
                |field: &ReadField| *field.name == **name && !matches!(field.source, FieldSource::Unwanted);
            if !fields.iter().any(written) {
                let null = element_of(&leaf.ty).accepts_null();
                let fill = if null { Fill::NullElement { place: leaf.place } } else { Fill::Missing };
                members.push(filled(name, Some(&leaf.column), fill));
            }
        }
        self.push(Op::Record(members.into()))
    }

    /// Within a Tuple or an array there is no place to collect from.
    pub(super) const fn unknown_within(&self) -> Unknown {
        match self.unknown {
            Unknown::Keep | Unknown::Reject | Unknown::Collect => Unknown::Reject,
            Unknown::Drop => Unknown::Drop,
        }
    }

    fn fill_tree(&self, tree: &Tree, members: &mut Vec<Member>) {
        for (name, branch) in &tree.members {
            self.fill_branch(name, branch, members);
        }
    }

    fn fill_branch(&self, name: &str, branch: &Branch, members: &mut Vec<Member>) {
        match branch {
            Branch::Leaf(leaf) => members.push(filled(name, Some(&leaf.column), fill(leaf))),
            Branch::Object(tree) => self.fill_tree(tree, members),
            Branch::Nested(parts) => {
                let empty = parts
                    .iter()
                    .all(|(_, leaf)| matches!(&leaf.absent, Absent::Literal(text) if text == "[]"));
                members.extend(parts.iter().map(|(_, leaf)| {
                    let fill = if empty { Fill::Zero { place: leaf.place } } else { Fill::Missing };
                    filled(name, Some(&leaf.column), fill)
                }));
            }
        }
    }
}

pub(crate) fn element_of(ty: &Type) -> &Type {
    if let Type::Array(element) = ty { element } else { ty }
}

pub(super) fn filled(name: &str, column: Option<&str>, fill: Fill) -> Member {
    Member { name: name.into(), column: column.map(Into::into), action: Action::Fill(fill) }
}

/// What a column takes that no field is for.
pub(crate) fn fill(leaf: &ColumnLeaf) -> Fill {
    let place = leaf.place;
    match &leaf.absent {
        Absent::Ignore | Absent::Refuse => Fill::Missing,
        Absent::Null => Fill::Null { place },
        Absent::Literal(json) => {
            let inner = if let Type::Nullable(inner) = &leaf.ty { inner.as_ref() } else { &leaf.ty };
            match Scalar::new(inner, &leaf.reading) {
                Some(scalar) => {
                    Fill::Constant { place, scalar: Box::new(scalar), json: json.as_str().into() }
                }
                None => Fill::Zero { place },
            }
        }
    }
}

pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Compiler<'_> {
    /// A value without parts.
    pub(super) fn scalar(&mut self, read: ReadId, target: Target<'_>) -> OpId {
        let Target { place, ty, reading, .. } = target;
        let inner = if let Type::LowCardinality(inner) = ty { inner.as_ref() } else { ty };
        match Leaf::new(self.reads.get(read), inner, reading) {
            Some(leaf) => self.push(Op::Leaf { place, leaf }),
            None => {
                let name = ty.to_string();
                let expected = format!("a value for `{}`", &name[..name.floor_char_boundary(120)]);
                self.refuse(read, &expected, &name)
            }
        }
    }
}
