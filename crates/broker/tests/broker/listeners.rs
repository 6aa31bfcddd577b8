//! What each listener tells and asks.

use std::net::SocketAddr;

use kafka_protocol::messages::{
    ApiKey, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse,
};
use tidegate_broker::{Broker, Listener, StartError};

use crate::client::{ask, options};

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
