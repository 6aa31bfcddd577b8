//! Two replicated ClickHouse 18.16 nodes with ZooKeeper and HAProxy, from Debian's packages, in processes of their own
//! on the loopback. This server has no insert tokens, no DateTime64 and no constraints.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::brokers::free_port;
use crate::http::{self, Warehouse};
use crate::process;

const USER: &str = "admin";
const PASSWORD: &str = "clickhouse";
/// Where Debian's packages put ZooKeeper.
const ZOOKEEPER_JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";
/// How long everything may take to come up: a JVM on a machine that has other work.
const START_MAX: Duration = Duration::from_secs(120);

/// What a process of the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Zookeeper,
    Node,
    Balancer,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    folder: PathBuf,
    child: Option<Child>,
}

/// The cluster. Its processes are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    ports: Ports,
}

#[derive(Debug)]
struct Ports {
    zookeeper: u16,
    balancer: u16,
    nodes: [u16; 2],
}

impl Cluster {
    /// Starts every process and waits until both nodes can create replicated tables.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let ports =
            Ports { zookeeper: free_port()?, balancer: free_port()?, nodes: [free_port()?, free_port()?] };
        let names = [
            ("zookeeper", Part::Zookeeper),
            ("node1", Part::Node),
            ("node2", Part::Node),
            ("haproxy", Part::Balancer),
        ];
        let member = |(name, part)| Member { name, part, folder: folder.join(name), child: None };
        let mut cluster = Self { members: names.map(member).into(), ports };
        for at in 0..cluster.members.len() {
            cluster.configure(at)?;
            cluster.members[at].start()?;
            if cluster.members[at].part == Part::Zookeeper {
                // A node whose first session fails never gets another.
                cluster.until("ZooKeeper serves", Self::zookeeper_serves).await?;
            }
        }
        cluster.until("both nodes have a session", Self::well).await?;
        Ok(cluster)
    }

    /// Where the balancer listens.
    pub(crate) fn balanced(&self) -> String {
        format!("127.0.0.1:{}", self.ports.balancer)
    }

    /// Each node, asked directly.
    pub(crate) fn nodes(&self) -> [Warehouse; 2] {
        self.ports.nodes.map(|port| Warehouse {
            address: format!("127.0.0.1:{port}"),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        })
    }

    /// Waits until both nodes take inserts again.
    pub(crate) async fn well_again(&mut self) -> anyhow::Result<()> {
        self.until("both nodes take inserts", Self::well).await
    }

    /// Those that have ended by themselves.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for member in &mut self.members {
            if let Some(Ok(Some(status))) = member.child.as_mut().map(Child::try_wait) {
                let told = process::told(&member.log());
                ended.push(format!("{} ended with {status}: {told}", member.name));
            }
        }
        ended
    }

    async fn until(
        &mut self,
        what: &str,
        holds: impl AsyncFn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while let Err(error) = holds(self).await {
            let ended = self.ended();
            ensure!(ended.is_empty(), "{}", ended.join("\n"));
            if began.elapsed() > START_MAX {
                bail!("{what}: not within {START_MAX:?}: {error:#}");
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn zookeeper_serves(&self) -> anyhow::Result<()> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.zookeeper)).await?;
            stream.write_all(b"srvr").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = timeout(Duration::from_secs(2), asked).await.context("it is silent")??;
        // It answers others of these words before it takes sessions.
        ensure!(answer.contains("Mode: "), "it answers `{answer}`");
        Ok(())
    }

    /// Both nodes have a session with ZooKeeper, and none of their tables is read-only.
    async fn well(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            let sql = "SELECT (SELECT count() FROM system.zookeeper WHERE path = '/') > 0, \
                       (SELECT count() FROM system.replicas WHERE is_readonly OR is_session_expired) = 0";
            let asked = timeout(Duration::from_secs(5), node.rows::<2>(sql));
            let rows = asked.await.with_context(|| format!("`{}` is silent", node.address))??;
            ensure!(rows == [["1", "1"].map(str::to_owned)], "`{}`: {rows:?}", node.address);
        }
        http::get(&self.balanced(), "/ping").await.map(drop)
    }

    fn configure(&self, at: usize) -> anyhow::Result<()> {
        let member = &self.members[at];
        let folder = member.folder.display().to_string();
        for inner in ["data", "tmp", "user_files", "format_schemas"] {
            let inner = member.folder.join(inner);
            std::fs::create_dir_all(&inner).with_context(|| format!("create {}", inner.display()))?;
        }
        let [node1, node2] = self.ports.nodes;
        match member.part {
            Part::Zookeeper => {
                let values = [("FOLDER", folder), ("PORT", self.ports.zookeeper.to_string())];
                member.write("zoo.cfg", include_str!("../cluster/zoo.cfg"), &values)
            }
            Part::Balancer => {
                let values = [("PORT", self.ports.balancer), ("NODE1_HTTP", node1), ("NODE2_HTTP", node2)];
                let values = values.map(|(name, port)| (name, port.to_string()));
                member.write("haproxy.cfg", include_str!("../cluster/haproxy.cfg"), &values)
            }
            Part::Node => {
                let http = if member.name == "node1" { node1 } else { node2 };
                let values = [
                    ("FOLDER", folder),
                    ("REPLICA", member.name.to_owned()),
                    ("HTTP", http.to_string()),
                    ("TCP", free_port()?.to_string()),
                    ("BETWEEN", free_port()?.to_string()),
                    ("ZOOKEEPER", self.ports.zookeeper.to_string()),
                ];
                member.write("config.xml", include_str!("../cluster/node.xml"), &values)?;
                let values = [("USER", USER.to_owned()), ("PASSWORD", PASSWORD.to_owned())];
                member.write("users.xml", include_str!("../cluster/users.xml"), &values)
            }
        }
    }
}

impl Member {
    /// Starts it where it was.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = match self.part {
            Part::Zookeeper => {
                let mut java = Command::new("java");
                java.args([
                    "-Xmx256m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-Djava.awt.headless=true",
                ]);
                java.args([
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-Dzookeeper.jmx.log4j.disable=true",
                ]);
                java.args(["-cp", ZOOKEEPER_JARS, "org.apache.zookeeper.server.ZooKeeperServerMain"]);
                java.arg(self.folder.join("zoo.cfg"));
                java
            }
            Part::Node => {
                let mut server = Command::new("clickhouse-server");
                server.arg(format!("--config-file={}", self.folder.join("config.xml").display()));
                server
            }
            Part::Balancer => {
                let mut haproxy = Command::new("/usr/sbin/haproxy");
                haproxy.arg("-db").arg("-f").arg(self.folder.join("haproxy.cfg"));
                haproxy
            }
        };
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let missing = "`clickhouse-server`, `zookeeper` and `haproxy` are packages of Debian 12";
        self.child = Some(command.spawn().with_context(|| format!("start {}; {missing}", self.name))?);
        Ok(())
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// Any signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        process::signal(child, signal)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn write(&self, name: &str, template: &str, values: &[(&str, String)]) -> anyhow::Result<()> {
        let fill = |text: String, (name, value): &(&str, String)| text.replace(&format!("@{name}@"), value);
        let text = values.iter().fold(template.to_owned(), fill);
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
