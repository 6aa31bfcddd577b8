//! Consumer groups: shares, static members, and what is committed for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::client::{WAIT, broker, config, create};

fn member(address: SocketAddr, properties: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(address);
    config.set("group.id", "g").set("enable.auto.commit", "false");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    let member: BaseConsumer = config.create().unwrap();
    member.subscribe(&["t"]).unwrap();
    member
}

/// Polls the members until they have as many partitions as is said.
fn poll_until(members: &[&BaseConsumer], shares: &[usize]) {
    let deadline = Instant::now() + WAIT;
    loop {
        for member in members {
            assert!(member.poll(Duration::from_millis(20)).is_none(), "the topic is empty");
        }
        let found: Vec<usize> = members.iter().map(|one| one.assignment().unwrap().count()).collect();
        if found == shares {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} in time, {shares:?} were expected");
    }
}

/// One member gets everything, two get half each, and the one that stays gets everything again.
async fn shared_and_taken_back(properties: &'static [(&'static str, &'static str)]) {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    create(address, "t", 6).await;
    tokio::task::spawn_blocking(move || {
        let first = member(address, properties);
        poll_until(&[&first], &[6]);
        let second = member(address, properties);
        poll_until(&[&first, &second], &[3, 3]);
        drop(second);
        poll_until(&[&first], &[6]);
    })
    .await
    .unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn range_shares_out() {
    shared_and_taken_back(&[("partition.assignment.strategy", "range"), ("heartbeat.interval.ms", "200")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_shares_out() {
    shared_and_taken_back(&[
        ("partition.assignment.strategy", "roundrobin"),
        ("heartbeat.interval.ms", "200"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cooperative_sticky_shares_out() {
    shared_and_taken_back(&[
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("heartbeat.interval.ms", "200"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_protocol_shares_out() {
    shared_and_taken_back(&[("group.protocol", "consumer")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_protocol_shares_out_ranges() {
    shared_and_taken_back(&[("group.protocol", "consumer"), ("group.remote.assignor", "range")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_and_nobody_is_disturbed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let address = broker.address();
    create(address, "t", 4).await;
    tokio::task::spawn_blocking(move || {
        let named = |name| {
            member(
                address,
                &[
                    ("group.instance.id", name),
                    ("heartbeat.interval.ms", "200"),
                    ("partition.assignment.strategy", "range"),
                ],
            )
        };
        let (stays, goes) = (named("a"), named("b"));
        poll_until(&[&stays, &goes], &[2, 2]);
        let places = |member: &BaseConsumer| format!("{:?}", member.assignment().unwrap());
        let before = places(&goes);
        drop(goes);
        let back = named("b");
        poll_until(&[&stays, &back], &[2, 2]);
        assert_eq!(places(&back), before, "it has what it had");
    })
    .await
    .unwrap();
    broker.stop().await;
}
