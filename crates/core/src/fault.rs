//! The world failed: retried or waited for, never dead-lettered.

use std::fmt;

/// What kind of failure, which decides how fast to try again and whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// No connection, a time-out, a connection that broke.
    Network,
    /// The server is there and says that it cannot take more now.
    Overload,
    /// Read-only replica, lost coordination, a node that starts or stops.
    Unavailable,
    /// The user or password is refused, or a grant is missing. Needs a person.
    Denied,
    /// The table, database or topic does not exist. Needs a person, or time.
    Missing,
    /// This process does not own the partition any more: its work belongs to another.
    Fenced,
    /// An answer that the tables do not know.
    Unknown,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Overload,
        Self::Unavailable,
        Self::Denied,
        Self::Missing,
        Self::Fenced,
        Self::Unknown,
    ];

    /// The name that metrics and status use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Overload => "overload",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Fenced => "fenced",
            Self::Unknown => "unknown",
        }
    }

    /// Whether waiting alone may not be enough.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        match self {
            Self::Denied | Self::Missing => true,
            Self::Network | Self::Overload | Self::Unavailable | Self::Fenced | Self::Unknown => false,
        }
    }
}

/// A failure of the world, classified where it entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The class.
    pub kind: FaultKind,
    /// The failing system's own code (ClickHouse exception code, Kafka error code), if it gave one.
    pub code: Option<i32>,
    /// What happened, lower case, with the address or object concerned. Never a secret.
    pub message: String,
}

impl Fault {
    /// A fault without a foreign code.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.code {
            Some(code) => write!(f, " (code {code})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
