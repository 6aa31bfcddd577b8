//! The single machine's engines: the broker in this process, ClickHouse in a child process; or, in the
//! place of one, a Kafka or a ClickHouse that runs already.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tidegate_broker::{Broker, BrokerOptions, Fsync, Listener, LogsWatch, Rates, Users};
use tidegate_clickhouse::{Client, ClientOptions, Compression, Secret, Url};
use tidegate_core::Fault;
use tidegate_engine::{BiUser, Engine, EngineLibrary, EngineOptions, can_confine};
use tidegate_kafka::{Credentials, KafkaAdmin, KafkaOptions, Sasl};

use crate::up::access::{Access, KAFKA_USER, Network};
use crate::up::front::Front;
use crate::up::machine::NOT_CONFINED;

/// Which Kafka.
#[derive(Debug, Clone)]
pub enum KafkaChoice {
    /// The embedded broker.
    Embedded(KafkaSettings),
    /// One that runs.
    Running(Box<KafkaOptions>),
}

/// The embedded broker.
#[derive(Debug, Clone, Copy)]
pub struct KafkaSettings {
    /// Its port; 0 takes a free one.
    pub port: u16,
    /// When what it acknowledged is on the disk.
    pub fsync: Fsync,
    /// What its logs may hold, in bytes; as much as the disk takes if absent.
    pub disk_max: Option<u64>,
    /// What each client id may produce and fetch.
    pub rates: Rates,
}

/// Which ClickHouse.
#[derive(Debug, Clone)]
pub enum ClickHouseChoice {
    /// An own one.
    Embedded(EmbeddedClickHouse),
    /// One that runs; the address may have user and password in it.
    Running(Url),
}

/// The embedded ClickHouse.
#[derive(Debug, Clone)]
pub struct EmbeddedClickHouse {
    /// HTTP's port; 0 takes a free one.
    pub http_port: u16,
    /// The native protocol's port; 0 takes a free one.
    pub native_port: u16,
    /// What it may allocate, in bytes.
    pub memory_max_bytes: u64,
    /// The library or the binary, if it is not to be searched for.
    pub program: Option<PathBuf>,
}

impl EmbeddedClickHouse {
    /// What it may allocate where nothing else is said.
    pub const MEMORY: u64 = 2 << 30;
}

/// Which engines, where they listen and keep their data.
#[derive(Clone)]
pub struct StackOptions {
    /// The folder of the engines' data.
    pub data_dir: PathBuf,
    /// From where they can be reached.
    pub access: Access,
    /// The password of Kafka's user, where Kafka can be reached from elsewhere.
    pub kafka_password: Option<String>,
    /// Which Kafka.
    pub kafka: KafkaChoice,
    /// Which ClickHouse.
    pub clickhouse: ClickHouseChoice,
}

impl StackOptions {
    /// Both engines embedded, on free ports of this machine.
    #[must_use]
    pub fn on_free_ports(data_dir: &Path) -> Self {
        let clickhouse = EmbeddedClickHouse {
            http_port: 0,
            native_port: 0,
            memory_max_bytes: EmbeddedClickHouse::MEMORY,
            program: None,
        };
        Self {
            data_dir: data_dir.to_owned(),
            access: Access::Machine,
            kafka_password: None,
            kafka: KafkaChoice::Embedded(KafkaSettings {
                port: 0,
                fsync: Fsync::Never,
                disk_max: None,
                rates: Rates::default(),
            }),
            clickhouse: ClickHouseChoice::Embedded(clickhouse),
        }
    }
}

/// The user that only reads, for BI tools.
const READER: &str = "reader";

/// How long a Kafka or ClickHouse that runs already may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long ClickHouse may take to finish its queries when it is stopped.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// The engines.
pub struct Stack {
    kafka: Kafka,
    clickhouse: ClickHouse,
    access: Access,
}

enum Kafka {
    Embedded(Box<EmbeddedKafka>),
    Running(Box<KafkaOptions>),
}

/// The broker, and how this process reaches it.
struct EmbeddedKafka {
    broker: Broker,
    options: KafkaOptions,
}

enum ClickHouse {
    Embedded { engine: Box<Engine>, fronts: Option<(Front, Front)> },
    Running(Url),
}

impl Stack {
    /// Starts what is to be started and waits until it answers.
    ///
    /// # Errors
    /// When a port or the data folder is in use, ClickHouse's library is not there, or a Kafka or
    /// ClickHouse that should run does not answer.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        let (stack, ()) = Self::start_beside(options, async |_| Ok(())).await?;
        Ok(stack)
    }

    /// As [`Self::start`], and runs `beside` while ClickHouse still starts: once Kafka answers, with how this
    /// process reaches it if it is embedded.
    ///
    /// # Errors
    /// As [`Self::start`], and what `beside` says.
    pub async fn start_beside<T>(
        options: StackOptions,
        beside: impl AsyncFnOnce(Option<KafkaOptions>) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        let StackOptions { data_dir, access, kafka_password, kafka, clickhouse } = options;
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("create data folder `{}`", data_dir.display()))?;
        let (kafka_dir, clickhouse_dir) = (data_dir.join("kafka"), data_dir.join("clickhouse"));
        let with_kafka = async {
            let kafka = start_kafka(kafka, (&access, kafka_password.as_deref()), &kafka_dir).await?;
            let embedded = match &kafka {
                Kafka::Embedded(embedded) => Some(embedded.options.clone()),
                Kafka::Running(_) => None,
            };
            let made = beside(embedded).await?;
            anyhow::Ok((kafka, made))
        };
        let (with_kafka, clickhouse) =
            tokio::join!(with_kafka, start_clickhouse(clickhouse, &access, &clickhouse_dir));
        let (kafka, made) = with_kafka?;
        Ok((Self { kafka, clickhouse: clickhouse?, access }, made))
    }

    /// `host:port` of the Kafka protocol, as clients reach it.
    #[must_use]
    pub fn kafka_address(&self) -> String {
        match &self.kafka {
            Kafka::Embedded(embedded) => embedded.broker.address().to_string(),
            Kafka::Running(options) => options.brokers.join(","),
        }
    }

    /// How this process reaches Kafka.
    #[must_use]
    pub fn kafka(&self) -> KafkaOptions {
        match &self.kafka {
            Kafka::Embedded(embedded) => embedded.options.clone(),
            Kafka::Running(options) => options.as_ref().clone(),
        }
    }

    /// How this process reaches ClickHouse.
    ///
    /// # Errors
    /// When the address is none.
    pub fn clickhouse(&self) -> anyhow::Result<ClientOptions> {
        match &self.clickhouse {
            ClickHouse::Embedded { engine, .. } => {
                let url =
                    Url::parse(&format!("http://{}", engine.http())).context("read the engine's address")?;
                let credentials = engine.credentials();
                let password = Secret::new(credentials.password());
                let mut options = ClientOptions::new(url, credentials.user.clone(), password);
                // On one machine compression costs more than it saves.
                options.compression = Compression::None;
                Ok(options)
            }
            ClickHouse::Running(url) => client_options(url),
        }
    }

    /// The address of ClickHouse's HTTP interface, as clients reach it.
    #[must_use]
    pub fn clickhouse_url(&self) -> String {
        match &self.clickhouse {
            ClickHouse::Embedded { engine, fronts } => {
                let address = fronts.as_ref().map_or_else(|| engine.http(), |(http, _)| http.address());
                format!("{}://{address}", self.access.scheme())
            }
            ClickHouse::Running(url) => without_password(url).to_string().trim_end_matches('/').to_owned(),
        }
    }

    /// `host:port` of ClickHouse's native protocol, as clients reach it; `None` if it is not ours.
    #[must_use]
    pub fn clickhouse_native(&self) -> Option<SocketAddr> {
        match &self.clickhouse {
            ClickHouse::Embedded { fronts: Some((_, native)), .. } => Some(native.address()),
            ClickHouse::Embedded { engine, fronts: None } => engine.tcp(),
            ClickHouse::Running(_) => None,
        }
    }

    /// The embedded ClickHouse, if it is embedded.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        match &self.clickhouse {
            ClickHouse::Embedded { engine, .. } => Some(engine),
            ClickHouse::Running(_) => None,
        }
    }

    /// What the embedded broker's logs hold; `None` if it is not embedded.
    #[must_use]
    pub fn kafka_logs(&self) -> Option<LogsWatch> {
        match &self.kafka {
            Kafka::Embedded(embedded) => Some(embedded.broker.logs()),
            Kafka::Running(_) => None,
        }
    }

    /// Ends the engines at once: what they hold is going to be removed.
    pub async fn discard(self) {
        match self.clickhouse {
            // That it had to be killed is what is meant.
            ClickHouse::Embedded { engine, fronts: _ } => drop(engine.stop(Duration::ZERO).await),
            ClickHouse::Running(_) => {}
        }
        match self.kafka {
            Kafka::Embedded(embedded) => embedded.broker.stop().await,
            Kafka::Running(_) => {}
        }
    }

    /// Stops the engines, ClickHouse first: nothing writes to it any more.
    ///
    /// # Errors
    /// When ClickHouse had to be killed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = match self.clickhouse {
            ClickHouse::Embedded { engine, fronts } => {
                drop(fronts);
                engine.stop(ENGINE_GRACE).await.context("stop the embedded clickhouse")
            }
            ClickHouse::Running(_) => Ok(()),
        };
        match self.kafka {
            Kafka::Embedded(embedded) => embedded.broker.stop().await,
            Kafka::Running(_) => {}
        }
        stopped
    }
}

/// Where others can reach it, this process has a listener of its own; both ask for the password.
async fn start_broker(
    KafkaSettings { port, fsync, disk_max, rates }: KafkaSettings,
    (access, password): (&Access, Option<&str>),
    folder: &Path,
) -> anyhow::Result<EmbeddedKafka> {
    let mut options = match access {
        Access::Machine => BrokerOptions::new(folder, Listener::loopback(port)),
        Access::Network(Network { tls, .. }) => {
            let listener = match tls {
                Some(tls) => Listener::guarded(access.at(port), tls.clone()),
                None => Listener::insecure(access.at(port)).with_sasl(),
            };
            let mut options = BrokerOptions::new(folder, listener);
            options.listeners.push(Listener::loopback(0).with_sasl());
            options
        }
    };
    options.fsync = fsync;
    options.logs_bytes_max = disk_max;
    options.client_rates = rates;
    if let Fsync::Every(interval) = fsync {
        // What is due is found when logs are cleaned.
        options.clean_interval = options.clean_interval.min(interval);
    }
    let password = password.filter(|_| matches!(access, Access::Network(_)));
    if let Some(password) = password {
        options.users = Users::default();
        options.users.set(KAFKA_USER, password).context("set the password of Kafka's user")?;
    }
    let broker = Broker::start(options).await.context("start the embedded broker")?;
    let inner = broker.addresses().last().copied().unwrap_or_else(|| broker.address());
    let mut options = KafkaOptions::new([inner.to_string()]);
    if let Some(password) = password {
        let password = tidegate_kafka::Secret::new(password);
        options.sasl = Sasl::ScramSha256(Credentials { user: KAFKA_USER.to_owned(), password });
    }
    Ok(EmbeddedKafka { broker, options })
}

async fn start_kafka(
    choice: KafkaChoice,
    guard: (&Access, Option<&str>),
    folder: &Path,
) -> anyhow::Result<Kafka> {
    match choice {
        KafkaChoice::Embedded(settings) => {
            Ok(Kafka::Embedded(Box::new(start_broker(settings, guard, folder).await?)))
        }
        KafkaChoice::Running(options) => {
            let admin = KafkaAdmin::connect(&options).context("set up the kafka client")?;
            let asked = tokio::time::timeout(ANSWER_MAX, admin.topics()).await;
            let told = match asked {
                Ok(Ok(_)) => return Ok(Kafka::Running(options)),
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => format!("no answer within {ANSWER_MAX:?}"),
            };
            anyhow::bail!(
                "kafka `{}` cannot be used: {told}\nhint: check the address; TLS and SASL stand under `kafka:` \
                 in the file of --config",
                options.brokers.join(",")
            )
        }
    }
}

async fn start_clickhouse(
    choice: ClickHouseChoice,
    access: &Access,
    folder: &Path,
) -> anyhow::Result<ClickHouse> {
    match choice {
        ClickHouseChoice::Embedded(wanted) => start_engine(wanted, access, folder).await,
        ClickHouseChoice::Running(url) => {
            let client = Client::new(client_options(&url)?).context("set up the clickhouse client")?;
            let told = match tokio::time::timeout(ANSWER_MAX, shortcoming(&client)).await {
                Ok(Ok(None)) => return Ok(ClickHouse::Running(url)),
                Ok(Ok(Some(shortcoming))) => {
                    anyhow::bail!("clickhouse `{}` cannot be used: {shortcoming}", without_password(&url))
                }
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => format!("no answer within {ANSWER_MAX:?}"),
            };
            anyhow::bail!(
                "clickhouse `{}` cannot be used: {told}\nhint: check the address, user and password: \
                 --clickhouse http://USER:PASSWORD@HOST:8123",
                without_password(&url)
            )
        }
    }
}

/// Why a server that answers cannot be used, with what to do; `None` if it can.
async fn shortcoming(client: &Client) -> Result<Option<String>, Fault> {
    let version = client.version().await?;
    let tokens = "SELECT count() FROM system.settings WHERE name = 'insert_deduplication_token'";
    Ok(match client.query(tokens).await?.trim() {
        "0" => Some(format!(
            "it is ClickHouse {version}, which knows no `insert_deduplication_token`: an insert that is \
             repeated after a fault would double its rows\nhint: use ClickHouse 22.2 or newer"
        )),
        _ => None,
    })
}

async fn start_engine(
    wanted: EmbeddedClickHouse,
    access: &Access,
    folder: &Path,
) -> anyhow::Result<ClickHouse> {
    let library = EngineLibrary::find(wanted.program.as_deref()).context("find the embedded clickhouse")?;
    let mut options = EngineOptions::new(folder, library);
    options.memory_max_bytes = wanted.memory_max_bytes;
    if can_confine() {
        options.users.bi = Some(BiUser { name: READER.to_owned() });
    } else {
        tracing::warn!("{NOT_CONFINED}");
    }
    // Where others can reach it, what they reach is a front.
    let (http_port, native_port) = match access {
        Access::Machine => (wanted.http_port, wanted.native_port),
        Access::Network(_) => (0, 0),
    };
    options.http = local(http_port);
    options.tcp = Some(local(native_port));
    let engine = Engine::start(options).await.context("start the embedded clickhouse")?;
    let fronts = match (access, engine.tcp()) {
        (Access::Network(Network { tls, .. }), Some(native)) => {
            let http = Front::start(access.at(wanted.http_port), engine.http(), tls.clone());
            let native = Front::start(access.at(wanted.native_port), native, tls.clone());
            Some((http.await?, native.await?))
        }
        (Access::Network(_) | Access::Machine, _) => None,
    };
    Ok(ClickHouse::Embedded { engine: Box::new(engine), fronts })
}

fn client_options(url: &Url) -> anyhow::Result<ClientOptions> {
    let decoded = |text: &str| {
        let decoded = percent_decoded(text).context("read the percent signs of the clickhouse address")?;
        anyhow::Ok(decoded)
    };
    let user = match url.username() {
        "" => "default".to_owned(),
        user => decoded(user)?,
    };
    let password = Secret::new(decoded(url.password().unwrap_or_default())?);
    Ok(ClientOptions::new(without_password(url), user, password))
}

/// `%41` is `A`: how a URL holds a password with a `/` in it.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn without_password(url: &Url) -> Url {
    let mut url = url.clone();
    // An address that cannot have a user has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_may_be_any_text() {
        assert_eq!(percent_decoded("plain").as_deref(), Some("plain"));
        assert_eq!(percent_decoded("a%2Fb%C3%A4").as_deref(), Some("a/bä"));
        for broken in ["%", "%4", "%zz", "%ff", "a%2"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let url = Url::parse("http://me:hush@h:8123").unwrap();
        assert_eq!(without_password(&url).as_str(), "http://h:8123/");
    }
}
