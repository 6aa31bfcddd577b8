//! A connector: which topics go to which tables, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::personal::{LetterValues, PersonalClass};
use crate::rules::ColumnRules;
use crate::scalar::{ByteSize, FieldPath, Identifier, Name, TimeFormat, Topic};
use crate::template::TableRoute;
use tidegate_yaml::diagnostic::Mistake;
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Shape, choose, or_variable, quoted};
use tidegate_yaml::{choice, section};

section! {
    /// A named, running pipeline: topics, format, schema, tables.
    pub struct Connector as "a connector" {
        /// The connector's name, in metrics, dead letters and the name of its consumer group.
        name: Name;
        /// The topics to read.
        topics: Vec<Topic>;
        /// The consumer group; `tidegate-<name>` if absent.
        group: Option<Name>;
        /// How a record's value is written.
        format: Format = "json";
        /// The table of each record: a template, or a template with exceptions.
        table: TableRoute;
        /// The database; that of `clickhouse` if absent.
        database: Option<Identifier>;
        /// The JSON Schema that events must satisfy; without one, the table alone decides. With `format:
        /// avro`, the Avro schema that records are read through: its fields, aliases and defaults.
        schema: Option<SchemaSource>;
        /// What becomes of fields that the table has no column for.
        unknown_fields: UnknownFields = "reject";
        /// What joins the names of nested objects to a column's name: `user.id` goes to `user__id`.
        flatten: String = "__";
        /// What becomes of records whose value is null.
        tombstones: Tombstones = "reject";
        /// Columns whose values are not read the usual way, by column name.
        columns: BTreeMap<String, Column> = "{}";
        /// The same for the columns of single tables, by table and column name. It counts before `columns`.
        columns_of: BTreeMap<String, BTreeMap<String, Column>> = "{}";
        /// Classes of personal data that columns name: what happens to a value before it is stored.
        personal_data: BTreeMap<String, PersonalClass> = "{}";
        /// Whether missing tables are created.
        create_tables: CreateTables = "false";
        /// Whether columns are added for fields that the schema of a record has and its table lacks.
        evolve: Evolve = "false";
        /// When a batch is full.
        batch: Batch = "{}";
        /// What a record may cost.
        limits: BatchLimits = "{}";
        /// Where records go that cannot become rows.
        dead_letters: DeadLetters = "{}";
        /// When so many records are refused that something else must be wrong.
        halt_when: HaltWhen = "{}";
        /// What is promised about each record.
        delivery: Delivery = "exactly_once";
    }
}

impl Connector {
    /// The consumer group.
    #[must_use]
    pub fn group_name(&self) -> String {
        self.group.as_ref().map_or_else(|| format!("tidegate-{}", self.name), ToString::to_string)
    }

    /// What is said of columns, of all tables and of single ones, each with the keys that lead to it.
    pub(crate) fn every_column(&self) -> impl Iterator<Item = (Vec<&str>, &Column)> {
        let of_tables = self.columns_of.iter().flat_map(|(table, columns)| {
            columns.iter().map(move |(name, own)| (vec!["columns_of", table.as_str(), name.as_str()], own))
        });
        self.columns.iter().map(|(name, own)| (vec!["columns", name.as_str()], own)).chain(of_tables)
    }

    /// The dead-letter topic.
    #[must_use]
    pub fn dead_letter_topic(&self) -> String {
        self.dead_letters.topic.as_ref().map_or_else(|| format!("{}.dlq.v1", self.name), ToString::to_string)
    }
}

choice! {
    /// How a record's value is written.
    pub enum Format {
        /// One JSON object a record.
        Json => "json",
        /// Avro in Confluent's wire format: each record names its schema in the registry.
        Avro => "avro",
        /// JSON in Confluent's wire format, checked by the JSON Schema that each record names.
        JsonSchema => "json_schema",
        /// Protobuf in Confluent's wire format: each record names its schema, and which message of it it is.
        Protobuf => "protobuf",
    }
}

impl Format {
    /// Whether each record names the schema that it was written with.
    #[must_use]
    pub const fn names_schemas(self) -> bool {
        match self {
            Self::Json => false,
            Self::Avro | Self::JsonSchema | Self::Protobuf => true,
        }
    }
}

section! {
    /// The JSON Schema that events must satisfy, draft 7 or 2020-12; or the reader's Avro schema.
    pub struct SchemaSource as "`schema`" {
        /// The file with the schema.
        file: PathBuf;
        /// The schema's place in the file, a JSON Pointer as a fragment (`#/definitions/{event}_event`), or
        /// a list of places, of which the first that exists counts. `{event}` is what the variable
        /// parts of the table's template came to.
        pointer: Pointers = "#";
        /// Whether an event without a schema is refused.
        required: bool = "true";
        /// Whether `format` is checked, or only an annotation.
        formats: Formats = "assert";
    }
}

impl SchemaSource {
    /// The pointers to try for `event`, unescaped fragments and all: `#/definitions/push_event`.
    pub fn pointers_for(&self, event: &str) -> impl Iterator<Item = String> {
        let event = event.replace('~', "~0").replace('/', "~1");
        self.pointer.0.iter().map(move |pointer| pointer.replace("{event}", &event))
    }
}

/// One place in a file, or several in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers(pub Vec<String>);

impl Shape for Pointers {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        match &node.kind {
            NodeKind::List(_) => Vec::read(node, cx).map(Self),
            NodeKind::Text(_) | NodeKind::Nothing | NodeKind::Map(_) => {
                String::read(node, cx).map(|pointer| Self(vec![pointer]))
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [String::schema(definitions), Vec::<String>::schema(definitions)]})
    }
}

choice! {
    /// What the keyword `format` means.
    pub enum Formats {
        /// A value that lacks its format is refused.
        Assert => "assert",
        /// Formats are not checked, except where a column needs them.
        Annotate => "annotate",
    }
}

choice! {
    /// What becomes of records whose value is null.
    pub enum Tombstones {
        /// They are dead-lettered.
        Reject => "reject",
        /// They are dropped and counted.
        Skip => "skip",
    }
}

choice! {
    /// Whether missing tables are created.
    pub enum CreateTables {
        /// A missing table is waited for.
        No => "false",
        /// A missing table is created from the event's schema.
        FromSchema => "from_schema",
    }
}

choice! {
    /// Whether tables follow the schemas of their records.
    pub enum Evolve {
        /// They do not: fields without a column follow `unknown_fields`.
        No => "false",
        /// Columns are added, nullable or with an empty default. Nothing is changed or dropped.
        AddColumns => "add_columns",
    }
}

choice! {
    /// What is promised about each record.
    pub enum Delivery {
        /// A row or a dead letter, once.
        ExactlyOnce => "exactly_once",
        /// A row or a dead letter, at least once.
        AtLeastOnce => "at_least_once",
    }
}

choice! {
    /// The unit of an epoch number.
    pub enum EpochUnit {
        /// Seconds.
        Seconds => "s",
        /// Milliseconds.
        Millis => "ms",
        /// Microseconds.
        Micros => "us",
        /// Nanoseconds.
        Nanos => "ns",
    }
}

section! {
    /// How one column's value is read.
    pub struct Column as "a column" {
        /// The field that the value comes from; by default the one of the column's name.
        path: Option<FieldPath>;
        /// Further ways to write a date or time, tried in order after RFC 3339 and ISO 8601.
        formats: Vec<TimeFormat> = "[]";
        /// The unit of numbers in a date or time column; without it numbers are refused.
        epoch: Option<EpochUnit>;
        /// The class of personal data that the column's values are of, of those in `personal_data`.
        personal_data: Option<String>;
        /// The type of the values that come, where the column keeps something else of them: `UUID`, say, of a column
        /// that keeps pseudonyms as `String`.
        clear_type: Option<String>;
        /// What its values keep to, whatever the schema of a record says of them.
        rules: Option<ColumnRules>;
    }
}

section! {
    /// A batch is inserted when any of these is reached.
    pub struct Batch as "`batch`" {
        /// Rows. The server keeps at most about half a million together.
        rows_max: usize = "100000", "1".."500000";
        /// Bytes of the records.
        bytes_max: ByteSize = "32MiB", "1KiB".."200MiB";
        /// Time since the first record.
        linger: Duration = "500ms", "0ms".."10m";
    }
}

section! {
    /// What a record may cost; one that costs more is dead-lettered.
    pub struct BatchLimits as "`limits`" {
        /// The size of a record's value.
        record_bytes_max: ByteSize = "16MiB", "1KiB".."128MiB";
        /// How deep its objects and lists nest.
        depth_max: usize = "128", "1".."256";
    }
}

section! {
    /// Where records go that cannot become rows.
    pub struct DeadLetters as "`dead_letters`" {
        /// The topic, created if it is missing; `<name>.dlq.v1` if absent.
        topic: Option<Topic>;
        /// The ClickHouse table, in the connector's database, created if it is missing.
        table: Identifier = "dead_letters";
        /// The replication factor of a topic that is created.
        replication: u16 = "1", "1".."32767";
        /// The partitions of a topic that is created.
        partitions: u32 = "1", "1".."10000";
        /// What the table keeps of a record. By default it withholds the record where personal data is not stored as
        /// it comes; the topic has it in any case.
        table_values: Option<LetterValues>;
    }
}

section! {
    /// Too many bad records among the last ones.
    pub struct HaltGuard as "`halt_when`" {
        /// The share of refused records that halts the connector.
        bad_ratio: f64 = "0.5", "0".."1";
        /// Among how many records; nothing is judged before there are so many.
        window: usize = "1000", "1".."1000000";
    }
}

/// When a connector halts rather than dead-letter a whole good stream.
#[derive(Debug, Clone, PartialEq)]
pub enum HaltWhen {
    /// Never.
    Never,
    /// When the share is reached.
    Guard(HaltGuard),
}

impl Shape for HaltWhen {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        match &node.kind {
            NodeKind::Text(_) => choose(node, cx, &["never"]).map(|_| Self::Never),
            NodeKind::Nothing | NodeKind::List(_) | NodeKind::Map(_) => {
                HaltGuard::read(node, cx).map(Self::Guard)
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [{"const": "never"}, HaltGuard::schema(definitions)]})
    }
}

/// What becomes of fields that the table has no column for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownFields {
    /// The record is dead-lettered.
    Reject,
    /// They are dropped, counted and sampled.
    Drop,
    /// They are kept in this JSON column.
    Collect(Identifier),
}

section! {
    /// Unknown fields are kept.
    pub(crate) struct Collect as "`unknown_fields`" {
        /// The JSON column that keeps them.
        collect: Identifier;
    }
}

impl Shape for UnknownFields {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let words = ["reject", "drop"];
        match &node.kind {
            NodeKind::Map(_) => Collect::read(node, cx).map(|kept| Self::Collect(kept.collect)),
            NodeKind::Text(text) if !words.contains(&text.as_str()) && !text.contains("${") => {
                let message =
                    format!("expected `reject`, `drop` or `{{collect: COLUMN}}`, found {}", quoted(text));
                let hint = match tidegate_yaml::nearest::nearest(text, ["reject", "drop", "collect"]) {
                    Some("collect") => Some("name the column: `{collect: rest}`".to_owned()),
                    near => near.map(|word| format!("did you mean `{word}`?")),
                };
                cx.report(Mistake::UnknownChoice, node.at, message, hint);
                None
            }
            NodeKind::Text(_) | NodeKind::Nothing | NodeKind::List(_) => match choose(node, cx, &words)? {
                0 => Some(Self::Reject),
                _ => Some(Self::Drop),
            },
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let words = or_variable(json!({"enum": ["reject", "drop"]}), definitions);
        json!({"anyOf": [words, Collect::schema(definitions)]})
    }
}
