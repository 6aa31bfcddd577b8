use std::sync::Arc;
use std::time::Instant;

use tidegate_core::{
    Checkpoint, DeadLetterContext, Fault, FaultKind, Header, PlanFingerprint, Reason, ReasonCode, Records,
    Reject, Stage, Timestamp, TimestampKind, TopicPartition,
};
use tidegate_kafka::dead_letter::DeadLetterRecord;
use tidegate_kafka::{BoundedReader, OwnedRecord, ReadFrom, TopicSpec, TransactionalProducer};
use tidegate_pipeline::port::{CheckpointLog, Epoch, Rejected};

use crate::stack::{DEADLINE, Member, Stack, partition};

const OWN: [Header<'_>; 4] = [
    Header { name: "a", value: Some(b"1") },
    Header { name: "b", value: None },
    Header { name: "a", value: Some(b"") },
    Header { name: "bytes", value: Some(&[0, 0xff]) },
];

fn batch(source: TopicPartition) -> Records {
    let mut records = Records::new(source);
    let timestamp = Some(Timestamp { millis: 1_700_000_000_001, kind: TimestampKind::CreateTime });
    records.push(0, timestamp, Some(b"key"), Some(b"fine"), []);
    records.push(1, timestamp, Some(&[0xfe]), Some(&[0xff, 0, b'{']), OWN);
    records.push(2, timestamp, Some(b""), None, []);
    records.push(3, timestamp, None, Some(b""), []);
    records
}

fn rejected(indexes: impl IntoIterator<Item = usize>) -> Vec<Rejected> {
    let reject = || Reject::new(Stage::Decode, Reason::new(ReasonCode::NotUtf8, "UTF-8", "ff"));
    indexes.into_iter().map(|index| Rejected { index, reject: reject() }).collect()
}

async fn commit(
    member: &Member,
    epoch: Epoch,
    records: &Records,
    rejected: &[Rejected],
) -> Result<(), Fault> {
    let context = DeadLetterContext {
        connector: "c".to_owned(),
        group: "g".to_owned(),
        processor: "tidegate/0".to_owned(),
    };
    let checkpoint = Checkpoint::settled(4);
    let plan = PlanFingerprint(1);
    member.checkpoints.commit_with_dead_letters(epoch, checkpoint, records, rejected, &context, plan).await
}

async fn committed(stack: &Stack, source: &TopicPartition) -> Option<i64> {
    let committed = stack.admin().committed("g", &["t"]).await.unwrap();
    committed.get(source).map(|committed| committed.offset)
}

async fn ready(dlq: TopicSpec) -> (Stack, Member) {
    let stack = Stack::with_topic("t", 4).await;
    stack.topic(dlq).await;
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.assigned.len() == 4).await;
    (stack, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_its_record_byte_for_byte() {
    let (stack, member) = ready(TopicSpec::dead_letters("dlq", 3)).await;
    let three = partition("t", 3);
    let records = batch(three.clone());
    let epoch = member.assigned[&three].epoch;
    commit(&member, epoch, &records, &rejected([1, 2, 3])).await.unwrap();
    assert_eq!(committed(&stack, &three).await, Some(4));
    let mut reader = BoundedReader::open(&stack.options, "dlq", ReadFrom::Beginning).unwrap();
    let letters = reader.next().await.unwrap().unwrap();
    assert_eq!((letters.source(), letters.len()), (&partition("dlq", 0), 3));
    assert!(reader.next().await.is_none());
    for (letter, offset) in letters.iter().zip(1..) {
        let original = records.iter().find(|record| record.offset == offset).unwrap();
        assert_eq!((letter.key, letter.value), (original.key, original.value));
        assert_eq!(letter.timestamp, original.timestamp);
        let letter = DeadLetterRecord::parse(letter).unwrap();
        assert_eq!((&letter.provenance.source, letter.provenance.offset), (&three, offset));
        let (own, expected): (Vec<_>, Vec<_>) =
            (letter.original_headers().collect(), original.headers().collect());
        assert_eq!(own, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_leaves_neither_letters_nor_checkpoint() {
    let mut dlq = TopicSpec::dead_letters("dlq", 1);
    dlq.configs.insert("max.message.bytes".to_owned(), "20000".to_owned());
    let (stack, member) = ready(dlq).await;
    let zero = partition("t", 0);
    let mut records = batch(zero.clone());
    records.push(4, None, None, Some(&vec![b'x'; 50_000]), []);
    let epoch = member.assigned[&zero].epoch;
    let fault = commit(&member, epoch, &records, &rejected([1, 4])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.message.contains("max.message.bytes"), "{fault}");
    assert_eq!(stack.read("dlq").await, []);
    assert_ne!(committed(&stack, &zero).await, Some(4));
    // The producer goes on.
    commit(&member, epoch, &records, &rejected([1])).await.unwrap();
    assert_eq!(stack.read("dlq").await.len(), 1);
    assert_eq!(committed(&stack, &zero).await, Some(4));
}

/// Commits the letter of record 1 of each partition at once, and tells what became of each.
async fn commit_together(stack: &Stack, batches: Vec<Records>) -> (Member, Vec<Result<(), Fault>>) {
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.assigned.len() == batches.len()).await;
    let member = Arc::new(member);
    let mut commits = Vec::new();
    for records in batches {
        let member = Arc::clone(&member);
        commits.push(tokio::spawn(async move {
            let epoch = member.assigned[records.source()].epoch;
            let deadline = Instant::now() + DEADLINE;
            loop {
                let result = commit(&member, epoch, &records, &rejected([1])).await;
                // Right behind an aborted transaction the client may purge the records of the next one, too.
                let later = result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Unavailable);
                if !later || Instant::now() > deadline {
                    return result;
                }
            }
        }));
    }
    let mut results = Vec::new();
    for commit in commits {
        results.push(commit.await.unwrap());
    }
    (Arc::into_inner(member).unwrap(), results)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_wait_at_the_same_time_are_one_transaction() {
    let stack = Stack::with_topic("t", 8).await;
    stack.topic(TopicSpec::dead_letters("dlq", 1)).await;
    let (member, results) = commit_together(&stack, (0..8).map(|n| batch(partition("t", n))).collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(stack.read("dlq").await.len(), 8);
    for n in 0..8 {
        assert_eq!(committed(&stack, &partition("t", n)).await, Some(4));
    }
    // Each transaction leaves a marker. The first goes alone while the others come, since it makes the producer.
    let end = stack.admin().watermarks(&["dlq"]).await.unwrap()[&partition("dlq", 0)].end;
    assert!(end <= 8 + 4, "{} transactions of eight batches", end - 8);
    member.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_kafka_refuses_does_not_keep_back_those_beside_it() {
    let stack = Stack::with_topic("t", 8).await;
    let mut dlq = TopicSpec::dead_letters("dlq", 1);
    dlq.configs.insert("max.message.bytes".to_owned(), "20000".to_owned());
    stack.topic(dlq).await;
    let mut batches: Vec<Records> = (0..8).map(|n| batch(partition("t", n))).collect();
    let mut too_large = Records::new(partition("t", 5));
    too_large.push(0, None, None, Some(b"fine"), []);
    too_large.push(1, None, None, Some(&vec![b'x'; 50_000]), []);
    batches[5] = too_large;
    let (member, results) = commit_together(&stack, batches).await;
    for (n, result) in (0..8).zip(&results) {
        let kind = result.as_ref().err().map(|fault| fault.kind);
        assert_eq!(kind, (n == 5).then_some(FaultKind::Denied), "{result:?}");
        assert_eq!(committed(&stack, &partition("t", n)).await == Some(4), n != 5);
    }
    assert_eq!(stack.read("dlq").await.len(), 7, "each once");
    member.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_under_a_closed_epoch_are_fenced() {
    let (stack, member) = ready(TopicSpec::dead_letters("dlq", 1)).await;
    let zero = partition("t", 0);
    let closed = Epoch(member.assigned[&zero].epoch.0 + 1);
    let fault = commit(&member, closed, &batch(zero.clone()), &rejected([1])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Fenced);
    assert_eq!(stack.read("dlq").await, []);
    assert_ne!(committed(&stack, &zero).await, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_dead_letter_topic_is_named() {
    let stack = Stack::with_topic("t", 1).await;
    let zero = partition("t", 0);
    let mut member = stack.member(&["t"]);
    member.until("assigned", |member| member.owns(&zero)).await;
    let epoch = member.assigned[&zero].epoch;
    let fault = commit(&member, epoch, &batch(zero.clone()), &rejected([1])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Missing, "{fault}");
    assert!(fault.message.contains("`dlq`"), "{fault}");
    stack.topic(TopicSpec::dead_letters("dlq", 1)).await;
    commit(&member, epoch, &batch(zero), &rejected([1])).await.unwrap();
    assert_eq!(stack.read("dlq").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_nothing_but_rejects_passes_in_chunks() {
    let (stack, member) = ready(TopicSpec::dead_letters("dlq", 1)).await;
    let zero = partition("t", 0);
    let mut records = Records::new(zero.clone());
    for offset in 0..3_000 {
        records.push(offset, None, None, Some(&[b'x'; 1_000]), []);
    }
    let epoch = member.assigned[&zero].epoch;
    commit(&member, epoch, &records, &rejected(0..3_000)).await.unwrap();
    assert_eq!(stack.read("dlq").await.len(), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_producer_is_made_anew() {
    let (stack, member) = ready(TopicSpec::dead_letters("dlq", 1)).await;
    let mut other = TransactionalProducer::new(&stack.options, "taken");
    let record = |topic: &str| OwnedRecord { topic: topic.to_owned(), ..OwnedRecord::default() };
    other.write(vec![record("dlq")]).await.unwrap();
    TransactionalProducer::new(&stack.options, "taken").write(vec![record("dlq")]).await.unwrap();
    let fault = other.write(vec![record("dlq")]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable, "{fault}");
    other.write(vec![record("dlq")]).await.unwrap();
    assert_eq!(stack.read("dlq").await.len(), 3);
    other = TransactionalProducer::new(&stack.options, "another");
    let nowhere = other.write(vec![record("dlq"), OwnedRecord { partition: Some(9), ..record("dlq") }]).await;
    assert_eq!(nowhere.unwrap_err().kind, FaultKind::Missing);
    assert_eq!(stack.read("dlq").await.len(), 3);
    drop(member);
}
