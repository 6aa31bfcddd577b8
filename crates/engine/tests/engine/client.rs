//! An engine for a test, and the plainest client that can ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_engine::{Credentials, Engine, EngineLibrary, EngineOptions, Program};

/// How long an engine may take to stop.
pub const GRACE: Duration = Duration::from_secs(15);

pub fn options(folder: &Path) -> Option<EngineOptions> {
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

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "not reached within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status line and the whole answer.
pub fn query(at: SocketAddr, user: &str, password: &str, sql: &str) -> Option<(String, String)> {
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
pub fn ask(engine: &Engine, sql: &str) -> String {
    as_user(engine.http(), engine.credentials(), sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"))
}

pub fn as_user(at: SocketAddr, user: &Credentials, sql: &str) -> Result<String, String> {
    let (status, answer) = query(at, &user.user, user.password(), sql).ok_or("no answer")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    // The bodies here come as one chunk: its length, the text, the last chunk.
    let text = body.split("\r\n").nth(1).unwrap_or_default().trim_end().to_owned();
    if status.contains(" 200 ") { Ok(text) } else { Err(format!("{status} {body}")) }
}

/// Whether the process has ended; one that nobody has waited for yet (a zombie) has.
pub fn gone(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

pub fn kill(id: u32) {
    let killed = Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
    assert!(killed.success());
}
