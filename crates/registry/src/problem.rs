//! What the registry says no with: the codes and messages that Confluent's clients know.

use std::fmt;

use serde::Serialize;

use crate::subject::Subject;

/// An answer that is no: the body of the HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Five digits, or an HTTP status.
    #[serde(rename = "error_code")]
    pub code: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for Problem {}

/// The largest part of a schema's text that a message repeats, in bytes.
const ECHO_MAX: usize = 1024;

impl Problem {
    /// A problem with a message of its own.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The HTTP status: the code's first three digits.
    #[must_use]
    pub const fn status(&self) -> u16 {
        let status = if self.code >= 10_000 { self.code / 100 } else { self.code };
        #[expect(clippy::cast_possible_truncation, reason = "at most three digits are left")]
        let status = status as u16;
        status
    }

    pub(crate) fn subject_not_found(subject: &str) -> Self {
        Self::new(40401, format!("Subject '{subject}' not found."))
    }

    pub(crate) fn version_not_found(version: i32) -> Self {
        Self::new(40402, format!("Version {version} not found."))
    }

    pub(crate) fn schema_not_found() -> Self {
        Self::new(40403, "Schema not found")
    }

    pub(crate) fn schema_id_not_found(id: &str) -> Self {
        Self::new(40403, format!("Schema {id} not found"))
    }

    pub(crate) fn invalid_subject(subject: &str) -> Self {
        Self::new(42208, format!("The specified subject '{subject}' is not a valid."))
    }

    pub(crate) fn invalid_version(version: &str) -> Self {
        Self::new(
            42202,
            format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between \
                 [1, 2^31-1] and the string \"latest\""
            ),
        )
    }

    /// A schema that cannot be read: what was sent, cut to a bearable length, and why.
    pub(crate) fn invalid_schema(sent: &str, details: &str) -> Self {
        let end = (0..=ECHO_MAX.min(sent.len())).rev().find(|at| sent.is_char_boundary(*at)).unwrap_or(0);
        let cut = if end < sent.len() { "..." } else { "" };
        Self::new(42201, format!("Invalid schema {}{cut}, details: {details}", &sent[..end]))
    }

    /// A schema that may not follow the subject's versions.
    pub(crate) fn incompatible(subject: &Subject, reasons: &[String]) -> Self {
        let message = format!(
            "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", \
             details: [{}]",
            reasons.join(", ")
        );
        Self::new(40901, message)
    }

    pub(crate) fn unknown_leader() -> Self {
        Self::new(50004, "Register schema request failed since leader is unknown")
    }

    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(42205, message)
    }
}
