//! ClickHouse's data types as the server names them.

use std::fmt;

use crate::parse;

/// How deep types may be nested in one another. The server's own limit on a type's syntax tree is of
/// the same order; what recurses over a [`Type`] may rely on it.
pub const DEPTH_MAX: usize = 64;

/// A ClickHouse data type. [`Type::parse`] reads what the server prints, `Display` prints it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// `Bool`.
    Bool,
    /// `Int8`.
    Int8,
    /// `Int16`.
    Int16,
    /// `Int32`.
    Int32,
    /// `Int64`.
    Int64,
    /// `Int128`.
    Int128,
    /// `Int256`.
    Int256,
    /// `UInt8`.
    UInt8,
    /// `UInt16`.
    UInt16,
    /// `UInt32`.
    UInt32,
    /// `UInt64`.
    UInt64,
    /// `UInt128`.
    UInt128,
    /// `UInt256`.
    UInt256,
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `BFloat16`: the upper half of a `Float32`.
    BFloat16,
    /// `Decimal(precision, scale)`.
    Decimal {
        /// Decimal digits, 1 to 76.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// `String`: any bytes.
    String,
    /// `FixedString(width)`: exactly `width` bytes, shorter values are padded with zero bytes.
    FixedString(usize),
    /// `UUID`.
    Uuid,
    /// `IPv4`.
    IPv4,
    /// `IPv6`.
    IPv6,
    /// `Date`: days from 1970-01-01 to 2149-06-06.
    Date,
    /// `Date32`: days from 1900-01-01 to 2299-12-31.
    Date32,
    /// `DateTime`: seconds from 1970 to 2106.
    DateTime {
        /// The time zone in which text is read and printed, if the type names one.
        timezone: Option<String>,
    },
    /// `DateTime64`: ticks of `10^-precision` seconds from 1900 to 2299.
    DateTime64 {
        /// Digits of the second, 0 to 9.
        precision: u8,
        /// The time zone in which text is read and printed, if the type names one.
        timezone: Option<String>,
    },
    /// `Time`: seconds, from -999:59:59 to 999:59:59.
    Time,
    /// `Time64`: ticks of `10^-precision` seconds, same range.
    Time64 {
        /// Digits of the second, 0 to 9.
        precision: u8,
    },
    /// `Enum8`: names and values, in the server's order (by value).
    Enum8(Vec<(String, i8)>),
    /// `Enum16`: names and values, in the server's order (by value).
    Enum16(Vec<(String, i16)>),
    /// `LowCardinality(T)`.
    LowCardinality(Box<Type>),
    /// `Nullable(T)`.
    Nullable(Box<Type>),
    /// `Array(T)`.
    Array(Box<Type>),
    /// `Map(K, V)`.
    Map(Box<Type>, Box<Type>),
    /// `Tuple(T, ..)` or `Tuple(name T, ..)`.
    Tuple(Vec<TupleElement>),
    /// `Nested(name T, ..)`, as a table made with `flatten_nested=0` has it: an array of tuples.
    Nested(Vec<(String, Type)>),
    /// `JSON(..)`.
    Json(Box<JsonType>),
    /// `Variant(T, ..)`, sorted by the alternatives' names as the server sorts them;
    /// [`Type::variant`] makes one.
    Variant(Vec<Type>),
    /// `Dynamic`, `Dynamic(max_types=N)`.
    Dynamic {
        /// How many types are stored apart, if the type names it.
        max_types: Option<u8>,
    },
    /// `Nothing`: the type of `NULL` and of an empty array's elements.
    Nothing,
    /// `SimpleAggregateFunction(function, T)`: stored as `T`.
    SimpleAggregateFunction {
        /// The function with its parameters, as the server prints it.
        function: String,
        /// The type that is stored.
        ty: Box<Type>,
    },
    /// A name for another type: `Point`, `Ring`, `LineString`, `MultiLineString`, `Polygon`,
    /// `MultiPolygon`.
    Alias {
        /// The name.
        name: &'static str,
        /// The type that it stands for.
        ty: Box<Type>,
    },
    /// A type that Tidegate does not write, as the server printed it. A table may have such a column
    /// as long as no row gives it.
    Other(String),
}

/// One element of a [`Type::Tuple`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TupleElement {
    /// The name, if the tuple has names.
    pub name: Option<String>,
    /// The type.
    pub ty: Type,
}

/// What stands in the brackets of `JSON(..)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct JsonType {
    /// `max_dynamic_types=N`.
    pub max_dynamic_types: Option<u64>,
    /// `max_dynamic_paths=N`.
    pub max_dynamic_paths: Option<u64>,
    /// Paths (`a.b`) with a stated type.
    pub paths: Vec<(String, Type)>,
    /// `SKIP path`.
    pub skip_paths: Vec<String>,
    /// `SKIP REGEXP 'pattern'`.
    pub skip_regexps: Vec<String>,
}

/// A text that is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type `{text}`: expected {expected} at byte {position}")]
pub struct TypeError {
    /// The text, shortened to its first 200 characters.
    pub text: String,
    /// The byte at which it stops to be a type.
    pub position: usize,
    /// What would have been right there.
    pub expected: &'static str,
}

impl Type {
    /// Reads a type as `DESCRIBE TABLE` prints it. An unknown name, with whatever balanced brackets
    /// follow it, is [`Type::Other`].
    ///
    /// # Errors
    /// When the text is not a type: brackets or quotes that don't match, arguments of a known type
    /// that it does not take, nesting deeper than [`DEPTH_MAX`], or anything after the end.
    pub fn parse(text: &str) -> Result<Self, TypeError> {
        parse::parse(text)
    }

    /// A `Variant` of these alternatives, sorted and without repetitions, as the server has it.
    #[must_use]
    pub fn variant(alternatives: Vec<Self>) -> Self {
        let mut named: Vec<(String, Self)> =
            alternatives.into_iter().map(|ty| (ty.to_string(), ty)).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named.dedup_by(|a, b| a.0 == b.0);
        Self::Variant(named.into_iter().map(|(_, ty)| ty).collect())
    }

    /// `Nullable(self)`.
    #[must_use]
    pub fn nullable(self) -> Self {
        Self::Nullable(Box::new(self))
    }

    /// `Array(self)`.
    #[must_use]
    pub fn array(self) -> Self {
        Self::Array(Box::new(self))
    }

    /// The type that is stored: without `SimpleAggregateFunction` and aliases around it.
    #[must_use]
    pub fn stored(&self) -> &Self {
        let mut ty = self;
        while let Self::SimpleAggregateFunction { ty: stored, .. } | Self::Alias { ty: stored, .. } = ty {
            ty = stored;
        }
        ty
    }

    /// Whether it is one of the integers of 8 to 256 bits, signed or not. Not so is what is stored as one, such as
    /// a date.
    #[must_use]
    pub const fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::Int8
                | Self::Int16
                | Self::Int32
                | Self::Int64
                | Self::Int128
                | Self::Int256
                | Self::UInt8
                | Self::UInt16
                | Self::UInt32
                | Self::UInt64
                | Self::UInt128
                | Self::UInt256
        )
    }

    /// Whether `NULL` is a value of the type: `Nullable`, `LowCardinality(Nullable)`, `Variant`,
    /// `Dynamic` and `Nothing`.
    #[must_use]
    pub fn accepts_null(&self) -> bool {
        match self.stored() {
            Self::LowCardinality(ty) => ty.accepts_null(),
            stored => {
                matches!(stored, Self::Nullable(_) | Self::Variant(_) | Self::Dynamic { .. } | Self::Nothing)
            }
        }
    }

    /// Whether a column of the type can be built: nothing in it is [`Type::Other`].
    #[must_use]
    pub fn supported(&self) -> bool {
        crate::Column::for_type(self).is_ok()
    }
}

impl std::str::FromStr for Type {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        Self::parse(text)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            Self::FixedString(width) => write!(f, "FixedString({width})"),
            Self::DateTime { timezone: Some(zone) } => write!(f, "DateTime({})", Quoted(zone)),
            Self::DateTime64 { precision, timezone: None } => write!(f, "DateTime64({precision})"),
            Self::DateTime64 { precision, timezone: Some(zone) } => {
                write!(f, "DateTime64({precision}, {})", Quoted(zone))
            }
            Self::Time64 { precision } => write!(f, "Time64({precision})"),
            Self::Enum8(values) => write_enum(f, "Enum8", values),
            Self::Enum16(values) => write_enum(f, "Enum16", values),
            Self::LowCardinality(ty) => write!(f, "LowCardinality({ty})"),
            Self::Nullable(ty) => write!(f, "Nullable({ty})"),
            Self::Array(ty) => write!(f, "Array({ty})"),
            Self::Map(key, value) => write!(f, "Map({key}, {value})"),
            Self::Tuple(elements) => write_list(f, "Tuple", elements, |f, element| match &element.name {
                Some(name) => write!(f, "{} {}", Identifier(name), element.ty),
                None => write!(f, "{}", element.ty),
            }),
            Self::Nested(parts) => {
                write_list(f, "Nested", parts, |f, (name, ty)| write!(f, "{} {ty}", Identifier(name)))
            }
            Self::Json(json) => write_json(f, json),
            Self::Variant(types) => write_list(f, "Variant", types, |f, ty| write!(f, "{ty}")),
            Self::Dynamic { max_types: Some(n) } => write!(f, "Dynamic(max_types={n})"),
            Self::SimpleAggregateFunction { function, ty } => {
                write!(f, "SimpleAggregateFunction({function}, {ty})")
            }
            Self::Alias { name, .. } => f.write_str(name),
            Self::Other(text) => f.write_str(text),
            Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Int128
            | Self::Int256
            | Self::UInt8
            | Self::UInt16
            | Self::UInt32
            | Self::UInt64
            | Self::UInt128
            | Self::UInt256
            | Self::Float32
            | Self::Float64
            | Self::BFloat16
            | Self::String
            | Self::Uuid
            | Self::IPv4
            | Self::IPv6
            | Self::Date
            | Self::Date32
            | Self::DateTime { timezone: None }
            | Self::Time
            | Self::Dynamic { max_types: None }
            | Self::Nothing => f.write_str(self.plain_name().unwrap_or_default()),
        }
    }
}

impl Type {
    fn plain_name(&self) -> Option<&'static str> {
        PLAIN.iter().find(|(_, ty)| ty == self).map(|(name, _)| *name)
    }

    /// The type that a name without brackets stands for.
    pub(crate) fn of_plain_name(name: &str) -> Option<Self> {
        PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, ty)| ty.clone())
    }
}

static PLAIN: [(&str, Type); 26] = [
    ("Bool", Type::Bool),
    ("Int8", Type::Int8),
    ("Int16", Type::Int16),
    ("Int32", Type::Int32),
    ("Int64", Type::Int64),
    ("Int128", Type::Int128),
    ("Int256", Type::Int256),
    ("UInt8", Type::UInt8),
    ("UInt16", Type::UInt16),
    ("UInt32", Type::UInt32),
    ("UInt64", Type::UInt64),
    ("UInt128", Type::UInt128),
    ("UInt256", Type::UInt256),
    ("Float32", Type::Float32),
    ("Float64", Type::Float64),
    ("BFloat16", Type::BFloat16),
    ("String", Type::String),
    ("UUID", Type::Uuid),
    ("IPv4", Type::IPv4),
    ("IPv6", Type::IPv6),
    ("Date", Type::Date),
    ("Date32", Type::Date32),
    ("DateTime", Type::DateTime { timezone: None }),
    ("Time", Type::Time),
    ("Dynamic", Type::Dynamic { max_types: None }),
    ("Nothing", Type::Nothing),
];

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{name}(")?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    f.write_str(")")
}

fn write_enum<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    values: &[(String, T)],
) -> fmt::Result {
    write_list(f, name, values, |f, (name, value)| write!(f, "{} = {value}", Quoted(name)))
}

fn write_json(f: &mut fmt::Formatter<'_>, json: &JsonType) -> fmt::Result {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(json.max_dynamic_types.map(|n| format!("max_dynamic_types={n}")));
    parts.extend(json.max_dynamic_paths.map(|n| format!("max_dynamic_paths={n}")));
    parts.extend(json.paths.iter().map(|(path, ty)| format!("{} {ty}", Path(path))));
    parts.extend(json.skip_paths.iter().map(|path| format!("SKIP {}", Path(path))));
    parts.extend(json.skip_regexps.iter().map(|pattern| format!("SKIP REGEXP {}", Quoted(pattern))));
    if parts.is_empty() {
        return f.write_str("JSON");
    }
    write_list(f, "JSON", &parts, |f, part| f.write_str(part))
}

/// A string literal as the server prints it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, '\'')
    }
}

/// An identifier as the server prints it: in back quotes unless it is a plain word.
struct Identifier<'a>(&'a str);

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if plain_word(self.0) { f.write_str(self.0) } else { write_escaped(f, self.0, '`') }
    }
}

/// A path of a JSON type as the server prints it: in back quotes if it has a dot.
struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.eq_ignore_ascii_case("skip") {
            return write_escaped(f, self.0, '`');
        }
        Identifier(self.0).fmt(f)
    }
}

/// Words that the server quotes although they are plain.
const QUOTED_WORDS: [&str; 7] = ["all", "distinct", "from", "null", "select", "table", "values"];

fn plain_word(word: &str) -> bool {
    let mut bytes = word.bytes();
    let first = bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic());
    first
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && !QUOTED_WORDS.iter().any(|quoted| quoted.eq_ignore_ascii_case(word))
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    use fmt::Write as _;
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0' => f.write_str("\\0")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{quote}")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}
