//! How ClickHouse is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::scalar::{HttpUrl, Identifier, Secret};
use tidegate_yaml::{choice, section};

section! {
    /// How ClickHouse is reached: over HTTP.
    pub struct ClickHouse as "`clickhouse`" {
        /// The replicas' HTTP addresses; the next one is tried when one fails.
        urls: Vec<HttpUrl>;
        /// The database of connectors that name none.
        database: Identifier = "default";
        /// The user.
        user: String = "default";
        /// The password.
        password: Secret = "";
        /// What to trust when an address begins with `https://`.
        tls: Option<ClickHouseTls>;
        /// How blocks are compressed on their way.
        compression: Compression = "lz4";
        /// ClickHouse settings sent with every insert, by ClickHouse's names. Those that the delivery
        /// protocol sets are refused.
        settings: BTreeMap<String, Secret> = "{}";
    }
}

section! {
    /// TLS towards ClickHouse.
    pub struct ClickHouseTls as "`clickhouse.tls`" {
        /// The certificate authorities to trust (PEM), besides the system's.
        ca: Option<PathBuf>;
        /// Whether certificates and host names are verified.
        verify: bool = "true";
    }
}

choice! {
    /// A block's compression on its way to ClickHouse.
    pub enum Compression {
        /// As it is: for a server on the same machine.
        None => "none",
        /// Fast.
        Lz4 => "lz4",
        /// Small: for a network that costs money.
        Zstd => "zstd",
    }
}
