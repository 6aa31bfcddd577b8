//! The usual values of a position: read, checked and written in one step.
//!
//! Values of a stream are alike. A text without escapes within its length, or a number without an exponent
//! within its bounds, is settled here in few instructions; any other value is left untouched, nothing passed
//! over and nothing written, for the walk. So the walk alone says what a rule means and why a record is
//! refused, and what is usual decides nothing but speed: a value that is accepted here, the walk would accept
//! too, and write alike.

use tidegate_native::Column;
use tidegate_schema::{Format, NumberRules, StringRules, Types, ipv4};

use crate::instant::usual_date_time;
use crate::node::{Node, Shape, Writer};
use crate::reader::{PlainNumber, Reader};
use crate::scalar::{DATE_TIME_64, Kind, Scalar, push_small, uuid};

/// What most values of a node are.
#[derive(Debug, Clone)]
pub(crate) enum Usual {
    /// Nothing in particular.
    None,
    /// A text without escapes.
    Text { rules: TextRules, to: TextTo, into: Place },
    /// A number of few digits.
    Number { low: i64, high: i64, whole: bool, to: NumberTo, into: Place },
}

/// What is checked of a text.
#[derive(Debug, Clone)]
pub(crate) struct TextRules {
    bytes_min: usize,
    bytes_max: usize,
    /// From so many bytes on there are characters enough whatever they are; below, only if all are ASCII.
    bytes_enough: usize,
    one_of: Option<Box<[Box<[u8]>]>>,
    format: Option<Box<Format>>,
}

/// How a text is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TextTo {
    String,
    Dictionary,
    Uuid,
    IPv4,
    /// Ticks of which a second has `ticks`, each of `nanos` nanoseconds; seconds from `first` up to `end`.
    DateTime {
        ticks: i64,
        nanos: u32,
        first: i64,
        end: i64,
    },
}

/// How a number is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NumberTo {
    Integer,
    Double,
    Decimal { scale: u8, precision: u8 },
}

/// The column that takes the value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    at: usize,
    within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The column itself.
    Itself,
    /// The values of a Nullable.
    Nullable,
    /// The elements of an array whose row something else finishes.
    Array,
}

impl Usual {
    /// Finds what is usual for a node that is otherwise complete.
    pub(crate) fn of(node: &Node) -> Self {
        let Shape::Column(at, writer) = &node.shape else { return Self::None };
        let (within, writer) = match writer {
            Writer::Nullable { values, .. } => (Within::Nullable, values.as_ref()),
            Writer::Element(values) => (Within::Array, values.as_ref()),
            writer => (Within::Itself, writer),
        };
        let (scalar, dictionary) = match writer {
            Writer::Scalar(scalar) => (scalar, false),
            Writer::LowCardinality(scalar) => (scalar, true),
            _ => return Self::None,
        };
        // A dictionary knows NULL itself: its column is no Nullable.
        let within = if dictionary && within == Within::Nullable { Within::Itself } else { within };
        let into = Place { at: *at, within };
        let found = if node.once { Self::text(node, scalar, dictionary, into) } else { None };
        let number = || if node.once && !dictionary { Self::number(node, scalar, into) } else { None };
        found.or_else(number).unwrap_or(Self::None)
    }

    fn text(node: &Node, scalar: &Scalar, dictionary: bool, into: Place) -> Option<Self> {
        let to = match (&scalar.kind, dictionary) {
            (Kind::String, true) => TextTo::Dictionary,
            (_, true) => return None,
            (Kind::String, false) => TextTo::String,
            (Kind::Uuid, false) => TextTo::Uuid,
            (Kind::IPv4, false) => TextTo::IPv4,
            (Kind::DateTime { precision, .. }, false) => {
                let digits = precision.unwrap_or(0);
                let (first, end) =
                    if precision.is_some() { DATE_TIME_64 } else { (0, i64::from(u32::MAX) + 1) };
                let nanos = 10_u32.checked_pow(9_u32.checked_sub(digits.into())?)?;
                TextTo::DateTime { ticks: 10_i64.pow(digits.into()), nanos, first, end }
            }
            _ => return None,
        };
        let rules = node.rules.as_deref();
        if rules.is_some_and(|rules| !rules.types.contains(Types::STRING)) {
            return None;
        }
        let rules = TextRules::of(rules.and_then(|rules| rules.strings.as_ref()), to)?;
        Some(Self::Text { rules, to, into })
    }

    fn number(node: &Node, scalar: &Scalar, into: Place) -> Option<Self> {
        let to = match scalar.kind {
            Kind::Integer { .. } => NumberTo::Integer,
            Kind::Float64 => NumberTo::Double,
            Kind::Decimal { scale, precision } if precision <= 18 => NumberTo::Decimal { scale, precision },
            _ => return None,
        };
        let rules = node.rules.as_deref();
        let types = rules.map_or(Types::ALL, |rules| rules.types);
        if !types.contains(Types::INTEGER) {
            return None;
        }
        let whole = !types.contains(Types::NUMBER) || matches!(to, NumberTo::Integer);
        let bounds = rules.and_then(|rules| rules.numbers.as_ref()).map(NumberRules::integers);
        let (low, high) = bounds.unwrap_or(Some((i64::MIN, i64::MAX)))?;
        Some(Self::Number { low, high, whole, to, into })
    }

    /// Reads the value that is next, if it is a usual one. Otherwise nothing but white space is passed over.
    #[inline]
    pub(crate) fn read(&self, reader: &mut Reader<'_>, columns: &mut [Column]) -> bool {
        match self {
            Self::None => false,
            Self::Text { rules, to, into } => {
                let Some((start, end)) = reader.plain_string() else { return false };
                let text = &reader.bytes()[start..end];
                let written = rules.pass(text)
                    && rules.format.as_ref().is_none_or(|format| format.matches(reader.between(start, end)))
                    && into.write(columns, |column| to.write(text, column));
                if written {
                    reader.rewind(end + 1);
                }
                written
            }
            Self::Number { low, high, whole, to, into } => {
                let Some((number, end)) = reader.plain_number() else { return false };
                let written = (number.places == 0 || !whole)
                    && number.within(*low, *high)
                    && into.write(columns, |column| to.write(number, column));
                if written {
                    reader.rewind(end);
                }
                written
            }
        }
    }
}

impl TextRules {
    fn of(rules: Option<&StringRules>, to: TextTo) -> Option<Self> {
        let mut found =
            Self { bytes_min: 0, bytes_max: usize::MAX, bytes_enough: 0, one_of: None, format: None };
        let Some(rules) = rules else { return Some(found) };
        // The formats of which the column's own reading is proof.
        let implied = match to {
            TextTo::String | TextTo::Dictionary => "",
            TextTo::Uuid => "uuid",
            TextTo::IPv4 => "ipv4",
            TextTo::DateTime { .. } => "date-time",
        };
        let mut formats = rules.formats().iter().filter(|format| format.name() != implied);
        found.format = formats.next().cloned().map(Box::new);
        if rules.has_patterns() || formats.next().is_some() {
            return None;
        }
        // A character has one to four bytes.
        let (least, most) = rules.length();
        found.bytes_min = usize::try_from(least.unwrap_or(0)).ok()?;
        found.bytes_enough = found.bytes_min.checked_mul(4)?;
        found.bytes_max = most.map_or(Some(usize::MAX), |most| usize::try_from(most).ok())?;
        found.one_of = rules.one_of().map(|list| list.iter().map(|text| text.as_bytes().into()).collect());
        Some(found)
    }

    #[inline]
    fn pass(&self, text: &[u8]) -> bool {
        let length = text.len();
        self.bytes_min <= length
            && length <= self.bytes_max
            && (self.bytes_enough <= length || text.is_ascii())
            && self.one_of.as_ref().is_none_or(|listed| listed.iter().any(|one| **one == *text))
    }
}

impl TextTo {
    #[inline]
    fn write(self, text: &[u8], column: &mut Column) -> bool {
        match (self, column) {
            (Self::String, Column::String(values)) => {
                values.push(text);
                true
            }
            (Self::Dictionary, Column::LowCardinality(values)) => values.push(text),
            (Self::Uuid, Column::Uuid(values)) => uuid(text).map(|value| values.push(value)).is_some(),
            (Self::IPv4, Column::UInt32(values)) => {
                ipv4(text).map(|address| values.push(address.into())).is_some()
            }
            (Self::DateTime { ticks, nanos, first, end }, column) => {
                let Some(instant) = usual_date_time(text) else { return false };
                let value = instant.seconds.checked_mul(ticks);
                let value = value.and_then(|value| value.checked_add(i64::from(instant.nanos / nanos)));
                let exact = instant.nanos.is_multiple_of(nanos);
                let in_range = first <= instant.seconds && instant.seconds < end;
                exact && in_range && value.is_some_and(|value| push_small(value, column))
            }
            _ => false,
        }
    }
}

impl NumberTo {
    #[inline]
    fn write(self, number: PlainNumber, column: &mut Column) -> bool {
        match (self, column) {
            (Self::Integer, column) => push_small(number.value, column),
            (Self::Double, Column::Float64(values)) => {
                number.double().map(|value| values.push(value)).is_some()
            }
            (Self::Decimal { scale, precision }, column) => {
                number.decimal(scale, precision).is_some_and(|value| push_small(value, column))
            }
            _ => false,
        }
    }
}

impl Place {
    #[inline]
    fn write(self, columns: &mut [Column], write: impl FnOnce(&mut Column) -> bool) -> bool {
        match (self.within, columns.get_mut(self.at)) {
            (Within::Itself, Some(column)) => write(column),
            (Within::Nullable, Some(Column::Nullable(nullable))) => {
                let written = write(&mut nullable.values);
                if written {
                    nullable.end_value();
                }
                written
            }
            (Within::Array, Some(Column::Array(array))) => write(&mut array.elements),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{Records, TopicPartition};
    use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
    use tidegate_schema::JsonSchema;

    use crate::{Plan, PlanOptions};

    const TYPES: [&str; 20] = [
        "String",
        "Nullable(String)",
        "LowCardinality(String)",
        "LowCardinality(Nullable(String))",
        "Array(String)",
        "Array(LowCardinality(String))",
        "UUID",
        "IPv4",
        "DateTime",
        "DateTime64(3, 'UTC')",
        "Nullable(DateTime64(9, 'UTC'))",
        "DateTime('Europe/Berlin')",
        "Int8",
        "UInt64",
        "Nullable(Int32)",
        "Int128",
        "Float64",
        "Decimal(9, 2)",
        "Decimal(18, 18)",
        "Variant(String, UInt64)",
    ];
    const SCHEMAS: [&str; 14] = [
        "{}",
        r#"{"type":"string"}"#,
        r#"{"type":["string","null"],"minLength":2,"maxLength":12}"#,
        r#"{"type":"string","minLength":1,"format":"uri"}"#,
        r#"{"format":"date-time"}"#,
        r#"{"format":"uuid"}"#,
        r#"{"format":"ipv4"}"#,
        r#"{"enum":["ab","é","1.5"]}"#,
        r#"{"pattern":"^a"}"#,
        r#"{"type":"integer","minimum":-2}"#,
        r#"{"type":"number","exclusiveMinimum":0,"maximum":1.5}"#,
        r#"{"enum":[1,2.5]}"#,
        r#"{"type":"boolean"}"#,
        r#"{"type":"array","items":{"type":"string","maxLength":3},"maxItems":2}"#,
    ];
    const VALUES: [&str; 62] = [
        r#""""#,
        r#""a""#,
        r#""ab""#,
        r#""é""#,
        r#""éé""#,
        r#""\u0061b""#,
        r#""a\"b""#,
        "\"a\tb\"",
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
        r#""unterminated"#,
        r#""https://a.b/c_d/~e""#,
        r#""https://a..b/""#,
        r#""http://a b""#,
        r#""018f4e1a-7c3b-7d2e-9f10-00000000beef""#,
        r#""018f4e1a7c3b7d2e9f1000000000beef""#,
        r#""018f4e1a-7c3b-7d2e-9f10-00000000bexf""#,
        r#""1.2.3.4""#,
        r#""1.2.3.256""#,
        r#""01.2.3.4""#,
        r#""2024-02-29T12:34:56Z""#,
        r#""2023-02-29T12:34:56Z""#,
        r#""2024-02-29T12:34:56.123Z""#,
        r#""2024-02-29T12:34:56.123456789Z""#,
        r#""2024-02-29T12:34:56.1234567890Z""#,
        r#""2024-02-29T12:34:56.Z""#,
        r#""2024-02-29T12:34:56+01:30""#,
        r#""2024-02-29T12:34:56-24:00""#,
        r#""2024-02-29T12:34:56+0130""#,
        r#""2024-02-29T12:34:56""#,
        r#""2024-02-29T12:34:56Zx""#,
        r#""2024-02-29t12:34:56z""#,
        r#""2024-02-29 12:34:56Z""#,
        r#""2024-02-29T12:34:60Z""#,
        r#""2016-12-31T23:59:60Z""#,
        r#""1899-12-31T23:59:59.999Z""#,
        r#""1969-12-31T23:59:59.5Z""#,
        r#""2299-12-31T23:59:59.999Z""#,
        r#""2300-01-01T00:00:00Z""#,
        r#""0000-00-00T00:00:00Z""#,
        "0",
        "-0",
        "-0.0",
        "0.0",
        "1",
        "-1",
        "01",
        "-",
        "1.",
        "1.0",
        "1.5",
        "1.50",
        "2.5",
        "0.1",
        "0.123456789012345678",
        "123456789012345678",
        "1234567890123456789",
        "9007199254740993",
        "1e2",
        "1.5E-1",
        "true",
        "null",
        r#"["ab", "é" ,"a"]"#,
    ];

    fn plan(ty: &str, schema: &str) -> Plan {
        let column =
            TableColumn { name: "x".to_owned(), ty: Type::parse(ty).unwrap(), default: ColumnDefault::None };
        let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: vec![column] };
        let schema = format!(r#"{{"properties":{{"x":{schema}}}}}"#);
        Plan::compile(&table, Some(&JsonSchema::parse(&schema).unwrap()), &PlanOptions::default()).unwrap()
    }

    #[test]
    fn what_is_usual_decides_nothing_but_speed() {
        let source = TopicPartition::new("t", 0);
        let mut n_accepted = 0;
        for (ty, schema) in TYPES.iter().flat_map(|ty| SCHEMAS.map(|schema| (*ty, schema))) {
            let quick = plan(ty, schema);
            let careful = plan(ty, schema).without_usual();
            let (mut by_quick, mut by_care) = (quick.block(), careful.block());
            for value in VALUES {
                let json = format!(r#"{{"x" : {value}}}"#);
                let mut records = Records::new(source.clone());
                records.push(0, None, None, Some(json.as_bytes()), []);
                let record = records.iter().next().unwrap();
                let verdict = quick.append(&mut by_quick, &source, &record);
                assert_eq!(verdict, careful.append(&mut by_care, &source, &record), "{value} {ty} {schema}");
                assert_eq!(by_quick.column("x"), by_care.column("x"), "{value} {ty} {schema}");
                n_accepted += usize::from(verdict.is_ok());
            }
        }
        assert!(n_accepted > 1000, "{n_accepted} values were accepted");
    }
}
