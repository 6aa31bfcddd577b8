//! The embedded broker under each policy of fsync, and Apache Kafka, in one run and by one client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tidegate_bench::Apache;
use tidegate_broker::{Broker, BrokerOptions, Fsync, Listener};
use tidegate_kafka::{KafkaAdmin, KafkaOptions, TopicSpec};
use tokio::runtime::Runtime;

use crate::rates::{N_PARTITIONS, Place, Waits};

/// Of so many rounds the median is shown. The first warms Java up.
const ROUNDS: usize = 3;
/// Bytes of a message, and how many are sent in a round: about 100 MB.
const LOADS: [(usize, usize); 2] = [(150, 500_000), (1 << 10, 100_000)];
/// How many clients wait for acknowledgements at once.
const CLIENTS: [usize; 2] = [1, 8];
/// What `tidegate up --fsync 1s` tells its broker: what has waited so long is looked for as often.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// What was measured at one broker.
struct Figures {
    name: &'static str,
    /// Per load: megabytes and messages a second, produced and consumed.
    rates: Vec<[Rate; 2]>,
    waits: Vec<Waits>,
}

#[derive(Clone, Copy)]
struct Rate {
    megabytes: f64,
    messages: f64,
}

/// Prints the figures of every broker that is there.
///
/// # Errors
/// When the embedded broker cannot be measured. Why Apache Kafka cannot is printed.
pub(crate) fn measure() -> anyhow::Result<()> {
    // Beside the program, on a disk: where temporary files go may be memory, which fsync costs nothing.
    let program = std::env::current_exe()?;
    let beside = program.parent().context("a program is in a folder")?;
    let folder = tempfile::tempdir_in(beside)?;
    let runtime = Runtime::new()?;
    let policies = [
        ("--fsync never", Fsync::Never),
        ("--fsync 1s", Fsync::Every(HALF_A_SECOND)),
        ("--fsync always", Fsync::EveryAppend),
    ];
    let mut all = Vec::new();
    for (name, fsync) in policies {
        let data = folder.path().join(name.trim_start_matches('-'));
        all.push(embedded(&runtime, &data, (name, fsync)).with_context(|| name.to_owned())?);
    }
    let apache = apache(&runtime, &folder.path().join("apache"));
    let missing = apache.map(|figures| all.push(figures)).err();
    print(&all);
    if let Some(error) = missing {
        println!("Apache Kafka: not measured: {error:#}");
    }
    Ok(())
}

fn embedded(runtime: &Runtime, data: &Path, (name, fsync): (&'static str, Fsync)) -> anyhow::Result<Figures> {
    let mut options = BrokerOptions::new(data, Listener::loopback(0));
    options.fsync = fsync;
    if fsync == Fsync::Every(HALF_A_SECOND) {
        options.clean_interval = HALF_A_SECOND;
    }
    let broker = runtime.block_on(Broker::start(options)).context("start the embedded broker")?;
    let figures = figures(runtime, name, &broker.address().to_string());
    runtime.block_on(broker.stop());
    figures
}

fn apache(runtime: &Runtime, folder: &Path) -> anyhow::Result<Figures> {
    let apache = Apache::start(folder)?;
    figures(runtime, "Apache Kafka", &apache.address)
}

fn figures(runtime: &Runtime, name: &'static str, address: &str) -> anyhow::Result<Figures> {
    let admin = KafkaAdmin::connect(&KafkaOptions::new([address.to_owned()]))?;
    let create = |topic: &str| {
        let spec = TopicSpec::new(topic, N_PARTITIONS);
        runtime.block_on(admin.ensure_topic(&spec)).map_err(|fault| anyhow!("{fault}"))
    };
    let mut rates = Vec::new();
    for (bytes, messages) in LOADS {
        let (mut produced, mut consumed) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let topic = format!("rates-{bytes}-{round}");
            create(&topic)?;
            let place = Place { address, topic: &topic };
            produced.push(place.produce(messages, bytes)?);
            consumed.push(place.consume(messages)?);
        }
        rates.push([produced, consumed].map(|mut took| Rate::of(messages, bytes, median(&mut took))));
    }
    let mut waits = Vec::new();
    for clients in CLIENTS {
        let topic = format!("waits-{clients}");
        create(&topic)?;
        waits.push(Place { address, topic: &topic }.wait_for_acknowledgements(clients)?);
    }
    Ok(Figures { name, rates, waits })
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts below a billion")]
    fn of(messages: usize, bytes: usize, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        Self { megabytes: (messages * bytes) as f64 / seconds / 1e6, messages: messages as f64 / seconds }
    }
}

/// As Markdown, which docs/single-machine.md has.
fn print(all: &[Figures]) {
    println!("| acks=all | message | produce | | consume | |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for figures in all {
        for ((bytes, _), [produced, consumed]) in LOADS.iter().zip(&figures.rates) {
            println!("| {} | {bytes} B | {} | {} |", figures.name, shown(*produced), shown(*consumed));
        }
    }
    println!();
    println!("| 1 KiB, one at a time | clients | acknowledged | p50 | p99 |");
    println!("| --- | --- | --- | --- | --- |");
    for figures in all {
        for (clients, waits) in CLIENTS.iter().zip(&figures.waits) {
            println!(
                "| {} | {clients} | {:.0} messages/s | {:.2} ms | {:.2} ms |",
                figures.name,
                waits.per_second,
                waits.p50.as_secs_f64() * 1e3,
                waits.p99.as_secs_f64() * 1e3
            );
        }
    }
    println!();
}

fn shown(rate: Rate) -> String {
    format!("{:.0} MB/s | {:.0},000 messages/s", rate.megabytes, rate.messages / 1e3)
}
