//! The engine's life, on the real library: start, log-in, crash, stop, and what must be refused.
//! Skipped, with a message, where the library is absent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_engine::{BiUser, Credentials, Engine, EngineLibrary, EngineOptions, Program, StartError};

const GRACE: Duration = Duration::from_secs(15);

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

/// Not a claim: a supervisor in a process of its own, for the test that kills it.
#[test]
#[ignore = "is a supervisor's process, started by another test"]
fn supervisor_child() {
    let Some(folder) = std::env::var_os("TIDEGATE_TEST_FOLDER") else { return };
    let options = options(Path::new(&folder)).expect("the parent found the library");
    run(async {
        let engine = Engine::start(options).await.unwrap();
        println!("engine {}", engine.child_id().unwrap());
        std::future::pending::<()>().await;
    });
}

fn options(folder: &Path) -> Option<EngineOptions> {
    match EngineLibrary::find(None) {
        Ok(library) => {
            let mut options = EngineOptions::new(folder, library);
            options.program = Program::of_test("engine_child");
            options.memory_max_bytes = 1 << 30;
            Some(options)
        }
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "not reached within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status line and the whole answer.
fn query(at: SocketAddr, user: &str, password: &str, sql: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(at).ok()?;
    let length = sql.len();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-ClickHouse-User: {user}\r\n\
         X-ClickHouse-Key: {password}\r\nContent-Length: {length}\r\n\r\n{sql}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, _) = answer.split_once("\r\n")?;
    Some((head.to_owned(), answer.clone()))
}

#[track_caller]
fn ask(engine: &Engine, sql: &str) -> String {
    as_user(engine.http(), engine.credentials(), sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"))
}

fn as_user(at: SocketAddr, user: &Credentials, sql: &str) -> Result<String, String> {
    let (status, answer) = query(at, &user.user, user.password(), sql).ok_or("no answer")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    // The bodies here come as one chunk: its length, the text, the last chunk.
    let text = body.split("\r\n").nth(1).unwrap_or_default().trim_end().to_owned();
    if status.contains(" 200 ") { Ok(text) } else { Err(format!("{status} {body}")) }
}

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
fn nobody_gets_in_as_default() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    options.tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let (status, answer) = query(engine.http(), "default", "", "SELECT 1").unwrap();
        assert!(!status.contains(" 200 ") && answer.contains("USER_SESSION_LIMIT_EXCEEDED"), "{answer}");
        let (status, _) = query(engine.http(), "nobody", "x", "SELECT 1").unwrap();
        assert!(!status.contains(" 200 "), "{status}");
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn the_bi_user_reads_its_databases_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    options.users.bi = Some(BiUser { name: "bi".into(), databases: vec!["ev".into()] });
    run(async {
        let engine = Engine::start(options).await.unwrap();
        for sql in [
            "CREATE DATABASE ev",
            "CREATE DATABASE other",
            "CREATE TABLE ev.t (a UInt8) ORDER BY a",
            "CREATE TABLE other.t (a UInt8) ORDER BY a",
        ] {
            ask(&engine, sql);
        }
        let bi = engine.bi_credentials().unwrap();
        let refused = |sql: &str| {
            let answer = as_user(engine.http(), bi, sql).unwrap_err();
            assert!(answer.contains("ACCESS_DENIED") || answer.contains("READONLY"), "{sql}: {answer}");
        };
        assert_eq!(as_user(engine.http(), bi, "SELECT count() FROM t"), Ok("0".into()));
        assert!(as_user(engine.http(), bi, "SELECT count() FROM system.tables").is_ok());
        refused("INSERT INTO ev.t VALUES (1)");
        refused("SELECT * FROM other.t");
        refused("SELECT * FROM default.`/etc/passwd`");
        refused("SELECT * FROM file('/etc/passwd', LineAsString, 'l String')");
        refused("SELECT * FROM url('http://127.0.0.1:1/', LineAsString, 'l String')");
        refused("DROP TABLE ev.t");
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
fn hostile_clients_do_not_end_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    options.tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let password = engine.credentials().password();
        let head = |query: &str, length: usize| {
            format!("POST /?user=tidegate&password={password}&query={query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes()
        };
        ask(&engine, "CREATE DATABASE ab");
        ask(&engine, "CREATE TABLE ab.t (a UInt8, b UInt8) ORDER BY a");
        let big = "SELECT+number,toString(number)+FROM+numbers(50000000)+FORMAT+TSV";
        let noise: Vec<u8> = (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut http: Vec<Vec<u8>> = vec![
            noise.clone(),
            [b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03".as_slice(), &noise].concat(),
            b"POST /?query=SEL".to_vec(),
            b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\nabc".to_vec(),
            head("SELECT+1", 0).repeat(20),
            head(big, 0),
            [head("INSERT+INTO+ab.t+FORMAT+TSV&async_insert=0", 10_000_000), b"1\t2\n".repeat(1000)].concat(),
            [head("INSERT+INTO+ab.t+FORMAT+Native&async_insert=0", noise.len()), noise.clone()].concat(),
            [head("INSERT+INTO+ab.t+FORMAT+TSV&decompress=1", noise.len()), noise.clone()].concat(),
            head("SELECT+groupArray(number)+FROM+numbers(2000000000)+SETTINGS+max_memory_usage=0", 0),
        ];
        http.push([b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"a".repeat(3_000_000), b"\r\n\r\n"].concat());
        let hello = |user: &str| {
            [b"\0\x05probe\x18\x08\xb2\xa9\x03\0".as_slice(), &[user.len() as u8], user.as_bytes(), b"\0"]
                .concat()
        };
        let native = [
            noise,
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            hello("nobody"),
            hello("default"),
            hello("tidegate"),
            Vec::new(),
        ];
        for _ in 0..3 {
            http.iter().for_each(|bytes| abuse(engine.http(), bytes));
            native.iter().for_each(|bytes| abuse(engine.tcp().unwrap(), bytes));
        }
        assert_eq!(ask(&engine, "SELECT 1"), "1");
        assert_eq!(engine.restarts(), 0);
        engine.stop(GRACE).await.unwrap();
    });
}

/// Sends, reads a little, and goes away with bytes unread, which resets the connection.
fn abuse(at: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The server may have hung up already.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 64]);
}

/// Whether the process has ended; one that nobody has waited for yet (a zombie) has.
fn gone(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

fn kill(id: u32) {
    let killed = Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
    assert!(killed.success());
}
