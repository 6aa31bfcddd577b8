//! Column builders: one variant per physical layout, so that a writer matches once per column and
//! then pushes into typed vectors.
//!
//! A row is finished when every part of the column has its value. [`Column::truncate`] takes back
//! whatever has been pushed of a row that cannot be finished.

mod dynamic;
mod fixed;
mod json;
mod layout;
mod low_cardinality;
mod nested;
mod string;
mod variant;

pub use dynamic::{DynamicColumn, SlotError};
pub use fixed::DefaultedColumn;
pub use json::JsonColumn;
pub use low_cardinality::LowCardinalityColumn;
pub use nested::{ArrayColumn, MapColumn, NullableColumn, TupleColumn};
pub use string::{FixedStringColumn, StringColumn, WrongWidth};
pub use variant::{NULL_DISCRIMINATOR, VariantColumn};

pub(crate) use layout::Layout;

use crate::types::Type;

/// The days from 1970-01-01 back to 1900-01-01: a `Date32`'s zero value.
pub const DATE32_DEFAULT: i32 = -25_567;

/// The values of one column, in the layout that Native has.
///
/// | variant | types |
/// | --- | --- |
/// | `UInt8` | Bool (0, 1), UInt8 |
/// | `UInt16` | UInt16, Date (days), BFloat16 (bits) |
/// | `UInt32` | UInt32, DateTime (seconds), IPv4 (`u32::from(Ipv4Addr)`) |
/// | `Int32` | Int32, Time (seconds), Decimal to 9 digits |
/// | `Int64` | Int64, DateTime64 and Time64 (ticks), Decimal to 18 digits |
/// | `Int128` | Int128, Decimal to 38 digits |
/// | `Int256` | Int256, Decimal to 76 digits: 32 bytes, little-endian |
/// | `Enum8`, `Enum16` | the value, not the name |
/// | `Uuid` | `[high half, low half]` |
/// | `IPv6` | the address's octets |
/// | `Json` | each value's text |
///
/// A decimal is its digits without the point: `12.5` of `Decimal(9, 2)` is 1250.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// One byte, unsigned.
    UInt8(Vec<u8>),
    /// Two bytes, unsigned.
    UInt16(Vec<u16>),
    /// Four bytes, unsigned.
    UInt32(Vec<u32>),
    /// Eight bytes, unsigned.
    UInt64(Vec<u64>),
    /// Sixteen bytes, unsigned.
    UInt128(Vec<u128>),
    /// Thirty-two bytes, unsigned, little-endian.
    UInt256(Vec<[u8; 32]>),
    /// One byte, signed.
    Int8(Vec<i8>),
    /// Two bytes, signed.
    Int16(Vec<i16>),
    /// Four bytes, signed.
    Int32(Vec<i32>),
    /// Eight bytes, signed.
    Int64(Vec<i64>),
    /// Sixteen bytes, signed.
    Int128(Vec<i128>),
    /// Thirty-two bytes, signed, little-endian.
    Int256(Vec<[u8; 32]>),
    /// `Float32`.
    Float32(Vec<f32>),
    /// `Float64`.
    Float64(Vec<f64>),
    /// `Date32`: days since 1970-01-01. Apart from `Int32` because its zero value is another.
    Date32(DefaultedColumn<i32>),
    /// `Enum8`: the zero value is the enum's lowest.
    Enum8(DefaultedColumn<i8>),
    /// `Enum16`: the zero value is the enum's lowest.
    Enum16(DefaultedColumn<i16>),
    /// `UUID`: high half, low half.
    Uuid(Vec<[u64; 2]>),
    /// `IPv6`: octets in network order.
    IPv6(Vec<[u8; 16]>),
    /// `String`.
    String(StringColumn),
    /// `FixedString`.
    FixedString(FixedStringColumn),
    /// `JSON`: each value is the text of a JSON object, which the pusher has checked.
    Json(JsonColumn),
    /// `Nothing`: the number of rows.
    Nothing(usize),
    /// `Nullable`.
    Nullable(Box<NullableColumn>),
    /// `LowCardinality`.
    LowCardinality(Box<LowCardinalityColumn>),
    /// `Array` and `Nested`.
    Array(Box<ArrayColumn>),
    /// `Map`.
    Map(Box<MapColumn>),
    /// `Tuple`.
    Tuple(TupleColumn),
    /// `Variant`.
    Variant(VariantColumn),
    /// `Dynamic`.
    Dynamic(Box<DynamicColumn>),
}

/// There is no column for a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// Tidegate does not write the type.
    #[error("columns of type `{ty}` are not supported")]
    Unsupported {
        /// The type, or the part of it.
        ty: String,
    },
    /// `Nullable` of what cannot be, or `LowCardinality` of what cannot be.
    #[error("`{ty}` is not a type that ClickHouse has")]
    Impossible {
        /// The type, or the part of it.
        ty: String,
    },
}

impl Column {
    /// An empty column of a type.
    ///
    /// # Errors
    /// When the type, or a part of it, is [`Type::Other`], or wraps what ClickHouse does not let it wrap.
    pub fn for_type(ty: &Type) -> Result<Self, ColumnError> {
        Ok(match ty {
            Type::Bool | Type::UInt8 => Self::UInt8(Vec::new()),
            Type::UInt16 | Type::Date | Type::BFloat16 => Self::UInt16(Vec::new()),
            Type::UInt32 | Type::DateTime { .. } | Type::IPv4 => Self::UInt32(Vec::new()),
            Type::UInt64 => Self::UInt64(Vec::new()),
            Type::UInt128 => Self::UInt128(Vec::new()),
            Type::UInt256 => Self::UInt256(Vec::new()),
            Type::Int8 => Self::Int8(Vec::new()),
            Type::Int16 => Self::Int16(Vec::new()),
            Type::Int32 | Type::Time => Self::Int32(Vec::new()),
            Type::Int64 | Type::DateTime64 { .. } | Type::Time64 { .. } => Self::Int64(Vec::new()),
            Type::Int128 => Self::Int128(Vec::new()),
            Type::Int256 => Self::Int256(Vec::new()),
            Type::Decimal { precision: 0..=9, .. } => Self::Int32(Vec::new()),
            Type::Decimal { precision: 10..=18, .. } => Self::Int64(Vec::new()),
            Type::Decimal { precision: 19..=38, .. } => Self::Int128(Vec::new()),
            Type::Decimal { precision: 39..=76, .. } => Self::Int256(Vec::new()),
            Type::Decimal { .. } => return Err(ColumnError::Impossible { ty: ty.to_string() }),
            Type::Float32 => Self::Float32(Vec::new()),
            Type::Float64 => Self::Float64(Vec::new()),
            Type::Date32 => Self::Date32(DefaultedColumn::new(DATE32_DEFAULT)),
            Type::Enum8(values) => Self::Enum8(DefaultedColumn::new(lowest(values))),
            Type::Enum16(values) => Self::Enum16(DefaultedColumn::new(lowest(values))),
            Type::Uuid => Self::Uuid(Vec::new()),
            Type::IPv6 => Self::IPv6(Vec::new()),
            Type::String => Self::String(StringColumn::new()),
            Type::FixedString(width) => Self::FixedString(FixedStringColumn::new(*width)),
            Type::Json(_) => Self::Json(JsonColumn::new()),
            Type::Nothing => Self::Nothing(0),
            Type::Dynamic { .. } => Self::Dynamic(Box::default()),
            Type::Other(text) => return Err(ColumnError::Unsupported { ty: text.clone() }),
            Type::Nullable(values) => Self::nullable(values)?,
            Type::LowCardinality(values) => Self::low_cardinality(values)?,
            Type::Array(elements) => Self::array(Self::for_type(elements)?),
            Type::Map(key, value) => {
                Self::Map(Box::new(MapColumn::new(Self::for_type(key)?, Self::for_type(value)?)))
            }
            Type::Tuple(elements) => Self::tuple(elements.iter().map(|element| &element.ty))?,
            Type::Nested(parts) => Self::array(Self::tuple(parts.iter().map(|(_, ty)| ty))?),
            Type::Variant(alternatives) => Self::variant(alternatives)?,
            Type::SimpleAggregateFunction { ty, .. } | Type::Alias { ty, .. } => Self::for_type(ty)?,
        })
    }

    fn array(elements: Self) -> Self {
        Self::Array(Box::new(ArrayColumn::new(elements)))
    }

    fn tuple<'a>(elements: impl Iterator<Item = &'a Type>) -> Result<Self, ColumnError> {
        let columns = elements.map(Self::for_type).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::Tuple(TupleColumn::new(columns)))
    }

    fn nullable(ty: &Type) -> Result<Self, ColumnError> {
        let values = Self::for_type(ty)?;
        if !values.fits_in_nullable() {
            return Err(ColumnError::Impossible { ty: format!("Nullable({ty})") });
        }
        Ok(Self::Nullable(Box::new(NullableColumn::new(values))))
    }

    fn low_cardinality(ty: &Type) -> Result<Self, ColumnError> {
        let (values, nullable) = match ty {
            Type::Nullable(values) => (values.as_ref(), true),
            values => (values, false),
        };
        if let Type::FixedString(LowCardinalityColumn::WIDTH_MAX..) = values {
            return Err(ColumnError::Unsupported { ty: format!("LowCardinality({ty})") });
        }
        match LowCardinalityColumn::new(Self::for_type(values)?, nullable) {
            Some(column) => Ok(Self::LowCardinality(Box::new(column))),
            None => Err(ColumnError::Impossible { ty: format!("LowCardinality({ty})") }),
        }
    }

    fn variant(alternatives: &[Type]) -> Result<Self, ColumnError> {
        let columns = alternatives.iter().map(Self::for_type).collect::<Result<Vec<_>, _>>()?;
        let impossible = || ColumnError::Impossible { ty: Type::Variant(alternatives.to_vec()).to_string() };
        VariantColumn::new(columns).map(Self::Variant).ok_or_else(impossible)
    }

    fn fits_in_nullable(&self) -> bool {
        !matches!(
            self,
            Self::Nullable(_)
                | Self::LowCardinality(_)
                | Self::Array(_)
                | Self::Map(_)
                | Self::Variant(_)
                | Self::Dynamic(_)
        )
    }

    /// How many rows are finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout().rows()
    }

    /// Whether no row is finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the first `rows` rows and nothing of what follows them, finished or not.
    pub fn truncate(&mut self, rows: usize) {
        self.layout_mut().truncate_rows(rows);
    }

    /// Adds a `NULL`. Gives `false`, and adds nothing, where the type has none.
    #[must_use]
    pub fn push_null(&mut self) -> bool {
        self.layout_mut().push_null()
    }

    /// Adds the type's zero value, as the server does where nothing is given: 0, an empty text or
    /// array, `NULL`, an enum's lowest value, 1970-01-01 (`Date32`: 1900-01-01), a tuple of these.
    pub fn push_default(&mut self) {
        self.layout_mut().push_default();
    }

    /// The memory that the values take, about what they take in Native.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.layout().size_bytes()
    }

    /// Takes all rows out and keeps the memory.
    pub fn clear(&mut self) {
        self.layout_mut().clear_rows();
    }

    pub(crate) fn layout(&self) -> &dyn Layout {
        match self {
            Self::UInt8(values) => values,
            Self::UInt16(values) => values,
            Self::UInt32(values) => values,
            Self::UInt64(values) => values,
            Self::UInt128(values) => values,
            Self::UInt256(values) | Self::Int256(values) => values,
            Self::Int8(values) => values,
            Self::Int16(values) => values,
            Self::Int32(values) => values,
            Self::Int64(values) => values,
            Self::Int128(values) => values,
            Self::Float32(values) => values,
            Self::Float64(values) => values,
            Self::Date32(values) => values,
            Self::Enum8(values) => values,
            Self::Enum16(values) => values,
            Self::Uuid(values) => values,
            Self::IPv6(values) => values,
            Self::String(column) => column,
            Self::FixedString(column) => column,
            Self::Json(column) => column,
            Self::Nothing(rows) => rows,
            Self::Nullable(column) => column.as_ref(),
            Self::LowCardinality(column) => column.as_ref(),
            Self::Array(column) => column.as_ref(),
            Self::Map(column) => column.as_ref(),
            Self::Tuple(column) => column,
            Self::Variant(column) => column,
            Self::Dynamic(column) => column.as_ref(),
        }
    }

    pub(crate) fn layout_mut(&mut self) -> &mut dyn Layout {
        match self {
            Self::UInt8(values) => values,
            Self::UInt16(values) => values,
            Self::UInt32(values) => values,
            Self::UInt64(values) => values,
            Self::UInt128(values) => values,
            Self::UInt256(values) | Self::Int256(values) => values,
            Self::Int8(values) => values,
            Self::Int16(values) => values,
            Self::Int32(values) => values,
            Self::Int64(values) => values,
            Self::Int128(values) => values,
            Self::Float32(values) => values,
            Self::Float64(values) => values,
            Self::Date32(values) => values,
            Self::Enum8(values) => values,
            Self::Enum16(values) => values,
            Self::Uuid(values) => values,
            Self::IPv6(values) => values,
            Self::String(column) => column,
            Self::FixedString(column) => column,
            Self::Json(column) => column,
            Self::Nothing(rows) => rows,
            Self::Nullable(column) => column.as_mut(),
            Self::LowCardinality(column) => column.as_mut(),
            Self::Array(column) => column.as_mut(),
            Self::Map(column) => column.as_mut(),
            Self::Tuple(column) => column,
            Self::Variant(column) => column,
            Self::Dynamic(column) => column.as_mut(),
        }
    }
}

fn lowest<T: Copy + Ord + Default>(values: &[(String, T)]) -> T {
    values.iter().map(|(_, value)| *value).min().unwrap_or_default()
}
