//! Start, crash, stop, and what must be refused.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Instant;

use tidegate_engine::{Engine, EngineLibrary, EngineOptions, EngineState, Program, StartError};

use crate::client::{GRACE, ask, gone, kill, options, run, until};

#[test]
fn rows_outlive_a_stop_and_users_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options.clone()).await.unwrap();
        ask(&engine, "CREATE DATABASE ev");
        ask(&engine, "CREATE TABLE ev.t (a UInt8) ORDER BY a");
        ask(&engine, "INSERT INTO ev.t SETTINGS async_insert=0 VALUES (7)");
        let password = engine.credentials().password().to_owned();
        engine.stop(GRACE).await.unwrap();

        let engine = Engine::start(options).await.unwrap();
        assert_eq!(ask(&engine, "SELECT a FROM ev.t"), "7");
        assert_eq!(engine.credentials().password(), password);
        ask(&engine, "SYSTEM FLUSH LOGS");
        assert_ne!(ask(&engine, "SELECT count() FROM system.query_log"), "0");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn an_engine_that_was_killed_comes_back_with_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        ask(&engine, "CREATE DATABASE ev");
        ask(&engine, "CREATE TABLE ev.t (a UInt8) ORDER BY a");
        for round in 1..=2 {
            // Not the same row twice: the second would be taken for a repeat of the first.
            ask(&engine, &format!("INSERT INTO ev.t SETTINGS async_insert=0 VALUES ({round})"));
            kill(engine.child_id().unwrap());
            let began = Instant::now();
            until("a restart", || engine.restarts() == round && engine.child_id().is_some());
            eprintln!("engine back after {:?}", began.elapsed());
            assert_eq!(ask(&engine, "SELECT count() FROM ev.t"), round.to_string());
        }
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn no_engine_outlives_a_supervisor_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["supervisor_child", "--exact", "--ignored", "--nocapture"])
        .env("TIDEGATE_TEST_FOLDER", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(supervisor.stdout.take().unwrap());
    let engine_id = loop {
        let mut line = String::new();
        assert_ne!(std::io::BufRead::read_line(&mut output, &mut line).unwrap(), 0, "the supervisor ended");
        if let Some((_, id)) = line.split_once("engine ") {
            break id.trim().parse::<u32>().unwrap();
        }
    };
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    // The next engine waits for the orphan by itself; it must not need the whole of its patience.
    run(async {
        let engine = Engine::start(options).await.unwrap();
        // Its lock goes a moment before itself.
        until("the orphan is gone", || gone(engine_id));
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn a_dropped_engine_stops() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let id = engine.child_id().unwrap();
        drop(engine);
        until("the engine is gone", || gone(id));
    });
}

#[test]
fn a_port_that_answers_already_is_refused_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    options.http = foreign.local_addr().unwrap();
    let error = run(Engine::start(options)).unwrap_err();
    assert!(
        matches!(error, StartError::PortInUse { address } if address == foreign.local_addr().unwrap()),
        "{error}"
    );
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options.clone()).await.unwrap();
        let error = Engine::start(options).await.unwrap_err();
        assert!(matches!(error, StartError::FolderInUse { .. }), "{error}");
        assert_eq!(ask(&engine, "SELECT 1"), "1");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn an_address_that_others_could_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EngineOptions::new(folder.path(), EngineLibrary::Chdb("/nowhere".into()));
    options.http = "0.0.0.0:0".parse().unwrap();
    let error = run(Engine::start(options)).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
}

#[test]
fn a_failed_start_quotes_the_engines_log() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.so");
    std::fs::write(&broken, "not a library").unwrap();
    let mut options = EngineOptions::new(folder.path().join("data"), EngineLibrary::Chdb(broken));
    options.program = Program::of_test("engine_child");
    let error = run(Engine::start(options)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StartError::Exited { .. }) && text.contains("broken.so"), "{text}");
}

#[test]
fn a_folder_that_the_server_cannot_read_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    let metadata = folder.path().join("clickhouse/metadata");
    std::fs::create_dir_all(&metadata).unwrap();
    std::fs::write(metadata.join("ev.sql"), "ATTACH DATABASE gibberish").unwrap();
    let error = run(Engine::start(options)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StartError::Exited { .. }) && text.contains("ev.sql"), "{text}");
}

#[test]
fn a_shutdown_from_within_ends_the_engine_alone_and_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        // ClickHouse signals its whole process group, which must not be ours.
        let _ = crate::client::as_user(engine.http(), engine.credentials(), "SYSTEM SHUTDOWN");
        until("a restart", || engine.restarts() == 1 && engine.child_id().is_some());
        assert_eq!(ask(&engine, "SELECT 1"), "1");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn an_engine_that_cannot_come_back_is_tried_again_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let release = folder.path().join("release");
        std::fs::write(&release, "99.1\n").unwrap();
        kill(engine.child_id().unwrap());
        until("a failed restart", || match engine.state() {
            EngineState::Down { reason } => reason.contains("written by ClickHouse 99.1"),
            EngineState::Up { .. } => false,
        });
        std::fs::write(&release, "26.7\n").unwrap();
        until("a restart", || engine.child_id().is_some());
        assert_eq!(ask(&engine, "SELECT 1"), "1");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn a_folder_of_a_newer_clickhouse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options.clone()).await.unwrap();
        engine.stop(GRACE).await.unwrap();
        let release = folder.path().join("release");
        assert_eq!(std::fs::read_to_string(&release).unwrap(), "26.7\n");
        std::fs::write(&release, "99.1\n").unwrap();
        let error = Engine::start(options).await.unwrap_err();
        assert!(matches!(error, StartError::WrongRelease { .. }), "{error}");
        assert!(error.to_string().contains("use 99.1 or newer, or another folder"), "{error}");
    });
}
