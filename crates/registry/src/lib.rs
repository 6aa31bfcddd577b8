//! A schema registry that speaks Confluent's API and keeps its state in Confluent's topic.
//!
//! Pure in the middle: `state` folds the topic's records, `command` makes records of requests. The
//! shell is `service`, which writes records and waits for them to come back, and `http`.

pub mod command;
pub mod election;
pub mod entity;
pub mod guid;
mod http;
pub mod problem;
pub mod record;
mod service;
pub mod state;
pub mod subject;

pub use http::{NoUser, Role, Server, User, Users};
pub use service::{Dialect, Registry, RegistryOptions, StartError};
