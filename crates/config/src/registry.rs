//! How a schema registry is reached.

use std::path::PathBuf;

use crate::scalar::{RegistryUrl, Secret};
use tidegate_yaml::section;

section! {
    /// The schema registry that records name their schemas in: Confluent's, Tidegate's or any other that
    /// speaks the same API.
    pub struct SchemaRegistry as "`registry`" {
        /// Its instances' addresses, each with a path if it stands beneath one; the next one is asked when one fails.
        urls: Vec<RegistryUrl>;
        /// The user, if it asks for one (Basic authentication).
        user: Option<String>;
        /// The password.
        password: Secret = "";
        /// What to trust when an address begins with `https://`.
        tls: Option<RegistryTls>;
    }
}

section! {
    /// TLS towards the registry.
    pub struct RegistryTls as "`registry.tls`" {
        /// The certificate authorities to trust (PEM), besides the system's.
        ca: Option<PathBuf>;
        /// Whether certificates and host names are verified.
        verify: bool = "true";
    }
}
