//! How to reach a Kafka cluster, and the one place where it becomes librdkafka's properties.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use thiserror::Error;

/// A text that is never printed, logged or compared in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A user with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How the client proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sasl {
    /// It does not, or by its TLS certificate.
    #[default]
    None,
    /// SASL PLAIN: the password itself; use it over TLS.
    Plain(Credentials),
    /// SASL SCRAM-SHA-256.
    ScramSha256(Credentials),
    /// SASL SCRAM-SHA-512.
    ScramSha512(Credentials),
}

/// Whether the broker's certificate is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    /// The chain and the host name.
    #[default]
    Full,
    /// Nothing: whoever answers is believed. Only for tests.
    Off,
}

/// TLS to the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file of the authorities to trust; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, a PEM file.
    pub certificate_file: Option<PathBuf>,
    /// The client's key, a PEM file.
    pub key_file: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<Secret>,
    /// Whether the broker's certificate is checked.
    pub verification: Verification,
}

/// A Kafka cluster, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `host:port` of one or more brokers to start from.
    pub brokers: Vec<String>,
    /// Authentication.
    pub sasl: Sasl,
    /// Encryption; plain TCP if absent.
    pub tls: Option<Tls>,
    /// What brokers call this client in their logs and quotas.
    pub client_id: String,
    /// Further librdkafka properties, except those that this crate sets itself.
    pub extra: BTreeMap<String, String>,
}

/// The options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// No broker is named.
    #[error("no Kafka broker is named; expected at least one `host:port`")]
    NoBroker,
    /// A property that belongs to this crate.
    #[error("Kafka property `{property}` is set by Tidegate itself: {instead}")]
    Owned {
        /// The property.
        property: String,
        /// What to do in its place.
        instead: &'static str,
    },
    /// librdkafka refuses a property or its value.
    #[error("Kafka property `{property}`: {reason}")]
    Property {
        /// The property.
        property: String,
        /// librdkafka's text. Never a secret.
        reason: String,
    },
    /// librdkafka refuses the properties together, or cannot start.
    #[error("Kafka client: {reason}")]
    Client {
        /// librdkafka's text.
        reason: String,
    },
}

/// Properties that decide what is promised to the pipeline, or that carry secrets.
const OWNED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "topics are created with their settings, never by accident"),
    ("auto.commit.interval.ms", "offsets are committed by the delivery protocol"),
    ("auto.offset.reset", "use the source's `reset`"),
    ("bootstrap.servers", "use `brokers`"),
    ("client.id", "use `client_id`"),
    ("compression.codec", "use the producer's `compression`"),
    ("compression.type", "use the producer's `compression`"),
    ("enable.auto.commit", "offsets are committed by the delivery protocol"),
    ("enable.auto.offset.store", "offsets are committed by the delivery protocol"),
    ("enable.idempotence", "producers are always idempotent"),
    ("enable.partition.eof", "the source needs it"),
    ("enable.ssl.certificate.verification", "use `tls.verification`"),
    ("fetch.max.bytes", "use the source's `buffered_bytes_max`"),
    ("group.id", "use the subscription's `group`"),
    ("group.instance.id", "use the source's `instance_id`"),
    ("group.protocol", "the source relies on the classic protocol"),
    ("isolation.level", "only committed records are read"),
    ("log.queue", "logging is wired up by the client"),
    ("message.max.bytes", "a dead letter may be as large as its record"),
    ("metadata.broker.list", "use `brokers`"),
    ("partition.assignment.strategy", "use the source's `strategy`"),
    ("queued.max.messages.kbytes", "use the source's `buffered_bytes_max`"),
    ("sasl.mechanism", "use `sasl`"),
    ("sasl.mechanisms", "use `sasl`"),
    ("sasl.password", "use `sasl`"),
    ("sasl.username", "use `sasl`"),
    ("security.protocol", "it follows from `sasl` and `tls`"),
    ("ssl.ca.location", "use `tls.ca_file`"),
    ("ssl.certificate.location", "use `tls.certificate_file`"),
    ("ssl.endpoint.identification.algorithm", "use `tls.verification`"),
    ("ssl.key.location", "use `tls.key_file`"),
    ("ssl.key.password", "use `tls.key_password`"),
    ("statistics.interval.ms", "the source needs it"),
    ("transaction.timeout.ms", "dead letters decide it"),
    ("transactional.id", "use the dead-letter topic's `transactional_id`"),
];

impl KafkaOptions {
    /// Plain TCP to these brokers.
    #[must_use]
    pub fn new(brokers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            brokers: brokers.into_iter().map(Into::into).collect(),
            sasl: Sasl::None,
            tls: None,
            client_id: "tidegate".to_owned(),
            extra: BTreeMap::new(),
        }
    }

    /// Checks what can be checked without a connection.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn check(&self) -> Result<(), OptionsError> {
        self.client_config()?.create_native_config().map(drop).map_err(|error| OptionsError::of(&error))
    }

    /// The brokers as messages name them.
    pub(crate) fn address(&self) -> String {
        self.brokers.join(",")
    }

    /// What every client of this cluster has in common.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, OptionsError> {
        if self.brokers.iter().all(|broker| broker.trim().is_empty()) {
            return Err(OptionsError::NoBroker);
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", self.address());
        config.set("client.id", &self.client_id);
        // The clusters that matter are near; without these a lost broker is noticed after a minute.
        config.set("socket.timeout.ms", "30000");
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "2000");
        for (property, value) in &self.extra {
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| owned == property) {
                return Err(OptionsError::Owned { property: property.clone(), instead });
            }
            config.set(property, value);
        }
        self.set_security(&mut config);
        Ok(config)
    }

    fn set_security(&self, config: &mut ClientConfig) {
        let (mechanism, credentials) = match &self.sasl {
            Sasl::None => (None, None),
            Sasl::Plain(credentials) => (Some("PLAIN"), Some(credentials)),
            Sasl::ScramSha256(credentials) => (Some("SCRAM-SHA-256"), Some(credentials)),
            Sasl::ScramSha512(credentials) => (Some("SCRAM-SHA-512"), Some(credentials)),
        };
        let protocol = match (&self.tls, mechanism) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let (Some(mechanism), Some(credentials)) = (mechanism, credentials) {
            config.set("sasl.mechanism", mechanism);
            config.set("sasl.username", &credentials.user);
            config.set("sasl.password", &credentials.password.0);
        }
        let Some(tls) = &self.tls else { return };
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.certificate_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (property, file) in files {
            if let Some(file) = file {
                config.set(property, file.to_string_lossy());
            }
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", &password.0);
        }
        match tls.verification {
            Verification::Full => {}
            Verification::Off => {
                config.set("enable.ssl.certificate.verification", "false");
                config.set("ssl.endpoint.identification.algorithm", "none");
            }
        }
    }
}

impl OptionsError {
    /// What librdkafka said when a client was built. The value is left out: it may be a secret.
    pub(crate) fn of(error: &KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, reason, property, _) => {
                Self::Property { property: property.clone(), reason: reason.clone() }
            }
            other => Self::Client { reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secretive() -> KafkaOptions {
        let mut options = KafkaOptions::new(["k1:9092", "k2:9092"]);
        let password = Secret::new("hunter2");
        options.sasl = Sasl::ScramSha512(Credentials { user: "u".to_owned(), password });
        options.tls = Some(Tls { key_password: Some(Secret::new("hunter2")), ..Tls::default() });
        options
    }

    #[test]
    fn sasl_and_tls_decide_the_security_protocol() {
        let config = secretive().client_config().unwrap();
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(config.get("bootstrap.servers"), Some("k1:9092,k2:9092"));
        let plain = KafkaOptions::new(["k:9092"]).client_config().unwrap();
        assert_eq!(plain.get("security.protocol"), Some("plaintext"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", secretive()).contains("hunter2"));
    }

    #[test]
    fn a_property_that_decides_the_promise_is_refused() {
        let mut options = KafkaOptions::new(["k:9092"]);
        options.extra.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
        let error = options.check().unwrap_err();
        assert!(
            matches!(&error, OptionsError::Owned { property, .. } if property == "isolation.level"),
            "{error}"
        );
        assert_eq!(KafkaOptions::new([""; 0]).check(), Err(OptionsError::NoBroker));
    }

    #[test]
    fn an_unknown_property_is_named_and_its_value_is_not() {
        let mut options = KafkaOptions::new(["k:9092"]);
        options.extra.insert("no.such.property".to_owned(), "hunter2".to_owned());
        let error = options.check().unwrap_err();
        assert!(matches!(&error, OptionsError::Property { property, .. } if property == "no.such.property"));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn the_owned_properties_are_sorted_and_distinct() {
        assert!(OWNED.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
