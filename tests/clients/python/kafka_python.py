"""kafka-python: an independent client in Python."""

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from librdkafka import COMMITTED, create, read_values
from probe import BROKER, expect, fresh, probe

CLIENT = "kafka-python"


def take(consumer: KafkaConsumer, n: int) -> list:
    """As many records as come before the consumer's time is over, `n` at most."""
    records = []
    for record in consumer:
        records.append(record)
        if len(records) == n:
            break
    return records


@probe(CLIENT)
def records_with_headers_come_back():
    topic = fresh("kafka-python")
    create(topic, 2)
    producer = KafkaProducer(bootstrap_servers=BROKER, acks="all")
    sent = [producer.send(topic, b"%d" % i, b"k%d" % i, headers=[("h", b"x")]) for i in range(100)]
    for acknowledged in sent:
        acknowledged.get(10)
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=BROKER,
        group_id=fresh("group"),
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
        enable_auto_commit=False,
    )
    records = take(consumer, 100)
    consumer.commit()
    consumer.close()
    expect(len(records), 100)
    expect(list(records[0].headers), [("h", b"x")])


@probe(CLIENT, 60)
def every_codec_comes_back():
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        topic = fresh(codec)
        create(topic)
        producer = KafkaProducer(bootstrap_servers=BROKER, compression_type=codec, linger_ms=50)
        for _ in range(200):
            producer.send(topic, b"abc" * 50)
        producer.flush(10)
        producer.close()
        consumer = KafkaConsumer(
            bootstrap_servers=BROKER, consumer_timeout_ms=8000, auto_offset_reset="earliest"
        )
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        expect(len(take(consumer, 200)), 200, codec)
        consumer.close()


@probe(CLIENT, 60)
def the_admin_client_works():
    topic, client = fresh("kafka-python"), KafkaAdminClient(bootstrap_servers=BROKER)
    client.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    assert topic in client.list_topics()
    expect(len(client.describe_topics([topic])[0]["partitions"]), 3)
    client.describe_cluster()
    client.list_groups()
    client.delete_topics([topic])
    client.close()


@probe(CLIENT, 60)
def a_transaction_lands_or_does_not():
    topic = fresh("kafka-python")
    create(topic)
    producer = KafkaProducer(bootstrap_servers=BROKER, transactional_id=fresh("id"))
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"landed")
    producer.commit_transaction()
    producer.begin_transaction()
    producer.send(topic, b"aborted")
    producer.flush()
    producer.abort_transaction()
    producer.close()
    expect(read_values(topic, seconds=6, **COMMITTED), [b"landed"])
