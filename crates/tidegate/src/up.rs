//! `tidegate up`: the life of the single machine's stack, from its flags to its end.

pub mod access;
mod catalog;
pub mod folder;
pub mod front;
pub mod machine;
pub mod metrics;
mod ports;
pub mod registry;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tidegate_broker::{Fsync, Rates};
use tidegate_clickhouse::{Client, quote_name};
use tidegate_config::{ByteSize, EmbeddedKafka, UpFile};
use tidegate_kafka::KafkaOptions;
use tidegate_registry_client::RegistryClient;

use self::access::{Access, KAFKA_USER, Passwords};
pub use self::catalog::CatalogFlags;
use self::catalog::Work;
use self::folder::{Contact, DataFolder};
use self::front::Front;
use self::machine::Machine;
use self::ports::Wanted;
use self::registry::SchemaRegistry;
use crate::api::{Api, Shown};
use crate::cli::{ClickHouseFlag, Exit, FsyncFlag, Speech, Up, WrongUse};
use crate::commands::{Lingering, StopSignals, print, serve};
use crate::metrics::answer::Model;
use crate::metrics::http::Oracle;
use crate::report::{CatalogReport, Endpoints, Login, UpReport};
use crate::sink::{Sink, World};
use crate::stack::{ClickHouseChoice, EmbeddedClickHouse, KafkaChoice, KafkaSettings, Stack, StackOptions};
use crate::{render, wire};

/// How long an orderly stop may take before what is left is left to die: connectors finish their batches
/// (5 s), ClickHouse its queries (10 s), the broker its answers (5 s).
const STOP_MAX: Duration = Duration::from_secs(30);

/// Buffer memory where no file says otherwise, in bytes.
pub const DEFAULT_MEMORY_MAX: usize = 512 << 20;

/// Runs the stack until it is told to stop.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Up, speech: &Speech) -> anyhow::Result<Exit> {
    let work = Work::read(flags)?;
    let access = Access::of(flags)?;
    let kafka = kafka_choice(flags, work.file.as_ref())?;
    let mut signals = StopSignals::listen()?;
    let folder = DataFolder::take(&flags.data_dir)?;
    ports::check(&wanted(flags, &kafka, &access))?;
    let (passwords, new_passwords) = match &access {
        Access::Machine => (None, false),
        Access::Network(_) => {
            let (passwords, new) = Passwords::load_or_make(folder.path())?;
            (Some(passwords), new)
        }
    };
    let entry = Entry { kafka, access, passwords };
    let mut running = tokio::select! {
        biased;
        // Dropping a start that is under way ends what it has started.
        () = signals.next() => return Ok(Exit::Done),
        started = Running::start(flags, &work, &folder, &entry) => started?,
    };
    let logins = logins(&running.stack, &folder, entry.passwords.as_ref().filter(|_| new_passwords));
    let endpoints = endpoints(&running.stack, (&running.api_url(), &running.registry_url()), &flags.data_dir);
    let catalog = running.catalog.take();
    print(speech, &UpReport { endpoints, catalog, logins }, render::up)?;
    let lingering = (Lingering::Serve, &mut signals);
    let exit = serve(&mut running.sink, speech, flags.config.as_deref(), lingering).await?;
    tokio::select! {
        biased;
        () = signals.next() => bail!("told twice to stop: what was under way has been left"),
        stopped = tokio::time::timeout(STOP_MAX, running.stop()) => {
            stopped.with_context(|| format!("stop within {STOP_MAX:?}: what was left has been killed"))??;
        }
    }
    Ok(exit)
}

/// What listens where, of what users see.
fn wanted(flags: &Up, kafka: &KafkaChoice, access: &Access) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    match kafka {
        KafkaChoice::Embedded(settings) => wanted.extend([
            ("Kafka", "--kafka-port", settings.port),
            ("the schema registry", "--registry-port", flags.registry_port),
        ]),
        KafkaChoice::Running(_) => {}
    }
    match &flags.clickhouse {
        Some(ClickHouseFlag::Running(_)) => {}
        Some(ClickHouseFlag::Program(_)) | None => wanted.extend([
            ("ClickHouse over HTTP", "--clickhouse-port", flags.clickhouse_port),
            ("ClickHouse's native protocol", "--clickhouse-native-port", flags.clickhouse_native_port),
        ]),
    }
    wanted.push(("Tidegate", "--api-port", flags.api_port));
    let at = |(what, flag, port)| Wanted { what, flag, address: access.at(port) };
    wanted.into_iter().map(at).collect()
}

/// Which Kafka, who gets in, and with what.
struct Entry {
    kafka: KafkaChoice,
    access: Access,
    passwords: Option<Passwords>,
}

/// Everything that runs.
struct Running {
    stack: Stack,
    api: Api,
    api_front: Option<Front>,
    registry: Option<SchemaRegistry>,
    scheme: &'static str,
    sink: Option<Sink>,
    /// What has been made of the catalog, until it is told.
    catalog: Option<CatalogReport>,
}

impl Running {
    async fn start(flags: &Up, work: &Work, folder: &DataFolder, entry: &Entry) -> anyhow::Result<Self> {
        let Entry { access, passwords, kafka: _ } = entry;
        let options = stack_options(flags, folder.path(), entry);
        let registry = async |kafka: Option<KafkaOptions>| match kafka {
            // A Kafka that is not ours may have a registry already, and a topic of ours would be a surprise there.
            None => Ok(None),
            Some(kafka) => SchemaRegistry::start(&kafka, (access, passwords.as_ref()), flags.registry_port)
                .await
                .map(Some),
        };
        let (stack, registry) = Stack::start_beside(options, registry).await?;
        let memory_max = work.file.as_ref().map_or(DEFAULT_MEMORY_MAX, |file| file.memory_max.as_usize());
        let shown = Shown::new(memory_max);
        shown.show_machine(Arc::new(Machine::new(&stack, folder.path())?));
        let (api, api_front) = match (access, passwords) {
            (Access::Network(network), Some(passwords)) => {
                let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let api = Api::start(behind, shown.clone(), Some(passwords.api_token.clone())).await?;
                let front =
                    Front::start(access.at(flags.api_port), api.address(), network.tls.clone()).await?;
                (api, Some(front))
            }
            (Access::Network(_) | Access::Machine, _) => {
                (Api::start(access.at(flags.api_port), shown.clone(), None).await?, None)
            }
        };
        let client = registry.as_ref().map(|registry| registry.client(passwords.as_ref())).transpose()?;
        let (sink, catalog) = sink(work, (&stack, client), folder.path(), &shown).await?;
        folder.remember(&Contact { pid: std::process::id(), api: api.address().to_string() })?;
        Ok(Self { stack, api, api_front, registry, scheme: access.scheme(), sink, catalog })
    }

    fn api_url(&self) -> String {
        let address = self.api_front.as_ref().map_or_else(|| self.api.address(), Front::address);
        format!("{}://{address}", self.scheme)
    }

    /// Where the schema registry is; empty if there is none.
    fn registry_url(&self) -> String {
        self.registry.as_ref().map_or_else(String::new, SchemaRegistry::url)
    }

    /// Connectors first, so that what they have read lands; then the interfaces, then the engines.
    async fn stop(self) -> anyhow::Result<()> {
        if let Some(sink) = self.sink {
            sink.stop().await;
        }
        drop((self.api, self.api_front, self.registry));
        self.stack.stop().await
    }
}

/// The connectors of the file and of the catalog, at work.
async fn sink(
    work: &Work,
    (stack, registry): (&Stack, Option<RegistryClient>),
    data_dir: &Path,
    shown: &Shown,
) -> anyhow::Result<(Option<Sink>, Option<CatalogReport>)> {
    let Some(database) = work.database() else { return Ok((None, None)) };
    let mut world = world(stack, database).await?;
    world.registry = match work.file.as_ref().and_then(|file| file.registry.as_ref()) {
        Some(named) => Some(crate::writers::registry(named)?),
        None => registry,
    };
    let mut connectors = work.file.as_ref().map_or_else(Vec::new, |file| file.connectors.clone());
    for database in connectors.iter().filter_map(|connector| connector.database.as_ref()) {
        create_database(&world.clickhouse, database.as_str()).await?;
    }
    let mut report = None;
    if let Some(opened) = &work.catalog {
        let (connector, made) = catalog::roll_out(opened, stack, &world, data_dir).await?;
        connectors.push(connector);
        report = Some(made);
        shown.answer_metrics(Oracle {
            model: Model { catalog: opened.catalog.clone(), lock: opened.generated.lock.clone() },
            clickhouse: world.clickhouse.clone(),
        });
    }
    Ok((Some(Sink::start(&world, &connectors, shown)?), report))
}

/// The broker looks that often for what has waited as long: after about a second all is on the disk.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

const fn fsync(flag: FsyncFlag) -> Fsync {
    match flag {
        FsyncFlag::Never => Fsync::Never,
        FsyncFlag::EverySecond => Fsync::Every(HALF_A_SECOND),
        FsyncFlag::Always => Fsync::EveryAppend,
    }
}

/// What flags and file say; a flag counts before the file.
fn kafka_choice(flags: &Up, file: Option<&UpFile>) -> anyhow::Result<KafkaChoice> {
    let in_file = file.and_then(|file| file.kafka.as_ref());
    let embedded = file.map(|file| &file.embedded_kafka);
    let in_bytes = |of: fn(&EmbeddedKafka) -> Option<ByteSize>| embedded.and_then(of).map(|size| size.0);
    let of_both = |flag| {
        WrongUse(format!(
            "`{flag}` and `kafka` in the file of --config exclude one another; keep one of them"
        ))
    };
    match (&flags.kafka, in_file) {
        (Some(_), Some(_)) => bail!(of_both("--kafka")),
        (None, Some(_)) if flags.kafka_disk.is_some() => bail!(of_both("--kafka-disk")),
        (Some(brokers), None) => Ok(KafkaChoice::Running(Box::new(KafkaOptions::new(brokers.clone())))),
        (None, Some(kafka)) => Ok(KafkaChoice::Running(Box::new(wire::kafka(kafka)))),
        (None, None) => Ok(KafkaChoice::Embedded(KafkaSettings {
            port: flags.kafka_port,
            fsync: fsync(flags.fsync),
            disk_max: flags.kafka_disk.map(|size| size.0).or_else(|| in_bytes(|file| file.disk_max)),
            rates: Rates {
                produce: in_bytes(|file| file.produce_rate_max),
                fetch: in_bytes(|file| file.fetch_rate_max),
            },
        })),
    }
}

fn stack_options(flags: &Up, folder: &Path, entry: &Entry) -> StackOptions {
    let embedded = |program| {
        ClickHouseChoice::Embedded(EmbeddedClickHouse {
            http_port: flags.clickhouse_port,
            native_port: flags.clickhouse_native_port,
            memory_max_bytes: flags.clickhouse_memory.0,
            program,
        })
    };
    let clickhouse = match &flags.clickhouse {
        Some(ClickHouseFlag::Running(url)) => ClickHouseChoice::Running(url.clone()),
        Some(ClickHouseFlag::Program(path)) => embedded(Some(path.clone())),
        None => embedded(None),
    };
    StackOptions {
        data_dir: folder.to_owned(),
        access: entry.access.clone(),
        kafka_password: entry.passwords.as_ref().map(|passwords| passwords.kafka.clone()),
        kafka: entry.kafka.clone(),
        clickhouse,
    }
}

/// The engines as connectors see them, with the database created.
///
/// # Errors
/// When ClickHouse does not take the database's name.
pub async fn world(stack: &Stack, database: &str) -> anyhow::Result<World> {
    let clickhouse = Client::new(stack.clickhouse()?).context("set up the clickhouse client")?;
    create_database(&clickhouse, database).await?;
    Ok(World { kafka: stack.kafka(), clickhouse, database: database.to_owned(), registry: None })
}

async fn create_database(clickhouse: &Client, database: &str) -> anyhow::Result<()> {
    let created =
        clickhouse.execute(&format!("CREATE DATABASE IF NOT EXISTS {}", quote_name(database))).await;
    created.with_context(|| format!("create database `{database}`"))
}

/// Where everything listens. Whoever reads this may use ClickHouse: its addresses have the passwords in
/// them, as URLs can. Those of a ClickHouse that is not ours have none.
#[must_use]
pub fn endpoints(stack: &Stack, (api, registry): (&str, &str), data_dir: &Path) -> Endpoints {
    let url = stack.clickhouse_url();
    let with = |user: &str, password: &str| url.replacen("://", &format!("://{user}:{password}@"), 1);
    let owner = stack.engine().map(|engine| engine.credentials());
    let reader = stack.engine().and_then(|engine| engine.bi_credentials());
    Endpoints {
        kafka: stack.kafka_address(),
        clickhouse: owner.map_or_else(|| url.clone(), |owner| with(&owner.user, owner.password())),
        clickhouse_reader: reader.map_or_else(String::new, |user| with(&user.user, user.password())),
        clickhouse_native: stack.clickhouse_native().map_or_else(String::new, |native| native.to_string()),
        registry: registry.to_owned(),
        api: api.to_owned(),
        data_dir: data_dir.display().to_string(),
    }
}

/// Passwords that nobody has seen yet.
fn logins(stack: &Stack, folder: &DataFolder, new: Option<&Passwords>) -> Vec<Login> {
    let login = |what: &str, user: &str, password: &str, file: &str| Login {
        what: what.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        file: folder.path().join(file).display().to_string(),
    };
    let mut logins = Vec::new();
    if let (Some(engine), true) = (stack.engine(), folder.fresh_clickhouse()) {
        let file = "clickhouse/credentials.json";
        let owner = engine.credentials();
        logins.push(login("ClickHouse, everything", &owner.user, owner.password(), file));
        if let Some(reader) = engine.bi_credentials() {
            logins.push(login("ClickHouse, reading", &reader.user, reader.password(), file));
        }
    }
    if let Some(new) = new {
        if stack.kafka_logs().is_some() {
            logins.push(login("Kafka and registry", KAFKA_USER, &new.kafka, Passwords::FILE));
        }
        logins.push(login("Tidegate, bearer token", "", &new.api_token, Passwords::FILE));
    }
    logins
}
