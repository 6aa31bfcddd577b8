//! Names of subjects and contexts.
//!
//! A qualified subject is `:.context:name`; one of the default context, `.`, is just its name. Ids are
//! unique within a context.

use std::fmt;

use crate::problem::Problem;

/// The context of subjects that name none.
pub const DEFAULT_CONTEXT: &str = ".";

/// The scope of settings for whatever has none of its own.
pub const GLOBAL_SCOPE: &str = ":.__GLOBAL:";

/// A subject, or with an empty name the whole context, in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    context: String,
    name: String,
}

impl Subject {
    /// Reads a name as it stands in a URL or a record. `context` is where a name without one belongs.
    #[must_use]
    pub fn parse(text: &str, context: &str) -> Self {
        if let Some((of, name)) = text.strip_prefix(':').and_then(|rest| rest.split_once(':'))
            && of.starts_with('.')
        {
            return Self { context: of.to_owned(), name: name.to_owned() };
        }
        Self { context: context.to_owned(), name: text.to_owned() }
    }

    /// A subject that a schema may be registered under.
    ///
    /// # Errors
    /// If the name is empty, reserved or has control characters.
    pub fn checked(self) -> Result<Self, Problem> {
        let reserved = matches!(self.name.as_str(), "" | "__GLOBAL" | "__EMPTY");
        if reserved || self.name.chars().chain(self.context.chars()).any(char::is_control) {
            return Err(Problem::invalid_subject(&self.name));
        }
        Ok(self)
    }

    /// The scope of a whole context.
    #[must_use]
    pub fn whole(context: &str) -> Self {
        Self { context: context.to_owned(), name: String::new() }
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The name inside of the context.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The spelling in records: of the default context itself, nothing.
    #[must_use]
    pub fn qualified(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.context == DEFAULT_CONTEXT {
            f.write_str(&self.name)
        } else {
            write!(f, ":{}:{}", self.context, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, context: &str, name: &str, qualified: &str) {
        let subject = Subject::parse(text, DEFAULT_CONTEXT);
        assert_eq!((subject.context(), subject.name()), (context, name));
        assert_eq!(subject.qualified(), qualified);
    }

    #[test]
    fn a_subject_has_one_spelling() {
        check("s", ".", "s", "s");
        check(":.:s", ".", "s", "s");
        check(":.c:s", ".c", "s", ":.c:s");
        check(":.c:", ".c", "", ":.c:");
        check(":x", ".", ":x", ":x");
        check(":.c:a:b", ".c", "a:b", ":.c:a:b");
    }

    #[test]
    fn reserved_names_and_control_characters_are_refused() {
        for name in ["", "__GLOBAL", "__EMPTY", "a\u{7}b"] {
            assert_eq!(Subject::parse(name, ".").checked().unwrap_err().code, 42208);
        }
    }
}
