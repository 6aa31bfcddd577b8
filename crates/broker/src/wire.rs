//! The protocol's outermost layer: which APIs are spoken, requests in frames, answers in frames.

mod shape;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// The APIs that the broker speaks, each with its lowest and highest version.
pub(crate) const APIS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 8),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::SaslHandshake, 0, 1),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::TxnOffsetCommit, 0, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeClientQuotas, 0, 1),
    (ApiKey::AlterClientQuotas, 0, 1),
    (ApiKey::DescribeCluster, 0, 1),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
];

/// A request that cannot be answered; its connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("a request header that is cut or malformed")]
    Header,
    #[error("api `{api}` version `{version}` is not spoken here")]
    Unspoken { api: i16, version: i16 },
    #[error("a request of api `{api:?}` version `{version}` that is cut or malformed")]
    Body { api: ApiKey, version: i16 },
    #[error("an answer of api `{api:?}` version `{version}` that cannot be encoded: {message}")]
    Answer { api: ApiKey, version: i16, message: String },
    #[error("a request before authentication")]
    Unauthenticated,
    #[error("the broker is stopping")]
    Stopping,
}

/// One request, its body not decoded yet.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    correlation: i32,
    pub(crate) client_id: String,
    body: Bytes,
}

/// What a frame holds.
#[derive(Debug)]
pub(crate) enum Frame {
    Call(Call),
    /// A SASL message without a header, as it follows SaslHandshake version 0.
    Token(Bytes),
    /// ApiVersions in a version that is not spoken: answered in version 0 (KIP-511).
    AskVersions(Call),
}

impl Frame {
    /// Parses a frame's content, the length left out.
    pub(crate) fn parse(mut frame: Bytes, elements_max: usize) -> Result<Self, CallError> {
        let prefix: [u8; 8] = frame.get(..8).and_then(|b| b.try_into().ok()).ok_or(CallError::Header)?;
        let mut prefix = &prefix[..];
        let (key, version, correlation) = (prefix.get_i16(), prefix.get_i16(), prefix.get_i32());
        let unspoken = CallError::Unspoken { api: key, version };
        let Some((api, min, max)) = APIS.iter().find(|(api, ..)| *api as i16 == key) else {
            return Err(unspoken);
        };
        let call = |client_id, body| Call { api: *api, version, correlation, client_id, body };
        if !(*min..=*max).contains(&version) {
            return match api {
                ApiKey::ApiVersions => {
                    Ok(Self::AskVersions(Call { version: 0, ..call(String::new(), Bytes::new()) }))
                }
                _ => Err(unspoken),
            };
        }
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version))
            .map_err(|_| CallError::Header)?;
        shape::check(*api, version, &frame, elements_max).ok_or(CallError::Body { api: *api, version })?;
        let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
        Ok(Self::Call(call(client_id, frame)))
    }
}

impl Call {
    /// The request's, its header left out; before it is decoded.
    pub(crate) fn size_bytes(&self) -> usize {
        self.body.len()
    }

    /// The request, by its type.
    pub(crate) fn request<Q: Decodable>(&mut self) -> Result<Q, CallError> {
        let mut body = std::mem::take(&mut self.body);
        Q::decode(&mut body, self.version)
            .map_err(|_| CallError::Body { api: self.api, version: self.version })
    }

    /// The frame that answers the request.
    pub(crate) fn answer<R: Encodable>(&self, response: &R) -> Result<BytesMut, CallError> {
        let error = |message: String| CallError::Answer { api: self.api, version: self.version, message };
        let size_bytes = response.compute_size(self.version).map_err(|cause| error(cause.to_string()))?;
        let mut frame = BytesMut::with_capacity(size_bytes + 16);
        frame.put_u32(0);
        frame.put_i32(self.correlation);
        if self.api.response_header_version(self.version) >= 1 {
            frame.put_u8(0);
        }
        response.encode(&mut frame, self.version).map_err(|cause| error(cause.to_string()))?;
        let length = u32::try_from(frame.len() - 4).map_err(|_| error("longer than a frame".to_owned()))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }
}

/// The frame that answers a bare SASL message.
pub(crate) fn bare(message: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(message.len() + 4);
    // A message is a few hundred bytes of our own.
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame
}

/// A string of the protocol.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// A nullable string of the protocol.
pub(crate) fn optional(text: Option<&StrBytes>) -> Option<String> {
    text.map(ToString::to_string)
}
