//! Columns that take a record's metadata.

use std::collections::BTreeMap;

use tidegate_core::{ReasonCode, Record, TopicPartition};
use tidegate_native::{Column, Type};

use crate::options::Metadata;
use crate::refusal::{Outcome, Refusal};

/// A column that takes a part of the record other than its value.
#[derive(Debug, Clone)]
pub(crate) struct MetaColumn {
    pub(crate) column: usize,
    pub(crate) metadata: Metadata,
    /// Ticks of the column in a millisecond, for timestamps.
    pub(crate) ticks: i64,
}

impl Metadata {
    /// The metadata that a column of this name takes by itself.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "_topic" => Self::Topic,
            "_partition" => Self::Partition,
            "_offset" => Self::Offset,
            "_timestamp" => Self::Timestamp,
            "_key" => Self::Key,
            "_headers" => Self::Headers,
            _ => return None,
        })
    }

    /// What it is, for errors.
    pub(crate) const fn described(self) -> &'static str {
        match self {
            Self::Topic => "the record's topic",
            Self::Partition => "the record's partition",
            Self::Offset => "the record's offset",
            Self::Timestamp => "the record's timestamp",
            Self::Key => "the record's key",
            Self::Headers => "the record's headers",
        }
    }

    /// The ticks of a millisecond in a column of the type, if the type fits; 1 where there are none.
    pub(crate) fn fits(self, ty: &Type) -> Option<i64> {
        let (ty, text) = match ty {
            Type::Nullable(inner) => (inner.as_ref(), false),
            Type::LowCardinality(inner) => match inner.as_ref() {
                Type::Nullable(inner) => (inner.as_ref(), true),
                inner => (inner, true),
            },
            ty => (ty, false),
        };
        let fits = match self {
            Self::Topic | Self::Key => matches!(ty, Type::String),
            Self::Partition => matches!(ty, Type::Int32 | Type::UInt32 | Type::Int64 | Type::UInt64) && !text,
            Self::Offset => matches!(ty, Type::Int64 | Type::UInt64) && !text,
            Self::Timestamp => match ty {
                Type::DateTime64 { precision: precision @ 3..=9, .. } if !text => {
                    return Some(10_i64.pow(u32::from(*precision) - 3));
                }
                Type::Int64 | Type::UInt64 => !text,
                _ => false,
            },
            Self::Headers => match ty {
                Type::Map(key, value) => {
                    Self::Topic.fits(key).is_some()
                        && !key.accepts_null()
                        && Self::Topic.fits(value).is_some()
                }
                _ => false,
            },
        };
        fits.then_some(1)
    }
}

impl MetaColumn {
    /// Writes the column's value of one record.
    pub(crate) fn write(
        &self,
        source: &TopicPartition,
        record: &Record<'_>,
        columns: &mut [Column],
    ) -> Outcome {
        let column = &mut columns[self.column];
        match self.metadata {
            Metadata::Topic => push_bytes(Some(source.topic.as_bytes()), column),
            Metadata::Key => push_bytes(record.key, column),
            Metadata::Partition => push_integer(Some(source.partition.into()), column),
            Metadata::Offset => push_integer(Some(record.offset), column),
            Metadata::Timestamp => {
                let millis = record.timestamp.map(|timestamp| timestamp.millis);
                let Some(ticks) = millis.map(|millis| millis.checked_mul(self.ticks)) else {
                    return push_integer(None, column);
                };
                let ticks = ticks.ok_or_else(|| out_of_range(&format!("{millis:?} ms")))?;
                push_integer(Some(ticks), column)
            }
            Metadata::Headers => {
                let Column::Map(map) = column else { return Err(out_of_range("headers")) };
                // Names in order, so that the same record makes the same bytes.
                let last: BTreeMap<&str, Option<&[u8]>> =
                    record.headers().map(|header| (header.name, header.value)).collect();
                for (name, value) in last {
                    push_bytes(Some(name.as_bytes()), &mut map.keys)?;
                    push_bytes(value, &mut map.values)?;
                }
                map.end_row();
                Ok(())
            }
        }
    }
}

fn push_bytes(value: Option<&[u8]>, column: &mut Column) -> Outcome {
    let Some(bytes) = value else {
        if !column.push_null() {
            column.push_default();
        }
        return Ok(());
    };
    match column {
        Column::String(values) => values.push(bytes),
        Column::LowCardinality(values) => {
            if !values.push(bytes) {
                return Err(out_of_range("bytes"));
            }
        }
        Column::Nullable(nullable) => {
            push_bytes(value, &mut nullable.values)?;
            nullable.end_value();
        }
        _ => return Err(out_of_range("bytes")),
    }
    Ok(())
}

fn push_integer(value: Option<i64>, column: &mut Column) -> Outcome {
    let Some(integer) = value else {
        if !column.push_null() {
            column.push_default();
        }
        return Ok(());
    };
    let misfit = |_| out_of_range(&integer.to_string());
    match column {
        Column::Int64(values) => values.push(integer),
        Column::UInt64(values) => values.push(integer.try_into().map_err(misfit)?),
        Column::Int32(values) => values.push(integer.try_into().map_err(misfit)?),
        Column::UInt32(values) => values.push(integer.try_into().map_err(misfit)?),
        Column::Nullable(nullable) => {
            push_integer(value, &mut nullable.values)?;
            nullable.end_value();
        }
        _ => return Err(out_of_range("a number")),
    }
    Ok(())
}

#[cold]
fn out_of_range(found: &str) -> Box<Refusal> {
    Refusal::encode(ReasonCode::OutOfRange, "metadata", "metadata that its column holds", found)
}
