//! What other machines reach instead of a listener of this one: TLS ends here, and the bytes go on to the
//! listener on 127.0.0.1. The embedded ClickHouse has no encrypted listeners of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidegate_broker::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for its side of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After the system had no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that passes its connections on. Closed when it is dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Front {
    /// Listens on `listen` and passes connections on to `to`; with `tls`, encrypted ones only.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, to: SocketAddr, tls: Option<Tls>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        Self::serve(listener, to, tls)
    }

    /// As [`Self::start`], on what listens already.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(listener: TcpListener, to: SocketAddr, tls: Option<Tls>) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("ask for the address")?;
        let task = tokio::spawn(accept(listener, to, tls));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, tls: Option<Tls>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Aborted with this task: the connections go with their listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, peer)) => {
                let tls = tls.clone();
                connections.spawn(async move {
                    if let Err(error) = pass(client, to, tls).await {
                        // Whoever can reach the port can cause it, so it is nothing for the usual log.
                        tracing::debug!(%peer, error = format!("{error:#}"), "a connection failed");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn pass(client: TcpStream, to: SocketAddr, tls: Option<Tls>) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    match tls {
        None => relay(client, to).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(HANDSHAKE_MAX, tls.encrypt(client)).await;
            relay(handshake.context("the handshake took too long")??, to).await
        }
    }
}

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) -> anyhow::Result<()> {
    let mut server = TcpStream::connect(to).await.context("reach the listener behind")?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
