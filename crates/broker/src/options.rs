//! What a broker is told when it starts, with the limits that keep foreign input in bounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::listener::Listener;
use crate::rates::Rates;
use crate::users::Users;

/// When an acknowledged record is on the disk, and not only in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// The operating system decides: `kill -9` loses nothing, a power cut may.
    #[default]
    Never,
    /// At the latest after this time, or after the clean interval if that is longer. A power cut may lose
    /// what was acknowledged since. Kafka's `log.flush.interval.ms`.
    Every(Duration),
    /// Before every acknowledgement, and before anyone reads it: neither `kill -9` nor a power cut loses
    /// anything. Requests that wait at the same time share a flush. Kafka's `log.flush.interval.messages=1`.
    EveryAppend,
}

/// Kafka's default.
const OFFSETS_RETENTION: Duration = Duration::from_hours(7 * 24);

/// What a broker is told when it starts.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Where everything is kept; used by one broker at a time.
    pub data_dir: PathBuf,
    /// Where it listens, at least at one place. [`Listener`] has the rule of what may listen where.
    pub listeners: Vec<Listener>,
    /// See [`Fsync`].
    pub fsync: Fsync,
    /// Who may connect to listeners with SASL, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. All have the
    /// same rights.
    pub users: Users,
    /// How many partitions a topic gets whose creator does not say.
    pub default_partitions: i32,
    /// Whether asking for an unknown topic's metadata creates it.
    pub auto_create_topics: bool,
    /// How often retention and compaction look at every partition.
    pub clean_interval: Duration,
    /// How long the offsets of a group are kept that has no members and commits none, while the broker
    /// runs. Kafka's `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// How many bytes the batches of all logs may have; `None`: as many as the disk takes. What would be
    /// beyond is refused with KAFKA_STORAGE_ERROR, which producers repeat, until retention or somebody's
    /// deleting has made room; nothing is deleted for it. What the broker writes on its own behalf, such as
    /// the ends of transactions and committed offsets, is not refused.
    pub logs_bytes_max: Option<u64>,
    /// What each client id may produce and fetch that no quota is for which AlterClientQuotas has set.
    pub client_rates: Rates,
    /// See [`Limits`].
    pub limits: Limits,
}

impl BrokerOptions {
    /// One listener, no users, one partition a topic, topics created on demand, no fsync.
    pub fn new(data_dir: impl Into<PathBuf>, listener: Listener) -> Self {
        Self {
            data_dir: data_dir.into(),
            listeners: vec![listener],
            fsync: Fsync::Never,
            users: Users::default(),
            default_partitions: 1,
            auto_create_topics: true,
            clean_interval: Duration::from_secs(2),
            offsets_retention: OFFSETS_RETENTION,
            logs_bytes_max: None,
            client_rates: Rates::default(),
            limits: Limits::default(),
        }
    }
}

/// What one client, or all of them together, may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest request, in bytes. Kafka's `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// The bytes of all requests that are being read or answered. A connection whose request does not
    /// fit waits; the value is never less than the longest request.
    pub requests_bytes_max: usize,
    /// Array elements of all levels in one request; bounds what decoding allocates.
    pub request_elements_max: usize,
    /// The longest request of a client that has not authenticated, in bytes.
    pub strange_request_bytes_max: usize,
    /// Connections of one listener at a time; further ones are closed at once, so that who floods one
    /// listener leaves the others open. Kafka's `max.connections` for a listener.
    pub connections_max: usize,
    /// The bytes of records in all answers that are being written. A fetch that does not fit waits; the
    /// value is never less than what one fetch may have.
    pub answers_bytes_max: usize,
    /// Bytes of records in one answer to a fetch, beyond the first batch. Kafka's `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// Bytes that one compressed batch may unpack to where the broker must look inside.
    pub unpacked_bytes_max: usize,
    /// Topics.
    pub topics_max: usize,
    /// Partitions of one topic.
    pub topic_partitions_max: i32,
    /// Consumer groups.
    pub groups_max: usize,
    /// Members of one group. Kafka's `group.max.size`.
    pub group_members_max: usize,
    /// Offsets (topic and partition) that one group may have committed.
    pub group_offsets_max: usize,
    /// Transactional ids.
    pub transactional_ids_max: usize,
    /// Producers that one partition remembers; the longest silent one is forgotten first.
    pub partition_producers_max: usize,
    /// Bytes of a committed offset's metadata. Kafka's `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// How long a connection may be silent between two requests. Kafka's `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// How long the rest of a request may take once it has begun, authentication as a whole, and a client
    /// to take in any more of an answer.
    pub request_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 << 20,
            requests_bytes_max: 256 << 20,
            request_elements_max: 200_000,
            strange_request_bytes_max: 64 << 10,
            connections_max: 1_000,
            answers_bytes_max: 256 << 20,
            fetch_bytes_max: 55 << 20,
            unpacked_bytes_max: 128 << 20,
            topics_max: 10_000,
            topic_partitions_max: 1_000,
            groups_max: 10_000,
            group_members_max: 1_000,
            group_offsets_max: 100_000,
            transactional_ids_max: 10_000,
            partition_producers_max: 10_000,
            offset_metadata_bytes_max: 4_096,
            idle_max: Duration::from_mins(10),
            request_time_max: Duration::from_secs(30),
        }
    }
}
