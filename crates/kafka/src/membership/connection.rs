//! A connection to one broker: a question, its answer, and the next question.

use std::pin::Pin;
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use tidegate_core::{Fault, FaultKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::options::{KafkaOptions, Sasl, Tls, Verification};

/// How long connecting, and a usual answer, may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes: a group of a thousand members has less.
const ANSWER_BYTES_MAX: u32 = 4 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    client_id: StrBytes,
    correlation: i32,
}

impl Connection {
    /// To the broker that coordinates a group.
    pub(super) async fn to_coordinator(options: &KafkaOptions, group: &str) -> Result<Self, Fault> {
        let mut last = Fault::new(FaultKind::Network, "no Kafka broker is named");
        for broker in &options.brokers {
            match Self::open(options, broker).await {
                Ok(mut any) => {
                    let coordinator = any.coordinator_of(group).await?;
                    return Self::open(options, &coordinator).await;
                }
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn coordinator_of(&mut self, group: &str) -> Result<String, Fault> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
        let found: FindCoordinatorResponse =
            self.ask((ApiKey::FindCoordinator, 2), &request, ANSWER_MAX).await?;
        match found.error_code {
            0 => Ok(format!("{}:{}", found.host.as_str(), found.port)),
            code => {
                let message = format!("find the coordinator of `{group}`: Kafka answers with error {code}");
                Err(Fault::new(FaultKind::Unavailable, message))
            }
        }
    }

    async fn open(options: &KafkaOptions, broker: &str) -> Result<Self, Fault> {
        let opened = tokio::time::timeout(ANSWER_MAX, Self::open_at_leisure(options, broker)).await;
        opened.map_err(|_| network(format!("connect to `{broker}`: no answer in {ANSWER_MAX:?}")))?
    }

    async fn open_at_leisure(options: &KafkaOptions, broker: &str) -> Result<Self, Fault> {
        let told = |error: &dyn std::fmt::Display| network(format!("connect to `{broker}`: {error}"));
        let tcp = TcpStream::connect(broker).await.map_err(|error| told(&error))?;
        tcp.set_nodelay(true).map_err(|error| told(&error))?;
        let stream: Box<dyn Stream> = match &options.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
                Box::new(encrypted(tcp, host, tls).await.map_err(|error| told(&error))?)
            }
        };
        let client_id = StrBytes::from_string(options.client_id.clone());
        let mut connection = Self { stream, client_id, correlation: 0 };
        connection.authenticate(options).await?;
        Ok(connection)
    }

    async fn authenticate(&mut self, options: &KafkaOptions) -> Result<(), Fault> {
        let Sasl::Plain(credentials) = &options.sasl else { return Ok(()) };
        let denied =
            |message: &str| Fault::new(FaultKind::Denied, format!("authenticate to Kafka: {message}"));
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let answer: SaslHandshakeResponse =
            self.ask((ApiKey::SaslHandshake, 1), &handshake, ANSWER_MAX).await?;
        if answer.error_code != 0 {
            return Err(denied("the broker does not take PLAIN"));
        }
        let token = format!("\0{}\0{}", credentials.user, credentials.password.text());
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into_bytes().into());
        let answer: SaslAuthenticateResponse =
            self.ask((ApiKey::SaslAuthenticate, 1), &request, ANSWER_MAX).await?;
        match answer.error_code {
            0 => Ok(()),
            _ => Err(denied(answer.error_message.as_ref().map_or("refused", StrBytes::as_str))),
        }
    }

    /// Asks in a version of an API, and waits for the answer as long as `patience`.
    pub(super) async fn ask<A: Decodable>(
        &mut self,
        (api, version): (ApiKey, i16),
        request: &impl Encodable,
        patience: Duration,
    ) -> Result<A, Fault> {
        let wrong = |error: &dyn std::fmt::Display| network(format!("ask Kafka for {api:?}: {error}"));
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut body = Vec::new();
        header.encode(&mut body, api.request_header_version(version)).map_err(|error| wrong(&error))?;
        request.encode(&mut body, version).map_err(|error| wrong(&error))?;
        let length = u32::try_from(body.len()).map_err(|error| wrong(&error))?;
        let answered = tokio::time::timeout(patience, self.exchange(length, &body)).await;
        let answer = answered.map_err(|_| wrong(&format!("no answer in {patience:?}")))?;
        let answer = answer.map_err(|error| wrong(&error))?;
        let mut answer = answer.as_slice();
        let header = ResponseHeader::decode(&mut answer, api.response_header_version(version));
        let header = header.map_err(|error| wrong(&error))?;
        if header.correlation_id != self.correlation {
            return Err(wrong(&"the answer is to another question"));
        }
        A::decode(&mut answer, version).map_err(|error| wrong(&error))
    }

    async fn exchange(&mut self, length: u32, body: &[u8]) -> std::io::Result<Vec<u8>> {
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(body).await?;
        self.stream.flush().await?;
        let length = self.stream.read_u32().await?;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

fn network(message: String) -> Fault {
    Fault::new(FaultKind::Network, message)
}

async fn encrypted(tcp: TcpStream, host: &str, tls: &Tls) -> Result<SslStream<TcpStream>, String> {
    let told = |error: openssl::error::ErrorStack| error.to_string();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).map_err(told)?;
    if let Some(file) = &tls.ca_file {
        connector.set_ca_file(file).map_err(told)?;
    }
    if let Some(file) = &tls.certificate_file {
        connector.set_certificate_chain_file(file).map_err(told)?;
    }
    if let Some(file) = &tls.key_file {
        match &tls.key_password {
            None => connector.set_private_key_file(file, SslFiletype::PEM).map_err(told)?,
            Some(password) => {
                let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
                let password = password.text().as_bytes();
                let key = openssl::pkey::PKey::private_key_from_pem_passphrase(&pem, password);
                connector.set_private_key(key.map_err(told)?.as_ref()).map_err(told)?;
            }
        }
    }
    let verified = tls.verification == Verification::Full;
    if !verified {
        connector.set_verify(SslVerifyMode::NONE);
    }
    let mut configuration = connector.build().configure().map_err(told)?;
    configuration.set_verify_hostname(verified);
    let ssl = configuration.into_ssl(host).map_err(told)?;
    let mut stream = SslStream::new(ssl, tcp).map_err(told)?;
    Pin::new(&mut stream).connect().await.map_err(|error| error.to_string())?;
    Ok(stream)
}
