//! A modern ClickHouse, run as a supervised child process of the product's own executable.
//!
//! ```text
//! product --Engine::start--> the same executable with ENGINE_CHILD_ARG: loads libchdb.so,
//!    |                       runs `clickhouse local` with HTTP (and native TCP) listeners
//!    '-- holds a pipe and a pseudo-terminal; if it lets go, or dies, the engine stops
//! ```
//!
//! Everyone talks ordinary ClickHouse HTTP to it, so the sink has one code path. Start with [`Engine`];
//! [`run_child`] is the other half. The engine listens on 127.0.0.1 only.

mod child;
mod confine;
mod credentials;
mod engine;
mod folder;
mod launch;
mod library;
mod probe;
mod release;
mod server_config;

pub use child::{ENGINE_CHILD_ARG, run_child, run_child_if_asked};
pub use confine::possible as can_confine;
pub use credentials::{Credentials, CredentialsError};
pub use engine::{Engine, EngineState, EngineWatch, StopError};
pub use launch::StartError;
pub use library::{EngineLibrary, LIBRARY_ENV, LibraryError};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How an engine is to run.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Everything that the engine keeps: data, generated configuration, credentials, logs. Created with
    /// mode 0700 if absent; one engine a folder.
    pub data_dir: PathBuf,
    /// Where HTTP listens. 127.0.0.1 only; port 0 picks a free port, which stays for the engine's life.
    pub http: SocketAddr,
    /// Where the native protocol listens, under the same rules. `None`, the default, keeps it shut.
    pub tcp: Option<SocketAddr>,
    /// The ClickHouse to run.
    pub library: EngineLibrary,
    /// What the server may allocate, in bytes (`max_server_memory_usage`). Queries beyond it fail with
    /// code 241; the process itself needs about 200 MB more for its code.
    pub memory_max_bytes: u64,
    /// Who may log in.
    pub users: EngineUsers,
    /// Makes acknowledged inserts survive a power loss, not only a crash: every part is fsynced, which
    /// about halves the rate of small inserts.
    pub power_loss_safe: bool,
    /// The program that calls [`run_child`], and its first arguments. Default: the running executable.
    pub program: Program,
    /// How long a start may take until the engine answers, and how long a predecessor that is just
    /// stopping may hold the data folder.
    pub start_timeout: Duration,
}

impl EngineOptions {
    /// 2 GiB, no native listener, no BI user, a free port, 60 s to start.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, library: EngineLibrary) -> Self {
        Self {
            data_dir: data_dir.into(),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tcp: None,
            library,
            memory_max_bytes: 2 << 30,
            users: EngineUsers::default(),
            power_loss_safe: false,
            program: Program::default(),
            start_timeout: Duration::from_secs(60),
        }
    }
}

/// Who may log in to the engine.
#[derive(Debug, Clone)]
pub struct EngineUsers {
    /// The name of the user that owns everything. Its password is random and kept, mode 0600, in the
    /// data folder.
    pub pipeline: String,
    /// A user that can only read, for BI tools.
    pub bi: Option<BiUser>,
}

impl Default for EngineUsers {
    fn default() -> Self {
        Self { pipeline: "tidegate".to_owned(), bi: None }
    }
}

/// A user that reads every database but `default`, which overlays the file system. It can write nothing,
/// raise none of its limits, and see none of the machine's files. Its password is random and kept beside
/// the pipeline's.
#[derive(Debug, Clone)]
pub struct BiUser {
    /// The user's name.
    pub name: String,
}

/// The program that becomes the engine's process.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The executable; `None` is the running one.
    pub path: Option<PathBuf>,
    /// What stands before [`ENGINE_CHILD_ARG`] on its command line.
    pub first_args: Vec<String>,
}

impl Program {
    /// A test binary as the engine's program: `test` names an ignored test of it that does nothing but
    /// call [`run_child_if_asked`].
    #[must_use]
    pub fn of_test(test: &str) -> Self {
        let first_args = [test, "--exact", "--ignored", "--nocapture", "--"].map(str::to_owned).to_vec();
        Self { path: None, first_args }
    }
}
