//! One client's connection: requests are answered one after the other, in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::stopped;
use crate::api::{Session, respond};
use crate::node::Node;
use crate::wire::{CallError, Frame};

/// What is reserved before bytes have come; more only as they come, whatever a frame states.
const READ_BYTES: usize = 64 << 10;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the client is gone")]
    Gone,
    #[error("a connection failed")]
    Io(#[from] io::Error),
    #[error("a request of `{size_bytes}` bytes, at most `{max}` are taken")]
    TooLong { size_bytes: usize, max: usize },
    #[error("a request that took too long, or none for too long")]
    TooSlow,
    #[error(transparent)]
    Call(#[from] CallError),
}

pub(super) struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    node: Arc<Node>,
    budget: Arc<Semaphore>,
    /// Read, and not yet taken for a request.
    buffer: BytesMut,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, peer: SocketAddr, node: Arc<Node>, budget: Arc<Semaphore>) -> Self {
        Self { socket, peer, node, budget, buffer: BytesMut::new() }
    }

    /// Serves until either side has enough.
    pub(super) async fn serve(mut self) {
        let peer = self.peer;
        match self.serve_requests().await {
            Ok(()) | Err(Closed::Gone | Closed::Io(_) | Closed::Call(CallError::Stopping)) => {}
            Err(closed @ (Closed::TooSlow | Closed::Call(CallError::Unauthenticated))) => {
                tracing::debug!(%peer, reason = %closed, "connection closed");
            }
            Err(closed @ Closed::Call(CallError::Answer { .. })) => {
                tracing::error!(%peer, error = %closed, "connection closed");
            }
            Err(closed @ (Closed::TooLong { .. } | Closed::Call(_))) => {
                tracing::warn!(%peer, reason = %closed, "connection closed");
            }
        }
    }

    async fn serve_requests(&mut self) -> Result<(), Closed> {
        self.socket.set_nodelay(true)?;
        let mut session = Session {
            host: format!("/{}", self.peer.ip()),
            authenticated: self.node.options.users.is_empty(),
        };
        let elements_max = self.node.options.limits.request_elements_max;
        let budget = Arc::clone(&self.budget);
        let node = Arc::clone(&self.node);
        loop {
            let size_bytes = tokio::select! {
                size_bytes = self.frame_length() => size_bytes?,
                () = stopped(&node) => return Ok(()),
            };
            let _reserved = reserve(&budget, size_bytes).await?;
            let body_time = self.node.options.limits.request_time_max;
            let frame = timeout(body_time, self.frame(size_bytes)).await.map_err(|_| Closed::TooSlow)??;
            let frame = Frame::parse(frame, elements_max)?;
            let answer = tokio::select! {
                answer = respond(&self.node, &mut session, frame) => answer?,
                () = gone(&self.socket, self.buffer.is_empty()) => return Err(Closed::Gone),
            };
            if let Some(answer) = answer {
                self.socket.write_all(&answer).await?;
            }
        }
    }

    /// Waits for the next request's length. Nothing is lost if this is dropped while it waits.
    async fn frame_length(&mut self) -> Result<usize, Closed> {
        let idle_max = self.node.options.limits.idle_max;
        while self.buffer.len() < 4 {
            timeout(idle_max, self.read_more(READ_BYTES)).await.map_err(|_| Closed::TooSlow)??;
        }
        let stated = self.buffer.get_u32();
        let size_bytes = usize::try_from(stated).unwrap_or(usize::MAX);
        let max = self.node.options.limits.request_bytes_max;
        if size_bytes > max { Err(Closed::TooLong { size_bytes, max }) } else { Ok(size_bytes) }
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
}

async fn reserve(budget: &Semaphore, size_bytes: usize) -> Result<SemaphorePermit<'_>, Closed> {
    let kib = u32::try_from((size_bytes >> 10) + 1).unwrap_or(u32::MAX);
    budget.acquire_many(kib).await.map_err(|_| Closed::Gone)
}

/// Waits until the client has closed the connection. With further requests on their way there is no telling.
async fn gone(socket: &TcpStream, quiet: bool) {
    if quiet && matches!(socket.peek(&mut [0]).await, Ok(0) | Err(_)) {
        return;
    }
    std::future::pending().await
}
