//! The engine as its owner sees it, and the task that keeps it up.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{error, io};

use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::EngineOptions;
use crate::credentials::Credentials;
use crate::launch::{Launch, Running, StartError};

/// The first wait before a restart; it doubles from failure to failure.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait before a restart.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// An engine that ran this long was well; its end starts the back-off from the beginning.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// The grace of an engine that is dropped rather than stopped; ClickHouse lets running queries finish
/// for 5 s.
const DROP_GRACE: Duration = Duration::from_secs(15);
/// How often a start is repeated when a port that we picked was taken before the engine bound it.
const PORT_TRIES: usize = 3;

/// How often the length of the engine's error output is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// What the engine is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// It answers.
    Up {
        /// Its process.
        pid: u32,
    },
    /// It has died, and is being started again.
    Down {
        /// How it ended, or why it was not started again.
        reason: String,
    },
}

/// Sees an engine's state without owning the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineWatch {
    state: watch::Receiver<EngineState>,
    restarts: Arc<AtomicU64>,
}

impl EngineWatch {
    /// What the engine is at.
    #[must_use]
    pub fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// How often it has been started again after it died.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
}

/// A running ClickHouse and the task that starts it again when it dies, for as long as it takes: the wait
/// between two tries doubles from 100 ms to 30 s, and it never gives up.
///
/// Dropping it stops the engine too, without a word about how that went. So does the death of this
/// process, by whatever signal: the engine holds a pipe that closes then.
#[derive(Debug)]
pub struct Engine {
    http: SocketAddr,
    tcp: Option<SocketAddr>,
    credentials: Credentials,
    bi: Option<Credentials>,
    state: watch::Receiver<EngineState>,
    restarts: Arc<AtomicU64>,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<Result<(), StopError>>,
}

/// The engine did not stop as it should. It is gone in each case; acknowledged rows are safe in each.
#[derive(Debug, Error)]
pub enum StopError {
    /// It was killed, since it had not stopped within the grace.
    #[error("the engine was killed after {grace:?} of grace")]
    Killed {
        /// The grace.
        grace: Duration,
    },
    /// It ended in a failure of its own.
    #[error("the engine ended with {status} when it was stopped")]
    Failed {
        /// How it ended.
        status: ExitStatus,
    },
    /// The system does not say what became of it.
    #[error("wait for the engine")]
    Wait(#[from] io::Error),
}

impl Engine {
    /// Starts the engine and waits until it answers. Needs a tokio runtime that lives as long.
    ///
    /// # Errors
    /// When the options are not usable, the folder or a port is in use, or the engine ends or stays
    /// silent; the last lines of its log come with the error. Nothing is left running.
    pub async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let picks_port = options.http.port() == 0 || options.tcp.is_some_and(|tcp| tcp.port() == 0);
        let mut tries = if picks_port { PORT_TRIES } else { 1 };
        let began = Instant::now();
        let mut held = None;
        let (launch, bi, running) = loop {
            let (launch, bi) = Launch::prepare(options.clone(), held)?;
            tries -= 1;
            match launch.start().await {
                Ok(running) => break (launch, bi, running),
                Err(StartError::PortInUse { .. }) if tries > 0 => held = Some(launch.into_lock()),
                Err(error) => return Err(error),
            }
        };
        info!(http = %launch.http, took = ?began.elapsed(), "engine started");
        let (stop, stopped) = oneshot::channel();
        let (state_of, state) = watch::channel(up(&running));
        let restarts = Arc::new(AtomicU64::new(0));
        let (http, tcp, credentials) = (launch.http, launch.tcp, launch.credentials().clone());
        let keeper = Keeper { launch, state: state_of, restarts: Arc::clone(&restarts), stopped };
        let task = tokio::spawn(keeper.keep_up(running));
        Ok(Self { http, tcp, credentials, bi, state, restarts, stop, task })
    }

    /// Where HTTP listens.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the native protocol listens, if it was asked for.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The user that owns everything.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The user that only reads, if it was asked for.
    #[must_use]
    pub const fn bi_credentials(&self) -> Option<&Credentials> {
        self.bi.as_ref()
    }

    /// The engine's process; `None` while it is down.
    #[must_use]
    pub fn child_id(&self) -> Option<u32> {
        match *self.state.borrow() {
            EngineState::Up { pid } => Some(pid),
            EngineState::Down { .. } => None,
        }
    }

    /// What it is at.
    #[must_use]
    pub fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// Its state for whoever shows it; outlives the engine.
    #[must_use]
    pub fn watch(&self) -> EngineWatch {
        EngineWatch { state: self.state.clone(), restarts: Arc::clone(&self.restarts) }
    }

    /// How often it has been started again after it died.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Stops the engine: running queries get up to 5 s of its own; what is left after `grace` is killed.
    ///
    /// # Errors
    /// When it had to be killed or ended in a failure.
    ///
    /// # Panics
    /// If the runtime that the engine was started on is gone.
    pub async fn stop(self, grace: Duration) -> Result<(), StopError> {
        // The task may have ended only by a panic, which the join below passes on.
        let _ = self.stop.send(grace);
        self.task.await.expect("the keeper's task neither panics nor is aborted")
    }
}

/// Keeps the engine up until it is told to stop.
struct Keeper {
    launch: Launch,
    state: watch::Sender<EngineState>,
    restarts: Arc<AtomicU64>,
    stopped: oneshot::Receiver<Duration>,
}

impl Keeper {
    async fn keep_up(mut self, mut running: Running) -> Result<(), StopError> {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let since = Instant::now();
            loop {
                tokio::select! {
                    grace = &mut self.stopped => {
                        let grace = grace.unwrap_or(DROP_GRACE);
                        return stop(running, grace).await;
                    }
                    status = running.child.wait() => break self.mourn(status),
                    () = sleep(TIDY_EVERY) => self.tidy(),
                }
            }
            if since.elapsed() >= WELL_AFTER {
                back_off = BACK_OFF_MIN;
            }
            running = loop {
                let starting = async {
                    sleep(back_off).await;
                    self.launch.start().await
                };
                // A start that is given up half-way drops its process' pipe, and so ends it.
                let started = tokio::select! {
                    _ = &mut self.stopped => return Ok(()),
                    started = starting => started,
                };
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                match started {
                    Ok(running) => break running,
                    Err(error) => {
                        error!(error = &error as &dyn error::Error, retry_in = ?back_off, "engine not restarted");
                        self.state.send_replace(EngineState::Down { reason: error.to_string() });
                    }
                }
            };
            self.restarts.fetch_add(1, Ordering::Relaxed);
            self.state.send_replace(up(&running));
            warn!(restarts = self.restarts.load(Ordering::Relaxed), "engine started again");
        }
    }

    fn mourn(&self, status: io::Result<ExitStatus>) {
        let reason = match status {
            Ok(status) => format!("ended by itself ({status})"),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        warn!(reason, "engine is down");
        self.state.send_replace(EngineState::Down { reason });
    }

    fn tidy(&self) {
        if let Err(error) = self.launch.folder.bound_error_output() {
            warn!(%error, "the engine's error output was not bounded");
        }
    }
}

fn up(running: &Running) -> EngineState {
    match running.child.id() {
        Some(pid) => EngineState::Up { pid },
        None => EngineState::Down { reason: "ended while it was started".to_owned() },
    }
}

async fn stop(running: Running, grace: Duration) -> Result<(), StopError> {
    match running.stop(grace).await? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(StopError::Failed { status }),
        None => Err(StopError::Killed { grace }),
    }
}
