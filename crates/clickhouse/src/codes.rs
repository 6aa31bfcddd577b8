//! ClickHouse's exception codes, by what they mean for a block that is being inserted.
//!
//! Each row says where its meaning is from. A statement throws that very code, and `ErrorCodes.cpp` has it under that
//! name: tests ask the real server for both. `measured`: met on 18.16 or 26.7. `Connect`: the sink connector for Kafka
//! Connect retries it (`ClickHouseSinkConnector`). A file of ClickHouse's is where it is thrown.
//!
//! A wrong *refused* sends good rows to the dead letters; a wrong *fault* waits, and the pipeline tries
//! the block's rows one by one later. So a code is refused only if it can come from a value alone.
//! That is why these are not: 53 and 70 (the column's type was changed: every row would be refused),
//! 33 and 32 (also a body that was cut on its way), 36 and 43 (also a view or default that never works), 19 (thrown for
//! settings and keys), 248 (for partitions that a statement names), 366 (for columns that do not belong together).

use tidegate_core::FaultKind;

/// What an exception code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The world failed; the block is not to blame.
    Fault(FaultKind),
    /// A value in the block is refused.
    Refused,
}

const NETWORK: Class = Class::Fault(FaultKind::Network);
const OVERLOAD: Class = Class::Fault(FaultKind::Overload);
const UNAVAILABLE: Class = Class::Fault(FaultKind::Unavailable);
const DENIED: Class = Class::Fault(FaultKind::Denied);
const MISSING: Class = Class::Fault(FaultKind::Missing);
const REFUSED: Class = Class::Refused;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeRow {
    /// The exception code.
    pub code: i32,
    /// ClickHouse's name for it.
    pub name: &'static str,
    /// What it means here.
    pub class: Class,
    /// Where that is from.
    pub source: &'static str,
}

const fn row(code: i32, name: &'static str, class: Class, source: &'static str) -> CodeRow {
    CodeRow { code, name, class, source }
}

/// Sorted by code, for the search.
#[rustfmt::skip]
pub const CODES: &[CodeRow] = &[
    row(3, "UNEXPECTED_END_OF_FILE", NETWORK, "Connect"),
    row(6, "CANNOT_PARSE_TEXT", REFUSED, "SELECT toInt32('x')"),
    row(16, "NO_SUCH_COLUMN_IN_TABLE", MISSING, "measured: a column was dropped"),
    row(25, "CANNOT_PARSE_ESCAPE_SEQUENCE", REFUSED, r"SELECT CAST('[\'a\\' AS Array(String))"),
    row(26, "CANNOT_PARSE_QUOTED_STRING", REFUSED, "SELECT CAST('[a]' AS Array(String))"),
    row(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", REFUSED, "SELECT CAST('(1;2)' AS Tuple(Int8, Int8))"),
    row(38, "CANNOT_PARSE_DATE", REFUSED, "SELECT toDate('x')"),
    row(40, "CHECKSUM_DOESNT_MATCH", NETWORK, "measured: a frame changed on its way"),
    row(41, "CANNOT_PARSE_DATETIME", REFUSED, "SELECT toDateTime('x')"),
    row(60, "UNKNOWN_TABLE", MISSING, "measured"),
    row(69, "ARGUMENT_OUT_OF_BOUND", REFUSED, "SELECT toDecimal32('12345678901', 0)"),
    row(72, "CANNOT_PARSE_NUMBER", REFUSED, "SELECT toFloat64('x')"),
    row(74, "CANNOT_READ_FROM_FILE_DESCRIPTOR", UNAVAILABLE, "ErrorCodes.cpp: the server's disk"),
    row(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", UNAVAILABLE, "ErrorCodes.cpp"),
    row(76, "CANNOT_OPEN_FILE", UNAVAILABLE, "ErrorCodes.cpp"),
    row(81, "UNKNOWN_DATABASE", MISSING, "measured"),
    row(95, "CANNOT_READ_FROM_SOCKET", NETWORK, "ErrorCodes.cpp"),
    row(96, "CANNOT_WRITE_TO_SOCKET", NETWORK, "ErrorCodes.cpp"),
    row(107, "FILE_DOESNT_EXIST", UNAVAILABLE, "Connect"),
    row(117, "INCORRECT_DATA", REFUSED, "SELECT CAST('{' AS JSON)"),
    row(128, "TOO_LARGE_ARRAY_SIZE", REFUSED, "SELECT arrayWithConstant(10000000000, 1)"),
    row(130, "CANNOT_READ_ARRAY_FROM_TEXT", REFUSED, "SELECT CAST('x' AS Array(Int8))"),
    row(131, "TOO_LARGE_STRING_SIZE", REFUSED, "SELECT toFixedString('abc', 1)"),
    row(153, "ILLEGAL_DIVISION", REFUSED, "SELECT intDiv(1, 0)"),
    row(159, "TIMEOUT_EXCEEDED", OVERLOAD, "Connect"),
    row(160, "TOO_SLOW", OVERLOAD, "ErrorCodes.cpp"),
    row(164, "READONLY", DENIED, "ReplicatedMergeTreeSink.cpp, Connect: the user's profile; Connect waits for it as well"),
    row(173, "CANNOT_ALLOCATE_MEMORY", OVERLOAD, "ErrorCodes.cpp"),
    row(190, "SIZES_OF_ARRAYS_DONT_MATCH", REFUSED, "SELECT arrayMap((x, y) -> x, [1], [1, 2])"),
    row(192, "UNKNOWN_USER", DENIED, "measured"),
    row(193, "WRONG_PASSWORD", DENIED, "measured"),
    row(194, "REQUIRED_PASSWORD", DENIED, "ErrorCodes.cpp"),
    row(195, "IP_ADDRESS_NOT_ALLOWED", DENIED, "ErrorCodes.cpp"),
    row(198, "DNS_ERROR", NETWORK, "ErrorCodes.cpp"),
    row(201, "QUOTA_EXCEEDED", OVERLOAD, "ErrorCodes.cpp"),
    row(202, "TOO_MANY_SIMULTANEOUS_QUERIES", OVERLOAD, "Connect"),
    row(203, "NO_FREE_CONNECTION", OVERLOAD, "Connect"),
    row(204, "CANNOT_FSYNC", UNAVAILABLE, "ErrorCodes.cpp"),
    row(209, "SOCKET_TIMEOUT", NETWORK, "Connect"),
    row(210, "NETWORK_ERROR", NETWORK, "Connect"),
    row(218, "TABLE_IS_DROPPED", MISSING, "ErrorCodes.cpp"),
    row(225, "NO_ZOOKEEPER", UNAVAILABLE, "measured"),
    row(236, "ABORTED", UNAVAILABLE, "ErrorCodes.cpp: the server stops"),
    row(241, "MEMORY_LIMIT_EXCEEDED", OVERLOAD, "Connect"),
    row(242, "TABLE_IS_READ_ONLY", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp, Connect"),
    row(243, "NOT_ENOUGH_SPACE", OVERLOAD, "ErrorCodes.cpp"),
    row(244, "UNEXPECTED_ZOOKEEPER_ERROR", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp"),
    row(252, "TOO_MANY_PARTS", OVERLOAD, "Connect"),
    row(254, "NO_ACTIVE_REPLICAS", UNAVAILABLE, "ErrorCodes.cpp"),
    row(265, "NO_AVAILABLE_REPLICA", UNAVAILABLE, "ErrorCodes.cpp"),
    row(279, "ALL_CONNECTION_TRIES_FAILED", NETWORK, "ErrorCodes.cpp: a Distributed table's shard"),
    row(285, "TOO_FEW_LIVE_REPLICAS", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp, Connect"),
    row(286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp"),
    row(289, "REPLICA_IS_NOT_IN_QUORUM", UNAVAILABLE, "ErrorCodes.cpp"),
    row(290, "LIMIT_EXCEEDED", OVERLOAD, "ErrorCodes.cpp"),
    row(291, "DATABASE_ACCESS_DENIED", DENIED, "ErrorCodes.cpp"),
    row(319, "UNKNOWN_STATUS_OF_INSERT", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp, Connect"),
    row(321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", REFUSED, "SELECT toDateTime(toDateTime64('2200-01-01 00:00:00', 3)) SETTINGS date_time_overflow_behavior = 'throw'"),
    row(349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", REFUSED, "SELECT CAST(materialize(NULL::Nullable(Int8)) AS Int8)"),
    row(364, "RECEIVED_ERROR_TOO_MANY_REQUESTS", OVERLOAD, "ErrorCodes.cpp"),
    row(369, "ALL_REPLICAS_ARE_STALE", UNAVAILABLE, "ErrorCodes.cpp"),
    row(376, "CANNOT_PARSE_UUID", REFUSED, "SELECT toUUID('x')"),
    row(384, "PART_IS_TEMPORARILY_LOCKED", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp"),
    row(394, "QUERY_WAS_CANCELLED", UNAVAILABLE, "ReplicatedMergeTreeSink.cpp: by an administrator, or a server that stops"),
    row(395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", REFUSED, "SELECT throwIf(1)"),
    row(407, "DECIMAL_OVERFLOW", REFUSED, "SELECT CAST(1e10 AS Decimal(9, 0))"),
    row(415, "ALL_REPLICAS_LOST", UNAVAILABLE, "ErrorCodes.cpp"),
    row(416, "REPLICA_STATUS_CHANGED", UNAVAILABLE, "ErrorCodes.cpp"),
    row(425, "SYSTEM_ERROR", UNAVAILABLE, "Connect"),
    row(439, "CANNOT_SCHEDULE_TASK", OVERLOAD, "ErrorCodes.cpp: no thread is free"),
    row(441, "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", REFUSED, "ErrorCodes.cpp: an IP address or a Bool, in older servers"),
    row(452, "SETTING_CONSTRAINT_VIOLATION", DENIED, "ErrorCodes.cpp: the profile forbids a setting that we need"),
    row(467, "CANNOT_PARSE_BOOL", REFUSED, "SELECT CAST('x' AS Bool)"),
    row(469, "VIOLATED_CONSTRAINT", REFUSED, "measured"),
    row(472, "READONLY_SETTING", DENIED, "ErrorCodes.cpp"),
    row(497, "ACCESS_DENIED", DENIED, "ErrorCodes.cpp"),
    row(499, "S3_ERROR", UNAVAILABLE, "ErrorCodes.cpp: the server's disk is elsewhere"),
    row(500, "AZURE_BLOB_STORAGE_ERROR", UNAVAILABLE, "ErrorCodes.cpp"),
    row(516, "AUTHENTICATION_FAILED", DENIED, "measured"),
    row(519, "NO_REMOTE_SHARD_AVAILABLE", UNAVAILABLE, "ErrorCodes.cpp"),
    row(529, "NOT_A_LEADER", UNAVAILABLE, "ErrorCodes.cpp"),
    row(563, "CANNOT_READ_MAP_FROM_TEXT", REFUSED, r"SELECT * FROM format(TSV, 'm Map(String, String)', '{\'a\':\'b\';}')"),
    row(568, "RAFT_ERROR", UNAVAILABLE, "ErrorCodes.cpp"),
    row(571, "DATABASE_REPLICATION_FAILED", UNAVAILABLE, "ErrorCodes.cpp"),
    row(574, "DISTRIBUTED_TOO_MANY_PENDING_BYTES", OVERLOAD, "ErrorCodes.cpp"),
    row(632, "UNEXPECTED_DATA_AFTER_PARSED_VALUE", REFUSED, "SELECT CAST('[1]x' AS Array(Int8))"),
    row(675, "CANNOT_PARSE_IPV4", REFUSED, "SELECT toIPv4('x')"),
    row(676, "CANNOT_PARSE_IPV6", REFUSED, "SELECT toIPv6('x')"),
    row(691, "UNKNOWN_ELEMENT_OF_ENUM", REFUSED, "SELECT CAST('x' AS Enum8('a' = 1))"),
    row(692, "TOO_MANY_MUTATIONS", OVERLOAD, "ErrorCodes.cpp"),
    row(693, "AWS_ERROR", UNAVAILABLE, "ErrorCodes.cpp"),
    row(700, "USER_SESSION_LIMIT_EXCEEDED", OVERLOAD, "measured"),
    row(720, "USER_EXPIRED", DENIED, "ErrorCodes.cpp"),
    row(722, "ASYNC_LOAD_WAIT_FAILED", UNAVAILABLE, "ErrorCodes.cpp: a table that is still being loaded"),
    row(733, "TABLE_IS_BEING_RESTARTED", UNAVAILABLE, "ErrorCodes.cpp"),
    row(735, "QUERY_WAS_CANCELLED_BY_CLIENT", UNAVAILABLE, "ErrorCodes.cpp: a connection that broke"),
    row(738, "PART_IS_LOCKED", UNAVAILABLE, "ErrorCodes.cpp"),
    row(745, "SERVER_OVERLOADED", OVERLOAD, "ErrorCodes.cpp"),
    row(749, "TCP_CONNECTION_LIMIT_REACHED", OVERLOAD, "ErrorCodes.cpp"),
    row(762, "HTTP_CONNECTION_LIMIT_REACHED", OVERLOAD, "ErrorCodes.cpp"),
    row(774, "TABLE_IS_PERMANENTLY_READ_ONLY", UNAVAILABLE, "ErrorCodes.cpp"),
    row(776, "RESOURCE_LIMIT_EXCEEDED", OVERLOAD, "ErrorCodes.cpp"),
    row(777, "MEMORY_RESERVATION_KILLED", OVERLOAD, "ErrorCodes.cpp"),
    row(778, "MEMORY_RESERVATION_FAILED", OVERLOAD, "ErrorCodes.cpp"),
    row(999, "KEEPER_EXCEPTION", UNAVAILABLE, "Connect"),
];

/// What the code means; a code that is not in the table is an unknown fault.
#[must_use]
pub fn class_of(code: i32) -> Class {
    match CODES.binary_search_by_key(&code, |row| row.code) {
        Ok(place) => CODES[place].class,
        Err(_) => Class::Fault(FaultKind::Unknown),
    }
}

/// Every code after which the same block is sent again.
pub fn fault_codes() -> impl Iterator<Item = i32> {
    CODES.iter().filter(|row| matches!(row.class, Class::Fault(_))).map(|row| row.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_code_stands_in_it_once() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn what_connect_retries_is_never_refused() {
        for code in [3, 107, 159, 164, 202, 203, 209, 210, 241, 242, 252, 285, 319, 425, 999] {
            assert!(!matches!(class_of(code), Class::Refused | Class::Fault(FaultKind::Unknown)), "{code}");
        }
    }

    #[test]
    fn a_code_that_is_not_in_the_table_is_an_unknown_fault() {
        for code in [0, -1, 19, 33, 53, 70, 248, 366, 12_345] {
            assert_eq!(class_of(code), Class::Fault(FaultKind::Unknown), "{code}");
        }
    }
}
