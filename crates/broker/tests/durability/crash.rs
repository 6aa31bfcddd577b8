//! `kill -9`, over and over: nothing acknowledged is lost, nothing aborted is seen.

use std::sync::mpsc::channel;
use std::time::Duration;

use crate::child::BrokerProcess;
use crate::load::{Chance, Client, prepare, work_until_gone};
use crate::wire::Wire;

const N_ROUNDS: u64 = 200;
/// How often everything is read, and not only what is new.
const FULL_CHECK_EVERY: u64 = 20;
/// The most answers that a broker gives before it is killed.
const ANSWERS_MAX: u64 = 250;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Printed when a round fails.
struct Told {
    seed: u64,
    round: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("round {}; TIDEGATE_CRASH_SEED={} has the same again", self.round, self.seed);
        }
    }
}

fn live_and_die(clients: &mut [Box<dyn Client>], broker: &mut BrokerProcess, chance: &mut Chance) {
    let address = broker.address;
    let (answered, answers) = channel();
    std::thread::scope(|scope| {
        for client in clients {
            let mut chance = Chance(chance.below(u64::MAX));
            let answered = answered.clone();
            scope.spawn(move || {
                let wire = Wire::connect(address).map(|wire| wire.telling(answered));
                work_until_gone(client.as_mut(), wire, &mut chance);
            });
        }
        for _ in 0..chance.below(ANSWERS_MAX) {
            answers.recv_timeout(ANSWER_TIME_MAX).unwrap();
        }
        broker.kill();
    });
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_shows_nothing_aborted() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("kafka");
    let mut told = Told { seed: from_environment("TIDEGATE_CRASH_SEED", 1), round: 0 };
    let mut chance = Chance(told.seed);
    let mut broker = BrokerProcess::start(&directory);
    let mut clients = prepare(&mut Wire::connect(broker.address).unwrap()).unwrap();
    for round in 1..=from_environment("TIDEGATE_CRASH_ROUNDS", N_ROUNDS) {
        told.round = round;
        live_and_die(&mut clients, &mut broker, &mut chance);
        broker = BrokerProcess::start(&directory);
        let mut wire = Wire::connect(broker.address).unwrap();
        for client in &mut clients {
            client.check(&mut wire, round.is_multiple_of(FULL_CHECK_EVERY)).unwrap();
        }
    }
    let words = broker.words();
    assert!(!words.contains("ERROR"), "a crash damages nothing: {words}");
    broker.stop();
}
