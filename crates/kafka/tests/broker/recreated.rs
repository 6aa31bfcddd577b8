//! A topic that is deleted and created again has the old name, and Kafka takes commits by name.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, OffsetRange, PlanFingerprint, TopicPartition};
use tidegate_kafka::TopicSpec;

use crate::stack::{DEADLINE, Member, Stack, partition, values};

/// The group's commits as they are, and as some process commits them late.
async fn as_committed(stack: &Stack) -> TopicPartitionList {
    with_consumer(stack, |consumer| {
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        consumer.committed_offsets(list, DEADLINE).unwrap()
    })
    .await
}

async fn commit_late(stack: &Stack, list: TopicPartitionList) {
    with_consumer(stack, move |consumer| consumer.commit(&list, CommitMode::Sync).unwrap()).await;
}

async fn with_consumer<T: Send + 'static>(
    stack: &Stack,
    act: impl FnOnce(&BaseConsumer) -> T + Send + 'static,
) -> T {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack.address.to_string()).set("group.id", "g");
    tokio::task::spawn_blocking(move || act(&config.create().unwrap())).await.unwrap()
}

async fn create_again(stack: &Stack) {
    stack.admin().delete_topic("t").await.unwrap();
    stack.topic(TopicSpec::new("t", 1)).await;
}

/// What was read after `first` records.
fn later<'a>(member: &'a Member, zero: &TopicPartition, first: usize) -> Option<&'a [i64]> {
    member.offsets.get(zero)?.get(first..)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_of_a_former_topic_is_no_offset_of_the_one_that_has_its_name() {
    let stack = Stack::with_topic("t", 1).await;
    let zero = partition("t", 0);
    stack.publish("t", 0, values(3, 20)).await;
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    let intent = Checkpoint::intending(OffsetRange::new(1, 3).unwrap(), PlanFingerprint(0xfeed));
    member.commit(&zero, intent.clone()).await.unwrap();
    member.source.close().await;
    let committed = as_committed(&stack).await;
    let metadata = committed.find_partition("t", 0).unwrap().metadata().to_owned();
    let (read, topic) = Checkpoint::parse_in(1, &metadata).unwrap();
    assert_eq!((read, topic.is_some()), (intent.clone(), true), "{metadata}");

    // The same topic takes it up.
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    assert_eq!(member.assigned[&zero].checkpoint, intent);
    member.source.close().await;

    create_again(&stack).await;
    stack.publish("t", 0, values(5, 20)).await;
    commit_late(&stack, committed).await;
    let mut member = stack.member(&["t"]);
    member.until("read anew", |member| member.caught_up.contains_key(&zero)).await;
    assert_eq!(member.assigned[&zero].checkpoint, Checkpoint::settled(0));
    assert_eq!(member.offsets[&zero], [0, 1, 2, 3, 4]);
    assert_eq!(member.source.counters().recreated(), 1);
    member.commit(&zero, Checkpoint::settled(2)).await.unwrap();
    member.source.close().await;

    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    assert_eq!(member.assigned[&zero].checkpoint, Checkpoint::settled(2));
    let committed = as_committed(&stack).await;
    let element = committed.find_partition("t", 0).unwrap();
    let (_, now) = Checkpoint::parse_in(2, element.metadata()).unwrap();
    assert!(element.offset() == Offset::Offset(2) && now.is_some() && now != topic);
}

/// The new topic is longer than what was read of the old one, so that no offset is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_goes_on_notices_that_another_topic_has_the_name() {
    let mut stack = Stack::with_topic("t", 1).await;
    let interval = ("topic.metadata.refresh.interval.ms".to_owned(), "200".to_owned());
    stack.options.extra.extend([interval]);
    let zero = partition("t", 0);
    stack.publish("t", 0, values(3, 20)).await;
    let mut member = stack.member(&["t"]);
    member.until("all read", |member| member.caught_up.get(&zero) == Some(&3)).await;
    let former = member.assigned[&zero].epoch;
    create_again(&stack).await;
    stack.publish("t", 0, values(50, 20)).await;
    let all: Vec<i64> = (0..50).collect();
    // A broker that is asked by name may give some before it is known that they are another topic's.
    let anew = |member: &Member| later(member, &zero, 3).is_some_and(|offsets| offsets.ends_with(&all));
    member.until("read anew", anew).await;
    let assigned = &member.assigned[&zero];
    assert!(assigned.epoch > former);
    assert_eq!(assigned.checkpoint, Checkpoint::settled(0));
    // It stays with that.
    let quiet = tokio::time::timeout(Duration::from_secs(1), member.until("no end", |_| false)).await;
    assert!(quiet.is_err());
    assert!(anew(&member));
    assert_eq!(member.commit(&zero, Checkpoint::settled(50)).await, Ok(()));
}
