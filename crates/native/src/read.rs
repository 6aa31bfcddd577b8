//! Reads blocks in Native, as `SELECT .. FORMAT Native` gives them over HTTP.
//!
//! What is read is foreign: nothing is allocated that the input is not long enough for, and types
//! within types are followed to [`DEPTH_MAX`] only.

use crate::column::{
    Column, ColumnError, DynamicColumn, LowCardinalityColumn, MapColumn, NullableColumn, TupleColumn,
    VariantColumn,
};
use crate::types::{DEPTH_MAX, Type, TypeError};
use crate::varint;

/// One block as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// How many rows.
    pub rows: usize,
    /// The columns in the block's order.
    pub columns: Vec<ReadColumn>,
}

/// One column of a [`Block`].
#[derive(Debug, Clone, PartialEq)]
pub struct ReadColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub ty: Type,
    /// The values.
    pub column: Column,
}

/// The bytes are not a block that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("native block, byte {position}: {problem}")]
pub struct ReadError {
    /// Where, in bytes from the start of the input.
    pub position: usize,
    /// What is wrong there.
    pub problem: ReadProblem,
}

/// What [`ReadError`] found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadProblem {
    /// The input ends too early.
    #[error("{left} bytes left, expected {expected}")]
    Short {
        /// Bytes left.
        left: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A varint that is too long, or a length beyond the machine's.
    #[error("a length out of range")]
    Length,
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8")]
    Name,
    /// A type that cannot be parsed.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// A type that there is no column for.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// A serialization that is not read here.
    #[error("serialization {found} of {ty}, expected {expected}")]
    Version {
        /// The type's kind.
        ty: &'static str,
        /// The version or flags found.
        found: u64,
        /// What is read, with the setting that makes the server write it.
        expected: &'static str,
    },
    /// Array ends that go backwards, a dictionary key or a discriminator beyond the end.
    #[error("a reference out of range")]
    Reference,
    /// `Dynamic` in `Dynamic` beyond the limit.
    #[error("types nested deeper than {DEPTH_MAX}")]
    Depth,
    /// A list of types with one type twice.
    #[error("a type that is listed twice")]
    Repeated,
}

/// Reads all blocks of an answer. The query needs the settings
/// `output_format_native_write_json_as_string=1` and
/// `output_format_native_use_flattened_dynamic_and_json_serialization=1` if it gives `JSON` or `Dynamic`.
///
/// # Errors
/// When the bytes end too early or are not in the format, or a type is not supported.
pub fn read_blocks(bytes: &[u8]) -> Result<Vec<Block>, ReadError> {
    let mut reader = Reader { bytes, position: 0, depth: 0 };
    let mut blocks = Vec::new();
    while reader.position < bytes.len() {
        blocks.push(reader.located(Reader::block)?);
    }
    Ok(blocks)
}

/// Reads the block at the start of `bytes`, and says how many bytes it takes.
///
/// # Errors
/// As for [`read_blocks`].
pub fn read_block(bytes: &[u8]) -> Result<(Block, usize), ReadError> {
    let mut reader = Reader { bytes, position: 0, depth: 0 };
    let block = reader.located(Reader::block)?;
    Ok((block, reader.position))
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn located<T>(&mut self, read: fn(&mut Self) -> Result<T, ReadProblem>) -> Result<T, ReadError> {
        read(self).map_err(|problem| ReadError { position: self.position, problem })
    }

    fn block(&mut self) -> Result<Block, ReadProblem> {
        let n_columns = self.length()?;
        let rows = self.length()?;
        let mut columns = Vec::new();
        for _ in 0..n_columns {
            let name = self.name()?.to_owned();
            let ty = Type::parse(self.name()?)?;
            let mut column = Column::for_type(&ty)?;
            if rows > 0 {
                self.prefix(&mut column)?;
                self.values(&mut column, rows)?;
            }
            columns.push(ReadColumn { name, ty, column });
        }
        Ok(Block { rows, columns })
    }

    /// Reads what stands before the values of a column tree.
    fn prefix(&mut self, column: &mut Column) -> Result<(), ReadProblem> {
        match column {
            Column::Nullable(column) => self.prefix(&mut column.values),
            Column::Array(column) => self.prefix(&mut column.elements),
            Column::Map(column) => {
                self.prefix(&mut column.keys)?;
                self.prefix(&mut column.values)
            }
            Column::Tuple(column) => column.columns.iter_mut().try_for_each(|column| self.prefix(column)),
            Column::LowCardinality(_) => self.version("LowCardinality", 1, "1"),
            Column::Json(_) => self.version("JSON", 1, "1 (output_format_native_write_json_as_string=1)"),
            Column::Variant(column) => {
                self.version("Variant", 0, "0")?;
                column.columns_mut().iter_mut().try_for_each(|column| self.prefix(column))
            }
            Column::Dynamic(column) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(ReadProblem::Depth);
                }
                self.dynamic_prefix(column)?;
                self.depth -= 1;
                Ok(())
            }
            Column::UInt8(_)
            | Column::UInt16(_)
            | Column::UInt32(_)
            | Column::UInt64(_)
            | Column::UInt128(_)
            | Column::UInt256(_)
            | Column::Int8(_)
            | Column::Int16(_)
            | Column::Int32(_)
            | Column::Int64(_)
            | Column::Int128(_)
            | Column::Int256(_)
            | Column::Float32(_)
            | Column::Float64(_)
            | Column::Date32(_)
            | Column::Enum8(_)
            | Column::Enum16(_)
            | Column::Uuid(_)
            | Column::IPv6(_)
            | Column::String(_)
            | Column::FixedString(_)
            | Column::Nothing(_) => Ok(()),
        }
    }

    fn dynamic_prefix(&mut self, column: &mut DynamicColumn) -> Result<(), ReadProblem> {
        const SETTING: &str = "3 (output_format_native_use_flattened_dynamic_and_json_serialization=1)";
        self.version("Dynamic", DynamicColumn::VERSION_FLATTENED, SETTING)?;
        let n_types = self.length()?;
        for number in 0..n_types {
            let ty = Type::parse(self.name()?)?;
            let slot = column.slot(&ty).map_err(|error| match error {
                crate::SlotError::TooManyTypes { .. } => ReadProblem::Length,
                crate::SlotError::Column(error) => ReadProblem::Column(error),
            })?;
            if slot as usize != number {
                return Err(ReadProblem::Repeated);
            }
        }
        (0..n_types as u32).filter_map(|slot| Some(self.prefix(column.value_mut(slot)?))).collect()
    }

    /// Reads `rows` values into an empty column.
    fn values(&mut self, column: &mut Column, rows: usize) -> Result<(), ReadProblem> {
        match column {
            Column::UInt8(values) => self.fixed(values, rows),
            Column::UInt16(values) => self.fixed(values, rows),
            Column::UInt32(values) => self.fixed(values, rows),
            Column::UInt64(values) => self.fixed(values, rows),
            Column::UInt128(values) => self.fixed(values, rows),
            Column::UInt256(values) | Column::Int256(values) => self.fixed(values, rows),
            Column::Int8(values) => self.fixed(values, rows),
            Column::Int16(values) => self.fixed(values, rows),
            Column::Int32(values) => self.fixed(values, rows),
            Column::Int64(values) => self.fixed(values, rows),
            Column::Int128(values) => self.fixed(values, rows),
            Column::Float32(values) => self.fixed(values, rows),
            Column::Float64(values) => self.fixed(values, rows),
            Column::Date32(column) => self.fixed(&mut column.values, rows),
            Column::Enum8(column) => self.fixed(&mut column.values, rows),
            Column::Enum16(column) => self.fixed(&mut column.values, rows),
            Column::Uuid(values) => self.fixed(values, rows),
            Column::IPv6(values) => self.fixed(values, rows),
            Column::String(column) => self.texts(rows, |text| column.push(text)),
            Column::Json(column) => self.texts(rows, |text| column.push(text)),
            Column::FixedString(column) => {
                let bytes = self.take(rows.checked_mul(column.width()).ok_or(ReadProblem::Length)?)?;
                column.extend(bytes);
                Ok(())
            }
            Column::Nothing(nothing) => {
                self.take(rows)?;
                *nothing = rows;
                Ok(())
            }
            Column::Nullable(column) => self.nullable(column, rows),
            Column::LowCardinality(column) => self.low_cardinality(column, rows),
            Column::Array(column) => {
                let (ends, length) = self.ends(rows)?;
                column.extend_ends(&ends);
                self.values(&mut column.elements, length)
            }
            Column::Map(column) => self.map(column, rows),
            Column::Tuple(column) => self.tuple(column, rows),
            Column::Variant(column) => self.variant(column, rows),
            Column::Dynamic(column) => self.dynamic(column, rows),
        }
    }

    fn texts(&mut self, rows: usize, mut push: impl FnMut(&[u8])) -> Result<(), ReadProblem> {
        for _ in 0..rows {
            let length = self.length()?;
            push(self.take(length)?);
        }
        Ok(())
    }

    fn nullable(&mut self, column: &mut NullableColumn, rows: usize) -> Result<(), ReadProblem> {
        let nulls = self.take(rows)?;
        if nulls.iter().any(|null| *null > 1) {
            return Err(ReadProblem::Reference);
        }
        column.extend_nulls(nulls);
        self.values(&mut column.values, rows)
    }

    fn map(&mut self, column: &mut MapColumn, rows: usize) -> Result<(), ReadProblem> {
        let (ends, length) = self.ends(rows)?;
        column.extend_ends(&ends);
        self.values(&mut column.keys, length)?;
        self.values(&mut column.values, length)
    }

    fn tuple(&mut self, column: &mut TupleColumn, rows: usize) -> Result<(), ReadProblem> {
        if column.columns.is_empty() {
            self.take(rows)?;
        }
        column.columns.iter_mut().try_for_each(|column| self.values(column, rows))?;
        column.extend_rows(rows);
        Ok(())
    }

    fn variant(&mut self, column: &mut VariantColumn, rows: usize) -> Result<(), ReadProblem> {
        let lengths = column.extend_rows(self.take(rows)?).ok_or(ReadProblem::Reference)?;
        let mut parts = column.columns_mut().iter_mut().zip(lengths);
        parts.try_for_each(|(column, length)| self.values(column, length))
    }

    fn dynamic(&mut self, column: &mut DynamicColumn, rows: usize) -> Result<(), ReadProblem> {
        let numbers: Vec<u32> = match DynamicColumn::number_width(column.n_slots()) {
            1 => self.take(rows)?.iter().map(|number| u32::from(*number)).collect(),
            _ => self.vector::<u16>(rows)?.into_iter().map(u32::from).collect(),
        };
        let lengths = column.extend_rows(&numbers).ok_or(ReadProblem::Reference)?;
        for (slot, length) in lengths.into_iter().enumerate() {
            if let Some(column) = column.value_mut(slot as u32) {
                self.values(column, length)?;
            }
        }
        Ok(())
    }

    fn low_cardinality(&mut self, column: &mut LowCardinalityColumn, rows: usize) -> Result<(), ReadProblem> {
        const EXPECTED: &str = "a dictionary of its own and keys of 1 to 8 bytes";
        if rows == 0 {
            return Ok(());
        }
        let found = self.u64()?;
        let (width, flags) = (found & 0xFF, found & !0xFF);
        if width > 3 || flags & !(1 << 10) != 1 << 9 {
            return Err(ReadProblem::Version { ty: "LowCardinality", found, expected: EXPECTED });
        }
        let entries = usize::try_from(self.u64()?).map_err(|_| ReadProblem::Length)?;
        let mut dictionary = column.empty_dictionary();
        self.values(&mut dictionary, entries)?;
        if self.u64()? != rows as u64 {
            return Err(ReadProblem::Length);
        }
        let keys: Vec<u64> = match width {
            0 => self.take(rows)?.iter().map(|key| u64::from(*key)).collect(),
            1 => self.vector::<u16>(rows)?.into_iter().map(u64::from).collect(),
            2 => self.vector::<u32>(rows)?.into_iter().map(u64::from).collect(),
            _ => self.vector::<u64>(rows)?,
        };
        column.extend_rows(&dictionary, &keys).ok_or(ReadProblem::Reference)
    }

    /// The ends of arrays, and how many elements they have together.
    fn ends(&mut self, rows: usize) -> Result<(Vec<u64>, usize), ReadProblem> {
        let ends: Vec<u64> = self.vector(rows)?;
        if !ends.is_sorted() {
            return Err(ReadProblem::Reference);
        }
        let length = usize::try_from(ends.last().copied().unwrap_or(0)).map_err(|_| ReadProblem::Length)?;
        Ok((ends, length))
    }

    fn version(&mut self, ty: &'static str, wanted: u64, expected: &'static str) -> Result<(), ReadProblem> {
        match self.u64()? {
            found if found == wanted => Ok(()),
            found => Err(ReadProblem::Version { ty, found, expected }),
        }
    }

    fn fixed<T: bytemuck::Pod>(&mut self, values: &mut Vec<T>, rows: usize) -> Result<(), ReadProblem> {
        *values = self.vector(rows)?;
        Ok(())
    }

    fn vector<T: bytemuck::Pod>(&mut self, rows: usize) -> Result<Vec<T>, ReadProblem> {
        let bytes = self.take(rows.checked_mul(size_of::<T>()).ok_or(ReadProblem::Length)?)?;
        Ok(bytemuck::pod_collect_to_vec(bytes))
    }

    fn name(&mut self) -> Result<&'a str, ReadProblem> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| ReadProblem::Name)
    }

    fn length(&mut self) -> Result<usize, ReadProblem> {
        let (value, length) = varint::read(&self.bytes[self.position..]).ok_or(ReadProblem::Length)?;
        self.position += length;
        usize::try_from(value).map_err(|_| ReadProblem::Length)
    }

    fn u64(&mut self) -> Result<u64, ReadProblem> {
        let bytes = self.take(8)?;
        Ok(bytemuck::pod_read_unaligned(bytes))
    }

    fn take(&mut self, expected: usize) -> Result<&'a [u8], ReadProblem> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..expected).ok_or(ReadProblem::Short { left: rest.len(), expected })?;
        self.position += expected;
        Ok(taken)
    }
}
