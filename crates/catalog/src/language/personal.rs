//! Classes of personal data, and what happens to their fields before they are stored.

use std::fmt;

use serde_json::{Value, json};
use tidegate_yaml::shape::{Located, Word};
use tidegate_yaml::{choice, section};

section! {
    /// A class of personal data: what happens to its fields before they are stored. Rules are checked before.
    pub struct PiiClass as "a class of personal data" {
        /// What happens.
        action: PiiAction;
        /// How pseudonyms are made.
        method: PiiMethod = "hmac_sha256";
        /// Where the key of pseudonyms is: `env:VARIABLE`, or `file:/path`. It has at least 32 bytes.
        key_ref: Option<Located<KeyRef>>;
        /// Fields whose values tell pseudonyms apart, too: the same person under two tenants is two.
        per: Vec<Located<String>> = "[]";
        /// How many characters of a text `truncate` keeps.
        characters_max: Option<u32>;
        /// How many bits of an IPv4 address `truncate` keeps.
        ipv4_prefix: u16 = "24", "0".."32";
        /// How many bits of an IPv6 address `truncate` keeps.
        ipv6_prefix: u16 = "48", "0".."128";
        /// Of what number `generalise` makes a whole number the next multiple below.
        step: Option<u64>;
        /// The period whose beginning `generalise` makes of a date or timestamp.
        to: PiiPeriod = "month";
        /// Whether producers do it before they send such a field, so that Tidegate has nothing to do.
        upstream: bool = "false";
        /// What it covers.
        doc: Option<String>;
    }
}

choice! {
    /// What happens to personal data before it is stored.
    pub enum PiiAction {
        /// Nothing.
        Keep => "keep",
        /// It is not stored: its column has its default.
        Drop => "drop",
        /// A text, an id or an address is replaced by a keyed hash, which is the same for the same value.
        Pseudonymise => "pseudonymise",
        /// An url keeps its origin, a date or timestamp its period, a whole number the multiple below it.
        Generalise => "generalise",
        /// An address keeps its network, a text its first characters.
        Truncate => "truncate",
        /// It is readable to a role only. That is a matter of the server's grants: Tidegate stores it as it comes, which
        /// `up` refuses unless it is allowed.
        Restrict => "restrict",
    }
}

choice! {
    /// How pseudonyms are made.
    pub enum PiiMethod {
        /// HMAC-SHA-256 of the value's text, the first 16 bytes as 32 hexadecimal digits.
        HmacSha256 => "hmac_sha256",
    }
}

choice! {
    /// How coarse a date becomes.
    pub enum PiiPeriod {
        /// A day.
        Day => "day",
        /// A month.
        Month => "month",
        /// A year.
        Year => "year",
    }
}

choice! {
    /// What the table of dead letters keeps of a record.
    pub enum LetterValues {
        /// Its key, its value and its headers, as they came.
        Keep => "keep",
        /// Where it is, and why it was refused. The record itself is in the dead-letter topic.
        Withhold => "withhold",
    }
}

/// Where a key is. The catalog never holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// In an environment variable of the sink.
    Variable(String),
    /// In a file, by its path from the root. A line break at its end is not part of the key.
    File(String),
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Word for KeyRef {
    const EXPECTED: &'static str = "where a key is, such as `env:CDP_PII_KEY` or `file:/run/secrets/pii`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        if let Some(name) = text.strip_prefix("env:") {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let legal = name.bytes().all(word) && !name.starts_with(|first: char| first.is_ascii_digit());
            return if legal && !name.is_empty() {
                Ok(Self::Variable(name.to_owned()))
            } else {
                Err(Some("variables have letters, digits and `_`"))
            };
        }
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') && !path.contains(['\'', '\n']) => {
                Ok(Self::File(path.to_owned()))
            }
            Some(_) => Err(Some("write the path from the root, `file:/..`")),
            None => Err(Some("say where it is, never the key itself")),
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.*)$"})
    }
}

impl PiiClass {
    /// Whether the sink changes fields of the class.
    #[must_use]
    pub const fn carried_out(&self) -> bool {
        match self.action {
            PiiAction::Drop | PiiAction::Pseudonymise | PiiAction::Generalise | PiiAction::Truncate => {
                !self.upstream
            }
            PiiAction::Keep | PiiAction::Restrict => false,
        }
    }

    /// Whether fields of the class are stored as texts, whatever they are.
    #[must_use]
    pub fn makes_texts(&self) -> bool {
        self.carried_out() && self.action == PiiAction::Pseudonymise
    }
}
