//! One connection to a broker, and requests in terms of records.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_commit_request as committed;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request as held;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    EndTxnRequest, EndTxnResponse, FetchRequest, FetchResponse, GroupId, InitProducerIdRequest,
    InitProducerIdResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, ProduceRequest, ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
    TopicName, TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// No answer takes longer, unless the broker is dead or wedged.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why a request has no good answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The broker is gone.
    Gone,
    /// An error code of the protocol.
    Code(i16),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        assert!(error.kind() != io::ErrorKind::WouldBlock, "no answer in time");
        Self::Gone
    }
}

pub(crate) type Answered<T> = Result<T, Refusal>;

fn code(code: i16) -> Answered<()> {
    if code == 0 { Ok(()) } else { Err(Refusal::Code(code)) }
}

/// Who produces: id, epoch, the next sequence, and in which transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

pub(crate) const NOBODY: Producer = Producer { id: -1, epoch: -1 };

/// Key and value; without a value it is a tombstone.
pub(crate) type Pair = (String, Option<String>);

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) pair: Pair,
}

/// What a reader sees of one partition.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) records: Vec<Seen>,
    /// Where to read on.
    pub(crate) end: i64,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// One batch as a producer sends it.
pub(crate) fn batch(producer: Producer, sequence: i32, transactional: bool, pairs: &[Pair]) -> Bytes {
    // The broker drops what is old.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let records = pairs.iter().enumerate().map(|(at, (key, value))| Record {
        transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        timestamp_type: TimestampType::Creation,
        offset: at as i64,
        sequence: if sequence < 0 { -1 } else { sequence + at as i32 },
        timestamp: since_1970.as_millis() as i64,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.as_ref().map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    });
    let records: Vec<Record> = records.collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

/// See the module.
pub(crate) struct Wire {
    socket: TcpStream,
    /// Told of each answer.
    answered: Option<Sender<()>>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Answered<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { socket, answered: None })
    }

    pub(crate) fn telling(self, answered: Sender<()>) -> Self {
        Self { answered: Some(answered), ..self }
    }

    fn ask<R: Decodable>(&mut self, api: ApiKey, version: i16, request: &impl Encodable) -> Answered<R> {
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_client_id(Some(text("durability")));
        header.encode(&mut frame, api.request_header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.socket.write_all(&frame)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut answer)?;
        if let Some(answered) = &self.answered {
            // Nobody counts any more once the broker is killed.
            let _ = answered.send(());
        }
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, api.response_header_version(version)).unwrap();
        Ok(R::decode(&mut answer, version).unwrap())
    }

    pub(crate) fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Answered<()> {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response: CreateTopicsResponse = self.ask(ApiKey::CreateTopics, 7, &request)?;
        code(response.topics[0].error_code)
    }

    /// Appends one batch; gives its first offset.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> Answered<i64> {
        let records = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let data =
            TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![records]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
        let response: ProduceResponse = self.ask(ApiKey::Produce, 9, &request)?;
        let answer = &response.responses[0].partition_responses[0];
        code(answer.error_code)?;
        Ok(answer.base_offset)
    }

    /// Deletes the records of partition 0 before an offset.
    pub(crate) fn delete_before(&mut self, topic: &str, offset: i64) -> Answered<()> {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic =
            DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response: DeleteRecordsResponse = self.ask(ApiKey::DeleteRecords, 2, &request)?;
        code(response.topics[0].partitions[0].error_code)
    }

    /// What a reader with `read_committed` sees from `offset` to the last stable offset.
    pub(crate) fn read(&mut self, topic: &str, partition: i32, offset: i64) -> Answered<View> {
        let mut view = View { records: Vec::new(), end: offset };
        loop {
            let asked = FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(view.end)
                .with_partition_max_bytes(1 << 20);
            let topics = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![asked]);
            let request = FetchRequest::default()
                .with_max_bytes(1 << 20)
                .with_isolation_level(1)
                .with_topics(vec![topics]);
            let response: FetchResponse = self.ask(ApiKey::Fetch, 12, &request)?;
            let answer = &response.responses[0].partitions[0];
            code(answer.error_code)?;
            let mut aborted: Vec<(i64, i64)> = answer
                .aborted_transactions
                .iter()
                .flatten()
                .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
                .collect();
            let mut records = answer.records.clone().unwrap_or_default();
            if records.is_empty() {
                // What compaction has left of the end may be no batch at all.
                view.end = answer.last_stable_offset.max(view.end);
                return Ok(view);
            }
            let infos = RecordBatchDecoder::decode_batch_info(&mut records.clone()).unwrap();
            let sets = RecordBatchDecoder::decode_all(&mut records).unwrap();
            let mut skipped = BTreeSet::new();
            for (info, set) in infos.iter().zip(sets) {
                aborted.retain(|(first, producer)| {
                    let begun = info.min_offset >= *first;
                    if begun {
                        skipped.insert(*producer);
                    }
                    !begun
                });
                if info.control {
                    skipped.remove(&info.producer_id);
                }
                let hidden = info.control || (info.transactional && skipped.contains(&info.producer_id));
                for record in set.records {
                    view.end = view.end.max(record.offset + 1);
                    if !hidden && record.offset >= offset {
                        view.records.push(seen(&record));
                    }
                }
            }
        }
    }

    pub(crate) fn begin_producing(&mut self, transactional_id: Option<&str>) -> Answered<Producer> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(60_000);
        let response: InitProducerIdResponse = self.ask(ApiKey::InitProducerId, 4, &request)?;
        code(response.error_code)?;
        Ok(Producer { id: response.producer_id.0, epoch: response.producer_epoch })
    }

    pub(crate) fn add_partitions(
        &mut self,
        (id, producer): (&str, Producer),
        topic: &str,
        partitions: Vec<i32>,
    ) -> Answered<()> {
        let topic =
            AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(id)))
            .with_v3_and_below_producer_id(ProducerId(producer.id))
            .with_v3_and_below_producer_epoch(producer.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let response: AddPartitionsToTxnResponse = self.ask(ApiKey::AddPartitionsToTxn, 3, &request)?;
        code(response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)
    }

    /// Has the transaction commit `offset` of partition 0 for a group.
    pub(crate) fn hold_offset(
        &mut self,
        (id, producer): (&str, Producer),
        group: &str,
        (topic, offset): (&str, i64),
    ) -> Answered<()> {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_group_id(GroupId(text(group)));
        let added: AddOffsetsToTxnResponse = self.ask(ApiKey::AddOffsetsToTxn, 3, &request)?;
        code(added.error_code)?;
        let partition = held::TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = held::TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_group_id(GroupId(text(group)))
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        let response: TxnOffsetCommitResponse = self.ask(ApiKey::TxnOffsetCommit, 3, &request)?;
        code(response.topics[0].partitions[0].error_code)
    }

    pub(crate) fn end_transaction(&mut self, (id, producer): (&str, Producer), commit: bool) -> Answered<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_committed(commit);
        let response: EndTxnResponse = self.ask(ApiKey::EndTxn, 3, &request)?;
        code(response.error_code)
    }

    /// Commits an offset of partition 0.
    pub(crate) fn commit_offset(&mut self, group: &str, topic: &str, offset: i64) -> Answered<()> {
        let partition = committed::OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = committed::OffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let response: OffsetCommitResponse = self.ask(ApiKey::OffsetCommit, 8, &request)?;
        code(response.topics[0].partitions[0].error_code)
    }

    /// The committed offset of partition 0; -1 if there is none.
    pub(crate) fn committed(&mut self, group: &str, topic: &str) -> Answered<i64> {
        let topic =
            OffsetFetchRequestTopic::default().with_name(topic_name(topic)).with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topic]))
            .with_require_stable(true);
        let response: OffsetFetchResponse = self.ask(ApiKey::OffsetFetch, 7, &request)?;
        let partition = &response.topics[0].partitions[0];
        code(partition.error_code)?;
        Ok(partition.committed_offset)
    }
}

fn seen(record: &Record) -> Seen {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let key = record.key.as_ref().map(text).unwrap_or_default();
    Seen { offset: record.offset, pair: (key, record.value.as_ref().map(text)) }
}
