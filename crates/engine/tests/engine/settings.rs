//! The server is what the sink counts on: its settings, its logs, and what its insert tokens do.

use tidegate_engine::Engine;

use crate::client::{GRACE, ask, kill, options, run, until};

#[test]
fn the_server_is_set_up_as_the_sink_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        assert_eq!(ask(&engine, "SELECT timezone(), serverTimezone()"), "UTC\tUTC");
        assert_eq!(
            ask(&engine, "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'"),
            "1073741824"
        );
        let merge_tree = "SELECT value FROM system.merge_tree_settings WHERE name = ";
        assert_eq!(ask(&engine, &format!("{merge_tree}'old_parts_lifetime'")), "480");
        assert_eq!(ask(&engine, &format!("{merge_tree}'non_replicated_deduplication_window'")), "10000");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn the_log_is_not_the_trace_that_a_local_server_writes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        ask(&engine, "SELECT 1");
        engine.stop(GRACE).await.unwrap();
        let log = std::fs::read_to_string(folder.path().join("log/engine.log")).unwrap();
        for level in ["<Trace>", "<Debug>", "<Information>"] {
            assert!(!log.contains(level), "{log}");
        }
    });
}

#[test]
fn logs_of_queries_and_parts_go_on_after_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        for round in 1..=3 {
            let engine = Engine::start(options.clone()).await.unwrap();
            ask(&engine, &format!("SELECT 'round {round}'"));
            ask(&engine, "SYSTEM FLUSH LOGS");
            let finished = "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' AND query LIKE";
            assert_eq!(ask(&engine, &format!("{finished} 'SELECT ''round %'")), round.to_string());
            engine.stop(GRACE).await.unwrap();
        }
    });
}

const TABLES: [&str; 4] = [
    "CREATE DATABASE ev",
    "CREATE TABLE ev.t (k UInt8, n UInt32) ORDER BY n SETTINGS non_replicated_deduplication_window = 3",
    "CREATE TABLE ev.a (k UInt8, n SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree \
     ORDER BY k SETTINGS non_replicated_deduplication_window = 1000",
    "CREATE MATERIALIZED VIEW ev.mv TO ev.a AS SELECT k, count() AS n FROM ev.t GROUP BY k",
];

fn insert(engine: &Engine, token: &str, rows: u32, block_rows: u32) {
    let settings = format!(
        "async_insert = 0, insert_deduplication_token = '{token}', max_insert_block_size = {block_rows}, \
         min_insert_block_size_rows = {block_rows}, max_block_size = {block_rows}"
    );
    let rows: Vec<String> = (0..rows).map(|n| format!("(1,{n})")).collect();
    ask(engine, &format!("INSERT INTO ev.t SETTINGS {settings} VALUES {}", rows.join(",")));
}

#[test]
fn a_token_lets_an_insert_in_once_across_a_kill_and_into_views() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options.clone()).await.unwrap();
        TABLES.iter().for_each(|sql| drop(ask(&engine, sql)));
        let counts = "SELECT (SELECT count() FROM ev.t), (SELECT sum(n) FROM ev.a)";
        insert(&engine, "a", 10, 1_000);
        insert(&engine, "a", 10, 1_000);
        assert_eq!(ask(&engine, counts), "10\t10");
        // The token decides, not the rows.
        insert(&engine, "a", 20, 1_000);
        assert_eq!(ask(&engine, counts), "10\t10");
        kill(engine.child_id().unwrap());
        until("a restart", || engine.restarts() == 1 && engine.child_id().is_some());
        insert(&engine, "a", 10, 1_000);
        assert_eq!(ask(&engine, counts), "10\t10");
        // The window is three tokens: after three others it no longer knows the first.
        for token in ["b", "c", "d", "a"] {
            insert(&engine, token, 10, 1_000);
        }
        assert_eq!(ask(&engine, "SELECT count() FROM ev.t"), "50");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn a_backup_goes_beside_the_data_and_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        ask(&engine, TABLES[0]);
        ask(&engine, TABLES[1]);
        insert(&engine, "a", 10, 1_000);
        ask(&engine, "BACKUP DATABASE ev TO File('first.tar.zst')");
        assert!(folder.path().join("backups/first.tar.zst").is_file());
        ask(&engine, "DROP DATABASE ev SYNC");
        ask(&engine, "RESTORE DATABASE ev FROM File('first.tar.zst')");
        assert_eq!(ask(&engine, "SELECT count() FROM ev.t"), "10");
        engine.stop(GRACE).await.unwrap();
    });
}
