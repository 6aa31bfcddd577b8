//! What every client has in common: its log goes to `tracing`, its last error is kept for faults.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, trace};

/// What librdkafka last complained about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The code.
    pub code: RDKafkaErrorCode,
    /// The text, which names the broker and the cause (`Connection refused`, say).
    pub reason: String,
}

/// How many events are served to find a complaint among log lines; more than one connection makes.
pub(crate) const EVENTS_MAX: usize = 100;

/// The context of clients that need nothing else.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    last: Mutex<Option<Complaint>>,
}

impl Quiet {
    /// Keeps a complaint, but never a general one (`all brokers are down`) over the one that says why.
    pub(crate) fn complain(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        debug!(%error, reason, "kafka client complains");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if code != RDKafkaErrorCode::AllBrokersDown || last.is_none() {
            *last = Some(Complaint { code, reason: reason.to_owned() });
        }
    }

    /// The last complaint, which is forgotten with this.
    pub(crate) fn take(&self) -> Option<Complaint> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complain(&error, reason);
    }
}

/// Whatever librdkafka repairs by itself (connections above all) is reported by the source's faults,
/// once, and not by its log line per attempt.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            debug!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => trace!(facility, message, "librdkafka"),
    }
}
