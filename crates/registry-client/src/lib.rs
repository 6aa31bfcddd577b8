//! A client of schema registries that speak Confluent's API.
//!
//! What a schema's number stands for never changes, so an answer is kept for good, and asked for once
//! however many want it. That a schema does not exist is an answer ([`RegistryClient::schema`] gives
//! `None`); everything else that is no schema is a [`Fault`](tidegate_core::Fault).

mod answer;
mod client;
mod options;
mod requests;
mod schema;

pub use client::RegistryClient;
pub use options::{BuildError, RegistryOptions, Secret, TlsOptions};
pub use reqwest::Url;
pub use schema::{
    Checked, NewSchema, Reference, Referenced, Refused, RequestError, SchemaName, StoredSchema, Version,
};
