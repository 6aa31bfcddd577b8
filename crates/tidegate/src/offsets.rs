//! `tidegate offsets`: where a connector's group stands, and putting it elsewhere.

pub mod plan;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_core::{Checkpoint, FaultKind, Replay, TopicPartition};
use tidegate_kafka::{Committed, Member};

use self::plan::{Move, Standing, Target, plan};
use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::group::{Group, GroupFlags};
use crate::ledger::account::Counts;
use crate::ledger::{self, Tables};
use crate::render;

/// What to do with offsets.
#[derive(Debug, Subcommand)]
pub enum Offsets {
    /// Show where the group stands in each partition, what it is inserting, and who its members are
    #[command(after_help = "Example:\n  tidegate offsets show --config sink.yaml")]
    Show(GroupFlags),
    /// Put partitions to these offsets; the others stay where they are
    #[command(after_help = "\
Records that are read again and have a row or a dead letter already are left alone, however long ago they were
written; --write-again writes them once more. The sink must have been stopped.

Examples:
  tidegate offsets set 0:59,1:57,2:114 --config sink.yaml --dry-run
  tidegate offsets set 0:59,1:57,2:114 --config sink.yaml")]
    Set(Set),
    /// Put all partitions to their first record, their end, or a time
    #[command(after_help = "\
Records that are read again and have a row or a dead letter already are left alone, however long ago they were
written; --write-again writes them once more. The sink must have been stopped.

Examples:
  tidegate offsets reset --to earliest --config sink.yaml --dry-run
  tidegate offsets reset --to 2026-01-31T12:00:00Z --config sink.yaml
  tidegate offsets reset --to latest --partition 3 --config sink.yaml
  tidegate offsets reset --to earliest --write-again --config sink.yaml")]
    Reset(Reset),
}

/// Flags of `tidegate offsets set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Partitions with the offset of the record that is to be read next
    #[arg(value_name = "PARTITION:OFFSET,..", value_delimiter = ',', value_parser = place, required = true)]
    pub offsets: Vec<(i32, i64)>,
    /// Which group and topic.
    #[command(flatten)]
    pub group: GroupFlags,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Flags of `tidegate offsets reset`.
#[derive(Debug, Args)]
pub struct Reset {
    /// Where to: `earliest`, `latest`, or a time (RFC 3339), which is its first record from then on
    #[arg(long, value_name = "WHERE", value_parser = whereto)]
    pub to: Whereto,
    /// Only these partitions
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub partition: Vec<i32>,
    /// Which group and topic.
    #[command(flatten)]
    pub group: GroupFlags,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// What a reset does.
#[derive(Debug, Args)]
pub struct How {
    /// Write records that are read again once more, whatever is there: their rows and dead letters double
    #[arg(long)]
    pub write_again: bool,
    /// Say what would be skipped and read again, and leave the offsets as they are
    #[arg(long)]
    pub dry_run: bool,
    /// Look into these tables; into all that the connector's `table` may name if absent
    #[arg(long, value_name = "TABLE,..", value_delimiter = ',')]
    pub tables: Vec<String>,
}

/// What `--to` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereto {
    /// The first record.
    Earliest,
    /// The end.
    Latest,
    /// Milliseconds since the epoch.
    Time(i64),
}

fn place(text: &str) -> Result<(i32, i64), String> {
    let expected = || "expected PARTITION:OFFSET, such as 0:59".to_owned();
    let (partition, offset) = text.trim().split_once(':').ok_or_else(expected)?;
    let partition = partition.parse().ok().filter(|partition| *partition >= 0).ok_or_else(expected)?;
    let offset = offset.parse().ok().filter(|offset| *offset >= 0).ok_or_else(expected)?;
    Ok((partition, offset))
}

fn whereto(text: &str) -> Result<Whereto, String> {
    match text {
        "earliest" => Ok(Whereto::Earliest),
        "latest" => Ok(Whereto::Latest),
        time => {
            time.parse::<jiff::Timestamp>().map(|time| Whereto::Time(time.as_millisecond())).map_err(|_| {
                "expected `earliest`, `latest` or a time with its zone, such as 2026-01-31T12:00:00Z"
                    .to_owned()
            })
        }
    }
}

/// Where a group stands. An interface: the fields keep their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OffsetsReport {
    /// The connector.
    pub connector: String,
    /// Its consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Each partition.
    pub partitions: Vec<StandingLine>,
    /// Who is in the group now.
    pub members: Vec<MemberLine>,
}

/// Where a group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingLine {
    /// The partition.
    pub partition: i32,
    /// The first offset that the topic holds.
    pub first: i64,
    /// One past the last.
    pub end: i64,
    /// The committed offset: everything before it is durable, or was skipped.
    pub committed: Option<i64>,
    /// Offsets not committed.
    pub lag: i64,
    /// One past the last offset of the batch that is being inserted.
    pub inserting_until: Option<i64>,
    /// The reset that still matters: until where, and what becomes of what is there.
    pub rewind: Option<RewindLine>,
    /// What is strange about the commit.
    pub remark: Option<String>,
}

/// A reset that still matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RewindLine {
    /// Records before this offset may have been read before.
    pub until: i64,
    /// Whether they are written once more.
    pub write_again: bool,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberLine {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its `client.id`.
    pub client: String,
    /// The host that it connects from.
    pub host: String,
}

impl From<Member> for MemberLine {
    fn from(Member { id, client, host }: Member) -> Self {
        Self { id, client, host }
    }
}

/// What a reset does or did. An interface: the fields keep their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResetReport {
    /// The connector.
    pub connector: String,
    /// Its consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Whether the offsets were left as they are.
    pub dry_run: bool,
    /// Whether what is read again is written once more.
    pub write_again: bool,
    /// The partitions that move.
    pub moves: Vec<MoveLine>,
    /// Tables that do not say which records they hold, with their rows.
    pub untraceable_tables: BTreeMap<String, u64>,
    /// The command that puts the group back to where it stood.
    pub undo: Option<String>,
}

/// One partition's part of a reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveLine {
    /// The partition.
    pub partition: i32,
    /// The committed offset before.
    pub from: Option<i64>,
    /// The committed offset after.
    pub to: i64,
    /// What would have been read next, and is not.
    pub skipped: Option<Stretch>,
    /// What has been read, and is read again.
    pub again: Option<Stretch>,
}

/// Offsets, and what the ledger says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// The first offset.
    pub first: i64,
    /// One past the last.
    pub end: i64,
    /// What the ledger says of them.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How long a transaction that a killed sink left open is waited for: Kafka ends it after 30 s.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: Offsets, speech: &Speech) -> anyhow::Result<Exit> {
    match command {
        Offsets::Show(flags) => {
            let group = Group::open(&flags)?;
            print(speech, &show(&group).await?, render::offsets)?;
            Ok(Exit::Done)
        }
        Offsets::Set(flags) => {
            let group = Group::open(&flags.group)?;
            let mut offsets = BTreeMap::new();
            for (partition, offset) in &flags.offsets {
                if offsets.insert(*partition, *offset).is_some() {
                    bail!("partition {partition} is named twice");
                }
            }
            reset(&group, &Target::Offsets(offsets), &flags.group, (&flags.how, speech)).await
        }
        Offsets::Reset(flags) => {
            let group = Group::open(&flags.group)?;
            let target = target(&group, flags.to, &flags.partition).await?;
            reset(&group, &target, &flags.group, (&flags.how, speech)).await
        }
    }
}

async fn show(group: &Group) -> anyhow::Result<OffsetsReport> {
    let committed = committed(group).await?;
    let line = |(partition, log): (i32, tidegate_core::OffsetRange)| {
        let found = committed.get(&partition);
        let checkpoint = found.and_then(|found| found.checkpoint.as_ref().ok());
        let offset = found.map(|found| found.offset);
        StandingLine {
            partition,
            first: log.first(),
            end: log.end(),
            committed: offset,
            lag: (log.end() - offset.unwrap_or(log.first()).max(log.first())).max(0),
            inserting_until: checkpoint
                .and_then(|checkpoint| checkpoint.intent.as_ref())
                .map(|intent| intent.root),
            rewind: checkpoint.and_then(|checkpoint| checkpoint.rewind).map(|rewind| RewindLine {
                until: rewind.until,
                write_again: rewind.replay == Replay::Again,
            }),
            remark: found.and_then(|found| found.checkpoint.as_ref().err()).map(ToString::to_string),
        }
    };
    Ok(OffsetsReport {
        connector: group.connector.name.to_string(),
        group: group.name.clone(),
        topic: group.topic.clone(),
        partitions: group.log().await?.into_iter().map(line).collect(),
        members: group.admin.members(&group.name).await?.into_iter().map(MemberLine::from).collect(),
    })
}

/// The group's commits, once no open transaction holds one of them open.
async fn committed(group: &Group) -> anyhow::Result<BTreeMap<i32, Committed>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match group.committed().await {
            Err(error) if Instant::now() < deadline && passing(&error) => {
                tokio::time::sleep(LOOK_EVERY).await
            }
            answered => return answered,
        }
    }
}

fn passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<tidegate_core::Fault>().is_some_and(|fault| !fault.kind.needs_a_person())
}

async fn target(group: &Group, to: Whereto, only: &[i32]) -> anyhow::Result<Target> {
    let chosen = |partition: &i32| only.is_empty() || only.contains(partition);
    let log = group.log().await?;
    if let Some(absent) = only.iter().find(|partition| !log.contains_key(*partition)) {
        bail!("topic `{}` has no partition {absent}; it has {}", group.topic, log.len());
    }
    let offsets = match to {
        Whereto::Earliest if only.is_empty() => return Ok(Target::Earliest),
        Whereto::Latest if only.is_empty() => return Ok(Target::Latest),
        Whereto::Earliest => log.into_iter().map(|(partition, log)| (partition, log.first())).collect(),
        Whereto::Latest => log.into_iter().map(|(partition, log)| (partition, log.end())).collect(),
        Whereto::Time(millis) => {
            let found = group.admin.offsets_at(&[&group.topic], millis).await?;
            found.into_iter().map(|(source, offset)| (source.partition, offset)).collect::<BTreeMap<_, _>>()
        }
    };
    Ok(Target::Offsets(offsets.into_iter().filter(|(partition, _)| chosen(partition)).collect()))
}

async fn reset(
    group: &Group,
    target: &Target,
    flags: &GroupFlags,
    (how, speech): (&How, &Speech),
) -> anyhow::Result<Exit> {
    refuse_members(group).await?;
    let replay = if how.write_again { Replay::Again } else { Replay::Fill };
    let committed = committed(group).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let standing = |(partition, log)| {
        // What another program wrote beside its offset means nothing here; neither does it to the sink.
        let settled = |found: &Committed| {
            found.checkpoint.clone().unwrap_or_else(|_| Checkpoint::settled(found.offset))
        };
        Standing { partition, log, committed: committed.get(&partition).map(settled) }
    };
    let standings: Vec<Standing> = group.log().await?.into_iter().map(standing).collect();
    let moves = plan(&standings, target, replay, u64::try_from(now.as_millis())?)?;
    let report = report(group, &moves, how, flags).await?;
    let read_again = moves.iter().any(|one| one.again.is_some());
    if let (true, false, Some(table)) = (read_again, how.write_again, report.untraceable_tables.keys().next())
    {
        bail!(
            "records would be read again, and table `{table}` has no columns _topic, _partition and _offset that \
             say which records it holds; a reset with --write-again writes them once more, rows that are there too"
        );
    }
    if !how.dry_run && !moves.is_empty() {
        let checkpoints = moves
            .iter()
            .map(|one| (TopicPartition::new(&group.topic, one.partition), one.checkpoint.clone()));
        if let Err(fault) = group.admin.reset(&group.name, checkpoints.collect()).await {
            if fault.kind == FaultKind::Unavailable {
                refuse_members(group).await?;
            }
            return Err(fault.into());
        }
    }
    print(speech, &report, render::reset)?;
    Ok(Exit::Done)
}

/// A group whose sink runs would go on from where it is, and commit over what is set here.
async fn refuse_members(group: &Group) -> anyhow::Result<()> {
    let members = group.admin.members(&group.name).await?;
    if members.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = members
        .iter()
        .take(5)
        .map(|member| format!("\n  {} at {} ({})", member.client, member.host, member.id))
        .collect();
    let more = if members.len() > shown.len() { "\n  .." } else { "" };
    bail!(
        "group `{}` has {} live member{}:{}{more}\nhint: stop the sink first, with Ctrl-C or SIGTERM (`systemctl stop`, \
         `kubectl scale --replicas=0`). One that was killed counts as live until its session times out (45 s, unless \
         `session.timeout.ms` says otherwise).",
        group.name,
        members.len(),
        if members.len() == 1 { "" } else { "s" },
        shown.concat(),
    )
}

/// What the moves mean, with what the ledger says of the offsets concerned.
async fn report(group: &Group, moves: &[Move], how: &How, flags: &GroupFlags) -> anyhow::Result<ResetReport> {
    let tables = Tables::find(group, &how.tables).await?;
    let concerned = |one: &Move| {
        let ranges = [one.skipped, one.again].into_iter().flatten();
        let (first, end) = ranges.fold((i64::MAX, i64::MIN), |(first, end), range| {
            (first.min(range.first()), end.max(range.end()))
        });
        Some((one.partition, tidegate_core::OffsetRange::new(first.max(one.log.first()), end)?))
    };
    let ranges: BTreeMap<i32, _> = moves.iter().filter_map(concerned).collect();
    let committed = moves.iter().map(|one| (one.partition, one.from.unwrap_or(one.log.first()))).collect();
    let entries = ledger::take(group, &tables, &ranges, &committed).await?;
    let line = |one: &Move| {
        let stretch = |range: tidegate_core::OffsetRange| Stretch {
            first: range.first(),
            end: range.end(),
            counts: Counts::of(entries.get(&one.partition).map_or(&[], Vec::as_slice), range),
        };
        MoveLine {
            partition: one.partition,
            from: one.from,
            to: one.checkpoint.offset,
            skipped: one.skipped.map(stretch),
            again: one.again.map(stretch),
        }
    };
    Ok(ResetReport {
        connector: group.connector.name.to_string(),
        group: group.name.clone(),
        topic: group.topic.clone(),
        dry_run: how.dry_run,
        write_again: how.write_again,
        moves: moves.iter().map(line).collect(),
        untraceable_tables: tables.untraceable,
        undo: undo(moves, flags).filter(|_| !how.write_again),
    })
}

/// The command that puts the group back. It writes nothing twice, whatever happens in between.
fn undo(moves: &[Move], flags: &GroupFlags) -> Option<String> {
    let back = moves.iter().map(|one| {
        let from = one.from?.clamp(one.log.first(), one.log.end());
        Some(format!("{}:{from}", one.partition))
    });
    let back: Vec<String> = back.collect::<Option<_>>()?;
    if back.is_empty() {
        return None;
    }
    let mut command = format!("tidegate offsets set {} --config {}", back.join(","), flags.config.display());
    for (flag, value) in [("--connector", &flags.connector), ("--topic", &flags.topic)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {value}"));
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_times_are_read_or_refused_with_an_example() {
        assert_eq!(place("2:114"), Ok((2, 114)));
        for text in ["", "2", "2:", ":4", "-1:4", "1:-4", "a:b", "1:2:3"] {
            assert!(place(text).is_err_and(|error| error.contains("0:59")), "{text}");
        }
        assert_eq!(whereto("earliest"), Ok(Whereto::Earliest));
        assert_eq!(whereto("1970-01-01T00:00:01.5Z"), Ok(Whereto::Time(1500)));
        assert_eq!(whereto("1970-01-01T02:00:00+02:00"), Ok(Whereto::Time(0)));
        assert!(whereto("yesterday").is_err_and(|error| error.contains("earliest")));
    }
}
