//! Byte rates: set, told, and kept by leaving a connection alone (KIP-219).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, ApiKey, ApiVersionsRequest,
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, ProduceRequest, ProduceResponse,
    ResponseHeader, TopicName, produce_request,
};
use kafka_protocol::protocol::Decodable;
use tidegate_broker::{Broker, Rates};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{ask, broker, frame, options, text};

const INVALID_REQUEST: i16 = 42;
const WAIT: Duration = Duration::from_secs(20);

fn entity(user: Option<Option<&str>>, client: Option<Option<&str>>) -> Vec<EntityData> {
    let half = |kind: &str, name: Option<Option<&str>>| {
        let half = EntityData::default().with_entity_type(text(kind));
        name.map(|name| half.with_entity_name(name.map(text)))
    };
    [half("user", user), half("client-id", client)].into_iter().flatten().collect()
}

/// Sets quotas, or removes those without a value; the error code.
async fn alter(address: SocketAddr, entity: Vec<EntityData>, ops: &[(&str, Option<f64>)]) -> i16 {
    let op = |(key, value): &(&str, Option<f64>)| {
        let op = OpData::default().with_key(text(key)).with_remove(value.is_none());
        op.with_value(value.unwrap_or_default())
    };
    let entry = EntryData::default().with_entity(entity).with_ops(ops.iter().map(op).collect());
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let response: AlterClientQuotasResponse =
        ask(address, ApiKey::AlterClientQuotas, 1, &request).await.unwrap();
    response.entries[0].error_code
}

/// Every quota that the filter admits, as text.
async fn described(address: SocketAddr, filter: &[(&str, i8, Option<&str>)], strict: bool) -> Vec<String> {
    let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| {
        let component = ComponentData::default().with_entity_type(text(kind)).with_match_type(*match_type);
        component.with_match(name.map(text))
    };
    let request = DescribeClientQuotasRequest::default()
        .with_components(filter.iter().map(component).collect())
        .with_strict(strict);
    let response: DescribeClientQuotasResponse =
        ask(address, ApiKey::DescribeClientQuotas, 1, &request).await.unwrap();
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let shown = |entry: kafka_protocol::messages::describe_client_quotas_response::EntryData| {
        let entity = entry.entity.iter().map(|half| {
            let name = half.entity_name.as_ref().map_or("*", |name| name.as_str());
            format!("{}={name}", half.entity_type.as_str())
        });
        let values = entry.values.iter().map(|value| format!("{}={}", value.key.as_str(), value.value));
        entity.chain(values).collect::<Vec<_>>().join(" ")
    };
    response.entries.unwrap().into_iter().map(shown).collect()
}

#[tokio::test]
async fn quotas_are_set_told_by_filter_kept_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let first = broker(&directory).await;
    let at = first.address();
    let produce = |rate| [("producer_byte_rate", Some(rate))];
    assert_eq!(alter(at, entity(Some(Some("u")), None), &produce(1000.0)).await, 0);
    assert_eq!(alter(at, entity(None, Some(None)), &[("consumer_byte_rate", Some(7.0))]).await, 0);
    assert_eq!(alter(at, entity(Some(Some("u")), Some(Some("c"))), &produce(5.0)).await, 0);
    let (u, any, uc) = (
        "user=u producer_byte_rate=1000",
        "client-id=* consumer_byte_rate=7",
        "user=u client-id=c producer_byte_rate=5",
    );
    first.stop().await;
    let again = broker(&directory).await;
    let at = again.address();
    assert_eq!(described(at, &[], false).await, [any, u, uc]);
    assert_eq!(described(at, &[("user", 0, Some("u"))], false).await, [u, uc]);
    assert_eq!(described(at, &[("user", 0, Some("u"))], true).await, [u]);
    assert_eq!(described(at, &[("client-id", 1, None)], true).await, [any]);
    assert_eq!(described(at, &[("client-id", 2, None)], false).await, [any, uc]);
    assert_eq!(alter(at, entity(Some(Some("u")), None), &[("producer_byte_rate", None)]).await, 0);
    assert_eq!(described(at, &[], false).await, [any, uc]);
    again.stop().await;
}

#[tokio::test]
async fn what_is_no_quota_here_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory).await;
    let at = broker.address();
    let user = || entity(Some(Some("u")), None);
    for ops in [("request_percentage", 50.0), ("producer_byte_rate", 0.0), ("producer_byte_rate", 1.5)]
        .into_iter()
        .chain([f64::NAN, f64::INFINITY, -1.0].map(|value| ("consumer_byte_rate", value)))
    {
        assert_eq!(alter(at, user(), &[(ops.0, Some(ops.1))]).await, INVALID_REQUEST, "{ops:?}");
    }
    let ip = vec![EntityData::default().with_entity_type(text("ip")).with_entity_name(Some(text("::1")))];
    for wrong in [ip, Vec::new(), [user(), user()].concat(), entity(Some(Some("")), None)] {
        assert_eq!(alter(at, wrong, &[("producer_byte_rate", Some(1.0))]).await, INVALID_REQUEST);
    }
    assert_eq!(described(at, &[], false).await, Vec::<String>::new());
    broker.stop().await;
}

async fn answer<R: Decodable>(socket: &mut TcpStream, api: ApiKey, version: i16) -> R {
    let read = async {
        let length = socket.read_u32().await.unwrap();
        let mut answer = vec![0; length as usize];
        socket.read_exact(&mut answer).await.unwrap();
        Bytes::from(answer)
    };
    let mut answer = timeout(WAIT, read).await.expect("an answer in time");
    ResponseHeader::decode(&mut answer, api.response_header_version(version)).unwrap();
    R::decode(&mut answer, version).unwrap()
}

#[tokio::test]
async fn who_sends_too_much_is_answered_at_once_and_then_not_read() {
    const RATE: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    options.client_rates = Rates { produce: Some(RATE as u64), fetch: None };
    let broker = Broker::start(options).await.unwrap();
    let partition = produce_request::PartitionProduceData::default()
        .with_records(Some(Bytes::from(vec![0; RATE * 3 / 2])));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName(text("none")))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
    let mut both = frame(ApiKey::Produce, 9, &request).unwrap();
    both.extend(frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).unwrap());
    let mut socket = TcpStream::connect(broker.address()).await.unwrap();
    socket.write_all(&both).await.unwrap();
    let produced: ProduceResponse = answer(&mut socket, ApiKey::Produce, 9).await;
    let answered = Instant::now();
    assert!((500..600).contains(&produced.throttle_time_ms), "{}", produced.throttle_time_ms);
    let _: kafka_protocol::messages::ApiVersionsResponse = answer(&mut socket, ApiKey::ApiVersions, 0).await;
    // The answer before was written a little earlier than it was read.
    assert!(answered.elapsed() >= Duration::from_millis(400), "{:?}", answered.elapsed());
    broker.stop().await;
}
