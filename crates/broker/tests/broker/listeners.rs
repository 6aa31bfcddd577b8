//! What each listener tells and asks.

use std::net::SocketAddr;

use kafka_protocol::messages::{
    ApiKey, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, SaslHandshakeRequest,
};
use tidegate_broker::{Broker, Listener, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{ask, frame, options, text};

/// What each API that tells a host and port tells.
async fn told(address: SocketAddr) -> [(String, i32); 3] {
    let metadata = MetadataRequest::default();
    let metadata: MetadataResponse = ask(address, ApiKey::Metadata, 9, &metadata).await.unwrap();
    let coordinator = FindCoordinatorRequest::default();
    let coordinator: FindCoordinatorResponse =
        ask(address, ApiKey::FindCoordinator, 3, &coordinator).await.unwrap();
    let cluster = DescribeClusterRequest::default();
    let cluster: DescribeClusterResponse = ask(address, ApiKey::DescribeCluster, 0, &cluster).await.unwrap();
    [
        (metadata.brokers[0].host.to_string(), metadata.brokers[0].port),
        (coordinator.host.to_string(), coordinator.port),
        (cluster.brokers[0].host.to_string(), cluster.brokers[0].port),
    ]
}

#[tokio::test]
async fn clients_are_sent_where_their_listener_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.listeners.push(Listener::loopback(0).advertised("events.example.com", 9_093));
    options.listeners.push(Listener::insecure("0.0.0.0:0".parse().unwrap()));
    let broker = Broker::start(options).await.unwrap();
    let [first, second, third] = broker.addresses() else { panic!("three listeners") };
    let reached = ("127.0.0.1".to_owned(), i32::from(first.port()));
    assert_eq!(told(*first).await, [reached.clone(), reached.clone(), reached]);
    let named = ("events.example.com".to_owned(), 9_093);
    assert_eq!(told(*second).await, [named.clone(), named.clone(), named]);
    // Nobody can connect to the address 0.0.0.0.
    let reached = ("127.0.0.1".to_owned(), i32::from(third.port()));
    assert_eq!(told(SocketAddr::from(([127, 0, 0, 1], third.port()))).await[0], reached);
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_without_listeners_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.listeners.clear();
    assert!(matches!(Broker::start(options).await, Err(StartError::NoListener)));
}

#[tokio::test]
async fn bare_sasl_messages_follow_a_handshake_of_version_0() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.listeners = vec![Listener::loopback(0).with_sasl()];
    options.users.set("u", "right").unwrap();
    let broker = Broker::start(options).await.unwrap();
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let handshake = frame(ApiKey::SaslHandshake, 0, &handshake).unwrap();
    let metadata = frame(ApiKey::Metadata, 4, &MetadataRequest::default()).unwrap();
    for (token, admitted) in [(b"\0u\0right", true), (b"\0u\0wrong", false)] {
        let mut socket = TcpStream::connect(broker.address()).await.unwrap();
        socket.write_all(&handshake).await.unwrap();
        assert!(answer(&mut socket).await.is_some());
        socket.write_u32(token.len() as u32).await.unwrap();
        socket.write_all(token).await.unwrap();
        assert_eq!(answer(&mut socket).await, admitted.then(Vec::new));
        let _ = socket.write_all(&metadata).await;
        assert_eq!(answer(&mut socket).await.is_some(), admitted);
    }
    broker.stop().await;
}

/// The next frame; `None` if the broker closes the connection.
async fn answer(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let length = socket.read_u32().await.ok()?;
    let mut answer = vec![0; length as usize];
    socket.read_exact(&mut answer).await.ok()?;
    Some(answer)
}
