//! A broker in a process of its own, to be killed: this test binary, run again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tidegate_broker::{Broker, BrokerOptions, Fsync, Listener};

const DIRECTORY: &str = "TIDEGATE_TEST_DIRECTORY";
const FSYNC: &str = "TIDEGATE_TEST_FSYNC";
const READY: &str = "listens on ";

/// A running broker process. It ends with this, and with the process that began it.
pub(crate) struct BrokerProcess {
    child: Child,
    /// Closed: the child ends in order.
    input: Option<ChildStdin>,
    /// Kept open: the harness in the child writes to it at its end.
    _output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) log: PathBuf,
}

impl BrokerProcess {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, "exec \"$0\" \"$@\"", Fsync::Never)
    }

    /// Starts it from a shell script, which is to execute its arguments.
    pub(crate) fn start_with(directory: &Path, script: &str, fsync: Fsync) -> Self {
        let log = directory.with_extension("stderr");
        Self::try_start(directory, script, fsync)
            .unwrap_or_else(|| panic!("no broker: {}", std::fs::read_to_string(log).unwrap()))
    }

    #[expect(clippy::zombie_processes, reason = "whatever panics here ends the test and its children")]
    /// `None`: it ended instead of serving; its last words are in the log.
    pub(crate) fn try_start(directory: &Path, script: &str, fsync: Fsync) -> Option<Self> {
        let log = directory.with_extension("stderr");
        let stderr = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", "child::broker_process"])
            .env(DIRECTORY, directory)
            .env(FSYNC, if fsync == Fsync::EveryAppend { "every append" } else { "never" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        loop {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                return None;
            }
            // The test harness has begun the line.
            if let Some((_, address)) = line.split_once(READY) {
                let address = address.trim().parse().unwrap();
                return Some(Self { child, input, _output: output, address, log });
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it stop in order.
    pub(crate) fn stop(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success(), "{}", self.words());
    }

    /// What it has said of warnings and errors.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of warnings and errors on the standard error stream.
struct Lines;

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        // The file that the line goes to may be as full as the others.
        let _ = writeln!(std::io::stderr(), "{}", line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
    fn record_error(&mut self, field: &tracing::field::Field, value: &(dyn std::error::Error + 'static)) {
        self.0.push_str(&format!(" {field}={}", chain(value)));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    chain
}

#[test]
#[ignore = "the process that the other tests start"]
fn broker_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    tracing::subscriber::set_global_default(Lines).unwrap();
    let mut options = BrokerOptions::new(directory, Listener::loopback(0));
    // Everything that works in the background is to be at work when the process is killed.
    options.clean_interval = Duration::from_millis(15);
    if std::env::var(FSYNC).unwrap() == "every append" {
        options.fsync = Fsync::EveryAppend;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = match runtime.block_on(Broker::start(options)) {
        Ok(broker) => broker,
        Err(error) => {
            eprintln!("{}", chain(&error));
            std::process::exit(1);
        }
    };
    println!("{READY}{}", broker.address());
    // Whoever started this process has ended, or wants it to end.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    runtime.block_on(broker.stop());
}
