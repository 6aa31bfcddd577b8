//! A topic that was led by several nodes one after the other, and is created again: its leader epochs begin at 0 again.
//!
//! The embedded broker leads alone and knows epoch 0 only. What stands between it and the client adds to it, and takes
//! away what it added, as long as it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use kafka_protocol::messages::{
    ApiKey, FetchRequest, ListOffsetsRequest, MetadataResponse, OffsetForLeaderEpochRequest, RequestHeader,
    ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_core::Checkpoint;
use tidegate_kafka::{KafkaOptions, TopicSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::stack::{Stack, partition, values};

/// Requests that wait for their answer, by number.
type Asked = Arc<Mutex<HashMap<i32, (ApiKey, i16)>>>;

/// How much is added to leader epochs.
type Added = Arc<AtomicI32>;

async fn forward(listener: TcpListener, broker: SocketAddr, added: Added) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (from_client, to_client) = client.into_split();
        // The broker has gone: so does the client's connection.
        let Ok(onward) = TcpStream::connect(broker).await else { continue };
        let (from_broker, to_broker) = onward.into_split();
        let asked = Asked::default();
        tokio::spawn(carry(from_client, to_broker, {
            let (asked, added) = (Arc::clone(&asked), Arc::clone(&added));
            move |frame| request(&frame, &asked, added.load(Ordering::SeqCst))
        }));
        let added = Arc::clone(&added);
        tokio::spawn(carry(from_broker, to_client, move |frame| {
            response(&frame, &asked, added.load(Ordering::SeqCst))
        }));
    }
}

/// Carries one frame after the other, until either side goes.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    while let Ok(size) = from.read_u32().await {
        let mut frame = vec![0; size as usize];
        if from.read_exact(&mut frame).await.is_err() {
            return;
        }
        let frame = change(frame);
        let mut sent = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        sent.extend(frame);
        if to.write_all(&sent).await.is_err() {
            return;
        }
    }
}

fn request(frame: &[u8], asked: &Asked, added: i32) -> Vec<u8> {
    let api = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let mut rest = frame;
    let header = RequestHeader::decode(&mut rest, api.request_header_version(version)).unwrap();
    asked.lock().unwrap().insert(header.correlation_id, (api, version));
    let mut changed = frame[..frame.len() - rest.len()].to_vec();
    // Nothing is believed, so nothing is compared.
    match api {
        _ if added == 0 => changed.extend(rest),
        ApiKey::Fetch => {
            let mut body = FetchRequest::decode(&mut rest, version).unwrap();
            let partitions = body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.current_leader_epoch = -1);
            body.encode(&mut changed, version).unwrap();
        }
        ApiKey::ListOffsets => {
            let mut body = ListOffsetsRequest::decode(&mut rest, version).unwrap();
            let partitions = body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.current_leader_epoch = -1);
            body.encode(&mut changed, version).unwrap();
        }
        ApiKey::OffsetForLeaderEpoch => {
            let mut body = OffsetForLeaderEpochRequest::decode(&mut rest, version).unwrap();
            let partitions = body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.current_leader_epoch = -1);
            body.encode(&mut changed, version).unwrap();
        }
        _ => changed.extend(rest),
    }
    changed
}

fn response(frame: &[u8], asked: &Asked, added: i32) -> Vec<u8> {
    let number = i32::from_be_bytes(frame[..4].try_into().unwrap());
    let Some((ApiKey::Metadata, version)) = asked.lock().unwrap().remove(&number) else {
        return frame.to_vec();
    };
    let mut rest = frame;
    ResponseHeader::decode(&mut rest, ApiKey::Metadata.response_header_version(version)).unwrap();
    let mut changed = frame[..frame.len() - rest.len()].to_vec();
    let mut body = MetadataResponse::decode(&mut rest, version).unwrap();
    if version >= 7 {
        let partitions = body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.for_each(|partition| partition.leader_epoch += added);
    }
    body.encode(&mut changed, version).unwrap();
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_leader_epochs_begin_again_is_read_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dir = TempDir::new().unwrap();
    let listen = Listener::loopback(0).advertised("127.0.0.1", address.port());
    let broker = Broker::start(BrokerOptions::new(dir.path(), listen)).await.unwrap();
    let added = Added::new(AtomicI32::new(5));
    tokio::spawn(forward(listener, broker.address(), Arc::clone(&added)));
    let mut options = KafkaOptions::new([address.to_string()]);
    options.extra.extend([("topic.metadata.refresh.interval.ms".to_owned(), "200".to_owned())]);
    let stack = Stack { broker, options, address, dir };
    stack.topic(TopicSpec::new("t", 1)).await;
    let zero = partition("t", 0);
    stack.publish("t", 0, values(3, 20)).await;
    let mut member = stack.member(&["t"]);
    member.until("all read", |member| member.caught_up.get(&zero) == Some(&3)).await;
    let former = member.assigned[&zero].epoch;

    added.store(0, Ordering::SeqCst);
    stack.admin().delete_topic("t").await.unwrap();
    stack.topic(TopicSpec::new("t", 1)).await;
    stack.publish("t", 0, values(50, 20)).await;
    let all: Vec<i64> = (0..50).collect();
    member.until("read anew", |member| member.offsets[&zero].ends_with(&all)).await;
    assert_eq!(member.source.counters().rejoins(), 1);
    assert!(member.assigned[&zero].epoch > former);
    assert_eq!(member.commit(&zero, Checkpoint::settled(50)).await, Ok(()));
}
