//! The registry over HTTP, on a real broker in the process.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod basics;
mod concurrency;
mod contexts;
mod deletes;
mod election;
mod hostile;
mod log;
mod metadata;
mod parameters;
mod settings;
mod stack;
