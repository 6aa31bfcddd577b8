//! The command line as types: what may be said, with its help. What it does is wired elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tidegate_clickhouse::Url;
use tidegate_config::{ByteSize, EmbeddedKafka};

/// Events from Kafka into ClickHouse, each one exactly once; what cannot be a row is a dead letter.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 100)]
#[command(arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How the program speaks.
    #[command(flatten)]
    pub speech: Speech,
}

const AFTER_HELP: &str = "\
Examples:
  tidegate demo                                 see the whole path at work on real events
  tidegate up --data-dir data                   a Kafka and a ClickHouse on this machine
  tidegate status --data-dir data               what runs there, and what it holds and costs
  tidegate config check --config sink.yaml      everything that is wrong with a file, at once
  tidegate sink --config sink.yaml              your Kafka, your ClickHouse
  tidegate dlq list --config sink.yaml          what was refused, and why
  tidegate ledger --config sink.yaml            what became of every offset
  tidegate metrics query dau --grain day        a metric of a catalog, from the tables that the sink fills

Exit codes:
  0  done
  1  failed: the message says what, and what to do
  2  the command line or the configuration file is wrong
  3  halted: a connector refused too large a share of its records";

/// How the program speaks.
#[derive(Debug, Clone, Args)]
pub struct Speech {
    /// What standard output gets: text for people, JSON for programs
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Output::Text, global = true)]
    pub output: Output,
    /// What the log on standard error tells: a level, or a filter such as `warn,tidegate_kafka=debug`
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn",
        env = "TIDEGATE_LOG",
        hide_env_values = true,
        global = true
    )]
    pub log_level: String,
    /// How the log on standard error is written
    #[arg(long, value_name = "KIND", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
    /// Whether text is coloured; `auto` looks at the terminal and at `NO_COLOR`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto, global = true)]
    pub color: ColorChoice,
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// If standard output is a terminal and `NO_COLOR` is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole path on real events, with an own Kafka and ClickHouse, and report what became of them
    Demo(Demo),
    /// Run Kafka, ClickHouse and Tidegate on this machine until told to stop
    Up(Up),
    /// Show what runs, where, and what it holds and costs
    Status(StatusFlags),
    /// Bring the topics of a configuration file into its tables until told to stop
    Sink(Sink),
    /// Run a schema registry with Confluent's API on a Kafka cluster until told to stop
    Registry(crate::registry::Flags),
    /// Publish lines of text as Avro, JSON or bytes, each checked before the first is published
    Produce(crate::tools::produce::Flags),
    /// Read a topic's records as text, decoded by the schemas that they name
    Consume(crate::tools::consume::Flags),
    /// List, check, register and compare the schemas of a registry
    #[command(subcommand)]
    Schema(crate::tools::schema::Command),
    /// Ask ClickHouse
    Query(crate::tools::query::Flags),
    /// Try the whole way once: schema, topic, table, rows; then clean up and say PASS or what is wrong
    Smoke(crate::smoke::Flags),
    /// The ClickHouse table of a registered schema: show, create, extend it
    #[command(subcommand)]
    Table(crate::table::Command),
    /// Check a catalog of events and metrics, and write what is made from it
    #[command(subcommand)]
    Catalog(crate::catalog::Command),
    /// Ask for a catalog's metrics, and learn from which table they come and why
    #[command(subcommand)]
    Metrics(crate::metrics::Command),
    /// Look at dead letters, and put them back after a fix
    #[command(subcommand)]
    Dlq(crate::dlq::flags::Command),
    /// Show where a connector's group stands, and put it elsewhere without writing anything twice
    #[command(subcommand)]
    Offsets(crate::offsets::Offsets),
    /// Account for every offset of a topic: row, dead letter, dropped, not there yet, or nowhere
    Ledger(crate::ledger::Flags),
    /// Check a configuration file, or print the JSON Schema of such files
    #[command(subcommand)]
    Config(Config),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tidegate completions bash > /etc/bash_completion.d/tidegate")]
    Completions(Completions),
}

/// Flags of `tidegate demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate demo
  tidegate demo --records 100000
  tidegate demo --data-dir /tmp/demo            keep the tables, then: tidegate up --data-dir /tmp/demo
  tidegate demo --output json")]
pub struct Demo {
    /// Where the engines keep their files, which stay; a temporary folder, which does not, if absent
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How many records to publish at least; all payloads once if absent
    #[arg(long, value_name = "N")]
    pub records: Option<usize>,
}

/// Flags of `tidegate up`. Port 0 takes a free one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate up --data-dir data
  tidegate up --data-dir data --config up.yaml
  tidegate up --data-dir data --catalog cdp.yaml
  tidegate up --data-dir data --kafka-port 0 --clickhouse-port 0 --registry-port 0 --api-port 0 --output json
  tidegate up --data-dir data --clickhouse https://me:secret@clickhouse-1:8443
  tidegate up --data-dir data --listen 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

Ctrl-C or SIGTERM stops it within 30 s, cleanly; a second one at once.")]
pub struct Up {
    /// Where the engines keep their files; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Kafka's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 19092)]
    pub kafka_port: u16,
    /// When the embedded Kafka has a record on the disk, which a power cut needs and `kill -9` does not
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FsyncFlag::Never, conflicts_with = "kafka")]
    pub fsync: FsyncFlag,
    /// ClickHouse's HTTP port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8123)]
    pub clickhouse_port: u16,
    /// ClickHouse's native TCP port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9000)]
    pub clickhouse_native_port: u16,
    /// The schema registry's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub registry_port: u16,
    /// The port of metrics, health and status; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub api_port: u16,
    /// Connectors to run between the two
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub catalog: crate::up::CatalogFlags,
    /// What the embedded Kafka's logs may hold; beyond it producers wait until records are deleted
    #[arg(long, value_name = "SIZE", value_parser = kafka_disk, conflicts_with = "kafka")]
    pub kafka_disk: Option<ByteSize>,
    /// Use a Kafka that runs already instead of the embedded one; with TLS or SASL: `kafka` in --config
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    pub kafka: Option<Vec<String>>,
    /// Use a ClickHouse that runs already (a URL), or run this `clickhouse` binary or libchdb.so (a path)
    #[arg(
        long,
        value_name = "URL|PATH",
        value_parser = clickhouse_flag,
        env = "TIDEGATE_CLICKHOUSE",
        hide_env_values = true
    )]
    pub clickhouse: Option<ClickHouseFlag>,
    /// What the embedded ClickHouse may allocate; a query beyond it fails, and the server goes on
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = clickhouse_memory)]
    pub clickhouse_memory: ByteSize,
    /// The address to listen on; one that other machines can reach needs a certificate
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// The certificate chain for TLS, PEM, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let other machines in without TLS: the network can read everything, passwords too
    #[arg(long, conflicts_with = "tls_cert")]
    pub insecure: bool,
}

/// When a record of the embedded Kafka is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FsyncFlag {
    /// When the system writes it, as Apache Kafka has it
    Never,
    /// Within about a second of its acknowledgement
    #[value(name = "1s")]
    EverySecond,
    /// Before it is acknowledged
    Always,
}

/// What `--clickhouse` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClickHouseFlag {
    /// A server that runs.
    Running(Url),
    /// A program or a library to run.
    Program(PathBuf),
}

fn clickhouse_flag(text: &str) -> Result<ClickHouseFlag, String> {
    if !text.contains("://") {
        return Ok(ClickHouseFlag::Program(text.into()));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(ClickHouseFlag::Running(url))
        }
        _ => Err("expected http://USER:PASSWORD@HOST:8123, https://.., or the path of a file".to_owned()),
    }
}

/// ClickHouse itself needs some 200 MiB for the little that every server does.
const CLICKHOUSE_MEMORY_MIN: u64 = 512 << 20;

fn clickhouse_memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.0 < CLICKHOUSE_MEMORY_MIN { Err("expected at least 512MiB".to_owned()) } else { Ok(size) }
}

fn kafka_disk(text: &str) -> Result<ByteSize, String> {
    let (size, min): (ByteSize, _) = (text.parse()?, EmbeddedKafka::DISK_MAX_MIN);
    if size < min { Err(format!("expected at least {min}")) } else { Ok(size) }
}

/// Flags that do not go together, in a way that `clap` cannot tell.
#[derive(Debug)]
pub struct WrongUse(pub String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Flags of `tidegate status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate status --data-dir data
  tidegate status --api 127.0.0.1:8080          a `tidegate sink`, or any other
  tidegate status --data-dir data --output json")]
pub struct StatusFlags {
    /// The data folder of a `tidegate up` on this machine
    #[arg(long, value_name = "DIR", required_unless_present = "api")]
    pub data_dir: Option<PathBuf>,
    /// The address of Tidegate's own interface, without TLS
    #[arg(long, value_name = "HOST:PORT", value_parser = plain_address, conflicts_with = "data_dir")]
    pub api: Option<String>,
}

/// `HOST:PORT`, also as the URL that `tidegate up --output json` prints.
fn plain_address(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err("expected an address without TLS; on the same machine, name its `--data-dir`".to_owned());
    }
    Ok(text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').to_owned())
}

/// Flags of `tidegate sink`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tidegate sink --config sink.yaml --log-level info --log-format json")]
pub struct Sink {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// What to do with configuration files.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check a file and tell all that is wrong with it, each with its place
    #[command(after_help = "\
Examples:
  tidegate config check --config sink.yaml
  tidegate config check --config up.yaml --for up
  tidegate config check --config sink.yaml --output json")]
    Check(ConfigCheck),
    /// Print the JSON Schema of configuration files, for editors
    #[command(after_help = "\
Example:
  tidegate config schema > tidegate.schema.json
  and as the first line of sink.yaml:
  # yaml-language-server: $schema=tidegate.schema.json")]
    Schema,
}

/// Flags of `tidegate config check`.
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Which command the file is for
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value_t = ConfigFor::Sink)]
    pub command: ConfigFor,
}

/// Which command a configuration file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigFor {
    /// `tidegate sink`.
    Sink,
    /// `tidegate up`.
    Up,
}

/// Flags of `tidegate completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// How the program ends. A wrong command line ends with 2 as well, through `clap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line or the configuration file is wrong.
    Usage,
    /// 3: a connector halted.
    Halted,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Halted => 3,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_interface_that_programs_rely_on_parses() {
        let line = "tidegate up --data-dir d --kafka-port 0 --clickhouse-port 0 --api-port 0 --output json";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.speech.output, Output::Json);
        assert!(matches!(cli.command, Command::Up(Up { kafka_port: 0, clickhouse_native_port: 9000, .. })));
        let cli = Cli::try_parse_from(["tidegate", "demo", "--output", "json"]).unwrap();
        assert!(matches!(cli.command, Command::Demo(Demo { records: None, .. })));
    }

    #[test]
    fn an_address_may_be_the_url_that_up_prints() {
        let api = |text: &str| plain_address(text).map_err(|error| error.contains("without TLS"));
        assert_eq!(api("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(api("http://[::1]:8080/"), Ok("[::1]:8080".to_owned()));
        assert_eq!(api("localhost:8080"), Ok("localhost:8080".to_owned()));
        assert_eq!(api("https://localhost:8080"), Err(true));
    }

    #[test]
    fn every_command_explains_itself() {
        let mut help = String::new();
        explain(&mut Cli::command().term_width(100), &mut help);
        insta::assert_snapshot!(help);
    }

    fn explain(command: &mut clap::Command, help: &mut String) {
        let text = command.render_long_help();
        help.push_str(&format!("$ {} --help\n{text}\n", command.get_name()));
        for subcommand in command.get_subcommands_mut() {
            if subcommand.get_name() != "help" {
                explain(subcommand, help);
            }
        }
    }
}
