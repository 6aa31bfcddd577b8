//! Logical types. One that is unknown, or does not fit its type, counts as none: Avro says so.

use crate::avro::model::{Fixed, Shape};
use crate::json::{Json, Members};

/// What values of a type mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogicalType {
    /// A number with a fixed count of decimal digits after the point.
    Decimal {
        /// Digits in all.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// A number that brings its scale along.
    BigDecimal,
    /// A UUID, as text or 16 bytes.
    Uuid,
    /// Months, days and milliseconds.
    Duration,
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since midnight.
    TimeMillis,
    /// Microseconds since midnight.
    TimeMicros,
    /// Milliseconds since 1970-01-01 00:00 UTC.
    TimestampMillis,
    /// Microseconds since then.
    TimestampMicros,
    /// Nanoseconds since then.
    TimestampNanos,
    /// Milliseconds since then, in a time zone that is not stated.
    LocalTimestampMillis,
    /// Microseconds, likewise.
    LocalTimestampMicros,
    /// Nanoseconds, likewise.
    LocalTimestampNanos,
}

impl LogicalType {
    /// The logical type that a type's attributes name, if it is known and fits.
    pub(crate) fn of(shape: &Shape, props: &Members) -> Option<Self> {
        let named = match props.get("logicalType")?.as_str()? {
            "decimal" => decimal(props)?,
            "big-decimal" => Self::BigDecimal,
            "uuid" => Self::Uuid,
            "duration" => Self::Duration,
            "date" => Self::Date,
            "time-millis" => Self::TimeMillis,
            "time-micros" => Self::TimeMicros,
            "timestamp-millis" => Self::TimestampMillis,
            "timestamp-micros" => Self::TimestampMicros,
            "timestamp-nanos" => Self::TimestampNanos,
            "local-timestamp-millis" => Self::LocalTimestampMillis,
            "local-timestamp-micros" => Self::LocalTimestampMicros,
            "local-timestamp-nanos" => Self::LocalTimestampNanos,
            _ => return None,
        };
        named.fits(shape).then_some(named)
    }

    /// Its name in a schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decimal { .. } => "decimal",
            Self::BigDecimal => "big-decimal",
            Self::Uuid => "uuid",
            Self::Duration => "duration",
            Self::Date => "date",
            Self::TimeMillis => "time-millis",
            Self::TimeMicros => "time-micros",
            Self::TimestampMillis => "timestamp-millis",
            Self::TimestampMicros => "timestamp-micros",
            Self::TimestampNanos => "timestamp-nanos",
            Self::LocalTimestampMillis => "local-timestamp-millis",
            Self::LocalTimestampMicros => "local-timestamp-micros",
            Self::LocalTimestampNanos => "local-timestamp-nanos",
        }
    }

    fn fits(self, shape: &Shape) -> bool {
        match self {
            Self::Decimal { precision, scale } => {
                let room = match shape {
                    Shape::Bytes => true,
                    Shape::Fixed(Fixed { size, .. }) => precision <= decimal_digits(*size),
                    _ => false,
                };
                room && precision > 0 && scale <= precision
            }
            Self::BigDecimal => matches!(shape, Shape::Bytes),
            Self::Uuid => matches!(shape, Shape::String | Shape::Fixed(Fixed { size: 16, .. })),
            Self::Duration => matches!(shape, Shape::Fixed(Fixed { size: 12, .. })),
            Self::Date | Self::TimeMillis => matches!(shape, Shape::Int),
            Self::TimeMicros
            | Self::TimestampMillis
            | Self::TimestampMicros
            | Self::TimestampNanos
            | Self::LocalTimestampMillis
            | Self::LocalTimestampMicros
            | Self::LocalTimestampNanos => matches!(shape, Shape::Long),
        }
    }
}

fn decimal(props: &Members) -> Option<LogicalType> {
    let whole = |name: &str| match props.get(name) {
        Some(Json::Integer(value)) => u32::try_from(*value).ok().map(Some),
        Some(_) => None,
        None => Some(None),
    };
    Some(LogicalType::Decimal { precision: whole("precision")??, scale: whole("scale")?.unwrap_or(0) })
}

/// How many decimal digits so many bytes of two's complement always hold.
fn decimal_digits(size: u32) -> u32 {
    let bits = f64::from(size) * 8.0 - 1.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count of digits")]
    let digits = (bits * std::f64::consts::LOG10_2).floor() as u32;
    digits
}
