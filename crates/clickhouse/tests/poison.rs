//! Rows that only the real server refuses, through the real pipeline: of N rows with k bad ones, N-k are
//! stored and k become dead letters, in order. Skipped, with a message, where the library is absent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_core::{
    Checkpoint, Fault, FaultKind, InsertToken, OffsetRange, ReasonCode, Stage, TopicPartition,
};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions, Program};
use tidegate_native::Table;
use tidegate_pipeline::port::{EncodedBlock, InsertError, TableMemory, Warehouse};
use tidegate_pipeline::{Budget, Connector, ConnectorSettings, EventSchemas, Metrics, Status};
use tidegate_testkit::{Crash, FakeKafka};

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

/// Tables that refuse `x`, each in another way, and the column that ClickHouse's message is about for certain.
const KINDS: [(&str, &str, Option<&str>); 3] = [
    ("check", "name String, CONSTRAINT fine CHECK name != 'x'", Some("name")),
    ("materialized", "name String, n UInt64 MATERIALIZED toUInt64(name)", None),
    ("default", "name String, n UInt8 DEFAULT throwIf(name = 'x')", None),
];

fn settings(table: &str) -> ConnectorSettings {
    let mut settings = tidegate_testkit::settings(table);
    settings.context.group = format!("group-{table}");
    settings.database = "ev".to_owned();
    settings.dead_letter_table = None;
    settings.retry_wait = (Duration::from_millis(10), Duration::from_millis(100));
    settings
}

/// A ClickHouse that is killed in the middle of the first insert: it remembers the token, and does not have the rows.
#[derive(Clone)]
struct Killed {
    client: Client,
    once: Arc<AtomicBool>,
}

impl Warehouse for Killed {
    async fn describe(&self, database: &str, table: &str) -> Result<Table, Fault> {
        self.client.describe(database, table).await
    }

    async fn memory(&self, table: &Table) -> Result<TableMemory, Fault> {
        self.client.memory(table).await
    }

    async fn landed(
        &self,
        table: &Table,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> Result<Vec<i64>, Fault> {
        self.client.landed(table, source, range).await
    }

    async fn create(&self, ddl: &str) -> Result<(), Fault> {
        self.client.create(ddl).await
    }

    async fn insert(
        &self,
        table: &Table,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
    ) -> Result<(), InsertError> {
        self.client.insert(table, block, token).await?;
        if self.once.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // Rows that are deleted stay in the table's memory of inserts.
        let delete = format!("DELETE FROM ev.{} WHERE _offset % 3 > 0", table.name);
        self.client.execute(&delete).await.map_err(InsertError::Fault)?;
        Err(InsertError::Fault(Fault::new(FaultKind::Network, "connection reset")))
    }
}

/// Delivers `n` records of which those at `bad` are poison; gives the dead letters' offsets. Each names `column`.
async fn deliver(client: &Client, table: &str, column: Option<&str>, records: (i64, &[i64])) -> Vec<i64> {
    deliver_to(client.clone(), table, column, records).await
}

async fn deliver_to<W: Warehouse + 'static>(
    warehouse: W,
    table: &str,
    column: Option<&str>,
    (n, bad): (i64, &[i64]),
) -> Vec<i64> {
    let kafka = FakeKafka::default();
    let source = TopicPartition::new("t", 0);
    for offset in 0..n {
        let name = if bad.contains(&offset) { "x" } else { "1" };
        kafka.produce(&source, Some(format!(r#"{{"name":"{name}"}}"#).as_bytes()), &[]);
    }
    let (mut from, log) = kafka.join(1000, Crash::never());
    let world = (Arc::new(log), Arc::new(warehouse));
    let shown = (Budget::new(64 << 20), Status::new("c"));
    let schemas = (EventSchemas::none(), None);
    let connector = Connector::new(settings(table), world, schemas, &Metrics::unregistered(), shown);
    let settled = async {
        while kafka.committed(&source) != Some(Checkpoint::settled(n)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), connector.run(&mut from, settled)).await.unwrap();
    let letters = kafka.dead_letters();
    let refused = |letter: &tidegate_testkit::FakeDeadLetter| {
        let why = (letter.stage, letter.code, letter.column.as_deref());
        why == (Stage::Insert, ReasonCode::RowRefused, column)
    };
    assert!(letters.iter().all(refused), "{table}: {letters:?}");
    letters.iter().map(|letter| letter.offset).collect()
}

async fn offsets(client: &Client, table: &str) -> Vec<i64> {
    let sql = format!("SELECT _offset FROM ev.{table} ORDER BY _offset");
    client.query(&sql).await.unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

async fn create(client: &Client, columns: &str, table: &str) {
    let ddl = format!(
        "CREATE TABLE ev.{table} ({columns}, _offset Int64) ENGINE = MergeTree ORDER BY _offset \
         SETTINGS non_replicated_deduplication_window = 1000"
    );
    client.execute(&ddl).await.unwrap();
}

/// A client with a database `ev` to work in.
async fn start(folder: &Path) -> Option<(Engine, Client)> {
    let library = match EngineLibrary::find(None) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
    };
    let mut options = EngineOptions::new(folder, library);
    options.program = Program::of_test("engine_child");
    let engine = Engine::start(options).await.unwrap();
    let credentials = engine.credentials();
    let url = Url::parse(&format!("http://{}", engine.http())).unwrap();
    let options = ClientOptions::new(url, &credentials.user, Secret::new(credentials.password()));
    let client = Client::new(options).unwrap();
    client.execute("CREATE DATABASE ev").await.unwrap();
    Some((engine, client))
}

#[tokio::test]
async fn of_every_block_all_rows_are_stored_but_the_poison() {
    let folder = tempfile::tempdir().unwrap();
    let Some((engine, client)) = start(folder.path()).await else { return };
    let every = |step: usize| (0..100).step_by(step).collect::<Vec<i64>>();
    let patterns =
        [vec![], vec![0], vec![99], vec![49, 50], vec![3, 40, 41, 97], every(10), (0..9).collect()];
    for (kind, columns, column) in KINDS {
        for (at, bad) in patterns.iter().enumerate() {
            // The last pattern: nothing but poison.
            let n = if bad.len() == 9 { 9 } else { 100 };
            let table = format!("{kind}_{at}");
            create(&client, columns, &table).await;
            assert_eq!(deliver(&client, &table, column, (n, bad)).await, *bad, "dead letters of {table}");
            let good: Vec<i64> = (0..n).filter(|offset| !bad.contains(offset)).collect();
            assert_eq!(offsets(&client, &table).await, good, "rows of {table}");
        }
    }
    engine.stop(Duration::from_secs(15)).await.unwrap();
}

#[tokio::test]
async fn rows_that_the_server_remembers_and_does_not_have_are_inserted_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some((engine, client)) = start(folder.path()).await else { return };
    for (table, columns) in [
        ("known", "name String, _topic String, _partition Int32"),
        // Nobody can ask such a table: this is what happened to it.
        ("blind", "name String"),
    ] {
        create(&client, columns, table).await;
        let killed = Killed { client: client.clone(), once: Arc::default() };
        assert_eq!(deliver_to(killed, table, None, (50, &[])).await, [] as [i64; 0]);
    }
    assert_eq!(offsets(&client, "known").await, (0..50).collect::<Vec<_>>());
    assert_eq!(offsets(&client, "blind").await, (0..50).step_by(3).collect::<Vec<_>>());
    engine.stop(Duration::from_secs(15)).await.unwrap();
}

/// ClickHouse stores a block in its table before it hands it to the table's views.
#[tokio::test]
async fn a_view_that_throws_holds_the_block_up_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some((engine, client)) = start(folder.path()).await else { return };
    create(&client, "name String", "viewed").await;
    create(&client, "name String", "target").await;
    let throws = "CREATE MATERIALIZED VIEW ev.v TO ev.target AS \
                  SELECT name, _offset FROM ev.viewed WHERE throwIf(name = 'x') = 0";
    client.execute(throws).await.unwrap();
    let mender = client.clone();
    let mended = tokio::spawn(async move {
        // Stored already, and refused: the view is put right.
        while offsets(&mender, "viewed").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let skips = "ALTER TABLE ev.v MODIFY QUERY SELECT name, _offset FROM ev.viewed WHERE name != 'x'";
        mender.execute(skips).await.unwrap();
    });
    assert_eq!(deliver(&client, "viewed", None, (50, &[7, 8])).await, [] as [i64; 0]);
    mended.await.unwrap();
    assert_eq!(offsets(&client, "viewed").await, (0..50).collect::<Vec<_>>());
    let seen: Vec<i64> = (0..50).filter(|offset| ![7, 8].contains(offset)).collect();
    assert_eq!(offsets(&client, "target").await, seen);
    engine.stop(Duration::from_secs(15)).await.unwrap();
}
