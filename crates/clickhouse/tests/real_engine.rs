//! The client against the real ClickHouse engine. Skipped, with a message, where the library is absent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidegate_clickhouse::{CODES, Client, ClientOptions, Compression, DedupWindow, Secret, Url};
use tidegate_core::{FaultKind, InsertToken, OffsetRange, PartId, TopicPartition};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions, Program};
use tidegate_native::{BlockColumn, Column, ColumnDefault, Table, Type, write_block};
use tidegate_pipeline::port::{EncodedBlock, InsertError, TableMemory, Warehouse};

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

async fn start(folder: &Path) -> Option<Engine> {
    let library = match EngineLibrary::find(None) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
    };
    let mut options = EngineOptions::new(folder, library);
    options.program = Program::of_test("engine_child");
    Some(Engine::start(options).await.unwrap())
}

fn options(engine: &Engine) -> ClientOptions {
    let credentials = engine.credentials();
    let url = Url::parse(&format!("http://{}", engine.http())).unwrap();
    ClientOptions::new(url, &credentials.user, Secret::new(credentials.password()))
}

fn client(engine: &Engine) -> Client {
    Client::new(options(engine)).unwrap()
}

/// A client with a database `ev` to work in.
async fn with_database(engine: &Engine) -> Client {
    let client = client(engine);
    client.execute("CREATE DATABASE IF NOT EXISTS ev").await.unwrap();
    client
}

fn token(first: i64, end: i64) -> InsertToken {
    let range = OffsetRange::new(first, end).unwrap();
    InsertToken::new("group", &TopicPartition::new("topic", 0), range, "ev.t", PartId(0))
}

/// A block of one column, in Native.
struct OneColumn {
    native: Bytes,
    columns: Vec<String>,
    rows: usize,
}

impl OneColumn {
    fn new(name: &str, ty: &str, column: &Column) -> Self {
        let (mut native, rows) = (Vec::new(), column.len());
        write_block(&[BlockColumn { name, ty, column }], rows, &mut native).unwrap();
        Self { native: native.into(), columns: vec![name.to_owned()], rows }
    }

    fn numbers(range: std::ops::Range<u64>) -> Self {
        Self::new("a", "UInt64", &Column::UInt64(range.collect()))
    }

    fn block(&self) -> EncodedBlock<'_> {
        EncodedBlock { native: &self.native, columns: &self.columns, rows: self.rows }
    }
}

async fn count(client: &Client, of: &str) -> String {
    client.query(&format!("SELECT {of} FROM ev.t")).await.unwrap().trim().to_owned()
}

fn fault_kind(error: &InsertError) -> Option<FaultKind> {
    match error {
        InsertError::Fault(fault) => Some(fault.kind),
        InsertError::Refused { .. } => None,
    }
}

#[tokio::test]
async fn a_table_is_described_with_types_and_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    let ddl = "CREATE TABLE ev.t (id UInt64, `we``ird\\\\x` LowCardinality(Nullable(String)), d UInt8 DEFAULT id % 7, \
               m UInt64 MATERIALIZED id * 2, al UInt64 ALIAS id, e String EPHEMERAL 'x') ORDER BY id";
    client.create(ddl).await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "we`ird\\x", "d", "m", "al", "e"]);
    assert_eq!(table.columns[1].ty, Type::parse("LowCardinality(Nullable(String))").unwrap());
    assert_eq!(table.columns[2].default, ColumnDefault::Default { expression: "id % 7".into() });
    let kinds = [&table.columns[3].default, &table.columns[4].default, &table.columns[5].default];
    assert_eq!(kinds, [&ColumnDefault::Materialized, &ColumnDefault::Alias, &ColumnDefault::Ephemeral]);
    assert_eq!(client.describe("ev", "none").await.unwrap_err().kind, FaultKind::Missing);
    assert_eq!(client.describe("none", "t").await.unwrap_err().kind, FaultKind::Missing);
    client.ping().await.unwrap();
    assert!(client.version().await.unwrap().starts_with("26."));
}

#[tokio::test]
async fn a_block_lands_once_under_its_token_whatever_the_compression() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a").await.unwrap();
    client
        .create("CREATE TABLE ev.sums (s UInt64) ENGINE = SummingMergeTree ORDER BY tuple()")
        .await
        .unwrap();
    client.execute("CREATE MATERIALIZED VIEW ev.v TO ev.sums AS SELECT sum(a) AS s FROM ev.t").await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    let mut first = 0;
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let mut options = options(&engine);
        options.compression = compression;
        let client = Client::new(options).unwrap();
        let block = OneColumn::numbers(first..first + 300_000);
        let token = token(first as i64, first as i64 + 300_000);
        for _ in 0..3 {
            client.insert(&table, block.block(), Some(&token)).await.unwrap();
        }
        first += 300_000;
    }
    assert_eq!(count(&client, "count(), uniqExact(a)").await, "900000\t900000");
    let sums = client.query("SELECT sum(s) FROM ev.sums").await.unwrap();
    assert_eq!(sums.trim(), (0..900_000_u64).sum::<u64>().to_string());
}

#[tokio::test]
async fn without_a_token_equal_blocks_are_both_stored() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a").await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    for _ in 0..2 {
        client.insert(&table, OneColumn::numbers(0..10).block(), None).await.unwrap();
    }
    assert_eq!(count(&client, "count()").await, "20");
}

#[tokio::test]
async fn the_token_decides_and_not_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a").await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    for (rows, token) in [(0..10, token(0, 1)), (0..10, token(1, 2)), (10..20, token(0, 1))] {
        client.insert(&table, OneColumn::numbers(rows).block(), Some(&token)).await.unwrap();
    }
    assert_eq!(count(&client, "count(), uniqExact(a)").await, "20\t10");
}

#[tokio::test]
async fn one_insert_is_one_part_however_many_rows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a").await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    client.insert(&table, OneColumn::numbers(0..2_500_000).block(), Some(&token(0, 1))).await.unwrap();
    client.execute("SYSTEM FLUSH LOGS").await.unwrap();
    let parts = "SELECT count(), sum(rows) FROM system.part_log WHERE event_type = 'NewPart' AND table = 't' AND database = 'ev'";
    assert_eq!(client.query(parts).await.unwrap().trim(), "1\t2500000");
}

#[tokio::test]
async fn a_block_of_many_partitions_is_no_reason_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a PARTITION BY a").await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    for _ in 0..2 {
        client.insert(&table, OneColumn::numbers(0..150).block(), Some(&token(0, 150))).await.unwrap();
    }
    assert_eq!(count(&client, "count()").await, "150");
}

#[tokio::test]
async fn null_in_a_column_with_a_default_means_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    for (ty, sent, default, other) in [
        ("UInt64", "Nullable(UInt64)", "7", "7"),
        ("String", "Nullable(String)", "'x'", "x"),
        ("LowCardinality(String)", "LowCardinality(Nullable(String))", "'x'", "x"),
        ("DateTime", "Nullable(DateTime)", "toDateTime(0)", "1970-01-01 00:00:00"),
    ] {
        client.execute("DROP TABLE IF EXISTS ev.t").await.unwrap();
        client
            .create(&format!("CREATE TABLE ev.t (a {ty} DEFAULT {default}) ORDER BY tuple()"))
            .await
            .unwrap();
        let table = client.describe("ev", "t").await.unwrap();
        let mut column = Column::for_type(&Type::parse(sent).unwrap()).unwrap();
        assert!(column.push_null());
        let block = OneColumn::new("a", sent, &column);
        client.insert(&table, block.block(), Some(&token(0, 1))).await.unwrap();
        assert_eq!(count(&client, "a").await, other, "{sent} into {ty}");
    }
}

#[tokio::test]
async fn a_window_is_what_the_table_or_the_server_says() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.a (a UInt64) ORDER BY a").await.unwrap();
    client
        .create("CREATE TABLE ev.b (a UInt64) ORDER BY a SETTINGS non_replicated_deduplication_window = 5")
        .await
        .unwrap();
    client.create("CREATE TABLE ev.c (a UInt64) ENGINE = Null").await.unwrap();
    assert_eq!(client.dedup_window("ev", "a").await, Ok(DedupWindow::Blocks(10_000)));
    assert_eq!(client.dedup_window("ev", "b").await, Ok(DedupWindow::Blocks(5)));
    assert_eq!(client.dedup_window("ev", "c").await, Ok(DedupWindow::NotByEngine));
    assert_eq!(client.dedup_window("ev", "none").await.unwrap_err().kind, FaultKind::Missing);
}

#[tokio::test]
async fn a_table_says_what_it_remembers_of_inserts_and_whether_it_may_miss_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    let positions = "a UInt64, _topic String, _partition Int32, _offset Int64";
    for (name, columns, kind) in [
        ("bare", "a UInt64", "MergeTree ORDER BY a"),
        ("asked", positions, "MergeTree ORDER BY a"),
        ("merging", positions, "ReplacingMergeTree ORDER BY a"),
        ("forgetful", positions, "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 0"),
        ("none", positions, "Null"),
    ] {
        client.create(&format!("CREATE TABLE ev.{name} ({columns}) ENGINE = {kind}")).await.unwrap();
    }
    let memory = async |name| client.memory(&client.describe("ev", name).await.unwrap()).await.unwrap();
    let none = TableMemory::default();
    assert_eq!(memory("asked").await, TableMemory { may_miss_rows: true, ..none.clone() });
    assert_eq!(memory("merging").await, none);
    for (name, part) in [
        ("bare", "the table has no columns `_topic`"),
        ("forgetful", "remembers no inserts"),
        ("none", "engine remembers no inserts"),
    ] {
        let TableMemory { weakness, may_miss_rows } = memory(name).await;
        assert!(weakness.is_some_and(|why| why.contains(part)) && !may_miss_rows, "{name}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_told_from_what_the_world_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    let ddl = "CREATE TABLE ev.t (a UInt64, CONSTRAINT small CHECK a < 100) ORDER BY a";
    client.create(ddl).await.unwrap();
    let table = client.describe("ev", "t").await.unwrap();
    let small = OneColumn::numbers(0..10);

    let refused = client.insert(&table, OneColumn::numbers(95..105).block(), Some(&token(0, 1))).await;
    assert!(matches!(refused, Err(InsertError::Refused { code: 469, .. })), "{refused:?}");
    let mut text = Column::for_type(&Type::String).unwrap();
    if let Column::String(strings) = &mut text {
        strings.push_str("not a number");
    }
    let refused =
        client.insert(&table, OneColumn::new("a", "String", &text).block(), Some(&token(1, 2))).await;
    assert!(matches!(refused, Err(InsertError::Refused { code: 6, .. })), "{refused:?}");

    let none = Table { name: "none".into(), ..table.clone() };
    let missing = client.insert(&none, small.block(), Some(&token(2, 3))).await.unwrap_err();
    assert_eq!(fault_kind(&missing), Some(FaultKind::Missing), "{missing:?}");
    let gone = OneColumn::new("gone", "UInt64", &Column::UInt64(vec![1]));
    let missing = client.insert(&table, gone.block(), Some(&token(3, 4))).await.unwrap_err();
    assert_eq!(fault_kind(&missing), Some(FaultKind::Missing), "{missing:?}");

    let mut wrong = options(&engine);
    wrong.password = Secret::new("wrong");
    let denied = Client::new(wrong).unwrap().insert(&table, small.block(), None).await.unwrap_err();
    assert_eq!(fault_kind(&denied), Some(FaultKind::Denied), "{denied:?}");

    let mut tight = options(&engine);
    tight.insert_settings = vec![("max_memory_usage".into(), "1000000".into())];
    let block = OneColumn::numbers(0..3_000_000);
    let overload = Client::new(tight).unwrap().insert(&table, block.block(), None).await.unwrap_err();
    assert_eq!(fault_kind(&overload), Some(FaultKind::Overload), "{overload:?}");

    // Garbage and a cut block are not the rows' fault.
    for native in [&Bytes::from("garbage that is no block"), &small.native.slice(..small.native.len() - 3)] {
        let block = EncodedBlock { native, columns: &small.columns, rows: 10 };
        let error = client.insert(&table, block, Some(&token(4, 5))).await.unwrap_err();
        assert!(fault_kind(&error).is_some(), "{error:?}");
    }
    assert_eq!(count(&client, "count()").await, "0");
    engine.stop(Duration::from_secs(15)).await.unwrap();
    let network = client.insert(&table, small.block(), Some(&token(0, 10))).await.unwrap_err();
    assert_eq!(fault_kind(&network), Some(FaultKind::Network), "{network:?}");
}

/// Inserts the numbers as the sink does: until it is told that they are there, and, if that was told of a repetition, until
/// they are. Gives how often it was repeated, and how often a token was noted without its rows.
async fn insert_until_there(client: &Client, table: &Table, numbers: std::ops::Range<u64>) -> (u64, u64) {
    let block = OneColumn::numbers(numbers.clone());
    let range = format!("countIf(a >= {} AND a < {})", numbers.start, numbers.end);
    let (mut repeats, mut tokens) = (0, 0);
    loop {
        let token = token(numbers.start as i64, numbers.end as i64).again(tokens);
        while let Err(error) = client.insert(table, block.block(), Some(&token)).await {
            assert!(fault_kind(&error).is_some(), "{error:?}");
            repeats += 1;
            assert!(repeats < 100_000, "the engine does not come back: {error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if repeats == 0 {
            break;
        }
        let there = loop {
            match client.query(&format!("SELECT {range} FROM ev.t")).await {
                Ok(answer) => break answer.trim() != "0",
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        if there {
            break;
        }
        tokens += 1;
        assert!(tokens < 100, "the rows never come");
    }
    (repeats, tokens.into())
}

#[tokio::test]
async fn rows_land_once_though_the_engine_is_killed_in_mid_load() {
    const WRITERS: u64 = 3;
    const BLOCKS: u64 = 60;
    const ROWS: u64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = with_database(&engine).await;
    client.create("CREATE TABLE ev.t (a UInt64) ORDER BY a").await.unwrap();
    let table = Arc::new(client.describe("ev", "t").await.unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, table) = (client.clone(), Arc::clone(&table));
            tokio::spawn(async move {
                let (mut repeats, mut missed) = (0, 0);
                for n in (writer * BLOCKS)..((writer + 1) * BLOCKS) {
                    let (again, noted) = insert_until_there(&client, &table, n * ROWS..(n + 1) * ROWS).await;
                    repeats += again;
                    missed += noted;
                }
                (repeats, missed)
            })
        })
        .collect();
    let (finished, killer_engine) = (Arc::clone(&done), Arc::new(engine));
    let killer = {
        let engine = Arc::clone(&killer_engine);
        tokio::spawn(async move {
            let mut kills = 0;
            while kills < 3 && !finished.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(150)).await;
                if engine.restarts() == kills
                    && let Some(id) = engine.child_id()
                {
                    Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
                    kills += 1;
                }
            }
            kills
        })
    };
    let (mut repeats, mut missed) = (0, 0);
    for writer in writers {
        let (again, noted) = writer.await.unwrap();
        repeats += again;
        missed += noted;
    }
    done.store(true, Ordering::Relaxed);
    let kills = killer.await.unwrap();
    eprintln!("{kills} kills, {repeats} repeated inserts, {missed} tokens without their rows");
    assert!(kills > 0, "the load was over before the first kill");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let total = WRITERS * BLOCKS * ROWS;
    loop {
        match client.query("SELECT count(), uniqExact(a), max(a) FROM ev.t").await {
            Ok(answer) => break assert_eq!(answer.trim(), format!("{total}\t{total}\t{}", total - 1)),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    }
}

/// The sources of the table of codes, as far as they can be asked.
#[tokio::test]
async fn the_table_of_codes_has_the_servers_names_and_its_statements_throw_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(engine) = start(folder.path()).await else { return };
    let client = client(&engine);
    let codes: Vec<String> = CODES.iter().map(|row| row.code.to_string()).collect();
    let sql = format!("SELECT errorCodeToName(arrayJoin([{}]))", codes.join(", "));
    let names = client.query(&sql).await.unwrap();
    let wrong: Vec<_> = CODES.iter().zip(names.lines()).filter(|(row, name)| row.name != *name).collect();
    assert!(wrong.is_empty() && names.lines().count() == CODES.len(), "{wrong:?}");
    let mut others = Vec::new();
    for row in CODES.iter().filter(|row| row.source.starts_with("SELECT")) {
        let thrown = client.query(row.source).await.map_or_else(|fault| fault.code, |_| None);
        if thrown != Some(row.code) {
            others.push((row.code, row.source, thrown));
        }
    }
    assert!(others.is_empty(), "{others:?}");
}
