//! What the pipeline asks of the world. Kafka's side is [`Source`] and [`CheckpointLog`], ClickHouse's
//! is [`Warehouse`]; each has a real adapter and a fake that behaves.

use std::future::Future;

use bytes::Bytes;
use tidegate_core::{
    Checkpoint, DeadLetterContext, Fault, InsertToken, OffsetRange, OffsetSet, PlanFingerprint, Records,
    Reject, TopicPartition,
};
use tidegate_native::Table;
use tokio::sync::oneshot;

/// Tells one assignment of partitions from the next, within one process. Grows with every rebalance.
///
/// Kafka's generation does not do this by itself: a process that lost a partition and kept others has
/// the new generation too, so a late commit for the lost partition would be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A partition that this process owns from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub source: TopicPartition,
    /// The assignment that it belongs to.
    pub epoch: Epoch,
    /// Where to go on. Records follow from `checkpoint.offset` on; with an intent, exactly that
    /// batch is formed again first.
    pub checkpoint: Checkpoint,
    /// The partition's end (high watermark, read-committed) when it was assigned, for lag.
    pub end: i64,
}

/// What the source tells the pipeline. For one partition: `Assigned`, then any number of `Records` and
/// `CaughtUp`, then `Revoked`.
#[derive(Debug)]
pub enum SourceEvent {
    /// These partitions are ours.
    Assigned(Vec<Assignment>),
    /// These partitions are no longer ours, from the moment that `done` is sent (or dropped): until
    /// then commits under their epoch may still succeed, and the source holds up the rebalance, for
    /// a bounded time.
    Revoked {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// To be sent when the pipeline has let go of them.
        done: oneshot::Sender<()>,
    },
    /// Records of one partition, in offset order, right after the ones before.
    Records {
        /// The assignment under which they were read.
        epoch: Epoch,
        /// The records.
        records: Records,
        /// The partition's end as last seen, for lag.
        end: i64,
    },
    /// The partition has no record at or after `position` for now. Says that offsets before `position`
    /// which never came (transaction markers, compaction) will not come.
    CaughtUp {
        /// The partition.
        source: TopicPartition,
        /// The assignment.
        epoch: Epoch,
        /// The next offset that will be read.
        position: i64,
    },
    /// The log has lost these offsets before they were read: retention overtook the group. Reading goes on
    /// behind them.
    Missed {
        /// The partition.
        source: TopicPartition,
        /// The offsets.
        range: OffsetRange,
    },
    /// Kafka cannot be read at the moment; the source goes on trying by itself.
    Faulted(Fault),
}

/// Where records come from: one member of a consumer group.
pub trait Source: Send {
    /// The next event. It may be left uncalled for any time: the source keeps its membership, and
    /// buffers no more than its configured bytes. Assignments overtake records.
    /// `None` after the source has been closed.
    fn next(&mut self) -> impl Future<Output = Option<SourceEvent>> + Send;

    /// Stops reading a partition whose mailbox is full, so that the others go on.
    fn pause(&self, source: &TopicPartition);

    /// Reads a paused partition again.
    fn resume(&self, source: &TopicPartition);
}

/// A rejected record, by its index in the batch's [`Records`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The record's index in the batch.
    pub index: usize,
    /// Why.
    pub reject: Reject,
}

/// The group's committed offsets, and the dead-letter topic that changes together with them.
///
/// All commits are fenced twice: by the group's generation, and by `epoch`. A call whose epoch is no
/// longer that of the partition gives a [`FaultKind::Fenced`](tidegate_core::FaultKind::Fenced) fault
/// and changes nothing. After any other fault it is unknown whether the change took place; the call
/// may be repeated as it was.
pub trait CheckpointLog: Send + Sync {
    /// Commits the checkpoint of one partition. The adapter may join concurrent calls into one commit.
    fn commit(
        &self,
        epoch: Epoch,
        source: &TopicPartition,
        checkpoint: Checkpoint,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Commits the checkpoints of several partitions, all or none: if one of them is fenced, none is committed.
    fn commit_all(
        &self,
        commits: &[(Epoch, TopicPartition, Checkpoint)],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// In one Kafka transaction: writes the dead letters and commits the checkpoint. `records` is the
    /// batch, `rejected` is not empty and in offset order. The adapter may join concurrent calls of several
    /// partitions into one transaction, of which each takes part or is answered with its own fault.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of the one transaction, and nothing else has all of them"
    )]
    fn commit_with_dead_letters(
        &self,
        epoch: Epoch,
        checkpoint: Checkpoint,
        records: &Records,
        rejected: &[Rejected],
        context: &DeadLetterContext,
        plan: PlanFingerprint,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The offsets of `range` whose records the dead-letter topic holds already, by this group. Asked once
    /// a partition after a rewind; may read the whole topic.
    fn dead_lettered(
        &self,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> impl Future<Output = Result<OffsetSet, Fault>> + Send;
}

/// Why a block was not inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertError {
    /// The world failed. Whether the block was applied is unknown; the same block under the same token
    /// may be sent again.
    Fault(Fault),
    /// The server refuses what the block contains. Nothing of it was applied.
    Refused {
        /// ClickHouse's exception code.
        code: i32,
        /// The exception's text, shortened.
        message: String,
        /// The column that it is about, where that is certain.
        column: Option<String>,
    },
}

/// One encoded block, ready to be sent any number of times.
#[derive(Debug, Clone, Copy)]
pub struct EncodedBlock<'a> {
    /// Exactly one block in ClickHouse's Native format, uncompressed. Shared, so that sending it again
    /// copies nothing.
    pub native: &'a Bytes,
    /// The columns that the block has, in its order; the rest take the table's defaults.
    pub columns: &'a [String],
    /// How many rows.
    pub rows: usize,
}

/// The columns that say which record a row comes from. A plan fills them by their names, and a table that has them can be
/// asked which records' rows it holds.
pub const POSITION_COLUMNS: [&str; 3] = ["_topic", "_partition", "_offset"];

/// What a table remembers of inserts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableMemory {
    /// Why an insert that is repeated may be stored twice or not at all, in words; `None` if it is stored once however often
    /// it is sent under its token, as long as whoever sends it looks where `may_miss_rows` says so.
    pub weakness: Option<String>,
    /// Whether the table may remember an insert and not have its rows, since its server was killed in the middle of it;
    /// and it can be asked which rows it has.
    pub may_miss_rows: bool,
}

/// Where rows go.
pub trait Warehouse: Send + Sync {
    /// The table's columns as the server describes them now.
    ///
    /// # Errors
    /// [`FaultKind::Missing`](tidegate_core::FaultKind::Missing) if there is no such table.
    fn describe(&self, database: &str, table: &str) -> impl Future<Output = Result<Table, Fault>> + Send;

    /// What this table remembers of inserts.
    fn memory(&self, table: &Table) -> impl Future<Output = Result<TableMemory, Fault>> + Send;

    /// The offsets of `range` of which the table holds rows, in order, by its columns `_topic`, `_partition`
    /// and `_offset`. An insert that was acknowledged is seen.
    fn landed(
        &self,
        table: &Table,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> impl Future<Output = Result<Vec<i64>, Fault>> + Send;

    /// Runs one `CREATE TABLE IF NOT EXISTS`.
    fn create(&self, ddl: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Inserts one block. The server applies it once however often it is sent under `token`, within the
    /// table's deduplication window; without a token, as often as it is sent.
    fn insert(
        &self,
        table: &Table,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
    ) -> impl Future<Output = Result<(), InsertError>> + Send;
}
