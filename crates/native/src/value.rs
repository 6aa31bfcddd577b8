//! Single values, for comparing columns and showing results. The hot path has none.

use std::net::Ipv6Addr;

use ethnum::{I256, U256};

use crate::column::Column;

/// One value of a column, as its layout has it: a Date is a number of days, a Decimal its digits, an
/// enum its number. Big numbers are boxed.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `NULL`, also of `Nothing`.
    Null,
    /// Unsigned, to 64 bits.
    UInt(u64),
    /// Signed, to 64 bits.
    Int(i64),
    /// `UInt128`.
    UInt128(u128),
    /// `Int128`, and decimals of that width.
    Int128(i128),
    /// `UInt256`.
    UInt256(Box<U256>),
    /// `Int256`, and decimals of that width.
    Int256(Box<I256>),
    /// `Float32` (as it is, wider) and `Float64`.
    Float(f64),
    /// `UUID`, the first digits highest.
    Uuid(u128),
    /// `IPv6`.
    IPv6(Ipv6Addr),
    /// `String`, `FixedString` (padding included), and the text of `JSON`.
    Bytes(Vec<u8>),
    /// `Array` and `Nested`.
    Array(Vec<Value>),
    /// `Map`, in the order of insertion.
    Map(Vec<(Value, Value)>),
    /// `Tuple`.
    Tuple(Vec<Value>),
    /// `Variant`: the number of the alternative.
    Variant(u8, Box<Value>),
    /// `Dynamic`: the name of the type.
    Dynamic(String, Box<Value>),
}

impl Column {
    /// The value of a finished row; `None` beyond the last. In `Variant` and `Dynamic` columns it
    /// costs as much as the rows before it.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value> {
        Some(match self {
            Self::UInt8(values) => Value::UInt(u64::from(*values.get(row)?)),
            Self::UInt16(values) => Value::UInt(u64::from(*values.get(row)?)),
            Self::UInt32(values) => Value::UInt(u64::from(*values.get(row)?)),
            Self::UInt64(values) => Value::UInt(*values.get(row)?),
            Self::UInt128(values) => Value::UInt128(*values.get(row)?),
            Self::UInt256(values) => Value::UInt256(Box::new(U256::from_le_bytes(*values.get(row)?))),
            Self::Int8(values) => Value::Int(i64::from(*values.get(row)?)),
            Self::Int16(values) => Value::Int(i64::from(*values.get(row)?)),
            Self::Int32(values) => Value::Int(i64::from(*values.get(row)?)),
            Self::Int64(values) => Value::Int(*values.get(row)?),
            Self::Int128(values) => Value::Int128(*values.get(row)?),
            Self::Int256(values) => Value::Int256(Box::new(I256::from_le_bytes(*values.get(row)?))),
            Self::Float32(values) => Value::Float(f64::from(*values.get(row)?)),
            Self::Float64(values) => Value::Float(*values.get(row)?),
            Self::Date32(column) => Value::Int(i64::from(*column.values.get(row)?)),
            Self::Enum8(column) => Value::Int(i64::from(*column.values.get(row)?)),
            Self::Enum16(column) => Value::Int(i64::from(*column.values.get(row)?)),
            Self::Uuid(values) => {
                let [high, low] = *values.get(row)?;
                Value::Uuid(u128::from(high) << 64 | u128::from(low))
            }
            Self::IPv6(values) => Value::IPv6(Ipv6Addr::from(*values.get(row)?)),
            Self::String(column) => Value::Bytes(column.get(row)?.to_vec()),
            Self::Json(column) => Value::Bytes(column.get(row)?.to_vec()),
            Self::FixedString(column) => Value::Bytes(column.get(row)?.to_vec()),
            Self::Nothing(rows) => (row < *rows).then_some(Value::Null)?,
            Self::Nullable(column) => match column.nulls().get(row)? {
                0 => column.values.value(row)?,
                _ => Value::Null,
            },
            Self::LowCardinality(column) => match *column.keys().get(row)? {
                0 if column.nullable() => Value::Null,
                place => column.dictionary().value(place as usize)?,
            },
            Self::Array(column) => Value::Array(column.elements.values_of(column.range(row)?)?),
            Self::Map(column) => {
                let range = column.range(row)?;
                let keys = column.keys.values_of(range.clone())?;
                Value::Map(keys.into_iter().zip(column.values.values_of(range)?).collect())
            }
            Self::Tuple(column) if row < self.len() => {
                Value::Tuple(column.columns.iter().map(|column| column.value(row)).collect::<Option<_>>()?)
            }
            Self::Tuple(_) => return None,
            Self::Variant(column) => match column.place(row) {
                Some((alternative, place)) => {
                    let value = column.columns().get(usize::from(alternative))?.value(place)?;
                    Value::Variant(alternative, Box::new(value))
                }
                None => (row < self.len()).then_some(Value::Null)?,
            },
            Self::Dynamic(column) => match column.place(row) {
                Some((ty, column, place)) => Value::Dynamic(ty.to_string(), Box::new(column.value(place)?)),
                None => (row < self.len()).then_some(Value::Null)?,
            },
        })
    }

    fn values_of(&self, rows: std::ops::Range<usize>) -> Option<Vec<Value>> {
        rows.map(|row| self.value(row)).collect()
    }
}
