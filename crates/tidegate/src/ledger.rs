//! `tidegate ledger`: what became of every offset of a topic, as Kafka and ClickHouse tell it now.

pub mod account;
mod tables;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidegate_config::Tombstones;
use tidegate_core::{OffsetRange, OffsetSet};
use tidegate_kafka::dead_letter::DeadLetterRecord;
use tidegate_kafka::{BoundedReader, ReadFrom};

use self::account::{Claim, Counts, Entry, Evidence, Fate, account, gaps};
pub use self::tables::Tables;
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::group::{Group, GroupFlags};
use crate::render;

/// Flags of `tidegate ledger`.
#[derive(Debug, Args)]
#[command(after_help = "\
A record is found by the columns _topic, _partition and _offset, which the sink fills where a table has them. Of
tables without them it can only be said how many rows they have. Exit code 1 says that some record which the
group has passed is nowhere, in several places, or untraceable.

Examples:
  tidegate ledger --config sink.yaml
  tidegate ledger --config sink.yaml --partition 0 --from 50 --until 60
  tidegate ledger --config sink.yaml --output json | jq '.partitions[].entries[] | select(.fate != \"row\")'")]
pub struct Flags {
    /// Which group and topic.
    #[command(flatten)]
    pub group: GroupFlags,
    /// Only these partitions
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub partition: Vec<i32>,
    /// Only offsets from this one on
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<i64>,
    /// Only offsets before this one
    #[arg(long, value_name = "OFFSET")]
    pub until: Option<i64>,
    /// Look into these tables; into all that the connector's `table` may name if absent
    #[arg(long, value_name = "TABLE,..", value_delimiter = ',')]
    pub tables: Vec<String>,
}

/// What became of a topic's offsets. An interface: the fields keep their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// The connector.
    pub connector: String,
    /// Its consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Whether every record that the group has passed is in one place, once.
    pub accounted: bool,
    /// All partitions together.
    pub counts: Counts,
    /// The tables that were asked.
    pub tables: Vec<String>,
    /// Tables that do not say which records they hold, with their rows.
    pub untraceable_tables: BTreeMap<String, u64>,
    /// Each partition.
    pub partitions: Vec<PartitionLedger>,
}

/// What became of a partition's offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionLedger {
    /// The partition.
    pub partition: i32,
    /// The first offset that was looked at.
    pub first: i64,
    /// One past the last.
    pub end: i64,
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// The sum.
    pub counts: Counts,
    /// Every offset, once, in order.
    pub entries: Vec<Entry>,
}

/// Runs `tidegate ledger`.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let group = Group::open(&flags.group)?;
    let mut ranges = group.log().await?;
    if let Some(absent) = flags.partition.iter().find(|partition| !ranges.contains_key(*partition)) {
        bail!("topic `{}` has no partition {absent}; it has {}", group.topic, ranges.len());
    }
    ranges.retain(|partition, _| flags.partition.is_empty() || flags.partition.contains(partition));
    for range in ranges.values_mut() {
        let first = flags.from.map_or(range.first(), |from| from.clamp(range.first(), range.end()));
        let end = flags.until.map_or(range.end(), |until| until.clamp(first, range.end()));
        *range = OffsetRange::new(first, end).context("--until stands before --from")?;
    }
    let tables = Tables::find(&group, &flags.tables).await?;
    let committed = group.committed().await?;
    let committed = committed.iter().map(|(partition, committed)| (*partition, committed.offset)).collect();
    let entries = take(&group, &tables, &ranges, &committed).await?;
    let report = report(&group, tables, entries, (&ranges, &committed));
    print(speech, &report, render::ledger)?;
    Ok(if report.accounted { Exit::Done } else { Exit::Failed })
}

fn report(
    group: &Group,
    tables: Tables,
    entries: BTreeMap<i32, Vec<Entry>>,
    (ranges, committed): (&BTreeMap<i32, OffsetRange>, &BTreeMap<i32, i64>),
) -> LedgerReport {
    let mut counts = Counts::default();
    let mut partitions = Vec::new();
    for (partition, entries) in entries {
        let Some(range) = ranges.get(&partition) else { continue };
        let own = Counts::of(&entries, *range);
        counts.add(&own);
        partitions.push(PartitionLedger {
            partition,
            first: range.first(),
            end: range.end(),
            committed: committed.get(&partition).copied(),
            counts: own,
            entries,
        });
    }
    LedgerReport {
        connector: group.connector.name.to_string(),
        group: group.name.clone(),
        topic: group.topic.clone(),
        accounted: counts.nowhere + counts.twice + counts.untraceable == 0,
        counts,
        tables: tables.traceable,
        untraceable_tables: tables.untraceable,
        partitions,
    }
}

/// Accounts for these ranges. `committed` is to be read before this is called: what a running sink passes later is
/// waiting, or is there already.
///
/// # Errors
/// When Kafka or ClickHouse does not answer.
pub async fn take(
    group: &Group,
    tables: &Tables,
    ranges: &BTreeMap<i32, OffsetRange>,
    committed: &BTreeMap<i32, i64>,
) -> anyhow::Result<BTreeMap<i32, Vec<Entry>>> {
    let evidence = |partition: &i32| Evidence {
        committed: committed.get(partition).copied().unwrap_or(0),
        untraceable: tables.hide_rows(),
        ..Evidence::default()
    };
    let mut all: BTreeMap<i32, Evidence> =
        ranges.keys().map(|partition| (*partition, evidence(partition))).collect();
    for table in &tables.traceable {
        let place = (group.database.as_str(), table.as_str());
        for (partition, claim) in tables::claims(&group.clickhouse, place, &group.topic, ranges).await? {
            if let Some(evidence) = all.get_mut(&partition) {
                evidence.claims.push(claim);
            }
        }
    }
    take_dead_letters(group, ranges, &mut all).await?;
    // Where a table does not tell, asking the topic would not settle what its other records are.
    if !tables.hide_rows() {
        ask_topic(group, ranges, &mut all).await?;
    }
    let account = |(partition, evidence): (i32, Evidence)| {
        let entries = ranges.get(&partition).map(|range| account(*range, &evidence)).unwrap_or_default();
        (partition, entries)
    };
    Ok(all.into_iter().map(account).collect())
}

async fn take_dead_letters(
    group: &Group,
    ranges: &BTreeMap<i32, OffsetRange>,
    all: &mut BTreeMap<i32, Evidence>,
) -> anyhow::Result<()> {
    let topic = group.connector.dead_letter_topic();
    if group.admin.partition_count(&topic).await?.is_none() {
        return Ok(());
    }
    group.admin.await_transactions(&topic).await?;
    let mut reader = BoundedReader::open(&group.kafka, &topic, ReadFrom::Beginning)?;
    while let Some(records) = reader.next().await {
        for record in records.with_context(|| format!("read topic `{topic}`"))?.iter() {
            // What other programs write into the topic is no letter of this group.
            let Ok(letter) = DeadLetterRecord::parse(record) else { continue };
            let (source, offset) = (&letter.provenance.source, letter.provenance.offset);
            let ours = letter.group.as_deref() == Some(&group.name) && *source.topic == *group.topic;
            let range = ranges.get(&source.partition).filter(|range| ours && range.contains(offset));
            let Some((_, evidence)) = range.zip(all.get_mut(&source.partition)) else { continue };
            let fate = Fate::DeadLetter { reason: letter.code };
            let range = OffsetRange::new(offset, offset + 1);
            evidence.claims.extend(range.map(|range| Claim { range, times: 1, fate }));
        }
    }
    Ok(())
}

/// Asks the topic about offsets that the group has passed and that are in no table and no letter: it may hold no
/// record there, or one that a rule drops.
async fn ask_topic(
    group: &Group,
    ranges: &BTreeMap<i32, OffsetRange>,
    all: &mut BTreeMap<i32, Evidence>,
) -> anyhow::Result<()> {
    let mut asked: BTreeMap<i32, OffsetSet> = BTreeMap::new();
    for (partition, range) in ranges {
        let gaps = all.get(partition).map(|evidence| gaps(*range, evidence)).unwrap_or_default();
        if !gaps.is_empty() {
            asked.insert(*partition, gaps);
        }
    }
    let mut ends: BTreeMap<i32, i64> =
        asked.iter().filter_map(|(partition, gaps)| Some((*partition, gaps.runs().last()?.end()))).collect();
    let from = asked.iter().filter_map(|(partition, gaps)| Some((*partition, gaps.runs().first()?.first())));
    let from: BTreeMap<i32, i64> = from.collect();
    let mut found: BTreeMap<i32, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    if !from.is_empty() {
        let mut reader = BoundedReader::open(&group.kafka, &group.topic, ReadFrom::Offsets(from))?;
        while let Some(records) = reader.next().await {
            let records = records.with_context(|| format!("read topic `{}`", group.topic))?;
            let partition = records.source().partition;
            let (there, dropped) = found.entry(partition).or_default();
            for record in records.iter() {
                there.push(record.offset);
                if record.value.is_none() && group.connector.tombstones == Tombstones::Skip {
                    dropped.push(record.offset);
                }
                if ends.get(&partition).is_some_and(|end| record.offset + 1 >= *end) {
                    ends.remove(&partition);
                }
            }
            if ends.is_empty() {
                break;
            }
        }
    }
    for (partition, gaps) in asked {
        let (there, dropped) = found.remove(&partition).unwrap_or_default();
        if let Some(evidence) = all.get_mut(&partition) {
            evidence.no_record = gaps.without(&there.into_iter().collect());
            evidence.dropped = dropped.into_iter().collect();
        }
    }
    Ok(())
}
