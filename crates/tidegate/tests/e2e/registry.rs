//! `tidegate registry`: Confluent's API over a topic of any Kafka.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};

use crate::process::{Process, ask, get, text};
use crate::world::World;

async fn start(world: &World) -> (Process, String) {
    let broker = world.broker();
    let args = ["registry", "--alone", "--bootstrap", &broker, "--listen", "127.0.0.1:0", "--output", "json"];
    let mut registry = Process::start(args);
    let at = registry.json_line().await["registry"].as_str().unwrap().to_owned();
    (registry, at)
}

fn schema(fields: &Value) -> String {
    let schema = json!({"type": "record", "name": "Order", "fields": fields}).to_string();
    json!({ "schema": schema }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_outlives_a_killed_registry_and_guards_what_comes_after() {
    let Some(world) = World::start().await else { return };
    let (mut registry, at) = start(&world).await;
    let first = schema(&json!([{"name": "id", "type": "long"}]));
    let (status, body) = ask(&at, "POST", "/subjects/orders-value/versions", &first).unwrap();
    assert_eq!(status, 200, "{body}");
    let id = serde_json::from_str::<Value>(&body).unwrap()["id"].clone();
    registry.kill();

    let (registry, at) = start(&world).await;
    let (status, body) = get(&at, &format!("/schemas/ids/{id}")).unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("Order"), "{body}");
    let without_default = schema(&json!([{"name": "id", "type": "long"}, {"name": "sum", "type": "int"}]));
    let (status, body) = ask(&at, "POST", "/subjects/orders-value/versions", &without_default).unwrap();
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{body}");
    let (status, body) = get(&at, "/subjects/orders-value/versions").unwrap();
    assert_eq!((status, body.as_str()), (200, "[1]"));
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_single_machine_has_a_registry_that_keeps_what_it_was_told() {
    if !crate::world::engine_is_there() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let (up, line) = crate::stack::up(folder.path()).await;
    let at = crate::stack::of(&line, "registry");
    let schema =
        json!({"schema": "syntax = \"proto3\"; message A { int32 n = 1; }", "schemaType": "PROTOBUF"});
    let (status, body) = ask(at, "POST", "/subjects/a-value/versions", &schema.to_string()).unwrap();
    assert_eq!(status, 200, "{body}");
    up.stop().await;
    let (up, line) = crate::stack::up(folder.path()).await;
    let (status, body) = get(crate::stack::of(&line, "registry"), "/schemas/ids/1/schema").unwrap();
    assert_eq!((status, body.as_str()), (200, "syntax = \"proto3\";\n\nmessage A {\n  int32 n = 1;\n}\n"));
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_killed_while_registering_has_lost_nothing_that_it_acknowledged() {
    let Some(world) = World::start().await else { return };
    let (mut registry, at) = start(&world).await;
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let at = at.clone();
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let name = format!("R{worker}x{n}");
                    let schema = json!({"type": "record", "name": name, "fields": []}).to_string();
                    let body = json!({ "schema": schema }).to_string();
                    match ask(&at, "POST", &format!("/subjects/{name}/versions"), &body) {
                        Ok((200, body)) => {
                            let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_u64().unwrap();
                            acknowledged.push((name, id));
                        }
                        Ok(_) | Err(_) => return acknowledged,
                    }
                }
                acknowledged
            })
        })
        .collect();
    let deadline = std::time::Instant::now() + crate::process::PATIENCE;
    while get(&at, "/schemas/ids/100").is_ok_and(|(status, _)| status != 200) {
        assert!(std::time::Instant::now() < deadline, "a hundred schemas are registered");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    registry.kill();
    let acknowledged: Vec<(String, u64)> =
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    let (registry, at) = start(&world).await;
    let ids: std::collections::BTreeSet<u64> = acknowledged.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), acknowledged.len(), "no id was given twice");
    for (name, id) in acknowledged {
        let (status, body) = get(&at, &format!("/schemas/ids/{id}/schema")).unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!("\"{name}\"")), "{id} was {name}: {body}");
    }
    registry.stop().await;
}

/// A certificate of its own making, of this machine, that is good for nothing but being known.
fn own_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "client").unwrap();
    let name = name.build();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.set_pubkey(&key).unwrap();
    let host =
        SubjectAlternativeName::new().ip("127.0.0.1").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(host).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let files = (folder.join("client.pem"), folder.join("client-key.pem"));
    std::fs::write(&files.0, certificate.build().to_pem().unwrap()).unwrap();
    std::fs::write(&files.1, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    files
}

/// The status of the answer to a request over TLS; `None` if there is none.
fn status_over_tls(
    address: &str,
    ca: &Path,
    client: Option<&(PathBuf, PathBuf)>,
    request: &str,
) -> Option<String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_ca_file(ca).unwrap();
    if let Some((certificate, key)) = client {
        connector.set_certificate_file(certificate, SslFiletype::PEM).unwrap();
        connector.set_private_key_file(key, SslFiletype::PEM).unwrap();
    }
    let tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = connector.build().connect("127.0.0.1", tcp).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_client_authorities_lets_in_whom_they_know() {
    let Some(world) = World::start().await else { return };
    let folder = tempfile::TempDir::new().unwrap();
    tidegate_broker::Tls::self_signed(folder.path(), &["127.0.0.1"]).unwrap();
    let (server, server_key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let client = own_certificate(folder.path());
    let broker = world.broker();
    let mut args = vec!["registry", "--bootstrap", &broker, "--listen", "127.0.0.1:0", "--output", "json"];
    args.extend(["--tls-cert", text(&server), "--tls-key", text(&server_key)]);
    args.extend(["--tls-client-ca", text(&client.0)]);
    let mut registry = Process::start(args);
    let line = registry.json_line().await;
    let at = line["registry"].as_str().unwrap().strip_prefix("https://").unwrap();
    let ask = "GET /subjects HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(status_over_tls(at, &server, Some(&client), ask).as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(status_over_tls(at, &server, None, ask), None, "nobody knows who that is");
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_ask_each_other_for_certificates_forward_writes() {
    let Some(world) = World::start().await else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let own = own_certificate(folder.path());
    let (ca, broker) = (text(&own.0), world.broker());
    let mut args = vec!["registry", "--bootstrap", &broker, "--listen", "127.0.0.1:0", "--output", "json"];
    args.extend(["--tls-cert", ca, "--tls-key", text(&own.1), "--tls-client-ca", ca, "--leader-ca", ca]);
    let body = "{\"schema\":\"\\\"int\\\"\"}";
    let mut registries = Vec::new();
    for name in ["first", "second"] {
        let mut registry = Process::start(args.clone());
        let line = registry.json_line().await;
        let at = line["registry"].as_str().unwrap().strip_prefix("https://").unwrap().to_owned();
        registries.push((registry, at, name));
    }
    // One of the two leads, and the other one forwards.
    for (_, at, name) in &registries {
        let n = body.len();
        let register = format!(
            "POST /subjects/{name}/versions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {n}\r\nconnection: close\r\n\r\n{body}"
        );
        let status = status_over_tls(at, &own.0, Some(&own), &register);
        assert_eq!(status.as_deref(), Some("HTTP/1.1 200 OK"), "{name}");
    }
    for (registry, _, _) in registries {
        registry.stop().await;
    }
}
