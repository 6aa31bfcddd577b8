//! Quoting for statements.

/// An identifier in backticks. Backslash and backtick are escaped, as ClickHouse reads them back.
#[must_use]
pub fn quote_name(name: &str) -> String {
    quote(name, '`')
}

/// A string literal.
#[must_use]
pub fn quote_text(text: &str) -> String {
    quote(text, '\'')
}

fn quote(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for character in text.chars() {
        if character == mark || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_cannot_be_left_from_within() {
        assert_eq!(quote_name("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(quote_text("it's \\' x"), "'it\\'s \\\\\\' x'");
    }
}
