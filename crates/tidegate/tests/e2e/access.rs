//! `tidegate up` where other machines can reach it: encrypted, with passwords, or not at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_broker::Tls as BrokerTls;
use tidegate_clickhouse::{Client, ClientOptions, Secret, TlsOptions, Url};
use tidegate_kafka::{
    Credentials, KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, Sasl, Tls, TopicSpec,
    Verification,
};

use crate::process::{PATIENCE, Process, eventually, get, text, tidegate};
use crate::stack::{command, of};
use crate::world::engine_is_there;

/// How long a door that should stay shut is pushed.
const PUSH: Duration = Duration::from_secs(3);

/// A certificate for this machine.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    BrokerTls::self_signed(folder, &["localhost", "127.0.0.1"]).unwrap();
    (folder.join("certificate.pem"), folder.join("key.pem"))
}

/// `up` on all addresses, with more flags.
async fn up(data: &Path, flags: &[&str]) -> (Process, Value) {
    let mut args = command(data, None);
    args.extend(["--listen", "0.0.0.0"]);
    args.extend(flags);
    let mut process = Process::start(args);
    let line = process.json_line().await;
    (process, line)
}

/// The address as a client on this machine reaches it.
fn here(line: &Value, field: &str) -> String {
    of(line, field).replace("0.0.0.0", "127.0.0.1")
}

fn login(line: &Value, what: &str) -> (String, String) {
    let logins = line["logins"].as_array().unwrap();
    let login = logins.iter().find(|login| login["what"].as_str().unwrap().starts_with(what)).unwrap();
    (of(login, "user").to_owned(), of(login, "password").to_owned())
}

fn clickhouse(address: &str, user: &str, password: &str, ca: Option<&Path>) -> Client {
    let mut url = Url::parse(address).unwrap();
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    let mut options = ClientOptions::new(url, user, Secret::new(password));
    options.tls = TlsOptions { ca_file: ca.map(Path::to_owned), accept_any_certificate: false };
    Client::new(options).unwrap()
}

fn kafka(address: &str, login: Option<(String, String)>, ca: Option<&Path>) -> KafkaOptions {
    let mut options = KafkaOptions::new([address]);
    options.tls = ca.map(|ca| Tls {
        ca_file: Some(ca.to_owned()),
        certificate_file: None,
        key_file: None,
        key_password: None,
        verification: Verification::Full,
    });
    if let Some((user, password)) = login {
        let password = tidegate_kafka::Secret::new(password);
        options.sasl = Sasl::ScramSha512(Credentials { user, password });
    }
    options
}

/// Whether a client with these options learns anything.
async fn let_in(options: &KafkaOptions) -> bool {
    let admin = KafkaAdmin::connect(options).unwrap();
    matches!(tokio::time::timeout(PUSH, admin.topics()).await, Ok(Ok(_)))
}

/// The status code of `GET path`, encrypted.
fn get_encrypted(address: &str, path: &str, token: Option<&str>, ca: &Path) -> (u16, String) {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_ca_file(ca).unwrap();
    let address = address.trim_start_matches("https://");
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = connector.build().connect("127.0.0.1", stream).unwrap();
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{token}\r\n").unwrap();
    let mut answer = String::new();
    // How a peer closes its side of TLS is not what is asked here.
    let _ = stream.read_to_string(&mut answer);
    let code = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    (code, answer)
}

/// Lets the owner and the reader in, and nobody else. Gives the reader.
async fn clickhouse_asks(line: &Value, certificate: &Path) -> Client {
    let ca = Some(certificate);
    assert!(of(line, "clickhouse").starts_with("https://"), "{line}");
    let (user, password) = login(line, "ClickHouse, everything");
    let address = here(line, "clickhouse");
    let owner = clickhouse(&address, &user, &password, ca);
    owner.execute("CREATE TABLE tidegate.events (n UInt64) ENGINE = MergeTree ORDER BY n").await.unwrap();
    let (reader, reading) = login(line, "ClickHouse, reading");
    let reader = clickhouse(&address, &reader, &reading, ca);
    assert_eq!(reader.query("SELECT count() FROM tidegate.events").await.unwrap().trim(), "0");
    assert!(reader.execute("DROP TABLE tidegate.events").await.is_err());
    assert!(clickhouse(&address, &user, "wrong", ca).query("SELECT 1").await.is_err());
    assert!(clickhouse(&address, "default", "", ca).query("SELECT 1").await.is_err());
    assert!(
        clickhouse(&address, &user, &password, None).query("SELECT 1").await.is_err(),
        "an unknown authority"
    );
    let plain = address.replacen("https", "http", 1);
    assert!(clickhouse(&plain, &user, &password, None).query("SELECT 1").await.is_err(), "no TLS");
    reader
}

/// Lets the user in, and nobody else; what it sends goes through the connector, which is let in too.
async fn kafka_asks(line: &Value, certificate: &Path, reader: &Client) {
    let ca = Some(certificate);
    let address = here(line, "kafka");
    let known = login(line, "Kafka");
    let pushes = [
        kafka(&address, None, None),
        kafka(&address, None, ca),
        kafka(&address, Some(known.clone()), None),
        kafka(&address, Some((known.0.clone(), "wrong".to_owned())), ca),
    ]
    .map(|shut| tokio::spawn(async move { (let_in(&shut).await, shut) }));
    for push in pushes {
        let (open, shut) = push.await.unwrap();
        assert!(!open, "{shut:?}");
    }
    let options = kafka(&address, Some(known), ca);
    KafkaAdmin::connect(&options).unwrap().ensure_topic(&TopicSpec::new("events", 1)).await.unwrap();
    let producer = KafkaProducer::connect(&options, &ProducerOptions::default()).unwrap();
    producer
        .send(&Outgoing { topic: "events", value: Some(br#"{"n":1}"#), ..Outgoing::default() })
        .await
        .unwrap();
    assert_eq!(producer.flush(PATIENCE).await.unwrap().failed, 0);
    eventually(async || match reader.query("SELECT count() FROM tidegate.events").await {
        Ok(count) if count.trim() == "1" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Lets who has the token in.
fn the_interface_asks(line: &Value, certificate: &Path) {
    let address = here(line, "api");
    let (_, token) = login(line, "Tidegate");
    for (path, token, code) in [
        ("/health", None, 200),
        ("/metrics", None, 401),
        ("/api/v1/status", None, 401),
        ("/api/v1/status", Some("wrong"), 401),
        ("/api/v1/status", Some(token.as_str()), 200),
        ("/metrics", Some(token.as_str()), 200),
    ] {
        let (told, answer) = get_encrypted(&address, path, token, certificate);
        assert_eq!(told, code, "{path}: {answer}");
    }
    assert!(get(&address.replacen("https", "http", 1), "/health").is_err(), "no TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_come_in_encrypted_and_with_a_password_only() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path());
    let data = folder.path().join("data");
    let config = folder.path().join("up.yaml");
    std::fs::write(
        &config,
        "connectors:\n  - {name: c, topics: [events], table: events, halt_when: never}\n",
    )
    .unwrap();
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key), "--config", text(&config)];
    let (process, line) = up(&data, &tls).await;

    let reader = clickhouse_asks(&line, &certificate).await;
    kafka_asks(&line, &certificate, &reader).await;
    the_interface_asks(&line, &certificate);
    let asked = tidegate(["status", "--data-dir", text(&data), "--output", "json"]).await.json();
    assert_eq!(asked["machine"]["problems"], serde_json::json!([]), "{asked}");
    process.stop().await;

    // Shown once.
    let (user, password) = login(&line, "ClickHouse, everything");
    let (process, line) = up(&data, &tls[..4]).await;
    assert_eq!(line.get("logins"), None, "{line}");
    assert_eq!(
        clickhouse(&here(&line, "clickhouse"), &user, &password, Some(&certificate))
            .query("SELECT 1")
            .await
            .unwrap()
            .trim(),
        "1"
    );
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_the_passwords_stay() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (process, line) = up(folder.path(), &["--insecure"]).await;
    let (user, password) = login(&line, "ClickHouse, everything");
    let address = here(&line, "clickhouse");
    assert_eq!(clickhouse(&address, &user, &password, None).query("SELECT 1").await.unwrap().trim(), "1");
    assert!(clickhouse(&address, "default", "", None).query("SELECT 1").await.is_err());
    assert!(!let_in(&kafka(&here(&line, "kafka"), None, None)).await);
    assert!(let_in(&kafka(&here(&line, "kafka"), Some(login(&line, "Kafka")), None)).await);
    assert_eq!(get(&here(&line, "api"), "/metrics").unwrap().0, 401);
    assert_eq!(get(&here(&line, "api"), "/health").unwrap().0, 200);
    process.stop().await;
}
