//! The only crate that names the Kafka client: source, checkpoints, dead letters, admin, producing.
//!
//! Start with [`KafkaSource::open`], which gives the pipeline's two Kafka ports. What holds it together
//! is the ownership of partitions by epoch: a commit happens under a lock that a revocation waits for,
//! so that no commit of a lost partition can leave this process after the partition went elsewhere.
//!
//! No type of the client library is public.

mod admin;
mod bounded;
mod checkpoints;
mod client;
pub mod dead_letter;
mod dead_letter_writer;
mod dead_lettered;
mod fault;
mod log;
mod log_writer;
mod membership;
mod message;
mod options;
mod ownership;
mod producer;
mod queue;
mod source;
mod transaction;

pub use admin::{Committed, KafkaAdmin, Member, PartitionLag, TopicCreation, TopicSpec, Watermarks};
pub use bounded::{BoundedReader, ReadFrom};
pub use checkpoints::KafkaCheckpoints;
pub use log::{LogEvent, LogReader, LogRecord, ensure_log};
pub use log_writer::LogWriter;
pub use membership::{Candidate, Membership, MembershipEvent, MembershipOptions};
pub use message::OwnedRecord;
pub use options::{Credentials, KafkaOptions, OptionsError, Sasl, Secret, Tls, Verification};
pub use producer::{Compression, Delivered, KafkaProducer, Outgoing, ProducerOptions, TransactionalProducer};
pub use source::{AssignmentStrategy, KafkaSource, OffsetReset, SourceOptions, Subscription};
pub use source::{DeadLetterTopic, SourceCounters};
