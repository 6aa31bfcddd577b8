//! What a table cannot take of a schema, before any record has come.

use tidegate_core::{Reason, ReasonCode};

use super::compile::escaped;
use super::op::{Action, Fill, Member, Op, OpId, Program};

/// How many are told of.
const REASONS_MAX: usize = 200;

impl Program {
    /// Every place where a record, or one of its values, would be refused whatever it holds.
    pub(crate) fn misfits(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        self.walk(self.root, &mut (String::new(), None), &mut reasons);
        reasons
    }

    fn walk(&self, id: OpId, place: &mut (String, Option<String>), reasons: &mut Vec<Reason>) {
        if reasons.len() >= REASONS_MAX {
            return;
        }
        match &self.ops[id.0] {
            Op::Refuse(misfit) => {
                let mut reason = misfit.refusal().reason;
                reason.path.clone_from(&place.0);
                reason.column.clone_from(&place.1);
                reasons.push(reason);
            }
            Op::Record(members) => {
                for member in members {
                    self.walk_member(member, place, reasons);
                }
            }
            Op::Union(branches) => {
                for branch in branches {
                    self.walk(*branch, place, reasons);
                }
            }
            Op::Some { value: inner, .. }
            | Op::Element { value: inner, .. }
            | Op::Map { value: inner, .. }
            | Op::Variant { value: inner, .. }
            | Op::Dynamic { value: inner, .. }
            | Op::Array { item: inner, .. }
            | Op::Nested { item: inner, .. }
            | Op::Tuple { record: inner, .. } => self.walk(*inner, place, reasons),
            Op::Leaf { .. }
            | Op::Optional { .. }
            | Op::Null { .. }
            | Op::Duration { .. }
            | Op::JsonText { .. } => {}
        }
    }

    fn walk_member(&self, member: &Member, place: &mut (String, Option<String>), reasons: &mut Vec<Reason>) {
        let mut inner = (format!("{}/{}", place.0, escaped(&member.name)), place.1.clone());
        if let Some(column) = &member.column {
            inner.1 = Some(column.to_string());
        }
        match &member.action {
            Action::Read(op) | Action::Within { op, .. } | Action::Default { op, .. } => {
                self.walk(*op, &mut inner, reasons);
            }
            Action::Fill(Fill::Missing) => {
                let expected = "a field, for the column has neither a default nor NULL";
                let mut reason = Reason::new(ReasonCode::MissingRequired, expected, "nothing");
                (reason.path, reason.column) = inner;
                reasons.push(reason);
            }
            Action::Fill(_) | Action::Drop { .. } | Action::Collect { .. } | Action::Pass(_) => {}
        }
    }
}
