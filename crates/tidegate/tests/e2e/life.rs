//! The life of `tidegate up`: killed in part and as a whole, stopped once and twice, beside others.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_clickhouse::Client;
use tidegate_engine::EngineLibrary;
use tidegate_kafka::{KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};

use crate::process::{PATIENCE, Process, eventually, text, tidegate};
use crate::refusals::SmallDisk;
use crate::stack::{children, command, of, up};
use crate::world::{client, engine_is_there};

const TABLE: &str = "CREATE TABLE tidegate.events (n UInt64, _partition Int32, _offset Int64) \
                     ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000";
const CONNECTORS: &str = "connectors:\n  - {name: c, topics: [events], table: events, halt_when: never, \
                          batch: {rows_max: 100, linger: 20ms}}\n";

fn config(folder: &Path) -> PathBuf {
    let file = folder.join("up.yaml");
    std::fs::write(&file, CONNECTORS).unwrap();
    file
}

/// `up` with a connector.
async fn up_with(folder: &Path, config: &Path) -> (Process, Value) {
    let mut args = command(folder, None);
    args.extend(["--config", text(config)]);
    let mut up = Process::start(args);
    let line = up.json_line().await;
    (up, line)
}

async fn publish(kafka: &str, numbers: std::ops::Range<u64>) {
    let producer = KafkaProducer::connect(&KafkaOptions::new([kafka]), &ProducerOptions::default()).unwrap();
    for n in numbers {
        let value = format!(r#"{{"n":{n}}}"#);
        let record = Outgoing { topic: "events", value: Some(value.as_bytes()), ..Outgoing::default() };
        producer.send(&record).await.unwrap();
    }
    assert_eq!(producer.flush(PATIENCE).await.unwrap().failed, 0);
}

/// Waits until the table has rows with the numbers below `n`, each once.
async fn landed(clickhouse: &Client, n: u64) {
    eventually(async || {
        let counts = clickhouse.query("SELECT count(), uniqExact(n), max(n) FROM tidegate.events").await;
        let counts = counts.map_err(|fault| fault.to_string())?;
        if counts.trim() == format!("{n}\t{n}\t{}", n - 1) { Ok(()) } else { Err(format!("{n}: {counts}")) }
    })
    .await;
}

async fn gone(ids: &[u32]) {
    eventually(async || {
        let left: Vec<_> = ids
            .iter()
            .filter(|id| {
                let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
            })
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still run")) }
    })
    .await;
}

fn kill(id: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

async fn status(folder: &Path) -> Value {
    tidegate(["status", "--data-dir", text(folder), "--output", "json"]).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_each_process_and_of_all_at_once_lose_nothing() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let config = config(folder.path());
    let data = folder.path().join("data");
    let (process, line) = up_with(&data, &config).await;
    let clickhouse = client(of(&line, "clickhouse"));
    clickhouse.execute(TABLE).await.unwrap();
    let admin = KafkaAdmin::connect(&KafkaOptions::new([of(&line, "kafka")])).unwrap();
    admin.ensure_topic(&TopicSpec::new("events", 2)).await.unwrap();
    publish(of(&line, "kafka"), 0..500).await;

    // ClickHouse alone: it is back by itself, and the status tells.
    let engine = children(process.id());
    kill(engine[0]);
    publish(of(&line, "kafka"), 500..1000).await;
    landed(&clickhouse, 1000).await;
    let told = status(&data).await;
    let part = |told: &Value, name: &str| {
        let parts = told["machine"]["components"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap().clone()
    };
    let (tidegate, engine) = (part(&told, "tidegate"), part(&told, "clickhouse"));
    assert_eq!((engine["state"].as_str(), engine["restarts"].as_u64()), (Some("up"), Some(1)), "{told}");
    assert_eq!(engine["pid"].as_u64(), Some(u64::from(children(process.id())[0])));
    assert_eq!(tidegate["pid"].as_u64(), Some(u64::from(process.id())));
    for (part, field) in [(&tidegate, "memory_bytes"), (&engine, "memory_bytes"), (&engine, "disk_bytes")] {
        assert!(part[field].as_u64().unwrap() > 0, "{field}: {told}");
    }
    let topic = told["machine"]["topics"].as_array().unwrap().iter().find(|topic| topic["name"] == "events");
    assert!(topic.unwrap()["records"].as_u64().unwrap() >= 1000, "{told}");
    let table = told["machine"]["tables"].as_array().unwrap().iter().find(|table| table["name"] == "events");
    assert_eq!(table.unwrap()["rows"], 1000, "{told}");
    assert_eq!(told["connectors"][0]["phase"], "running", "{told}");
    assert_eq!(told["machine"]["problems"], serde_json::json!([]));

    // Tidegate with its broker alone: ClickHouse goes with it.
    publish(of(&line, "kafka"), 1000..1500).await;
    let engine = children(process.id());
    kill(process.id());
    gone(&engine).await;
    drop(process);
    let (process, line) = up_with(&data, &config).await;
    let clickhouse = client(of(&line, "clickhouse"));
    publish(of(&line, "kafka"), 1500..2000).await;

    // All at once.
    let all = [children(process.id()), vec![process.id()]].concat();
    all.iter().copied().for_each(kill);
    gone(&all).await;
    drop((process, clickhouse));
    let (process, line) = up_with(&data, &config).await;
    landed(&client(of(&line, "clickhouse")), 2000).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_queries_finish_and_a_second_one_does_not() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    for presses in [1, 2] {
        let (mut process, line) = up(folder.path()).await;
        let engine = children(process.id());
        let clickhouse = client(of(&line, "clickhouse"));
        let slow = tokio::spawn({
            let clickhouse = clickhouse.clone();
            async move { clickhouse.query("SELECT 'slow', sleep(3)").await }
        });
        eventually(async || {
            let running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT ''slow%'";
            let running = clickhouse.query(running).await.map_err(|fault| fault.to_string())?;
            if running.trim() == "1" { Ok(()) } else { Err(running) }
        })
        .await;
        let began = Instant::now();
        process.interrupt();
        if presses == 2 {
            // The first is seen when the interface is closed.
            let api = of(&line, "api").trim_start_matches("http://").to_owned();
            eventually(async || match std::net::TcpStream::connect(&api) {
                Ok(_) => Err("the interface is open".to_owned()),
                Err(_) => Ok(()),
            })
            .await;
            process.interrupt();
        }
        let code = process.exit().await.code();
        let took = began.elapsed();
        if presses == 1 {
            assert_eq!(code, Some(0), "{}", process.stderr());
            assert_eq!(slow.await.unwrap().unwrap().trim(), "slow\t0");
            assert!(took < Duration::from_secs(30), "{took:?}");
        } else {
            assert_eq!(code, Some(1), "{}", process.stderr());
            assert!(process.stderr().contains("told twice to stop"), "{}", process.stderr());
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
        gone(&engine).await;
    }
    let (process, _) = up(folder.path()).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_can_be_broken_off() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(command(folder.path(), None));
    let engine = eventually(async || match children(process.id()) {
        none if none.is_empty() => Err("no engine yet".to_owned()),
        engine => Ok(engine),
    })
    .await;
    process.interrupt();
    assert_eq!(process.exit().await.code(), Some(0), "{}", process.stderr());
    gone(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_run_already_take_the_embedded_ones_place() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let library = EngineLibrary::find(None).unwrap();
    let first_data = folder.path().join("first");
    let mut args = command(&first_data, None);
    args.extend(["--clickhouse", text(library.path()), "--clickhouse-memory", "1GiB"]);
    let mut first = Process::start(args);
    let line = first.json_line().await;
    let clickhouse = client(of(&line, "clickhouse"));
    let memory = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'";
    assert_eq!(clickhouse.query(memory).await.unwrap().trim(), (1 << 30).to_string());

    let config = config(folder.path());
    let second_data = folder.path().join("second");
    let args = |clickhouse: &str, kafka: &str| {
        let args = ["--config", text(&config), "--clickhouse", clickhouse, "--kafka", kafka];
        let all = command(&second_data, None).into_iter().chain(args).map(str::to_owned);
        all.collect::<Vec<String>>()
    };
    let good = args(of(&line, "clickhouse"), of(&line, "kafka"));
    let mut second = Process::start(good.iter().map(String::as_str));
    let second_line = second.json_line().await;
    assert_eq!(second_line["kafka"], line["kafka"]);
    assert!(children(second.id()).is_empty(), "no engine of its own");
    let hush = of(&line, "clickhouse").split(['@', ':']).nth(2).unwrap();
    assert!(!second_line.to_string().contains(hush), "the password is not ours to tell");
    clickhouse.execute(TABLE).await.unwrap();
    publish(of(&line, "kafka"), 0..100).await;
    landed(&clickhouse, 100).await;
    let told = status(&second_data).await;
    let states: Vec<&Value> =
        told["machine"]["components"].as_array().unwrap().iter().map(|part| &part["state"]).collect();
    assert_eq!(states, ["up", "elsewhere", "elsewhere"], "{told}");
    second.stop().await;

    let wrong = of(&line, "clickhouse").replacen(hush, "wrong", 1);
    for (args, names) in [
        (args(&wrong, of(&line, "kafka")), "clickhouse `http://127.0.0.1:"),
        (args(of(&line, "clickhouse"), "127.0.0.1:1"), "kafka `127.0.0.1:1`"),
    ] {
        let ran = tidegate(args.iter().map(String::as_str)).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(names) && ran.stderr.contains("hint: check the address"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("wrong@"), "{}", ran.stderr);
    }
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_costs_time_and_no_record() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), "160m") else { return };
    let config = config(folder.path());
    let data = folder.path().join("data");
    let (process, line) = up_with(&data, &config).await;
    let clickhouse = client(of(&line, "clickhouse"));
    clickhouse.execute(TABLE).await.unwrap();
    publish(of(&line, "kafka"), 0..100).await;
    landed(&clickhouse, 100).await;

    let fill = folder.path().join("fill");
    let mut file = std::fs::File::create(&fill).unwrap();
    let block = vec![1; 1 << 12];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    let refused = clickhouse.execute("INSERT INTO tidegate.events VALUES (1000000, 0, 0)").await;
    assert!(refused.is_err(), "the disk is full");
    let kafka = of(&line, "kafka").to_owned();
    let publishing = tokio::spawn(async move { publish(&kafka, 100..200).await });
    let free = status(&data).await["machine"]["disk_free_bytes"].as_u64().unwrap();
    assert!(free < 1 << 20, "{free}");
    drop(file);
    std::fs::remove_file(&fill).unwrap();
    publishing.await.unwrap();
    landed(&clickhouse, 200).await;
    process.stop().await;
    drop(disk);
}
