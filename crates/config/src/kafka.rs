//! How Kafka is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::scalar::{Broker, Secret};
use tidegate_yaml::{choice, section};

section! {
    /// How Kafka is reached. With `tls` the connection is encrypted, with `sasl` it is authenticated.
    pub struct Kafka as "`kafka`" {
        /// The brokers to ask first, `host:port` each; the rest of the cluster is learnt from them.
        brokers: Vec<Broker>;
        /// User and password.
        sasl: Option<Sasl>;
        /// Encryption; an empty mapping takes the system's certificate authorities.
        tls: Option<KafkaTls>;
        /// Properties of librdkafka that this file has no key for, by librdkafka's names. Those that
        /// the delivery protocol sets are refused.
        properties: BTreeMap<String, Secret> = "{}";
    }
}

section! {
    /// SASL authentication.
    pub struct Sasl as "`sasl`" {
        /// The mechanism.
        mechanism: Mechanism;
        /// The user.
        user: String;
        /// The password.
        password: Secret;
    }
}

section! {
    /// TLS towards the brokers. All files are PEM.
    pub struct KafkaTls as "`kafka.tls`" {
        /// The certificate authorities to trust, instead of the system's.
        ca: Option<PathBuf>;
        /// The client's certificate, for brokers that ask for one.
        certificate: Option<PathBuf>;
        /// The client's private key.
        key: Option<PathBuf>;
        /// The private key's password.
        key_password: Option<Secret>;
        /// Whether certificates and host names are verified.
        verify: bool = "true";
    }
}

choice! {
    /// A SASL mechanism.
    pub enum Mechanism {
        /// The password as it is; only sensible over TLS.
        Plain => "plain",
        /// SCRAM with SHA-256.
        ScramSha256 => "scram-sha-256",
        /// SCRAM with SHA-512.
        ScramSha512 => "scram-sha-512",
    }
}
