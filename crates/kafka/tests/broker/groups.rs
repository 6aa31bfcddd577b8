use tidegate_core::{Checkpoint, FaultKind};
use tidegate_kafka::{AssignmentStrategy, SourceOptions};
use tidegate_pipeline::port::CheckpointLog;

use crate::stack::{DEADLINE, Member, Stack, partition};

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
