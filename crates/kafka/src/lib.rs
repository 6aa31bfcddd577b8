//! The only crate that names the Kafka client: source, checkpoints, dead letters, admin.
