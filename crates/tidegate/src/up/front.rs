//! What other machines reach instead of a listener of this one: TLS ends here, and the bytes go on to the
//! listener on 127.0.0.1. The embedded ClickHouse has no encrypted listeners of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for its side of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After the system had no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A certificate chain and its key, checked.
///
/// # Errors
/// When a file cannot be read, is not PEM, or the two do not belong together.
pub fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<SslAcceptor> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).context("set up TLS")?;
    builder.set_certificate_chain_file(certificate).with_context(|| {
        format!("read the certificate chain `{}`, which is to be PEM", certificate.display())
    })?;
    builder
        .set_private_key_file(key, SslFiletype::PEM)
        .with_context(|| format!("read the private key `{}`, which is to be PEM", key.display()))?;
    builder.check_private_key().context("the private key is not the certificate's")?;
    Ok(builder.build())
}

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
    pub async fn start(listen: SocketAddr, to: SocketAddr, tls: Option<SslAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr().context("ask for the address")?;
        let task = tokio::spawn(accept(listener, to, tls.map(Arc::new)));
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

async fn accept(listener: TcpListener, to: SocketAddr, tls: Option<Arc<SslAcceptor>>) {
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

async fn pass(client: TcpStream, to: SocketAddr, tls: Option<Arc<SslAcceptor>>) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    match tls {
        None => relay(client, to).await,
        Some(tls) => {
            let mut client = SslStream::new(Ssl::new(tls.context())?, client)?;
            let handshake = Pin::new(&mut client).accept();
            tokio::time::timeout(HANDSHAKE_MAX, handshake).await.context("the handshake took too long")??;
            relay(client, to).await
        }
    }
}

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) -> anyhow::Result<()> {
    let mut server = TcpStream::connect(to).await.context("reach the listener behind")?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
