//! The promise of the delivery protocol, on fakes that behave: every record is a row or a dead letter,
//! once, whatever crashes, fails or refuses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_config::Tombstones;
use tidegate_core::{Checkpoint, Fault, FaultKind, ReasonCode, Stage, TopicPartition};
use tidegate_native::Value;
use tidegate_pipeline::port::{Source, SourceEvent};
use tidegate_pipeline::{
    Budget, Connector, ConnectorSettings, DEAD_LETTER_COLUMNS, Ended, EventSchemas, FlushPolicy, HaltPolicy,
    Metrics, Phase, Status,
};
use tidegate_testkit::{Crash, FakeKafka, FakeWarehouse, Moment};

const COLUMNS: &[(&str, &str)] =
    &[("id", "UInt64"), ("name", "String"), ("_partition", "Int32"), ("_offset", "Int64")];

/// A source that cannot be read for a moment, right after its partitions were assigned.
struct Hiccup<S> {
    source: S,
    events: usize,
}

impl<S: Source> Source for Hiccup<S> {
    async fn next(&mut self) -> Option<SourceEvent> {
        self.events += 1;
        if self.events == 2 {
            return Some(SourceEvent::Faulted(Fault::new(FaultKind::Network, "connection refused")));
        }
        self.source.next().await
    }

    fn pause(&self, source: &TopicPartition) {
        self.source.pause(source);
    }

    fn resume(&self, source: &TopicPartition) {
        self.source.resume(source);
    }
}

struct World {
    kafka: FakeKafka,
    warehouse: FakeWarehouse,
}

impl World {
    fn new() -> Self {
        let warehouse = FakeWarehouse::default();
        warehouse.create_table("events", COLUMNS);
        warehouse.create_table("dead_letters", DEAD_LETTER_COLUMNS);
        Self { kafka: FakeKafka::default(), warehouse }
    }

    /// Ten good records a partition, with the incident's test message in the middle of each.
    fn with_the_incident() -> Self {
        let world = Self::new();
        for partition in partitions() {
            for id in 0..10 {
                if id == 5 {
                    world.produce(&partition, br#"{"test":"connection_test"}"#);
                }
                world.produce(&partition, format!(r#"{{"id":{id},"name":"n{id}"}}"#).as_bytes());
            }
        }
        world
    }

    fn produce(&self, partition: &TopicPartition, value: &[u8]) {
        self.kafka.produce(partition, Some(value), &[]);
    }

    /// Runs one process until everything is settled, or it dies. Says whether it lived.
    async fn run(&self, settings: ConnectorSettings, run_max: usize, crash: Crash) -> (Option<Ended>, Phase) {
        let (mut source, log) = self.kafka.join(run_max, crash.clone());
        let world = (Arc::new(log), Arc::new(self.warehouse.seen_by(crash.clone())));
        let schemas = (EventSchemas::none(), None);
        let status = Status::new("c");
        let shown = (Budget::new(64 << 20), status.clone());
        let connector = Connector::new(settings, world, schemas, &Metrics::unregistered(), shown);
        let ended = tokio::select! {
            ended = connector.run(&mut source, self.settled()) => Some(ended),
            () = crash.died() => None,
        };
        (ended, status.snapshot().phase)
    }

    /// Runs one process for a while.
    async fn run_for(&self, settings: ConnectorSettings, time: Duration) {
        let (mut source, log) = self.kafka.join(3, Crash::never());
        let world = (Arc::new(log), Arc::new(self.warehouse.clone()));
        let shown = (Budget::new(64 << 20), Status::new("c"));
        let schemas = (EventSchemas::none(), None);
        let connector = Connector::new(settings, world, schemas, &Metrics::unregistered(), shown);
        connector.run(&mut source, tokio::time::sleep(time)).await;
    }

    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
        while tokio::time::Instant::now() < deadline {
            let settled = partitions().iter().all(|partition| {
                self.kafka.committed(partition).unwrap_or(Checkpoint::settled(0))
                    == Checkpoint::settled(self.kafka.end(partition))
            });
            if settled {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not settled: {:?}", partitions().map(|partition| self.kafka.committed(&partition)));
    }

    /// Every offset of every partition is in one place, once; rows are in the order of their offsets.
    #[track_caller]
    fn check_the_promise(&self) {
        let place = |row: &BTreeMap<String, Value>, partition: &str, offset: &str| {
            let (Value::Int(partition), Value::Int(offset)) = (&row[partition], &row[offset]) else {
                panic!("a row without its place: {row:?}")
            };
            (*partition, *offset)
        };
        let rows: Vec<_> =
            self.warehouse.rows("events").iter().map(|row| place(row, "_partition", "_offset")).collect();
        let letters: Vec<_> =
            self.kafka.dead_letters().iter().map(|l| (i64::from(l.source.partition), l.offset)).collect();
        let mirrored: Vec<_> =
            self.warehouse.rows("dead_letters").iter().map(|row| place(row, "partition", "offset")).collect();
        let sorted = |mut places: Vec<(i64, i64)>| {
            places.sort();
            places
        };
        assert_eq!(sorted(mirrored), sorted(letters.clone()), "the table of dead letters is the topic");
        let expected = partitions().into_iter().flat_map(|partition| {
            (0..self.kafka.end(&partition)).map(move |offset| (i64::from(partition.partition), offset))
        });
        assert_eq!(sorted([rows.clone(), letters].concat()), expected.collect::<Vec<_>>());
        for partition in partitions() {
            let offsets: Vec<_> = rows
                .iter()
                .filter(|(p, _)| *p == i64::from(partition.partition))
                .map(|(_, offset)| *offset)
                .collect();
            assert!(offsets.is_sorted(), "order kept within {partition}: {offsets:?}");
        }
    }
}

fn partitions() -> [TopicPartition; 2] {
    [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]
}

fn settings(rows_max: usize) -> ConnectorSettings {
    let settings = tidegate_testkit::settings("events");
    ConnectorSettings { flush: FlushPolicy { rows_max, ..settings.flush }, ..settings }
}

#[tokio::test(start_paused = true)]
async fn the_incident_stops_no_partition() {
    let world = World::with_the_incident();
    let (ended, phase) = world.run(settings(4), 3, Crash::never()).await;
    assert_eq!((ended, phase), (Some(Ended::Stopped), Phase::Stopped));
    world.check_the_promise();
    let letters = world.kafka.dead_letters();
    let places: Vec<_> = letters.iter().map(|letter| (letter.source.partition, letter.offset)).collect();
    assert_eq!(places, [(0, 5), (1, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_effect_loses_and_doubles_nothing() {
    for (rows_max, run_max) in [(4, 3), (100, 5), (1, 1)] {
        for moment in [Moment::Before, Moment::After] {
            for effect in 0.. {
                let world = World::with_the_incident();
                let (ended, _) = world.run(settings(rows_max), run_max, Crash::at(effect, moment)).await;
                // The next process forms other batches, except where an intent says which.
                world.run(settings(rows_max + 2), run_max + 1, Crash::never()).await;
                world.check_the_promise();
                if ended.is_some() {
                    assert!(effect >= 8, "two partitions, each with an intent, two inserts and a commit");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_a_row_lose_and_double_nothing() {
    for (first, second) in (0..20).flat_map(|first| (0..12).map(move |second| (first, second))) {
        let world = World::with_the_incident();
        world.run(settings(4), 3, Crash::at(first, Moment::After)).await;
        world.run(settings(3), 2, Crash::at(second, Moment::After)).await;
        world.run(settings(7), 5, Crash::never()).await;
        world.check_the_promise();
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_again_has_records_that_its_tables_do_not_know() {
    let world = World::with_the_incident();
    world.run(settings(4), 3, Crash::never()).await;
    let rows = world.warehouse.rows("events").len();
    world.kafka.recreate();
    // As many as before, so that the batches are the same ranges of offsets.
    for partition in partitions() {
        for id in 100..111 {
            world.produce(&partition, format!(r#"{{"id":{id},"name":"n"}}"#).as_bytes());
        }
    }
    world.run(settings(4), 3, Crash::at(3, Moment::After)).await;
    world.run(settings(5), 3, Crash::never()).await;
    assert_eq!(world.warehouse.rows("events").len(), rows + 22);
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_world_are_waited_out_and_never_dead_lettered() {
    let world = World::new();
    for id in 0..50 {
        world.produce(&partitions()[id % 2], format!(r#"{{"id":{id},"name":"n"}}"#).as_bytes());
    }
    let fault = |kind| Fault::new(kind, "the world failed");
    world.warehouse.fail_inserts([FaultKind::Network, FaultKind::Overload, FaultKind::Denied].map(fault));
    world.kafka.fail_commits([FaultKind::Unavailable, FaultKind::Network].map(fault));
    world.run(settings(10), 4, Crash::never()).await;
    world.check_the_promise();
    assert_eq!(world.kafka.dead_letters(), []);
}

#[tokio::test(start_paused = true)]
async fn only_the_poison_rows_of_a_refused_block_become_dead_letters() {
    let world = World::new();
    for id in 0..64 {
        let name = if id == 9 || id == 40 { "poison" } else { "fine" };
        world.produce(&partitions()[0], format!(r#"{{"id":{id},"name":"{name}"}}"#).as_bytes());
    }
    world.warehouse.refuse(Value::Bytes(b"poison".to_vec()));
    world.run(settings(64), 64, Crash::never()).await;
    world.check_the_promise();
    let letters: Vec<_> = world.kafka.dead_letters().iter().map(|l| (l.offset, l.stage, l.code)).collect();
    let refused = |offset| (offset, Stage::Insert, ReasonCode::RowRefused);
    assert_eq!(letters, [refused(9), refused(40)]);
    assert!(world.warehouse.n_inserts("events") < 30, "halving, not one by one");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_nobody_knows_dead_letters_nothing_while_no_row_is_taken() {
    let world = World::new();
    for id in 0..8 {
        world.produce(&partitions()[0], format!(r#"{{"id":{id},"name":"n"}}"#).as_bytes());
    }
    let fault = Fault { kind: FaultKind::Unknown, code: Some(9999), message: "who knows".to_owned() };
    world.warehouse.fail_inserts(std::iter::repeat_n(fault, 200));
    world.run(settings(8), 8, Crash::never()).await;
    world.check_the_promise();
    assert_eq!(world.kafka.dead_letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_altered_is_looked_at_before_its_records_are_refused() {
    let world = World::new();
    let warehouse = world.warehouse.clone();
    world.produce(&partitions()[0], br#"{"id":1,"name":"n"}"#);
    world.run(settings(4), 3, Crash::never()).await;
    let kafka = world.kafka.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        kafka.produce(&partitions()[0], Some(br#"{"id":2,"name":"n"}"#), &[]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let columns: Vec<_> =
            COLUMNS.iter().map(|&(name, ty)| (name, if name == "id" { "Int64" } else { ty })).collect();
        warehouse.alter_table("events", &columns);
        kafka.produce(&partitions()[0], Some(br#"{"id":-3,"name":"n"}"#), &[]);
    });
    let running = world.run_for(settings(4), Duration::from_secs(5));
    running.await;
    later.await.unwrap();
    world.check_the_promise();
    assert_eq!(world.kafka.dead_letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_comes_back_gets_every_record_that_came_while_it_was_away() {
    let world = World::new();
    world.warehouse.drop_table("events");
    world.produce(&partitions()[0], br#"{"id":1,"name":"n"}"#);
    let warehouse = world.warehouse.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        warehouse.create_table("events", COLUMNS);
    });
    world.run(settings(4), 3, Crash::never()).await;
    world.check_the_promise();
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_bad_records_halts_before_any_of_the_batch_is_written() {
    let world = World::new();
    for _ in 0..40 {
        world.produce(&partitions()[0], br#"{"id":"not a number"}"#);
    }
    let mut halting = settings(100);
    halting.halt_when = Some(HaltPolicy { bad_ratio: 0.5, window: 20 });
    let (ended, phase) = world.run(halting, 40, Crash::never()).await;
    let Some(Ended::Halted(halted)) = ended else { panic!("{ended:?}") };
    assert_eq!((phase, halted.n_bad, halted.offset), (Phase::Halted, 20, 19));
    assert_eq!(world.kafka.dead_letters(), []);
    // After the fix (here: no guard) the same records are dead letters, once.
    world.run(settings(100), 40, Crash::never()).await;
    world.check_the_promise();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_partitions_commits_nothing() {
    let world = World::with_the_incident();
    let minute = Duration::from_secs(60);
    // The zombie states its intents, and its inserts arrive a minute later: after the next member has
    // taken the partitions over and gone through them to the end.
    let late = World { kafka: world.kafka.clone(), warehouse: world.warehouse.seen_late(minute) };
    let zombie = tokio::spawn(async move { late.run_for(settings(4), minute * 5).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.kafka.committed(&partitions()[0]).is_some_and(|checkpoint| checkpoint.intent.is_some()));
    world.run(settings(6), 3, Crash::never()).await;
    let committed = partitions().map(|partition| world.kafka.committed(&partition));
    zombie.await.unwrap();
    assert_eq!(partitions().map(|partition| world.kafka.committed(&partition)), committed);
    world.check_the_promise();
}

#[tokio::test(start_paused = true)]
async fn tombstones_are_dropped_only_where_the_configuration_says_so() {
    for (tombstones, letters) in [(Tombstones::Reject, 1), (Tombstones::Skip, 0)] {
        let world = World::new();
        world.kafka.produce(&partitions()[0], None, &[]);
        world.run(ConnectorSettings { tombstones, ..settings(4) }, 3, Crash::never()).await;
        assert_eq!(world.kafka.dead_letters().len(), letters);
        assert_eq!(world.kafka.committed(&partitions()[0]), Some(Checkpoint::settled(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_reading_is_told_no_longer_once_records_come() {
    let world = World::with_the_incident();
    let (source, log) = world.kafka.join(3, Crash::never());
    let status = Status::new("c");
    let connector = Connector::new(
        settings(4),
        (Arc::new(log), Arc::new(world.warehouse.clone())),
        (EventSchemas::none(), None),
        &Metrics::unregistered(),
        (Budget::new(64 << 20), status.clone()),
    );
    let seen = async {
        world.settled().await;
        let seen = status.snapshot();
        assert_eq!((seen.phase, seen.reason), (Phase::Running, None));
    };
    assert_eq!(connector.run(&mut Hiccup { source, events: 0 }, seen).await, Ended::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_server_that_does_not_say_what_a_table_is() {
    let world = World::with_the_incident();
    world.warehouse.fall_silent();
    let stopped =
        tokio::time::timeout(Duration::from_secs(30), world.run_for(settings(10), Duration::from_secs(1)));
    stopped.await.expect("stopped in time");
    assert_eq!(world.warehouse.rows("events"), []);
}

#[tokio::test(start_paused = true)]
async fn many_partitions_ask_what_a_table_is_a_few_at_a_time() {
    let world = World::new();
    for partition in 0..100 {
        world.produce(&TopicPartition::new("events", partition), br#"{"id":1,"name":"n"}"#);
    }
    world.run_for(settings(10), Duration::from_secs(60)).await;
    assert_eq!(world.warehouse.rows("events").len(), 100);
    let n_max = world.warehouse.n_describing_max();
    assert!((1..=8).contains(&n_max), "{n_max} at once");
}

/// How many inserts it takes to bring 4,000 records of 1 KB into a table, where a batch may have 2 MB in all.
async fn inserts_into(columns: &[(&str, &str)]) -> usize {
    let world = World::new();
    world.warehouse.alter_table("events", columns);
    let partition = &partitions()[0];
    let name = "n".repeat(1_000);
    for id in 0..4_000 {
        world.produce(partition, format!(r#"{{"id":{id},"name":"{name}"}}"#).as_bytes());
    }
    let (mut source, log) = world.kafka.join(64, Crash::never());
    let shown = (Budget::new(6_000_000), Status::new("c"));
    let world_seen = (Arc::new(log), Arc::new(world.warehouse.clone()));
    let flush = FlushPolicy { bytes_max: 64 << 20, ..settings(100_000).flush };
    let settings = ConnectorSettings { flush, ..settings(100_000) };
    let connector =
        Connector::new(settings, world_seen, (EventSchemas::none(), None), &Metrics::unregistered(), shown);
    let all = async {
        while world.warehouse.rows("events").len() < 4_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    connector.run(&mut source, all).await;
    world.warehouse.n_inserts("events")
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_as_large_as_records_and_columns_together_allow() {
    let wide = inserts_into(COLUMNS).await;
    let narrow: Vec<_> = COLUMNS.iter().filter(|(name, _)| *name != "name").copied().collect();
    let narrow = inserts_into(&narrow).await;
    // The wide table's columns take as much as its records, the other's hardly any.
    assert!((4..=8).contains(&wide), "{wide} inserts of a thousand rows or less");
    assert!(narrow * 3 <= wide * 2, "{narrow} inserts into the narrow table, {wide} into the wide one");
}
