//! Kafka messages as the client library gives and takes them, against the core's records.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::{
    BorrowedMessage, Header as NativeHeader, Headers as _, OwnedHeaders, Timestamp as Native,
};
use tidegate_core::{Header, Records, Timestamp, TimestampKind};
use tracing::warn;

/// A record that owns its bytes, on its way to Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The topic.
    pub topic: String,
    /// The partition; by the key's hash if absent.
    pub partition: Option<i32>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch; the time of sending if absent.
    pub timestamp: Option<i64>,
}

impl OwnedRecord {
    /// What the record occupies, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        self.topic.len() + length(&self.key) + length(&self.value) + headers + size_of::<Self>()
    }
}

/// Copies one message into its partition's records.
pub(crate) fn push(records: &mut Records, message: &BorrowedMessage<'_>) {
    let timestamp = timestamp(message.timestamp());
    let (offset, key, value) = (message.offset(), message.key(), message.payload());
    match message.headers() {
        None => records.push(offset, timestamp, key, value, []),
        Some(headers) => {
            let headers = (0..headers.count()).filter_map(|index| header(headers, index));
            records.push(offset, timestamp, key, value, headers);
        }
    }
}

/// The client library panics on a header whose name is not UTF-8, which any producer may write. Such a
/// header cannot be told apart from the others by name, and is left out.
fn header(headers: &rdkafka::message::BorrowedHeaders, index: usize) -> Option<Header<'_>> {
    let found = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
    if found.is_err() {
        warn!(index, "a header whose name is not UTF-8 was left out");
    }
    let header = found.ok().flatten()?;
    Some(Header { name: header.key, value: header.value })
}

fn timestamp(native: Native) -> Option<Timestamp> {
    let millis = native.to_millis()?;
    let kind = match native {
        Native::NotAvailable => return None,
        Native::CreateTime(_) => TimestampKind::CreateTime,
        Native::LogAppendTime(_) => TimestampKind::LogAppendTime,
    };
    Some(Timestamp { millis, kind })
}

/// Headers as the client library sends them.
pub(crate) fn native_headers<'a>(
    headers: impl ExactSizeIterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> Option<OwnedHeaders> {
    (headers.len() > 0).then(|| {
        let empty = OwnedHeaders::new_with_capacity(headers.len());
        headers.fold(empty, |all, (key, value)| all.insert(NativeHeader { key, value }))
    })
}
