//! Text to expression: precedence climbing, with a limit on depth and length.

use tidegate_yaml::Position;
use tidegate_yaml::shape::quoted;

use super::{Expr, FUNCTIONS, Operator, unknown_function};

/// Longer than any expression that a person can check.
const BYTES_MAX: usize = 4_096;
const DEPTH_MAX: usize = 64;

/// Why a text is no expression.
pub(super) struct Wrong {
    pub(super) at: Position,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(String),
    Text(String),
    Word(String),
    Sign(&'static str),
}

/// Reads an expression that begins at `start`.
pub(super) fn parse(text: &str, start: Position) -> Result<Expr, Wrong> {
    let mut parser = Parser { tokens: tokens(text, start)?, next: 0, end: after(start, text), depth: 0 };
    let expr = parser.expression(0)?;
    match parser.tokens.get(parser.next) {
        None => Ok(expr),
        Some((token, at)) => {
            Err(wrong(*at, format!("expected an operator or the end, found {}", shown(token)), None))
        }
    }
}

fn wrong(at: Position, message: String, hint: Option<&str>) -> Wrong {
    Wrong { at, message, hint: hint.map(str::to_owned) }
}

fn after(start: Position, text: &str) -> Position {
    Position { column: start.column + text.chars().count(), ..start }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(text) | Token::Word(text) => quoted(text),
        Token::Text(text) => quoted(&format!("'{text}'")),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

const SIGNS: [&str; 16] =
    ["!=", "<>", "<=", ">=", "==", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

fn tokens(text: &str, start: Position) -> Result<Vec<(Token, Position)>, Wrong> {
    if text.len() > BYTES_MAX {
        return Err(wrong(start, format!("the expression has more than {BYTES_MAX} bytes"), None));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        let skipped = rest.len() - rest.trim_start().len();
        rest = &rest[skipped..];
        let at = after(start, &text[..text.len() - rest.len()]);
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, len) = match first {
            '\'' => quoted_text(rest)
                .ok_or_else(|| wrong(at, "a text without its closing `'`".to_owned(), None))?,
            '0'..='9' => number(rest),
            'a'..='z' | 'A'..='Z' | '_' => {
                let len = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
                let word = &rest[..len.unwrap_or(rest.len())];
                (Token::Word(word.to_owned()), word.len())
            }
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    let hint = (first == '"').then_some("texts stand in single quotes: `'ios'`");
                    return Err(wrong(
                        at,
                        format!("{} is not used in expressions", quoted(&first.to_string())),
                        hint,
                    ));
                }
            },
        };
        tokens.push((token, at));
        rest = &rest[len..];
    }
}

/// A text in single quotes; a quote in it is doubled.
fn quoted_text(rest: &str) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((index, char)) = chars.next() {
        match char {
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                text.push('\'');
            }
            '\'' => return Some((Token::Text(text), index + 1)),
            char => text.push(char),
        }
    }
    None
}

fn number(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
        }
    }
    (Token::Number(rest[..end].to_owned()), end)
}

struct Parser {
    tokens: Vec<(Token, Position)>,
    next: usize,
    end: Position,
    depth: usize,
}

impl Parser {
    fn at(&self) -> Position {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.next), Some((Token::Sign(found), _)) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.next), Some((Token::Word(found), _)) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Wrong> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(wrong(self.at(), format!("expected `{sign}`{}", self.found()), None))
    }

    fn found(&self) -> String {
        match self.tokens.get(self.next) {
            Some((token, _)) => format!(", found {}", shown(token)),
            None => ", found the end".to_owned(),
        }
    }

    fn expression(&mut self, level: u8) -> Result<Expr, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(wrong(
                self.at(),
                format!("the expression nests deeper than {DEPTH_MAX} levels"),
                None,
            ));
        }
        let mut left = self.operand()?;
        // A chain of operators is a loop, but makes a tree as deep as it is long.
        let mut n_links = 0;
        loop {
            let at = self.at();
            if let Some(negated) = self.membership(level) {
                left = self.members(left, negated)?;
                continue;
            }
            if level <= 3 && self.word("is") {
                let negated = self.word("not");
                if !self.word("null") {
                    return Err(wrong(self.at(), format!("expected `null`{}", self.found()), None));
                }
                left = Expr::IsNull { value: Box::new(left), negated };
                continue;
            }
            let Some((operator, strength)) = self.operator(level) else { break };
            n_links += 1;
            if n_links > DEPTH_MAX {
                let hint = Some("name parts of it as metrics of their own");
                return Err(wrong(at, format!("more than {DEPTH_MAX} operations in a row"), hint));
            }
            let right = self.expression(strength + 1)?;
            left = Expr::Binary { operator, left: Box::new(left), right: Box::new(right), at };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `in` or `not in`.
    fn membership(&mut self, level: u8) -> Option<bool> {
        if level > 3 {
            return None;
        }
        if self.word("in") {
            return Some(false);
        }
        let before = self.next;
        if self.word("not") && self.word("in") {
            return Some(true);
        }
        self.next = before;
        None
    }

    fn members(&mut self, value: Expr, negated: bool) -> Result<Expr, Wrong> {
        self.expect("(")?;
        let list = self.list()?;
        if list.is_empty() {
            return Err(wrong(self.at(), "`in ()` is never true".to_owned(), None));
        }
        Ok(Expr::In { value: Box::new(value), list, negated })
    }

    /// The next operator, if it binds at least as strongly as `level`.
    fn operator(&mut self, level: u8) -> Option<(Operator, u8)> {
        let (token, _) = self.tokens.get(self.next)?;
        let (operator, strength) = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("or") => (Operator::Or, 1),
            Token::Word(word) if word.eq_ignore_ascii_case("and") => (Operator::And, 2),
            Token::Sign("=" | "==") => (Operator::Equal, 3),
            Token::Sign("!=" | "<>") => (Operator::NotEqual, 3),
            Token::Sign("<") => (Operator::Less, 3),
            Token::Sign("<=") => (Operator::LessOrEqual, 3),
            Token::Sign(">") => (Operator::Greater, 3),
            Token::Sign(">=") => (Operator::GreaterOrEqual, 3),
            Token::Sign("+") => (Operator::Plus, 4),
            Token::Sign("-") => (Operator::Minus, 4),
            Token::Sign("*") => (Operator::Times, 5),
            Token::Sign("/") => (Operator::Divided, 5),
            Token::Sign("%") => (Operator::Modulo, 5),
            Token::Number(_) | Token::Text(_) | Token::Word(_) | Token::Sign(_) => return None,
        };
        (strength >= level).then(|| {
            self.next += 1;
            (operator, strength)
        })
    }

    fn operand(&mut self) -> Result<Expr, Wrong> {
        if self.word("not") {
            return Ok(Expr::Not(Box::new(self.expression(3)?)));
        }
        if self.sign("-") {
            return Ok(Expr::Negative(Box::new(self.expression(6)?)));
        }
        if self.sign("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let at = self.at();
        let token = self.tokens.get(self.next).map(|(token, _)| token.clone());
        match token {
            Some(Token::Number(number)) => {
                self.next += 1;
                Ok(Expr::Number(number))
            }
            Some(Token::Text(text)) => {
                self.next += 1;
                Ok(Expr::Text(text))
            }
            Some(Token::Word(word)) => {
                self.next += 1;
                self.named(word, at)
            }
            Some(Token::Sign(_)) | None => {
                Err(wrong(at, format!("expected a field, a number or a text{}", self.found()), None))
            }
        }
    }

    fn named(&mut self, word: String, at: Position) -> Result<Expr, Wrong> {
        if self.sign("(") {
            let Some(function) = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(&word))
            else {
                let (message, hint) = unknown_function(&word);
                return Err(Wrong { at, message, hint });
            };
            return Ok(Expr::Call { function, arguments: self.list()?, at });
        }
        Ok(match word.to_ascii_lowercase().as_str() {
            "true" => Expr::Bool(true),
            "false" => Expr::Bool(false),
            "null" => Expr::Null,
            "and" | "or" | "in" | "is" => {
                return Err(wrong(at, format!("expected a field, a number or a text, found `{word}`"), None));
            }
            _ => Expr::Name { name: word, at },
        })
    }

    /// Values with commas between them, up to the closing bracket.
    fn list(&mut self) -> Result<Vec<Expr>, Wrong> {
        let mut list = Vec::new();
        if self.sign(")") {
            return Ok(list);
        }
        loop {
            list.push(self.expression(0)?);
            if !self.sign(",") {
                self.expect(")")?;
                return Ok(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expression;

    fn sql(text: &str) -> Result<String, String> {
        match parse(text, Position::START) {
            Ok(root) => Ok(Expression { text: text.to_owned(), root }.sql(&|name| format!("`{name}`"))),
            Err(wrong) => Err(format!("{}: {}", wrong.at.column, wrong.message)),
        }
    }

    #[test]
    fn operators_bind_as_in_sql() {
        let check = |text, expected: &str| assert_eq!(sql(text).as_deref(), Ok(expected), "{text}");
        check("watch_ms / 3.6e6", "(`watch_ms` / 3.6e6)");
        check("a + b * c - d", "((`a` + (`b` * `c`)) - `d`)");
        check("not a and b = 1 or c", "(((NOT `a`) AND (`b` = 1)) OR `c`)");
        check("not a = 1", "(NOT (`a` = 1))");
        check(
            "a not in ('it''s', -2) and b is not null",
            "((`a` NOT IN ('it\\'s', (-2))) AND (`b` IS NOT NULL))",
        );
        check("IF(a, todate(ts), NULL)", "if(`a`, toDate(`ts`), NULL)");
    }

    #[test]
    fn what_is_no_expression_is_refused_where_it_goes_wrong() {
        let check = |text, expected: &str| assert_eq!(sql(text), Err(expected.to_owned()), "{text}");
        check("a +", "4: expected a field, a number or a text, found the end");
        check("a b", "3: expected an operator or the end, found `b`");
        check("sleep(1)", "1: there is no function `sleep`");
        check("a = \"x\"", "5: `\\\"` is not used in expressions");
        check("a; drop", "2: `;` is not used in expressions");
        check("'a", "1: a text without its closing `'`");
    }

    #[test]
    fn hostile_expressions_cost_little() {
        for text in [
            "(".repeat(4_000),
            "-".repeat(4_000),
            "not ".repeat(1_000),
            "a+".repeat(2_000),
            "1".repeat(1 << 20),
        ] {
            assert!(sql(&text).is_err());
        }
    }
}
