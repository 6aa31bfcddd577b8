//! Kafka's error codes as faults: one table, asked wherever an error enters.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidegate_core::{Fault, FaultKind};

/// What kind of failure a code is. Codes that say that this member lost its place are `Unavailable`
/// here, not `Fenced`: under the cooperative protocol a member meets them while it keeps its
/// partitions. Whether a partition is lost is known from its epoch alone.
pub(crate) fn kind(code: RDKafkaErrorCode) -> FaultKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::AllBrokersDown
        | Code::BrokerDestroy
        | Code::BrokerTransportFailure
        | Code::Fail
        | Code::InvalidReplicationFactor
        | Code::MessageTimedOut
        | Code::NetworkException
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::Retry
        | Code::TimedOutQueue => FaultKind::Network,
        Code::QueueFull | Code::ThrottlingQuotaExceeded | Code::PolicyViolation => FaultKind::Overload,
        Code::Authentication
        | Code::ClusterAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::IllegalSASLState
        | Code::InvalidMessageSize
        | Code::MessageSizeTooLarge
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::UnsupportedSASLMechanism => FaultKind::Denied,
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic => FaultKind::Missing,
        Code::FencedInstanceId => FaultKind::Fenced,
        Code::AssignmentLost
        | Code::ConcurrentTransactions
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::Fatal
        | Code::Fenced
        | Code::IllegalGeneration
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionalState
        | Code::KafkaStorageError
        | Code::LeaderNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::NotLeaderForPartition
        | Code::PreferredLeaderNotAvailable
        | Code::ProducerFenced
        | Code::PurgeInflight
        | Code::PurgeQueue
        | Code::RebalanceInProgress
        | Code::ReplicaNotAvailable
        | Code::State
        | Code::UnknownMemberId
        | Code::UnknownProducerId
        | Code::UnstableOffsetCommit
        | Code::WaitingForCoordinator => FaultKind::Unavailable,
        // The client's list is open; a code that it adds is unknown until it is listed here.
        _ => FaultKind::Unknown,
    }
}

/// The fault behind a client error. `doing` is a verb phrase with the object and the address.
pub(crate) fn fault(error: &KafkaError, doing: &str) -> Fault {
    match code(error) {
        Some(code) => of_code(code, doing),
        None => Fault::new(FaultKind::Unknown, format!("{doing}: {error}")),
    }
}

/// The fault behind a bare code.
pub(crate) fn of_code(code: RDKafkaErrorCode, doing: &str) -> Fault {
    Fault { kind: kind(code), code: Some(code as i32), message: format!("{doing}: {code}") }
}

/// The error's code, looking into transaction errors too.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(inner) => Some(inner.code()),
        other => other.rdkafka_error_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_need_a_person_and_outages_do_not() {
        assert_eq!(kind(RDKafkaErrorCode::SaslAuthenticationFailed), FaultKind::Denied);
        assert_eq!(kind(RDKafkaErrorCode::UnknownTopicOrPartition), FaultKind::Missing);
        assert_eq!(kind(RDKafkaErrorCode::BrokerTransportFailure), FaultKind::Network);
        assert_eq!(kind(RDKafkaErrorCode::CoordinatorLoadInProgress), FaultKind::Unavailable);
    }

    #[test]
    fn losing_the_place_in_the_group_is_not_fenced_by_itself() {
        for code in [RDKafkaErrorCode::IllegalGeneration, RDKafkaErrorCode::RebalanceInProgress] {
            assert_eq!(kind(code), FaultKind::Unavailable);
        }
    }

    #[test]
    fn a_fault_says_what_was_done_and_keeps_the_code() {
        let fault = fault(&KafkaError::ConsumerCommit(RDKafkaErrorCode::RequestTimedOut), "commit `t/0`");
        assert_eq!(fault.code, Some(7));
        assert!(fault.message.starts_with("commit `t/0`: "), "{}", fault.message);
    }
}
