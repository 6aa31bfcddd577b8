//! What the embedded Kafka tells Prometheus, read at each scrape.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tidegate_broker::LogsUse;

use super::machine::Machine;

/// The metrics of the embedded Kafka; none while there is none.
#[derive(Debug)]
pub struct KafkaMetrics(pub Arc<OnceLock<Arc<Machine>>>);

impl Collector for KafkaMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match self.0.get().and_then(|machine| machine.kafka_logs()) {
            Some(logs) => encode(&logs.look(), encoder),
            None => Ok(()),
        }
    }
}

fn encode(logs: &LogsUse, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    let LogsUse { bytes, bytes_max, full, batches_refused } = *logs;
    // Without a bound, the bound is not told: 0 would read as one.
    let gauges = [
        ("tidegate_kafka_logs_bytes", "Bytes of records that the embedded Kafka holds", Some(bytes)),
        ("tidegate_kafka_logs_bytes_max", "The configured limit of `logs_bytes`, if there is one", bytes_max),
        ("tidegate_kafka_logs_full", "1 while producers wait for room in the logs", Some(u64::from(full))),
    ];
    for (name, help, value) in gauges {
        let Some(value) = value else { continue };
        let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
    }
    let refused = ConstCounter::new(batches_refused);
    let help = "Batches refused for want of room; a repeated one counts again";
    let descriptor =
        encoder.encode_descriptor("tidegate_kafka_batches_refused", help, None, refused.metric_type())?;
    refused.encode(descriptor)
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Full;

    impl Collector for Full {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let logs = LogsUse { bytes: 900, bytes_max: Some(1_000), full: true, batches_refused: 7 };
            super::encode(&logs, encoder)
        }
    }

    #[test]
    fn the_documentation_lists_what_is_scraped() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Full));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let documented = include_str!("../../../../docs/metrics.md");
        let names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(names.len(), 4, "{text}");
        for name in names {
            assert!(documented.contains(&format!("| `{name}` |")), "docs/metrics.md lacks `{name}`");
        }
        assert!(text.contains("tidegate_kafka_logs_bytes_max 1000\n"), "{text}");
        assert!(text.contains("tidegate_kafka_batches_refused_total 7\n"), "{text}");
    }
}
