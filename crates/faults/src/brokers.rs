//! Apache Kafka in processes of its own: KRaft, SASL on every listener, from the jars of `scripts/fetch-apache-kafka`.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use rustix::process::Signal;

use crate::process;

/// A cluster's id is 16 bytes in base64.
const CLUSTER: &str = "dGlkZWdhdGUtZmF1bHRzMQ";
/// The user of the clients' listener, by SCRAM-SHA-512.
pub(crate) const USER: &str = "sink";
pub(crate) const PASSWORD: &str = "open-sesame";
/// The brokers' own user, by PLAIN.
const BROKER: (&str, &str) = ("broker", "between us");

/// What a broker writes to its log: errors, and what becomes of groups, without which nothing tells why one does not
/// settle.
const LOGGING: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level = error
rootLogger.appenderRef.out.ref = out
logger.group.name = org.apache.kafka.coordinator.group
logger.group.level = info
";

/// Which processes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Three controllers and three brokers.
    Apart,
    /// Three that are both: half the memory, and a death takes both.
    Together,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Controller,
    Broker,
    Both,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Broker => "broker",
            Self::Both => "broker,controller",
        }
    }

    pub(crate) const fn serves(self) -> bool {
        match self {
            Self::Controller => false,
            Self::Broker | Self::Both => true,
        }
    }
}

/// One process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    id: u32,
    folder: PathBuf,
    jars: PathBuf,
    clients: u16,
    between: u16,
    control: u16,
    child: Option<Child>,
}

/// The cluster. Its processes are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Brokers {
    pub(crate) nodes: Vec<Node>,
}

impl Brokers {
    /// Formats and starts every process; does not wait until they answer.
    pub(crate) fn start(folder: &Path, layout: Layout) -> anyhow::Result<Self> {
        let jars = jars()?;
        let roles: &[(Role, u32)] = match layout {
            Layout::Together => &[(Role::Both, 1), (Role::Both, 2), (Role::Both, 3)],
            Layout::Apart => &[
                (Role::Controller, 101),
                (Role::Controller, 102),
                (Role::Controller, 103),
                (Role::Broker, 1),
                (Role::Broker, 2),
                (Role::Broker, 3),
            ],
        };
        let mut nodes = Vec::new();
        for &(role, id) in roles {
            let name = format!("{}-{id}", if role == Role::Controller { "controller" } else { "broker" });
            let folder = folder.join(&name);
            std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            let jars = jars.clone();
            let (clients, between, control) = (free_port()?, free_port()?, free_port()?);
            nodes.push(Node { name, role, id, folder, jars, clients, between, control, child: None });
        }
        let voters: Vec<String> = nodes.iter().filter_map(Node::voter).collect();
        let mut formats = Vec::new();
        for node in &nodes {
            std::fs::write(node.properties(), node.settings(&voters.join(",")))?;
            std::fs::write(node.logging(), LOGGING)?;
            formats.push((node.format()?, node));
        }
        for (mut format, node) in formats {
            ensure!(format.wait()?.success(), "format {}: {}", node.name, process::told(&node.log()));
        }
        for node in &mut nodes {
            node.start()?;
        }
        Ok(Self { nodes })
    }

    /// `host:port` of every broker, for clients.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let serving = self.nodes.iter().filter(|node| node.role.serves());
        serving.map(|node| format!("127.0.0.1:{}", node.clients)).collect()
    }

    /// Those that have ended by themselves.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for node in &mut self.nodes {
            if let Some(Ok(Some(status))) = node.child.as_mut().map(Child::try_wait) {
                let told = process::told(&node.log());
                ended.push(format!("{} ended with {status}: {told}", node.name));
            }
        }
        ended
    }
}

impl Node {
    /// Starts it where it was.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let mut java = self.java("kafka.Kafka", &["-Xmx256m", "-Xms128m"])?;
        self.child = Some(java.arg(self.properties()).spawn().context("run java")?);
        Ok(())
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        process::signal(child, signal)
    }

    fn voter(&self) -> Option<String> {
        (self.role != Role::Broker).then(|| format!("{}@127.0.0.1:{}", self.id, self.control))
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn logging(&self) -> PathBuf {
        self.folder.join("log4j2.properties")
    }

    fn format(&self) -> anyhow::Result<Child> {
        let mut format = self.java("kafka.tools.StorageTool", &["-Xmx128m"])?;
        format.args(["format", "-t", CLUSTER, "-c"]).arg(self.properties());
        format.args(["--add-scram", &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")]);
        format.spawn().context("run java")
    }

    fn java(&self, class: &str, memory: &[&str]) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut java = Command::new("java");
        // Six of them share two cores: what a start costs counts more than what a record costs.
        java.args(memory).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
        java.arg(format!("-Dlog4j2.configurationFile={}", self.logging().display()));
        java.args(["-Djava.awt.headless=true", "-cp"]).arg(self.jars.join("*")).arg(class);
        java.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        Ok(java)
    }

    fn settings(&self, voters: &str) -> String {
        let (user, password) = BROKER;
        let plain = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required \
             username=\"{user}\" password=\"{password}\" user_{user}=\"{password}\";"
        );
        let control = format!("CONTROLLER://127.0.0.1:{}", self.control);
        let serve = format!("CLIENTS://127.0.0.1:{},BETWEEN://127.0.0.1:{}", self.clients, self.between);
        let (listeners, advertised) = match self.role {
            Role::Controller => (control, String::new()),
            Role::Broker => (serve.clone(), format!("advertised.listeners={serve}\n")),
            Role::Both => (format!("{serve},{control}"), format!("advertised.listeners={serve}\n")),
        };
        let between = match self.role {
            Role::Controller => "",
            Role::Broker | Role::Both => "inter.broker.listener.name=BETWEEN\n",
        };
        let (id, data, role) = (self.id, self.folder.join("data"), self.role.as_str());
        format!(
            "process.roles={role}\nnode.id={id}\nlog.dirs={data}\n\
             controller.quorum.voters={voters}\ncontroller.listener.names=CONTROLLER\n\
             listeners={listeners}\n{advertised}{between}\
             listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,BETWEEN:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT\n\
             sasl.mechanism.inter.broker.protocol=PLAIN\nsasl.mechanism.controller.protocol=PLAIN\n\
             listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.clients.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.between.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.between.plain.sasl.jaas.config={plain}\n\
             listener.name.controller.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.controller.plain.sasl.jaas.config={plain}\n{COMMON}",
            data = data.display()
        )
    }
}

/// What every process is told. Three replicas of everything, two in sync; failures are noticed sooner than by
/// default, so that a run has time for many.
const COMMON: &str = "\
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=6
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=5000
controlled.shutdown.enable=false
log.segment.bytes=16777216
log.index.size.max.bytes=262144
";

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn jars() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("TIDEGATE_CACHE").map_or_else(|| PathBuf::from(".cache"), PathBuf::from);
    let jars = cache.join("apache-kafka");
    let there = jars.join(".made-from").is_file();
    ensure!(there, "`{}` is not there; run scripts/fetch-apache-kafka", jars.display());
    Ok(jars)
}

/// What is free now may be taken when Kafka starts; then it says so and ends.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
