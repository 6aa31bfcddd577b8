//! Runs a program over a record's bytes.

use tidegate_core::ReasonCode;
use tidegate_native::Column;

use super::bytes::Bytes;
use super::op::{Action, Fill, MapKey, Member, Op, OpId, Program};
use super::resolve::{ReadId, ReadShape};
use crate::block::Memory;
use crate::reader::Reader;
use crate::refusal::{Outcome, Refusal};
use crate::scalar::Token;

/// Items that take no bytes may still be so many; every other item takes one at least.
const EMPTY_ITEMS_MAX: u64 = 4096;

/// A record being read. After an error, columns and memory are in any state; the caller takes the columns
/// back to where they were.
pub(crate) struct Run<'p, 'm> {
    pub(super) program: &'p Program,
    pub(super) bytes: Bytes<'p>,
    pub(super) memory: &'m mut Memory,
    pub(super) depth: usize,
    /// How many items arrays and maps may still have.
    items_left: u64,
}

impl<'p, 'm> Run<'p, 'm> {
    pub(crate) fn new(program: &'p Program, bytes: &'p [u8], memory: &'m mut Memory) -> Self {
        memory.begin();
        let items_left = bytes.len() as u64 + EMPTY_ITEMS_MAX;
        Self { program, bytes: Bytes::new(bytes), memory, depth: 0, items_left }
    }

    /// Reads the whole record into `columns`.
    pub(crate) fn record(mut self, columns: &mut [Column]) -> Outcome {
        self.op(self.program.root, columns)?;
        self.bytes.end()?;
        if let Some(place) = self.program.collect {
            let text = format!("{{{}}}", self.memory.collected.text);
            crate::walk::put_text(&text, &mut columns[place]);
        }
        Ok(())
    }

    fn op(&mut self, id: OpId, columns: &mut [Column]) -> Outcome {
        let program = self.program;
        match &program.ops[id.0] {
            Op::Leaf { place, leaf } => leaf.run(&mut self.bytes, &mut columns[*place]),
            Op::Optional { place, null, leaf } => {
                let branch = self.bytes.choice(2, "branches")?;
                match &mut columns[*place] {
                    Column::Nullable(column) if branch == usize::from(*null) => column.push_null(),
                    Column::Nullable(column) => {
                        leaf.run(&mut self.bytes, &mut column.values)?;
                        column.end_value();
                    }
                    _ => return Err(misplaced()),
                }
                Ok(())
            }
            Op::Record(members) => {
                self.enter()?;
                for member in members {
                    self.member(member, columns).map_err(|refusal| placed(refusal, member))?;
                }
                self.depth -= 1;
                Ok(())
            }
            Op::Union(branches) => {
                let branch = self.bytes.choice(branches.len(), "branches")?;
                self.op(branches[branch], columns)
            }
            other => self.compound(other, columns),
        }
    }

    /// Everything that is not met in every field of every record.
    #[inline(never)]
    fn compound(&mut self, op: &'p Op, columns: &mut [Column]) -> Outcome {
        match op {
            Op::Refuse(misfit) => Err(misfit.refusal()),
            Op::Null { place } => {
                if columns[*place].push_null() {
                    Ok(())
                } else {
                    Err(misplaced())
                }
            }
            Op::Nested { places, item } => {
                self.items(|run, _| run.op(*item, columns))?;
                for place in places {
                    if let Column::Array(array) = &mut columns[*place] {
                        array.end_row();
                    }
                }
                Ok(())
            }
            Op::JsonText { place, read } => {
                let mut text = std::mem::take(&mut self.memory.scratch);
                text.clear();
                let written = self.json(*read, &mut text);
                if written.is_ok() {
                    crate::walk::put_text(&text, &mut columns[*place]);
                }
                self.memory.scratch = text;
                written
            }
            Op::Some { place, .. }
            | Op::Element { place, .. }
            | Op::Array { place, .. }
            | Op::Map { place, .. }
            | Op::Tuple { place, .. }
            | Op::Duration { place }
            | Op::Variant { place, .. }
            | Op::Dynamic { place, .. } => self.inside(op, &mut columns[*place]),
            Op::Leaf { .. } | Op::Optional { .. } | Op::Record(_) | Op::Union(_) => Err(misplaced()),
        }
    }

    /// Into the parts of one column.
    fn inside(&mut self, op: &'p Op, column: &mut Column) -> Outcome {
        match (op, column) {
            (Op::Some { value, .. }, Column::Nullable(nullable)) => {
                self.op(*value, std::slice::from_mut(&mut nullable.values))?;
                nullable.end_value();
            }
            (Op::Element { value, .. }, Column::Array(array)) => {
                self.op(*value, std::slice::from_mut(&mut array.elements))?;
            }
            (Op::Array { item, .. }, Column::Array(array)) => {
                self.items(|run, _| run.op(*item, std::slice::from_mut(&mut array.elements)))?;
                array.end_row();
            }
            (Op::Map { key, value, .. }, Column::Map(map)) => {
                self.items(|run, _| {
                    let name = run.bytes.text()?;
                    put_key(key, name, &mut map.keys).map_err(|refusal| refusal.within(name))?;
                    run.op(*value, std::slice::from_mut(&mut map.values))
                        .map_err(|refusal| refusal.within(name))
                })?;
                map.end_row();
            }
            (Op::Tuple { record, .. }, Column::Tuple(tuple)) => {
                self.op(*record, &mut tuple.columns)?;
                tuple.end_row();
            }
            (Op::Duration { .. }, Column::Tuple(tuple)) => {
                for column in &mut tuple.columns {
                    let part = u32::from_le_bytes(self.bytes.chunk("a `duration`")?);
                    let Column::UInt32(values) = column else { return Err(misplaced()) };
                    values.push(part);
                }
                tuple.end_row();
            }
            (Op::Variant { alternative, value, .. }, Column::Variant(variant)) => {
                let Some(column) = variant.value_mut(*alternative) else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(column))?;
                variant.end_value(*alternative);
            }
            (Op::Dynamic { ty, value, .. }, Column::Dynamic(dynamic)) => {
                let slot = dynamic.slot(ty).map_err(|error| {
                    let expected = "a type that the column has room for";
                    Refusal::encode(ReasonCode::EncodeFailed, "Dynamic", expected, &error.to_string())
                })?;
                let Some(column) = dynamic.value_mut(slot) else { return Err(misplaced()) };
                self.op(*value, std::slice::from_mut(column))?;
                dynamic.end_value(slot);
            }
            _ => return Err(misplaced()),
        }
        Ok(())
    }

    #[inline]
    fn member(&mut self, member: &'p Member, columns: &mut [Column]) -> Outcome {
        match &member.action {
            Action::Read(op) => self.op(*op, columns),
            Action::Within { json_name, op } => {
                self.memory.collected.path.push(json_name.to_string());
                self.op(*op, columns)?;
                self.memory.collected.leave();
                Ok(())
            }
            Action::Default { bytes, op } => self.in_place_of(bytes, |run| run.op(*op, columns)),
            Action::Pass(read) => self.skip(*read),
            Action::Drop { read, pointer } => {
                self.skip(*read)?;
                self.memory.drop_field(|| pointer.to_string());
                Ok(())
            }
            Action::Collect { read, json_name } => {
                let mut text = std::mem::take(&mut self.memory.scratch);
                text.clear();
                let written = self.json(*read, &mut text);
                if written.is_ok() {
                    self.memory.collected.member(json_name, &text);
                }
                self.memory.scratch = text;
                written
            }
            Action::Fill(fill) => fill_column(fill, columns, self.memory),
        }
    }

    /// Reads a default in the place of what was not written.
    pub(super) fn in_place_of(
        &mut self,
        default: &'p [u8],
        read: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let written = std::mem::replace(&mut self.bytes, Bytes::new(default));
        self.items_left = self.items_left.saturating_add(default.len() as u64);
        let result = read(self);
        self.bytes = written;
        result
    }

    pub(super) fn enter(&mut self) -> Outcome {
        self.depth = self.program.limits.deeper(self.depth)?;
        Ok(())
    }

    /// The items of an array or map, block by block.
    pub(super) fn items(&mut self, mut each: impl FnMut(&mut Self, u64) -> Outcome) -> Outcome {
        self.enter()?;
        let mut index = 0;
        loop {
            let count = self.bytes.block()?;
            if count == 0 {
                break;
            }
            let Some(left) = self.items_left.checked_sub(count) else {
                let found = format!("{count} items in {} bytes", self.bytes.length());
                return Err(Refusal::decode(
                    ReasonCode::NotAvro,
                    "as many items as there are bytes for",
                    &found,
                ));
            };
            self.items_left = left;
            for _ in 0..count {
                each(self, index).map_err(|refusal| refusal.within_item(index))?;
                index += 1;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Passes over a value. What is passed over is still checked: the next value begins where it ends.
    pub(super) fn skip(&mut self, read: ReadId) -> Outcome {
        let program = self.program;
        match &program.reads.get(read).shape {
            ReadShape::Null => Ok(()),
            ReadShape::Boolean => self.bytes.boolean().map(drop),
            ReadShape::Int => self.bytes.int().map(drop),
            ReadShape::Long => self.bytes.long().map(drop),
            ReadShape::Float => self.bytes.float().map(drop),
            ReadShape::Double => self.bytes.double().map(drop),
            ReadShape::Bytes => self.bytes.bytes().map(drop),
            ReadShape::Text => self.bytes.text().map(drop),
            ReadShape::Fixed(size) => self.bytes.take(*size, "a `fixed`").map(drop),
            ReadShape::Enum(symbols) => self.bytes.choice(symbols.len(), "symbols").map(drop),
            ReadShape::Array(item) => self.items(|run, _| run.skip(*item)),
            ReadShape::Map(item) => self.items(|run, _| {
                run.bytes.text()?;
                run.skip(*item)
            }),
            ReadShape::Union(branches) => {
                let branch = self.bytes.choice(branches.len(), "branches")?;
                self.skip(branches[branch])
            }
            ReadShape::Record(fields) => {
                self.enter()?;
                for field in fields.iter().filter(|field| field.written()) {
                    self.skip(field.node).map_err(|refusal| refusal.within(&field.name))?;
                }
                self.depth -= 1;
                Ok(())
            }
            ReadShape::Never(message) => Err(never(message)),
        }
    }
}

#[cold]
pub(super) fn never(message: &str) -> Box<Refusal> {
    Refusal::encode(ReasonCode::WrongType, "schema", "a value that the reader's schema takes", message)
}

/// A program and columns that do not belong together, which compiling makes impossible.
#[cold]
fn misplaced() -> Box<Refusal> {
    Refusal::encode(ReasonCode::EncodeFailed, "column", "a column of the plan's own type", "another column")
}

#[cold]
fn placed(refusal: Box<Refusal>, member: &Member) -> Box<Refusal> {
    let refusal = refusal.within(&member.name);
    match &member.column {
        Some(column) => refusal.in_column(column),
        None => refusal,
    }
}

pub(crate) fn fill_column(fill: &Fill, columns: &mut [Column], memory: &mut Memory) -> Outcome {
    let pushed = match fill {
        Fill::Null { place } => columns[*place].push_null(),
        Fill::Zero { place } => {
            columns[*place].push_default();
            true
        }
        Fill::NullElement { place } => match &mut columns[*place] {
            Column::Array(array) => array.elements.push_null(),
            _ => false,
        },
        Fill::Constant { place, scalar, json } => {
            memory.filled.push(*place);
            let column = &mut columns[*place];
            return match column {
                Column::Nullable(nullable) => {
                    constant(scalar, json, &mut nullable.values)?;
                    nullable.end_value();
                    Ok(())
                }
                column => constant(scalar, json, column),
            };
        }
        Fill::Missing => false,
    };
    if pushed {
        return Ok(());
    }
    let expected = "a value, for the column has neither a default nor NULL";
    Err(Refusal::encode(ReasonCode::MissingRequired, "column", expected, "nothing"))
}

/// Writes a table's constant default, which compiling has read as a JSON scalar.
fn constant(scalar: &crate::scalar::Scalar, json: &str, column: &mut Column) -> Outcome {
    let mut reader = Reader::new(json);
    let mut unescaped = String::new();
    match json.as_bytes().first() {
        Some(b'"') => {
            let raw = reader.string()?;
            scalar.write(Token::String(raw.text(&mut unescaped)), column)
        }
        Some(b't') => scalar.write(Token::Bool(true), column),
        Some(b'f') => scalar.write(Token::Bool(false), column),
        _ => scalar.write(Token::Number(reader.number()?), column),
    }
}

fn put_key(key: &MapKey, name: &str, column: &mut Column) -> Outcome {
    crate::members::put_key(&key.scalar, key.dictionary, name, column)
}
