//! A server that is killed in the middle of an insert remembers it and does not have its rows. They are inserted again,
//! and counted.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tidegate_core::{Checkpoint, TopicPartition};
use tidegate_pipeline::{Budget, Connector, DEAD_LETTER_COLUMNS, EventSchemas, Metrics, Status};
use tidegate_testkit::{Crash, FakeKafka, FakeWarehouse, Weather};

const N_RECORDS: usize = 10;

/// Runs a sink until everything is settled. Gives the number of rows, and what was counted of missing ones.
async fn run(warehouse: &FakeWarehouse, weather: Weather) -> (usize, u64) {
    let (kafka, source) = (FakeKafka::default(), TopicPartition::new("t", 0));
    warehouse.create_table(
        "events",
        &[("id", "UInt64"), ("_topic", "String"), ("_partition", "Int32"), ("_offset", "Int64")],
    );
    warehouse.create_table("dead_letters", DEAD_LETTER_COLUMNS);
    for id in 0..N_RECORDS {
        kafka.produce(&source, Some(format!(r#"{{"id":{id}}}"#).as_bytes()), &[]);
    }
    let end = kafka.end(&source);
    let settled = async {
        while kafka.committed(&source) != Some(Checkpoint::settled(end)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (mut records, log) = kafka.join(N_RECORDS, Crash::never());
    let world = (Arc::new(log), Arc::new(warehouse.seen_in(weather)));
    let (schemas, shown) = ((EventSchemas::none(), None), (Budget::new(64 << 20), Status::new("c")));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let connector = Connector::new(tidegate_testkit::settings("events"), world, schemas, &metrics, shown);
    let time = Duration::from_secs(3600);
    tokio::time::timeout(time, connector.run(&mut records, settled)).await.expect("it settles");
    let mut text = String::new();
    encode(&mut text, &registry).expect("text can be written to a String");
    let counted = text.lines().find(|line| line.starts_with("tidegate_missing_rows_total"));
    let counted = counted.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    (warehouse.rows("events").len(), counted.unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn rows_whose_insert_is_only_remembered_are_inserted_again_once_and_counted() {
    // Nine of ten answers fail, and what fails is half done.
    let (rows, missing) =
        run(&FakeWarehouse::default(), Weather::seeded(1, 0.9, Duration::ZERO).deadly(1.0)).await;
    assert_eq!(rows, N_RECORDS);
    assert!(missing >= N_RECORDS as u64, "{missing}");
    // An answer that is lost is no reason to insert anything.
    let lost = Weather::seeded(1, 0.9, Duration::ZERO);
    assert_eq!(run(&FakeWarehouse::default(), lost).await, (N_RECORDS, 0));
}

/// A limit, and a bound: each repetition is believed to be missing, and is sent under the next token.
#[tokio::test(start_paused = true)]
async fn a_table_that_never_shows_its_rows_holds_nobody_up() {
    let warehouse = FakeWarehouse::default();
    warehouse.hide_rows();
    let (rows, missing) = run(&warehouse, Weather::seeded(1, 0.9, Duration::ZERO)).await;
    assert_eq!((rows, missing), (9 * N_RECORDS, 9 * N_RECORDS as u64));
}
