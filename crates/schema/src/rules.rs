//! The rules of one schema position, split by the JSON type that they speak about, so that a decoder
//! checks only those of the value it has in hand.

use std::fmt;
use std::ops::{BitAnd, BitOr};

use regex::Regex;

use crate::choice::Choice;
use crate::decimal::Decimal;
use crate::foreign::Foreign;
use crate::format::Format;

/// A set of JSON types. `true` and `false` are apart, so that an `enum` of one of them is a type set;
/// numbers with and without a fractional part are apart, so that `integer` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Types(u8);

impl Types {
    /// No value at all.
    pub const NONE: Self = Self(0);
    /// `null`.
    pub const NULL: Self = Self(1);
    /// `false`.
    pub const FALSE: Self = Self(2);
    /// `true`.
    pub const TRUE: Self = Self(4);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(6);
    /// Numbers without a fractional part, `1.0` among them.
    pub const INTEGER: Self = Self(8);
    /// Numbers with a fractional part.
    pub const FRACTION: Self = Self(16);
    /// Every number.
    pub const NUMBER: Self = Self(24);
    /// Strings.
    pub const STRING: Self = Self(32);
    /// Arrays.
    pub const ARRAY: Self = Self(64);
    /// Objects.
    pub const OBJECT: Self = Self(128);
    /// Every value.
    pub const ALL: Self = Self(255);

    /// Whether every type of `other` is in the set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets share a type.
    #[inline]
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set of the values that JSON Schema's `type` keyword gives this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => return None,
        })
    }

    /// The set with every number in it if it has any: rules on numbers do not tell the two apart.
    #[must_use]
    pub const fn with_whole_numbers(self) -> Self {
        if self.intersects(Self::NUMBER) { Self(self.0 | Self::NUMBER.0) } else { self }
    }
}

impl BitAnd for Types {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Types {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::Not for Types {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Display for Types {
    /// `string or null`, in JSON Schema's names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("no value");
        }
        let named = [
            (Self::OBJECT, "object"),
            (Self::ARRAY, "array"),
            (Self::STRING, "string"),
            (Self::NUMBER, "number"),
            (Self::INTEGER, "integer"),
            (Self::FRACTION, "fraction"),
            (Self::BOOLEAN, "boolean"),
            (Self::TRUE, "true"),
            (Self::FALSE, "false"),
            (Self::NULL, "null"),
        ];
        let mut rest = *self;
        for (types, name) in named {
            if rest.contains(types) && rest.intersects(types) {
                f.write_str(if rest == *self { "" } else { " or " })?;
                f.write_str(name)?;
                rest = Self(rest.0 & !types.0);
            }
        }
        Ok(())
    }
}

/// A rule of a schema that a value breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The JSON Schema keyword.
    pub keyword: String,
    /// Where under the checked value: a JSON Pointer, empty for the value itself.
    pub path: String,
    /// What was expected, in words, values in backticks.
    pub expected: String,
}

impl Violation {
    /// A violation by the checked value itself.
    #[must_use]
    pub fn new(keyword: &str, expected: impl Into<String>) -> Box<Self> {
        Box::new(Self { keyword: keyword.to_owned(), path: String::new(), expected: expected.into() })
    }
}

/// Names the rules of one position within a [`JsonSchema`](crate::JsonSchema).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RulesId(pub(crate) usize);

/// All rules of one position, merged over `$ref`, `allOf` and alternatives of distinct types.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The types that a value may have.
    pub types: Types,
    /// Rules on numbers.
    pub numbers: Option<NumberRules>,
    /// Rules on strings.
    pub strings: Option<StringRules>,
    /// Rules on arrays.
    pub arrays: Option<ArrayRules>,
    /// Rules on objects.
    pub objects: Option<ObjectRules>,
    /// What only the general validator can decide, with the types that it speaks about.
    pub foreign: Vec<(Types, Foreign)>,
    /// Rules that objects have in place of these, by the string of one of their members.
    pub choice: Option<Choice>,
}

impl Rules {
    /// Every value passes.
    pub const ANY: Self = Self {
        types: Types::ALL,
        numbers: None,
        strings: None,
        arrays: None,
        objects: None,
        foreign: Vec::new(),
        choice: None,
    };

    /// Whether every value passes.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.types == Types::ALL
            && self.numbers.is_none()
            && self.strings.is_none()
            && self.arrays.is_none()
            && self.objects.is_none()
            && self.foreign.is_empty()
            && self.choice.is_none()
    }
}

/// An end of a number range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The end.
    pub value: Decimal,
    /// Its text in the schema.
    pub text: String,
    /// Whether the end itself is outside.
    pub exclusive: bool,
}

/// Rules on numbers.
#[derive(Debug, Clone, Default)]
pub struct NumberRules {
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    /// The numbers of an `enum` or `const`.
    pub(crate) one_of: Option<Vec<(Decimal, String)>>,
    /// The integers that pass, ends included: a first check that most values need only.
    integers: Option<(i64, i64)>,
}

impl NumberRules {
    /// The lower end.
    #[must_use]
    pub const fn minimum(&self) -> Option<&Bound> {
        self.minimum.as_ref()
    }

    /// The integers that pass, ends included, where that says all there is to say: a number between the two
    /// ends passes, whether it is an integer or not.
    #[must_use]
    pub const fn integers(&self) -> Option<(i64, i64)> {
        self.integers
    }

    /// To be called after the last change of the bounds.
    pub(crate) fn settle(&mut self) {
        let low = self.minimum.as_ref().map_or(Some(i64::MIN), |bound| {
            let value = i64::try_from(bound.value.to_i128()?).ok()?;
            value.checked_add(i64::from(bound.exclusive))
        });
        let high = self.maximum.as_ref().map_or(Some(i64::MAX), |bound| {
            let value = i64::try_from(bound.value.to_i128()?).ok()?;
            value.checked_sub(i64::from(bound.exclusive))
        });
        self.integers = if self.one_of.is_none() { low.zip(high) } else { None };
    }

    /// Checks a number that is an integer in its text too.
    ///
    /// # Errors
    /// The first rule that it breaks.
    #[inline]
    pub fn check_integer(&self, value: i64) -> Result<(), Box<Violation>> {
        match self.integers {
            Some((low, high)) if low <= value && value <= high => Ok(()),
            Some(_) | None => self.check(&value.to_string()),
        }
    }

    /// Checks any number of JSON's grammar.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, text: &str) -> Result<(), Box<Violation>> {
        if let (Some((low, high)), Some((floor, whole))) = (self.integers, floor(text))
            && low <= floor
            && (floor < high || (floor == high && whole))
        {
            return Ok(());
        }
        let Some(value) = Decimal::parse(text) else {
            return Err(Violation::new("type", "number"));
        };
        if let Some(bound) =
            self.minimum.as_ref().filter(|b| value < b.value || (b.exclusive && value == b.value))
        {
            let (keyword, words) =
                if bound.exclusive { ("exclusiveMinimum", "more than") } else { ("minimum", "at least") };
            return Err(Violation::new(keyword, format!("{words} `{}`", bound.text)));
        }
        if let Some(bound) =
            self.maximum.as_ref().filter(|b| value > b.value || (b.exclusive && value == b.value))
        {
            let (keyword, words) =
                if bound.exclusive { ("exclusiveMaximum", "less than") } else { ("maximum", "at most") };
            return Err(Violation::new(keyword, format!("{words} `{}`", bound.text)));
        }
        match &self.one_of {
            Some(listed) if !listed.iter().any(|(one, _)| *one == value) => {
                Err(Violation::new("enum", list(listed.iter().map(|(_, text)| text.as_str()))))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The integer at or below a number as it usually stands, with a point and no exponent, and whether it is
/// the number; `None` for others. Most values within bounds need no exact decimal.
fn floor(text: &str) -> Option<(i64, bool)> {
    const LENGTH_MAX: usize = 24;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if digits.len() > LENGTH_MAX {
        return None;
    }
    let (mut value, mut fraction, mut whole, mut n_digits) = (0_i64, false, true, 0);
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' if fraction => whole &= byte == b'0',
            b'0'..=b'9' => {
                value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
                n_digits += 1;
            }
            b'.' if !fraction => fraction = true,
            _ => return None,
        }
    }
    let value = if negative { -value - i64::from(!whole) } else { value };
    ((1..=18).contains(&n_digits) && !digits.ends_with('.')).then_some((value, whole))
}

/// Rules on strings.
#[derive(Debug, Clone, Default)]
pub struct StringRules {
    pub(crate) length_min: Option<u64>,
    pub(crate) length_max: Option<u64>,
    pub(crate) patterns: Vec<(Regex, String)>,
    pub(crate) formats: Vec<Format>,
    pub(crate) one_of: Option<Vec<String>>,
}

impl StringRules {
    /// The strings of an `enum` or `const`.
    #[must_use]
    pub fn one_of(&self) -> Option<&[String]> {
        self.one_of.as_deref()
    }

    /// The least and the most characters.
    #[must_use]
    pub const fn length(&self) -> (Option<u64>, Option<u64>) {
        (self.length_min, self.length_max)
    }

    /// The formats that are asserted.
    #[must_use]
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// Whether there are patterns.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Checks a string, unescaped.
    ///
    /// # Errors
    /// The first rule that it breaks.
    #[inline]
    pub fn check(&self, text: &str) -> Result<(), Box<Violation>> {
        if let Some(listed) = &self.one_of
            && !listed.iter().any(|one| one == text)
        {
            return Err(Violation::new("enum", list(listed.iter().map(String::as_str))));
        }
        if self.length_min.is_some() || self.length_max.is_some() {
            self.check_length(text)?;
        }
        for format in &self.formats {
            if !format.matches(text) {
                return Err(Violation::new("format", format!("format `{}`", format.name())));
            }
        }
        for (pattern, source) in &self.patterns {
            if !pattern.is_match(text) {
                return Err(Violation::new("pattern", format!("pattern `{source}`")));
            }
        }
        Ok(())
    }

    fn check_length(&self, text: &str) -> Result<(), Box<Violation>> {
        // A character has one to four bytes, so most lengths need no counting.
        let bytes = text.len() as u64;
        if self.length_max.is_none_or(|most| bytes <= most)
            && self.length_min.is_none_or(|least| bytes.div_ceil(4) >= least)
        {
            return Ok(());
        }
        let length = if text.is_ascii() { bytes } else { text.chars().count() as u64 };
        match (self.length_min, self.length_max) {
            (Some(least), _) if length < least => {
                Err(Violation::new("minLength", format!("at least {least} characters")))
            }
            (_, Some(most)) if length > most => {
                Err(Violation::new("maxLength", format!("at most {most} characters")))
            }
            _ => Ok(()),
        }
    }
}

/// Rules on arrays.
#[derive(Debug, Clone, Default)]
pub struct ArrayRules {
    pub(crate) items_min: Option<u64>,
    pub(crate) items_max: Option<u64>,
    /// The rules of every item; `None` for no rules.
    pub items: Option<RulesId>,
}

impl ArrayRules {
    /// Checks how many items there are.
    ///
    /// # Errors
    /// The first rule that the number breaks.
    pub fn check_count(&self, count: u64) -> Result<(), Box<Violation>> {
        check_count(count, (self.items_min, "minItems"), (self.items_max, "maxItems"), "items")
    }
}

/// Rules on objects.
#[derive(Debug, Clone, Default)]
pub struct ObjectRules {
    pub(crate) members_min: Option<u64>,
    pub(crate) members_max: Option<u64>,
    /// The members that the schema names, in the schema's order, `required` ones without a schema too.
    pub properties: Vec<Property>,
    /// The rules of every other member; `None` for no rules.
    pub additional: Option<RulesId>,
}

/// A member that a schema names.
#[derive(Debug, Clone)]
pub struct Property {
    /// The member's name.
    pub name: String,
    /// Whether it must be there.
    pub required: bool,
    /// Its rules; `None` for no rules.
    pub rules: Option<RulesId>,
}

impl ObjectRules {
    /// Checks how many members there are.
    ///
    /// # Errors
    /// The first rule that the number breaks.
    pub fn check_count(&self, count: u64) -> Result<(), Box<Violation>> {
        check_count(
            count,
            (self.members_min, "minProperties"),
            (self.members_max, "maxProperties"),
            "members",
        )
    }
}

fn check_count(
    count: u64,
    (least, least_keyword): (Option<u64>, &str),
    (most, most_keyword): (Option<u64>, &str),
    what: &str,
) -> Result<(), Box<Violation>> {
    match (least, most) {
        (Some(least), _) if count < least => {
            Err(Violation::new(least_keyword, format!("at least {least} {what}")))
        }
        (_, Some(most)) if count > most => {
            Err(Violation::new(most_keyword, format!("at most {most} {what}")))
        }
        _ => Ok(()),
    }
}

/// `one of` and the first eight of a list, values in backticks.
pub(crate) fn list<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 8;
    let more = values.len().saturating_sub(SHOWN_MAX);
    let mut text = String::from(if values.len() == 1 { "" } else { "one of " });
    for (index, value) in values.take(SHOWN_MAX).enumerate() {
        text.push_str(if index == 0 { "`" } else { ", `" });
        text.extend(value.chars().take(40));
        text.push('`');
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_exactly_for_every_notation() {
        let bound = |text: &str, exclusive| {
            Some(Bound { value: Decimal::parse(text).unwrap(), text: text.to_owned(), exclusive })
        };
        let texts = [
            "-2.5",
            "-2.0",
            "-2",
            "-1.5",
            "-1.0",
            "-0.5",
            "-0.0",
            "0",
            "0.5",
            "1",
            "1.0",
            "1.5",
            "2.00",
            "2.01",
            "1e0",
            "9.5",
            "10.0",
            "10.000000000000000000000000001",
            "1234567890123456789012.5",
        ];
        for (low, high) in [("-2", "1"), ("0", "10"), ("-1.5", "1.5"), ("1", "2")] {
            for exclusive in [false, true] {
                let (minimum, maximum) = (bound(low, exclusive), bound(high, exclusive));
                let exact = NumberRules { minimum, maximum, ..NumberRules::default() };
                let mut rules = exact.clone();
                rules.settle();
                for text in texts {
                    let quick = rules.check(text).is_ok();
                    assert_eq!(quick, exact.check(text).is_ok(), "{text} in {low}..{high} {exclusive}");
                }
            }
        }
    }

    #[test]
    fn lengths_count_characters() {
        let rules = StringRules { length_min: Some(2), length_max: Some(4), ..StringRules::default() };
        for (text, passes) in [
            ("a", false),
            ("é", false),
            ("😀", false),
            ("ab", true),
            ("éé", true),
            ("😀😀😀😀", true),
            ("abcde", false),
        ] {
            assert_eq!(rules.check(text).is_ok(), passes, "{text}");
        }
    }
}
