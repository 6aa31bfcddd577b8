//! Small batches of several partitions go together, in one block a table, and every record is a row or a dead letter
//! once, whatever crashes or refuses.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Checkpoint, Fault, FaultKind, TopicPartition};
use tidegate_native::Value;
use tidegate_pipeline::{
    Budget, Connector, ConnectorSettings, DEAD_LETTER_COLUMNS, EventSchemas, Metrics, Status,
};
use tidegate_testkit::{Crash, FakeKafka, FakeRow, FakeWarehouse, Moment, Weather};

const COLUMNS: &[(&str, &str)] = &[
    ("type", "String"),
    ("id", "UInt64"),
    ("name", "String"),
    ("_topic", "String"),
    ("_partition", "Int32"),
    ("_offset", "Int64"),
];
const TABLES: [&str; 3] = ["a", "b", "c"];

struct World {
    kafka: FakeKafka,
    warehouse: FakeWarehouse,
    partitions: Vec<TopicPartition>,
}

impl World {
    /// Two records a table and partition.
    fn new(n_partitions: i32) -> Self {
        Self::with_columns(n_partitions, COLUMNS)
    }

    fn with_columns(n_partitions: i32, columns: &[(&str, &str)]) -> Self {
        let (kafka, warehouse) = (FakeKafka::default(), FakeWarehouse::default());
        for table in TABLES {
            warehouse.create_table(table, columns);
        }
        warehouse.create_table("dead_letters", DEAD_LETTER_COLUMNS);
        let partitions = (0..n_partitions).map(|partition| TopicPartition::new("t", partition)).collect();
        let world = Self { kafka, warehouse, partitions };
        for at in 0..world.partitions.len() {
            for table in TABLES.into_iter().cycle().take(6) {
                world.produce(at, table, "fine");
            }
        }
        world
    }

    fn produce(&self, partition: usize, table: &str, name: &str) {
        let value = format!(r#"{{"type":"{table}","id":1,"name":"{name}"}}"#);
        self.kafka.produce(&self.partitions[partition], Some(value.as_bytes()), &[]);
    }

    /// Runs a process that has all partitions until everything is settled, or it dies. Says whether it lived.
    async fn run(&self, crash: Crash) -> bool {
        let (mut source, log) = self.kafka.join(6, crash.clone());
        let connector = self.connector(log, &crash);
        tokio::select! {
            _ = connector.run(&mut source, self.settled()) => true,
            () = crash.died() => false,
        }
    }

    fn connector(
        &self,
        log: tidegate_testkit::FakeLog,
        crash: &Crash,
    ) -> Connector<tidegate_testkit::FakeLog, FakeWarehouse> {
        let world = (Arc::new(log), Arc::new(self.warehouse.seen_by(crash.clone())));
        let shown = (Budget::new(64 << 20), Status::new("c"));
        let schemas = (EventSchemas::none(), None);
        Connector::new(settings(), world, schemas, &Metrics::unregistered(), shown)
    }

    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
        let settled = |partition: &TopicPartition| {
            self.kafka.committed(partition) == Some(Checkpoint::settled(self.kafka.end(partition)))
        };
        while !self.partitions.iter().all(settled) {
            assert!(tokio::time::Instant::now() < deadline, "not settled within an hour");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says how many rows there are.
    #[track_caller]
    fn check_the_promise(&self) -> usize {
        let rows: Vec<_> = TABLES.iter().flat_map(|table| self.warehouse.rows(table)).collect();
        let mut places: Vec<_> = rows.iter().map(place).collect();
        let letters = self.kafka.dead_letters();
        places.extend(letters.iter().map(|letter| (i64::from(letter.source.partition), letter.offset)));
        places.sort_unstable();
        let all = self.partitions.iter().flat_map(|partition| {
            (0..self.kafka.end(partition)).map(|offset| (i64::from(partition.partition), offset))
        });
        assert_eq!(places, all.collect::<Vec<_>>());
        rows.len()
    }

    fn n_inserts(&self) -> Vec<usize> {
        TABLES.iter().map(|table| self.warehouse.n_inserts(table)).collect()
    }
}

fn settings() -> ConnectorSettings {
    tidegate_testkit::settings("{field:type}")
}

fn place(row: &FakeRow) -> (i64, i64) {
    match (&row["_partition"], &row["_offset"]) {
        (Value::Int(partition), Value::Int(offset)) => (*partition, *offset),
        _ => panic!("a row without its place: {row:?}"),
    }
}

fn poison() -> Value {
    Value::Bytes(b"poison".to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_table_gets_one_block_for_all_partitions() {
    let world = World::new(8);
    assert!(world.run(Crash::never()).await);
    assert_eq!(world.check_the_promise(), 48);
    assert_eq!(world.n_inserts(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_makes_one_block_a_table_and_linger() {
    let world = World::new(8);
    let (kafka, partitions) = (world.kafka.clone(), world.partitions.clone());
    let streaming = tokio::spawn(async move {
        for n in 0..400_usize {
            let value = format!(r#"{{"type":"{}","id":1,"name":"fine"}}"#, TABLES[n % 3]);
            kafka.produce(&partitions[n % 8], Some(value.as_bytes()), &[]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut source, log) = world.kafka.join(6, Crash::never());
    let running = async {
        streaming.await.expect("it streams");
        world.settled().await;
    };
    world.connector(log, &Crash::never()).run(&mut source, running).await;
    world.check_the_promise();
    // Two seconds, and a linger of 50 ms.
    assert!(world.n_inserts().iter().all(|n| *n <= 42), "{:?}", world.n_inserts());
}

#[tokio::test(start_paused = true)]
async fn batches_of_tables_that_cannot_be_asked_go_alone() {
    let world = World::with_columns(4, &[COLUMNS[0], COLUMNS[1], COLUMNS[2], COLUMNS[4], COLUMNS[5]]);
    assert!(world.run(Crash::never()).await);
    world.check_the_promise();
    assert_eq!(world.n_inserts(), [4, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_effect_loses_and_doubles_nothing() {
    for moment in [Moment::Before, Moment::After] {
        for effect in 0.. {
            let world = World::new(3);
            world.produce(1, "a", "fine");
            world.kafka.produce(&world.partitions[2], Some(b"no event"), &[]);
            let lived = world.run(Crash::at(effect, moment)).await;
            world.run(Crash::never()).await;
            assert_eq!(world.check_the_promise(), 19, "{moment:?} effect {effect}");
            if lived {
                assert!(effect >= 5, "one intent, three blocks and an end for all");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_a_row_lose_and_double_nothing() {
    for (first, second) in (0..8).flat_map(|first| (0..16).map(move |second| (first, second))) {
        let world = World::new(3);
        world.run(Crash::at(first, Moment::After)).await;
        world.produce(0, "a", "fine");
        world.run(Crash::at(second, Moment::After)).await;
        world.run(Crash::never()).await;
        assert_eq!(world.check_the_promise(), 19, "{first} {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_refused_row_of_a_joint_block_becomes_a_dead_letter() {
    let world = World::new(4);
    world.produce(2, "b", "poison");
    world.warehouse.refuse(poison());
    assert!(world.run(Crash::never()).await);
    assert_eq!(world.check_the_promise(), 24);
    let inserts = world.n_inserts();
    assert_eq!((inserts[0], inserts[2]), (1, 1), "the other tables' blocks stay as they are");
    assert!(inserts[1] <= 12, "{inserts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_relaxed_after_a_crash_doubles_nothing() {
    for effect in 0..24 {
        let world = World::new(3);
        world.produce(2, "b", "poison");
        world.warehouse.refuse(poison());
        world.run(Crash::at(effect, Moment::After)).await;
        world.warehouse.accept(&poison());
        world.run(Crash::never()).await;
        assert!(world.check_the_promise() >= 18, "{effect}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_world_are_waited_out_together() {
    let world = World::new(8);
    let fault = |kind| Fault::new(kind, "the world failed");
    world.warehouse.fail_inserts([FaultKind::Network, FaultKind::Overload, FaultKind::Denied].map(fault));
    world.kafka.fail_commits([FaultKind::Unavailable, FaultKind::Network].map(fault));
    assert!(world.run(Crash::never()).await);
    assert_eq!(world.check_the_promise(), 48);
    assert_eq!(world.n_inserts(), [1, 1, 1], "a block that was not taken is sent again as it was");
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_partition_while_a_joint_block_is_on_its_way_goes_on_with_the_others() {
    for late in [10, 200, 3000] {
        let world = World::new(3);
        let (mut source, log) = world.kafka.join(6, Crash::never());
        let warehouse = world.warehouse.seen_late(Duration::from_millis(late));
        let shown = (Budget::new(64 << 20), Status::new("c"));
        let connector = Connector::new(
            settings(),
            (Arc::new(log), Arc::new(warehouse)),
            (EventSchemas::none(), None),
            &Metrics::unregistered(),
            shown,
        );
        let first = connector.run(&mut source, world.settled());
        let second = async {
            // By then the joint batch is stated.
            tokio::time::sleep(Duration::from_millis(75)).await;
            let (mut source, log) =
                world.kafka.take_in(&world.partitions[1], 6, Crash::never(), Weather::calm());
            world.connector(log, &Crash::never()).run(&mut source, world.settled()).await
        };
        tokio::join!(first, second);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.check_the_promise(), 18, "{late} ms late");
    }
}
