//! What events share, and the policies.

use tidegate_yaml::shape::Located;
use tidegate_yaml::{choice, section};

use super::metric::Span;
use super::personal::{LetterValues, PiiClass};
use crate::names::{Name, Names};

section! {
    /// What events share unless they say otherwise.
    pub struct Defaults as "`defaults`" {
        /// Topics.
        kafka: KafkaDefaults = "{}";
        /// Tables.
        clickhouse: ClickHouseDefaults = "{}";
        /// What becomes of fields that an event does not have.
        unknown_fields: UnknownFields = "reject";
        /// How a column keeps that an optional field is absent.
        nullable: Nullable = "column";
    }
}

section! {
    /// Topics.
    pub struct KafkaDefaults as "`defaults.kafka`" {
        /// The topic of an event, with `{name}`, `{event}` and `{major}` put in.
        topic: Located<String> = "{name}.{event}.v{major}";
        /// The partitions of a topic that is created.
        partitions: u32 = "6", "1".."10000";
        /// The field that records are keyed by.
        key: Option<Located<String>>;
        /// How records are written.
        format: RecordFormat = "json";
    }
}

choice! {
    /// How records are written.
    pub enum RecordFormat {
        /// One JSON object a record.
        Json => "json",
        /// JSON in Confluent's wire format: each record names its schema in the registry.
        JsonSchema => "json_schema",
        /// Avro in Confluent's wire format.
        Avro => "avro",
    }
}

section! {
    /// Tables.
    pub struct ClickHouseDefaults as "`defaults.clickhouse`" {
        /// The database.
        database: Name = "cdp";
        /// The cluster, for `ddl: on_cluster`.
        cluster: Option<Name>;
        /// Where statements run.
        ddl: Ddl = "single";
        /// The engine of the events' tables.
        engine: EngineKind = "merge_tree";
        /// The partition key, as an expression over the event's fields.
        partition_by: PartitionKey = "month";
        /// The sorting key.
        order_by: Vec<Located<String>> = "[]";
    }
}

choice! {
    /// Where statements run.
    pub enum Ddl {
        /// On one server.
        Single => "single",
        /// On every server of a cluster, with replicated engines.
        OnCluster => "on_cluster",
    }
}

choice! {
    /// An engine; on a cluster its replicated form.
    pub enum EngineKind {
        /// Rows stay as they were inserted.
        MergeTree => "merge_tree",
        /// Of rows with one sorting key the last one stays. Rollups over such a table are refused.
        Replacing => "replacing_merge_tree",
    }
}

choice! {
    /// How long a partition of a table is.
    pub enum PartitionKey {
        /// The whole table is one partition.
        None => "none",
        /// A day, by `ts`.
        Day => "day",
        /// A week, by `ts`.
        Week => "week",
        /// A month, by `ts`.
        Month => "month",
    }
}

choice! {
    /// What becomes of fields that an event does not have.
    pub enum UnknownFields {
        /// The record is dead-lettered.
        Reject => "reject",
        /// They are dropped and counted.
        Drop => "drop",
        /// They are kept in the column `_unknown`.
        Collect => "collect",
    }
}

choice! {
    /// How a column keeps that an optional field is absent.
    pub enum Nullable {
        /// As null.
        Column => "column",
        /// As the type's empty value: smaller and faster, and not told from it.
        Default => "default",
    }
}

section! {
    /// How the catalog may change, what is kept for how long, what becomes of personal data.
    pub struct Policies as "`policies`" {
        /// How the catalog may change.
        evolution: Evolution = "{}";
        /// Where refused records go.
        dead_letters: LetterPolicy = "{}";
        /// How long rows of events are kept; for ever if absent.
        keep_events: Option<Span>;
        /// How long rollups are kept; for ever if absent.
        keep_rollups: Option<Span>;
        /// Classes of personal data that fields name by `pii`.
        pii: Names<PiiClass> = "{}";
    }
}

section! {
    /// How the catalog may change.
    pub struct Evolution as "`policies.evolution`" {
        /// What the registry is told to demand of new schemas.
        compatibility: Compatibility = "backward_transitive";
        /// Whether a plan may destroy data without being asked for it by a flag.
        allow_destructive: bool = "false";
        /// How long a removed field's column stays, in days.
        deprecate_days: u32 = "90", "0".."3650";
    }
}

choice! {
    /// What the registry demands of new schemas.
    pub enum Compatibility {
        /// Nothing.
        None => "none",
        /// New schemas read what the last one wrote.
        Backward => "backward",
        /// New schemas read what any one wrote.
        BackwardTransitive => "backward_transitive",
        /// The last schema reads what new ones write.
        Forward => "forward",
        /// Any schema reads what new ones write.
        ForwardTransitive => "forward_transitive",
        /// Both, with the last one.
        Full => "full",
        /// Both, with all.
        FullTransitive => "full_transitive",
    }
}

section! {
    /// Where refused records go.
    pub struct LetterPolicy as "`policies.dead_letters`" {
        /// The topic, with `{name}` put in.
        topic: Located<String> = "{name}.dlq.v1";
        /// The table, in the catalog's database.
        table: Name = "dead_letters";
        /// The share of refused records that halts the sink.
        halt_ratio: f64 = "0.5", "0".."1";
        /// Among how many records.
        halt_window: u32 = "1000", "1".."1000000";
        /// What the table keeps of a record. By default it withholds the record where personal data is changed before
        /// it is stored; the topic has it in any case.
        table_values: Option<LetterValues>;
    }
}
