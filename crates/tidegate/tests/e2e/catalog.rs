//! The reference catalog at work: `tidegate up --catalog` makes its schemas, topics and tables; its events go
//! through the sink; its rollups say what the rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_catalog::{Catalog, Lock, aggregate, full_sample, load, sample};
use tidegate_clickhouse::Client;
use tidegate_kafka::{KafkaOptions, KafkaProducer, Outgoing, ProducerOptions};

use crate::process::{PATIENCE, PII_KEY, Process, ask, eventually, get, text, tidegate};
use crate::stack::{command, of};
use crate::world::{client, engine_is_there};

const VIEWS: u64 = 400;

/// A running `up`, and how its engines are reached.
pub struct Up {
    pub process: Process,
    pub line: Value,
    pub clickhouse: Client,
    producer: KafkaProducer,
}

impl Up {
    /// On the data folder, with flags more.
    pub async fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut process = Process::start(command(folder, None).into_iter().chain(flags.iter().copied()));
        let line = process.json_line().await;
        let clickhouse = client(of(&line, "clickhouse"));
        let kafka = KafkaOptions::new([of(&line, "kafka")]);
        let producer = KafkaProducer::connect(&kafka, &ProducerOptions::default()).unwrap();
        Self { process, line, clickhouse, producer }
    }

    /// Publishes events, each to its topic.
    pub async fn publish(&self, events: impl IntoIterator<Item = (&str, Value)>) {
        for (topic, value) in events {
            let value = value.to_string();
            let value = Some(value.as_bytes());
            self.producer.send(&Outgoing { topic, value, ..Outgoing::default() }).await.unwrap();
        }
        assert_eq!(self.producer.flush(PATIENCE).await.unwrap().failed, 0);
    }

    pub async fn number(&self, sql: &str) -> u64 {
        let answer = self.clickhouse.query(sql).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
        answer.trim().parse().unwrap_or_else(|_| panic!("{sql}: {answer}"))
    }

    pub async fn rows(&self, sql: &str) -> Vec<BTreeMap<String, Value>> {
        self.clickhouse.rows(sql).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    }

    /// Waits until a query gives this number.
    pub async fn shows(&self, sql: &str, expected: u64) {
        eventually(async || match self.number(sql).await {
            found if found == expected => Ok(()),
            found => Err(format!("{sql}: {found} instead of {expected}")),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_catalog_comes_up_takes_every_event_and_answers_metrics() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = copy(folder.path());
    files_are_made_and_found_again(&root, folder.path()).await;
    let catalog = load(text(&root), &|path| std::fs::read(path)).unwrap().catalog;
    let data = folder.path().join("data");
    let up = Up::start(&data, &["--catalog", text(&root)]).await;
    let made = &up.line["catalog"];
    assert_eq!(made["topics_created"], catalog.events.len(), "{made}");
    assert!(made["schemas_registered"].as_u64().unwrap() >= catalog.events.len() as u64, "{made}");
    assert!(made["tables_created"].as_u64().unwrap() > catalog.events.len() as u64, "{made}");
    every_event_lands(&up, &catalog).await;
    personal_data_is_treated(&up).await;
    broken_rules_are_named(&up).await;
    let lock = Lock::parse(&std::fs::read_to_string(root.with_file_name("cdp.lock")).unwrap()).unwrap();
    rollups_say_what_rows_say(&up, &catalog, &lock).await;
    every_metric_has_an_answer(&up).await;
    let (status, latest) =
        ask(of(&up.line, "registry"), "GET", "/subjects/clipline.video_viewed.v2-value/versions", "")
            .unwrap();
    assert_eq!((status, latest.trim()), (200, "[1,2]"), "the version before it, and the version");
    up.process.stop().await;

    // Once more: nothing is made, nothing comes twice, and events go on landing.
    let up = Up::start(&data, &["--catalog", text(&root)]).await;
    for what in ["topics_created", "schemas_registered", "tables_created"] {
        assert_eq!(up.line["catalog"][what], 0, "{}", up.line["catalog"]);
    }
    let event = &catalog.events["video_viewed"];
    up.publish([(event.topic.as_str(), sample(&catalog, event))]).await;
    up.shows("SELECT count() FROM clipline.video_viewed", VIEWS + 3).await;
    up.shows("SELECT sum(views) FROM clipline.views_hourly", VIEWS + 3).await;
    up.process.stop().await;
}

/// The example, where its lock may be written.
pub fn copy(folder: &Path) -> PathBuf {
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

/// Seconds of CPU that a command line takes to its good end: how busy the machine is does not count.
fn cpu_seconds(args: &[&str]) -> f64 {
    let timed = r#"TIMEFORMAT='%U %S'; time "$0" "$@" > /dev/null"#;
    let mut shell = std::process::Command::new("bash");
    let ran = shell.args(["-c", timed, env!("CARGO_BIN_EXE_tidegate")]).args(args).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{args:?}: {said}");
    said.lines().last().unwrap().split(' ').map(|seconds| seconds.parse::<f64>().unwrap()).sum()
}

/// Nothing of this way is optimised in a test, and what is shipped has the same limits.
async fn files_are_made_and_found_again(root: &Path, folder: &Path) {
    let checked = cpu_seconds(&["catalog", "check", text(root)]);
    assert!(checked < 1.0, "check took {checked} s");
    let out = folder.join("generated");
    let generated = cpu_seconds(&["catalog", "generate", text(root), "--out", text(&out)]);
    assert!(generated < 3.0, "generate took {generated} s");
    let again = tidegate(["catalog", "generate", text(root), "--out", text(&out), "--check"]).await;
    assert_eq!(again.code, Some(0), "another run differs: {}", again.stdout);
    let report = std::fs::read_to_string(out.join("coverage.md")).unwrap();
    assert!(report.contains("wanted metrics are there"), "{report}");
    let sink = out.join("sink/sink.yaml");
    let checked = tidegate(["config", "check", "--config", text(&sink)]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

/// What cannot be done to personal data is said before anything runs, with the ways to go on.
#[tokio::test]
async fn personal_data_that_cannot_be_treated_is_refused_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    let (root, data) = (copy(folder.path()), folder.path().join("data"));
    let args = || command(&data, None).into_iter().chain(["--catalog", text(&root)]);
    let refused = async |key: Option<&str>, expected: &[&str]| {
        let with_key = |command: &mut std::process::Command| {
            match key {
                Some(key) => command.env("CDP_PII_KEY", key),
                None => command.env_remove("CDP_PII_KEY"),
            };
        };
        let up = Process::start_as(args(), with_key).ran().await;
        assert_eq!(up.code, Some(2), "{}", up.stderr);
        for words in expected {
            assert!(up.stderr.contains(words), "{words} is not in:\n{}", up.stderr);
        }
        assert!(!up.stderr.contains("a short key"), "a key is never shown: {}", up.stderr);
        assert!(!data.exists(), "nothing has been started");
    };
    let missing = "pseudonymised with the key in `env:CDP_PII_KEY`, which is not there";
    refused(None, &["class `direct`", missing, "export CDP_PII_KEY=$(openssl rand -hex 32)"]).await;
    refused(Some("a short key"), &["has 11 bytes, expected at least 32"]).await;
    let file = std::fs::read_to_string(&root).unwrap();
    std::fs::write(&root, file.replace("free_text: {action: keep", "free_text: {action: restrict")).unwrap();
    let restricted = "class `free_text`, action `restrict`: ";
    refused(Some(PII_KEY), &[restricted, "--allow-clear-pii", "`upstream: true`"]).await;
    let checked = tidegate(["catalog", "check", text(&root)]).await;
    assert_eq!(checked.code, Some(0));
    let told = format!("stored as it comes: {restricted}");
    assert!(checked.stdout.contains(&told), "{}", checked.stdout);
}

/// The percentage of a day is kept once, a build can fail by it, and what is generated has it without days.
#[tokio::test]
async fn wanted_metrics_are_covered_over_time_and_a_build_can_demand_it() {
    let folder = TempDir::new().unwrap();
    let root = copy(folder.path());
    let (history, report) = (folder.path().join("coverage.jsonl"), folder.path().join("coverage.md"));
    let sheet = root.with_file_name("wanted-metrics.csv");
    let mut command =
        vec!["catalog", "coverage", text(&root), "--output", "json", "--history", text(&history)];
    command.extend(["--report", text(&report), "--spreadsheet", text(&sheet), "--date"]);
    let mut percents = Vec::new();
    for date in ["2026-01-30", "2026-01-31", "2026-01-31"] {
        let ran = tidegate(command.iter().copied().chain([date])).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        percents.push(answer["history"].as_array().unwrap().len());
        let statuses: BTreeSet<&str> =
            answer["rows"].as_array().unwrap().iter().filter_map(|row| row["status"].as_str()).collect();
        assert_eq!(statuses.len(), 6, "{statuses:?}");
    }
    assert_eq!(percents, [1, 2, 2]);
    let written = std::fs::read_to_string(&report).unwrap();
    assert!(written.contains("\n2026-01-31  ███") && written.contains("```yaml\nmetrics:\n"), "{written}");

    let demanded = tidegate(["catalog", "coverage", text(&root), "--fail-under", "99"]).await;
    assert_eq!(demanded.code, Some(1), "{}", demanded.stdout);
    assert!(demanded.stdout.contains("99 % are demanded"), "{}", demanded.stdout);
    std::fs::write(&sheet, "id;title of it\n1;Views\n").unwrap();
    let refused = tidegate(["catalog", "coverage", text(&root)]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains("`id`, `title of it`"), "{}", refused.stderr);
}

/// Two events of each kind, with the least fields and with all of them, and views that differ.
async fn every_event_lands(up: &Up, catalog: &Catalog) {
    let of_each = catalog.events.values().flat_map(|event| {
        let topic = event.topic.as_str();
        [(topic, sample(catalog, event)), (topic, full_sample(catalog, event))]
    });
    let viewed = &catalog.events["video_viewed"];
    let views = (0..VIEWS).map(|n| (viewed.topic.as_str(), view(sample(catalog, viewed), n)));
    up.publish(of_each.chain(views)).await;
    let refused = "SELECT code, topic, path, expected, found FROM clipline.dead_letters LIMIT 3";
    for event in catalog.events.values() {
        let sql = format!("SELECT count() FROM clipline.`{}`", event.table);
        let expected = if event.name == "video_viewed" { VIEWS + 2 } else { 2 };
        eventually(async || {
            let (rows, letters) = (up.number(&sql).await, up.rows(refused).await);
            assert!(letters.is_empty(), "{letters:?}");
            if rows == expected { Ok(()) } else { Err(format!("{}: {rows} rows", event.name)) }
        })
        .await;
    }
}

fn view(mut value: Value, n: u64) -> Value {
    value["event_id"] = json!(format!("0b6f0c5e-5f0e-4c6e-9a55-{n:012}"));
    value["ts"] = json!(format!("2026-01-27T{:02}:{:02}:00Z", n % 24, n % 60));
    value["watch_ms"] = json!(n * 97 % 30_000);
    value["completed"] = json!(n.is_multiple_of(3));
    value["user_id"] = if n.is_multiple_of(5) { Value::Null } else { json!(format!("u{}", n % 37)) };
    value["net_country"] = if n.is_multiple_of(4) { json!("DE") } else { Value::Null };
    value["net_ip"] = if n.is_multiple_of(2) { json!("198.51.100.7") } else { json!("2001:db8::7") };
    value["video_id"] = json!(format!("v{}", n % 11));
    value
}

/// Nowhere in the database is who came; the same person has the same pseudonym in every table.
async fn personal_data_is_treated(up: &Up) {
    let key = PKey::hmac(PII_KEY.as_bytes()).unwrap();
    let made = Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(b"u7").unwrap();
    let pseudonym: String = made.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let n_sent = (0..VIEWS).filter(|n| !n.is_multiple_of(5) && n % 37 == 7).count() as u64;
    let of = |table: &str| format!("SELECT countIf(user_id = '{pseudonym}') FROM clipline.{table}");
    assert_eq!(up.number(&of("video_viewed")).await, n_sent);
    up.shows(&of("activity"), n_sent).await;
    let columns = up.rows(
        "SELECT table, name, toUInt8(startsWith(type, 'Array')) AS list FROM system.columns \
         WHERE database = 'clipline' AND comment LIKE '%pseudonymised%'",
    );
    let columns = columns.await;
    assert!(columns.len() > 200, "{}", columns.len());
    let parts = columns.iter().map(|column| {
        let [table, name] = ["table", "name"].map(|key| column[key].as_str().unwrap());
        format!("SELECT countIf(NOT match(ifNull(`{name}`, ''), '^([0-9a-f]{{32}})?$')) AS n FROM clipline.`{table}`")
    });
    let parts: Vec<String> = parts.collect();
    for some in parts.chunks(100) {
        assert_eq!(up.number(&format!("SELECT sum(n) FROM ({})", some.join(" UNION ALL "))).await, 0);
    }
}

/// What the catalog refuses is refused, once, by the rule that it breaks.
async fn broken_rules_are_named(up: &Up) {
    let valid = || {
        json!({
            "event_id": "0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11", "ts": "2026-01-27T10:00:00.123Z", "anonymous_id": "a1",
            "app_version": "5.1.0", "device_platform": "ios", "video_id": "v9", "video_author_id": "u7",
            "video_length_ms": 30_000, "feed_surface": "for_you", "watch_ms": 15_000
        })
    };
    let rules = [
        ("watch_ms", json!("15"), "wrong_type", "integer", "\"15\""),
        ("device_platform", json!("symbian"), "bad_enum", "`ios`", "symbian"),
        ("watch_ms", json!(86_400_001), "out_of_range", "86400000", "86400001"),
        ("net_country", json!("Austria"), "pattern", "^[A-Z]{2}$", "Austria"),
        ("anonymous_id", json!("a".repeat(65)), "too_long", "64", "withheld"),
        ("ts", json!("27/01/2026 10:00"), "bad_timestamp", "", "27/01/2026 10:00"),
        ("net_ip", json!("localhost"), "bad_format", "", "withheld"),
        ("watchms", json!(1), "extra_field", "", ""),
        ("video_id", Value::Null, "wrong_type", "string", "null"),
    ];
    let mut values: Vec<Value> = Vec::new();
    for (field, value, ..) in &rules {
        let mut event = valid();
        event[*field] = value.clone();
        values.push(event);
    }
    let mut lacking = valid();
    lacking.as_object_mut().unwrap().remove("video_id");
    values.push(lacking);
    let n_broken = values.len() as u64;
    up.publish(values.into_iter().map(|value| ("clipline.video_viewed.v2", value))).await;
    up.shows("SELECT count() FROM clipline.dead_letters", n_broken).await;
    up.shows("SELECT countIf(raw IS NOT NULL OR key IS NOT NULL) FROM clipline.dead_letters", 0).await;
    let letters =
        up.rows("SELECT stage, code, path, expected, found, event FROM clipline.dead_letters").await;
    let expected = rules.into_iter().chain([("video_id", Value::Null, "missing_required", "", "")]);
    for (field, _, code, expected, found) in expected {
        let named = |letter: &&BTreeMap<String, Value>| {
            let stage = if code == "bad_format" { "encode" } else { "validate" };
            letter["stage"] == stage
                && letter["code"] == code
                && letter["path"] == format!("/{field}")
                && letter["expected"].as_str().unwrap().contains(expected)
                && letter["found"].as_str().unwrap().contains(found)
        };
        assert_eq!(letters.iter().filter(named).count(), 1, "{field}, {code}: {letters:#?}");
    }
}

async fn rollups_say_what_rows_say(up: &Up, catalog: &Catalog, lock: &Lock) {
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
            let answer = up.rows(&sql).await.remove(0);
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
    assert_eq!(up.number("SELECT sum(views) FROM clipline.views_hourly").await, VIEWS + 2);
    let mapped = "SELECT countIf(toString(net_ip) = '::ffff:198.51.100.0') FROM clipline.video_viewed";
    assert_eq!(up.number(mapped).await, VIEWS / 2);
    let germany = up.number("SELECT sum(views) FROM clipline.views_hourly WHERE country = 'DE'").await;
    assert_eq!(germany, VIEWS / 4);
    assert_eq!(up.number("SELECT count() FROM clipline.entity_video FINAL").await, 1);
    assert!(up.number("SELECT uniqExact(event) FROM clipline.activity").await > 30);
}

/// Every metric of every kind, split by two dimensions and by day, over HTTP.
async fn every_metric_has_an_answer(up: &Up) {
    let api = of(&up.line, "api");
    let get = |path: &str| {
        let (status, body) = get(api, path).unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap_or_else(|_| Value::from(body)))
    };
    let (_, metrics) = get("/api/v1/metrics");
    let metrics = metrics.as_array().unwrap();
    assert!(metrics.len() >= 200, "{} metrics", metrics.len());
    for metric in metrics {
        let name = metric["name"].as_str().unwrap();
        let dimensions = metric["dimensions"].as_array().unwrap();
        let by: BTreeSet<&str> =
            dimensions.first().into_iter().chain(dimensions.last()).filter_map(Value::as_str).collect();
        let by = by.into_iter().collect::<Vec<_>>().join(",");
        let grain = if metric["kind"] == "retention" { "" } else { "&grain=day" };
        let (status, answer) = get(&format!("/api/v1/metrics/query?metrics={name}&by={by}{grain}"));
        assert_eq!(status, 200, "{name}: {answer:#}");
        assert!(!answer["rows"].as_array().unwrap().is_empty(), "{name}: {answer:#}");
    }
    let (_, answer) = get("/api/v1/metrics/query?metrics=views,viewers&where=country='DE'");
    assert_eq!(answer["rows"][0]["views"], VIEWS / 4, "{answer:#}");
    assert_eq!(answer["reads"][0]["table"], "views_hourly");
    let (_, csv) = get("/api/v1/metrics/query?metrics=views&by=country&format=csv");
    assert!(csv.as_str().unwrap().contains("DE,100\r\n"), "{csv}");
    let (status, refused) = get("/api/v1/metrics/query?metrics=view&where=1");
    assert_eq!(
        (status, &refused["mistakes"][0]["hint"]),
        (400, &Value::from("did you mean `views`?")),
        "{refused:#}"
    );
    assert_eq!(get("/api/v1/metrics/query?metric=views").0, 400);
}

/// A catalog of one event, with what one event can have.
pub const SMALL: &str = r#"
cdp: "1"
name: shop
defaults: {clickhouse: {database: shop}, kafka: {partitions: 1}}
envelope:
  event_id: {type: uuid}
  ts: {type: timestamp(ms)}
events:
  viewed: {doc: Seen., fields: {page: {type: string, max_length: 5}, load_ms: {type: u32, max: 60000}}}
facts:
  views: {event: viewed}
metrics:
  views: {kind: count, fact: views}
rollups:
  hourly: {fact: views, grain: hour, metrics: [views]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_differs_or_would_be_counted_wrongly_refuses_the_start() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (root, data) = (folder.path().join("cdp.yaml"), folder.path().join("data"));
    std::fs::write(&root, SMALL).unwrap();
    // The catalog stands in the file of `up`, which has no connector of its own.
    let file = folder.path().join("up.yaml");
    std::fs::write(&file, "catalog: cdp.yaml\n").unwrap();
    let flags = ["--config", text(&file)];
    let up = Up::start(&data, &flags).await;
    assert_eq!(up.line["catalog"]["tables_created"], 4, "{}", up.line["catalog"]);
    let event = json!({"event_id": "0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11", "ts": "2026-01-27T10:00:00Z",
        "page": "home", "load_ms": 1});
    up.publish([("shop.viewed.v1", event)]).await;
    up.shows("SELECT sum(views) FROM shop.hourly", 1).await;
    up.clickhouse.execute("ALTER TABLE shop.viewed ADD COLUMN seen_by Nullable(String)").await.unwrap();
    up.clickhouse.execute("DROP VIEW shop.hourly_view SYNC").await.unwrap();
    up.process.stop().await;

    let refused = async |changed: &str, told: &str| {
        std::fs::write(&root, changed).unwrap();
        let ran = tidegate(command(&data, None).into_iter().chain(flags)).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        for told in [told, "tidegate catalog plan"] {
            assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        }
        // A column more, which rows may lack, is nobody's trouble.
        assert!(!ran.stderr.contains("seen_by"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    };
    refused(SMALL, "view `hourly_view` is missing, and table `viewed` holds rows").await;
    let wider = SMALL.replace("load_ms: {type: u32, max: 60000}", "load_ms: {type: u64}, at: {type: date}");
    refused(&wider, "column `load_ms` of table `viewed` is `UInt32`, and `UInt64` in the catalog").await;
    refused(&wider, "table `viewed` has no column `at`, which is `Date32`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_with_mistakes_is_refused_as_check_refuses_it() {
    let folder = TempDir::new().unwrap();
    let (root, data) = (folder.path().join("cdp.yaml"), folder.path().join("data"));
    std::fs::write(
        &root,
        SMALL.replace("event: viewed}", "event: vieved}").replace("fact: views}", "fact: view}"),
    )
    .unwrap();
    let checked = tidegate(["catalog", "check", text(&root)]).await;
    let up = tidegate(command(&data, None).into_iter().chain(["--catalog", text(&root)])).await;
    assert_eq!((checked.code, up.code), (Some(2), Some(2)));
    assert!(checked.stderr.contains("did you mean `viewed`?"), "{}", checked.stderr);
    assert_eq!(checked.stderr, up.stderr);
    assert!(!data.exists(), "nothing has been started");
}
