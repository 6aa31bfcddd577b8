//! The pipeline itself through seeded schedules: processes crash at any effect, are given up and go on,
//! answers get lost or come late, rules and tables change. Whatever happens, every record is in one
//! place, once. `TIDEGATE_SCHEDULES` says how many schedules of each kind are run, `TIDEGATE_SEED` runs
//! one.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Checkpoint, TopicPartition};
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
    /// Rules are relaxed and tables are widened, at any time.
    Relaxing,
    /// Rules and tables change as they like; rows say where they come from.
    Changing,
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
            let source = &partitions()[schedule.chance.usize(..2)];
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
        if self.kind == Kind::Changing {
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
        settings.flush.rows_max = self.chance.usize(1..20);
        settings.describe_every = Duration::from_secs(if self.chance.bool() { 0 } else { 30 });
        settings
    }

    /// Starts a process that runs until it is killed.
    fn start(&mut self, crash: &Crash, weather: &Weather) -> tokio::task::JoinHandle<()> {
        let run_max = self.chance.usize(1..10);
        let (mut source, log) = self.kafka.join_in(run_max, crash.clone(), weather.clone());
        let warehouse = self.warehouse.seen_by(crash.clone()).seen_in(weather.clone());
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
        for _ in 0..self.chance.usize(1..5) {
            self.mishap().await;
        }
        let process = self.start(&Crash::never(), &Weather::calm());
        self.settled().await;
        self.check();
        if self.kind == Kind::Zombies {
            tokio::time::sleep(LATE_MAX * 2).await;
            self.check();
        }
        process.abort();
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
        let process = self.start(&crash, &weather);
        let time = Duration::from_millis(self.chance.u64(1..30_000));
        tokio::select! {
            () = crash.died() => {}
            () = self.settled() => {}
            () = tokio::time::sleep(time.mul_f64(0.3)) => self.change(),
        }
        tokio::select! {
            () = crash.died() => {}
            () = self.settled() => {}
            () = tokio::time::sleep(time.mul_f64(0.7)) => {}
        }
        // A zombie goes on by itself; nobody waits for it.
        if self.kind != Kind::Zombies || self.chance.bool() {
            crash.kill();
            process.abort();
        }
    }

    fn change(&mut self) {
        let wide = |schedule: &Self, id| {
            for table in ["a", "b"] {
                schedule.warehouse.alter_table(table, &schedule.columns(id));
            }
        };
        match (self.kind, self.chance.u8(..4)) {
            (Kind::Zombies, _) => {}
            (_, 0) => self.warehouse.accept(&name("poison")),
            (_, 1) => wide(self, WIDE),
            (Kind::Relaxing, _) => {}
            (Kind::Changing, 2) => self.warehouse.refuse(name("frowned")),
            (Kind::Changing, _) => wide(self, NARROW),
        }
    }

    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
        let settled = |partition: &TopicPartition| {
            let end = self.kafka.end(partition);
            end == 0 || self.kafka.committed(partition) == Some(Checkpoint::settled(end))
        };
        while !partitions().iter().all(settled) {
            assert!(tokio::time::Instant::now() < deadline, "not settled within an hour");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn check(&self) {
        let mut places = Vec::new();
        for table in ["a", "b"] {
            let rows = self.warehouse.rows(table);
            let landed: Vec<_> = rows.iter().map(|row| place(row, "_partition", "_offset")).collect();
            for partition in 0..2 {
                let offsets: Vec<_> = landed.iter().filter(|(p, _)| *p == partition).collect();
                assert!(offsets.is_sorted(), "order kept within {table}/{partition}: {offsets:?}");
            }
            places.extend(landed);
        }
        let letters = self.kafka.dead_letters();
        let letters: Vec<_> = letters.iter().map(|l| (i64::from(l.source.partition), l.offset)).collect();
        places.extend(&letters);
        places.sort_unstable();
        let all = partitions().into_iter().flat_map(|partition| {
            (0..self.kafka.end(&partition)).map(move |offset| (i64::from(partition.partition), offset))
        });
        assert_eq!(places, all.collect::<Vec<_>>(), "each record is in one place, once");
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

fn partitions() -> [TopicPartition; 2] {
    [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]
}

fn run_all(kind: Kind) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("TIDEGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SCHEDULES").unwrap_or(if kind == Kind::Zombies { 250 } else { 1000 }),
    };
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
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
fn nothing_is_lost_or_doubled_while_rules_are_relaxed() {
    run_all(Kind::Relaxing);
}

#[test]
fn nothing_is_lost_or_doubled_while_everything_changes() {
    run_all(Kind::Changing);
}
