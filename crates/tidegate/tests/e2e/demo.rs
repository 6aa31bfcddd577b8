//! `tidegate demo`.

use tempfile::TempDir;

use crate::process::{Process, text, tidegate};
use crate::world::{client, engine_is_there};

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_does_no_harm_and_every_record_is_accounted_for() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let report = tidegate(["demo", "--output", "json", "--data-dir", text(folder.path())]).await.json();
    let sum = |field: &str| {
        let counts = report[field].as_object().unwrap();
        counts.values().map(|count| count.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(report["accounted"], true);
    assert_eq!(report["records"].as_u64().unwrap(), sum("rows") + sum("dead_letters"));
    assert_eq!(sum("lag"), 0);
    assert_eq!(report["lag"].as_object().unwrap().len(), 3, "one a partition: {}", report["lag"]);
    assert!(report["rows"].as_object().unwrap().len() >= 50, "a table an event: {}", report["rows"]);
    assert_eq!(report["dead_letters"]["unknown_event"], 3);
    assert_eq!(
        report["examples"].as_object().unwrap().len(),
        report["dead_letters"].as_object().unwrap().len()
    );

    // What was kept says the same, asked of the engines themselves.
    let ports = [
        "--kafka-port=0",
        "--clickhouse-port=0",
        "--clickhouse-native-port=0",
        "--registry-port=0",
        "--api-port=0",
    ];
    let up = ["up", "--data-dir", text(folder.path()), "--output", "json"];
    let mut up = Process::start(up.into_iter().chain(ports));
    let clickhouse = client(up.json_line().await["clickhouse"].as_str().unwrap());
    let incident = "SELECT partition, offset, raw FROM demo.dead_letters FINAL \
                    WHERE code = 'unknown_event' ORDER BY partition";
    let incident = clickhouse.query(incident).await.unwrap();
    assert_eq!(
        incident.lines().collect::<Vec<_>>(),
        [
            "0\t58\t{\"test\":\"connection_test\"}",
            "1\t56\t{\"test\":\"direct_publish\"}",
            "2\t113\t{\"test\":\"message\"}"
        ]
    );
    let bad_time = "SELECT count() FROM demo.dead_letters FINAL \
                    WHERE code = 'bad_timestamp' AND partition = 1 AND offset = 89";
    assert_eq!(clickhouse.query(bad_time).await.unwrap().trim(), "1");
    for (table, rows) in report["rows"].as_object().unwrap() {
        let counted = clickhouse.query(&format!("SELECT count() FROM demo.`{table}`")).await.unwrap();
        assert_eq!(counted.trim(), rows.to_string(), "{table}");
    }
    up.stop().await;
}
