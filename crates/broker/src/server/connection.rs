//! One client's connection: requests are answered one after the other, in order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::stopped;
use crate::api::{Advertised, Answer, Authentication, Session, respond};
use crate::listener::Listener;
use crate::node::Node;
use crate::wire::{CallError, Frame};

/// What is reserved before bytes have come; more only as they come, whatever a frame states.
const READ_BYTES: usize = 64 << 10;
/// What one write hands to the system: a client that takes in less than this in `request_time_max` is gone.
const WRITE_BYTES: usize = 256 << 10;
/// How long a refused client waits for the end, so that guessing passwords is slow. Kafka's
/// `connection.failed.authentication.delay.ms`.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
/// How long a client may take to see the end.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// A frame whose length begins with these bytes is the first of a TLS handshake: record type 22, version 3.
const TLS_HANDSHAKE: u32 = 0x1603;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the client is gone")]
    Gone,
    #[error("a connection failed")]
    Io(#[from] io::Error),
    #[error("a tls handshake on a listener without tls")]
    UnexpectedTls,
    #[error("no tls handshake on a listener with tls")]
    Tls(#[from] openssl::ssl::Error),
    #[error("a request of `{size_bytes}` bytes, at most `{max}` are taken")]
    TooLong { size_bytes: usize, max: usize },
    #[error("a request that took too long, or none for too long")]
    TooSlow,
    #[error("authentication failed")]
    Refused,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Serves a client until either side has enough.
pub(super) async fn serve(socket: TcpStream, peer: SocketAddr, listener: Arc<Listener>, node: Arc<Node>) {
    match shake_and_serve(socket, peer, &listener, node).await {
        Ok(()) | Err(Closed::Gone | Closed::Io(_) | Closed::Call(CallError::Stopping)) => {}
        Err(closed @ (Closed::TooSlow | Closed::Call(CallError::Unauthenticated))) => {
            tracing::debug!(%peer, reason = %closed, "connection closed");
        }
        Err(closed @ Closed::Call(CallError::Answer { .. })) => {
            tracing::error!(%peer, error = %closed, "connection closed");
        }
        Err(Closed::Tls(error)) => {
            tracing::warn!(%peer, %error, "connection closed: no tls handshake on a listener with tls");
        }
        Err(
            closed @ (Closed::TooLong { .. } | Closed::UnexpectedTls | Closed::Refused | Closed::Call(_)),
        ) => {
            tracing::warn!(%peer, reason = %closed, "connection closed");
        }
    }
}

async fn shake_and_serve(
    socket: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    node: Arc<Node>,
) -> Result<(), Closed> {
    socket.set_nodelay(true)?;
    let session = session(&socket, peer, listener)?;
    let Some(tls) = &listener.tls else {
        return Connection { socket, node, buffer: BytesMut::new() }.serve(session).await;
    };
    let shaken = tokio::select! {
        shaken = timeout(node.options.limits.request_time_max, tls.accept(socket)) => shaken,
        () = stopped(&node) => return Ok(()),
    };
    let socket = shaken.map_err(|_| Closed::TooSlow)??;
    Connection { socket, node, buffer: BytesMut::new() }.serve(session).await
}

fn session(socket: &TcpStream, peer: SocketAddr, listener: &Listener) -> io::Result<Session> {
    let reached = socket.local_addr()?;
    let reached = (reached.ip().to_canonical().to_string(), reached.port());
    let (host, port) = listener.advertised.clone().unwrap_or(reached);
    Ok(Session {
        host: format!("/{}", peer.ip().to_canonical()),
        advertised: Advertised { host, port },
        authentication: if listener.sasl { Authentication::Wanted } else { Authentication::Unasked },
        bare: false,
        mute: Duration::ZERO,
    })
}

struct Connection<S> {
    socket: S,
    node: Arc<Node>,
    /// Read, and not yet taken for a request.
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn serve(mut self, session: Session) -> Result<(), Closed> {
        let served = self.serve_requests(session).await;
        if !matches!(served, Err(Closed::Gone | Closed::Io(_))) {
            // For TLS that is an orderly end. The client may be gone all the same.
            let _ = timeout(GOODBYE_MAX, self.socket.shutdown()).await;
        }
        served
    }

    async fn serve_requests(&mut self, mut session: Session) -> Result<(), Closed> {
        let node = Arc::clone(&self.node);
        let limits = &node.options.limits;
        let introduced_until = Instant::now() + limits.request_time_max;
        loop {
            let (until, bytes_max) = match session.authentication.complete() {
                true => (Instant::now() + limits.idle_max, limits.request_bytes_max),
                false => (introduced_until, limits.strange_request_bytes_max),
            };
            let size_bytes = tokio::select! {
                size_bytes = self.frame_length(bytes_max, until) => size_bytes?,
                () = stopped(&node) => return Ok(()),
            };
            let reserved = node.requests.reserve(size_bytes).await;
            let frame = timeout(limits.request_time_max, self.frame(size_bytes));
            let frame = frame.await.map_err(|_| Closed::TooSlow)??;
            let frame = match session.bare {
                true => Frame::Token(frame),
                false => Frame::parse(frame, limits.request_elements_max)?,
            };
            let answer = self.answer(&mut session, frame).await?;
            let refused = matches!(session.authentication, Authentication::Refused);
            if refused {
                tokio::time::sleep(REFUSAL_DELAY).await;
            }
            if let Some(answer) = answer {
                self.write(&answer.frame).await?;
            }
            if refused {
                return Err(Closed::Refused);
            }
            drop(reserved);
            let mute = std::mem::take(&mut session.mute);
            if !mute.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(mute) => {}
                    () = stopped(&node) => return Ok(()),
                }
            }
        }
    }

    /// Answers a request. Goes on reading meanwhile, within bounds: so a client that leaves is noticed.
    async fn answer(&mut self, session: &mut Session, frame: Frame) -> Result<Option<Answer>, Closed> {
        let mut answering = pin!(respond(&self.node, session, frame));
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answering => return Ok(answer?),
                read = self.socket.read_buf(&mut self.buffer), if !ended && self.buffer.len() < READ_BYTES => {
                    ended = read? == 0;
                    // What was sent before the end is still served.
                    if ended && self.buffer.is_empty() {
                        return Err(Closed::Gone);
                    }
                }
            }
        }
    }

    /// Waits for the next request's length. Nothing is lost if this is dropped while it waits.
    async fn frame_length(&mut self, bytes_max: usize, until: Instant) -> Result<usize, Closed> {
        while self.buffer.len() < 4 {
            timeout_at(until, self.read_more(READ_BYTES)).await.map_err(|_| Closed::TooSlow)??;
        }
        let stated = self.buffer.get_u32();
        let size_bytes = usize::try_from(stated).unwrap_or(usize::MAX);
        match size_bytes <= bytes_max {
            true => Ok(size_bytes),
            false if stated >> 16 == TLS_HANDSHAKE => Err(Closed::UnexpectedTls),
            false => Err(Closed::TooLong { size_bytes, max: bytes_max }),
        }
    }

    async fn frame(&mut self, size_bytes: usize) -> Result<Bytes, Closed> {
        while self.buffer.len() < size_bytes {
            let missing = size_bytes - self.buffer.len();
            // Doubling keeps copying in bounds without trusting the stated length.
            self.read_more(missing.min(self.buffer.len().max(READ_BYTES))).await?;
        }
        Ok(self.buffer.split_to(size_bytes).freeze())
    }

    async fn read_more(&mut self, reserved: usize) -> Result<(), Closed> {
        self.buffer.reserve(reserved);
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(Closed::Gone),
            _ => Ok(()),
        }
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), Closed> {
        let time_max = self.node.options.limits.request_time_max;
        for part in frame.chunks(WRITE_BYTES) {
            timeout(time_max, self.socket.write_all(part)).await.map_err(|_| Closed::TooSlow)??;
        }
        Ok(())
    }
}
