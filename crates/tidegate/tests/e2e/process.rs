//! The program as a process: its lines, its end, and what it said if a test fails.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
/// The key of pseudonyms of every program that is started.
pub const PII_KEY: &str = "a key of the end-to-end tests, known to all";

pub const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Asks until the answer is `Ok`; the last `Err` is what a test that gave up is told.
#[track_caller]
pub fn eventually<T>(mut ask: impl AsyncFnMut() -> Result<T, String>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(still) if Instant::now() > deadline => panic!("{place}: after {PATIENCE:?}: {still}"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// A running `tidegate`. Killed when it is dropped.
pub struct Process {
    child: Child,
    command: String,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

/// What a `tidegate` that has ended said.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON, of a program that ended well.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "one object in one line: {}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs a command line to its end.
pub async fn tidegate<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    Process::start(args).ran().await
}

impl Process {
    pub fn start<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        Self::start_as(args, |_| {})
    }

    /// The same, as a user or with an environment of its own.
    pub fn start_as<'a>(args: impl IntoIterator<Item = &'a str>, as_whom: impl FnOnce(&mut Command)) -> Self {
        let args: Vec<&str> = args.into_iter().collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(&args)
            .env("TIDEGATE_LOG", "info")
            .env("CDP_PII_KEY", PII_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        as_whom(&mut command);
        let mut child = command.spawn().unwrap();
        let (give, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| give.send(line)));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut pipe, said) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut bytes) {
                said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, command: args.join(" "), lines, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The next line of standard output, as JSON.
    pub async fn json_line(&mut self) -> serde_json::Value {
        let lines = &self.lines;
        let line = eventually(async || match lines.try_recv() {
            Ok(line) => Ok(line),
            Err(TryRecvError::Empty) => Err("no line yet".to_owned()),
            Err(TryRecvError::Disconnected) => panic!("standard output ended without a line"),
        });
        serde_json::from_str(&line.await).unwrap()
    }

    /// Waits for the end.
    pub async fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > deadline => panic!("`{}` does not end", self.command),
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Waits for the end, and gives all that was said.
    pub async fn ran(mut self) -> Ran {
        let code = self.exit().await.code();
        let stdout = self.lines.iter().map(|line| line + "\n").collect();
        // The pipe's reader may be a moment behind the process' end.
        eventually(async || match Arc::strong_count(&self.stderr) {
            1 => Ok(()),
            _ => Err("standard error is still open".to_owned()),
        })
        .await;
        Ran { code, stdout, stderr: self.stderr() }
    }

    /// SIGTERM, as a service manager sends it.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// SIGKILL: nothing is finished, nothing is said.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and a good end.
    pub async fn stop(mut self) {
        self.terminate();
        let status = self.exit().await;
        assert!(status.success(), "`{}` ended with {status}", self.command);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- `tidegate {}` said:\n{}---", self.command, self.stderr());
        }
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `GET path` of an HTTP server at `host:port`: status and body.
pub fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    ask(address, "GET", path, "")
}

/// Status and body of what a server answers to a request with this JSON.
pub fn ask(address: &str, method: &str, path: &str, json: &str) -> std::io::Result<(u16, String)> {
    use std::io::Write;
    let address = address.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // Whoever is killed answers with nothing, or half.
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_owned()))
}
