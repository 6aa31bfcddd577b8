use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidegate_core::{Checkpoint, FaultKind};
use tidegate_kafka::{AssignmentStrategy, SourceOptions, TopicSpec};
use tidegate_pipeline::port::CheckpointLog;

use crate::stack::{DEADLINE, Member, Stack, partition, values};

/// Lets both members take events until they share the partitions.
async fn share(old: &mut Member, new: &mut Member) {
    let half = |member: &Member| member.assigned.len() == 1;
    let both = async {
        tokio::join!(old.until("the old member keeps one", half), new.until("the new member has one", half));
    };
    tokio::time::timeout(DEADLINE, both).await.expect("the group settles");
}

async fn check(strategy: AssignmentStrategy) {
    let stack = Stack::with_topic("t", 2).await;
    let options = SourceOptions { strategy, ..SourceOptions::default() };
    let mut old = stack.member_with(&["t"], &options);
    old.until("both partitions assigned", |member| member.assigned.len() == 2).await;
    let before = old.assigned.clone();
    let mut new = stack.member_with(&["t"], &options);
    share(&mut old, &mut new).await;
    let moved = new.assigned.keys().next().unwrap().clone();
    let kept = old.assigned.keys().next().unwrap().clone();

    new.commit(&moved, Checkpoint::settled(5)).await.unwrap();
    let late = old.checkpoints.commit(before[&moved].epoch, &moved, Checkpoint::settled(1)).await;
    assert_eq!(late.unwrap_err().kind, FaultKind::Fenced);
    assert_eq!(old.commit(&kept, Checkpoint::settled(3)).await, Ok(()));
    let committed = stack.admin().committed("g", &["t"]).await.unwrap();
    assert_eq!((committed[&moved].offset, committed[&kept].offset), (5, 3));

    // The partition comes back: its former epoch stays closed.
    new.source.close().await;
    old.until("both partitions again", |member| member.assigned.len() == 2).await;
    assert_eq!(old.assigned[&moved].checkpoint, Checkpoint::settled(5));
    let late = old.checkpoints.commit(before[&moved].epoch, &moved, Checkpoint::settled(1)).await;
    assert_eq!(late.unwrap_err().kind, FaultKind::Fenced);
    assert_eq!(old.commit(&moved, Checkpoint::settled(6)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_under_an_old_epoch_is_fenced() {
    check(AssignmentStrategy::CooperativeSticky).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_under_an_old_epoch_is_fenced_with_eager_rebalances() {
    check(AssignmentStrategy::Range).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_after_the_source_is_closed_is_fenced() {
    let stack = Stack::with_topic("t", 1).await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    let Member { source, checkpoints, assigned, .. } = member;
    source.close().await;
    let late = checkpoints.commit(assigned[&zero].epoch, &zero, Checkpoint::settled(1)).await;
    assert_eq!(late.unwrap_err().kind, FaultKind::Fenced);
}

/// A transaction that has offset 3 of partition 0 and does not end.
async fn hold_offset(stack: &Stack) -> BaseProducer {
    let address = stack.address.to_string();
    let held = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address);
        let producer: BaseProducer = config.clone().set("transactional.id", "dead").create().unwrap();
        let outsider: BaseConsumer = config.set("group.id", "g").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(3)).unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        let group = outsider.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&list, &group, DEADLINE).unwrap();
        producer
    });
    held.await.unwrap()
}

/// Waits until the group has so many members, and none of them is waited for.
async fn stable(stack: &Stack, n_members: usize) {
    let config = ClientConfig::new().set("bootstrap.servers", stack.address.to_string()).clone();
    let waiting = tokio::task::spawn_blocking(move || {
        let viewer: BaseConsumer = config.create().unwrap();
        loop {
            let groups = viewer.fetch_group_list(Some("g"), DEADLINE).unwrap();
            if groups.groups().iter().any(|g| g.state() == "Stable" && g.members().len() == n_members) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    waiting.await.unwrap();
}

/// A process that died in a transaction leaves it open for half a minute. A member that is given its partition would
/// keep the group from its next rebalance for as long, if it accepted what it is given only once it knows all of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_a_transaction_holds_keeps_back_its_partition_alone() {
    let stack = Stack::with_topic("t", 2).await;
    let held = hold_offset(&stack).await;
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let mut old = stack.member(&["t"]);
    old.until("the other partition assigned", |member| member.owns(&one)).await;
    assert!(!old.owns(&zero));
    let mut new = stack.member(&["t"]);
    // The group rebalances while the offset is held.
    let listening = async {
        tokio::join!(old.until("no end", |_| false), new.until("no end", |_| false));
    };
    tokio::select! {
        () = stable(&stack, 2) => {}
        () = listening => unreachable!("nothing ends it"),
    }
    held.abort_transaction(DEADLINE).unwrap();
    share(&mut old, &mut new).await;
}

/// A process that has read a topic to its end commits what it read, and the topic is another by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_takes_no_commit_of_its_former_life() {
    let stack = Stack::with_topic("t", 1).await;
    let zero = partition("t", 0);
    stack.publish("t", 0, values(3, 20)).await;
    let mut member = stack.member(&["t"]);
    let n_read = |member: &Member| member.offsets.values().flatten().count();
    member.until("all read", |member| n_read(member) == 3).await;
    let former = member.assigned[&zero].epoch;
    stack.admin().delete_topic("t").await.unwrap();
    let late = member.commit(&zero, Checkpoint::settled(3)).await;
    assert_eq!(late.unwrap_err().kind, FaultKind::Fenced);
    stack.topic(TopicSpec::new("t", 1)).await;
    stack.publish("t", 0, values(5, 20)).await;
    let late = member.checkpoints.commit(former, &zero, Checkpoint::settled(3)).await;
    assert_eq!(late.unwrap_err().kind, FaultKind::Fenced);
    member.until("read anew", |member| n_read(member) == 8).await;
    assert_eq!(member.offsets[&zero], [0, 1, 2, 0, 1, 2, 3, 4]);
    assert_eq!(member.commit(&zero, Checkpoint::settled(5)).await, Ok(()));
}
