//! `tidegate dlq`: look at dead letters, and put them back after a fix.
//!
//! The dead-letter topic is the truth. A replay puts the original record back and writes a mark for the
//! letter into the topic `<dead-letter topic>.replays`, both in one Kafka transaction: whoever replays
//! again reads the marks first and puts nothing back twice.

pub mod flags;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, bail};
use tidegate_config::{self as config, Connector};
use tidegate_core::{DeadLetterId, Records, TopicPartition};
use tidegate_kafka::dead_letter::DeadLetterRecord;
use tidegate_kafka::{
    BoundedReader, KafkaAdmin, KafkaOptions, OwnedRecord, ReadFrom, TopicSpec, TransactionalProducer,
};

use self::flags::{Command, Filter, List, Replay, Show, Source};
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::render;
use crate::report::{
    Bytes, DeadLetterExample, DlqLine, DlqListReport, DlqReplayReport, DlqShowReport, ReasonLine,
};
use crate::wire;

/// How many records one transaction puts back.
const REPLAY_BATCH: usize = 500;

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: Command, speech: &Speech) -> anyhow::Result<Exit> {
    match command {
        Command::List(flags) => list(&flags, speech).await,
        Command::Show(flags) => show(&flags, speech).await,
        Command::Replay(flags) => replay(&flags, speech).await,
    }
}

/// One dead letter in short.
#[must_use]
pub fn example(letter: &DeadLetterRecord<'_>) -> DeadLetterExample {
    let reason = letter.errors.first();
    let text = |pick: fn(&tidegate_kafka::dead_letter::LetterReason) -> &str| {
        reason.map(pick).unwrap_or_default().to_owned()
    };
    DeadLetterExample {
        topic: letter.provenance.source.topic.to_string(),
        partition: letter.provenance.source.partition,
        offset: letter.provenance.offset,
        table: letter.table.clone(),
        field: text(|reason| &reason.path),
        found: text(|reason| &reason.found),
        expected: text(|reason| &reason.expected),
    }
}

/// The dead letters of one connector.
struct Letters {
    kafka: KafkaOptions,
    clickhouse: tidegate_clickhouse::Client,
    database: String,
    table: String,
    topic: String,
}

impl Letters {
    fn open(source: &Source) -> anyhow::Result<Self> {
        let file = config::load_sink(&source.config)?;
        let connector = pick(&file.connectors, source.connector.as_deref())?;
        let database = connector.database.as_ref().unwrap_or(&file.clickhouse.database);
        Ok(Self {
            kafka: wire::kafka(&file.kafka),
            clickhouse: wire::clickhouse(&file.clickhouse)?,
            database: database.to_string(),
            table: connector.dead_letters.table.to_string(),
            topic: connector.dead_letter_topic(),
        })
    }

    fn marks_topic(&self) -> String {
        format!("{}.replays", self.topic)
    }

    /// Calls `take` for every letter that matches, in the topic's order.
    async fn each(
        &self,
        filter: &Filter,
        mut take: impl FnMut(&TopicPartition, &DeadLetterRecord<'_>),
    ) -> anyhow::Result<()> {
        let mut foreign = 0u64;
        self.read(&self.topic, |records| {
            for record in records.iter() {
                match DeadLetterRecord::parse(record) {
                    Ok(letter) if matches(filter, &letter) => take(records.source(), &letter),
                    Ok(_) => {}
                    Err(error) => {
                        foreign += 1;
                        tracing::debug!(%error, "record is not a dead letter");
                    }
                }
            }
        })
        .await?;
        if foreign > 0 {
            tracing::warn!(topic = self.topic, foreign, "records of other programs were left aside");
        }
        Ok(())
    }

    /// The letters that have been put back.
    async fn replayed(&self) -> anyhow::Result<BTreeSet<DeadLetterId>> {
        let mut marked = BTreeSet::new();
        let topic = self.marks_topic();
        if KafkaAdmin::connect(&self.kafka)?.partition_count(&topic).await?.is_none() {
            return Ok(marked);
        }
        self.read(&topic, |records| {
            let keys = records.iter().filter_map(|record| std::str::from_utf8(record.key?).ok());
            marked.extend(keys.filter_map(DeadLetterId::parse));
        })
        .await?;
        Ok(marked)
    }

    async fn read(&self, topic: &str, mut take: impl FnMut(&Records)) -> anyhow::Result<()> {
        let mut reader = BoundedReader::open(&self.kafka, topic, ReadFrom::Beginning)?;
        while let Some(records) = reader.next().await {
            take(&records.with_context(|| format!("read topic `{topic}`"))?);
        }
        Ok(())
    }
}

/// The connector of that name, or the only one.
///
/// # Errors
/// When there is none, or there are several and none was named.
pub fn pick<'a>(connectors: &'a [Connector], name: Option<&str>) -> anyhow::Result<&'a Connector> {
    let names =
        || connectors.iter().map(|connector| format!("`{}`", connector.name)).collect::<Vec<_>>().join(", ");
    match (name, connectors) {
        (None, [only]) => Ok(only),
        (None, _) => bail!("the file has several connectors: {}; name one with --connector", names()),
        (Some(name), _) => connectors
            .iter()
            .find(|connector| connector.name.as_str() == name)
            .with_context(|| format!("the file has no connector `{name}`; it has {}", names())),
    }
}

fn matches(filter: &Filter, letter: &DeadLetterRecord<'_>) -> bool {
    let source = &letter.provenance.source;
    filter.reason.as_ref().is_none_or(|reason| *reason == letter.code)
        && filter.topic.as_ref().is_none_or(|topic| **topic == *source.topic)
        && filter.partition.is_none_or(|partition| partition == source.partition)
        && filter.offset.is_none_or(|offset| offset == letter.provenance.offset)
        && filter.id.as_ref().is_none_or(|id| *id == letter.id.to_string())
        && filter.table.as_ref().is_none_or(|table| Some(table) == letter.table.as_ref())
}

fn line(letter: &DeadLetterRecord<'_>, replayed: &BTreeSet<DeadLetterId>) -> DlqLine {
    DlqLine {
        id: letter.id.to_string(),
        code: letter.code.clone(),
        stage: letter.stage.clone(),
        attempt: letter.attempt,
        replayed: replayed.contains(&letter.id),
        example: example(letter),
    }
}

async fn list(flags: &List, speech: &Speech) -> anyhow::Result<Exit> {
    let letters = Letters::open(&flags.source)?;
    let replayed = letters.replayed().await?;
    let mut counts = BTreeMap::new();
    let mut newest = VecDeque::new();
    letters
        .each(&flags.filter, |_, letter| {
            *counts.entry(letter.code.clone()).or_default() += 1;
            newest.push_front(line(letter, &replayed));
            newest.truncate(flags.limit);
        })
        .await?;
    let report = DlqListReport { topic: letters.topic, counts, letters: newest.into() };
    print(speech, &report, render::dlq_list)?;
    Ok(Exit::Done)
}

async fn show(flags: &Show, speech: &Speech) -> anyhow::Result<Exit> {
    let letters = Letters::open(&flags.source)?;
    let replayed = letters.replayed().await?;
    let filter = Filter { id: Some(flags.id.clone()), ..Filter::default() };
    let mut found = None;
    letters.each(&filter, |stored, letter| found = Some(whole(stored, letter, &replayed))).await?;
    let report = found.with_context(|| {
        format!("topic `{}` has no dead letter `{}`; `tidegate dlq list` shows them", letters.topic, flags.id)
    })?;
    print(speech, &report, render::dlq_show)?;
    Ok(Exit::Done)
}

fn whole(
    stored: &TopicPartition,
    letter: &DeadLetterRecord<'_>,
    replayed: &BTreeSet<DeadLetterId>,
) -> DlqShowReport {
    let headers = letter.original_headers().map(|header| {
        (header.name.to_owned(), header.value.map(|value| String::from_utf8_lossy(value).into_owned()))
    });
    let reasons = letter.errors.iter().map(|reason| ReasonLine {
        code: reason.code.clone(),
        path: reason.path.clone(),
        column: reason.column.clone(),
        rule: reason.rule.clone(),
        expected: reason.expected.clone(),
        found: reason.found.clone(),
    });
    DlqShowReport {
        letter: line(letter, replayed),
        event: letter.event.clone(),
        timestamp: letter
            .timestamp
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .map(|timestamp| timestamp.to_string()),
        stored: format!("{stored}/{}", letter.record.offset),
        reasons: reasons.collect(),
        headers: headers.collect(),
        key: letter.record.key.map(Bytes::new),
        value: letter.record.value.map(Bytes::new),
    }
}

async fn replay(flags: &Replay, speech: &Speech) -> anyhow::Result<Exit> {
    let letters = Letters::open(&flags.source)?;
    let producer = TransactionalProducer::new(&letters.kafka, format!("tidegate-replay-{}", letters.topic));
    if !flags.dry_run {
        let mut topic = TopicSpec::new(letters.marks_topic(), 1);
        topic.configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
        KafkaAdmin::connect(&letters.kafka)?.ensure_topic(&topic).await?;
        // An empty transaction fences whoever replays these letters at the same time, before the marks
        // are read: otherwise both could read the same marks and put the same records back.
        producer.write(Vec::new()).await.context("start to replay")?;
    }
    let replayed = letters.replayed().await?;
    let mut report = DlqReplayReport {
        topic: letters.topic.clone(),
        dry_run: flags.dry_run,
        replayed: BTreeMap::new(),
        already: 0,
    };
    let mut chosen = Vec::new();
    letters
        .each(&flags.filter, |stored, letter| {
            if replayed.contains(&letter.id) {
                report.already += 1;
            } else if flags.limit.is_none_or(|limit| chosen.len() < limit) {
                *report.replayed.entry(letter.provenance.source.topic.to_string()).or_default() += 1;
                chosen.push((letter.id, letter.replay(stored)));
            }
        })
        .await?;
    if !flags.dry_run {
        put_back(&letters, &producer, chosen).await?;
        mark_rows(&letters).await?;
    }
    print(speech, &report, render::dlq_replay)?;
    Ok(Exit::Done)
}

/// Puts records back, each together with its mark.
async fn put_back(
    letters: &Letters,
    producer: &TransactionalProducer,
    chosen: Vec<(DeadLetterId, OwnedRecord)>,
) -> anyhow::Result<()> {
    for batch in chosen.chunks(REPLAY_BATCH) {
        let records = batch.iter().flat_map(|(id, record)| {
            let mark = OwnedRecord {
                topic: letters.marks_topic(),
                partition: Some(0),
                key: Some(id.to_string().into_bytes()),
                value: Some(record.topic.clone().into_bytes()),
                headers: Vec::new(),
                timestamp: None,
            };
            [record.clone(), mark]
        });
        producer.write(records.collect()).await.context("put records back")?;
    }
    Ok(())
}

/// Brings the table of dead letters up to the marks. It is a view for people: if this is cut short, the
/// next replay does it again.
async fn mark_rows(letters: &Letters) -> anyhow::Result<()> {
    let marked: Vec<String> = letters.replayed().await?.iter().map(|id| format!("'{id}'")).collect();
    for ids in marked.chunks(REPLAY_BATCH) {
        let (database, table) = (
            tidegate_clickhouse::quote_name(&letters.database),
            tidegate_clickhouse::quote_name(&letters.table),
        );
        let sql = format!(
            // The conditions stand inside: outside, `state` would be the replaced one.
            "INSERT INTO {database}.{table} \
             SELECT * REPLACE ('replayed' AS state, 1 AS version, topic AS replayed_to) FROM \
             (SELECT * FROM {database}.{table} FINAL WHERE state = 'open' AND id IN ({}))",
            ids.join(",")
        );
        letters.clickhouse.execute(&sql).await.context("mark the rows of replayed dead letters")?;
    }
    Ok(())
}
