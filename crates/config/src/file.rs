//! The file as a whole: what `sink` and `up` read, and its JSON Schema.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::check;
use crate::clickhouse::ClickHouse;
use crate::connector::Connector;
use crate::kafka::Kafka;
use crate::registry::SchemaRegistry;
use crate::scalar::{ByteSize, Identifier};
use tidegate_yaml::diagnostic::Diagnostics;
use tidegate_yaml::node::{self, Node};
use tidegate_yaml::reading::{Reading, Surroundings};
use tidegate_yaml::section;
use tidegate_yaml::shape::{Definitions, Shape};

section! {
    /// The configuration of `tidegate sink`: any Kafka, any ClickHouse, and the connectors between them.
    pub struct SinkFile as "the file" {
        /// How Kafka is reached.
        kafka: Kafka;
        /// How ClickHouse is reached.
        clickhouse: ClickHouse;
        /// How the schema registry is reached. Needed by connectors whose records name their schemas.
        registry: Option<SchemaRegistry>;
        /// Tidegate's own HTTP interface: metrics, health, status.
        api: Api = "{}";
        /// What the process may buffer in all.
        memory_max: ByteSize = "512MiB", "64MiB".."1024GiB";
        /// The connectors, each with a name of its own.
        connectors: Vec<Connector>;
    }
}

section! {
    /// The configuration of `tidegate up --config`: connectors between the engines that it runs itself.
    pub struct UpFile as "the file" {
        /// The database of connectors that name none; created if it is missing. Not `default`, which in
        /// the embedded ClickHouse shows the files of this machine as tables.
        database: Identifier = "tidegate";
        /// The schema registry of connectors whose records name their schemas; the embedded one if absent.
        registry: Option<SchemaRegistry>;
        /// What the process may buffer in all.
        memory_max: ByteSize = "512MiB", "64MiB".."1024GiB";
        /// A Kafka that runs already, in the place of the embedded one.
        kafka: Option<Kafka>;
        /// The embedded Kafka.
        embedded_kafka: EmbeddedKafka = "{}";
        /// A catalog, whose topics, schemas and tables are made at each start where they are missing, and whose
        /// events are brought into its tables.
        catalog: Option<PathBuf>;
        /// The connectors, each with a name of its own. Needed unless there is a catalog.
        connectors: Vec<Connector> = "[]";
    }
}

section! {
    /// The Kafka that `tidegate up` runs itself.
    pub struct EmbeddedKafka as "`embedded_kafka`" {
        /// How many bytes its logs may hold, 64MiB at least; without it, as many as the disk takes. Beyond
        /// them producers wait until records are deleted.
        disk_max: Option<ByteSize>;
        /// How many bytes a second one client id may produce, 1KiB at least; beyond it the client is made to
        /// wait. Quotas that Kafka's tools set count before it.
        produce_rate_max: Option<ByteSize>;
        /// How many bytes a second one client id may fetch, likewise. Connectors are clients too, by the
        /// id `tidegate`.
        fetch_rate_max: Option<ByteSize>;
    }
}

impl EmbeddedKafka {
    /// What `disk_max` is at least: less would not hold a producer's batches of the largest size.
    pub const DISK_MAX_MIN: ByteSize = ByteSize(64 << 20);
    /// What the rates are at least.
    pub const RATE_MAX_MIN: ByteSize = ByteSize(1 << 10);
}

section! {
    /// Tidegate's own HTTP interface.
    pub struct Api as "`api`" {
        /// Where it listens.
        listen: SocketAddr = "127.0.0.1:8080";
    }
}

/// Parses the configuration of `tidegate sink`. `file` names the text in messages, and its folder is
/// what relative paths are taken against.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_sink(file: &Path, text: &str, surroundings: &Surroundings<'_>) -> Result<SinkFile, Diagnostics> {
    parse(file, text, surroundings, check::sink)
}

/// Parses the configuration of `tidegate up`, as [`parse_sink`].
///
/// # Errors
/// Every mistake in the text.
pub fn parse_up(file: &Path, text: &str, surroundings: &Surroundings<'_>) -> Result<UpFile, Diagnostics> {
    parse(file, text, surroundings, check::up)
}

fn parse<T: Shape>(
    file: &Path,
    text: &str,
    surroundings: &Surroundings<'_>,
    check: fn(&T, &Node, &mut Reading<'_>),
) -> Result<T, Diagnostics> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let (root, found) = node::parse(0, text);
    let mut cx = Reading { surroundings: Some(surroundings), folder, found };
    let config = root.and_then(|root| {
        let config = T::read(&root, &mut cx)?;
        check(&config, &root, &mut cx);
        Some(config)
    });
    match config {
        Some(config) if cx.found.is_empty() => Ok(config),
        Some(_) | None => Err(Diagnostics::new(&[file.display().to_string()], cx.found)),
    }
}

/// Why a configuration file could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file was read and is refused.
    Refused(Diagnostics),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, .. } => write!(f, "read `{}`", file.display()),
            Self::Refused(diagnostics) => diagnostics.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Refused(_) => None,
        }
    }
}

/// Loads the configuration of `tidegate sink`, with the process' environment.
///
/// # Errors
/// When the file cannot be read, or every mistake in it.
pub fn load_sink(file: &Path) -> Result<SinkFile, LoadError> {
    load(file, parse_sink)
}

/// Loads the configuration of `tidegate up`, with the process' environment.
///
/// # Errors
/// When the file cannot be read, or every mistake in it.
pub fn load_up(file: &Path) -> Result<UpFile, LoadError> {
    load(file, parse_up)
}

fn load<T>(
    file: &Path,
    parse: fn(&Path, &str, &Surroundings<'_>) -> Result<T, Diagnostics>,
) -> Result<T, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file: file.to_owned(), source };
    let text = read_bounded(file).map_err(unreadable)?;
    let surroundings =
        Surroundings { variable: &|name| std::env::var(name).ok(), read: &|path| read_bounded(path) };
    parse(file, &text, &surroundings).map_err(LoadError::Refused)
}

/// Reads a text file, but no more than a configuration file has: a device or a log named by accident
/// must not fill the memory.
fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read;
    let limit = u64::try_from(node::BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// The JSON Schema (2020-12) of the configuration file of `tidegate sink`; that of `tidegate up` is
/// `$defs/UpFile` in it.
#[must_use]
pub fn json_schema() -> Value {
    let mut definitions = Definitions::interpolated();
    SinkFile::schema(&mut definitions);
    UpFile::schema(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate's configuration file",
        "$ref": "#/$defs/SinkFile",
        "$defs": definitions.finish(),
    })
}
