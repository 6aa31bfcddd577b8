//! Apache Kafka in a process of its own: one node, KRaft, its defaults, from the jars of `scripts/fetch-apache-kafka`.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(60);
/// A cluster's id is 16 bytes in base64.
const CLUSTER: &str = "dGlkZWdhdGUtYmVuY2hfMQ";

/// A running Apache Kafka. Killed when it is dropped.
pub struct Apache {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Apache {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When Java or the jars are not there, or it does not answer in time.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let jars = jars()?;
        std::fs::create_dir_all(folder)?;
        let (port, controller) = (free_port()?, free_port()?);
        let properties = folder.join("server.properties");
        std::fs::write(&properties, settings(&folder.join("data"), port, controller))?;
        let java = |class: &str| -> anyhow::Result<Command> {
            let log = File::options().create(true).append(true).open(folder.join("log"))?;
            let mut java = Command::new("java");
            // Kafka's own start script has these, with the heap of its default.
            java.args(["-Xmx1g", "-Xms1g", "-server", "-XX:+UseG1GC", "-Djava.awt.headless=true", "-cp"]);
            java.arg(jars.join("*")).arg(class).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
            Ok(java)
        };
        let mut format = java("kafka.tools.StorageTool")?;
        format.args(["format", "-t", CLUSTER, "-c"]).arg(&properties);
        ensure!(format.status().context("run java")?.success(), "{}", told(folder));
        let child = java("kafka.Kafka")?.arg(&properties).spawn().context("run java")?;
        let mut apache = Self { child, address: format!("127.0.0.1:{port}") };
        apache.wait(folder)?;
        Ok(apache)
    }

    fn wait(&mut self, folder: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.address).set("log_level", "0").create()?;
        while client.fetch_metadata(None, Duration::from_secs(1)).is_err() {
            if self.child.try_wait()?.is_some() {
                bail!("it ended: {}", told(folder));
            }
            ensure!(began.elapsed() < START_MAX, "no answer within {START_MAX:?}: {}", told(folder));
        }
        Ok(())
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn jars() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("TIDEGATE_CACHE").map_or_else(|| PathBuf::from(".cache"), PathBuf::from);
    let jars = cache.join("apache-kafka");
    ensure!(
        jars.join(".made-from").is_file(),
        "`{}` is not there; run scripts/fetch-apache-kafka",
        jars.display()
    );
    Ok(jars)
}

/// What is free now may be taken when Kafka starts; then it says so and ends.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn settings(data: &Path, port: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n",
        data.display()
    )
}

/// The last lines of what it logged.
fn told(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
