//! `tidegate up`: the single machine's stack, from its start to its end.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_kafka::{
    BoundedReader, KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, ReadFrom, TopicSpec,
};

use crate::process::{PATIENCE, Process, get, text, tidegate};
use crate::world::{client, engine_is_there};

const PORTS: [&str; 5] =
    ["--kafka-port", "--clickhouse-port", "--clickhouse-native-port", "--registry-port", "--api-port"];

/// The command line of `up` on free ports, but for one of them.
pub fn command<'a>(folder: &'a Path, busy: Option<(&'a str, &'a str)>) -> Vec<&'a str> {
    let mut args = vec!["up", "--data-dir", text(folder), "--output", "json"];
    for flag in PORTS {
        args.extend([flag, busy.filter(|(name, _)| *name == flag).map_or("0", |(_, port)| port)]);
    }
    args
}

pub async fn up(folder: &Path) -> (Process, Value) {
    let mut up = Process::start(command(folder, None));
    let line = up.json_line().await;
    (up, line)
}

pub fn of<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {line}"))
}

/// The processes that a process has started.
pub fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stack_answers_ends_cleanly_and_keeps_its_data() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (process, line) = up(folder.path()).await;
    let clickhouse = client(of(&line, "clickhouse"));
    clickhouse.execute("CREATE DATABASE kept").await.unwrap();
    clickhouse.execute("CREATE TABLE kept.t (x UInt8) ENGINE = MergeTree ORDER BY x").await.unwrap();
    clickhouse.execute("INSERT INTO kept.t VALUES (7)").await.unwrap();
    let kafka = KafkaOptions::new([of(&line, "kafka")]);
    KafkaAdmin::connect(&kafka).unwrap().ensure_topic(&TopicSpec::new("kept", 1)).await.unwrap();
    let producer = KafkaProducer::connect(&kafka, &ProducerOptions::default()).unwrap();
    producer.send(&Outgoing { topic: "kept", value: Some(b"seven"), ..Outgoing::default() }).await.unwrap();
    producer.flush(PATIENCE).await.unwrap();
    let api = of(&line, "api");
    for path in ["/health", "/ready", "/metrics", "/api/v1/status"] {
        let (status, body) = get(api, path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (status, body) = get(api, "/api/v1/metrics").unwrap();
    assert!(status == 404 && body.contains("--catalog"), "without a catalog: {body}");
    let engines = children(process.id());
    assert!(!engines.is_empty(), "the engine is a child process");
    process.stop().await;
    let left: Vec<_> = engines.iter().filter(|id| Path::new(&format!("/proc/{id}")).exists()).collect();
    assert!(left.is_empty(), "engines left behind: {left:?}");

    let (process, line) = up(folder.path()).await;
    let kept = client(of(&line, "clickhouse")).query("SELECT x FROM kept.t").await.unwrap();
    assert_eq!(kept.trim(), "7");
    let kafka = KafkaOptions::new([of(&line, "kafka")]);
    let mut reader = BoundedReader::open(&kafka, "kept", ReadFrom::Beginning).unwrap();
    let records = reader.next().await.unwrap().unwrap();
    assert_eq!(records.get(0).unwrap().value, Some(b"seven".as_slice()));

    // A second one beside it says why it cannot be.
    let second = tidegate(command(folder.path(), None)).await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(text(folder.path())), "names the folder: {}", second.stderr);
    assert!(second.stderr.contains("use"), "says that it is in use: {}", second.stderr);
    assert_eq!(second.stdout, "");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named_and_ends_the_start() {
    if !engine_is_there() {
        return;
    }
    for flag in PORTS {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let folder = TempDir::new().unwrap();
        let ran = tidegate(command(folder.path(), Some((flag, &port)))).await;
        assert_eq!(ran.code, Some(1), "{flag}: {}", ran.stderr);
        let error = ran.stderr.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
        assert!(error.contains(&port), "{flag}: names the port: {}", ran.stderr);
        assert!(error.contains("in use"), "{flag}: says what is wrong: {}", ran.stderr);
        let me = format!("process {}", std::process::id());
        assert!(error.contains(&me), "{flag}: says who has it: {}", ran.stderr);
        let hint = ran.stderr.lines().find(|line| line.starts_with("hint:")).unwrap_or_default();
        assert!(hint.contains(flag), "{flag}: says what to do: {}", ran.stderr);
    }
}
