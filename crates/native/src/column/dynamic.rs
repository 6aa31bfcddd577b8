//! `Dynamic`: each row brings its own type.

use std::collections::HashMap;

use super::layout::{Unfinished, check_part, write_part};
use super::{Column, ColumnError, Layout};
use crate::types::Type;
use crate::varint;

/// The row is `NULL`.
const NULL_SLOT: u32 = u32::MAX;

/// A type cannot be given a column of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The column has as many types as it may have.
    #[error("{types_max} types in one block, expected no more")]
    TooManyTypes {
        /// The limit.
        types_max: usize,
    },
    /// There is no column for the type.
    #[error(transparent)]
    Column(#[from] ColumnError),
}

/// `Dynamic` rows.
#[derive(Debug, Clone, Default)]
pub struct DynamicColumn {
    /// Each type that a value has had.
    slots: Vec<Slot>,
    /// The slots by their types' names.
    by_name: HashMap<String, u32>,
    /// For each row its slot.
    rows: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Slot {
    name: String,
    ty: Type,
    column: Column,
    /// Finished rows of `column`.
    length: usize,
}

impl DynamicColumn {
    /// The flattened serialization: the list of types, a type's number for each row, then each type's
    /// values.
    pub(crate) const VERSION_FLATTENED: u64 = 3;

    /// The most types that one block's column may have.
    pub const TYPES_MAX: usize = 1000;

    /// An empty column.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The slot of a type, which is made if need be. Slots stay the same until [`Column::clear`].
    ///
    /// # Errors
    /// When the type cannot be in a column, or there are [`DynamicColumn::TYPES_MAX`] already.
    pub fn slot(&mut self, ty: &Type) -> Result<u32, SlotError> {
        let found = self.slots.iter().take(8).position(|slot| slot.ty == *ty);
        if let Some(slot) = found {
            return Ok(slot as u32);
        }
        let name = ty.to_string();
        if let Some(slot) = self.by_name.get(&name) {
            return Ok(*slot);
        }
        if self.slots.len() == Self::TYPES_MAX {
            return Err(SlotError::TooManyTypes { types_max: Self::TYPES_MAX });
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot {
            name: name.clone(),
            ty: ty.clone(),
            column: Column::for_type(ty)?,
            length: 0,
        });
        self.by_name.insert(name, slot);
        Ok(slot)
    }

    /// The column of a slot, to push a value into; [`DynamicColumn::end_value`] then finishes the row.
    pub fn value_mut(&mut self, slot: u32) -> Option<&mut Column> {
        self.slots.get_mut(slot as usize).map(|slot| &mut slot.column)
    }

    /// Finishes a row whose value has been pushed into the column of `slot`.
    pub fn end_value(&mut self, slot: u32) {
        if let Some(found) = self.slots.get_mut(slot as usize) {
            found.length += 1;
            self.rows.push(slot);
        }
    }

    /// Adds a `NULL`.
    pub fn push_null(&mut self) {
        self.rows.push(NULL_SLOT);
    }

    /// The type of a row, its column and the row's place in that; `None` for `NULL`.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<(&Type, &Column, usize)> {
        let number = *self.rows.get(row)?;
        let slot = self.slots.get(number as usize)?;
        let earlier = self.rows[..row].iter().filter(|other| **other == number).count();
        Some((&slot.ty, &slot.column, earlier))
    }

    pub(crate) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    /// The bytes that a type's number takes in Native, where there are `n_types`; `NULL` has the number
    /// after the last.
    pub(crate) const fn number_width(n_types: usize) -> usize {
        if n_types <= 0xFF { 1 } else { 2 }
    }

    /// Adds rows by their slots, whose values are still to come; the number after the last slot is
    /// `NULL`. Gives how many values each slot gets; `None` if there is a number of no slot.
    pub(crate) fn extend_rows(&mut self, numbers: &[u32]) -> Option<Vec<usize>> {
        let null = self.slots.len();
        let mut lengths = vec![0; null];
        for number in numbers.iter().filter(|number| **number as usize != null) {
            *lengths.get_mut(*number as usize)? += 1;
        }
        let slots = numbers.iter().map(|number| if *number as usize == null { NULL_SLOT } else { *number });
        self.rows.extend(slots);
        self.slots.iter_mut().zip(&lengths).for_each(|(slot, more)| slot.length += more);
        Some(lengths)
    }

    fn used(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.length > 0).map(|(n, slot)| (n as u32, slot))
    }
}

/// Equal rows, with equal types: the order of the slots does not matter.
impl PartialEq for DynamicColumn {
    fn eq(&self, other: &Self) -> bool {
        let value = |column: &Self, row: usize| {
            column.place(row).map(|(ty, values, place)| (ty.clone(), values.value(place)))
        };
        self.rows.len() == other.rows.len()
            && (0..self.rows.len()).all(|row| value(self, row) == value(other, row))
    }
}

impl Layout for DynamicColumn {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn truncate_rows(&mut self, rows: usize) {
        for slot in self.rows.drain(rows.min(self.rows.len())..) {
            if let Some(slot) = self.slots.get_mut(slot as usize) {
                slot.length -= 1;
            }
        }
        for slot in &mut self.slots {
            slot.column.truncate(slot.length);
        }
    }

    fn push_null(&mut self) -> bool {
        Self::push_null(self);
        true
    }

    fn push_default(&mut self) {
        Self::push_null(self);
    }

    fn size_bytes(&self) -> usize {
        self.rows.len() + self.slots.iter().map(|slot| slot.column.size_bytes()).sum::<usize>()
    }

    fn clear_rows(&mut self) {
        self.rows.clear();
        self.slots.clear();
        self.by_name.clear();
    }

    fn check(&self) -> Result<(), Unfinished> {
        self.slots.iter().try_for_each(|slot| check_part(&slot.column, slot.length))
    }

    fn write_prefix(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::VERSION_FLATTENED.to_le_bytes());
        varint::write(out, self.used().count() as u64);
        for (_, slot) in self.used() {
            varint::write_str(out, &slot.name);
        }
        for (_, slot) in self.used() {
            slot.column.layout().write_prefix(out);
        }
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        let mut numbers = vec![0u32; self.slots.len()];
        for (number, (slot, _)) in self.used().enumerate() {
            numbers[slot as usize] = number as u32;
        }
        let null = self.used().count() as u32;
        let number = |slot: &u32| numbers.get(*slot as usize).copied().unwrap_or(null);
        match Self::number_width(null as usize) {
            1 => out.extend(self.rows.iter().map(|slot| number(slot) as u8)),
            _ => out.extend(self.rows.iter().flat_map(|slot| (number(slot) as u16).to_le_bytes())),
        }
        for (_, slot) in self.used() {
            write_part(&slot.column, out);
        }
    }
}
