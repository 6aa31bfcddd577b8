//! `tidegate offsets` and `tidegate ledger`.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, Ran, eventually, text, tidegate};
use crate::stack::{of, up};
use crate::world::{World, client, engine_is_there, record};

const TABLE: &str = "(id UInt64, _topic String, _partition Int32, _offset Int64) ENGINE = MergeTree ORDER BY id \
                     SETTINGS non_replicated_deduplication_window = 1000";

const CONNECTOR: &str = "  - {name: small, topics: [numbers], table: numbers, batch: {linger: 20ms}, halt_when: never, tombstones: skip}";

const GROUP: &str = "tidegate-small";

/// A command line with a file, and JSON.
async fn run(file: &Path, args: &[&str]) -> Ran {
    tidegate(args.iter().copied().chain(["--config", text(file), "--output", "json"])).await
}

/// Lets the sink settle all that there is.
async fn settle(world: &World, file: &Path) {
    let (sink, _) = world.sink(file).await;
    world.settled(GROUP, "numbers").await;
    sink.stop().await;
    let members = async || match run(file, &["offsets", "show"]).await.json()["members"].as_array() {
        Some(members) if members.is_empty() => Ok(()),
        members => Err(format!("members: {members:?}")),
    };
    eventually(members).await;
}

/// Two partitions: 20 numbers with something else among them in the first, 10 numbers in the second. Each record is
/// a second younger than the one before. Gives the time of the first ones.
async fn numbers(world: &World) -> jiff::Timestamp {
    // Young enough for the broker to keep.
    let time = jiff::Timestamp::now().checked_sub(jiff::Span::new().hours(1)).unwrap();
    world.topic("numbers", 2).await;
    let values: Vec<String> = (0..30).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    let records = values.iter().zip(0..).map(|(value, at)| {
        let (partition, value) = match at {
            5 | 12 => (0, Some("{\"test\":\"connection_test\"}")),
            7 => (0, None),
            ..20 => (0, Some(value.as_str())),
            _ => (1, Some(value.as_str())),
        };
        let timestamp = Some(time.as_millisecond() + at % 20 * 1000);
        tidegate_kafka::Outgoing {
            value: value.map(str::as_bytes),
            timestamp,
            ..record("numbers", partition, b"", &[])
        }
    });
    world.publish(records).await;
    time
}

async fn state(world: &World) -> (u64, u64, usize) {
    let rows = world.number("SELECT count() FROM e2e.numbers").await;
    let distinct = world.number("SELECT uniqExact(_partition, _offset) FROM e2e.numbers").await;
    (rows, distinct, world.letters("small.dlq.v1").await.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_writes_nothing_twice_and_fills_what_was_skipped_or_deleted() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(&format!("CREATE TABLE e2e.numbers {TABLE}")).await.unwrap();
    numbers(&world).await;
    let file = world.file("sink.yaml", CONNECTOR);

    // Nobody has read anything, and the sink starts in the middle.
    let ledger = run(&file, &["ledger"]).await.json();
    assert_eq!((&ledger["counts"]["waiting"], &ledger["accounted"]), (&30.into(), &true.into()));
    let dry = run(&file, &["offsets", "set", "0:10,1:4", "--dry-run"]).await.json();
    assert_eq!(dry["moves"][0]["skipped"], stretch(0, 10, &json!({"waiting": 10})));
    assert_eq!(run(&file, &["offsets", "show"]).await.json()["partitions"][0]["committed"], Value::Null);
    let set = run(&file, &["offsets", "set", "0:10,1:4"]).await.json();
    assert_eq!((&set["moves"][1]["to"], &set["dry_run"]), (&4.into(), &false.into()));
    settle(&world, &file).await;
    assert_eq!(state(&world).await, (15, 15, 1));
    let ledger = run(&file, &["ledger"]).await;
    assert_eq!(ledger.code, Some(1), "what was skipped is nowhere");
    let ledger: Value = serde_json::from_str(&ledger.stdout).unwrap();
    assert_eq!((&ledger["counts"]["nowhere"], &ledger["accounted"]), (&13.into(), &false.into()));
    assert_eq!(ledger["partitions"][0]["entries"][0], json!({"first": 0, "end": 7, "fate": "nowhere"}));
    assert_eq!(ledger["counts"]["dropped"], json!({"tombstones: skip": 1}));

    // Back to the first record: what was skipped is filled in, the rest is left alone; and again.
    for round in 0..2 {
        let back = run(&file, &["offsets", "reset", "--to", "earliest"]).await.json();
        let rows = if round == 0 { 9 } else { 17 };
        assert_eq!(back["moves"][0]["again"]["rows"]["numbers"], rows, "{back}");
        settle(&world, &file).await;
        assert_eq!(state(&world).await, (27, 27, 2), "round {round}");
        let ledger = run(&file, &["ledger"]).await.json();
        assert_eq!(ledger["accounted"], true);
        assert_eq!(ledger["counts"]["dead_letters"], json!({"extra_field": 2}));
    }

    // Beyond any window of tokens: rows are found by where they came from.
    let delete = "ALTER TABLE e2e.numbers DELETE WHERE _partition = 1 AND _offset IN (3, 8) SETTINGS mutations_sync = 2";
    world.clickhouse.execute(delete).await.unwrap();
    let window = "ALTER TABLE e2e.numbers MODIFY SETTING non_replicated_deduplication_window = 0";
    world.clickhouse.execute(window).await.unwrap();
    let dry =
        run(&file, &["offsets", "reset", "--to", "earliest", "--partition", "1", "--dry-run"]).await.json();
    assert_eq!(dry["moves"].as_array().unwrap().len(), 1);
    assert_eq!(
        dry["moves"][0]["again"],
        stretch(0, 10, &json!({"rows": {"numbers": 8}, "nowhere": 2})),
        "the ledger says what is missing"
    );
    run(&file, &["offsets", "reset", "--to", "earliest"]).await.json();
    settle(&world, &file).await;
    assert_eq!(state(&world).await, (27, 27, 2));
}

/// A stretch with these counts, and none of the others.
fn stretch(first: i64, end: i64, counts: &Value) -> Value {
    let mut stretch = json!({
        "first": first, "end": end, "rows": {}, "dead_letters": {}, "dropped": {}, "no_record": 0, "waiting": 0,
        "untraceable": 0, "twice": 0, "nowhere": 0,
    });
    for (name, count) in counts.as_object().unwrap() {
        stretch[name] = count.clone();
    }
    stretch
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_again_doubles_exactly_what_is_read_again() {
    let Some(world) = World::start().await else { return };
    world.clickhouse.execute(&format!("CREATE TABLE e2e.numbers {TABLE}")).await.unwrap();
    let first = numbers(&world).await;
    let file = world.file("sink.yaml", CONNECTOR);
    settle(&world, &file).await;
    assert_eq!(state(&world).await, (27, 27, 2));

    // By a time that no record of the second partition has.
    let time = first.checked_add(jiff::Span::new().seconds(10)).unwrap().to_string();
    let to = run(&file, &["offsets", "reset", "--to", &time, "--write-again"]).await.json();
    let moved: Vec<_> =
        to["moves"].as_array().unwrap().iter().map(|one| (&one["partition"], &one["to"])).collect();
    assert_eq!(moved, [(&0.into(), &10.into())], "where nothing is younger, nothing moves: {to}");
    settle(&world, &file).await;
    assert_eq!(state(&world).await, (27 + 9, 27, 3), "each row from there on once more, and the dead letter");
    let ledger = run(&file, &["ledger"]).await;
    assert_eq!(ledger.code, Some(1));
    let ledger: Value = serde_json::from_str(&ledger.stdout).unwrap();
    assert_eq!((&ledger["counts"]["twice"], &ledger["counts"]["nowhere"]), (&10.into(), &0.into()));

    // Writing again once more has a token of its own.
    run(&file, &["offsets", "set", "0:10", "--write-again"]).await.json();
    settle(&world, &file).await;
    assert_eq!(state(&world).await, (27 + 18, 27, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_refused_while_the_sink_runs_or_where_nobody_knows_what_is_there() {
    let Some(world) = World::start().await else { return };
    let blind = TABLE.replacen("_topic String, ", "", 1);
    world.clickhouse.execute(&format!("CREATE TABLE e2e.numbers {blind}")).await.unwrap();
    numbers(&world).await;
    let file = world.file("sink.yaml", CONNECTOR);
    let (sink, _) = world.sink(&file).await;
    world.settled(GROUP, "numbers").await;
    let refused = run(&file, &["offsets", "reset", "--to", "earliest"]).await;
    assert_eq!(refused.code, Some(1));
    let members = run(&file, &["offsets", "show"]).await.json()["members"].clone();
    let id = members[0]["id"].as_str().unwrap();
    for word in ["1 live member", id, "SIGTERM", "session"] {
        assert!(refused.stderr.contains(word), "says `{word}`: {}", refused.stderr);
    }
    sink.stop().await;

    let ledger = run(&file, &["ledger"]).await;
    assert_eq!(ledger.code, Some(1));
    let ledger: Value = serde_json::from_str(&ledger.stdout).unwrap();
    assert_eq!(ledger["untraceable_tables"], json!({"numbers": 27}), "only the number of rows is known");
    assert_eq!(ledger["counts"]["untraceable"], 28);
    let refused = run(&file, &["offsets", "set", "0:3"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("`numbers` has no columns _topic"), "{}", refused.stderr);
    let outside = run(&file, &["offsets", "set", "0:21"]).await;
    assert!(outside.stderr.contains("partition 0 holds the offsets 0-20"), "{}", outside.stderr);
    assert_eq!(run(&file, &["offsets", "set", "0:x"]).await.code, Some(2));
    let show = run(&file, &["offsets", "show"]).await.json();
    assert_eq!((&show["partitions"][0]["committed"], &show["partitions"][0]["lag"]), (&20.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_accounts_for_every_offset_of_the_demos_topic() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let report = tidegate(["demo", "--output", "json", "--data-dir", text(folder.path())]).await.json();
    let (engines, line) = up(folder.path()).await;
    let file = folder.path().join("sink.yaml");
    let url = of(&line, "clickhouse");
    let (login, host) = url.strip_prefix("http://").unwrap().rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let config = format!(
        "kafka: {{brokers: [\"{}\"]}}\n\
         clickhouse: {{urls: [\"http://{host}\"], database: demo, user: \"{user}\", password: \"{password}\"}}\n\
         api: {{listen: \"127.0.0.1:0\"}}\n\
         connectors:\n  - name: github\n    topics: [github.webhooks]\n    \
         table: \"github_{{header:x-github-event}}\"\n    unknown_fields: drop\n    halt_when: never\n",
        of(&line, "kafka")
    );
    std::fs::write(&file, config).unwrap();
    let ledger = run(&file, &["ledger"]).await.json();
    assert_eq!(ledger["accounted"], true);
    assert_eq!(ledger["counts"]["rows"], report["rows"]);
    assert_eq!(ledger["counts"]["dead_letters"], report["dead_letters"]);
    let mut offsets = 0;
    for partition in ledger["partitions"].as_array().unwrap() {
        let mut next = partition["first"].as_i64().unwrap();
        for entry in partition["entries"].as_array().unwrap() {
            assert_eq!(entry["first"], next, "no gap and no overlap");
            let end = entry["end"].as_i64().unwrap();
            offsets += end - next;
            next = end;
        }
        assert_eq!(partition["end"], next);
    }
    assert_eq!(report["records"], offsets);

    // The incident's reset: everything behind the four messages once more, and nothing twice.
    let set = run(&file, &["offsets", "set", "0:59,1:57,2:114"]).await.json();
    let moved: Vec<_> = set["moves"].as_array().unwrap().iter().map(|one| &one["to"]).collect();
    assert_eq!(moved, [59, 57, 114]);
    let mut sink = Process::start(["sink", "--config", text(&file), "--output", "json"]);
    sink.json_line().await;
    eventually(async || {
        let show = run(&file, &["offsets", "show"]).await.json();
        let settled = |line: &Value| line["lag"] == 0 && line["inserting_until"].is_null();
        let all = show["partitions"].as_array().unwrap().iter().all(settled);
        if all { Ok(()) } else { Err(show.to_string()) }
    })
    .await;
    sink.stop().await;
    let after = run(&file, &["ledger"]).await.json();
    assert_eq!(after, ledger, "nothing has changed");
    let clickhouse = client(url);
    let letters = clickhouse.query("SELECT count() FROM demo.dead_letters FINAL").await.unwrap();
    let counted: u64 =
        report["dead_letters"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(letters.trim(), counted.to_string());
    engines.stop().await;
}
