//! JSON values by a compiled plan.

use std::sync::Arc;

use tidegate_core::{Reason, ReasonCode, Reject, Stage};
use tidegate_native::Table;
use tidegate_schema::JsonSchema;

use crate::block::{Block, Memory};
use crate::compile::{self, Compiled};
use crate::options::PlanOptions;
use crate::plan::PlanError;
use crate::reader::Reader;
use crate::refusal::{Outcome, Refusal, reason_for};
use crate::walk::Walk;

/// How one JSON text becomes a row.
#[derive(Debug)]
pub(crate) struct JsonPlan {
    pub(crate) compiled: Compiled,
    schema: Option<Arc<JsonSchema>>,
}

impl JsonPlan {
    pub(crate) fn compile(
        table: &Table,
        schema: Option<Arc<JsonSchema>>,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let compiled = compile::compile(table, schema.as_deref(), options)?;
        Ok(Self { compiled, schema })
    }

    /// Whether the schema's outermost object has a field of this name.
    pub(crate) fn has_field(&self, name: &str) -> bool {
        self.schema.as_ref().is_some_and(|schema| has_member(schema, name))
    }

    /// Writes a value that is not longer than the limits allow.
    pub(crate) fn append(&self, block: &mut Block, value: &[u8]) -> Outcome {
        let text = simdutf8::basic::from_utf8(value).map_err(|_| not_utf8(value))?;
        let Block { columns, memory, .. } = block;
        // Another writer's plan may have had fewer places; what it has left there is only a guess.
        if memory.next.len() < self.compiled.predictions {
            memory.next.resize(self.compiled.predictions, 0);
        }
        Walk::new(&self.compiled, Reader::new(text), memory).record(columns)
    }

    /// The decisive reason, and what else the schema has against the value.
    #[cold]
    pub(crate) fn reject(&self, refusal: Box<Refusal>, value: &[u8]) -> Box<Reject> {
        // What comes before the text turned out to be none decides nothing.
        let refusal = self.undecodable(value).unwrap_or(refusal);
        let mut reject = Box::new(Reject::new(refusal.stage, refusal.reason));
        let reasons_max = self.compiled.limits.reasons_max.max(1);
        if let (Some(schema), Stage::Validate | Stage::Encode) = (&self.schema, reject.stage) {
            for violation in schema.violations(value, reasons_max) {
                let found = found(value, &violation.path);
                let reason = reason_for(violation, &found);
                let same = |known: &Reason| known.path == reason.path && known.rule == reason.rule;
                if reject.reasons.len() < reasons_max && !reject.reasons.iter().any(same) {
                    reject.reasons.push(reason);
                }
            }
        }
        reject
    }

    /// Why a refused value is no JSON text at all, if it is none.
    #[cold]
    fn undecodable(&self, value: &[u8]) -> Option<Box<Refusal>> {
        let bytes_max = self.compiled.limits.record_bytes_max;
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= bytes_max)?;
        Walk::new(&self.compiled, Reader::new(text), &mut Memory::default()).nothing().err()
    }
}

/// Whether a schema's outermost object has a member of this name.
pub(crate) fn has_member(schema: &JsonSchema, name: &str) -> bool {
    schema.outline().members.iter().any(|member| member.name == name)
}

fn found(value: &[u8], pointer: &str) -> String {
    crate::find::find_raw(value, pointer).unwrap_or("nothing").to_owned()
}

#[cold]
fn not_utf8(value: &[u8]) -> Box<Refusal> {
    let at = std::str::from_utf8(value).map_or_else(|error| error.valid_up_to(), str::len);
    Refusal::decode(
        ReasonCode::NotUtf8,
        "UTF-8",
        &format!("byte 0x{:02X} at byte {at}", value.get(at).copied().unwrap_or(0)),
    )
}
