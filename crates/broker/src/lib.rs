//! A durable single-node broker behind the real Kafka protocol.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

#[expect(warnings, reason = "replaced module by module")]
mod prototype;

/// When a record that is acknowledged is on the disk, not only in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// The operating system decides: `kill -9` loses nothing, a power cut may.
    #[default]
    Never,
    /// Before every acknowledgement.
    EveryAppend,
}

/// A name and a password that SASL PLAIN accepts.
#[derive(Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// What a broker is told when it starts.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Where everything is kept; one process at a time.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients are told to connect to, if that is not the address listened on.
    pub advertised: Option<(String, u16)>,
    /// See [`Fsync`].
    pub fsync: Fsync,
    /// Who may connect; empty: everyone, without SASL.
    pub users: Vec<User>,
    /// How many partitions a topic gets that does not say.
    pub default_partitions: i32,
    /// Whether a topic is created when a client asks for its metadata.
    pub auto_create_topics: bool,
}

impl BrokerOptions {
    /// One partition a topic, topics created on demand, everyone may connect.
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen,
            advertised: None,
            fsync: Fsync::Never,
            users: Vec::new(),
            default_partitions: 1,
            auto_create_topics: true,
        }
    }
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A running broker. Dropping it stops it; [`Broker::stop`] waits until it has stopped.
pub struct Broker {
    running: prototype::Broker,
}

impl Broker {
    /// Opens the data directory, repairs what a crash left, and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: BrokerOptions) -> Result<Self, StartError> {
        let address = options.listen;
        let started = prototype::Broker::start(
            &address.to_string(),
            prototype::Options {
                dir: Some(options.data_dir),
                fsync: options.fsync == Fsync::EveryAppend,
                default_partitions: options.default_partitions,
                no_auto_create: !options.auto_create_topics,
                users: options.users.into_iter().map(|user| (user.name, user.password)).collect(),
                cleaner_ms: 500,
            },
        );
        let running = started.map_err(|source| StartError::Listen { address, source })?;
        Ok(Self { running })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.running.addr()
    }

    /// Stops accepting, and returns when everything that was acknowledged is written.
    pub async fn stop(self) {
        drop(self.running);
    }
}
