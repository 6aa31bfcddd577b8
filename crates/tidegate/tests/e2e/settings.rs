//! What `tidegate up` is told reaches its engines.

use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;
use tidegate_kafka::{KafkaAdmin, KafkaOptions, KafkaProducer, Outgoing, ProducerOptions, TopicSpec};

use crate::process::{PATIENCE, Process, eventually, get, text, tidegate};
use crate::stack::{command, of};
use crate::world::engine_is_there;

/// Kafka's numbers of requests.
const DELETE_RECORDS: i16 = 21;
const DESCRIBE_CONFIGS: i16 = 32;
const DESCRIBE_CLIENT_QUOTAS: i16 = 48;

fn string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Sends a request that the Kafka client of this program has no need of; gives the answer.
fn ask_kafka(address: &str, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = [api.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(7_i32.to_be_bytes());
    request.extend(string("test"));
    request.extend(body);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// A setting of the broker, as DescribeConfigs version 1 tells it.
fn setting(address: &str, name: &str) -> String {
    const BROKER: u8 = 4;
    let all_keys = (-1_i32).to_be_bytes();
    let body = [&1_i32.to_be_bytes(), [BROKER].as_slice(), &string("1"), &all_keys, &[0]].concat();
    let answer = ask_kafka(address, DESCRIBE_CONFIGS, 1, &body);
    let name = string(name);
    let at = answer.windows(name.len()).position(|window| window == name).expect("the setting is told");
    let value = &answer[at + name.len()..];
    let length = usize::from(u16::from_be_bytes([value[0], value[1]]));
    String::from_utf8(value[2..2 + length].to_vec()).unwrap()
}

/// Deletes all that a partition holds.
fn delete_records(address: &str, topic: &str) {
    let all = (-1_i64).to_be_bytes();
    let one = 1_i32.to_be_bytes();
    let body =
        [&one, string(topic).as_slice(), &one, &0_i32.to_be_bytes(), &all, &5_000_i32.to_be_bytes()].concat();
    let answer = ask_kafka(address, DELETE_RECORDS, 0, &body);
    assert_eq!(answer[answer.len() - 2..], [0, 0], "the error code is the last of {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_rates_and_room_are_the_brokers() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("up.yaml");
    let text_of_config = "embedded_kafka: {fetch_rate_max: 50MiB}\n\
                          connectors: [{name: c, topics: [events], table: events}]\n";
    std::fs::write(&config, text_of_config).unwrap();
    let flags = ["--fsync", "1s", "--config", text(&config)];
    let mut process = Process::start(command(folder.path(), None).into_iter().chain(flags));
    let line = process.json_line().await;
    assert_eq!(setting(of(&line, "kafka"), "log.flush.interval.ms"), "500");
    let quotas = ask_kafka(of(&line, "kafka"), DESCRIBE_CLIENT_QUOTAS, 0, &[0; 5]);
    let rate = [string("consumer_byte_rate"), f64::from(50 << 20).to_be_bytes().to_vec()].concat();
    assert!(quotas.windows(rate.len()).any(|window| window == rate), "{quotas:?}");
    process.stop().await;

    let flags = ["--fsync", "always", "--kafka-disk", "64MiB"];
    let mut process = Process::start(command(folder.path(), None).into_iter().chain(flags));
    let line = process.json_line().await;
    assert_eq!(setting(of(&line, "kafka"), "log.flush.interval.messages"), "1");
    a_full_kafka_says_so(&folder, of(&line, "kafka"), of(&line, "api")).await;
    process.stop().await;
}

/// Producers wait, the status and the metrics tell, and deleting records ends it.
async fn a_full_kafka_says_so(folder: &TempDir, kafka: &str, api: &str) {
    const N: u64 = 140;
    let options = KafkaOptions::new([kafka]);
    KafkaAdmin::connect(&options).unwrap().ensure_topic(&TopicSpec::new("t", 1)).await.unwrap();
    let producer = KafkaProducer::connect(&options, &ProducerOptions::default()).unwrap();
    let value = vec![b'v'; 500_000];
    for _ in 0..N {
        producer.send(&Outgoing { topic: "t", value: Some(&value), ..Outgoing::default() }).await.unwrap();
    }
    let status = async || tidegate(["status", "--data-dir", text(folder.path()), "--output", "json"]).await;
    let full = eventually(async || {
        let told = status().await.json();
        if told["machine"]["kafka_logs"]["full"] == true { Ok(told) } else { Err(told.to_string()) }
    });
    let full = full.await;
    let problem = full["machine"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("full (64MiB)") && problem.contains("--kafka-disk"), "{full}");
    let metrics = get(api, "/metrics").unwrap().1;
    assert!(metrics.contains("\ntidegate_kafka_logs_full 1\n"), "{metrics}");
    assert!(metrics.contains("\ntidegate_kafka_logs_bytes_max 67108864\n"), "{metrics}");

    delete_records(kafka, "t");
    let delivered = producer.flush(PATIENCE).await.unwrap();
    assert_eq!((delivered.delivered, delivered.failed), (N, 0));
    let after = status().await.json();
    assert_eq!(after["machine"]["problems"], serde_json::json!([]), "{after}");
}
