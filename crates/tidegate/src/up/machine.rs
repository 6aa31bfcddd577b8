//! What the single machine's engines hold and cost, asked when somebody wants to know.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_broker::{LogsUse, LogsWatch};
use tidegate_clickhouse::Client;
use tidegate_config::ByteSize;
use tidegate_engine::{EngineState, EngineWatch, can_confine};
use tidegate_kafka::{KafkaAdmin, KafkaOptions};

use super::folder::free_bytes;
use crate::stack::Stack;

/// How long ClickHouse and Kafka may take to tell what they hold; the status says so if they do not.
const ASK_MAX: Duration = Duration::from_secs(3);
/// A processor's share is of at least this time.
const SHARE_OF_MIN: Duration = Duration::from_secs(1);
/// How many topics and tables are listed; the largest ones.
const LISTED_MAX: usize = 200;

/// What is not protected where the system lacks Landlock.
pub const NOT_CONFINED: &str = "this system has no Landlock (Linux 5.19 or newer): queries of ClickHouse can \
                                read this user's files, and there is no read-only user";

/// What one of the engines is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// It answers, or did when it was started.
    Up,
    /// It has died, and is being started again.
    Down,
    /// It is not ours: it runs elsewhere.
    Elsewhere,
}

/// One part of the stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// `tidegate`, `kafka` or `clickhouse`.
    pub name: String,
    /// What it is at.
    pub state: ComponentState,
    /// Why it is down.
    pub reason: Option<String>,
    /// Its process; the embedded broker's is Tidegate's own.
    pub pid: Option<u32>,
    /// Its version, if it is up.
    pub version: Option<String>,
    /// Where it can be reached.
    pub address: String,
    /// What its process has in memory, in bytes; none for the broker, which is a part of Tidegate's.
    pub memory_bytes: Option<u64>,
    /// The share of one core since somebody last asked, or since the start, in percent.
    pub cpu_percent: Option<f64>,
    /// What it holds on the disk, in bytes.
    pub disk_bytes: Option<u64>,
    /// How often it was started again.
    pub restarts: u64,
}

/// What the embedded Kafka's logs hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaLogs {
    /// Bytes of records.
    pub bytes: u64,
    /// What they may hold; none if the disk is the bound.
    pub bytes_max: Option<u64>,
    /// Whether producers wait for room.
    pub full: bool,
    /// Batches that were refused for want of room since the start; a repeated one counts again.
    pub batches_refused: u64,
}

impl KafkaLogs {
    /// As they are now.
    #[must_use]
    pub fn look(logs: &LogsWatch) -> Self {
        let LogsUse { bytes, bytes_max, full, batches_refused } = logs.look();
        Self { bytes, bytes_max, full, batches_refused }
    }
}

/// A topic's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSize {
    /// The topic.
    pub name: String,
    /// Its partitions.
    pub partitions: usize,
    /// The offsets that they hold; transactions' markers and compacted records count too.
    pub records: u64,
}

/// A table's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// The database.
    pub database: String,
    /// The table.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes on the disk, compressed.
    pub bytes: u64,
}

/// What runs on the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Since the stack was started, in seconds.
    pub uptime_seconds: u64,
    /// Where its files are.
    pub data_dir: String,
    /// What its disk has left, in bytes.
    pub disk_free_bytes: Option<u64>,
    /// Tidegate, Kafka, ClickHouse.
    pub components: Vec<Component>,
    /// The embedded Kafka's logs; none if Kafka runs elsewhere.
    pub kafka_logs: Option<KafkaLogs>,
    /// The topics, largest first.
    pub topics: Vec<TopicSize>,
    /// The tables, largest first.
    pub tables: Vec<TableSize>,
    /// What could not be found out, and why.
    pub problems: Vec<String>,
}

/// The stack as the status sees it.
#[derive(Debug)]
pub struct Machine {
    began: Instant,
    data_dir: PathBuf,
    kafka: KafkaOptions,
    kafka_address: String,
    kafka_logs: Option<LogsWatch>,
    clickhouse: Client,
    clickhouse_address: String,
    engine: Option<EngineWatch>,
    /// Process to when its processor time was last looked at, and what it was.
    looks: Mutex<HashMap<u32, (Instant, Duration)>>,
}

impl Machine {
    /// Sees a stack that has just started.
    ///
    /// # Errors
    /// When the ClickHouse client cannot be set up.
    pub fn new(stack: &Stack, data_dir: &Path) -> anyhow::Result<Self> {
        let mut options = stack.clickhouse()?;
        options.request_timeout = ASK_MAX;
        options.connect_timeout = ASK_MAX;
        Ok(Self {
            began: Instant::now(),
            data_dir: data_dir.to_owned(),
            kafka: stack.kafka(),
            kafka_address: stack.kafka_address(),
            kafka_logs: stack.kafka_logs(),
            clickhouse: Client::new(options).context("set up the clickhouse client")?,
            clickhouse_address: stack.clickhouse_url(),
            engine: stack.engine().map(tidegate_engine::Engine::watch),
            looks: Mutex::default(),
        })
    }

    /// What the embedded Kafka's logs hold; `None` if Kafka runs elsewhere.
    #[must_use]
    pub const fn kafka_logs(&self) -> Option<&LogsWatch> {
        self.kafka_logs.as_ref()
    }

    /// Looks at everything. Takes a few seconds at most.
    pub async fn look(&self) -> MachineStatus {
        let (topics, tables, version) = tokio::join!(self.topics(), self.tables(), self.version());
        let mut problems = Vec::new();
        let mut or_problem = |what: &str, told: String| problems.push(format!("{what}: {told}"));
        let topics = topics.unwrap_or_else(|told| {
            or_problem("topics", told);
            Vec::new()
        });
        let tables = tables.unwrap_or_else(|told| {
            or_problem("tables", told);
            Vec::new()
        });
        let kafka_logs = self.kafka_logs.as_ref().map(KafkaLogs::look);
        if let Some(KafkaLogs { full: true, bytes_max: Some(bytes_max), .. }) = kafka_logs {
            or_problem(
                "kafka",
                format!(
                    "its logs are full ({}); producers wait until records are deleted: by retention \
                     (retention.ms, retention.bytes), kafka-delete-records or deleting topics; or more room: \
                     --kafka-disk",
                    ByteSize(bytes_max)
                ),
            );
        }
        if self.engine.is_some() && !can_confine() {
            or_problem("clickhouse", NOT_CONFINED.to_owned());
        }
        MachineStatus {
            uptime_seconds: self.began.elapsed().as_secs(),
            data_dir: self.data_dir.display().to_string(),
            disk_free_bytes: free_bytes(&self.data_dir).ok(),
            kafka_logs,
            components: vec![self.tidegate(), self.kafka(), self.clickhouse(version)],
            topics,
            tables,
            problems,
        }
    }

    fn tidegate(&self) -> Component {
        let pid = std::process::id();
        Component {
            name: "tidegate".to_owned(),
            state: ComponentState::Up,
            reason: None,
            pid: Some(pid),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            address: String::new(),
            memory_bytes: memory_bytes(pid),
            cpu_percent: self.cpu_percent(pid),
            disk_bytes: None,
            restarts: 0,
        }
    }

    fn kafka(&self) -> Component {
        let embedded = self.kafka_logs.is_some();
        Component {
            name: "kafka".to_owned(),
            state: if embedded { ComponentState::Up } else { ComponentState::Elsewhere },
            reason: None,
            pid: embedded.then(std::process::id),
            version: embedded.then(|| env!("CARGO_PKG_VERSION").to_owned()),
            address: self.kafka_address.clone(),
            memory_bytes: None,
            cpu_percent: None,
            disk_bytes: embedded.then(|| disk_bytes(&self.data_dir.join("kafka"))),
            restarts: 0,
        }
    }

    fn clickhouse(&self, version: Option<String>) -> Component {
        let (state, reason, pid) = match self.engine.as_ref().map(EngineWatch::state) {
            None => (ComponentState::Elsewhere, None, None),
            Some(EngineState::Up { pid }) => (ComponentState::Up, None, Some(pid)),
            Some(EngineState::Down { reason }) => (ComponentState::Down, Some(reason), None),
        };
        Component {
            name: "clickhouse".to_owned(),
            state,
            reason,
            pid,
            version,
            address: self.clickhouse_address.clone(),
            memory_bytes: pid.and_then(memory_bytes),
            cpu_percent: pid.and_then(|pid| self.cpu_percent(pid)),
            disk_bytes: self.engine.as_ref().map(|_| disk_bytes(&self.data_dir.join("clickhouse"))),
            restarts: self.engine.as_ref().map_or(0, EngineWatch::restarts),
        }
    }

    async fn version(&self) -> Option<String> {
        self.clickhouse.version().await.ok()
    }

    async fn topics(&self) -> Result<Vec<TopicSize>, String> {
        let admin = KafkaAdmin::connect(&self.kafka).map_err(|error| error.to_string())?;
        let asked = async {
            let names = admin.topics().await.map_err(|fault| fault.to_string())?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            admin.watermarks(&names).await.map_err(|fault| fault.to_string())
        };
        let told = tokio::time::timeout(ASK_MAX, asked).await;
        let told = told.map_err(|_| format!("no answer within {ASK_MAX:?}"))??;
        let mut topics: BTreeMap<String, TopicSize> = BTreeMap::new();
        for (source, held) in told {
            let name = source.topic.to_string();
            let size = TopicSize { name: name.clone(), partitions: 0, records: 0 };
            let topic = topics.entry(name).or_insert(size);
            topic.partitions += 1;
            topic.records += u64::try_from(held.end - held.low).unwrap_or(0);
        }
        let mut topics: Vec<TopicSize> = topics.into_values().collect();
        topics.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.name.cmp(&b.name)));
        topics.truncate(LISTED_MAX);
        Ok(topics)
    }

    async fn tables(&self) -> Result<Vec<TableSize>, String> {
        let sql = format!(
            "SELECT database, name, ifNull(total_rows, 0) AS rows, ifNull(total_bytes, 0) AS bytes \
             FROM system.tables WHERE database NOT IN ('system', 'default', 'INFORMATION_SCHEMA', \
             'information_schema') AND NOT is_temporary ORDER BY bytes DESC, database, name LIMIT {LISTED_MAX}"
        );
        self.clickhouse.rows(&sql).await.map_err(|fault| fault.to_string())
    }

    /// The share of one core since the last look that was long enough ago.
    fn cpu_percent(&self, pid: u32) -> Option<f64> {
        let spent = cpu_time(pid)?;
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (since, before) = *looks.entry(pid).or_insert((self.began, Duration::ZERO));
        let passed = now.duration_since(since);
        if passed >= SHARE_OF_MIN {
            looks.insert(pid, (now, spent));
        }
        Some(percent(spent.saturating_sub(before), passed))
    }
}

/// To a tenth.
fn percent(part: Duration, whole: Duration) -> f64 {
    (part.as_secs_f64() / whole.as_secs_f64().max(0.001) * 1000.0).round() / 10.0
}

/// What a process has in memory.
fn memory_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// The processor time that a process has used.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, spaces and brackets too.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis((user + system) * 1000 / a_second))
}

/// What a folder holds on the disk. Files that go while it is looked at do not count.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK: u64 = 512;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => disk_bytes(&entry.path()),
        Ok(about) => about.blocks() * BLOCK,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_has_used_time() {
        let pid = std::process::id();
        assert!(memory_bytes(pid).unwrap() > 1 << 20);
        assert!(cpu_time(pid).is_some());
        assert_eq!(cpu_time(u32::MAX), None);
    }

    #[test]
    fn a_share_is_of_one_core() {
        assert_eq!(percent(Duration::from_millis(15), Duration::from_secs(1)), 1.5);
        assert_eq!(percent(Duration::from_secs(2), Duration::from_secs(1)), 200.0);
    }

    #[test]
    fn a_folder_holds_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/file"), vec![1; 100_000]).unwrap();
        let held = disk_bytes(folder.path());
        assert!((100_000..200_000).contains(&held), "{held}");
    }
}
