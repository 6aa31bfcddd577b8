//! Whom the client trusts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use tidegate_core::FaultKind;
use tidegate_registry_client::{BuildError, RegistryClient, RegistryOptions, TlsOptions};

/// A certificate for a host, by its own authority; and its file.
fn certificate(host: &str, file: &Path) -> (X509, PKey<openssl::pkey::Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", host).unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.set_pubkey(&key).unwrap();
    let context = certificate.x509v3_context(None, None);
    let names = SubjectAlternativeName::new().ip(host).build(&context).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build();
    std::fs::write(file, certificate.to_pem().unwrap()).unwrap();
    (certificate, key)
}

/// A registry without subjects, over TLS; its port.
fn serve(certificate: &X509, key: &PKey<openssl::pkey::Private>) -> u16 {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = acceptor.accept(stream.unwrap()) else { continue };
            let mut request = [0; 4096];
            let _n = stream.read(&mut request).unwrap_or(0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";
            let _sent = stream.write_all(answer);
            let _closed = stream.shutdown();
        }
    });
    port
}

async fn subjects(port: u16, tls: TlsOptions) -> Result<Vec<String>, String> {
    let url = format!("https://127.0.0.1:{port}").parse().unwrap();
    let client = RegistryClient::new(RegistryOptions { tls, ..RegistryOptions::new(url) }).unwrap();
    client.subjects().await.map_err(|error| error.to_string())
}

fn trusting(ca_file: PathBuf) -> TlsOptions {
    TlsOptions { ca_file: Some(ca_file), ..TlsOptions::default() }
}

#[tokio::test]
async fn a_registry_is_trusted_for_a_known_authority_and_its_own_name_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (own, key) = certificate("127.0.0.1", &file("own.pem"));
    let (other, other_key) = certificate("127.0.0.2", &file("other.pem"));
    let port = serve(&own, &key);
    assert_eq!(subjects(port, trusting(file("own.pem"))).await, Ok(vec![]));
    for (what, tls) in [("nobody's", TlsOptions::default()), ("another's", trusting(file("other.pem")))] {
        let refused = subjects(port, tls).await.unwrap_err();
        assert!(refused.contains("certificate"), "{what}: {refused}");
    }
    // The authority is known, and the name is another host's.
    let port = serve(&other, &other_key);
    let refused = subjects(port, trusting(file("other.pem"))).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let any = TlsOptions { accept_any_certificate: true, ..TlsOptions::default() };
    assert_eq!(subjects(port, any).await, Ok(vec![]));
}

#[tokio::test]
async fn a_registry_without_tls_is_a_fault_of_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _sent = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let url = format!("https://127.0.0.1:{port}").parse().unwrap();
    let client = RegistryClient::new(RegistryOptions::new(url)).unwrap();
    let fault = client.schema(&tidegate_registry_client::SchemaName::Id(1)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Network, "{fault}");
}

#[test]
fn a_file_of_authorities_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let build = || {
        let options = RegistryOptions::new("https://localhost".parse().unwrap());
        RegistryClient::new(RegistryOptions { tls: trusting(file.clone()), ..options })
    };
    assert!(matches!(build(), Err(BuildError::CaFile { .. })));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(build(), Err(BuildError::Tls(_))));
}
