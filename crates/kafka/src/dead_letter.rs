//! What a dead letter says beside its record: headers out of a reject, and back.
//!
//! The record's own headers come first, then Kafka Connect's ten in Connect's order, then ours.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_core::{
    DeadLetter, DeadLetterContext, DeadLetterHeader, DeadLetterId, Header, PlanFingerprint, Provenance,
    Reason, ReasonCode, Record, Reject, Stage, TopicPartition, header,
};

use crate::message::OwnedRecord;

/// The headers that are added to a dead letter, in order.
#[must_use]
pub fn headers(
    letter: &DeadLetter<'_>,
    context: &DeadLetterContext,
    plan: PlanFingerprint,
) -> Vec<DeadLetterHeader> {
    let (reject, source) = (letter.reject, letter.source);
    let some = |text: &dyn ToString| Some(text.to_string());
    let mut headers = vec![
        (header::CONNECT_TOPIC, some(&source.topic)),
        (header::CONNECT_PARTITION, some(&source.partition)),
        (header::CONNECT_OFFSET, some(&letter.record.offset)),
        (header::CONNECT_CONNECTOR, some(&context.connector)),
        (header::CONNECT_TASK, some(&0)),
        (header::CONNECT_STAGE, some(&connect_stage(reject.stage))),
        (header::CONNECT_CLASS, some(&connect_class(reject.stage))),
        (header::CONNECT_EXCEPTION_CLASS, some(&exception_class(reject.reason().code))),
        (header::CONNECT_EXCEPTION_MESSAGE, some(reject)),
        (header::CONNECT_STACKTRACE, Some(trace(reject))),
        (header::ID, some(&letter.id(&context.group))),
        (header::STAGE, some(&reject.stage)),
        (header::CODE, some(&reject.reason().code)),
        (header::ERRORS, Some(errors(&reject.reasons))),
    ];
    let optional = [(header::EVENT, &reject.event), (header::TABLE, &reject.table)];
    headers
        .extend(optional.into_iter().filter(|(_, value)| value.is_some()).map(|(name, v)| (name, v.clone())));
    if let Some(timestamp) = letter.record.timestamp {
        headers.push((header::TIMESTAMP, some(&timestamp.millis)));
    }
    headers.extend([
        (header::GROUP, some(&context.group)),
        (header::PROCESSOR, some(&context.processor)),
        (header::PLAN, some(&plan)),
        (header::ATTEMPT, some(&letter.attempt())),
    ]);
    headers
}

/// Connect's stage that is closest to ours.
const fn connect_stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Decode | Stage::Validate => "VALUE_CONVERTER",
        Stage::Resolve | Stage::Enrich => "TRANSFORMATION",
        Stage::Encode | Stage::Insert => "TASK_PUT",
    }
}

/// The class that Connect would name at that stage.
const fn connect_class(stage: Stage) -> &'static str {
    match stage {
        Stage::Decode | Stage::Validate => "org.apache.kafka.connect.json.JsonConverter",
        Stage::Resolve | Stage::Enrich => "org.apache.kafka.connect.transforms.Transformation",
        Stage::Encode | Stage::Insert => "org.apache.kafka.connect.sink.SinkTask",
    }
}

/// The exception that existing tools look for.
const fn exception_class(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::NotUtf8
        | ReasonCode::NotJson
        | ReasonCode::NotAvro
        | ReasonCode::NotProtobuf
        | ReasonCode::DuplicateField
        | ReasonCode::BadMagic
        | ReasonCode::UnknownSchemaId
        | ReasonCode::WrongSchema => "org.apache.kafka.common.errors.SerializationException",
        ReasonCode::RowRefused => "com.clickhouse.client.api.ServerException",
        ReasonCode::Tombstone
        | ReasonCode::UnknownEvent
        | ReasonCode::UnknownVersion
        | ReasonCode::MissingRequired
        | ReasonCode::WrongType
        | ReasonCode::BadTimestamp
        | ReasonCode::BadEnum
        | ReasonCode::OutOfRange
        | ReasonCode::TooLong
        | ReasonCode::Pattern
        | ReasonCode::BadFormat
        | ReasonCode::ExtraField
        | ReasonCode::SchemaViolation
        | ReasonCode::PiiViolation
        | ReasonCode::EnrichFailed
        | ReasonCode::TooLarge
        | ReasonCode::EncodeFailed => "org.apache.kafka.connect.errors.DataException",
    }
}

/// The first line is the exception, as in Java; every reason follows on a line of its own.
fn trace(reject: &Reject) -> String {
    let mut text = format!("{}: {reject}", exception_class(reject.reason().code));
    for reason in &reject.reasons {
        text.push_str(&format!("\n\tat {}: {}: {reason}", reject.stage, reason.code));
    }
    text
}

fn errors(reasons: &[Reason]) -> String {
    let reasons: Vec<LetterReason> = reasons.iter().map(LetterReason::from).collect();
    serde_json::to_string(&reasons).expect("texts and nulls always have a JSON form")
}

/// One reason as a dead letter carries it. The code is a text: another version may know more of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterReason {
    /// The reason's code.
    pub code: String,
    /// A JSON Pointer into the event; empty for the whole value.
    #[serde(default)]
    pub path: String,
    /// The ClickHouse column.
    #[serde(default)]
    pub column: Option<String>,
    /// The rule that was broken.
    #[serde(default)]
    pub rule: Option<String>,
    /// What was expected.
    #[serde(default)]
    pub expected: String,
    /// What was found, shortened.
    #[serde(default)]
    pub found: String,
}

impl From<&Reason> for LetterReason {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code.to_string(),
            path: reason.path.clone(),
            column: reason.column.clone(),
            rule: reason.rule.clone(),
            expected: reason.expected.clone(),
            found: reason.found.clone(),
        }
    }
}

/// A record that is not one of our dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LetterError {
    /// A header that every dead letter has.
    #[error("the record at offset {offset} has no header `{name}`")]
    Absent {
        /// The record's offset.
        offset: i64,
        /// The header.
        name: &'static str,
    },
    /// A header's value.
    #[error("header `{name}` of the record at offset {offset}: expected {expected}, found `{found}`")]
    Unreadable {
        /// The record's offset.
        offset: i64,
        /// The header.
        name: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was found, shortened.
        found: String,
    },
}

/// A dead letter as the topic holds it, read back.
#[derive(Debug, Clone)]
pub struct DeadLetterRecord<'a> {
    /// The letter's identity.
    pub id: DeadLetterId,
    /// Where the original record stood.
    pub provenance: Provenance,
    /// The decisive reason's code.
    pub code: String,
    /// The stage that refused the record.
    pub stage: String,
    /// All reasons.
    pub errors: Vec<LetterReason>,
    /// The event, if known.
    pub event: Option<String>,
    /// The table, if known.
    pub table: Option<String>,
    /// How often the record had been tried.
    pub attempt: u32,
    /// The original timestamp, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The consumer group that refused it.
    pub group: Option<String>,
    /// The connector.
    pub connector: Option<String>,
    /// Who wrote the letter.
    pub processor: Option<String>,
    /// The plan that the record was tried by.
    pub plan: Option<String>,
    /// The message in words.
    pub message: Option<String>,
    /// The dead letter itself; key and value are the original's.
    pub record: Record<'a>,
}

impl<'a> DeadLetterRecord<'a> {
    /// Reads a record of the dead-letter topic.
    ///
    /// # Errors
    /// If it was not written by any version of this program.
    pub fn parse(record: Record<'a>) -> Result<Self, LetterError> {
        let fields = Fields(record);
        let topic = fields.required(header::CONNECT_TOPIC)?;
        let partition = fields.parsed(header::CONNECT_PARTITION, "a partition number")?;
        let offset = fields.parsed(header::CONNECT_OFFSET, "an offset")?;
        let id = fields.required(header::ID)?;
        let id = DeadLetterId::parse(id).ok_or_else(|| fields.unreadable(header::ID, "32 hex digits", id))?;
        let errors = match fields.text(header::ERRORS) {
            None => Vec::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|_| fields.unreadable(header::ERRORS, "a JSON array of reasons", text))?,
        };
        let owned = |name: &str| fields.text(name).map(str::to_owned);
        Ok(Self {
            id,
            provenance: Provenance { source: TopicPartition::new(topic, partition), offset },
            code: fields.required(header::CODE)?.to_owned(),
            stage: fields.required(header::STAGE)?.to_owned(),
            errors,
            event: owned(header::EVENT),
            table: owned(header::TABLE),
            attempt: fields.text(header::ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(1),
            timestamp: fields.text(header::TIMESTAMP).and_then(|text| text.parse().ok()),
            group: owned(header::GROUP),
            connector: owned(header::CONNECT_CONNECTOR),
            processor: owned(header::PROCESSOR),
            plan: owned(header::PLAN),
            message: owned(header::CONNECT_EXCEPTION_MESSAGE),
            record,
        })
    }

    /// The original record's own headers, in order.
    pub fn original_headers(&self) -> impl Iterator<Item = Header<'a>> {
        self.record.headers().filter(|header| !header::ours(header.name))
    }

    /// The record to put back into the original topic: key, value, headers, timestamp and partition as
    /// they were, with marks of where it comes from. `letter` is where the dead letter stands.
    #[must_use]
    pub fn replay(&self, letter: &TopicPartition) -> OwnedRecord {
        let text = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
        let original =
            self.original_headers().map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)));
        let marks = [
            text(header::ATTEMPT, self.attempt.to_string()),
            text(header::REPLAY_OF, self.id.to_string()),
            text(header::REPLAY_FROM, format!("{letter}/{}", self.record.offset)),
        ];
        OwnedRecord {
            topic: self.provenance.source.topic.to_string(),
            partition: Some(self.provenance.source.partition),
            key: self.record.key.map(<[u8]>::to_vec),
            value: self.record.value.map(<[u8]>::to_vec),
            headers: original.chain(marks).collect(),
            timestamp: self.timestamp.or(self.record.timestamp.map(|timestamp| timestamp.millis)),
        }
    }
}

struct Fields<'a>(Record<'a>);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.header(name).flatten().and_then(|value| std::str::from_utf8(value).ok())
    }

    fn required(&self, name: &'static str) -> Result<&'a str, LetterError> {
        self.text(name).ok_or(LetterError::Absent { offset: self.0.offset, name })
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, LetterError> {
        let text = self.required(name)?;
        text.parse().map_err(|_| self.unreadable(name, expected, text))
    }

    fn unreadable(&self, name: &'static str, expected: &'static str, found: &str) -> LetterError {
        let found = found.chars().take(100).collect();
        LetterError::Unreadable { offset: self.0.offset, name, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{Records, Timestamp, TimestampKind};

    use super::*;

    fn original() -> Records {
        let mut records = Records::new(TopicPartition::new("events", 1));
        let own = [
            Header { name: "a", value: Some(b"1") },
            Header { name: "a", value: None },
            Header { name: header::ATTEMPT, value: Some(b"2") },
        ];
        let timestamp = Timestamp { millis: 1_700_000_000_123, kind: TimestampKind::CreateTime };
        records.push(56, Some(timestamp), None, Some(b"{\"test\":1}"), own);
        records
    }

    fn reject() -> Reject {
        let mut reason = Reason::new(ReasonCode::MissingRequired, "a field `id`", "nothing");
        reason.path = "/a~1b".to_owned();
        reason.column = Some("id".to_owned());
        let mut reject = Reject::new(Stage::Validate, reason);
        reject.reasons.push(Reason::new(ReasonCode::WrongType, "`\"x\"`", "\u{1f}\""));
        reject.table = Some("ev.push".to_owned());
        reject
    }

    fn written() -> (Records, DeadLetterId) {
        let (records, reject) = (original(), reject());
        let record = records.get(0).unwrap();
        let letter = DeadLetter { source: records.source(), record, reject: &reject };
        let context = DeadLetterContext {
            connector: "c".to_owned(),
            group: "g".to_owned(),
            processor: "tidegate/0.1.0".to_owned(),
        };
        let added = headers(&letter, &context, PlanFingerprint(0xab));
        let mut topic = Records::new(TopicPartition::new("events.dlq", 0));
        let own = letter.original_headers();
        let added =
            added.iter().map(|(name, value)| Header { name, value: value.as_ref().map(String::as_bytes) });
        topic.push(9, record.timestamp, record.key, record.value, own.chain(added));
        (topic, letter.id("g"))
    }

    #[test]
    fn a_dead_letter_reads_back_as_it_was_written() {
        let (topic, id) = written();
        let letter = DeadLetterRecord::parse(topic.get(0).unwrap()).unwrap();
        assert_eq!(letter.id, id);
        assert_eq!(letter.provenance, Provenance { source: TopicPartition::new("events", 1), offset: 56 });
        assert_eq!((&*letter.code, &*letter.stage), ("missing_required", "validate"));
        assert_eq!(letter.errors, reject().reasons.iter().map(LetterReason::from).collect::<Vec<_>>());
        assert_eq!((letter.event, letter.table.as_deref()), (None, Some("ev.push")));
        assert_eq!((letter.attempt, letter.timestamp), (3, Some(1_700_000_000_123)));
        assert_eq!(letter.plan.as_deref(), Some("00000000000000ab"));
    }

    #[test]
    fn connects_ten_headers_follow_the_records_own_in_connects_order() {
        let (topic, _) = written();
        let names: Vec<&str> = topic.get(0).unwrap().headers().map(|header| header.name).collect();
        let connect = [
            "a",
            "a",
            "__connect.errors.topic",
            "__connect.errors.partition",
            "__connect.errors.offset",
            "__connect.errors.connector.name",
            "__connect.errors.task.id",
            "__connect.errors.stage",
            "__connect.errors.class.name",
            "__connect.errors.exception.class.name",
            "__connect.errors.exception.message",
            "__connect.errors.exception.stacktrace",
        ];
        assert_eq!(names[..12], connect);
        assert!(names[12..].iter().all(|name| name.starts_with("tidegate.")), "{names:?}");
    }

    #[test]
    fn a_replay_is_the_original_with_marks() {
        let (topic, id) = written();
        let letter = DeadLetterRecord::parse(topic.get(0).unwrap()).unwrap();
        let replay = letter.replay(topic.source());
        assert_eq!((replay.topic.as_str(), replay.partition, &replay.key), ("events", Some(1), &None));
        assert_eq!(replay.value.as_deref(), Some(&b"{\"test\":1}"[..]));
        assert_eq!(replay.timestamp, Some(1_700_000_000_123));
        let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let expected = [
            text("a", "1"),
            ("a".to_owned(), None),
            text(header::ATTEMPT, "3"),
            text(header::REPLAY_OF, &id.to_string()),
            text(header::REPLAY_FROM, "events.dlq/0/9"),
        ];
        assert_eq!(replay.headers, expected);
    }

    #[test]
    fn any_other_record_is_refused_by_name() {
        let records = original();
        let error = DeadLetterRecord::parse(records.get(0).unwrap()).unwrap_err();
        assert_eq!(error, LetterError::Absent { offset: 56, name: header::CONNECT_TOPIC });
    }
}
