//! Who gets in, and how.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener, Tls, Users};

use crate::client::{WAIT, config, consumer, produce, read};

/// A client that is served is so long before.
const SERVED_IN: Duration = Duration::from_secs(3);

/// A broker with three doors: open on loopback, SASL on loopback, TLS and SASL.
struct Guarded {
    broker: Broker,
    directory: TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = Tls::self_signed(&directory.path().join("tls"), &["localhost", "127.0.0.1"]).unwrap();
        let users = Users::open(&directory.path().join("users.json")).unwrap();
        users.set("alice", "open, sesame=").unwrap();
        let mut options = BrokerOptions::new(directory.path().join("kafka"), Listener::loopback(0));
        options.listeners.push(Listener::loopback(0).with_sasl());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        options.listeners.push(Listener::guarded(address, tls));
        options.users = users;
        let broker = Broker::start(options).await.unwrap();
        Self { broker, directory }
    }

    fn open(&self) -> SocketAddr {
        self.broker.addresses()[0]
    }

    fn sasl(&self, mechanism: &str, password: &str) -> ClientConfig {
        let mut config = config(self.broker.addresses()[1]);
        with_password(&mut config, "sasl_plaintext", mechanism, password);
        config
    }

    fn tls(&self, mechanism: &str, password: &str) -> ClientConfig {
        let mut config = config(self.broker.addresses()[2]);
        with_password(&mut config, "sasl_ssl", mechanism, password);
        config.set("ssl.ca.location", self.authority().to_str().unwrap());
        config
    }

    fn authority(&self) -> PathBuf {
        self.directory.path().join("tls/certificate.pem")
    }
}

fn with_password(config: &mut ClientConfig, protocol: &str, mechanism: &str, password: &str) {
    config.set("security.protocol", protocol).set("sasl.mechanism", mechanism);
    config.set("sasl.username", "alice").set("sasl.password", password);
}

/// Keeps the errors that librdkafka tells beside its answers.
struct Heard {
    errors: std::sync::mpsc::Sender<RDKafkaErrorCode>,
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, _reason: &str) {
        let _ = self.errors.send(error.rdkafka_error_code().unwrap());
    }
}

impl ConsumerContext for Heard {}

/// Whether the client gets an answer; else the first error that it tells, which is the cause of others.
fn answered(config: &ClientConfig) -> Result<(), RDKafkaErrorCode> {
    let (errors, heard) = std::sync::mpsc::channel();
    let client: BaseConsumer<Heard> = config.create_with_context(Heard { errors }).unwrap();
    let deadline = std::time::Instant::now() + WAIT;
    loop {
        match client.fetch_metadata(None, Duration::from_millis(250)) {
            Ok(_) => return Ok(()),
            Err(error) => assert!(std::time::Instant::now() < deadline, "no verdict in time: {error}"),
        }
        client.poll(Duration::ZERO);
        if let Ok(code) = heard.try_recv() {
            return Err(code);
        }
    }
}

/// Whether the client gets no answer. librdkafka says of a connection that is closed nothing but that.
fn unanswered(config: &ClientConfig) -> bool {
    let client: BaseConsumer = config.create().unwrap();
    client.fetch_metadata(None, SERVED_IN).is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mechanism_lets_the_right_password_in_and_no_other() {
    let guarded = Guarded::start().await;
    tokio::task::spawn_blocking(move || {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(answered(&guarded.sasl(mechanism, "open, sesame=")), Ok(()), "{mechanism}");
            assert_eq!(answered(&guarded.tls(mechanism, "open, sesame=")), Ok(()), "{mechanism} with tls");
            let refused = Err(RDKafkaErrorCode::Authentication);
            assert_eq!(answered(&guarded.sasl(mechanism, "sesame")), refused, "{mechanism}");
            let mut stranger = guarded.tls(mechanism, "open, sesame=");
            stranger.set("sasl.username", "mallory");
            assert_eq!(answered(&stranger), refused, "{mechanism} with tls, unknown name");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_wrong_protocol_are_refused_and_others_served() {
    let guarded = Guarded::start().await;
    tokio::task::spawn_blocking(move || {
        let mut plain_to_tls = guarded.tls("PLAIN", "open, sesame=");
        plain_to_tls.set("security.protocol", "sasl_plaintext");
        assert!(unanswered(&plain_to_tls));

        let mut tls_to_plain = config(guarded.open());
        tls_to_plain.set("security.protocol", "ssl");
        assert!(unanswered(&tls_to_plain));

        let mut without_sasl = guarded.tls("PLAIN", "");
        without_sasl.set("security.protocol", "ssl");
        assert!(unanswered(&without_sasl));

        let mut untrusting = guarded.tls("PLAIN", "open, sesame=");
        untrusting.remove("ssl.ca.location");
        assert!(unanswered(&untrusting));

        assert_eq!(answered(&config(guarded.open())), Ok(()));
        assert_eq!(answered(&guarded.tls("PLAIN", "open, sesame=")), Ok(()));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_in_through_one_door_and_out_through_another() {
    let guarded = Guarded::start().await;
    tokio::task::spawn_blocking(move || {
        let producer = guarded.tls("SCRAM-SHA-512", "open, sesame=").create().unwrap();
        let large = "x".repeat(700_000);
        produce(&producer, "t", &["a", &large, "b"]);
        let reader = consumer(guarded.open());
        let mut places = TopicPartitionList::new();
        places.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        reader.assign(&places).unwrap();
        assert_eq!(read(&reader, 3), ["a", &large, "b"]);
        let mut again = guarded.tls("SCRAM-SHA-256", "open, sesame=");
        let again: BaseConsumer = again.set("group.id", "tls").create().unwrap();
        again.assign(&places).unwrap();
        assert_eq!(read(&again, 3), ["a", &large, "b"]);
    })
    .await
    .unwrap();
}
