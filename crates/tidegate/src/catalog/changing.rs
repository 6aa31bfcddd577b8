//! Tests of `plan` and `apply` against the real engine: one for all of them, each with its own database. Skipped,
//! with a message, where the engine is absent.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use tidegate_catalog::change::Permission;
use tidegate_catalog::{Catalog, Lock, load, statements};
use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_core::{Fault, FaultKind};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions, Program};

use super::apply::{Applied, ApplyError, apply};
use super::journal::{Journal, LockError, begun};
use super::plan::{Asked, Report, report, text};
use super::server::Server;

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

/// A client of the one engine, which lives as long as the tests' process.
pub(super) fn client() -> Option<Client> {
    static ENGINE: OnceLock<Option<ClientOptions>> = OnceLock::new();
    let options = ENGINE.get_or_init(|| {
        let library = match EngineLibrary::find(None) {
            Ok(library) => library,
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
        };
        let (started, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let mut options = EngineOptions::new(folder.path(), library);
                options.program = Program::of_test("catalog::changing::engine_child");
                let engine = Engine::start(options).await.unwrap();
                let credentials = engine.credentials();
                let url = Url::parse(&format!("http://{}", engine.http())).unwrap();
                let secret = Secret::new(credentials.password());
                started.send(ClientOptions::new(url, &credentials.user, secret)).unwrap();
                std::future::pending::<()>().await;
            });
        });
        Some(wait.recv().unwrap())
    });
    options.clone().map(|options| Client::new(options).unwrap())
}

const SHOP: &str = r#"
cdp: "1"
name: shop
defaults: {clickhouse: {database: DATABASE}}
envelope:
  event_id: {type: uuid}
  ts: {type: timestamp(ms)}
  user_id: {type: optional<string>}
enums: {platform: {values: [ios, android]}}
events:
  viewed:
    doc: A page was shown.
    fields:
      page: {type: string, doc: Which}
      load_ms: {type: u32, unit: ms}
      platform: {type: enum<platform>}
      size: {type: u16, default: 0}
      old: {type: optional<string>}
  bought: {doc: An order., fields: {price: {type: "decimal(18,6)"}}}
  left: {doc: The app was left.}
dimensions: {platform: {field: platform}}
facts:
  pages: {event: viewed}
  all: {events: [viewed, bought, left], columns: []}
metrics:
  pages: {kind: count, fact: pages}
  visitors: {kind: count_distinct, fact: pages, expr: user_id, precision: exact}
  events: {kind: count, fact: all}
entities: {visitor: {source: viewed, key: user_id, fields: [platform]}}
rollups:
  pages_hourly: {fact: pages, grain: hour, dims: [platform], metrics: [pages]}
  events_daily: {fact: all, grain: day, metrics: [events]}
"#;

/// The catalog after every kind of change.
fn later() -> String {
    let mut text = SHOP.to_owned();
    for (from, to) in [
        ("doc: Which", "doc: Which page"),
        ("load_ms: {type: u32", "load_ms: {type: u64"),
        ("size: {type: u16, default: 0}", "bulk: {type: u16, default: 0, renamed_from: size}"),
        ("      old: {type: optional<string>}\n", "      fresh: {type: string, default: none}\n"),
        ("[ios, android]", "[ios, android, web]"),
        (
            "fields: {price: {type: \"decimal(18,6)\"}}",
            "fields: {price: {type: \"decimal(9,2)\"}}, clickhouse: {order_by: [event_id]}",
        ),
        ("events: [viewed, bought, left], columns: []", "events: [viewed, bought], columns: [user_id]"),
        ("fields: [platform]}", "fields: [platform, page]}"),
        (
            "metrics: [pages]}",
            "metrics: [pages, visitors]}\n  pages_daily: {fact: pages, grain: day, metrics: [pages, visitors]}",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

fn catalog(text: &str, database: &str) -> Catalog {
    let text = text.replace("DATABASE", database);
    load("cdp.yaml", &|_| Ok(text.clone().into_bytes())).unwrap_or_else(|found| panic!("{found}")).catalog
}

/// A catalog, its lock, and what is allowed.
struct Case {
    catalog: Catalog,
    lock: Lock,
    permission: Permission,
    leave: BTreeSet<String>,
}

impl Case {
    fn new(text: &str, database: &str) -> Self {
        let first = catalog(SHOP, database);
        let catalog = catalog(text, database);
        let lock = Lock::default().extended(&first).extended(&catalog);
        let permission =
            Permission { deprecate_days: 90, allow: ["bought".to_owned()].into(), ..Permission::default() };
        Self { catalog, lock, permission, leave: BTreeSet::new() }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            file: "cdp.yaml",
            catalog: &self.catalog,
            lock: &self.lock,
            permission: &self.permission,
            leave: &self.leave,
        }
    }

    async fn apply<S: Server>(&self, server: S) -> Result<Applied, ApplyError> {
        apply(&self.asked(), &[server], &["here".to_owned()], "a test").await
    }

    async fn plan(&self, client: &Client) -> Report {
        report(&self.asked(), std::slice::from_ref(client), &["here".to_owned()]).await.unwrap()
    }
}

async fn number(client: &Client, sql: &str) -> u64 {
    let text = client.query(sql).await.unwrap_or_else(|fault| panic!("{fault}\n{sql}"));
    text.trim().parse().unwrap_or_else(|_| panic!("{text}\n{sql}"))
}

/// One row of each event, as a sink inserts: by the names of columns that both catalogs have.
async fn write(client: &Client, database: &str, offset: u64) -> Result<(), Fault> {
    for (topic, columns, values) in [
        ("viewed", "page, load_ms, platform", format!("'p{}', {offset}, 'ios'", offset % 7)),
        ("bought", "price", format!("{}.5", offset % 100)),
        ("left", "user_id", "'nobody'".to_owned()),
    ] {
        let user = if topic == "left" { "" } else { ", user_id" };
        let named = if topic == "left" { String::new() } else { format!(", 'u{}'", offset % 11) };
        let sql = format!(
            "INSERT INTO {database}.{topic} (event_id, ts, _topic, _partition, _offset, {columns}{user}) \
             SETTINGS async_insert = 0, insert_deduplication_token = '{topic}-{offset}' VALUES \
             (generateUUIDv4(), toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + {}, '{topic}', 0, {offset}, {values}{named})",
            offset * 60,
        );
        client.query(&sql).await?;
    }
    Ok(())
}

/// Writes until it is stopped; any refused row fails the test.
async fn write_on(client: Client, database: String, next: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let offset = next.load(Ordering::Relaxed);
        if let Err(fault) = write(&client, &database, offset).await {
            panic!("the sink was refused: {fault}");
        }
        next.store(offset + 1, Ordering::Relaxed);
    }
}

/// Every row is everywhere once.
async fn all_is_there(client: &Client, database: &str, rows: u64) {
    let place = "uniqExact(_topic, _partition, _offset)";
    for table in ["viewed", "bought", "left"] {
        let of = |what: &str| format!("SELECT {what} FROM {database}.{table}");
        assert_eq!(number(client, &of("count()")).await, rows, "{table}");
        assert_eq!(number(client, &of(place)).await, rows, "{table}");
    }
    let of_all = |what: &str| format!("SELECT {what} FROM {database}.all");
    assert_eq!(number(client, &of_all("count()")).await, 2 * rows);
    assert_eq!(number(client, &of_all(place)).await, 2 * rows);
    assert_eq!(number(client, &of_all("countIf(isNull(user_id))")).await, 0);
    for (sql, expected) in [
        ("sum(pages) FROM DB.pages_hourly", rows),
        ("sum(pages) FROM DB.pages_daily", rows),
        ("uniqExactMerge(visitors) FROM DB.pages_hourly", rows.min(11)),
        ("sum(events) FROM DB.events_daily", 2 * rows),
        ("count() FROM DB.entity_visitor FINAL", rows.min(11)),
        ("countIf(page = '') FROM DB.entity_visitor FINAL", 0),
        ("sum(toUInt64(price * 10)) FROM DB.bought", (0..rows).map(|n| n % 100 * 10 + 5).sum()),
        ("sum(load_ms) FROM DB.viewed", (0..rows).sum()),
        ("countIf(name LIKE '%tidegate_changes%') FROM system.tables WHERE database = 'DB'", 1),
        ("countIf(name LIKE '%__tidegate_%') FROM system.tables WHERE database = 'DB'", 0),
    ] {
        let sql = format!("SELECT {}", sql.replace("DB", database));
        assert_eq!(number(client, &sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_all_the_time_and_each_is_there_once() {
    let Some(client) = client() else { return };
    let database = "writing";
    Case::new(SHOP, database).apply(client.clone()).await.unwrap();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    for offset in 0..30 {
        write(&client, database, offset).await.unwrap();
    }
    next.store(30, Ordering::Relaxed);
    let case = Case::new(&later(), database);
    let changing = async {
        let applied = case.apply(client.clone()).await;
        stop.store(true, Ordering::Relaxed);
        applied
    };
    let (applied, ()) = tokio::join!(changing, write_on(client.clone(), database.to_owned(), &next, &stop));
    let applied = applied.unwrap_or_else(|error| panic!("{error}"));
    assert!(applied.left.is_none(), "{}", super::apply::text(&applied));
    let classes: BTreeSet<&str> = applied.done.iter().map(|done| done.class).collect();
    for class in ["new", "minor", "documentation", "deprecate", "destructive", "definition"] {
        assert!(classes.contains(class), "{class}: {classes:?}");
    }
    let rows = next.load(Ordering::Relaxed);
    assert!(rows > 35, "{rows} rows: nothing was written while the tables changed");
    all_is_there(&client, database, rows).await;
    let after = case.plan(&client).await;
    assert!(after.changes.is_empty(), "{}", text(&after));
}

/// When a run dies.
#[derive(Debug, Clone, Copy)]
enum Dies {
    Before,
    After,
}

/// A server that is out of reach from the n-th statement on that changes something. The journal is not counted:
/// whether a statement was written down is what makes the two ways to die differ.
struct Dying {
    client: Client,
    left: AtomicUsize,
    dies: Dies,
}

impl Server for Dying {
    async fn ask(&self, sql: &str) -> Result<String, Fault> {
        let dead = || Err(Fault::new(FaultKind::Network, "killed"));
        if self.left.load(Ordering::Relaxed) == 0 {
            return dead();
        }
        let changes = !sql.starts_with("SELECT")
            && !sql.contains("tidegate_changes")
            && !sql.starts_with("CREATE DATABASE");
        if !changes || self.left.fetch_sub(1, Ordering::Relaxed) > 1 {
            return self.client.ask(sql).await;
        }
        if matches!(self.dies, Dies::After) {
            self.client.ask(sql).await?;
        }
        dead()
    }
}

/// The lock of a run that died, as it is after its time.
async fn let_the_lock_end(client: &Client, database: &str) {
    let sql = format!(
        "INSERT INTO {database}.tidegate_changes (change, step, state) \
         SELECT 'lock', max(step), 'released' FROM {database}.tidegate_changes WHERE change = 'lock'"
    );
    client.query(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_at_any_statement_is_ended_by_the_next() {
    let Some(client) = client() else { return };
    let database = "dying";
    Case::new(SHOP, database).apply(client.clone()).await.unwrap();
    for offset in 0..30 {
        write(&client, database, offset).await.unwrap();
    }
    let case = Case::new(&later(), database);
    let mut offset = 30;
    let (mut patience, mut deaths, mut before) = (1, 0, 0);
    loop {
        // After a statement that is carried out and not written down, the next run carries it out once more.
        let dies = if deaths % 2 == 0 { Dies::After } else { Dies::Before };
        let server = Dying { client: client.clone(), left: AtomicUsize::new(patience), dies };
        match case.apply(server).await {
            Ok(applied) => {
                assert!(applied.left.is_none(), "{}", super::apply::text(&applied));
                break;
            }
            Err(error) => assert!(error.to_string().contains("killed"), "{error}"),
        }
        deaths += 1;
        assert!(deaths < 1000, "no end");
        write(&client, database, offset)
            .await
            .unwrap_or_else(|fault| panic!("after {deaths} deaths: {fault}"));
        offset += 1;
        let_the_lock_end(&client, database).await;
        // Each run dies one statement later than what the one before it wrote down.
        let done =
            number(&client, &format!("SELECT countIf(state = 'done') FROM {database}.tidegate_changes"))
                .await;
        patience = if done > before { 1 } else { patience + 1 };
        before = done;
    }
    assert!(deaths > 100, "{deaths} deaths: not at every statement");
    all_is_there(&client, database, offset).await;
    let after = case.plan(&client).await;
    assert!(after.changes.is_empty(), "{}", text(&after));
    assert!(begun(&client, database).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_catalog_applied_leaves_nothing_to_do() {
    let Some(client) = client() else { return };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/short-video/cdp.yaml");
    let catalog = load(root, &|path| std::fs::read(path)).unwrap_or_else(|found| panic!("{found}")).catalog;
    let lock = Lock::default().extended(&catalog);
    let case = Case { catalog, lock, permission: Permission::default(), leave: BTreeSet::new() };
    let wanted = statements(&case.catalog, &case.lock, super::given(), tidegate_catalog::Ddl::Single);
    let first = case.plan(&client).await;
    let mut planned: Vec<&String> = first.changes.iter().flat_map(|change| &change.statements).collect();
    let mut generated: Vec<&String> = wanted.iter().map(|statement| &statement.sql).collect();
    assert!(generated.len() > 150);
    assert_eq!((planned.len(), generated.len()), (generated.len(), planned.len()));
    planned.sort();
    generated.sort();
    assert_eq!(planned, generated);
    let applied = case.apply(client.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(applied.left.is_none() && applied.done.len() > 105, "{}", super::apply::text(&applied));
    let after = case.plan(&client).await;
    assert!(after.changes.is_empty() && after.notes.is_empty(), "{}", text(&after));
    let again = case.apply(client.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(again.done.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_a_value_is_refused_with_the_number_of_them() {
    let Some(client) = client() else { return };
    let database = "losing";
    Case::new(SHOP, database).apply(client.clone()).await.unwrap();
    write(&client, database, 1).await.unwrap();
    write(&client, database, 300).await.unwrap();
    let narrower = SHOP.replace("load_ms: {type: u32", "load_ms: {type: u8");
    let mut case = Case::new(&narrower, database);
    let plan = case.plan(&client).await;
    assert!(plan.next.as_ref().unwrap().contains("--leave viewed"), "{:?}", plan.next);
    case.permission.allow.insert("viewed".to_owned());
    let applied = case.apply(client.clone()).await.unwrap();
    let left = applied.left.unwrap();
    assert_eq!(left.changes[0].proofs[0].answer, 1, "{}", text(&left));
    assert_eq!(number(&client, &format!("SELECT max(load_ms) FROM {database}.viewed")).await, 300);
    client
        .query(&format!(
            "ALTER TABLE {database}.viewed DELETE WHERE load_ms > 255 SETTINGS mutations_sync = 2"
        ))
        .await
        .unwrap();
    let applied = case.apply(client.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(applied.left.is_none(), "{}", super::apply::text(&applied));
    // A column that holds nothing is dropped when that is asked for; one that holds something is not.
    let mut case = Case::new(&narrower.replace("      old: {type: optional<string>}\n", ""), database);
    case.apply(client.clone()).await.unwrap();
    case.permission.drop = ["viewed.old".to_owned()].into();
    client.query(&format!("INSERT INTO {database}.viewed (ts, old) VALUES (now(), 'x')")).await.unwrap();
    let left = case.apply(client.clone()).await.unwrap().left.unwrap();
    assert_eq!(left.changes[0].proofs[0].answer, 1, "{}", text(&left));
    client
        .query(&format!("ALTER TABLE {database}.viewed DELETE WHERE old = 'x' SETTINGS mutations_sync = 2"))
        .await
        .unwrap();
    assert!(case.apply(client.clone()).await.unwrap().left.is_none());
    assert_eq!(
        number(
            &client,
            &format!("SELECT count() FROM system.columns WHERE database = '{database}' AND name = 'old'")
        )
        .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_at_a_time_changes_a_database() {
    let Some(client) = client() else { return };
    let database = "locked";
    let journals = (0..8).map(|number| {
        let client = client.clone();
        tokio::spawn(
            async move { Journal::open(&client, "locked", &format!("run {number}")).await.map(drop) },
        )
    });
    let mut held = Vec::new();
    for journal in journals.collect::<Vec<_>>() {
        match journal.await.unwrap() {
            Ok(()) => held.push("ours".to_owned()),
            Err(LockError::Held { owner, .. }) => held.push(owner),
            Err(LockError::Fault(fault)) => panic!("{fault}"),
        }
    }
    assert_eq!(held.iter().filter(|owner| *owner == "ours").count(), 1, "{held:?}");
    let error = Case::new(SHOP, database).apply(client.clone()).await.unwrap_err().to_string();
    assert!(error.contains("run "), "{error}");
    let_the_lock_end(&client, database).await;
    Case::new(SHOP, database).apply(client.clone()).await.unwrap();
}
