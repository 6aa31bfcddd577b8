//! A durable single-node broker behind the real Kafka protocol.
