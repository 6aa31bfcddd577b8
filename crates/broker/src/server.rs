//! The running broker: listening, timers, stopping.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::listener::Listener;
use crate::node::{Node, OpenError};
use crate::options::BrokerOptions;
use crate::quota::LogsWatch;

/// How exactly session and transaction time-outs are kept.
const TICK: Duration = Duration::from_millis(50);
/// How long stopping waits for requests that are being answered.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// After the system had no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options name no listener.
    #[error("no listener is configured; expected at least one")]
    NoListener,
    /// The address cannot be listened on; another program may do so.
    #[error("listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another broker uses the data directory.
    #[error("data directory `{directory}` is in use by another broker")]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The data directory cannot be read or written, or holds what a crash does not explain.
    #[error("open data directory `{directory}`")]
    Open {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A running broker. Dropping it stops it in the background; [`Broker::stop`] waits until it has stopped.
///
/// Whatever way it ends, what was acknowledged is kept.
#[derive(Debug)]
pub struct Broker {
    first: SocketAddr,
    addresses: Vec<SocketAddr>,
    logs: LogsWatch,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Opens the data directory, repairs what a crash left, aborts transactions that were open, and serves
    /// on the runtime that this is called on.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing keeps running then.
    pub async fn start(options: BrokerOptions) -> Result<Self, StartError> {
        let mut doors = Vec::new();
        for listener in &options.listeners {
            doors.push(Door::open(listener).await?);
        }
        let addresses: Vec<SocketAddr> = doors.iter().map(|door| door.address).collect();
        let first = *addresses.first().ok_or(StartError::NoListener)?;
        let (stopping, stops) = watch::channel(false);
        let directory = options.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Node::open(options, stops)).await;
        let node = match opened {
            Ok(Ok(node)) => Arc::new(node),
            Ok(Err(OpenError::InUse)) => return Err(StartError::InUse { directory }),
            Ok(Err(OpenError::Io(source))) => return Err(StartError::Open { directory, source }),
            Err(died) => return Err(StartError::Open { directory, source: io::Error::other(died) }),
        };
        let logs = LogsWatch::of(&node.topics.quota);
        let mut tasks = vec![
            tokio::spawn(advance_groups(Arc::clone(&node))),
            tokio::spawn(keep_house(Arc::clone(&node))),
        ];
        tasks.extend(doors.into_iter().map(|door| tokio::spawn(accept(Arc::clone(&node), door))));
        Ok(Self { first, addresses, logs, stopping, tasks })
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.first
    }

    /// The addresses of all listeners, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What all logs hold, and may hold.
    pub fn logs(&self) -> LogsWatch {
        self.logs.clone()
    }

    /// Stops: requests that are being answered are, for a few seconds at most; connections are closed; the
    /// data directory is free when this returns.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the broker died");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
    }
}

async fn stopped(node: &Node) {
    // An error means that the broker was dropped, which stops it too.
    let _ = node.stopping.clone().wait_for(|stopping| *stopping).await;
}

/// A listener that is listening.
struct Door {
    socket: TcpListener,
    address: SocketAddr,
    listener: Arc<Listener>,
}

impl Door {
    async fn open(listener: &Listener) -> Result<Self, StartError> {
        let asked = listener.address;
        let listening = |source| StartError::Listen { address: asked, source };
        let socket = TcpListener::bind(asked).await.map_err(listening)?;
        let address = socket.local_addr().map_err(listening)?;
        Ok(Self { socket, address, listener: Arc::new(listener.clone()) })
    }
}

async fn accept(node: Arc<Node>, door: Door) {
    let connections_max = node.options.limits.connections_max;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = door.socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&node) => break,
        };
        match accepted {
            Ok(_) if connections.len() >= connections_max => {
                tracing::warn!(limit = connections_max, "a connection beyond the limit is closed");
            }
            Ok((socket, peer)) => {
                let (listener, node) = (Arc::clone(&door.listener), Arc::clone(&node));
                connections.spawn(connection::serve(socket, peer, listener, node));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(door);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        connections.shutdown().await;
    }
    let closing = Arc::clone(&node);
    if tokio::task::spawn_blocking(move || closing.close()).await.is_err() {
        tracing::error!("closing the logs died");
    }
}

async fn advance_groups(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => node.groups.advance(std::time::Instant::now()),
            () = stopped(&node) => return,
        }
    }
}

/// Expires transactions and cleans logs, one after the other and away from the async threads.
async fn keep_house(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut clean_at = Instant::now() + node.options.clean_interval;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&node) => return,
        }
        let clean = Instant::now() >= clean_at;
        if !clean && !node.transactions.due(std::time::Instant::now()) {
            continue;
        }
        let at_work = Arc::clone(&node);
        let work = tokio::task::spawn_blocking(move || {
            at_work.expire();
            if clean {
                at_work.clean();
            }
        });
        if work.await.is_err() {
            tracing::error!("cleaning died");
        }
        if clean {
            clean_at = Instant::now() + node.options.clean_interval;
        }
    }
}
