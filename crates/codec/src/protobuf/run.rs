//! Runs a program over a message's bytes.

use tidegate_core::ReasonCode;
use tidegate_native::Column;

use super::gather::{Part, check_part, gather};
use super::model::{Field, Kind, MessageId};
use super::op::{Action, End, Filled, How, Member, MessagePlan, Op, OpId, PlanId, Program, Strangers};
use super::text::Text;
use super::wire::{GROUP, PAYLOAD, Wire};
use crate::avro::fill_column;
use crate::block::Memory;
use crate::members::Seen;
use crate::refusal::{Outcome, Refusal};

/// A message being read. After an error, columns and memory are in any state; the caller takes the columns
/// back to where they were.
pub(crate) struct Run<'p, 'b, 'm> {
    pub(super) program: &'p Program,
    pub(super) wire: Wire<'b>,
    pub(super) memory: &'m mut Memory,
    pub(super) depth: usize,
    /// The number of the group that the next message is written as; 0 if it is written as a payload.
    group: u32,
    /// Whether the message has been brought into order: each field and each key comes once.
    pub(super) ordered: bool,
    /// Whether reading has stopped at a field that had been written before: the message must be brought
    /// into order first.
    pub(crate) tangled: bool,
}

impl<'p, 'b, 'm> Run<'p, 'b, 'm> {
    pub(crate) fn new(program: &'p Program, bytes: &'b [u8], memory: &'m mut Memory) -> Self {
        memory.begin();
        let wire = Wire::new(bytes);
        Self { program, wire, memory, depth: 0, group: 0, ordered: false, tangled: false }
    }

    /// The same for a message that has been brought into order.
    pub(crate) fn again(program: &'p Program, bytes: &'b [u8], memory: &'m mut Memory) -> Self {
        memory.begin_again();
        let wire = Wire::new(bytes);
        Self { program, wire, memory, depth: 0, group: 0, ordered: true, tangled: false }
    }

    /// Reads what stands for a value that was not written.
    pub(super) fn in_place_of(&mut self, bytes: &'p [u8], op: OpId, columns: &mut [Column]) -> Outcome {
        let mut run = Run {
            program: self.program,
            wire: Wire::new(bytes),
            memory: &mut *self.memory,
            depth: self.depth,
            group: 0,
            ordered: true,
            tangled: false,
        };
        run.op(op, columns)
    }

    /// Reads the whole message into `columns`.
    pub(crate) fn record(&mut self, columns: &mut [Column]) -> Outcome {
        self.message(self.program.root, columns)?;
        if let Some(place) = self.program.collect {
            let text = format!("{{{}}}", self.memory.collected.text);
            crate::walk::put_text(&text, &mut columns[place]);
        }
        Ok(())
    }

    /// The message whose body `wire` is.
    fn message(&mut self, id: PlanId, columns: &mut [Column]) -> Outcome {
        let plan = &self.program.plans[id.0];
        self.enter()?;
        let (whole, names_first) = (self.wire, self.memory.names.len());
        let mut seen = Seen::new(self.memory, plan.members.len() + plan.n_oneofs);
        let (mut next, mut n_seen) = (0, 0);
        while !self.wire.is_empty() {
            let before = self.wire;
            let tag = self.wire.tag()?;
            let at = match plan.members.get(next) {
                Some(member) if member.tag == tag => next,
                _ => match find(plan, tag >> 3) {
                    Some(at) => at,
                    None => {
                        self.foreign(plan, tag)?;
                        continue;
                    }
                },
            };
            let member = &plan.members[at];
            next = at + 1;
            if member.singular {
                let first = seen.insert(self.memory, at)
                    && member.oneof.is_none_or(|oneof| {
                        seen.insert(self.memory, plan.members.len() + usize::from(oneof))
                    });
                if !first {
                    self.tangled = true;
                    return Err(tangled());
                }
                n_seen += 1;
            }
            let read = match (&member.action, member.tag == tag) {
                (Action::Leaf { place, leaf }, true) => leaf.run(&mut self.wire, &mut columns[*place]),
                (_, exact) => {
                    // Values of a repeated field that are not packed follow one another.
                    next = if member.singular { next } else { at };
                    self.member((plan, at), (tag, exact, before), columns)
                }
            };
            read.map_err(|refusal| placed(refusal, &member.name, member.column.as_deref()))?;
        }
        if n_seen < plan.n_singular {
            self.absent(plan, &seen, columns)?;
        }
        if crate::members::repeated(self.memory, names_first) {
            self.tangled = true;
            return Err(tangled());
        }
        self.end(plan, whole, columns)?;
        seen.forget(self.memory);
        self.depth -= 1;
        Ok(())
    }

    /// What is done about fields that were not written.
    #[inline(never)]
    fn absent(&mut self, plan: &'p MessagePlan, seen: &Seen, columns: &mut [Column]) -> Outcome {
        for (at, member) in plan.members.iter().enumerate() {
            if !member.absent.is_empty() && !seen.contains(self.memory, at) {
                self.fill(&member.absent, columns)?;
            }
        }
        Ok(())
    }

    /// What is done when the last field has been read.
    fn end(&mut self, plan: &'p MessagePlan, whole: Wire<'b>, columns: &mut [Column]) -> Outcome {
        for end in &plan.ends {
            let column = match (*end, &mut *columns) {
                (End::Column(place), columns) => &mut columns[place],
                (End::Element(place), columns) => match &mut columns[place] {
                    Column::Array(array) => &mut array.elements,
                    _ => return Err(misplaced()),
                },
            };
            match column {
                Column::Array(array) => array.end_row(),
                Column::Map(map) => map.end_row(),
                _ => return Err(misplaced()),
            }
        }
        if !plan.fills.is_empty() {
            self.fill(&plan.fills, columns)?;
        }
        if plan.collects || !plan.late.is_empty() {
            self.later(plan, whole, columns)?;
        }
        Ok(())
    }

    fn fill(&mut self, fills: &'p [Filled], columns: &mut [Column]) -> Outcome {
        for filled in fills {
            self.how(&filled.how, columns)
                .map_err(|refusal| placed(refusal, &filled.name, filled.column.as_deref()))?;
        }
        Ok(())
    }

    fn how(&mut self, how: &'p How, columns: &mut [Column]) -> Outcome {
        match (how, columns) {
            (How::Fill(fill), columns) => fill_column(fill, columns, self.memory),
            (How::Read { bytes, op }, columns) => self.in_place_of(bytes, *op, columns),
            (How::Tuple { place, fills }, columns) => {
                let Column::Tuple(tuple) = &mut columns[*place] else { return Err(misplaced()) };
                self.fill(fills, &mut tuple.columns)?;
                tuple.end_row();
                Ok(())
            }
            (How::Element { place, how }, columns) => {
                let Column::Array(array) = &mut columns[*place] else { return Err(misplaced()) };
                self.how(how, std::slice::from_mut(&mut array.elements))
            }
            (How::Required, _) => {
                let expected = "a value, for the schema requires the field";
                Err(Refusal::decode(ReasonCode::MissingRequired, expected, "nothing"))
            }
        }
    }

    /// Fields whose texts need all of their values.
    #[inline(never)]
    fn later(&mut self, plan: &'p MessagePlan, whole: Wire<'b>, columns: &mut [Column]) -> Outcome {
        let program = self.program;
        let depth = program.limits.depth_max - self.depth + 1;
        let gathered = gather(&program.types, plan.message, whole, depth)?;
        let fields = &program.types.message(plan.message).fields;
        let text = self.text();
        let mut out = std::mem::take(&mut self.memory.scratch);
        for parts in gathered.fields() {
            let (field, member) = (&fields[parts[0].field], &plan.members[parts[0].field]);
            if matches!(member.action, Action::Collect) {
                out.clear();
                text.field(field, parts, depth, &mut out)
                    .map_err(|refusal| placed(refusal, &member.name, None))?;
                self.memory.collected.member(&crate::compile::json_escaped(&field.name), &out);
            }
        }
        for (at, place) in &plan.late {
            let parts = gathered.fields().find(|parts| parts[0].field == *at).unwrap_or_default();
            let (field, member): (&Field, &Member) = (&fields[*at], &plan.members[*at]);
            out.clear();
            text.field(field, parts, depth, &mut out)
                .map_err(|refusal| placed(refusal, &member.name, member.column.as_deref()))?;
            crate::walk::put_text(&out, &mut columns[*place]);
        }
        self.memory.scratch = out;
        Ok(())
    }

    fn text(&self) -> Text<'p> {
        Text { types: &self.program.types, bytes_max: self.program.limits.record_bytes_max }
    }

    /// A field that the schema does not have.
    #[inline(never)]
    fn foreign(&mut self, plan: &'p MessagePlan, tag: u32) -> Outcome {
        self.wire.skip(tag, self.program.limits.depth_max)?;
        match &plan.strangers {
            Strangers::Drop(pointer) => {
                self.memory.drop_field(|| format!("{pointer}/{}", tag >> 3));
                Ok(())
            }
            Strangers::Reject => {
                let expected = "a field that the schema has";
                let refusal = Refusal::encode(ReasonCode::ExtraField, "unknown_fields", expected, "a value");
                Err(refusal.within(&(tag >> 3).to_string()))
            }
        }
    }

    /// A field that is not a usual value.
    fn member(
        &mut self,
        (plan, at): (&'p MessagePlan, usize),
        (tag, exact, before): (u32, bool, Wire<'b>),
        columns: &mut [Column],
    ) -> Outcome {
        let member = &plan.members[at];
        let packed = !exact && member.packable && tag & 7 == PAYLOAD;
        if !exact && !packed {
            return Err(
                before.broken(super::wire::described(member.tag & 7), super::wire::described(tag & 7))
            );
        }
        match &member.action {
            Action::Value(op) if packed => self.packed(*op, columns),
            Action::Value(op) => {
                if tag & 7 == GROUP {
                    self.group = tag >> 3;
                }
                self.op(*op, columns)
            }
            Action::Flat { plan, json_name } => {
                if tag & 7 == GROUP {
                    self.group = tag >> 3;
                }
                self.flat(*plan, json_name.as_deref(), columns)
            }
            // It is read when all of them have come, with what it is checked by.
            Action::Late | Action::Collect => self.wire.skip(tag, self.program.limits.depth_max),
            Action::Drop(pointer) => {
                self.pass((plan.message, at), tag, packed)?;
                self.memory.drop_field(|| pointer.to_string());
                Ok(())
            }
            Action::Pass => self.pass((plan.message, at), tag, packed),
            Action::Leaf { .. } => Err(misplaced()),
        }
    }

    /// Passes over a field. What is passed over is still checked.
    fn pass(&mut self, (message, at): (MessageId, usize), tag: u32, packed: bool) -> Outcome {
        let types = &self.program.types;
        let depth = self.program.limits.depth_max - self.depth;
        let value = self.wire.value(tag, depth)?;
        let field = &types.message(message).fields[at];
        check_part(types, field, &Part { field: at, value, packed }, depth)
    }

    /// Many values, one behind the other.
    fn packed(&mut self, op: OpId, columns: &mut [Column]) -> Outcome {
        let values = self.wire.payload()?;
        let outer = std::mem::replace(&mut self.wire, values);
        let mut index = 0;
        while !self.wire.is_empty() {
            self.op(op, columns).map_err(|refusal| refusal.within_item(index))?;
            index += 1;
        }
        self.wire = outer;
        Ok(())
    }

    fn flat(&mut self, plan: PlanId, json_name: Option<&str>, columns: &mut [Column]) -> Outcome {
        if let Some(name) = json_name {
            self.memory.collected.path.push(name.to_owned());
        }
        self.inner(plan, columns)?;
        if json_name.is_some() {
            self.memory.collected.leave();
        }
        Ok(())
    }

    pub(super) fn enter(&mut self) -> Outcome {
        self.depth = self.program.limits.deeper(self.depth)?;
        Ok(())
    }

    /// A message within this one.
    fn inner(&mut self, plan: PlanId, columns: &mut [Column]) -> Outcome {
        let body = self.body()?;
        let outer = std::mem::replace(&mut self.wire, body);
        self.message(plan, columns)?;
        self.wire = outer;
        Ok(())
    }

    /// The body of the message that is next.
    fn body(&mut self) -> Outcome<Wire<'b>> {
        match std::mem::take(&mut self.group) {
            0 => self.wire.payload(),
            number => self.wire.group(number, self.program.limits.depth_max - self.depth),
        }
    }

    pub(super) fn op(&mut self, id: OpId, columns: &mut [Column]) -> Outcome {
        let program = self.program;
        match &program.ops[id.0] {
            Op::Leaf { place, leaf } => leaf.run(&mut self.wire, &mut columns[*place]),
            Op::Optional { place, leaf } => {
                let Column::Nullable(column) = &mut columns[*place] else { return Err(misplaced()) };
                leaf.run(&mut self.wire, &mut column.values)?;
                column.end_value();
                Ok(())
            }
            Op::Element { place, value } => {
                let Column::Array(array) = &mut columns[*place] else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(&mut array.elements))
            }
            Op::Nested { plan } => self.inner(*plan, columns),
            Op::Refuse(misfit) => Err(misfit.refusal()),
            other => self.inside(other, columns),
        }
    }

    /// Into the parts of one column.
    fn inside(&mut self, op: &'p Op, columns: &mut [Column]) -> Outcome {
        match op {
            Op::Text { place, kind, object } => return self.json(*kind, *object, &mut columns[*place]),
            Op::Tuple { place, plan } => {
                let Column::Tuple(tuple) = &mut columns[*place] else { return Err(misplaced()) };
                self.inner(*plan, &mut tuple.columns)?;
                tuple.end_row();
            }
            Op::Some { place, value } => {
                let Column::Nullable(column) = &mut columns[*place] else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(&mut column.values))?;
                column.end_value();
            }
            Op::Entry { place, entry } => {
                let Column::Map(map) = &mut columns[*place] else { return Err(misplaced()) };
                return self.entry(entry, map);
            }
            Op::Variant { place, alternative, value } => {
                let Column::Variant(variant) = &mut columns[*place] else { return Err(misplaced()) };
                let Some(column) = variant.value_mut(*alternative) else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(column))?;
                variant.end_value(*alternative);
            }
            Op::Dynamic { place, ty, value } => {
                let Column::Dynamic(dynamic) = &mut columns[*place] else { return Err(misplaced()) };
                let slot = dynamic.slot(ty).map_err(|error| {
                    let expected = "a type that the column has room for";
                    Refusal::encode(ReasonCode::EncodeFailed, "Dynamic", expected, &error.to_string())
                })?;
                let Some(column) = dynamic.value_mut(slot) else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(column))?;
                dynamic.end_value(slot);
            }
            Op::Leaf { .. }
            | Op::Optional { .. }
            | Op::Element { .. }
            | Op::Nested { .. }
            | Op::Refuse(_) => {
                return Err(misplaced());
            }
        }
        Ok(())
    }

    fn json(&mut self, kind: Kind, object: bool, column: &mut Column) -> Outcome {
        let text = self.text();
        let mut out = std::mem::take(&mut self.memory.scratch);
        out.clear();
        let depth = self.program.limits.depth_max - self.depth + 1;
        let read = match kind.message() {
            Some(id) => self.body().and_then(|body| text.message(id, body, depth, &mut out)),
            None => self.wire.value(kind.wire(), depth).and_then(|value| text.scalar(kind, value, &mut out)),
        };
        let read = match read {
            Ok(()) if object && !out.starts_with('{') => {
                Err(Refusal::encode(ReasonCode::WrongType, "JSON", "an object, for a `JSON`", &out))
            }
            read => read,
        };
        if read.is_ok() {
            crate::walk::put_text(&out, column);
        }
        self.memory.scratch = out;
        read
    }
}

fn find(plan: &MessagePlan, number: u32) -> Option<usize> {
    if let Some(at) = plan.low.get(number as usize)
        && let Some(at) = at.checked_sub(1)
    {
        return Some(usize::from(at));
    }
    plan.members.binary_search_by_key(&number, Member::number).ok()
}

/// Never seen outside: the message is brought into order and read again.
#[cold]
pub(super) fn tangled() -> Box<Refusal> {
    Refusal::decode(ReasonCode::NotProtobuf, "each field once", "a field again")
}

/// A program and columns that do not belong together, which compiling makes impossible.
#[cold]
fn misplaced() -> Box<Refusal> {
    Refusal::encode(ReasonCode::EncodeFailed, "column", "a column of the plan's own type", "another column")
}

#[cold]
fn placed(refusal: Box<Refusal>, name: &str, column: Option<&str>) -> Box<Refusal> {
    let refusal = refusal.within(name);
    match column {
        Some(column) => refusal.in_column(column),
        None => refusal,
    }
}
