//! The sink at a broker that asks for TLS and a password.

use crate::process::{Process, eventually, text};
use crate::world::{PASSWORD, World, record};

const TABLE: &str = "CREATE TABLE e2e.events (n UInt64) ENGINE = MergeTree ORDER BY n \
                     SETTINGS non_replicated_deduplication_window = 10000";
const CONNECTOR: &str = "  - {name: c, topics: [events], table: events}";

#[tokio::test(flavor = "multi_thread")]
async fn records_and_dead_letters_go_through_tls_with_a_password() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(TABLE).await.unwrap();
    world.topic("events", 1).await;
    let values: Vec<String> =
        (0..100).map(|n| format!("{{\"n\":{n}}}")).chain(["poison".to_owned()]).collect();
    world.publish(values.iter().map(|value| record("events", 0, value.as_bytes(), &[]))).await;

    let wrong = world.file_through("wrong.yaml", &world.guarded("sesame"), CONNECTOR);
    let waiting = Process::start(["sink", "--config", text(&wrong)]);
    eventually(async || match waiting.stderr().to_lowercase() {
        said if said.contains("password is wrong") => Ok(()),
        said => Err(format!("nothing of the password in {said}")),
    })
    .await;
    assert!(!waiting.stderr().contains("sesame"), "{}", waiting.stderr());
    waiting.stop().await;

    let file = world.file_through("sink.yaml", &world.guarded(PASSWORD), CONNECTOR);
    let (sink, _) = world.sink(&file).await;
    world.settled("tidegate-c", "events").await;
    assert_eq!(world.number("SELECT count() FROM e2e.events").await, 100);
    assert_eq!(world.letters("c.dlq.v1").await.len(), 1);
    sink.stop().await;
}
