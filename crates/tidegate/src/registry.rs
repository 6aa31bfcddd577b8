//! `tidegate registry`: flags, and a registry until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_config as config;
use tidegate_kafka::KafkaOptions;
use tidegate_registry::{Dialect, Registry, RegistryOptions, Server, User, Users};

use crate::cli::{Exit, Speech};
use crate::commands::{StopSignals, print};
use crate::wire;

/// Flags of `tidegate registry`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate registry --bootstrap localhost:9092
  tidegate registry --config sink.yaml --listen 0.0.0.0:8081
  curl localhost:8081/subjects")]
pub struct Flags {
    /// `host:port` of one or more brokers, separated by commas
    #[arg(long, value_name = "BROKERS", value_delimiter = ',', required_unless_present = "config")]
    pub bootstrap: Vec<String>,
    /// A sink's configuration file, whose `kafka` section says how to reach Kafka
    #[arg(long, value_name = "FILE", conflicts_with = "bootstrap")]
    pub config: Option<PathBuf>,
    /// Where to listen; without TLS, so keep it on a private network or behind a proxy
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// A file of users, one `name:password:role` a line, role `reader` or `writer`; without it everybody
    /// may do everything
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
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

/// Serves a registry on this cluster until it is dropped.
///
/// # Errors
/// When Kafka cannot be reached, or the address cannot be listened on.
async fn start(options: &RegistryOptions, listen: SocketAddr, users: Users) -> anyhow::Result<Server> {
    let registry = Registry::start(options).await.context("start the schema registry")?;
    let server = Server::start(listen, Arc::clone(&registry), users).await;
    server.with_context(|| format!("listen on {listen} for the schema registry"))
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
    let server = start(&options, flags.listen, users).await?;
    let ready = Ready { registry: format!("http://{}", server.address()), topic: flags.topic.clone() };
    print(speech, &ready, |ready, _| {
        format!(
            "The schema registry is up at {}, in topic `{}`. Ctrl-C stops it.\n",
            ready.registry, ready.topic
        )
    })?;
    signals.next().await;
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
