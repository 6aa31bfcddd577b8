//! How a client reaches its servers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use thiserror::Error;

use crate::secret::Secret;

/// How bodies of inserts are compressed. See the figures in the `compression` module's documentation:
/// on one machine none is cheapest; over a network LZ4 costs little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// ClickHouse's own frames with LZ4, which every version takes.
    Lz4,
    /// ClickHouse's own frames with ZSTD at level 1.
    Zstd,
}

/// How `https` servers are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Trusts any certificate of any host. Anyone on the way can then read and change everything.
    pub accept_any_certificate: bool,
}

/// How to reach ClickHouse.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The replicas' HTTP addresses, all of one cluster: every one has every table.
    pub urls: Vec<Url>,
    /// The database that unqualified names mean.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// Trust.
    pub tls: TlsOptions,
    /// What inserts do.
    pub compression: Compression,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take from the first byte sent to the last byte read.
    pub request_timeout: Duration,
    /// The longest answer that is read, in bytes. A longer one is a fault.
    pub answer_max_bytes: usize,
    /// ClickHouse settings for every insert (`insert_quorum`, say). The settings that exactly-once
    /// rests on cannot be among them.
    pub insert_settings: Vec<(String, String)>,
}

impl ClientOptions {
    /// One server, database `default`, no compression, 10 s to connect, 240 s a request, answers up to
    /// 64 MiB.
    #[must_use]
    pub fn new(url: Url, user: impl Into<String>, password: Secret) -> Self {
        Self {
            urls: vec![url],
            database: "default".to_owned(),
            user: user.into(),
            password,
            tls: TlsOptions::default(),
            compression: Compression::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(240),
            answer_max_bytes: 64 << 20,
            insert_settings: Vec::new(),
        }
    }
}

/// The options do not make a client.
#[derive(Debug, Error)]
pub enum BuildError {
    /// There is nowhere to go.
    #[error("no address of a ClickHouse server is stated")]
    NoUrl,
    /// Not an address of an HTTP interface.
    #[error(
        "`{}` is not an address of ClickHouse; expected `http://host:8123` or `https://host:8443`, without user, query and fragment",
        Shown(url)
    )]
    Url {
        /// The address.
        url: Box<Url>,
    },
    /// A user or password that cannot stand in an HTTP header.
    #[error("the {what} holds a character that an HTTP header cannot")]
    Header {
        /// Which of them.
        what: &'static str,
    },
    /// A setting that the client itself decides.
    #[error("the insert setting `{name}` is not free: exactly-once delivery rests on it")]
    ReservedSetting {
        /// The setting.
        name: String,
    },
    /// The CA file cannot be read.
    #[error("certificate authorities `{}`", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The CA file holds something else, or the system's TLS cannot be set up.
    #[error("TLS")]
    Tls(#[source] reqwest::Error),
}

/// An address without what it may carry of a secret.
pub(crate) struct Shown<'a>(pub(crate) &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or("?"))?;
        match self.0.port_or_known_default() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
