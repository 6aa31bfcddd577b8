//! The broker as a client sees it, over a socket.

mod client;
mod hostile;
mod lifecycle;
mod sweep;
