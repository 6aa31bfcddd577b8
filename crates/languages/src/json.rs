//! JSON as Jackson reads and prints it: the stored text of a schema decides its id, so it must come out
//! byte for byte as the Java registry would print it.
//!
//! Members keep their order, of equal names the last value wins in the first one's place, integers and
//! floating-point numbers are different things. Depth is bounded, so that whoever walks a tree may
//! recurse.

mod print;
mod read;

use indexmap::IndexMap;

pub(crate) use print::write_text;
pub use print::{java_decimal, java_double};
pub use read::{Dialect, JsonError};

/// How deep arrays and objects may nest. Java's reader stops at 1,000; nobody's schema needs a tenth of that.
pub const DEPTH_MAX: usize = 250;

/// The members of an object, in the order of their text.
pub type Members = IndexMap<String, Json>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that 64 bits hold.
    Integer(i64),
    /// The digits of an integer that they do not.
    BigInteger(String),
    /// A number with a fraction or an exponent, of [`Dialect::Avro`].
    Double(f64),
    /// Such a number of [`Dialect::Exact`], as Java's `BigDecimal` prints it.
    Decimal(String),
    /// A text.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Members),
}

impl Json {
    /// Reads a text, whole.
    ///
    /// # Errors
    /// If it is not JSON, or nests deeper than [`DEPTH_MAX`].
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, JsonError> {
        read::parse(text, dialect)
    }

    /// The member of an object; `None` of anything else.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object().and_then(|members| members.get(name))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The items, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The members, if it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Members> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The value as a floating-point number, if it is a number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "bounds are compared as the Java registry does")]
            Self::Integer(value) => Some(*value as f64),
            Self::BigInteger(digits) | Self::Decimal(digits) => digits.parse().ok(),
            Self::Double(value) => Some(*value),
            Self::Null | Self::Bool(_) | Self::String(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Whether it is a number.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::BigInteger(_) | Self::Double(_) | Self::Decimal(_))
    }

    /// The same value with the members of every object in the order of their names.
    #[must_use]
    pub fn sorted(&self) -> Self {
        match self {
            Self::Array(items) => Self::Array(items.iter().map(Self::sorted).collect()),
            Self::Object(members) => {
                let mut sorted: Members =
                    members.iter().map(|(name, value)| (name.clone(), value.sorted())).collect();
                sorted.sort_by(|a, _, b, _| utf16(a).cmp(utf16(b)));
                Self::Object(sorted)
            }
            leaf => leaf.clone(),
        }
    }
}

/// A text in Java's order of texts: by UTF-16 code units.
pub(crate) fn utf16(text: &str) -> impl Iterator<Item = u16> {
    text.encode_utf16()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn prints(dialect: Dialect, text: &str, expected: &str) {
        assert_eq!(Json::parse(text, dialect).unwrap().to_string(), expected);
    }

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        let error = Json::parse(text, Dialect::Exact).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn decimals_print_as_java_does() {
        let numbers = "[1e10, 1.0, 0.000001, 0.0000001, 1.50e3, -1.5E-9, 100, 0.0, 0e5, 12.5e-1, 1e400]";
        let expected = "[1E+10,1.0,0.000001,1E-7,1.50E+3,-1.5E-9,100,0.0,0E+5,1.25,1E+400]";
        prints(Dialect::Exact, numbers, expected);
    }

    #[test]
    fn numbers_print_as_java_does() {
        prints(
            Dialect::Avro,
            "[1e10, 0.001, 1e-4, 9999999.5, 1e7, 100, -0, -0.0]",
            "[1.0E10,0.001,1.0E-4,9999999.5,1.0E7,100,0,-0.0]",
        );
        prints(
            Dialect::Avro,
            "[5e-324, 1e23, 1.7976931348623157e308]",
            "[4.9E-324,1.0E23,1.7976931348623157E308]",
        );
        prints(
            Dialect::Avro,
            "[9223372036854775808, -9223372036854775808]",
            "[9223372036854775808,-9223372036854775808]",
        );
    }

    #[test]
    fn texts_are_escaped_as_jackson_does() {
        prints(
            Dialect::Exact,
            r#""\u00e9\u0000\u001f\u007f\/\ud83d\ude00\t""#,
            "\"é\\u0000\\u001F\u{7f}/😀\\t\"",
        );
    }

    #[test]
    fn of_equal_names_the_last_value_stands_in_the_first_place() {
        prints(Dialect::Exact, r#"{"a": 1, "b": 2, "a": 3}"#, r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        refuses("{\"a\":\n 01}", "line 2 column 2");
        refuses("[1,]", "line 1 column 4");
        refuses("", "line 1 column 1: found the end");
        refuses("\"\\ud83d\"", "surrogate");
        refuses("[\"\t\"]", "control character");
        refuses("{} x", "found `x` after the value");
        refuses("// c\n1", "found `/`");
    }

    #[test]
    fn comments_are_skipped_where_they_are_allowed() {
        let value = Json::parse("// c\n[1, /* d */ 2]", Dialect::Avro).unwrap();
        assert_eq!(value.to_string(), "[1,2]");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(10_000);
        refuses(&deep, "nests deeper than 250");
    }
}
