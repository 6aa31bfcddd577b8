//! docs/metrics.md lists every metric as it is scraped: name, kind, labels, meaning.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tidegate_core::{FaultKind, ReasonCode, Stage, TopicPartition};
use tidegate_pipeline::Metrics;

/// Everything that can be counted, counted once.
fn scraped() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.buffered(1, 2);
    let connector = metrics.connector("c");
    let source = TopicPartition::new("t", 0);
    connector.read(1);
    connector.settled(&source, 1);
    connector.joined(2);
    connector.end_to_end(1.0);
    connector.lag(&source, 1);
    connector.missed(&source, 1);
    connector.inserted("table", 1, 1, 1.0);
    connector.missing_rows("table", 1);
    connector.dropped_fields("table", 1);
    connector.dropped_records("tombstones", 1);
    connector.rejected(Stage::Decode, ReasonCode::NotJson);
    connector.retried(FaultKind::Network);
    connector.halted(true);
    let mut text = String::new();
    encode(&mut text, &registry).expect("text can be written to a String");
    text
}

/// One line of the table for each metric.
fn lines(scraped: &str) -> Vec<String> {
    let mut help = BTreeMap::new();
    let mut kinds = Vec::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in scraped.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help.extend(rest.split_once(' '));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            kinds.extend(rest.split_once(' '));
        } else if let Some((name, rest)) = line.split_once('{') {
            let (text, _) = rest.split_once('}').expect("labels end");
            labels
                .entry(name)
                .or_default()
                .extend(text.split(',').filter_map(|label| label.split('=').next()));
        }
    }
    let line = |(name, kind): &(&str, &str)| {
        let sample = match *kind {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_bucket"),
            _ => (*name).to_owned(),
        };
        let labels = labels.get(sample.as_str()).into_iter().flatten().filter(|label| **label != "le");
        let labels: Vec<String> = labels.map(|label| format!("`{label}`")).collect();
        let shown = if *kind == "counter" { sample.as_str() } else { name };
        format!("| `{shown}` | {kind} | {} | {} |", labels.join(", "), help[name].trim_end_matches('.'))
    };
    kinds.iter().map(line).collect()
}

#[test]
fn the_documentation_lists_every_metric() {
    let documented = include_str!("../../../docs/metrics.md");
    // What follows is not the pipeline's.
    let (documented, _) = documented.split_once("\n## ").expect("a section follows the table");
    let documented: Vec<&str> = documented.lines().filter(|line| line.starts_with("| `tidegate_")).collect();
    let expected = lines(&scraped());
    assert_eq!(documented, expected, "docs/metrics.md should list:\n{}\n", expected.join("\n"));
}

#[test]
fn the_documentation_names_every_cause_and_reason() {
    let documented = include_str!("../../../docs/metrics.md");
    let causes = FaultKind::ALL.iter().map(|kind| kind.as_str());
    let reasons = ReasonCode::ALL.iter().map(|code| code.as_str());
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    for word in causes.chain(reasons).chain(stages) {
        assert!(documented.contains(&format!("`{word}`")), "docs/metrics.md does not name `{word}`");
    }
}
