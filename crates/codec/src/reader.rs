//! A strict reader of one JSON text (RFC 8259), pulling tokens without building values.

use tidegate_core::ReasonCode;

use crate::refusal::{Outcome, Refusal};
use crate::scan::{before_special, special};

/// A string as it stands between its quotes. Its escapes have been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawString<'a> {
    raw: &'a str,
    escaped: bool,
}

/// A number of JSON's grammar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawNumber<'a> {
    pub(crate) text: &'a str,
    /// The value, where it is written without fraction and exponent and has at most 18 digits.
    pub(crate) small: Option<i64>,
}

/// A number as most are: `value / 10^places`, written in at most 18 digits without an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainNumber {
    pub(crate) value: i64,
    pub(crate) places: u8,
}

/// A place in a JSON text that is known to be UTF-8.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// A member's name as it mostly stands in a JSON text: in quotes, a colon behind it.
#[derive(Debug, Clone)]
pub(crate) struct WrittenName {
    text: Box<[u8]>,
    /// The first bytes of `text`, and the bits that they take.
    head: (u128, u128),
}

impl WrittenName {
    /// How a name is written; one that needs escapes is never found.
    pub(crate) fn new(name: &str) -> Self {
        let plain = !name.bytes().any(special);
        // No JSON text has a zero byte where a name may begin.
        let text = if plain { format!("\"{name}\":").into_bytes() } else { vec![0] };
        let (mut head, mut mask) = ([0; 16], [0; 16]);
        for (at, byte) in text.iter().take(16).enumerate() {
            (head[at], mask[at]) = (*byte, 0xFF);
        }
        Self { text: text.into(), head: (u128::from_le_bytes(head), u128::from_le_bytes(mask)) }
    }

    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        match bytes.first_chunk::<16>() {
            Some(chunk) => {
                let (head, mask) = self.head;
                u128::from_le_bytes(*chunk) & mask == head
                    && (self.text.len() <= 16 || bytes[16..].starts_with(&self.text[16..]))
            }
            None => bytes.starts_with(&self.text),
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes are behind.
    #[inline]
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Goes to a place: back to where it was before, or behind what [`Reader::plain_string`] or
    /// [`Reader::plain_number`] has seen.
    pub(crate) const fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    /// The text from `start` to here.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    #[cold]
    pub(crate) fn unexpected(&self, expected: &str) -> Box<Refusal> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = match rest.chars().next() {
            None => format!("the end at byte {}", self.at),
            Some(_) => format!("`{}` at byte {}", rest.chars().take(20).collect::<String>(), self.at),
        };
        Refusal::decode(ReasonCode::NotJson, &format!("JSON: {expected}"), &found)
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over white space and gives the byte after it; 0 at the end, which is no JSON either.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        match self.byte() {
            Some(byte) if byte > b' ' => byte,
            _ => self.peek_after_space(),
        }
    }

    fn peek_after_space(&mut self) -> u8 {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Passes over white space and `byte`, if that is next.
    ///
    /// Written with a branch on purpose: rustc 1.95 at opt-level 3 loses the step of
    /// `self.at += usize::from(self.peek() == byte)` once it is inlined here (the unit tests below see it).
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        if self.peek() == byte {
            self.at += 1;
            return true;
        }
        false
    }

    /// Passes over `bytes` if they are exactly next, white space included.
    #[inline]
    pub(crate) fn take_exactly(&mut self, bytes: &[u8]) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(bytes);
        if found {
            self.at += bytes.len();
        }
        found
    }

    /// Passes over a member's name and its colon, if they are next and stand as they mostly do.
    #[inline]
    pub(crate) fn take_name(&mut self, name: &WrittenName) -> bool {
        let found = name.begins(&self.text.as_bytes()[self.at..]);
        if found {
            self.at += name.text.len();
        }
        found
    }

    #[inline]
    pub(crate) fn colon(&mut self) -> Outcome {
        if self.take(b':') { Ok(()) } else { Err(self.unexpected("`:`")) }
    }

    /// After an item of an array or object: whether another one follows. Passes over the comma or the
    /// closing bracket.
    #[inline]
    pub(crate) fn another(&mut self, close: u8) -> Outcome<bool> {
        let byte = self.peek();
        if byte != b',' && byte != close {
            return Err(self.unexpected(if close == b']' { "`,` or `]`" } else { "`,` or `}`" }));
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Outcome {
        if self.peek() == 0 && self.at == self.text.len() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// `true`, `false` or `null`.
    pub(crate) fn literal(&mut self, literal: &'static str) -> Outcome {
        if self.take_exactly(literal.as_bytes()) { Ok(()) } else { Err(self.unexpected("a value")) }
    }

    /// A string, from its opening quote on.
    #[inline]
    pub(crate) fn string(&mut self) -> Outcome<RawString<'a>> {
        if !self.take(b'"') {
            return Err(self.unexpected("a string"));
        }
        let start = self.at;
        let end = start + before_special(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(RawString { raw: &self.text[start..end], escaped: false });
        }
        self.at = end;
        self.string_with_escapes(start)
    }

    fn string_with_escapes(&mut self, start: usize) -> Outcome<RawString<'a>> {
        loop {
            match self.byte() {
                Some(b'"') => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(RawString { raw, escaped: true });
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.unexpected("control characters escaped")),
                None => return Err(self.unexpected("a closing quote")),
            }
            self.at += before_special(&self.text.as_bytes()[self.at..]);
        }
    }

    fn escape(&mut self) -> Outcome {
        let rest = &self.text.as_bytes()[self.at + 1..];
        self.at += match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (unit(&rest[1..]), rest.get(5..7), rest.get(7..).and_then(unit)) {
                (Some(0xD800..=0xDBFF), Some(br"\u"), Some(0xDC00..=0xDFFF)) => 12,
                (Some(0xD800..=0xDFFF) | None, ..) => return Err(self.unexpected("a Unicode character")),
                (Some(_), ..) => 6,
            },
            _ => return Err(self.unexpected("an escape")),
        };
        Ok(())
    }

    /// Where the bytes of the string that is next begin and end, if it has no escapes. It is not passed over.
    #[inline]
    pub(crate) fn plain_string(&mut self) -> Option<(usize, usize)> {
        if self.peek() != b'"' {
            return None;
        }
        let start = self.at + 1;
        let end = start + before_special(self.text.as_bytes().get(start..)?);
        (self.text.as_bytes().get(end) == Some(&b'"')).then_some((start, end))
    }

    /// The number that is next, if it is a plain one, and where it ends. It is not passed over. A zero with a
    /// sign is not plain, for its sign is part of its value.
    #[inline]
    pub(crate) fn plain_number(&mut self) -> Option<(PlainNumber, usize)> {
        const DIGITS_MAX: usize = 18;
        let negative = self.peek() == b'-';
        let bytes = self.text.as_bytes();
        let first = self.at + usize::from(negative);
        let (mut value, mut at) = (0_i64, first);
        let mut digits_of = |mut at: usize| {
            while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
                value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
                at += 1;
            }
            at
        };
        at = digits_of(at);
        let whole = at - first;
        if whole == 0 || (whole > 1 && bytes[first] == b'0') {
            return None;
        }
        let mut places = 0;
        if bytes.get(at) == Some(&b'.') {
            let point = at;
            at = digits_of(at + 1);
            places = at - point - 1;
            if places == 0 {
                return None;
            }
        }
        if whole + places > DIGITS_MAX
            || matches!(bytes.get(at), Some(b'e' | b'E'))
            || (negative && value == 0)
        {
            return None;
        }
        Some((PlainNumber { value: if negative { -value } else { value }, places: places as u8 }, at))
    }

    /// The text's bytes.
    #[inline]
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The text between two places.
    #[inline]
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    /// A number, from its sign or first digit on.
    #[inline]
    pub(crate) fn number(&mut self) -> Outcome<RawNumber<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let negative = bytes.get(start) == Some(&b'-');
        let first = start + usize::from(negative);
        let mut at = first;
        let mut value: i64 = 0;
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            at += 1;
        }
        let digits = at - first;
        if digits == 0 || (digits > 1 && bytes[first] == b'0') {
            self.at = first + usize::from(digits > 1);
            return Err(self.unexpected("a number"));
        }
        self.at = at;
        // Computed for long numbers as well, whose digits have wrapped to anything.
        let small = (digits <= 18).then_some(if negative { value.wrapping_neg() } else { value });
        if matches!(bytes.get(at), Some(b'.' | b'e' | b'E')) {
            self.fraction_and_exponent()?;
            return Ok(RawNumber { text: self.since(start), small: None });
        }
        Ok(RawNumber { text: self.since(start), small })
    }

    fn fraction_and_exponent(&mut self) -> Outcome {
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Outcome {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("a digit")) } else { Ok(()) }
    }
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

impl<'a> RawString<'a> {
    /// The text, unescaped into `scratch` if need be.
    #[inline]
    pub(crate) fn text<'s>(&self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        if self.escaped { self.unescape(scratch) } else { self.raw }
    }

    /// What stands between the quotes.
    pub(crate) const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The text, if it needs no unescaping.
    #[inline]
    pub(crate) const fn plain(&self) -> Option<&'a str> {
        if self.escaped { None } else { Some(self.raw) }
    }

    fn unescape<'s>(&self, scratch: &'s mut String) -> &'s str {
        scratch.clear();
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            scratch.push_str(&rest[..at]);
            let escape = &rest.as_bytes()[at + 1..];
            let mut length = 2;
            scratch.push(match escape.first() {
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => {
                    let high = escape.get(1..).and_then(unit).unwrap_or_default();
                    length = 6;
                    let code = if (0xD800..0xDC00).contains(&high) {
                        length = 12;
                        let low = escape.get(7..).and_then(unit).unwrap_or_default();
                        0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00)
                    } else {
                        high
                    };
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                Some(byte) => char::from(*byte),
                None => char::REPLACEMENT_CHARACTER,
            });
            rest = rest.get(at + length..).unwrap_or_default();
        }
        scratch.push_str(rest);
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_the_quote_wherever_it_stands_in_a_word() {
        for length in 0..200 {
            let text = format!("\"{}\"x", "a".repeat(length));
            let mut reader = Reader::new(&text);
            assert_eq!(reader.string().unwrap().raw(), "a".repeat(length));
            assert_eq!(reader.at(), length + 2);
            for byte in ["\n", "\u{1f}", "\0"] {
                let text = format!("\"{}{byte}{}\"", "a".repeat(length), "b".repeat(70));
                assert!(Reader::new(&text).string().is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_name_is_taken_only_where_all_of_it_stands() {
        for length in 0..40 {
            let name = "n".repeat(length);
            let written = WrittenName::new(&name);
            for behind in ["1", &"1".repeat(40)] {
                let text = format!("\"{name}\":{behind}");
                let mut reader = Reader::new(&text);
                assert!(reader.take_name(&written), "{text}");
                assert_eq!(reader.at(), length + 3);
                for other in [format!("\"{name}n\":{behind}"), format!("\"{name}\" :{behind}")] {
                    assert!(!Reader::new(&other).take_name(&written), "{other}");
                }
                if length > 0 {
                    let changed = text.replacen("n\"", "m\"", 1);
                    assert!(!Reader::new(&changed).take_name(&written), "{changed}");
                }
            }
            assert!(!Reader::new(&format!("\"{name}")).take_name(&written));
        }
        assert!(!Reader::new("\"a\\n\":1").take_name(&WrittenName::new("a\n")));
    }

    #[test]
    fn escapes_become_their_characters_and_lone_surrogates_are_refused() {
        let mut scratch = String::new();
        let mut reader = Reader::new(r#""a\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00z""#);
        assert_eq!(reader.string().unwrap().text(&mut scratch), "a\"\\/\u{8}\u{c}\n\r\tAé😀z");
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800A""#, r#""\x""#, r#""\u12""#, "\"\n\"", "\"a"] {
            assert!(Reader::new(text).string().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for (text, small) in
            [("0", Some(0)), ("-12", Some(-12)), ("1.5", None), ("1e5", None), ("-0", Some(0))]
        {
            assert_eq!(Reader::new(text).number().unwrap().small, small, "{text}");
        }
        for text in ["-", "01", "1.", "1e", "1e+", "+1", ".5", "-01"] {
            assert!(Reader::new(text).number().is_err(), "{text}");
        }
        assert_eq!(Reader::new("999999999999999999").number().unwrap().small, Some(999_999_999_999_999_999));
        assert_eq!(Reader::new("9999999999999999999").number().unwrap().small, None);
    }
}
