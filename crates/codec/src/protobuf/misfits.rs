//! What a table cannot take of a schema, before any record has come.

use tidegate_core::{Reason, ReasonCode};

use super::op::{Action, Filled, How, Op, OpId, PlanId, Program};
use crate::avro::{Fill, escaped};

/// How many are told of.
const REASONS_MAX: usize = 200;

impl Program {
    /// Every place where a message, or one of its values, would be refused whatever it holds.
    pub(crate) fn misfits(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        self.of_message(self.root, "", &mut reasons);
        reasons
    }

    fn of_message(&self, id: PlanId, path: &str, reasons: &mut Vec<Reason>) {
        let plan = &self.plans[id.0];
        for member in &plan.members {
            let path = format!("{path}/{}", escaped(&member.name));
            let first = reasons.len();
            match &member.action {
                Action::Value(op) => self.of_op(*op, &path, reasons),
                Action::Flat { plan, .. } => self.of_message(*plan, &path, reasons),
                Action::Leaf { .. } | Action::Late | Action::Drop(_) | Action::Collect | Action::Pass => {}
            }
            for reason in &mut reasons[first..] {
                if let Some(column) = &member.column {
                    reason.column.get_or_insert_with(|| column.to_string());
                }
            }
        }
        of_fills(&plan.fills, path, reasons);
        reasons.truncate(REASONS_MAX);
    }

    fn of_op(&self, id: OpId, path: &str, reasons: &mut Vec<Reason>) {
        match &self.ops[id.0] {
            Op::Refuse(misfit) => {
                let mut reason = misfit.refusal().reason;
                path.clone_into(&mut reason.path);
                reasons.push(reason);
            }
            Op::Some { value, .. }
            | Op::Element { value, .. }
            | Op::Variant { value, .. }
            | Op::Dynamic { value, .. } => self.of_op(*value, path, reasons),
            Op::Entry { entry, .. } => self.of_op(entry.value, path, reasons),
            Op::Nested { plan } | Op::Tuple { plan, .. } => self.of_message(*plan, path, reasons),
            Op::Leaf { .. } | Op::Optional { .. } | Op::Text { .. } => {}
        }
    }
}

/// Columns that no field is for.
fn of_fills(fills: &[Filled], path: &str, reasons: &mut Vec<Reason>) {
    for filled in fills {
        if let How::Fill(Fill::Missing) = filled.how {
            let expected = "a field, for the column has neither a default nor NULL";
            let mut reason = Reason::new(ReasonCode::MissingRequired, expected, "nothing");
            reason.path = format!("{path}/{}", escaped(&filled.name));
            reason.column = filled.column.as_deref().map(str::to_owned);
            reasons.push(reason);
        }
    }
}
