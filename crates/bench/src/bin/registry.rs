//! What the schema registry costs: how soon it is ready, what it holds, how fast it answers, and that a
//! killed one has forgotten nothing that it acknowledged. Prints the table of docs/registry.md.
//!
//! Usage: `cargo build --release -p tidegate`, then `cargo run --release -p tidegate-bench --bin registry`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tidegate_broker::{Broker, BrokerOptions, Listener};

/// How many schemas are registered.
const SCHEMAS: usize = 10_000;
/// How many clients ask at once.
const CLIENTS: usize = 8;
/// How long look-ups are counted.
const LOOKING: Duration = Duration::from_secs(3);

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let broker = runtime.block_on(Broker::start(BrokerOptions::new(folder.path(), Listener::loopback(0))))?;
    let kafka = broker.address().to_string();

    let (registry, ready) = Registry::start(&kafka)?;
    row("ready on an empty topic", &format!("{} ms", ready.as_millis()));
    row("memory, idle", &format!("{:.1} MB", registry.memory_mb()?));
    let began = Instant::now();
    let mut times = registry.register_all(0..SCHEMAS)?;
    let rate = SCHEMAS as f64 / began.elapsed().as_secs_f64();
    row(
        &format!("registrations, {CLIENTS} clients"),
        &format!("{rate:.0}/s, p50 {}, p99 {}", percentile(&mut times, 50), percentile(&mut times, 99)),
    );
    row(&format!("memory, {SCHEMAS} schemas"), &format!("{:.1} MB", registry.memory_mb()?));
    let by_id =
        registry.ask_for(LOOKING, |n| ("GET", format!("/schemas/ids/{}", n % SCHEMAS + 1), String::new()))?;
    row(&format!("schemas by id, {CLIENTS} clients"), &format!("{by_id:.0}/s"));
    let again = |n: usize| ("POST", format!("/subjects/s{}/versions", n % SCHEMAS), schema(n % SCHEMAS));
    let known = registry.ask_for(LOOKING, again)?;
    row("registrations of what is known", &format!("{known:.0}/s"));
    drop(registry);

    let (registry, ready) = Registry::start(&kafka)?;
    row(&format!("ready after a kill, {SCHEMAS} schemas"), &format!("{} ms", ready.as_millis()));
    row("memory after that", &format!("{:.1} MB", registry.memory_mb()?));
    let kept = killed_while_registering(&kafka, registry)?;
    row("acknowledged before a kill, and there after it", &kept);
    runtime.block_on(broker.stop());
    Ok(())
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

fn percentile(times: &mut [Duration], percent: usize) -> String {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    format!("{:.1} ms", times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3)
}

/// An Avro record of ten fields, its own for each number.
fn schema(n: usize) -> String {
    let fields: Vec<Value> = (0..10)
        .map(|field| json!({"name": format!("field_{field}"), "type": ["null", "string"], "default": null}))
        .collect();
    let record =
        json!({"type": "record", "name": format!("Event{n}"), "namespace": "bench", "fields": fields});
    json!({ "schema": record.to_string() }).to_string()
}

/// A registry in a process of its own. Killed when it is dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(kafka: &str) -> anyhow::Result<(Self, Duration)> {
        let began = Instant::now();
        let mut child = Command::new(program()?)
            .args(["registry", "--alone", "--listen=127.0.0.1:0", "--output=json", "--bootstrap", kafka])
            .stdout(Stdio::piped())
            .spawn()
            .context("start tidegate")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).context("read what the registry says")?;
        let url = told["registry"].as_str().context("the registry says where it is")?;
        let address = url.trim_start_matches("http://").to_owned();
        Ok((Self { child, address }, began.elapsed()))
    }

    fn memory_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has memory")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kilobytes / 1e3)
    }

    /// Registers schemas, each under a subject of its own; gives what each took.
    fn register_all(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<Duration>> {
        let next = AtomicUsize::new(numbers.start);
        let worker = || -> anyhow::Result<Vec<Duration>> {
            let mut client = Client::open(&self.address)?;
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= numbers.end {
                    return Ok(times);
                }
                let began = Instant::now();
                client.ask("POST", &format!("/subjects/s{n}/versions"), &schema(n))?;
                times.push(began.elapsed());
            }
        };
        let all: anyhow::Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
        });
        Ok(all?.concat())
    }

    /// Asks for some time; gives answers a second.
    fn ask_for(
        &self,
        time: Duration,
        question: impl Fn(usize) -> (&'static str, String, String) + Sync,
    ) -> anyhow::Result<f64> {
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        let worker = || -> anyhow::Result<()> {
            let mut client = Client::open(&self.address)?;
            while began.elapsed() < time {
                let (method, path, body) = question(next.fetch_add(1, Ordering::Relaxed));
                client.ask(method, &path, &body)?;
            }
            Ok(())
        };
        thread::scope(|scope| -> anyhow::Result<()> {
            let workers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })?;
        Ok(next.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    }
}

/// Registers until the registry is killed, and looks afterwards whether all that was answered is there.
fn killed_while_registering(kafka: &str, mut registry: Registry) -> anyhow::Result<String> {
    let acknowledged = std::sync::Mutex::new(Vec::new());
    let next = AtomicUsize::new(SCHEMAS);
    let address = registry.address.clone();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let Ok(mut client) = Client::open(&address) else { return };
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Ok(answer) = client.ask("POST", &format!("/subjects/s{n}/versions"), &schema(n))
                    else {
                        return;
                    };
                    let id = answer["id"].as_u64().unwrap_or_default();
                    acknowledged.lock().expect("nobody panics").push((n, id));
                }
            });
        }
        thread::sleep(Duration::from_secs(1));
        let _ = registry.child.kill();
    });
    drop(registry);
    let acknowledged = acknowledged.into_inner().expect("nobody panics");
    let (registry, _) = Registry::start(kafka)?;
    let mut client = Client::open(&registry.address)?;
    for (n, id) in &acknowledged {
        let found = client.ask("GET", &format!("/schemas/ids/{id}"), "")?;
        let there = found["schema"].as_str().is_some_and(|text| text.contains(&format!("\"Event{n}\"")));
        ensure!(there, "schema {n} was acknowledged as {id}, which is {found}");
    }
    Ok(format!("{} of {}", acknowledged.len(), acknowledged.len()))
}

/// The program of the same build.
fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("tidegate");
    ensure!(program.is_file(), "`{}` is not there; build package `tidegate` first", program.display());
    Ok(program)
}

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the registry hung up");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        ensure!(status.contains(" 200 "), "{path}: {}{}", status, String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).context("an answer is JSON")
    }
}
