//! The broker as a client sees it, over a socket.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod client;
mod epochs;
mod hostile;
mod lifecycle;
mod listeners;
mod rates;
mod sweep;
