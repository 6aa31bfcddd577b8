//! Colours, bars, numbers and cuts.

use std::fmt;

use super::Look;

/// A colour with one meaning everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Headings and what counts.
    Bold,
    /// What may be skipped.
    Dim,
    /// All is well.
    Good,
    /// A refused record.
    Warn,
    /// Something is wrong.
    Bad,
    /// A command to type.
    Command,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Command => "36",
        }
    }
}

impl Look {
    /// The text in `ink`, or as it is.
    pub(super) fn ink(self, ink: Ink, text: impl fmt::Display) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", ink.code()) } else { text.to_string() }
    }

    /// A heading with an optional remark.
    pub(super) fn heading(self, title: &str, remark: &str) -> String {
        let room = self.width.saturating_sub(title.chars().count() + 2);
        if remark.is_empty() || room < 8 {
            return format!("{}\n", self.ink(Ink::Bold, title));
        }
        format!("{}  {}\n", self.ink(Ink::Bold, title), self.ink(Ink::Dim, cut(remark, room)))
    }
}

/// A bar of at most `width` characters, in eighths; a count that is not zero shows.
pub(super) fn bar(count: u64, largest: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    if count == 0 || largest == 0 {
        return String::new();
    }
    let steps = u128::try_from(width * 8).unwrap_or(u128::MAX);
    let filled = (u128::from(count) * steps).div_ceil(u128::from(largest)).min(steps);
    let filled = usize::try_from(filled).unwrap_or(width * 8);
    let mut bar = "█".repeat(filled / 8);
    if !filled.is_multiple_of(8) {
        bar.push(EIGHTHS[filled % 8 - 1]);
    }
    bar
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// What came out of a record, made safe to print, on one line of at most `width` characters.
pub(super) fn quoted(text: &str, width: usize) -> String {
    cut(&harmless(text).replace('\n', "\\n"), width)
}

/// Control characters escaped, except line breaks and tabs.
pub(super) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        let plain = matches!(char, '\n' | '\t') || !(char.is_control() || steers(char));
        if plain { safe.push(char) } else { safe.extend(char.escape_unicode()) }
    }
    safe
}

/// Characters that turn the direction of what follows, or are not seen at all.
const fn steers(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// At most `width` characters, with `…` for what is cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_share_and_never_hides_a_count() {
        assert_eq!(bar(0, 10, 10), "");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(u64::MAX, u64::MAX, 2), "██");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned),
            [0, 999, 1000, 1_234_567].map(count)
        );
        assert_eq!(counted(1, "row"), "1 row");
    }

    #[test]
    fn no_event_steers_the_terminal() {
        assert_eq!(quoted("\x1b[2Jx\r\n\u{202e}", 80), "\\u{1b}[2Jx\\u{d}\\n\\u{202e}");
        assert_eq!(quoted("ääää", 3), "ää…");
    }
}
