//! The words of a `.proto` text, as Square's Wire reads them: its spelling of values is what is stored.

use crate::protobuf::ProtobufError;

/// A text and how far it has been read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0 }
    }

    /// A problem at the place that has been reached.
    pub(super) fn wrong(&self, message: impl Into<String>) -> ProtobufError {
        self.wrong_at(self.at, message)
    }

    /// A problem at a place.
    pub(super) fn wrong_at(&self, at: usize, message: impl Into<String>) -> ProtobufError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ProtobufError::Syntax { line, column: 1 + before.len() - line_start, message: message.into() }
    }

    /// The place that has been reached, behind blanks and comments.
    pub(super) fn place(&mut self) -> Result<usize, ProtobufError> {
        self.skip_blanks()?;
        Ok(self.at)
    }

    /// Whether nothing follows.
    pub(super) fn exhausted(&mut self) -> Result<bool, ProtobufError> {
        self.skip_blanks()?;
        Ok(self.at == self.text.len())
    }

    /// The next character, which stays.
    pub(super) fn peek(&mut self) -> Result<u8, ProtobufError> {
        self.skip_blanks()?;
        self.byte().ok_or_else(|| self.wrong("unexpected end of file"))
    }

    /// Takes the next character if it is this one.
    pub(super) fn take(&mut self, wanted: u8) -> Result<bool, ProtobufError> {
        let found = self.peek()? == wanted;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Takes the next character, which must be this one.
    pub(super) fn require(&mut self, wanted: u8) -> Result<(), ProtobufError> {
        if self.take(wanted)? {
            return Ok(());
        }
        let found = self.text[self.at..].chars().next().unwrap_or_default();
        Err(self.wrong(format!("expected `{}`, found `{found}`", char::from(wanted))))
    }

    /// A word: letters, digits, `_`, `-` and `.`.
    pub(super) fn word(&mut self) -> Result<&'a str, ProtobufError> {
        self.skip_blanks()?;
        let rest = &self.text[self.at..];
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = rest.bytes().take_while(part).count();
        if length == 0 {
            return Err(match rest.chars().next() {
                Some(found) => self.wrong(format!("expected a word, found `{found}`")),
                None => self.wrong("expected a word, found the end of the file"),
            });
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// A word that may name a declaration.
    pub(super) fn name(&mut self) -> Result<String, ProtobufError> {
        let place = self.place()?;
        let word = self.word()?;
        let mut bytes = word.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Ok(word.to_owned());
        }
        Err(self.wrong_at(place, format!("expected a name, found `{word}`")))
    }

    /// A whole number, in decimal or hexadecimal digits.
    pub(super) fn integer(&mut self) -> Result<i32, ProtobufError> {
        let place = self.place()?;
        let word = self.word()?;
        let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        let number = match hexadecimal {
            Some(digits) => i32::from_str_radix(digits, 16),
            None => word.parse(),
        };
        number.map_err(|_| self.wrong_at(place, format!("expected a whole number, found `{word}`")))
    }

    /// Text in quotes, and more of it that follows.
    pub(super) fn quoted(&mut self) -> Result<String, ProtobufError> {
        let start = self.place()?;
        let mut quote = self.peek()?;
        if !matches!(quote, b'"' | b'\'') {
            return Err(self.wrong("expected text in quotes"));
        }
        self.at += 1;
        let mut read = String::new();
        loop {
            let Some(next) = self.text[self.at..].chars().next() else {
                return Err(self.wrong_at(start, "text without a closing quote"));
            };
            self.at += next.len_utf8();
            if next == char::from(quote) {
                // Texts side by side are one.
                if self.exhausted()? || !matches!(self.peek()?, b'"' | b'\'') {
                    return Ok(read);
                }
                quote = self.peek()?;
                self.at += 1;
                continue;
            }
            read.push(if next == '\\' { self.escaped()? } else { next });
        }
    }

    fn escaped(&mut self) -> Result<char, ProtobufError> {
        let Some(letter) = self.text[self.at..].chars().next() else {
            return Err(self.wrong("unexpected end of file"));
        };
        self.at += letter.len_utf8();
        Ok(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' | 'X' => self.digits(16, 2)?,
            '0'..='7' => {
                self.at -= 1;
                self.digits(8, 3)?
            }
            other => other,
        })
    }

    /// A character by its number.
    fn digits(&mut self, radix: u32, length_max: usize) -> Result<char, ProtobufError> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().take(length_max).map_while(|byte| char::from(*byte).to_digit(radix));
        let (length, number) = digits.fold((0, 0), |(n, number), digit| (n + 1, number * radix + digit));
        if length == 0 {
            return Err(self.wrong("expected a digit after `\\x`"));
        }
        self.at += length;
        char::from_u32(number).ok_or_else(|| self.wrong("no such character"))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) -> Result<(), ProtobufError> {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count();
            let rest = &self.text[self.at..];
            if let Some(comment) = rest.strip_prefix("//") {
                self.at += 2 + comment.find('\n').unwrap_or(comment.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let length = comment.find("*/").ok_or_else(|| self.wrong("comment without an end"))?;
                self.at += 2 + length + 2;
            } else {
                return Ok(());
            }
        }
    }
}
