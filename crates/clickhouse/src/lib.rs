//! The only crate that talks to ClickHouse, over HTTP: queries, descriptions, inserts, error classes.
//!
//! Start with [`Client`]; it is the pipeline's [`Warehouse`](tidegate_pipeline::port::Warehouse). It
//! never repeats a request: whether to send a block again, and when, is the pipeline's decision. After a
//! failure that another replica may not have, the next request goes to the next replica.

mod answer;
mod blame;
mod client;
mod codes;
mod compression;
mod insert;
mod landed;
mod memory;
mod options;
mod replicas;
mod secret;
mod sql;
mod window;

pub use client::Client;
pub use codes::{CODES, Class, CodeRow, class_of, fault_codes};
pub use options::{BuildError, ClientOptions, Compression, TlsOptions};
pub use reqwest::Url;
pub use secret::Secret;
pub use sql::{quote_name, quote_text};
pub use window::DedupWindow;
