//! Compiles a program: where each field of a message goes in a table's columns.
//!
//! What does not fit compiles to a refusal at its place: the records that hold such a field are refused one
//! by one, and the partition goes on.

use std::sync::Arc;

use tidegate_core::ReasonCode;
use tidegate_native::Table;

use super::columns::protobuf_columns;
use super::model::{Field, Kind, MessageId, Presence, ProtobufMessages};
use super::op::{Action, End, Filled, How, Member, MessagePlan, Op, OpId, PlanId, Program, Strangers};
use crate::avro::{Fill, Misfit, Target, WantedColumn, covered, element_of, escaped, fill};
use crate::build::{Branch, Leaf as ColumnLeaf, Tree};
use crate::compile::{Given, clamped, json_escaped, plan_columns};
use crate::node::{Absent, Unknown};
use crate::options::{PlanOptions, UnknownFields};
use crate::plan::PlanError;

/// More operations than any table needs.
const OPS_MAX: usize = 200_000;

/// Compiles the program for a message.
///
/// # Errors
/// If no plan can bring rows into this table as the options say.
pub(crate) fn compile(
    table: &Table,
    types: &Arc<ProtobufMessages>,
    message: MessageId,
    options: &PlanOptions,
) -> Result<Program, PlanError> {
    let known = |name: &str| types.message(message).named(name).is_some();
    let planned = plan_columns(table, options, &Given { known: &known, always: &|_| true })?;
    let unknown = match options.unknown_fields {
        UnknownFields::Reject => Unknown::Reject,
        UnknownFields::Drop => Unknown::Drop,
        UnknownFields::Collect { .. } => Unknown::Collect,
    };
    let mut compiler = Compiler { types, unknown, ops: Vec::new(), plans: Vec::new() };
    let root = compiler.flatten(message, &planned.tree, "");
    let Compiler { ops, plans, .. } = compiler;
    let (types, limits) = (Arc::clone(types), clamped(options.limits));
    Ok(Program { types, plans, ops, root, collect: planned.collect, limits })
}

/// The columns that a message asks for and a table has nothing for, neither of their own nor around them.
///
/// # Errors
/// As [`compile`].
pub(crate) fn missing_columns(
    table: &Table,
    types: &ProtobufMessages,
    message: MessageId,
    options: &PlanOptions,
) -> Result<Vec<WantedColumn>, PlanError> {
    let known = |name: &str| types.message(message).named(name).is_some();
    let planned = plan_columns(table, options, &Given { known: &known, always: &|_| true })?;
    let mut wanted = protobuf_columns(types, message, &options.flatten_separator);
    wanted.retain(|column| {
        let named = table.columns.iter().any(|known| known.name == column.name);
        !named && !covered(&planned.tree, &column.path)
    });
    Ok(wanted)
}

pub(super) struct Compiler<'s> {
    pub(super) types: &'s ProtobufMessages,
    unknown: Unknown,
    ops: Vec<Op>,
    plans: Vec<MessagePlan>,
}

/// What a message's plan is made of, besides its fields.
pub(super) struct Around<'a> {
    pub(super) pointer: &'a str,
    pub(super) unknown: Unknown,
    pub(super) fills: Vec<Filled>,
}

/// Where a field goes, and what its columns take without it.
pub(super) struct Way {
    pub(super) column: Option<Box<str>>,
    pub(super) action: Action,
    pub(super) absent: Vec<Filled>,
    /// Columns of arrays that its values go into.
    pub(super) ends: Vec<End>,
    /// The column that its text goes into.
    pub(super) late: Option<usize>,
}

impl<'s> Compiler<'s> {
    pub(super) fn push(&mut self, op: Op) -> OpId {
        self.ops.push(op);
        OpId(self.ops.len() - 1)
    }

    pub(super) fn op(&self, id: OpId) -> &Op {
        &self.ops[id.0]
    }

    pub(super) fn full(&self) -> bool {
        self.ops.len() > OPS_MAX
    }

    pub(super) fn refuse(&mut self, field: &Field, expected: &str, rule: &str) -> OpId {
        let misfit = Misfit {
            code: ReasonCode::WrongType,
            rule: rule.into(),
            expected: expected.into(),
            found: self.described(field).into(),
        };
        self.push(Op::Refuse(Box::new(misfit)))
    }

    /// A field's type, for reasons.
    pub(super) fn described(&self, field: &Field) -> String {
        let kind = self.types.kind_name(field.kind);
        match field.presence {
            Presence::Map => "a map".to_owned(),
            Presence::Repeated => format!("a repeated `{kind}`"),
            Presence::Implicit | Presence::Explicit | Presence::Required => format!("a `{kind}`"),
        }
    }

    /// Puts a message's plan together.
    pub(super) fn plan(
        &mut self,
        message: MessageId,
        around: Around<'_>,
        mut way: impl FnMut(&mut Self, &'s Field) -> Way,
    ) -> PlanId {
        /// Numbers below this are found by one look.
        const LOW_MAX: u32 = 1024;
        let types = self.types;
        let fields = &types.message(message).fields;
        let (mut members, mut ends, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut fills = around.fills;
        for field in fields {
            let mut way = way(self, field);
            if !field.singular() {
                // What arrays and maps hold is done with at the end, whether they were written or not. A
                // column that is none has nothing unless the field is refused.
                let absent = std::mem::take(&mut way.absent);
                fills.extend(absent.into_iter().filter(|_| way.ends.is_empty() && way.late.is_none()));
            }
            ends.extend(way.ends);
            late.extend(way.late.map(|place| (members.len(), place)));
            members.push(Member {
                tag: field.tag(),
                name: field.name.clone(),
                column: way.column,
                singular: field.singular(),
                packable: field.presence == Presence::Repeated && field.kind.packable(),
                oneof: field.oneof,
                action: way.action,
                absent: way.absent.into(),
            });
        }
        let highest = fields.iter().map(|field| field.number).filter(|number| *number < LOW_MAX).max();
        let mut low = vec![0; highest.map_or(0, |number| number as usize + 1)];
        for (at, field) in fields.iter().enumerate().filter(|(_, field)| field.number < LOW_MAX) {
            low[field.number as usize] = u16::try_from(at + 1).unwrap_or(0);
        }
        let strangers = match around.unknown {
            Unknown::Reject => Strangers::Reject,
            Unknown::Keep | Unknown::Drop | Unknown::Collect => Strangers::Drop(around.pointer.into()),
        };
        let n_oneofs =
            fields.iter().filter_map(|field| field.oneof).max().map_or(0, |last| usize::from(last) + 1);
        self.plans.push(MessagePlan {
            message,
            n_singular: members.iter().filter(|member| member.singular).count(),
            n_oneofs,
            collects: members.iter().any(|member| matches!(member.action, Action::Collect)),
            members: members.into(),
            low: low.into(),
            ends: ends.into(),
            late: late.into(),
            fills: fills.into(),
            strangers,
        });
        PlanId(self.plans.len() - 1)
    }

    /// A message whose fields go into columns.
    fn flatten(&mut self, message: MessageId, tree: &Tree, pointer: &str) -> PlanId {
        let mut fills = Vec::new();
        for (name, branch) in &tree.members {
            if self.types.message(message).named(name).is_none() {
                fill_branch(name, branch, &mut fills);
            }
        }
        let around = Around { pointer, unknown: self.unknown, fills };
        self.plan(message, around, |compiler, field| {
            let pointer = format!("{pointer}/{}", escaped(&field.name));
            match tree.members.iter().find(|(name, _)| **name == *field.name) {
                Some((_, branch)) => compiler.branch(field, branch, &pointer),
                None => compiler.stranger(field, &pointer, compiler.unknown),
            }
        })
    }

    fn branch(&mut self, field: &'s Field, branch: &Branch, pointer: &str) -> Way {
        let mut absent = Vec::new();
        self.absent_branch(field, branch, Side::Present, &mut absent);
        match branch {
            Branch::Leaf(leaf) => {
                let target = Target {
                    place: leaf.place,
                    ty: &leaf.ty,
                    accepts_null: leaf.accepts_null,
                    reading: &leaf.reading,
                    pointer,
                };
                let mut way = self.way(field, target, leaf.json_text);
                way.column = Some(leaf.column.as_str().into());
                way.absent = absent;
                way
            }
            Branch::Object(tree) => {
                let action = match (field.kind, field.singular()) {
                    (Kind::Message(id) | Kind::Group(id), true) => {
                        let plan = self.flatten(id, tree, pointer);
                        let collects = self.unknown == Unknown::Collect;
                        let json_name = collects.then(|| json_escaped(&field.name).into());
                        Action::Flat { plan, json_name }
                    }
                    _ => Action::Value(self.refuse(field, "a message", "type")),
                };
                Way { column: None, action, absent, ends: Vec::new(), late: None }
            }
            Branch::Nested(parts) => {
                let column = parts.first().map(|(_, leaf)| leaf.column.as_str().into());
                let ends = parts.iter().map(|(_, leaf)| End::Column(leaf.place)).collect();
                let op = match (field.kind, field.presence) {
                    (Kind::Message(id) | Kind::Group(id), Presence::Repeated) => {
                        let plan = self.nested(id, parts, &format!("{pointer}/*"));
                        self.push(Op::Nested { plan })
                    }
                    _ => self.refuse(field, "a repeated message", "type"),
                };
                Way { column, action: Action::Value(op), absent: Vec::new(), ends, late: None }
            }
        }
    }

    /// A field without a column.
    pub(super) fn stranger(&mut self, field: &Field, pointer: &str, unknown: Unknown) -> Way {
        let action = match unknown {
            Unknown::Keep => Action::Pass,
            Unknown::Drop => Action::Drop(pointer.into()),
            Unknown::Collect => Action::Collect,
            Unknown::Reject => {
                let misfit = Misfit {
                    code: ReasonCode::ExtraField,
                    rule: "unknown_fields".into(),
                    expected: "a field that the table has a column for".into(),
                    found: self.described(field).into(),
                };
                Action::Value(self.push(Op::Refuse(Box::new(misfit))))
            }
        };
        Way { column: None, action, absent: Vec::new(), ends: Vec::new(), late: None }
    }

    /// A message of a repeated field, whose fields go into columns of arrays.
    fn nested(&mut self, message: MessageId, parts: &[(String, ColumnLeaf)], pointer: &str) -> PlanId {
        let mut fills = Vec::new();
        for (name, leaf) in parts {
            if self.types.message(message).named(name).is_none() {
                let null = element_of(&leaf.ty).accepts_null();
                let fill = if null { Fill::NullElement { place: leaf.place } } else { Fill::Missing };
                fills.push(filled(name, Some(&leaf.column), How::Fill(fill)));
            }
        }
        let around = Around { pointer, unknown: self.unknown_within(), fills };
        self.plan(message, around, |compiler, field| {
            let pointer = format!("{pointer}/{}", escaped(&field.name));
            let Some((_, leaf)) = parts.iter().find(|(name, _)| **name == *field.name) else {
                return compiler.stranger(field, &pointer, compiler.unknown_within());
            };
            let target = Target {
                place: 0,
                ty: element_of(&leaf.ty),
                accepts_null: true,
                reading: &leaf.reading,
                pointer: &pointer,
            };
            compiler.element(field, target, leaf)
        })
    }

    /// Within a Tuple or an array there is no place to collect from.
    pub(super) const fn unknown_within(&self) -> Unknown {
        match self.unknown {
            Unknown::Keep | Unknown::Reject | Unknown::Collect => Unknown::Reject,
            Unknown::Drop => Unknown::Drop,
        }
    }

    /// What the columns of a field take if it was not written.
    fn absent_branch(&mut self, field: &'s Field, branch: &Branch, side: Side, out: &mut Vec<Filled>) {
        match branch {
            Branch::Leaf(leaf) => {
                let target = Target {
                    place: leaf.place,
                    ty: &leaf.ty,
                    accepts_null: leaf.accepts_null,
                    reading: &leaf.reading,
                    pointer: "",
                };
                let given = match &leaf.absent {
                    Absent::Ignore | Absent::Refuse => None,
                    Absent::Null | Absent::Literal(_) => Some(fill(leaf)),
                };
                let how = self.absent(field, target, (side, given));
                out.push(filled(&field.name, Some(&leaf.column), how));
            }
            Branch::Object(tree) => {
                let inside = field.kind.message().filter(|_| field.singular());
                for (name, branch) in &tree.members {
                    let own = inside.and_then(|id| self.types.message(id).named(name));
                    match own {
                        Some(own) => self.absent_branch(own, branch, Side::Within, out),
                        None => fill_branch(name, branch, out),
                    }
                }
            }
            Branch::Nested(parts) => {
                let zero = |leaf: &ColumnLeaf| How::Fill(Fill::Zero { place: leaf.place });
                out.extend(parts.iter().map(|(name, leaf)| filled(name, Some(&leaf.column), zero(leaf))));
            }
        }
    }
}

/// Whether the message that a field belongs to was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Present,
    Within,
}

pub(super) fn filled(name: &str, column: Option<&str>, how: How) -> Filled {
    Filled { name: name.into(), column: column.map(Into::into), how }
}

/// Columns that no field is for.
fn fill_branch(name: &str, branch: &Branch, out: &mut Vec<Filled>) {
    match branch {
        Branch::Leaf(leaf) => out.push(filled(name, Some(&leaf.column), How::Fill(fill(leaf)))),
        Branch::Object(tree) => {
            for (name, branch) in &tree.members {
                fill_branch(name, branch, out);
            }
        }
        Branch::Nested(parts) => {
            let empty =
                parts.iter().all(|(_, leaf)| matches!(&leaf.absent, Absent::Literal(text) if text == "[]"));
            out.extend(parts.iter().map(|(_, leaf)| {
                let fill = if empty { Fill::Zero { place: leaf.place } } else { Fill::Missing };
                filled(name, Some(&leaf.column), How::Fill(fill))
            }));
        }
    }
}
