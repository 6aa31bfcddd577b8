//! A mistake in a file, with its place and a way out.

use std::fmt;

use serde::Serialize;

use crate::reading::Found;

/// What kind of mistake; stable, for programs that read `--output json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mistake {
    /// The text is not YAML.
    Syntax,
    /// The file, its nesting or its number of values is over the limit.
    TooLarge,
    /// Anchors, aliases, tags, several documents: YAML that this file does not use.
    Unsupported,
    /// A mapping names a key twice.
    DuplicateKey,
    /// A key that the section does not have.
    UnknownKey,
    /// A required key is absent.
    MissingKey,
    /// A value of the wrong kind: a list for a text, say.
    WrongType,
    /// A value of the right kind that cannot be used.
    BadValue,
    /// A value that is not one of the listed ones.
    UnknownChoice,
    /// A number, size or duration outside its bounds.
    OutOfRange,
    /// An environment variable that is not set.
    MissingVariable,
    /// A secret's file that cannot be read.
    SecretFile,
    /// Two values that cannot both stand.
    Conflict,
    /// A name that nothing in the file bears.
    UnknownName,
    /// Things that are defined by one another.
    Cycle,
    /// An expression that cannot be read, or whose parts do not fit each other.
    BadExpression,
    /// A file that this one includes and that cannot be read.
    Unreadable,
}

impl Mistake {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownKey => "unknown_key",
            Self::MissingKey => "missing_key",
            Self::WrongType => "wrong_type",
            Self::BadValue => "bad_value",
            Self::UnknownChoice => "unknown_choice",
            Self::OutOfRange => "out_of_range",
            Self::MissingVariable => "missing_variable",
            Self::SecretFile => "secret_file",
            Self::Conflict => "conflict",
            Self::UnknownName => "unknown_name",
            Self::Cycle => "cycle",
            Self::BadExpression => "bad_expression",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Where something stands: line and column are counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which of the files that are read together, from 0.
    pub file: usize,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The first file's first character.
    pub const START: Self = Self { file: 0, line: 1, column: 1 };
}

/// One mistake. Never contains a secret: values are quoted only where a secret cannot stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The kind.
    pub code: Mistake,
    /// The file as it was named by the caller.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is, and what was expected.
    pub message: String,
    /// The next step, where one is known.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        write!(f, "  --> {}:{}:{} ({})", self.file, self.line, self.column, self.code.as_str())?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file, or with files that are read together, in their order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// How many mistakes are kept; a file with more has one cause for most of them.
    pub const KEPT_MAX: usize = 50;

    /// The mistakes with their files' names; `files` are named by [`Position::file`].
    #[must_use]
    pub fn new(files: &[String], mut found: Vec<Found>) -> Self {
        found.sort_by_key(|found| found.at);
        found.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let place = |found: Found| Diagnostic {
            code: found.code,
            file: files.get(found.at.file).cloned().unwrap_or_default(),
            line: found.at.line,
            column: found.at.column,
            message: found.message,
            hint: found.hint,
        };
        let mut list: Vec<Diagnostic> = found.into_iter().map(place).collect();
        list.truncate(Self::KEPT_MAX);
        Self(list)
    }

    /// The mistakes.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
