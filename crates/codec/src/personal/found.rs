//! What a reject may quote of a record that has personal data.

use tidegate_core::{Reason, ReasonCode};

/// Which places of a record hold what anybody may see.
#[derive(Debug, Default)]
pub(crate) struct Quotable {
    /// The fields of columns without personal data.
    open: Vec<Vec<String>>,
    /// The fields of columns with it.
    personal: Vec<Vec<String>>,
}

impl Quotable {
    /// Adds a column's field.
    pub(crate) fn add(&mut self, path: Vec<String>, personal: bool) {
        if personal { self.personal.push(path) } else { self.open.push(path) }
    }

    /// Takes out of a reason what it quotes, unless it is about a field that holds no personal data. What stands
    /// around such a field, or where nobody has declared one, may hold some.
    pub(crate) fn withhold(&self, reason: &mut Reason) {
        let segments: Vec<String> = reason.path.split('/').skip(1).map(unescaped).collect();
        if let Some(field) = self.personal.iter().find_map(|field| covered(field, &segments)) {
            // Below it stand keys of maps, which are a part of the value.
            reason.path = reason.path.split('/').take(field + 1).collect::<Vec<_>>().join("/");
        } else if self.open.iter().any(|field| covered(field, &segments).is_some()) {
            return;
        }
        if quotes(reason) {
            "a value, which is withheld: the event has personal data".clone_into(&mut reason.found);
        }
    }
}

/// Whether `found` may have come out of the record's value.
fn quotes(reason: &Reason) -> bool {
    match reason.code {
        ReasonCode::Tombstone
        | ReasonCode::BadMagic
        | ReasonCode::UnknownSchemaId
        | ReasonCode::WrongSchema
        | ReasonCode::UnknownEvent
        | ReasonCode::UnknownVersion
        | ReasonCode::TooLarge => false,
        ReasonCode::NotUtf8
        | ReasonCode::NotJson
        | ReasonCode::NotAvro
        | ReasonCode::NotProtobuf
        | ReasonCode::DuplicateField
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
        | ReasonCode::EncodeFailed
        | ReasonCode::RowRefused => reason.found != "nothing" && reason.found != "null",
    }
}

/// How many segments lead to the field, if the place is the field or within it. Items of lists stand for their list.
fn covered(field: &[String], place: &[String]) -> Option<usize> {
    let mut wanted = field.iter().peekable();
    let mut taken = 0;
    for segment in place {
        let Some(name) = wanted.peek() else { break };
        taken += 1;
        if *name == segment {
            wanted.next();
        } else if !(segment == "*" || segment.bytes().all(|byte| byte.is_ascii_digit())) {
            return None;
        }
    }
    wanted.peek().is_none().then_some(taken)
}

fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}
