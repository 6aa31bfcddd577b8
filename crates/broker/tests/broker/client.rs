//! The least client: one request, one connection, one answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CORRELATION: i32 = 7;
const ANSWER_MAX: Duration = Duration::from_secs(20);

pub(crate) fn options(directory: &tempfile::TempDir) -> BrokerOptions {
    BrokerOptions::new(directory.path(), Listener::loopback(0))
}

pub(crate) async fn broker(directory: &tempfile::TempDir) -> Broker {
    Broker::start(options(directory)).await.unwrap()
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request as it goes over the wire.
pub(crate) fn frame(api: ApiKey, version: i16, request: &impl Encodable) -> Result<BytesMut, String> {
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(text("client")));
    header.encode(&mut frame, api.request_header_version(version)).map_err(|e| format!("header: {e}"))?;
    request.encode(&mut frame, version).map_err(|error| format!("request: {error}"))?;
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Asks on a connection of its own; the answer must decode to the last byte.
pub(crate) async fn ask<R: Decodable>(
    address: SocketAddr,
    api: ApiKey,
    version: i16,
    request: &impl Encodable,
) -> Result<R, String> {
    let frame = frame(api, version, request)?;
    let mut answer = timeout(ANSWER_MAX, exchange(address, &frame))
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| format!("no answer: {error}"))?;
    let header = ResponseHeader::decode(&mut answer, api.response_header_version(version))
        .map_err(|error| format!("answer's header: {error}"))?;
    if header.correlation_id != CORRELATION {
        return Err(format!("the answer is to request {}", header.correlation_id));
    }
    let response = R::decode(&mut answer, version).map_err(|error| format!("answer: {error}"))?;
    match answer.remaining() {
        0 => Ok(response),
        n => Err(format!("{n} bytes behind the answer")),
    }
}

async fn exchange(address: SocketAddr, frame: &[u8]) -> std::io::Result<Bytes> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(frame).await?;
    let length = socket.read_u32().await?;
    let mut answer = vec![0; length as usize];
    socket.read_exact(&mut answer).await?;
    Ok(answer.into())
}
