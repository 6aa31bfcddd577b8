//! Who gets in, and what they may do.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_engine::{BiUser, Engine, EngineOptions};

use crate::client::{GRACE, as_user, ask, options, query, run};

fn with_bi(folder: &Path) -> Option<EngineOptions> {
    let mut options = options(folder)?;
    options.users.bi = Some(BiUser { name: "bi".into() });
    Some(options)
}

#[test]
fn nobody_gets_in_as_default_not_even_during_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    // A port that is known before the engine has it, for the one who knocks from the first moment.
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    options.http = free;
    options.tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let done = Arc::new(AtomicBool::new(false));
    let knocking = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut n_answers = 0;
            while !done.load(Ordering::Relaxed) {
                if let Some((status, answer)) = query(free, "default", "", "SELECT 1") {
                    assert!(!status.contains(" 200 "), "{answer}");
                    n_answers += 1;
                }
            }
            n_answers
        }
    });
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let (status, answer) = query(engine.http(), "default", "", "SELECT 1").unwrap();
        assert!(!status.contains(" 200 ") && answer.contains("USER_SESSION_LIMIT_EXCEEDED"), "{answer}");
        let (status, _) = query(engine.http(), "nobody", "x", "SELECT 1").unwrap();
        assert!(!status.contains(" 200 "), "{status}");
        let (status, _) = query(engine.http(), "tidegate", "", "SELECT 1").unwrap();
        assert!(!status.contains(" 200 "), "{status}");
        done.store(true, Ordering::Relaxed);
        assert!(knocking.join().unwrap() > 0);
        assert_eq!(engine.restarts(), 0);
        engine.stop(GRACE).await.unwrap();
    });
}

/// What the reader must not do. Refused by a grant, by `readonly`, by a constraint, or by the system.
const REFUSED: [&str; 36] = [
    "INSERT INTO ev.t VALUES (1)",
    "INSERT INTO FUNCTION file('x.tsv', TSV, 'a UInt8') VALUES (1)",
    "ALTER TABLE ev.t DELETE WHERE 1",
    "ALTER TABLE ev.t ADD COLUMN b UInt8",
    "TRUNCATE TABLE ev.t",
    "DROP TABLE ev.t",
    "DROP DATABASE ev",
    "OPTIMIZE TABLE ev.t",
    "CREATE TABLE ev.u (a UInt8) ORDER BY a",
    "CREATE DATABASE d",
    "CREATE TEMPORARY TABLE x (a UInt8)",
    "CREATE FUNCTION f AS (x) -> x",
    "CREATE USER u",
    "GRANT SELECT ON *.* TO bi",
    "SYSTEM SHUTDOWN",
    "SYSTEM STOP LISTEN HTTP",
    "BACKUP DATABASE ev TO File('x')",
    "SELECT * FROM default.t",
    "SELECT * FROM default.`/etc/passwd`",
    "SELECT * FROM file('/etc/passwd', LineAsString, 'l String')",
    "SELECT file('/etc/passwd')",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString, 'l String')",
    "SELECT * FROM url('file:///etc/passwd', LineAsString, 'l String')",
    "SELECT * FROM remote('127.0.0.1:1', 'ev.t')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', TSV, 'a String')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('/etc/passwd', 't')",
    "SELECT * FROM executable('x', TSV, 'a String')",
    "SELECT * FROM ev.t INTO OUTFILE '/tmp/x'",
    "SET max_memory_usage = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_concurrent_queries_for_user = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS allow_ddl = 1, readonly = 1",
];

#[test]
fn the_reader_reads_every_database_and_does_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = with_bi(folder.path()) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        for sql in [
            "CREATE DATABASE ev",
            "CREATE TABLE ev.t (a UInt8) ORDER BY a",
            "INSERT INTO ev.t VALUES (7)",
            "CREATE TABLE default.t (a UInt8) ORDER BY a",
        ] {
            ask(&engine, sql);
        }
        let bi = engine.bi_credentials().unwrap();
        let read = |sql: &str| as_user(engine.http(), bi, sql);
        assert_eq!(read("SELECT a FROM ev.t"), Ok("7".into()), "a database made after the start");
        // Clients state settings with their queries; those that are no limits are let.
        assert_eq!(read("SELECT a FROM ev.t SETTINGS max_threads = 1, extremes = 0"), Ok("7".into()));
        for sql in ["SHOW DATABASES", "SHOW TABLES FROM ev", "DESCRIBE ev.t", "EXISTS ev.t"] {
            assert!(read(sql).is_ok(), "{sql}: {:?}", read(sql));
        }
        assert!(read("SELECT count() FROM system.tables").is_ok());
        for sql in REFUSED {
            let answer = read(sql).expect_err(sql);
            let codes = [
                "ACCESS_DENIED",
                "READONLY",
                "SETTING_CONSTRAINT_VIOLATION",
                "INTO_OUTFILE_NOT_ALLOWED",
                "FILE_DOESNT_EXIST",
                "CANNOT_OPEN_FILE",
                "Permission denied",
            ];
            assert!(codes.iter().any(|code| answer.contains(code)), "{sql}: {answer}");
        }
        assert_eq!(ask(&engine, "SELECT count() FROM ev.t"), "1");
        assert_eq!(engine.restarts(), 0);
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn no_query_sees_the_machines_files_or_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = with_bi(folder.path()) else { return };
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush").unwrap();
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let root = std::path::absolute(folder.path()).unwrap();
        let files = [secret.path().to_owned(), "/etc/passwd".into(), root.join("credentials.json")];
        for file in &files {
            for sql in [
                format!("SELECT file('{}')", file.display()),
                format!("SELECT * FROM file('{}', LineAsString, 'l String')", file.display()),
                format!("SELECT * FROM default.`{}`", file.display()),
            ] {
                // The owner has every grant: what stands in the way is the system.
                for user in [engine.credentials(), engine.bi_credentials().unwrap()] {
                    let answer = as_user(engine.http(), user, &sql);
                    assert!(answer.is_err(), "{}: {sql}: {answer:?}", user.user);
                }
            }
        }
        // The configuration can be read, so there are only hashes in it.
        let users = root.join("config/users.xml");
        let shown = ask(&engine, &format!("SELECT file('{}')", users.display()));
        assert!(shown.contains("password_sha256_hex"), "{shown}");
        for user in [engine.credentials(), engine.bi_credentials().unwrap()] {
            assert!(!shown.contains(user.password()));
        }
        engine.stop(GRACE).await.unwrap();
    });
}

#[test]
fn nobody_else_on_the_machine_can_read_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let Some(options) = with_bi(&folder) else { return };
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let mode = |path: &str| std::fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(""), 0o700);
        for file in ["credentials.json", "config/users.xml", "config/config.xml"] {
            assert_eq!(mode(file), 0o600, "{file}");
        }
        engine.stop(GRACE).await.unwrap();
    });
}
