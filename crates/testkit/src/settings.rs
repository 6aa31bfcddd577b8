//! Settings of a connector, small and quick.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_codec::PlanOptions;
use tidegate_config::{Delivery, TableRoute, Template, Tombstones, Unmapped};
use tidegate_core::DeadLetterContext;
use tidegate_pipeline::{ConnectorSettings, FlushPolicy};

/// A connector `c` of group `g` that is exactly once, keeps its dead letters in table `dead_letters` too,
/// and routes to `db` by this template. Batches are of at most 1 MiB and 50 ms; of as many records as the
/// pipeline takes.
///
/// # Panics
/// If the text is no template.
#[must_use]
pub fn settings(table: &str) -> ConnectorSettings {
    let template = Template::parse(table).expect("a test's table is a template");
    ConnectorSettings {
        context: DeadLetterContext {
            connector: "c".to_owned(),
            group: "g".to_owned(),
            processor: "tidegate/test".to_owned(),
        },
        database: "db".to_owned(),
        route: TableRoute { template, map: BTreeMap::new(), unmapped: Unmapped::Template },
        plan: PlanOptions::default(),
        flush: FlushPolicy {
            rows_max: FlushPolicy::ROWS_LIMIT,
            bytes_max: 1 << 20,
            linger: Duration::from_millis(50),
        },
        guarantee: Delivery::ExactlyOnce,
        tombstones: Tombstones::Reject,
        dead_letter_table: Some("dead_letters".to_owned()),
        letters_withheld: false,
        halt_when: None,
        inserts_max: 2,
        drain_max: Duration::from_secs(1),
        retry_wait: (Duration::from_millis(10), Duration::from_secs(1)),
        describe_every: Duration::from_secs(30),
        evolve: false,
    }
}
