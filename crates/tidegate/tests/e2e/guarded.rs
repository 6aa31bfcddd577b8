//! The sink, and `up`, at a broker that asks for TLS and a password.

use crate::process::{Process, eventually, text, tidegate};
use crate::stack::{command, of};
use crate::world::{PASSWORD, World, client, record};

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

#[tokio::test(flavor = "multi_thread")]
async fn up_takes_a_kafka_with_tls_and_a_password_from_its_file() {
    let Some(world) = World::start().await else { return };
    world.topic("events", 1).await;
    world.publish([record("events", 0, b"{\"n\":7}", &[])]).await;
    let data = world.folder.path().join("up");
    let file = |kafka: &str| {
        let path = world.folder.path().join("up.yaml");
        std::fs::write(&path, format!("kafka: {{{kafka}}}\nconnectors:\n{CONNECTOR}\n")).unwrap();
        path
    };
    let path = file(&world.guarded("sesame"));
    let args = || command(&data, None).into_iter().chain(["--config", text(&path)]);
    let wrong = tidegate(args()).await;
    assert_eq!(wrong.code, Some(1), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("cannot be used") && wrong.stderr.contains("hint:"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("sesame"), "{}", wrong.stderr);

    file(&world.guarded(PASSWORD));
    let both = tidegate(args().chain(["--kafka", "127.0.0.1:1"])).await;
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    assert!(both.stderr.contains("exclude one another"), "{}", both.stderr);
    let mut up = Process::start(args());
    let line = up.json_line().await;
    assert_eq!(of(&line, "kafka"), world.guarded_broker());
    let clickhouse = client(of(&line, "clickhouse"));
    clickhouse.execute(&TABLE.replace("e2e.", "tidegate.")).await.unwrap();
    eventually(async || match clickhouse.query("SELECT n FROM tidegate.events").await {
        Ok(rows) if rows.trim() == "7" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let told = tidegate(["status", "--data-dir", text(&data)]).await;
    assert!(told.stdout.contains("elsewhere"), "{}", told.stdout);
    up.stop().await;
}
