//! The running broker: listening, timers, stopping.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use self::connection::Connection;
use crate::node::{Node, OpenError};
use crate::options::BrokerOptions;

/// How exactly session and transaction time-outs are kept.
const TICK: Duration = Duration::from_millis(50);
/// How long stopping waits for requests that are being answered.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// After the system had no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    address: SocketAddr,
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
        let listen = options.listen;
        let listening = |source| StartError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let (stopping, stops) = watch::channel(false);
        let directory = options.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Node::open(options, address, stops)).await;
        let node = match opened {
            Ok(Ok(node)) => Arc::new(node),
            Ok(Err(OpenError::InUse)) => return Err(StartError::InUse { directory }),
            Ok(Err(OpenError::Io(source))) => return Err(StartError::Open { directory, source }),
            Err(died) => return Err(StartError::Open { directory, source: io::Error::other(died) }),
        };
        let tasks = vec![
            tokio::spawn(accept(Arc::clone(&node), listener)),
            tokio::spawn(advance_groups(Arc::clone(&node))),
            tokio::spawn(keep_house(node)),
        ];
        Ok(Self { address, stopping, tasks })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
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

async fn accept(node: Arc<Node>, listener: TcpListener) {
    let limits = &node.options.limits;
    let budget_kib = (limits.requests_bytes_max.max(limits.request_bytes_max) >> 10) + 1;
    let budget = Arc::new(Semaphore::new(budget_kib.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&node) => break,
        };
        match accepted {
            Ok(_) if connections.len() >= limits.connections_max => {
                tracing::warn!(limit = limits.connections_max, "a connection beyond the limit is closed");
            }
            Ok((socket, peer)) => {
                let connection = Connection::new(socket, peer, Arc::clone(&node), Arc::clone(&budget));
                connections.spawn(connection.serve());
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        connections.shutdown().await;
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
