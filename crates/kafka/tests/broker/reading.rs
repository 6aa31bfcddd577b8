use std::time::Duration;

use tidegate_core::{Checkpoint, FaultKind, Header};
use tidegate_kafka::{
    KafkaProducer, Outgoing, OwnedRecord, ProducerOptions, SourceOptions, TopicSpec, TransactionalProducer,
};
use tidegate_pipeline::port::{Source, SourceEvent};

use crate::stack::{DEADLINE, Stack, partition, start, values};

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_on_an_empty_partition() {
    let stack = Stack::with_topic("t", 3).await;
    let mut member = stack.member(&["t"]);
    member.until("all three ends", |member| member.caught_up.len() == 3).await;
    assert!(member.caught_up.values().all(|position| *position == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_behind_transaction_markers_in_every_topic() {
    let stack = Stack::with_topic("a", 1).await;
    stack.topic(TopicSpec::new("b", 1)).await;
    let producer = TransactionalProducer::new(&stack.options, "x");
    let record =
        |topic: &str| OwnedRecord { topic: topic.to_owned(), partition: Some(0), ..OwnedRecord::default() };
    producer.write(vec![record("a"), record("a")]).await.unwrap();
    stack.publish("b", 0, values(5, 10)).await;
    let (a, b) = (partition("a", 0), partition("b", 0));
    let mut member = stack.member(&["a"]);
    member.until("the end behind the marker", |member| member.caught_up.get(&a) == Some(&3)).await;
    assert_eq!(member.offsets[&a], [0, 1]);
    member.source.close().await;
    let mut member = stack.member(&["a", "b"]);
    let both = [(a, 3), (b, 5)].into();
    member.until("both ends", |member| member.caught_up == both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_empties_and_repeated_headers_come_as_they_were_sent() {
    let stack = Stack::with_topic("t", 1).await;
    let producer = KafkaProducer::connect(&stack.options, &ProducerOptions::default()).unwrap();
    let headers = [
        Header { name: "a", value: Some(b"1") },
        Header { name: "", value: None },
        Header { name: "a", value: Some(b"") },
    ];
    let base = Outgoing {
        topic: "t",
        partition: Some(0),
        timestamp: Some(1_600_000_000_000),
        ..Outgoing::default()
    };
    producer.send(&Outgoing { key: Some(b""), value: None, headers: &headers, ..base }).await.unwrap();
    producer.send(&Outgoing { key: None, value: Some(b""), ..base }).await.unwrap();
    let delivered = producer.flush(DEADLINE).await.unwrap();
    assert_eq!((delivered.delivered, delivered.failed), (2, 0));
    let read = stack.read("t").await;
    assert_eq!((read[0].key.as_deref(), read[0].value.as_deref()), (Some(&b""[..]), None));
    assert_eq!((read[1].key.as_deref(), read[1].value.as_deref()), (None, Some(&b""[..])));
    let own = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    assert_eq!(read[0].headers, [own("a", Some(b"1")), own("", None), own("a", Some(b""))]);
    assert_eq!(read[0].timestamp, Some(1_600_000_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_asks_keeps_its_membership_and_loses_nothing() {
    let mut stack = Stack::with_topic("t", 2).await;
    for number in 0..2 {
        stack.publish("t", number, values(15_000, 1_000)).await;
    }
    // A member that does not poll for two seconds is expelled.
    let short = Duration::from_secs(2);
    stack.options.extra.insert("max.poll.interval.ms".to_owned(), short.as_millis().to_string());
    let options = SourceOptions { buffered_bytes_max: 0, session_timeout: short, ..SourceOptions::default() };
    let mut member = stack.member_with(&["t"], &options);
    member.until("assigned", |member| member.assigned.len() == 2).await;
    let counters = member.source.counters();
    let deadline = std::time::Instant::now() + DEADLINE;
    while counters.stalls() == 0 {
        assert!(std::time::Instant::now() < deadline, "the queue never filled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What is waited for is the absence of an expulsion: three of its time-outs.
    tokio::time::sleep(short * 3).await;
    assert!(member.source.buffered_bytes() <= SourceOptions::BUFFERED_BYTES_MIN / 2 + 300_000);
    member.until("everything is read", |member| member.caught_up.len() == 2).await;
    let all: Vec<i64> = (0..15_000).collect();
    assert!(member.offsets.values().all(|offsets| *offsets == all));
    assert_eq!((member.revoked.len(), counters.rebalances()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_waits_while_the_other_goes_on() {
    let stack = Stack::with_topic("t", 2).await;
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let mut member = stack.member(&["t"]);
    member.until("both ends", |member| member.caught_up.len() == 2).await;
    member.source.pause(&zero);
    // The thread carries the pause out before it reads anything that is published after this round.
    stack.publish("t", 1, values(1, 10)).await;
    member.until("the pause is carried out", |member| member.offsets.contains_key(&one)).await;
    for number in 0..2 {
        stack.publish("t", number, values(10, 10)).await;
    }
    member.until("the other goes on", |member| member.offsets[&one].len() == 11).await;
    assert!(!member.offsets.contains_key(&zero));
    member.source.resume(&zero);
    member.until("it is read again", |member| member.offsets.get(&zero).is_some_and(|o| o.len() == 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_committing_go_on_after_the_broker_was_away() {
    let stack = Stack::with_topic("t", 1).await;
    stack.publish("t", 0, values(10, 10)).await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("the first ten", |member| member.caught_up.get(&zero) == Some(&10)).await;
    member.commit(&zero, Checkpoint::settled(10)).await.unwrap();
    let Stack { broker, options, address, dir } = stack;
    broker.stop().await;
    member.until("a fault is told", |member| !member.faults.is_empty()).await;
    let broker = start(&dir, address).await;
    let stack = Stack { broker, options, address, dir };
    stack.publish("t", 0, values(10, 10)).await;
    member.until("the second ten", |member| member.offsets[&zero].contains(&19)).await;
    // A broker that was away may have forgotten its members; then the partition is given anew.
    while let Err(fault) = member.commit(&zero, Checkpoint::settled(20)).await {
        assert!(matches!(fault.kind, FaultKind::Fenced | FaultKind::Network), "{fault}");
        let before = member.revoked.len();
        member.until("it is revoked", |member| member.revoked.len() > before).await;
        member.until("it is ours again", |member| member.owns(&zero)).await;
    }
    let offsets = member.offsets.get_mut(&zero).unwrap();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(*offsets, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_source_ends() {
    let stack = Stack::with_topic("t", 1).await;
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.assigned.len() == 1).await;
    let mut other = stack.member(&["t"]);
    member.source.close().await;
    other.until("the partition is free at once", |member| member.assigned.len() == 1).await;
    let event = tokio::time::timeout(DEADLINE, other.source.next()).await;
    assert!(matches!(event, Ok(Some(SourceEvent::CaughtUp { .. }))), "{event:?}");
}
