//! Pieces of SQL that are compared: two texts are the same if their words are.

use std::fmt;

/// A piece of SQL. Spaces, and backticks around names, make no difference.
#[derive(Debug, Clone, Default)]
pub struct Sql {
    text: String,
    words: Vec<String>,
}

impl PartialEq for Sql {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for Sql {}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Sql {
    /// Takes a text apart. Any text has words; one that no server would take differs from those it would.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let words = words(text);
        Self::of(text, &words)
    }

    /// The text of these words, which are of `source`.
    pub(super) fn of(source: &str, words: &[Word<'_>]) -> Self {
        let text = match (words.first(), words.last()) {
            (Some(first), Some(last)) => source.get(first.start..last.end).unwrap_or_default().to_owned(),
            (_, _) => String::new(),
        };
        Self { text, words: words.iter().map(Word::plain).collect() }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A word: a name, a number, a literal, a sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    start: usize,
    end: usize,
    /// How many brackets are open around it; a bracket itself is outside.
    pub(super) depth: usize,
}

impl Word<'_> {
    pub(super) fn says(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    /// Without backticks, as a name is without need of them.
    pub(super) fn plain(&self) -> String {
        unquoted(self.text)
    }
}

/// A name without its backticks and what they escape; anything else as it is.
pub(super) fn unquoted(text: &str) -> String {
    match text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
        None => text.to_owned(),
        Some(inner) => unescaped(inner),
    }
}

/// What a string literal stands for; `None` if it is none.
pub(super) fn literal(text: &str) -> Option<String> {
    text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).map(unescaped)
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('0') => plain.push('\0'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}

/// The words of a text.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let end = match byte {
            b'\'' | b'`' | b'"' => quoted_end(bytes, at),
            byte if names(byte) => {
                bytes[at..].iter().position(|byte| !names(*byte)).map_or(bytes.len(), |len| at + len)
            }
            _ => at + 1,
        };
        if byte == b')' {
            depth = depth.saturating_sub(1);
        }
        found.push(Word { text: &text[at..end], start: at, end, depth });
        if byte == b'(' {
            depth += 1;
        }
        at = end;
    }
    found
}

/// Letters of names and numbers; every byte of a longer character is one.
const fn names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'\\' => at += 2,
            byte if byte == bytes[start] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The parts between commas that stand at this depth.
pub(super) fn parts<'w, 'a>(words: &'w [Word<'a>], depth: usize) -> impl Iterator<Item = &'w [Word<'a>]> {
    words.split(move |word| word.depth == depth && word.text == ",").filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_backticks_make_no_difference_and_literals_do() {
        assert_eq!(Sql::new("toYYYYMM( `ts` )"), Sql::new("toYYYYMM(ts)"));
        assert_ne!(Sql::new("'a b'"), Sql::new("'ab'"));
        assert_ne!(Sql::new("a b"), Sql::new("ab"));
        assert_eq!(literal(r"'it\'s \\ `x`'").as_deref(), Some(r"it's \ `x`"));
    }

    #[test]
    fn any_text_has_words() {
        for text in ["'", "`a\\", "((((", "))) a", "é'\\", "\u{1F600}`\u{1F600}"] {
            let _ = Sql::new(text);
        }
    }
}
