//! What connectors' sources met in Kafka, told to Prometheus at each scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use tidegate_kafka::SourceCounters;

/// One kind of what a source meets.
type Met = (&'static str, &'static str, fn(&SourceCounters) -> u64);

const MET: [Met; 6] = [
    ("tidegate_source_rebalances", "Assignments and revocations of partitions", SourceCounters::rebalances),
    (
        "tidegate_source_out_of_range",
        "Partitions read from their first record, since their offset was not in the log any more; records may be missed",
        SourceCounters::out_of_range,
    ),
    (
        "tidegate_source_recreated",
        "Partitions read from their first record, since another topic has the name now",
        SourceCounters::recreated,
    ),
    (
        "tidegate_source_rejoins",
        "Times that another client joined the group, since librdkafka read a topic that was created again no more",
        SourceCounters::rejoins,
    ),
    (
        "tidegate_source_foreign_checkpoints",
        "Committed offsets whose metadata another program wrote",
        SourceCounters::foreign_checkpoints,
    ),
    (
        "tidegate_source_stalls",
        "Times that reading stopped, since the pipeline did not take what was there",
        SourceCounters::stalls,
    ),
];

/// The sources of all connectors by the connectors' names. Cheap to clone; clones share the sources.
#[derive(Debug, Clone, Default)]
pub struct SourceMetrics(Arc<RwLock<BTreeMap<String, Arc<SourceCounters>>>>);

impl SourceMetrics {
    /// A connector reads by this source from now on.
    pub fn add(&self, connector: &str, counters: Arc<SourceCounters>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(connector.to_owned(), counters);
    }
}

impl Collector for SourceMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if sources.is_empty() {
            return Ok(());
        }
        for (name, help, count) in MET {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (connector, counters) in sources.iter() {
                let labels = [("connector", connector.as_str())];
                ConstCounter::new(count(counters)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn scraped(metrics: &SourceMetrics) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_documentation_lists_what_is_scraped() {
        let metrics = SourceMetrics::default();
        assert_eq!(scraped(&metrics), "# EOF\n");
        metrics.add("github", Arc::default());
        metrics.add("shop", Arc::default());
        let text = scraped(&metrics);
        let documented = include_str!("../../../../docs/metrics.md");
        for (name, help, _) in MET {
            for connector in ["github", "shop"] {
                let sample = format!("\n{name}_total{{connector=\"{connector}\"}} 0\n");
                assert!(text.contains(&sample), "{text}");
            }
            let line = format!("| `{name}_total` | counter | `connector` | {help} |");
            assert!(documented.contains(&line), "docs/metrics.md lacks {line}");
        }
    }
}
