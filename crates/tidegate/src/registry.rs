//! `tidegate registry`: flags, and a registry until it is told to stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_broker::Tls;
use tidegate_config as config;
use tidegate_kafka::KafkaOptions;
use tidegate_registry::election::{Advertised, ElectionOptions, LeaderTls};
use tidegate_registry::{Dialect, Registry, RegistryOptions, Server, User, Users};
use tokio::net::TcpListener;

use crate::cli::{Exit, Speech};
use crate::commands::{StopSignals, print};
use crate::up::front::Front;
use crate::wire;

/// Flags of `tidegate registry`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate registry --bootstrap localhost:9092
  tidegate registry --config sink.yaml --listen 0.0.0.0:8081 --advertise http://registry-1:8081
  curl localhost:8081/subjects")]
pub struct Flags {
    /// `host:port` of one or more brokers, separated by commas
    #[arg(long, value_name = "BROKERS", value_delimiter = ',', required_unless_present = "config")]
    pub bootstrap: Vec<String>,
    /// A sink's configuration file, whose `kafka` section says how to reach Kafka
    #[arg(long, value_name = "FILE", conflicts_with = "bootstrap")]
    pub config: Option<PathBuf>,
    /// Where to listen; without a certificate everybody on the way reads along, passwords too
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// A file of users, one `name:password:role` a line, role `reader` or `writer`; without it everybody
    /// may do everything
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// The certificate chain for TLS, PEM, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in clients only that show a certificate of these authorities, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Trust the registry that writes for a certificate of these authorities too, PEM; without it of the
    /// system's alone
    #[arg(long, value_name = "FILE", conflicts_with = "alone")]
    pub leader_ca: Option<PathBuf>,
    /// Where the other registries of the topic reach this one; as it listens if absent
    #[arg(long, value_name = "URL", value_parser = advertised, conflicts_with = "alone")]
    pub advertise: Option<Advertised>,
    /// The group of registries that elects the one that writes
    #[arg(long, value_name = "GROUP", default_value = "schema-registry")]
    pub group: String,
    /// Never write: forward to the registry that does, of Tidegate or of Confluent
    #[arg(long, conflicts_with = "alone")]
    pub follow: bool,
    /// Write without being elected: there is no other registry on the topic
    #[arg(long)]
    pub alone: bool,
    /// The topic that keeps everything; created if it is missing
    #[arg(long, value_name = "TOPIC", default_value = "_schemas")]
    pub topic: String,
    /// How many replicas a new topic gets; the cluster's default if absent
    #[arg(long, value_name = "N")]
    pub replication: Option<i32>,
    /// Whose answers and records to give: those of Confluent's 8.x or 7.x
    #[arg(long, value_name = "RELEASE", value_enum, default_value_t = Release::V8)]
    pub compatible_with: Release,
}

/// A release of Confluent's registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// 7.x
    #[value(name = "7")]
    V7,
    /// 8.x
    #[value(name = "8")]
    V8,
}

/// What `tidegate registry` says when it is ready.
#[derive(Debug, Serialize)]
struct Ready {
    registry: String,
    topic: String,
}

/// A registry, and who listens for it.
struct Running {
    registry: Arc<Registry>,
    listener: TcpListener,
    tls: Option<Tls>,
    users: Users,
}

impl Running {
    /// Serves until it is dropped; TLS ends in front of it.
    async fn serve(self) -> anyhow::Result<(Server, Option<Front>)> {
        match self.tls {
            None => Ok((Server::serve(self.listener, self.registry, self.users)?, None)),
            Some(tls) => {
                let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let server = Server::serve(behind, self.registry, self.users)?;
                let front = Front::serve(self.listener, server.address(), Some(tls))?;
                Ok((server, Some(front)))
            }
        }
    }
}

fn tls(flags: &Flags) -> anyhow::Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&flags.tls_cert, &flags.tls_key) else { return Ok(None) };
    let tls = match &flags.tls_client_ca {
        None => Tls::from_files(certificate, key).context("use --tls-cert and --tls-key")?,
        Some(authorities) => Tls::for_known_clients(certificate, key, authorities)
            .context("use --tls-cert, --tls-key and --tls-client-ca")?,
    };
    Ok(Some(tls))
}

/// A URL of scheme, host and port.
fn advertised(url: &str) -> Result<Advertised, String> {
    let expected = || format!("expected http://HOST:PORT or https://HOST:PORT, found `{url}`");
    let (scheme, rest) = url.split_once("://").ok_or_else(expected)?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().map_err(|_| expected())?;
    if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains('/') {
        return Err(expected());
    }
    Ok(Advertised { scheme: scheme.to_owned(), host: host.to_owned(), port })
}

fn election(flags: &Flags, listen: SocketAddr) -> anyhow::Result<Option<ElectionOptions>> {
    if flags.alone {
        return Ok(None);
    }
    let advertised = match &flags.advertise {
        Some(advertised) => advertised.clone(),
        None => {
            anyhow::ensure!(
                !listen.ip().is_unspecified(),
                "--listen {listen} says not where other registries reach this one\n\
                 hint: give --advertise http://HOST:{}, or --alone if there is no other registry",
                listen.port()
            );
            let scheme = if flags.tls_cert.is_some() { "https" } else { "http" }.to_owned();
            let host = match listen.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            Advertised { scheme, host, port: listen.port() }
        }
    };
    let tls = leader_tls(flags)?;
    Ok(Some(ElectionOptions { group: flags.group.clone(), advertised, eligible: !flags.follow, tls }))
}

/// The registry that writes sees the certificate that clients see.
fn leader_tls(flags: &Flags) -> anyhow::Result<LeaderTls> {
    let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("read `{}`", file.display()));
    let authorities = flags.leader_ca.as_ref().map(read).transpose()?;
    let identity = match (&flags.tls_cert, &flags.tls_key) {
        (Some(chain), Some(key)) => Some((read(chain)?, read(key)?)),
        _ => None,
    };
    Ok(LeaderTls { authorities, identity })
}

/// Runs a registry until told to stop.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let kafka = match &flags.config {
        Some(file) => wire::kafka(&config::load_sink(file)?.kafka),
        None => KafkaOptions::new(flags.bootstrap.clone()),
    };
    kafka.check().context("set up the kafka client")?;
    let mut options = RegistryOptions::new(kafka);
    options.topic.clone_from(&flags.topic);
    options.replication = flags.replication;
    options.dialect = match flags.compatible_with {
        Release::V7 => Dialect::V7,
        Release::V8 => Dialect::V8,
    };
    let mut signals = StopSignals::listen()?;
    let users = flags.users.as_deref().map(users).transpose()?.unwrap_or_default();
    let tls = tls(flags)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = TcpListener::bind(flags.listen).await;
    let listener = listener.with_context(|| format!("listen on {} for the schema registry", flags.listen))?;
    let address = listener.local_addr().context("ask for the address")?;
    options.election = election(flags, address)?;
    let registry = Registry::start(&options).await.context("start the schema registry")?;
    let running = Running { registry: Arc::clone(&registry), listener, tls, users };
    let serving = running.serve().await?;
    let ready = Ready { registry: format!("{scheme}://{address}"), topic: flags.topic.clone() };
    print(speech, &ready, |ready, _| {
        format!(
            "The schema registry is up at {}, in topic `{}`. Ctrl-C stops it.\n",
            ready.registry, ready.topic
        )
    })?;
    signals.next().await;
    registry.stop().await;
    drop(serving);
    Ok(Exit::Done)
}

/// The users that a file names. Empty lines and those that begin with `#` say nothing.
fn users(file: &Path) -> anyhow::Result<Users> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("read users from `{}`", file.display()))?;
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let users: anyhow::Result<Vec<User>> = lines
        .map(|(index, line)| line.parse().with_context(|| format!("{}:{}", file.display(), index + 1)))
        .collect();
    let users = users?;
    // A file that protects nothing is a mistake.
    anyhow::ensure!(!users.is_empty(), "`{}` names no user", file.display());
    Ok(Users(users))
}
