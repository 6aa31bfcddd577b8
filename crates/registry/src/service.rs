//! The registry at work: state that follows the log, and writes that wait for themselves to come back.
//!
//! A write is acknowledged when its own record was read again: what was answered is in the log, and
//! whoever asks next finds it. Writes take turns; reads never wait.

mod registrations;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use thiserror::Error;
use tidegate_core::{Fault, FaultKind};
use tidegate_kafka::{
    KafkaAdmin, KafkaOptions, LogEvent, LogReader, LogWriter, Membership, MembershipEvent, OptionsError,
    TopicSpec, ensure_log,
};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::command::Shared;
use crate::command::library::Library;
use crate::command::{SchemaRequest, delete, lookup};
use crate::election::{self, ElectionOptions, Role};
use crate::http::forward;
use crate::problem::Problem;
use crate::record::{Key, Record, Value};
use crate::state::{Applied, State};
use crate::subject::Subject;
use registrations::Queue;

/// Which of Confluent's releases the answers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// 7.x: Avro's name is left out, there are no GUIDs, incompatible is error 409.
    V7,
    /// 8.x.
    #[default]
    V8,
}

/// How to run a registry.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The cluster that keeps its log.
    pub kafka: KafkaOptions,
    /// The log's topic.
    pub topic: String,
    /// How many replicas a new topic gets; the cluster's default if absent.
    pub replication: Option<i32>,
    /// How long a write may take.
    pub write_timeout: Duration,
    /// How long the log may take to be read at the start.
    pub start_timeout: Duration,
    /// Whose answers to give, and whose records to write.
    pub dialect: Dialect,
    /// The election of the one that writes; without it this registry is the only one.
    pub election: Option<ElectionOptions>,
}

impl RegistryOptions {
    /// The usual settings on a cluster.
    #[must_use]
    pub fn new(kafka: KafkaOptions) -> Self {
        Self {
            kafka,
            topic: "_schemas".to_owned(),
            replication: None,
            write_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(60),
            dialect: Dialect::default(),
            election: None,
        }
    }
}

/// Why a registry does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Kafka cannot be reached, or the topic is not fit.
    #[error("prepare the registry's topic: {0}")]
    Topic(#[source] Fault),
    /// The options cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The log did not end in time.
    #[error("read the registry's topic: it has not ended after {0:?}")]
    Slow(Duration),
    /// The log cannot be written.
    #[error("write to the registry's topic: {0}")]
    Write(#[source] Fault),
    /// The authorities that the registry that writes is trusted by are none.
    #[error("reach the registry that writes over TLS")]
    Forward(#[source] reqwest::Error),
    /// The registry cannot take part in the election.
    #[error("elect the registry that writes: {0}")]
    Election(#[source] Fault),
}

/// A running registry.
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
    pub(crate) library: Arc<Library>,
    pub(crate) dialect: Dialect,
    /// The id of the cluster that keeps the log, if its brokers tell one.
    pub(crate) cluster_id: Option<String>,
    /// Reaches the registry that writes.
    pub(crate) forwarder: reqwest::Client,
    writer: LogWriter,
    timeout: Duration,
    /// Who holds this decides and writes.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Registrations that wait for somebody to have the turn.
    queue: Queue,
    /// One past the offset that the state has taken.
    applied: watch::Receiver<i64>,
    trouble: Arc<Mutex<Option<String>>>,
    reading: tokio::task::JoinHandle<()>,
    /// Who writes.
    role: watch::Sender<Role>,
    /// Takes part in the election, and leaves it when told.
    electing: Mutex<Option<Electing>>,
}

struct Electing {
    leave: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Registry {
    /// Reads the log to its end and is ready to answer.
    ///
    /// # Errors
    /// If Kafka cannot be reached or does not answer in time, or the topic is not fit for a log.
    pub async fn start(options: &RegistryOptions) -> Result<Arc<Self>, StartError> {
        let RegistryOptions { kafka, topic, replication, write_timeout, start_timeout, dialect, election } =
            options;
        let tls = election.as_ref().map(|election| election.tls.clone()).unwrap_or_default();
        let forwarder = forward::client(&tls).map_err(StartError::Forward)?;
        let mut spec = TopicSpec::new(topic, 1);
        spec.replication = *replication;
        spec.configs.insert("max.message.bytes".to_owned(), (8 * 1024 * 1024).to_string());
        ensure_log(kafka, &spec).await.map_err(StartError::Topic)?;
        let cluster_id = KafkaAdmin::connect(kafka)?.cluster_id().await.map_err(StartError::Topic)?;
        let writer = LogWriter::connect(kafka, topic, *write_timeout)?;
        let reader = LogReader::open(kafka, topic)?;
        let shared = Arc::<Shared>::default();
        let trouble = Arc::<Mutex<Option<String>>>::default();
        let (taken, applied) = watch::channel(0);
        let reading = tokio::spawn(follow(reader, Arc::clone(&shared), taken, Arc::clone(&trouble)));
        let registry = Self {
            shared,
            library: Arc::default(),
            dialect: *dialect,
            cluster_id,
            forwarder,
            writer,
            timeout: *write_timeout,
            turn: Arc::default(),
            queue: Queue::default(),
            applied,
            trouble,
            reading,
            role: watch::Sender::new(if election.is_some() { Role::Undecided } else { Role::Leader }),
            electing: Mutex::default(),
        };
        // The end of the log is wherever a record of our own comes back from.
        let end = registry.writer.append(&Key::Noop.to_bytes(), None).await.map_err(StartError::Write)?;
        let ready = registry.wait_for(end, *start_timeout).await;
        ready.map_err(|_| StartError::Slow(*start_timeout))?;
        info!(subjects = registry.shared.read().subjects().count(), "registry is ready");
        let registry = Arc::new(registry);
        if let Some(election) = election {
            registry.take_part(kafka, election).map_err(StartError::Election)?;
        }
        Ok(registry)
    }

    fn take_part(self: &Arc<Self>, kafka: &KafkaOptions, election: &ElectionOptions) -> Result<(), Fault> {
        let membership = Membership::join(kafka, election.membership())?;
        let (leave, left) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(elect(Arc::downgrade(self), membership, left));
        *self.electing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Electing { leave, task });
        Ok(())
    }

    /// Leaves the election, so that another registry leads at once and not after a while.
    pub async fn stop(&self) {
        let electing = self.electing.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.role.send_replace(Role::Undecided);
        if let Some(Electing { leave, task }) = electing {
            let _gone = leave.send(());
            let _ended = task.await;
        }
    }

    /// Who writes, as far as this registry knows.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The URL of the registry that writes, if it is another one. Waits while nobody is elected, as long
    /// as a write may take.
    pub async fn other_leader(&self) -> Option<String> {
        let mut role = self.role.subscribe();
        let decided = role.wait_for(|role| *role != Role::Undecided);
        match tokio::time::timeout(self.timeout, decided).await {
            Ok(Ok(role)) => match &*role {
                Role::Follower(url) => Some(url.clone()),
                Role::Leader | Role::Undecided => None,
            },
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Reads the log to its end once more, which another registry may have written, and leads.
    async fn lead(&self) -> Result<(), Problem> {
        let end = self.writer.append(&Key::Noop.to_bytes(), None).await.map_err(|fault| refused(&fault))?;
        self.wait_for(end, self.timeout).await
    }

    /// What keeps Kafka from being read, if something does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn wait_for(&self, offset: i64, timeout: Duration) -> Result<(), Problem> {
        let mut applied = self.applied.clone();
        let waited = tokio::time::timeout(timeout, applied.wait_for(|next| *next > offset)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Problem::new(50001, "the registry's log is not read any more; restart it")),
            Err(_) => Err(Problem::new(50002, "Register operation timed out")),
        }
    }

    /// Writes records in their order, and waits until the state has taken them.
    async fn write(&self, records: &[Record]) -> Result<(), Problem> {
        self.write_each(&[records]).await.into_iter().collect()
    }

    /// As [`Self::write`], of several decisions; says what became of each.
    async fn write_each(&self, decisions: &[&[Record]]) -> Vec<Result<(), Problem>> {
        if self.role() != Role::Leader {
            return decisions.iter().map(|_| Err(Problem::unknown_leader())).collect();
        }
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(decisions.len());
        for records in decisions {
            bytes.extend(records.iter().flat_map(|record| self.record_bytes(record)));
            ends.push(bytes.len());
        }
        let mut offsets = self.writer.append_all(&bytes).await.into_iter();
        let mut results = Vec::with_capacity(decisions.len());
        let (mut last, mut begin) = (None, 0);
        for end in ends {
            let own: Result<Vec<i64>, Fault> = offsets.by_ref().take(end - begin).collect();
            begin = end;
            results.push(own.map(|own| last = own.last().copied().or(last)).map_err(|fault| refused(&fault)));
        }
        let taken = match last {
            Some(offset) => self.wait_for(offset, self.timeout).await,
            None => Ok(()),
        };
        results.into_iter().map(|result| result.and_then(|()| taken.clone())).collect()
    }

    /// Keys and values as they are written. Another registry's spelling of a key is another key to
    /// compaction, and is taken back too.
    fn record_bytes(&self, record: &Record) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> + use<> {
        let value = record.value.as_ref().map(|value| self.value_bytes(value, &record.key));
        let foreign = self.shared.read().foreign_key(&record.key).map(<[u8]>::to_vec);
        let foreign = foreign.filter(|_| value.is_none());
        foreign.into_iter().chain([record.key.to_bytes()]).map(move |key| (key, value.clone()))
    }

    fn value_bytes(&self, value: &Value, key: &Key) -> Vec<u8> {
        match (self.dialect, value) {
            (Dialect::V7, Value::Schema(schema)) if schema.schema_type.as_deref() == Some("AVRO") => {
                let mut schema = schema.clone();
                schema.schema_type = None;
                Value::Schema(schema).to_bytes(key)
            }
            (Dialect::V7 | Dialect::V8, value) => value.to_bytes(key),
        }
    }

    /// Carries out something on another thread: it may take its time.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let registry = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&registry)).await;
        done.unwrap_or_else(|panic| {
            error!(error = %panic, "a request failed");
            Err(Problem::new(500, "Internal Server Error"))
        })
    }

    /// Decides on the state as it is and writes what was decided.
    ///
    /// # Errors
    /// Those of the decision, or if the log cannot be written.
    pub async fn change<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(T, Vec<Record>), Problem>,
    ) -> Result<T, Problem> {
        let _turn = self.turn.lock().await;
        let (answer, records) = decide(&self.shared.read())?;
        self.write(&records).await?;
        Ok(answer)
    }

    /// Deletes a subject or, with a version, one version of it.
    ///
    /// # Errors
    /// As of [`delete::subject`] and [`delete::one`], or if the log cannot be written.
    pub async fn delete(
        &self,
        subject: &Subject,
        which: Option<crate::command::Which>,
        depth: delete::Depth,
    ) -> Result<Vec<i32>, Problem> {
        let deletion = |state: &State| {
            let deletion = match which {
                None => delete::subject(state, subject, depth),
                Some(which) => delete::one(state, subject, which, depth),
            }?;
            Ok((deletion.versions, deletion.records))
        };
        self.change(deletion).await
    }

    /// Finds the version that has a schema.
    ///
    /// # Errors
    /// As of [`lookup::by_schema`].
    pub async fn lookup(
        self: &Arc<Self>,
        subject: Subject,
        request: SchemaRequest,
        how: (bool, lookup::Show),
    ) -> Result<lookup::Found, Problem> {
        self.compute(move |registry| {
            lookup::by_schema(&registry.shared, &registry.library, &subject, &request, how)
        })
        .await
    }
}

/// Keeps the role as the election has it, until told to leave.
async fn elect(
    registry: Weak<Registry>,
    mut membership: Membership,
    mut left: tokio::sync::oneshot::Receiver<()>,
) {
    loop {
        let event = tokio::select! {
            _ = &mut left => break,
            event = membership.next() => event,
        };
        let (Some(event), Some(registry)) = (event, registry.upgrade()) else { break };
        let role = match event {
            MembershipEvent::Lost(fault) => {
                if let Some(fault) = fault {
                    warn!(error = %fault, "registry's election");
                }
                Role::Undecided
            }
            MembershipEvent::Assigned { member, assignment } => match election::role(&member, &assignment) {
                Ok(Role::Leader) => lead_at_last(&registry).await,
                Ok(other) => other,
                Err(error) => {
                    error!(error, "registry's election");
                    Role::Undecided
                }
            },
        };
        info!(?role, "registry's election");
        registry.role.send_replace(role);
    }
    membership.leave().await;
}

/// How often an elected registry tries to write before it gives up until the next election.
const LEAD_TRIES: usize = 100;

async fn lead_at_last(registry: &Registry) -> Role {
    for _ in 0..LEAD_TRIES {
        match registry.lead().await {
            Ok(()) => return Role::Leader,
            Err(problem) => warn!(error = %problem, "registry is elected and cannot write yet"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Role::Undecided
}

/// Why a record was not written, as clients know it.
fn refused(fault: &Fault) -> Problem {
    warn!(error = %fault, "write to the registry's topic");
    match (fault.kind, fault.code) {
        // MESSAGE_TOO_LARGE of the Kafka protocol.
        (_, Some(10)) => Problem::new(
            42209,
            "Register operation failed because schema is too large for the topic's max.message.bytes",
        ),
        (FaultKind::Network | FaultKind::Unavailable | FaultKind::Overload, _) => {
            Problem::new(50002, format!("Register operation timed out: {fault}"))
        }
        _ => Problem::new(
            50001,
            format!("Error while registering the schema in the backend data store: {fault}"),
        ),
    }
}

/// Lets the state follow the log.
async fn follow(
    mut reader: LogReader,
    shared: Arc<Shared>,
    taken: watch::Sender<i64>,
    trouble: Arc<Mutex<Option<String>>>,
) {
    let say = |text: Option<String>| *trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    while let Some(event) = reader.next().await {
        match event {
            LogEvent::Record(record) => {
                let (offset, value) = (record.offset, record.value.as_deref());
                if let Some(key) = &record.key {
                    let applied = shared.change(|state| state.apply(key, value, record.timestamp));
                    report(&applied, offset);
                }
                taken.send_replace(offset + 1);
                say(None);
            }
            LogEvent::End(next) => {
                taken.send_if_modified(|applied| {
                    let later = next > *applied;
                    *applied = next.max(*applied);
                    later
                });
                say(None);
            }
            LogEvent::Trouble(fault) => {
                warn!(error = %fault, "registry's topic");
                say(Some(fault.to_string()));
            }
        }
    }
}

fn report(applied: &Applied, offset: i64) {
    match applied {
        Applied::Taken | Applied::Ignored => {}
        Applied::Unreadable(error) => warn!(error, offset, "record of the registry's topic is skipped"),
        Applied::Conflict(record) => {
            error!(offset, key = ?record.key, "two registries gave one id to two schemas; the first one keeps it");
        }
    }
}
