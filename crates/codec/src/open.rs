//! Columns whose values bring their own types: Variant and Dynamic.

use tidegate_core::ReasonCode;
use tidegate_native::{Column, DynamicColumn, Type, VariantColumn};

use crate::node::{NodeId, Writer};
use crate::number;
use crate::refusal::{Outcome, Refusal};
use crate::walk::{Walk, misfit};

impl<'p> Walk<'p, '_> {
    /// Writes a value into a column that takes values of several types; `None` for any other writer.
    #[inline]
    pub(crate) fn by_own_type(&mut self, writer: &'p Writer, column: &mut Column) -> Option<Outcome> {
        match (writer, column) {
            (Writer::Variant(alternatives), Column::Variant(variant)) => {
                Some(self.variant(alternatives, variant))
            }
            (Writer::Dynamic, Column::Dynamic(dynamic)) => Some(self.dynamic(dynamic)),
            (Writer::Element(values), Column::Array(array)) => self.by_own_type(values, &mut array.elements),
            _ => None,
        }
    }

    /// The first alternative that takes the value.
    fn variant(&mut self, alternatives: &'p [(u8, NodeId)], variant: &mut VariantColumn) -> Outcome {
        if self.reader.peek() == b'n' {
            self.reader.literal("null")?;
            variant.push_null();
            return Ok(());
        }
        let start = self.reader.at();
        let (depth, seen, names) = (self.depth, self.memory.seen.len(), self.memory.names.len());
        let (dropped, dropped_here) = (self.memory.n_dropped, self.memory.dropped_here.len());
        for (alternative, node) in alternatives {
            let Some(column) = variant.value_mut(*alternative) else { continue };
            let rows = column.len();
            match self.value(*node, std::slice::from_mut(column)) {
                Ok(()) => {
                    variant.end_value(*alternative);
                    return Ok(());
                }
                Err(refusal) if refusal.stage == tidegate_core::Stage::Decode => return Err(refusal),
                Err(_) => column.truncate(rows),
            }
            self.reader.rewind(start);
            self.depth = depth;
            self.memory.seen.truncate(seen);
            self.memory.names.truncate(names);
            self.memory.n_dropped = dropped;
            self.memory.dropped_here.truncate(dropped_here);
        }
        self.skip()?;
        Err(misfit("a value for one type of the `Variant`", self.reader.since(start)))
    }

    /// Strings as String, integers as Int64 (UInt64, Int128 where they are larger), other numbers as
    /// Float64, objects as JSON, arrays as arrays of what their items have in common.
    fn dynamic(&mut self, dynamic: &mut DynamicColumn) -> Outcome {
        let first = self.reader.peek();
        if first == b'n' {
            self.reader.literal("null")?;
            dynamic.push_null();
            return Ok(());
        }
        let ty = match first {
            b'"' => Type::String,
            b't' | b'f' => Type::Bool,
            b'{' => Type::Json(Box::default()),
            b'[' => Type::Array(Box::new(self.item_type()?)),
            _ => self.number_type()?,
        };
        let slot = dynamic.slot(&ty).map_err(|error| {
            Refusal::encode(
                ReasonCode::EncodeFailed,
                "Dynamic",
                "a type that the column has room for",
                &error.to_string(),
            )
        })?;
        let Some(column) = dynamic.value_mut(slot) else { return Err(misfit("a slot", "none")) };
        self.typed(column)?;
        dynamic.end_value(slot);
        Ok(())
    }

    /// The type of the number that is next, which is not passed over.
    fn number_type(&mut self) -> Outcome<Type> {
        let start = self.reader.at();
        let number = self.reader.number()?;
        self.reader.rewind(start);
        if number.text.contains(['.', 'e', 'E']) {
            return Ok(Type::Float64);
        }
        Ok(match number::integer(&number) {
            Some(value) if i64::try_from(value).is_ok() => Type::Int64,
            Some(value) if u64::try_from(value).is_ok() => Type::UInt64,
            Some(_) => Type::Int128,
            None => {
                return Err(Refusal::encode(
                    ReasonCode::OutOfRange,
                    "Dynamic",
                    "an integer of at most 128 bits",
                    number.text,
                ));
            }
        })
    }

    /// The type that fits all items of the array that is next, which is not passed over.
    fn item_type(&mut self) -> Outcome<Type> {
        let start = self.reader.at();
        let mut common: Option<Type> = None;
        let mut mixed = false;
        self.items(|walk, _| {
            let ty = match walk.reader.peek() {
                b'"' => Some(Type::String),
                b't' | b'f' => Some(Type::Bool),
                b'{' => Some(Type::Json(Box::default())),
                b'n' => None,
                b'[' => {
                    mixed = true;
                    None
                }
                _ => Some(walk.number_type()?),
            };
            mixed |= ty.is_some() && common.is_some() && ty != common;
            common = common.take().or(ty);
            walk.skip()
        })?;
        self.reader.rewind(start);
        Ok(match common {
            Some(ty) if !mixed => ty.nullable(),
            Some(_) | None => Type::Dynamic { max_types: None },
        })
    }

    /// A value into a column that was made for its type.
    fn typed(&mut self, column: &mut Column) -> Outcome {
        let first = self.reader.peek();
        let start = self.reader.at();
        match (column, first) {
            (Column::Nullable(nullable), b'n') => {
                self.reader.literal("null")?;
                nullable.push_null();
            }
            (Column::Nullable(nullable), _) => {
                self.typed(&mut nullable.values)?;
                nullable.end_value();
            }
            (Column::Dynamic(dynamic), _) => self.dynamic(dynamic)?,
            (Column::String(values), b'"') => {
                let raw = self.reader.string()?;
                values.push_str(raw.text(&mut self.memory.key));
            }
            (Column::UInt8(values), b't') => {
                self.reader.literal("true")?;
                values.push(1);
            }
            (Column::UInt8(values), b'f') => {
                self.reader.literal("false")?;
                values.push(0);
            }
            (Column::Json(values), b'{') => {
                self.skip_strictly()?;
                values.push_str(self.reader.since(start));
            }
            (Column::Array(array), b'[') => {
                self.enter()?;
                self.items(|walk, _| walk.typed(&mut array.elements))?;
                self.depth -= 1;
                array.end_row();
            }
            (column, _) => self.typed_number(column)?,
        }
        Ok(())
    }

    fn typed_number(&mut self, column: &mut Column) -> Outcome {
        let number = self.reader.number()?;
        let integer = number::integer(&number);
        let fits = match column {
            Column::Int64(values) => integer.and_then(|v| i64::try_from(v).ok()).map(|v| values.push(v)),
            Column::UInt64(values) => integer.and_then(|v| u64::try_from(v).ok()).map(|v| values.push(v)),
            Column::Int128(values) => integer.map(|value| values.push(value)),
            Column::Float64(values) => number::double(&number).map(|value| values.push(value)),
            _ => None,
        };
        fits.ok_or_else(|| {
            Refusal::encode(ReasonCode::OutOfRange, "Dynamic", "a number that fits", number.text)
        })
    }
}

/// The order in which a Variant's types are tried: the ones that take less before the ones that take
/// more, exact numbers before floats, text last of the scalars.
pub(crate) const fn rank(ty: &Type) -> u32 {
    match ty {
        Type::Bool => 0,
        Type::Int8 => 1,
        Type::UInt8 => 2,
        Type::Int16 => 3,
        Type::UInt16 => 4,
        Type::Int32 => 5,
        Type::UInt32 => 6,
        Type::Int64 => 7,
        Type::UInt64 => 8,
        Type::Int128 => 9,
        Type::UInt128 => 10,
        Type::Int256 => 11,
        Type::UInt256 => 12,
        Type::Decimal { .. } => 13,
        Type::Float64 => 14,
        Type::Float32 => 15,
        Type::BFloat16 => 16,
        Type::Enum8(_) => 20,
        Type::Enum16(_) => 21,
        Type::Uuid => 22,
        Type::IPv4 => 23,
        Type::IPv6 => 24,
        Type::Date => 25,
        Type::Date32 => 26,
        Type::Time => 27,
        Type::Time64 { .. } => 28,
        Type::DateTime { .. } => 29,
        Type::DateTime64 { .. } => 30,
        Type::FixedString(_) => 31,
        Type::LowCardinality(_) => 32,
        Type::String => 33,
        Type::Array(_) => 40,
        Type::Nested(_) => 41,
        Type::Tuple(_) => 42,
        Type::Map(..) => 43,
        Type::Json(_) => 44,
        Type::Nullable(_)
        | Type::Variant(_)
        | Type::Dynamic { .. }
        | Type::Nothing
        | Type::SimpleAggregateFunction { .. }
        | Type::Alias { .. }
        | Type::Other(_) => 50,
    }
}
