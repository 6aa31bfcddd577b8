//! Which column a refusal is about, as far as ClickHouse's message says so for certain.
//!
//! Messages are for people and change with versions: what is not recognised to its end names nothing.

/// `VIOLATED_CONSTRAINT`.
const VIOLATED_CONSTRAINT: i32 = 469;

/// The column that the message is about.
pub(crate) fn blamed_column(code: i32, message: &str) -> Option<String> {
    if code == VIOLATED_CONSTRAINT { of_constraint(message) } else { of_conversion(message) }
}

/// `Constraint `c` .. is violated at row 1. Expression: (a < 5). Column values: a = 7. (NAME)`: certain if one column
/// is all that the expression is about.
fn of_constraint(message: &str) -> Option<String> {
    let (_, values) = message.rsplit_once(" Column values: ")?;
    let (name, rest) = identifier(values)?;
    let rest = literal(rest.strip_prefix(" = ")?)?;
    (rest.is_empty() || rest.starts_with(['.', ':'])).then_some(name)
}

/// `..: while converting source column `a` to destination column `a`..`.
fn of_conversion(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(": while converting source column ")?;
    let (_, rest) = identifier(rest)?;
    let (name, rest) = identifier(rest.strip_prefix(" to destination column ")?)?;
    (rest.is_empty() || rest.starts_with(['.', ':', ' '])).then_some(name)
}

/// A name, in backticks if it needs them, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('`') {
        return until('`', quoted);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// What follows a value, a text in quotes or a number.
fn literal(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return until('\'', quoted).map(|(_, rest)| rest);
    }
    let end = text.find([',', ' ', '(']).unwrap_or(text.len());
    let number = text[..end].trim_end_matches('.');
    (!number.is_empty()).then(|| &text[number.len()..])
}

/// The text up to a quotation mark that no backslash precedes, and what follows the mark.
fn until(quote: char, text: &str) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => inner.push(characters.next()?.1),
            c if c == quote => return Some((inner, &text[at + 1..])),
            c => inner.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, message: &str, column: Option<&str>) {
        assert_eq!(blamed_column(code, message).as_deref(), column, "{message}");
    }

    #[test]
    fn a_constraint_on_one_column_blames_it() {
        let of = |values: &str| {
            format!(
                "Constraint `c` for table d.t (u) is violated at row 2. Expression: (e). Column values: {values}. (VIOLATED_CONSTRAINT)"
            )
        };
        check(469, &of("name = 'x'"), Some("name"));
        check(469, &of("`a b` = -1.5"), Some("a b"));
        check(469, &of(r"name = 'it\'s, b = 2'"), Some("name"));
        check(469, &of("a = 1, b = 2"), None);
        check(469, &of("a = 'x', b = 2"), None);
        check(469, "Constraint `c` for table d.t is violated. Column values: name = 'cut he", None);
        check(469, "Constraint `Column values: a = 1.` is violated", None);
    }

    #[test]
    fn a_conversion_blames_its_destination() {
        let text = "Cannot convert NULL value to non-Nullable type: while converting source column `a` to destination column `b c`";
        check(349, text, Some("b c"));
        check(349, &format!("{text}: while executing x. (NAME)"), Some("b c"));
        check(
            6,
            "Cannot parse string 'x' as UInt64: while executing 'FUNCTION toUInt64(name)'. (NAME)",
            None,
        );
    }
}
