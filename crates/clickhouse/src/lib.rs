//! The only crate that talks to ClickHouse: describe, insert, error classes, replicas.
