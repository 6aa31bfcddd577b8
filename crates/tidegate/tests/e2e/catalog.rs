//! A catalog's files at work: its tables are made, its events go through the sink, its rollups say what
//! the rows say.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_catalog::{Catalog, Lock, aggregate, load, sample};
use tidegate_kafka::{KafkaAdmin, TopicSpec};

use crate::process::{Process, eventually, text, tidegate};
use crate::world::{World, record};

const VIEWS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_catalog_makes_tables_takes_events_and_answers_metrics() {
    let Some(world) = World::start().await else { return };
    let root = copy(world.folder.path());
    let out = world.folder.path().join("generated");
    let generate = ["catalog", "generate", text(&root), "--out", text(&out)];
    let written = tidegate(generate).await;
    assert_eq!(written.code, Some(0), "{}{}", written.stdout, written.stderr);
    let checked = tidegate(generate.into_iter().chain(["--check"])).await;
    assert_eq!(checked.code, Some(0), "a second run differs: {}", checked.stdout);

    create_tables(&world, &out.join("clickhouse/single")).await;
    let catalog = load(text(&root), &|path| std::fs::read(path)).unwrap().catalog;
    let lock = Lock::parse(&std::fs::read_to_string(root.with_file_name("cdp.lock")).unwrap()).unwrap();
    let admin = KafkaAdmin::connect(&world.kafka).unwrap();
    for event in catalog.events.values() {
        admin.ensure_topic(&TopicSpec::new(&event.topic, 1)).await.unwrap();
    }
    publish(&world, &catalog).await;

    let config = out.join("sink/sink.yaml");
    let environment = world.environment();
    let mut sink = Process::start_as(["sink", "--config", text(&config), "--output", "json"], |command| {
        command.envs(environment);
    });
    sink.json_line().await;
    let refused = "SELECT code, topic, path, expected, found FROM clipline.dead_letters LIMIT 3";
    for event in catalog.events.values() {
        let sql = format!("SELECT count() FROM clipline.`{}`", event.table);
        let expected = if event.name == "video_viewed" { VIEWS } else { 1 };
        eventually(async || {
            let (rows, letters) = (world.number(&sql).await, world.rows(refused).await);
            assert!(letters.is_empty(), "{letters:?}");
            if rows == expected { Ok(()) } else { Err(format!("{}: {rows} rows", event.name)) }
        })
        .await;
    }
    sink.stop().await;
    rollups_say_what_rows_say(&world, &catalog, &lock).await;
    assert_eq!(world.number("SELECT count() FROM clipline.entity_video FINAL").await, 1);
    assert!(world.number("SELECT uniqExact(event) FROM clipline.activity").await > 30);
}

/// The example, where its lock may be written.
fn copy(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/short-video");
    let to = folder.join("short-video");
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        std::fs::create_dir_all(to.join(&inside)).unwrap();
        for entry in std::fs::read_dir(from.join(&inside)).unwrap() {
            let entry = entry.unwrap();
            let name = inside.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(name);
            } else {
                std::fs::copy(entry.path(), to.join(name)).unwrap();
            }
        }
    }
    to.join("cdp.yaml")
}

/// Every file in the order of their names, statement by statement; twice, since each may be repeated.
async fn create_tables(world: &World, folder: &Path) {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 6);
    for file in files.iter().chain(&files) {
        let sql = std::fs::read_to_string(file).unwrap();
        for statement in sql.split(";\n").filter(|statement| statement.contains("CREATE")) {
            if let Err(fault) = world.clickhouse.execute(statement).await {
                panic!("{}: {fault}\n{statement}", file.display());
            }
        }
    }
}

/// One event of each kind, and views that differ.
async fn publish(world: &World, catalog: &Catalog) {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for event in catalog.events.values() {
        let mut value = sample(catalog, event);
        if event.name != "video_viewed" {
            records.push((event.topic.clone(), value.to_string().into_bytes()));
            continue;
        }
        for n in 0..VIEWS {
            value["event_id"] = json!(format!("0b6f0c5e-5f0e-4c6e-9a55-{n:012}"));
            value["ts"] = json!(format!("2026-01-27T{:02}:{:02}:00Z", n % 24, n % 60));
            value["watch_ms"] = json!(n * 97 % 30_000);
            value["completed"] = json!(n % 3 == 0);
            value["user_id"] = if n % 5 == 0 { Value::Null } else { json!(format!("u{}", n % 37)) };
            value["net_country"] = if n % 4 == 0 { json!("AT") } else { Value::Null };
            value["net_ip"] = if n % 2 == 0 { json!("203.0.113.7") } else { json!("2001:db8::7") };
            value["video_id"] = json!(format!("v{}", n % 11));
            records.push((event.topic.clone(), value.to_string().into_bytes()));
        }
    }
    world.publish(records.iter().map(|(topic, value)| record(topic, 0, value, &[]))).await;
}

async fn rollups_say_what_rows_say(world: &World, catalog: &Catalog, lock: &Lock) {
    for (name, rollup) in catalog.file.rollups.iter() {
        let fact = catalog.file.facts.get(&rollup.fact.value).unwrap();
        let rows = match catalog.fact_events(fact).as_slice() {
            [event] if !catalog.narrow(fact) => event.table.clone(),
            _ => rollup.fact.value.clone(),
        };
        for metric in &rollup.metrics {
            let aggregate =
                aggregate(catalog, lock, catalog.file.metrics.get(&metric.value).unwrap()).unwrap();
            let kept = aggregate.merged(&format!("`{}`", metric.value));
            let sql = format!(
                "SELECT toString((SELECT {} FROM clipline.`{rows}` AS source)) AS of_rows, \
                 toString((SELECT {kept} FROM clipline.`{name}`)) AS of_rollup",
                aggregate.raw
            );
            let answer = world.rows(&sql).await.remove(0);
            let [of_rows, of_rollup] =
                ["of_rows", "of_rollup"].map(|key| answer[key].as_str().unwrap_or("null").to_owned());
            let near = match (of_rows.parse::<f64>(), of_rollup.parse::<f64>()) {
                // Digests of parts are put together: the answer lies near that of the whole.
                (Ok(a), Ok(b)) if aggregate.merge == "quantileTDigestMerge" => {
                    (a - b).abs() <= 0.05 * a.abs().max(1.0)
                }
                (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs(),
                (_, _) => of_rows == of_rollup,
            };
            assert!(near, "{name}.{}: rows {of_rows}, rollup {of_rollup}", metric.value);
        }
    }
    let views = world.number("SELECT sum(views) FROM clipline.views_hourly").await;
    assert_eq!(views, VIEWS);
    let mapped = "SELECT countIf(toString(net_ip) = '::ffff:203.0.113.7') FROM clipline.video_viewed";
    assert_eq!(world.number(mapped).await, VIEWS / 2);
    let austria = world.number("SELECT sum(views) FROM clipline.views_hourly WHERE country = 'AT'").await;
    assert_eq!(austria, VIEWS / 4);
}
