//! The pipeline itself through seeded schedules: processes crash at any effect, are given up and go on,
//! answers get lost or come late, rules and tables change. Whatever happens, every record is in one
//! place, once. `TIDEGATE_SCHEDULES` says how many schedules of each kind are run, `TIDEGATE_SEED` runs
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Checkpoint, Replay, Rewind, TopicPartition};
use tidegate_native::Value;
use tidegate_pipeline::{
    Budget, Connector, ConnectorSettings, DEAD_LETTER_COLUMNS, EventSchemas, Metrics, Status,
};
use tidegate_testkit::{Crash, FakeKafka, FakeRow, FakeWarehouse, Moment, Weather};

/// What may happen beside crashes and faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Processes that were given up go on, and their inserts arrive minutes later.
    Zombies,
    /// Four partitions, whose small batches go together. They move to other processes one by one, and whoever had one
    /// goes on; inserts arrive minutes later.
    Joint,
    /// Rules are relaxed and tables are widened, at any time.
    Relaxing,
    /// Rules and tables change as they like; rows say where they come from.
    Changing,
    /// The same, and now and then somebody resets the offsets and wants nothing written twice.
    Filling,
    /// When all is done somebody resets the offsets and wants everything once more.
    Again,
}

impl Kind {
    /// How many schedules are run unless told otherwise.
    const fn schedules(self) -> u64 {
        match self {
            Self::Relaxing | Self::Changing => 1000,
            Self::Joint => 400,
            Self::Zombies | Self::Filling | Self::Again => 250,
        }
    }
}

/// The wide type holds negative ids too.
const WIDE: &str = "Int64";
const NARROW: &str = "UInt64";

/// How much later than it was sent an insert arrives at most.
const LATE_MAX: Duration = Duration::from_secs(20);

struct Schedule {
    kind: Kind,
    chance: fastrand::Rng,
    kafka: FakeKafka,
    warehouse: FakeWarehouse,
}

impl Schedule {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut schedule = Self {
            kind,
            chance: fastrand::Rng::with_seed(seed),
            kafka: FakeKafka::default(),
            warehouse: FakeWarehouse::default(),
        };
        for table in ["a", "b"] {
            let columns = schedule.columns(NARROW);
            schedule.warehouse.create_table(table, &columns);
        }
        schedule.warehouse.create_table("dead_letters", DEAD_LETTER_COLUMNS);
        schedule.warehouse.refuse(name("poison"));
        for _ in 0..schedule.chance.usize(1..40) {
            let partitions = schedule.partitions();
            let source = &partitions[schedule.chance.usize(..partitions.len())];
            let value = schedule.record();
            schedule.kafka.produce(source, Some(value.as_bytes()), &[]);
        }
        schedule
    }

    fn columns(&self, id: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut columns = vec![
            ("type", "String"),
            ("id", id),
            ("name", "String"),
            ("_partition", "Int32"),
            ("_offset", "Int64"),
        ];
        if matches!(self.kind, Kind::Joint | Kind::Changing | Kind::Filling | Kind::Again) {
            columns.push(("_topic", "String"));
        }
        columns
    }

    fn record(&mut self) -> String {
        let table = if self.chance.bool() { "a" } else { "b" };
        let (id, name) = match self.chance.u8(..12) {
            0 => return r#"{"test":"connection_test"}"#.to_owned(),
            1 => ("-1", "fine"),
            2 | 3 => ("1", "poison"),
            4 => ("1", "frowned"),
            _ => ("1", "fine"),
        };
        format!(r#"{{"type":"{table}","id":{id},"name":"{name}"}}"#)
    }

    fn settings(&mut self) -> ConnectorSettings {
        let mut settings = tidegate_testkit::settings("{field:type}");
        // Full batches go alone.
        let rows_max = if self.kind == Kind::Joint { 60 } else { 20 };
        settings.flush.rows_max = self.chance.usize(1..rows_max);
        settings.describe_every = Duration::from_secs(if self.chance.bool() { 0 } else { 30 });
        settings
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let n_partitions = if self.kind == Kind::Joint { 4 } else { 2 };
        (0..n_partitions).map(|partition| TopicPartition::new("t", partition)).collect()
    }

    /// Starts a process that runs until it is killed. It takes one partition, or all.
    fn start(
        &mut self,
        only: Option<&TopicPartition>,
        crash: &Crash,
        weather: &Weather,
    ) -> tokio::task::JoinHandle<()> {
        let run_max = self.chance.usize(1..10);
        let (mut source, log) = match only {
            Some(partition) => self.kafka.take_in(partition, run_max, crash.clone(), weather.clone()),
            None => self.kafka.join_in(run_max, crash.clone(), weather.clone()),
        };
        // Where nobody can ask what is there, a server that is killed amid an insert loses rows.
        let halves =
            if matches!(self.kind, Kind::Joint | Kind::Changing | Kind::Filling) { 0.2 } else { 0.0 };
        let warehouse = self.warehouse.seen_by(crash.clone()).seen_in(weather.deadly(halves));
        let shown = (Budget::new(64 << 20), Status::new("c"));
        let schemas = (EventSchemas::none(), None);
        let world = (Arc::new(log), Arc::new(warehouse));
        let connector = Connector::new(self.settings(), world, schemas, &Metrics::unregistered(), shown);
        tokio::spawn(async move {
            connector.run(&mut source, pending()).await;
        })
    }

    /// Some processes with mishaps, then one without; then everybody who is late.
    async fn run(mut self) {
        for round in 1..self.chance.u64(2..6) {
            self.mishap().await;
            if self.kind == Kind::Filling && self.chance.bool() {
                self.reset(round, Replay::Fill, None);
            }
        }
        if self.kind == Kind::Filling {
            self.reset(0, Replay::Fill, Some(0));
        }
        let process = self.start(None, &Crash::never(), &Weather::calm());
        self.settled().await;
        self.check(&BTreeMap::new());
        if self.kind == Kind::Again {
            process.abort();
            return self.run_again().await;
        }
        if matches!(self.kind, Kind::Zombies | Kind::Joint) {
            tokio::time::sleep(LATE_MAX * 2).await;
            self.check(&BTreeMap::new());
        }
        process.abort();
    }

    /// Everything from some offsets on once more, with mishaps.
    async fn run_again(mut self) {
        let from = self.reset(1, Replay::Again, None);
        for _ in 0..self.chance.usize(1..4) {
            self.mishap().await;
        }
        let process = self.start(None, &Crash::never(), &Weather::calm());
        self.settled().await;
        self.check(&from);
        process.abort();
    }

    /// Somebody resets the offsets, back or forth. Says from where on each partition is read.
    fn reset(&mut self, id: u64, replay: Replay, to: Option<i64>) -> BTreeMap<i64, i64> {
        let mut from = BTreeMap::new();
        for partition in self.partitions() {
            let until = self.kafka.end(&partition);
            let offset = to.unwrap_or_else(|| self.chance.i64(0..=until));
            let rewind = Rewind { id, until, replay };
            self.kafka.reset(&partition, Checkpoint::settled(offset).rewound(Some(rewind)));
            from.insert(i64::from(partition.partition), offset);
        }
        from
    }

    async fn mishap(&mut self) {
        let moment = if self.chance.bool() { Moment::Before } else { Moment::After };
        let crash = match self.chance.bool() {
            true => Crash::at(self.chance.usize(..40), moment),
            false => Crash::never(),
        };
        let late = LATE_MAX.mul_f64(self.chance.f64());
        let late = if self.chance.bool() { late } else { Duration::ZERO };
        let weather = Weather::seeded(self.chance.u64(..), self.chance.f64() * 0.5, late);
        let process = self.start(None, &crash, &weather);
        let time = Duration::from_millis(self.chance.u64(1..30_000));
        tokio::select! {
            () = crash.died() => {}
            () = self.settled() => {}
            () = tokio::time::sleep(time.mul_f64(if self.kind == Kind::Joint { 0.01 } else { 0.3 })) => self.change(),
        }
        let taker = (self.kind == Kind::Joint).then(|| self.take(&crash, &weather));
        tokio::select! {
            () = crash.died() => {}
            () = self.settled() => {}
            () = tokio::time::sleep(time.mul_f64(0.7)) => {}
        }
        // A zombie goes on by itself; nobody waits for it.
        if !matches!(self.kind, Kind::Zombies | Kind::Joint) || self.chance.bool() {
            crash.kill();
            process.abort();
        }
        if let Some(taker) = taker.filter(|_| self.chance.bool()) {
            taker.abort();
        }
    }

    /// A process takes one partition from another, which goes on with the others.
    fn take(&mut self, crash: &Crash, weather: &Weather) -> tokio::task::JoinHandle<()> {
        let partitions = self.partitions();
        let partition = &partitions[self.chance.usize(..partitions.len())];
        let own = Crash::at(self.chance.usize(..40), Moment::After);
        let crash = if self.chance.bool() { &own } else { crash };
        self.start(Some(partition), crash, weather)
    }

    fn change(&mut self) {
        let wide = |schedule: &Self, id| {
            for table in ["a", "b"] {
                schedule.warehouse.alter_table(table, &schedule.columns(id));
            }
        };
        match (self.kind, self.chance.u8(..4)) {
            (Kind::Zombies | Kind::Joint | Kind::Again, _) => {}
            (_, 0) => self.warehouse.accept(&name("poison")),
            (_, 1) => wide(self, WIDE),
            (Kind::Relaxing, _) => {}
            (Kind::Changing | Kind::Filling, 2) => self.warehouse.refuse(name("frowned")),
            (Kind::Changing | Kind::Filling, _) => wide(self, NARROW),
        }
    }

    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
        let settled = |partition: &TopicPartition| {
            let end = self.kafka.end(partition);
            end == 0 || self.kafka.committed(partition) == Some(Checkpoint::settled(end))
        };
        while !self.partitions().iter().all(settled) {
            assert!(tokio::time::Instant::now() < deadline, "not settled within an hour");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Each record is in one place, once; from these offsets on twice. What a reset let be filled in later
    /// stands where it was filled in.
    fn check(&self, again_from: &BTreeMap<i64, i64>) {
        let mut places = Vec::new();
        for table in ["a", "b"] {
            let rows = self.warehouse.rows(table);
            let landed: Vec<_> = rows.iter().map(|row| place(row, "_partition", "_offset")).collect();
            let in_order = !matches!(self.kind, Kind::Filling | Kind::Again);
            for partition in (0..4).filter(|_| in_order) {
                let offsets: Vec<_> = landed.iter().filter(|(p, _)| *p == partition).collect();
                assert!(offsets.is_sorted(), "order kept within {table}/{partition}: {offsets:?}");
            }
            places.extend(landed);
        }
        let letters = self.kafka.dead_letters();
        let letters: Vec<_> = letters.iter().map(|l| (i64::from(l.source.partition), l.offset)).collect();
        places.extend(&letters);
        places.sort_unstable();
        let all = self.partitions().into_iter().flat_map(|partition| {
            let number = i64::from(partition.partition);
            let again = again_from.get(&number).copied().unwrap_or(i64::MAX);
            let times = move |offset| if offset < again { 1 } else { 2 };
            (0..self.kafka.end(&partition))
                .flat_map(move |offset| std::iter::repeat_n((number, offset), times(offset)))
        });
        assert_eq!(places, all.collect::<Vec<_>>(), "each record is in one place, as often as it should be");
        if self.kind == Kind::Zombies {
            let mirrored = self.warehouse.rows("dead_letters");
            let mirrored: BTreeSet<_> =
                mirrored.iter().map(|row| place(row, "partition", "offset")).collect();
            assert_eq!(mirrored, letters.into_iter().collect(), "the table of dead letters is the topic");
        }
    }
}

fn place(row: &FakeRow, partition: &str, offset: &str) -> (i64, i64) {
    match (&row[partition], &row[offset]) {
        (Value::Int(partition), Value::Int(offset)) => (*partition, *offset),
        _ => panic!("a row without its place: {row:?}"),
    }
}

fn name(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

fn run_all(kind: Kind) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("TIDEGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SCHEDULES").unwrap_or(kind.schedules()),
    };
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
            // The sink's own dice, for how long it waits before it tries again.
            fastrand::seed(seed);
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime can be built");
            runtime.block_on(Schedule::new(kind, seed).run());
        });
        if let Err(panic) = ran {
            eprintln!("{kind:?}: TIDEGATE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_processes_that_were_given_up() {
    run_all(Kind::Zombies);
}

#[test]
fn nothing_is_lost_or_doubled_when_partitions_leave_joint_batches() {
    run_all(Kind::Joint);
}

#[test]
fn nothing_is_lost_or_doubled_while_rules_are_relaxed() {
    run_all(Kind::Relaxing);
}

#[test]
fn nothing_is_lost_or_doubled_while_everything_changes() {
    run_all(Kind::Changing);
}

#[test]
fn a_rewind_writes_nothing_twice_and_fills_what_is_missing() {
    run_all(Kind::Filling);
}

#[test]
fn a_rewind_that_is_meant_to_write_again_writes_everything_once_more() {
    run_all(Kind::Again);
}
