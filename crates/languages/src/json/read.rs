//! A reader of JSON that counts lines, keeps order and bounds depth.

use indexmap::map::Entry;
use thiserror::Error;

use crate::json::{DEPTH_MAX, Json, Members, java_decimal};

/// Digits of a number: what Java's reader takes.
const NUMBER_LENGTH_MAX: usize = 1_000;

/// How Java's reader is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// As Avro's library sets it: `//` and `/* */` are skipped, fractions are floating-point numbers.
    Avro,
    /// As the registry sets it for JSON Schema: no comments, fractions are exact.
    Exact,
}

/// Why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} column {column}: {message}")]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Json, JsonError> {
    let mut reader = Reader { text, at: 0, dialect };
    let value = reader.value(0)?;
    reader.skip_blanks()?;
    match reader.peek() {
        None => Ok(value),
        Some(found) => Err(reader.wrong(format!("found `{found}` after the value"))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, message: impl Into<String>) -> JsonError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
        JsonError { line, column, message: message.into() }
    }

    fn unexpected(&self, expected: &str) -> JsonError {
        match self.peek() {
            None => self.wrong(format!("found the end; expected {expected}")),
            Some(found) => self.wrong(format!("found `{}`; expected {expected}", found.escape_debug())),
        }
    }

    fn skip_blanks(&mut self) -> Result<(), JsonError> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'/') if self.dialect == Dialect::Avro => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), JsonError> {
        let rest = self.rest();
        let length = if rest.starts_with("//") {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|end| end + 2)
        } else {
            return Err(self.unexpected("a value"));
        };
        self.at += length.ok_or_else(|| self.wrong("comment without an end"))?;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("nests deeper than {DEPTH_MAX} levels")));
        }
        self.skip_blanks()?;
        match self.byte() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in
                    [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))]
                {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected("a value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut members = Members::new();
        self.at += 1;
        self.skip_blanks()?;
        if self.byte() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks()?;
            if self.byte() != Some(b'"') {
                return Err(self.unexpected("a member's name"));
            }
            let name = self.string()?;
            self.skip_blanks()?;
            if self.byte() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            match members.entry(name) {
                Entry::Occupied(mut old) => *old.get_mut() = value,
                Entry::Vacant(new) => {
                    new.insert(value);
                }
            }
            if self.ends(b'}')? {
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_blanks()?;
        if self.byte() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.ends(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    /// Takes a comma, or the end of an array or object.
    fn ends(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_blanks()?;
        let found = self.byte();
        if found != Some(end) && found != Some(b',') {
            return Err(self.unexpected(if end == b'}' { "`,` or `}`" } else { "`,` or `]`" }));
        }
        self.at += 1;
        Ok(found == Some(end))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let Some(plain) = plain else {
                self.at = self.text.len();
                return Err(self.wrong("text without an end"));
            };
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.wrong("control character in a text; expected an escape such as `\\n`")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let escaped = match self.byte() {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected("one of `\"\\/bfnrtu` after `\\`")),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let first = self.hex4()?;
        if let Some(char) = char::from_u32(first) {
            return Ok(char);
        }
        // The registry's texts are UTF-8, which has no half of a surrogate pair.
        if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                let char = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00));
                return char.ok_or_else(|| self.wrong("surrogate pair of no character"));
            }
        }
        Err(self.wrong("half of a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits =
            self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.wrong("expected four hexadecimal digits after `\\u`"))?;
        self.at += 4;
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.text.as_bytes()[self.at - whole] == b'0' {
            self.at -= whole;
            return Err(self.wrong("number with a leading zero"));
        }
        let mut integer = true;
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            integer = false;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            integer = false;
        }
        let text = &self.text[start..self.at];
        if text.len() > NUMBER_LENGTH_MAX {
            return Err(self.wrong(format!("number of more than {NUMBER_LENGTH_MAX} characters")));
        }
        if integer {
            return Ok(text.parse().map_or_else(|_| Json::BigInteger(text.to_owned()), Json::Integer));
        }
        match self.dialect {
            Dialect::Avro => text.parse().map(Json::Double).map_err(|_| self.wrong("expected a number")),
            Dialect::Exact => java_decimal(text)
                .map(Json::Decimal)
                .ok_or_else(|| self.wrong("number with an exponent out of all proportion")),
        }
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let n = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += n;
        if n == 0 { Err(self.unexpected("a digit")) } else { Ok(n) }
    }
}
