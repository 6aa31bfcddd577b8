//! What is counted, in Prometheus' terms. Names and labels are this one list; labels are bounded:
//! connector, table, topic, partition, stage, reason, cause, never a key or an offset.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tidegate_core::{FaultKind, ReasonCode, Stage, TopicPartition};

/// The connector alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConnectorLabels {
    connector: String,
}

/// One partition of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PartitionLabels {
    connector: String,
    topic: String,
    partition: i32,
}

/// One table of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TableLabels {
    connector: String,
    table: String,
}

/// Why records were refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RejectLabels {
    connector: String,
    stage: &'static str,
    reason: &'static str,
}

/// Why something was done or left undone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CauseLabels {
    connector: String,
    cause: &'static str,
}

/// Every metric of every connector. Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: Family<PartitionLabels, Counter>,
    lag: Family<PartitionLabels, Gauge>,
    missed_offsets: Family<PartitionLabels, Counter>,
    rows: Family<TableLabels, Counter>,
    missing_rows: Family<TableLabels, Counter>,
    dropped_fields: Family<TableLabels, Counter>,
    rejects: Family<RejectLabels, Counter>,
    dropped_records: Family<CauseLabels, Counter>,
    retries: Family<CauseLabels, Counter>,
    read_bytes: Family<ConnectorLabels, Counter>,
    inserted_bytes: Family<ConnectorLabels, Counter>,
    halted: Family<ConnectorLabels, Gauge>,
    batch_records: Family<ConnectorLabels, Histogram>,
    joint_partitions: Family<ConnectorLabels, Histogram>,
    insert_seconds: Family<ConnectorLabels, Histogram>,
    end_to_end_seconds: Family<ConnectorLabels, Histogram>,
    buffered_bytes: Gauge,
    buffered_bytes_max: Gauge,
}

impl Metrics {
    /// Registers every metric under the prefix `tidegate`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let registry = registry.sub_registry_with_prefix("tidegate");
        registry.register(
            "records",
            "Records read and settled: a row, a dead letter or a stated drop",
            metrics.records.clone(),
        );
        registry.register("lag", "Records of the partition that are not settled yet", metrics.lag.clone());
        registry.register(
            "missed_offsets",
            "Offsets that retention took before they were read; their records are neither rows nor dead letters",
            metrics.missed_offsets.clone(),
        );
        registry.register("rows", "Rows inserted", metrics.rows.clone());
        registry.register(
            "missing_rows",
            "Rows whose insert the table remembered and that it did not have; they were inserted again, up to eight times",
            metrics.missing_rows.clone(),
        );
        registry.register(
            "dropped_fields",
            "Fields that no column takes, dropped by `unknown_fields: drop`",
            metrics.dropped_fields.clone(),
        );
        registry.register("rejects", "Records refused, by stage and reason", metrics.rejects.clone());
        registry.register(
            "dropped_records",
            "Records dropped by a rule of the configuration",
            metrics.dropped_records.clone(),
        );
        registry.register("retries", "Attempts repeated after a fault, by cause", metrics.retries.clone());
        registry.register("read_bytes", "Bytes of keys, values and headers read", metrics.read_bytes.clone());
        registry.register(
            "inserted_bytes",
            "Bytes of Native blocks inserted, before compression",
            metrics.inserted_bytes.clone(),
        );
        registry.register(
            "connector_halted",
            "1 while the halt guard has stopped the connector",
            metrics.halted.clone(),
        );
        registry.register("batch_records", "Records in a delivered batch", metrics.batch_records.clone());
        registry.register(
            "joint_partitions",
            "Partitions whose small batches were sent together, in one block a table",
            metrics.joint_partitions.clone(),
        );
        registry.register("insert_seconds", "Time of one insert, answered", metrics.insert_seconds.clone());
        registry.register(
            "end_to_end_seconds",
            "From a batch's oldest record's timestamp to its settlement",
            metrics.end_to_end_seconds.clone(),
        );
        registry.register(
            "buffered_bytes",
            "Memory held by records and blocks on their way",
            metrics.buffered_bytes.clone(),
        );
        registry.register(
            "buffered_bytes_max",
            "The configured limit of `buffered_bytes`",
            metrics.buffered_bytes_max.clone(),
        );
        metrics
    }

    /// Counts that nobody reads, for tests and tools.
    #[must_use]
    pub fn unregistered() -> Self {
        Self {
            records: Family::default(),
            lag: Family::default(),
            missed_offsets: Family::default(),
            rows: Family::default(),
            missing_rows: Family::default(),
            dropped_fields: Family::default(),
            rejects: Family::default(),
            dropped_records: Family::default(),
            retries: Family::default(),
            read_bytes: Family::default(),
            inserted_bytes: Family::default(),
            halted: Family::default(),
            batch_records: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1.0, 4.0, 10))),
            joint_partitions: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(2.0, 2.0, 10))
            }),
            insert_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 16))
            }),
            end_to_end_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 2.5, 14))
            }),
            buffered_bytes: Gauge::default(),
            buffered_bytes_max: Gauge::default(),
        }
    }

    /// The metrics of one connector.
    #[must_use]
    pub fn connector(&self, connector: &str) -> ConnectorMetrics {
        ConnectorMetrics { metrics: self.clone(), connector: connector.to_owned() }
    }

    /// States the buffer memory in use and its limit, in bytes.
    pub fn buffered(&self, used: usize, bytes_max: usize) {
        self.buffered_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.buffered_bytes_max.set(i64::try_from(bytes_max).unwrap_or(i64::MAX));
    }
}

/// [`Metrics`] with one connector's name filled in.
#[derive(Debug, Clone)]
pub struct ConnectorMetrics {
    metrics: Metrics,
    connector: String,
}

impl ConnectorMetrics {
    fn this(&self) -> ConnectorLabels {
        ConnectorLabels { connector: self.connector.clone() }
    }

    fn partition(&self, source: &TopicPartition) -> PartitionLabels {
        PartitionLabels {
            connector: self.connector.clone(),
            topic: source.topic.to_string(),
            partition: source.partition,
        }
    }

    fn table(&self, table: &str) -> TableLabels {
        TableLabels { connector: self.connector.clone(), table: table.to_owned() }
    }

    fn cause(&self, cause: &'static str) -> CauseLabels {
        CauseLabels { connector: self.connector.clone(), cause }
    }

    /// Bytes of records arrived.
    pub fn read(&self, bytes: usize) {
        self.metrics.read_bytes.get_or_create(&self.this()).inc_by(bytes as u64);
    }

    /// A batch of a partition is settled.
    pub fn settled(&self, source: &TopicPartition, n_records: usize) {
        self.metrics.records.get_or_create(&self.partition(source)).inc_by(n_records as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 records")]
        self.metrics.batch_records.get_or_create(&self.this()).observe(n_records as f64);
    }

    /// Batches of so many partitions are sent together.
    pub fn joined(&self, n_partitions: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a topic has far fewer than 2^52 partitions")]
        self.metrics.joint_partitions.get_or_create(&self.this()).observe(n_partitions as f64);
    }

    /// From the oldest record's timestamp to its settlement.
    pub fn end_to_end(&self, seconds: f64) {
        self.metrics.end_to_end_seconds.get_or_create(&self.this()).observe(seconds);
    }

    /// How many records of the partition are not settled yet.
    pub fn lag(&self, source: &TopicPartition, n_records: i64) {
        self.metrics.lag.get_or_create(&self.partition(source)).set(n_records);
    }

    /// The log lost so many offsets before they were read.
    pub fn missed(&self, source: &TopicPartition, n_offsets: u64) {
        self.metrics.missed_offsets.get_or_create(&self.partition(source)).inc_by(n_offsets);
    }

    /// The partition belongs to another process now, which states its lag.
    pub fn forget(&self, source: &TopicPartition) {
        self.metrics.lag.remove(&self.partition(source));
    }

    /// Rows and the bytes of their block were inserted, in so many seconds.
    pub fn inserted(&self, table: &str, n_rows: usize, native_bytes: usize, seconds: f64) {
        self.metrics.rows.get_or_create(&self.table(table)).inc_by(n_rows as u64);
        self.metrics.inserted_bytes.get_or_create(&self.this()).inc_by(native_bytes as u64);
        self.metrics.insert_seconds.get_or_create(&self.this()).observe(seconds);
    }

    /// So many rows were not there, though the table remembered their insert.
    pub fn missing_rows(&self, table: &str, n_rows: usize) {
        self.metrics.missing_rows.get_or_create(&self.table(table)).inc_by(n_rows as u64);
    }

    /// Fields that no column takes.
    pub fn dropped_fields(&self, table: &str, n_fields: u64) {
        self.metrics.dropped_fields.get_or_create(&self.table(table)).inc_by(n_fields);
    }

    /// Records dropped by the named rule.
    pub fn dropped_records(&self, rule: &'static str, n_records: usize) {
        self.metrics.dropped_records.get_or_create(&self.cause(rule)).inc_by(n_records as u64);
    }

    /// A record refused.
    pub fn rejected(&self, stage: Stage, reason: ReasonCode) {
        let labels = RejectLabels {
            connector: self.connector.clone(),
            stage: stage.as_str(),
            reason: reason.as_str(),
        };
        self.metrics.rejects.get_or_create(&labels).inc();
    }

    /// An attempt will be repeated.
    pub fn retried(&self, cause: FaultKind) {
        self.metrics.retries.get_or_create(&self.cause(cause.as_str())).inc();
    }

    /// Whether the halt guard has stopped the connector.
    pub fn halted(&self, halted: bool) {
        self.metrics.halted.get_or_create(&self.this()).set(i64::from(halted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_moved_away_leaves_no_stale_lag() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry).connector("c");
        let (kept, moved) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        metrics.lag(&kept, 5);
        metrics.lag(&moved, 7);
        metrics.forget(&moved);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("tidegate_lag{connector=\"c\",topic=\"t\",partition=\"0\"} 5"), "{text}");
        assert!(!text.contains("partition=\"1\""), "{text}");
    }
}
