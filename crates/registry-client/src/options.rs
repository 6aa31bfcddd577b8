//! How a client reaches its registry.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use thiserror::Error;

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How `https` registries are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Trusts any certificate of any host. Anyone on the way can then read and change everything.
    pub accept_any_certificate: bool,
}

/// How to reach a registry.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The addresses of its instances, which all have the same schemas.
    pub urls: Vec<Url>,
    /// User and password, sent as Basic authentication.
    pub login: Option<(String, Secret)>,
    /// Trust.
    pub tls: TlsOptions,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// The longest answer that is read, in bytes.
    pub answer_max_bytes: usize,
}

impl RegistryOptions {
    /// One instance, nobody logged in, 15 s a request, answers up to 32 MiB.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            urls: vec![url],
            login: None,
            tls: TlsOptions::default(),
            request_timeout: Duration::from_secs(15),
            answer_max_bytes: 32 << 20,
        }
    }
}

/// The options do not make a client.
#[derive(Debug, Error)]
pub enum BuildError {
    /// There is nowhere to go.
    #[error("no address of a schema registry is stated")]
    NoUrl,
    /// Not an address of a registry.
    #[error("expected `http://host:8081` or `https://host:8081` without user, query and fragment")]
    Url,
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
