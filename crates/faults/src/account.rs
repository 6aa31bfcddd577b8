//! The end of a run: waits until the sinks have settled everything, then makes each topic's account.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::check::{Account, Breach, Seen, Verdict, check};
use crate::http::{self, Warehouse};
use crate::kafka::Topic;
use crate::ledger::{self, Fate, Kind};
use crate::servers::Running;
use crate::world::{BRIEF, DEAD_LETTERS, DOOMED, EVENTS, World};

/// How long the sinks may take to settle what is there once they are left alone. A server that could not be reached
/// for long is tried again seldom.
const SETTLE_MAX: Duration = Duration::from_secs(240);
/// What a sink says when it goes on behind records that it has not read.
const TOLD: [(&str, &str); 2] = [
    ("records after the committed offset are gone", "committed"),
    ("the next offset is not in the log", "position"),
];

/// Waits until every record is settled.
pub(crate) async fn settled(world: &World) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut behind = Vec::new();
        for &topic in world.topics() {
            match world.kafka.progress(&World::group(topic), topic).await {
                Ok(progress) => {
                    let open = progress.into_iter().filter(|(_, at)| !at.settled());
                    behind.extend(open.map(|(partition, at)| format!("{}/{partition}: {at:?}", topic.name)));
                }
                Err(error) => behind.push(format!("{}: {error:#}", topic.name)),
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        if began.elapsed() > SETTLE_MAX {
            for line in states(world).await {
                world.tally.say(&line);
            }
            bail!("not settled after {SETTLE_MAX:?}: {}", behind.join("; "));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What each sink says of itself: connectors that do not run, with why.
pub(crate) async fn states(world: &World) -> Vec<String> {
    let sinks: Vec<(String, Option<String>)> =
        world.sinks.lock().await.iter().map(|sink| (sink.name.clone(), sink.api())).collect();
    let mut states = Vec::new();
    for (name, api) in sinks {
        let answer = match &api {
            Some(api) => http::get(api, "/api/v1/status").await,
            None => Err(anyhow::anyhow!("it has not said where it listens")),
        };
        states.push(format!("{name}: {}", answer.unwrap_or_else(|error| format!("{error:#}"))));
    }
    states
}

/// Every topic's verdict, by what the account is of.
pub(crate) async fn verdicts(world: &World) -> anyhow::Result<BTreeMap<String, Verdict>> {
    let mut verdicts = BTreeMap::new();
    world.servers.replicated().await?;
    for (holder, warehouse) in world.servers.holders() {
        let account = Account {
            published: ledger::read(&world.ledger(EVENTS.name))?,
            rows: rows(world, warehouse, EVENTS).await?,
            letters: world.kafka.letters(DEAD_LETTERS).await?,
            gone: Vec::new(),
        };
        verdicts.insert(format!("{}{holder}", EVENTS.name), check(&account, |n| Kind::of(n).fate()));
    }
    if let (Running::Embedded(_), Some(verdict)) = (&world.servers.running, verdicts.get_mut(EVENTS.name)) {
        check_letter_table(world, verdict).await?;
        verdicts.extend(destructible(world).await?);
    }
    Ok(verdicts)
}

/// The verdicts about the topics that are deleted, or lose records to retention.
async fn destructible(world: &World) -> anyhow::Result<Vec<(String, Verdict)>> {
    // What nobody had read when retention came may be missing, if a sink has told so.
    let lows = world.brief.lows();
    let told = told(world)?;
    let overtaken =
        told.iter().filter(|(topic, ..)| topic == BRIEF.name).filter_map(|(_, partition, first, end)| {
            let low = lows.get(partition)?;
            Some((*partition, *first, *end.min(low)))
        });
    let account = Account {
        published: ledger::read(&world.ledger(BRIEF.name))?,
        rows: rows(world, world.servers.warehouse(), BRIEF).await?,
        letters: Vec::new(),
        gone: overtaken.collect(),
    };
    let mut verdicts = lives(world).await?;
    verdicts.push((BRIEF.name.to_owned(), check(&account, |_| Fate::Row)));
    Ok(verdicts)
}

/// The lives of the topic that was deleted. All but the last may have lost their ends.
async fn lives(world: &World) -> anyhow::Result<Vec<(String, Verdict)>> {
    let ledgers = world.doomed.lock().await.lives.clone();
    let mut of_life = HashMap::new();
    let mut accounts: Vec<Account> = Vec::new();
    for ledger in &ledgers {
        let published = ledger::read(ledger)?;
        of_life.extend(published.iter().map(|sent| (sent.n, accounts.len())));
        accounts.push(Account { published, ..Account::default() });
    }
    let last = accounts.len().checked_sub(1).context("the topic was never published to")?;
    for row in rows(world, world.servers.warehouse(), DOOMED).await? {
        // A row that nobody published is a stranger in the last life as well.
        accounts[of_life.get(&row.n).copied().unwrap_or(last)].rows.push(row);
    }
    let end_of = |account: &Account, partition: i32| {
        let offsets = account.rows.iter().filter(|row| row.partition == partition).map(|row| row.offset + 1);
        offsets.max().unwrap_or(0)
    };
    for account in &mut accounts[..last] {
        account.gone = (0..DOOMED.partitions).map(|p| (p, end_of(account, p), i64::MAX)).collect();
    }
    let named = |(at, account): (usize, &Account)| {
        let which = if at == last { "last life".to_owned() } else { format!("life {}", at + 1) };
        (format!("{} {which}", DOOMED.name), check(account, |_| Fate::Row))
    };
    Ok(accounts.iter().enumerate().map(named).collect())
}

async fn rows(world: &World, warehouse: &Warehouse, topic: Topic) -> anyhow::Result<Vec<Seen>> {
    let sql = format!(
        "SELECT n, _partition, _offset, {1}, pad = concat(substring('{2:0>200}', 1, 200 - length(toString(n))), \
         toString(n)) AND mark = 'keep' AND _topic = '{0}' FROM faults.{0}",
        topic.name,
        world.servers.place(),
        "",
    );
    let rows = warehouse.rows::<5>(&sql).await?;
    let seen = |[n, partition, offset, place, whole]: [String; 5]| -> anyhow::Result<Seen> {
        let (n, partition, offset) = (n.parse()?, partition.parse()?, offset.parse()?);
        Ok(Seen { n, partition, offset, place: place.parse()?, whole: whole == "1" })
    };
    rows.into_iter().map(seen).collect()
}

/// The table of dead letters holds the same letters as the topic, each once.
async fn check_letter_table(world: &World, verdict: &mut Verdict) -> anyhow::Result<()> {
    let sql = "SELECT count(), uniqExact(partition, offset) FROM faults.dead_letters WHERE topic = 'events'";
    let counts = world.servers.warehouse().rows::<2>(sql).await?;
    let [count, distinct] = counts.first().context("no counts of dead letters")?;
    let expected = verdict.letters.to_string();
    if *count != expected || *distinct != expected {
        let breach = if count == distinct { Breach::Lost } else { Breach::Twice };
        let text = format!("table of dead letters: {count} rows, {distinct} distinct, expected {expected}");
        verdict.breaches.entry(breach).or_default().push(text);
    }
    Ok(())
}

/// The records that sinks have told they could not read: topic, partition, first, end.
fn told(world: &World) -> anyhow::Result<Vec<(String, i32, i64, i64)>> {
    let mut told = Vec::new();
    let folder = world.sink_folder();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let log = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        told.extend(log.lines().filter_map(|line| gap(&serde_json::from_str(line).ok()?)));
    }
    Ok(told)
}

fn gap(line: &Value) -> Option<(String, i32, i64, i64)> {
    let fields = &line["fields"];
    let message = fields["message"].as_str()?;
    let (_, from) = TOLD.iter().find(|(start, _)| message.starts_with(start))?;
    let (topic, partition) = fields["source"].as_str()?.rsplit_once('/')?;
    Some((topic.to_owned(), partition.parse().ok()?, fields[from].as_i64()?, fields["low"].as_i64()?))
}

/// Whether everything that was started still runs.
pub(crate) async fn alive(world: &World) -> anyhow::Result<()> {
    // Whoever holds the lock is just doing something to them.
    if let Ok(mut sinks) = world.sinks.try_lock() {
        for sink in sinks.iter_mut() {
            let ended = sink.ended();
            let told = || crate::process::told(&sink.log());
            ensure!(ended.is_none(), "{} ended by itself, {ended:?}: {}", sink.name, told());
        }
    }
    if let Ok(mut brokers) = world.brokers.try_lock() {
        let ended = brokers.ended();
        ensure!(ended.is_empty(), "{}", ended.join("\n"));
    }
    if let Running::Cluster(cluster) = &world.servers.running
        && let Ok(mut cluster) = cluster.try_lock()
    {
        let ended = cluster.ended();
        ensure!(ended.is_empty(), "{}", ended.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_read_from_what_a_sink_says() {
        let line = r#"{"level":"WARN","fields":{"message":"records after the committed offset are gone: going to the first record","source":"brief/1","committed":12,"low":30}}"#;
        let line = serde_json::from_str(line).unwrap();
        assert_eq!(gap(&line), Some(("brief".to_owned(), 1, 12, 30)));
        assert_eq!(gap(&serde_json::json!({"fields": {"message": "partitions assigned"}})), None);
    }
}
