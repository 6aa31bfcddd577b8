//! The types of fields, and the grammar in which they are written.

use std::fmt;

use serde_json::{Value, json};
use tidegate_yaml::nearest::nearest;
use tidegate_yaml::shape::Word;

/// Fractions of a second that a timestamp keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecondFraction {
    /// `timestamp(ms)`
    Millis,
    /// `timestamp(us)`
    Micros,
    /// `timestamp(ns)`
    Nanos,
}

impl SecondFraction {
    /// Digits after the point.
    #[must_use]
    pub const fn digits(self) -> u8 {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }
}

/// A type without parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `string`
    String,
    /// `enum<NAME>`
    Enum(String),
    /// `bool`
    Bool,
    /// `i8` to `i64`, `u8` to `u64`
    Integer {
        /// Whether it has a sign.
        signed: bool,
        /// Its width: 8, 16, 32 or 64.
        bits: u8,
    },
    /// `f32`, `f64`
    Float {
        /// Its width: 32 or 64.
        bits: u8,
    },
    /// `decimal(p,s)`
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `timestamp(ms)`, `timestamp(us)`, `timestamp(ns)`
    Timestamp(SecondFraction),
    /// `date`
    Date,
    /// `duration_ms`
    Duration,
    /// `uuid`
    Uuid,
    /// `ip`
    Ip,
    /// `url`
    Url,
    /// `email`
    Email,
    /// `geohash(n)`
    Geohash {
        /// Characters, 1 to 12.
        chars: u8,
    },
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// A type without parts.
    Scalar(Scalar),
    /// `optional<T>`: may be absent or null.
    Optional(Box<FieldType>),
    /// `array<T>`
    Array(Box<FieldType>),
    /// `map<V>`: keys are texts.
    Map(Box<FieldType>),
    /// `object`: its members stand under `fields`.
    Object,
    /// `json`: an object about which nothing is known.
    Json,
    /// `any`: a value of whatever type.
    Any,
}

impl FieldType {
    /// The type without `optional`.
    #[must_use]
    pub fn required(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner,
            Self::Scalar(_) | Self::Array(_) | Self::Map(_) | Self::Object | Self::Json | Self::Any => self,
        }
    }

    /// Whether a value may be absent or null.
    #[must_use]
    pub const fn optional(&self) -> bool {
        matches!(self, Self::Optional(_))
    }

    /// Whether the value that is optional may be null. ClickHouse has no null of lists and maps: one that is not there
    /// is left out, and empty in its column.
    #[must_use]
    pub(crate) const fn may_be_null(&self) -> bool {
        match self {
            Self::Array(_) | Self::Map(_) => false,
            Self::Scalar(_) | Self::Optional(_) | Self::Object | Self::Json | Self::Any => true,
        }
    }

    /// The type without parts that this is, optional or not.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match self.required() {
            Self::Scalar(scalar) => Some(scalar),
            Self::Optional(_) | Self::Array(_) | Self::Map(_) | Self::Object | Self::Json | Self::Any => None,
        }
    }

    /// The type without parts of the value, or of each value in it: what `min`, `max`, `max_length` and `pattern` are
    /// about.
    #[must_use]
    pub fn innermost(&self) -> Option<&Scalar> {
        match self {
            Self::Optional(inner) | Self::Array(inner) | Self::Map(inner) => inner.innermost(),
            Self::Scalar(scalar) => Some(scalar),
            Self::Object | Self::Json | Self::Any => None,
        }
    }

    /// Whether it is a list or map of `any` that may be absent: ClickHouse makes no empty one of it by default.
    #[must_use]
    pub(crate) fn absent_list_of_any(&self) -> bool {
        fn of_any(ty: &FieldType) -> bool {
            match ty {
                FieldType::Array(inner) | FieldType::Map(inner) | FieldType::Optional(inner) => of_any(inner),
                FieldType::Any => true,
                FieldType::Scalar(_) | FieldType::Object | FieldType::Json => false,
            }
        }
        self.optional() && !self.required().may_be_null() && of_any(self.required())
    }

    /// Whether members are described under `fields`.
    #[must_use]
    pub fn has_members(&self) -> bool {
        match self {
            Self::Optional(inner) | Self::Array(inner) | Self::Map(inner) => inner.has_members(),
            Self::Object => true,
            Self::Scalar(_) | Self::Json | Self::Any => false,
        }
    }

    /// The enums that it names.
    #[must_use]
    pub fn enum_name(&self) -> Option<&str> {
        match self {
            Self::Optional(inner) | Self::Array(inner) | Self::Map(inner) => inner.enum_name(),
            Self::Scalar(Scalar::Enum(name)) => Some(name),
            Self::Scalar(_) | Self::Object | Self::Json | Self::Any => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Enum(name) => write!(f, "enum<{name}>"),
            Self::Bool => f.write_str("bool"),
            Self::Integer { signed, bits } => write!(f, "{}{bits}", if *signed { 'i' } else { 'u' }),
            Self::Float { bits } => write!(f, "f{bits}"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Timestamp(fraction) => write!(f, "timestamp({})", fraction.as_str()),
            Self::Date => f.write_str("date"),
            Self::Duration => f.write_str("duration_ms"),
            Self::Uuid => f.write_str("uuid"),
            Self::Ip => f.write_str("ip"),
            Self::Url => f.write_str("url"),
            Self::Email => f.write_str("email"),
            Self::Geohash { chars } => write!(f, "geohash({chars})"),
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::Optional(inner) => write!(f, "optional<{inner}>"),
            Self::Array(inner) => write!(f, "array<{inner}>"),
            Self::Map(inner) => write!(f, "map<{inner}>"),
            Self::Object => f.write_str("object"),
            Self::Json => f.write_str("json"),
            Self::Any => f.write_str("any"),
        }
    }
}

const PLAIN: [(&str, Scalar); 19] = [
    ("string", Scalar::String),
    ("bool", Scalar::Bool),
    ("i8", Scalar::Integer { signed: true, bits: 8 }),
    ("i16", Scalar::Integer { signed: true, bits: 16 }),
    ("i32", Scalar::Integer { signed: true, bits: 32 }),
    ("i64", Scalar::Integer { signed: true, bits: 64 }),
    ("u8", Scalar::Integer { signed: false, bits: 8 }),
    ("u16", Scalar::Integer { signed: false, bits: 16 }),
    ("u32", Scalar::Integer { signed: false, bits: 32 }),
    ("u64", Scalar::Integer { signed: false, bits: 64 }),
    ("f32", Scalar::Float { bits: 32 }),
    ("f64", Scalar::Float { bits: 64 }),
    ("date", Scalar::Date),
    ("duration_ms", Scalar::Duration),
    ("uuid", Scalar::Uuid),
    ("ip", Scalar::Ip),
    ("url", Scalar::Url),
    ("email", Scalar::Email),
    ("timestamp", Scalar::Timestamp(SecondFraction::Millis)),
];

/// Deeper types than any event has; the reader of types recurses.
const DEPTH_MAX: usize = 8;

impl Word for FieldType {
    const EXPECTED: &'static str =
        "a type such as `string`, `u32`, `optional<timestamp(ms)>` or `enum<platform>`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        let ty = parse(text.trim(), DEPTH_MAX)?;
        match &ty {
            Self::Optional(inner) if inner.optional() => Err(Some("`optional` once is enough")),
            _ => Ok(ty),
        }
    }

    fn word_schema() -> Value {
        let scalar = "string|bool|[iu](8|16|32|64)|f32|f64|decimal\\([0-9]{1,2}, ?[0-9]{1,2}\\)|timestamp(\\((ms|us|ns)\\))?|date|\
                      duration_ms|uuid|ip|url|email|geohash\\([0-9]{1,2}\\)|enum<[a-z][a-z0-9_]*>|object|json|any";
        json!({"type": "string", "pattern": format!("^((optional|array|map)<)*({scalar})>*$")})
    }
}

fn parse(text: &str, depth: usize) -> Result<FieldType, Option<&'static str>> {
    let depth = depth.checked_sub(1).ok_or(Some("types nest at most 8 deep"))?;
    if let Some((outer, inner)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        return generic(outer, inner.trim(), depth);
    }
    if let Some((outer, inside)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        return sized(outer, inside).map(FieldType::Scalar);
    }
    match text {
        "object" => return Ok(FieldType::Object),
        "json" => return Ok(FieldType::Json),
        "any" => return Ok(FieldType::Any),
        "decimal" => return Err(Some("write how many digits: `\"decimal(18,6)\"`")),
        "geohash" => return Err(Some("write how many characters: `geohash(7)`")),
        "enum" => return Err(Some("name the enum: `enum<platform>`")),
        _ => {}
    }
    if text.ends_with('?') {
        return Err(Some("a type that may be absent is `optional<..>`"));
    }
    match PLAIN.iter().find(|(name, _)| *name == text) {
        Some((_, scalar)) => Ok(FieldType::Scalar(scalar.clone())),
        None => Err(meant(text)),
    }
}

/// What other systems' names stand for, then the nearest of ours.
fn meant(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "int" | "integer" | "long" | "number" | "bigint" => {
            Some("integers are `i8` to `i64` and `u8` to `u64`; other numbers `f32`, `f64`, `decimal(p,s)`")
        }
        "float" | "double" => Some("write `f32` or `f64`"),
        "text" | "str" | "varchar" => Some("write `string`"),
        "boolean" => Some("write `bool`"),
        "datetime" | "date-time" | "time" => Some("write `timestamp(ms)`"),
        "list" => Some("write `array<..>`"),
        "dict" | "record" | "struct" => Some("write `object` with `fields`, or `map<..>`"),
        lower => match nearest(lower, PLAIN.iter().map(|(name, _)| *name))? {
            "string" => Some("did you mean `string`?"),
            "timestamp" => Some("did you mean `timestamp(ms)`?"),
            "duration_ms" => Some("did you mean `duration_ms`?"),
            "email" => Some("did you mean `email`?"),
            _ => None,
        },
    }
}

fn generic(outer: &str, inner: &str, depth: usize) -> Result<FieldType, Option<&'static str>> {
    match outer {
        "enum" => {
            let named = !inner.is_empty()
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if named {
                Ok(FieldType::Scalar(Scalar::Enum(inner.to_owned())))
            } else {
                Err(Some("name the enum: `enum<platform>`"))
            }
        }
        "map" if inner.contains(',') => Err(Some("keys are always texts: write `map<V>`")),
        "optional" => Ok(FieldType::Optional(Box::new(parse(inner, depth)?))),
        "array" => Ok(FieldType::Array(Box::new(parse(inner, depth)?))),
        "map" => Ok(FieldType::Map(Box::new(parse(inner, depth)?))),
        _ => Err(Some("types with a type in them are `optional<T>`, `array<T>`, `map<V>` and `enum<NAME>`")),
    }
}

fn sized(outer: &str, inside: &str) -> Result<Scalar, Option<&'static str>> {
    match outer {
        "timestamp" => match inside.trim() {
            "ms" => Ok(Scalar::Timestamp(SecondFraction::Millis)),
            "us" => Ok(Scalar::Timestamp(SecondFraction::Micros)),
            "ns" => Ok(Scalar::Timestamp(SecondFraction::Nanos)),
            _ => Err(Some("timestamps are `timestamp(ms)`, `timestamp(us)` and `timestamp(ns)`")),
        },
        "decimal" => {
            const HINT: Option<&str> =
                Some("write `\"decimal(p,s)\"` with 1 <= p <= 38 and s <= p, in quotes");
            let (precision, scale) = inside.split_once(',').ok_or(HINT)?;
            let precision: u8 = precision.trim().parse().map_err(|_| HINT)?;
            let scale: u8 = scale.trim().parse().map_err(|_| HINT)?;
            if (1..=38).contains(&precision) && scale <= precision {
                Ok(Scalar::Decimal { precision, scale })
            } else {
                Err(HINT)
            }
        }
        "geohash" => match inside.trim().parse() {
            Ok(chars @ 1..=12) => Ok(Scalar::Geohash { chars }),
            _ => Err(Some("a geohash has 1 to 12 characters")),
        },
        _ => Err(Some("types with a size are `decimal(p,s)`, `timestamp(ms)` and `geohash(n)`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_as_it_was_read() {
        for text in [
            "string",
            "enum<platform>",
            "optional<timestamp(us)>",
            "map<array<u8>>",
            "decimal(12,6)",
            "geohash(7)",
            "optional<array<object>>",
            "json",
            "optional<any>",
            "duration_ms",
        ] {
            assert_eq!(FieldType::parse_word(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_type_of_another_system_is_answered_with_ours() {
        for text in [
            "int",
            "string?",
            "map<string,string>",
            "decimal(40,2)",
            "optional<optional<u8>>",
            "datetime",
            "strng",
        ] {
            assert!(FieldType::parse_word(text).unwrap_err().is_some(), "{text}");
        }
        let deep = format!("{}u8{}", "array<".repeat(10_000), ">".repeat(10_000));
        assert!(FieldType::parse_word(&deep).is_err());
    }
}
