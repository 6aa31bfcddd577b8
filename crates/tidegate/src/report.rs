//! What the program tells, as values: filled from what ClickHouse and Kafka answer, printed as JSON by
//! serde or as text by `render`.

use std::collections::BTreeMap;

use serde::Serialize;

/// What became of the demo's records. The first five fields are an interface: they keep their names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// Records published, as the topic's offsets tell.
    pub records: u64,
    /// Table to rows, as ClickHouse counts them.
    pub rows: BTreeMap<String, u64>,
    /// Reason code to dead letters, as the dead-letter topic's headers tell.
    pub dead_letters: BTreeMap<String, u64>,
    /// `topic/partition` to records not yet accounted for.
    pub lag: BTreeMap<String, u64>,
    /// Whether every record is a row or a dead letter, once.
    pub accounted: bool,
    /// One dead letter of each reason.
    pub examples: BTreeMap<String, DeadLetterExample>,
    /// Where everything can be looked at.
    pub endpoints: Endpoints,
    /// The dead-letter topic.
    pub dead_letter_topic: String,
    /// How long the sink took, in seconds.
    pub seconds: f64,
    /// Commands worth trying next, most telling first.
    pub next: Vec<NextStep>,
}

/// One dead letter in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterExample {
    /// The original topic.
    pub topic: String,
    /// The original partition.
    pub partition: i32,
    /// The original offset.
    pub offset: i64,
    /// The table it was meant for, if that was known.
    pub table: Option<String>,
    /// The field as a JSON Pointer; empty for the whole value.
    pub field: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// Where the single-machine stack listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Kafka's bootstrap address.
    pub kafka: String,
    /// ClickHouse's HTTP address.
    pub clickhouse: String,
    /// The same for the user that only reads; empty if there is none.
    pub clickhouse_reader: String,
    /// ClickHouse's native TCP address; empty if the ClickHouse is not an embedded one.
    pub clickhouse_native: String,
    /// The schema registry's address; empty if there is none.
    pub registry: String,
    /// Tidegate's own HTTP address.
    pub api: String,
    /// Where the files are.
    pub data_dir: String,
}

/// What `tidegate up` tells once it is ready. The addresses are an interface: they keep their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpReport {
    /// Where everything listens.
    #[serde(flatten)]
    pub endpoints: Endpoints,
    /// What has been made of the catalog, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogReport>,
    /// Passwords that were made for this start, and are not told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Login>,
}

/// A catalog that is rolled out. A start that finds everything there makes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogReport {
    /// Its root file.
    pub file: String,
    /// Its name, which is also its connector's.
    pub name: String,
    /// The database of its tables.
    pub database: String,
    /// How many events it has.
    pub events: usize,
    /// Topics that were missing.
    pub topics_created: usize,
    /// Versions of schemas that the registry did not have.
    pub schemas_registered: usize,
    /// Tables and views that were missing.
    pub tables_created: usize,
    /// Classes of personal data to which something should be done, and to which nothing is.
    pub stored_as_it_comes: Vec<String>,
}

/// A user, or a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// For what.
    pub what: String,
    /// The user's name; empty for a token.
    pub user: String,
    /// The password or the token.
    pub password: String,
    /// Where it is kept.
    pub file: String,
}

/// A command to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextStep {
    /// What one sees then.
    pub title: String,
    /// The command line.
    pub command: String,
}

/// What `tidegate dlq list` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DlqListReport {
    /// The dead-letter topic.
    pub topic: String,
    /// Dead letters that match, by reason code; the listed ones are among them.
    pub counts: BTreeMap<String, u64>,
    /// The listed ones, newest first.
    pub letters: Vec<DlqLine>,
}

/// One dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DlqLine {
    /// The id, 32 hex digits.
    pub id: String,
    /// The reason code.
    pub code: String,
    /// The stage that refused the record.
    pub stage: String,
    /// How often it has been tried.
    pub attempt: u32,
    /// Whether it has been put back on its topic.
    pub replayed: bool,
    /// What was wrong, and where.
    #[serde(flatten)]
    pub example: DeadLetterExample,
}

/// What `tidegate dlq show` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DlqShowReport {
    /// The dead letter.
    #[serde(flatten)]
    pub letter: DlqLine,
    /// The event's name, if it was known.
    pub event: Option<String>,
    /// The record's timestamp, RFC 3339.
    pub timestamp: Option<String>,
    /// Where the dead letter itself lies: `topic/partition/offset`.
    pub stored: String,
    /// All reasons, the decisive one first.
    pub reasons: Vec<ReasonLine>,
    /// The record's own headers.
    pub headers: Vec<(String, Option<String>)>,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value.
    pub value: Option<Bytes>,
}

/// One reason of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonLine {
    /// The reason code.
    pub code: String,
    /// The field as a JSON Pointer.
    pub path: String,
    /// The column, if one is concerned.
    pub column: Option<String>,
    /// The rule: a JSON Schema keyword, a ClickHouse type, an exception code.
    pub rule: Option<String>,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// Bytes that may not be text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "encoding", content = "data", rename_all = "snake_case")]
pub enum Bytes {
    /// UTF-8.
    Text(String),
    /// Anything else, as hex digits.
    Hex(String),
}

impl Bytes {
    /// Text if it is text.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

/// What `tidegate dlq replay` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DlqReplayReport {
    /// The dead-letter topic.
    pub topic: String,
    /// Whether nothing was put back, only counted.
    pub dry_run: bool,
    /// Records put back (or that would be), by original topic.
    pub replayed: BTreeMap<String, u64>,
    /// Records that match and had been put back before.
    pub already: u64,
}

/// Why a connector halted; the exit code is 3.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HaltReport {
    /// The connector.
    pub connector: String,
    /// Refused records among the last `window`.
    pub refused: u64,
    /// How many records were looked at.
    pub window: u64,
    /// The configured share.
    pub bad_ratio: f64,
    /// Reason code to count, among those refused.
    pub reasons: BTreeMap<String, u64>,
    /// One refused record.
    pub example: Option<DeadLetterExample>,
    /// The configuration file, for the commands that go on.
    pub config: String,
}
