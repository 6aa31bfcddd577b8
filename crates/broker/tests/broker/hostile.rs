//! Foreign bytes cost their sender the connection, and nobody else anything.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, MetadataResponse,
    TopicName,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{ask, broker, frame, options, text};

async fn answers(address: SocketAddr) -> bool {
    let request = MetadataRequest::default();
    ask::<MetadataResponse>(address, ApiKey::Metadata, 4, &request).await.is_ok()
}

/// Sends bytes and reads until the broker closes or has answered.
async fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition::default().with_partition(0);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(1).with_topics(vec![topic])
}

#[tokio::test(flavor = "multi_thread")]
async fn random_cut_and_mutated_frames_leave_the_broker_well() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    let apis: Vec<(i16, i16)> = (0..62).flat_map(|api| (0..13).map(move |version| (api, version))).collect();
    let random = (proptest::sample::select(apis), proptest::collection::vec(any::<u8>(), 0..100));
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let mut runner =
            TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
        let result = runner.run(&random, |((api, version), body)| {
            let mut bytes = BytesMut::new();
            bytes.put_u32(body.len() as u32 + 10);
            bytes.put_i16(api);
            bytes.put_i16(version);
            bytes.put_i32(1);
            bytes.put_i16(-1);
            bytes.extend_from_slice(&body);
            runtime.block_on(send(address, &bytes));
            runtime.block_on(send(address, &body));
            Ok(())
        });
        result.unwrap();
    });
    let whole = frame(ApiKey::Fetch, 12, &fetch()).unwrap();
    for length in 0..whole.len() {
        send(address, &whole[..length]).await;
    }
    for at in 4..whole.len() {
        let mut mutated = whole.clone();
        mutated[at] ^= 0xff;
        send(address, &mutated).await;
    }
    assert!(answers(address).await);
    broker.stop().await;
}

#[tokio::test]
async fn an_array_that_claims_two_billion_elements_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let mut bytes = frame(ApiKey::Fetch, 4, &FetchRequest::default()).unwrap();
    let length = bytes.len();
    bytes[length - 4..].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(send(broker.address(), &bytes).await.is_empty());
    assert!(answers(broker.address()).await);
    broker.stop().await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let mut socket = TcpStream::connect(broker.address()).await.unwrap();
    socket.write_u32(u32::MAX).await.unwrap();
    let mut answer = Vec::new();
    assert_eq!(socket.read_to_end(&mut answer).await.unwrap_or(0), 0);
    broker.stop().await;
}

#[tokio::test]
async fn api_versions_beyond_the_spoken_ones_is_answered_in_version_0() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let mut bytes = frame(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).unwrap();
    bytes[6..8].copy_from_slice(&9_i16.to_be_bytes());
    let answer = send(broker.address(), &bytes).await;
    let mut body = &answer[8..];
    assert_eq!(body.get_i16(), 35);
    let spoken = kafka_protocol::protocol::Decodable::decode(&mut &answer[8..], 0);
    assert!(spoken.is_ok_and(|answer: ApiVersionsResponse| answer.api_keys.len() == 35));
    broker.stop().await;
}

#[tokio::test]
async fn without_the_password_nothing_but_authentication_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.listeners = vec![tidegate_broker::Listener::loopback(0).with_sasl()];
    let broker = tidegate_broker::Broker::start(options).await.unwrap();
    assert!(!answers(broker.address()).await);
    let request = ApiVersionsRequest::default();
    let versions = ask::<ApiVersionsResponse>(broker.address(), ApiKey::ApiVersions, 0, &request).await;
    assert!(versions.is_ok());
    broker.stop().await;
}

/// Reads until the broker closes, however long the answers are.
async fn closed(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("it closes");
    answer
}

#[tokio::test]
async fn apis_and_versions_that_are_not_told_close_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    let request = ApiVersionsRequest::default();
    let told: ApiVersionsResponse = ask(address, ApiKey::ApiVersions, 3, &request).await.unwrap();
    let body = [0; 64];
    let mut n_refused = 0;
    for key in (-1..120).chain([i16::MIN, i16::MAX]) {
        let known = told.api_keys.iter().find(|api| api.api_key == key);
        let versions = known.map_or(vec![0, 1, 7], |api| vec![-1, api.min_version - 1, api.max_version + 1]);
        for version in versions {
            let mut bytes = BytesMut::new();
            bytes.put_u32(10 + body.len() as u32);
            bytes.put_i16(key);
            bytes.put_i16(version);
            bytes.put_i32(1);
            bytes.put_i16(-1);
            bytes.extend_from_slice(&body);
            if key != ApiKey::ApiVersions as i16 {
                assert_eq!(closed(address, &bytes).await, b"", "api {key} version {version}");
                n_refused += 1;
            }
        }
    }
    assert!(n_refused > 350);
    assert!(answers(address).await);
    broker.stop().await;
}

#[tokio::test]
async fn a_request_of_any_api_that_is_cut_is_refused_or_has_nothing_to_cut() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    let request = ApiVersionsRequest::default();
    let told: ApiVersionsResponse = ask(address, ApiKey::ApiVersions, 3, &request).await.unwrap();
    for api in told.api_keys {
        for version in api.min_version..=api.max_version {
            // One byte of a body: a length that claims more, in either encoding.
            for byte in [0x7f, 0xff] {
                let mut bytes = BytesMut::new();
                bytes.put_u32(12);
                bytes.put_i16(api.api_key);
                bytes.put_i16(version);
                bytes.put_i32(1);
                bytes.put_i16(-1);
                bytes.put_u8(0);
                bytes.put_u8(byte);
                send(address, &bytes).await;
            }
        }
    }
    assert!(answers(address).await);
    broker.stop().await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.limits.idle_max = std::time::Duration::from_millis(200);
    let broker = tidegate_broker::Broker::start(options).await.unwrap();
    assert_eq!(closed(broker.address(), b"").await, b"");
    assert_eq!(closed(broker.address(), &[0, 0]).await, b"", "half a length");
    broker.stop().await;
}

#[tokio::test]
async fn a_stranger_may_send_little_and_has_little_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.listeners = vec![tidegate_broker::Listener::loopback(0).with_sasl()];
    options.limits.request_time_max = std::time::Duration::from_millis(300);
    let broker = tidegate_broker::Broker::start(options).await.unwrap();
    assert_eq!(closed(broker.address(), b"").await, b"", "it does not introduce itself");
    assert_eq!(
        closed(broker.address(), &(1_u32 << 20).to_be_bytes()).await,
        b"",
        "a megabyte before the password"
    );
    broker.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_another_listener_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.limits.connections_max = 2;
    options.listeners.push(tidegate_broker::Listener::loopback(0));
    let broker = tidegate_broker::Broker::start(options).await.unwrap();
    let first = TcpStream::connect(broker.address()).await.unwrap();
    let second = TcpStream::connect(broker.address()).await.unwrap();
    assert_eq!(closed(broker.address(), b"").await, b"");
    assert!(answers(broker.addresses()[1]).await);
    drop((first, second));
    broker.stop().await;
}
