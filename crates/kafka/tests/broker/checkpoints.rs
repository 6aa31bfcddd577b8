use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, FaultKind, OffsetRange, PlanFingerprint, Replay, Rewind, TopicPartition};
use tidegate_kafka::{KafkaAdmin, KafkaOptions, OffsetReset, SourceOptions};
use tidegate_pipeline::port::Source;

use crate::stack::{DEADLINE, Member, Stack, partition, values};

fn intent(first: i64, end: i64) -> Checkpoint {
    Checkpoint::intending(OffsetRange::new(first, end).unwrap(), PlanFingerprint(0xfeed))
}

/// Commits as any other program may.
async fn commit_as_stranger(stack: &Stack, topic: &'static str, offset: i64, metadata: &'static str) {
    let address = stack.address.to_string();
    let committed = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", address).set("group.id", "g").create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, 0);
        element.set_offset(Offset::Offset(offset)).unwrap();
        element.set_metadata(metadata);
        consumer.commit(&list, CommitMode::Sync).unwrap();
    });
    committed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_is_read_back_after_a_restart() {
    let stack = Stack::with_topic("t", 2).await;
    stack.publish("t", 0, values(10, 20)).await;
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let mut member = stack.member(&["t"]);
    member.until("both partitions assigned", |member| member.assigned.len() == 2).await;
    assert_eq!(member.assigned[&zero].checkpoint, Checkpoint::settled(0));
    assert_eq!(member.assigned[&zero].end, 10);
    let (first, second) =
        tokio::join!(member.commit(&zero, intent(3, 8)), member.commit(&one, Checkpoint::settled(0)),);
    assert_eq!((first, second), (Ok(()), Ok(())));
    member.source.close().await;

    let mut member = stack.member(&["t"]);
    member.until("both partitions assigned", |member| member.assigned.len() == 2).await;
    assert_eq!(member.assigned[&zero].checkpoint, intent(3, 8));
    member.until("the rest is read", |member| member.caught_up.contains_key(&zero)).await;
    assert_eq!(member.offsets[&zero], [3, 4, 5, 6, 7, 8, 9]);
    let committed = stack.admin().committed("g", &["t"]).await.unwrap();
    assert_eq!(committed[&zero].checkpoint, Ok(intent(3, 8)));
}

/// The group's commit once there is one.
async fn await_commit(stack: &Stack, source: &TopicPartition) -> Checkpoint {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let found = stack.admin().committed("g", &["t"]).await.unwrap();
        if let Some(committed) = found.get(source) {
            return committed.checkpoint.clone().unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing is committed of `{source}`");
}

/// A process may die before it has a batch, and the next one must not skip what came in between.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_partition_starts_is_committed_when_it_is_decided() {
    let stack = Stack::with_topic("t", 1).await;
    stack.publish("t", 0, values(10, 20)).await;
    let zero = partition("t", 0);
    let latest = SourceOptions { reset: OffsetReset::Latest, ..SourceOptions::default() };
    let mut member = stack.member_with(&["t"], &latest);
    member.until("assigned", |member| member.owns(&zero)).await;
    assert_eq!(await_commit(&stack, &zero).await, Checkpoint::settled(10));
    member.source.close().await;
    stack.publish("t", 0, values(5, 20)).await;
    let mut member = stack.member_with(&["t"], &latest);
    member.until("the rest is read", |member| member.caught_up.get(&zero) == Some(&15)).await;
    assert_eq!(member.offsets[&zero], [10, 11, 12, 13, 14]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_kafka_does_not_take_is_told_and_tried_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 2];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &denied);
    let options = KafkaOptions::new([cluster.bootstrap_servers()]);
    let zero = partition("t", 0);
    let mut member = Member::join(&options, &["t"], &SourceOptions::default());
    member.until("told", |member| !member.faults.is_empty()).await;
    let fault = &member.faults[0];
    assert!(fault.kind == FaultKind::Denied && fault.message.contains("`t/0`"), "{fault}");
    assert!(member.owns(&zero));
    let admin = KafkaAdmin::connect(&options).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while admin.committed("g", &["t"]).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "never committed; faults: {:?}", member.faults);
        let _further =
            tokio::time::timeout(Duration::from_millis(50), member.until("no end", |_| false)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_counted_without_joining() {
    let stack = Stack::with_topic("t", 2).await;
    stack.publish("t", 0, values(10, 20)).await;
    let zero = partition("t", 0);
    let lag = stack.admin().group_lag("g", &["t", "absent"]).await.unwrap();
    assert_eq!((lag.len(), lag[&zero].lag(), lag[&zero].committed), (2, 10, None));
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    member.commit(&zero, Checkpoint::settled(7)).await.unwrap();
    let lag = stack.admin().group_lag("g", &["t"]).await.unwrap();
    assert_eq!((lag[&zero].lag(), lag[&zero].committed), (3, Some(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_commit_is_taken_up_at_its_offset() {
    let stack = Stack::with_topic("t", 1).await;
    stack.publish("t", 0, values(10, 20)).await;
    commit_as_stranger(&stack, "t", 4, "written by hand").await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    assert_eq!(member.assigned[&zero].checkpoint, Checkpoint::settled(4));
    assert_eq!(member.source.counters().foreign_checkpoints(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_behind_the_log_goes_to_the_first_record_and_is_counted() {
    let stack = Stack::with_topic("t", 1).await;
    stack.publish("t", 0, values(10, 20)).await;
    commit_as_stranger(&stack, "t", 400, "v1").await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("everything is read", |member| member.caught_up.get(&zero) == Some(&10)).await;
    assert_eq!(member.offsets[&zero], (0..10).collect::<Vec<_>>());
    assert_eq!(member.revoked, std::slice::from_ref(&zero));
    assert_eq!(member.assigned[&zero].checkpoint, Checkpoint::settled(0));
    assert_eq!(member.source.counters().out_of_range(), 1);
    assert_eq!(member.commit(&zero, Checkpoint::settled(10)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_retention_overtook_goes_to_the_first_record_and_is_counted() {
    let stack = Stack::with_topic("t", 1).await;
    stack.publish("t", 0, values(10, 20)).await;
    commit_as_stranger(&stack, "t", 2, "v1").await;
    remove_before(&stack, 6).await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("the rest is read", |member| member.caught_up.contains_key(&zero)).await;
    assert_eq!(member.offsets[&zero], [6, 7, 8, 9]);
    assert_eq!(member.source.counters().out_of_range(), 1);
    assert_eq!(member.missed, [(zero, OffsetRange::new(2, 6).unwrap())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_reset_only_while_it_has_no_members() {
    let stack = Stack::with_topic("t", 2).await;
    stack.publish("t", 0, values(10, 20)).await;
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let admin = stack.admin();
    assert_eq!(admin.members("g").await, Ok(Vec::new()));
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero) && member.owns(&one)).await;
    member.commit(&zero, intent(3, 8)).await.unwrap();
    let rewind = Some(Rewind { id: 7, until: 10, replay: Replay::Fill });
    let checkpoints: BTreeMap<_, _> =
        [(zero.clone(), Checkpoint::settled(1).rewound(rewind)), (one.clone(), Checkpoint::settled(0))]
            .into();

    let members = admin.members("g").await.unwrap();
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!((members[0].client.as_str(), members[0].host.is_empty()), ("tidegate", false));
    let refused = admin.reset("g", checkpoints.clone()).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Unavailable, "{refused}");
    assert_eq!(admin.committed("g", &["t"]).await.unwrap()[&zero].checkpoint, Ok(intent(3, 8)));

    member.source.close().await;
    assert_eq!(admin.members("g").await, Ok(Vec::new()));
    admin.reset("g", checkpoints.clone()).await.unwrap();
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero) && member.owns(&one)).await;
    for (source, checkpoint) in &checkpoints {
        assert_eq!(member.assigned[source].checkpoint, *checkpoint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_the_first_record_from_then_on_or_the_end() {
    let stack = Stack::with_topic("t", 2).await;
    stack.publish("t", 0, values(10, 20)).await;
    let admin = stack.admin();
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let at = async |millis| {
        let found = admin.offsets_at(&["t"], millis).await.unwrap();
        (found[&zero], found[&one])
    };
    assert_eq!(at(0).await, (0, 0));
    assert_eq!(at(i64::MAX / 2).await, (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_retention_overtakes_is_kept_and_goes_on_behind_what_is_gone() {
    let stack = Stack::with_topic("t", 2).await;
    let (zero, one) = (partition("t", 0), partition("t", 1));
    stack.publish("t", 0, values(5, 20)).await;
    let mut member = stack.member(&["t"]);
    member.until("five are read", |member| member.caught_up.get(&zero) == Some(&5)).await;
    member.source.pause(&zero);
    stack.publish("t", 1, values(1, 20)).await;
    member.until("the pause is carried out", |member| member.offsets.contains_key(&one)).await;
    stack.publish("t", 0, values(10, 20)).await;
    remove_before(&stack, 12).await;
    member.source.resume(&zero);
    member.until("the rest is read", |member| member.caught_up.get(&zero) == Some(&15)).await;
    assert_eq!(member.offsets[&zero], [0, 1, 2, 3, 4, 12, 13, 14]);
    assert_eq!(member.missed, [(zero.clone(), OffsetRange::new(5, 12).unwrap())]);
    // What was read before is still on its way, and may be committed.
    assert_eq!(member.revoked, []);
    assert_eq!(member.commit(&zero, Checkpoint::settled(5)).await, Ok(()));
}

/// Retention takes everything before an offset of partition 0.
async fn remove_before(stack: &Stack, offset: i64) {
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", stack.address.to_string()).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(offset)).unwrap();
    let options = rdkafka::admin::AdminOptions::new().request_timeout(Some(DEADLINE));
    admin.delete_records(&list, &options).await.unwrap();
}
