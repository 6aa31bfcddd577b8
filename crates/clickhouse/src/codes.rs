//! ClickHouse's exception codes, by what they mean for a block that is being inserted.
//!
//! Sources, one letter a row. `C`: the sink connector for Kafka Connect retries it
//! (`ClickHouseSinkConnector`, list in our spec of the Connect interface). `E`: the name and its use in
//! `src/Common/ErrorCodes.cpp` and where it is thrown. `M`: measured on 18.16 or 26.7.
//!
//! A wrong *refused* sends good rows to the dead letters; a wrong *fault* waits, and the pipeline tries
//! the block's rows one by one later. So a code is refused only if it can come from a value alone.
//! That is why these are not: 53 and 70 (the column's type was changed: every row would be refused),
//! 33 and 32 (also a body that was cut on its way), 36 and 43 (also a view or default that never works).

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

/// Sorted by code, for the search; the names are ClickHouse's.
#[rustfmt::skip]
const TABLE: &[(i32, Class)] = &[
    (3, NETWORK),        // UNEXPECTED_END_OF_FILE, C
    (6, REFUSED),        // CANNOT_PARSE_TEXT, E: a String cast to the column's type
    (16, MISSING),       // NO_SUCH_COLUMN_IN_TABLE, M: a column was dropped
    (19, REFUSED),       // SIZE_OF_FIXED_STRING_DOESNT_MATCH, E
    (25, REFUSED),       // CANNOT_PARSE_ESCAPE_SEQUENCE, E
    (26, REFUSED),       // CANNOT_PARSE_QUOTED_STRING, M
    (27, REFUSED),       // CANNOT_PARSE_INPUT_ASSERTION_FAILED, M
    (38, REFUSED),       // CANNOT_PARSE_DATE, E
    (40, NETWORK),       // CHECKSUM_DOESNT_MATCH, M: a frame changed on its way
    (41, REFUSED),       // CANNOT_PARSE_DATETIME, E
    (60, MISSING),       // UNKNOWN_TABLE, M
    (69, REFUSED),       // ARGUMENT_OUT_OF_BOUND, E: a decimal beyond its digits
    (72, REFUSED),       // CANNOT_PARSE_NUMBER, E
    (74, UNAVAILABLE),   // CANNOT_READ_FROM_FILE_DESCRIPTOR, E: the server's disk
    (75, UNAVAILABLE),   // CANNOT_WRITE_TO_FILE_DESCRIPTOR, E
    (76, UNAVAILABLE),   // CANNOT_OPEN_FILE, E
    (81, MISSING),       // UNKNOWN_DATABASE, M
    (95, NETWORK),       // CANNOT_READ_FROM_SOCKET, E
    (96, NETWORK),       // CANNOT_WRITE_TO_SOCKET, E
    (107, UNAVAILABLE),  // FILE_DOESNT_EXIST, C
    (117, REFUSED),      // INCORRECT_DATA, M
    (128, REFUSED),      // TOO_LARGE_ARRAY_SIZE, E
    (130, REFUSED),      // CANNOT_READ_ARRAY_FROM_TEXT, E
    (131, REFUSED),      // TOO_LARGE_STRING_SIZE, E: longer than its FixedString
    (153, REFUSED),      // ILLEGAL_DIVISION, E: in a default or view
    (159, OVERLOAD),     // TIMEOUT_EXCEEDED, C
    (160, OVERLOAD),     // TOO_SLOW, E
    (164, DENIED),       // READONLY, C: the user's profile; Connect waits for it as well
    (173, OVERLOAD),     // CANNOT_ALLOCATE_MEMORY, E
    (190, REFUSED),      // SIZES_OF_ARRAYS_DONT_MATCH, E: parts of one Nested
    (192, DENIED),       // UNKNOWN_USER, M
    (193, DENIED),       // WRONG_PASSWORD, M
    (194, DENIED),       // REQUIRED_PASSWORD, E
    (195, DENIED),       // IP_ADDRESS_NOT_ALLOWED, E
    (198, NETWORK),      // DNS_ERROR, E
    (201, OVERLOAD),     // QUOTA_EXCEEDED, E
    (202, OVERLOAD),     // TOO_MANY_SIMULTANEOUS_QUERIES, C
    (203, OVERLOAD),     // NO_FREE_CONNECTION, C
    (204, UNAVAILABLE),  // CANNOT_FSYNC, E
    (209, NETWORK),      // SOCKET_TIMEOUT, C
    (210, NETWORK),      // NETWORK_ERROR, C
    (218, MISSING),      // TABLE_IS_DROPPED, E
    (225, UNAVAILABLE),  // NO_ZOOKEEPER, M
    (236, UNAVAILABLE),  // ABORTED, E: the server stops
    (241, OVERLOAD),     // MEMORY_LIMIT_EXCEEDED, C
    (242, UNAVAILABLE),  // TABLE_IS_READ_ONLY, C
    (243, OVERLOAD),     // NOT_ENOUGH_SPACE, E
    (244, UNAVAILABLE),  // UNEXPECTED_ZOOKEEPER_ERROR, E
    (248, REFUSED),      // INVALID_PARTITION_VALUE, E
    (252, OVERLOAD),     // TOO_MANY_PARTS, C
    (254, UNAVAILABLE),  // NO_ACTIVE_REPLICAS, E
    (265, UNAVAILABLE),  // NO_AVAILABLE_REPLICA, E
    (279, NETWORK),      // ALL_CONNECTION_TRIES_FAILED, E: a Distributed table's shard
    (285, UNAVAILABLE),  // TOO_FEW_LIVE_REPLICAS, C
    (286, UNAVAILABLE),  // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, E
    (289, UNAVAILABLE),  // REPLICA_IS_NOT_IN_QUORUM, E
    (290, OVERLOAD),     // LIMIT_EXCEEDED, E
    (291, DENIED),       // DATABASE_ACCESS_DENIED, E
    (319, UNAVAILABLE),  // UNKNOWN_STATUS_OF_INSERT, C
    (321, REFUSED),      // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, E
    (349, REFUSED),      // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, E
    (364, OVERLOAD),     // RECEIVED_ERROR_TOO_MANY_REQUESTS, E
    (366, REFUSED),      // SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT, E
    (369, UNAVAILABLE),  // ALL_REPLICAS_ARE_STALE, E
    (376, REFUSED),      // CANNOT_PARSE_UUID, M
    (384, UNAVAILABLE),  // PART_IS_TEMPORARILY_LOCKED, E
    (394, UNAVAILABLE),  // QUERY_WAS_CANCELLED, E: by an administrator, or a server that stops
    (395, REFUSED),      // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, E: in a default or view
    (407, REFUSED),      // DECIMAL_OVERFLOW, E
    (415, UNAVAILABLE),  // ALL_REPLICAS_LOST, E
    (416, UNAVAILABLE),  // REPLICA_STATUS_CHANGED, E
    (425, UNAVAILABLE),  // SYSTEM_ERROR, C
    (439, OVERLOAD),     // CANNOT_SCHEDULE_TASK, E: no thread is free
    (441, REFUSED),      // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, E
    (452, DENIED),       // SETTING_CONSTRAINT_VIOLATION, E: the profile forbids a setting that we need
    (467, REFUSED),      // CANNOT_PARSE_BOOL, E
    (469, REFUSED),      // VIOLATED_CONSTRAINT, E
    (472, DENIED),       // READONLY_SETTING, E
    (497, DENIED),       // ACCESS_DENIED, E
    (499, UNAVAILABLE),  // S3_ERROR, E: the server's disk is elsewhere
    (500, UNAVAILABLE),  // AZURE_BLOB_STORAGE_ERROR, E
    (516, DENIED),       // AUTHENTICATION_FAILED, M
    (519, UNAVAILABLE),  // NO_REMOTE_SHARD_AVAILABLE, E
    (529, UNAVAILABLE),  // NOT_A_LEADER, E
    (563, REFUSED),      // CANNOT_READ_MAP_FROM_TEXT, E
    (568, UNAVAILABLE),  // RAFT_ERROR, E
    (571, UNAVAILABLE),  // DATABASE_REPLICATION_FAILED, E
    (574, OVERLOAD),     // DISTRIBUTED_TOO_MANY_PENDING_BYTES, E
    (632, REFUSED),      // UNEXPECTED_DATA_AFTER_PARSED_VALUE, E
    (675, REFUSED),      // CANNOT_PARSE_IPV4, E
    (676, REFUSED),      // CANNOT_PARSE_IPV6, E
    (691, REFUSED),      // UNKNOWN_ELEMENT_OF_ENUM, E
    (692, OVERLOAD),     // TOO_MANY_MUTATIONS, E
    (693, UNAVAILABLE),  // AWS_ERROR, E
    (700, OVERLOAD),     // USER_SESSION_LIMIT_EXCEEDED, M
    (720, DENIED),       // USER_EXPIRED, E
    (722, UNAVAILABLE),  // ASYNC_LOAD_WAIT_FAILED, E: a table that is still being loaded
    (733, UNAVAILABLE),  // TABLE_IS_BEING_RESTARTED, E
    (735, UNAVAILABLE),  // QUERY_WAS_CANCELLED_BY_CLIENT, E: a connection that broke
    (738, UNAVAILABLE),  // PART_IS_LOCKED, E
    (745, OVERLOAD),     // SERVER_OVERLOADED, E
    (749, OVERLOAD),     // TCP_CONNECTION_LIMIT_REACHED, E
    (760, REFUSED),      // UNICODE_ERROR, E
    (762, OVERLOAD),     // HTTP_CONNECTION_LIMIT_REACHED, E
    (774, UNAVAILABLE),  // TABLE_IS_PERMANENTLY_READ_ONLY, E
    (776, OVERLOAD),     // RESOURCE_LIMIT_EXCEEDED, E
    (777, OVERLOAD),     // MEMORY_RESERVATION_KILLED, E
    (778, OVERLOAD),     // MEMORY_RESERVATION_FAILED, E
    (999, UNAVAILABLE),  // KEEPER_EXCEPTION, C
];

/// What the code means; a code that is not in the table is an unknown fault.
#[must_use]
pub fn class_of(code: i32) -> Class {
    match TABLE.binary_search_by_key(&code, |&(code, _)| code) {
        Ok(place) => TABLE[place].1,
        Err(_) => Class::Fault(FaultKind::Unknown),
    }
}

/// Every code after which the same block is sent again.
pub fn fault_codes() -> impl Iterator<Item = i32> {
    TABLE.iter().filter(|(_, class)| matches!(class, Class::Fault(_))).map(|&(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_code_stands_in_it_once() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn what_connect_retries_is_never_refused() {
        for code in [3, 107, 159, 164, 202, 203, 209, 210, 241, 242, 252, 285, 319, 425, 999] {
            assert!(!matches!(class_of(code), Class::Refused | Class::Fault(FaultKind::Unknown)), "{code}");
        }
    }

    #[test]
    fn a_code_that_is_not_in_the_table_is_an_unknown_fault() {
        for code in [0, -1, 53, 70, 33, 12_345] {
            assert_eq!(class_of(code), Class::Fault(FaultKind::Unknown), "{code}");
        }
    }
}
