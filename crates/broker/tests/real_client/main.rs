//! librdkafka, a client that we did not write, against the broker.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod client;
mod groups;
mod quota;
mod rates;
mod security;
mod transactions;
