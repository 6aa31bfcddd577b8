//! Expressions over fields and metrics: `watch_ms / 1000`, `completed and device_platform in ('ios', 'android')`.
//!
//! The grammar is small on purpose: what it accepts is known to be free of side effects, of subqueries and
//! of time and chance, and can be checked name by name. It is printed as ClickHouse's SQL with every name
//! quoted and every operation in brackets.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_yaml::node::Node;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Shape, comma_list, quoted};
use tidegate_yaml::{Mistake, Position};

mod parse;

/// An expression with the places of its names.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    root: Expr,
}

/// One part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// As it was written.
    Number(String),
    Text(String),
    Bool(bool),
    Null,
    Name {
        name: String,
        at: Position,
    },
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Binary {
        operator: Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        at: Position,
    },
    In {
        value: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    IsNull {
        value: Box<Expr>,
        negated: bool,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Expr>,
        at: Position,
    },
}

/// An operation on two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divided,
    Modulo,
}

impl Operator {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Or => "OR",
            Self::And => "AND",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divided => "/",
            Self::Modulo => "%",
        }
    }
}

/// What sort of value an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// A timestamp.
    Time,
    /// A day.
    Date,
    /// Any of these: null, or what an `if` comes to.
    Any,
    /// A list, an object, a mapping.
    Composite,
}

impl Sort {
    /// In words, with the article.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Time => "a timestamp",
            Self::Date => "a day",
            Self::Any => "anything",
            Self::Composite => "a list or mapping",
        }
    }

    pub(crate) fn fits(self, expected: Self) -> bool {
        match (self, expected) {
            (Self::Any, _) | (_, Self::Any) => true,
            // Texts with a date in them are compared with dates, as SQL does.
            (Self::Text, Self::Time | Self::Date) | (Self::Time | Self::Date, Self::Text) => true,
            (Self::Time, Self::Date) | (Self::Date, Self::Time) => true,
            (Self::Bool, Self::Number) | (Self::Number, Self::Bool) => true,
            (one, other) => one == other,
        }
    }
}

/// A function that expressions may call, by ClickHouse's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    arguments: &'static [Sort],
    /// Whether the last argument may be repeated.
    repeated: bool,
    result: Sort,
}

const fn function(name: &'static str, arguments: &'static [Sort], result: Sort) -> Function {
    Function { name, arguments, repeated: false, result }
}

const fn variadic(name: &'static str, arguments: &'static [Sort], result: Sort) -> Function {
    Function { name, arguments, repeated: true, result }
}

/// Every function that may be called: deterministic, and without access to anything but its arguments.
pub(crate) static FUNCTIONS: [Function; 33] = [
    function("abs", &[Sort::Number], Sort::Number),
    function("ceil", &[Sort::Number], Sort::Number),
    variadic("coalesce", &[Sort::Any, Sort::Any], Sort::Any),
    variadic("concat", &[Sort::Text, Sort::Text], Sort::Text),
    function("dateDiff", &[Sort::Text, Sort::Time, Sort::Time], Sort::Number),
    function("empty", &[Sort::Any], Sort::Bool),
    function("endsWith", &[Sort::Text, Sort::Text], Sort::Bool),
    function("exp", &[Sort::Number], Sort::Number),
    function("floor", &[Sort::Number], Sort::Number),
    variadic("greatest", &[Sort::Any, Sort::Any], Sort::Any),
    function("has", &[Sort::Composite, Sort::Any], Sort::Bool),
    function("if", &[Sort::Bool, Sort::Any, Sort::Any], Sort::Any),
    function("ifNull", &[Sort::Any, Sort::Any], Sort::Any),
    function("intDiv", &[Sort::Number, Sort::Number], Sort::Number),
    variadic("least", &[Sort::Any, Sort::Any], Sort::Any),
    function("length", &[Sort::Any], Sort::Number),
    function("log", &[Sort::Number], Sort::Number),
    function("lower", &[Sort::Text], Sort::Text),
    function("notEmpty", &[Sort::Any], Sort::Bool),
    function("nullIf", &[Sort::Any, Sort::Any], Sort::Any),
    function("position", &[Sort::Text, Sort::Text], Sort::Number),
    variadic("round", &[Sort::Number, Sort::Number], Sort::Number),
    function("sqrt", &[Sort::Number], Sort::Number),
    function("startsWith", &[Sort::Text, Sort::Text], Sort::Bool),
    variadic("substring", &[Sort::Text, Sort::Number, Sort::Number], Sort::Text),
    function("toDate", &[Sort::Time], Sort::Date),
    function("toDayOfWeek", &[Sort::Time], Sort::Number),
    function("toHour", &[Sort::Time], Sort::Number),
    function("toStartOfDay", &[Sort::Time], Sort::Time),
    function("toStartOfHour", &[Sort::Time], Sort::Time),
    function("toStartOfMonth", &[Sort::Time], Sort::Date),
    function("toString", &[Sort::Any], Sort::Text),
    function("upper", &[Sort::Text], Sort::Text),
];

impl Expression {
    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name, if that is all there is.
    #[must_use]
    pub fn only_name(&self) -> Option<&str> {
        match &self.root {
            Expr::Name { name, .. } => Some(name),
            Expr::Number(_)
            | Expr::Text(_)
            | Expr::Bool(_)
            | Expr::Null
            | Expr::Not(_)
            | Expr::Negative(_)
            | Expr::Binary { .. }
            | Expr::In { .. }
            | Expr::IsNull { .. }
            | Expr::Call { .. } => None,
        }
    }

    /// Every name with its place, in the order of the text.
    #[must_use]
    pub fn names(&self) -> Vec<(&str, Position)> {
        let mut names = Vec::new();
        collect(&self.root, &mut names);
        names
    }

    /// ClickHouse's SQL; `name` says what a name stands for, as SQL.
    #[must_use]
    pub fn sql(&self, name: &dyn Fn(&str) -> String) -> String {
        let mut sql = String::new();
        print(&self.root, name, &mut sql);
        sql
    }

    /// What sort of value it has, given the sorts of its names; every part that does not fit is given to
    /// `wrong`.
    pub fn sort(&self, name: &dyn Fn(&str) -> Sort, wrong: &mut dyn FnMut(Position, String)) -> Sort {
        sort(&self.root, name, wrong)
    }

    pub(crate) const fn root(&self) -> &Expr {
        &self.root
    }
}

impl Shape for Expression {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let text = cx.text(node, "an expression such as `watch_ms / 1000`")?;
        let start = Position { column: node.at.column + usize::from(node.quoted), ..node.at };
        match parse::parse(&text, start) {
            Ok(root) => Some(Self { text, root }),
            Err(wrong) => {
                cx.report(Mistake::BadExpression, wrong.at, wrong.message, wrong.hint);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "number", "boolean"]})
    }
}

fn collect<'a>(expr: &'a Expr, names: &mut Vec<(&'a str, Position)>) {
    match expr {
        Expr::Number(_) | Expr::Text(_) | Expr::Bool(_) | Expr::Null => {}
        Expr::Name { name, at } => names.push((name, *at)),
        Expr::Not(inner) | Expr::Negative(inner) => collect(inner, names),
        Expr::Binary { left, right, .. } => {
            collect(left, names);
            collect(right, names);
        }
        Expr::In { value, list, .. } => {
            collect(value, names);
            list.iter().for_each(|item| collect(item, names));
        }
        Expr::IsNull { value, .. } => collect(value, names),
        Expr::Call { arguments, .. } => arguments.iter().for_each(|argument| collect(argument, names)),
    }
}

/// A text as ClickHouse reads it, on one line.
pub(crate) fn sql_text(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{}'", escaped.replace('\n', "\\n").replace('\r', "\\r"))
}

fn print(expr: &Expr, name: &dyn Fn(&str) -> String, sql: &mut String) {
    // Writing into a `String` does not fail.
    match expr {
        Expr::Number(number) => sql.push_str(number),
        Expr::Text(text) => sql.push_str(&sql_text(text)),
        Expr::Bool(value) => sql.push_str(if *value { "true" } else { "false" }),
        Expr::Null => sql.push_str("NULL"),
        Expr::Name { name: text, .. } => sql.push_str(&name(text)),
        Expr::Not(inner) => {
            sql.push_str("(NOT ");
            print(inner, name, sql);
            sql.push(')');
        }
        Expr::Negative(inner) => {
            sql.push_str("(-");
            print(inner, name, sql);
            sql.push(')');
        }
        Expr::Binary { operator, left, right, .. } => {
            sql.push('(');
            print(left, name, sql);
            let _ = write!(sql, " {} ", operator.sql());
            print(right, name, sql);
            sql.push(')');
        }
        Expr::In { value, list, negated } => {
            sql.push('(');
            print(value, name, sql);
            sql.push_str(if *negated { " NOT IN (" } else { " IN (" });
            commas(list, name, sql);
            sql.push_str("))");
        }
        Expr::IsNull { value, negated } => {
            sql.push('(');
            print(value, name, sql);
            sql.push_str(if *negated { " IS NOT NULL)" } else { " IS NULL)" });
        }
        Expr::Call { function, arguments, .. } => {
            let _ = write!(sql, "{}(", function.name);
            commas(arguments, name, sql);
            sql.push(')');
        }
    }
}

fn commas(list: &[Expr], name: &dyn Fn(&str) -> String, sql: &mut String) {
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            sql.push_str(", ");
        }
        print(item, name, sql);
    }
}

fn sort(expr: &Expr, name: &dyn Fn(&str) -> Sort, wrong: &mut dyn FnMut(Position, String)) -> Sort {
    match expr {
        Expr::Number(_) => Sort::Number,
        Expr::Text(_) => Sort::Text,
        Expr::Bool(_) => Sort::Bool,
        Expr::Null => Sort::Any,
        Expr::Name { name: text, .. } => name(text),
        Expr::Not(inner) => {
            sort(inner, name, wrong);
            Sort::Bool
        }
        Expr::Negative(inner) => {
            sort(inner, name, wrong);
            Sort::Number
        }
        Expr::Binary { operator, left, right, at } => {
            let (left, right) = (sort(left, name, wrong), sort(right, name, wrong));
            binary(*operator, (left, right), *at, wrong)
        }
        Expr::In { value, list, .. } => {
            let value = sort(value, name, wrong);
            for item in list {
                let item = sort(item, name, wrong);
                if !item.fits(value) {
                    let at = place(expr);
                    wrong(at, format!("{} is looked for among {}", value.as_str(), item.as_str()));
                }
            }
            Sort::Bool
        }
        Expr::IsNull { value, .. } => {
            sort(value, name, wrong);
            Sort::Bool
        }
        Expr::Call { function, arguments, at } => call(function, arguments, *at, name, wrong),
    }
}

fn binary(
    operator: Operator,
    (left, right): (Sort, Sort),
    at: Position,
    wrong: &mut dyn FnMut(Position, String),
) -> Sort {
    let sides = |expected: Sort, wrong: &mut dyn FnMut(Position, String)| {
        for side in [left, right] {
            if !side.fits(expected) {
                let message =
                    format!("`{}` takes {}, found {}", operator.sql(), expected.as_str(), side.as_str());
                wrong(at, message);
            }
        }
    };
    match operator {
        Operator::Or | Operator::And => {
            sides(Sort::Bool, wrong);
            Sort::Bool
        }
        Operator::Plus | Operator::Minus | Operator::Times | Operator::Divided | Operator::Modulo => {
            sides(Sort::Number, wrong);
            Sort::Number
        }
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::Greater
        | Operator::GreaterOrEqual => {
            if !left.fits(right) || left == Sort::Composite {
                wrong(at, format!("{} is compared with {}", left.as_str(), right.as_str()));
            }
            Sort::Bool
        }
    }
}

fn call(
    function: &Function,
    arguments: &[Expr],
    at: Position,
    name: &dyn Fn(&str) -> Sort,
    wrong: &mut dyn FnMut(Position, String),
) -> Sort {
    let sorts: Vec<Sort> = arguments.iter().map(|argument| sort(argument, name, wrong)).collect();
    let expected = function.arguments;
    let least = if function.repeated { expected.len() - 1 } else { expected.len() };
    if sorts.len() < least || (!function.repeated && sorts.len() > expected.len()) {
        let more = if function.repeated { " or more" } else { "" };
        wrong(at, format!("`{}` takes {least}{more} values, found {}", function.name, sorts.len()));
        return function.result;
    }
    for (index, found) in sorts.iter().enumerate() {
        let Some(wanted) = expected.get(index).or(expected.last()) else { continue };
        if !found.fits(*wanted) {
            let message = format!("`{}` takes {}, found {}", function.name, wanted.as_str(), found.as_str());
            wrong(at, message);
        }
    }
    // What is chosen among values has their sort, if they agree.
    match (function.name, sorts.as_slice()) {
        ("if", [_, yes, no]) if yes == no => *yes,
        ("coalesce" | "ifNull" | "least" | "greatest" | "nullIf", [first, ..]) => *first,
        _ => function.result,
    }
}

/// The place of the first name in it.
fn place(expr: &Expr) -> Position {
    let mut names = Vec::new();
    collect(expr, &mut names);
    names.first().map_or(Position::START, |(_, at)| *at)
}

/// What is said of a function that there is not.
pub(crate) fn unknown_function(name: &str) -> (String, Option<String>) {
    let names = FUNCTIONS.iter().map(|function| function.name);
    let near = tidegate_yaml::nearest::nearest(name, names.clone());
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known functions: {}", comma_list(&names.collect::<Vec<_>>())),
    };
    (format!("there is no function {}", quoted(name)), Some(hint))
}
