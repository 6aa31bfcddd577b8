//! Who does what to the world. Each hand goes on by itself until time is up, by dice of its own that the seed sets,
//! and leaves the world as it found it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use fastrand::Rng;
use rustix::process::Signal;
use tidegate_engine::Engine;
use tidegate_testkit::Harm;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::cluster::{Cluster, Part};
use crate::process;
use crate::servers::Running;
use crate::sinks::Sink;
use crate::tally::Blow;
use crate::world::{DEAD_LETTERS, EVENTS, World};

/// The members' session time-out; a sink that stands still longer has lost its partitions.
pub(crate) const SESSION: Duration = Duration::from_secs(6);
/// How long Kafka may take to be whole again after a broker was started.
const WELL_AGAIN: Duration = Duration::from_secs(120);

/// Waits between these many seconds. `false` if time is up first.
async fn pause(dice: &mut Rng, seconds: (f64, f64), until: Instant) -> bool {
    let wait = between(dice, seconds);
    if Instant::now() + wait >= until {
        return false;
    }
    sleep(wait).await;
    true
}

fn between(dice: &mut Rng, (least, most): (f64, f64)) -> Duration {
    Duration::from_secs_f64((most - least).mul_add(dice.f64(), least))
}

/// Sinks die, stand still past their session, are restarted, and get company.
pub(crate) async fn on_sinks(world: &World, mut dice: Rng, until: Instant) -> anyhow::Result<()> {
    while pause(&mut dice, (2.0, 8.0), until).await {
        let mut sinks = world.sinks.lock().await;
        let at = dice.usize(..sinks.len());
        let sink = &mut sinks[at];
        match dice.u32(..10) {
            0..4 => {
                sink.kill();
                world.tally.blow(Blow::SinkKilled, &format!("{} killed", sink.name));
                sleep(between(&mut dice, (0.0, 3.0))).await;
                sink.start()?;
            }
            4..7 => {
                let still = SESSION + between(&mut dice, (2.0, 8.0));
                sink.signal(Signal::STOP)?;
                world.tally.blow(Blow::SinkStopped, &format!("{} stands still for {still:.1?}", sink.name));
                sleep(still).await;
                sink.signal(Signal::CONT)?;
            }
            7 => {
                world.tally.blow(Blow::SinkRestarted, &format!("{} restarted", sink.name));
                sink.stop().await?;
                sink.start()?;
            }
            _ => storm(world, &mut dice).await?,
        }
    }
    Ok(())
}

/// Members come and go, each time with a rebalance of every group.
async fn storm(world: &World, dice: &mut Rng) -> anyhow::Result<()> {
    let members = dice.usize(2..5);
    world.tally.say(&format!("{members} members come and go"));
    let mut guests: Vec<Sink> = Vec::new();
    for _ in 0..members {
        let mut guest = world.guest();
        guest.start()?;
        world.tally.quietly(Blow::MemberJoined, None);
        guests.push(guest);
        sleep(between(dice, (0.5, 2.5))).await;
    }
    for mut guest in guests {
        if dice.bool() {
            guest.kill();
        } else {
            guest.stop().await?;
        }
        sleep(between(dice, (0.0, 1.5))).await;
    }
    Ok(())
}

/// Brokers and controllers die or stand still, one at a time.
pub(crate) async fn on_brokers(world: &World, mut dice: Rng, until: Instant) -> anyhow::Result<()> {
    while pause(&mut dice, (4.0, 14.0), until).await {
        let mut brokers = world.brokers.lock().await;
        let at = dice.usize(..brokers.nodes.len());
        let node = &mut brokers.nodes[at];
        if dice.u32(..4) > 0 {
            node.kill();
            world.tally.blow(Blow::BrokerKilled, &format!("{} killed", node.name));
            sleep(between(&mut dice, (0.5, 10.0))).await;
            node.start()?;
        } else {
            let still = between(&mut dice, (1.0, 9.0));
            node.signal(Signal::STOP)?;
            world.tally.blow(Blow::BrokerStopped, &format!("{} stands still for {still:.1?}", node.name));
            sleep(still).await;
            node.signal(Signal::CONT)?;
        }
        // Acknowledged records stand on two of three: another death now would only be a long silence.
        world.kafka.well(WELL_AGAIN).await?;
    }
    Ok(())
}

/// ClickHouse dies.
pub(crate) async fn on_clickhouse(world: &World, dice: Rng, until: Instant) -> anyhow::Result<()> {
    match &world.servers.running {
        Running::Embedded(_) if world.plan.keep_clickhouse => Ok(()),
        Running::Embedded(engine) => {
            on_engine(world, engine, dice, until).await;
            Ok(())
        }
        Running::Cluster(cluster) => on_cluster(world, cluster, dice, until).await,
    }
}

/// Its supervisor starts it again.
async fn on_engine(world: &World, engine: &Engine, mut dice: Rng, until: Instant) {
    while pause(&mut dice, (10.0, 35.0), until).await {
        if let Some(id) = engine.child_id() {
            process::kill_id(id);
            world.tally.blow(Blow::ClickhouseKilled, "clickhouse killed");
        }
    }
}

/// Nodes, ZooKeeper and HAProxy die or stand still, one at a time.
async fn on_cluster(
    world: &World,
    cluster: &Mutex<Cluster>,
    mut dice: Rng,
    until: Instant,
) -> anyhow::Result<()> {
    while pause(&mut dice, (3.0, 12.0), until).await {
        let mut cluster = cluster.lock().await;
        let at = dice.usize(..cluster.members.len());
        let member = &mut cluster.members[at];
        let (killed, stopped) = match member.part {
            Part::Node => (Blow::NodeKilled, Blow::NodeStopped),
            Part::Zookeeper => (Blow::ZookeeperKilled, Blow::ZookeeperStopped),
            Part::Balancer => (Blow::BalancerKilled, Blow::BalancerStopped),
        };
        let away = between(&mut dice, (0.5, 12.0));
        if dice.u32(..3) > 0 {
            member.kill();
            world.tally.blow(killed, &format!("{} killed, for {away:.1?}", member.name));
            sleep(away).await;
            member.start()?;
        } else {
            member.signal(Signal::STOP)?;
            world.tally.blow(stopped, &format!("{} stands still for {away:.1?}", member.name));
            sleep(away).await;
            member.signal(Signal::CONT)?;
        }
        cluster.well_again().await?;
    }
    Ok(())
}

/// Inserts come to harm on their way.
pub(crate) async fn on_inserts(world: &World, mut dice: Rng, until: Instant) -> anyhow::Result<()> {
    let mut codes: Vec<i32> = tidegate_clickhouse::fault_codes().collect();
    dice.shuffle(&mut codes);
    let mut codes = codes.into_iter().cycle();
    while pause(&mut dice, (0.5, 3.0), until).await {
        // A sink that waits meets no harm; what piles up would come down at once when it goes on.
        if world.proxy.waiting() < 20 {
            let n_harms = dice.usize(1..5);
            world.proxy.harm((0..n_harms).map(|_| draw(&mut dice, &mut codes)));
        }
        count_met(world);
    }
    Ok(())
}

fn count_met(world: &World) {
    for harm in world.proxy.met() {
        let (blow, code) = named(harm);
        world.tally.quietly(blow, code);
    }
}

fn draw(dice: &mut Rng, codes: &mut impl Iterator<Item = i32>) -> Harm {
    let status = if dice.bool() { 500 } else { 503 };
    match dice.u32(..16) {
        0..3 => Harm::AnswerLost,
        3 => Harm::AnswerHalved,
        4 => Harm::RequestHalved,
        5 | 6 => Harm::AppliedLate(between(dice, (0.1, 12.0))),
        7 => Harm::Slow(between(dice, (0.2, 3.0))),
        8 => Harm::HalfOpen(between(dice, (1.0, 12.0))),
        9 => Harm::HalfOpenApplied(between(dice, (1.0, 12.0))),
        10 => Harm::Status(status),
        11 => Harm::StatusApplied(status),
        12 | 13 => Harm::Exception(codes.next().unwrap_or(241)),
        _ => Harm::ExceptionApplied(codes.next().unwrap_or(241)),
    }
}

const fn named(harm: Harm) -> (Blow, Option<i32>) {
    match harm {
        Harm::AnswerLost => (Blow::AnswerLost, None),
        Harm::AnswerHalved => (Blow::AnswerHalved, None),
        Harm::RequestHalved => (Blow::RequestHalved, None),
        Harm::AppliedLate(_) => (Blow::AppliedLate, None),
        Harm::Slow(_) => (Blow::Slow, None),
        Harm::HalfOpen(_) | Harm::HalfOpenApplied(_) => (Blow::HalfOpen, None),
        Harm::Status(_) | Harm::StatusApplied(_) => (Blow::Status5xx, None),
        Harm::Exception(code) | Harm::ExceptionApplied(code) => (Blow::Exception, Some(code)),
    }
}

/// The dead-letter topic is full, a topic goes and comes again, retention takes records that nobody has read.
pub(crate) async fn on_topics(world: &World, mut dice: Rng, until: Instant) -> anyhow::Result<()> {
    while pause(&mut dice, (3.0, 15.0), until).await {
        match dice.u32(..3) {
            0 => fill_dead_letters(world, &mut dice).await?,
            1 if world.plan.keep_topics => {}
            1 => recreate(world, &mut dice).await?,
            _ => overtake(world, &mut dice).await?,
        }
    }
    Ok(())
}

async fn fill_dead_letters(world: &World, dice: &mut Rng) -> anyhow::Result<()> {
    let full = between(dice, (3.0, 10.0));
    // Room for the markers of transactions, 78 bytes, which Kafka never gets rid of otherwise; none for a letter.
    world.kafka.message_bytes_max(DEAD_LETTERS.name, "200").await?;
    world.tally.blow(Blow::DeadLettersFull, &format!("the dead-letter topic takes nothing for {full:.1?}"));
    sleep(full).await;
    world.kafka.message_bytes_max(DEAD_LETTERS.name, "67108864").await
}

async fn recreate(world: &World, dice: &mut Rng) -> anyhow::Result<()> {
    let mut doomed = world.doomed.lock().await;
    doomed.end().await?;
    if dice.bool() {
        sleep(between(dice, (0.0, 4.0))).await;
    }
    world.tally.blow(Blow::TopicRecreated, "topic `doomed` deleted and created again");
    // Long enough to be noticed: Kafka takes commits of the former topic for the new one (docs/reliability.md).
    doomed.begin_anew(world, between(dice, (2.0, 5.0))).await
}

/// All sinks are away, or stand still for less than their session, while retention removes what they have not read.
async fn overtake(world: &World, dice: &mut Rng) -> anyhow::Result<()> {
    let mut sinks = world.sinks.lock().await;
    let away = dice.bool();
    for sink in sinks.iter_mut() {
        if away { sink.kill() } else { sink.signal(Signal::STOP)? }
    }
    sleep(between(dice, (1.0, 4.0))).await;
    let topic = world.brief.topic;
    let progress = world.kafka.progress(&World::group(topic), topic).await;
    let result = match progress {
        // A group that begins after that begins at the first record, and has nothing to tell.
        Ok(progress) if progress.values().any(|at| at.committed < 0) => {
            Err(anyhow!("the group has committed nothing yet"))
        }
        Ok(progress) => {
            let before: BTreeMap<i32, i64> = progress
                .iter()
                .map(|(partition, at)| (*partition, dice.i64(at.low.max(at.end - 120).min(at.end)..=at.end)))
                .collect();
            world.kafka.remove_before(topic.name, &before).await
        }
        Err(error) => Err(error),
    };
    for sink in sinks.iter_mut() {
        if away { sink.start()? } else { sink.signal(Signal::CONT)? }
    }
    match result {
        Ok(lows) => {
            let how = if away { "dead" } else { "standing still" };
            let what = format!("retention took `{}` up to {lows:?}, all sinks {how}", topic.name);
            world.tally.blow(Blow::RetentionOvertook, &what);
            world.brief.remember(lows);
        }
        // Kafka may be on its way to being whole again, and nobody was told that anything was removed.
        Err(error) => world.tally.say(&format!("retention did not come to pass: {error:#}")),
    }
    Ok(())
}

/// Everything is left alone from here on.
pub(crate) async fn relent(world: &World) -> anyhow::Result<()> {
    let unmet = world.proxy.relent();
    count_met(world);
    world.tally.say(&format!("time is up; {unmet} harms met no insert"));
    world.kafka.message_bytes_max(DEAD_LETTERS.name, "67108864").await?;
    world.kafka.well(WELL_AGAIN).await.with_context(|| format!("before `{}` is checked", EVENTS.name))
}
