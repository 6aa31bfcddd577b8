//! Why a record cannot become a row.

use std::fmt;

/// The stage of the path that refused a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The bytes do not parse.
    Decode,
    /// The event's name, version or table cannot be told.
    Resolve,
    /// The schema refuses a value.
    Validate,
    /// An enrichment refuses the row.
    Enrich,
    /// A value does not fit its column.
    Encode,
    /// The server refuses the row.
    Insert,
}

impl Stage {
    /// Every stage, in the order of the path.
    pub const ALL: [Self; 6] =
        [Self::Decode, Self::Resolve, Self::Validate, Self::Enrich, Self::Encode, Self::Insert];

    /// The name that headers, tables and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Resolve => "resolve",
            Self::Validate => "validate",
            Self::Enrich => "enrich",
            Self::Encode => "encode",
            Self::Insert => "insert",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)+) => {
        /// The closed list of reasons. Faults of the world (`registry_unavailable`, `table_missing`,
        /// `clickhouse_unavailable`) are not here: they never dead-letter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ReasonCode { $($(#[$doc])* $variant,)+ }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that headers, tables, metrics and configuration use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reason_codes! {
    /// The value is not UTF-8.
    NotUtf8 => "not_utf8",
    /// The value is not one JSON text.
    NotJson => "not_json",
    /// The value is not the Avro encoding of its schema.
    NotAvro => "not_avro",
    /// The value is not the Protobuf encoding of a message of its schema.
    NotProtobuf => "not_protobuf",
    /// A JSON object names a member twice, so which value is meant cannot be told.
    DuplicateField => "duplicate_field",
    /// The value is null and the configuration does not say what a tombstone means.
    Tombstone => "tombstone",
    /// The Confluent wire format's magic byte is absent.
    BadMagic => "bad_magic",
    /// The registry says that the schema id does not exist.
    UnknownSchemaId => "unknown_schema_id",
    /// The record's schema is of another language, or none that values can be read by.
    WrongSchema => "wrong_schema",
    /// No table belongs to the event.
    UnknownEvent => "unknown_event",
    /// The event is known, its version is not.
    UnknownVersion => "unknown_version",
    /// A required field is absent, or a column without default has no value.
    MissingRequired => "missing_required",
    /// A value's type is not the declared one.
    WrongType => "wrong_type",
    /// A date, time or date-time does not parse.
    BadTimestamp => "bad_timestamp",
    /// A value is not one of the listed ones.
    BadEnum => "bad_enum",
    /// A number is outside its bounds, or outside what its column holds without loss.
    OutOfRange => "out_of_range",
    /// A string, array or object has more or fewer members than allowed.
    TooLong => "too_long",
    /// A string does not match its pattern.
    Pattern => "pattern",
    /// A string does not have its declared format (other than dates and times).
    BadFormat => "bad_format",
    /// A field that the schema or the table does not know.
    ExtraField => "extra_field",
    /// A rule of the schema that has no code of its own (`oneOf`, `not`, `if` and so on).
    SchemaViolation => "schema_violation",
    /// Personal data where the catalog forbids it.
    PiiViolation => "pii_violation",
    /// An enrichment failed on the row.
    EnrichFailed => "enrich_failed",
    /// The record is larger than the configured limit, or nests deeper.
    TooLarge => "too_large",
    /// A value cannot be encoded for its column.
    EncodeFailed => "encode_failed",
    /// ClickHouse refused the row.
    RowRefused => "row_refused",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The code, for counting and for queries.
    pub code: ReasonCode,
    /// Where in the event: a JSON Pointer (RFC 6901) such as `/user/age`; empty for the whole value.
    pub path: String,
    /// The ClickHouse column, where one is concerned.
    pub column: Option<String>,
    /// The rule: a JSON Schema keyword, a ClickHouse type, or a server's exception code.
    pub rule: Option<String>,
    /// What was expected, in words, values in backticks.
    pub expected: String,
    /// What was found, shortened to at most [`Reason::FOUND_BYTES_MAX`] bytes.
    pub found: String,
}

impl Reason {
    /// The longest `found` that is kept; the whole value stands in the dead letter anyway.
    pub const FOUND_BYTES_MAX: usize = 200;

    /// A reason about the whole value.
    #[must_use]
    pub fn new(code: ReasonCode, expected: impl Into<String>, found: &str) -> Self {
        Self {
            code,
            path: String::new(),
            column: None,
            rule: None,
            expected: expected.into(),
            found: shorten(found, Self::FOUND_BYTES_MAX),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field `{}`: ", self.path)?;
        }
        if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

/// A record that cannot become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Where on the path it was refused.
    pub stage: Stage,
    /// What is wrong, the decisive reason first. Never empty; capped by whoever builds it.
    pub reasons: Vec<Reason>,
    /// The event's name, if it was known by then.
    pub event: Option<String>,
    /// The table that the row was for, if it was known by then.
    pub table: Option<String>,
}

impl Reject {
    /// A reject for one reason.
    #[must_use]
    pub fn new(stage: Stage, reason: Reason) -> Self {
        Self { stage, reasons: vec![reason], event: None, table: None }
    }

    /// The decisive reason.
    ///
    /// # Panics
    /// If the reject was built without a reason, which is a bug.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        self.reasons.first().expect("a reject has at least one reason")
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason();
        write!(f, "{} at {}: {reason}", reason.code, self.stage)
    }
}

/// Cuts at a character boundary and marks the cut.
fn shorten(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max - '…'.len_utf8());
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_find_is_cut_at_a_character_and_marked() {
        let reason = Reason::new(ReasonCode::Pattern, "`^a$`", &"ä".repeat(500));
        assert!(reason.found.len() <= Reason::FOUND_BYTES_MAX);
        assert!(reason.found.ends_with('…'));
    }

    #[test]
    fn codes_are_distinct_snake_case() {
        let mut names: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ReasonCode::ALL.len());
    }
}
